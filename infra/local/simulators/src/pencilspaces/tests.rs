//! Over HTTP: one refusal per check, and the order in which things become visible.

use super::*;
use jiff::SignedDuration;
use platform::clock::ClockHand;
use reqwest::{Method, StatusCode};
use serde_json::json;

const KEY: &str = "pencil-key";
const APP: &str = "http://app.pencil.example/";

struct World {
    vendor: PencilSpaces,
    hand: ClockHand,
    address: String,
    http: reqwest::Client,
}

impl World {
    async fn new() -> Self {
        let (clock, hand) = Clock::manual(minute(0));
        let vendor = PencilSpaces::new(APP, KEY, "pencil-secret", clock);
        let address = crate::serve(vendor.router()).await.unwrap();
        let policy = reqwest::redirect::Policy::none();
        Self {
            vendor,
            hand,
            address: format!("http://{address}"),
            http: reqwest::Client::builder().redirect(policy).build().unwrap(),
        }
    }

    /// The status, and the body or null.
    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/public/api/{path}", self.address);
        let request = self.http.request(method, url).bearer_auth(KEY);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, body).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn user(&self, name: &str, role: &str) -> String {
        let body = json!({"name": name, "userRole": role, "externalId": name});
        text(&self.post("users/createAPIUser", body).await.1, "userId")
    }

    /// The vendor's id of whom we call so.
    fn id(&self, external_id: &str) -> String {
        self.vendor.books().user_named(external_id).unwrap().id.clone()
    }

    /// A space of `tutor` and `learner`, without a waiting room.
    async fn lesson(&self) -> String {
        let (tutor, learner) = (
            self.user("tutor", "Teacher").await,
            self.user("learner", "Student").await,
        );
        let (_, space) = self.post("spaces/create", plan(&tutor, &learner)).await;
        text(&space, "spaceId")
    }

    /// The status of a page, and where it sends whoever opens it.
    async fn open(&self, link: &str) -> (StatusCode, Option<String>) {
        let url = link.replace(APP, &format!("{}/", self.address));
        let answer = self.http.get(url).send().await.unwrap();
        let place = answer.headers().get("location");
        (
            answer.status(),
            place.map(|place| place.to_str().unwrap().to_owned()),
        )
    }
}

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(1_772_470_800 + minute * 60).unwrap()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn plan(tutor: &str, learner: &str) -> Value {
    json!({
        "owner": {"userId": tutor}, "hosts": [{"userId": tutor}], "participants": [{"userId": learner}],
        "visibility": "private", "externalId": "booking", "notifyInvitees": false,
        "settings": {"enableWaitingRoom": false},
    })
}

fn types(webhooks: &[Webhook]) -> Vec<String> {
    let bodies = webhooks
        .iter()
        .map(|webhook| serde_json::from_str(&webhook.body).unwrap());
    bodies.map(|body: Value| text(&body, "eventType")).collect()
}

