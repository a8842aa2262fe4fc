//! `POST /api/webhooks/livekit`: the door for what LiveKit tells of its rooms.
//!
//! Rules: [webhook-door](../../../../shared/domain/RULES.md#webhook-door),
//! [webhook-believed](../../../../shared/domain/RULES.md#webhook-believed).
//!
//! It lets in what our own key has sealed, keeps what is needed of it, and asks neither a database nor the vendor. The
//! vendor never repeats what was answered with a 4xx, and soon gives up on the rest: what is not its own gets 401, our own
//! trouble 503.

use jobs::messages::CLASSROOM_EVENTS;
use platform::api::{self, Call, Reply, Route};
use platform::config::{ConfigError, Env};
use platform::invocation;
use platform::problem::Problem;
use platform::webhook::Door;
use providers::livekit::{self, Seals, Told, read_webhook};
use serde_json::json;

struct WebhookLiveKit {
    seals: Seals,
    door: Door,
}

impl Route for WebhookLiveKit {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let Some(told) = self.read(&call).await? else {
            // A room that is no booking's: to refuse it would be no use to anybody.
            return Ok(Reply::ok(json!({"received": true})));
        };

        invocation::note("booking_id", told.booking);
        self.door.take(&told).await
    }
}

impl WebhookLiveKit {
    async fn read(&self, call: &Call) -> Result<Option<Told>, Problem> {
        let (body, token) = (self.door.body(call)?, self.door.header(call, "authorization"));
        let now = self.door.clock().now();

        read_webhook(&self.seals, token, &body, now)
            .await
            .map_err(|refusal| self.door.turned_away(refusal))
    }
}

fn configure(mut env: Env) -> Result<WebhookLiveKit, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (keys, door) = (
        env.secret("LIVEKIT_API_KEYS"),
        Door::from_env(livekit::NAME, CLASSROOM_EVENTS, &mut env),
    );

    env.finish(|| {
        Some(WebhookLiveKit {
            seals: Seals::new(keys?),
            door: door?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-livekit", configure(Env::process())?).await
}
