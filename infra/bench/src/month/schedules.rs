//! What runs by the clock: our schedules, as their functions run them, but only when something is due for them; and what
//! others do once an hour.

use crate::stage::Stage;
use domain::charge::payment::Collects;
use domain::charge::session::SessionPolicy;
use domain::launch::classroom::Classroom;
use jiff::{SignedDuration, Timestamp};
use jobs::messages::{AskProvider, GiveBack, LookAtTab};
use jobs::settling::Settling;
use platform::database::Database;
use platform::ids::Ids;
use simulators::mailbox::Faults;
use store::keep::following;
use store::keep::overdue;
use store::keep::tending;
use store::keep::tidying;
use tokio_postgres::Client;
use uuid::Uuid;

const MOST: i64 = 1_000;
/// What is due leaves the outbox.
const SEND: &str = "
    UPDATE outbox SET sent_at = $1 WHERE sent_at IS NULL AND due_at <= $1
    RETURNING (as_posted(id, queue, envelope) -> 'envelope')::text AS body";
/// Bookings walked past in an hour. The schedule walks past two thousand in a minute, which a month of minutes cannot.
const WALK: i32 = 200;
/// Of every six hours the classroom's lists lag for so long.
const LAG_EVERY: i64 = 6;
const LAG: SignedDuration = SignedDuration::from_mins(20);

/// The first thing that each schedule has to do.
const DUE: &str = "
    SELECT (SELECT min(due_at) FROM outbox WHERE sent_at IS NULL) AS relay,
           (SELECT min(due_at) FROM sessions WHERE due_at IS NOT NULL) AS settle,
           (SELECT min(ask_at) FROM sessions WHERE ask_at IS NOT NULL) AS ask,
           least((SELECT min(look_at) FROM payments WHERE look_at IS NOT NULL),
                 (SELECT min(look_at) FROM refunds WHERE look_at IS NOT NULL)) AS look,
           EXISTS (SELECT FROM bookings WHERE wants_session) AS wants_session,
           EXISTS (SELECT FROM follow_failures) AS follows_late";

const OPEN: &str = "
    SELECT (SELECT count(*) FROM payments WHERE status IN ('opening', 'open', 'declined'))
         + (SELECT count(*) FROM refunds WHERE status IN ('opening', 'held', 'pending', 'failed')) AS open";

#[derive(Debug, Default)]
struct Due {
    relay: Option<Timestamp>,
    settle: Option<Timestamp>,
    ask: Option<Timestamp>,
    look: Option<Timestamp>,
    wants_session: bool,
    follows_late: bool,
}

pub(crate) struct Schedules {
    database: Database,
    settling: Settling,
    ids: Ids,
    owner: Client,
    last_told: i64,
    /// When the classroom stops lagging.
    pub(crate) lags_until: Option<Timestamp>,
    /// Whether nothing was open when it was last looked.
    pub(crate) is_at_rest: bool,
}

impl Schedules {
    pub(crate) fn new(url: &str, owner: Client, stage: &Stage) -> Self {
        let ids = || Ids::random(stage.clock.clone());
        Self {
            database: Database::at(url),
            settling: Settling {
                database: Database::at(url),
                collects: Collects::Firstbell,
                ids: ids(),
                clock: stage.clock.clone(),
            },
            ids: ids(),
            owner,
            last_told: 0,
            lags_until: None,
            is_at_rest: false,
        }
    }

    async fn due(&self) -> Due {
        let row = self.owner.query_one(DUE, &[]).await.expect("what is due");
        Due {
            relay: row.get(0),
            settle: row.get(1),
            ask: row.get(2),
            look: row.get(3),
            wants_session: row.get(4),
            follows_late: row.get(5),
        }
    }

    /// What was settled, paid and given back so far.
    pub(crate) async fn totals(&self) -> String {
        let count =
            "SELECT (SELECT count(*) FROM charges), (SELECT count(*) FROM payments WHERE status = 'paid'),
                            (SELECT count(*) FROM refunds WHERE status = 'done')";
        let row = self.owner.query_one(count, &[]).await.expect("totals");
        let [settled, paid, back] = [0, 1, 2].map(|n| row.get::<_, i64>(n));
        format!("{settled:>6} settled, {paid:>6} paid, {back:>5} given back")
    }

    /// For whoever wonders why it does not end.
    pub(crate) async fn what_is_due(&self) -> String {
        format!("{:?}", self.due().await)
    }

    /// Runs what is due; when the next thing is, and whether anything ran.
    pub(crate) async fn run(&mut self, stage: &Stage, now: Timestamp) -> (Option<Timestamp>, bool) {
        if self.lags_until.is_some_and(|until| until <= now) {
            stage.lessonspace.lag(false);
            self.lags_until = None;
        }
        let due = self.due().await;
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let mut has_run = false;

        if due.follows_late {
            following::catch_up(&self.database, 100, now)
                .await
                .expect("followed");
        }
        if due.wants_session || is_due(due.ask) {
            let (policy, provider) = (SessionPolicy::default(), Classroom::Lessonspace);
            let ask = AskProvider::draft(&self.ids, now);
            let tended = tending::tend(&self.database, provider, &policy, MOST, &ask, now);
            tended.await.expect("tended");
            has_run = true;
        }
        if is_due(due.settle) {
            self.settling.run().await.expect("settled");
            has_run = true;
        }
        if is_due(due.look) {
            let (look, give_back) = (LookAtTab::draft(&self.ids, now), GiveBack::draft(&self.ids, now));
            let looked = overdue::reconcile(&self.database, MOST, &look, &give_back, now);
            looked.await.expect("reconciled");
            has_run = true;
        }
        if has_run || is_due(due.relay) {
            has_run |= self.relay(stage, now).await > 0;
        }
        let next = [due.relay, due.settle, due.ask, due.look]
            .into_iter()
            .flatten()
            .min();
        (next, has_run)
    }

