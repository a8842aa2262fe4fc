//! What Fapshi tells us. It signs nothing: a header repeats a secret that was agreed on its dashboard. So a
//! webhook only says what to ask for, and what payment-status then answers is believed.

use serde::{Deserialize, Serialize};

const LONGEST_ID: usize = 100;

/// A delivery as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The body exactly as it came.
    pub body: String,
}

/// What a delivery is about. It is not believed, and only says what to look up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Notice {
    /// Fapshi's id of the transaction.
    #[serde(rename = "transId")]
    pub transaction: String,
    /// The transaction's status, as the webhook has it.
    pub status: String,
    /// The id of our payment or refund, as the webhook has it.
    #[serde(rename = "externalId")]
    pub external_id: Option<String>,
    /// `Payout` for money that goes out; not every edition tells.
    #[serde(rename = "transType")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    One(Notice),
    /// Older senders wrap the object in a list.
    Listed([Notice; 1]),
}

impl Delivery {
    /// Reads the body; `None` if it is not about a transaction.
    pub fn notice(&self) -> Option<Notice> {
        let notice = match serde_json::from_str(&self.body).ok()? {
            Body::One(notice) | Body::Listed([notice]) => notice,
        };
        // The id becomes part of an address at Fapshi, so it may not lead elsewhere.
        let is_plain = |id: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(plain)
        };
        (is_plain(&notice.transaction) && is_plain(&notice.status)).then_some(notice)
    }
}

impl Notice {
    /// An id of the event, made of transaction and status: Fapshi gives events no ids, and sends one for each
    /// status.
    pub fn event_id(&self) -> String {
        format!("{}/{}", self.transaction, self.status)
    }

    /// Whether the webhook says that money went out. It may leave that out, and whoever forged it may lie, so
    /// it only tells which service to ask first.
    pub(super) fn is_payout(&self) -> bool {
        self.kind.as_deref() == Some("Payout")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_one_transaction_wrapped_or_not() {
        let plain = r#"{"transId":"aB12cD34","status":"SUCCESSFUL","externalId":"7","amount":500,"new":{}}"#;
        let read = |body: &str| Delivery { body: body.into() }.notice();

        let notice = read(plain).unwrap();
        assert_eq!(notice.event_id(), "aB12cD34/SUCCESSFUL");
        assert!(!notice.is_payout());

        let payout = r#"{"transId":"aB12cD34","status":"SUCCESSFUL","transType":"Payout"}"#;
        assert!(read(payout).unwrap().is_payout());

        assert_eq!(read(&format!("[{plain}]")), Some(notice));

        let outside = r#"{"transId":"../balance","status":"SUCCESSFUL"}"#;
        for nothing in ["", "{}", "[]", "null", outside, &format!("[{plain},{plain}]")] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
