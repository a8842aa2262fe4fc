//! `process-charges`: settles every session that is due. Scheduled each minute; any number may run at once.

use jobs::settling::Settling;
use platform::config::{ConfigError, Env};
use platform::schedule::{self, Counts, Scheduled};

struct ProcessCharges(Settling);

impl Scheduled for ProcessCharges {
    async fn run(&self) -> Result<Counts, lambda_runtime::Error> {
        Ok(vec![("settled", self.0.run().await?)])
    }
}

fn configure(mut env: Env) -> Result<ProcessCharges, ConfigError> {
    let settling = Settling::from_env(&mut env);
    env.finish(|| settling.map(ProcessCharges))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    schedule::serve("process-charges", configure(Env::process())?).await
}
