//! `GET /api/bookings/{id}/insights`: what is known of a lesson that was held, for the people on it.
//!
//! Rules: [who-may-see](../../../../shared/domain/RULES.md#who-may-see),
//! [insights](../../../../shared/domain/RULES.md#insights).

use domain::ids::{BookingId, ProfileId};
use domain::prove::insights::Insights;
use http::StatusCode;
use platform::api::{self, Call, Reply, Route};
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use store::launch::bookings;
use store::prove::insights;

struct GetInsights {
    authenticator: Authenticator,
    database: Database,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    insights: Insights,
    /// Whether `GET /api/bookings/{id}/recording` has something to give.
    recording_available: bool,
}

impl Route for GetInsights {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: BookingId = call.path_id("booking_id")?;
        let seen = bookings::seen_by(&self.database, id, person, None).await?;
        let seen = seen.ok_or_else(Problem::forbidden)?;

        let known = insights::of(&self.database, id).await?;
        let (stored, engagement) = known.ok_or_else(no_session)?;
        let facts = &stored.facts;
        let insights = Insights::of(&stored.session, &facts.evidence, &engagement, facts.asked_at);

        Ok(Reply::ok(Answer {
            insights,
            recording_available: seen.booking.proof.recording_url.is_some(),
        }))
    }
}

fn no_session() -> Problem {
    let detail = "This booking has no session (yet).";
    Problem::new(StatusCode::NOT_FOUND, "no-session", detail)
}

fn configure(mut env: Env) -> Result<GetInsights, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));

    env.finish(|| {
        Some(GetInsights {
            authenticator: Authenticator::new(auth?, clock),
            database: database?,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("get-insights", configure(Env::process())?).await
}
