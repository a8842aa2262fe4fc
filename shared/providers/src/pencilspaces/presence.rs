//! What Pencil Spaces tells and what it has counted, as evidence. A span is one session of the space; who was in it are
//! tabs, for somebody may have two, and a tab that crashed never leaves.

use super::analytics::{Attendee, Session};
use super::webhook::{Told, What};
use domain::prove::evidence::{Did, Evidence, Mark, Side, Span};
use jiff::{SignedDuration, Timestamp};

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
    evidence.spans.insert(session.clone(), Span::new(told.at, None));
    evidence.marks.insert(Mark::new(session, &tab, did, told.at));
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
        .insert(session.id.clone(), Span::new(session.began_at, ended_at));

    for attendee in &session.attendees {
        let left_at = left(attendee, ended_at);
        let note = |who: &str, did, at| Mark::new(&session.id, who, did, at);
        let told = told_of(known, &session.id, &attendee.user);

        for tab in told.iter().map(|mark| mark.who.as_str()) {
            evidence.marks.extend(left_at.map(|at| note(tab, Did::Gone, at)));
        }
        // Of a coming that nobody told, and of a return after the last departure that anybody told.
        let since = told_until(&told).map_or(Some(attendee.came_at), |until| {
            left_at
                .filter(|left_at| left_at.duration_since(until) > CLOSE)
                .map(|_| until)
        });
        if let Some(since) = since {
            evidence.marks.insert(note(&attendee.user, Did::Came, since));
            evidence
                .marks
                .extend(left_at.map(|at| note(&attendee.user, Did::Left, at)));
        }
    }
    evidence
}

/// Times that are no further apart are one: the vendor takes them in two places.
const CLOSE: SignedDuration = SignedDuration::from_mins(1);

/// Until when what was told of somebody's tabs says that they were there; `None` if it does not say that they came. A tab
/// that has not left is there until the end.
fn told_until(told: &[&Mark]) -> Option<Timestamp> {
    let did = |tab: &str, did| told.iter().any(|mark| mark.who == tab && mark.did == did);
    let came = told.iter().filter(|mark| mark.did == Did::Came);
    if came.clone().any(|mark| !did(&mark.who, Did::Left)) {
        return Some(Timestamp::MAX);
    }
    came.clone().next()?;
    let left = told.iter().filter(|mark| mark.did == Did::Left);
    left.map(|mark| mark.at).max()
}

/// When somebody was not in the session any more.
fn left(attendee: &Attendee, ended_at: Option<Timestamp>) -> Option<Timestamp> {
    attendee.left_at.or(ended_at)
}

/// By what name one of somebody's tabs is known.
fn tab_of(user: &str, tab: &str) -> String {
    format!("{user}/{tab}")
}

/// What the session's events told of one person's tabs.
fn told_of<'a>(known: &'a Evidence, session: &str, user: &str) -> Vec<&'a Mark> {
    let theirs = tab_of(user, "");
    let marks = known.marks.iter().filter(|mark| mark.span == session);
    marks.filter(|mark| mark.who.starts_with(&theirs)).collect()
}
