//! What Lessonspace is asked and what is read of its answers, however odd they are. Nothing here needs a database.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so and stops"
)]

use domain::ids::{BookingId, ProfileId, RoomId};
use domain::launch::window::JoinWindow;
use domain::people::Role;
use domain::prove::evidence::{Did, Evidence};
use jiff::{SignedDuration, Timestamp};
use platform::config::Env;
use platform::outbound::VendorError;
use providers::classrooms::Visitor;
use providers::lessonspace::{
    Delivery, Headers, Kind, Launched, Lessonspace, LessonspaceConfig, RoomRequest, Signature,
};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use simulators::lessonspace::{Faults, Lessonspace as Vendor, Quirk, Webhook};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;
use uuid::Uuid;

const KEY: &str = "a-key-of-the-vendor";
const BOOKING: BookingId = BookingId(Uuid::from_u128(1));
const TUTOR: ProfileId = ProfileId(Uuid::from_u128(2));
const LEARNER: ProfileId = ProfileId(Uuid::from_u128(3));

/// A vendor, and our way to it.
struct Classroom {
    vendor: Vendor,
    address: Url,
    ours: Lessonspace,
    webhook: Url,
}

/// A room that tutor and learner were given a way into.
struct Room {
    id: RoomId,
    key: SecretString,
    tutor: String,
    learner: String,
}

/// So many minutes after the planned start.
fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-03-02T17:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minutes)
}

impl Classroom {
    async fn new() -> Self {
        let vendor = Vendor::new("http://vendor.story/", KEY);
        let address = simulators::serve(vendor.router()).await.unwrap();
        let settings = BTreeMap::from([
            ("LESSONSPACE_API_URL", format!("http://{address}/v2/")),
            ("LESSONSPACE_ORGANISATION", "20001".to_owned()),
            ("LESSONSPACE_API_KEY", KEY.to_owned()),
            ("LESSONSPACE_REGION", "eu-west-2".to_owned()),
        ]);
        let mut env = Env::from_lookup(move |name| settings.get(name).cloned());
        Self {
            vendor,
            address: format!("http://{address}/").parse().unwrap(),
            ours: Lessonspace::new(LessonspaceConfig::from_env(&mut env).unwrap()),
            webhook: "https://api.story/api/webhooks/lessonspace".parse().unwrap(),
        }
    }

    async fn join(&self, booking: BookingId, profile: ProfileId, role: Role, record: bool) -> Launched {
        let room = RoomRequest {
            booking,
            window: JoinWindow {
                opens_at: at(-15),
                closes_at: at(75),
            },
            record,
            webhook: &self.webhook,
        };
        let visitor = Visitor {
            profile,
            name: "Somebody",
            role,
            account: None,
        };
        self.ours.launch(&room, &visitor).await.unwrap()
    }

    async fn room(&self, booking: BookingId) -> Room {
        let tutor = self.join(booking, TUTOR, Role::Tutor, true).await;
        let learner = self.join(booking, LEARNER, Role::Learner, true).await;
        assert_eq!(tutor.room, learner.room);
        Room {
            id: tutor.room,
            key: tutor.signing_key.unwrap(),
            tutor: tutor.user.unwrap(),
            learner: learner.user.unwrap(),
        }
    }

    async fn report(&self, room: &Room) -> Result<Evidence, VendorError> {
        self.ours.report(BOOKING, &room.id, at(-60), at(120)).await
    }

    /// What is known of a lesson in which both came, and left.
    async fn whole_lesson(&self) -> (Room, Evidence) {
        let room = self.room(BOOKING).await;
        let id = &room.id.0;
        self.vendor.enter(id, &room.tutor, at(0));
        self.vendor.enter(id, &room.learner, at(2));
        self.vendor.leave(id, &room.learner, at(60));
        self.vendor.end(id, at(61));
        let expected = self.report(&room).await.unwrap();
        assert_eq!(
            told(&expected, &room),
            [
                "tutor came 0",
                "learner came 2",
                "learner left 60",
                "tutor left 61"
            ]
        );
        (room, expected)
    }

