//! `GET /api/cron/process-charges`: the schedule's work, for platforms that bring their own cron.

use jobs::settling::Settling;
use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::problem::Problem;
use platform::secrets::Secret;
use serde_json::json;

struct ProcessChargesNow {
    secret: Secret,
    settling: Settling,
}

impl Route for ProcessChargesNow {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        call.bearer_is(&self.secret).await?;
        Ok(Reply::ok(json!({ "settled": self.settling.run().await? })))
    }
}

fn configure(mut env: Env) -> Result<ProcessChargesNow, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (settling, secret) = (Settling::from_env(&mut env), env.secret("CRON_SECRET"));

    env.finish(|| {
        Some(ProcessChargesNow {
            secret: secret?,
            settling: settling?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("process-charges-now", configure(Env::process())?).await
}
