//! What happens in rooms, who may ask for it, and how it is told.

use super::*;
use axum::http::StatusCode;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn a_lesson_is_told_and_can_be_looked_up() {
    let play = Play::begins().await;
    let token = play.connect().await;
    let (_, event) = play.book(&token).await;
    assert_eq!(play.subscribe(&token).await.0, 200);
    let (google, tutor) = (&play.google, user(&play.tutor));
    let guest = Who::Anonymous("Sam".into());

    let mut told = google.enter(EVENT, &tutor, "laptop", at(0));
    told.extend(google.enter(EVENT, &tutor, "phone", at(1)));
    told.extend(google.enter(EVENT, &guest, "tablet", at(2)));
    told.extend(google.leave(EVENT, &tutor, "laptop", at(20)));
    told.extend(google.leave(EVENT, &tutor, "phone", at(30)));
    told.extend(google.leave(EVENT, &guest, "tablet", at(30)));
    told.extend(google.enter(EVENT, &guest, "tablet", at(35)));
    told.extend(google.end(EVENT, at(40)));

    let order = [
        "started", "joined", "joined", "joined", "left", "left", "left", "ended",
    ];
    assert_eq!(kinds(&told)[..8], order);
    assert_eq!(
        kinds(&told)[8..],
        ["started", "joined", "left", "ended"],
        "coming back begins another"
    );

    let code = event["conferenceData"]["conferenceId"].as_str().unwrap();
    let (_, space) = play.get(&token, &format!("/meet/v2/spaces/{code}")).await;
    let filter = format!(
        "space.name=\"{}\" AND end_time>\"2026-10-01T10:00:00Z\"",
        space["name"].as_str().unwrap()
    );
    let query: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let (_, list) = play
        .get(&token, &format!("/meet/v2/conferenceRecords?filter={query}"))
        .await;
    assert_eq!(list["conferenceRecords"].as_array().unwrap().len(), 2);
    let first = list["conferenceRecords"][1]["name"].as_str().unwrap();
    assert_eq!(list["conferenceRecords"][1]["endTime"], "2026-10-01T10:30:00Z");

    let (_, people) = play.get(&token, &format!("/meet/v2/{first}/participants")).await;
    let people = people["participants"].as_array().unwrap();
    assert_eq!(people.len(), 2);
    assert_eq!(people[0]["anonymousUser"]["displayName"], "Sam");
    assert_eq!(people[1]["signedinUser"]["user"], format!("users/{}", play.tutor));
    let path = format!(
        "/meet/v2/{}/participantSessions",
        people[1]["name"].as_str().unwrap()
    );
    let (_, sessions) = play.get(&token, &path).await;
    assert_eq!(sessions["participantSessions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn rooms_of_calendar_are_not_reached_by_the_narrow_scope_nor_changed_by_their_code() {
    let play = Play::begins().await;
    play.google
        .consent(Consent::Without(vec!["meetings.space.readonly".into()]));
    let token = play.connect().await;
    let (_, event) = play.book(&token).await;
    let code = event["conferenceData"]["conferenceId"].as_str().unwrap();

    assert_eq!(play.get(&token, &format!("/meet/v2/spaces/{code}")).await.0, 403);

    let open = json!({"config": {"accessType": "OPEN"}});
    let (status, made) = play
        .ask(&token, Method::POST, "/meet/v2/spaces", Some(json!({})))
        .await;
    assert_eq!(status, 200);
    let by_code = format!(
        "/meet/v2/spaces/{}?updateMask=config.accessType",
        made["meetingCode"].as_str().unwrap()
    );
    assert_eq!(
        play.ask(&token, Method::PATCH, &by_code, Some(open.clone()))
            .await
            .0,
        400
    );
    let by_name = format!(
        "/meet/v2/{}?updateMask=config.accessType",
        made["name"].as_str().unwrap()
    );
    let (status, changed) = play.ask(&token, Method::PATCH, &by_name, Some(open)).await;
    assert_eq!(
        (status, changed["config"]["accessType"].as_str()),
        (200, Some("OPEN"))
    );
}

#[tokio::test]
async fn a_recording_has_a_file_when_it_has_one_and_is_gone_after_a_month() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.book(&token).await;
    play.google.enter(EVENT, &user(&play.tutor), "laptop", at(0));
    play.google.record(EVENT, at(1));
    play.google.end(EVENT, at(60));
    let name = play.google.recordings_of(EVENT).remove(0);
    let path = format!("/meet/v2/{name}");

    let (_, ended) = play.get(&token, &path).await;
    assert_eq!(
        (ended["state"].as_str(), &ended["driveDestination"]),
        (Some("ENDED"), &Value::Null)
    );

    play.google.recording_ready(&name, at(90));
    let (_, ready) = play.get(&token, &path).await;
    let file = ready["driveDestination"]["file"].as_str().unwrap();
    let download = format!("/drive/v3/files/{file}?alt=media");
    let content = play
        .send(&token, Method::GET, &download, None)
        .await
        .bytes()
        .await
        .unwrap();
    assert!(content.len() > 1000);
    play.google.forbid_download(file);
    assert_eq!(play.get(&token, &download).await.0, 403);
    play.google.delete_file(file);
    assert_eq!(play.get(&token, &download).await.0, 404);

    play.hand.advance(SignedDuration::from_hours(31 * 24));
    let token = play.connect().await;
    assert_eq!(play.get(&token, &path).await.0, 404);
}

#[tokio::test]
async fn a_subscription_is_one_lives_a_week_and_sleeps_when_suspended() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.book(&token).await;
    let (_, made) = play.subscribe(&token).await;
    assert_eq!(made["done"], true);
    let name = made["response"]["name"].as_str().unwrap();
    assert_eq!(play.subscribe(&token).await.0, 409);

    let told = play.google.suspend(name, Suspension::UserAuthorizationFailure);
    assert_eq!(told.len(), 1);
    assert!(
        play.google.start(EVENT, at(1)).is_empty(),
        "what happens meanwhile is lost"
    );
    let wake = format!("/workspaceevents/v1/{name}:reactivate");
    let (status, woken) = play.ask(&token, Method::POST, &wake, None).await;
    assert_eq!(status, 200);
    assert_eq!(woken["response"]["expireTime"], made["response"]["expireTime"]);

    play.hand.advance(SignedDuration::from_hours(6 * 24 + 13));
    assert_eq!(
        kinds(&play.google.pass_time()),
        ["google.workspace.events.subscription.v1.expirationReminder"]
    );
    let token = play.connect().await;
    let renew = format!("/workspaceevents/v1/{name}?updateMask=ttl");
    let (status, _) = play
        .ask(&token, Method::PATCH, &renew, Some(json!({"ttl": "0s"})))
        .await;
    assert_eq!(status, 200);
    assert!(play.google.pass_time().is_empty());

    play.hand.advance(SignedDuration::from_hours(7 * 24));
    let told = kinds(&play.google.pass_time());
    assert_eq!(
        told.last().unwrap(),
        "google.workspace.events.subscription.v1.expired"
    );
    assert!(play.google.subscriptions().is_empty());
}

