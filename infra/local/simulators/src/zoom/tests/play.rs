//! What happens in meetings, and what is told.

use super::*;
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_lesson_is_told_with_new_uuids_and_visits() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    let meeting = world.meeting(&tutor, &open()).await;
    let at = |minute: i64| world.now + minutes(300 + minute);

    let told = world.zoom.enter(meeting, &guest(), at(-1));
    assert_eq!(events(&told), ["participant_jbh_waiting"]);
    let told = world.zoom.enter(meeting, &Who::Host, at(0));
    assert_eq!(
        events(&told),
        ["started", "participant_joined", "participant_joined"]
    );
    let host = told[1].json();
    assert_eq!(host["payload"]["object"]["participant"]["id"], tutor.id);
    assert_eq!(host["payload"]["object"]["id"], meeting.to_string());
    let student = told[2].json();
    assert_eq!(student["payload"]["object"]["participant"]["email"], "");
    assert_ne!(
        host["payload"]["object"]["uuid"],
        world.zoom.meetings()[0]["uuid"]
    );
    let start = String::from_utf8(told[0].body.clone()).unwrap();
    assert!(
        start.starts_with(r#"{"event":"meeting.started","payload":{"account_id":"#),
        "{start}"
    );

    let lost = world.zoom.drop_out(meeting, &Who::Host, at(10));
    let back = world.zoom.enter(meeting, &Who::Host, at(11));
    assert_eq!(
        (events(&lost), events(&back)),
        (vec!["participant_left"], vec!["participant_joined"])
    );
    let visit = |webhook: &Webhook| webhook.json()["payload"]["object"]["participant"]["user_id"].clone();
    assert_ne!(visit(&lost[0]), visit(&back[0]));
    world.zoom.leave(meeting, &guest(), at(60));
    let told = world.zoom.leave(meeting, &Who::Host, at(61));
    assert_eq!(events(&told), ["participant_left", "ended"]);
}

#[tokio::test]
async fn what_is_past_is_asked_by_a_uuid_that_is_encoded_twice() {
    let world = World::new().await;
    world.zoom.behave([Quirk::SlashUuids]);
    let tutor = world.tutor(Plan::Pro).await;
    let meeting = world.meeting(&tutor, &open()).await;
    let at = |minute| world.now + minutes(minute);
    world.zoom.start(meeting, at(0));
    let uuid = world.zoom.instances(meeting)[0].clone();
    let once: String = url::form_urlencoded::byte_serialize(uuid.as_bytes()).collect();
    let twice: String = url::form_urlencoded::byte_serialize(once.as_bytes()).collect();
    let path = format!("/past_meetings/{twice}/participants");
    assert_eq!(code_of(world.get(&tutor, &path)).await, (404, 3001), "it runs");

    world.zoom.enter(meeting, &Who::Host, at(0));
    world.zoom.end(meeting, at(30));
    let (status, list) = json_of(world.get(&tutor, &path)).await;
    assert_eq!(
        (status, list["total_records"].as_i64()),
        (200, Some(0)),
        "one person"
    );
    let by_number = format!("/past_meetings/{meeting}");
    assert_eq!(json_of(world.get(&tutor, &by_number)).await.1["uuid"], uuid);
    let once = format!("/past_meetings/{once}");
    assert_eq!(
        code_of(world.get(&tutor, &once)).await,
        (404, 3001),
        "encoded once"
    );

    world.zoom.hold(meeting, "Léa", at(31), at(60));
    world.zoom.behave([Quirk::TinyPages]);
    let path = format!("/past_meetings/{meeting}/participants");
    let (_, first) = json_of(world.get(&tutor, &path)).await;
    let next = format!(
        "{path}?next_page_token={}",
        first["next_page_token"].as_str().unwrap()
    );
    let (_, second) = json_of(world.get(&tutor, &next)).await;
    assert_eq!(first["participants"][0]["id"], tutor.id);
    assert_eq!(second["participants"][0]["name"], "Léa");
    assert_eq!(second["next_page_token"], "");
}

