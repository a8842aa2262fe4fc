//! How egresses end, and what becomes of their files.
#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value is null where it has no such member"
)]

use super::LiveKit;
use super::books::Books;
use super::egress::{Egress, Status};
use super::quirks::Quirk;
use super::recordings::tell;
use super::storage::Uploader;
use super::uploads::{Job, Stored};
use super::webhooks::Event;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// How an egress ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    // With a file: of an egress that is ending
    /// The file is in its bucket.
    Complete,
    /// The file is empty, and its size is not told, as the vendor tells no zeros.
    WithoutSize,
    /// The file is empty, and its size is told as `"0"`.
    WithSizeZero,
    /// The file cannot go where it should, and goes to the backup storage.
    InBackup,
    /// There are three files; the first is the one that was asked for.
    InSeveralFiles,
    /// The file is said to be there, and is not.
    WithoutObject,
    /// Only half of the file is there.
    WithHalfTheObject,
    /// The file cannot be stored, and is lost.
    UploadFailed,

    // Of one that is active or ending
    /// It has run too long. What was recorded until then is stored.
    LimitReached,

    // Of any that has not ended
    /// Nobody ever published, or the signal got lost: 412, and a file is named that does not exist.
    Aborted,
    /// Its process was killed.
    Killed,
    /// Its machine had too much to do.
    CpuExhausted,
    /// It never began: told without an id, and with the secrets of its request.
    NeverBegan,
}

impl Ending {
    fn may_follow(self, status: Status) -> bool {
        match self {
            Self::Complete
            | Self::WithoutSize
            | Self::WithSizeZero
            | Self::InBackup
            | Self::InSeveralFiles
            | Self::WithoutObject
            | Self::WithHalfTheObject
            | Self::UploadFailed => status == Status::Ending,
            Self::LimitReached => matches!(status, Status::Active | Status::Ending),
            Self::Aborted | Self::Killed | Self::CpuExhausted | Self::NeverBegan => !status.is_final(),
        }
    }

    fn stores(self) -> bool {
        match self {
            Self::Complete
            | Self::WithoutSize
            | Self::WithSizeZero
            | Self::InBackup
            | Self::InSeveralFiles
            | Self::WithoutObject
            | Self::WithHalfTheObject
            | Self::LimitReached => true,
            Self::UploadFailed | Self::Aborted | Self::Killed | Self::CpuExhausted | Self::NeverBegan => {
                false
            }
        }
    }
}

impl LiveKit {
    /// An egress ends as `ending` says, with `file` as what it recorded; tells of its end. Nothing happens, if it is not
    /// where it could end like that.
    pub(super) async fn end(&self, id: &str, ending: Ending, file: &[u8], at: Timestamp) -> Vec<Event> {
        let (egress, setup) = {
            let books = self.books();
            let found = books.egress(id).filter(|egress| ending.may_follow(egress.status));
            let Some(egress) = found else {
                return Vec::new();
            };
            (egress.clone(), books.setup.clone())
        };

        let stored = if ending.stores() {
            let job = Job {
                uploader: Uploader {
                    http: self.http(),
                    amazon: setup.amazon,
                    now: self.now(),
                },
                egress: &egress,
                own: setup.storage,
                backup: setup.backup,
                ending,
                at,
            };
            job.store(file).await
        } else {
            Stored::default()
        };
        self.books().conclude(id, ending, &stored, at)
    }
}

impl Books {
    /// Writes down how an egress ended. Nothing, if it has ended meanwhile.
    fn conclude(&mut self, id: &str, ending: Ending, stored: &Stored, at: Timestamp) -> Vec<Event> {
        let mut told = self.dismiss(id, at);
        let is_presigned = self.is(Quirk::LocationsArePresigned);
        let found = self.egress_mut(id).filter(|egress| !egress.status.is_final());
        let Some(egress) = found else {
            return told;
        };
        egress.stopped.get_or_insert(at);
        egress.conclude(ending, stored, at);
        if is_presigned {
            egress.presign();
        }

        let mut event = tell("egress_ended", egress, at);
        match ending {
            Ending::NeverBegan => {
                event.about["egress_info"] = egress.info_if_it_never_began("no response from servers");
            }
            Ending::WithSizeZero => event.says_size_zero = true,
            _ => (),
        }
        told.push(event);
        told
    }
}

