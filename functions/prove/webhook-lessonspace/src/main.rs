//! `POST /api/webhooks/lessonspace`.

mod handler;

use jobs::messages::CLASSROOM_EVENTS;
use platform::api;
use platform::config::{ConfigError, Env};
use platform::webhook::Door;
use providers::lessonspace;

fn configure(mut env: Env) -> Result<handler::WebhookLessonspace, ConfigError> {
    // Read before any `?`, so that one failed start names everything that is missing.
    let (secret, door) = (
        env.secret("LESSONSPACE_SECRET"),
        Door::from_env(lessonspace::NAME, CLASSROOM_EVENTS, &mut env),
    );

    env.finish(|| {
        Some(handler::WebhookLessonspace {
            secret: secret?,
            door: door?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-lessonspace", configure(Env::process())?).await
}
