//! Who may join: a participant's token, checked as the server does when a client connects.

use super::proto;
use super::schema::ROOM_CONFIGURATION;
use super::tokens::{Claims, verify};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// Identities, names and names of rooms have at most so many bytes.
pub(super) const LONGEST_NAME: usize = 256;
pub(super) const LONGEST_METADATA: usize = 512 * 1024;
const LONGEST_ATTRIBUTES: usize = 64 * 1024;

/// The server does not let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Of the answer.
    pub status: u16,
    /// The answer: plain words.
    pub text: String,
}

impl Refusal {
    pub(super) fn new(status: u16, text: &str) -> Self {
        Self {
            status,
            text: text.to_owned(),
        }
    }
}

/// Somebody who may join.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    pub(super) claims: Claims,
    pub(super) room: String,
    /// What the token says about the room that it would bring into being, in snake case.
    pub(super) configuration: Value,
    pub(super) may_create: bool,
}

/// Whether `token` lets its bearer join at `at`, and where. `wanted` is the room that the client asks for, which counts
/// where the token names none.
pub(super) fn admit(
    token: &str,
    wanted: &str,
    (key, secret): (&str, &str),
    at: Timestamp,
) -> Result<Admission, Refusal> {
    let claims = verify(token, key, secret, at).map_err(|text| Refusal::new(401, &text))?;
    let grant = claims.video.clone().unwrap_or_default();
    if !grant.room_join {
        return Err(Refusal::new(401, "permissions denied"));
    }
    check_identity(&claims)?;

    let room = if grant.room.is_empty() {
        wanted.to_owned()
    } else {
        grant.room
    };
    if room.is_empty() {
        return Err(Refusal::new(400, "no room name"));
    }
    if room.len() > LONGEST_NAME {
        return Err(Refusal::new(400, "room name length exceeds limits"));
    }

    Ok(Admission {
        room,
        configuration: configuration(&claims)?,
        may_create: grant.room_create,
        claims,
    })
}

fn check_identity(claims: &Claims) -> Result<(), Refusal> {
    let refuse = |text| Err(Refusal::new(400, text));
    let attributes = claims.attributes.iter();
    let weight: usize = attributes.map(|(name, value)| name.len() + value.len()).sum();

    if claims.identity().is_empty() {
        return refuse("identity cannot be empty");
    }
    if claims.identity().len() > LONGEST_NAME {
        return refuse("participant identity length exceeds limits");
    }
    if claims.name.len() > LONGEST_NAME {
        return refuse("name length exceeds limits");
    }
    if claims.metadata.len() > LONGEST_METADATA {
        return refuse("metadata size exceeds limits");
    }
    if weight > LONGEST_ATTRIBUTES {
        return refuse("attribute size exceeds limits");
    }
    Ok(())
}

/// The room's configuration. One with secrets can be read by whoever holds the token, and is refused; the vendor only
/// warns so far.
fn configuration(claims: &Claims) -> Result<Value, Refusal> {
    let Some(given) = &claims.room_config else {
        return Ok(json!({}));
    };
    let read = proto::read(given, ROOM_CONFIGURATION);
    let configuration = read.ok_or_else(|| Refusal::new(401, "invalid authorization token"))?;
    if configuration.get("egress").is_some_and(has_secrets) {
        let text = "room configuration should not contain sensitive credentials";
        return Err(Refusal::new(401, text));
    }
    Ok(configuration)
}

fn has_secrets(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "secret" | "credentials" | "account_key" => value != "",
            "stream_outputs" => value != &json!([]),
            _ => has_secrets(value),
        }),
        Value::Array(items) => items.iter().any(has_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::livekit::tokens::{Algorithm, sign};

    fn joining(video: &Value, more: &Value) -> Result<Admission, Refusal> {
        let mut claims = json!({"iss": "devkey", "sub": "learner-1", "exp": 2_000, "nbf": 0, "video": video});
        let fields = claims.as_object_mut().unwrap();
        fields.extend(more.as_object().cloned().unwrap());
        let token = sign(Algorithm::Hs256, &claims, "secret");
        let at = Timestamp::from_second(1_000).unwrap();
        admit(&token, "", ("devkey", "secret"), at)
    }

    #[test]
    fn whoever_may_join_is_let_into_the_room_of_the_token() {
        let admission = joining(&json!({"roomJoin": true, "room": "b-1"}), &json!({})).unwrap();
        assert_eq!(
            (admission.room.as_str(), admission.claims.identity()),
            ("b-1", "learner-1")
        );
    }

    #[test]
    fn each_fault_has_its_own_refusal() {
        let good = json!({"roomJoin": true, "room": "b-1"});
        let secret = json!({"roomConfig": {"egress": {"room": {"fileOutputs": [{"s3": {"secret": "x"}}]}}}});
        for (video, more, status) in [
            (json!({"room": "b-1"}), json!({}), 401),
            (json!({"roomJoin": true}), json!({}), 400),
            (json!({"roomJoin": true, "room": "r".repeat(257)}), json!({}), 400),
            (good.clone(), json!({"sub": ""}), 400),
            (good.clone(), json!({"sub": "s".repeat(257)}), 400),
            (
                good.clone(),
                json!({"metadata": "m".repeat(LONGEST_METADATA + 1)}),
                400,
            ),
            (good.clone(), json!({"exp": 900}), 401),
            (good.clone(), json!({"nbf": 1_100}), 401),
            (good.clone(), secret, 401),
            (good, json!({"iss": "other"}), 401),
        ] {
            let refusal = joining(&video, &more).unwrap_err();
            assert_eq!(refusal.status, status, "{video} {more}: {refusal:?}");
        }
    }
}