    async fn launch(&self, body: &Value) -> (StatusCode, Value) {
        let client = reqwest::Client::new();
        let request = client.post(self.address.join("v2/spaces/launch/").unwrap());
        let request = request.header("authorization", format!("Organisation {KEY}"));
        let answer = request.json(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

/// The marks in their order, in words.
fn told(evidence: &Evidence, room: &Room) -> Vec<String> {
    let mut marks: Vec<_> = evidence.marks.iter().collect();
    marks.sort_by_key(|mark| mark.at);
    let name = |who: &str| match who {
        who if who == room.tutor => "tutor".to_owned(),
        who if who == room.learner => "learner".to_owned(),
        who => who.to_owned(),
    };
    let words = marks.iter().map(|mark| {
        let did = match mark.did {
            Did::Came => "came",
            Did::Left => "left",
            Did::Idled => "idled",
            Did::WasThere => "was there",
            Did::Gone => "was gone",
            Did::Pressed => "pressed",
        };
        let minute = mark.at.duration_since(at(0)).as_mins();
        format!("{} {did} {minute}", name(&mark.who))
    });
    words.collect()
}

fn delivery(webhook: &Webhook) -> Delivery {
    let header = |name: &str| {
        let found = webhook.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.clone())
    };
    Delivery {
        booking: BOOKING,
        headers: Headers {
            id: header("x-webhook-id"),
            event: header("x-webhook-event"),
            signature: header("x-webhook-signature"),
            timestamp: header("x-webhook-timestamp"),
        },
        body: webhook.body.clone(),
    }
}

// Launches -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn each_launch_says_the_same_and_learns_who_the_visitor_is_to_the_vendor() {
    let classroom = Classroom::new().await;
    let first = classroom.join(BOOKING, TUTOR, Role::Tutor, true).await;
    let again = classroom.join(BOOKING, TUTOR, Role::Tutor, true).await;
    let guardian = classroom.join(BOOKING, LEARNER, Role::Guardian, true).await;

    assert_eq!((&first.room, &first.user), (&again.room, &again.user));
    assert_ne!(first.user, guardian.user);
    assert_eq!(
        (first.granted.record_av, first.granted.waiting_room),
        (Some(true), Some(false))
    );
    assert_eq!(
        again.signing_key.unwrap().expose_secret(),
        first.signing_key.unwrap().expose_secret()
    );

    let launches = classroom.vendor.launches();
    let said: BTreeSet<String> = launches
        .into_iter()
        .map(|mut launch| {
            launch.as_object_mut().unwrap().remove("user");
            launch.to_string()
        })
        .collect();
    assert_eq!(said.len(), 1, "the launches of a booking differ: {said:?}");
}

#[tokio::test]
async fn a_way_in_is_signed_with_the_rooms_key_and_its_address_alone_lets_nobody_in() {
    let classroom = Classroom::new().await;
    let launched = classroom.join(BOOKING, TUTOR, Role::Tutor, false).await;
    let get = async |url: Url| {
        let mut here = classroom.address.join(url.path()).unwrap();
        here.set_query(url.query());
        reqwest::get(here).await.unwrap().status()
    };
    assert_eq!(get(launched.personal_url.clone()).await, StatusCode::OK);
    assert_eq!(get(launched.room_url()).await, StatusCode::FORBIDDEN);
    let mut forged = launched.personal_url.clone();
    forged.set_query(Some("user=eyJhbGciOiJIUzI1NiJ9.e30.AAAA"));
    assert_eq!(get(forged).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_vendor_refuses_what_it_refuses() {
    let classroom = Classroom::new().await;
    let long = |length: usize| "x".repeat(length);
    for (body, status) in [
        (json!({}), 400),
        (json!({"id": ""}), 400),
        (json!({"id": long(65)}), 400),
        (json!({"id": long(64), "name": long(128)}), 201),
        (json!({"id": long(64)}), 200),
        (json!({"id": "a", "name": long(129)}), 400),
        (
            json!({"id": "a", "timeouts": {"not_before": "2026-03-02T17:00:00"}}),
            400,
        ),
        (
            json!({"id": "a", "timeouts": {"not_before": "2026-03-02T17:00:00Z", "not_after": "2026-03-09T17:00:01Z"}}),
            400,
        ),
        (json!({"id": "a", "summarise": true}), 400),
        (
            json!({"id": "a", "summarise": true, "record_av": true, "transcribe": true}),
            201,
        ),
        (json!({"id": "b", "summarize": true}), 201),
        (json!({"id": "a", "record_av": "yes"}), 400),
        (
            json!({"id": "a", "webhooks": {"session": {"end": "nowhere"}}}),
            400,
        ),
        (json!({"id": "a", "user": {"name": ""}}), 400),
    ] {
        let (given, answer) = classroom.launch(&body).await;
        assert_eq!(given, status, "{body}: {answer}");
    }
}

#[tokio::test]
async fn webhooks_are_replaced_taken_away_or_left_as_each_launch_says() {
    let classroom = Classroom::new().await;
    let end = |url: Value| json!({"id": "a", "webhooks": {"session": {"end": url}}});
    let told = async |classroom: &Classroom, body: Value| {
        let (_, answer) = classroom.launch(&body).await;
        let room = answer["room_id"].as_str().unwrap().to_owned();
        let told = classroom.vendor.hold_session(&room, at(0), at(60));
        told.iter()
            .map(|webhook| webhook.url.path().to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(told(&classroom, end(json!("https://x/1"))).await, ["/1"]);
    assert_eq!(
        told(&classroom, end(json!("https://x/2"))).await,
        ["/2"],
        "the last launch counts"
    );
    assert_eq!(
        told(&classroom, json!({"id": "a"})).await,
        ["/2"],
        "left out, they stay"
    );
    assert_eq!(told(&classroom, end(json!(""))).await, [""; 0]);
    assert_eq!(
        told(&classroom, json!({"id": "a", "webhooks": null})).await,
        [""; 0]
    );

    let unknown = json!({"id": "a", "webhooks": {"session": {"end": "https://x/3"}, "recording": {"finish": "https://x/3"}}});
    assert_eq!(
        told(&classroom, unknown).await,
        [""; 0],
        "an unknown key voids them all"
    );

    classroom.vendor.behave([Quirk::FirstLaunchCounts]);
    let first = json!({"id": "b", "webhooks": {"session": {"end": "https://x/4"}}});
    let second = json!({"id": "b", "webhooks": {"session": {"end": "https://x/5"}}});
    assert_eq!(told(&classroom, first).await, ["/4"]);
    assert_eq!(told(&classroom, second).await, ["/4"]);
}

#[tokio::test]
async fn odd_launches_are_taken_as_they_are() {
    let classroom = Classroom::new().await;
    classroom.vendor.behave([
        Quirk::WaitingRoom,
        Quirk::RecordsAnyway,
        Quirk::ChangesSecrets,
        Quirk::StaleSessionIds,
    ]);
    let first = classroom.join(BOOKING, TUTOR, Role::Tutor, false).await;
    let again = classroom.join(BOOKING, TUTOR, Role::Tutor, false).await;
    assert_eq!(
        (first.granted.record_av, first.granted.waiting_room),
        (Some(true), Some(true))
    );
    assert_ne!(
        again.signing_key.unwrap().expose_secret(),
        first.signing_key.unwrap().expose_secret()
    );
    assert_eq!(again.room, first.room);
}

// Presence -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn who_came_and_left_and_when_is_read_of_a_room_that_ended_and_of_one_that_runs() {
    let classroom = Classroom::new().await;
    let (room, ended) = classroom.whole_lesson().await;
    let span = ended.spans.values().next().unwrap();
    assert_eq!((span.began_at, span.ended_at), (at(0), Some(at(61))));
    assert!(span.is_recorded && !span.is_idled);

    classroom.vendor.enter(&room.id.0, &room.learner, at(63));
    let running = classroom.report(&room).await.unwrap();
    assert_eq!(running.spans.len(), 2);
    let last = running
        .spans
        .values()
        .find(|span| span.began_at == at(63))
        .unwrap();
    assert_eq!((last.ended_at, last.is_recorded), (None, false));
}

#[tokio::test]
async fn a_tutor_who_waits_alone_is_seen_and_not_taken_for_gone_when_the_vendor_gives_up() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    let (vendor, id) = (&classroom.vendor, &room.id.0);
    vendor.enter(id, &room.tutor, at(0));
    vendor.idle(id, &room.tutor, at(15));
    vendor.idle_out(id, at(20));

    let evidence = classroom.report(&room).await.unwrap();
    assert_eq!(told(&evidence, &room), ["tutor came 0", "tutor idled 15"]);
    let span = evidence.spans.values().next().unwrap();
    assert_eq!((span.ended_at, span.is_idled), (Some(at(20)), true));
}

#[tokio::test]
async fn half_a_minute_of_emptiness_begins_another_span_and_a_second_tab_does_not() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    let (vendor, id) = (&classroom.vendor, &room.id.0);
    vendor.enter(id, &room.tutor, at(0));
    vendor.enter(id, &TUTOR.to_string(), at(1));
    vendor.leave(id, &room.tutor, at(2));
    vendor.leave(id, &room.tutor, at(5));
    let webhooks = vendor.enter(id, &room.learner, at(6));
    let kinds: Vec<Kind> = webhooks.iter().map(|webhook| delivery(webhook).kind()).collect();
    assert_eq!(kinds, [Kind::SessionEnd, Kind::SessionStart, Kind::UserJoin]);

    let evidence = classroom.report(&room).await.unwrap();
    let began: Vec<Timestamp> = vendor
        .sessions_of(id)
        .iter()
        .map(|uuid| evidence.spans[uuid].began_at)
        .collect();
    assert_eq!(began, [at(0), at(6)]);
    let words = [
        "tutor came 0",
        "tutor came 1",
        "tutor left 2",
        "tutor left 5",
        "learner came 6",
    ];
    assert_eq!(told(&evidence, &room), words);
}

#[tokio::test]
async fn however_the_list_is_cut_and_ordered_the_same_is_read() {
    let classroom = Classroom::new().await;
    let (room, _) = classroom.whole_lesson().await;
    let stranger = classroom.room(BookingId(Uuid::from_u128(77))).await;
    let (vendor, id) = (&classroom.vendor, &room.id.0);
    vendor.hold_session(id, at(-7 * 24 * 60), at(-7 * 24 * 60 + 60));
    vendor.hold_session(id, at(62), at(63));
    vendor.hold_session(&stranger.id.0, at(0), at(60));
    let expected = classroom.report(&room).await.unwrap();
    assert_eq!(expected.spans.len(), 2, "not last week's");

    let listings: [&[Quirk]; 6] = [
        &[Quirk::Arrays],
        &[Quirk::OldestFirst],
        &[Quirk::TinyPages],
        &[Quirk::TinyPages, Quirk::ForeignNext],
        &[Quirk::IgnoresFilters, Quirk::TinyPages],
        &[Quirk::LogsMore],
    ];
    for quirks in listings {
        vendor.behave(quirks.iter().copied());
        assert_eq!(classroom.report(&room).await, Ok(expected.clone()), "{quirks:?}");
    }
}

#[tokio::test]
async fn a_list_without_end_proves_nothing() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    for minute in 0..11 {
        classroom
            .vendor
            .hold_session(&room.id.0, at(minute), at(minute + 1));
    }
    classroom.vendor.behave([Quirk::TinyPages]);
    assert_eq!(
        classroom.report(&room).await,
        Err(VendorError::Permanent { status: 200 })
    );
}

#[tokio::test]
async fn without_logs_it_is_known_who_was_there_and_not_when() {
    let classroom = Classroom::new().await;
    let (room, whole) = classroom.whole_lesson().await;
    for quirks in [vec![Quirk::HidesLogs], vec![Quirk::NoRoomList]] {
        classroom.vendor.behave(quirks.clone());
        let evidence = classroom.report(&room).await.unwrap();
        assert_eq!(
            told(&evidence, &room),
            ["tutor was there 0", "learner was there 0"],
            "{quirks:?}"
        );
        assert_eq!(evidence.spans, whole.spans, "{quirks:?}");
    }

    classroom
        .vendor
        .behave([Quirk::NoRoomList, Quirk::IgnoresFilters]);
    let stranger = classroom.room(BookingId(Uuid::from_u128(77))).await;
    classroom.vendor.hold_session(&stranger.id.0, at(0), at(60));
    assert_eq!(classroom.report(&room).await.unwrap().spans, whole.spans);

    classroom
        .vendor
        .behave([Quirk::HidesLogs, Quirk::HidesProfiles, Quirk::BareRows]);
    let bare = classroom.report(&room).await.unwrap();
    assert_eq!((bare.spans.len(), bare.marks.len()), (1, 0));
    assert!(bare.spans.values().all(|span| !span.is_recorded));
}

#[tokio::test]
async fn what_the_logs_lost_is_missing_and_nothing_else() {
    let classroom = Classroom::new().await;
    let (room, _) = classroom.whole_lesson().await;
    classroom.vendor.behave([Quirk::LosesLeaves]);
    let came = classroom.report(&room).await.unwrap();
    assert_eq!(told(&came, &room), ["tutor came 0", "learner came 2"]);
    classroom.vendor.behave([Quirk::LosesJoins]);
    let left = classroom.report(&room).await.unwrap();
    assert_eq!(told(&left, &room), ["learner left 60", "tutor left 61"]);
}

#[tokio::test]
async fn an_end_that_the_list_does_not_show_yet_is_not_made_up() {
    let classroom = Classroom::new().await;
    let (room, whole) = classroom.whole_lesson().await;
    classroom.vendor.lag(true);
    let lagging = classroom.report(&room).await.unwrap();
    assert!(lagging.spans.values().all(|span| span.ended_at.is_none()));
    classroom.vendor.lag(false);
    let mut merged = classroom.report(&room).await.unwrap();
    merged.merge(lagging);
    assert_eq!(merged, whole);
}

#[tokio::test]
async fn guests_have_no_number_and_only_where_guests_may_come() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    assert!(classroom.vendor.enter(&room.id.0, "guest:Abc", at(0)).is_empty());

