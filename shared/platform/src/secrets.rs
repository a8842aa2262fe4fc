//! Secrets: SSM parameters on AWS, environment variables locally. All parameters that a function names are
//! fetched by one call on first use, cached, and kept when a refresh fails: yesterday's key is better than
//! none.

use crate::clock::Clock;
use crate::freshness::{Freshness, patience};
use crate::{aws, redaction};
use aws_sdk_ssm::error::ProvideErrorMetadata;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::timeout;

/// The most parameters that SSM gives by one call.
const MOST_NAMES: usize = 10;

/// A secret could not be fetched. It may work later.
#[derive(Debug, thiserror::Error)]
#[error("secret {name} is unavailable: {reason}")]
pub struct SecretError {
    name: &'static str,
    reason: &'static str,
}

enum Source {
    Literal(SecretString),
    Parameter(String, Arc<Parameters>),
}

/// One named secret, fetched on first use and refreshed when it is old.
pub struct Secret {
    name: &'static str,
    source: Source,
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
        }
    }

    pub(crate) fn parameter(name: &'static str, parameter: String, among: &Arc<Parameters>) -> Self {
        among.add(parameter.clone());
        Self {
            name,
            source: Source::Parameter(parameter, Arc::clone(among)),
        }
    }

    /// The secret's whole value, from the cache as long as that is fresh.
    pub async fn get(&self) -> Result<SecretString, SecretError> {
        match &self.source {
            Source::Literal(value) => Ok(value.clone()),
            Source::Parameter(parameter, among) => among.get(parameter).await.map_err(|reason| SecretError {
                name: self.name,
                reason,
            }),
        }
    }

    /// Notes that the value was refused by whoever it is for: it is fetched anew when it is next asked for.
    /// Until that succeeds the old one stays.
    pub async fn forget(&self) {
        if let Source::Parameter(_, among) = &self.source {
            among.held.lock().await.freshness.doubt();
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

    /// The value to sign with: the first of those in force.
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
        // All values are compared, even after one has matched, so that the time taken does not tell which it
        // was.
        Ok(values
            .iter()
            .fold(Choice::from(0), |found, value| found | matches(value))
            .into())
    }
}

/// All parameters that a function names. They are fetched together, so that a start costs one call however
/// many there are: Parameter Store serves few calls a second, and functions start by the hundred at the full
/// hour.
pub(crate) struct Parameters {
    clock: Clock,
    names: Mutex<BTreeSet<String>>,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    values: HashMap<String, SecretString>,
    freshness: Freshness,
}

impl Parameters {
    /// An empty set of parameters; `clock` tells how old their values are.
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            names: Mutex::default(),
            held: tokio::sync::Mutex::default(),
        })
    }

    fn add(&self, name: String) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name);
    }

    /// A parameter's value, or why there is none.
    async fn get(&self, name: &str) -> Result<SecretString, &'static str> {
        let mut held = self.held.lock().await;
        let (now, is_held) = (self.clock.now(), held.values.contains_key(name));

        if held.freshness.is_due(is_held, now) {
            held.freshness.asked(now);
            let answer = timeout(patience(is_held), self.fetch()).await;
            match answer.unwrap_or(Err("SSM does not answer")) {
                Ok(values) => {
                    held.freshness.fetched(now);
                    // A parameter that is missing from this answer keeps the value that it had.
                    held.values.extend(values);
                }
                Err(reason) if is_held => tracing::warn!(reason, "keeping the last known secrets"),
                Err(reason) => return Err(reason),
            }
        }

        let value = held.values.get(name).cloned();
        value.ok_or("SSM has no such parameter, or did not give it")
    }

    async fn fetch(&self) -> Result<HashMap<String, SecretString>, &'static str> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names: Vec<String> = names.into_iter().collect();
        let mut values = HashMap::new();

        for some in names.chunks(MOST_NAMES) {
            let request = aws::ssm().await.get_parameters();
            let request = request.set_names(Some(some.to_vec())).with_decryption(true);
            let answer = request.send().await.map_err(|error| {
                tracing::warn!(code = error.code().unwrap_or("none"), "SSM gave no parameters");
                "SSM did not give the parameters"
            })?;

            let given = answer.parameters.unwrap_or_default().into_iter();
            values.extend(given.filter_map(|one| Some((one.name?, SecretString::from(one.value?)))));
        }

        values.values().for_each(redaction::remember);
        Ok(values)
    }
}
