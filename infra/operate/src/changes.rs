//! `changes list`: what the platform changed and we did not follow. `changes accept|reject CHANGE BY REASON`: lets one
//! count, or leaves our copy as it is; who decided, and why, stays with it.

use std::process::ExitCode;
use tokio_postgres::{Client, Error};

const LIST: &str = "
    SELECT id, booking_id::text, field, ours::text, theirs::text, listed_at::text
    FROM firstbell.booking_changes WHERE state = 'open' ORDER BY listed_at, id";

const ACCEPT: &str = "SELECT firstbell.accept_change($1, $2, $3)";
const REJECT: &str = "SELECT firstbell.reject_change($1, $2, $3)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    operate::run("changes", "list, or accept|reject CHANGE BY REASON", act).await
}

async fn act(client: &Client, words: &[&str]) -> Result<Option<String>, Error> {
    let said = match words {
        ["list"] => list(client).await?,
        // Nothing is decided by nobody, or for no reason.
        [_, _, "", _] | [_, _, _, ""] => return Ok(None),
        ["accept", change, by, reason] => decide(client, ACCEPT, change, by, reason).await?,
        ["reject", change, by, reason] => decide(client, REJECT, change, by, reason).await?,
        _ => return Ok(None),
    };
    Ok(Some(said))
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
