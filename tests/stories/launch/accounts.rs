//! Pencil Spaces, where people have accounts and spaces stay: each is made once, whatever gets lost, and whoever teaches leads.

use crate::harness::{PENCIL_WEBHOOK_SECRET, World, sealed_event};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::pencilspaces::{Faults, Quirk};
use stories::cast::Lesson;

const JOIN: &str = "launch/join.json";

async fn lesson_at_pencil(world: &World) -> Lesson {
    let lesson = Lesson {
        classroom: Some("pencilspaces"),
        ..Lesson::starting(Timestamp::now())
    };
    lesson.booked_by(&world.cast, &world.owner).await
}

/// How many accounts the vendor has made for somebody.
fn accounts_of(world: &World, who: uuid::Uuid) -> usize {
    let users = world.pencilspaces.users();
    users
        .iter()
        .filter(|user| user["externalId"] == who.to_string())
        .count()
}

#[tokio::test]
async fn two_lessons_and_many_joins_make_one_account_each_and_one_space_a_lesson() {
    let world = World::new().await;
    let functions = join_all((0..4).map(|_| world.function("launch"))).await;
    let lessons = [lesson_at_pencil(&world).await, lesson_at_pencil(&world).await];
    let (tutor, student) = (world.cast.tutor, world.cast.student);

    for lesson in &lessons {
        let joins = functions
            .iter()
            .zip([tutor, student, tutor, student])
            .map(|(launch, person)| world.call(launch, JOIN, person, lesson));
        for reply in join_all(joins).await {
            assert_eq!(reply.body["provider"], "pencilspaces", "{}", reply.body);
        }
    }

    assert_eq!((accounts_of(&world, tutor), accounts_of(&world, student)), (1, 1));
    assert_eq!(world.pencilspaces.spaces().len(), 2);
    assert!(
        world.pencilspaces.invited().is_empty(),
        "the vendor wrote to somebody"
    );
    for space in world.pencilspaces.spaces() {
        let settings = &space["settings"];
        assert_eq!(
            settings["enableWaitingRoom"], false,
            "learners wait unseen: {space}"
        );
    }
    let links: Vec<Value> = world.pencilspaces.links();
    assert_eq!(links.len(), 8, "each Join has a link of its own");
}

#[tokio::test]
async fn what_was_made_and_whose_answer_was_lost_is_found_again() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = lesson_at_pencil(&world).await;

    for (what, path) in [("an account", "createAPIUser"), ("a space", "spaces/create")] {
        world.pencilspaces.misbehave(Faults {
            only: path.into(),
            lose_next: 1,
            ..Faults::default()
        });
        let lost = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
        assert_eq!(lost.verdict(), "503 provider-unavailable", "{what}");
    }

    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    assert_eq!(accounts_of(&world, world.cast.tutor), 1);
    assert_eq!(world.pencilspaces.spaces().len(), 1);
}

#[tokio::test]
async fn whoever_teaches_leads_also_when_another_tutor_takes_over() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = lesson_at_pencil(&world).await;
    for person in [world.cast.tutor, world.cast.student] {
        let joined = world.call(&launch, JOIN, person, &lesson).await;
        assert_eq!(joined.status, 200, "{}", joined.body);
    }

    let replace = "UPDATE bookings SET tutor_id = $2 WHERE id = $1";
    let other = world.cast.stranger;
    world.owner.execute(replace, &[&lesson.id, &other]).await.unwrap();
    let joined = world.call(&launch, JOIN, other, &lesson).await;
    assert_eq!(joined.body["role"], "tutor", "{}", joined.body);

    let space = &world.pencilspaces.spaces()[0];
    let users = world.pencilspaces.users();
    let id_of = |who: uuid::Uuid| {
        let user = users.iter().find(|user| user["externalId"] == who.to_string());
        user.unwrap()["userId"].clone()
    };
    let leads = |who: uuid::Uuid| {
        let hosts = space["hosts"].as_array().unwrap();
        hosts.iter().any(|host| host["userId"] == id_of(who))
    };
    assert!(leads(other), "the new tutor does not lead: {space}");
    assert!(!leads(world.cast.tutor), "the old tutor still leads: {space}");
}

