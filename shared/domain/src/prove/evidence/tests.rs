//! Evidence is a union that can be written down.

use super::*;
use proptest::prelude::*;

fn evidence() -> impl Strategy<Value = Evidence> {
    let at = || (0..1_000_i64).prop_map(|n| Timestamp::from_second(n).unwrap());
    let name = || prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from);
    let did = prop::sample::select(vec![
        Did::Pressed,
        Did::Came,
        Did::Left,
        Did::Idled,
        Did::WasThere,
    ]);
    let side = prop::sample::select(vec![Side::Tutor, Side::Learner, Side::Nobody, Side::Unclear]);
    let span = (at(), prop::option::of(at()), any::<bool>(), any::<bool>()).prop_map(
        |(began_at, ended_at, is_idled, is_recorded)| Span {
            began_at,
            ended_at,
            is_idled,
            is_recorded,
        },
    );
    let mark = (name(), name(), did, at()).prop_map(|(span, who, did, at)| Mark { span, who, did, at });
    (
        prop::collection::btree_map(name(), span, 0..3),
        prop::collection::btree_map(name(), at(), 0..3),
        prop::collection::btree_set(mark, 0..6),
        prop::collection::btree_map(name(), side, 0..3),
    )
        .prop_map(|(spans, ends, marks, people)| Evidence {
            spans,
            ends,
            marks,
            people,
        })
}

fn merged(parts: &[&Evidence]) -> Evidence {
    let mut whole = Evidence::default();
    for part in parts {
        whole.merge((*part).clone());
    }
    whole
}

/// Whether `whole` has everything that `part` tells.
fn knows(whole: &Evidence, part: &Evidence) -> bool {
    let has_span = |(id, told): (&String, &Span)| {
        whole.spans.get(id).is_some_and(|span| {
            span.began_at <= told.began_at
                && span.ended_at >= told.ended_at
                && span.is_idled >= told.is_idled
                && span.is_recorded >= told.is_recorded
        })
    };
    let has_end = |(id, told): (&String, &Timestamp)| whole.ends.get(id) >= Some(told);
    let has_person = |(who, _): (&String, &Side)| whole.people.contains_key(who);
    part.spans.iter().all(has_span)
        && part.ends.iter().all(has_end)
        && part.marks.is_subset(&whole.marks)
        && part.people.iter().all(has_person)
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_changes_what_is_known(a in evidence(), b in evidence(), c in evidence()) {
        let whole = merged(&[&a, &b, &c]);
        prop_assert_eq!(&merged(&[&c, &a, &b]), &whole);
        prop_assert_eq!(&merged(&[&b, &c, &b, &a, &a, &c]), &whole);
    }

    #[test]
    fn nothing_that_was_told_is_lost_and_nothing_else_is_known(a in evidence(), b in evidence()) {
        let whole = merged(&[&a, &b]);
        prop_assert!(knows(&whole, &a) && knows(&whole, &b));
        prop_assert_eq!(merged(&[&a]), a);
    }

    #[test]
    fn what_is_written_is_read_again(evidence in evidence()) {
        let written = serde_json::to_value(evidence.clone()).unwrap();
        prop_assert_eq!(serde_json::from_value::<Evidence>(written).unwrap(), evidence);
    }
}

#[test]
fn whoever_is_told_as_tutor_and_as_learner_is_neither_for_certain() {
    let told = |sides: &[Side]| {
        let mut whole = Evidence::default();
        for side in sides {
            let people = [("who".to_owned(), *side)].into();
            whole.merge(Evidence {
                people,
                ..Evidence::default()
            });
        }
        whole.people["who"]
    };
    let (tutor, learner, nobody) = (Side::Tutor, Side::Learner, Side::Nobody);
    assert_eq!(told(&[tutor, learner]), Side::Unclear);
    assert_eq!(told(&[learner, tutor, learner]), Side::Unclear, "for good");
    assert_eq!(
        told(&[nobody, learner]),
        learner,
        "taken for a notetaker at first"
    );
    assert_eq!(told(&[tutor, nobody]), tutor);
}

#[test]
fn a_time_outside_the_calendar_is_read_as_its_nearest_end() {
    let written = serde_json::json!({"spans": {"a": [i64::MIN, i64::MAX, false, false]}});
    let span = serde_json::from_value::<Evidence>(written).unwrap().spans["a"];
    assert_eq!(
        (span.began_at, span.ended_at),
        (Timestamp::MIN, Some(Timestamp::MAX))
    );
}
