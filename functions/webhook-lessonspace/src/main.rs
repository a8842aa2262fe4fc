//! `POST /api/webhooks/lessonspace`.

mod handler;

use platform::api;
use platform::config::{ConfigError, Env};
use platform::ids::Ids;
use platform::queue::Queue;

fn configure(mut env: Env) -> Result<handler::WebhookLessonspace, ConfigError> {
    let clock = env.clock();
    let (secret, events) = (
        env.secret("LESSONSPACE_SECRET"),
        env.required::<String>("PROVIDER_EVENTS_QUEUE_URL"),
    );
    env.finish(|| {
        Some(handler::WebhookLessonspace {
            secret: secret?,
            events: Queue::at(events?),
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("webhook-lessonspace", configure(Env::process())?).await
}
