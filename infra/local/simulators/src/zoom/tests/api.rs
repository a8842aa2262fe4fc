//! What is asked of it.

use super::*;

#[tokio::test]
async fn consent_is_given_only_to_the_app_and_at_its_address() {
    let world = World::new().await;
    let user = world.zoom.add_user(ZoomUser::new(Plan::Pro, "a@example.org"));
    world.zoom.sign_in(&user);
    for wrong in [
        ("client_id", "another"),
        ("redirect_uri", "https://example.org/back"),
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
        ("code_challenge", "short"),
    ] {
        let answer = world.ask(&[wrong]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
        assert!(answer.headers().get("location").is_none(), "{wrong:?}");
    }

    world.zoom.consent(Consent::Denies);
    let answer = world.ask(&[]).send().await.unwrap();
    assert!(
        answer.headers()["location"]
            .to_str()
            .unwrap()
            .contains("error=access_denied")
    );
}

#[tokio::test]
async fn the_token_endpoint_wants_the_secret_a_form_and_each_token_once() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    let url = format!("{}/oauth/token", world.base);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tutor.refresh.as_str()),
    ];
    let (status, body) = json_of(world.http.post(&url).form(&form)).await;
    assert_eq!((status, body["error"].as_str()), (401, Some("invalid_client")));
    let (status, _) = json_of(
        world
            .http
            .post(&url)
            .basic_auth("app", Some("secret"))
            .json(&json!({})),
    )
    .await;
    assert_eq!(status, 400);

    let (status, body) = world.refresh(&tutor.refresh).await;
    assert_eq!((status, body["expires_in"].as_i64()), (200, Some(3599)));
    let raced = world.refresh(&tutor.refresh).await;
    assert_eq!(
        raced,
        (400, json!({"reason": "Invalid Token!", "error": "invalid_grant"}))
    );

    let latest = body["refresh_token"].as_str().unwrap();
    let again = world.connect(&tutor.id).await;
    let (status, body) = world.refresh(latest).await;
    assert_eq!((status, body["errorCode"].as_i64()), (400, Some(4741)));
    let revoked = world.post_form("/oauth/revoke", &[("token", again.access.as_str())]);
    assert_eq!(json_of(revoked).await, (200, json!({"status": "success"})));
    assert_eq!(code_of(world.get(&again, "/users/me")).await, (401, 124));
}

#[tokio::test]
async fn the_api_wants_a_live_token_with_the_scope() {
    let world = World::new().await;
    world
        .zoom
        .consent(Consent::GrantsOnly(vec!["user:read:user".into()]));
    let tutor = world.tutor(Plan::Pro).await;
    let (status, user) = json_of(world.get(&tutor, "/users/me")).await;
    assert_eq!((status, user["type"].as_i64()), (200, Some(2)));

    assert_eq!(code_of(world.creation(&tutor, &open())).await, (400, 4711));
    assert_eq!(
        code_of(world.get(&tutor, "/report/meetings/1/participants")).await,
        (400, 4711)
    );
    assert_eq!(
        code_of(world.get(&tutor, "/users/tutor@example.org")).await,
        (404, 1001)
    );
    assert_eq!(code_of(world.get(&tutor, "/nothing")).await, (404, 2300));
    world.hand.advance(minutes(60));
    assert_eq!(code_of(world.get(&tutor, "/users/me")).await, (401, 124));
    let refused = world.zoom.refusals();
    assert_eq!(refused.len(), 4, "{refused:?}");
}

#[tokio::test]
async fn meetings_are_checked_and_counted() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Basic).await;
    let wrong = json!({"topic": "x", "start_time": "2026-03-02T17:00:00.000Z"});
    let create = || world.call(&tutor, Method::POST, "/users/me/meetings");
    assert_eq!(code_of(create().json(&wrong)).await, (400, 300));
    assert_eq!(code_of(create().body("{}")).await, (400, 300));

    let asked = json!({"auto_recording": "cloud", "waiting_room": false});
    let (_, made) = json_of(world.creation(&tutor, &asked)).await;
    assert_eq!(made["settings"]["auto_recording"], "none");
    assert!(made["id"].as_u64().unwrap() > u64::from(u32::MAX));
    let path = format!("/meetings/{}", made["id"]);
    let (_, read) = json_of(world.get(&tutor, &path)).await;
    assert_ne!(read["start_url"], made["start_url"]);

    for _ in 1..100 {
        let update = world
            .call(&tutor, Method::PATCH, &path)
            .json(&json!({"settings": {}}));
        assert_eq!(json_of(update).await.0, 204);
    }
    let answer = world.creation(&tutor, &open()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().get("retry-after").is_none());
    assert_eq!(code_of(world.get(&tutor, "/meetings/abc")).await, (400, 300));
    assert_eq!(json_of(world.call(&tutor, Method::DELETE, &path)).await.0, 204);
    assert_eq!(
        code_of(world.call(&tutor, Method::DELETE, &path)).await,
        (404, 3001)
    );
}

#[tokio::test]
async fn an_answer_that_gets_lost_leaves_a_meeting_that_lists_show() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    world.zoom.misbehave(Faults {
        on: vec![Operation::CreateMeeting],
        lose_next: 1,
        ..Faults::default()
    });
    let is_answered = match world.creation(&tutor, &open()).send().await {
        Ok(answer) => answer.bytes().await.is_ok(),
        Err(_) => false,
    };
    assert!(!is_answered);

    let (_, found) = json_of(world.get(&tutor, "/users/me/meetings?type=upcoming&page_size=300")).await;
    assert_eq!(found["meetings"][0]["agenda"], "booking-1");
    assert_eq!(world.zoom.meetings_of(&tutor.id).len(), 1);
}

#[tokio::test]
async fn who_may_not_host_or_is_gone_is_refused() {
    let world = World::new().await;
    let tutor = world.tutor(Plan::Pro).await;
    world.zoom.stand(&tutor.id, Standing::MayNotHost);
    assert_eq!(code_of(world.creation(&tutor, &open())).await, (400, 3161));
    world.zoom.stand(&tutor.id, Standing::Gone);
    assert_eq!(code_of(world.get(&tutor, "/users/me")).await, (404, 1001));
    assert_eq!(world.refresh(&tutor.refresh).await.1["errorCode"], 4735);
}
