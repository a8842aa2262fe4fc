//! Paying: what is asked of gateways, what comes of it, and what the books say afterwards. The gateways' own
//! record is the judge of what was charged.

use crate::harness::{Function, Reply, World, letter_event, owner_url, request};
use domain::gateway::{Finding, Outcome, Paid, Refunded};
use domain::ids::{BookingId, PaymentId, RefundId};
use domain::money::Money;
use futures::future::join_all;
use iso_currency::Currency;
use jiff::{SignedDuration, Timestamp};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use serde_json::{Value, json};
use simulators::mailbox::{Faults, Letter};
use std::time::Duration;
use store::payments::{Entered, Overview, Reconciled};
use stories::cast::{Lesson, owner};
use uuid::Uuid;

pub(crate) const CARD: &str = "start-payment/card.json";
pub(crate) const CARD_ON_FILE: &str = "start-payment/card-on-file.json";
const LINK: &str = "start-payment/mobile-money-link.json";
const PHONE: &str = "start-payment/mobile-money.json";

/// A world in which people pay.
pub(crate) struct Till {
    pub(crate) world: World,
    pub(crate) start: Function,
    get: Function,
    stripe_door: Function,
    fapshi_door: Function,
    apply: Function,
    relay: Function,
    pub(crate) capture: Function,
    refund: Function,
}

impl Till {
    pub(crate) async fn open() -> Self {
        Self::of(World::new().await).await
    }

    pub(crate) async fn of(world: World) -> Self {
        Self {
            start: world.function("start-payment").await,
            get: world.function("get-payment").await,
            stripe_door: world.function("webhook-stripe").await,
            fapshi_door: world.function("webhook-fapshi").await,
            apply: world.function("apply-event").await,
            relay: world.function("relay-outbox").await,
            capture: world.function("capture-payment").await,
            refund: world.function("refund-payment").await,
            world,
        }
    }

    /// A booking in francs, which mobile money needs.
    pub(crate) async fn in_francs(&self, minutes: i64) -> Lesson {
        let starts_at = Timestamp::now() + SignedDuration::from_mins(minutes);
        let lesson = Lesson {
            price: 5_000,
            currency: "XAF",
            ..Lesson::starting(starts_at)
        };
        lesson.booked_by(&self.world.cast, &self.world.owner).await
    }

