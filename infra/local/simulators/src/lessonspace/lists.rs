//! Lists of sessions and people, and recordings.

use super::books::{Books, Room, Session, Who, time};
use super::quirks::Quirk;
use super::{Answer, Lessonspace, ORGANISATION, detail};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rows on a page.
const PAGE: usize = 20;

/// Lists that one key may ask for in a second.
const MOST_A_SECOND: usize = 5;

type Filter = HashMap<String, String>;

pub(super) async fn of_organisation(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Path(organisation): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Answer, Response> {
    vendor.admit_reader(&headers, &organisation).await?;
    let path = format!("organisations/{organisation}/sessions/");
    vendor
        .sessions(&headers, &path, &filter, None)
        .map_err(IntoResponse::into_response)
}

pub(super) async fn of_room(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Path(room): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Answer, Response> {
    vendor.admit_reader(&headers, ORGANISATION).await?;
    if vendor.is(Quirk::NoRoomList) || vendor.books().room(&room).is_none() {
        return Err(detail(StatusCode::NOT_FOUND, "Not found.").into_response());
    }
    let path = format!("spaces/{room}/sessions/");
    vendor
        .sessions(&headers, &path, &filter, Some(&room))
        .map_err(IntoResponse::into_response)
}

pub(super) async fn users(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Path(organisation): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Answer, Response> {
    vendor.admit_reader(&headers, &organisation).await?;
    let rows: Vec<Value> = {
        let books = vendor.books();
        let place = filter.get("space").filter(|_| !books.is(Quirk::IgnoresFilters));
        let place = place.map(|space| books.room(space).cloned());
        let people = books.people.iter().filter(|(number, _)| {
            let visited =
                |room: &Option<Room>| room.as_ref().is_some_and(|room| room.visitors.contains(number));
            place.as_ref().is_none_or(visited)
        });
        people
            .map(|(number, person)| {
                json!({
                    "user": {"id": number, "username": format!("user-{number}")}, "role": person.role,
                    "active": true, "name": person.name, "external_id": person.external_id,
                })
            })
            .collect()
    };
    let path = format!("organisations/{organisation}/users/");
    Ok((StatusCode::OK, Json(vendor.page(&headers, &path, &filter, rows))))
}

pub(super) async fn playback(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
    Path((_, uuid)): Path<(String, String)>,
) -> Result<Response, Response> {
    vendor.fault().await?;
    vendor.authorise(&headers).map_err(IntoResponse::into_response)?;

    let books = vendor.books();
    let mut sessions = books.rooms.values().flat_map(|room| &room.sessions);
    let is_there = sessions.any(|session| session.uuid == uuid && is_available(&books, session));
    if books.is(Quirk::RecordingsAreEmpty) {
        return Ok(StatusCode::OK.into_response());
    }
    if books.is(Quirk::RecordingsAreNull) {
        return Ok(Json(json!({"recording_url": null})).into_response());
    }
    if !is_there {
        return Err(detail(StatusCode::NOT_FOUND, "Not found.").into_response());
    }
    let link = format!(
        "{}recording/{uuid}?token={}",
        vendor.base(),
        uuid::Uuid::new_v4().simple()
    );
    Ok(Json(json!({ "recording_url": link })).into_response())
}

/// Nothing is ever transcribed.
pub(super) async fn transcript(
    State(vendor): State<Lessonspace>,
    headers: HeaderMap,
) -> Result<Answer, Response> {
    vendor.fault().await?;
    vendor.authorise(&headers).map_err(IntoResponse::into_response)?;
    Err(detail(StatusCode::NOT_FOUND, "Not found.").into_response())
}

fn is_available(books: &Books, session: &Session) -> bool {
    let is_ready = session.end.is_some() && !books.is(Quirk::RecordingsPrepare);
    is_ready && session.is_recorded && !is_deleted(books, session)
}

fn is_deleted(books: &Books, session: &Session) -> bool {
    session.is_deleted || books.is(Quirk::RecordingsDeleted)
}

impl Lessonspace {
    async fn admit_reader(&self, headers: &HeaderMap, organisation: &str) -> Result<(), Response> {
        self.fault().await?;
        self.authorise(headers).map_err(IntoResponse::into_response)?;
        if organisation != ORGANISATION {
            return Err(detail(StatusCode::FORBIDDEN, "You may not do this.").into_response());
        }
        if self.is(Quirk::LimitsRate) && !self.may_ask() {
            return Err(detail(StatusCode::TOO_MANY_REQUESTS, "Request was throttled.").into_response());
        }
        Ok(())
    }

    fn may_ask(&self) -> bool {
        let (now, mut books) = (Instant::now(), self.books());
        books
            .asked
            .retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        let may = books.asked.len() < MOST_A_SECOND;
        if may {
            books.asked.push_back(now);
        }
        may
    }

    fn sessions(
        &self,
        headers: &HeaderMap,
        path: &str,
        filter: &Filter,
        place: Option<&str>,
    ) -> Result<Answer, Answer> {
        let rows = {
            let books = self.books();
            let wanted = Wanted::read(filter)?;
            let rooms: Vec<&Room> = match place.filter(|_| !books.is(Quirk::IgnoresFilters)) {
                Some(place) => books.room(place).into_iter().collect(),
                None => books.rooms.values().collect(),
            };
            let mut found: Vec<(&Room, &Session)> = rooms
                .into_iter()
                .flat_map(|room| room.sessions.iter().map(move |session| (room, session)))
                .filter(|(room, session)| {
                    books.is(Quirk::IgnoresFilters) || wanted.takes(&books, room, session)
                })
                .collect();
            found.sort_by_key(|(_, session)| std::cmp::Reverse(session.start));
            if books.is(Quirk::OldestFirst) {
                found.reverse();
            }
            let has_logs = place.is_some();
            found
                .into_iter()
                .map(|(room, session)| row(&books, room, session, has_logs))
                .collect()
        };
        Ok((StatusCode::OK, Json(self.page(headers, path, filter, rows))))
    }

    /// One page of `rows`, and where the next one is.
    fn page(&self, headers: &HeaderMap, path: &str, filter: &Filter, rows: Vec<Value>) -> Value {
        if self.is(Quirk::Arrays) {
            return Value::Array(rows);
        }

        let size = if self.is(Quirk::TinyPages) { 1 } else { PAGE };
        let number = filter
            .get("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1_usize);
        let (count, before) = (rows.len(), number.saturating_sub(1).saturating_mul(size));
        let next =
            (before.saturating_add(size) < count).then(|| self.address(headers, path, filter, number + 1));
        let previous = (number > 1).then(|| self.address(headers, path, filter, number - 1));
        let results: Vec<Value> = rows.into_iter().skip(before).take(size).collect();
        json!({"count": count, "next": next, "previous": previous, "results": results})
    }

    /// The address of a page as whoever asks would see it.
    fn address(&self, headers: &HeaderMap, path: &str, filter: &Filter, number: usize) -> String {
        let host = headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or("vendor");
        let host = if self.is(Quirk::ForeignNext) {
            "elsewhere.example"
        } else {
            host
        };
        let prefix = self.base().parse::<url::Url>().map(|base| base.path().to_owned());
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filter.iter().filter(|(name, _)| *name != "page"));
        query.append_pair("page", &number.to_string());
        format!(
            "http://{host}{}v2/{path}?{}",
            prefix.unwrap_or_else(|_| "/".into()),
            query.finish()
        )
    }
}

/// The filters that the vendor knows. It ignores all others without a word.
struct Wanted<'a> {
    filter: &'a Filter,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl<'a> Wanted<'a> {
    fn read(filter: &'a Filter) -> Result<Self, Answer> {
        let time = |name: &str| {
            let wrong = || {
                (
                    StatusCode::BAD_REQUEST,
                    Json(json!({ name: ["Enter a valid date/time."] })),
                )
            };
            let text = filter.get(name).filter(|text| !text.is_empty());
            text.map(|text| text.parse::<Timestamp>().map_err(|_| wrong()))
                .transpose()
        };
        Ok(Self {
            filter,
            after: time("start_time_after")?,
            before: time("start_time_before")?,
        })
    }

    fn is_on(&self, name: &str) -> bool {
        self.filter
            .get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn takes(&self, books: &Books, room: &Room, session: &Session) -> bool {
        let is = |name: &str, value: &str| self.filter.get(name).is_none_or(|wanted| wanted == value);
        let seen = |number: &u64| session.seen.contains(&Who::User(*number));
        let is_of = |name: &str, matches: &dyn Fn(&u64, &str) -> bool| {
            let wanted = self.filter.get(name);
            wanted.is_none_or(|wanted| {
                books
                    .people
                    .keys()
                    .any(|number| seen(number) && matches(number, wanted))
            })
        };

        (session.seen.len() > 1 || self.is_on("include_single_user"))
            && (session.end.is_none() || !self.is_on("in_progress_only"))
            && self.after.is_none_or(|after| session.start >= after)
            && self.before.is_none_or(|before| session.start <= before)
            && is("space", &room.id)
            && is("launch_id", &room.launch_id)
            && is("search", &session.uuid)
            && is_of("user", &|number, wanted| number.to_string() == wanted)
            && is_of("user_external_id", &|number, wanted| {
                books
                    .people
                    .get(number)
                    .is_some_and(|person| person.external_id == wanted)
            })
    }
}

fn row(books: &Books, room: &Room, session: &Session, has_logs: bool) -> Value {
    let mut row = json!({
        "id": session.id, "uuid": session.uuid, "name": "Lesson", "tags": {}, "summary": null,
        "start_time": time(session.start),
        "end_time": session.end.filter(|_| !books.is(Quirk::Lags)).map(time),
        "profiles": profiles(books, session), "guests": guests(session),
        "billable_seconds": 0, "recording_access_policy": ["participant"], "playback_url": null,
        "is_password_set": false, "playback_password": null,
    });
    let Some(fields) = row.as_object_mut() else {
        return row;
    };

    if !books.is(Quirk::BareRows) {
        fields.insert("recording_available".into(), json!(is_available(books, session)));
        fields.insert("recording_deleted".into(), json!(is_deleted(books, session)));
        fields.insert("space".into(), space(room));
    }
    if has_logs && !books.is(Quirk::HidesLogs) {
        fields.insert("logs".into(), logs(books, session));
        fields.insert("connected_users".into(), connected(session));
    }
    row
}

fn space(room: &Room) -> Value {
    json!({
        "id": room.id, "alias": room.launch_id, "slug": room.launch_id, "name": "Lesson", "organisation": 20001,
        "region": room.region, "is_locked": false, "record_av": room.settings.record_av,
        "transcribe": room.settings.transcribe, "summarise": room.settings.summarise,
    })
}

fn profiles(books: &Books, session: &Session) -> Value {
    let seen = session.seen.iter().filter(|_| !books.is(Quirk::HidesProfiles));
    seen.filter_map(|who| match who {
        Who::User(number) => {
            let person = books.people.get(number);
            let (name, role) = (
                person.and_then(|p| p.name.clone()),
                person.map(|p| p.role.clone()),
            );
            Some(json!({"user": number, "name": name, "email": null, "role": role}))
        }
        Who::Guest(_) => None,
    })
    .collect()
}

fn guests(session: &Session) -> Value {
    let seen = session.seen.iter();
    seen.filter_map(|who| match who {
        Who::User(_) => None,
        Who::Guest(socket) => Some(json!({"socket_id": socket, "name": null})),
    })
    .collect()
}

fn logs(books: &Books, session: &Session) -> Value {
    let is_lost = |what: &str| match what {
        "user-joined" => books.is(Quirk::LosesJoins),
        "user-left" => books.is(Quirk::LosesLeaves),
        _ => false,
    };
    let mut logs: Vec<Value> = Vec::new();
    for log in session.logs.iter().filter(|log| !is_lost(log.what)) {
        if let Who::User(number) = log.who {
            if books.is(Quirk::LogsMore) {
                logs.push(json!({"profile": number, "log_type": "hand-raised", "date": time(log.at)}));
            }
            logs.push(json!({"profile": number, "log_type": log.what, "date": time(log.at)}));
        }
    }
    Value::Array(logs)
}

fn connected(session: &Session) -> Value {
    let open = session.connections.iter().filter(|(_, tabs)| **tabs > 0);
    open.filter_map(|(who, _)| match who {
        Who::User(number) => Some(json!({ "profile": number })),
        Who::Guest(_) => None,
    })
    .collect()
}
