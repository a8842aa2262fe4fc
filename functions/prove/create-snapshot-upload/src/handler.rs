//! A presigned upload for the tutor's whiteboard.
//!
//! Rules: [snapshot-upload](../../../../shared/domain/RULES.md#snapshot-upload).

use domain::ids::{BookingId, ProfileId};
use domain::launch::booking::BookingStatus;
use domain::people::Role;
use domain::prove::snapshot::{ImageType, MAX_BYTES, SnapshotKey};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::blobs::Bucket;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::problem::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use store::launch::bookings;

/// How long the link to upload can be used.
const UPLOAD_LASTS: Duration = Duration::from_mins(10);

pub(crate) struct CreateSnapshotUpload {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) artifacts: Bucket,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    /// `image/png`, `image/jpeg` or `image/webp`.
    content_type: String,
    /// The exact size of the image, in bytes.
    content_length: i64,
}

#[derive(Serialize)]
struct Answer {
    method: &'static str,
    url: String,
    /// To be sent exactly as given: they are part of the signature.
    headers: BTreeMap<String, String>,
    expires_at: Timestamp,
}

impl Route for CreateSnapshotUpload {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let booking: BookingId = call.path_id("booking_id")?;
        let announced = call.json::<Announcement>()?;
        let image = check(&announced)?;

        let seen = bookings::seen_by(&self.database, booking, person, None)
            .await?
            .ok_or_else(Problem::forbidden)?;

        if seen.role != Role::Tutor {
            let detail = "Only the tutor of the booking adds a snapshot.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-the-tutor", detail));
        }

        is_agreed(seen.booking.status)?;
        let now = self.clock.now();
        if seen
            .booking
            .schedule
            .is_none_or(|schedule| now < schedule.starts_at())
        {
            let detail = "A snapshot can be added once the lesson has started.";
            return Err(Problem::new(StatusCode::CONFLICT, "lesson-not-started", detail));
        }

        let key = SnapshotKey {
            booking,
            upload: self.ids.next(),
            image,
        };

        self.presign(&key, announced.content_length, now).await
    }
}

impl CreateSnapshotUpload {
    async fn presign(&self, key: &SnapshotKey, length: i64, now: Timestamp) -> Result<Reply, Problem> {
        let media_type = key.image.media_type();
        let upload = self
            .artifacts
            .upload(&key.object_key(), media_type, length, UPLOAD_LASTS)
            .await;

        let upload = upload.map_err(|error| {
            tracing::error!(%error, "presign");
            Problem::unavailable("storage-unavailable", "Uploads are not possible right now.", 5)
        })?;

        let lasts = SignedDuration::try_from(UPLOAD_LASTS).unwrap_or_default();
        let answer = Answer {
            method: "PUT",
            url: upload.url,
            headers: upload.headers.into_iter().collect(),
            expires_at: now.saturating_add(lasts).unwrap_or(now),
        };
        Ok(Reply::with_status(StatusCode::CREATED, answer))
    }
}

/// Only an agreed booking gets a snapshot: of one that nobody agreed to there was no lesson.
fn is_agreed(status: BookingStatus) -> Result<(), Problem> {
    let conflict = |kind, detail| Err(Problem::new(StatusCode::CONFLICT, kind, detail));
    match status {
        BookingStatus::Confirmed | BookingStatus::Completed => Ok(()),
        BookingStatus::Pending => conflict("booking-not-confirmed", "This booking is not confirmed yet."),
        BookingStatus::Cancelled => conflict("booking-cancelled", "This booking is cancelled."),
        BookingStatus::Unknown => Err(Problem::unknown_status()),
    }
}

fn check(announced: &Announcement) -> Result<ImageType, Problem> {
    let known = [ImageType::Png, ImageType::Jpeg, ImageType::Webp];
    let image = known
        .into_iter()
        .find(|image| image.media_type() == announced.content_type)
        .ok_or_else(|| {
            let detail = "A snapshot is an image/png, image/jpeg or image/webp.";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-an-image", detail)
        })?;

    if announced.content_length < 1 {
        return Err(Problem::bad_request(
            "empty-upload",
            "content_length is the size of the image in bytes.",
        ));
    }

    if announced.content_length > MAX_BYTES {
        let problem = Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "image-too-large",
            "The image is too large.",
        );
        return Err(problem.with("max_bytes", MAX_BYTES));
    }

    Ok(image)
}
