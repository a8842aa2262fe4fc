//! Whose card: it pays only where its owner agreed by their own call, whatever somebody writes into a booking.

use crate::charge::till::{CARD, Till};
use crate::harness::request;
use jiff::Timestamp;
use serde_json::{Value, json};
use stories::cast::Lesson;
use uuid::Uuid;

const SAVED_CARD: &str = "start-payment/saved-card.json";

/// Minutes from now by which every lesson of these stories is over.
const LONG_AFTER: i64 = 60 * 24 * 400;

/// A tutor of a platform that lets him write whatever he likes into his own bookings, and whose own the first one is.
struct Mallory<'a> {
    till: &'a Till,
    tutor: Uuid,
    accomplice: Uuid,
}

impl Mallory<'_> {
    async fn arrives(till: &Till) -> Mallory<'_> {
        let tutor = till.world.cast.stranger;
        let connect = "INSERT INTO public.tutor_video_provider_connections (tutor_id, provider) VALUES ($1, 'lessonspace')";
        till.world.owner.execute(connect, &[&tutor]).await.unwrap();
        Mallory {
            till,
            tutor,
            accomplice: till.world.cast.other_parent,
        }
    }

    /// His booking with his accomplice, an hour that begins in so many minutes.
    async fn books(&self, status: &str, minutes: i32) -> Uuid {
        let insert = "INSERT INTO public.bookings (client_id, tutor_id, status, session_start_time, session_duration, price_minor, price_currency)
                      VALUES ($1, $2, $3, now() + make_interval(mins => $4), 60, 3500, 'TTD') RETURNING id";
        let owner = &self.till.world.owner;
        let row = owner
            .query_one(insert, &[&self.accomplice, &self.tutor, &status, &minutes])
            .await;
        row.unwrap().get(0)
    }

    /// He writes into it, as his own.
    async fn writes(&self, booking: Uuid, set: &str) {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        assert_eq!(self.till.world.owner.execute(&sql, &[&booking]).await.unwrap(), 1);
    }

    /// He has it made a session and settled, long after, and the money moved.
    async fn cashes_in(&self, booking: Uuid) -> String {
        let made = self.has_settled(booking).await;
        self.till.world.travel(LONG_AFTER);
        self.till.work().await;
        self.till.world.travel(0);
        made
    }

    /// The same, but that nobody has looked at the money yet.
    async fn has_settled(&self, booking: Uuid) -> String {
        let create = self.till.world.function("create-session").await;
        let token = self.till.world.identity.token(self.tutor);
        let made = create
            .call(request("create-session/create.json", &token, booking))
            .await;
        self.till.world.travel(LONG_AFTER);
        self.till.tick().await;
        self.till.world.travel(0);
        made.verdict()
    }
}

