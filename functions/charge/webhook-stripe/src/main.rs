//! `POST /api/webhooks/stripe`.

use jobs::messages::GATEWAY_EVENTS;
use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::problem::Problem;
use platform::secrets::Secret;
use platform::webhook::Door;
use providers::stripe::{self, Delivery};

struct WebhookStripe {
    secret: Secret,
    door: Door,
}

impl Route for WebhookStripe {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let keys = self.secret.all().await?;
        let body = self.door.body(&call)?;
        stripe::verify(call.headers(), body.as_bytes(), &keys, self.door.clock().now())
            .map_err(|refusal| self.door.refused(&refusal.to_string()))?;

        let delivery = Delivery { body };
        delivery.notice().ok_or_else(Door::unreadable)?;
        self.door.take(&delivery).await
    }
}

fn configure(mut env: Env) -> Result<WebhookStripe, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (secret, door) = (
        env.secret("STRIPE_WEBHOOK_SECRET"),
        Door::from_env(stripe::NAME, GATEWAY_EVENTS, &mut env),
    );

    env.finish(|| {
        Some(WebhookStripe {
            secret: secret?,
            door: door?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-stripe", configure(Env::process())?).await
}
