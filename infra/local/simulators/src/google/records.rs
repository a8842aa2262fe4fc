//! Meet's conference records: who was there, when, and what was recorded.

use super::Google;
use super::answers::{Pairs, Refusal};
use super::books::{Books, Caller, Service};
use super::filter::{Field, Filter};
use super::guard::first_level;
use super::paging::{Page, page};
use super::quirks::{Quirk, take_one};
use super::rooms::{Participant, Record, Session, Who};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

const SCOPES: [&str; 2] = ["meetings.space.created", "meetings.space.readonly"];

/// The usual and the greatest number of rows.
const OF_RECORDS: (&str, usize, usize) = ("pageSize", 25, 100);
const OF_PEOPLE: (&str, usize, usize) = ("pageSize", 100, 250);

impl Books {
    pub(super) fn meets(&mut self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        self.caller(headers, Service::Meet, &SCOPES)
    }

    /// Whether the caller's scopes reach a record: the narrow one only those of rooms that the app made.
    fn reaches(&self, caller: &Caller, record: &Record) -> bool {
        let space = self.rooms.space(&record.space);
        let is_by_app = space.is_some_and(|space| space.is_by_app);
        is_by_app || caller.holds(&["meetings.space.readonly"])
    }

    fn organizes(&self, caller: &Caller, record: &Record) -> bool {
        let space = self.rooms.space(&record.space);
        space.is_some_and(|space| space.owner == caller.sub)
    }

    /// Refuses records that the caller may not look at: they organized it, or were there.
    pub(super) fn check_record(&mut self, caller: &Caller, id: &str) -> Result<(), Refusal> {
        if take_one(&mut self.faults.hide_records_next) {
            return Err(Refusal::unknown());
        }
        let now = self.now();
        let record = self.rooms.record(id).filter(|record| record.is_kept(now));
        let record = record.ok_or_else(Refusal::unknown)?;
        let me = Who::User(caller.sub.clone());
        let was_there = record.participants.iter().any(|somebody| somebody.who == me);
        let is_theirs = was_there || self.organizes(caller, record);
        if is_theirs && self.reaches(caller, record) {
            Ok(())
        } else {
            Err(Refusal::denied())
        }
    }

    /// An end, unless ends are slow to be shown.
    pub(super) fn shown_end(&self, end: Option<Timestamp>) -> Option<Timestamp> {
        end.filter(|_| !self.is(Quirk::Lags))
    }

    fn shown_record(&self, record: &Record) -> Value {
        let mut shown = json!({
            "name": record.name(),
            "startTime": record.start,
            "space": format!("spaces/{}", record.space),
        });
        with(&mut shown, "endTime", self.shown_end(record.end));
        with(&mut shown, "expireTime", self.shown_end(record.expires()));
        shown
    }

    fn shown_participant(&self, record: &Record, somebody: &Participant) -> Value {
        let mut shown = json!({
            "name": format!("{}/participants/{}", record.name(), somebody.id),
        });
        with(&mut shown, "earliestStartTime", somebody.first_start());
        with(&mut shown, "latestEndTime", self.shown_end(somebody.last_end()));
        if let Some(shown) = shown.as_object_mut() {
            shown.extend(self.identity(&somebody.who));
        }
        shown
    }

    fn identity(&self, who: &Who) -> Map<String, Value> {
        let shown = match who {
            Who::User(sub) => {
                let person = self.person(sub);
                let number = person.map_or(sub.as_str(), |person| person.meet_id.as_str());
                let name = person.map(|person| person.name.as_str());
                json!({"signedinUser": {"user": format!("users/{number}"), "displayName": name}})
            }
            Who::Anonymous(name) => json!({"anonymousUser": {"displayName": name}}),
            Who::Phone(number) => json!({"phoneUser": {"displayName": masked(number)}}),
        };
        shown.as_object().cloned().unwrap_or_default()
    }

    fn shown_session(&self, parent: &str, session: &Session) -> Value {
        let mut shown = json!({
            "name": format!("{parent}/participantSessions/{}", session.id),
            "startTime": session.start,
        });
        with(&mut shown, "endTime", self.shown_end(session.end));
        shown
    }

    /// A page of a list.
    pub(super) fn listed(
        &self,
        name: &str,
        rows: Vec<Value>,
        pairs: &Pairs,
        sizes: (&str, usize, usize),
    ) -> Result<Map<String, Value>, Refusal> {
        let wanted = Page::of(pairs, sizes, self.is(Quirk::TinyPages));
        let wanted = wanted.ok_or_else(|| Refusal::invalid("Request contains an invalid argument."))?;
        let (rows, next) = page(rows, &wanted);
        let mut answer = Map::new();
        if !rows.is_empty() {
            answer.insert(name.into(), rows.into());
        }
        answer.extend(next.map(|next| ("nextPageToken".to_owned(), next.into())));
        Ok(answer)
    }
}

/// A member that is only there if it is known.
pub(super) fn with(shown: &mut Value, name: &str, at: Option<Timestamp>) {
    if let (Some(shown), Some(at)) = (shown.as_object_mut(), at) {
        shown.insert(name.to_owned(), at.to_string().into());
    }
}

/// A number of which the middle is not told.
fn masked(number: &str) -> String {
    let length = number.chars().count();
    let is_shown = |place: usize| place < 4 || place + 2 >= length;
    let letters = number.chars().enumerate();
    letters
        .map(|(place, letter)| if is_shown(place) { letter } else { '•' })
        .collect()
}

