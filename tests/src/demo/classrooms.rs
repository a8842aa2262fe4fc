//! One lesson in each classroom, from Join to proof and charge, and a table of them.

use super::{PATIENCE, Story, amounts, settled};
use domain::launch::classroom::Classroom;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use stories::cast::Lesson;
use uuid::Uuid;

/// A line of the table.
struct Row {
    classroom: Classroom,
    seen_from: Value,
    charge: Value,
}

/// What Join gave somebody.
struct WayIn {
    who: Uuid,
    url: String,
}

pub(super) async fn in_each_classroom(story: &mut Story) {
    Story::chapter("A lesson in each classroom");
    let mut starts_at = story.lesson.ends_at() + SignedDuration::from_hours(2);
    let mut rows = Vec::new();

    for classroom in Classroom::ALL {
        let lesson = Lesson {
            classroom: Some(classroom.word()),
            ..Lesson::starting(starts_at)
        };
        story.lesson = lesson.booked_by(&story.cast, &story.database).await;
        rows.push(hold(story, classroom).await);
        starts_at = story.lesson.ends_at() + SignedDuration::from_hours(2);
    }

    println!("\n       classroom     lesson seen from          outcome             charge  payout  fee");
    for Row {
        classroom,
        seen_from,
        charge,
    } in &rows
    {
        let seen_from = seen_from.as_str().unwrap_or("never");
        let status = charge[0].as_str().unwrap_or("none");
        let [all, tutor, fee] = [1, 2, 3].map(|n| charge[n].as_i64().unwrap_or(0));
        let name = classroom.word();
        println!("       {name:<13} {seen_from:<25} {status:<19} {all:>6}  {tutor:>6}  {fee:>4}");
    }
}

/// Tutor and student come in time, stay to the end and leave; the lesson is settled.
async fn hold(story: &mut Story, classroom: Classroom) -> Row {
    let (lesson, name) = (story.lesson, classroom.word());
    let at = |minute| lesson.starts_at + SignedDuration::from_mins(minute);

    story.travel_to(at(-1));
    listen(story, classroom).await;
    let mut ways_in = Vec::new();
    let mut room = Value::Null;
    for who in [story.cast.tutor, story.cast.student] {
        let joined = story.join(who).await.body;
        let url = joined["url"].as_str().unwrap_or_default().to_owned();
        ways_in.push(WayIn { who, url });
        room = joined["room_id"].clone();
    }
    story.step(&format!("{name}: both join one room"), true, room.is_string());

    story.travel_to(at(1));
    let mut taken = true;
    for way_in in &ways_in {
        taken &= enter(story, classroom, &room, way_in, at(0)).await;
    }
    let card = story
        .card_when(|card| card["meeting_started_at"].is_string())
        .await;
    story.step(
        &format!("{name}: what the vendor tells of it is taken, and the card says live"),
        json!([true, "live"]),
        json!([taken, card["join_state"]]),
    );

    story.travel_to(at(62));
    for way_in in &ways_in {
        leave(story, classroom, &room, way_in.who, at(61)).await;
    }
    let session = session_of(story).await;
    let (charge, _) = settled(story, &session).await;
    let charge = amounts(&charge);
    story.step(
        &format!("{name}: it is held to its end, and charged"),
        json!(["COMPLETED_ASSUMED", 10_000, 9_000, 1_000]),
        charge.clone(),
    );

    Row {
        classroom,
        seen_from: card["meeting_started_at"].clone(),
        charge,
    }
}

/// The session that the schedule makes of the booking.
async fn session_of(story: &Story) -> Value {
    let began = Instant::now();
    loop {
        story.stack.invoke("Reconcile").await;
        let sql = "SELECT id FROM sessions WHERE booking_id = $1";
        let row = story.database.query_opt(sql, &[&story.lesson.id]).await;
        if let Some(row) = row.expect("the database answers") {
            return json!(row.get::<_, Uuid>(0));
        }
        if began.elapsed() > PATIENCE {
            return Value::Null;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The vendor tells our door of what happens, at once.
async fn listen(story: &Story, classroom: Classroom) {
    let door = format!("{}api/webhooks/{}", story.stack.api, classroom.word());
    match classroom {
        // Each Join says where to report to.
        Classroom::Lessonspace => {}
        Classroom::LiveKit => {
            let to = json!({"url": door, "at_once": true});
            story.stack.direct("/livekit/_control/report_to", to).await;
        }
        Classroom::PencilSpaces => {
            let to = json!({ "url": door });
            story.stack.direct("/pencilspaces/_control/report", to).await;
        }
    }
}

async fn enter(story: &Story, classroom: Classroom, room: &Value, way_in: &WayIn, at: Timestamp) -> bool {
    match classroom {
        Classroom::Lessonspace => story.happens(room, "enter", Some(way_in.who), at).await,
        Classroom::LiveKit => {
            let token = parameter(&way_in.url, "token");
            livekit(story, json!({"what": "join", "token": token, "at": at})).await
        }
        Classroom::PencilSpaces => {
            // The link works once; what it leads to is the vendor's own page.
            story.stack.open(&way_in.url).await;
            pencil(story, room, "enter", way_in.who, at).await
        }
    }
}

async fn leave(story: &Story, classroom: Classroom, room: &Value, who: Uuid, at: Timestamp) -> bool {
    match classroom {
        Classroom::Lessonspace => story.happens(room, "leave", Some(who), at).await,
        Classroom::LiveKit => {
            livekit(
                story,
                json!({"what": "leave", "room": room, "who": who, "at": at}),
            )
            .await
        }
        Classroom::PencilSpaces => pencil(story, room, "leave", who, at).await,
    }
}

/// Somebody does something in a space; whether each webhook was taken.
async fn pencil(story: &Story, space: &Value, what: &str, who: Uuid, at: Timestamp) -> bool {
    let act = json!({"what": what, "space_id": space, "user_id": who, "at": at});
    let told = story.stack.direct("/pencilspaces/_control/act", act).await;
    all_taken(&told)
}

fn all_taken(told: &Value) -> bool {
    let statuses = told["statuses"].as_array().cloned().unwrap_or_default();
    !statuses.is_empty() && statuses.iter().all(|status| *status == 202)
}

/// Something happens at LiveKit; whether each webhook was taken.
async fn livekit(story: &Story, act: Value) -> bool {
    let told = story.stack.direct("/livekit/_control/act", act).await;
    all_taken(&told)
}

fn parameter(url: &str, name: &str) -> String {
    let url: url::Url = url.parse().expect("a way in");
    let found = url.query_pairs().find(|(other, _)| other == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}
