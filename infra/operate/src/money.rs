//! What operators do with money, each with who does it and why on record: `money refunds` lists refunds that failed or wait
//! to be let go; `money retry-refund REFUND BY REASON` tries one again; `money settle-refund REFUND BY REASON [FEE]` enters
//! that it was given back by hand, and what that cost; `money adjust FROM TO AMOUNT BY REASON` moves an amount between two
//! accounts of the ledger. Amounts are in the smallest unit of the currency.

use std::process::ExitCode;
use tokio_postgres::{Client, Error};

const REFUNDS: &str = "
    SELECT r.id::text, r.status, coalesce(r.reason, '-'), r.amount_minor::text || ' ' || r.currency, r.booking_id::text,
           p.gateway || ' ' || coalesce(p.intent_id, p.gateway_id, '-'), r.created_at::text
    FROM firstbell.refunds r JOIN firstbell.payments p ON p.id = r.payment_id
    WHERE r.status IN ('failed', 'held') ORDER BY r.created_at";

const USAGE: &str = "refunds, retry-refund REFUND BY REASON, settle-refund REFUND BY REASON [FEE], or adjust FROM TO AMOUNT BY REASON";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    operate::run("money", USAGE, act).await
}

async fn act(client: &Client, words: &[&str]) -> Result<Option<String>, Error> {
    let said = match words {
        ["refunds"] => refunds(client).await?,
        ["retry-refund", refund, by, reason] => retry(client, refund, by, reason).await?,
        ["settle-refund", refund, by, reason] => settle(client, refund, by, reason, "0").await?,
        ["settle-refund", refund, by, reason, fee] => settle(client, refund, by, reason, fee).await?,
        ["adjust", from, to, amount, by, reason] => adjust(client, [from, to, amount, by, reason]).await?,
        _ => return Ok(None),
    };
    Ok(Some(said))
}

async fn refunds(client: &Client) -> Result<String, Error> {
    let rows = client.query(REFUNDS, &[]).await?;
    let mut lines = vec![format!("{} refund(s) wait for a person", rows.len())];
    for row in rows {
        let [id, status, reason, amount, booking, payment, since]: [&str; 7] =
            std::array::from_fn(|n| row.get(n));
        lines.push(format!(
            "{id}  {status} ({reason})  {amount}  booking {booking}  at {payment}, since {since}"
        ));
    }
    Ok(lines.join("\n"))
}

// Words go to the database as words: what is no id and no number is refused there.

async fn retry(client: &Client, refund: &str, by: &str, reason: &str) -> Result<String, Error> {
    let sql = "SELECT firstbell.retry_refund($1::text::uuid, $2, $3)";
    client.execute(sql, &[&refund, &by, &reason]).await?;
    Ok(format!("refund {refund} is tried again within the minute"))
}

async fn settle(client: &Client, refund: &str, by: &str, reason: &str, fee: &str) -> Result<String, Error> {
    let sql = "SELECT firstbell.settle_refund($1::text::uuid, $2, $3, $4::text::bigint)";
    client.execute(sql, &[&refund, &by, &reason, &fee]).await?;
    Ok(format!("refund {refund} is entered as given back by hand"))
}

async fn adjust(client: &Client, words: [&str; 5]) -> Result<String, Error> {
    let [from, to, amount, by, reason] = words;
    let sql = "SELECT firstbell.adjust($1, $2, $3::text::bigint, $4, $5)";
    client.execute(sql, &[&from, &to, &amount, &by, &reason]).await?;
    Ok(format!("{amount} moved from {from} to {to}"))
}
