//! Calendar's API: events of the caller's own calendar, and whether it may have rooms.

use super::Google;
use super::accounts::Person;
use super::answers::{Pairs, Refusal, object};
use super::books::{Books, Service};
use super::draft::{Draft, instant};
use super::events::{Change, Event};
use super::paging::{Page, page};
use super::quirks::Quirk;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};

const WRITE: [&str; 4] = [
    "calendar",
    "calendar.events",
    "calendar.events.owned",
    "calendar.app.created",
];

const READ: [&str; 7] = [
    "calendar",
    "calendar.readonly",
    "calendar.events",
    "calendar.events.readonly",
    "calendar.events.owned",
    "calendar.events.owned.readonly",
    "calendar.app.created",
];

/// Not `calendar.events`: who may only write events does not see which calendars there are.
const LIST: [&str; 5] = [
    "calendar",
    "calendar.readonly",
    "calendar.app.created",
    "calendar.calendarlist",
    "calendar.calendarlist.readonly",
];

const WRITING: [&str; 5] = [
    "conferenceDataVersion",
    "sendUpdates",
    "maxAttendees",
    "supportsAttachments",
    "alwaysIncludeEmail",
];

const LISTING: [&str; 8] = [
    "privateExtendedProperty",
    "timeMin",
    "timeMax",
    "showDeleted",
    "orderBy",
    "singleEvents",
    "maxResults",
    "pageToken",
];

fn not_found() -> Refusal {
    Refusal::calendar(StatusCode::NOT_FOUND, "notFound", "Not Found")
}

impl Books {
    /// Who calls, if the calendar is theirs.
    fn in_calendar(
        &mut self,
        headers: &HeaderMap,
        calendar: &str,
        wanted: &[&str],
    ) -> Result<Person, Refusal> {
        let caller = self.caller(headers, Service::Calendar, wanted)?;
        let without_app: Vec<&str> = wanted
            .iter()
            .filter(|scope| **scope != "calendar.app.created")
            .copied()
            .collect();
        let person = self.person(&caller.sub).cloned().ok_or_else(not_found)?;
        let is_theirs = calendar == "primary" || calendar.eq_ignore_ascii_case(&person.email);
        if is_theirs && caller.holds(&without_app) {
            Ok(person)
        } else {
            Err(not_found())
        }
    }

    /// The parameters of a write.
    fn writing(&mut self, pairs: &Pairs, what: &str) -> Result<u8, Refusal> {
        self.mind_parameters(pairs, &WRITING, what);
        match pairs.one("sendUpdates") {
            Some("all" | "externalOnly" | "none") => {}
            None => self.complain(format!("{what}: no sendUpdates")),
            Some(_) => return Err(Refusal::bad_event("invalid", "Invalid value for sendUpdates.")),
        }
        match pairs.one("conferenceDataVersion") {
            None | Some("0") => Ok(0),
            Some("1") => Ok(1),
            Some(_) => Err(Refusal::bad_event(
                "invalid",
                "Invalid value for conferenceDataVersion.",
            )),
        }
    }

    fn mind_parameters(&mut self, pairs: &Pairs, known: &[&str], what: &str) {
        if let Some(stranger) = pairs.stranger(known) {
            self.complain(format!("{what}: the parameter {stranger} is ignored"));
        }
    }

    fn drafted(&mut self, headers: &HeaderMap, body: &Bytes, version: u8) -> Result<Draft, Refusal> {
        let fields = object(headers, body).ok_or_else(|| Refusal::bad_event("parseError", "Parse Error"))?;
        Draft::of(fields, version, &mut self.complaints)
    }

    fn found(&self, person: &Person, id: &str) -> Result<usize, Refusal> {
        self.event(&person.sub, id).ok_or_else(not_found)
    }

    fn shown(&self, place: usize) -> Result<Json<Value>, Refusal> {
        let event = self.events.get(place).ok_or_else(not_found)?;
        Ok(Json(self.rendered(event)))
    }

    fn check_match(&self, place: usize, headers: &HeaderMap) -> Result<(), Refusal> {
        let wanted = headers.get("if-match").and_then(|value| value.to_str().ok());
        let etag = self.events.get(place).map(Event::etag);
        match (wanted, etag) {
            (Some(wanted), Some(etag)) if wanted != "*" && wanted != etag => Err(Refusal::calendar(
                StatusCode::PRECONDITION_FAILED,
                "conditionNotMet",
                "Precondition Failed",
            )),
            _ => Ok(()),
        }
    }
}

pub(super) async fn insert(
    State(google): State<Google>,
    Path(calendar): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(&headers, &calendar, &WRITE)?;
    let version = books.writing(&Pairs::of(&uri), "insert")?;
    let draft = books.drafted(&headers, &body, version)?;

    let place = books.insert(&person, draft)?;
    books.shown(place)
}

