//! Consent, tokens, and their end.

use super::*;
use axum::http::StatusCode;

#[tokio::test]
async fn a_refresh_token_comes_once_and_again_only_by_consenting_again() {
    let play = Play::begins().await;

    let code = play.code(&[]).await;
    let (status, first) = play.redeem(&code, VERIFIER).await;
    assert_eq!(status, 200);
    assert!(first["refresh_token"].is_string());
    assert!(first["id_token"].is_string());
    let scope = first["scope"].as_str().unwrap();
    assert!(
        scope.contains("https://www.googleapis.com/auth/userinfo.email"),
        "by its full name"
    );
    let (status, again) = play.redeem(&code, VERIFIER).await;
    assert_eq!(
        (status, again["error"].as_str()),
        (400, Some("invalid_grant")),
        "a code is good once"
    );

    let code = play.code(&[]).await;
    let (_, second) = play.redeem(&code, VERIFIER).await;
    assert!(second["refresh_token"].is_null());
    let code = play.code(&[("prompt", "consent")]).await;
    let (_, third) = play.redeem(&code, VERIFIER).await;
    assert!(third["refresh_token"].is_string());

    let refresh = third["refresh_token"].as_str().unwrap();
    let (status, refreshed) = play.refresh(refresh).await;
    assert_eq!(status, 200);
    assert!(refreshed["refresh_token"].is_null());
    assert_eq!(play.google.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_code_is_for_its_verifier_its_address_and_ten_minutes() {
    let play = Play::begins().await;

    let code = play.code(&[]).await;
    let (status, _) = play.redeem(&code, &"x".repeat(43)).await;
    assert_eq!(status, 400, "another verifier");

    let code = play.code(&[]).await;
    play.hand.advance(SignedDuration::from_mins(10));
    assert_eq!(play.redeem(&code, VERIFIER).await.0, 400, "too old");

    play.google
        .register_redirects(["https://elsewhere.example/".to_owned()]);
    let query = [
        ("client_id", "client"),
        ("redirect_uri", BACK),
        ("response_type", "code"),
    ];
    let page = format!("{}/o/oauth2/v2/auth", play.base);
    let answer = play.http.get(page).query(&query).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn scopes_can_be_unticked_and_calls_then_say_so() {
    let play = Play::begins().await;
    play.google.consent(Consent::Without(vec![
        "calendar.events".into(),
        "meetings.space.readonly".into(),
    ]));

    let token = play.connect().await;

    let (status, refused) = play.book(&token).await;
    assert_eq!(status, 403);
    assert_eq!(refused["error"]["errors"][0]["reason"], "insufficientPermissions");
    let (status, _) = play.get(&token, "/meet/v2/conferenceRecords").await;
    assert_eq!(status, 200, "the narrow scope is enough to ask");

    play.google.consent(Consent::Deny);
    let back = play.consent(&[("prompt", "consent")]).await;
    assert!(back.query().unwrap().contains("error=access_denied"));
}

#[tokio::test]
async fn a_grant_dies_as_a_whole_and_in_testing_after_a_week() {
    let play = Play::begins().await;
    let code = play.code(&[]).await;
    let (_, tokens) = play.redeem(&code, VERIFIER).await;
    let (access, refresh) = (
        tokens["access_token"].as_str().unwrap(),
        tokens["refresh_token"].as_str().unwrap(),
    );
    play.subscribe(access).await;

    let revoke = play
        .http
        .post(format!("{}/revoke", play.base))
        .form(&[("token", access)]);
    assert_eq!(revoke.send().await.unwrap().status(), 200);

    let (status, dead) = play.refresh(refresh).await;
    assert_eq!((status, dead["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(play.get(access, EVENTS).await.0, 401);
    let told = play.google.waiting();
    assert_eq!(
        told[0].event_type(),
        "google.workspace.events.subscription.v1.suspended"
    );

    play.google.behave([Quirk::Testing]);
    let code = play.code(&[]).await;
    let (_, tokens) = play.redeem(&code, VERIFIER).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    play.hand.advance(SignedDuration::from_hours(7 * 24 - 1));
    assert_eq!(play.refresh(refresh).await.0, 200);
    play.hand.advance(SignedDuration::from_hours(1));
    assert_eq!(play.refresh(refresh).await.0, 400);
}
