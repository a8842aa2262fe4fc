//! What a lesson comes to: every pattern of attendance, and what holds for all of them.

use super::*;
use crate::charge::session::SessionPolicy;
use crate::ids::{BookingId, ProfileId};
use crate::launch::window::Schedule;
use crate::prove::evidence::Did::{Came, Left};
use crate::prove::evidence::{Did, Mark, Side, Span};
use iso_currency::Currency;
use proptest::prelude::*;
use uuid::Uuid;

mod bounds;

const START: i64 = 1_772_366_400;

/// So many minutes after the planned start.
fn at(minutes: f64) -> Timestamp {
    Timestamp::from_second(START).unwrap() + SignedDuration::from_secs_f64(minutes * 60.0)
}

fn session(minutes: i32, minor: i64, currency: Currency) -> Session {
    Session {
        booking: BookingId(Uuid::nil()),
        client: ProfileId(Uuid::from_u128(1)),
        tutor: ProfileId(Uuid::from_u128(2)),
        schedule: Schedule::new(at(0.0), minutes).unwrap(),
        price: Money::new(minor, currency),
        policy: SessionPolicy::default(),
        is_entered_through_us: true,
    }
}

fn hour() -> Session {
    session(60, 10_000, Currency::TTD)
}

/// What a provider would say of a lesson, in minutes from the planned start; `-10 - -8, 0 - …` is how a line of the
/// table below writes it. `idle` behind an end: the provider ended it because nobody moved.
#[derive(Debug, Clone, Default)]
struct Seen {
    tutor: Vec<(f64, f64, bool)>,
    learner: Vec<(f64, f64, bool)>,
    nobody: Vec<(f64, f64, bool)>,
    room: Vec<(f64, f64, bool)>,
}

const STILL: f64 = 1e6;

fn intervals(text: &str) -> Vec<(f64, f64, bool)> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (times, is_idled) = match part.strip_suffix(" idle") {
                Some(times) => (times, true),
                None => (part, false),
            };
            let (from, to) = times.split_once(" - ").unwrap();
            let to = if to == "…" { STILL } else { to.parse().unwrap() };
            (from.parse().unwrap(), to, is_idled)
        })
        .collect()
}

impl Seen {
    /// Reads `T 0 - 61; L 3 - …; N …; R …`.
    fn read(line: &str) -> Self {
        let mut seen = Self::default();
        for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (who, times) = part.split_at(1);
            match who {
                "T" => seen.tutor = intervals(times),
                "L" => seen.learner = intervals(times),
                "N" => seen.nobody = intervals(times),
                "R" => seen.room = intervals(times),
                _ => panic!("{part} is of nobody"),
            }
        }
        seen
    }

    /// The evidence of it, as it is known at `now`, in minutes.
    fn at(&self, now: f64) -> Evidence {
        let mut evidence = Evidence::default();
        let sides = [
            ("t", Side::Tutor, &self.tutor),
            ("l", Side::Learner, &self.learner),
            ("n", Side::Nobody, &self.nobody),
        ];
        let mut spans: Vec<(f64, f64, bool)> = self.room.clone();
        for (_, _, stays) in &sides {
            spans.extend(stays.iter().copied());
        }
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Half a minute after the last has left, a span ends.
        let mut rooms: Vec<(f64, f64, bool)> = Vec::new();
        for span in spans {
            match rooms.last_mut() {
                Some(last) if span.0 < last.1 + 0.5 => {
                    last.2 = if span.1 > last.1 { span.2 } else { last.2 };
                    last.1 = last.1.max(span.1);
                }
                _ => rooms.push(span),
            }
        }
        for (n, (from, to, is_idled)) in rooms.iter().enumerate().filter(|(_, span)| span.0 <= now) {
            let has_ended = *to <= now;
            evidence.spans.insert(
                n.to_string(),
                Span {
                    began_at: at(*from),
                    ended_at: has_ended.then(|| at(*to)),
                    is_idled: has_ended && *is_idled,
                    is_recorded: false,
                },
            );
            for (who, side, stays) in &sides {
                let inside = stays.iter().filter(|stay| stay.0 >= *from && stay.0 <= *to);
                for stay in inside.filter(|stay| stay.0 <= now) {
                    evidence.people.insert((*who).into(), *side);
                    let mut did = |span: &str, did, minute| {
                        evidence.marks.insert(Mark {
                            span: span.into(),
                            who: (*who).into(),
                            did,
                            at: at(minute),
                        });
                    };
                    if *side != Side::Nobody {
                        did("", Did::Pressed, stay.0 - 0.1);
                    }
                    did(&n.to_string(), Did::Came, stay.0);
                    if stay.1 <= now {
                        did(
                            &n.to_string(),
                            if stay.2 { Did::Idled } else { Did::Left },
                            stay.1,
                        );
                    }
                }
            }
        }
        evidence
    }
}

