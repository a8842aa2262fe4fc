//! Idempotency keys as Stripe keeps them: for a day, with the first answer, whatever it was.

use super::{Answer, Form, refusal};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a key is kept, in seconds.
const KEPT: i64 = 24 * 3600;

/// Every key in use.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, Kept>);

struct Kept {
    form: Form,
    since: i64,
    /// `None` while the request is carried out.
    answer: Option<Answer>,
    /// Until then the first request waits for its answer.
    busy_until: Option<Instant>,
}

impl Keys {
    /// Takes a key for a request that is to be carried out now, or says what is answered instead.
    pub(super) fn take(&mut self, key: &str, form: &Form, now: i64) -> Option<Answer> {
        if let Some(kept) = self.0.get(key).filter(|kept| now - kept.since < KEPT) {
            return Some(kept.again(form));
        }
        let kept = Kept {
            form: form.clone(),
            since: now,
            answer: None,
            busy_until: None,
        };
        self.0.insert(key.to_owned(), kept);
        None
    }

    /// Keeps the answer that will be on its way for so long.
    pub(super) fn keep(&mut self, key: &str, answer: Answer, takes: Duration) {
        if let Some(kept) = self.0.get_mut(key) {
            kept.answer = Some(answer);
            kept.busy_until = Instant::now().checked_add(takes);
        }
    }

    /// Gives a key free: its request was not valid.
    pub(super) fn release(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Forgets every key.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Kept {
    fn again(&self, form: &Form) -> Answer {
        if self.form != *form {
            let text = "Keys for idempotent requests can only be used with the same parameters.";
            return refusal(StatusCode::BAD_REQUEST, "idempotency_error", "", text);
        }
        let is_busy = self.busy_until.is_some_and(|until| Instant::now() < until);
        match &self.answer {
            Some(answer) if !is_busy => answer.clone(),
            _ => {
                let text = "There is currently another in-progress request using this key.";
                let code = "idempotency_key_in_use";
                refusal(StatusCode::CONFLICT, "idempotency_error", code, text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NO_WAIT: Duration = Duration::ZERO;

    fn form(amount: &str) -> Form {
        Form::from([("amount".to_owned(), amount.to_owned())])
    }

    #[test]
    fn a_key_repeats_its_answer_for_a_day_even_an_error() {
        let (mut keys, broken) = (
            Keys::default(),
            (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": {}})),
        );
        assert_eq!(keys.take("k", &form("1"), 0), None);
        keys.keep("k", broken.clone(), NO_WAIT);
        assert_eq!(keys.take("k", &form("1"), KEPT - 1), Some(broken));
        assert_eq!(keys.take("k", &form("1"), KEPT), None, "forgotten");
    }

    #[test]
    fn a_key_is_for_one_request_at_a_time_and_for_the_same_parameters() {
        let mut keys = Keys::default();
        let status = |answer: Option<Answer>| answer.unwrap().0;
        assert_eq!(keys.take("k", &form("1"), 0), None);
        assert_eq!(
            status(keys.take("k", &form("1"), 0)),
            StatusCode::CONFLICT,
            "it is being carried out"
        );
        keys.keep("k", (StatusCode::OK, json!(1)), Duration::from_mins(1));
        assert_eq!(
            status(keys.take("k", &form("1"), 0)),
            StatusCode::CONFLICT,
            "its answer is under way"
        );
        let other = keys.take("k", &form("2"), 0).unwrap();
        assert_eq!(other.1["error"]["type"], "idempotency_error");
        assert_eq!(other.0, StatusCode::BAD_REQUEST);
        keys.release("k");
        assert_eq!(keys.take("k", &form("2"), 0), None);
    }
}