#[tokio::test]
async fn a_push_comes_again_until_it_is_taken() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.book(&token).await;
    play.subscribe(&token).await;
    let told = play.google.start(EVENT, at(0));
    assert_eq!(play.google.deliver(&told[0]).await, 0, "nowhere to go");

    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let receiver = Router::new().route(
        "/push",
        post(move || async move {
            let answers = [500, 206, 302, 204];
            let status = answers[counter.fetch_add(1, Ordering::Relaxed)];
            StatusCode::from_u16(status).unwrap()
        }),
    );
    let address = crate::serve(receiver).await.unwrap();
    play.google
        .push_to(format!("http://{address}/push").parse().unwrap());

    let told = play.google.end(EVENT, at(1));
    assert_eq!(play.google.deliver(&told[0]).await, 204);
    assert_eq!(seen.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_play_can_be_directed_over_http() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.book(&token).await;
    let control = |path: &str| format!("{}/_control/{path}", play.base);

    let act = json!({
        "what": "enter", "room": EVENT, "who": {"user": "tutor@school.example"}, "device": "laptop",
        "at": "2026-10-01T10:00:00Z", "telling": {"times": 2, "forgery": "wrong_email"},
    });
    let acted = play.http.post(control("act")).json(&act).send().await.unwrap();
    assert_eq!(acted.status(), 200);
    let hand = json!({"delete": {"event": EVENT}});
    let done = play.http.post(control("hand")).json(&hand).send().await.unwrap();
    assert_eq!(done.status(), 204);

    let books = play.http.get(control("books")).send().await.unwrap();
    let books: Value = books.json().await.unwrap();
    assert_eq!(books["records"][0]["participants"][0]["who"]["user"], play.tutor);
    assert_eq!(books["events"][0]["status"], "cancelled");
    let posted = books["requests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|request| request["method"] == "POST");
    assert_eq!(posted.count(), 2, "the token and the event");
}