pub(super) fn parsed(pairs: &Pairs, texts: &[&str], times: &[&str]) -> Result<Filter, Refusal> {
    let text = pairs.one("filter").unwrap_or_default();
    Filter::parse(text, texts, times).ok_or_else(|| Refusal::invalid("Invalid filter."))
}

pub(super) async fn list(
    State(google): State<Google>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["pageSize", "pageToken", "filter"])?;
    let texts = ["space.name", "space.meeting_code"];
    let filter = parsed(&pairs, &texts, &["start_time", "end_time"])?;

    let now = books.now();
    let mut records: Vec<&Record> = books
        .rooms
        .records
        .iter()
        .filter(|record| record.is_kept(now) && books.organizes(&caller, record))
        .filter(|record| books.reaches(&caller, record))
        .filter(|record| filter.takes(|name| books.field(record, name)))
        .collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.start));
    let rows = records
        .into_iter()
        .map(|record| books.shown_record(record))
        .collect();
    let answer = books.listed("conferenceRecords", rows, &pairs, OF_RECORDS)?;
    Ok(Json(answer.into()))
}

impl Books {
    fn field(&self, record: &Record, name: &str) -> Field {
        match name {
            "space.meeting_code" => Field::Text(self.rooms.code_of(&record.space)),
            "space.name" => Field::Text(format!("spaces/{}", record.space)),
            "start_time" => Field::Time(Some(record.start)),
            _ => Field::Time(self.shown_end(record.end)),
        }
    }
}

pub(super) async fn get(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    Pairs::of(&uri).only(&[])?;
    books.check_record(&caller, &id)?;
    let record = books.rooms.record(&id).ok_or_else(Refusal::unknown)?;
    Ok(Json(books.shown_record(record)))
}

pub(super) async fn participants(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["pageSize", "pageToken", "filter"])?;
    let filter = parsed(&pairs, &[], &["earliest_start_time", "latest_end_time"])?;
    books.check_record(&caller, &id)?;
    let record = books.rooms.record(&id).ok_or_else(Refusal::unknown)?;

    let mut people: Vec<&Participant> = record
        .participants
        .iter()
        .filter(|somebody| {
            filter.takes(|name| match name {
                "earliest_start_time" => Field::Time(somebody.first_start()),
                _ => Field::Time(books.shown_end(somebody.last_end())),
            })
        })
        .collect();
    people.sort_by_key(|somebody| std::cmp::Reverse(somebody.first_start()));
    let rows: Vec<Value> = people
        .into_iter()
        .map(|somebody| books.shown_participant(record, somebody))
        .collect();
    let total = rows.len();
    let mut answer = books.listed("participants", rows, &pairs, OF_PEOPLE)?;
    let mask = first_level(pairs.one("fields").unwrap_or_default());
    if mask.iter().any(|name| name == "totalSize" || name == "*") {
        answer.insert("totalSize".into(), total.into());
    }
    Ok(Json(answer.into()))
}

pub(super) async fn participant(
    State(google): State<Google>,
    Path((id, participant)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    Pairs::of(&uri).only(&[])?;
    books.check_record(&caller, &id)?;
    let (record, somebody) = books.present(&id, &participant)?;
    Ok(Json(books.shown_participant(record, somebody)))
}

impl Books {
    fn present(&self, id: &str, participant: &str) -> Result<(&Record, &Participant), Refusal> {
        let record = self.rooms.record(id).ok_or_else(Refusal::unknown)?;
        let mut people = record.participants.iter();
        let somebody = people.find(|somebody| somebody.id == participant);
        Ok((record, somebody.ok_or_else(Refusal::unknown)?))
    }
}

pub(super) async fn sessions(
    State(google): State<Google>,
    Path((id, participant)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["pageSize", "pageToken", "filter"])?;
    let filter = parsed(&pairs, &[], &["start_time", "end_time"])?;
    books.check_record(&caller, &id)?;
    let (record, somebody) = books.present(&id, &participant)?;

    let parent = format!("{}/participants/{participant}", record.name());
    let mut sessions: Vec<&Session> = somebody
        .sessions
        .iter()
        .filter(|session| {
            filter.takes(|name| match name {
                "start_time" => Field::Time(Some(session.start)),
                _ => Field::Time(books.shown_end(session.end)),
            })
        })
        .collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.start));
    let rows = sessions
        .into_iter()
        .map(|session| books.shown_session(&parent, session))
        .collect();
    let answer = books.listed("participantSessions", rows, &pairs, OF_PEOPLE)?;
    Ok(Json(answer.into()))
}

pub(super) async fn session(
    State(google): State<Google>,
    Path((id, participant, session)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    Pairs::of(&uri).only(&[])?;
    books.check_record(&caller, &id)?;
    let (record, somebody) = books.present(&id, &participant)?;
    let parent = format!("{}/participants/{participant}", record.name());
    let mut sessions = somebody.sessions.iter();
    let found = sessions
        .find(|found| found.id == session)
        .ok_or_else(Refusal::unknown)?;
    Ok(Json(books.shown_session(&parent, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_telephone_number_the_middle_is_not_told() {
        assert_eq!(masked("+4915112345678"), "+491••••••••78");
    }
}
