//! A world in which people pay: what they and the functions do, and what the gateways' own records and our books say then.

use crate::harness::{Function, Reply, World, letter_event, request};
use jiff::{SignedDuration, Timestamp};
use jobs::messages::{GiveBack, LookAtTab};
use platform::clock::Clock;
use platform::config::Env;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbox::Draft;
use serde_json::{Value, json};
use simulators::mailbox::Letter;
use std::time::Duration;
use store::keep::overdue::{Overview, Reconciled};
use stories::cast::Lesson;
use uuid::Uuid;

pub(crate) const CARD: &str = "start-payment/card.json";
pub(crate) const CARD_ON_FILE: &str = "start-payment/card-on-file.json";
pub(crate) const LINK: &str = "start-payment/mobile-money-link.json";
pub(crate) const PHONE: &str = "start-payment/mobile-money.json";

/// A world in which people pay.
pub(crate) struct Till {
    pub(crate) world: World,
    pub(crate) start: Function,
    pub(crate) get: Function,
    pub(crate) stripe_door: Function,
    pub(crate) fapshi_door: Function,
    pub(crate) apply: Function,
    pub(crate) relay: Function,
    pub(crate) capture: Function,
    pub(crate) refund: Function,
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
            apply: world.function("apply-gateway-event").await,
            relay: world.function("relay-outbox").await,
            capture: world.function("step-tab").await,
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
        for chunk in self.world.queued_in(&self.world.gateway_events).await.chunks(4) {
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

    /// What a story needs to call the store itself: the database, the draft of a look at a tab, and the time.
    pub(crate) fn hands(&self) -> (Database, Draft, Timestamp) {
        let clock = Clock::shifted_by(self.world.environment["CLOCK_OFFSET_FILE"].clone().into());
        let settings = self.world.environment.clone();
        let mut env = Env::from_lookup(move |name| settings.get(name).cloned());
        let (database, now) = (Database::from_env(&mut env).unwrap(), clock.now());
        (database, LookAtTab::draft(&Ids::random(clock), now), now)
    }

    /// What the schedule does about what is open.
    pub(crate) async fn reconcile(&self) -> Reconciled {
        let (database, look, now) = self.hands();
        let give_back = GiveBack::draft(&Ids::sequence(), now);
        store::keep::overdue::reconcile(&database, 100, &look, &give_back, now)
            .await
            .unwrap()
    }

    pub(crate) async fn overview(&self) -> Overview {
        let (database, _, now) = self.hands();
        store::keep::overdue::overview(&database, now).await.unwrap()
    }

    /// Status and reason of each refund, in the order in which they were decided.
    pub(crate) async fn refunds(&self) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', status, reason) FROM refunds ORDER BY created_at, ordinal";
        let rows = self.world.owner.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// An operator does something about the one refund that waits for a person.
    pub(crate) async fn operator(&self, does: &str) -> Result<u64, tokio_postgres::Error> {
        let sql = format!(
            "SELECT {does}(id, 'Olu', 'the client called') FROM refunds WHERE status IN ('failed', 'held')"
        );
        self.world.owner.execute(&sql, &[]).await
    }

    /// The session turns out to cost its whole price after all.
    pub(crate) async fn corrected_to_full(&self, session: Uuid) {
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
    pub(crate) async fn look_at_everything(&self) {
        let sql = "SELECT ask_for('look_at_tab', 'payments', 'booking_id', id, now() - interval '1 day') FROM bookings";
        self.world.owner.execute(sql, &[]).await.unwrap();
        self.work().await;
    }

    /// The platform writes into its booking, by its own SQL.
    pub(crate) async fn platform_writes(&self, lesson: &Lesson, set: &str) {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        assert_eq!(
            self.world.owner.execute(&sql, &[&lesson.id]).await.unwrap(),
            1,
            "{set}"
        );
    }

    /// An operator lets count what the platform says of one field of an agreed booking.
    pub(crate) async fn operator_accepts(&self, lesson: &Lesson, field: &str) {
        let sql = "SELECT accept_change(id, 'Olu', 'both of them wrote to us') FROM booking_changes
                   WHERE booking_id = $1 AND field = $2 AND state = 'open'";
        let accepted = self.world.owner.execute(sql, &[&lesson.id, &field]).await;
        assert_eq!(accepted.unwrap(), 1, "no change of the {field} is listed");
    }

    /// Until some statement waits for a lock that another has.
    pub(crate) async fn until_somebody_waits(&self) {
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

    pub(crate) async fn cancelled(&self, session: Uuid) {
        let cancel = self.world.function("cancel-session").await;
        let token = self.world.identity.token(self.world.cast.parent);
        let reply = cancel
            .call(request("cancel-session/cancel.json", &token, session))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    /// The lesson is paid ahead by card.
    pub(crate) async fn paid_by_card(&self, lesson: &Lesson) -> Value {
        let begun = self.begin(CARD, lesson).await;
        self.pays(&begun);
        self.hear(1).await;
        self.work().await;
        begun.body["id"].clone()
    }

    /// The lesson is paid by mobile money, and its gateway tells nobody.
    pub(crate) async fn paid_in_silence(&self, sample: &str, lesson: &Lesson) -> Value {
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

impl Till {
    /// A lesson of 5,000 francs that is over, with a card on file. Of its link, which was for 2,000, nobody has heard that it
    /// was paid: the lesson, and the link's payment.
    pub(crate) async fn held_with_part_paid_in_silence(&self) -> (Lesson, Value) {
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