    let (_, open) = classroom.launch(&json!({"id": BOOKING})).await;
    assert_eq!(open["room_id"], room.id.0);
    classroom.vendor.enter(&room.id.0, "guest:Abc", at(0));
    let evidence = classroom.report(&room).await.unwrap();
    assert_eq!(told(&evidence, &room), ["guest:Abc was there 0"]);
}

#[tokio::test]
async fn a_visitor_whose_launch_was_never_answered_is_found_by_the_vendors_number() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    let known = async |user: &str| classroom.ours.known_as(&room.id, user).await;
    assert_eq!(known(&room.tutor).await, Ok(Some(TUTOR)));
    assert_eq!(known("1").await, Ok(None));
    classroom
        .launch(&json!({"id": BOOKING, "user": {"name": "no id of ours"}}))
        .await;
    let odd = classroom.vendor.visitors(&room.id.0).pop().unwrap();
    assert_eq!(known(&odd).await, Ok(None));
    classroom.vendor.behave([Quirk::TinyPages, Quirk::IgnoresFilters]);
    assert_eq!(known(&room.learner).await, Ok(Some(LEARNER)));
}

// Failures -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_vendor_that_fails_is_not_a_room_that_nobody_entered() {
    let classroom = Classroom::new().await;
    let (room, whole) = classroom.whole_lesson().await;
    let transient = |status, retry_after_seconds| VendorError::Transient {
        status: Some(status),
        retry_after_seconds,
    };
    for (faults, expected) in [
        (
            Faults {
                fail_with: 429,
                ..Faults::default()
            },
            transient(429, None),
        ),
        (
            Faults {
                fail_with: 429,
                retry_after_seconds: 7,
                ..Faults::default()
            },
            transient(429, Some(7)),
        ),
        (
            Faults {
                fail_with: 500,
                html: true,
                ..Faults::default()
            },
            transient(500, None),
        ),
        (
            Faults {
                fail_with: 401,
                ..Faults::default()
            },
            VendorError::Barred { status: 401 },
        ),
        (
            Faults {
                fail_with: 200,
                html: true,
                ..Faults::default()
            },
            transient(200, None),
        ),
    ] {
        classroom.vendor.misbehave(Faults {
            fail_next: u32::MAX,
            ..faults
        });
        assert_eq!(classroom.report(&room).await, Err(expected), "{faults:?}");
    }

    let once = Faults {
        fail_next: 1,
        fail_with: 200,
        html: true,
        ..Faults::default()
    };
    classroom.vendor.misbehave(once);
    let second_best = classroom.report(&room).await.unwrap();
    assert_eq!(
        second_best.spans, whole.spans,
        "the organisation's list stands in for one that cannot be read"
    );
    assert_eq!(classroom.report(&room).await, Ok(whole));

    classroom.vendor.behave([Quirk::LimitsRate]);
    let mut asked = Vec::new();
    for _ in 0..40 {
        asked.push(classroom.report(&room).await);
    }
    assert!(asked.contains(&Err(transient(429, None))));
}

