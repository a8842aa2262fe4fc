//! Recordings as files: asked for, asked after, fetched for a day.

use super::admission::Caller;
use super::books::Books;
use super::hooks::Hook;
use super::meeting::{later, time};
use super::quirks::Quirk;
use super::register::destination;
use super::webhooks::{self, Secret, Webhook};
use super::{Fathom, json_body};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// A file can be fetched for so long.
const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// A file that somebody asked for.
#[derive(Clone)]
pub(super) struct Download {
    id: String,
    recording: u64,
    /// The very key or token that asked for it: nobody else may read it.
    credential: String,
    account: String,
    /// Where to send word, as long as none was sent.
    destination: Option<Url>,
    progress: Progress,
    /// What stands in the addresses of its files.
    token: String,
    is_audio_only: bool,
    media: Vec<u8>,
}

#[derive(Clone)]
enum Progress {
    Processing { polls_left: u32 },
    Completed { at: Timestamp },
    Failed { reason: &'static str },
}

impl Download {
    /// Whether its files were there and are gone.
    fn is_expired(&self, now: Timestamp, books: &Books) -> bool {
        match self.progress {
            Progress::Completed { at } => books.is(Quirk::DownloadsExpire) || now >= later(at, LASTS),
            Progress::Processing { .. } | Progress::Failed { .. } => false,
        }
    }

    /// Comes to its end, unless it never does.
    fn finish(&mut self, now: Timestamp, quirk: Option<Quirk>) {
        self.progress = match quirk {
            Some(Quirk::DownloadsHang) => Progress::Processing { polls_left: 0 },
            Some(Quirk::DownloadsFail) => Progress::Failed {
                reason: "generation_failed",
            },
            Some(Quirk::DownloadsTimeOut) => Progress::Failed {
                reason: "generation_timeout",
            },
            _ => Progress::Completed { at: now },
        };
    }

    /// Somebody asks after it.
    fn poll(&mut self, now: Timestamp, quirk: Option<Quirk>) {
        match &mut self.progress {
            Progress::Processing { polls_left: 0 } => self.finish(now, quirk),
            Progress::Processing { polls_left } => *polls_left -= 1,
            Progress::Completed { .. } | Progress::Failed { .. } => {}
        }
    }

    fn render(&self, books: &Books, base: &str, now: Timestamp) -> Value {
        let mut answer = json!({"download_id": self.id, "recording_id": self.recording});
        let Some(fields) = answer.as_object_mut() else {
            return answer;
        };

        let status = match &self.progress {
            Progress::Processing { .. } => "processing",
            Progress::Failed { reason } => {
                fields.insert("failure_reason".into(), (*reason).into());
                "failed"
            }
            Progress::Completed { .. } if self.is_expired(now, books) => "expired",
            Progress::Completed { at } => {
                let file = |kind: &str, extension: &str| {
                    json!({
                        "url": format!("{base}files/{}.{extension}", self.token), "content_type": kind,
                        "file_size_bytes": self.media.len(), "expires_at": time(later(*at, LASTS), &books.quirks),
                    })
                };
                if !self.is_audio_only {
                    fields.insert("video".into(), file("video/mp4", "mp4"));
                }
                if self.is_audio_only || books.is(Quirk::VideosHaveAudio) {
                    fields.insert("audio".into(), file("audio/mpeg", "mp3"));
                }
                "completed"
            }
        };
        fields.insert("status".into(), status.into());
        answer
    }
}

impl Books {
    /// How downloads end, if not well.
    fn download_quirk(&self) -> Option<Quirk> {
        let endings = [
            Quirk::DownloadsHang,
            Quirk::DownloadsFail,
            Quirk::DownloadsTimeOut,
        ];
        endings.into_iter().find(|quirk| self.is(*quirk))
    }