pub(super) async fn get(
    State(google): State<Google>,
    Path((calendar, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(&headers, &calendar, &READ)?;
    let place = books.found(&person, &id)?;

    books.look(place);
    books.shown(place)
}

pub(super) async fn patch(
    state: State<Google>,
    path: Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    change(&state, &path, &uri, &headers, &body, false)
}

pub(super) async fn update(
    state: State<Google>,
    path: Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    change(&state, &path, &uri, &headers, &body, true)
}

fn change(
    google: &Google,
    (calendar, id): &(String, String),
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    is_whole: bool,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(headers, calendar, &WRITE)?;
    let what = if is_whole { "update" } else { "patch" };
    let version = books.writing(&Pairs::of(uri), what)?;
    let place = books.found(&person, id)?;
    books.check_match(place, headers)?;

    let draft = books.drafted(headers, body, version)?;
    let change = Change {
        draft,
        is_whole,
        version,
    };
    books.change(place, &person, change)?;
    books.shown(place)
}

pub(super) async fn delete(
    State(google): State<Google>,
    Path((calendar, id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(&headers, &calendar, &WRITE)?;
    books.writing(&Pairs::of(&uri), "delete")?;
    let place = books.found(&person, &id)?;
    if books.events.get(place).is_some_and(|event| event.is_cancelled) {
        let text = "Resource has been deleted";
        return Err(Refusal::calendar(StatusCode::GONE, "deleted", text));
    }
    books.check_match(place, &headers)?;

    books.cancel(place);
    Ok(StatusCode::NO_CONTENT)
}

/// What a list is of.
struct Filter {
    properties: Vec<(String, String)>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    shows_deleted: bool,
    by_start: bool,
}

impl Filter {
    fn of(pairs: &Pairs) -> Result<Self, Refusal> {
        let bad = |text: &str| Refusal::bad_event("invalid", text);
        let properties = pairs.all("privateExtendedProperty").map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let properties: Option<Vec<_>> = properties.collect();
        let time = |name: &str| match pairs.one(name) {
            Some(text) => instant(text).map(Some).ok_or_else(|| bad("Bad Request")),
            None => Ok(None),
        };
        let by_start = match pairs.one("orderBy") {
            Some("startTime") if pairs.is_true("singleEvents") => true,
            Some("startTime") => {
                return Err(bad(
                    "The requested ordering is not available for the particular query.",
                ));
            }
            Some("updated") | None => false,
            Some(_) => return Err(bad("Invalid value for orderBy.")),
        };

        let filter = Self {
            properties: properties.ok_or_else(|| bad("Invalid privateExtendedProperty."))?,
            from: time("timeMin")?,
            to: time("timeMax")?,
            shows_deleted: pairs.is_true("showDeleted"),
            by_start,
        };
        if filter.from.zip(filter.to).is_some_and(|(from, to)| to <= from) {
            let text = "The specified time range is empty.";
            return Err(Refusal::bad_event("timeRangeEmpty", text));
        }
        Ok(filter)
    }

    fn takes(&self, event: &Event) -> bool {
        let mut properties = self.properties.iter();
        (self.shows_deleted || !event.is_cancelled)
            && self.from.is_none_or(|from| event.end > from)
            && self.to.is_none_or(|to| event.start < to)
            && properties.all(|(name, value)| event.property(name) == Some(value))
    }
}

pub(super) async fn list(
    State(google): State<Google>,
    Path(calendar): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(&headers, &calendar, &READ)?;
    let pairs = Pairs::of(&uri);
    books.mind_parameters(&pairs, &LISTING, "list");
    let filter = Filter::of(&pairs)?;

    let theirs = books.events.iter().filter(|event| event.owner == person.sub);
    let mut events: Vec<&Event> = theirs.filter(|event| filter.takes(event)).collect();
    if filter.by_start {
        events.sort_by_key(|event| event.start);
    }
    let rows = events.into_iter().map(|event| books.rendered(event)).collect();
    let sizes = Page::of(&pairs, ("maxResults", 250, 2500), books.is(Quirk::TinyPages));
    let bad = || Refusal::bad_event("invalid", "Invalid page token value.");
    let (rows, next) = page(rows, &sizes.ok_or_else(bad)?);

    let mut answer = json!({
        "kind": "calendar#events",
        "etag": "\"p33g0\"",
        "summary": person.email,
        "updated": books.now(),
        "timeZone": "UTC",
        "accessRole": "owner",
        "defaultReminders": [],
        "items": rows,
    });
    if let (Some(answer), Some(next)) = (answer.as_object_mut(), next) {
        answer.insert("nextPageToken".into(), next.into());
    }
    Ok(Json(answer))
}

pub(super) async fn calendar_list(
    State(google): State<Google>,
    Path(calendar): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let person = books.in_calendar(&headers, &calendar, &LIST)?;
    let solutions: &[&str] = if person.may_meet { &["hangoutsMeet"] } else { &[] };
    Ok(Json(json!({
        "kind": "calendar#calendarListEntry",
        "id": person.email,
        "summary": person.email,
        "timeZone": "UTC",
        "selected": true,
        "accessRole": "owner",
        "primary": true,
        "conferenceProperties": {"allowedConferenceSolutionTypes": solutions},
    })))
}
