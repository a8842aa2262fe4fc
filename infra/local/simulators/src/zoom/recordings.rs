//! Recordings: files, the list of them, and their download.

use super::api::{Answer, Call, Desk, Operation, Outcome};
use super::books::{Books, File, FileKind, Instance, Meeting, Opens, Recording, time};
use super::encoding::credential;
use super::past::Place;
use super::quirks::Quirk;
use super::{Vendor, Zoom};
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

/// The longest that a token for downloads may be asked to live, in seconds.
const LONGEST_TOKEN: i64 = 604_800;

/// Begins the links that a redirection leads to.
const STORED: &str = "stored-";

impl FileKind {
    /// `file_type`, `file_extension`, `recording_type`, media type.
    pub(super) fn names(self) -> [&'static str; 4] {
        match self {
            Self::Video => ["MP4", "MP4", "shared_screen_with_speaker_view", "video/mp4"],
            Self::Audio => ["M4A", "M4A", "audio_only", "audio/mp4"],
            Self::Timeline => ["TIMELINE", "JSON", "timeline", "application/json"],
            Self::Transcript => ["TRANSCRIPT", "VTT", "audio_transcript", "text/vtt"],
        }
    }
}

impl File {
    fn new(kind: FileKind, from: Timestamp, until: Timestamp, words: &str) -> Self {
        let id = Uuid::new_v4().to_string();
        let media = |brand: &[u8]| [b"\0\0\0\x18ftyp", brand, id.as_bytes(), &[0; 1024]].concat();
        let content = match kind {
            FileKind::Video => media(b"mp42"),
            FileKind::Audio => media(b"M4A "),
            FileKind::Timeline => br#"{"timeline":[]}"#.to_vec(),
            FileKind::Transcript => words.as_bytes().to_vec(),
        };
        Self {
            id,
            kind,
            from,
            until,
            content,
        }
    }
}

impl Recording {
    /// One more segment: from pressing Record to pausing or stopping.
    pub(super) fn add(&mut self, from: Timestamp, until: Timestamp) {
        if self.passcode.is_empty() {
            self.passcode = credential(24);
        }
        for kind in [FileKind::Video, FileKind::Audio, FileKind::Timeline] {
            self.files.push(File::new(kind, from, until, ""));
        }
    }

    /// One transcript for all of it; there was none before.
    pub(super) fn transcribe(&mut self, words: &str) {
        let from = self.files.iter().map(|file| file.from).min();
        let until = self.files.iter().map(|file| file.until).max();
        let (Some(from), Some(until)) = (from, until) else {
            return;
        };
        self.files.retain(|file| file.kind != FileKind::Transcript);
        let transcript = File::new(FileKind::Transcript, from, until, words);
        self.files.push(transcript);
    }
}

impl Books {
    /// Records a part of what takes place, or took place. Basic hosts have no recording in the cloud.
    pub(super) fn record(&mut self, uuid: &str, from: Timestamp, until: Timestamp) -> bool {
        let found = self.instance(uuid);
        let host = found.and_then(|(meeting, _)| self.host_of(meeting));
        let may_record = host.is_some_and(|host| host.plan.is_paid());
        let Some(instance) = self.instance_mut(uuid).filter(|_| may_record) else {
            return false;
        };
        instance.recording.add(from, until);

        let passcode = instance.recording.passcode.clone();
        self.grants.given_out.push(passcode);
        true
    }

    /// A link to a file, another each time.
    pub(super) fn link(&mut self, base: &str, uuid: &str, file: &str) -> String {
        let link = credential(48);
        self.grants.given_out.push(link.clone());
        self.links
            .insert(link.clone(), (uuid.to_owned(), file.to_owned()));
        if self.is(Quirk::ForeignDownloads) {
            return format!("https://us02web.zoom.us.files.example/rec/download/{link}");
        }
        format!("{base}rec/download/{link}")
    }
}

/// The length in minutes, counted from the meeting's start.
pub(super) fn length(instance: &Instance) -> i64 {
    let ends = instance.recording.files.iter().map(|file| file.until);
    let end = ends.max().unwrap_or(instance.start);
    (end.duration_since(instance.start).as_secs() + 59).div_euclid(60)
}

pub(super) async fn list(State(zoom): State<Zoom>, Path(place): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ListRecordings, call, |desk, call| {
        desk.recordings(&place, call)
    })
    .await
}

fn missing() -> Answer {
    Answer::refusal(404, 3301, "This recording does not exist.")
}

