//! The whiteboard snapshot a tutor adds after a lesson.
//!
//! Rules: [snapshot-upload](../../RULES.md#snapshot-upload), [snapshot-genuine](../../RULES.md#snapshot-genuine).

use crate::ids::BookingId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The largest snapshot taken, in bytes.
pub const MAX_BYTES: i64 = 10 * 1024 * 1024;

/// How many bytes of an object [`ImageType::sniff`] needs.
pub const SIGNATURE_BYTES: usize = 12;

/// An accepted kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageType {
    /// Portable Network Graphics.
    #[serde(rename = "image/png")]
    Png,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// WebP.
    #[serde(rename = "image/webp")]
    Webp,
}

impl ImageType {
    /// The media type, as in a Content-Type header.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// The ending of an object's key.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// Recognises an image by its first bytes, whatever it claims to be.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }
}

/// Where a snapshot lies in the `booking-artifacts` bucket: `{booking}/snapshots/{upload}.{ending}`. The
/// upload's id is a version 7 UUID, so later uploads of a booking have greater keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey {
    /// The booking it belongs to.
    pub booking: BookingId,
    /// The upload.
    pub upload: Uuid,
    /// What it was announced as.
    pub image: ImageType,
}

impl SnapshotKey {
    /// The object key.
    pub fn object_key(&self) -> String {
        format!(
            "{}/snapshots/{}.{}",
            self.booking,
            self.upload,
            self.image.extension()
        )
    }

    /// Reads an object key back; `None` for anything this system did not name.
    pub fn parse(key: &str) -> Option<Self> {
        let (booking, rest) = key.split_once("/snapshots/")?;
        let (upload, extension) = rest.split_once('.')?;
        let image = [ImageType::Png, ImageType::Jpeg, ImageType::Webp]
            .into_iter()
            .find(|image| image.extension() == extension)?;
        Some(Self {
            booking: booking.parse().ok()?,
            upload: upload.parse().ok()?,
            image,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_image_is_what_it_is_not_what_it_says() {
        assert_eq!(ImageType::sniff(b"\x89PNG\r\n\x1a\n...."), Some(ImageType::Png));
        assert_eq!(ImageType::sniff(b"\xff\xd8\xff\xe0...."), Some(ImageType::Jpeg));
        assert_eq!(ImageType::sniff(b"RIFF\x10\0\0\0WEBPVP8 "), Some(ImageType::Webp));
        assert_eq!(ImageType::sniff(b"<html><script>"), None);
        assert_eq!(ImageType::sniff(b""), None);
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_it_was_written(booking in any::<u128>(), upload in any::<u128>()) {
            let key = SnapshotKey {
                booking: BookingId(Uuid::from_u128(booking)),
                upload: Uuid::from_u128(upload),
                image: ImageType::Webp,
            };
            prop_assert_eq!(SnapshotKey::parse(&key.object_key()), Some(key));
        }

        #[test]
        fn a_foreign_key_is_refused_without_a_panic(key in ".*") {
            let _ = SnapshotKey::parse(&key);
        }
    }
}
