//! Events and their rooms.

use super::*;

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_there_and_keeps_its_id_when_cancelled() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.google.misbehave(Faults {
        only: "POST /calendar/".into(),
        lose_next: 1,
        ..Faults::default()
    });

    let asked = play.http.post(format!("{}{BOOK}", play.base)).bearer_auth(&token);
    assert!(asked.json(&lesson(EVENT)).send().await.is_err());
    let (status, refused) = play.book(&token).await;
    assert_eq!(
        (status, refused["error"]["errors"][0]["reason"].as_str()),
        (409, Some("duplicate"))
    );
    let found = format!("{EVENTS}?privateExtendedProperty=booking%3Db1");
    let (_, list) = play.get(&token, &found).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let event = format!("{EVENTS}/{EVENT}?sendUpdates=none");
    let deleted = play.send(&token, Method::DELETE, &event, None).await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(play.ask(&token, Method::DELETE, &event, None).await.0, 410);
    let (status, cancelled) = play.get(&token, &format!("{EVENTS}/{EVENT}")).await;
    assert_eq!((status, cancelled["status"].as_str()), (200, Some("cancelled")));
    assert_eq!(play.book(&token).await.0, 409);
    assert_eq!(play.google.live_events().len(), 0);
}

#[tokio::test]
async fn what_was_read_cannot_be_put_back() {
    let play = Play::begins().await;
    let token = play.connect().await;
    let (_, event) = play.book(&token).await;
    let path = format!("{EVENTS}/{EVENT}?sendUpdates=none&conferenceDataVersion=1");
    assert_eq!(
        event["conferenceData"]["createRequest"]["status"]["statusCode"],
        "success"
    );

    assert_eq!(
        play.ask(&token, Method::PUT, &path, Some(event.clone())).await.0,
        400
    );

    let moved = json!({
        "start": {"dateTime": "2026-10-02T10:00:00Z", "timeZone": "UTC"},
        "end": {"dateTime": "2026-10-02T11:00:00Z", "timeZone": "UTC"},
    });
    let (status, patched) = play.ask(&token, Method::PATCH, &path, Some(moved.clone())).await;
    assert_eq!(status, 200);
    assert_eq!(patched["hangoutLink"], event["hangoutLink"], "the room stays");
    assert_ne!(patched["etag"], event["etag"]);

    let stale = play
        .http
        .patch(format!("{}{path}", play.base))
        .bearer_auth(&token)
        .json(&moved);
    let stale = stale
        .header("if-match", event["etag"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(stale.status(), 412);

    play.google.give_away(EVENT, "somebody@else.example");
    let (status, refused) = play.ask(&token, Method::PATCH, &path, Some(moved)).await;
    assert_eq!(
        (status, refused["error"]["errors"][0]["reason"].as_str()),
        (403, Some("forbiddenForNonOrganizer"))
    );
}

#[tokio::test]
async fn a_room_may_be_pending_and_fail_and_is_asked_for_anew() {
    let play = Play::begins().await;
    let token = play.connect().await;
    play.google.misbehave(Faults {
        pending_polls: 2,
        fail_conferences_next: 1,
        ..Faults::default()
    });
    let status_of = |event: &Value| event["conferenceData"]["createRequest"]["status"]["statusCode"].clone();

    let (_, event) = play.book(&token).await;
    assert_eq!(status_of(&event), "pending");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(status_of(&play.get(&token, &format!("{EVENTS}/{EVENT}")).await.1));
    }
    assert_eq!(seen, ["pending", "pending", "failure"]);

    let path = format!("{EVENTS}/{EVENT}?sendUpdates=none&conferenceDataVersion=1");
    let request = |id: &str| {
        let key = json!({"type": "hangoutsMeet"});
        json!({"conferenceData": {"createRequest": {"requestId": id, "conferenceSolutionKey": key}}})
    };
    play.google.misbehave(Faults::default());
    let (_, same) = play.ask(&token, Method::PATCH, &path, Some(request("r1"))).await;
    assert_eq!(status_of(&same), "failure", "the same request is ignored");
    let (_, other) = play.ask(&token, Method::PATCH, &path, Some(request("r2"))).await;
    assert_eq!(status_of(&other), "success");
}
