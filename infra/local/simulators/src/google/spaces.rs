//! Meet's spaces: making them, looking at them, and how they are set.

use super::Google;
use super::accounts::Account;
use super::answers::{Pairs, Refusal, Rpc, members, message};
use super::books::{Books, Caller, Service};
use super::rooms::Space;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

const READ: [&str; 3] = [
    "meetings.space.created",
    "meetings.space.readonly",
    "meetings.space.settings",
];

/// The members of a space.
const MEMBERS: [&str; 7] = [
    "name",
    "meetingUri",
    "meetingCode",
    "config",
    "activeConference",
    "phoneAccess",
    "gatewaySipAccess",
];

/// How a space may be set: what may stand where.
const SETTINGS: [(&str, &[&str]); 11] = [
    ("accessType", &["OPEN", "TRUSTED", "RESTRICTED"]),
    ("entryPointAccess", &["ALL", "CREATOR_APP_ONLY"]),
    ("moderation", &["ON", "OFF"]),
    (
        "attendanceReportGenerationType",
        &["GENERATE_REPORT", "DO_NOT_GENERATE"],
    ),
    (
        "moderationRestrictions.chatRestriction",
        &["HOSTS_ONLY", "NO_RESTRICTION"],
    ),
    (
        "moderationRestrictions.reactionRestriction",
        &["HOSTS_ONLY", "NO_RESTRICTION"],
    ),
    (
        "moderationRestrictions.presentRestriction",
        &["HOSTS_ONLY", "NO_RESTRICTION"],
    ),
    ("moderationRestrictions.defaultJoinAsViewerType", &["ON", "OFF"]),
    (
        "artifactConfig.recordingConfig.autoRecordingGeneration",
        &["ON", "OFF"],
    ),
    (
        "artifactConfig.transcriptionConfig.autoTranscriptionGeneration",
        &["ON", "OFF"],
    ),
    (
        "artifactConfig.smartNotesConfig.autoSmartNotesGeneration",
        &["ON", "OFF"],
    ),
];

impl Space {
    pub(super) fn name(&self) -> String {
        format!("spaces/{}", self.id)
    }
}

impl Books {
    /// A space that the caller may see: their own, and with the narrow scope only if the app made it.
    fn seen(&self, caller: &Caller, key: &str, wide: &[&str]) -> Result<String, Refusal> {
        let space = self.rooms.space_by_any(key).ok_or_else(Refusal::unknown)?;
        let is_within = space.is_by_app || caller.holds(wide);
        if space.owner == caller.sub && is_within {
            Ok(space.id.clone())
        } else {
            Err(Refusal::denied())
        }
    }

    fn shown_space(&mut self, id: &str) -> Result<Value, Refusal> {
        let running = self.rooms.running(id).map(|record| record.name());
        let space = self.rooms.space(id).ok_or_else(Refusal::unknown)?;
        let mut shown = json!({
            "name": space.name(),
            "meetingUri": format!("https://meet.google.com/{}", space.code),
            "meetingCode": space.code,
            "config": space.config,
        });
        if let (Some(shown), Some(running)) = (shown.as_object_mut(), running) {
            shown.insert("activeConference".into(), json!({"conferenceRecord": running}));
        }
        Ok(shown)
    }

    /// Sets what the mask names of a space, or all that was sent.
    fn set(&mut self, id: &str, sent: &Map<String, Value>, mask: Option<&str>) -> Result<(), Refusal> {
        let settings = settings(sent)?;
        let wanted: Vec<&str> = mask
            .unwrap_or_default()
            .split(',')
            .filter(|path| !path.is_empty())
            .collect();
        for path in &wanted {
            let inner = path.strip_prefix("config").unwrap_or("?");
            let inner = inner.strip_prefix('.').unwrap_or(inner);
            let is_known = inner.is_empty() || SETTINGS.iter().any(|(name, _)| under(name, inner));
            if !is_known && *path != "*" {
                return Err(Refusal::invalid(&format!("Invalid field mask path: {path}")));
            }
        }

        let space = self.rooms.space_mut(id).ok_or_else(Refusal::unknown)?;
        let takes = |name: &str| {
            wanted.is_empty()
                || wanted.iter().any(|path| {
                    let inner = path.strip_prefix("config").unwrap_or_default();
                    *path == "*" || under(name, inner.trim_start_matches('.'))
                })
        };
        for (name, value) in settings.into_iter().filter(|(name, _)| takes(name)) {
            put(&mut space.config, name, value);
        }
        Ok(())
    }

    /// Recording needs an edition that can record.
    fn check_edition(&self, caller: &Caller, sent: &Map<String, Value>) -> Result<(), Refusal> {
        let config = sent.get("config").and_then(|config| config.get("artifactConfig"));
        let person = self.person(&caller.sub);
        let is_personal = person.is_some_and(|person| person.account == Account::Personal);
        if config.is_some() && is_personal {
            let text = "The user's edition does not support these artifacts.";
            return Err(Refusal::rpc(Rpc::FailedPrecondition, text));
        }
        Ok(())
    }
}

