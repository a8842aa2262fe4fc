//! All simulators on one port, each below its vendor's name: `simulators 127.0.0.1:4700` serves Lessonspace at
//! `/lessonspace/v2/`, Stripe at `/stripe/`, and so on; the issuer of user tokens is at `/identity/`.

use axum::Router;
use platform::clock::Clock;
use platform::config::Env;
use simulators::fapshi::{Fapshi, Service};
use simulators::fathom::Fathom;
use simulators::google::{Google, PushIdentity};
use simulators::identity::Identity;
use simulators::lessonspace::Lessonspace;
use simulators::livekit::LiveKit;
use simulators::pencilspaces::PencilSpaces;
use simulators::stripe::Stripe;
use simulators::zoom::Zoom;
use tokio::net::TcpListener;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "local".into())
}

fn classrooms(base: &str, clock: &Clock) -> Router {
    let lessonspace = Lessonspace::new(&format!("{base}/lessonspace/"), &setting("LESSONSPACE_API_KEY"));
    let livekit = LiveKit::new(
        &format!("{base}/livekit/"),
        &setting("LIVEKIT_API_KEY"),
        &setting("LIVEKIT_API_SECRET"),
        clock.clone(),
    );
    let pencilspaces = PencilSpaces::new(
        &format!("{base}/pencilspaces/"),
        &setting("PENCIL_API_KEY"),
        &setting("PENCIL_WEBHOOK_SECRET"),
        clock.clone(),
    );
    let zoom = Zoom::new(
        &format!("{base}/zoom/"),
        &setting("ZOOM_CLIENT_ID"),
        &setting("ZOOM_CLIENT_SECRET"),
        &setting("ZOOM_WEBHOOK_SECRET"),
        clock.clone(),
    );
    let push = PushIdentity {
        audience: setting("GOOGLE_PUSH_AUDIENCE"),
        service_account_email: setting("GOOGLE_PUSH_ACCOUNT"),
    };
    let google = Google::new(
        &format!("{base}/google/"),
        &setting("GOOGLE_CLIENT_ID"),
        &setting("GOOGLE_CLIENT_SECRET"),
        push,
        clock.clone(),
    );
    let fathom = Fathom::new(
        &format!("{base}/fathom/"),
        &setting("FATHOM_API_KEY"),
        clock.clone(),
    );

    Router::new()
        .nest("/lessonspace", lessonspace.router())
        .nest("/livekit", livekit.router())
        .nest("/pencilspaces", pencilspaces.router())
        .nest("/zoom", zoom.router())
        .nest("/google", google.router())
        .nest("/fathom", fathom.router())
}

fn gateways(base: &str, clock: &Clock) -> Router {
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

    Router::new()
        .nest("/stripe", stripe.router())
        .nest("/fapshi", fapshi.router())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4700".into());
    let base = format!("http://{address}");
    let clock = Env::process().clock();

    let identity = Identity::new(&format!("{base}/identity"), clock.clone());
    let router = classrooms(&base, &clock)
        .merge(gateways(&base, &clock))
        .nest("/identity", identity.router());
    axum::serve(TcpListener::bind(address).await?, router).await
}