    /// As whoever wrote it and `relay-outbox` send it, with our queue for SQS.
    async fn relay(&self, stage: &Stage, now: Timestamp) -> usize {
        let rows = self.owner.query(SEND, &[&now]).await.expect("sent");
        for row in &rows {
            stage.post(row.get("body"));
        }
        rows.len()
    }

    /// What has its hour: tidying, walking over the platform's bookings, and what vendors and operators do. Vendors
    /// misbehave as often as fits so many lessons; without a `load` they behave.
    pub(crate) async fn hourly(&mut self, stage: &Stage, load: Option<u32>, now: Timestamp) {
        while tidying::tidy(&self.database, now).await.expect("tidied") > 0 {}
        following::walk_on(&self.database, WALK, now)
            .await
            .expect("walked");
        self.gateways_go_on(stage).await;

        let hour = now.as_second() / 3_600;
        if hour % 24 == 4 {
            self.daily(stage, now).await;
        }
        let faults = || load.map_or_else(Faults::default, |load| misbehaviour(stage, load));
        stage.stripe.misbehave(faults());
        stage.fapshi.misbehave(Faults {
            refunds_wait: load.is_some(),
            ..faults()
        });
        if hour % LAG_EVERY == 5 && load.is_some() {
            stage.lessonspace.lag(true);
            self.lags_until = Some(now + LAG);
        }
        let open = self.owner.query_one(OPEN, &[]).await.expect("what is open");
        self.is_at_rest = open.get::<_, i64>(0) == 0;
    }

    /// A day passes: gateways forget keys, phones give up, an operator looks after refunds that failed.
    async fn daily(&self, stage: &Stage, now: Timestamp) {
        stage.stripe.forget_keys();
        stage.lessonspace.forget(now - SignedDuration::from_hours(72));
        for request in stage.fapshi.record("Collection") {
            let begun: Option<Timestamp> = request["dateInitiated"].as_str().and_then(|at| at.parse().ok());
            let is_old = begun.is_some_and(|at| now.duration_since(at) > SignedDuration::from_hours(2));
            if is_old && request["status"] == "PENDING" {
                stage
                    .fapshi
                    .end(request["transId"].as_str().unwrap_or_default(), "FAILED");
            }
        }
        let retry =
            "SELECT retry_refund(id, 'an operator', 'it failed', $1) FROM refunds WHERE status = 'failed'";
        self.owner.query(retry, &[&now]).await.expect("an operator");
        // The tables grow faster than the server expects by itself.
        self.owner.batch_execute("ANALYZE").await.expect("statistics");
    }

    /// Refunds that waited at their gateways come to their end.
    async fn gateways_go_on(&self, stage: &Stage) {
        let pending = "SELECT p.gateway, r.gateway_id FROM refunds r JOIN payments p ON p.id = r.payment_id
                       WHERE r.status = 'pending' AND r.gateway_id IS NOT NULL";
        for row in self.owner.query(pending, &[]).await.expect("pending refunds") {
            let (gateway, id): (&str, &str) = (row.get(0), row.get(1));
            let fails = stage.draw(100) < 2;
            if gateway == providers::fapshi::NAME {
                stage.fapshi.end(id, if fails { "FAILED" } else { "SUCCESSFUL" });
            } else {
                stage
                    .stripe
                    .end_refund(id, if fails { "failed" } else { "succeeded" });
            }
        }
    }

    /// The bookings whose clients were told that a payment failed, since this was last asked.
    pub(crate) async fn told_of_failed_payments(&mut self) -> Vec<Uuid> {
        let told = "SELECT id, booking_id FROM notifications
                    WHERE id > $1 AND kind IN ('payment_failed', 'card_agreement_needed') ORDER BY id";
        let rows = self
            .owner
            .query(told, &[&self.last_told])
            .await
            .expect("notifications");
        self.last_told = rows.last().map_or(self.last_told, |row| row.get(0));
        rows.iter().map(|row| row.get(1)).collect()
    }
}

/// What goes wrong at a gateway in an hour, in which about so many `lessons` are held: each fault hits about one lesson in
/// a hundred, and some in any month.
fn misbehaviour(stage: &Stage, lessons: u32) -> Faults {
    let some = |of_a_thousand: u32| {
        let expected = (lessons * of_a_thousand).max(20);
        expected / 1_000 + u32::from(stage.draw(1_000) < expected % 1_000)
    };
    let codes = [
        "insufficient_funds",
        "insufficient_funds",
        "stolen_card",
        "authentication_required",
    ];
    Faults {
        fail_next: some(10),
        vanish_next: some(5),
        lose_next: some(10),
        break_next: some(2),
        break_after_next: some(2),
        decline_next: some(20),
        decline_code: codes[stage.draw(4) as usize].into(),
        refunds_wait: stage.draw(4) == 0,
        fail_refunds_next: some(1),
        ..Faults::default()
    }
}
