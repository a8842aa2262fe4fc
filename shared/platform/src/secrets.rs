//! Secrets: an SSM parameter on AWS, an environment variable locally. Fetched on first use, cached, and
//! kept when a refresh fails: yesterday's key is better than none.

use crate::{aws, redaction};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Mutex;

/// How long a parameter is used before it is fetched again; how fast a rotation takes effect.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_mins(10);

/// The secret could not be had. Transient: try again.
#[derive(Debug, thiserror::Error)]
#[error("secret {name} is unavailable: {reason}")]
pub struct SecretError {
    name: &'static str,
    reason: &'static str,
}

enum Source {
    Literal(SecretString),
    Parameter(String),
}

struct Cached {
    value: SecretString,
    fetched_at: Timestamp,
}

/// One named secret.
pub struct Secret {
    name: &'static str,
    source: Source,
    cache: Mutex<Option<Cached>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl Secret {
    pub(crate) fn literal(name: &'static str, value: String) -> Self {
        let value = SecretString::from(value);
        redaction::remember(&value);
        Self {
            name,
            source: Source::Literal(value),
            cache: Mutex::new(None),
        }
    }

    pub(crate) fn parameter(name: &'static str, parameter: String) -> Self {
        Self {
            name,
            source: Source::Parameter(parameter),
            cache: Mutex::new(None),
        }
    }

    /// The value.
    pub async fn get(&self) -> Result<SecretString, SecretError> {
        match &self.source {
            Source::Literal(value) => Ok(value.clone()),
            Source::Parameter(parameter) => self.cached(parameter).await,
        }
    }

    /// All values in force: while a secret is rotated it holds the new and the old one, separated by a
    /// comma. Sign with the first, accept any.
    pub async fn all(&self) -> Result<Vec<SecretString>, SecretError> {
        let value = self.get().await?;
        let parts = value
            .expose_secret()
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        Ok(parts
            .map(SecretString::from)
            .inspect(redaction::remember)
            .collect())
    }

    /// The value to sign with.
    pub async fn first(&self) -> Result<SecretString, SecretError> {
        let values = self.all().await?;
        values.into_iter().next().ok_or(SecretError {
            name: self.name,
            reason: "it is empty",
        })
    }

    /// Whether `given` is one of the values in force; compared in constant time.
    pub async fn is(&self, given: &str) -> Result<bool, SecretError> {
        let values = self.all().await?;
        let matches = |value: &SecretString| value.expose_secret().as_bytes().ct_eq(given.as_bytes());
        Ok(values
            .iter()
            .fold(Choice::from(0), |found, value| found | matches(value))
            .into())
    }

    async fn cached(&self, parameter: &str) -> Result<SecretString, SecretError> {
        let mut cache = self.cache.lock().await;
        let now = Timestamp::now();
        if let Some(cached) = cache
            .as_ref()
            .filter(|cached| now.duration_since(cached.fetched_at) < TIME_TO_LIVE)
        {
            return Ok(cached.value.clone());
        }
        match (self.fetch(parameter).await, cache.as_ref()) {
            (Ok(value), _) => {
                redaction::remember(&value);
                *cache = Some(Cached {
                    value: value.clone(),
                    fetched_at: now,
                });
                Ok(value)
            }
            (Err(error), Some(last_known_good)) => {
                tracing::warn!(secret = self.name, %error, "keeping the last known value");
                Ok(last_known_good.value.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, parameter: &str) -> Result<SecretString, SecretError> {
        let unavailable = |reason| SecretError {
            name: self.name,
            reason,
        };
        let request = aws::ssm()
            .await
            .get_parameter()
            .name(parameter)
            .with_decryption(true);
        let response = request
            .send()
            .await
            .map_err(|_| unavailable("SSM did not give the parameter"))?;
        let value = response.parameter.and_then(|parameter| parameter.value);
        value
            .map(SecretString::from)
            .ok_or_else(|| unavailable("the parameter has no value"))
    }
}
