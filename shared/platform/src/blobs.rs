//! S3: short-lived links and small reads. Nothing large ever passes through a function.

use crate::{aws, invocation};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use std::time::Duration;

/// Why S3 did not do what it was asked. Everything but `NotFound` is transient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The object is not there.
    #[error("no such object")]
    NotFound,
    /// S3 does not answer or refuses. Try again.
    #[error("S3 is unavailable")]
    Unavailable,
}

/// A bucket of S3, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: String,
}

/// A presigned upload: the URL and the headers that must be sent exactly as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where to send the bytes, by PUT.
    pub url: String,
    /// The headers that have to go with them.
    pub headers: Vec<(String, String)>,
}

fn lifetime(lasts: Duration) -> Result<PresigningConfig, BlobError> {
    PresigningConfig::expires_in(lasts).map_err(|_| BlobError::Unavailable)
}

/// The names of the headers that a presigned URL's signature covers.
fn signed_headers(url: &str) -> Vec<String> {
    let url = url.parse::<url::Url>().ok();
    let names = url.and_then(|url| {
        url.query_pairs()
            .find(|(name, _)| name == "X-Amz-SignedHeaders")
            .map(|(_, names)| names.into_owned())
    });

    names
        .unwrap_or_default()
        .split(';')
        .map(ToOwned::to_owned)
        .collect()
}

impl Bucket {
    /// The bucket called `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The bucket's name, which is part of every `s3://` address that is stored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A link with which anybody can read one object for so long.
    pub async fn link(&self, key: &str, lasts: Duration) -> Result<String, BlobError> {
        let request = aws::s3().await.get_object().bucket(&self.name).key(key);
        let presigned = request
            .presigned(lifetime(lasts)?)
            .await
            .map_err(|_| BlobError::Unavailable)?;
        Ok(presigned.uri().to_owned())
    }

    /// A link to write one object of exactly this type and length, as long as there is none of that name: the
    /// link cannot replace what was written with it.
    pub async fn upload(
        &self,
        key: &str,
        content_type: &str,
        content_length: i64,
        lasts: Duration,
    ) -> Result<Upload, BlobError> {
        let request = aws::s3()
            .await
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type)
            .content_length(content_length)
            .if_none_match("*");

        let presigned = request
            .presigned(lifetime(lasts)?)
            .await
            .map_err(|_| BlobError::Unavailable)?;

        let url = presigned.uri().to_owned();
        let signed = signed_headers(&url);

        // In a function the SDK adds a tracing header of its own, which is no part of the upload.
        let headers = presigned
            .headers()
            .filter(|(name, _)| signed.iter().any(|signed| signed == name));
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Upload { url, headers })
    }

    /// The first `length` bytes of an object, and its whole length. A missing object is told from a forbidden
    /// one only to those who may list the bucket.
    pub async fn head_bytes(&self, key: &str, length: usize) -> Result<(Vec<u8>, i64), BlobError> {
        let range = format!("bytes=0-{}", length.saturating_sub(1));
        let request = aws::s3()
            .await
            .get_object()
            .bucket(&self.name)
            .key(key)
            .range(range);

        let object = invocation::phase("s3_ms", request.send())
            .await
            .map_err(|error| {
                let missing = error
                    .as_service_error()
                    .is_some_and(GetObjectError::is_no_such_key);
                if missing {
                    BlobError::NotFound
                } else {
                    BlobError::Unavailable
                }
            })?;

        let total = object
            .content_range()
            .and_then(|range| range.rsplit('/').next()?.parse().ok());
        let total = total.or(object.content_length()).unwrap_or(0);

        let bytes = object
            .body
            .collect()
            .await
            .map_err(|_| BlobError::Unavailable)?
            .into_bytes();

        // A server that ignores the range sends the whole object.
        Ok((bytes.iter().copied().take(length).collect(), total))
    }

    /// Removes an object; one that is gone already counts as removed.
    pub async fn remove(&self, key: &str) -> Result<(), BlobError> {
        let request = aws::s3().await.delete_object().bucket(&self.name).key(key);
        request.send().await.map(drop).map_err(|_| BlobError::Unavailable)
    }
}
