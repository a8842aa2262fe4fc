//! The vendors, simulated at their HTTP boundary. They refuse what the vendor would refuse, sign what
//! they send, and can be told to be slow, to fail, to repeat and to reorder. A vendor is a module with a
//! `router()`; tests run it in their own process through [`serve`], the local stack through the binary.

pub mod fapshi;
pub mod fathom;
pub mod google;
pub mod identity;
pub mod lessonspace;
pub mod livekit;
pub mod mailbox;
pub mod pencilspaces;
pub mod stripe;
pub mod zoom;

use axum::Router;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves `router` on a port of its own; it ends with the runtime.
pub async fn serve(router: Router) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
