//! Where the files of an egress end up.

use super::egress::{Egress, nanoseconds};
use super::endings::Ending;
use super::outputs::Storage;
use super::storage::{Object, S3Target, Uploader};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What became of an egress's files.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Name, told size in bytes, told place.
    pub(super) files: Vec<(String, usize, String)>,
    pub(super) manifest: String,
    pub(super) is_in_backup: bool,
    /// Why they are lost.
    pub(super) failure: Option<String>,
}

/// The storing of an egress's files.
pub(super) struct Job<'a> {
    pub(super) uploader: Uploader<'a>,
    pub(super) egress: &'a Egress,
    pub(super) own: Option<S3Target>,
    pub(super) backup: Option<S3Target>,
    pub(super) ending: Ending,
    pub(super) at: Timestamp,
}

impl Job<'_> {
    pub(super) async fn store(&self, file: &[u8]) -> Stored {
        let half = file.get(..file.len() / 2).unwrap_or_default();
        let (kept, told) = match self.ending {
            Ending::WithoutSize | Ending::WithSizeZero => (Some(&b""[..]), 0),
            Ending::WithoutObject => (None, file.len()),
            Ending::WithHalfTheObject => (Some(half), file.len()),
            _ => (Some(file), file.len()),
        };

        let mut stored = Stored::default();
        for key in self.keys() {
            match self.place(&key, kept, &mut stored.is_in_backup).await {
                Ok(location) => stored.files.push((key, told, location)),
                Err(why) => {
                    stored.failure = Some(why);
                    return stored;
                }
            }
        }
        if self.egress.plan.has_manifest || stored.is_in_backup {
            stored.manifest = self.store_manifest(&stored).await;
        }
        stored
    }

    fn keys(&self) -> Vec<String> {
        let key = &self.egress.plan.key;
        let parts = if self.ending == Ending::InSeveralFiles {
            3
        } else {
            1
        };
        let named = (0..parts).map(|part| match (part, key.rsplit_once('.')) {
            (0, _) | (_, None) => key.clone(),
            (part, Some((name, ending))) => format!("{name}-{part}.{ending}"),
        });
        named.collect()
    }

    /// Stores a file where it belongs, or else in the backup. Where that is, or why it is lost.
    async fn place(&self, key: &str, kept: Option<&[u8]>, is_in_backup: &mut bool) -> Result<String, String> {
        let why = if self.ending == Ending::InBackup || *is_in_backup {
            "S3 upload failed: operation error S3: PutObject, StatusCode: 503, SlowDown".to_owned()
        } else {
            let put = match &self.egress.plan.storage {
                Storage::S3(target) => self.put(target, key, kept).await,
                Storage::Foreign(name) => Err(format!("{name} upload failed: not played here")),
                Storage::Server => match &self.own {
                    Some(own) => self.put(own, key, kept).await,
                    // On a disk that nobody will ever look at.
                    None => Ok(key.to_owned()),
                },
            };
            match put {
                Ok(location) => return Ok(location),
                Err(why) => why,
            }
        };

        let Some(backup) = &self.backup else {
            return Err(why);
        };
        let put = self.put(backup, key, kept).await;
        *is_in_backup = put.is_ok();
        put.map_err(|other| format!("primary: {why}\nbackup: {other}"))
    }

    async fn put(&self, target: &S3Target, key: &str, kept: Option<&[u8]>) -> Result<String, String> {
        if let Some(bytes) = kept {
            let object = Object {
                key,
                content_type: self.egress.plan.content_type,
                bytes,
            };
            self.uploader.put(target, &object).await?;
        }
        Ok(target.location(key))
    }

    /// Stores the list of the files beside them. Where it is; nowhere, if that failed.
    async fn store_manifest(&self, stored: &Stored) -> String {
        let files: Vec<Value> = stored
            .files
            .iter()
            .map(|(name, _, location)| json!({"filename": name, "location": location}))
            .collect();
        let manifest = json!({
            "egress_id": self.egress.id, "room_id": self.egress.room_sid(),
            "room_name": self.egress.room_name(), "started_at": nanoseconds(self.egress.started),
            "ended_at": nanoseconds(self.at), "files": files,
        });

        let folder = self.egress.plan.key.rsplit_once('/').map(|(folder, _)| folder);
        let folder = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let key = format!("{folder}{}.json", self.egress.id);
        let target = match (&self.egress.plan.storage, stored.is_in_backup) {
            (_, true) => self.backup.as_ref(),
            (Storage::S3(target), false) => Some(target.as_ref()),
            (Storage::Server, false) => self.own.as_ref(),
            (Storage::Foreign(_), false) => None,
        };
        let Some(target) = target else {
            return String::new();
        };
        let manifest = manifest.to_string();
        let object = Object {
            key: &key,
            content_type: "application/json",
            bytes: manifest.as_bytes(),
        };
        let put = self.uploader.put(target, &object).await;
        put.map(|()| target.location(&key)).unwrap_or_default()
    }
}