    pub(crate) async fn session(&self, lesson: &Lesson) -> Uuid {
        let create = self.world.function("create-session").await;
        let parent = self.world.cast.parent;
        let made = self
            .world
            .call(&create, "create-session/create.json", parent, lesson)
            .await;
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn begin(&self, sample: &str, lesson: &Lesson) -> Reply {
        self.world
            .call(&self.start, sample, self.world.cast.parent, lesson)
            .await
    }

    pub(crate) async fn payment(&self, id: &Value) -> Value {
        let token = self.world.identity.token(self.world.cast.parent);
        let id = id.as_str().unwrap().parse().unwrap();
        self.get
            .call(request("get-payment/payment.json", &token, id))
            .await
            .body
    }

    pub(crate) async fn status(&self, id: &Value) -> Value {
        self.payment(id).await["status"].clone()
    }

    /// The client pays on Stripe's page that `begun` leads to.
    pub(crate) fn pays(&self, begun: &Reply) {
        let page = begun.body["url"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(
            self.world.stripe.close_checkout(page, true).is_some(),
            "the page is closed"
        );
    }

    /// Mobile money comes to its end at its gateway.
    pub(crate) fn ends(&self, id: &Value, status: &str) {
        let mut all = self.world.fapshi.record("Collection").into_iter();
        let theirs = all
            .find(|other| other["externalId"] == *id)
            .expect("a transaction");
        assert!(
            self.world
                .fapshi
                .end(theirs["transId"].as_str().unwrap(), status)
                .is_some()
        );
    }

    pub(crate) async fn knock(&self, door: &Function, sample: &str, letters: &[Letter]) {
        for letter in letters {
            let reply = door.call(letter_event(sample, letter)).await;
            assert_eq!(reply.status, 202, "{}", reply.body);
        }
    }

    /// Delivers what both gateways have to tell, so many times, and applies it.
    pub(crate) async fn hear(&self, times: usize) {
        let (stripe, fapshi) = (self.world.stripe.letters(), self.world.fapshi.letters());
        for _ in 0..times {
            self.knock(
                &self.stripe_door,
                "webhook-stripe/checkout-completed.json",
                &stripe,
            )
            .await;
            self.knock(&self.fapshi_door, "webhook-fapshi/successful.json", &fapshi)
                .await;
        }
        for chunk in self.world.queued().await.chunks(4) {
            assert_eq!(self.apply.consume(chunk).await, Vec::<String>::new());
        }
    }

    /// Sends what is due and lets each consumer work on it twice, until nothing is left.
    pub(crate) async fn work(&self) {
        for _ in 0..12 {
            self.relay.invoke(json!({})).await.unwrap();
            let jobs = self.world.queued_in(&self.world.payments).await;
            let refunds = self.world.queued_in(&self.world.refunds).await;
            if jobs.is_empty() && refunds.is_empty() {
                return;
            }
            for _ in 0..2 {
                if !jobs.is_empty() {
                    assert_eq!(
                        self.capture.consume(&jobs).await,
                        Vec::<String>::new(),
                        "{:#?}",
                        self.capture.log()
                    );
                }
                if !refunds.is_empty() {
                    assert_eq!(
                        self.refund.consume(&refunds).await,
                        Vec::<String>::new(),
                        "{:#?}",
                        self.refund.log()
                    );
                }
            }
        }
        panic!("the tabs never come to rest");
    }

    /// What is due is settled.
    pub(crate) async fn tick(&self) {
        let tick = self.world.function("process-charges").await;
        tick.invoke(json!({})).await.unwrap();
    }

    /// What is due is settled, and its jobs are taken from the queue.
    pub(crate) async fn settled_jobs(&self) -> Vec<Value> {
        self.tick().await;
        self.relay.invoke(json!({})).await.unwrap();
        self.world.queued_in(&self.world.payments).await
    }

    pub(crate) async fn settle(&self) {
        self.tick().await;
        self.work().await;
    }

    /// The tutor marks the student absent, and the hour passes.
    pub(crate) async fn no_show(&self, session: Uuid) {
        let mark = self.world.function("mark-no-show").await;
        let token = self.world.identity.token(self.world.cast.tutor);
        let marked = mark
            .call(request("mark-no-show/mark.json", &token, session))
            .await;
        assert_eq!(marked.status, 200, "{}", marked.body);
        self.world.session_passes(session).await;
    }

    pub(crate) async fn balance(&self, kind: &str) -> i64 {
        let sql = "SELECT coalesce(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
                   JOIN ledger_accounts a ON a.id = e.account_id WHERE a.kind = $1";
        self.world.owner.query_one(sql, &[&kind]).await.unwrap().get(0)
    }

    /// Receivable, payable, fees, cash as if gateways kept nothing for themselves.
    pub(crate) async fn books(&self) -> [i64; 4] {
        [
            self.balance("receivable").await,
            self.balance("payable").await,
            self.balance("fees").await,
            self.balance("cash").await + self.balance("gateway_fees").await,
        ]
    }

    /// Charged and given back, as Stripe itself has it.
    pub(crate) fn at_stripe(&self) -> (Vec<i64>, Vec<i64>) {
        let of = |what: &str, field: &str| {
            let all = self.world.stripe.record(what).into_iter();
            all.filter(|object| object["status"] == "succeeded")
                .map(|object| object[field].as_i64().unwrap())
                .collect()
        };
        (of("payment_intent", "amount_received"), of("refund", "amount"))
    }

    /// What the client was told of money that did not simply come: not of lessons, marks and charges.
    pub(crate) async fn told(&self) -> Vec<String> {
        let sql = "SELECT kind FROM notifications WHERE profile_id = $1 AND kind <> 'charged'
                     AND kind NOT LIKE 'lesson%' AND kind NOT LIKE 'no_show%' ORDER BY id";
        let rows = self
            .world
            .owner
            .query(sql, &[&self.world.cast.parent])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn hands(&self) -> (Database, Ids, Timestamp) {
        let clock = Clock::shifted_by(self.world.environment["CLOCK_OFFSET_FILE"].clone().into());
        let database = Database::at(&self.world.environment["DATABASE_URL"]);
        let now = clock.now();
        (database, Ids::random(clock), now)
    }

    /// What the schedule does about what is open.
    async fn reconcile(&self) -> Reconciled {
        let (database, ids, now) = self.hands();
        store::payments::reconcile(&database, 100, &ids, now)
            .await
            .unwrap()
    }

    async fn overview(&self) -> Overview {
        let (database, _, now) = self.hands();
        store::payments::overview(&database, now).await.unwrap()
    }

    /// Status and reason of each refund, in the order in which they were decided.
    async fn refunds(&self) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', status, reason) FROM refunds ORDER BY created_at, ordinal";
        let rows = self.world.owner.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// An operator does something about the one refund that waits for a person.
    async fn operator(&self, does: &str) -> Result<u64, tokio_postgres::Error> {
        let sql = format!(
            "SELECT {does}(id, 'Olu', 'the client called') FROM refunds WHERE status IN ('failed', 'held')"
        );
        self.world.owner.execute(&sql, &[]).await
    }

    /// The session turns out to cost its whole price after all.
    async fn corrected_to_full(&self, session: Uuid) {
        let sql = format!(
            "WITH s AS (
                 UPDATE sessions SET decisions = decisions + 1, status = 'COMPLETED_ASSUMED' WHERE id = '{session}' RETURNING *),
             c AS (
                 INSERT INTO charges (id, session_id, decision, status, charge_minor, payout_minor, fee_minor, currency,
                     explanation, decided_at)
                 SELECT gen_random_uuid(), id, decisions, status, price_minor, price_minor, 0, currency, '{{}}', now() FROM s
                 RETURNING *)
             INSERT INTO payments (id, booking_id, client_id, tutor_id, price_minor, gateway, method, charge_id, amount_minor,
                 currency, status, created_at)
             SELECT c.id, s.booking_id, s.client_id, s.tutor_id, s.price_minor, 'stripe', 'saved_card', c.id, c.charge_minor,
                 c.currency, 'opening', now() FROM s, c"
        );
        self.world.owner.batch_execute(&sql).await.unwrap();
    }

    /// Somebody asks for a look at every tab.
    async fn look_at_everything(&self) {
        let sql = "SELECT ask_for('look_at_tab', 'payments', 'booking_id', id, now() - interval '1 day') FROM bookings";
        self.world.owner.execute(sql, &[]).await.unwrap();
        self.work().await;
    }

    /// The platform writes into its booking, by its own SQL.
    async fn platform_writes(&self, lesson: &Lesson, set: &str) {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        assert_eq!(
            self.world.owner.execute(&sql, &[&lesson.id]).await.unwrap(),
            1,
            "{set}"
        );
    }

    /// An operator lets count what the platform says of one field of an agreed booking.
    async fn operator_accepts(&self, lesson: &Lesson, field: &str) {
        let sql = "SELECT accept_change(id, 'Olu', 'both of them wrote to us') FROM booking_changes
                   WHERE booking_id = $1 AND field = $2 AND state = 'open'";
        let accepted = self.world.owner.execute(sql, &[&lesson.id, &field]).await;
        assert_eq!(accepted.unwrap(), 1, "no change of the {field} is listed");
    }

    /// Until some statement waits for a lock that another has.
    async fn until_somebody_waits(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..500 {
            let waiting = self.world.owner.query_one(sql, &[]).await.unwrap();
            if waiting.get::<_, i64>(0) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody waits");
    }

    async fn cancelled(&self, session: Uuid) {
        let cancel = self.world.function("cancel-session").await;
        let token = self.world.identity.token(self.world.cast.parent);
        let reply = cancel
            .call(request("cancel-session/cancel.json", &token, session))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    /// The lesson is paid ahead by card.
    async fn paid_by_card(&self, lesson: &Lesson) -> Value {
        let begun = self.begin(CARD, lesson).await;
        self.pays(&begun);
        self.hear(1).await;
        self.work().await;
        begun.body["id"].clone()
    }

    /// The lesson is paid by mobile money, and its gateway tells nobody.
    async fn paid_in_silence(&self, sample: &str, lesson: &Lesson) -> Value {
        let begun = self.begin(sample, lesson).await;
        self.ends(&begun.body["id"], "SUCCESSFUL");
        self.world.fapshi.letters();
        begun.body["id"].clone()
    }

    pub(crate) async fn card_kept(&self, lesson: &Lesson) {
        let begun = self.begin(CARD_ON_FILE, lesson).await;
        assert_eq!(
            (begun.status, &begun.body["amount"]["amount"]),
            (201, &json!(0)),
            "{}",
            begun.body
        );
        self.pays(&begun);
        self.hear(1).await;
        assert_eq!(self.status(&begun.body["id"]).await, "paid");
    }
}

#[tokio::test]
async fn a_lesson_paid_ahead_by_card_keeps_what_it_costs_and_gives_the_rest_back() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(CARD, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["status"]),
        (201, &json!("open")),
        "{}",
        begun.body
    );
    let again = till.begin(CARD, &lesson).await;
    assert_eq!(
        (again.status, &again.body["url"]),
        (200, &begun.body["url"]),
        "pressed twice: the same page"
    );
    till.pays(&begun);
    till.hear(3).await;
    till.work().await;
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
    assert_eq!(
        till.books().await,
        [-10_000, 0, 0, 10_000],
        "the client has a credit, we have the money"
    );
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    till.hear(2).await;
    till.work().await;
    assert_eq!(
        till.at_stripe(),
        (vec![10_000], vec![5_000]),
        "half, and the card was not charged again"
    );
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(till.payment(&begun.body["id"]).await["refunded"]["amount"], 5_000);
    assert_eq!(till.told().await, ["refunded"]);
}

#[tokio::test]
async fn a_card_on_file_is_charged_once_however_often_answers_get_lost() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    till.world.stripe.misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });
    let jobs = till.settled_jobs().await;
    assert_eq!(jobs.len(), 1, "the settlement wrote its job");
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "the card was charged, the answer got lost"
    );
    assert_eq!(till.at_stripe().0, [10_000]);
    till.world.stripe.forget_keys();
    let workers = join_all((0..4).map(|_| till.world.function("capture-payment"))).await;
    let results = join_all(workers.iter().map(|worker| worker.consume(&jobs))).await;
    assert!(
        results.iter().any(Vec::is_empty),
        "nobody finished the job: {results:?}"
    );
    till.hear(3).await;
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
    let explain = till.world.function("explain-charge").await;
    let why = |person| {
        request(
            "explain-charge/charge.json",
            &till.world.identity.token(person),
            session,
        )
    };
    let charge = explain.call(why(till.world.cast.parent)).await.body;
    assert_eq!(charge["payments"][0]["method"], "saved_card");
    assert_eq!(charge["payments"][0]["status"], "paid");
    let tutors = explain.call(why(till.world.cast.tutor)).await.body;
    assert_eq!(
        tutors["payments"],
        json!([]),
        "how a client pays is not the tutor's business"
    );
}

#[tokio::test]
async fn a_webhook_may_come_before_the_answer_and_instead_of_it() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        answer_after_ms: 700,
        ..Faults::default()
    });
    let (failed, ()) = futures::future::join(till.capture.consume(&jobs), async {
        while till.at_stripe().0.is_empty() {
            tokio::task::yield_now().await;
        }
        till.hear(2).await;
    })
    .await;
    assert_eq!(failed, Vec::<String>::new());
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
}

#[tokio::test]
async fn a_refused_card_is_tried_after_one_three_and_five_days_and_then_the_client_is_told() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-60).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.stripe.misbehave(Faults {
        decline_next: 4,
        ..Faults::default()
    });
    till.world.travel(1);
    till.settle().await;
    let mut minutes = 1;
    let mut tries = vec![till.world.stripe.record("payment_intent").len()];
    for hours in [24, 72, 120] {
        till.world.travel(minutes + hours * 60 - 1);
        till.work().await;
        assert_eq!(
            Some(&till.world.stripe.record("payment_intent").len()),
            tries.last(),
            "too early"
        );
        minutes += hours * 60 + 1;
        till.world.travel(minutes);
        assert_eq!(till.told().await, Vec::<String>::new());
        till.work().await;
        till.hear(2).await;
        tries.push(till.world.stripe.record("payment_intent").len());
    }
    assert_eq!(tries, [1, 2, 3, 4]);
    assert_eq!(till.told().await, ["payment_failed"]);
    till.world.travel(minutes + 30 * 24 * 60);
    till.work().await;
    assert_eq!(
        till.world.stripe.record("payment_intent").len(),
        4,
        "and then no more"
    );
    assert_eq!(
        till.books().await,
        [10_000, -9_000, -1_000, 0],
        "the client owes it"
    );
    // A new card is tried at once.
    till.card_kept(&lesson).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    assert_eq!(till.books().await, [0, -9_000, -1_000, 10_000]);
    let explain = till.world.function("explain-charge").await;
    let token = till.world.identity.token(till.world.cast.parent);
    let charge = explain
        .call(request("explain-charge/charge.json", &token, session))
        .await
        .body;
    assert_eq!(
        charge["payments"].as_array().unwrap().len(),
        1,
        "five tries are one payment"
    );
}