#[tokio::test]
async fn a_webhook_is_taken_only_with_the_secret_and_with_a_good_signature_if_it_has_one() {
    let world = World::new().await;
    let (launch, door) = (
        world.function("launch").await,
        world.function("webhook-pencilspaces").await,
    );
    let lesson = lesson_at_pencil(&world).await;
    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    let space = joined.body["room_id"].as_str().unwrap().to_owned();
    let tutor = world.cast.tutor.to_string();

    let refused = "401 webhook-not-authentic";
    let cases = [
        (vec![], "202"),
        (vec![Quirk::Signs], "202"),
        (vec![Quirk::EpochSeconds], "202"),
        (vec![Quirk::EpochMilliseconds], "202"),
        (vec![Quirk::SignsWrongly], refused),
        (vec![Quirk::WrongBearer], refused),
        (vec![Quirk::StagingBearer], refused),
        (vec![Quirk::NoBearer], refused),
        (vec![Quirk::Signs, Quirk::Tampers], refused),
    ];
    for (number, (quirks, verdict)) in cases.into_iter().enumerate() {
        world.pencilspaces.behave(quirks.clone());
        let tab = format!("tab-{number}");
        let told = world.pencilspaces.enter(&space, &tutor, &tab, Timestamp::now());
        let webhook = told.last().unwrap();
        let event = sealed_event("webhook-pencilspaces/join.json", &webhook.headers, &webhook.body);
        assert_eq!(door.call(event).await.verdict(), verdict, "{quirks:?}");
    }

    let bearer = [("authorization", format!("Bearer {PENCIL_WEBHOOK_SECRET}"))];
    for (body, verdict) in [
        (
            json!({"spaceId": "s", "eventType": "somethingNew"}).to_string(),
            "202",
        ),
        ("{}".to_owned(), "400 malformed-body"),
        ("no json".to_owned(), "400 malformed-body"),
    ] {
        let event = sealed_event("webhook-pencilspaces/join.json", &bearer, &body);
        assert_eq!(door.call(event).await.verdict(), verdict, "{body}");
    }
}

#[tokio::test]
async fn whoever_may_not_enter_makes_nobody_forget_that_a_space_may_have_been_made() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = lesson_at_pencil(&world).await;
    world.pencilspaces.misbehave(Faults {
        only: "spaces/create".into(),
        lose_next: 1,
        ..Faults::default()
    });
    let lost = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(lost.verdict(), "503 provider-unavailable");

    let unlink = "UPDATE profile_graph SET status = 'REVOKED'";
    world.owner.execute(unlink, &[]).await.unwrap();
    let payer = world.call(&launch, JOIN, world.cast.parent, &lesson).await;
    assert_eq!(payer.verdict(), "403 guardian-link-required");

    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    assert_eq!(world.pencilspaces.spaces().len(), 1);
}

#[tokio::test]
async fn a_vendor_that_takes_no_ids_and_no_settings_of_ours_lets_people_in_all_the_same() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    world.pencilspaces.behave([Quirk::RefusesExternalIds]);
    let lesson = lesson_at_pencil(&world).await;
    let sql = "UPDATE bookings SET recording_consent = false WHERE id = $1";
    world.owner.execute(sql, &[&lesson.id]).await.unwrap();
    world.pencilspaces.misbehave(Faults {
        only: "settings".into(),
        refuse_next: u32::MAX,
        refuse_with: 400,
        ..Faults::default()
    });

    for person in [world.cast.tutor, world.cast.student] {
        let joined = world.call(&launch, JOIN, person, &lesson).await;
        assert_eq!(joined.status, 200, "{}", joined.body);
    }
}