    fn start_download(
        &self,
        caller: &Caller,
        recording: &str,
        destination: Option<Url>,
        now: Timestamp,
    ) -> Result<Download, StatusCode> {
        let meeting = self.seen_by(&caller.account, recording);
        let meeting = meeting.ok_or(StatusCode::NOT_FOUND)?;
        if !self.may_download(&caller.account, meeting) {
            return Err(StatusCode::FORBIDDEN);
        }
        if !meeting.is_ready {
            return Err(StatusCode::UNPROCESSABLE_ENTITY);
        }

        let mut download = Download {
            id: Uuid::new_v4().to_string(),
            recording: meeting.id,
            credential: caller.credential.clone(),
            account: caller.account.clone(),
            destination,
            progress: Progress::Processing {
                polls_left: self.polls,
            },
            token: Uuid::new_v4().simple().to_string(),
            is_audio_only: meeting.sketch.is_audio_only,
            media: meeting.sketch.media.clone(),
        };
        if download.is_audio_only {
            download.finish(now, self.download_quirk());
        }
        Ok(download)
    }

    /// What each download came to.
    pub(super) fn list_downloads(&self, base: &str, now: Timestamp) -> Vec<Value> {
        let downloads = self.downloads.iter();
        downloads
            .map(|download| download.render(self, base, now))
            .collect()
    }

    /// Ends the downloads of which word is to be sent, and sends it of those that went well.
    pub(super) fn tell_of_downloads(&mut self, base: &str, now: Timestamp) -> Vec<Webhook> {
        let quirk = self.download_quirk();
        let mut told = Vec::new();
        for download in &mut self.downloads {
            if matches!(download.progress, Progress::Processing { .. }) && download.destination.is_some() {
                download.finish(now, quirk);
            }
            if matches!(download.progress, Progress::Completed { .. })
                && let Some(url) = download.destination.take()
            {
                told.push((url, download.clone()));
            }
        }
        told.into_iter()
            .filter(|_| !self.is(Quirk::Silent))
            .map(|(url, download)| self.word_of(url, &download, base, now))
            .collect()
    }

