//! What the people on a lesson are told of it.

use super::presence::School;
use crate::harness::World;
use domain::launch::classroom::Classroom;
use serde_json::{Value, json};
use stories::cast::Lesson;

const INSIGHTS: &str = "get-insights/insights.json";

#[tokio::test]
async fn a_parent_is_told_what_was_measured_and_what_was_worked_out_from_it() {
    let world = World::proving().await;
    let get_insights = world.function("get-insights").await;
    let mut school = School::open(&world, 60)
        .await
        .held_in(Classroom::PencilSpaces)
        .await;
    let mut plays = school.plays(&["T 0 - 61; L 5 - 61"]).await;
    let lesson = plays[0].lesson;

    for minute in -5..=80 {
        school.pass(&mut plays, minute).await;
        if minute == 60 {
            let room = world.booking(&lesson).await["meeting_provider_id"].clone();
            let student = world.cast.student.to_string();
            world.pencilspaces.speak(room.as_str().unwrap(), &student, 930);
        }
    }

    let told = world
        .call(&get_insights, INSIGHTS, world.cast.parent, &lesson)
        .await;
    assert_eq!(told.status, 200, "{}", told.body);
    let seen = json!([
        told.body["minutes_together"],
        told.body["learner_speaking_minutes"],
        told.body["learner_attention"]["percent"],
        told.body["tutor"]["presence"],
        told.body["recording_available"],
    ]);
    assert_eq!(seen, json!([56, 15, 100, "present", false]));
    assert!(told.body["learner_attention"]["derived_from"].is_string());

    let stranger = world
        .call(&get_insights, INSIGHTS, world.cast.stranger, &lesson)
        .await;
    assert_eq!(stranger.verdict(), "403 forbidden");
}

#[tokio::test]
async fn what_nobody_measured_is_null_and_a_booking_without_a_session_has_nothing_to_tell() {
    let world = World::proving().await;
    let get_insights = world.function("get-insights").await;
    let mut school = School::open(&world, 60).await.held_in(Classroom::LiveKit).await;
    let mut plays = school.plays(&["T 0 - 61; L 0 - 30", ""]).await;
    for minute in -5..=80 {
        school.pass(&mut plays, minute).await;
    }

    let told = world
        .call(&get_insights, INSIGHTS, world.cast.tutor, &plays[0].lesson)
        .await;
    assert_eq!(told.body["minutes_together"], 30, "{}", told.body);
    assert_eq!(told.body["learner_speaking_minutes"], Value::Null);
    assert_eq!(told.body["learner_attention"], Value::Null);

    let empty = world
        .call(&get_insights, INSIGHTS, world.cast.tutor, &plays[1].lesson)
        .await;
    assert_eq!(empty.body["minutes_together"], Value::Null, "{}", empty.body);
    assert_eq!(empty.body["learner"]["presence"], "absent");

    let pending = Lesson {
        status: "pending",
        ..Lesson::starting(jiff::Timestamp::now())
    };
    let pending = pending.booked_by(&world.cast, &world.owner).await;
    let told = world
        .call(&get_insights, INSIGHTS, world.cast.tutor, &pending)
        .await;
    assert_eq!(told.verdict(), "404 no-session");
}
