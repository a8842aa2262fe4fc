//! What is known of who was in a room and when: raw facts, and only facts. They come from the provider's own list and
//! from our launches, twice, late or in any order; [`Evidence::merge`] is a union, so none of that changes the result.
//! What the facts mean is for [`crate::prove::attendance`].
//!
//! Rules: [evidence-merged](../../RULES.md#evidence-merged), [evidence-sides](../../RULES.md#evidence-sides).
//!
//! As JSON, in `bookings.evidence` and `sessions.evidence`, with times in milliseconds since 1970, so that the
//! database (`merged_evidence`) can merge it in the statement that writes it:
//!
//! ```json
//! {"spans": {"<span>": [began, ended or null, ended by idling, recorded]},
//!  "ends":  {"<span>": told at},
//!  "marks": [["<span>", "<who>", "came", at]],
//!  "people": {"<who>": "tutor"}}
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A stretch of time for which the provider held the room open. A lesson has several when everybody drops out and
/// comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while it runs, as far as the provider has said.
    pub ended_at: Option<Timestamp>,
    /// The provider ended it because nobody moved: whoever was in it may have stayed.
    pub is_idled: bool,
    /// The provider has a recording of it.
    pub is_recorded: bool,
}

impl Span {
    /// A stretch of which nothing more is known than when it began, and when it ended if it has.
    pub fn new(began_at: Timestamp, ended_at: Option<Timestamp>) -> Self {
        Self {
            began_at,
            ended_at,
            is_idled: false,
            is_recorded: false,
        }
    }
}

/// Whose side a person in the room is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The tutor.
    Tutor,
    /// The learner, the client or a guardian: parents open the link for their child.
    Learner,
    /// A notetaker or an observer, who is nobody's presence.
    Nobody,
    /// The provider knows tutor and learner by one id: what it saw under it is not known to be either's.
    Unclear,
}

impl Side {
    /// Whose side somebody is on who was told to be on both of these.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, same) if one == same => one,
            (one, Self::Nobody) | (Self::Nobody, one) => one,
            _ => Self::Unclear,
        }
    }
}

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// Pressed Join, and was given a way in. Belongs to no span.
    Pressed,
    /// Entered the room.
    Came,
    /// Left it.
    Left,
    /// Stopped moving.
    Idled,
    /// Was in the span at some time; the provider does not say when.
    WasThere,
    /// Was not there any more when the provider was asked, and so had left by then.
    Gone,
}

/// One thing that one person did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// In which span; empty for [`Did::Pressed`].
    pub span: String,
    /// The provider's id of the person, or ours for [`Did::Pressed`]. Never a name.
    pub who: String,
    /// What.
    pub did: Did,
    /// When, by the clock of whoever saw it.
    pub at: Timestamp,
}

impl Mark {
    /// What `who`, by the provider's id, did in a span.
    pub fn new(span: &str, who: &str, did: Did, at: Timestamp) -> Self {
        Self {
            span: span.to_owned(),
            who: who.to_owned(),
            did,
            at,
        }
    }
}

/// Everything known of one booking's room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Evidence {
    /// By the provider's id of the span.
    pub spans: BTreeMap<String, Span>,
    /// Spans that a webhook said had ended, and when it said so. It is not believed, but until the provider's
    /// list agrees nobody may take the span for running.
    pub ends: BTreeMap<String, Timestamp>,
    /// Who did what.
    pub marks: BTreeSet<Mark>,
    /// Who is on whose side, by the ids that `marks` use. Whoever is missing here, or unclear, is not known.
    pub people: BTreeMap<String, Side>,
}

impl Evidence {
    /// Adds what `other` knows. Neither order nor repetition changes the result: earliest beginnings, latest ends, and
    /// the union of everything else.
    pub fn merge(&mut self, other: Self) {
        for (id, new) in other.spans {
            self.spans
                .entry(id)
                .and_modify(|span| {
                    span.began_at = span.began_at.min(new.began_at);
                    // `None` is less than any time: an end that is known stays known.
                    span.ended_at = span.ended_at.max(new.ended_at);
                    span.is_idled |= new.is_idled;
                    span.is_recorded |= new.is_recorded;
                })
                .or_insert(new);
        }
        for (id, told_at) in other.ends {
            let latest = self.ends.entry(id).or_insert(told_at);
            *latest = told_at.max(*latest);
        }
        self.marks.extend(other.marks);
        for (who, side) in other.people {
            let known = self.people.entry(who).or_insert(side);
            *known = known.or(side);
        }
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.marks.is_empty() && self.ends.is_empty()
    }
}

/// What the booking's card says of the room: `bookings.meeting_started_at`, `meeting_ended_at`, `duration_actual`,
/// `recording_url`, which the database derives from the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// The first beginning.
    pub started_at: Option<Timestamp>,
    /// The last end; `None` while somebody is in the room.
    pub ended_at: Option<Timestamp>,
    /// Sum of all ended spans, in seconds.
    pub duration_seconds: Option<i32>,
    /// Where the provider is asked for the recording of the longest span that has one.
    pub recording_url: Option<String>,
}

impl Proof {
    /// Whether the provider has seen the lesson begin.
    pub fn has_begun(&self) -> bool {
        self.started_at.is_some()
    }

    /// Whether somebody is in the room as far as is known.
    pub fn is_live(&self) -> bool {
        self.has_begun() && self.ended_at.is_none()
    }

    /// Whether the last end is at or after `instant`.
    pub fn ended_after(&self, instant: Timestamp) -> bool {
        self.ended_at.is_some_and(|end| end >= instant)
    }
}

/// [`Evidence`] as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    spans: BTreeMap<String, (i64, Option<i64>, bool, bool)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ends: BTreeMap<String, i64>,
    marks: Vec<(String, String, Did, i64)>,
    people: BTreeMap<String, Side>,
}

/// Milliseconds that lie outside the calendar were written by nobody here; they become its nearest end.
fn instant(milliseconds: i64) -> Timestamp {
    let edge = if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_millisecond(milliseconds).unwrap_or(edge)
}

impl From<Wire> for Evidence {
    fn from(wire: Wire) -> Self {
        let spans = wire
            .spans
            .into_iter()
            .map(|(id, (began, ended, is_idled, is_recorded))| {
                let span = Span {
                    began_at: instant(began),
                    ended_at: ended.map(instant),
                    is_idled,
                    is_recorded,
                };
                (id, span)
            });
        let marks = wire.marks.into_iter().map(|(span, who, did, at)| Mark {
            span,
            who,
            did,
            at: instant(at),
        });
        Self {
            spans: spans.collect(),
            ends: wire.ends.into_iter().map(|(id, at)| (id, instant(at))).collect(),
            marks: marks.collect(),
            people: wire.people,
        }
    }
}

impl From<Evidence> for Wire {
    fn from(evidence: Evidence) -> Self {
        let spans = evidence.spans.into_iter().map(|(id, span)| {
            let ended = span.ended_at.map(Timestamp::as_millisecond);
            let line = (
                span.began_at.as_millisecond(),
                ended,
                span.is_idled,
                span.is_recorded,
            );
            (id, line)
        });
        let marks = evidence.marks.into_iter();
        Self {
            spans: spans.collect(),
            ends: evidence
                .ends
                .into_iter()
                .map(|(id, at)| (id, at.as_millisecond()))
                .collect(),
            marks: marks
                .map(|mark| (mark.span, mark.who, mark.did, mark.at.as_millisecond()))
                .collect(),
            people: evidence.people,
        }
    }
}

#[cfg(test)]
mod tests;
