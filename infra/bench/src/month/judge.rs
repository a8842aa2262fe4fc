//! The judge, who believes nobody: each lesson's outcome is what the script says, each unit of money is where the
//! gateways' own records say, and nothing is left to be done.

use crate::script::{Lesson, Script};
use crate::stage::{EXAMPLES, Stage};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Client;
use uuid::Uuid;

/// Sessions with their latest decision and what the ledger has of all their decisions.
const SESSIONS: &str = "
    SELECT s.booking_id, s.status, s.decisions, count(DISTINCT c.id) AS charges,
           max(c.charge_minor) FILTER (WHERE c.decision = s.decisions) AS charge,
           max(c.payout_minor) FILTER (WHERE c.decision = s.decisions) AS payout,
           max(c.fee_minor) FILTER (WHERE c.decision = s.decisions) AS fee,
           coalesce(sum(e.amount_minor) FILTER (WHERE a.kind = 'receivable'), 0)::bigint AS owed,
           coalesce(-sum(e.amount_minor) FILTER (WHERE a.kind = 'payable'), 0)::bigint AS payable,
           coalesce(-sum(e.amount_minor) FILTER (WHERE a.kind = 'fees'), 0)::bigint AS kept,
           (SELECT x.explanation ->> 'rule' FROM charges x WHERE x.session_id = s.id AND x.decision = s.decisions) AS rule
    FROM sessions s
    LEFT JOIN charges c ON c.session_id = s.id
    LEFT JOIN ledger_entries e ON e.charge_id = c.id
    LEFT JOIN ledger_accounts a ON a.id = e.account_id
    GROUP BY s.id";

const PAYMENTS: &str = "SELECT id, booking_id FROM payments";
const REFUNDS: &str = "SELECT id, booking_id FROM refunds";

/// What is not at rest, each by what it is.
const LEFT_OPEN: [(&str, &str); 6] = [
    (
        "payments left open",
        "SELECT id::text || ' ' || status || ' ' || coalesce(reason, '') FROM payments WHERE status IN ('opening', 'open', 'declined')",
    ),
    (
        "refunds left open",
        "SELECT id::text || ' ' || status || ' ' || coalesce(reason, '') FROM refunds WHERE status IN ('opening', 'held', 'pending', 'failed')",
    ),
    (
        "sessions left undecided, or with something still to do",
        "SELECT booking_id::text || ' ' || status FROM sessions
         WHERE status IN ('SCHEDULED', 'JOIN_OPEN') OR due_at IS NOT NULL OR ask_at IS NOT NULL",
    ),
    (
        "messages left in the outbox",
        "SELECT envelope::text FROM outbox WHERE sent_at IS NULL",
    ),
    (
        "provider events that wait or were parked",
        "SELECT event_id || ' ' || status || ' ' || coalesce(reason, '') FROM provider_events WHERE status <> 'applied'",
    ),
    (
        "bookings that could not be followed",
        "SELECT booking_id::text || ' ' || message FROM follow_failures",
    ),
];

/// Statements about the books whose every row is wrong.
const BOOKS: [(&str, &str); 1] = [(
    "ledger that does not add up to zero",
    "SELECT currency || ' ' || sum(amount_minor) FROM ledger_entries GROUP BY currency HAVING sum(amount_minor) <> 0",
)];

const CASH: &str = "
    SELECT account_id, sum(amount_minor)::bigint FROM ledger_entries
    WHERE account_id LIKE 'cash/%' OR account_id LIKE 'gateway_fees/%' GROUP BY account_id";

/// What one check found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Wrongs {
    pub(crate) count: usize,
    pub(crate) examples: Vec<String>,
}

/// What all checks found; those that found nothing are in it, too.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) checks: BTreeMap<&'static str, Wrongs>,
    pub(crate) corrections: u64,
    pub(crate) balances: BTreeMap<String, Balance>,
}

/// An account of ours beside the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Balance {
    pub(crate) ledger: i64,
    pub(crate) gateway: i64,
}

/// Money that moved at a gateway.
struct Moved {
    ours: Option<Uuid>,
    amount: i64,
    at: Option<Timestamp>,
}

impl Verdict {
    pub(crate) async fn reach(script: &Script, stage: &Stage, owner: &Client, stuck: &[String]) -> Self {
        let mut verdict = Self::default();
        verdict.outcomes(script, owner).await;
        verdict.money(script, stage, owner).await;
        for (check, sql) in LEFT_OPEN.into_iter().chain(BOOKS) {
            verdict.begin(check);
            for row in owner.query(sql, &[]).await.expect("a check") {
                verdict.wrong(check, row.get(0));
            }
        }
        verdict.balances(stage, owner).await;
        verdict.changes(script, owner).await;
        for (check, all) in [
            ("messages that were set aside as hopeless", stage.hopeless()),
            ("minutes in which something never got done", stuck.to_vec()),
        ] {
            verdict.begin(check);
            for one in all {
                verdict.wrong(check, one);
            }
        }
        verdict
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.checks.values().all(|wrongs| wrongs.count == 0)
    }