impl Egress {
    fn conclude(&mut self, ending: Ending, stored: &Stored, at: Timestamp) {
        let failure = stored.failure.clone();
        match ending {
            Ending::Aborted => {
                self.abort(at);
                self.give_reason("Source closed");
            }
            Ending::Killed => self.fail("pipeline killed", 500, "Process killed", at),
            Ending::CpuExhausted => self.fail("CPU exhausted: 3.94 cores used", 403, "CPU exhausted", at),
            Ending::NeverBegan => self.fail("no response from servers", 503, "Failure", at),
            Ending::UploadFailed => {
                let why = "S3 upload failed: operation error S3: PutObject, https response error \
                           StatusCode: 403, AccessDenied";
                self.fail(why, 400, "Failure", at);
            }
            _ if failure.is_some() => self.fail(&failure.unwrap_or_default(), 400, "Failure", at),
            Ending::LimitReached => {
                self.keep(stored);
                self.turn(Status::LimitReached, at);
                "Session limit reached".clone_into(&mut self.error);
                self.error_code = 413;
                self.details = "End reason: Session limit reached".into();
            }
            Ending::Complete
            | Ending::WithoutSize
            | Ending::WithSizeZero
            | Ending::InBackup
            | Ending::InSeveralFiles
            | Ending::WithoutObject
            | Ending::WithHalfTheObject => {
                self.keep(stored);
                self.turn(Status::Complete, at);
            }
        }
    }

    fn keep(&mut self, stored: &Stored) {
        let row = self.row();
        let rows = stored.files.iter().map(|(name, size, location)| {
            let mut row = row.clone();
            row["filename"] = json!(name);
            row["size"] = json!(size);
            row["location"] = json!(location);
            row
        });
        self.files = rows.collect();
        self.manifest.clone_from(&stored.manifest);
        self.is_in_backup = stored.is_in_backup;
    }

    /// Places become links that work for whoever has them, and for a week.
    fn presign(&mut self) {
        for row in &mut self.files {
            if let Some(location) = row["location"].as_str() {
                let signature = "0".repeat(64);
                let query = format!("X-Amz-Expires=604800&X-Amz-Signature={signature}");
                row["location"] = json!(format!("{location}?X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}"));
            }
        }
    }

    /// Ends without a file, though one is named.
    fn fail(&mut self, error: &str, code: u16, reason: &str, at: Timestamp) {
        self.turn(Status::Failed, at);
        self.files = vec![self.row()];
        error.clone_into(&mut self.error);
        self.error_code = code;
        self.give_reason(reason);
    }