// Recordings ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_recording_that_is_not_there_is_not_there_however_the_vendor_says_it() {
    let classroom = Classroom::new().await;
    let (room, _) = classroom.whole_lesson().await;
    let span = classroom.vendor.sessions_of(&room.id.0).pop().unwrap();
    let address = classroom.ours.playback_address(&span).unwrap();
    let recording = async || classroom.ours.recording(address.as_str()).await;
    assert!(recording().await.is_ok());

    for quirk in [
        Quirk::RecordingsPrepare,
        Quirk::RecordingsAreNull,
        Quirk::RecordingsAreEmpty,
        Quirk::RecordingsDeleted,
    ] {
        classroom.vendor.behave([quirk]);
        assert_eq!(recording().await, Err(VendorError::NotFound), "{quirk:?}");
    }

    classroom.vendor.behave([]);
    classroom.vendor.delete_recording(&span);
    assert_eq!(recording().await, Err(VendorError::NotFound));
    let evidence = classroom.report(&room).await.unwrap();
    assert!(!evidence.spans[&span].is_recorded);
}

// Webhooks -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_the_vendor_tells_is_understood_and_its_signature_weighed() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    let (vendor, id) = (&classroom.vendor, &room.id.0);
    for (quirks, worth) in [
        (vec![], Signature::Raw),
        (vec![Quirk::BareNames, Quirk::PastTense], Signature::Raw),
        (vec![Quirk::SignsCompact], Signature::Compact),
        (vec![Quirk::SignsWithAnotherKey], Signature::Wrong),
        (vec![Quirk::SignsHalf], Signature::Wrong),
        (vec![Quirk::SignsNothing], Signature::Absent),
    ] {
        vendor.behave(quirks.clone());
        let mut webhooks = vendor.enter(id, &room.tutor, at(0));
        webhooks.extend(vendor.idle(id, &room.tutor, at(5)));
        webhooks.extend(vendor.leave(id, &room.tutor, at(6)));
        webhooks.extend(vendor.end(id, at(7)));
        let span = vendor.sessions_of(id).pop();

        let deliveries: Vec<Delivery> = webhooks.iter().map(delivery).collect();
        let kinds: Vec<Kind> = deliveries.iter().map(Delivery::kind).collect();
        let expected = [
            Kind::SessionStart,
            Kind::UserJoin,
            Kind::UserIdle,
            Kind::UserLeave,
            Kind::SessionEnd,
        ];
        assert_eq!(kinds, expected, "{quirks:?}");
        for delivery in deliveries {
            assert_eq!(delivery.signature(Some(&room.key)), worth, "{quirks:?}");
            assert_eq!(
                (delivery.room(), delivery.span()),
                (Some(room.id.clone()), span.clone())
            );
            assert!(!delivery.trimmed().body.contains("Somebody"));
        }
    }
}

