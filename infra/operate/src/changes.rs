//! `changes list`: what the platform changed and we did not follow. `changes accept|reject CHANGE BY REASON`: lets one
//! count, or leaves our copy as it is; who decided, and why, stays with it.

use std::process::ExitCode;
use tokio_postgres::{Client, Error};

const LIST: &str = "
    SELECT id, booking_id::text, field, ours::text, theirs::text, listed_at::text
    FROM firstbell.booking_changes WHERE state = 'open' ORDER BY listed_at, id";

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Ok(url) = std::env::var("DATABASE_URL") else {
        eprintln!("changes: set DATABASE_URL to the database's owner connection");
        return ExitCode::FAILURE;
    };
    let ca_pem = std::env::var("DATABASE_CA_PEM").ok();
    let client = match platform::database::connect(&url, ca_pem.as_deref()).await {
        Ok(client) => client,
        Err(error) => return failed(&error),
    };

    let result = match words.as_slice() {
        ["list"] => list(&client).await,
        ["accept", change, by, reason] if !by.is_empty() && !reason.is_empty() => {
            decide(
                &client,
                "SELECT firstbell.accept_change($1, $2, $3)",
                change,
                by,
                reason,
            )
            .await
        }
        ["reject", change, by, reason] if !by.is_empty() && !reason.is_empty() => {
            decide(
                &client,
                "SELECT firstbell.reject_change($1, $2, $3)",
                change,
                by,
                reason,
            )
            .await
        }
        _ => {
            eprintln!("changes: list, or accept|reject CHANGE BY REASON");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => match error.as_db_error() {
            Some(refusal) => failed(&refusal.message()),
            None => failed(&error),
        },
    }
}

fn failed(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("changes: {why}");
    ExitCode::FAILURE
}

async fn list(client: &Client) -> Result<String, Error> {
    let rows = client.query(LIST, &[]).await?;
    let mut lines = vec![format!("{} change(s) wait for a decision", rows.len())];
    for row in rows {
        let (id, [booking, field, ours, theirs, since]): (i64, [&str; 5]) =
            (row.get(0), std::array::from_fn(|n| row.get(n + 1)));
        lines.push(format!(
            "{id:>6}  booking {booking}  {field}: ours {ours}, theirs {theirs}, since {since}"
        ));
    }
    Ok(lines.join("\n"))
}

async fn decide(client: &Client, sql: &str, change: &str, by: &str, reason: &str) -> Result<String, Error> {
    // A word that is no number names no change.
    let change: i64 = change.parse().unwrap_or(-1);
    client.execute(sql, &[&change, &by, &reason]).await?;
    Ok(format!("change {change} is decided"))
}
