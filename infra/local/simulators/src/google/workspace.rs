//! The API of Workspace Events: subscriptions are made and looked at.

use super::Google;
use super::answers::{Pairs, Refusal, Rpc, message};
use super::books::{Books, Caller, Service};
use super::draft::instant;
use super::ids;
use super::paging::{Page, page};
use super::quirks::Quirk;
use super::subscriptions::{KINDS, LONGEST, Operation, PREFIX, Subscription, Target};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

const SCOPES: [&str; 2] = ["meetings.space.created", "meetings.space.readonly"];

/// The members of a subscription.
pub(super) const MEMBERS: [&str; 16] = [
    "name",
    "uid",
    "targetResource",
    "eventTypes",
    "payloadOptions",
    "notificationEndpoint",
    "state",
    "suspensionReason",
    "authority",
    "userAuthority",
    "createTime",
    "updateTime",
    "reconciling",
    "etag",
    "expireTime",
    "ttl",
];

pub(super) type Answered = Result<Json<Value>, Refusal>;

pub(super) fn text<'a>(sent: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    sent.get(name).and_then(Value::as_str)
}

impl Subscription {
    /// As it is answered.
    fn shown(&self) -> Value {
        let state = self.suspended.map_or("ACTIVE", |_| "SUSPENDED");
        let authority = format!("users/{}", self.owner);
        let mut shown = json!({
            "name": self.name(),
            "uid": self.id,
            "targetResource": self.target.written(),
            "eventTypes": self.types,
            "payloadOptions": {},
            "notificationEndpoint": {"pubsubTopic": self.topic},
            "state": state,
            "authority": authority,
            "userAuthority": authority,
            "createTime": self.created,
            "updateTime": self.updated,
            "expireTime": self.expires,
            "etag": self.etag(),
        });
        if let (Some(shown), Some(reason)) = (shown.as_object_mut(), self.suspended) {
            shown.insert("suspensionReason".into(), reason.word().into());
        }
        shown
    }
}

impl Books {
    pub(super) fn subscriber(&mut self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        self.caller(headers, Service::Events, &SCOPES)
    }

    /// A subscription of the caller that is alive.
    pub(super) fn subscription(&self, caller: &Caller, id: &str) -> Result<usize, Refusal> {
        let now = self.now();
        let mut list = self.subscriptions.list.iter();
        let place = list.position(|found| found.id == id && found.is_alive(now));
        let place = place.ok_or_else(Refusal::unknown)?;
        let owner = self.subscriptions.list.get(place).map(|found| &found.owner);
        if owner == Some(&caller.sub) {
            Ok(place)
        } else {
            Err(Refusal::denied())
        }
    }

    /// The operation whose outcome is a subscription.
    pub(super) fn operation(&mut self, subscription: &Subscription, what: &str) -> Value {
        let mut response = subscription.shown();
        if let Some(response) = response.as_object_mut() {
            let kind = "type.googleapis.com/google.apps.events.subscriptions.v1.Subscription";
            response.insert("@type".into(), kind.into());
        }
        self.operated(&subscription.owner, what, &response)
    }

    pub(super) fn operated(&mut self, owner: &str, what: &str, response: &Value) -> Value {
        let name = format!("operations/{}", ids::opaque(24));
        let kind = format!("type.googleapis.com/google.apps.events.subscriptions.v1.{what}Metadata");
        let pending = json!({"name": name, "metadata": {"@type": kind}});
        let mut done = pending.clone();
        if let Some(done) = done.as_object_mut() {
            done.insert("done".into(), true.into());
            done.insert("response".into(), response.clone());
        }

        let waits = what == "CreateSubscription" && self.is(Quirk::OperationsWait);
        let operation = Operation {
            answer: done.clone(),
            owner: owner.to_owned(),
            asks_left: u32::from(waits),
        };
        self.subscriptions.operations.insert(name, operation);
        if waits { pending } else { done }
    }

