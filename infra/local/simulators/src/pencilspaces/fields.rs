//! What the body of a request says, and how the vendor refuses what it should not say.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// The body of a request, if it is JSON.
pub(super) type Sent = Result<Json<Value>, JsonRejection>;

/// Why the vendor does not do what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// Whether it stems from the database behind the vendor. Its texts always stand in `err`.
    pub(super) is_inner: bool,
    pub(super) text: String,
}

pub(super) fn wrong(text: impl Into<String>) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, text)
}

pub(super) fn missing(what: &str) -> Refusal {
    refusal(StatusCode::NOT_FOUND, format!("{what} not found"))
}

pub(super) fn refusal(status: StatusCode, text: impl Into<String>) -> Refusal {
    Refusal {
        status,
        is_inner: false,
        text: text.into(),
    }
}

/// A refusal by the database behind the vendor.
pub(super) fn inner(text: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        is_inner: true,
        text: format!("Firebase: {text}"),
    }
}

pub(super) fn body(sent: Sent) -> Result<Value, Refusal> {
    let Json(body) = sent.map_err(|_| wrong("Body is not valid JSON"))?;
    Ok(body)
}

/// An object of which only known fields may be there. The vendor may be more lenient; nobody knows.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value, known: &[&str]) -> Result<Self, Refusal> {
        let fields = value.as_object().ok_or_else(|| wrong("Must be an object"))?;
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(wrong(format!("{name} is not allowed"))),
            None => Ok(Self(fields)),
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        text.map(Some)
            .ok_or_else(|| wrong(format!("{name} must be a text that is not empty")))
    }

    pub(super) fn wanted_text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name)?
            .ok_or_else(|| wrong(format!("{name} is required")))
    }

    /// One of `words`, if anything.
    pub(super) fn word(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>, Refusal> {
        let word = self.text(name)?;
        if word.is_some_and(|word| !words.contains(&word)) {
            return Err(wrong(format!("{name} must be one of {}", words.join(", "))));
        }
        Ok(word)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let flag = value.as_bool();
        flag.map(Some)
            .ok_or_else(|| wrong(format!("{name} must be a boolean")))
    }

    pub(super) fn wanted_flag(&self, name: &str) -> Result<bool, Refusal> {
        self.flag(name)?
            .ok_or_else(|| wrong(format!("{name} is required")))
    }

    /// What is not there is an empty list.
    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(&[]);
        };
        let list = value.as_array().map(Vec::as_slice);
        list.ok_or_else(|| wrong(format!("{name} must be an array")))
    }
}
