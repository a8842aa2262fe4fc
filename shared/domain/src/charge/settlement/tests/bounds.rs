//! Where the rules of a lesson turn: what lies just on one side of a bound, and what just on the other.

use super::*;

/// What is known when the provider was asked in that minute.
fn asked(evidence: Evidence, minute: f64) -> Facts {
    Facts {
        evidence,
        asked_at: Some(at(minute)),
        ..Facts::default()
    }
}

fn add(evidence: &mut Evidence, side: Side, (span, who): (&str, &str), did: Did, minute: f64) {
    evidence.people.insert(who.into(), side);
    evidence.marks.insert(Mark {
        span: span.into(),
        who: who.into(),
        did,
        at: at(minute),
    });
}

fn press(evidence: &mut Evidence, side: Side, minute: f64) {
    let who = if side == Side::Tutor { "t" } else { "l" };
    add(evidence, side, ("", who), Did::Pressed, minute);
}

/// What the session would come to by what is known in that minute.
fn status(session: &Session, evidence: Evidence, minute: f64) -> SessionStatus {
    foresee(session, &asked(evidence, minute), at(minute)).status
}

fn zoom() -> Session {
    Session {
        is_entered_through_us: false,
        ..hour()
    }
}

/// What was seen, the minute of a mark, the outcome and the minute in which it is decided.
type Bound = (&'static str, Option<f64>, SessionStatus, i32);

const BOUNDS: &[(&str, &[Bound])] = &[
    (
        "who is away for less than the gap has not left",
        &[
            ("T 0 - 20, 29.9 - 61; L 0 - 20", None, Completed, 60),
            ("T 0 - 20, 30 - 61; L 0 - 20", None, Early, 75),
        ],
    ),
    (
        "who idled and moved again has not left, however late they moved",
        &[("T 0 - 20 idle, 40 - 61; L 0 - 20", None, Completed, 60)],
    ),
    (
        "what ended at the start says nothing of the lesson, what reaches past it does",
        &[
            ("T -10 - 0; L 0 - 25", None, NoTutor, 75),
            ("T -10 - 0.1; L 0 - 25", None, Early, 75),
        ],
    ),
    (
        "who idled before the start is not there, unless they were after it or came for this lesson",
        &[
            ("T -43 - 0 idle; L 1 - 25", None, NoTutor, 75),
            ("T -43 - 0.1 idle; L 1 - 25", None, Completed, 75),
            ("T -20 - -5 idle; L 1 - 25", None, Completed, 75),
        ],
    ),
    (
        "who dropped out may be back until the room closes",
        &[
            ("T 0 - 45, 74.9 - 80; L 0 - 45, 74.9 - 80", None, Completed, 75),
            ("T 0 - 45, 75 - 80; L 0 - 45, 75 - 80", None, Early, 75),
        ],
    ),
    (
        "who meets only after the planned end has held no lesson",
        &[
            ("T 60 - 70; L 0 - 70", None, Completed, 60),
            ("T 60.1 - 70; L 0 - 70", None, NoTutor, 75),
            ("T 0 - 70; L 63 - 64", None, NoStudent, 75),
            ("T 15 - 70; L 61 - 64", None, NoStudent, 75),
            ("T 61 - 121; L 61 - 121", None, Completed, 75),
        ],
    ),
    (
        "a tutor who came late waited if for as long as the wait",
        &[
            ("T 25 - 45", None, NoStudent, 75),
            ("T 25 - 44.9", None, Nobody, 75),
        ],
    ),
    (
        "a mark counts from the end of the wait until the planned end",
        &[
            ("T 0 - 61; L 25 - 61", Some(19.9), Completed, 60),
            ("T 0 - 61; L 25 - 61", Some(20.0), NoStudent, 60),
            ("T 0 - 15", Some(60.0), NoStudent, 60),
            ("T 0 - 15", Some(60.1), Nobody, 75),
        ],
    ),
];

#[test]
fn just_before_a_bound_and_just_behind_it() {
    for (rule, bounds) in BOUNDS {
        for (line, mark, outcome, decided_at) in *bounds {
            let (status, minute, _) = play(&hour(), &Seen::read(line), *mark);
            assert_eq!((status, minute), (*outcome, *decided_at), "{rule}: {line}");
        }
    }
}

#[test]
fn a_lesson_that_was_held_whole_when_its_time_was_over_was_held() {
    let outcome = |line: &str| status(&hour(), Seen::read(line).at(200.0), 200.0);

    assert_eq!(outcome("T 61 - 119; L 61 - 119"), Completed);
    assert_eq!(outcome("T 61 - 118.9; L 61 - 118.9"), NoTutor);
}

#[test]
fn in_a_short_lesson_who_comes_when_the_wait_is_over_has_not_waited() {
    let short = session(20, 10_000, Currency::TTD);
    let outcome = |line: &str| {
        let seen = Seen::read(line);
        foresee(&short, &asked(seen.at(40.0), 40.0), at(40.0)).status
    };

    assert_eq!(short.no_show_wait_minutes(), 6);
    assert_eq!(outcome("T 3 - 21; L 0 - 2"), NoStudent, "half the wait late");
    assert_eq!(outcome("T 3.1 - 21; L 0 - 2"), NoTutor);
    assert_eq!(outcome("T 9 - 9.5; L 0 - 8"), NoTutor, "for half a minute");
}

#[test]
fn whoever_was_let_in_since_the_list_was_read_may_be_with_the_other() {
    let met = |line: &str, asked_at: f64, presses: &[(Side, f64)]| {
        let mut evidence = Seen::read(line).at(asked_at);
        for (side, minute) in presses {
            press(&mut evidence, *side, *minute);
        }
        have_met(&hour(), &asked(evidence, asked_at))
    };

    assert!(
        met("T -10 - 61", -9.0, &[(Side::Learner, -3.0)]),
        "the list is older than the learner"
    );
    assert!(
        !met("T -10 - 61", -2.0, &[(Side::Learner, -3.0)]),
        "the list says who is there"
    );
    assert!(!met("T -10 - 61", -9.0, &[]));
}

#[test]
fn who_comes_when_the_room_has_closed_is_late_although_a_notetaker_holds_it_open() {
    let seen = Seen::read("T 0 - 45, 75 - 80; L 0 - 45, 75 - 80; N 0 - 90");
    let facts = asked(seen.at(100.0), 100.0);
    assert_eq!(settle(&hour(), &facts, Early, at(100.0)), Verdict::Stands);
}

#[test]
fn a_learner_who_pressed_join_came_if_for_that_moment_only() {
    let pressed = |line: &str, minute| {
        let mut evidence = Seen::read(line).at(80.0);
        press(&mut evidence, Side::Learner, minute);
        status(&hour(), evidence, 80.0)
    };
    assert_eq!(
        [-0.1, 0.0, 74.9, 75.0].map(|minute| pressed("T 0 - 15", minute)),
        [Nobody, NoTutor, NoTutor, Nobody],
        "from the start until the room closes, a tutor who did not wait has missed them"
    );
    assert_eq!(
        pressed("T 0 - 61", 30.0),
        NoStudent,
        "they met nobody, and the tutor waited"
    );
}

#[test]
fn who_alone_pressed_join_was_alone_in_a_room_that_nobody_enters_without_us() {
    let came = |session, line: &str, sides: &[Side]| {
        let mut evidence = Seen::read(line).at(80.0);
        for side in sides {
            press(&mut evidence, *side, 0.0);
        }
        status(&session, evidence, 80.0)
    };
    assert_eq!(came(hour(), "R 0 - 61", &[Side::Tutor]), NoStudent);
    assert_eq!(
        came(hour(), "R 0 - 15", &[Side::Tutor]),
        Nobody,
        "and did not wait"
    );
    assert_eq!(came(hour(), "R 0 - 61", &[Side::Learner]), NoTutor);
    assert_eq!(came(hour(), "R 0 - 61", &[Side::Tutor, Side::Learner]), Completed);
    assert_eq!(
        came(zoom(), "R 0 - 61", &[Side::Tutor]),
        Completed,
        "the learner may have entered without us"
    );
}

#[test]
fn a_learner_and_a_guardian_in_the_room_are_there_once() {
    let mut evidence = Seen::read("T -10 - 20; L -10 - 20").at(75.0);
    for (did, minute) in [(Came, -10.0), (Left, 20.0)] {
        add(&mut evidence, Side::Learner, ("0", "guardian"), did, minute);
    }
    assert_eq!(
        status(&hour(), evidence, 75.0),
        Early,
        "half an hour with two is no hour"
    );
}

#[test]
fn who_idled_on_one_device_has_not_left_by_leaving_on_another() {
    for came in [0.0, 5.0] {
        let mut evidence = Seen::read("T 1 - 25 idle; L 0 - 25").at(75.0);
        for (did, minute) in [(Came, came), (Left, 20.0)] {
            add(&mut evidence, Side::Tutor, ("0", "phone"), did, minute);
        }
        assert_eq!(
            status(&hour(), evidence, 75.0),
            Completed,
            "on the phone since {came}"
        );
    }
}

#[test]
fn who_is_there_refuses_a_mark_and_who_looked_in_does_not() {
    let may_mark = |line| no_show_may_be_marked(&hour(), &Seen::read(line), 21.0);
    assert!(!may_mark("T 0 - 61; L 20 - 61"), "is there, since a minute");
    assert!(may_mark("T 0 - 61; L 3 - 5"), "was, for the tolerance");
    assert!(!may_mark("T 0 - 61; L 3 - 5.1"), "was, for longer");

    let mut evidence = Seen::read("T 0 - 61").at(21.0);
    press(&mut evidence, Side::Learner, 21.0);
    assert!(
        !contradicts_mark(&hour(), &asked(evidence, 21.0), at(21.0)),
        "who has just pressed Join is not there yet"
    );
}

#[test]
fn an_open_room_is_nobodys_meeting() {
    let have_met = |line: &str, minute| have_met(&zoom(), &asked(Seen::read(line).at(minute), minute));
    assert!(
        !have_met("R -5 - …", -2.0),
        "nobody knows who is in it: it can be called off"
    );
    assert!(!have_met("T 0 - 15; L 18 - 61", 75.0), "not at once");
}

#[test]
fn at_the_start_it_is_too_late_to_call_it_off() {
    let facts = Facts {
        cancelled_at: Some(at(0.0)),
        ..Facts::default()
    };
    let verdict = settle(&hour(), &facts, SessionStatus::JoinOpen, at(0.0));
    assert_eq!(verdict, Verdict::Wait(at(60.0)));
}

#[test]
fn only_an_end_told_during_this_lesson_is_waited_for() {
    let verdict = |mut evidence: Evidence, told| {
        evidence.ends.insert("0".into(), at(told));
        settle(
            &hour(),
            &asked(evidence, 300.0),
            SessionStatus::JoinOpen,
            at(300.0),
        )
    };
    for (told, is_waited_for) in [
        (-1.0, false),
        (0.0, false),
        (0.1, true),
        (74.9, true),
        (75.0, false),
        (200.0, false),
    ] {
        let mut pressed = Evidence::default();
        press(&mut pressed, Side::Tutor, 0.0);
        let waits = verdict(pressed, told) == Verdict::Wait(at(1515.0));
        assert_eq!(waits, is_waited_for, "told at {told}");
    }

    let listed = Seen::read("T 0 - 45; L 0 - 45").at(300.0);
    assert!(
        matches!(verdict(listed, 45.0), Verdict::Decided(_)),
        "the list agrees"
    );
}

#[test]
fn only_a_room_that_nobody_could_enter_needs_no_word_of_its_provider() {
    let unasked = |session, evidence| {
        let facts = Facts {
            evidence,
            ..Facts::default()
        };
        settle(&session, &facts, SessionStatus::JoinOpen, at(75.0))
    };
    let Verdict::Decided(settled) = unasked(hour(), Evidence::default()) else {
        panic!("waits for nothing")
    };
    assert_eq!(
        (settled.status, settled.explanation.known.is_assumed),
        (Nobody, false)
    );

    let mut pressed = Evidence::default();
    press(&mut pressed, Side::Tutor, 0.0);
    assert_eq!(unasked(hour(), pressed), Verdict::Wait(at(1515.0)));
    assert_eq!(
        unasked(zoom(), Evidence::default()),
        Verdict::Wait(at(1515.0)),
        "somebody may have entered without us"
    );
}

#[test]
fn what_the_provider_had_the_last_word_on_is_not_called_assumed() {
    for (number, line, mark, ..) in LINES {
        let (_, _, settled) = play(&hour(), &Seen::read(line), *mark);
        assert!(!settled.explanation.known.is_assumed, "pattern {number}: {line}");
    }
}

#[test]
fn where_everybody_is_assumed_to_have_come_who_was_not_seen_holds_up_nothing() {
    let policy = SessionPolicy {
        attendance: Presumption::Assumed,
        ..SessionPolicy::default()
    };
    let lenient = Session { policy, ..hour() };
    for line in ["T 0 - 61", "L 0 - 25", "T 0 - 15", ""] {
        let (status, minute, _) = play(&lenient, &Seen::read(line), None);
        assert_eq!((status, minute), (Completed, 60), "{line}");
    }
}

#[test]
fn a_list_that_forgot_when_somebody_was_there_takes_nothing_back() {
    // The room's own list could not be read once, and the organisation's, which has no times, stood in.
    let outcomes = |line: &str, forgets: &[(&str, Side)]| {
        let mut evidence = Seen::read(line).at(75.0);
        let known = status(&hour(), evidence.clone(), 75.0);
        for (who, side) in forgets {
            add(&mut evidence, *side, ("0", who), Did::WasThere, 0.0);
        }
        (known, status(&hour(), evidence, 75.0))
    };
    let (tutor, learner) = (("t", Side::Tutor), ("l", Side::Learner));
    for (number, line, ..) in LINES.iter().filter(|row| row.1.starts_with("T 0")) {
        let is_two = line.contains("; L 0");
        let forgets = if is_two { &[tutor, learner][..] } else { &[tutor] };
        let (known, told_again) = outcomes(line, forgets);
        assert_eq!(told_again, known, "pattern {number}: {line}");
    }
    assert_eq!(outcomes("T 0 - 20; L 0 - 61", &[learner]), (Early, Early));
}

#[test]
fn a_tutor_who_comes_when_the_lesson_is_over_has_not_waited() {
    for line in [
        "T 74 - …",
        "T 62 - 79 idle",
        "T 62 - 82",
        "T -15 - 5",
        "T 45 - 79 idle",
    ] {
        assert_eq!(
            status(&hour(), Seen::read(line).at(100.0), 100.0),
            Nobody,
            "{line}"
        );
    }
    for line in ["T 25 - …", "T 40 - 79 idle", "T 25 - 45"] {
        assert_eq!(
            status(&hour(), Seen::read(line).at(100.0), 100.0),
            NoStudent,
            "{line}"
        );
    }
}

#[test]
fn who_looked_in_before_the_start_and_was_seen_to_leave_did_not_come() {
    let both = "T -12 - -10; L -8 - -6";
    assert_eq!(status(&hour(), Seen::read(both).at(75.0), 75.0), Nobody);
    assert!(
        !have_met(&hour(), &asked(Seen::read(both).at(-1.0), -1.0)),
        "it can still be called off"
    );
    assert!(
        !no_show_may_be_marked(&hour(), &Seen::read(both), 21.0),
        "nor marked by who left"
    );

    // Whoever pressed Join again, or was two and one of them left, may be there although nobody saw them.
    let mut again = Seen::read(both).at(75.0);
    press(&mut again, Side::Tutor, -2.0);
    press(&mut again, Side::Learner, -1.0);
    assert_eq!(status(&hour(), again, 75.0), Completed);

    let mut two = Seen::read(both).at(75.0);
    add(&mut two, Side::Learner, ("", "guardian"), Did::Pressed, -9.0);
    press(&mut two, Side::Tutor, -2.0);
    assert_eq!(status(&hour(), two, 75.0), Completed);
}

#[test]
fn who_is_inside_is_there_although_nobody_has_been_asked_since_the_lesson_was_moved() {
    // The lesson was moved by ten minutes while both were inside: what the provider said of its old time does not count
    // as an answer about the new one.
    let unasked = Facts {
        evidence: Seen::read("T -20 - …; L -15 - …").at(-5.0),
        ..Facts::default()
    };
    assert!(have_met(&hour(), &unasked), "it cannot be called off any more");
    assert!(
        contradicts_mark(&hour(), &unasked, at(21.0)),
        "nor the learner be marked"
    );
    let settled = foresee(&hour(), &unasked, at(2_000.0));
    assert_eq!(settled.status, Completed, "if nobody ever answers");
}