#[tokio::test]
async fn without_a_card_or_with_a_hopeless_one_the_client_is_told_at_once_and_pays_what_is_missing() {
    let till = Till::open().await;
    let (bare, hopeless) = (till.world.lesson_in(-60).await, till.world.lesson_in(-60).await);
    till.session(&bare).await;
    till.world.travel(1);
    till.settle().await;
    assert_eq!(till.told().await, ["payment_failed"], "there is no card");
    let begun = till.begin(CARD, &bare).await;
    assert_eq!(begun.body["amount"]["amount"], 10_000);
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    till.session(&hopeless).await;
    till.world.stripe.misbehave(Faults {
        decline_next: 1,
        decline_code: "authentication_required".into(),
        ..Faults::default()
    });
    till.settle().await;
    assert_eq!(till.told().await, ["payment_failed", "payment_failed"]);
    let begun = till.begin(CARD, &hopeless).await;
    till.pays(&begun);
    till.hear(2).await;
    till.work().await;
    assert_eq!(
        till.at_stripe(),
        (vec![10_000, 10_000], vec![]),
        "the new card is not charged again"
    );
    assert_eq!(till.books().await, [0, -18_000, -2_000, 20_000]);
}

#[tokio::test]
async fn a_wrong_key_of_ours_is_an_operators_business_and_costs_nobody_anything() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-60).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(1);
    let jobs = till.settled_jobs().await;
    let wrong = [("STRIPE_SECRET_KEY", "sk_test_of-yesterday")];
    let barred = till.world.function_with("capture-payment", &wrong).await;
    assert_eq!(barred.consume(&jobs).await.len(), 1, "the job must survive");
    assert_eq!(till.told().await, Vec::<String>::new());
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    assert_eq!(till.at_stripe().0, [10_000]);
    let start = till.world.function_with("start-payment", &wrong).await;
    let other = till.world.lesson_in(60).await;
    let begun = till
        .world
        .call(&start, CARD, till.world.cast.parent, &other)
        .await;
    assert_eq!(begun.verdict(), "503 provider-unavailable");
}

#[tokio::test]
async fn mobile_money_is_asked_for_and_goes_back_to_the_phone() {
    let till = Till::open().await;
    let lesson = till.in_francs(0).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["url"]),
        (201, &Value::Null),
        "{}",
        begun.body
    );
    let asked = till.world.fapshi.record("Collection");
    assert_eq!(
        (&asked[0]["amount"], &asked[0]["externalId"]),
        (&json!(5_000), &begun.body["id"])
    );
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(2).await;
    till.work().await;
    assert_eq!(till.books().await, [-5_000, 0, 0, 5_000]);
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    till.hear(2).await;
    let back: Vec<Value> = till.world.fapshi.record("Payout");
    assert_eq!(
        (back.len(), &back[0]["amount"]),
        (1, &json!(2_500)),
        "paid out once: {back:?}"
    );
    assert_eq!(till.books().await, [0, -2_250, -250, 2_500]);
    assert_eq!(till.told().await, ["refunded"]);
}

