//! The verdict. It takes from our tables what was decided, written and told, and holds that against what the pure rules
//! say of the evidence, and against what the gateways themselves have on record.

use super::script::Lesson;
use super::stage::{Said, Stage};
use super::worker::Worker;
use domain::charge::session::SessionStatus;
use domain::charge::settlement::{Verdict, foresee, settle};
use domain::charge::tab::Balance;
use domain::ids::BookingId;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use store::charge::sessions::StoredSession;
use store::charge::tab;
use tokio_postgres::Client;
use uuid::Uuid;

/// So long after its end a lesson's room has closed.
const CLOSES_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// Money that moved at a gateway: how much, and when it was asked for.
#[derive(Debug, Clone, Copy)]
struct Movement {
    minor: i64,
    at: Timestamp,
    has_failed: bool,
}

/// What the gateways have on record, by our names for it.
#[derive(Default)]
struct Gateways {
    payments: HashMap<Uuid, Vec<Movement>>,
    refunds: HashMap<Uuid, Vec<Movement>>,
    /// By the ledger's names: what is in each account, and what the gateway kept of it.
    cash: BTreeMap<String, i64>,
}

struct Charge {
    session: Uuid,
    decision: i32,
    status: String,
    minor: [i64; 3],
    explanation: Value,
    decided_at: Timestamp,
}

struct Payment {
    booking: Uuid,
    is_collection: bool,
    status: String,
    reason: Option<String>,
    minor: i64,
    created_at: Timestamp,
    paid_at: Option<Timestamp>,
}

struct Refund {
    booking: Uuid,
    status: String,
    minor: i64,
    created_at: Timestamp,
}

struct Notice {
    kind: String,
    booking: Uuid,
    data: Value,
    at: Timestamp,
}

impl Notice {
    /// What it is about, by the name of the field that says so.
    fn about(&self, field: &str) -> Option<Uuid> {
        self.data[field].as_str()?.parse().ok()
    }
}

/// Everything that there is to judge.
struct Case<'a> {
    stage: &'a Stage,
    gateways: Gateways,
    /// By booking, as its client sees it.
    sessions: HashMap<Uuid, StoredSession>,
    /// By session, in the order in which they were decided.
    charges: HashMap<Uuid, Vec<Charge>>,
    payments: HashMap<Uuid, Payment>,
    refunds: HashMap<Uuid, Refund>,
    /// In the order in which people were told.
    notices: Vec<Notice>,
    accounts: BTreeMap<String, i64>,
    tutor: Uuid,
    complaints: RefCell<Vec<String>>,
}

/// Everything must be as it should; says what is not, or what there was.
pub(super) async fn judge(worker: &Worker) -> String {
    let case = Case::of(worker).await;
    case.each_session_has_the_one_outcome_of_its_evidence();
    case.nothing_that_was_seen_is_forgotten();
    case.no_decision_came_before_its_evidence_was_final();
    case.nothing_moved_twice();
    case.books_and_gateways_know_the_same_payments_and_refunds();
    case.gateways_hold_what_each_lesson_costs();
    case.nothing_went_back_before_it_was_too_much();
    case.nobody_paid_again_for_what_could_not_go_back();
    case.the_ledger_is_the_money();
    case.nothing_is_left_open();
    case.what_clients_were_told_is_so();
    case.what_was_answered_holds();
    case.the_database_and_the_domain_count_alike(worker).await;
    let summary = case.was_it_wild_enough();

    let complaints = case.complaints.into_inner();
    let few: Vec<&String> = complaints.iter().take(12).collect();
    assert!(
        complaints.is_empty(),
        "{} complaints, among them {few:#?}",
        complaints.len()
    );
    summary
}

impl Gateways {
    fn of(stage: &Stage) -> Self {
        let mut gateways = Self::default();
        gateways.read_stripe(stage);
        gateways.read_fapshi(stage);
        gateways
    }

