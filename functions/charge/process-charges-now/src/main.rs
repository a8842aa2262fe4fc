//! `GET /api/cron/process-charges`: the schedule's work, for platforms that bring their own cron.

use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::problem::Problem;
use platform::secrets::Secret;
use serde_json::json;
use store::charge::charging::Charging;

struct ProcessChargesNow {
    secret: Secret,
    charging: Charging,
}

impl Route for ProcessChargesNow {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        call.bearer_is(&self.secret).await?;
        Ok(Reply::ok(json!({ "settled": self.charging.run().await? })))
    }
}

fn configure(mut env: Env) -> Result<ProcessChargesNow, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (charging, secret) = (Charging::from_env(&mut env), env.secret("CRON_SECRET"));

    env.finish(|| {
        Some(ProcessChargesNow {
            secret: secret?,
            charging: charging?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("process-charges-now", configure(Env::process())?).await
}