#[tokio::test]
async fn a_free_meeting_is_cut_and_goes_on_under_another_uuid() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Basic).await;
    let meeting = world.meeting(&tutor, &open()).await;
    let at = |minute| world.now + minutes(minute);
    world.zoom.enter(meeting, &Who::Host, at(0));
    world.zoom.enter(meeting, &guest(), at(1));
    assert!(world.zoom.pass_time(at(39)).is_empty());

    let told = world.zoom.enter(meeting, &Who::Host, at(43));
    let names = [
        "participant_left",
        "participant_left",
        "ended",
        "started",
        "participant_joined",
    ];
    assert_eq!(events(&told), names);
    assert_eq!(
        told[2].json()["payload"]["object"]["end_time"],
        "2026-03-02T12:40:00Z"
    );
    assert_eq!(world.zoom.instances(meeting).len(), 2);
    let path = format!("/past_meetings/{meeting}/participants");
    assert_eq!(code_of(world.get(&tutor, &path)).await, (400, 200));
    assert_eq!(
        code_of(world.call(&tutor, Method::DELETE, &format!("/meetings/{meeting}"))).await,
        (400, 3002)
    );
}

#[tokio::test]
async fn a_waiting_room_keeps_guests_out_until_they_are_admitted() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    let meeting = world.meeting(&tutor, &json!({"waiting_room": true})).await;
    let at = |minute| world.now + minutes(minute);
    world.zoom.enter(meeting, &guest(), at(0));
    let told = world.zoom.enter(meeting, &Who::Host, at(1));
    assert_eq!(
        events(&told),
        ["started", "participant_joined", "participant_joined_waiting_room"]
    );
    let told = world.zoom.admit(meeting, &guest(), at(2));
    assert_eq!(events(&told), ["participant_admitted", "participant_joined"]);

    world.zoom.app_deauthorized(&tutor.id);
    assert!(
        world.zoom.end(meeting, at(60)).is_empty(),
        "nothing is told of who took the app away"
    );
}

#[tokio::test]
async fn recordings_need_a_token_and_their_time() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    let asked = json!({"auto_recording": "cloud", "waiting_room": false});
    let meeting = world.meeting(&tutor, &asked).await;
    let end = world.now + minutes(60);
    world.zoom.hold(meeting, "Léa", world.now, end);
    let path = format!("/meetings/{meeting}/recordings?include_fields=download_access_token&ttl=60");
    assert_eq!(code_of(world.get(&tutor, &path)).await, (404, 3301));

    let uuid = world.zoom.instances(meeting)[0].clone();
    let told = world.zoom.recording_completed(&uuid, end);
    let again = world.zoom.recording_completed(&uuid, end);
    assert_ne!(
        told[0].json()["download_token"],
        again[0].json()["download_token"]
    );
    assert_eq!(told[0].json()["payload"]["object"]["id"], meeting);
    let (_, list) = json_of(world.get(&tutor, &path)).await;
    let link = list["recording_files"][0]["download_url"].as_str().unwrap();
    let wrong = world.http.get(link).bearer_auth("wrong").send().await.unwrap();
    assert!(
        wrong.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let token = list["download_access_token"].as_str().unwrap();
    let file = world.http.get(link).bearer_auth(token).send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "video/mp4");
    let size = list["recording_files"][0]["file_size"].as_u64();
    assert_eq!(file.content_length(), size);

    world.hand.advance(minutes(2));
    let late = world.http.get(link).bearer_auth(token).send().await.unwrap();
    assert_ne!(late.headers()["content-type"], "video/mp4");
    let bearer = world
        .http
        .get(link)
        .bearer_auth(&tutor.access)
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.headers()["content-type"], "video/mp4");
}

#[tokio::test]
async fn webhooks_are_tried_again_signed_anew_and_bodies_stay() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    world.zoom.behave([Quirk::SpacedBodies, Quirk::TwoSubscriptions]);
    let meeting = world.meeting(&tutor, &open()).await;
    let told = world.zoom.start(meeting, world.now);
    assert_eq!(told.len(), 2);
    assert!(String::from_utf8_lossy(&told[0].body).contains("Le\\u00e7on"));
    assert_ne!(told[0].request_id, told[1].request_id);
    assert_ne!(told[0].body, told[1].body);

    let retry = world
        .zoom
        .retried(&told[0], world.now + SignedDuration::from_secs(304));
    assert_eq!(
        (&retry.body, &retry.request_id),
        (&told[0].body, &told[0].request_id)
    );
    assert_ne!(retry.header("x-zm-signature"), told[0].header("x-zm-signature"));
    assert_eq!(world.zoom.deliver(&told[0]).await, 0, "there is no address yet");
    assert!(
        world
            .zoom
            .url_validation(false, "x")
            .header("x-zm-signature")
            .is_none()
    );
}