    fn read_stripe(&mut self, stage: &Stage) {
        let ours =
            |object: &Value, mark: &str| object["metadata"][mark].as_str().map(|id| id.parse().unwrap());
        let at = |object: &Value| Timestamp::from_second(object["created"].as_i64().unwrap()).unwrap();
        for intent in stage.stripe.record("payment_intent") {
            if intent["status"] == "succeeded" {
                let movement = Movement {
                    minor: intent["amount_received"].as_i64().unwrap(),
                    at: at(&intent),
                    has_failed: false,
                };
                let payment = ours(&intent, "firstbell_payment").unwrap();
                self.payments.entry(payment).or_default().push(movement);
            }
        }
        for refund in stage.stripe.record("refund") {
            let movement = Movement {
                minor: refund["amount"].as_i64().unwrap(),
                at: at(&refund),
                has_failed: refund["status"] == "failed",
            };
            let id = ours(&refund, "firstbell_refund").unwrap();
            self.refunds.entry(id).or_default().push(movement);
        }
        for movement in stage.stripe.record("balance_transaction") {
            let currency = movement["currency"].as_str().unwrap().to_ascii_uppercase();
            let fees = self
                .cash
                .entry(format!("gateway_fees/stripe/{currency}"))
                .or_default();
            *fees += movement["fee"].as_i64().unwrap();
        }
        for (currency, minor) in stage.stripe.balances() {
            let account = format!("cash/stripe/{}", currency.to_ascii_uppercase());
            self.cash.insert(account, minor);
        }
    }

    fn read_fapshi(&mut self, stage: &Stage) {
        let movement = |transaction: &Value| Movement {
            minor: transaction["amount"].as_i64().unwrap(),
            at: transaction["dateInitiated"].as_str().unwrap().parse().unwrap(),
            has_failed: transaction["status"] == "FAILED",
        };
        let ours =
            |transaction: &Value| -> Uuid { transaction["externalId"].as_str().unwrap().parse().unwrap() };
        let mut kept = 0;
        for paid in stage.fapshi.record("Collection") {
            if paid["status"] == "SUCCESSFUL" {
                self.payments
                    .entry(ours(&paid))
                    .or_default()
                    .push(movement(&paid));
                kept += paid["amount"].as_i64().unwrap() - paid["revenue"].as_i64().unwrap();
            }
        }
        for payout in stage.fapshi.record("Payout") {
            self.refunds
                .entry(ours(&payout))
                .or_default()
                .push(movement(&payout));
        }
        self.cash.insert("gateway_fees/fapshi/XAF".into(), kept);
        self.cash.insert("cash/fapshi/XAF".into(), stage.fapshi.balance());
    }

    fn taken(&self, payment: Uuid) -> i64 {
        sum(self.payments.get(&payment))
    }

    fn given_back(&self, refund: Uuid) -> i64 {
        sum(self.refunds.get(&refund))
    }
}

fn sum(movements: Option<&Vec<Movement>>) -> i64 {
    let movements = movements.into_iter().flatten();
    movements.filter(|one| !one.has_failed).map(|one| one.minor).sum()
}

impl<'a> Case<'a> {
    async fn of(worker: &'a Worker) -> Self {
        let (stage, owner) = (&*worker.stage, &worker.owner);
        let mut sessions = HashMap::new();
        for (number, lesson) in stage.lessons.iter().enumerate() {
            if let Some(stored) = worker.session(number, lesson.client).await {
                sessions.insert(lesson.booking.0, stored);
            }
        }
        Self {
            stage,
            gateways: Gateways::of(stage),
            sessions,
            charges: charges(owner).await,
            payments: payments(owner).await,
            refunds: refunds(owner).await,
            notices: notices(owner).await,
            accounts: accounts(owner).await,
            tutor: worker.tutor.0,
            complaints: RefCell::default(),
        }
    }

    fn complain(&self, what: &str, about: impl Debug) {
        self.complaints.borrow_mut().push(format!("{what}: {about:?}"));
    }

    /// The decisions about a booking's session, in their order.
    fn decisions(&self, booking: Uuid) -> &[Charge] {
        let session = self
            .sessions
            .get(&booking)
            .and_then(|stored| self.charges.get(&stored.id));
        session.map_or(&[], Vec::as_slice)
    }

    fn costs(&self, booking: Uuid) -> i64 {
        self.decisions(booking).last().map_or(0, |charge| charge.minor[0])
    }

    fn payments_of(&self, booking: Uuid) -> impl Iterator<Item = (Uuid, &Payment)> {
        let all = self.payments.iter().map(|(id, payment)| (*id, payment));
        all.filter(move |(_, payment)| payment.booking == booking)
    }

    // Outcomes -----------------------------------------------------------------------------------------

