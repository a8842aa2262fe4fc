//! Why this amount: rule, inputs, times, arithmetic and ledger entries, for client and tutor.

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
use store::sessions::{self, Explained};
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
    /// The decision that counts.
    #[serde(flatten)]
    current: Verdict,
    /// What it corrected, latest first.
    corrected: Vec<Verdict>,
    /// How it was paid; for the client only.
    payments: Value,
}

impl Route for ExplainCharge {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let id: Uuid = call.path_id("session_id")?;
        let decisions = sessions::explain(&self.database, id, person)
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

fn verdict(explained: Explained) -> Verdict {
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
