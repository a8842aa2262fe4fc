//! What becomes of subscriptions: they are renewed, woken and deleted, each by an operation.

use super::Google;
use super::answers::{Pairs, Refusal, Rpc, message};
use super::subscriptions::Subscription;
use super::workspace::{Answered, MEMBERS, expiry, text, types};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

fn check_etag(subscription: &Subscription, given: Option<&str>) -> Result<(), Refusal> {
    match given {
        Some(etag) if etag != subscription.etag() => {
            Err(Refusal::rpc(Rpc::Aborted, "The etag is no longer current."))
        }
        _ => Ok(()),
    }
}

pub(super) async fn patch(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["updateMask", "validateOnly"])?;
    let mut sent = message(&headers, &body, &MEMBERS)?;
    let place = books.subscription(&caller, &id)?;
    let found = books.subscriptions.list.get(place).cloned();
    let mut found = found.ok_or_else(Refusal::unknown)?;
    check_etag(&found, text(&sent, "etag"))?;
    take_named(&mut sent, pairs.one("updateMask"))?;

    let now = books.now();
    if let Some(named) = sent.get("eventTypes") {
        found.types = types(Some(named))?;
    }
    if sent.contains_key("ttl") || sent.contains_key("expireTime") {
        found.extend(expiry(&sent, now)?, now);
    }
    found.touch(now);
    if !pairs.is_true("validateOnly")
        && let Some(kept) = books.subscriptions.list.get_mut(place)
    {
        *kept = found.clone();
    }
    Ok(Json(books.operation(&found, "UpdateSubscription")))
}

/// Keeps what the mask names; without a mask, what may be changed.
fn take_named(sent: &mut Map<String, Value>, mask: Option<&str>) -> Result<(), Refusal> {
    let canonical = |path: &str| match path {
        "event_types" | "eventTypes" => Some("eventTypes"),
        "expire_time" | "expireTime" => Some("expireTime"),
        "ttl" => Some("ttl"),
        _ => None,
    };
    let Some(mask) = mask.filter(|mask| !mask.is_empty()) else {
        sent.retain(|name, _| canonical(name).is_some());
        return Ok(());
    };
    let named: Option<Vec<&str>> = mask.split(',').map(canonical).collect();
    let named = named.ok_or_else(|| Refusal::invalid("Invalid field mask."))?;
    sent.retain(|name, _| named.contains(&name.as_str()));
    if named.len() != sent.len() && !named.contains(&"ttl") {
        return Err(Refusal::invalid("A field of the mask is missing."));
    }
    if named.contains(&"ttl") {
        sent.entry("ttl").or_insert_with(|| "0s".into());
    }
    Ok(())
}

pub(super) async fn delete(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["validateOnly", "allowMissing", "etag"])?;
    let nothing = json!({"@type": "type.googleapis.com/google.protobuf.Empty"});
    let place = match books.subscription(&caller, &id) {
        Ok(place) => place,
        Err(refusal) if pairs.is_true("allowMissing") && refusal.status == 404 => {
            return Ok(Json(books.operated(&caller.sub, "DeleteSubscription", &nothing)));
        }
        Err(refusal) => return Err(refusal),
    };
    let found = books.subscriptions.list.get(place).ok_or_else(Refusal::unknown)?;
    check_etag(found, pairs.one("etag"))?;

    if !pairs.is_true("validateOnly") {
        books.subscriptions.list.remove(place);
    }
    Ok(Json(books.operated(&caller.sub, "DeleteSubscription", &nothing)))
}

/// `subscriptions/{subscription}:reactivate`. The end stays as it was.
pub(super) async fn act(
    State(google): State<Google>,
    Path(target): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    Pairs::of(&uri).only(&[])?;
    message(&headers, &body, &[])?;
    let id = target.strip_suffix(":reactivate").ok_or_else(Refusal::unknown)?;
    let place = books.subscription(&caller, id)?;
    let may_publish = books.subscriptions.may_publish;
    let now = books.now();

    let found = books
        .subscriptions
        .list
        .get_mut(place)
        .ok_or_else(Refusal::unknown)?;
    if found.suspended.is_none() {
        return Err(Refusal::rpc(
            Rpc::FailedPrecondition,
            "The subscription is not suspended.",
        ));
    }
    if !may_publish {
        let text = "What suspended the subscription has not been mended.";
        return Err(Refusal::rpc(Rpc::FailedPrecondition, text));
    }
    found.suspended = None;
    found.touch(now);
    let found = found.clone();
    Ok(Json(books.operation(&found, "ReactivateSubscription")))
}

pub(super) async fn operation(
    State(google): State<Google>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    let name = format!("operations/{id}");
    let operation = books.subscriptions.operations.get_mut(&name);
    let operation = operation.filter(|operation| operation.owner == caller.sub);
    let operation = operation.ok_or_else(Refusal::unknown)?;

    let mut answer = operation.answer.clone();
    if operation.asks_left > 0 {
        operation.asks_left -= 1;
        if let Some(answer) = answer.as_object_mut() {
            answer.retain(|name, _| name == "name" || name == "metadata");
        }
    }
    Ok(Json(answer))
}
