//! What Pencil Spaces tells and what it has counted, as evidence. A span is one session of the space; who was in it are
//! tabs, for somebody may have two, and a tab that crashed never leaves.

use super::analytics::{Attendee, Session};
use super::webhook::{Told, What};
use domain::prove::evidence::{Did, Evidence, Mark, Side, Span};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What one event shows of somebody who is on this `side`; `None` if that is not known.
pub fn told(told: &Told, side: Option<Side>) -> Evidence {
    let mut evidence = Evidence::default();
    let (Some(session), Some((user, tab))) = (&told.session, &told.who) else {
        return evidence;
    };
    let did = match told.what {
        What::Came => Did::Came,
        What::Left => Did::Left,
        What::Active => Did::WasThere,
        What::Analysed | What::Other => return evidence,
    };

    let tab = tab_of(user, tab);
    evidence.spans.insert(session.clone(), span(told.at, None));
    evidence.marks.insert(mark(session, &tab, did, told.at));
    evidence.people.extend(side.map(|side| (tab, side)));
    evidence
}

/// What the vendor has counted of a session, beside what its events told. It is coarse, the first coming and the last
/// leaving of each person, so it fills in where events are missing and takes nothing back that they told.
pub fn analysed(session: &Session, known: &Evidence) -> Evidence {
    let mut evidence = Evidence::default();
    let ended_at = session.ended_at;
    evidence
        .spans
        .insert(session.id.clone(), span(session.began_at, ended_at));

    for attendee in &session.attendees {
        let tabs = tabs_of(known, &session.id, &attendee.user);
        if tabs.is_empty() {
            let note = |did, at| mark(&session.id, &attendee.user, did, at);
            evidence.marks.insert(note(Did::Came, attendee.came_at));
            evidence
                .marks
                .extend(left(attendee, ended_at).map(|at| note(Did::Left, at)));
        }
        for tab in tabs {
            let gone_at = left(attendee, ended_at);
            evidence
                .marks
                .extend(gone_at.map(|at| mark(&session.id, tab, Did::Gone, at)));
        }
    }
    evidence
}

/// When somebody was not in the session any more.
fn left(attendee: &Attendee, ended_at: Option<Timestamp>) -> Option<Timestamp> {
    attendee.left_at.or(ended_at)
}

/// By what name one of somebody's tabs is known.
fn tab_of(user: &str, tab: &str) -> String {
    format!("{user}/{tab}")
}

/// The tabs of one person of which the session's events told.
fn tabs_of<'a>(known: &'a Evidence, session: &str, user: &str) -> BTreeSet<&'a str> {
    let theirs = tab_of(user, "");
    let marks = known.marks.iter().filter(|mark| mark.span == session);
    marks
        .map(|mark| mark.who.as_str())
        .filter(|who| who.starts_with(&theirs))
        .collect()
}

fn span(began_at: Timestamp, ended_at: Option<Timestamp>) -> Span {
    Span {
        began_at,
        ended_at,
        is_idled: false,
        is_recorded: false,
    }
}

fn mark(session: &str, who: &str, did: Did, at: Timestamp) -> Mark {
    Mark {
        span: session.to_owned(),
        who: who.to_owned(),
        did,
        at,
    }
}