#[tokio::test]
async fn a_space_that_is_asked_for_wrongly_is_not_made() {
    let world = World::new().await;
    world.lesson().await;
    let (tutor, learner) = (world.id("tutor"), world.id("learner"));
    let without = |name: &str| {
        let mut body = plan(&tutor, &learner);
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let with = |name: &str, value: Value| {
        let mut body = without("externalId");
        body[name] = value;
        body
    };

    for (body, status) in [
        (without("notifyInvitees"), 400),
        (plan(&tutor, &learner), 409),
        (with("owner", json!({"userId": "nobody"})), 400),
        (with("hosts", json!([{"userId": "nobody"}])), 400),
        (with("participants", json!([{"userId": tutor}])), 400),
        (with("hostIds", json!([tutor])), 400),
        (with("visibility", json!("secret")), 400),
    ] {
        let asked = body.to_string();
        let (got, said) = world.post("spaces/create", body).await;
        assert_eq!(got, status, "{asked}: {said}");
    }

    assert_eq!(world.vendor.spaces().len(), 1);
    assert_eq!(world.vendor.requests().len(), 3);
}

#[tokio::test]
async fn who_is_inside_is_modified_and_who_is_not_is_added() {
    let world = World::new().await;
    let update = format!("spaces/{}/updateUsers", world.lesson().await);
    let new = world.user("new", "Teacher").await;
    let learner = world.id("learner");
    let change = |how: &str, user: &str, role: &str| {
        let body = json!({how: [{"userId": user, "role": role}], "notifyInvitees": false});
        world.ask(Method::PATCH, &update, body)
    };

    let mut statuses = Vec::new();
    for (how, user, role) in [
        ("addUsers", learner.as_str(), "host"),
        ("modifyUsers", &new, "host"),
        ("addUsers", "nobody", "host"),
        ("modifyUsers", &learner, "student"),
        ("addUsers", &new, "host"),
    ] {
        statuses.push(change(how, user, role).await.0.as_u16());
    }
    let (promoted, whole) = change("modifyUsers", &learner, "host").await;

    assert_eq!(statuses, [400, 400, 400, 400, 200]);
    assert_eq!(promoted, 200);
    let hosts = whole["hosts"].as_array().unwrap();
    assert!(
        [new, learner]
            .iter()
            .all(|user| hosts.contains(&json!({"userId": user})))
    );
    assert!(world.vendor.invited().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;

    for (method, path) in [
        (
            Method::GET,
            "users/nobody/authorize?redirectUrl=http%3A%2F%2Fapp.pencil.example%2F",
        ),
        (Method::POST, "users/login"),
        (Method::GET, "users/createAPIUser"),
        (Method::GET, "spaces/nowhere"),
        (Method::GET, "spaces/recordings/nowhere"),
        (Method::POST, "spaces/nowhere/endOngoingSession"),
        (Method::GET, "analytics/sessions/never"),
    ] {
        let (got, said) = world.ask(method, path, Value::Null).await;
        assert_eq!(got, 404, "{path}: {said}");
        assert!(said["message"].as_str().unwrap().ends_with("not found"));
    }
}

#[tokio::test]
async fn only_the_key_opens_the_api_and_not_after_it_was_revoked() {
    let world = World::new().await;
    let url = format!("{}/public/api/users", world.address);

    let keyless = world.http.get(&url).send().await.unwrap().status();
    let other = world
        .http
        .get(&url)
        .bearer_auth("other")
        .send()
        .await
        .unwrap()
        .status();
    let (good, _) = world.get("users").await;
    world.vendor.behave([Quirk::KeyRevoked]);
    let (revoked, said) = world.get("users").await;

    assert_eq!(
        [keyless.as_u16(), other.as_u16(), good.as_u16(), revoked.as_u16()],
        [401, 401, 200, 401]
    );
    assert_eq!(said["message"], "Unauthorized");
}

#[tokio::test]
async fn a_magic_link_lets_in_once_and_for_a_minute() {
    let world = World::new().await;
    let space = world.lesson().await;
    let user = world.id("learner");
    let ask =
        format!("users/{user}/authorize?redirectUrl=http%3A%2F%2Fapp.pencil.example%2Fspaces%2F{space}");
    let elsewhere = format!("users/{user}/authorize?redirectUrl=http%3A%2F%2Felsewhere.example%2F");

    let first = text(&world.get(&ask).await.1, "url");
    let second = text(&world.get(&ask).await.1, "url");
    let refused = world.get(&elsewhere).await.0;
    let (opened, place) = world.open(&first).await;
    let (again, _) = world.open(&first).await;
    world.hand.advance(SignedDuration::from_secs(61));
    let (late, _) = world.open(&second).await;

    assert_ne!(first, second);
    assert_eq!(refused, 400);
    assert_eq!(
        (opened, place),
        (StatusCode::FOUND, Some(format!("{APP}spaces/{space}")))
    );
    assert_eq!((again, late), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    assert_eq!(world.open(&format!("{APP}spaces/{space}")).await.0, 401);
}

#[tokio::test]
async fn analytics_come_with_the_event_and_a_crash_is_told_by_nobody() {
    let world = World::new().await;
    let space = world.lesson().await;
    let vendor = &world.vendor;

    let mut told = vendor.enter("booking", "tutor", "1", minute(0));
    told.extend(vendor.enter("booking", "learner", "1", minute(5)));
    vendor.speak("booking", "learner", 900);
    vendor.crash("booking", "tutor", "1", minute(50));
    told.extend(vendor.leave("booking", "learner", "1", minute(60)));
    let session = vendor.sessions_of(&space).pop().unwrap();
    let path = format!("analytics/sessions/{session}");
    let (before, _) = world.get(&path).await;
    told.extend(vendor.analyse(&session, minute(75)));
    let (after, shown) = world.get(&path).await;

    assert_eq!(
        types(&told),
        ["joinSpace", "joinSpace", "leaveSpace", "SESSION_ENDED"]
    );
    assert_eq!((before, after), (StatusCode::NOT_FOUND, StatusCode::OK));
    assert_eq!(shown["attendees"][0]["timeLeft"], "2026-03-02T17:50:00.000Z");
    assert_eq!(shown["attendees"][1]["speakingTime"], 900);
    assert_eq!(shown["sessionEndTime"], "2026-03-02T18:00:00.000Z");
}

#[tokio::test]
async fn participants_wait_and_strangers_stay_outside_and_a_new_session_follows_each_end() {
    let world = World::new().await;
    let space = world.lesson().await;
    world.user("stranger", "Student").await;
    let vendor = &world.vendor;

    let stranger = vendor.enter(&space, "stranger", "1", minute(0));
    vendor.behave([Quirk::WaitingRoomStays]);
    let waiting = vendor.enter(&space, "learner", "1", minute(0));
    let admitted = vendor.admit(&space, "learner", "1", minute(1));
    let (_, ended) = world
        .post(&format!("spaces/{space}/endOngoingSession"), json!({}))
        .await;
    let put_out = vendor.take_untold();
    vendor.enter(&space, "tutor", "1", minute(3));

    assert_eq!((stranger.len(), waiting.len(), admitted.len()), (0, 0, 1));
    assert_eq!(types(&put_out), ["leaveSpace"]);
    assert_eq!(
        vendor.sessions_of(&space),
        [text(&ended, "endedSessionId"), text(&ended, "newSessionId")]
    );
}

#[tokio::test]
async fn a_lost_answer_is_a_request_that_was_carried_out() {
    let world = World::new().await;
    world.vendor.misbehave(Faults {
        lose_next: 1,
        vanish_next: 1,
        ..Faults::default()
    });
    let url = format!("{}/public/api/users/createAPIUser", world.address);

    for _ in 0..2 {
        let body = json!({"name": "Ada", "userRole": "Student"});
        let sent = world.http.post(&url).bearer_auth(KEY).json(&body).send().await;
        let read = match sent {
            Ok(answer) => answer.bytes().await,
            Err(lost) => Err(lost),
        };
        assert!(read.is_err());
    }

    assert_eq!(world.vendor.users().len(), 2);
    assert_eq!(world.vendor.requests().len(), 1);
}

#[tokio::test]
async fn control_plays_the_same_and_says_what_came_of_it() {
    let world = World::new().await;
    let space = world.lesson().await;
    let act = |body: Value| {
        let url = format!("{}/_control/act", world.address);
        world.http.post(url).json(&body).send()
    };

    let enter =
        json!({"what": "enter", "space_id": "booking", "user_id": "tutor", "at": minute(0), "waits": true});
    let room =
        json!({"what": "enter_room", "space_id": space, "user_id": "tutor", "room_id": "b", "at": minute(1)});
    let entered = act(enter).await.unwrap().status();
    let visited: Value = act(room).await.unwrap().json().await.unwrap();

    assert_eq!(entered, 200);
    assert_eq!(visited, json!({"statuses": [0]}));
    assert_eq!(types(&world.vendor.take_untold()), ["joinSpace"]);
}

#[tokio::test]
async fn a_webhook_that_is_not_taken_is_tried_three_times_or_once() {
    let world = World::new().await;
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let refuse = async move |headers: axum::http::HeaderMap| {
        seen.lock().unwrap().push(headers["authorization"].clone());
        StatusCode::BAD_GATEWAY
    };
    let door = crate::serve(Router::new().route("/", post(refuse)))
        .await
        .unwrap();

    let nowhere = world.vendor.say(&json!({"spaceId": "unknown"}));
    world
        .vendor
        .report_to(&format!("http://{door}/").parse().unwrap());
    let webhooks = world.vendor.say(&json!({"spaceId": "unknown"}));
    let unsent = world.vendor.deliver(&nowhere[0]).await;
    let refused = world.vendor.deliver(&webhooks[0]).await;
    let tries_by_default = tries.lock().unwrap().len();
    world.vendor.behave([Quirk::DeliversOnce]);
    world.vendor.deliver(&webhooks[0]).await;

    assert_eq!((unsent, refused), (0, 502));
    assert_eq!(tries_by_default, 3);
    assert_eq!(*tries.lock().unwrap(), ["Bearer pencil-secret"; 4]);
}
