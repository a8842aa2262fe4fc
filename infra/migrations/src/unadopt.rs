//! `unadopt [--with-books]`: takes Firstbell off the database at `DATABASE_URL` again. The platform's own tables
//! stay as they are.

use migrations::Target;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
async fn main() -> ExitCode {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        eprintln!("unadopt: set DATABASE_URL to the database's owner connection");
        return ExitCode::FAILURE;
    };
    let with_books = std::env::args().any(|argument| argument == "--with-books");
    let ca_pem = std::env::var("DATABASE_CA_PEM").ok();
    let target = Target {
        url: &url,
        ca_pem: ca_pem.as_deref(),
        platform: None,
        patience: migrations::PATIENCE,
    };
    match migrations::unadopt(target, with_books).await {
        Ok(()) => println!("unadopt: the schema firstbell, its triggers and its role are gone"),
        Err(error) => {
            eprintln!("unadopt: {error}\nunadopt: nothing was changed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
