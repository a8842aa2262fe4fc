//! `process-charges`: settles every session that is due. Scheduled each minute; any number may run at once.

use platform::config::{ConfigError, Env};
use platform::schedule::{self, Counts, Scheduled};
use store::charge::charging::Charging;

struct ProcessCharges(Charging);

impl Scheduled for ProcessCharges {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        Ok(vec![("settled", self.0.run().await?)])
    }
}

fn configure(mut env: Env) -> Result<ProcessCharges, ConfigError> {
    let charging = Charging::from_env(&mut env);
    env.finish(|| charging.map(ProcessCharges))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("process-charges", configure(Env::process())?).await
}