    /// A new subscription, as it was asked for.
    fn subscribed(&mut self, caller: &Caller, sent: &Map<String, Value>) -> Result<Subscription, Refusal> {
        let target = text(sent, "targetResource").and_then(Target::read);
        let target = target.ok_or_else(|| Refusal::invalid("Invalid target resource."))?;
        self.check_target(caller, &target)?;
        let types = types(sent.get("eventTypes"))?;
        let topic = self.topic_of(sent)?;
        check_payload(sent.get("payloadOptions"))?;

        let now = self.now();
        let mut subscription = Subscription::new(&caller.sub, target, types, &topic, now);
        subscription.extend(expiry(sent, now)?, now);
        subscription.is_narrow = !caller.holds(&["meetings.space.readonly"]);
        let mut list = self.subscriptions.list.iter();
        let exists = list.any(|found| {
            found.owner == caller.sub && found.target == subscription.target && found.is_alive(now)
        });
        if exists {
            let text = "A subscription for this target resource already exists.";
            return Err(Refusal::rpc(Rpc::AlreadyExists, text));
        }
        Ok(subscription)
    }

    /// A user may subscribe to themselves and to spaces of their own.
    fn check_target(&self, caller: &Caller, target: &Target) -> Result<(), Refusal> {
        match target {
            Target::User(id) => {
                let person = self.person(&caller.sub);
                let is_self = person.is_some_and(|person| person.meet_id == *id);
                is_self.then_some(()).ok_or_else(Refusal::denied)
            }
            Target::Space(id) => {
                let space = self.rooms.space(id).ok_or_else(Refusal::unknown)?;
                let is_within = space.is_by_app || caller.holds(&["meetings.space.readonly"]);
                let is_theirs = space.owner == caller.sub && is_within;
                is_theirs.then_some(()).ok_or_else(Refusal::denied)
            }
        }
    }

    fn topic_of(&self, sent: &Map<String, Value>) -> Result<String, Refusal> {
        let endpoint = sent.get("notificationEndpoint").and_then(Value::as_object);
        let topic = endpoint
            .and_then(|endpoint| text(endpoint, "pubsubTopic"))
            .unwrap_or_default();
        let parts: Vec<&str> = topic.split('/').collect();
        let is_name = matches!(parts.as_slice(), ["projects", project, "topics", topic]
            if !project.is_empty() && !topic.is_empty());
        if !is_name || endpoint.is_some_and(|endpoint| endpoint.len() != 1) {
            return Err(Refusal::invalid("Invalid notification endpoint."));
        }

        if self
            .subscriptions
            .topic
            .as_ref()
            .is_some_and(|known| known != topic)
        {
            return Err(Refusal::rpc(Rpc::NotFound, "The Pub/Sub topic does not exist."));
        }
        if !self.subscriptions.may_publish {
            let text = "Publishing to the Pub/Sub topic is not permitted.";
            return Err(Refusal::rpc(Rpc::PermissionDenied, text));
        }
        Ok(topic.to_owned())
    }
}

pub(super) fn types(sent: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let names = sent.and_then(Value::as_array).filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| Refusal::invalid("At least one event type is needed."))?;
    let known = |name: &Value| {
        let name = name.as_str()?;
        let kind = name.strip_prefix(PREFIX)?;
        KINDS.contains(&kind).then(|| name.to_owned())
    };
    let types: Option<Vec<String>> = names.iter().map(known).collect();
    types.ok_or_else(|| Refusal::invalid("An event type does not exist for the target resource."))
}

/// Meet has no resource data to include.
fn check_payload(options: Option<&Value>) -> Result<(), Refusal> {
    let Some(options) = options else {
        return Ok(());
    };
    let includes = options.get("includeResource").and_then(Value::as_bool);
    if includes == Some(true) || options.get("fieldMask").is_some() {
        return Err(Refusal::invalid(
            "Resource data is not supported for this target resource.",
        ));
    }
    Ok(())
}

/// When a subscription is to end: by `ttl`, by `expireTime`, or as late as it may.
pub(super) fn expiry(sent: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Refusal> {
    let invalid = || Refusal::invalid("Invalid time to live.");
    let longest = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
    let wanted = match (sent.get("ttl"), sent.get("expireTime")) {
        (None, None) => return Ok(longest),
        (Some(_), Some(_)) => return Err(invalid()),
        (None, Some(time)) => time.as_str().and_then(instant).ok_or_else(invalid)?,
        (Some(ttl), None) => {
            let seconds = ttl.as_str().and_then(|ttl| ttl.strip_suffix('s'));
            let seconds: i64 = seconds.and_then(|text| text.parse().ok()).ok_or_else(invalid)?;
            if seconds == 0 {
                return Ok(longest);
            }
            let life = SignedDuration::from_secs(seconds);
            now.checked_add(life).map_err(|_| invalid())?
        }
    };
    if wanted > longest || wanted <= now {
        return Err(invalid());
    }
    Ok(wanted)
}

pub(super) async fn create(
    State(google): State<Google>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["validateOnly"])?;
    let sent = message(&headers, &body, &MEMBERS)?;
    let subscription = books.subscribed(&caller, &sent)?;

    if !pairs.is_true("validateOnly") {
        books.subscriptions.list.push(subscription.clone());
    }
    Ok(Json(books.operation(&subscription, "CreateSubscription")))
}