#[tokio::test]
async fn an_address_that_never_shows_the_secret_is_given_up() {
    let world = World::new().await;
    world
        .zoom
        .report_to(format!("{}/nowhere", world.base).parse().unwrap());
    for _ in 0..6 {
        assert!(world.zoom.is_reporting());
        assert!(!world.zoom.validate_url().await);
    }
    assert!(!world.zoom.is_reporting());
}

/// An address that answers with these statuses, one after the other, and keeps the headers.
async fn receiver(statuses: Vec<u16>) -> (url::Url, Arc<Mutex<Vec<HeaderMap>>>) {
    let (seen, left) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(statuses)));
    let kept = Arc::clone(&seen);
    let answer = post(move |headers: HeaderMap| async move {
        kept.lock().unwrap().push(headers);
        StatusCode::from_u16(left.lock().unwrap().remove(0)).unwrap()
    });
    let address = crate::serve(Router::new().route("/", answer)).await.unwrap();
    (format!("http://{address}/").parse().unwrap(), seen)
}

#[tokio::test]
async fn only_5xx_is_tried_again_and_never_with_the_same_signature() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    let meeting = world.meeting(&tutor, &open()).await;
    let (url, seen) = receiver(vec![503, 500, 204, 401]).await;
    world.zoom.report_to(url);
    let told = world.zoom.enter(meeting, &Who::Host, world.now);
    assert_eq!(world.zoom.deliver(&told[0]).await, 204);
    assert_eq!(world.zoom.deliver(&told[1]).await, 401, "final");

    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0]["x-zm-request-id"], seen[2]["x-zm-request-id"]);
    assert_ne!(seen[0]["x-zm-signature"], seen[1]["x-zm-signature"]);
}

#[tokio::test]
async fn a_play_can_be_directed_over_http() {
    let world = World::new().await;
    let control = |path: &str, body: Value| {
        let url = format!("{}/_control/{path}", world.base);
        json_of(world.http.post(url).json(&body))
    };
    let user = json!({"plan": "pro", "email": "t@example.org", "name": "Tutor"});
    let (_, user) = control("users", user).await;
    let id = user["user_id"].as_str().unwrap();
    assert_eq!(control("user", user.clone()).await.0, 204);
    assert_eq!(control("consent", json!("grants")).await.0, 204);
    let (url, _) = receiver(vec![200; 4]).await;
    assert_eq!(control("report-to", json!({"url": url})).await.0, 204);
    let tutor = world.connect(id).await;
    let meeting = world.meeting(&tutor, &open()).await;

    let act = json!({"meeting_id": meeting, "what": "enter", "at": "2026-03-02T17:00:00Z", "reversed": true});
    let (status, told) = control("act", act).await;
    let events = json!(["meeting.participant_joined", "meeting.started"]);
    assert_eq!(
        (status, &told["events"], &told["statuses"]),
        (200, &events, &json!([200, 200]))
    );
    let end = world.call(&tutor, Method::PUT, &format!("/meetings/{meeting}/status"));
    assert_eq!(json_of(end.json(&json!({"action": "end"}))).await.0, 204);
    let (_, told) = control("tell", json!({})).await;
    assert_eq!(
        told["events"],
        json!(["meeting.participant_left", "meeting.ended"])
    );

    let quirks = control("quirks", json!(["slash_uuids", "spaced_bodies"])).await;
    let faults = control(
        "faults",
        json!({"on": ["read_user"], "fail_next": 1, "fail_with": 502, "html": true}),
    )
    .await;
    assert_eq!((quirks.0, faults.0), (204, 204));
    assert_eq!(json_of(world.get(&tutor, "/users/me")).await.0, 502);
    let change = json!({"user_id": id, "what": {"lock_setting": {"name": "waiting_room", "value": true}}});
    assert_eq!(control("change", change).await.0, 204);
    let change = json!({"user_id": id, "what": "expire_access"});
    assert_eq!(control("change", change).await.0, 204);
    assert_eq!(code_of(world.get(&tutor, "/users/me")).await, (401, 124));
}