#[tokio::test]
async fn an_unsigned_webhook_is_not_believed_before_the_gateway_confirms_it() {
    let till = Till::open().await;
    let (lesson, other) = (till.in_francs(60).await, till.in_francs(60).await);
    let (begun, others) = (till.begin(LINK, &lesson).await, till.begin(LINK, &other).await);
    let transaction = |id: &Value| {
        let mut all = till.world.fapshi.record("Collection").into_iter();
        all.find(|other| other["externalId"] == *id).unwrap()
    };
    let (mine, theirs) = (transaction(&begun.body["id"]), transaction(&others.body["id"]));
    let mut lie = mine.clone();
    lie["status"] = "SUCCESSFUL".into();
    let sample = "webhook-fapshi/successful.json";
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&lie)])
        .await;
    let queued = till.world.queued().await;
    assert_eq!(
        till.apply.consume(&queued).await.len(),
        1,
        "the gateway does not say so (yet)"
    );
    assert_eq!(till.status(&begun.body["id"]).await, "open");
    // Somebody pays for one lesson and names another.
    till.ends(&others.body["id"], "SUCCESSFUL");
    till.world.fapshi.letters();
    let mut swapped = theirs.clone();
    swapped["externalId"] = mine["externalId"].clone();
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&swapped)])
        .await;
    assert_eq!(
        till.apply.consume(&till.world.queued().await).await,
        Vec::<String>::new()
    );
    assert_eq!(till.status(&begun.body["id"]).await, "open");
    // The gateway took another amount than was asked for.
    let shrink = "UPDATE payments SET amount_minor = 4999 WHERE id = $1";
    let id: Uuid = others.body["id"].as_str().unwrap().parse().unwrap();
    till.world.owner.execute(shrink, &[&id]).await.unwrap();
    let mut honest = theirs.clone();
    honest["status"] = "EXPIRED".into();
    till.knock(&till.fapshi_door, sample, &[till.world.fapshi.letter(&honest)])
        .await;
    assert_eq!(
        till.apply.consume(&till.world.queued().await).await,
        Vec::<String>::new()
    );
    assert_eq!(till.status(&others.body["id"]).await, "open");
    let parked = "SELECT array_agg(reason ORDER BY reason) FROM provider_events WHERE status = 'parked'";
    let reasons: Vec<String> = till.world.owner.query_one(parked, &[]).await.unwrap().get(0);
    assert_eq!(
        reasons,
        [
            "another amount or currency than was asked for",
            "the gateway names another payment"
        ]
    );
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_link_expires_and_a_request_fails_and_both_can_be_started_again() {
    let till = Till::open().await;
    let lesson = till.in_francs(60 * 48).await;
    let link = till.begin(LINK, &lesson).await;
    let phone = till.begin(PHONE, &lesson).await;
    till.ends(&link.body["id"], "EXPIRED");
    till.ends(&phone.body["id"], "FAILED");
    till.hear(2).await;
    let seen = [
        till.payment(&link.body["id"]).await,
        till.payment(&phone.body["id"]).await,
    ];
    assert_eq!(
        json!([seen[0]["status"], seen[0]["reason"], seen[0]["url"]]),
        json!(["closed", "expired", null])
    );
    assert_eq!(seen[1]["status"], "failed");
    assert_eq!(till.told().await, ["payment_failed"]);
    let again = till.begin(LINK, &lesson).await;
    assert_eq!(again.status, 201);
    assert_ne!(again.body["url"], link.body["url"]);
    till.ends(&again.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    assert_eq!(till.status(&again.body["id"]).await, "paid");
}

#[tokio::test]
async fn money_that_comes_after_everybody_gave_it_up_is_entered_and_given_back_if_it_is_too_much() {
    let till = Till::open().await;
    let lesson = till.in_francs(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    // The request reaches the phone, its answer does not reach us.
    till.world.fapshi.misbehave(Faults {
        lose_next: 1,
        ..Faults::default()
    });
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "503 provider-unavailable"
    );
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "503 payment-being-started"
    );
    till.world.travel(31);
    till.settle().await;
    assert_eq!(
        till.at_stripe().0,
        [5_000],
        "nobody had paid, so the card was charged"
    );
    let asked = till.world.fapshi.record("Collection");
    till.ends(&asked[0]["externalId"], "SUCCESSFUL");
    till.hear(2).await;
    till.work().await;
    till.hear(2).await;
    assert_eq!(till.status(&asked[0]["externalId"]).await, "paid");
    let back: i64 = till
        .world
        .fapshi
        .record("Payout")
        .iter()
        .map(|out| out["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(back, 5_000, "paid twice, so once went back");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn a_payment_whose_webhook_was_lost_is_looked_up_before_a_card_is_charged() {
    let till = Till::open().await;
    let lesson = till.in_francs(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    let begun = till.begin(LINK, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.world.fapshi.letters();
    till.world.travel(31);
    till.settle().await;
    assert_eq!(
        till.at_stripe().0,
        Vec::<i64>::new(),
        "it was paid, only nobody had said so"
    );
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn a_correction_gives_back_what_was_collected_and_collects_nothing_that_it_overtook() {
    let till = Till::open().await;
    let (collected, overtaken) = (till.world.lesson_in(-75).await, till.world.lesson_in(-75).await);
    till.session(&collected).await;
    till.session(&overtaken).await;
    till.card_kept(&collected).await;
    till.world.travel(1);
    let correct = |lesson: &Lesson| {
        let end = lesson.starts_at + SignedDuration::from_mins(30);
        let (world, lesson) = (&till.world, *lesson);
        async move { world.room_ended(&lesson, end).await }
    };
    let tick = till.world.function("process-charges").await;
    tick.invoke(json!({})).await.unwrap();
    correct(&overtaken).await;
    tick.invoke(json!({})).await.unwrap();
    till.work().await;
    assert_eq!(
        till.at_stripe().0,
        [10_000],
        "the other was corrected before its card was charged"
    );
    correct(&collected).await;
    tick.invoke(json!({})).await.unwrap();
    till.work().await;
    till.hear(2).await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![10_000]));
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_refund_happens_once_though_its_answer_is_lost_or_late_or_a_failure() {
    let till = Till::open().await;
    let lessons = [till.world.lesson_in(30).await, till.world.lesson_in(30).await];
    let cancel = till.world.function("cancel-session").await;
    let mut sessions = Vec::new();
    for lesson in &lessons {
        sessions.push(till.session(lesson).await);
        let begun = till.begin(CARD, lesson).await;
        till.pays(&begun);
        till.hear(1).await;
        till.work().await;
    }
    for session in sessions {
        let token = till.world.identity.token(till.world.cast.parent);
        let cancelled = cancel
            .call(request("cancel-session/cancel.json", &token, session))
            .await;
        assert_eq!(cancelled.status, 200);
    }
    till.relay.invoke(json!({})).await.unwrap();
    till.capture
        .consume(&till.world.queued_in(&till.world.payments).await)
        .await;
    till.relay.invoke(json!({})).await.unwrap();
    let refunds = till.world.queued_in(&till.world.refunds).await;
    assert_eq!(refunds.len(), 2);
    till.world.stripe.misbehave(Faults {
        lose_next: 2,
        refunds_wait: true,
        ..Faults::default()
    });
    assert_eq!(
        till.refund.consume(&refunds).await.len(),
        2,
        "both answers got lost"
    );
    // More than a day passes, and with it the keys: only a look at what became of them keeps them from being made again.
    till.world.stripe.forget_keys();
    till.world.travel(26 * 60);
    assert_eq!(till.refund.consume(&refunds).await, Vec::<String>::new());
    let made = till.world.stripe.record("refund");
    assert_eq!(made.len(), 2);
    assert_eq!(
        till.books().await,
        [-20_000, 0, 0, 20_000],
        "nothing went back yet"
    );
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "succeeded");
    till.world
        .stripe
        .end_refund(made[1]["id"].as_str().unwrap(), "failed");
    till.hear(3).await;
    till.work().await;
    assert_eq!(
        till.books().await,
        [-10_000, 0, 0, 10_000],
        "one client still has a credit"
    );
    assert_eq!(till.told().await, ["refunded", "refund_failed"]);
    assert_eq!(
        till.world.stripe.record("refund").len(),
        2,
        "a failure waits for a person"
    );
    // The client's bank sends back what had arrived.
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "failed");
    till.hear(2).await;
    assert_eq!(till.books().await, [-20_000, 0, 0, 20_000]);
    assert_eq!(till.told().await.len(), 3);
}

#[tokio::test]
async fn a_payout_happens_once_though_its_answer_is_lost_spoilt_or_never_came_to_be() {
    let till = Till::open().await;
    let none = Faults::default();
    let faults = [
        (
            Faults {
                lose_next: 1,
                is_silent: true,
                ..none.clone()
            },
            1,
        ),
        (
            Faults {
                break_after_next: 1,
                is_silent: true,
                ..none.clone()
            },
            1,
        ),
        (
            Faults {
                vanish_next: 1,
                is_silent: true,
                ..none
            },
            0,
        ),
    ];
    let mut minutes = 0;
    for (n, (fault, made)) in faults.into_iter().enumerate() {
        till.world.fapshi.misbehave(Faults::default());
        let lesson = till.in_francs(60).await;
        let session = till.session(&lesson).await;
        let begun = till.begin(PHONE, &lesson).await;
        till.ends(&begun.body["id"], "SUCCESSFUL");
        till.hear(1).await;
        till.cancelled(session).await;
        till.relay.invoke(json!({})).await.unwrap();
        let jobs = till.world.queued_in(&till.world.payments).await;
        till.capture.consume(&jobs).await;
        till.relay.invoke(json!({})).await.unwrap();
        let refunds = till.world.queued_in(&till.world.refunds).await;

        // Fapshi knows no keys, and tells nobody: only a look at what became of it says that it was made.
        till.world.fapshi.misbehave(fault);
        assert_eq!(
            till.refund.consume(&refunds).await.len(),
            1,
            "its answer got lost"
        );
        let payouts = || till.world.fapshi.record("Payout").len();
        assert_eq!(payouts(), n + made);
        minutes += 3;
        till.world.travel(minutes);
        till.refund.consume(&refunds).await;
        // What was taken a moment ago is looked up by the schedule.
        minutes += 11;
        till.world.travel(minutes);
        till.reconcile().await;
        till.work().await;

        assert_eq!(payouts(), n + 1);
        assert_eq!(till.refunds().await, vec!["done"; n + 1]);
    }
    assert_eq!(till.world.count("notifications WHERE kind = 'refunded'").await, 3);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn too_little_for_a_payout_is_left_to_a_person() {
    let till = Till::open().await;
    let lesson = Lesson {
        price: 150,
        currency: "XAF",
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());
    assert_eq!(till.told().await, ["refund_failed"]);
    let sql = "SELECT status || ' ' || reason FROM refunds";
    let row: String = till.world.owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(row, "failed below_minimum");
    assert_eq!(
        till.books().await,
        [-75, -67, -8, 150],
        "the client has a credit of half"
    );
}

#[tokio::test]
async fn disputed_money_leaves_the_books_at_once_and_comes_back_if_it_is_won() {
    let till = Till::open().await;
    let (lost, won) = (till.world.lesson_in(60).await, till.world.lesson_in(60).await);
    let ids = [till.paid_by_card(&lost).await, till.paid_by_card(&won).await];
    let intents: Vec<String> = till
        .world
        .stripe
        .record("payment_intent")
        .iter()
        .map(|intent| intent["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(till.balance("receivable").await, -20_000);

    for intent in &intents {
        till.world.stripe.dispute(intent, "needs_response");
    }
    till.hear(2).await;
    assert_eq!(
        till.balance("receivable").await,
        0,
        "the banks have taken it back"
    );
    assert_eq!(till.payment(&ids[0]).await["is_disputed"], true);
    assert_eq!(
        till.begin(CARD, &lost).await.verdict(),
        "409 nothing-to-pay",
        "nothing is decided yet"
    );

    till.world.stripe.dispute(&intents[0], "lost");
    till.world.stripe.dispute(&intents[1], "won");
    till.hear(2).await;
    till.work().await;
    assert_eq!(till.balance("receivable").await, -10_000, "one is back");
    assert_eq!(till.at_stripe().0.len(), 2, "no card was charged for it");
    let again = till.begin(CARD, &lost).await;
    assert_eq!(
        (again.status, &again.body["amount"]["amount"]),
        (201, &json!(10_000)),
        "the other is owed again"
    );
    assert_eq!(till.begin(CARD, &won).await.verdict(), "409 nothing-to-pay");
}

#[tokio::test]
async fn the_client_alone_is_told_once_that_a_dispute_was_lost() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.paid_by_card(&lesson).await;
    let paid = till.world.stripe.record("payment_intent");
    let intent = paid[0]["id"].as_str().unwrap();
    till.world.stripe.dispute(intent, "needs_response");
    till.hear(2).await;
    assert_eq!(
        till.told().await,
        Vec::<String>::new(),
        "their bank is still to decide"
    );

    // Each event comes twice, and there are two of them.
    for _ in 0..2 {
        till.world.stripe.dispute(intent, "lost");
        till.hear(2).await;
    }

    assert_eq!(till.told().await, ["dispute_lost"]);
    let told = "notifications WHERE kind = 'dispute_lost'";
    assert_eq!(till.world.count(told).await, 1, "somebody else was told, too");
}

#[tokio::test]
async fn what_other_software_on_the_account_does_is_forgotten() {
    let till = Till::open().await;
    till.world.stripe.dispute("pi_of-other-software", "lost");
    till.hear(2).await;
    assert_eq!(till.world.count("disputes").await, 0);
    assert_eq!(
        till.world
            .count("provider_events WHERE status <> 'applied'")
            .await,
        0
    );
}

#[tokio::test]
async fn only_the_client_pays_and_only_what_can_be_paid() {
    let till = Till::open().await;
    let (world, cast) = (&till.world, till.world.cast);
    let lesson = world.lesson_in(60).await;
    for (who, person, verdict) in [
        ("the tutor", cast.tutor, "403 not-the-client"),
        ("the student", cast.student, "403 not-the-client"),
        ("a stranger", cast.stranger, "403 forbidden"),
    ] {
        assert_eq!(
            world.call(&till.start, CARD, person, &lesson).await.verdict(),
            verdict,
            "{who}"
        );
    }
    assert_eq!(
        till.begin(PHONE, &lesson).await.verdict(),
        "409 currency-not-supported"
    );
    let price = |minor: &'static str, currency: &'static str| {
        let sql = format!("UPDATE bookings SET price_minor = {minor}, price_currency = {currency}");
        async move { world.owner.batch_execute(&sql).await.unwrap() }
    };
    price("99", "'XAF'").await;
    assert_eq!(till.begin(LINK, &lesson).await.verdict(), "409 amount-too-small");
    price("0", "'XAF'").await;
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    price("NULL", "NULL").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 booking-without-price"
    );
    price("5000", "'XAF'").await;
    let timed = |start: &'static str| {
        let sql = format!("UPDATE bookings SET session_start_time = {start}");
        async move { world.owner.batch_execute(&sql).await.unwrap() }
    };
    timed("NULL").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 booking-without-time"
    );
    timed("now() + interval '1 hour'").await;
    price("100000", "'UGX'").await;
    assert_eq!(
        till.begin(CARD, &lesson).await.verdict(),
        "409 payment-refused",
        "Stripe counts it in hundredths"
    );
    price("5000", "'XAF'").await;
    let mut wrong = world.request(PHONE, cast.parent, &lesson);
    for (body, verdict) in [
        (
            r#"{"method": "mobile_money", "phone": "12"}"#,
            "400 malformed-phone",
        ),
        (r#"{"method": "mobile_money"}"#, "400 malformed-body"),
        (r#"{"method": "card", "amount": 1}"#, "400 malformed-body"),
        (
            r#"{"method": "saved_card", "card": "pm_1"}"#,
            "400 malformed-body",
        ),
        (r#"{"method": "saved_card"}"#, "409 no-card-on-file"),
        (r#"{"method": "cash"}"#, "400 malformed-body"),
    ] {
        wrong["body"] = body.into();
        assert_eq!(till.start.call(wrong.clone()).await.verdict(), verdict, "{body}");
    }
    let cards_only = world
        .function_with("start-payment", &[("PAYMENT_METHODS", "card, card_on_file")])
        .await;
    let refused = world.call(&cards_only, PHONE, cast.parent, &lesson).await;
    assert_eq!(refused.verdict(), "409 method-not-offered");
    let begun = till.begin(PHONE, &lesson).await;
    let id = begun.body["id"].as_str().unwrap().parse().unwrap();
    let others = request("get-payment/payment.json", &world.identity.token(cast.tutor), id);
    assert_eq!(till.get.call(others).await.verdict(), "403 forbidden");
    world
        .owner
        .batch_execute("UPDATE bookings SET status = 'cancelled'")
        .await
        .unwrap();
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-cancelled");
}

#[tokio::test]
async fn forged_altered_and_old_webhooks_are_refused_at_the_door() {
    let till = Till::open().await;
    let body = r#"{"id":"evt_1","type":"checkout.session.completed","data":{"object":{"id":"cs_1","object":"checkout.session"}}}"#;
    let stripe = "webhook-stripe/checkout-completed.json";
    let good = letter_event(stripe, &till.world.stripe.letter(body.into()));
    let mut altered = good.clone();
    altered["body"] = body.replace("cs_1", "cs_2").into();
    let mut unsigned = good.clone();
    unsigned["headers"]
        .as_object_mut()
        .unwrap()
        .remove("stripe-signature");
    let mut huge = good.clone();
    huge["body"] = "x".repeat(256 * 1024 + 1).into();
    let garbage = letter_event(stripe, &till.world.stripe.letter("{}".into()));
    for (event, verdict) in [
        (altered, "401 webhook-not-authentic"),
        (unsigned, "401 webhook-not-authentic"),
        (request(stripe, "", Uuid::nil()), "401 webhook-not-authentic"),
        (huge, "413 body-too-large"),
        (garbage, "400 malformed-body"),
    ] {
        assert_eq!(till.stripe_door.call(event).await.verdict(), verdict);
    }
    till.world.travel(6);
    let late = till.stripe_door.call(good).await;
    assert_eq!(
        late.verdict(),
        "401 webhook-not-authentic",
        "replayed after six minutes"
    );
    let fapshi = "webhook-fapshi/successful.json";
    let secret = crate::harness::FAPSHI_WEBHOOK_SECRET;
    let mut without = request(fapshi, secret, Uuid::nil());
    without["headers"].as_object_mut().unwrap().remove("x-wh-secret");
    let mut outside = request(fapshi, secret, Uuid::nil());
    outside["body"] = r#"{"transId":"../balance","status":"SUCCESSFUL"}"#.into();
    for (event, verdict) in [
        (without, "401 webhook-not-authentic"),
        (request(fapshi, "guess", Uuid::nil()), "401 webhook-not-authentic"),
        (
            request(fapshi, &format!("{secret}, {secret}"), Uuid::nil()),
            "401 webhook-not-authentic",
        ),
        (outside, "400 malformed-body"),
    ] {
        assert_eq!(till.fapshi_door.call(event).await.verdict(), verdict);
    }
    assert_eq!(
        till.world.queued().await,
        Vec::<Value>::new(),
        "something was queued"
    );
}

#[tokio::test]
async fn the_database_itself_refuses_money_that_does_not_add_up() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    let refund =
        "INSERT INTO refunds (id, booking_id, ordinal, payment_id, amount_minor, currency, created_at)
                  SELECT gen_random_uuid(), booking_id, 1, id";
    let attempts = [
        format!("{refund}, 10001, currency, now() FROM payments"),
        format!("{refund}, 100, 'USD', now() FROM payments"),
        "INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
         SELECT id, 'cash/stripe/TTD', 'dispute', 100, 'TTD', now() FROM payments".into(),
        "INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
         SELECT payment_id, account_id, kind, amount_minor, currency, now() FROM ledger_entries".into(),
        "INSERT INTO ledger_entries (account_id, kind, amount_minor, currency, created_at)
         VALUES ('cash/stripe/TTD', 'payment', 1, 'TTD', now()), ('cash/stripe/TTD', 'payment', -1, 'TTD', now())".into(),
        "UPDATE payments SET status = 'open'".into(),
    ];
    for attempt in attempts {
        assert!(
            till.world.owner.batch_execute(&attempt).await.is_err(),
            "even the owner may: {attempt}"
        );
    }
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);
}

// Nothing waits for ever ------------------------------------------------------------------------------------

#[tokio::test]
async fn a_payment_whose_webhook_was_lost_comes_to_light_though_nothing_is_missing() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let id = till.paid_in_silence(LINK, &lesson).await;

    till.cancelled(session).await;
    till.work().await;
    till.hear(1).await;

    assert_eq!(till.status(&id).await, "paid");
    assert_eq!(till.world.fapshi.record("Payout").len(), 1, "it went back");
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_open_is_looked_at_again_with_growing_gaps_until_it_has_an_end() {
    let till = Till::open().await;
    let (paid, unpaid) = (till.in_francs(600).await, till.in_francs(600).await);
    let id = till.paid_in_silence(LINK, &paid).await;
    till.begin(LINK, &unpaid).await;
    let asked = async |minutes| {
        till.world.travel(minutes);
        let reconciled = till.reconcile().await;
        assert_eq!(reconciled.given_up, 0);
        reconciled.asked
    };

    assert_eq!(asked(9).await, 0, "too early");
    assert_eq!(asked(11).await, 2);
    assert_eq!(asked(11).await, 0, "they were claimed");
    till.work().await;
    assert_eq!(till.status(&id).await, "paid");
    assert_eq!(till.books().await, [-5_000, 0, 0, 5_000]);

    assert_eq!(asked(30).await, 0, "the next look is twenty minutes later");
    assert_eq!(asked(32).await, 1, "what has its end is not looked at again");
    assert_eq!(asked(70).await, 0, "and then forty");
    assert_eq!(asked(73).await, 1);
    let overview = till.overview().await;
    assert!(
        (72 * 60..=75 * 60).contains(&overview.open_payment_seconds),
        "{overview:?}"
    );
}

#[tokio::test]
async fn a_refund_of_which_nobody_tells_is_looked_up_and_never_asked_for_twice() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.world.fapshi.misbehave(Faults {
        refunds_wait: true,
        ..Faults::default()
    });
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["pending"]);

    // It goes out, and its webhook is lost.
    let out = till.world.fapshi.record("Payout");
    till.world
        .fapshi
        .end(out[0]["transId"].as_str().unwrap(), "SUCCESSFUL");
    till.world.fapshi.letters();
    till.world.travel(11);
    assert_eq!(till.reconcile().await.asked, 1);
    till.work().await;

    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
    assert_eq!(till.told().await, ["refunded"]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_gateway_never_tells_is_given_up_after_a_month_and_entered_if_it_comes_all_the_same() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let begun = till.begin(LINK, &lesson).await;
    let mut given_up = Vec::new();
    for day in 1..=40 {
        till.world.travel(day * 24 * 60);
        if till.reconcile().await.given_up > 0 {
            given_up.push(day);
        }
    }

    assert_eq!(given_up.len(), 1, "once: {given_up:?}");
    assert!((30..=32).contains(&given_up[0]), "after a month: {given_up:?}");
    let seen = till.payment(&begun.body["id"]).await;
    assert_eq!(
        json!([seen["status"], seen["reason"]]),
        json!(["failed", "gateway_silent"])
    );
    assert_eq!(till.told().await, ["payment_failed"]);

    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    assert_eq!(till.status(&begun.body["id"]).await, "paid");
}

#[tokio::test]
async fn who_asks_where_a_payment_stands_or_for_another_is_told_what_its_gateway_says() {
    let till = Till::open().await;
    let (first, second, third) = (
        till.in_francs(60).await,
        till.in_francs(60).await,
        till.in_francs(60).await,
    );
    let seen = till.paid_in_silence(LINK, &first).await;
    let ordered = till.paid_in_silence(LINK, &second).await;
    let failed = till.begin(PHONE, &third).await;
    till.ends(&failed.body["id"], "FAILED");
    till.world.fapshi.letters();

    till.world.travel(1);
    till.world.fapshi.misbehave(Faults {
        fail_next: 1,
        ..Faults::default()
    });
    assert_eq!(till.status(&seen).await, "open", "all that is known here");
    till.world.travel(2);
    assert_eq!(till.status(&seen).await, "paid");

    let again = till.begin(LINK, &second).await;
    assert_eq!(
        json!([
            again.status,
            again.body["id"],
            again.body["status"],
            again.body["url"]
        ]),
        json!([200, ordered, "paid", null])
    );
    assert_eq!(till.begin(LINK, &second).await.verdict(), "409 nothing-to-pay");

    assert_eq!(
        till.begin(PHONE, &third).await.verdict(),
        "503 payment-being-started"
    );
    assert_eq!(till.begin(PHONE, &third).await.status, 201);
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);
}

// What is owed ------------------------------------------------------------------------------------------------

/// Half of a lesson that was paid ahead by card should go back, and its bank refuses it.
async fn half_could_not_go_back(till: &Till) -> (Lesson, Uuid) {
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.paid_by_card(&lesson).await;
    till.world.stripe.misbehave(Faults {
        refunds_wait: true,
        ..Faults::default()
    });
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    let made = till.world.stripe.record("refund");
    till.world
        .stripe
        .end_refund(made[0]["id"].as_str().unwrap(), "failed");
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.told().await, ["refund_failed"]);
    assert_eq!(till.overview().await.failed_refunds, 1);
    till.world.stripe.misbehave(Faults::default());
    (lesson, session)
}

