//! What LiveKit tells and what it answers, as evidence. A span is one room by the vendor's id; who was in it are stays, by
//! the vendor's ids too, since one person may have several at once for a moment: a quick reconnect comes before the
//! departure that it follows.

use super::api::{LiveRoom, Present};
use super::webhook::{Told, What};
use domain::ids::ProfileId;
use domain::prove::evidence::{Did, Evidence, Mark, Side, Span};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What one event shows, beside what is known. `side_of` says on which side a person of ours is.
///
/// A room counts from its first visitor on: it is made by us, when somebody presses Join, and so that it is there shows
/// nobody's presence.
pub fn told(told: &Told, known: &Evidence, side_of: impl Fn(ProfileId) -> Side) -> Evidence {
    let mut evidence = Evidence::default();
    let known_span = known.spans.get(&told.room);

    let marks: &[(Did, Option<Timestamp>)] = match (told.what, &told.who) {
        (What::RoomFinished, _) => {
            if let Some(known_span) = known_span {
                close(&mut evidence, known, (&told.room, *known_span), told.at);
            }
            &[]
        }
        (What::Joined, Some(who)) => &[(Did::Came, Some(who.joined_at.unwrap_or(told.at)))],
        // A departure says when they had come, should that never have been told. Its own time is cut to the second, and
        // nobody leaves before they come.
        (What::Left, Some(who)) => &[
            (Did::Came, who.joined_at),
            (
                Did::Left,
                Some(who.joined_at.map_or(told.at, |joined| told.at.max(joined))),
            ),
        ],
        // It names nobody's kind: a program speaks, too. And once it is known that somebody came, this says no more.
        (What::Active, Some(who)) if is_ours(&who.identity) && !is_known(known, &who.sid) => {
            &[(Did::WasThere, Some(told.at))]
        }
        (What::Joined | What::Left, None) | (What::Active | What::Other, _) => &[],
    };

    let Some(who) = &told.who else {
        return evidence;
    };
    for (did, at) in marks {
        let Some(at) = *at else { continue };
        if *did == Did::Came && has_come(known, &who.sid) {
            // A stay begins once, whatever it is said to have begun at afterwards.
            continue;
        }
        // The first coming comes first.
        let begun = evidence.spans.entry(told.room.clone());
        begun.or_insert_with(|| Span::new(at, None));
        evidence.marks.insert(Mark::new(&told.room, &who.sid, *did, at));
        name(&mut evidence, &who.sid, &who.identity, &side_of);
    }
    evidence
}

/// What the vendor shows of a room at `asked_at`, beside what is known of it and whether any webhook of it has come. It
/// shows what is live, and nothing of what was: a stay or a room that is known to have begun, and is not shown any more,
/// has ended by then.
pub fn seen(
    live: Option<&LiveRoom>,
    present: &[Present],
    (known, has_reported): (&Evidence, bool),
    asked_at: Timestamp,
    side_of: impl Fn(ProfileId) -> Side,
) -> Evidence {
    let mut evidence = Evidence::default();

    for (sid, known_span) in &known.spans {
        let is_gone = live.is_none_or(|live| live.sid != *sid);
        if known_span.ended_at.is_none() && is_gone {
            close(&mut evidence, known, (sid, *known_span), asked_at);
        }
    }

    let Some(live) = live else {
        return evidence;
    };
    // Where webhooks come, a room of which they told no visitor had none. Where none ever came, nobody knows.
    let is_visited = known.spans.contains_key(&live.sid) || !present.is_empty() || !has_reported;
    if is_visited {
        let first = present.iter().filter_map(|person| person.joined_at).min();
        let began_at = first.or(known.spans.get(&live.sid).map(|span| span.began_at));
        let begun = Span::new(began_at.unwrap_or(live.made_at), None);
        evidence.spans.insert(live.sid.clone(), begun);
    }

    for person in present {
        let came = person.joined_at.map(|at| (Did::Came, at));
        let (did, at) = came.unwrap_or((Did::WasThere, live.made_at));
        if did != Did::Came || !has_come(known, &person.sid) {
            evidence.marks.insert(Mark::new(&live.sid, &person.sid, did, at));
        } else {
            // Still there, which counts for the hour in which it is seen.
            evidence
                .marks
                .insert(Mark::new(&live.sid, &person.sid, Did::WasThere, asked_at));
        }
        name(&mut evidence, &person.sid, &person.identity, &side_of);
    }

    for stay in still_open(known, &live.sid) {
        if present.iter().all(|person| person.sid != stay) {
            evidence
                .marks
                .insert(Mark::new(&live.sid, stay, Did::Gone, asked_at));
        }
    }
    evidence
}

/// A room is gone: it had ended by then, and whoever is not known to have left it had left by then.
fn close(evidence: &mut Evidence, known: &Evidence, (room, begun): (&String, Span), at: Timestamp) {
    evidence
        .spans
        .insert(room.clone(), Span::new(begun.began_at, Some(at)));
    for stay in still_open(known, room) {
        evidence.marks.insert(Mark::new(room, stay, Did::Gone, at));
    }
}

/// Whether somebody entered by a token of ours, which has our id of them.
fn is_ours(identity: &str) -> bool {
    identity.parse::<ProfileId>().is_ok()
}

fn is_known(known: &Evidence, stay: &str) -> bool {
    known.marks.iter().any(|mark| mark.who == stay)
}

fn has_come(known: &Evidence, stay: &str) -> bool {
    let mut marks = known.marks.iter();
    marks.any(|mark| mark.who == stay && mark.did == Did::Came)
}

/// The stays in a room of which nothing known says that they are over.
fn still_open<'a>(known: &'a Evidence, room: &str) -> BTreeSet<&'a str> {
    let did = |is: fn(Did) -> bool| {
        let marks = known.marks.iter();
        let those = marks.filter(move |mark| mark.span == room && is(mark.did));
        those.map(|mark| mark.who.as_str()).collect::<BTreeSet<_>>()
    };
    &did(|did| did == Did::Came) - &did(|did| matches!(did, Did::Left | Did::Gone))
}

/// Whose stay it was. Whoever did not come by a token of ours is not known.
fn name(evidence: &mut Evidence, stay: &str, identity: &str, side_of: &impl Fn(ProfileId) -> Side) {
    if let Ok(person) = identity.parse() {
        evidence.people.insert(stay.to_owned(), side_of(person));
    }
}