pub(super) async fn get(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    Pairs::of(&uri).only(&[])?;
    let place = books.subscription(&caller, &id)?;
    let found = books.subscriptions.list.get(place).ok_or_else(Refusal::unknown)?;
    Ok(Json(found.shown()))
}

/// What a list is of: types of events, of which one is needed, and perhaps a target.
struct Wanted {
    types: Vec<String>,
    target: Option<Target>,
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        let (mut types, mut target) = (Vec::new(), None);
        for clause in text.split(" AND ") {
            let clause = clause.trim();
            if let Some(named) = clause.strip_prefix("target_resource") {
                target = Some(Target::read(quoted(named.trim_start(), '=')?)?);
                continue;
            }
            let clause = clause
                .strip_prefix('(')
                .and_then(|inner| inner.strip_suffix(')'))
                .unwrap_or(clause);
            for named in clause.split(" OR ") {
                let named = named.trim().strip_prefix("event_types")?;
                types.push(quoted(named, ':')?.to_owned());
            }
        }
        (!types.is_empty()).then_some(Self { types, target })
    }
}

fn quoted(text: &str, mark: char) -> Option<&str> {
    text.strip_prefix(mark)?
        .trim()
        .strip_prefix('"')?
        .strip_suffix('"')
}

pub(super) async fn list(State(google): State<Google>, uri: Uri, headers: HeaderMap) -> Answered {
    let mut books = google.books();
    let caller = books.subscriber(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["pageSize", "pageToken", "filter"])?;
    let wanted = Wanted::parse(pairs.one("filter").unwrap_or_default());
    let wanted = wanted.ok_or_else(|| Refusal::invalid("Invalid filter: name at least one event type."))?;

    let now = books.now();
    let rows = books
        .subscriptions
        .list
        .iter()
        .filter(|found| found.owner == caller.sub && found.is_alive(now))
        .filter(|found| wanted.types.iter().any(|wanted| found.types.contains(wanted)))
        .filter(|found| {
            wanted
                .target
                .as_ref()
                .is_none_or(|target| *target == found.target)
        })
        .map(Subscription::shown)
        .collect();
    let sizes = Page::of(&pairs, ("pageSize", 50, 100), books.is(Quirk::TinyPages));
    let sizes = sizes.ok_or_else(|| Refusal::invalid("Request contains an invalid argument."))?;
    let (rows, next): (Vec<Value>, _) = page(rows, &sizes);
    let mut answer = Map::new();
    if !rows.is_empty() {
        answer.insert("subscriptions".into(), rows.into());
    }
    answer.extend(next.map(|next| ("nextPageToken".to_owned(), next.into())));
    Ok(Json(answer.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_at_least_one_type() {
        let one = r#"event_types:"google.workspace.meet.conference.v2.ended""#;
        assert_eq!(Wanted::parse(one).unwrap().types.len(), 1);

        let more = format!(r#"({one} OR {one}) AND target_resource="//meet.googleapis.com/spaces/X""#);
        let more = Wanted::parse(&more).unwrap();
        assert_eq!(more.types.len(), 2);
        assert_eq!(more.target, Some(Target::Space("X".into())));

        assert!(Wanted::parse("").is_none());
        assert!(Wanted::parse(r#"target_resource="//meet.googleapis.com/spaces/X""#).is_none());
    }

    #[test]
    fn no_subscription_lives_longer_than_a_week() {
        let now = Timestamp::UNIX_EPOCH;
        let until = |ttl: &str| {
            let sent = json!({"ttl": ttl}).as_object().cloned().unwrap();
            expiry(&sent, now).map(Timestamp::as_second).ok()
        };
        assert_eq!(until("604800s"), Some(604_800));
        assert_eq!(until("0s"), Some(604_800));
        assert_eq!(until("3600s"), Some(3600));
        for bad in ["604801s", "3600", "-1s", "1h"] {
            assert_eq!(until(bad), None, "{bad}");
        }
    }
}
