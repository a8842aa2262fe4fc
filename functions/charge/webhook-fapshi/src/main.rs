//! `POST /api/webhooks/fapshi`.
//!
//! Rules: [webhook-door](../../../../shared/domain/RULES.md#webhook-door).

use jobs::messages::GATEWAY_EVENTS;
use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::problem::Problem;
use platform::secrets::Secret;
use platform::webhook::Door;
use providers::fapshi::{self, Delivery};

struct WebhookFapshi {
    secret: Secret,
    door: Door,
}

impl Route for WebhookFapshi {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        // Nothing is signed: the header is the secret. What the body says is asked again before it is believed.
        let given = self
            .door
            .header(&call, "x-wh-secret")
            .ok_or_else(|| self.door.refused("no secret"))?;
        if !self.secret.is(given).await? {
            return Err(self.door.refused("secret"));
        }

        let delivery = Delivery {
            body: self.door.body(&call)?,
        };
        delivery.notice().ok_or_else(Door::unreadable)?;
        self.door.take(&delivery).await
    }
}

fn configure(mut env: Env) -> Result<WebhookFapshi, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (secret, door) = (
        env.secret("FAPSHI_WEBHOOK_SECRET"),
        Door::from_env(fapshi::NAME, GATEWAY_EVENTS, &mut env),
    );

    env.finish(|| {
        Some(WebhookFapshi {
            secret: secret?,
            door: door?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-fapshi", configure(Env::process())?).await
}
