//! `migrate`: brings the database at `DATABASE_URL` up to the schema and says what it did.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
async fn main() -> ExitCode {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        eprintln!("migrate: set DATABASE_URL to the database's owner connection");
        return ExitCode::FAILURE;
    };
    match migrations::migrate(&url, std::env::var("DATABASE_CA_PEM").ok().as_deref()).await {
        Ok(applied) if applied.is_empty() => println!("migrate: the schema is up to date"),
        Ok(applied) => println!("migrate: applied {}", applied.join(", ")),
        Err(error) => {
            eprintln!("migrate: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
