//! What the commands that decide something in the owner's name have in common: the owner's connection, and how they answer.

use std::fmt::Display;
use std::process::ExitCode;
use tokio_postgres::{Client, Error};

/// Runs `command` with the words behind it, over the connection in `DATABASE_URL`. `act` says in words what it did, or
/// nothing if it does not know those words: then `usage` is said. A refusal of the database is told in its own words.
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
pub async fn run<Act>(command: &str, usage: &str, act: Act) -> ExitCode
where
    Act: AsyncFnOnce(&Client, &[&str]) -> Result<Option<String>, Error>,
{
    let failed = |why: &dyn Display| {
        eprintln!("{command}: {why}");
        ExitCode::FAILURE
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Ok(url) = std::env::var("DATABASE_URL") else {
        return failed(&"set DATABASE_URL to the database's owner connection");
    };
    let ca_pem = std::env::var("DATABASE_CA_PEM").ok();
    let client = match platform::database::connect(&url, ca_pem.as_deref()).await {
        Ok(client) => client,
        Err(error) => return failed(&error),
    };

    match act(&client, &words).await {
        Ok(Some(said)) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Ok(None) => failed(&usage),
        Err(error) => match error.as_db_error() {
            Some(refusal) => failed(&refusal.message()),
            None => failed(&error),
        },
    }
}
