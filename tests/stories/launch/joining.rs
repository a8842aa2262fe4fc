//! Join: the right person, at the right time, into the one room.

use crate::harness::World;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::lessonspace::Faults;
use stories::cast::Lesson;

const JOIN: &str = "launch/join.json";

#[tokio::test]
async fn join_works_from_a_quarter_before_the_start_to_a_quarter_after_the_end() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = world.lesson_in(120).await;
    let opens_at = (lesson.starts_at - SignedDuration::from_mins(15)).to_string();
    for (minute, verdict) in [
        (0, "409 join-too-early"),
        (104, "409 join-too-early"),
        (106, "200"),
        (194, "200"),
        (196, "409 join-too-late"),
    ] {
        world.travel(minute);
        let reply = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
        assert_eq!(
            reply.verdict(),
            verdict,
            "{minute} minutes from now: {}",
            reply.body
        );
        if verdict == "409 join-too-early" {
            let told: Timestamp = reply.body["opens_at"].as_str().unwrap().parse().unwrap();
            assert_eq!(told.to_string(), opens_at);
        }
    }
}

#[tokio::test]
async fn everybody_enters_as_who_they_are() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let cast = world.cast;
    let lesson = world.lesson_in(0).await;
    let people = [
        (cast.tutor, "200", json!("tutor")),
        (cast.student, "200", json!("learner")),
        (cast.parent, "200", json!("guardian")),
        (cast.other_parent, "200", json!("guardian")),
        (cast.stranger, "403 forbidden", Value::Null),
    ];
    for (person, verdict, role) in people {
        let reply = world.call(&launch, JOIN, person, &lesson).await;
        assert_eq!((reply.verdict().as_str(), &reply.body["role"]), (verdict, &role));
    }
    let seen: Vec<Value> = world
        .lessonspace
        .launches()
        .iter()
        .map(|launch| launch["user"].clone())
        .collect();
    let told: Vec<_> = seen
        .iter()
        .map(|user| {
            (
                user["name"].as_str().unwrap(),
                user["role"].as_str().unwrap(),
                user["leader"] == true,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Cleo Tutor", "teacher", true),
            ("Ben Student", "student", false),
            ("Ada Parent", "student", false),
            ("Dan Parent", "student", false)
        ],
        "the vendor is told each person's own name, and that the tutor leads"
    );
    assert!(
        seen.iter().all(|user| user.get("email").is_none()),
        "no e-mail address leaves us"
    );
    let stored = world.booking(&lesson).await;
    assert!(
        !stored["meeting_url"].as_str().unwrap().contains("user="),
        "nobody's personal access is stored"
    );
}

#[tokio::test]
async fn without_a_student_the_client_learns_and_with_one_a_mere_payer_stays_outside() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let adult = Lesson {
        has_student: false,
        ..Lesson::starting(Timestamp::now())
    };
    let adult = adult.booked_by(&world.cast, &world.owner).await;
    let learner = world.call(&launch, JOIN, world.cast.parent, &adult).await;
    assert_eq!(learner.body["role"], "learner");
    let lesson = world.lesson_in(0).await;
    world
        .owner
        .execute("UPDATE profile_graph SET status = 'REVOKED'", &[])
        .await
        .unwrap();
    let payer = world.call(&launch, JOIN, world.cast.parent, &lesson).await;
    assert_eq!(payer.verdict(), "403 guardian-link-required");
    let former_guardian = world.call(&launch, JOIN, world.cast.other_parent, &lesson).await;
    assert_eq!(former_guardian.verdict(), "403 forbidden");
    let claim = &world.booking(&lesson).await["room_claim"];
    assert_eq!(
        *claim,
        Value::Null,
        "somebody who may not enter keeps the room from being opened"
    );
}

