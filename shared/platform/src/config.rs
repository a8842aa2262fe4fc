//! Configuration from the environment: typed, read once at start, and complaining about everything that
//! is missing or malformed at once instead of one variable per deployment.

use crate::clock::Clock;
use crate::logs;
use crate::secrets::{Parameters, Secret};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

/// What is wrong with the environment, one line per variable; never a value.
#[derive(Debug, thiserror::Error)]
#[error("configuration is incomplete: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Reads variables and remembers what was wrong with them.
pub struct Env {
    lookup: Lookup,
    problems: Vec<String>,
    clock: Clock,
    parameters: Arc<Parameters>,
}

impl Env {
    /// The process's environment. An empty variable counts as absent.
    pub fn process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The variables of any other source, such as a test's.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        let lookup = move |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let clock =
            lookup("CLOCK_OFFSET_FILE").map_or_else(Clock::system, |file| Clock::shifted_by(file.into()));
        Self {
            lookup: Box::new(lookup),
            problems: Vec::new(),
            parameters: Parameters::new(clock.clone()),
            clock,
        }
    }

    /// Remembers that something is wrong for [`Env::finish`].
    pub(crate) fn complain(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn raw(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str, value: &str) -> Option<T> {
        match value.trim().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problems.push(format!("{name} is malformed ({error})"));
                None
            }
        }
    }

    /// A variable that must be there. `None` if it is missing or malformed, which is remembered for
    /// [`Env::finish`].
    pub fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        if let Some(value) = self.raw(name) {
            return self.parsed(name, &value);
        }
        self.problems.push(format!("{name} is missing"));
        None
    }

    /// A variable with a default. `None` only if it is there and malformed.
    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Option<T> {
        match self.raw(name) {
            Some(value) => self.parsed(name, &value),
            None => Some(default),
        }
    }

    /// A secret: its value in `NAME` (locally), or the name of an SSM parameter in `NAME_PARAMETER` (on
    /// AWS). The value itself is fetched on first use, together with those of the function's other secrets.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let secret = self.optional_secret(name);
        if secret.is_none() {
            self.problems
                .push(format!("{name} or {name}_PARAMETER is missing"));
        }
        secret
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, name: &'static str) -> Option<Secret> {
        if let Some(value) = self.raw(name) {
            return Some(Secret::literal(name, value));
        }
        self.raw(&format!("{name}_PARAMETER"))
            .map(|parameter| Secret::parameter(name, parameter, &self.parameters))
    }

    /// The clock: the machine's, unless the local stack shifts it (see [`Clock::shifted_by`]).
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Builds the configuration if nothing was wrong. `build` returns `None` only for values that were
    /// reported already.
    ///
    /// Every variable is read before `build`, into an `Option` that is only unwrapped there: a `?` at the
    /// first missing one would hide the others.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            build().ok_or_else(|| ConfigError(vec!["a value was dropped without a reason".into()]))
        } else {
            logs::init();
            tracing::error!(problems = self.problems.join("; "), "configuration is incomplete");
            Err(ConfigError(self.problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_reported_at_once_and_no_value_is_shown() {
        let mut env = Env::from_lookup(|name| match name {
            "MINUTES" => Some("fifteen-hunter2".into()),
            "EMPTY" => Some(" ".into()),
            _ => None,
        });

        let minutes: Option<u32> = env.required("MINUTES");
        let empty: Option<String> = env.required("EMPTY");
        let secret = env.secret("API_KEY");
        let defaulted: Option<u32> = env.or("ABSENT", 7);
        assert_eq!(defaulted, Some(7));

        let error = env
            .finish(|| Some((minutes?, empty?, secret?)))
            .err()
            .unwrap()
            .to_string();

        for name in ["MINUTES", "EMPTY", "API_KEY"] {
            assert!(error.contains(name), "{name} is not reported in: {error}");
        }
        assert!(!error.contains("hunter2"), "a value leaked: {error}");
    }
}
