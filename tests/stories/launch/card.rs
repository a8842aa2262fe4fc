//! The booking card, the student on it, and the recording behind it.

use crate::harness::World;
use domain::ids::{BookingId, ProfileId};
use jiff::SignedDuration;
use platform::database::Database;
use serde_json::{Value, json};
use simulators::lessonspace::Faults;
use store::launch::bookings;
use stories::cast::Lesson;
use uuid::Uuid;

const CARD: &str = "get-booking/card.json";
const RECORDING: &str = "get-recording/recording.json";

#[tokio::test]
async fn the_card_follows_the_lesson_for_everybody_on_it_and_nobody_else() {
    let world = World::new().await;
    let get_booking = world.function("get-booking").await;
    let lesson = world.lesson_in(60).await;
    let states = [
        (0, "upcoming"),
        (46, "ready"),
        (61, "ready"),
        (134, "ready"),
        (136, "completed"),
    ];
    for (minute, state) in states {
        world.travel(minute);
        let card = world.call(&get_booking, CARD, world.cast.parent, &lesson).await;
        assert_eq!(card.body["join_state"], state, "{minute} minutes from now");
    }
    let cast = world.cast;
    for person in [cast.parent, cast.student, cast.tutor, cast.other_parent] {
        assert_eq!(world.call(&get_booking, CARD, person, &lesson).await.status, 200);
    }
    let stranger = world.call(&get_booking, CARD, cast.stranger, &lesson).await;
    let unknown = Lesson {
        id: Uuid::new_v4(),
        ..lesson
    };
    let nothing = world.call(&get_booking, CARD, cast.stranger, &unknown).await;
    assert_eq!(stranger.verdict(), "403 forbidden");
    assert_eq!(
        stranger.body["detail"], nothing.body["detail"],
        "ids can be probed"
    );
}

#[tokio::test]
async fn the_card_tells_what_the_vendor_saw() {
    let world = World::new().await;
    let (get_booking, apply) = (
        world.function("get-booking").await,
        world.function("apply-classroom-event").await,
    );
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    let end = lesson.starts_at + SignedDuration::from_mins(61);
    let door = world.function("webhook-lessonspace").await;
    for event in world.held(&room, lesson.starts_at, end) {
        assert_eq!(door.call(event).await.status, 202);
    }
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());
    world.travel(62);
    let card = world
        .call(&get_booking, CARD, world.cast.student, &lesson)
        .await
        .body;
    let told = json!([
        card["join_state"],
        card["duration_actual_seconds"],
        card["recording_available"]
    ]);
    assert_eq!(told, json!(["completed", 61 * 60, true]));
    let get_recording = world.function("get-recording").await;
    let link = world
        .call(&get_recording, RECORDING, world.cast.parent, &lesson)
        .await;
    assert_eq!(link.status, 200, "{}", link.body);
    assert!(
        link.body["url"]
            .as_str()
            .unwrap()
            .starts_with("http://vendor.story/recording/")
    );
    let stranger = world
        .call(&get_recording, RECORDING, world.cast.stranger, &lesson)
        .await;
    assert_eq!(stranger.verdict(), "403 forbidden");
    world.lessonspace.misbehave(Faults {
        fail_next: 1,
        ..Faults::default()
    });
    let outage = world
        .call(&get_recording, RECORDING, world.cast.parent, &lesson)
        .await;
    assert_eq!(outage.verdict(), "503 provider-unavailable");
}

#[tokio::test]
async fn a_lesson_without_a_recording_says_so_and_our_key_goes_nowhere_else() {
    let world = World::new().await;
    let get_recording = world.function("get-recording").await;
    let lesson = world.lesson_in(0).await;
    let none = world
        .call(&get_recording, RECORDING, world.cast.parent, &lesson)
        .await;
    assert_eq!(none.verdict(), "404 recording-not-ready");
    let vendor = &world.environment["LESSONSPACE_API_URL"];
    for address in [
        "https://elsewhere.example/v2/steal".to_owned(),
        format!("{vendor}//elsewhere.example/steal"),
        format!("{vendor}../../steal"),
    ] {
        world
            .owner
            .execute("UPDATE bookings SET recording_url = $1", &[&address])
            .await
            .unwrap();
        let refused = world
            .call(&get_recording, RECORDING, world.cast.parent, &lesson)
            .await;
        assert_eq!(
            refused.verdict(),
            "404 recording-not-ready",
            "{address} was called"
        );
    }
}

async fn assign(world: &World, person: Uuid, lesson: &Lesson, student: Value) -> String {
    let function = world.function("assign-student").await;
    let mut event = world.request("assign-student/clear.json", person, lesson);
    event["body"] = json!({ "student_id": student }).to_string().into();
    function.call(event).await.verdict()
}

#[tokio::test]
async fn a_guardian_assigns_and_clears_the_student_until_the_lesson_starts() {
    let world = World::new().await;
    let cast = world.cast;
    let lesson = Lesson {
        has_student: false,
        ..Lesson::starting(jiff::Timestamp::now() + SignedDuration::from_mins(60))
    };
    let lesson = lesson.booked_by(&cast, &world.owner).await;
    let student = json!(cast.student);
    assert_eq!(assign(&world, cast.parent, &lesson, student.clone()).await, "200");
    assert_eq!(world.booking(&lesson).await["student_id"], student);
    assert_eq!(
        assign(&world, cast.parent, &lesson, student.clone()).await,
        "200",
        "saying it twice is fine"
    );
    assert_eq!(assign(&world, cast.parent, &lesson, Value::Null).await, "200");
    assert_eq!(world.booking(&lesson).await["student_id"], Value::Null);
    let refusals = [
        (cast.parent, json!(cast.stranger), "403 guardian-link-required"),
        (cast.parent, json!(Uuid::new_v4()), "403 guardian-link-required"),
        (cast.tutor, student.clone(), "403 not-the-client"),
        (cast.other_parent, student.clone(), "403 forbidden"),
        (cast.stranger, student.clone(), "403 forbidden"),
    ];
    for (person, child, verdict) in refusals {
        assert_eq!(assign(&world, person, &lesson, child).await, verdict);
    }
    world.travel(61);
    assert_eq!(
        assign(&world, cast.parent, &lesson, student).await,
        "409 lesson-started"
    );
    assert_eq!(world.booking(&lesson).await["student_id"], Value::Null);
}

#[tokio::test]
async fn an_assignment_that_is_sent_twice_because_its_answer_was_lost_succeeds_twice() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    let database = Database::at(&world.environment["DATABASE_URL"]);
    let (parent, student) = (ProfileId(world.cast.parent), ProfileId(world.cast.student));
    let seen = bookings::seen_by(&database, BookingId(lesson.id), parent, Some(student));
    let seen = seen.await.unwrap().unwrap();

    for assigned in [None, None, Some(student), Some(student)] {
        let before = domain::launch::booking::Booking {
            parties: domain::people::Parties {
                // As it was before the first of the two was sent.
                student: if assigned.is_none() { Some(student) } else { None },
                ..seen.booking.parties
            },
            ..seen.booking.clone()
        };
        let answer = bookings::assign_student(&database, &before, assigned).await;
        assert_eq!(answer.unwrap(), Some(assigned));
    }
}