#[tokio::test]
async fn a_refund_that_failed_is_no_money_given_back_and_nobody_pays_twice() {
    let till = Till::open().await;
    let (lesson, session) = half_could_not_go_back(&till).await;

    till.corrected_to_full(session).await;
    till.look_at_everything().await;

    assert_eq!(till.at_stripe().0, [10_000], "the card was charged again");
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");
    // Nor does it go back any more, for it is not owed.
    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    assert_eq!(till.world.stripe.record("refund").len(), 1);
    assert_eq!(till.overview().await.failed_refunds, 0);
}

#[tokio::test]
async fn a_refund_that_failed_is_tried_again_or_settled_by_an_operator_whose_name_and_reason_stay() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;

    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![5_000]));
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(till.told().await, ["refund_failed", "refunded"]);
    assert_eq!(till.operator("retry_refund").await.unwrap(), 0, "nothing waits");

    let other = Till::open().await;
    half_could_not_go_back(&other).await;
    assert_eq!(other.operator("settle_refund").await.unwrap(), 1);
    other.work().await;
    assert_eq!(other.refunds().await, ["done by_hand"]);
    assert_eq!(other.at_stripe().1, Vec::<i64>::new());
    assert_eq!(other.books().await, [0, -4_500, -500, 5_000]);
    assert_eq!(other.told().await, ["refund_failed", "refunded"]);
    let record = "SELECT concat_ws(' ', what, by, reason) FROM operator_actions";
    let record: String = other.world.owner.query_one(record, &[]).await.unwrap().get(0);
    assert_eq!(record, "settle-refund Olu the client called");
    assert!(
        other
            .world
            .owner
            .execute("DELETE FROM operator_actions", &[])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn whose_refund_failed_was_made_after_all_and_came_back_was_last_told_that_it_failed() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;
    let refund = "SELECT id, gateway_id FROM refunds";
    let refund = till.world.owner.query_one(refund, &[]).await.unwrap();
    let (id, gateway_id) = (RefundId(refund.get(0)), refund.get::<_, String>(1));

    let done = Refunded::Done {
        gateway_id: gateway_id.clone(),
        fee: None,
    };
    let came_back = Refunded::Failed {
        gateway_id: Some(gateway_id),
        reason: "expired_or_canceled_card".into(),
    };
    let (database, ids, now) = till.hands();
    for found in [done, came_back] {
        let finding = Finding::Refund(id, found);
        let entered = store::payments::enter(&database, &finding, &ids, now).await;
        assert_eq!(entered.unwrap(), Entered::Yes, "{finding:?}");
    }

    assert_eq!(till.refunds().await, ["failed expired_or_canceled_card"]);
    assert_eq!(till.told().await, ["refund_failed", "refunded", "refund_failed"]);
}

