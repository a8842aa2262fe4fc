//! Consumes `classroom-events`.

use apply_classroom_event::ApplyClassroomEvent;
use platform::batch::{self, BatchPolicy};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::lessonspace::{Lessonspace, LessonspaceConfig};
use providers::livekit::{LiveKit, LiveKitConfig};
use providers::pencilspaces::{PencilSpaces, PencilSpacesConfig};
use std::time::Duration;

fn configure(mut env: Env) -> Result<(BatchPolicy, ApplyClassroomEvent), ConfigError> {
    let clock = env.clock();
    let policy = BatchPolicy::from_env(&mut env, 4, Duration::from_secs(15));
    // Read before any `?`, so that one failed start names everything that is missing.
    let database = Database::from_env(&mut env);
    let lessonspace = LessonspaceConfig::from_env(&mut env);
    let room_secret = env.secret("LESSONSPACE_SECRET");
    let (livekit, pencilspaces) = (
        LiveKitConfig::from_env(&mut env),
        PencilSpacesConfig::from_env(&mut env),
    );

    env.finish(|| {
        let job = ApplyClassroomEvent {
            database: database?,
            lessonspace: Lessonspace::new(lessonspace?),
            livekit: livekit?.map(LiveKit::new),
            pencilspaces: pencilspaces?.map(PencilSpaces::new),
            room_secret: room_secret?,
            ids: Ids::random(clock.clone()),
            clock,
        };
        Some((policy?, job))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let (policy, job) = configure(Env::process())?;
    batch::serve("apply-classroom-event", policy, job).await
}