    fn each_session_has_the_one_outcome_of_its_evidence(&self) {
        let now = self.stage.clock.now();
        for lesson in &self.stage.lessons {
            let booking = lesson.booking.0;
            let Some(stored) = self.sessions.get(&booking) else {
                if !lesson.may_be_off {
                    self.complain("a lesson has no session", booking);
                }
                continue;
            };
            let expected = foresee(&stored.session, &stored.facts, now);
            let minor = [expected.charge, expected.payout, expected.fee].map(domain::money::Money::minor);
            let decisions = self.decisions(booking);
            let is_so = decisions
                .last()
                .is_some_and(|last| last.status == expected.status.word() && last.minor == minor);
            let stands = settle(&stored.session, &stored.facts, stored.status, now) == Verdict::Stands;
            let is_counted = usize::try_from(stored.decisions).unwrap() == decisions.len()
                && decisions.iter().zip(1..).all(|(charge, n)| charge.decision == n);
            if !(is_so && stands && is_counted && stored.status == expected.status) {
                self.complain(
                    "not the outcome of its evidence",
                    (stored, minor, expected.status),
                );
            }
        }
    }

    /// What a vendor had shown when somebody asked, and that was entered, is all there.
    fn nothing_that_was_seen_is_forgotten(&self) {
        for (number, lesson) in self.stage.lessons.iter().enumerate() {
            let (Some(until), Some(stored)) = (
                self.stage.heard_until(number),
                self.sessions.get(&lesson.booking.0),
            ) else {
                continue;
            };
            let mut whole = stored.facts.evidence.clone();
            whole.merge(lesson.seen_at(until));
            if whole != stored.facts.evidence {
                self.complain(
                    "evidence was forgotten",
                    (lesson.booking, &stored.facts.evidence, until),
                );
            }
        }
    }