/// Whether a setting is the one named, or inside of it. The empty name is everything.
fn under(setting: &str, named: &str) -> bool {
    let rest = setting.strip_prefix(named);
    named.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every setting that was sent, by its name.
fn settings(sent: &Map<String, Value>) -> Result<Vec<(&'static str, Value)>, Refusal> {
    let mut found = Vec::new();
    let Some(config) = sent.get("config") else {
        return Ok(found);
    };
    check_names(config, "")?;
    for (name, values) in SETTINGS {
        let pointer = format!("/{}", name.replace('.', "/"));
        let Some(value) = config.pointer(&pointer) else {
            continue;
        };
        let is_known = value.as_str().is_some_and(|value| values.contains(&value));
        if !is_known {
            return Err(Refusal::invalid(&format!(
                "Invalid value at 'space.config.{name}'"
            )));
        }
        found.push((name, value.clone()));
    }
    Ok(found)
}

/// Refuses members of a configuration that do not exist. It is at most three deep.
fn check_names(config: &Value, prefix: &str) -> Result<(), Refusal> {
    let Some(config) = config.as_object() else {
        return Err(Refusal::invalid("Invalid value at 'space.config'"));
    };
    for (name, value) in config {
        let path = format!("{prefix}{name}");
        let is_leaf = SETTINGS.iter().any(|(known, _)| *known == path);
        let is_branch = SETTINGS.iter().any(|(known, _)| under(known, &path));
        match (is_leaf, is_branch) {
            (true, _) => {}
            (false, true) => check_names(value, &format!("{path}."))?,
            (false, false) => {
                let text =
                    format!("Invalid JSON payload received. Unknown name \"{path}\": Cannot find field.");
                return Err(Refusal::invalid(&text));
            }
        }
    }
    Ok(())
}

fn put(config: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            config.insert(name.to_owned(), value);
        }
        Some((outer, inner)) => {
            let branch = config.entry(outer).or_insert_with(|| json!({}));
            if let Some(branch) = branch.as_object_mut() {
                put(branch, inner, value);
            }
        }
    }
}

pub(super) async fn create(
    State(google): State<Google>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.caller(&headers, Service::Meet, &["meetings.space.created"])?;
    Pairs::of(&uri).only(&[])?;
    let sent = message(&headers, &body, &MEMBERS)?;
    settings(&sent)?;
    books.check_edition(&caller, &sent)?;

    let id = books.rooms.open(&caller.sub, true);
    books.set(&id, &sent, None)?;
    books.shown_space(&id).map(Json)
}

pub(super) async fn get(
    State(google): State<Google>,
    Path(key): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.caller(&headers, Service::Meet, &READ)?;
    Pairs::of(&uri).only(&[])?;
    let wide = ["meetings.space.readonly", "meetings.space.settings"];
    let id = books.seen(&caller, &key, &wide)?;
    books.shown_space(&id).map(Json)
}

pub(super) async fn patch(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let scopes = ["meetings.space.created", "meetings.space.settings"];
    let caller = books.caller(&headers, Service::Meet, &scopes)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["updateMask"])?;
    let sent = message(&headers, &body, &MEMBERS)?;
    check_name(&books, &id)?;
    let id = books.seen(&caller, &id, &["meetings.space.settings"])?;
    books.check_edition(&caller, &sent)?;

    books.set(&id, &sent, pairs.one("updateMask"))?;
    books.shown_space(&id).map(Json)
}

/// A change wants the space's own name: a code is no name.
fn check_name(books: &Books, key: &str) -> Result<(), Refusal> {
    if books.rooms.space(key).is_some() {
        return Ok(());
    }
    match books.rooms.space_by_any(key) {
        Some(_) => Err(Refusal::invalid("A meeting code cannot be used here.")),
        None => Err(Refusal::unknown()),
    }
}

/// `spaces/{space}:endActiveConference`.
pub(super) async fn act(
    State(google): State<Google>,
    Path(target): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.caller(&headers, Service::Meet, &["meetings.space.created"])?;
    Pairs::of(&uri).only(&[])?;
    members(&message(&headers, &body, &[])?, &[])?;
    let id = target
        .strip_suffix(":endActiveConference")
        .ok_or_else(Refusal::unknown)?;
    check_name(&books, id)?;
    let id = books.seen(&caller, id, &[])?;
    if books.rooms.running(&id).is_none() {
        let text = "There is no active conference for the given space.";
        return Err(Refusal::rpc(Rpc::FailedPrecondition, text));
    }

    let now = books.now();
    let told = books.end(&id, now);
    books.waiting.extend(told);
    Ok(Json(json!({})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_exist_are_taken() {
        let sent = |config: Value| json!({"config": config}).as_object().cloned().unwrap();

        let recording = json!({"artifactConfig": {"recordingConfig": {"autoRecordingGeneration": "ON"}}});
        let found = settings(&sent(recording)).unwrap();
        assert_eq!(
            found[0].0,
            "artifactConfig.recordingConfig.autoRecordingGeneration"
        );

        assert!(settings(&sent(json!({"accessType": "PUBLIC"}))).is_err());
        assert!(settings(&sent(json!({"artifactConfig": {"recording": {}}}))).is_err());
    }
}