#[tokio::test]
async fn what_a_correction_has_made_due_again_is_not_settled_by_hand() {
    let till = Till::open().await;
    let (_, session) = half_could_not_go_back(&till).await;
    let books = till.books().await;

    till.corrected_to_full(session).await;
    let refused = till.operator("settle_refund").await.unwrap_err();

    let why = refused.as_db_error().map(tokio_postgres::error::DbError::message);
    assert_eq!(
        why,
        Some("the lesson costs that money by now: nothing is to be given back")
    );
    assert_eq!(
        till.overview().await.failed_refunds,
        1,
        "it still waits for a person"
    );
    assert_eq!(till.books().await, books);
    assert_eq!(till.world.count("operator_actions").await, 0);
}

#[tokio::test]
async fn after_a_refund_was_settled_by_hand_its_tab_is_looked_at() {
    let till = Till::open().await;
    let (lesson, _) = half_could_not_go_back(&till).await;

    assert_eq!(till.operator("settle_refund").await.unwrap(), 1);

    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    assert_eq!(jobs.len(), 1, "nobody looks whether it is still right: {jobs:?}");
    let job: Value = serde_json::from_str(jobs[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&job["type"], &job["payload"]["booking_id"]),
        (&json!("look_at_tab"), &json!(lesson.id))
    );
}

#[tokio::test]
async fn an_adjustment_balances_and_needs_a_name_and_a_reason() {
    let till = Till::open().await;
    let adjust = async |from: &str, to: &str, minor: i64, by: &str| {
        let sql = "SELECT adjust($1, $2, $3, $4, 'the monthly invoice')";
        till.world.owner.execute(sql, &[&from, &to, &minor, &by]).await
    };
    let (cash, fees) = ("cash/stripe/TTD", "gateway_fees/stripe/TTD");
    adjust(cash, fees, 250, "Olu").await.unwrap();
    assert_eq!(
        [till.balance("cash").await, till.balance("gateway_fees").await],
        [-250, 250]
    );
    for (from, to, minor, by) in [
        (cash, fees, 250, ""),
        (cash, fees, -1, "Olu"),
        (cash, cash, 1, "Olu"),
        (cash, "gateway_fees/stripe/EUR", 1, "Olu"),
        (cash, "petty cash", 1, "Olu"),
    ] {
        assert!(
            adjust(from, to, minor, by).await.is_err(),
            "{from} {to} {minor} {by}"
        );
    }
    assert_eq!(till.world.count("operator_actions").await, 1);
}

#[tokio::test]
async fn of_many_workers_at_one_payout_only_one_asks_for_it() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.cancelled(session).await;
    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    till.capture.consume(&jobs).await;
    till.relay.invoke(json!({})).await.unwrap();
    let refunds = till.world.queued_in(&till.world.refunds).await;
    till.world.fapshi.misbehave(Faults {
        answer_after_ms: 300,
        ..Faults::default()
    });

    let workers = join_all((0..6).map(|_| till.world.function("refund-payment"))).await;
    join_all(workers.iter().map(|worker| worker.consume(&refunds))).await;

    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
}

