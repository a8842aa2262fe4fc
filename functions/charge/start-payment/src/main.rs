//! `POST /api/bookings/{id}/payment`.

mod handler;

use domain::charge::payment::Collects;
use platform::api;
use platform::auth::{AuthConfig, Authenticator};
use platform::config::{ConfigError, Env};
use platform::database::Database;
use platform::ids::Ids;
use providers::gateways::Gateways;

fn configure(mut env: Env) -> Result<handler::StartPayment, ConfigError> {
    let clock = env.clock();
    // Read before any `?`, so that one failed start names everything that is missing.
    let (auth, database) = (AuthConfig::from_env(&mut env), Database::from_env(&mut env));
    let gateways = Gateways::from_env(&mut env);
    let offered = env.required("PAYMENT_METHODS");
    let collects = env.or("COLLECTS", Collects::default());
    let return_to = env.required("PAYMENT_RETURN_URL");

    env.finish(|| {
        Some(handler::StartPayment {
            authenticator: Authenticator::new(auth?, clock.clone()),
            database: database?,
            gateways: gateways?,
            offered: offered?,
            collects: collects?,
            return_to: return_to?,
            ids: Ids::random(clock.clone()),
            clock,
        })
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    api::serve("start-payment", configure(Env::process())?).await
}
