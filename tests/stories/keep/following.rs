//! The booking is followed: what somebody changes in the platform's table, by whatever SQL, reaches our copy and its
//! session as far as that can harm nobody; the rest waits for an operator.

use crate::harness::{Function, World, owner_url, request};
use futures::future::join;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;
use stories::cast::{Lesson, owner};
use tokio::time::sleep;
use tokio_postgres::Client;
use uuid::Uuid;

/// What our copy says, in the order of `said`.
const COPY: &str = "
    SELECT jsonb_build_array(status, client_id, tutor_id, student_id, price_minor, price_currency, session_duration,
                             round(extract(epoch FROM session_start_time - now()) / 60)::int, agreed_at IS NOT NULL)
    FROM bookings WHERE id = $1";

struct Beside {
    world: World,
    create: Function,
}

impl Beside {
    async fn open() -> Self {
        let world = World::new().await;
        let create = world.function("create-session").await;
        Self { world, create }
    }

    async fn name(&self) -> String {
        let sql = "SELECT current_database()::text";
        self.world.owner.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn catch_up(&self) -> i64 {
        let sql = "SELECT failing FROM catch_up(1000, clock_timestamp())";
        self.world.owner.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn write(&self, lesson: &Lesson, set: &str) {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        assert_eq!(
            self.world.owner.execute(&sql, &[&lesson.id]).await.unwrap(),
            1,
            "{set}"
        );
    }

    async fn copy(&self, lesson: &Lesson) -> Value {
        self.world
            .owner
            .query_one(COPY, &[&lesson.id])
            .await
            .unwrap()
            .get(0)
    }

    /// The open changes of a booking, as `field: theirs`.
    async fn listed(&self, lesson: &Lesson) -> Vec<String> {
        let sql = "SELECT field || ': ' || CASE field WHEN 'start' THEN 'a time' ELSE theirs::text END
                   FROM booking_changes WHERE booking_id = $1 AND state = 'open' ORDER BY field";
        let rows = self.world.owner.query(sql, &[&lesson.id]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn decide(&self, verb: &str, lesson: &Lesson, field: &str) -> Result<(), String> {
        let sql = format!(
            "SELECT {verb}_change(id, 'olga', 'the tutor wrote to us') FROM booking_changes
             WHERE booking_id = $1 AND field = $2 AND state = 'open'"
        );
        match self.world.owner.query(&sql, &[&lesson.id, &field]).await {
            Ok(rows) if rows.is_empty() => Err("nothing to decide".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error
                .as_db_error()
                .map_or_else(String::new, |error| error.message().into())),
        }
    }

    async fn session(&self, lesson: &Lesson) -> Uuid {
        let made = self
            .world
            .call(
                &self.create,
                "create-session/create.json",
                self.world.cast.tutor,
                lesson,
            )
            .await;
        assert!([200, 201].contains(&made.status), "{}", made.body);
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// The session's planned start and end in minutes from now, its length, wait and minimum, and whether it is due.
    async fn planned(&self, lesson: &Lesson) -> Value {
        let sql = "SELECT jsonb_build_array(round(extract(epoch FROM scheduled_start_at - now()) / 60)::int,
                              round(extract(epoch FROM scheduled_end_at - now()) / 60)::int, duration_minutes,
                              no_show_wait_minutes, min_payable_minutes,
                              round(extract(epoch FROM due_at - now()) / 60)::int, cancelled_at IS NOT NULL)
                   FROM sessions WHERE booking_id = $1";
        self.world
            .owner
            .query_one(sql, &[&lesson.id])
            .await
            .unwrap()
            .get(0)
    }

    /// The outcome, its charge and its rule, once what is due so many minutes from now is settled; null without one.
    async fn settled(&self, session: Uuid, after_minutes: i64) -> Value {
        self.world.travel(after_minutes);
        self.world
            .function("process-charges")
            .await
            .invoke(json!({}))
            .await
            .unwrap();
        self.world.travel(0);
        let explain = self.world.function("explain-charge").await;
        let token = self.world.identity.token(self.world.cast.parent);
        let reply = explain
            .call(request("explain-charge/charge.json", &token, session))
            .await;
        if reply.status == 404 {
            return Value::Null;
        }
        let charge = reply.body;
        json!([
            charge["status"],
            charge["charge"]["amount"],
            charge["explanation"]["rule"]
        ])
    }
}

#[tokio::test]
async fn until_it_is_agreed_everything_is_taken_over() {
    let beside = Beside::open().await;
    let cast = beside.world.cast;
    let lesson = Lesson {
        status: "pending",
        ..beside.world.lesson_in(60).await
    };
    let lesson = Lesson {
        id: Uuid::new_v4(),
        ..lesson
    }
    .booked_by(&cast, &beside.world.owner)
    .await;

    beside
        .write(
            &lesson,
            &format!(
                "client_id = '{}', tutor_id = '{}', student_id = NULL",
                cast.other_parent, cast.stranger
            ),
        )
        .await;
    beside
        .write(&lesson, "price_minor = 5, price_currency = 'XAF'")
        .await;
    beside
        .write(
            &lesson,
            "session_start_time = session_start_time - interval '5 hours', session_duration = 30",
        )
        .await;
    assert_eq!(
        beside.copy(&lesson).await,
        json!([
            "pending",
            cast.other_parent,
            cast.stranger,
            null,
            5,
            "XAF",
            30,
            -240,
            false
        ])
    );

    // The learner who books for themselves is no separate student; a currency that is none is no price.
    beside
        .write(
            &lesson,
            "student_id = client_id, price_currency = 'xaf', session_start_time = now() + interval '2 hours'",
        )
        .await;
    assert_eq!(
        beside.copy(&lesson).await,
        json!([
            "pending",
            cast.other_parent,
            cast.stranger,
            null,
            null,
            null,
            30,
            120,
            false
        ])
    );
    assert_eq!(beside.listed(&lesson).await, Vec::<String>::new());

    beside
        .write(&lesson, "status = 'confirmed', price_currency = 'XAF'")
        .await;
    assert_eq!(
        beside.copy(&lesson).await[8],
        true,
        "confirmed before its start: agreed"
    );
}

#[tokio::test]
async fn once_agreed_parties_price_length_and_times_past_are_listed_and_not_followed() {
    let beside = Beside::open().await;
    let cast = beside.world.cast;
    let lesson = beside.world.lesson_in(60).await;
    let agreed = json!([
        "confirmed",
        cast.parent,
        cast.tutor,
        cast.student,
        10_000,
        "TTD",
        60,
        60,
        true
    ]);
    assert_eq!(beside.copy(&lesson).await, agreed);

    for (change, back, listed) in [
        (
            format!("client_id = '{}'", cast.stranger),
            format!("client_id = '{}'", cast.parent),
            "client_id",
        ),
        (
            format!("tutor_id = '{}'", cast.stranger),
            format!("tutor_id = '{}'", cast.tutor),
            "tutor_id",
        ),
        (
            "student_id = NULL".into(),
            format!("student_id = '{}'", cast.student),
            "student_id",
        ),
        ("price_minor = 1".into(), "price_minor = 10000".into(), "price"),
        (
            "price_currency = 'USD'".into(),
            "price_currency = 'TTD'".into(),
            "price",
        ),
        ("price_minor = NULL".into(), "price_minor = 10000".into(), "price"),
        (
            "session_start_time = session_start_time - interval '90 minutes'".into(),
            "session_start_time = session_start_time + interval '90 minutes'".into(),
            "start",
        ),
        (
            "session_start_time = NULL".into(),
            format!("session_start_time = '{}'", lesson.starts_at),
            "start",
        ),
        (
            "session_duration = 1".into(),
            "session_duration = 60".into(),
            "minutes",
        ),
        (
            "session_start_time = 'infinity'".into(),
            format!("session_start_time = '{}'", lesson.starts_at),
            "start",
        ),
        (
            "session_start_time = '20000-01-01'".into(),
            format!("session_start_time = '{}'", lesson.starts_at),
            "start",
        ),
        (
            "session_duration = 0".into(),
            "session_duration = 60".into(),
            "minutes",
        ),
        (
            "status = 'Disputed'".into(),
            "status = 'confirmed'".into(),
            "status",
        ),
    ] {
        beside.write(&lesson, &change).await;
        assert_eq!(beside.copy(&lesson).await, agreed, "{change}");
        let fields: Vec<String> = beside.listed(&lesson).await;
        assert!(
            fields.len() == 1 && fields[0].starts_with(listed),
            "{change}: {fields:?}"
        );

        // What the platform takes back needs nobody's decision.
        beside.write(&lesson, &back).await;
        assert_eq!(beside.listed(&lesson).await, Vec::<String>::new(), "{back}");
    }
}

#[tokio::test]
async fn once_agreed_a_lesson_may_be_moved_ahead_and_called_off_by_any_sql() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;

    beside
        .write(
            &lesson,
            "session_start_time = session_start_time + interval '1 day'",
        )
        .await;
    assert_eq!(beside.copy(&lesson).await[7], json!(60 + 24 * 60), "moved");
    let told = "SELECT count(*) FROM notifications WHERE kind = 'lesson_moved' AND booking_id = $1";
    let row = beside.world.owner.query_one(told, &[&lesson.id]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3, "client, tutor and student are told");
    beside.write(&lesson, "status = 'completed'").await;
    assert_eq!(
        beside.copy(&lesson).await[0],
        "confirmed",
        "what was held is what was proven"
    );
    beside.write(&lesson, "status = 'cancelled'").await;
    assert_eq!(beside.copy(&lesson).await[0], "cancelled");
    beside.write(&lesson, "status = 'confirmed'").await;
    assert_eq!(
        beside.copy(&lesson).await[0],
        "cancelled",
        "who called it off is not charged because somebody takes that back"
    );
    assert_eq!(beside.listed(&lesson).await, [r#"status: "confirmed""#]);
}

#[tokio::test]
async fn a_session_goes_with_its_booking() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    assert_eq!(
        beside.planned(&lesson).await,
        json!([60, 120, 60, 20, 40, 120, false])
    );

    beside
        .write(
            &lesson,
            "session_start_time = session_start_time + interval '2 days', session_duration = 100",
        )
        .await;
    let moved = 60 + 2 * 24 * 60;
    assert_eq!(
        beside.planned(&lesson).await,
        json!([moved, moved + 60, 60, 20, 40, moved + 60, false]),
        "moved; its length is what the price was for"
    );

    beside.decide("accept", &lesson, "minutes").await.unwrap();
    assert_eq!(
        beside.planned(&lesson).await,
        json!([moved, moved + 100, 100, 33, 66, moved + 100, false]),
        "the shares that were pinned, of another length"
    );
    assert_eq!(
        beside.settled(session, 180).await,
        Value::Null,
        "charged at the time that it no longer has"
    );

    // Asked for again, it counts as called off; confirmed again, it is held.
    beside.write(&lesson, "status = 'pending'").await;
    assert_eq!(beside.planned(&lesson).await[6], true);
    beside.write(&lesson, "status = 'confirmed'").await;
    assert_eq!(beside.planned(&lesson).await[6], false);

    beside.write(&lesson, "status = 'cancelled'").await;
    assert_eq!(
        beside.settled(session, 1).await,
        json!(["CANCELLED", 0, "cancelled_before_start"])
    );
    let told = "SELECT array_agg(kind ORDER BY id) FROM session_events WHERE session_id = $1 AND data ->> 'by' = 'platform'";
    let kinds: Vec<String> = beside
        .world
        .owner
        .query_one(told, &[&session])
        .await
        .unwrap()
        .get(0);
    assert_eq!(kinds, ["booking_changed"; 5], "who changed it is written down");
}

#[tokio::test]
async fn deleted_is_called_off_and_a_lesson_that_has_begun_stays_as_it_is() {
    let beside = Beside::open().await;
    let (gone, begun) = (beside.world.lesson_in(60).await, beside.world.lesson_in(-4).await);
    let (called_off, held) = (beside.session(&gone).await, beside.session(&begun).await);
    let delete = "DELETE FROM public.bookings WHERE id = $1";

    beside.world.owner.execute(delete, &[&gone.id]).await.unwrap();
    assert_eq!(
        beside.settled(called_off, 1).await,
        json!(["CANCELLED", 0, "cancelled_before_start"])
    );

    beside
        .write(
            &begun,
            "session_start_time = session_start_time + interval '1 day'",
        )
        .await;
    beside.write(&begun, "status = 'cancelled'").await;
    assert_eq!(
        beside.listed(&begun).await,
        ["start: a time", r#"status: "cancelled""#]
    );
    beside.world.owner.execute(delete, &[&begun.id]).await.unwrap();
    assert_eq!(
        beside.listed(&begun).await,
        ["start: a time", r#"status: "cancelled""#]
    );
    assert_eq!(
        beside.settled(held, 70).await,
        json!(["COMPLETED_ASSUMED", 10_000, "nothing_contrary"])
    );

    let refused = beside.decide("accept", &begun, "status").await;
    assert!(
        refused.as_ref().is_err_and(|why| why.contains("settled")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_an_operator_accepts_counts_once_and_what_they_reject_does_not() {
    let beside = Beside::open().await;
    let cast = beside.world.cast;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    beside
        .write(
            &lesson,
            &format!(
                "price_minor = 4000, tutor_id = '{}', student_id = NULL",
                cast.stranger
            ),
        )
        .await;

    beside.decide("accept", &lesson, "price").await.unwrap();
    beside.decide("accept", &lesson, "tutor_id").await.unwrap();
    beside.decide("reject", &lesson, "student_id").await.unwrap();

    let copy = beside.copy(&lesson).await;
    assert_eq!(
        copy,
        json!([
            "confirmed",
            cast.parent,
            cast.stranger,
            cast.student,
            4_000,
            "TTD",
            60,
            60,
            true
        ])
    );
    assert!(
        beside.decide("accept", &lesson, "price").await.is_err(),
        "it is decided"
    );
    beside.write(&lesson, "recording_consent = false").await;
    assert_eq!(
        beside.listed(&lesson).await,
        Vec::<String>::new(),
        "what was rejected is not listed again by itself"
    );
    let audit = "SELECT count(*) FROM booking_changes WHERE decided_by = 'olga' AND reason <> '' AND decided_at IS NOT NULL";
    assert_eq!(
        beside
            .world
            .owner
            .query_one(audit, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        3
    );
    let paid = "SELECT tutor_id, price_minor FROM sessions WHERE id = $1";
    let row = beside.world.owner.query_one(paid, &[&session]).await.unwrap();
    assert_eq!(
        (row.get::<_, Uuid>(0), row.get::<_, i64>(1)),
        (cast.stranger, 4_000)
    );
    assert_eq!(
        beside.settled(session, 121).await,
        json!(["COMPLETED_ASSUMED", 4_000, "nothing_contrary"])
    );
}

#[tokio::test]
async fn an_operator_may_let_a_cancellation_after_the_start_count() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(-4).await;
    let session = beside.session(&lesson).await;
    beside.write(&lesson, "status = 'cancelled'").await;

    beside.decide("accept", &lesson, "status").await.unwrap();

    assert_eq!(
        beside.settled(session, 1).await,
        json!(["CANCELLED", 0, "waived"])
    );
}

#[tokio::test]
async fn a_lesson_that_was_called_off_and_is_planned_anew_counts_by_its_new_start_once_that_is_accepted() {
    let beside = Beside::open().await;
    let (world, tutor) = (&beside.world, beside.world.cast.tutor);
    let launch = world.function("launch").await;
    let lesson = world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    beside.write(&lesson, "status = 'cancelled'").await;
    assert_eq!(beside.settled(session, 1).await[0], "CANCELLED");

    let anew = "status = 'confirmed', session_start_time = session_start_time + interval '1 day'";
    beside.write(&lesson, anew).await;
    assert_eq!(beside.listed(&lesson).await, [r#"status: "confirmed""#]);
    let moved = 60 + 24 * 60;
    world.travel(moved);
    let shut = world.call(&launch, "launch/join.json", tutor, &lesson).await;
    assert_eq!(shut.verdict(), "409 booking-cancelled", "nobody accepted it yet");

    beside.decide("accept", &lesson, "status").await.unwrap();

    assert_eq!(
        beside.planned(&lesson).await,
        json!([moved, moved + 60, 60, 20, 40, moved + 60, false]),
        "the session goes with it"
    );
    let joined = world.call(&launch, "launch/join.json", tutor, &lesson).await;
    assert_eq!(joined.verdict(), "200", "it cannot be held");
    let ends_at = lesson.ends_at() + jiff::SignedDuration::from_hours(24);
    world.room_ended(&lesson, ends_at).await;
    assert_eq!(
        beside.settled(session, 121).await[0],
        "CANCELLED",
        "charged at the time that it no longer has"
    );
    assert_eq!(
        beside.settled(session, moved + 61).await,
        json!(["COMPLETED_ASSUMED", 10_000, "reached_end"])
    );
}

#[tokio::test]
async fn a_lesson_that_is_planned_anew_after_its_old_hour_is_accepted_with_its_new_start_at_once() {
    let beside = Beside::open().await;
    let follow = beside.world.function("follow-bookings").await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    beside.write(&lesson, "status = 'cancelled'").await;
    assert_eq!(beside.settled(session, 1).await[0], "CANCELLED");

    // It is heard of when the old hour is over.
    let silent = "SET session_replication_role = replica;
        UPDATE public.bookings SET status = 'confirmed', session_start_time = session_start_time + interval '1 day';
        SET session_replication_role = origin";
    beside.world.owner.batch_execute(silent).await.unwrap();
    beside.world.travel(121);
    follow.invoke(json!({})).await.unwrap();
    beside.world.travel(0);
    assert_eq!(
        beside.listed(&lesson).await,
        ["start: a time", r#"status: "confirmed""#]
    );

    let alone = beside.decide("accept", &lesson, "start").await;
    assert!(
        alone.as_ref().is_err_and(|why| why.contains("settled")),
        "a time for a lesson that is called off: {alone:?}"
    );
    beside.decide("accept", &lesson, "status").await.unwrap();

    assert_eq!(
        beside.listed(&lesson).await,
        Vec::<String>::new(),
        "its start needs no second decision"
    );
    let moved = 60 + 24 * 60;
    let copy = beside.copy(&lesson).await;
    assert_eq!((&copy[0], &copy[7]), (&json!("confirmed"), &json!(moved)));
    assert_eq!(
        beside.planned(&lesson).await,
        json!([moved, moved + 60, 60, 20, 40, moved + 60, false])
    );
    assert_eq!(
        beside.settled(session, moved + 61).await,
        json!(["COMPLETED_ASSUMED", 10_000, "nothing_contrary"])
    );
}

#[tokio::test]
async fn who_was_marked_absent_from_the_old_hour_is_not_absent_from_the_new_one() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let mark = world.function("mark-no-show").await;
    let is_marked = |session: Uuid| {
        let token = world.identity.token(world.cast.tutor);
        mark.call(request("mark-no-show/mark.json", &token, session))
    };
    let (by_minutes, by_a_day) = (world.lesson_in(-30).await, world.lesson_in(-30).await);
    let (came, stayed_away) = (beside.session(&by_minutes).await, beside.session(&by_a_day).await);
    for session in [came, stayed_away] {
        let marked = is_marked(session).await;
        assert_eq!(marked.status, 200, "{}", marked.body);
    }

    for (lesson, later) in [(&by_minutes, "5 minutes"), (&by_a_day, "1 day")] {
        let moved = format!("session_start_time = session_start_time + interval '{later}'");
        beside.write(lesson, &moved).await;
        beside.decide("accept", lesson, "start").await.unwrap();
    }

    assert_eq!(
        beside.settled(came, 36).await,
        json!(["COMPLETED_ASSUMED", 10_000, "nothing_contrary"]),
        "by five minutes: the mark would fit the new hour, too"
    );

    // Whoever stays away from the new hour is marked in it.
    world.travel(24 * 60);
    let marked = is_marked(stayed_away).await;
    assert_eq!(marked.status, 200, "{}", marked.body);
    assert_eq!(
        beside.settled(stayed_away, 24 * 60 + 31).await,
        json!(["NO_SHOW_STUDENT", 5_000, "student_no_show"]),
        "by a day: the new mark counts"
    );
}

#[tokio::test]
async fn nobody_is_told_that_a_lesson_was_moved_whose_session_is_called_off() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let (by_them, with_us) = (world.lesson_in(60).await, world.lesson_in(60).await);
    let (theirs, ours) = (beside.session(&by_them).await, beside.session(&with_us).await);
    let a_day_later = "session_start_time = session_start_time + interval '1 day'";
    let told = |lesson: &Lesson| {
        let booking = lesson.id;
        let moves = format!("notifications WHERE kind = 'lesson_moved' AND booking_id = '{booking}'");
        async move { world.count(&moves).await }
    };
    for lesson in [&by_them, &with_us] {
        beside.write(lesson, a_day_later).await;
        assert_eq!(told(lesson).await, 3, "client, tutor and student are told");
    }

    beside.write(&by_them, "status = 'cancelled'").await;
    let cancel = world.function("cancel-session").await;
    let token = world.identity.token(world.cast.parent);
    let called_off = cancel
        .call(request("cancel-session/cancel.json", &token, ours))
        .await;
    assert_eq!(called_off.status, 200, "{}", called_off.body);
    for (lesson, session) in [(&by_them, theirs), (&with_us, ours)] {
        assert_eq!(beside.settled(session, 1).await[0], "CANCELLED");

        beside.write(lesson, a_day_later).await;

        assert_eq!(
            beside.copy(lesson).await[7],
            60 + 2 * 24 * 60,
            "the copy follows all the same"
        );
        assert_eq!(told(lesson).await, 3, "told to come to what is not held");
    }
}

#[tokio::test]
async fn consent_to_recording_is_withdrawn_at_any_time_and_given_only_before_the_agreement() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(-4).await;
    let consent = || async {
        let sql = "SELECT recording_consent FROM bookings WHERE id = $1";
        beside
            .world
            .owner
            .query_one(sql, &[&lesson.id])
            .await
            .unwrap()
            .get::<_, bool>(0)
    };
    assert!(consent().await);

    beside.write(&lesson, "recording_consent = false").await;
    assert!(!consent().await);

    beside.write(&lesson, "recording_consent = true").await;
    assert!(!consent().await, "a tutor gives a child's consent");
    assert_eq!(beside.listed(&lesson).await, ["recording_consent: true"]);
}

#[tokio::test]
async fn parties_and_price_stand_from_the_first_payment_on() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        ..world.lesson_in(60).await
    };
    let lesson = pending.booked_by(&world.cast, &world.owner).await;
    let start = world.function("start-payment").await;
    let begun = world
        .call(&start, "start-payment/card.json", world.cast.parent, &lesson)
        .await;
    assert_eq!(begun.status, 201, "{}", begun.body);

    beside
        .write(
            &lesson,
            &format!(
                "client_id = '{}', price_minor = 1, status = 'confirmed'",
                world.cast.stranger
            ),
        )
        .await;

    let copy = beside.copy(&lesson).await;
    assert_eq!(
        (&copy[0], &copy[1], &copy[4]),
        (&json!("confirmed"), &json!(world.cast.parent), &json!(10_000))
    );
    assert_eq!(beside.listed(&lesson).await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_followed_is_listed_counted_and_healed_and_its_money_waits() {
    let beside = Beside::open().await;
    let follow = beside.world.function("follow-bookings").await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    let owner = &beside.world.owner;
    let sql = "SELECT sqlstate, direction FROM follow_failures WHERE booking_id = $1";

    owner
        .batch_execute("ALTER TABLE bookings ADD CONSTRAINT never CHECK (status <> 'cancelled')")
        .await
        .unwrap();
    beside
        .write(&lesson, "status = 'cancelled', created_at = now()")
        .await;
    let row = owner.query_one(sql, &[&lesson.id]).await.unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1)),
        ("23514", "follow")
    );
    follow.invoke(json!({})).await.unwrap();
    assert_eq!(counts(&follow, "failing"), 1);
    assert_eq!(beside.settled(session, 121).await, Value::Null, "its money waits");

    owner
        .batch_execute("ALTER TABLE bookings DROP CONSTRAINT never")
        .await
        .unwrap();
    follow.invoke(json!({})).await.unwrap();
    assert_eq!((counts(&follow, "failing"), counts(&follow, "healed")), (0, 1));
    assert_eq!(beside.settled(session, 121).await[0], "CANCELLED");
}

/// What the function's last summary line counts.
fn counts(function: &Function, name: &str) -> u64 {
    let lines = function.log();
    let summary = lines
        .iter()
        .rev()
        .find(|line| line.contains("\"invocation\""))
        .expect("a summary");
    let summary: Value = serde_json::from_str(summary).unwrap();
    summary[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {summary}"))
}

#[tokio::test]
async fn what_no_trigger_told_is_found_on_the_walk() {
    let beside = Beside::open().await;
    let follow = beside.world.function("follow-bookings").await;
    let (moved, deleted) = (beside.world.lesson_in(60).await, beside.world.lesson_in(60).await);
    let silent = "SET session_replication_role = replica;
                  UPDATE public.bookings SET session_start_time = session_start_time + interval '1 day';";
    beside.world.owner.batch_execute(silent).await.unwrap();
    let delete = "DELETE FROM public.bookings WHERE id = $1";
    beside.world.owner.execute(delete, &[&deleted.id]).await.unwrap();
    beside
        .world
        .owner
        .batch_execute("SET session_replication_role = origin")
        .await
        .unwrap();
    assert_eq!(beside.copy(&moved).await[7], 60);

    follow.invoke(json!({})).await.unwrap();

    assert_eq!(beside.copy(&moved).await[7], 60 + 24 * 60);
    assert_eq!(beside.copy(&deleted).await[0], "cancelled");
}

#[tokio::test]
async fn who_follows_late_does_not_bring_back_what_was_true_before() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let database = beside
        .world
        .owner
        .query_one("SELECT current_database()::text", &[])
        .await
        .unwrap();
    let other = owner(&owner_url(database.get(0))).await;
    let move_by = |hours: i32| {
        format!(
            "UPDATE public.bookings SET session_start_time = session_start_time + interval '{hours} hours' WHERE id = '{}'",
            lesson.id
        )
    };

    // A platform's transaction that takes long: nobody else can follow meanwhile, and nobody waits for it for long.
    other
        .batch_execute(&format!("BEGIN; {}", move_by(24)))
        .await
        .unwrap();
    let catch_up = "SELECT failing FROM catch_up(1000, clock_timestamp())";
    beside.world.owner.query_one(catch_up, &[]).await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(beside.copy(&lesson).await[7], 60 + 24 * 60);

    // One that is taken back leaves nothing.
    other
        .batch_execute(&format!("BEGIN; {}; ROLLBACK", move_by(48)))
        .await
        .unwrap();
    beside.world.owner.query_one(catch_up, &[]).await.unwrap();
    assert_eq!(beside.copy(&lesson).await[7], 60 + 24 * 60);
}

#[tokio::test]
async fn who_waited_for_the_copy_looks_again_before_they_write() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let name = beside.name().await;
    let (writer, follower) = (owner(&owner_url(&name)).await, owner(&owner_url(&name)).await);
    let move_by = format!(
        "UPDATE public.bookings SET session_start_time = session_start_time + interval '1 day' WHERE id = '{}'",
        lesson.id
    );

    // Something is to be followed, which somebody is about to; and while they wait it is out of date.
    let silent =
        format!("SET session_replication_role = replica; {move_by}; SET session_replication_role = origin");
    writer.batch_execute(&silent).await.unwrap();
    writer.batch_execute(&format!("BEGIN; {move_by}")).await.unwrap();
    let booking = lesson.id;
    let late = tokio::spawn(async move {
        let follow = "SELECT follow_booking($1, clock_timestamp(), true)";
        follower.execute(follow, &[&booking]).await.unwrap();
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !late.is_finished()
        && beside
            .world
            .owner
            .query_one(waits, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
    {
        tokio::task::yield_now().await;
    }
    writer.batch_execute("COMMIT").await.unwrap();
    late.await.unwrap();

    assert_eq!(beside.copy(&lesson).await[7], 60 + 2 * 24 * 60);
}

/// A tutor who may write every column of his bookings tries for long; what he may not decide never moves.
#[tokio::test]
async fn whatever_is_written_into_an_agreed_booking_its_parties_and_price_stay() {
    let beside = Beside::open().await;
    let cast = beside.world.cast;
    let lesson = beside.world.lesson_in(600).await;
    beside.session(&lesson).await;
    let people = [
        cast.parent,
        cast.tutor,
        cast.student,
        cast.stranger,
        cast.other_parent,
    ];
    let words = ["pending", "confirmed", "completed", "cancelled", "Declined", ""];
    let mut random = StdRng::seed_from_u64(20_261_121);

    for _ in 0..400 {
        let who = people.choose(&mut random).unwrap();
        let set = match random.random_range(0..7) {
            0 => format!("client_id = '{who}'"),
            1 => format!("tutor_id = '{who}'"),
            2 => format!("student_id = '{who}'"),
            3 => format!("price_minor = {}", random.random_range(-5..1_000_000)),
            4 => format!(
                "session_start_time = now() + interval '{} hours'",
                random.random_range(-50..50)
            ),
            5 => format!("session_duration = {}", random.random_range(-10..3_000)),
            _ => format!("status = '{}'", words.choose(&mut random).unwrap()),
        };
        if random.random_range(0..20) == 0 {
            again(&beside.world.owner, &lesson).await;
        }
        beside.write(&lesson, &set).await;

        let copy = beside.copy(&lesson).await;
        let pinned = json!([copy[1], copy[2], copy[3], copy[4], copy[5]]);
        assert_eq!(
            pinned,
            json!([cast.parent, cast.tutor, cast.student, 10_000, "TTD"]),
            "after {set}"
        );
        assert!(
            copy[7].as_i64().unwrap() >= 0,
            "a time in the past after {set}: {copy}"
        );
        let (session, start, length) = (beside.planned(&lesson).await, &copy[7], &copy[6]);
        assert_eq!(
            (&session[0], &session[2]),
            (start, length),
            "the session goes with it, after {set}"
        );
    }
    assert_eq!(beside.world.count("follow_failures").await, 0);
}

/// Deletes the row and makes it again with the same id.
async fn again(database: &Client, lesson: &Lesson) {
    let sql = "WITH gone AS (DELETE FROM public.bookings WHERE id = $1 RETURNING *) SELECT FROM gone";
    let keep = "CREATE TEMP TABLE IF NOT EXISTS kept AS SELECT * FROM public.bookings WHERE false";
    database.batch_execute(keep).await.unwrap();
    database
        .execute(
            "INSERT INTO kept SELECT * FROM public.bookings WHERE id = $1",
            &[&lesson.id],
        )
        .await
        .unwrap();
    database.execute(sql, &[&lesson.id]).await.unwrap();
    database
        .batch_execute("INSERT INTO public.bookings SELECT * FROM kept; DELETE FROM kept")
        .await
        .unwrap();
}

// Bad luck and ill will ----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_time_that_is_none_stops_nobodys_settlement_and_hides_no_cancellation() {
    let beside = Beside::open().await;
    let (mine, yours, third) = (
        beside.world.lesson_in(60).await,
        beside.world.lesson_in(60).await,
        beside.world.lesson_in(60).await,
    );
    let (poisoned, innocent, unreadable) = (
        beside.session(&mine).await,
        beside.session(&yours).await,
        beside.session(&third).await,
    );

    beside
        .write(&mine, "session_start_time = 'infinity', price_currency = 'no'")
        .await;
    beside.write(&mine, "status = 'cancelled'").await;
    // And a row that got unreadable in some other way.
    let harm = "UPDATE sessions SET currency = '???', due_at = now() - interval '1 day' WHERE id = $1";
    beside.world.owner.execute(harm, &[&unreadable]).await.unwrap();

    assert_eq!(beside.settled(innocent, 121).await[0], "COMPLETED_ASSUMED");
    assert_eq!(beside.settled(poisoned, 121).await[0], "CANCELLED");
    let aside = "SELECT count(*) FROM session_events WHERE session_id = $1 AND kind = 'unreadable'";
    let row = beside.world.owner.query_one(aside, &[&unreadable]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "it is said, once");
}

#[tokio::test]
async fn a_booking_without_a_length_stops_nobody_and_gets_its_session_with_its_length() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let reconcile = world.function("reconcile").await;
    let other = world.lesson_in(60).await;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        ..other
    };
    let lesson = pending.booked_by(&world.cast, &world.owner).await;

    beside
        .write(&lesson, "status = 'confirmed', session_duration = NULL")
        .await;
    beside
        .write(
            &other,
            "session_start_time = session_start_time + interval '1 hour'",
        )
        .await;
    assert_eq!(
        world.count("follow_failures").await,
        0,
        "it could not be followed"
    );
    let copy = beside.copy(&lesson).await;
    assert_eq!(
        (&copy[0], &copy[6], &copy[8]),
        (&json!("confirmed"), &Value::Null, &json!(true)),
        "agreed, without a length"
    );
    assert_eq!(beside.copy(&other).await[7], 120);

    let its_session = format!("sessions WHERE booking_id = '{}'", lesson.id);
    reconcile.invoke(json!({})).await.unwrap();
    assert_eq!(world.count("sessions").await, 1, "the other one gets its session");
    assert_eq!(world.count(&its_session).await, 0, "a session of no length");

    beside.write(&lesson, "session_duration = 60").await;
    beside.decide("accept", &lesson, "minutes").await.unwrap();
    reconcile.invoke(json!({})).await.unwrap();
    assert_eq!(world.count(&its_session).await, 1, "now it can be held");
    assert_eq!(
        beside.planned(&lesson).await,
        json!([60, 120, 60, 20, 40, 120, false])
    );
}

#[tokio::test]
async fn a_cancellation_comes_through_whatever_else_cannot_be_read() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    let view = "CREATE OR REPLACE VIEW platform_bookings WITH (security_invoker = true) AS
                SELECT id, client_id, tutor_id, student_id, status, session_start_time,
                       (session_duration / (price_minor - 10000))::integer AS session_duration, price_minor,
                       price_currency, recording_consent, classroom FROM public.bookings";
    beside.world.owner.batch_execute(view).await.unwrap();

    beside.write(&lesson, "status = 'cancelled'").await;

    assert_eq!(beside.world.count("follow_failures").await, 1);
    let allowed = "SELECT may_be_recorded(b) FROM bookings b WHERE id = $1";
    let allowed = beside
        .world
        .owner
        .query_one(allowed, &[&lesson.id])
        .await
        .unwrap();
    assert!(
        !allowed.get::<_, bool>(0),
        "the platform may have said that it is not"
    );
    assert_eq!(beside.copy(&lesson).await[0], "cancelled");
    beside
        .world
        .owner
        .batch_execute("DELETE FROM follow_failures")
        .await
        .unwrap();
    assert_eq!(beside.settled(session, 121).await[0], "CANCELLED");
}

#[tokio::test]
async fn what_fails_while_we_catch_up_is_not_lost() {
    let beside = Beside::open().await;
    let (lesson, other) = (beside.world.lesson_in(60).await, beside.world.lesson_in(60).await);
    let name = beside
        .world
        .owner
        .query_one("SELECT current_database()::text", &[])
        .await
        .unwrap();
    let busy = owner(&owner_url(name.get(0))).await;
    let note = "SELECT note_failure($1, 'follow', '55P03 busy', clock_timestamp())";
    beside.world.owner.execute(note, &[&lesson.id]).await.unwrap();

    // We are at it, and hold the copy; the platform cancels meanwhile, and is not kept waiting.
    let hold = format!(
        "BEGIN; SELECT FROM bookings WHERE id = '{}' FOR UPDATE; SELECT catch_up(1000, clock_timestamp())",
        lesson.id
    );
    busy.batch_execute(&hold).await.unwrap();
    beside.write(&lesson, "status = 'cancelled'").await;
    busy.batch_execute("COMMIT").await.unwrap();

    let catch_up = "SELECT failing, healed FROM catch_up(1000, clock_timestamp())";
    beside.world.owner.query_one(catch_up, &[]).await.unwrap();
    assert_eq!(beside.copy(&lesson).await[0], "cancelled");
    assert_eq!(beside.copy(&other).await[0], "confirmed");
}

#[tokio::test]
async fn one_booking_that_somebody_holds_does_not_hold_up_the_others() {
    let beside = Beside::open().await;
    let (stuck, free) = (beside.world.lesson_in(60).await, beside.world.lesson_in(60).await);
    beside.session(&stuck).await;
    let session = beside.session(&free).await;
    let name = beside
        .world
        .owner
        .query_one("SELECT current_database()::text", &[])
        .await
        .unwrap();
    let idle = owner(&owner_url(name.get(0))).await;
    let hold = format!("BEGIN; SELECT FROM bookings WHERE id = '{}' FOR UPDATE", stuck.id);
    idle.batch_execute(&hold).await.unwrap();
    beside.write(&stuck, "status = 'cancelled'").await;

    let catch_up = "SELECT failing FROM catch_up(1000, clock_timestamp())";
    let row = beside.world.owner.query_one(catch_up, &[]).await.unwrap();

    assert_eq!(row.get::<_, i64>(0), 1, "only the one that is held");
    assert_eq!(beside.settled(session, 121).await[0], "COMPLETED_ASSUMED");
    idle.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn an_operator_decides_about_what_they_saw() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    beside.write(&lesson, "price_minor = 10100").await;
    let open = "SELECT id FROM booking_changes WHERE state = 'open'";
    let seen: i64 = beside.world.owner.query_one(open, &[]).await.unwrap().get(0);

    beside.write(&lesson, "price_minor = 360000").await;

    let accept = "SELECT accept_change($1, 'olga', 'a hundredth more')";
    assert!(
        beside.world.owner.execute(accept, &[&seen]).await.is_err(),
        "accepted what nobody saw"
    );
    assert_eq!(beside.copy(&lesson).await[4], 10_000);
    beside.write(&lesson, "price_currency = 'ABC'").await;
    let refused = beside.decide("accept", &lesson, "price").await;
    assert!(refused.is_err(), "a lesson that is sold changes its currency");
}

/// Until somebody waits for what this connection holds; tells whether anybody ever did.
async fn is_waited_for(holder: &Client) -> bool {
    let waits = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
    for _ in 0..500 {
        if !holder.query(waits, &[]).await.unwrap().is_empty() {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn an_operator_who_accepts_a_change_while_its_session_is_settled_comes_too_late() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    beside.write(&lesson, "price_minor = 4000").await;
    let settling = owner(&owner_url(&beside.name().await)).await;
    let settle = format!(
        "BEGIN; SELECT FROM sessions WHERE id = '{session}' FOR UPDATE;
         UPDATE sessions SET status = 'COMPLETED_ASSUMED', decisions = 1, settled_at = now(), due_at = NULL
         WHERE id = '{session}'"
    );
    settling.batch_execute(&settle).await.unwrap();

    let (accepted, is_waited_for) = join(beside.decide("accept", &lesson, "price"), async {
        let is_waited_for = is_waited_for(&settling).await;
        settling.batch_execute("COMMIT").await.unwrap();
        is_waited_for
    })
    .await;

    assert!(is_waited_for, "nobody waits for who settles it");
    assert!(
        accepted.as_ref().is_err_and(|why| why.contains("settled")),
        "what was settled already: {accepted:?}"
    );
    assert_eq!(beside.listed(&lesson).await.len(), 1, "the change is lost");
    assert_eq!(beside.copy(&lesson).await[4], 10_000);
}

#[tokio::test]
async fn a_row_that_is_made_anew_in_one_transaction_was_never_gone() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    let sync = format!(
        "BEGIN; CREATE TEMP TABLE theirs AS SELECT * FROM public.bookings WHERE id = '{0}';
         DELETE FROM public.bookings WHERE id = '{0}'; INSERT INTO public.bookings SELECT * FROM theirs; COMMIT",
        lesson.id
    );

    beside.world.owner.batch_execute(&sync).await.unwrap();

    assert_eq!(beside.copy(&lesson).await[0], "confirmed");
    assert_eq!(beside.listed(&lesson).await, Vec::<String>::new());
    assert_eq!(beside.settled(session, 121).await[0], "COMPLETED_ASSUMED");
}

#[tokio::test]
async fn platforms_that_isolate_their_transactions_do_not_fail_because_of_us() {
    let beside = Beside::open().await;
    let name = beside
        .world
        .owner
        .query_one("SELECT current_database()::text", &[])
        .await
        .unwrap();
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let lessons = [beside.world.lesson_in(60).await, beside.world.lesson_in(60).await];
        let (one, two) = (
            owner(&owner_url(name.get(0))).await,
            owner(&owner_url(name.get(0))).await,
        );
        for (client, lesson) in [(&one, &lessons[0]), (&two, &lessons[1])] {
            let begin = format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM public.profiles");
            client.batch_execute(&begin).await.unwrap();
            let cancel = "UPDATE public.bookings SET status = 'cancelled' WHERE id = $1";
            client.execute(cancel, &[&lesson.id]).await.unwrap();
        }

        for client in [&one, &two] {
            let end = client.batch_execute("COMMIT").await;
            assert!(end.is_ok(), "{isolation}: {end:?}");
        }

        let catch_up = "SELECT failing FROM catch_up(1000, clock_timestamp())";
        let row = beside.world.owner.query_one(catch_up, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "{isolation}");
        for lesson in &lessons {
            assert_eq!(beside.copy(lesson).await[0], "cancelled", "{isolation}");
        }
    }
}

#[tokio::test]
async fn rows_that_a_policy_hides_from_us_are_not_gone() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let hide = "ALTER ROLE platform_owner NOBYPASSRLS; ALTER TABLE public.bookings FORCE ROW LEVEL SECURITY";
    // Roles belong to the whole cluster: given back before anybody else may miss it.
    let _alone = crate::harness::MIGRATING.lock().await;
    beside.world.owner.batch_execute(hide).await.unwrap();

    let walk = "SELECT walk_on(1000, clock_timestamp())";
    let walked = beside.world.owner.batch_execute(walk).await;
    let failing = beside.catch_up().await;

    beside
        .world
        .owner
        .batch_execute("ALTER ROLE platform_owner BYPASSRLS")
        .await
        .unwrap();
    assert!(walked.is_err() || failing > 0, "nobody is told");
    assert_eq!(
        beside.copy(&lesson).await[0],
        "confirmed",
        "called off because it was hidden"
    );
}

#[tokio::test]
async fn an_adoption_that_was_interrupted_is_finished_by_itself() {
    let beside = Beside::open().await;
    let follow = beside.world.function("follow-bookings").await;
    let lesson = beside.world.lesson_in(60).await;
    let interrupted =
        "UPDATE follow_walk SET is_adopted = false; DELETE FROM booking_changes; DELETE FROM bookings;
        INSERT INTO public.bookings (client_id, tutor_id, status, session_start_time, session_duration)
        SELECT client_id, tutor_id, 'confirmed', now() - interval '1 year', 60 FROM public.bookings LIMIT 1;
        DELETE FROM booking_changes; DELETE FROM bookings";
    beside.world.owner.batch_execute(interrupted).await.unwrap();

    for _ in 0..3 {
        follow.invoke(json!({})).await.unwrap();
    }

    assert_eq!(beside.copy(&lesson).await[0], "confirmed");
    assert_eq!(beside.world.count("bookings WHERE status = 'confirmed'").await, 2);
    assert_eq!(
        beside.world.count("booking_changes").await,
        0,
        "a platform's past is not listed"
    );
    assert_eq!(beside.world.count("follow_walk WHERE is_adopted").await, 1);
}

#[tokio::test]
async fn a_sync_of_many_rows_calls_off_nothing_though_somebody_holds_one() {
    let beside = Beside::open().await;
    let mut lessons = Vec::new();
    for _ in 0..5 {
        lessons.push(beside.world.lesson_in(60).await);
    }
    let idle = owner(&owner_url(&beside.name().await)).await;
    let hold = format!(
        "BEGIN; SELECT FROM bookings WHERE id = '{}' FOR UPDATE",
        lessons[2].id
    );
    idle.batch_execute(&hold).await.unwrap();

    let sync = "BEGIN; CREATE TEMP TABLE theirs AS SELECT * FROM public.bookings;
                DELETE FROM public.bookings; INSERT INTO public.bookings SELECT * FROM theirs; COMMIT";
    beside.world.owner.batch_execute(sync).await.unwrap();
    idle.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(beside.catch_up().await, 0);

    for lesson in &lessons {
        assert_eq!(beside.copy(lesson).await[0], "confirmed");
        assert_eq!(beside.listed(lesson).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_a_trigger_of_the_platform_changes_is_followed_too() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let trigger = "ALTER TABLE public.bookings ADD cancelled_at timestamptz;
        CREATE FUNCTION public.call_off() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.cancelled_at IS NOT NULL THEN NEW.status := 'cancelled'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER call_off BEFORE UPDATE ON public.bookings FOR EACH ROW EXECUTE FUNCTION public.call_off()";
    beside.world.owner.batch_execute(trigger).await.unwrap();

    beside.write(&lesson, "cancelled_at = now()").await;

    assert_eq!(beside.copy(&lesson).await[0], "cancelled");
}

#[tokio::test]
async fn a_lesson_that_was_called_off_in_time_was_however_late_we_hear_of_it() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(60).await;
    let session = beside.session(&lesson).await;
    let owner = &beside.world.owner;

    // Called off an hour before the start, while we could not follow.
    let harm = "ALTER TABLE bookings ADD CONSTRAINT never CHECK (status <> 'cancelled') NOT VALID";
    owner.batch_execute(harm).await.unwrap();
    beside.write(&lesson, "status = 'cancelled'").await;
    assert_eq!(
        beside
            .world
            .count("follow_failures WHERE said = 'cancelled'")
            .await,
        1
    );

    // Two hours later somebody writes something harmless, and then we can.
    let later = "SET session_replication_role = replica;
        UPDATE public.bookings SET session_start_time = session_start_time - interval '2 hours';
        UPDATE bookings SET session_start_time = session_start_time - interval '2 hours', seen = NULL;
        UPDATE sessions SET scheduled_start_at = scheduled_start_at - interval '2 hours',
            scheduled_end_at = scheduled_end_at - interval '2 hours', due_at = due_at - interval '2 hours';
        UPDATE follow_failures SET failed_at = failed_at - interval '2 hours';
        SET session_replication_role = origin";
    owner.batch_execute(later).await.unwrap();
    beside.write(&lesson, "created_at = now()").await;
    owner
        .batch_execute("ALTER TABLE bookings DROP CONSTRAINT never")
        .await
        .unwrap();

    assert_eq!(beside.catch_up().await, 0);
    assert_eq!(beside.copy(&lesson).await[0], "cancelled");
    assert_eq!(
        beside.settled(session, 1).await,
        json!(["CANCELLED", 0, "cancelled_before_start"])
    );
}

#[tokio::test]
async fn a_late_confirmation_can_still_be_accepted_when_the_platform_says_that_it_was_held() {
    let beside = Beside::open().await;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        ..beside.world.lesson_in(-30).await
    };
    let lesson = pending.booked_by(&beside.world.cast, &beside.world.owner).await;
    beside.write(&lesson, "status = 'confirmed'").await;
    beside.write(&lesson, "status = 'completed'").await;
    assert_eq!(beside.listed(&lesson).await, [r#"status: "confirmed""#]);

    beside.decide("accept", &lesson, "status").await.unwrap();

    let session = beside.session(&lesson).await;
    assert_eq!(beside.settled(session, 31).await[0], "COMPLETED_ASSUMED");
}

#[tokio::test]
async fn a_student_whom_the_client_assigned_with_us_stays_when_the_tutor_confirms() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        has_student: false,
        ..world.lesson_in(60).await
    };
    let lesson = pending.booked_by(&world.cast, &world.owner).await;
    let mut assign = world.request("assign-student/clear.json", world.cast.parent, &lesson);
    assign["body"] = json!({"student_id": world.cast.student}).to_string().into();
    let assigned = world.function("assign-student").await.call(assign).await;
    assert_eq!(assigned.status, 200, "{}", assigned.body);

    beside.write(&lesson, "status = 'confirmed'").await;

    assert_eq!(beside.copy(&lesson).await[3], json!(world.cast.student));
}

#[tokio::test]
async fn a_mark_waits_while_what_the_platform_says_cannot_be_followed() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let lesson = world.lesson_in(-30).await;
    let session = beside.session(&lesson).await;
    let note = "SELECT note_failure($1, 'follow', '42703 the view is broken', clock_timestamp())";
    world.owner.execute(note, &[&lesson.id]).await.unwrap();
    let mark = world.function("mark-no-show").await;
    let token = world.identity.token(world.cast.tutor);

    let early = mark
        .call(request("mark-no-show/mark.json", &token, session))
        .await;
    assert_eq!(early.verdict(), "503 booking-changing");

    assert_eq!(beside.catch_up().await, 0);
    let marked = mark
        .call(request("mark-no-show/mark.json", &token, session))
        .await;
    assert_eq!(marked.status, 200, "{}", marked.body);
}

#[tokio::test]
async fn a_payment_is_not_passed_on_to_whom_an_older_transaction_names() {
    let beside = Beside::open().await;
    let world = &beside.world;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        ..world.lesson_in(60).await
    };
    let lesson = pending.booked_by(&world.cast, &world.owner).await;
    let platform = owner(&owner_url(&beside.name().await)).await;
    let old_snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.bookings";
    platform.batch_execute(old_snapshot).await.unwrap();

    let start = world.function("start-payment").await;
    let begun = world
        .call(&start, "start-payment/card.json", world.cast.parent, &lesson)
        .await;
    assert_eq!(begun.status, 201);
    let swap = format!(
        "UPDATE public.bookings SET client_id = '{}', status = 'confirmed' WHERE id = '{}'; COMMIT",
        world.cast.stranger, lesson.id
    );
    platform.batch_execute(&swap).await.unwrap();

    assert_eq!(beside.catch_up().await, 0);
    assert_eq!(beside.copy(&lesson).await[1], json!(world.cast.parent));
}

#[tokio::test]
async fn an_accepted_move_keeps_what_the_provider_saw() {
    let beside = Beside::open().await;
    let lesson = beside.world.lesson_in(-40).await;
    let session = beside.session(&lesson).await;
    let end = lesson.starts_at + jiff::SignedDuration::from_mins(20);
    beside.world.room_ended(&lesson, end).await;
    beside
        .write(
            &lesson,
            "session_start_time = session_start_time + interval '5 minutes'",
        )
        .await;

    beside.decide("accept", &lesson, "start").await.unwrap();

    let not_yet = beside.settled(session, 41).await;
    assert_eq!(
        not_yet,
        json!(null),
        "decided before anybody asked about the new time"
    );
    let answered = "UPDATE sessions s SET asked_at = closes_at(s), due_at = closes_at(s) WHERE id = $1";
    beside.world.owner.execute(answered, &[&session]).await.unwrap();
    assert_eq!(
        beside.settled(session, 45).await,
        json!(["EARLY_END_SHORT", 0, "ended_early"])
    );
}