#[tokio::test]
async fn a_refund_that_is_not_due_any_more_is_withdrawn_before_it_is_asked_for() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.paid_by_card(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    till.relay.invoke(json!({})).await.unwrap();
    let jobs = till.world.queued_in(&till.world.payments).await;
    till.capture.consume(&jobs).await;
    assert_eq!(till.refunds().await, ["opening"]);

    till.corrected_to_full(session).await;
    till.work().await;

    assert_eq!(till.refunds().await, ["closed not_due"]);
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
}

#[tokio::test]
async fn a_payout_that_is_refused_is_tried_again_before_a_person_is_asked() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    let phone = async |number: &str| {
        let sql = "UPDATE payments SET payer_phone = $1";
        till.world.owner.execute(sql, &[&number]).await.unwrap();
    };
    phone("1").await;
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["opening refused"]);
    assert_eq!(till.told().await, Vec::<String>::new());

    let mut minutes = 0;
    for gap in [11, 61, 361] {
        minutes += gap;
        till.world.travel(minutes);
        till.work().await;
    }
    assert_eq!(till.refunds().await, ["opening refused"]);
    phone("670000000").await;
    till.world.travel(minutes + 24 * 60 + 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.world.fapshi.record("Payout").len(), 1);
}

#[tokio::test]
async fn a_refund_that_waits_for_its_next_try_is_no_money_given_back_and_nobody_pays_twice() {
    let till = Till::open().await;
    let lesson = till.in_francs(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    let begun = till.begin(PHONE, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    let wrong = "UPDATE payments SET payer_phone = '1' WHERE method = 'mobile_money'";
    till.world.owner.execute(wrong, &[]).await.unwrap();
    till.world.travel(25);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["opening refused"]);

    till.corrected_to_full(session).await;
    till.look_at_everything().await;

    assert_eq!(till.refunds().await, ["closed not_due"]);
    assert_eq!(
        till.at_stripe().0,
        Vec::<i64>::new(),
        "half is collected again that never went back"
    );
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 nothing-to-pay");

    // When its next try would have been, nothing goes back either.
    till.world.travel(25 + 11);
    till.work().await;
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());
}

#[tokio::test]
async fn much_money_for_a_phone_that_may_not_be_the_payers_waits_for_an_operator() {
    let mut till = Till::open().await;
    till.capture = till
        .world
        .function_with("capture-payment", &[("REFUND_REVIEW_ABOVE", "4999")])
        .await;
    let lesson = till.in_francs(60).await;
    let session = till.session(&lesson).await;
    let begun = till.begin(LINK, &lesson).await;
    till.ends(&begun.body["id"], "SUCCESSFUL");
    till.hear(1).await;
    till.cancelled(session).await;
    till.work().await;
    assert_eq!(till.refunds().await, ["held"]);
    assert_eq!(till.world.fapshi.record("Payout"), Vec::<Value>::new());

    assert_eq!(till.operator("retry_refund").await.unwrap(), 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.refunds().await, ["done"]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn money_for_a_lesson_to_which_nobody_ever_agreed_goes_back_by_itself() {
    let till = Till::open().await;
    let lesson = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now() + SignedDuration::from_mins(60))
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    till.paid_by_card(&lesson).await;
    assert_eq!(till.books().await, [-10_000, 0, 0, 10_000]);

    till.world.travel(121);
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-closed");
    till.reconcile().await;
    till.work().await;
    assert_eq!(
        till.at_stripe().1,
        Vec::<i64>::new(),
        "somebody may still say yes"
    );

    till.world.travel(120 + 24 * 60 + 2);
    assert_eq!(till.reconcile().await.asked, 1);
    till.work().await;
    till.hear(1).await;
    assert_eq!(till.at_stripe().1, [10_000]);
    assert_eq!(till.books().await, [0, 0, 0, 0]);
    till.world.travel(120 + 48 * 60 + 10);
    assert_eq!(till.reconcile().await, Reconciled::default(), "that was all");
}

#[tokio::test]
async fn another_phone_gets_a_link_and_a_request_of_its_own() {
    let till = Till::open().await;
    let lesson = till.in_francs(60).await;
    for sample in [LINK, PHONE] {
        let first = till.begin(sample, &lesson).await;
        let mut event = till.world.request(sample, till.world.cast.parent, &lesson);
        let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        body["phone"] = "699999999".into();
        event["body"] = body.to_string().into();
        let second = till.start.call(event).await;
        assert_eq!(second.status, 201, "{}", second.body);
        assert_ne!(second.body["id"], first.body["id"]);
    }
}

#[tokio::test]
async fn too_little_for_any_card_stays_on_the_account_and_nobody_is_asked_for_it() {
    let till = Till::open().await;
    let lesson = Lesson {
        price: 60,
        ..Lesson::starting(Timestamp::now())
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    till.work().await;
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());
    assert_eq!(till.told().await, Vec::<String>::new());
    assert_eq!(till.balance("receivable").await, 30);
    let closed = "payments WHERE status = 'closed' AND reason = 'amount_too_small'";
    assert_eq!(till.world.count(closed).await, 1);
}

#[tokio::test]
async fn a_charge_is_told_to_whose_card_it_was_and_a_fee_that_is_told_late_enters_once() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(-30).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(31);
    till.settle().await;
    till.hear(2).await;
    assert_eq!(till.world.count("notifications WHERE kind = 'charged'").await, 1);

    let other = till.in_francs(60).await;
    let begun = till.begin(LINK, &other).await;
    let id: PaymentId = begun.body["id"].as_str().unwrap().parse().unwrap();
    let before = till.balance("gateway_fees").await;
    let (database, ids, now) = till.hands();
    for fee in [None, Some(150), Some(150), Some(151)] {
        let paid = Paid {
            amount: Money::new(5_000, Currency::XAF),
            gateway_id: "told-by-hand".into(),
            intent: None,
            card: None,
            fee: fee.map(|minor| Money::new(minor, Currency::XAF)),
        };
        let finding = Finding::Payment(id, Outcome::Paid(paid));
        store::payments::enter(&database, &finding, &ids, now)
            .await
            .unwrap();
    }
    assert_eq!(till.balance("gateway_fees").await - before, 150);
}

// What changes meanwhile --------------------------------------------------------------------------------------

#[tokio::test]
async fn who_waits_while_the_price_changes_is_asked_for_the_new_one() {
    let till = Till::open().await;
    let lesson = Lesson {
        status: "pending",
        ..Lesson::starting(Timestamp::now() + SignedDuration::from_mins(60))
    };
    let lesson = lesson.booked_by(&till.world.cast, &till.world.owner).await;
    let name = "SELECT current_database()::text";
    let name: String = till.world.owner.query_one(name, &[]).await.unwrap().get(0);
    let platform = owner(&owner_url(&name)).await;
    let dearer = format!(
        "BEGIN; UPDATE public.bookings SET price_minor = 12000 WHERE id = '{}'",
        lesson.id
    );
    platform.batch_execute(&dearer).await.unwrap();

    let (begun, ()) = futures::future::join(till.begin(CARD, &lesson), async {
        till.until_somebody_waits().await;
        platform.batch_execute("COMMIT").await.unwrap();
    })
    .await;

    assert_eq!(
        (begun.status, &begun.body["amount"]["amount"]),
        (201, &json!(12_000)),
        "{}",
        begun.body
    );
    let page = till.world.stripe.record("checkout.session");
    assert_eq!(page[0]["amount_total"], 12_000, "the page says otherwise");
}

impl Till {
    /// A lesson of 5,000 francs that is over, with a card on file. Of its link, which was for 2,000, nobody has heard that it
    /// was paid: the lesson, and the link's payment.
    async fn held_with_part_paid_in_silence(&self) -> (Lesson, Value) {
        let cheap = Lesson {
            price: 2_000,
            currency: "XAF",
            ..Lesson::starting(Timestamp::now())
        };
        let lesson = cheap.booked_by(&self.world.cast, &self.world.owner).await;
        let link = self.paid_in_silence(LINK, &lesson).await;
        self.platform_writes(&lesson, "price_minor = 5000").await;
        self.operator_accepts(&lesson, "price").await;

        self.session(&lesson).await;
        self.card_kept(&lesson).await;
        self.world.travel(61);
        (lesson, link)
    }
}

