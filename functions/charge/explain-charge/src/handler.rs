//! Explains to client and tutor why a session costs what it costs: by which rule, from which inputs and
//! times, with the arithmetic and the ledger entries.

use domain::ids::ProfileId;
use domain::money::Money;
use http::StatusCode;
use jiff::Timestamp;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::database::Database;
use platform::problem::Problem;
use serde::Serialize;
use serde_json::Value;
use store::charge::explaining::{self, RecordedDecision};
use uuid::Uuid;

pub(crate) struct ExplainCharge {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
}

#[derive(Serialize)]
struct Verdict {
    status: String,
    charge: Money,
    payout: Money,
    fee: Money,
    explanation: Value,
    ledger_entries: Value,
    decided_at: Timestamp,
}

#[derive(Serialize)]
struct Answer {
    session_id: Uuid,
    /// The decision that counts now.
    #[serde(flatten)]
    current: Verdict,
    /// The decisions that it corrected, latest first; empty as a rule.
    corrected: Vec<Verdict>,
    /// The payments of the session's booking, for the client; empty for the tutor.
    payments: Value,
}

impl Route for ExplainCharge {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;

        let decisions = explaining::explain(&self.database, id, person)
            .await?
            .ok_or_else(Problem::forbidden)?;

        let mut decisions = decisions.into_iter();
        let current = decisions.next().ok_or_else(|| {
            let detail = "The session is not settled yet.";
            Problem::new(StatusCode::NOT_FOUND, "not-settled", detail)
        })?;

        Ok(Reply::ok(Answer {
            session_id: id,
            payments: current.payments.clone(),
            current: verdict(current),
            corrected: decisions.map(verdict).collect(),
        }))
    }
}

fn verdict(explained: RecordedDecision) -> Verdict {
    let [charge, payout, fee] = explained.amounts;
    Verdict {
        status: explained.status,
        charge,
        payout,
        fee,
        explanation: explained.explanation,
        ledger_entries: explained.entries,
        decided_at: explained.decided_at,
    }
}