    fn begin(&mut self, check: &'static str) {
        self.checks.entry(check).or_default();
    }

    fn wrong(&mut self, check: &'static str, what: String) {
        let wrongs = self.checks.entry(check).or_default();
        wrongs.count += 1;
        if wrongs.examples.len() < EXAMPLES {
            wrongs.examples.push(what);
        }
    }

    /// Every lesson has the outcome that the script gives it, was decided once, and is in the books at that.
    async fn outcomes(&mut self, script: &Script, owner: &Client) {
        const WRONG: &str = "wrong outcomes or charges";
        const DECIDED: &str = "sessions that were not decided once, corrections aside";
        const BOOKED: &str = "sessions whose ledger entries are not their outcome";
        const MISSING: &str = "bookings without a session";
        for check in [WRONG, DECIDED, BOOKED, MISSING] {
            self.begin(check);
        }

        let mut sessions = HashMap::new();
        for row in owner.query(SESSIONS, &[]).await.expect("sessions") {
            sessions.insert(row.get::<_, Uuid>("booking_id"), row);
        }
        for lesson in &script.lessons {
            let Some(row) = sessions.get(&lesson.id) else {
                self.wrong(MISSING, describe(lesson));
                continue;
            };
            let expected = lesson.outcome(script.people[lesson.person].price);
            let amounts = |names: [&str; 3]| names.map(|name| row.get::<_, Option<i64>>(name).unwrap_or(-1));
            let (status, wanted) = (
                row.get::<_, &str>("status"),
                [expected.charge, expected.payout, expected.fee],
            );
            let charged = amounts(["charge", "payout", "fee"]);
            if status != expected.status || charged != wanted {
                let rule: Option<&str> = row.get("rule");
                self.wrong(
                    WRONG,
                    format!(
                        "{}: {status} {charged:?} by {rule:?}, not {} {wanted:?}",
                        describe(lesson),
                        expected.status
                    ),
                );
            }
            let (decisions, on_record) = (row.get::<_, i32>("decisions"), row.get::<_, i64>("charges"));
            if decisions < 1 || i64::from(decisions) != on_record {
                self.wrong(
                    DECIDED,
                    format!("{}: {decisions} decisions, {on_record} charges", describe(lesson)),
                );
            }
            self.corrections += u64::try_from(decisions - 1).unwrap_or(0);
            let booked = amounts(["owed", "payable", "kept"]);
            if booked != charged {
                self.wrong(
                    BOOKED,
                    format!("{}: {booked:?}, not {charged:?}", describe(lesson)),
                );
            }
        }
    }

    /// For every lesson the gateways hold what it costs; nothing was taken or given back twice, nor given back before
    /// anybody could know that it was due.
    async fn money(&mut self, script: &Script, stage: &Stage, owner: &Client) {
        const WRONG: &str = "lessons that were not paid as they should";
        const TWICE: &str = "payments taken, or refunds given, twice";
        const EARLY: &str = "refunds asked for before the outcome was final";
        const STRANGE: &str = "money at a gateway that nothing of ours is about";
        for check in [WRONG, TWICE, EARLY, STRANGE] {
            self.begin(check);
        }

        let lessons: HashMap<Uuid, &Lesson> =
            script.lessons.iter().map(|lesson| (lesson.id, lesson)).collect();
        let mut held = HashMap::<Uuid, i64>::new();
        for (sql, moved, sign) in [(PAYMENTS, taken(stage), 1), (REFUNDS, given_back(stage), -1)] {
            let rows = owner.query(sql, &[]).await.expect("payments and refunds");
            let bookings: HashMap<Uuid, Uuid> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let mut seen = HashMap::<Uuid, u32>::new();
            for one in moved {
                let Some((id, booking)) = one.ours.and_then(|id| Some((id, *bookings.get(&id)?))) else {
                    self.wrong(STRANGE, format!("{:?} {}", one.ours, one.amount));
                    continue;
                };
                let times = seen.entry(id).or_default();
                *times += 1;
                if *times == 2 {
                    self.wrong(TWICE, format!("{id} of booking {booking}"));
                }
                *held.entry(booking).or_default() += sign * one.amount;
                let is_early = lessons
                    .get(&booking)
                    .is_some_and(|lesson| one.at.is_none_or(|at| at < lesson.is_final_from()));
                if sign < 0 && is_early {
                    let lesson = lessons.get(&booking).map(|lesson| describe(lesson));
                    self.wrong(EARLY, format!("{id} at {:?} of {lesson:?}", one.at));
                }
            }
        }
        for lesson in &script.lessons {
            let due = lesson.outcome(script.people[lesson.person].price).charge;
            let is_held = held.get(&lesson.id).copied().unwrap_or(0);
            if is_held != due {
                let pays = script.people[lesson.person].pays;
                self.wrong(
                    WRONG,
                    format!("{} ({pays:?}): {is_held} is held, {due} is due", describe(lesson)),
                );
            }
        }
    }