#[tokio::test]
async fn a_card_is_charged_only_what_is_missing_though_the_rest_comes_to_light_while_it_is_about_to_be() {
    let till = Till::open().await;
    let (_, link) = till.held_with_part_paid_in_silence().await;

    // How much is missing is known only once the look has found the link paid.
    till.settle().await;

    assert_eq!(till.status(&link).await, "paid");
    assert_eq!(till.at_stripe().0, [3_000], "as it was asked for");
    let written = "SELECT concat_ws(' ', status, amount_minor) FROM payments WHERE method = 'saved_card'";
    let written: String = till.world.owner.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, "paid 3000", "as it is written down");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn a_card_is_charged_only_what_is_missing_though_a_worker_died_before_it_knew_how_much_that_is() {
    let till = Till::open().await;
    let (lesson, link) = till.held_with_part_paid_in_silence().await;
    till.tick().await;

    // It has looked, and asked no gateway of anything.
    let (database, _, now) = till.hands();
    let look = store::payments::look_at_tab(&database, BookingId(lesson.id), now).await;
    assert!(look.unwrap().is_some_and(|open| open.collection().is_some()));

    till.work().await;

    assert_eq!(till.status(&link).await, "paid");
    assert_eq!(till.at_stripe(), (vec![3_000], vec![]), "of 5,000");
    assert_eq!(till.refunds().await, Vec::<String>::new(), "what was too much");
    assert_eq!(till.books().await, [0, -4_500, -500, 5_000]);
}

#[tokio::test]
async fn nothing_is_charged_beside_a_collection_that_was_overtaken_while_that_may_be_under_way() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        vanish_next: 1,
        ..Faults::default()
    });
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "nobody knows whether half was charged"
    );

    till.corrected_to_full(session).await;

    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "the whole is charged beside a half that may be on its way"
    );
    assert_eq!(till.at_stripe().0, Vec::<i64>::new());

    // By then the request has arrived or never will.
    till.world.travel(27);
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    till.work().await;
    assert_eq!(till.at_stripe().0, [10_000]);
    let overtaken = "payments WHERE method = 'saved_card' AND status = 'closed' AND reason = 'not_needed'";
    assert_eq!(till.world.count(overtaken).await, 1);
}

#[tokio::test]
async fn a_lesson_that_was_called_off_and_is_planned_again_costs_its_price_again() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.session(&lesson).await;
    till.platform_writes(&lesson, "status = 'cancelled'").await;
    till.settle().await;
    let costs_nothing = "charges WHERE status = 'CANCELLED' AND charge_minor = 0";
    assert_eq!(till.world.count(costs_nothing).await, 1);
    assert_eq!(till.begin(CARD, &lesson).await.verdict(), "409 booking-cancelled");

    till.platform_writes(
        &lesson,
        "status = 'confirmed', session_start_time = now() + interval '2 days'",
    )
    .await;
    till.operator_accepts(&lesson, "status").await;

    let begun = till.begin(CARD, &lesson).await;
    assert_eq!(
        (begun.status, &begun.body["amount"]["amount"]),
        (201, &json!(10_000)),
        "{}",
        begun.body
    );
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]), "it went back");
}

#[tokio::test]
async fn a_charge_that_its_gateway_has_not_decided_is_neither_given_up_nor_made_beside() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    let session = till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(21);
    till.no_show(session).await;
    let jobs = till.settled_jobs().await;
    till.world.stripe.misbehave(Faults {
        charges_wait: true,
        is_silent: true,
        ..Faults::default()
    });
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "half is being charged"
    );

    // A correction wants the whole; the bank still has not said a word about the half, which nobody is asking for any more.
    till.corrected_to_full(session).await;
    till.world.travel(27);
    assert_eq!(
        till.capture.consume(&jobs).await.len(),
        1,
        "half may still be taken"
    );
    assert_eq!(
        till.world.stripe.record("payment_intent").len(),
        1,
        "and nothing is asked for beside it"
    );

    // It was taken, and nobody told.
    till.world.stripe.end_charges();
    till.world.stripe.misbehave(Faults::default());
    assert_eq!(till.capture.consume(&jobs).await, Vec::<String>::new());
    till.work().await;

    assert_eq!(till.at_stripe(), (vec![5_000, 5_000], vec![]));
    let paid = "payments WHERE method = 'saved_card' AND status = 'paid'";
    assert_eq!(till.world.count(paid).await, 2);
}

#[tokio::test]
async fn other_money_under_a_payment_that_is_paid_is_left_to_a_person() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    let begun = till.begin(CARD, &lesson).await;
    till.pays(&begun);
    till.hear(1).await;
    let payment = PaymentId(begun.body["id"].as_str().unwrap().parse().unwrap());
    let known = "SELECT gateway_id, intent_id FROM payments WHERE status = 'paid'";
    let known = till.world.owner.query_one(known, &[]).await.unwrap();
    let (gateway_id, intent): (String, String) = (known.get(0), known.get(1));

    let (database, ids, now) = till.hands();
    let told = |gateway_id: &str, intent: &str| {
        let paid = Paid {
            amount: Money::new(10_000, Currency::TTD),
            gateway_id: gateway_id.into(),
            intent: Some(intent.into()),
            card: None,
            fee: None,
        };
        Finding::Payment(payment, Outcome::Paid(paid))
    };
    let enter = async |finding| {
        store::payments::enter(&database, &finding, &ids, now)
            .await
            .unwrap()
    };

    assert_eq!(
        enter(told(&gateway_id, &intent)).await,
        Entered::Yes,
        "the same, told again"
    );
    assert_eq!(
        enter(told(&intent, &intent)).await,
        Entered::Yes,
        "by its charge's name"
    );
    assert_eq!(enter(told("pi_other", "pi_other")).await, Entered::Disagrees);
    let entries = "ledger_entries WHERE kind = 'payment'";
    assert_eq!(till.world.count(entries).await, 2);
}

#[tokio::test]
async fn a_charge_is_looked_up_under_the_record_of_the_card_that_was_asked() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(0).await;
    till.session(&lesson).await;
    till.card_kept(&lesson).await;
    till.world.travel(61);
    till.tick().await;

    // One worker has seen this card, and is not sure yet how much is missing; another sees the client's next one by now.
    let (database, _, now) = till.hands();
    let first = store::payments::look_at_tab(&database, BookingId(lesson.id), now).await;
    let first = first.unwrap().unwrap();
    let second = "UPDATE payments SET asked_at = NULL, customer_id = 'cus_next' WHERE method = 'saved_card'";
    till.world.owner.batch_execute(second).await.unwrap();

    let (_, line) = first.collection().unwrap();
    let line = store::payments::Line {
        asked_since: None,
        ..line.clone()
    };
    let card = first.card.as_ref().unwrap();
    let may_ask = store::payments::ask_for(&database, &line, card, line.amount, now).await;
    assert!(may_ask.unwrap());

    let written = "SELECT customer_id FROM payments WHERE method = 'saved_card'";
    let written: String = till.world.owner.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, card.customer);
}

#[tokio::test]
async fn who_agrees_again_keeps_what_they_had_agreed_to() {
    let till = Till::open().await;
    let lesson = till.world.lesson_in(60).await;
    till.card_kept(&lesson).await;
    let agreed = "SELECT agreed_at::text || ' ' || up_to_minor FROM card_agreements";
    let before: String = till.world.owner.query_one(agreed, &[]).await.unwrap().get(0);

    // A part of the price by card, later: it agrees to that part, and to what was agreed to before.
    till.world.travel(5);
    till.card_kept(&lesson).await;
    till.world
        .owner
        .batch_execute("UPDATE card_agreements SET up_to_minor = up_to_minor + 1")
        .await
        .unwrap();
    till.world.travel(5);
    till.card_kept(&lesson).await;

    let after: String = till.world.owner.query_one(agreed, &[]).await.unwrap().get(0);
    let before = before.replace(" 10000", " 10001");
    assert_eq!(after, before, "since when, and up to how much");
}

#[tokio::test]
async fn what_was_given_back_by_hand_is_not_undone_or_given_back_again_by_what_the_gateway_says() {
    let till = Till::open().await;
    half_could_not_go_back(&till).await;
    assert_eq!(till.operator("settle_refund").await.unwrap(), 1);
    till.work().await;
    let books = till.books().await;

    let id = "SELECT id FROM refunds WHERE reason = 'by_hand'";
    let id = RefundId(till.world.owner.query_one(id, &[]).await.unwrap().get(0));
    let (database, ids, now) = till.hands();
    let enter = async |refunded| {
        store::payments::enter(&database, &Finding::Refund(id, refunded), &ids, now)
            .await
            .unwrap()
    };
    let failed = Refunded::Failed {
        gateway_id: None,
        reason: "expired_or_canceled_card".into(),
    };
    assert_eq!(enter(failed).await, Entered::Yes, "told twice by the gateway");
    let done = Refunded::Done {
        gateway_id: "re_after_all".into(),
        fee: None,
    };
    assert_eq!(
        enter(done).await,
        Entered::Disagrees,
        "for a person: it went back twice"
    );
    assert_eq!(till.refunds().await, ["done by_hand"]);
    assert_eq!(till.books().await, books);
}
