//! `POST /api/webhooks/pencilspaces`: the door for what Pencil Spaces tells of its spaces.
//!
//! Rules: [webhook-door](../../../../shared/domain/RULES.md#webhook-door),
//! [webhook-believed](../../../../shared/domain/RULES.md#webhook-believed).
//!
//! It lets in whoever shows the secret, for the vendor signs nothing, and asks neither a database nor the vendor. A body
//! names a space; whose that is, is looked up later.

use jobs::messages::CLASSROOM_EVENTS;
use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::problem::Problem;
use platform::secrets::Secret;
use platform::webhook::Door;
use providers::pencilspaces::{self, read_webhook};

struct WebhookPencilSpaces {
    secret: Secret,
    door: Door,
}

impl Route for WebhookPencilSpaces {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let body = self.door.body(&call)?;
        let header = |name| self.door.header(&call, name);
        let (bearer, signature) = (header("authorization"), header("x-pencil-signature"));

        let told = read_webhook(&self.secret, bearer, signature, &body, self.door.clock().now()).await;
        let told = told.map_err(|refusal| self.door.turned_away(refusal))?;
        self.door.take(&told).await
    }
}

fn configure(mut env: Env) -> Result<WebhookPencilSpaces, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (secret, door) = (
        env.secret("PENCIL_WEBHOOK_SECRET"),
        Door::from_env(pencilspaces::NAME, CLASSROOM_EVENTS, &mut env),
    );

    env.finish(|| {
        Some(WebhookPencilSpaces {
            secret: secret?,
            door: door?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-pencilspaces", configure(Env::process())?).await
}
