//! Where a lesson is held: where its platform wants it, or else where the deployment opens rooms.

use crate::harness::World;
use serde_json::{Value, json};
use stories::cast::Lesson;

const JOIN: &str = "launch/join.json";

/// The platform says where the lesson is to be held.
async fn wants(world: &World, lesson: &Lesson, classroom: &str) {
    let sql = "UPDATE public.bookings SET classroom = $2 WHERE id = $1";
    let written = world.owner.execute(sql, &[&lesson.id, &classroom]).await;
    assert_eq!(written.unwrap(), 1);
}

/// Where the lesson's session is to be held, as far as is known.
async fn planned_in(world: &World, lesson: &Lesson) -> String {
    let sql = "SELECT provider FROM sessions WHERE booking_id = $1";
    let row = world.owner.query_one(sql, &[&lesson.id]).await;
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_lesson_is_held_where_its_platform_wants_it_or_else_where_the_deployment_opens_rooms() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let at_livekit = world.function_with("launch", &[("CLASSROOM", "livekit")]).await;

    let wanted = world.lesson_in(0).await;
    wants(&world, &wanted, "livekit").await;
    let (left_to_us, left_to_livekit) = (world.lesson_in(0).await, world.lesson_in(0).await);

    for (function, lesson, classroom) in [
        (&launch, wanted, "livekit"),
        (&launch, left_to_us, "lessonspace"),
        (&at_livekit, left_to_livekit, "livekit"),
    ] {
        let joined = world.call(function, JOIN, world.cast.tutor, &lesson).await;
        assert_eq!(joined.body["provider"], classroom, "{}", joined.body);
    }
}

#[tokio::test]
async fn a_lesson_may_move_to_another_classroom_until_its_room_is_open() {
    let world = World::new().await;
    let (launch, reconcile) = (world.function("launch").await, world.function("reconcile").await);
    let lesson = world.lesson_in(0).await;
    wants(&world, &lesson, "livekit").await;
    reconcile.invoke(json!({})).await.unwrap();
    assert_eq!(planned_in(&world, &lesson).await, "livekit");

    wants(&world, &lesson, "lessonspace").await;
    assert_eq!(planned_in(&world, &lesson).await, "lessonspace");

    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(joined.body["provider"], "lessonspace", "{}", joined.body);

    // Whoever comes now is brought to where the other one is.
    wants(&world, &lesson, "livekit").await;
    let joined = world.call(&launch, JOIN, world.cast.student, &lesson).await;
    assert_eq!(joined.body["provider"], "lessonspace", "{}", joined.body);
    assert_eq!(planned_in(&world, &lesson).await, "lessonspace");
    assert!(world.livekit.rooms().is_empty(), "there are two rooms");
}

#[tokio::test]
async fn a_classroom_that_nobody_knows_is_listed_by_its_name_and_changes_nothing() {
    let world = World::new().await;
    let launch = world.function("launch").await;
    let lesson = world.lesson_in(0).await;

    wants(&world, &lesson, "jitsi").await;

    let sql = "SELECT c.id, c.theirs FROM booking_changes c WHERE c.booking_id = $1 AND c.state = 'open' AND c.field = 'classroom'";
    let listed = world.owner.query(sql, &[&lesson.id]).await.unwrap();
    let [change] = &listed[..] else {
        panic!("it is not listed: {listed:?}")
    };
    assert_eq!(change.get::<_, Value>(1), "jitsi");
    let accept = "SELECT accept_change($1, 'an operator', 'why not')";
    let accepted = world.owner.execute(accept, &[&change.get::<_, i64>(0)]).await;
    assert!(accepted.is_err(), "a classroom was made up");

    let joined = world.call(&launch, JOIN, world.cast.tutor, &lesson).await;
    assert_eq!(joined.body["provider"], "lessonspace", "{}", joined.body);

    wants(&world, &lesson, "lessonspace").await;
    let listed = world.owner.query(sql, &[&lesson.id]).await.unwrap();
    assert!(listed.is_empty(), "what was taken back still waits for somebody");
}