/// Plays a line: asks the provider at the planned end and when the room has closed, and settles as soon as that is
/// allowed. The status, and the minute of it.
fn play(session: &Session, seen: &Seen, mark: Option<f64>) -> (SessionStatus, i32, Settlement) {
    for minute in [0, 21, 59, 60, 75, 75 + 24 * 60] {
        let now = f64::from(minute);
        let facts = Facts {
            evidence: seen.at(now),
            asked_at: Some(at(now)),
            no_show_marked_at: mark.filter(|marked| *marked <= now).map(at),
            ..Facts::default()
        };
        match settle(session, &facts, SessionStatus::Scheduled, at(now)) {
            Verdict::Decided(settled) => return (settled.status, minute, *settled),
            Verdict::Wait(until) => assert!(until > at(now), "waits for what has passed"),
            Verdict::Stands => panic!("nothing stands yet"),
        }
    }
    panic!("never decided")
}

fn no_show_may_be_marked(session: &Session, seen: &Seen, minute: f64) -> bool {
    let facts = Facts {
        evidence: seen.at(minute),
        asked_at: Some(at(minute)),
        ..Facts::default()
    };
    session.allow_no_show(SessionStatus::JoinOpen, at(minute)).is_ok()
        && !contradicts_mark(session, &facts, at(minute))
}

use SessionStatus::{
    CompletedAssumed as Completed, EarlyEndShort as Early, NoShowStudent as NoStudent,
    NoShowTutor as NoTutor, NobodyCame as Nobody,
};