#[tokio::test]
async fn a_vendor_may_be_silent_lie_or_speak_of_something_else() {
    let classroom = Classroom::new().await;
    let room = classroom.room(BOOKING).await;
    let (vendor, id) = (&classroom.vendor, &room.id.0);
    vendor.behave([Quirk::Silent]);
    assert!(vendor.hold_session(id, at(0), at(1)).is_empty());

    vendor.behave([Quirk::LyingHeaders]);
    let kinds: Vec<Kind> = vendor
        .hold_session(id, at(2), at(3))
        .iter()
        .map(|told| delivery(told).kind())
        .collect();
    assert_eq!(kinds, [Kind::SessionEnd, Kind::SessionStart]);

    vendor.behave([Quirk::JoinsBeforeStarts]);
    let kinds: Vec<Kind> = vendor
        .enter(id, &room.tutor, at(4))
        .iter()
        .map(|told| delivery(told).kind())
        .collect();
    assert_eq!(kinds, [Kind::UserJoin, Kind::SessionStart]);

    let knock = vendor
        .say(id, ("knock", "request"), at(5), &json!({"room": {"id": id}}))
        .unwrap();
    let knock = delivery(&knock);
    assert_eq!(
        (knock.kind(), knock.signature(Some(&room.key))),
        (Kind::Other, Signature::Raw)
    );
}
