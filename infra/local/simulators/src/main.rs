//! All simulators on one port: `simulators 127.0.0.1:4700`. Lessonspace at `/lessonspace/v2/`, Stripe at
//! `/stripe/`, Fapshi at `/fapshi/`, the issuer of user tokens at `/identity/`.

use axum::Router;
use platform::config::Env;
use simulators::fapshi::{Fapshi, Service};
use simulators::identity::Identity;
use simulators::lessonspace::Lessonspace;
use simulators::stripe::Stripe;
use tokio::net::TcpListener;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "local".into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4700".into());
    let base = format!("http://{address}");
    let clock = Env::process().clock();
    let lessonspace = Lessonspace::new(&format!("{base}/lessonspace/"), &setting("LESSONSPACE_API_KEY"));
    let stripe = Stripe::new(
        &format!("{base}/stripe/"),
        &setting("STRIPE_SECRET_KEY"),
        &setting("STRIPE_WEBHOOK_SECRET"),
        clock.clone(),
    );
    let service = |user: &str, key: &str| Service {
        user: setting(user),
        key: setting(key),
    };
    let fapshi = Fapshi::new(
        &format!("{base}/fapshi/"),
        service("FAPSHI_API_USER", "FAPSHI_API_KEY"),
        service("FAPSHI_PAYOUT_USER", "FAPSHI_PAYOUT_KEY"),
        &setting("FAPSHI_WEBHOOK_SECRET"),
    )
    .with_clock(clock.clone());
    let identity = Identity::new(&format!("{base}/identity"), clock);
    let router = Router::new()
        .nest("/lessonspace", lessonspace.router())
        .nest("/stripe", stripe.router())
        .nest("/fapshi", fapshi.router())
        .nest("/identity", identity.router());
    axum::serve(TcpListener::bind(address).await?, router).await
}
