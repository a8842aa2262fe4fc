//! Summaries and transcripts of single recordings.

use super::Fathom;
use super::admission::Caller;
use super::books::Books;
use super::meeting::Meeting;
use super::pages::Query;
use super::quirks::Quirk;
use super::register::destination;
use super::webhooks::Webhook;
use axum::Json;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use url::Url;

/// What of a recording is asked for.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Summary,
    Transcript,
}

/// A part that is to be sent to an address as soon as it is there.
pub(super) struct Promise {
    recording: u64,
    part: Part,
    url: Url,
}

pub(super) async fn summary(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    Path(recording): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let answer = vendor.books().give(Part::Summary, &caller, &recording, &query)?;
    Ok(Json(answer))
}

pub(super) async fn transcript(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    Path(recording): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let answer = vendor
        .books()
        .give(Part::Transcript, &caller, &recording, &query)?;
    Ok(Json(answer))
}

impl Books {
    /// A part of a recording, or a promise to send it.
    fn give(
        &mut self,
        part: Part,
        caller: &Caller,
        recording: &str,
        query: &Query,
    ) -> Result<Value, StatusCode> {
        let meeting = self.seen_by(&caller.account, recording);
        let meeting = meeting.ok_or(StatusCode::NOT_FOUND)?;
        let Some(text) = query.get("destination_url") else {
            return self.content(part, meeting).ok_or(StatusCode::NOT_FOUND);
        };

        let url = destination(text, self.is(Quirk::TakesLoopback)).ok_or(StatusCode::BAD_REQUEST)?;
        let recording = meeting.id;
        self.promises.push(Promise { recording, part, url });
        Ok(json!({ "destination_url": text }))
    }

    /// A part, or what stands for it as long as it is not there.
    fn content(&self, part: Part, meeting: &Meeting) -> Option<Value> {
        let (name, there, empty) = match part {
            Part::Summary => {
                let empty = json!({"template_name": null, "markdown_formatted": null});
                ("summary", meeting.summary(), empty)
            }
            Part::Transcript => ("transcript", meeting.transcript(), json!([])),
        };
        if meeting.is_ready && !there.is_null() {
            return Some(json!({ name: there }));
        }
        if self.is(Quirk::EmptyUntilReady) {
            return Some(json!({ name: empty }));
        }
        self.is(Quirk::NullUntilReady).then(|| json!({ name: null }))
    }

    /// Keeps the promises that can be kept. Nobody says that these are signed, so they are not.
    pub(super) fn keep_promises(&mut self) -> Vec<Webhook> {
        let (kept, left): (Vec<Promise>, Vec<Promise>) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition(|promise| {
                let meeting = self.meetings.get(&promise.recording);
                meeting.is_some_and(|meeting| meeting.is_ready)
            });
        self.promises = left;

        let webhooks = kept.into_iter().filter_map(|promise| {
            let meeting = self.meetings.get(&promise.recording)?;
            Some(Webhook {
                hook: None,
                url: promise.url,
                headers: Vec::new(),
                body: self.content(promise.part, meeting)?.to_string(),
            })
        });
        webhooks.filter(|_| !self.is(Quirk::Silent)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::fathom::Quirk;
    use crate::fathom::stage::Stage;
    use serde_json::json;

    #[tokio::test]
    async fn content_that_is_not_ready_has_three_faces() {
        let stage = Stage::new().await;
        let path = format!("recordings/{}/transcript", stage.lesson(0));

        assert_eq!(stage.get(&path).await.status, 404);
        stage.fathom.behave([Quirk::EmptyUntilReady]);
        assert_eq!(stage.get(&path).await.body, json!({"transcript": []}));
        stage.fathom.behave([Quirk::NullUntilReady]);
        assert_eq!(stage.get(&path).await.body, json!({"transcript": null}));
    }

    #[tokio::test]
    async fn what_is_promised_is_sent_once_and_when_it_is_there() {
        let stage = Stage::new().await;
        let lesson = stage.lesson(0);
        let path = format!("recordings/{lesson}/summary?destination_url=https%3A%2F%2Ffirstbell.test%2F");

        let promised = stage.get(&path).await.body;
        assert_eq!(promised, json!({"destination_url": "https://firstbell.test/"}));
        assert!(stage.fathom.take_posts().is_empty());

        stage.fathom.content_ready(lesson);
        let posts = stage.fathom.take_posts();
        assert!(posts[0].body.contains("Fractions"));
        assert!(posts[0].headers.is_empty());
        assert!(stage.fathom.take_posts().is_empty());
    }
}
