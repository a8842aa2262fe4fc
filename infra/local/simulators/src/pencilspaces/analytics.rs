//! Sessions as the vendor has analysed them, and recordings.

use super::PencilSpaces;
use super::attendance::{attendance, in_order};
use super::books::{Books, Recording, Session, time};
use super::fields::{Refusal, missing};
use super::lists::{Asked, Wanted};
use super::quirks::Quirk;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a minute of a recording takes up, in bytes.
const BYTES_A_MINUTE: i64 = 4_000_000;

pub(super) async fn list(State(vendor): State<PencilSpaces>, Query(asked): Query<Asked>) -> Response {
    let page = vendor.books().list_sessions(&asked);
    vendor.answer(page)
}

pub(super) async fn show(State(vendor): State<PencilSpaces>, Path(id): Path<String>) -> Response {
    let session = vendor.books().show_session(&id, vendor.now());
    vendor.answer(session)
}

pub(super) async fn delete(State(vendor): State<PencilSpaces>, Path(id): Path<String>) -> Response {
    let deleted = vendor.books().delete_session(&id);
    match deleted {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => vendor.answer(Err(refusal)),
    }
}

pub(super) async fn recordings(
    State(vendor): State<PencilSpaces>,
    Path(space): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let page = vendor.books().list_recordings(&space, &asked);
    vendor.answer(page)
}

impl Books {
    fn list_sessions(&self, asked: &Asked) -> Result<Value, Refusal> {
        let wanted = Wanted::read(asked, &["spaceId"], self)?;
        let sessions = self.sessions.iter().filter(|session| self.shows(session));
        Ok(wanted.page(sessions.map(|session| self.session_row(session)), self))
    }

    fn show_session(&self, id: &str, now: Timestamp) -> Result<Value, Refusal> {
        let session = self.shown_session(id)?;
        let (attendees, stats) = if self.is_finished(session) {
            attendance(self, session, now)
        } else {
            (Vec::new(), json!({}))
        };
        let recordings = self.recordings_where(|recording| recording.session == session.id);

        let mut row = self.session_row(session);
        if let Some(fields) = row.as_object_mut() {
            fields.insert("sessionStats".into(), stats);
            fields.insert("attendees".into(), json!(attendees));
            fields.insert("recordings".into(), json!(recordings));
        }
        Ok(row)
    }

    fn delete_session(&mut self, id: &str) -> Result<(), Refusal> {
        self.shown_session(id)?;
        if let Some(session) = self.sessions.get_mut(id) {
            session.is_deleted = true;
        }
        Ok(())
    }

    fn shown_session(&self, id: &str) -> Result<&Session, Refusal> {
        let session = self.sessions.get(id).filter(|session| self.shows(session));
        session.ok_or_else(|| missing("Session"))
    }

    fn shows(&self, session: &Session) -> bool {
        let is_ready = session.is_analysed || self.is(Quirk::ShowsUnfinished);
        is_ready && !session.is_deleted && !self.is(Quirk::AnalyticsMissing)
    }

    fn is_finished(&self, session: &Session) -> bool {
        session.is_analysed && !self.is(Quirk::AnalyticsUnfinished)
    }

    fn session_row(&self, session: &Session) -> Value {
        let space = self.spaces.get(&session.space);
        let status = match session.end {
            None => "ongoing",
            Some(_) if self.is_finished(session) => "completed",
            Some(_) => "processing",
        };
        let times = (Some(time(session.start)), session.end.map(time));
        let (start, end) = in_order(self, times);
        json!({
            "sessionId": session.id, "spaceId": session.space, "sessionTitle": space.map(|space| &space.title),
            "sessionVisibility": space.map(|space| &space.visibility), "sessionStartTime": start,
            "sessionEndTime": end, "status": status,
        })
    }

    fn list_recordings(&self, space: &str, asked: &Asked) -> Result<Value, Refusal> {
        if self.space(space).is_none() {
            return Err(missing("Space"));
        }
        let wanted = Wanted::read(asked, &[], self)?;
        let rows = self.recordings_where(|recording| recording.space == space);
        if self.is(Quirk::RecordingsAreArrays) {
            return Ok(Value::Array(rows));
        }
        Ok(wanted.page(rows.into_iter(), self))
    }

    fn recordings_where(&self, is_wanted: impl Fn(&Recording) -> bool) -> Vec<Value> {
        let recordings = self
            .recordings
            .iter()
            .filter(|recording| is_wanted(recording) && recording.is_ready && !self.is(Quirk::RecordingsLag));
        recordings
            .map(|recording| self.recording_row(recording))
            .collect()
    }

    fn recording_row(&self, recording: &Recording) -> Value {
        let seconds = recording.until.duration_since(recording.from).as_secs();
        let duration = if self.is(Quirk::RecordingsHaveNoLength) {
            0
        } else if self.is(Quirk::RecordingsInMilliseconds) {
            seconds * 1000
        } else {
            seconds
        };
        let size = if self.is(Quirk::RecordingsHaveNoSize) {
            0
        } else {
            seconds * BYTES_A_MINUTE / 60
        };
        json!({
            "recordingId": recording.id, "spaceId": recording.space, "roomId": recording.room,
            "startingTime": time(recording.from), "duration": duration, "fileSize": size,
        })
    }
}