#[tokio::test]
async fn only_confirmed_bookings_have_a_room() {
    let world = World::new().await;
    let (launch, get_booking) = (
        world.function("launch").await,
        world.function("get-booking").await,
    );
    for (status, verdict) in [
        ("pending", "409 booking-not-confirmed"),
        ("cancelled", "409 booking-cancelled"),
        ("completed", "409 join-too-late"),
        ("something new", "409 booking-status-unknown"),
    ] {
        let lesson = Lesson {
            status,
            ..Lesson::starting(Timestamp::now())
        }
        .booked_by(&world.cast, &world.owner)
        .await;
        let reply = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
        assert_eq!(reply.verdict(), verdict, "a {status} booking");
        let stranger = world.call(&launch, JOIN, world.cast.stranger, &lesson).await;
        assert_eq!(
            stranger.verdict(),
            "403 forbidden",
            "a stranger does not learn that it is {status}"
        );

        let card = world
            .call(&get_booking, "get-booking/card.json", world.cast.tutor, &lesson)
            .await;
        let is_known = status != "something new";
        assert_eq!(
            card.status == 200,
            is_known,
            "the card of a {status} booking: {}",
            card.body
        );
    }
    assert!(
        world.lessonspace.rooms().is_empty(),
        "a room was opened for nobody"
    );
}

#[tokio::test]
async fn many_first_joins_at_the_same_instant_end_in_one_room() {
    let world = World::new().await;
    // Slow enough that all of them overlap: a vendor asked twice at once would make two rooms.
    world.lessonspace.misbehave(Faults {
        delay_ms: 300,
        ..Faults::default()
    });
    let functions = join_all((0..6).map(|_| world.function("launch"))).await;
    let lesson = world.lesson_in(0).await;
    let cast = world.cast;
    let people = [
        cast.tutor,
        cast.student,
        cast.parent,
        cast.tutor,
        cast.student,
        cast.other_parent,
    ];
    let joins = functions
        .iter()
        .zip(people)
        .map(|(launch, person)| world.call(launch, JOIN, person, &lesson));
    let replies = join_all(joins).await;
    let stored = world.booking(&lesson).await["meeting_provider_id"].clone();
    for reply in &replies {
        assert_eq!(
            (reply.status, &reply.body["room_id"]),
            (200, &stored),
            "{}",
            reply.body
        );
    }
    assert_eq!(
        world.lessonspace.rooms().len(),
        1,
        "the vendor has more than one room"
    );
}

#[tokio::test]
async fn the_room_survives_every_rejoin() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let room = world.opened_room(&lesson).await;
    for _ in 0..3 {
        assert_eq!(world.opened_room(&lesson).await, room, "from a fresh environment");
    }
    assert_eq!(world.lessonspace.rooms(), [room]);
}

#[tokio::test]
async fn an_outage_of_the_vendor_is_said_clearly_and_leaves_nothing_half_done() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = world.lesson_in(0).await;
    let before = world.booking(&lesson).await;
    for status in [503, 500, 429, 401, 400, 302] {
        world.lessonspace.misbehave(Faults {
            fail_next: 1,
            fail_with: status,
            ..Faults::default()
        });
        let reply = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
        assert_eq!(
            reply.verdict(),
            "503 provider-unavailable",
            "the vendor says {status}"
        );
        assert!(
            reply.headers["retry-after"].is_string(),
            "without Retry-After: {}",
            reply.headers
        );
        assert_eq!(world.booking(&lesson).await, before, "something was left behind");
    }
    let recovered = world.call(&launch, JOIN, world.cast.student, &lesson).await;
    assert_eq!(recovered.status, 200, "the next Join need not wait");
}

#[tokio::test]
async fn a_join_that_died_while_opening_the_room_blocks_nobody_for_long() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = world.lesson_in(0).await;
    let dead = "UPDATE bookings SET room_claim = gen_random_uuid(), room_claimed_until = now() - interval '1 second'";
    world.owner.execute(dead, &[]).await.unwrap();
    let reply = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[tokio::test]
async fn nothing_is_recorded_without_consent() {
    let world = World::new().await;
    let lesson = world.lesson_in(0).await;
    let shy = world.lesson_in(0).await;
    world
        .owner
        .execute(
            "UPDATE bookings SET recording_consent = false WHERE id = $1",
            &[&shy.id],
        )
        .await
        .unwrap();
    world.opened_room(&lesson).await;
    world.opened_room(&shy).await;
    let mut recorded: Vec<Value> = world
        .lessonspace
        .launches()
        .iter()
        .map(|launch| launch["record_av"].clone())
        .collect();
    recorded.dedup();
    assert_eq!(recorded, [json!(true), json!(false)]);
}
