//! Records an uploaded snapshot on its booking, if it is what it was announced as.

use aws_lambda_events::s3::S3Event;
use domain::prove::snapshot::{ImageType, MAX_BYTES, SIGNATURE_BYTES, SnapshotKey};
use platform::batch::{Job, JobError, Message};
use platform::blobs::{BlobError, Bucket};
use platform::database::Database;
use platform::invocation;
use store::prove::snapshots::{self, Recorded};

pub(crate) struct RecordSnapshot {
    pub(crate) database: Database,
    pub(crate) artifacts: Bucket,
}

/// The keys that one bucket notification names.
pub(crate) struct Uploaded {
    keys: Vec<String>,
}

/// What is found in the bucket under an announced key.
enum Stored {
    /// An image of the announced type, within the size limit.
    Genuine,
    /// Something else, which is removed.
    Other,
    /// Nothing: the object is not there any more.
    Gone,
}

impl Message for Uploaded {
    fn read(body: &str) -> Result<Self, JobError> {
        let event: serde_json::Value =
            serde_json::from_str(body).map_err(|_| JobError::Permanent("not a bucket notification"))?;

        // S3 sends a test event when the notification is set up. It names no object.
        if event.get("Event").and_then(serde_json::Value::as_str) == Some("s3:TestEvent") {
            return Ok(Self { keys: Vec::new() });
        }
        let event: S3Event =
            serde_json::from_value(event).map_err(|_| JobError::Permanent("not a bucket notification"))?;

        // Keys arrive URL-encoded. None of ours has a character that this changes.
        let keys = event
            .records
            .into_iter()
            .filter_map(|record| record.s3.object.key);
        Ok(Self { keys: keys.collect() })
    }
}

impl Job for RecordSnapshot {
    type Message = Uploaded;

    async fn run(&self, uploaded: Uploaded) -> Result<(), JobError> {
        for key in uploaded.keys {
            self.record(&key).await?;
        }
        Ok(())
    }
}

impl RecordSnapshot {
    async fn record(&self, object_key: &str) -> Result<(), JobError> {
        let key = SnapshotKey::parse(object_key).ok_or(JobError::Permanent("not a snapshot's key"))?;
        invocation::note("booking_id", key.booking);

        match self.stored(&key).await? {
            Stored::Genuine => {}
            Stored::Other => return self.discard(object_key).await,
            // It was discarded when its upload was told of before.
            Stored::Gone => return Ok(()),
        }

        match snapshots::record(&self.database, self.artifacts.name(), &key).await? {
            Recorded::Yes | Recorded::Superseded => Ok(()),
            Recorded::NoBooking => Err(JobError::Permanent("no such booking")),
        }
    }

    /// Looks at the stored bytes: are they an image of the right kind, and not over the size limit?
    async fn stored(&self, key: &SnapshotKey) -> Result<Stored, JobError> {
        let head = self
            .artifacts
            .head_bytes(&key.object_key(), SIGNATURE_BYTES)
            .await;
        match head {
            Ok((head, total)) if total <= MAX_BYTES && ImageType::sniff(&head) == Some(key.image) => {
                Ok(Stored::Genuine)
            }
            Ok(_) => Ok(Stored::Other),
            Err(BlobError::NotFound) => Ok(Stored::Gone),
            Err(BlobError::Unavailable) => Err(JobError::Transient("storage")),
        }
    }

    async fn discard(&self, object_key: &str) -> Result<(), JobError> {
        tracing::warn!("an upload is not the image it was announced as; removed");
        self.artifacts
            .remove(object_key)
            .await
            .map_err(|_| JobError::Transient("storage"))
    }
}
