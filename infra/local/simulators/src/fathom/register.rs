//! How registrations are made and ended.

use super::admission::Caller;
use super::hooks::{Hook, Trigger};
use super::meeting::Included;
use super::quirks::Quirk;
use super::webhooks::Secret;
use super::{Fathom, json_body};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

/// What a registration asks for, once the vendor finds nothing wrong with it.
pub(super) struct Wish {
    pub(super) url: Url,
    pub(super) triggered_for: Vec<Trigger>,
    pub(super) included: Included,
}

impl Wish {
    /// All that the account records, with everything in it but what a CRM knows.
    pub(super) fn usual(url: Url) -> Self {
        Self {
            url,
            triggered_for: vec![Trigger::MyRecordings],
            included: Included {
                transcript: true,
                summary: true,
                action_items: true,
                ..Included::default()
            },
        }
    }

    fn read(body: &Value, has_team: bool, takes_loopback: bool) -> Option<Self> {
        let known = [
            "destination_url",
            "triggered_for",
            "include_transcript",
            "include_summary",
            "include_action_items",
            "include_crm_matches",
        ];
        let fields = body.as_object()?;
        if fields.keys().any(|name| !known.contains(&name.as_str())) {
            return None;
        }

        let triggered_for: Vec<Trigger> =
            serde_json::from_value(fields.get("triggered_for")?.clone()).ok()?;
        let is_possible = |trigger: &Trigger| has_team || !trigger.needs_team();
        if triggered_for.is_empty() || !triggered_for.iter().all(is_possible) {
            return None;
        }

        let flag = |name: &str| fields.get(name).map_or(Some(false), Value::as_bool);
        let included = Included {
            transcript: flag("include_transcript")?,
            summary: flag("include_summary")?,
            action_items: flag("include_action_items")?,
            highlights: false,
            crm_matches: flag("include_crm_matches")?,
        };
        (included != Included::default()).then_some(())?;
        Some(Self {
            url: destination(fields.get("destination_url")?.as_str()?, takes_loopback)?,
            triggered_for,
            included,
        })
    }
}

/// An address to which the vendor sends things: https, unless it is told to take this machine's too.
pub(super) fn destination(text: &str, takes_loopback: bool) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_taken = url.scheme() == "https" || (takes_loopback && url.scheme() == "http" && is_loopback);
    is_taken.then_some(url)
}

pub(super) async fn create(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let body = json_body(&headers, &body).ok_or(StatusCode::BAD_REQUEST)?;
    let now = vendor.now();
    let mut books = vendor.books();
    let has_team = books.team(&caller.account).is_some();
    let wish = Wish::read(&body, has_team, books.is(Quirk::TakesLoopback));
    let wish = wish.ok_or(StatusCode::BAD_REQUEST)?;

    let hook = Hook::new(&caller.account, wish, Secret::new(), now);
    let answer = hook.render(&books.quirks);
    books.hooks.push(hook);
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn delete(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> StatusCode {
    let mut books = vendor.books();
    let hook = books.hook_mut(&id);
    let owned = hook.filter(|hook| hook.account == caller.account);
    if owned.is_some_and(Hook::delete) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

#[cfg(test)]
mod tests {
    use crate::fathom::stage::{KEY, Stage, say};
    use serde_json::{Value, json};

    fn wish() -> Value {
        json!({
            "destination_url": "https://firstbell.test/api/webhooks/fathom",
            "triggered_for": ["my_recordings"], "include_summary": true,
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut wish = wish();
        wish[name] = value;
        wish
    }

    #[tokio::test]
    async fn a_registration_is_made_once_and_ends_once() {
        let stage = Stage::new().await;

        let made = stage.post("webhooks", &wish()).await;
        let id = made.body["id"].as_str().unwrap();
        let path = format!("webhooks/{id}");
        let delete = || say(stage.asking("DELETE", &path).header("X-Api-Key", KEY));

        assert_eq!(made.status, 201);
        assert_eq!(made.body["secret"].as_str().unwrap().len(), 38);
        assert_eq!(stage.fathom.content_ready(stage.lesson(0)).len(), 1);
        assert_eq!(delete().await.status, 204);
        assert_eq!(delete().await.status, 404);
        assert!(stage.fathom.content_ready(stage.lesson(1)).is_empty());
    }

    #[tokio::test]
    async fn a_registration_that_is_not_as_it_should_be_is_refused() {
        let stage = Stage::new().await;
        let wrong = [
            with("destination_url", json!("http://firstbell.test/")),
            with("destination_url", json!("http://127.0.0.1:9/")),
            with("destination_url", json!(7)),
            with("triggered_for", json!([])),
            with("triggered_for", json!(["everything"])),
            with("triggered_for", json!("my_recordings")),
            with("triggered_for", json!(["shared_team_recordings"])),
            with("include_summary", json!(false)),
            with("include_summary", json!("true")),
            with("include_highlights", json!(true)),
            json!([]),
        ];

        for body in wrong {
            let said = stage.post("webhooks", &body).await;
            assert_eq!((said.status.as_u16(), said.text.as_str()), (400, ""), "{body}");
        }
        let untyped = stage.asking("POST", "webhooks").header("X-Api-Key", KEY);
        assert_eq!(say(untyped.body(wish().to_string())).await.status, 400);
        assert!(stage.fathom.registrations().is_empty());
    }
}