impl Desk<'_> {
    fn recordings(&mut self, segment: &str, call: &Call) -> Outcome {
        if Place::read(segment).is_none() || self.books.faults.is_unready(Operation::ListRecordings) {
            return Err(missing());
        }
        let lives = token_lives(call)?;
        let found = self.find(segment, |instance| instance.recording.is_ready);
        let (meeting, instance) = found.ok_or_else(missing)?;
        let (number, uuid) = (meeting.id, instance.uuid.clone());
        let files = instance.recording.files.clone();

        let rows: Vec<Value> = files.iter().map(|file| self.file(&uuid, file)).collect();
        let token = lives.map(|lives| self.books.ticket(Opens::Files(uuid.clone()), self.now + lives));
        let found = self.books.meetings.get(&number);
        let meeting = found.ok_or_else(missing)?;
        let (_, instance) = self.books.instance(&uuid).ok_or_else(missing)?;
        let mut body = self.summary(meeting, instance, &rows);
        if let (Some(fields), Some(token)) = (body.as_object_mut(), token) {
            fields.insert("download_access_token".into(), token.into());
        }
        Ok(Answer::json(200, body))
    }

    fn summary(&self, meeting: &Meeting, instance: &Instance, rows: &[Value]) -> Value {
        let files = &instance.recording.files;
        let size: usize = files.iter().map(|file| file.content.len()).sum();
        json!({
            "uuid": instance.uuid, "id": meeting.id, "account_id": self.user.account, "host_id": meeting.host,
            "topic": meeting.draft.topic, "type": meeting.draft.kind, "start_time": time(instance.start),
            "timezone": meeting.draft.timezone, "host_email": self.user.email, "duration": length(instance),
            "total_size": size, "recording_count": files.len(),
            "share_url": format!("{}rec/share/{}", self.vendor.base(), credential(24)),
            "recording_files": rows, "password": meeting.draft.password,
            "recording_play_passcode": instance.recording.passcode,
        })
    }

    fn file(&mut self, uuid: &str, file: &File) -> Value {
        let [file_type, extension, recording_type, _] = file.kind.names();
        json!({
            "id": file.id, "meeting_id": uuid, "recording_start": time(file.from),
            "recording_end": time(file.until), "file_type": file_type, "file_extension": extension,
            "file_size": file.content.len(), "recording_type": recording_type, "status": "completed",
            "play_url": format!("{}rec/play/{}", self.vendor.base(), credential(24)),
            "download_url": self.books.link(&self.vendor.base(), uuid, &file.id),
        })
    }
}

/// How long a token for downloads is to live, if one is asked for.
fn token_lives(call: &Call) -> Result<Option<SignedDuration>, Answer> {
    let wrong = || Answer::refusal(400, 300, "Invalid ttl.");
    let ttl = call.query.get("ttl").map(|text| text.parse::<i64>());
    let ttl = ttl.transpose().map_err(|_| wrong())?.unwrap_or(LONGEST_TOKEN);
    if !(0..=LONGEST_TOKEN).contains(&ttl) {
        return Err(wrong());
    }
    let is_asked = call.query.get("include_fields").map(String::as_str) == Some("download_access_token");
    Ok(is_asked.then(|| SignedDuration::from_secs(ttl)))
}

pub(super) async fn download(State(zoom): State<Zoom>, Path(link): Path<String>, call: Call) -> Response {
    zoom.answer(Operation::Download, &call, |books| {
        send(zoom.vendor(), books, &link, &call, zoom.now())
    })
    .await
}

/// The page for people that a wrong token gets.
fn not_signed_in(books: &Books) -> Answer {
    let status = if books.is(Quirk::RefusedDownloadsAre404) {
        404
    } else {
        200
    };
    Answer::page(status, "<h1>Sign in to see this recording</h1>")
}

fn send(vendor: &Vendor, books: &mut Books, link: &str, call: &Call, now: Timestamp) -> Outcome {
    let is_stored = link.starts_with(STORED) && books.is(Quirk::RedirectsDownloads);
    let place = books.links.get(link.trim_start_matches(STORED)).cloned();
    let Some((uuid, id)) = place else {
        return Err(Answer::page(404, "<h1>There is no such file</h1>"));
    };
    if !is_stored && !may_download(books, &uuid, call, now) {
        return Err(not_signed_in(books));
    }
    if !is_stored && books.is(Quirk::RedirectsDownloads) {
        let url = format!("{}rec/download/{STORED}{link}", vendor.base());
        return Ok(Answer::nothing(302).with("location", &url));
    }
    if books.is(Quirk::HtmlDownloads) {
        return Ok(not_signed_in(books));
    }

    let files = books
        .instance(&uuid)
        .map(|(_, instance)| &instance.recording.files);
    let file = files.and_then(|files| files.iter().find(|file| file.id == id));
    let Some(file) = file else {
        return Err(Answer::page(404, "<h1>There is no such file</h1>"));
    };
    let [.., media_type] = file.kind.names();
    let mut content = file.content.clone();
    if books.is(Quirk::ShortDownloads) {
        content.truncate(content.len() / 2);
    }
    Ok(Answer::file(media_type, content))
}

/// Whether the bearer is the token of the recording, or its host's with the scope. A token in the address is not
/// looked at.
fn may_download(books: &Books, uuid: &str, call: &Call, now: Timestamp) -> bool {
    let Some(token) = call.bearer() else {
        return false;
    };
    if books.opens(token, &Opens::Files(uuid.to_owned()), now) {
        return true;
    }
    let host = books.instance(uuid).map(|(meeting, _)| meeting.host.as_str());
    let grant = books.grants.bearer(token, now);
    grant.is_ok_and(|grant| {
        let scope = Operation::Download.scope().unwrap_or_default();
        Some(grant.user.as_str()) == host && grant.scopes.contains(scope)
    })
}