    /// Our cash is the gateways' balance to the unit, fees included.
    async fn balances(&mut self, stage: &Stage, owner: &Client) {
        const DIFFERS: &str = "accounts that differ from the gateway's own";
        self.begin(DIFFERS);
        let mut balances = BTreeMap::<String, Balance>::new();
        for row in owner.query(CASH, &[]).await.expect("cash") {
            balances.entry(row.get(0)).or_default().ledger = row.get(1);
        }
        for (currency, amount) in stage.stripe.balances() {
            balances
                .entry(format!("cash/stripe/{}", currency.to_uppercase()))
                .or_default()
                .gateway = amount;
        }
        for movement in stage.stripe.record("balance_transaction") {
            let currency = movement["currency"].as_str().unwrap_or_default().to_uppercase();
            balances
                .entry(format!("gateway_fees/stripe/{currency}"))
                .or_default()
                .gateway += movement["fee"].as_i64().unwrap_or(0);
        }
        balances.entry("cash/fapshi/XAF".into()).or_default().gateway = stage.fapshi.balance();
        let fees = stage.fapshi.record("Collection").into_iter();
        let fees = fees.filter(|one| one["status"] == "SUCCESSFUL");
        balances
            .entry("gateway_fees/fapshi/XAF".into())
            .or_default()
            .gateway = fees
            .map(|one| one["amount"].as_i64().unwrap_or(0) - one["revenue"].as_i64().unwrap_or(0))
            .sum();

        for (account, balance) in &balances {
            if balance.ledger != balance.gateway {
                self.wrong(
                    DIFFERS,
                    format!(
                        "{account}: {} in the ledger, {} at the gateway",
                        balance.ledger, balance.gateway
                    ),
                );
            }
        }
        self.balances = balances;
    }

    /// What an operator is asked about is what the platform changed too late, and nothing else.
    async fn changes(&mut self, script: &Script, owner: &Client) {
        const CHECK: &str = "changes listed for an operator that should not be, or not listed that should";
        self.begin(CHECK);
        let listed =
            "SELECT booking_id, field || ' ' || theirs::text FROM booking_changes WHERE state = 'open'";
        let rows = owner.query(listed, &[]).await.expect("changes");
        let mut listed: HashMap<Uuid, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for lesson in &script.lessons {
            let is_late = lesson.story == crate::script::Story::CancelledTooLate;
            match listed.remove(&lesson.id) {
                Some(change) if !is_late => self.wrong(CHECK, format!("{}: {change}", describe(lesson))),
                None if is_late => self.wrong(CHECK, format!("{}: not listed", describe(lesson))),
                _ => {}
            }
        }
    }
}

fn describe(lesson: &Lesson) -> String {
    format!(
        "booking {} {:?} at {} for {} min, told {:?}",
        lesson.id, lesson.story, lesson.starts_at, lesson.minutes, lesson.told
    )
}

fn id(of: &Value) -> Option<Uuid> {
    of.as_str()?.parse().ok()
}

fn second(of: &Value) -> Option<Timestamp> {
    Timestamp::from_second(of.as_i64()?).ok()
}

/// What the gateways took for our payments.
fn taken(stage: &Stage) -> Vec<Moved> {
    let charges = stage.stripe.record("payment_intent").into_iter();
    let charges = charges
        .filter(|one| one["status"] == "succeeded")
        .map(|one| Moved {
            ours: id(&one["metadata"]["firstbell_payment"]),
            amount: one["amount_received"].as_i64().unwrap_or(0),
            at: second(&one["created"]),
        });
    charges.chain(by_phone(stage, "Collection")).collect()
}

/// What the gateways gave back for our refunds.
fn given_back(stage: &Stage) -> Vec<Moved> {
    let refunds = stage.stripe.record("refund").into_iter();
    let refunds = refunds.filter(|one| one["status"] != "failed").map(|one| Moved {
        ours: id(&one["metadata"]["firstbell_refund"]),
        amount: one["amount"].as_i64().unwrap_or(0),
        at: second(&one["created"]),
    });
    refunds.chain(by_phone(stage, "Payout")).collect()
}

fn by_phone(stage: &Stage, kind: &str) -> impl Iterator<Item = Moved> {
    let all = stage.fapshi.record(kind).into_iter();
    all.filter(|one| one["status"] == "SUCCESSFUL").map(|one| Moved {
        ours: id(&one["externalId"]),
        amount: one["amount"].as_i64().unwrap_or(0),
        at: one["dateInitiated"].as_str().and_then(|at| at.parse().ok()),
    })
}