/// What was seen, the minute of a mark, the outcome and the minute in which it is decided; and the outcome where
/// everybody is assumed to have come.
type Line = (u8, &'static str, Option<f64>, SessionStatus, i32, SessionStatus);

const LINES: &[Line] = &[
    (1, "T 0 - 61; L 0 - 61", None, Completed, 60, Completed),
    (2, "T -5 - …; L 3 - …", None, Completed, 60, Completed),
    (
        3,
        "T 0 - 20, 22 - 61; L 0 - 20, 22 - 61",
        None,
        Completed,
        60,
        Completed,
    ),
    (
        4,
        "T 0 - 50, 57 - 62; L 0 - 50, 56 - 62",
        None,
        Completed,
        60,
        Completed,
    ),
    (5, "T -12 - -10, 0 - 61; L 0 - 61", None, Completed, 60, Completed),
    (6, "L -10 - -8, 0 - 61; T 0 - 61", None, Completed, 60, Completed),
    (7, "T 0 - 59; L 0 - 59", None, Completed, 75, Completed),
    (8, "T 0 - 57; L 0 - 57", None, Early, 75, Early),
    (9, "T 0 - 45; L 0 - 45", None, Early, 75, Early),
    (
        10,
        "T 0 - 45, 62 - 70; L 0 - 45, 62 - 70",
        None,
        Completed,
        75,
        Completed,
    ),
    (11, "T 0 - 20, 59 - 60.1; L 0 - 20", None, Early, 75, Completed),
    (12, "T 0 - 61; L 0 - 20", None, Completed, 60, Completed),
    (13, "T 0 - 20; L 0 - 61", None, Early, 75, Completed),
    (14, "T 0 - 20, 26 - 61; L 0 - 61", None, Completed, 60, Completed),
    (15, "T 0 - 20, 40 - 61; L 0 - 61", None, Completed, 60, Completed),
    (16, "T -10 - 50; L -10 - 50", None, Completed, 75, Completed),
    (17, "T 10 - 70; L 0 - 70", None, Completed, 60, Completed),
    (18, "T 0 - 61; L 58 - 61", None, Completed, 60, Completed),
    (19, "T 0 - 61", None, NoStudent, 75, Completed),
    (20, "T 0 - 22", Some(21.0), NoStudent, 60, NoStudent),
    (21, "T 0 - 21; L 30 - 40", None, NoStudent, 75, Completed),
    (22, "T 0 - 15", None, Nobody, 75, Completed),
    (23, "T 0 - 15; L 18 - 61", None, NoTutor, 75, Completed),
    (24, "L 0 - 25", None, NoTutor, 75, Completed),
    (25, "T -12 - -10; L 0 - 25", None, NoTutor, 75, Completed),
    (26, "", None, Nobody, 75, Completed),
    (27, "T 25 - 61; L 0 - 61", None, Completed, 60, Completed),
    (28, "T 25 - 61; L 0 - 22", None, NoTutor, 75, Completed),
    (31, "T 0 - 61; L 25 - 61", Some(21.0), NoStudent, 60, NoStudent),
    (34, "T 0 - 61; L 0 - 61", None, Completed, 60, Completed),
    (35, "T 0 - 61; N 0 - 61", None, NoStudent, 75, Completed),
    (
        36,
        "T 0 - 40, 43 - 61; L 0 - 40, 43 - 61",
        None,
        Completed,
        60,
        Completed,
    ),
    (37, "T 0 - 61; L 5 - 61", None, Completed, 60, Completed),
    (38, "R 0 - 61", None, Completed, 60, Completed),
    (39, "R 0 - 50, 52 - …", None, Completed, 60, Completed),
    (40, "R -10 - -8, 0 - 45", None, Early, 75, Early),
    (45, "T 0 - 6 idle", Some(21.0), NoStudent, 60, NoStudent),
    (46, "T 0 - 6 idle", None, NoStudent, 75, Completed),
    (47, "T 0 - 25 idle; L 0 - 25 idle", None, Completed, 75, Completed),
];

#[test]
fn what_a_lesson_comes_to() {
    let assumed = SessionPolicy {
        attendance: Presumption::Assumed,
        ..SessionPolicy::default()
    };
    for (number, line, mark, proven_outcome, decided_at, assumed_outcome) in LINES {
        let seen = Seen::read(line);
        if let Some(minute) = mark {
            assert!(
                no_show_may_be_marked(&hour(), &seen, *minute),
                "{number}: the mark is refused"
            );
        }

        let (status, minute, _) = play(&hour(), &seen, *mark);
        assert_eq!(
            (status, minute),
            (*proven_outcome, *decided_at),
            "pattern {number}: {line}"
        );

        let lenient = Session {
            policy: assumed,
            ..hour()
        };
        let status = play(&lenient, &seen, *mark).0;
        assert_eq!(
            status, *assumed_outcome,
            "pattern {number}, where everybody is assumed to have come: {line}"
        );
    }
}

#[test]
fn a_mark_is_refused_where_what_is_known_speaks_against_it() {
    let seen = Seen::read("L 0 - 30; T 0 - 30");
    assert!(
        !no_show_may_be_marked(&hour(), &seen, 21.0),
        "29: the learner is there"
    );
    assert_eq!(play(&hour(), &seen, None).0, Early);
    assert!(
        !no_show_may_be_marked(&hour(), &Seen::read(""), 21.0),
        "30: the tutor never came"
    );
    assert!(
        !no_show_may_be_marked(&hour(), &Seen::read("T 0 - 61; L 3 - 6"), 21.0),
        "the learner was there for a while"
    );
    assert!(
        no_show_may_be_marked(&hour(), &Seen::read("T 0 - 61; L 3 - 4"), 21.0),
        "the learner only looked in"
    );
    assert!(
        !no_show_may_be_marked(&hour(), &Seen::read("T 0 - 61"), 19.9),
        "the wait is not over"
    );
    assert!(
        !no_show_may_be_marked(&hour(), &Seen::read("T 0 - 61"), 60.1),
        "the lesson is over"
    );

    // 29 and 30 where everybody is assumed to have come: the tutor's word counts.
    let policy = SessionPolicy {
        attendance: Presumption::Assumed,
        ..SessionPolicy::default()
    };
    assert!(no_show_may_be_marked(&Session { policy, ..hour() }, &seen, 21.0));
    assert_eq!(
        play(&Session { policy, ..hour() }, &seen, Some(21.0)).0,
        NoStudent
    );
    assert_eq!(
        play(&Session { policy, ..hour() }, &Seen::read(""), Some(21.0)).0,
        NoStudent
    );
}

#[test]
fn a_mark_taken_back_never_was() {
    let seen = Seen::read("T 0 - 61; L 25 - 61");
    assert_eq!(play(&hour(), &seen, None).0, Completed, "32");
}

#[test]
fn evidence_that_comes_later_overrules_a_mark() {
    let facts = Facts {
        evidence: Seen::read("L 0 - 30; T 0 - 30").at(90.0),
        asked_at: Some(at(90.0)),
        no_show_marked_at: Some(at(21.0)),
        ..Facts::default()
    };
    let Verdict::Decided(settled) = settle(&hour(), &facts, NoStudent, at(90.0)) else {
        panic!("33: not corrected");
    };
    assert_eq!(settled.status, Early);

    let policy = SessionPolicy {
        corrects_late_news: false,
        ..SessionPolicy::default()
    };
    assert_eq!(
        settle(&Session { policy, ..hour() }, &facts, NoStudent, at(90.0)),
        Verdict::Stands
    );
    assert_eq!(
        settle(&hour(), &facts, Early, at(95.0)),
        Verdict::Stands,
        "the same outcome twice"
    );
}

#[test]
fn a_provider_that_says_nothing_was_there_counts_only_where_people_may_enter_without_us() {
    let zoom = Session {
        is_entered_through_us: false,
        ..hour()
    };
    assert_eq!(play(&zoom, &Seen::default(), None).0, Nobody, "41");
    assert_eq!(play(&zoom, &Seen::default(), None).1, 75);
}

#[test]
fn a_provider_that_does_not_answer_is_waited_for_a_day() {
    let mut evidence = Seen::read("T 0 - …; L 0 - …").at(0.5);
    let silent = |evidence: &Evidence, now| {
        let facts = Facts {
            evidence: evidence.clone(),
            asked_at: Some(at(0.5)),
            ..Facts::default()
        };
        settle(&hour(), &facts, SessionStatus::JoinOpen, at(now))
    };
    assert_eq!(silent(&evidence, 60.0), Verdict::Wait(at(75.0)));
    assert_eq!(silent(&evidence, 75.0), Verdict::Wait(at(75.0 + 1440.0)));
    let Verdict::Decided(settled) = silent(&evidence, 75.0 + 1440.0) else {
        panic!("42: waits for ever")
    };
    assert_eq!(
        (settled.status, settled.explanation.known.is_assumed),
        (Completed, true)
    );

    // Both pressed Join, and that is all that is known.
    evidence.spans.clear();
    evidence.marks.retain(|mark| mark.did == Did::Pressed);
    let Verdict::Decided(settled) = silent(&evidence, 75.0 + 1440.0) else {
        panic!("waits for ever")
    };
    assert_eq!(
        (settled.status, settled.explanation.rule),
        (Completed, Rule::NothingContrary)
    );
}

#[test]
fn a_told_end_is_not_believed_but_stops_a_span_from_counting_as_running() {
    let mut evidence = Seen::read("T 0 - …; L 0 - …").at(60.0);
    evidence.ends.insert("0".into(), at(45.0));
    let facts = |evidence: &Evidence, minute| Facts {
        evidence: evidence.clone(),
        asked_at: Some(at(minute)),
        ..Facts::default()
    };
    assert_eq!(
        settle(
            &hour(),
            &facts(&evidence, 60.0),
            SessionStatus::JoinOpen,
            at(60.0)
        ),
        Verdict::Wait(at(75.0))
    );
    assert_eq!(
        settle(
            &hour(),
            &facts(&evidence, 75.0),
            SessionStatus::JoinOpen,
            at(75.0)
        ),
        Verdict::Wait(at(1515.0))
    );
}

#[test]
fn a_told_end_of_a_span_that_is_not_listed_at_all_is_waited_for() {
    // The tutor pressed Join, and the list shows nobody.
    let mut evidence = Seen::read("T 0 - 45").at(75.0);
    evidence.spans.clear();
    evidence.marks.retain(|mark| mark.did == Did::Pressed);
    let verdict = |evidence: &Evidence| {
        let facts = Facts {
            evidence: evidence.clone(),
            asked_at: Some(at(75.0)),
            ..Facts::default()
        };
        settle(&hour(), &facts, SessionStatus::JoinOpen, at(75.0))
    };
    assert!(matches!(verdict(&evidence), Verdict::Decided(_)));

    evidence.ends.insert("0".into(), at(45.0));
    assert_eq!(
        verdict(&evidence),
        Verdict::Wait(at(1515.0)),
        "somebody was there, and the list does not say so yet"
    );
}

#[test]
fn evidence_of_another_hour_says_nothing() {
    let mut moved = hour();
    moved.schedule = Schedule::new(at(48.0 * 60.0), 60).unwrap();
    let facts = Facts {
        evidence: Seen::read("T 0 - …; L 0 - 61").at(70.0),
        asked_at: Some(at(49.5 * 60.0)),
        ..Facts::default()
    };
    let Verdict::Decided(settled) = settle(&moved, &facts, SessionStatus::JoinOpen, at(49.5 * 60.0)) else {
        panic!("44: the lesson is over, and nobody can come any more");
    };
    assert_eq!(settled.status, Nobody);
}

#[test]
fn who_was_inside_when_the_lesson_was_moved_by_half_an_hour_was_there() {
    // The tutor waits since a quarter to; at ten to, the lesson is moved to half past. Nobody leaves the room's span.
    for line in ["T -43 - 70 idle; L -2 - 61", "T -43 - …; L -2 - 61"] {
        let facts = Facts {
            evidence: Seen::read(line).at(75.0),
            asked_at: Some(at(75.0)),
            ..Facts::default()
        };
        assert_eq!(foresee(&hour(), &facts, at(75.0)).status, Completed, "{line}");
    }

    // A span of another day to which its provider never showed an end, and in which nobody was seen since, is none of this.
    let forgotten = Facts {
        evidence: Seen::read("T -1500 - …; L -1498 - -1440").at(75.0),
        asked_at: Some(at(75.0)),
        ..Facts::default()
    };
    assert_eq!(foresee(&hour(), &forgotten, at(75.0)).status, Nobody);
}

#[test]
fn whom_the_provider_names_without_saying_when_was_not_absent() {
    let (tutor, learner) = (("t", Side::Tutor), ("l", Side::Learner));
    for named in [&[tutor, learner][..], &[learner]] {
        let mut evidence = Seen::read("R 0 - 61").at(75.0);
        evidence
            .people
            .extend([tutor, learner].map(|(who, side)| (who.to_owned(), side)));
        let mut did = |span: &str, who: &str, did, minute| {
            evidence.marks.insert(Mark {
                span: span.into(),
                who: who.into(),
                did,
                at: at(minute),
            });
        };
        for (who, _) in named {
            did("0", who, Did::WasThere, 0.0);
        }
        // Only the tutor's press is in this lesson's window: it was moved after the learner had pressed.
        did("", "t", Did::Pressed, 0.0);
        did("", "l", Did::Pressed, -200.0);

        let facts = Facts {
            evidence,
            asked_at: Some(at(75.0)),
            ..Facts::default()
        };
        assert_eq!(foresee(&hour(), &facts, at(75.0)).status, Completed, "{named:?}");
    }
}

#[test]
fn a_cancellation_settles_at_once_and_counts_before_everything() {
    let facts = |cancelled, waived| Facts {
        cancelled_at: cancelled,
        waived_at: waived,
        no_show_marked_at: Some(at(21.0)),
        ..Facts::default()
    };
    let status = |facts: &Facts, now| match settle(&hour(), facts, SessionStatus::Scheduled, now) {
        Verdict::Decided(settled) => Some((settled.status, settled.charge.minor())),
        _ => None,
    };
    assert_eq!(
        status(&facts(Some(at(-1.0)), None), at(-1.0)),
        Some((SessionStatus::Cancelled, 0))
    );
    assert_eq!(
        status(&facts(None, Some(at(30.0))), at(30.0)),
        Some((SessionStatus::Cancelled, 0))
    );
    assert_eq!(
        status(&facts(Some(at(5.0)), None), at(30.0)),
        None,
        "43: too late to call it off"
    );
}

#[test]
fn nobody_cancels_what_has_begun() {
    let met = Facts {
        evidence: Seen::read("T -5 - …; L -3 - …").at(-2.0),
        asked_at: Some(at(-2.0)),
        ..Facts::default()
    };
    assert!(have_met(&hour(), &met));
    assert!(!have_met(
        &hour(),
        &Facts {
            evidence: Seen::read("T -5 - …").at(-2.0),
            ..met.clone()
        }
    ));
    let cancel = |met, minute| {
        hour()
            .allow_cancel(SessionStatus::JoinOpen, met, at(minute))
            .is_ok()
    };
    assert_eq!(
        [cancel(false, -1.0), cancel(true, -1.0), cancel(false, 5.0)],
        [true, false, false]
    );
}

#[test]
fn the_minimum_gates_an_early_end_where_the_policy_says_so() {
    let policy = SessionPolicy {
        pays_from_minimum: true,
        ..SessionPolicy::default()
    };
    let paying = Session { policy, ..hour() };
    assert_eq!(
        play(&paying, &Seen::read("T 0 - 45; L 0 - 45"), None).0,
        Completed,
        "9"
    );
    assert_eq!(
        play(&paying, &Seen::read("T 0 - 40; L 0 - 40"), None).0,
        Completed
    );
    assert_eq!(
        play(&paying, &Seen::read("T 0 - 39.9; L 0 - 39.9"), None).0,
        Early
    );
}

#[test]
fn who_only_pressed_join_came_and_who_never_did_was_absent() {
    let pressed = |line: &str, asked_at: Option<Timestamp>| {
        let mut evidence = Seen::read(line).at(75.0);
        evidence.spans.clear();
        evidence.marks.retain(|mark| mark.did == Did::Pressed);
        let facts = Facts {
            evidence,
            asked_at,
            ..Facts::default()
        };
        foresee(&hour(), &facts, at(75.0)).status
    };
    let asked = Some(at(75.0));
    assert_eq!(pressed("T 0 - 61", asked), Nobody, "the provider saw no room");
    assert_eq!(pressed("L 0 - 61", asked), Nobody);
    assert_eq!(pressed("T 0 - 61", None), NoStudent);
    assert_eq!(pressed("L 0 - 61", None), NoTutor);
    assert_eq!(pressed("T 0 - 61; L 0 - 61", asked), Completed);
}

#[test]
fn people_whom_nobody_knows_cost_nobody_anything() {
    let mut evidence = Seen::read("T 0 - 61; L 30 - 61").at(75.0);
    evidence.people.remove("l");
    let facts = Facts {
        evidence,
        asked_at: Some(at(75.0)),
        ..Facts::default()
    };
    // The learner's launch is not known either: somebody unknown was there, and the room reached its end.
    assert_eq!(foresee(&hour(), &facts, at(75.0)).status, Completed);
}

#[test]
fn departures_and_arrivals_that_the_provider_lost() {
    let stay = |marks: &[(Did, f64)]| {
        let mut evidence = Seen::read("L 0 - 61").at(75.0);
        evidence.people.insert("t".into(), Side::Tutor);
        evidence.marks.extend(marks.iter().map(|(did, minute)| Mark {
            span: "0".into(),
            who: "t".into(),
            did: *did,
            at: at(*minute),
        }));
        let facts = Facts {
            evidence,
            asked_at: Some(at(75.0)),
            ..Facts::default()
        };
        foresee(&hour(), &facts, at(75.0))
            .explanation
            .known
            .lesson_ended_at
    };
    assert_eq!(
        stay(&[(Came, 0.0)]),
        Some(at(61.0)),
        "no departure: until the room ended"
    );
    assert_eq!(
        stay(&[(Left, 50.0)]),
        Some(at(50.0)),
        "no arrival: since the room began"
    );
    assert_eq!(
        stay(&[(Came, 0.0), (Came, 5.0), (Left, 7.0)]),
        Some(at(61.0)),
        "one of two tabs closed"
    );
    assert_eq!(
        stay(&[(Came, 0.0), (Came, 5.0), (Left, 40.0), (Left, 50.0)]),
        Some(at(50.0)),
        "both tabs closed"
    );
}

#[test]
fn sixty_is_twenty_and_forty_and_a_hundred_is_thirty_three_and_sixty_six() {
    let minutes = |length, policy| {
        let session = Session {
            policy,
            ..session(length, 100, Currency::TTD)
        };
        (session.no_show_wait_minutes(), session.min_payable_minutes())
    };
    let thirds = SessionPolicy::default();
    assert_eq!(
        [30, 60, 90, 100].map(|length| minutes(length, thirds)),
        [(10, 20), (20, 40), (30, 60), (33, 66)]
    );
    let hundredths = SessionPolicy {
        no_show_wait: "33/100".parse().unwrap(),
        min_payable: "66/100".parse().unwrap(),
        ..thirds
    };
    assert_eq!(
        [60, 90, 100].map(|length| minutes(length, hundredths)),
        [(19, 39), (29, 59), (33, 66)]
    );
}

#[test]
fn an_outcome_explains_itself() {
    let (_, _, settled) = play(&session(60, 12_345, Currency::TTD), &Seen::read("T 0 - 61"), None);
    assert_eq!(
        settled.explanation.arithmetic,
        [
            "charge = 1/2 of 123.45 TTD = 61.72 TTD",
            "payout = 9/10 of 61.72 TTD = 55.54 TTD",
            "fee = 61.72 TTD - 55.54 TTD = 6.18 TTD"
        ]
    );
    let known = serde_json::to_value(&settled.explanation.known).unwrap();
    assert_eq!(known["learner"]["presence"], "absent");
    assert_eq!(known["tutor"]["presence"], "present");
    assert_eq!(known["tutor"]["stays"][0]["until"], "left");
}

#[test]
fn a_policy_is_kept_as_it_was_and_reads_with_defaults() {
    let policy = SessionPolicy {
        pays_from_minimum: true,
        gap_minutes: 3,
        ..SessionPolicy::default()
    };
    let kept = serde_json::to_value(policy).unwrap();
    assert_eq!(serde_json::from_value::<SessionPolicy>(kept).unwrap(), policy);
    assert_eq!(
        serde_json::from_str::<SessionPolicy>("{}").unwrap(),
        SessionPolicy::default()
    );
}

fn stays() -> impl Strategy<Value = Vec<(f64, f64, bool)>> {
    let stay = (-15_i32..75, 0_i32..60, any::<bool>())
        .prop_map(|(from, length, idled)| (f64::from(from), f64::from(from + length), idled && length > 5));
    proptest::collection::vec(stay, 0..4)
}

fn seen() -> impl Strategy<Value = Seen> {
    (stays(), stays()).prop_map(|(tutor, learner)| Seen {
        tutor,
        learner,
        ..Seen::default()
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let minute = || proptest::option::of((-30..130_i32).prop_map(|minute| at(f64::from(minute))));
    (seen(), minute(), minute(), minute(), minute()).prop_map(
        |(seen, asked_at, no_show_marked_at, cancelled_at, waived_at)| Facts {
            evidence: seen
                .at(asked_at.map_or(1e3, |asked| asked.duration_since(at(0.0)).as_secs_f64() / 60.0)),
            asked_at,
            no_show_marked_at,
            cancelled_at,
            waived_at,
        },
    )
}

proptest! {
    #[test]
    fn the_parts_of_every_outcome_add_up(
        minor in 0..i64::MAX, minutes in 1..600_i32, facts in facts(), pays in any::<bool>(),
        (n, d) in (1..1_000_u32).prop_flat_map(|d| (0..=d, Just(d))), is_xaf in any::<bool>(),
    ) {
        let currency = if is_xaf { Currency::XAF } else { Currency::TTD };
        let share = Share::new(n, d).unwrap();
        let policy = SessionPolicy { pays_from_minimum: pays, no_show_charge: share, payout: share, ..SessionPolicy::default() };
        let session = Session { policy, ..session(minutes, minor, currency) };
        let settled = foresee(&session, &facts, at(700.0));
        prop_assert_eq!(settled.payout.minor() + settled.fee.minor(), settled.charge.minor());
        prop_assert!(settled.charge.minor() <= minor && settled.payout.minor() >= 0 && settled.fee.minor() >= 0);
        prop_assert!(settled.status.is_final());
    }

    #[test]
    fn once_decided_at_its_end_nothing_that_was_still_to_come_changes_it(seen in seen()) {
        let known = |now| Facts { evidence: seen.at(now), asked_at: Some(at(now)), ..Facts::default() };
        if let Verdict::Decided(first) = settle(&hour(), &known(60.0), SessionStatus::JoinOpen, at(60.0)) {
            let last = settle(&hour(), &known(200.0), first.status, at(200.0));
            prop_assert_eq!(last, Verdict::Stands);
        }
    }

    #[test]
    fn a_day_after_the_room_has_closed_every_session_has_an_outcome(facts in facts()) {
        let decided = settle(&hour(), &facts, SessionStatus::JoinOpen, at(75.0 + 1440.0));
        prop_assert!(matches!(decided, Verdict::Decided(_)));
    }

    #[test]
    fn before_its_end_only_a_cancellation_settles(facts in facts(), minute in -100..60_i32) {
        if let Verdict::Decided(settled) = settle(&hour(), &facts, SessionStatus::Scheduled, at(f64::from(minute))) {
            prop_assert_eq!(settled.status, SessionStatus::Cancelled);
        }
    }
}
