//! Recordings and transcripts, and the files that hold them.

use super::Google;
use super::answers::{Pairs, Refusal};
use super::books::{Books, Service};
use super::meetings::Kind;
use super::records::with;
use super::rooms::{Artifact, Line, Record};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const SIZES: (&str, usize, usize) = ("pageSize", 10, 100);

/// Scopes that reach the files of conferences.
const OF_FILES: [&str; 3] = ["drive.meet.readonly", "drive.readonly", "drive"];

impl Books {
    fn shown_artifact(&self, record: &Record, kind: Kind, artifact: &Artifact) -> Value {
        let mut shown = json!({
            "name": format!("{}/{}/{}", record.name(), kind.folder(), artifact.id),
            "state": artifact.state(),
            "startTime": artifact.start,
        });
        with(&mut shown, "endTime", self.shown_end(artifact.end));

        let destination = artifact.file.as_ref().map(|file| match kind {
            Kind::Recording => {
                let link = format!("https://drive.google.com/file/d/{file}/view");
                ("driveDestination", json!({"file": file, "exportUri": link}))
            }
            Kind::Transcript => {
                let link = format!("https://docs.google.com/document/d/{file}/view");
                ("docsDestination", json!({"document": file, "exportUri": link}))
            }
        });
        if let (Some(shown), Some((name, value))) = (shown.as_object_mut(), destination) {
            shown.insert(name.to_owned(), value);
        }
        shown
    }

    fn artifact(&self, id: &str, kind: Kind, artifact: &str) -> Result<(&Record, &Artifact), Refusal> {
        let record = self.rooms.record(id).ok_or_else(Refusal::unknown)?;
        let mut artifacts = kind.list(record).iter();
        let found = artifacts.find(|found| found.id == artifact);
        Ok((record, found.ok_or_else(Refusal::unknown)?))
    }
}

type Listed = Result<Json<Value>, Refusal>;

pub(super) async fn recordings(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Listed {
    list(&google, Kind::Recording, &id, &uri, &headers)
}

pub(super) async fn transcripts(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Listed {
    list(&google, Kind::Transcript, &id, &uri, &headers)
}

fn list(google: &Google, kind: Kind, id: &str, uri: &Uri, headers: &HeaderMap) -> Listed {
    let mut books = google.books();
    let caller = books.meets(headers)?;
    let pairs = Pairs::of(uri);
    pairs.only(&["pageSize", "pageToken"])?;
    books.check_record(&caller, id)?;
    let record = books.rooms.record(id).ok_or_else(Refusal::unknown)?;

    let artifacts = kind.list(record).iter();
    let rows = artifacts
        .map(|artifact| books.shown_artifact(record, kind, artifact))
        .collect();
    let answer = books.listed(kind.folder(), rows, &pairs, SIZES)?;
    Ok(Json(answer.into()))
}

pub(super) async fn recording(
    State(google): State<Google>,
    Path((id, artifact)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Listed {
    get(&google, Kind::Recording, (&id, &artifact), &uri, &headers)
}

pub(super) async fn transcript(
    State(google): State<Google>,
    Path((id, artifact)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Listed {
    get(&google, Kind::Transcript, (&id, &artifact), &uri, &headers)
}

fn get(google: &Google, kind: Kind, (id, artifact): (&str, &str), uri: &Uri, headers: &HeaderMap) -> Listed {
    let mut books = google.books();
    let caller = books.meets(headers)?;
    Pairs::of(uri).only(&[])?;
    books.check_record(&caller, id)?;
    let (record, artifact) = books.artifact(id, kind, artifact)?;
    Ok(Json(books.shown_artifact(record, kind, artifact)))
}

pub(super) async fn entries(
    State(google): State<Google>,
    Path((id, transcript)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Listed {
    let mut books = google.books();
    let caller = books.meets(&headers)?;
    let pairs = Pairs::of(&uri);
    pairs.only(&["pageSize", "pageToken"])?;
    books.check_record(&caller, &id)?;
    let (record, found) = books.artifact(&id, Kind::Transcript, &transcript)?;

    let parent = format!("{}/transcripts/{transcript}", record.name());
    let rows = found.lines.iter().map(|line| shown_line(&parent, line)).collect();
    let answer = books.listed("transcriptEntries", rows, &pairs, SIZES)?;
    Ok(Json(answer.into()))
}

fn shown_line(parent: &str, line: &Line) -> Value {
    json!({
        "name": format!("{parent}/entries/{}", line.id),
        "participant": line.participant,
        "text": line.text,
        "languageCode": "en-US",
        "startTime": line.start,
        "endTime": line.end,
    })
}

/// A file of the caller's Drive: its content with `alt=media`, what is known of it without.
pub(super) async fn file(
    State(google): State<Google>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut books = google.books();
    let caller = books.caller(&headers, Service::Drive, &OF_FILES)?;
    let file = books.rooms.files.get(&id).filter(|file| file.owner == caller.sub);
    let file = file.ok_or_else(|| {
        let text = format!("File not found: {id}.");
        Refusal::calendar(StatusCode::NOT_FOUND, "notFound", &text)
    })?;
    if Pairs::of(&uri).one("alt") != Some("media") {
        let about = json!({"kind": "drive#file", "id": id, "name": id, "mimeType": file.kind});
        return Ok(Json(about).into_response());
    }

    if !file.may_download {
        let text = "This file cannot be downloaded by the user.";
        return Err(Refusal::calendar(
            StatusCode::FORBIDDEN,
            "cannotDownloadFile",
            text,
        ));
    }
    if file.kind.starts_with("application/vnd.google-apps") {
        let text = "Only files with binary content can be downloaded.";
        return Err(Refusal::calendar(
            StatusCode::FORBIDDEN,
            "fileNotDownloadable",
            text,
        ));
    }
    let kind = [(header::CONTENT_TYPE, file.kind)];
    Ok((kind, file.content.clone()).into_response())
}