impl Till {
    async fn listed(&self, booking: Uuid) -> Vec<String> {
        let sql = "SELECT field FROM booking_changes WHERE booking_id = $1 AND state = 'open' ORDER BY field";
        let rows = self.world.owner.query(sql, &[&booking]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Whom the books name as owing something, now or before.
    async fn owing(&self, person: Uuid) -> i64 {
        let sql = "SELECT coalesce(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
                   JOIN ledger_accounts a ON a.id = e.account_id WHERE a.kind = 'receivable' AND a.owner_id = $1";
        self.world.owner.query_one(sql, &[&person]).await.unwrap().get(0)
    }

    async fn with_body(&self, sample: &str, person: Uuid, booking: Uuid, body: Value) -> String {
        let mut event = request(sample, &self.world.identity.token(person), booking);
        event["body"] = body.to_string().into();
        self.start.call(event).await.verdict()
    }
}

#[tokio::test]
async fn nobody_makes_a_strangers_card_pay_by_writing_into_a_booking() {
    let till = Till::open().await;
    let victim = till.world.cast.parent;
    till.card_kept(&till.world.lesson_in(60).await).await;
    let mallory = Mallory::arrives(&till).await;
    let swap = format!("client_id = '{victim}'");
    let past = "session_start_time = now() - interval '2 hours'";

    // Before it is confirmed, all at once: it is confirmed only after its start.
    let booking = mallory.books("pending", 60).await;
    mallory
        .writes(booking, &format!("{swap}, {past}, status = 'confirmed'"))
        .await;
    assert_eq!(mallory.cashes_in(booking).await, "409 booking-not-confirmed");
    assert_eq!(till.listed(booking).await, ["status"]);

    // And as a new row.
    let insert = format!(
        "INSERT INTO public.bookings (client_id, tutor_id, status, session_start_time, session_duration, price_minor, price_currency)
         VALUES ('{victim}', $1, 'confirmed', now() - interval '2 hours', 60, 3500, 'TTD') RETURNING id"
    );
    let booking: Uuid = till
        .world
        .owner
        .query_one(&insert, &[&mallory.tutor])
        .await
        .unwrap()
        .get(0);
    assert_eq!(mallory.cashes_in(booking).await, "409 booking-not-confirmed");
    assert_eq!(till.listed(booking).await, ["status"]);

    // After it is confirmed: the client, the tutor, the price, the time and the status, one by one and together.
    let attacks = [
        (swap.clone(), vec!["client_id"]),
        (format!("tutor_id = '{victim}'"), vec!["tutor_id"]),
        ("price_minor = 990000".to_owned(), vec!["price"]),
        (past.to_owned(), vec!["start"]),
        (
            format!("{swap}, price_minor = 990000, {past}"),
            vec!["client_id", "price", "start"],
        ),
        (format!("{swap}, status = 'completed'"), vec!["client_id"]),
    ];
    for (attack, listed) in attacks {
        let booking = mallory.books("confirmed", 60).await;
        mallory.writes(booking, &attack).await;
        assert_eq!(till.listed(booking).await, listed, "{attack}");

        assert_eq!(mallory.cashes_in(booking).await, "201", "{attack}");
        let charged = "SELECT c.charge_minor, s.client_id, s.tutor_id FROM charges c JOIN sessions s ON s.id = c.session_id WHERE s.booking_id = $1";
        let row = till.world.owner.query_one(charged, &[&booking]).await.unwrap();
        let charged: (i64, Uuid, Uuid) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(charged, (3_500, mallory.accomplice, mallory.tutor), "{attack}");
    }

    // Deleted, and made again with the same id.
    let booking = mallory.books("confirmed", 60).await;
    till.world
        .owner
        .execute("DELETE FROM public.bookings WHERE id = $1", &[&booking])
        .await
        .unwrap();
    let again = format!(
        "INSERT INTO public.bookings (id, client_id, tutor_id, status, session_start_time, session_duration, price_minor, price_currency)
         VALUES ($1, '{victim}', $2, 'confirmed', now() + interval '1 hour', 60, 3500, 'TTD')"
    );
    till.world
        .owner
        .execute(&again, &[&booking, &mallory.tutor])
        .await
        .unwrap();
    assert_eq!(mallory.cashes_in(booking).await, "409 booking-not-confirmed");
    assert_eq!(till.listed(booking).await, ["client_id", "status"]);

    // After the settlement.
    let booking = mallory.books("confirmed", 60).await;
    assert_eq!(mallory.cashes_in(booking).await, "201");
    mallory
        .writes(booking, &format!("{swap}, price_minor = 990000"))
        .await;
    till.work().await;
    assert_eq!(till.listed(booking).await, ["client_id", "price"]);

    assert_eq!(till.at_stripe(), (vec![], vec![]), "the victim's card was asked");
    assert_eq!(till.owing(victim).await, 0, "the victim owes something");
    assert_eq!(till.told().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_client_whom_a_tutor_names_before_confirming_is_asked_and_not_charged() {
    let till = Till::open().await;
    let victim = till.world.cast.parent;
    till.card_kept(&till.world.lesson_in(60).await).await;
    let mallory = Mallory::arrives(&till).await;

    // Until it is confirmed a booking is what the platform says; this one is confirmed in time, with the victim's name.
    let booking = mallory.books("pending", 60).await;
    mallory
        .writes(booking, &format!("client_id = '{victim}', status = 'confirmed'"))
        .await;
    assert_eq!(mallory.cashes_in(booking).await, "201");

    assert_eq!(till.at_stripe().0, Vec::<i64>::new(), "the card was asked");
    assert_eq!(till.told().await, ["card_agreement_needed"]);
    assert_eq!(till.owing(victim).await, 3_500, "it waits as a receivable");

    // Nobody else can say yes for them.
    let refused = till
        .with_body(
            SAVED_CARD,
            mallory.tutor,
            booking,
            json!({"method": "saved_card"}),
        )
        .await;
    assert_eq!(refused, "403 not-the-client");
    till.work().await;
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
}

#[tokio::test]
async fn a_card_that_was_left_pays_for_this_tutor_up_to_the_price_that_was_seen() {
    let till = Till::open().await;
    let seen = till.world.lesson_in(0).await;
    till.card_kept(&seen).await;
    let dearer = Lesson {
        price: 10_001,
        ..Lesson::starting(Timestamp::now())
    };
    let dearer = dearer.booked_by(&till.world.cast, &till.world.owner).await;
    let cheaper = Lesson {
        price: 4_000,
        ..Lesson::starting(Timestamp::now())
    };
    let cheaper = cheaper.booked_by(&till.world.cast, &till.world.owner).await;
    for lesson in [&seen, &dearer, &cheaper] {
        till.session(lesson).await;
    }
    till.world.travel(61);

    till.settle().await;

    let mut taken = till.at_stripe().0;
    taken.sort_unstable();
    assert_eq!(taken, [4_000, 10_000]);
    assert_eq!(till.told().await, ["card_agreement_needed"]);

    // Once they have seen the price and said yes, what waited is paid; nothing is taken twice.
    let parent = till.world.cast.parent;
    let too_low = json!({"method": "saved_card", "up_to_minor": 10_000});
    assert_eq!(
        till.with_body(SAVED_CARD, parent, dearer.id, too_low).await,
        "409 price-changed"
    );
    till.work().await;
    assert_eq!(till.at_stripe().0.len(), 2);

    for _ in 0..2 {
        let agreed = till.begin(SAVED_CARD, &dearer).await;
        assert_eq!(
            (agreed.status, &agreed.body["up_to"]["amount"]),
            (200, &json!(10_001)),
            "{}",
            agreed.body
        );
        till.work().await;
    }
    let mut taken = till.at_stripe().0;
    taken.sort_unstable();
    assert_eq!(taken, [4_000, 10_000, 10_001]);
    assert_eq!(till.books().await[0], 0, "nobody owes anything");
}

#[tokio::test]
async fn who_pays_one_lesson_on_a_page_has_agreed_to_the_tutor() {
    let till = Till::open().await;
    let first = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &first).await;
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
    let next = till.world.lesson_in(0).await;
    till.session(&next).await;
    till.world.travel(61);

    till.settle().await;

    assert_eq!(
        till.at_stripe().0,
        [10_000, 10_000],
        "paid ahead, and by the card that was kept"
    );
    assert_eq!(till.told().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_that_was_opened_and_left_is_no_agreement() {
    let till = Till::open().await;
    till.card_kept(&till.world.lesson_in(60).await).await;
    let mallory = Mallory::arrives(&till).await;
    let booking = mallory.books("pending", 60).await;
    let victim = till.world.cast.parent;
    mallory
        .writes(booking, &format!("client_id = '{victim}', status = 'confirmed'"))
        .await;

    let opened = till
        .with_body(CARD, victim, booking, json!({"method": "card_on_file"}))
        .await;
    assert_eq!(opened, "201");
    mallory.cashes_in(booking).await;

    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
    assert_eq!(till.told().await, ["card_agreement_needed"]);
}

#[tokio::test]
async fn where_the_platform_collects_lessons_are_settled_and_explained_and_nothing_is_taken() {
    let mut till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    till.card_kept(&lesson).await;
    let session = till.session(&lesson).await;
    till.world
        .environment
        .insert("COLLECTS".into(), "platform".into());
    till.start = till.world.function("start-payment").await;
    till.world.travel(61);

    till.settle().await;

    let explain = till.world.function("explain-charge").await;
    let token = till.world.identity.token(till.world.cast.parent);
    let charge = explain
        .call(request("explain-charge/charge.json", &token, session))
        .await
        .body;
    assert_eq!(
        (&charge["status"], &charge["charge"]["amount"]),
        (&json!("COMPLETED_ASSUMED"), &json!(10_000))
    );
    assert_eq!(till.books().await, [10_000, -9_000, -1_000, 0]);
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
    assert_eq!(till.told().await, Vec::<String>::new());

    let other = till.world.lesson_in(60).await;
    for method in ["card", "card_on_file", "saved_card"] {
        let parent = till.world.cast.parent;
        let refused = till
            .with_body(CARD, parent, other.id, json!({"method": method}))
            .await;
        assert_eq!(refused, "409 collected-by-platform", "{method}");
    }
    // What was settled while we collected, and is still to be collected, rests, too.
    let before = till.world.lesson_in(-59).await;
    till.session(&before).await;
    till.world
        .environment
        .insert("COLLECTS".into(), "firstbell".into());
    till.tick().await;
    till.capture = {
        till.world
            .environment
            .insert("COLLECTS".into(), "platform".into());
        till.world.function("step-tab").await
    };
    till.work().await;
    assert_eq!(
        till.world
            .count("payments WHERE status = 'opening' AND method = 'saved_card'")
            .await,
        1
    );
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
}

#[tokio::test]
async fn an_agreement_does_not_reach_back_to_what_somebody_invented_before() {
    let till = Till::open().await;
    let victim = till.world.cast.parent;
    let mallory = Mallory::arrives(&till).await;
    let swap = format!("client_id = '{victim}', status = 'confirmed'");
    let (invented, unseen, real) = (
        mallory.books("pending", 60).await,
        mallory.books("pending", 60).await,
        mallory.books("pending", 120).await,
    );
    for booking in [invented, unseen, real] {
        mallory.writes(booking, &swap).await;
    }

    // Two lessons that never were are settled. One found no card, at the other nobody has looked yet.
    assert_eq!(mallory.cashes_in(invented).await, "201");
    assert_eq!(till.told().await, ["payment_failed"], "there is no card yet");
    assert_eq!(mallory.has_settled(unseen).await, "201");

    // Later they pay something real with him by card.
    till.world.travel(LONG_AFTER + 1);
    let real = Lesson {
        id: real,
        ..Lesson::starting(Timestamp::now())
    };
    let begun = till.begin(CARD, &real).await;
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;

    assert_eq!(
        till.at_stripe().0,
        [3_500],
        "what was invented is paid with what was real"
    );

    // What they do say yes to is paid.
    let invented = Lesson { id: invented, ..real };
    assert_eq!(till.begin(SAVED_CARD, &invented).await.status, 200);
    till.work().await;
    assert_eq!(till.at_stripe().0, [3_500, 3_500]);
}

#[tokio::test]
async fn a_price_that_may_still_change_is_agreed_to_only_by_its_number() {
    let till = Till::open().await;
    till.card_kept(&till.world.lesson_in(60).await).await;
    let parent = till.world.cast.parent;
    let pending = Lesson {
        id: Uuid::new_v4(),
        status: "pending",
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = pending.booked_by(&till.world.cast, &till.world.owner).await;

    for method in ["card_on_file", "saved_card"] {
        let say = |body: Value| till.with_body(CARD, parent, lesson.id, body);
        assert_eq!(say(json!({"method": method})).await, "409 price-not-agreed");
        assert_eq!(
            say(json!({"method": method, "up_to_minor": 9_999})).await,
            "409 price-changed"
        );
    }
    let said = till
        .with_body(
            CARD,
            parent,
            lesson.id,
            json!({"method": "saved_card", "up_to_minor": 10_000}),
        )
        .await;
    assert_eq!(said, "200");
}

#[tokio::test]
async fn money_for_a_lesson_that_the_platform_calls_off_goes_back_without_a_session() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;

    let cancel = "UPDATE public.bookings SET status = 'cancelled' WHERE id = $1";
    till.world.owner.execute(cancel, &[&lesson.id]).await.unwrap();
    till.work().await;
    till.hear(1).await;

    assert_eq!(till.at_stripe(), (vec![10_000], vec![10_000]));
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_paid_lesson_that_nobody_confirmed_and_that_was_held_is_charged_once_an_operator_agrees() {
    let till = Till::open().await;
    let world = &till.world;
    let pending = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = pending.booked_by(&world.cast, &world.owner).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;

    // Nobody confirmed it. When it is over the platform says that it was held.
    world.travel(61);
    let held = "UPDATE public.bookings SET status = 'completed' WHERE id = $1";
    world.owner.execute(held, &[&lesson.id]).await.unwrap();
    assert_eq!(till.listed(lesson.id).await, ["status"]);
    let accept = "SELECT accept_change(id, 'olga', 'the tutor wrote to us') FROM booking_changes
                  WHERE booking_id = $1 AND field = 'status' AND state = 'open'";
    world.owner.execute(accept, &[&lesson.id]).await.unwrap();

    let reconcile = world.function("reconcile").await;
    reconcile.invoke(json!({})).await.unwrap();
    till.settle().await;

    let settled = "sessions WHERE status = 'COMPLETED_ASSUMED'";
    assert_eq!(world.count(settled).await, 1, "it was never settled");
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]), "given back");
    assert_eq!(till.told().await, Vec::<String>::new());
}
