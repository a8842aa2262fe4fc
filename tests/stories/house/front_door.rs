//! The promises of the whole system, through the deployed template: webhooks survive the database.

use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use stories::cast::{Cast, Lesson, owner};
use stories::stack::{Stack, root};

const LESSONS: u16 = 100;
const TIMES: u16 = 5;
const PATIENCE: Duration = Duration::from_mins(5);

fn postgres(action: &str) {
    let python = root().join("target/venv/bin/python");
    let script = root().join("infra/local/stack.py");
    let status = Command::new(python).arg(script).arg(action).status().unwrap();
    assert!(status.success(), "{action} failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_webhooks_survive_a_killed_postgres_and_are_applied_once_each() {
    let stack = Stack::connect();
    let database = owner(&stack.database_owner).await;
    let cast = Cast::arrive(&database).await;
    let mut rooms = Vec::new();
    for _ in 0..LESSONS {
        let lesson = Lesson::starting(Timestamp::now())
            .booked_by(&cast, &database)
            .await;
        rooms.push((lesson, open(&stack, &cast, &lesson).await));
    }
    drop(database);
    postgres("postgres-stop");
    // A start and an end for each lesson make two hundred webhooks, each delivered five times.
    let told: Vec<Value> = stream::iter(&rooms)
        .map(|(lesson, room)| {
            let ended = lesson.starts_at + SignedDuration::from_mins(60);
            let play = json!({"room_id": room, "started_at": lesson.starts_at, "ended_at": ended, "times": TIMES, "reversed": true});
            stack.direct("/lessonspace/_control/session", play)
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let statuses: Vec<&Value> = told
        .iter()
        .flat_map(|told| told["statuses"].as_array().unwrap())
        .collect();
    assert_eq!(statuses.len(), usize::from(LESSONS * 2 * TIMES));
    assert!(
        statuses.iter().all(|status| **status == json!(202)),
        "a webhook was not taken while Postgres was down"
    );
    postgres("postgres-start");
    let database = owner(&stack.database_owner).await;
    let ids: Vec<_> = rooms.iter().map(|(lesson, _)| lesson.id).collect();
    let sql = "SELECT (SELECT count(*) FROM bookings WHERE id = ANY($1) AND duration_actual = 3600),
                      (SELECT count(*) FROM provider_events WHERE booking_id = ANY($1) AND status = 'applied'),
                      (SELECT count(*) FROM caas_recalculation_queue WHERE profile_id = $2)";
    let began = Instant::now();
    let expected = (i64::from(LESSONS), i64::from(2 * LESSONS), i64::from(LESSONS));
    let mut seen = (0, 0, 0);
    while seen != expected && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let row = database.query_one(sql, &[&ids, &cast.tutor]).await.unwrap();
        seen = (row.get(0), row.get(1), row.get(2));
    }
    assert_eq!(
        seen, expected,
        "lessons proven, events applied, recalculations asked for"
    );
}

async fn open(stack: &Stack, cast: &Cast, lesson: &Lesson) -> String {
    let token = stack.sign_in(cast.tutor).await;
    let joined = stack
        .call(
            Method::POST,
            &format!("api/bookings/{}/launch", lesson.id),
            &token,
            None,
        )
        .await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    joined.body["room_id"].as_str().unwrap().to_owned()
}