    fn give_reason(&mut self, reason: &str) {
        if self.details.is_empty() {
            self.details = format!("End reason: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::livekit::stage::{Stage, body, events, recorded, request};
    use crate::livekit::{S3Target, Webhook};
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, StatusCode, Uri};
    use axum::routing::any;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    type Objects = Arc<Mutex<BTreeMap<String, (HeaderMap, Bytes)>>>;

    /// A storage that keeps everything but what is for the bucket `closed`.
    async fn storage() -> (String, Objects) {
        let objects = Objects::default();
        let kept = Arc::clone(&objects);
        let keep = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let is_closed = uri.path().starts_with("/closed/");
            if !is_closed {
                let object = (headers, body);
                kept.lock().unwrap().insert(uri.path().to_owned(), object);
            }
            async move {
                if is_closed {
                    StatusCode::FORBIDDEN
                } else {
                    StatusCode::OK
                }
            }
        };
        let address = crate::serve(Router::new().fallback(any(keep))).await.unwrap();
        (format!("http://{address}"), objects)
    }

    fn info(webhooks: &[Webhook]) -> Value {
        let last = webhooks.last().unwrap();
        assert_eq!(last.event, "egress_ended");
        body(last)["egressInfo"].clone()
    }

    #[tokio::test]
    async fn a_lesson_is_recorded_and_uploaded_with_its_manifest() {
        let stage = Stage::set().await;
        let (endpoint, objects) = storage().await;
        let id = recorded(&stage, &request(&endpoint, "recordings")).await;
        assert_eq!(
            events(&stage.livekit.take_webhooks()),
            ["egress_started", "participant_joined", "egress_updated"]
        );

        let told = stage
            .livekit
            .finish_egress(&id, b"moving pictures", stage.at(200))
            .await;

        let ended = info(&told);
        let key = "lessons/b-1-2026-09-21T100000.mp4";
        assert_eq!(ended["status"], "EGRESS_COMPLETE");
        assert_eq!(ended["details"], "End reason: Source closed");
        assert_eq!(
            ended["roomComposite"]["fileOutputs"][0]["s3"]["secret"],
            "{secret}"
        );
        assert_eq!(ended["fileResults"][0]["filename"], key);
        assert_eq!(ended["fileResults"][0]["size"], "15");
        assert_eq!(ended["fileResults"][0]["duration"], "81000000000");
        assert_eq!(
            ended["fileResults"][0]["location"],
            format!("{endpoint}/recordings/{key}")
        );

        let objects = objects.lock().unwrap();
        let (headers, bytes) = &objects[&format!("/recordings/{key}")];
        assert_eq!(bytes.as_ref(), b"moving pictures");
        assert_eq!(headers["x-amz-security-token"], "ST");
        assert!(objects.contains_key(&format!("/recordings/lessons/{id}.json")));
    }

    #[tokio::test]
    async fn nobody_publishes_and_a_file_is_named_that_does_not_exist() {
        let stage = Stage::set().await;
        let livekit = &stage.livekit;
        livekit.join(&stage.token("b-1", "tutor"), stage.at(0)).unwrap();
        stage
            .call("StartRoomCompositeEgress", &request("http://x.test", "b"))
            .await;
        livekit.leave("b-1", "tutor", stage.at(5));

        let told = livekit.pass_time(stage.at(90));

        let ended = info(&told);
        assert_eq!(
            (&ended["status"], &ended["errorCode"]),
            (&json!("EGRESS_ABORTED"), &json!(412))
        );
        assert_eq!(ended["fileResults"][0]["duration"], "152090");
        assert_eq!(ended["fileResults"][0].get("size"), None);
    }

    #[tokio::test]
    async fn each_ending_is_told_in_its_own_way() {
        let (endpoint, objects) = storage().await;
        for (ending, bucket, status, size, kept) in [
            (Ending::WithoutSize, "a", "EGRESS_COMPLETE", None, Some(0)),
            (Ending::WithSizeZero, "b", "EGRESS_COMPLETE", Some("0"), Some(0)),
            (Ending::WithoutObject, "c", "EGRESS_COMPLETE", Some("4"), None),
            (
                Ending::WithHalfTheObject,
                "d",
                "EGRESS_COMPLETE",
                Some("4"),
                Some(2),
            ),
            (
                Ending::LimitReached,
                "e",
                "EGRESS_LIMIT_REACHED",
                Some("4"),
                Some(4),
            ),
            (Ending::UploadFailed, "f", "EGRESS_FAILED", None, None),
            (Ending::Killed, "g", "EGRESS_FAILED", None, None),
            (Ending::Complete, "closed", "EGRESS_FAILED", None, None),
        ] {
            let stage = Stage::set().await;
            let id = recorded(&stage, &request(&endpoint, bucket)).await;
            let told = stage
                .livekit
                .end_egress(&id, ending, b"film", stage.at(200))
                .await;

            let ended = info(&told);
            assert_eq!(ended["status"], status, "{ending:?}: {ended}");
            assert_eq!(
                ended["fileResults"][0].get("size"),
                size.map(|size| json!(size)).as_ref()
            );
            let key = format!("/{bucket}/lessons/b-1-2026-09-21T100000.mp4");
            let object = objects.lock().unwrap().get(&key).cloned();
            assert_eq!(object.map(|(_, bytes)| bytes.len()), kept, "{ending:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_stored_goes_to_the_backup() {
        let stage = Stage::set().await;
        let (endpoint, _) = storage().await;
        stage.livekit.back_up_at(S3Target {
            endpoint: endpoint.clone(),
            bucket: "spare".into(),
            access_key: "AK".into(),
            secret: "SK".into(),
            force_path_style: true,
            ..S3Target::default()
        });
        let id = recorded(&stage, &request(&endpoint, "closed")).await;

        let ended = info(&stage.livekit.finish_egress(&id, b"film", stage.at(200)).await);

        assert_eq!(ended["backupStorageUsed"], true);
        let location = ended["fileResults"][0]["location"].as_str().unwrap();
        assert!(location.starts_with(&format!("{endpoint}/spare/")), "{location}");
    }

    #[tokio::test]
    async fn what_never_began_has_no_id_and_shows_its_secrets() {
        let stage = Stage::set().await;
        let id = recorded(&stage, &request("http://x.test", "b")).await;
        let told = stage
            .livekit
            .end_egress(&id, Ending::NeverBegan, b"", stage.at(99))
            .await;

        let ended = info(&told);
        assert_eq!(ended.get("egressId"), None);
        assert_eq!(ended["roomComposite"]["fileOutputs"][0]["s3"]["secret"], "SK");
    }
}
