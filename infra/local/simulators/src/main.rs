//! All simulators on one port: `simulators 127.0.0.1:4700`. Lessonspace at `/lessonspace/v2/`, the issuer
//! of user tokens at `/identity/`.

use axum::Router;
use platform::config::Env;
use simulators::{identity::Identity, lessonspace::Lessonspace};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4700".into());
    let api_key = std::env::var("LESSONSPACE_API_KEY").unwrap_or_else(|_| "local".into());
    let base = format!("http://{address}");
    let lessonspace = Lessonspace::new(&format!("{base}/lessonspace/"), &api_key);
    let identity = Identity::new(&format!("{base}/identity"), Env::process().clock());
    let router = Router::new()
        .nest("/lessonspace", lessonspace.router())
        .nest("/identity", identity.router());
    axum::serve(TcpListener::bind(address).await?, router).await
}