    /// The vendor signs these as it does its webhooks, and does not say with which secret.
    fn word_of(&self, url: Url, download: &Download, base: &str, now: Timestamp) -> Webhook {
        let foreign = Secret::new();
        let owned = |hook: &&Hook| hook.account == download.account && hook.is_live();
        let oldest = self.hooks.iter().find(owned);
        let secrets = oldest
            .filter(|_| !self.is(Quirk::SignsDownloadsWithAnotherKey))
            .map_or_else(|| vec![&foreign], |hook| hook.signing(now));

        let body = download.render(self, base, now);
        let (id, signed) = (webhooks::new_id(), body.to_string());
        Webhook {
            hook: None,
            url,
            headers: webhooks::seal(&secrets, &self.quirks, &id, now, &signed),
            body: webhooks::sent(&self.quirks, &body, signed),
        }
    }
}

pub(super) async fn create(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    Path(recording): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let now = vendor.now();
    let mut books = vendor.books();
    let wish = if body.is_empty() {
        json!({})
    } else {
        json_body(&headers, &body).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?
    };
    let url = match wish.get("destination_url") {
        None => None,
        Some(text) => {
            let url = text
                .as_str()
                .and_then(|text| destination(text, books.is(Quirk::TakesLoopback)));
            Some(url.ok_or(StatusCode::UNPROCESSABLE_ENTITY)?)
        }
    };

    let download = books.start_download(&caller, &recording, url, now)?;
    let answer = download.render(&books, vendor.base(), now);
    books.downloads.push(download);
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

pub(super) async fn show(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    Path((recording, id)): Path<(String, String)>,
) -> Result<Json<Value>, StatusCode> {
    let now = vendor.now();
    let mut books = vendor.books();
    let quirk = books.download_quirk();
    let found = books.downloads.iter_mut().find(|download| {
        let is_theirs = download.credential == caller.credential;
        is_theirs && download.id == id && download.recording.to_string() == recording
    });
    let download = found.ok_or(StatusCode::NOT_FOUND)?;
    download.poll(now, quirk);

    let download = download.clone();
    Ok(Json(download.render(&books, vendor.base(), now)))
}

/// A file, for whoever has its address, as long as it lasts.
pub(super) async fn file(State(vendor): State<Fathom>, Path(name): Path<String>) -> Response {
    let now = vendor.now();
    let books = vendor.books();
    let (token, extension) = name.split_once('.').unwrap_or((&name, ""));
    let found = books.downloads.iter().find(|download| download.token == token);
    let there = found.filter(|download| {
        let is_done = matches!(download.progress, Progress::Completed { .. });
        is_done && !download.is_expired(now, &books)
    });
    let Some(download) = there.filter(|_| !books.is(Quirk::FilesRefuse)) else {
        return StatusCode::FORBIDDEN.into_response();
    };

    let kind = if extension == "mp3" {
        "audio/mpeg"
    } else {
        "video/mp4"
    };
    ([("content-type", kind)], download.media.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use crate::fathom::stage::{Stage, lesson, say};
    use crate::fathom::{MeetingSketch, Quirk, RECORDER};
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    fn ready(stage: &Stage, sketch: MeetingSketch) -> u64 {
        let recording = stage.fathom.meeting(sketch);
        stage.fathom.content_ready(recording);
        recording
    }

    async fn ask(stage: &Stage, recording: u64) -> String {
        let said = stage
            .post(&format!("recordings/{recording}/download"), &json!({}))
            .await;
        assert_eq!(
            (said.status.as_u16(), &said.body["status"]),
            (202, &json!("processing"))
        );
        let id = said.body["download_id"].as_str().unwrap();
        format!("recordings/{recording}/downloads/{id}")
    }

    #[tokio::test]
    async fn a_download_takes_polls_and_lasts_a_day() {
        let stage = Stage::new().await;
        let path = ask(&stage, ready(&stage, lesson(0))).await;
        let status = async || stage.get(&path).await.body["status"].as_str().unwrap().to_owned();
        assert_eq!([status().await, status().await], ["processing", "processing"]);

        let done = stage.get(&path).await.body;
        assert_eq!(done["video"]["expires_at"], "2026-03-03T12:00:00Z");
        let url = done["video"]["url"].as_str().unwrap();
        let url = url.replace("http://fathom.test/", &stage.base);
        let fetch = async || say(reqwest::Client::new().get(&url)).await;
        assert_eq!(fetch().await.text, "ID3 a lesson");

        stage.hand.advance(SignedDuration::from_hours(24));
        assert_eq!(status().await, "expired");
        assert_eq!(fetch().await.status, 403);
    }

    #[tokio::test]
    async fn a_download_is_for_the_key_that_asked() {
        let stage = Stage::new().await;
        let path = ask(&stage, ready(&stage, lesson(0))).await;

        let key = stage.fathom.rotate_key(RECORDER);

        assert_eq!(stage.get_with(&key, &path).await.status, 404);
    }

    #[tokio::test]
    async fn some_downloads_are_refused_and_some_are_there_at_once() {
        let stage = Stage::new().await;
        let audio = MeetingSketch {
            is_audio_only: true,
            ..lesson(0)
        };
        let limited = MeetingSketch {
            recorded_by: Some("tutor@elsewhere.example".into()),
            shared_with_people: vec![RECORDER.into()],
            is_limited: true,
            ..lesson(0)
        };
        let (audio, limited, early) = (ready(&stage, audio), ready(&stage, limited), stage.lesson(0));
        let post = async |recording: u64, body: Value| {
            stage
                .post(&format!("recordings/{recording}/download"), &body)
                .await
        };

        let done = post(audio, json!({})).await;
        assert_eq!(
            (done.status.as_u16(), &done.body["status"]),
            (202, &json!("completed"))
        );
        assert_eq!(post(limited, json!({})).await.status, 403);
        assert_eq!(post(1, json!({})).await.status, 404);
        assert_eq!(post(early, json!({})).await.status, 422);
        assert_eq!(
            post(audio, json!({"destination_url": "nowhere"})).await.status,
            422
        );
    }

    #[tokio::test]
    async fn a_download_can_fail_and_word_is_sent_of_one_that_does_not() {
        let stage = Stage::new().await;
        let recording = ready(&stage, lesson(0));
        let path = format!("recordings/{recording}/download");
        stage
            .post(&path, &json!({"destination_url": "https://firstbell.test/"}))
            .await;

        let posts = stage.fathom.take_posts();
        assert!(posts[0].body.contains("completed"));
        assert!(posts[0].header("webhook-signature").is_some());

        stage.fathom.take_polls(0);
        stage.fathom.behave([Quirk::DownloadsTimeOut]);
        let failed = stage.get(&ask(&stage, recording).await).await.body;
        assert_eq!(failed["failure_reason"], "generation_timeout");
    }
}