    /// Full charges and marks move money at the planned end, whatever is less not before the room has closed.
    fn no_decision_came_before_its_evidence_was_final(&self) {
        for charge in self.charges.values().flatten() {
            let end: Timestamp = charge.explanation["scheduled_end_at"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let final_from = match (charge.status.as_str(), charge.explanation["rule"].as_str()) {
                ("CANCELLED", _) => Timestamp::MIN,
                ("COMPLETED_ASSUMED", _) | (_, Some("student_no_show")) => end,
                _ => end + CLOSES_AFTER,
            };
            if charge.decided_at < final_from {
                let Charge {
                    session,
                    status,
                    decided_at,
                    ..
                } = charge;
                self.complain("decided too early", (session, status, decided_at));
            }
        }
    }

    // Money --------------------------------------------------------------------------------------------

    fn nothing_moved_twice(&self) {
        let (payments, refunds) = (&self.gateways.payments, &self.gateways.refunds);
        let is_double = |movements: &[Movement]| movements.iter().filter(|one| !one.has_failed).count() > 1;
        for (id, movements) in payments.iter().chain(refunds) {
            if is_double(movements) {
                self.complain("moved more than once", (id, movements));
            }
        }
    }

    fn books_and_gateways_know_the_same_payments_and_refunds(&self) {
        let mut wrong = Vec::new();
        for (id, payment) in &self.payments {
            let has = if payment.status == "paid" {
                payment.minor
            } else {
                0
            };
            if self.gateways.taken(*id) != has {
                wrong.push(format!("payment {id} is {} of {}", payment.status, payment.minor));
            }
        }
        for (id, refund) in &self.refunds {
            let has = if refund.status == "done" { refund.minor } else { 0 };
            if self.gateways.given_back(*id) != has {
                wrong.push(format!("refund {id} is {} of {}", refund.status, refund.minor));
            }
        }
        let unknown = self
            .gateways
            .payments
            .keys()
            .filter(|id| !self.payments.contains_key(id));
        wrong.extend(unknown.map(|id| format!("payment {id} is known to its gateway alone")));
        let unknown = self
            .gateways
            .refunds
            .keys()
            .filter(|id| !self.refunds.contains_key(id));
        wrong.extend(unknown.map(|id| format!("refund {id} is known to its gateway alone")));
        for what in wrong {
            self.complain("the gateway has it otherwise", what);
        }
    }

    /// What gateways hold for each booking.
    fn held(&self) -> HashMap<Uuid, i64> {
        let mut held = HashMap::new();
        for (id, payment) in &self.payments {
            *held.entry(payment.booking).or_default() += self.gateways.taken(*id);
        }
        for (id, refund) in &self.refunds {
            *held.entry(refund.booking).or_default() -= self.gateways.given_back(*id);
        }
        held
    }

    /// To the unit; but for what should have gone back and waits for a person, and for what its client was told of.
    fn gateways_hold_what_each_lesson_costs(&self) {
        let held = self.held();
        let mut waits = HashMap::<Uuid, i64>::new();
        for refund in self.refunds.values() {
            if matches!(refund.status.as_str(), "failed" | "held") {
                *waits.entry(refund.booking).or_default() += refund.minor;
            }
        }
        let told_to_pay: HashSet<Uuid> = self
            .notices
            .iter()
            .filter(|notice| matches!(notice.kind.as_str(), "payment_failed" | "card_agreement_needed"))
            .map(|notice| notice.booking)
            .collect();
        // Less than any card can pay.
        let too_small: HashSet<Uuid> = self
            .payments
            .values()
            .filter(|payment| payment.reason.as_deref() == Some("amount_too_small"))
            .map(|payment| payment.booking)
            .collect();
        for lesson in &self.stage.lessons {
            let booking = lesson.booking.0;
            let (has, costs) = (held.get(&booking).copied().unwrap_or(0), self.costs(booking));
            let owes = told_to_pay.contains(&booking) || too_small.contains(&booking);
            let is_right = match has - costs {
                0 => true,
                over if over > 0 => over <= waits.get(&booking).copied().unwrap_or(0),
                _ => owes && has >= 0,
            };
            if !is_right {
                self.complain(
                    "holds another amount than the lesson costs",
                    (booking, has, costs),
                );
            }
        }
    }

    /// Since when a lesson costs what.
    fn costs_over_time(&self, lesson: &Lesson) -> Vec<(Timestamp, i64)> {
        let at_first = if lesson.may_be_off { 0 } else { lesson.price_minor };
        let mut costs = vec![(Timestamp::MIN, at_first)];
        let decisions = self.decisions(lesson.booking.0).iter();
        costs.extend(decisions.map(|charge| (charge.decided_at, charge.minor[0])));
        costs
    }

    /// Whatever a gateway was asked to give back was too much at some time between the refund's decision and its asking:
    /// beside a decision that was in force, or above the price while there was none.
    fn nothing_went_back_before_it_was_too_much(&self) {
        let second = SignedDuration::from_secs(1);
        let mut refunds_of = HashMap::<Uuid, Vec<(Uuid, Movement)>>::new();
        for (id, movements) in &self.gateways.refunds {
            if let Some(refund) = self.refunds.get(id) {
                let theirs = refunds_of.entry(refund.booking).or_default();
                theirs.extend(movements.iter().map(|movement| (*id, *movement)));
            }
        }
        for (booking, movements) in &refunds_of {
            let lesson = &self.stage.lessons[self.stage.numbers[booking]];
            let costs = self.costs_over_time(lesson);
            for (id, movement) in movements {
                let (from, to) = (self.refunds[id].created_at - second, movement.at + second);
                let last_before = costs.iter().rfind(|(since, _)| *since <= from);
                let during = costs.iter().filter(|(since, _)| *since > from && *since <= to);
                let least = last_before
                    .into_iter()
                    .chain(during)
                    .map(|(_, minor)| *minor)
                    .min();

                let paid: i64 = self
                    .payments_of(*booking)
                    .filter(|(_, payment)| payment.paid_at.is_some_and(|at| at <= to))
                    .map(|(payment, _)| self.gateways.taken(payment))
                    .sum();
                let others = movements
                    .iter()
                    .filter(|(other, one)| other != id && !one.has_failed && one.at <= to);
                let back: i64 = others.map(|(_, one)| one.minor).sum();
                if paid - back - movement.minor < least.unwrap_or(0) {
                    self.complain("was given back too early", (booking, id, movement, &costs));
                }
            }
        }
    }

    /// Money that should have gone back and could not is still here when the lesson turns out to cost more.
    fn nobody_paid_again_for_what_could_not_go_back(&self) {
        for failed in self
            .notices
            .iter()
            .filter(|notice| notice.kind == "refund_failed")
        {
            let (booking, at) = (failed.booking, failed.at);
            let paid: i64 = self
                .payments_of(booking)
                .filter(|(_, payment)| payment.paid_at.is_some_and(|paid| paid < at))
                .map(|(_, payment)| payment.minor)
                .sum();
            let refunds = self.refunds.values().filter(|refund| refund.booking == booking);
            let went: i64 = refunds
                .filter(|refund| !matches!(refund.status.as_str(), "failed" | "closed"))
                .map(|refund| refund.minor)
                .sum();
            let most = self
                .decisions(booking)
                .iter()
                .map(|charge| charge.minor[0])
                .max()
                .unwrap_or(0);
            let later = self
                .payments_of(booking)
                .filter(|(_, payment)| payment.is_collection && payment.created_at > at);
            for (id, _) in later {
                let taken = self.gateways.taken(id);
                if taken > 0 && taken > most - paid + went {
                    self.complain("was charged again", (booking, id, taken));
                }
            }
        }
    }

    /// Every account of the books, from what was decided and what moved.
    fn the_ledger_is_the_money(&self) {
        let mut expected = self.gateways.cash.clone();
        let held = self.held();
        for lesson in &self.stage.lessons {
            let booking = lesson.booking.0;
            let (has, currency) = (held.get(&booking).copied().unwrap_or(0), lesson.currency);
            let minor = self
                .decisions(booking)
                .last()
                .map_or([0; 3], |charge| charge.minor);
            for (account, amount) in [
                (format!("receivable/{}/{currency}", lesson.client), minor[0] - has),
                (format!("payable/{}/{currency}", self.tutor), -minor[1]),
                (format!("fees/{currency}"), -minor[2]),
            ] {
                *expected.entry(account).or_default() += amount;
            }
        }
        let names: BTreeSet<String> = expected.keys().chain(self.accounts.keys()).cloned().collect();
        let mut sums = BTreeMap::<String, i64>::new();
        for name in names {
            let [books, money] = [&self.accounts, &expected].map(|all| all.get(&name).copied().unwrap_or(0));
            if books != money {
                self.complain("an account is not what moved", (&name, books, money));
            }
            *sums.entry(name[name.len() - 3..].to_owned()).or_default() += books;
        }
        if sums.values().any(|sum| *sum != 0) {
            self.complain("the ledger does not balance", sums);
        }
    }

    fn nothing_is_left_open(&self) {
        let mut open = Vec::new();
        for (id, payment) in &self.payments {
            if matches!(payment.status.as_str(), "opening" | "open" | "declined") {
                open.push(format!("payment {id} is {}", payment.status));
            }
        }
        for (id, refund) in &self.refunds {
            if matches!(refund.status.as_str(), "opening" | "pending") {
                open.push(format!("refund {id} is {}", refund.status));
            }
        }
        open.extend(self.stage.was_set_aside());
        for what in open {
            self.complain("left open", what);
        }
    }

    // Words --------------------------------------------------------------------------------------------

    fn what_clients_were_told_is_so(&self) {
        let mut outcomes = HashMap::<Uuid, &Value>::new();
        let mut payments = HashMap::<Uuid, (&str, i64)>::new();
        let mut refunds = HashMap::<Uuid, (&str, i64)>::new();
        let mut settled = HashMap::<Uuid, usize>::new();
        // What was told last is what people believe.
        for notice in &self.notices {
            let minor = notice.data["amount"].as_i64().unwrap_or(0);
            match notice.kind.as_str() {
                "lesson_settled" | "lesson_corrected" => {
                    outcomes.insert(notice.booking, &notice.data);
                    *settled.entry(notice.booking).or_default() += 1;
                }
                "charged" | "payment_failed" | "card_agreement_needed" => {
                    payments.insert(notice.about("payment_id").unwrap(), (&notice.kind, minor));
                }
                "refunded" | "refund_failed" => {
                    refunds.insert(notice.about("refund_id").unwrap(), (&notice.kind, minor));
                }
                _ => {}
            }
        }

        let mut wrong = Vec::new();
        for (booking, stored) in &self.sessions {
            let last = outcomes.get(booking).copied().unwrap_or(&Value::Null);
            let is_so = last["status"] == stored.status.word() && last["charge"] == self.costs(*booking);
            if !is_so || settled.get(booking) != Some(&self.decisions(*booking).len()) {
                wrong.push(format!("{booking} is {}, {last}", stored.status.word()));
            }
        }
        for (id, payment) in self.payments.iter().filter(|(_, payment)| payment.is_collection) {
            let (taken, told) = (self.gateways.taken(*id), payments.get(id).copied());
            let is_so = match told {
                Some(("charged", minor)) => taken == minor,
                Some(_) | None => taken == 0,
            };
            if !is_so || (payment.status == "failed" && told.is_none()) {
                wrong.push(format!("payment {id} took {taken}, {told:?}"));
            }
        }
        for (id, refund) in &self.refunds {
            let (back, told) = (self.gateways.given_back(*id), refunds.get(id).copied());
            let is_so = match told {
                Some(("refunded", minor)) => back == minor,
                Some(_) | None => back == 0,
            };
            if !is_so || (refund.status == "failed" && told.is_none()) {
                wrong.push(format!(
                    "refund {id} gave {back} and is {}, {told:?}",
                    refund.status
                ));
            }
        }
        for what in wrong {
            self.complain("was told otherwise", what);
        }
    }

    /// Every 200 holds, or its client was told of a correction.
    fn what_was_answered_holds(&self) {
        let corrected: HashSet<Uuid> = self
            .notices
            .iter()
            .filter(|notice| notice.kind == "lesson_corrected")
            .map(|notice| notice.booking)
            .collect();
        for (number, lesson) in self.stage.lessons.iter().enumerate() {
            let (said, booking) = (self.stage.said(number), lesson.booking.0);
            let Some(stored) = self.sessions.get(&booking) else {
                if !said
                    .iter()
                    .all(|said| matches!(said, Said::MarkTried | Said::MarkEnded | Said::WithdrawTried))
                {
                    self.complain("was answered without a session", (booking, said));
                }
                continue;
            };
            let is_cancelled = stored.status == SessionStatus::Cancelled || corrected.contains(&booking);
            let marked_at = stored.facts.no_show_marked_at;
            let is_so = said.iter().all(|one| match one {
                Said::Cancelled => is_cancelled,
                Said::Marked(at) => said.contains(&Said::WithdrawTried) || marked_at == Some(*at),
                Said::Withdrawn => was_marked_meanwhile(&said) || marked_at.is_none(),
                Said::MarkTried | Said::MarkEnded | Said::WithdrawTried => true,
            });
            if !is_so {
                self.complain(
                    "was answered otherwise",
                    (booking, stored.status, marked_at, said),
                );
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------

    /// Histories in which nothing happens prove nothing.
    /// What the database lets a client pay by themselves is what the domain finds missing. The one counts what was only
    /// decided to go back as still here, and what a bank took for good as gone; the other does neither.
    async fn the_database_and_the_domain_count_alike(&self, worker: &Worker) {
        let sql = "SELECT b.id, still_to_pay(b.id, d.minor)
                          + (SELECT coalesce(sum(unasked(p.id) - disputed(p.id, true)), 0) FROM payments p
                             WHERE p.booking_id = b.id AND p.status = 'paid')::bigint
                   FROM bookings b CROSS JOIN LATERAL due(b, $1) d WHERE d.minor IS NOT NULL";
        let now = self.stage.clock.now();

        for row in worker.owner.query(sql, &[&now]).await.unwrap() {
            let (booking, counted): (Uuid, i64) = (row.get(0), row.get(1));
            let look = tab::look_at_tab(worker.database(), BookingId(booking), Uuid::nil(), now);
            let loaded = look.await.unwrap().unwrap();
            let missing = match loaded.tab.balance().unwrap() {
                Balance::Short(missing) => missing.minor(),
                Balance::Even | Balance::Over(_) => 0,
            };
            if missing != counted.max(0) {
                self.complain(
                    "the database and the domain count otherwise",
                    (booking, missing, counted),
                );
            }
        }
    }

    fn was_it_wild_enough(&self) -> String {
        let mut seen = BTreeMap::<&str, usize>::new();
        for stored in self.sessions.values() {
            *seen.entry(stored.status.word()).or_default() += 1;
        }
        let count = |is: &dyn Fn(&Notice) -> bool| self.notices.iter().filter(|notice| is(notice)).count();
        let told = |kind: &'static str| count(&|notice| notice.kind == kind);
        let corrected = told("lesson_corrected");
        let (moved, marked, withdrawn) = (
            told("lesson_moved"),
            told("no_show_marked"),
            told("no_show_withdrawn"),
        );
        let (failed, unpaid) = (told("refund_failed"), told("payment_failed"));
        let paid_by = |gateway: &str| {
            let accounts = self.gateways.cash.iter();
            accounts
                .filter(|(name, _)| name.starts_with("gateway_fees") && name.contains(gateway))
                .map(|(_, minor)| *minor)
                .sum::<i64>()
        };
        let (payments, refunds) = (self.gateways.payments.len(), self.gateways.refunds.len());
        let summary = format!(
            "{seen:?}; {payments} payments, {refunds} refunds, {failed} of which failed, {unpaid} unpaid; \
             {corrected} corrected, {moved} moved, {marked} marked, {withdrawn} taken back"
        );

        let finals = SessionStatus::ALL
            .iter()
            .filter(|status| status.is_final())
            .count();
        let counts = [
            corrected,
            marked,
            withdrawn,
            moved / 20,
            failed,
            unpaid / 10,
            payments / 400,
            refunds / 40,
        ];
        // Of ten thousand; of fewer, as many less.
        let is_enough = |count: &usize| count * 10_000 >= 10 * self.sessions.len();
        let is_wild = seen.len() == finals && counts.iter().all(is_enough);
        if !is_wild || paid_by("stripe") == 0 || paid_by("fapshi") == 0 {
            self.complain("the histories were too tame", (seen, counts));
        }
        summary
    }
}

/// Whether a mark may have come after the withdrawal: one that did not end before it was tried.
fn was_marked_meanwhile(said: &[Said]) -> bool {
    let tries = said.iter().filter(|one| **one == Said::MarkTried).count();
    let before = said.iter().take_while(|one| **one != Said::WithdrawTried);
    before.filter(|one| **one == Said::MarkEnded).count() < tries
}

async fn charges(owner: &Client) -> HashMap<Uuid, Vec<Charge>> {
    let sql =
        "SELECT session_id, decision, status, charge_minor, payout_minor, fee_minor, explanation, decided_at
               FROM charges ORDER BY session_id, decision";
    let mut charges = HashMap::<Uuid, Vec<Charge>>::new();
    for row in owner.query(sql, &[]).await.unwrap() {
        let charge = Charge {
            session: row.get(0),
            decision: row.get(1),
            status: row.get(2),
            minor: [row.get(3), row.get(4), row.get(5)],
            explanation: row.get(6),
            decided_at: row.get(7),
        };
        charges.entry(charge.session).or_default().push(charge);
    }
    charges
}

async fn payments(owner: &Client) -> HashMap<Uuid, Payment> {
    let sql = "SELECT id, booking_id, charge_id IS NOT NULL, status, reason, amount_minor, created_at, paid_at FROM payments";
    let rows = owner.query(sql, &[]).await.unwrap();
    let payments = rows.iter().map(|row| {
        let payment = Payment {
            booking: row.get(1),
            is_collection: row.get(2),
            status: row.get(3),
            reason: row.get(4),
            minor: row.get(5),
            created_at: row.get(6),
            paid_at: row.get(7),
        };
        (row.get(0), payment)
    });
    payments.collect()
}

async fn refunds(owner: &Client) -> HashMap<Uuid, Refund> {
    let sql = "SELECT id, booking_id, status, amount_minor, created_at FROM refunds";
    let rows = owner.query(sql, &[]).await.unwrap();
    let refunds = rows.iter().map(|row| {
        let refund = Refund {
            booking: row.get(1),
            status: row.get(2),
            minor: row.get(3),
            created_at: row.get(4),
        };
        (row.get(0), refund)
    });
    refunds.collect()
}

/// What clients were told.
async fn notices(owner: &Client) -> Vec<Notice> {
    let sql = "SELECT n.kind, n.booking_id, n.data, n.created_at
               FROM notifications n JOIN bookings b ON b.id = n.booking_id AND b.client_id = n.profile_id ORDER BY n.id";
    let rows = owner.query(sql, &[]).await.unwrap();
    let notices = rows.iter().map(|row| Notice {
        kind: row.get(0),
        booking: row.get(1),
        data: row.get(2),
        at: row.get(3),
    });
    notices.collect()
}

async fn accounts(owner: &Client) -> BTreeMap<String, i64> {
    let sql = "SELECT account_id, sum(amount_minor)::bigint FROM ledger_entries GROUP BY account_id";
    let rows = owner.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
