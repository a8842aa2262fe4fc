//! What everybody shares: the gateways, the messages under way, the hand of the clock, and a record of what people were
//! answered.

use super::script::{Lesson, Plan, Step, Vendor};
use crate::harness::{
    FAPSHI_KEY, FAPSHI_PAYOUT_KEY, FAPSHI_WEBHOOK_SECRET, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET,
};
use domain::ids::PaymentId;
use domain::prove::evidence::Evidence;
use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use platform::config::Env;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use simulators::fapshi::{Fapshi, Service};
use simulators::mailbox::Faults;
use simulators::stripe::Stripe;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use store::prove::evidence::Report;
use tokio::sync::{RwLock, RwLockReadGuard};
use uuid::Uuid;

/// The longest that Lambda lets a function run.
const A_FUNCTION_LIVES: SignedDuration = SignedDuration::from_mins(15);

/// More than all lessons together cost, in francs.
const PLENTY: i64 = 1_000_000_000;

/// What somebody is to work on.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A message as a queue holds it.
    Job(Value),
    /// What was seen of a lesson's room when its vendor was asked.
    Report(usize, Report),
}

/// A message and how often it failed.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) what: What,
    tries: u32,
}

/// What waits for workers, now or later, as a queue delays what failed.
#[derive(Default)]
struct Queue {
    ready: Vec<Item>,
    later: BTreeMap<(Timestamp, u64), Item>,
    count: u64,
}

impl Queue {
    /// What failed earlier comes again once its delay is over.
    fn deliver(&mut self, now: Timestamp) {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            self.ready.push(first.remove());
        }
    }
}

/// How a client can pay what they were given.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Page(String),
    Transaction(String),
    /// The request reached the phone, and its answer nobody.
    Phone(PaymentId),
}

/// What a client will do about something to pay with.
#[derive(Debug, Clone)]
pub(super) struct Bill {
    pub(super) at: Timestamp,
    pub(super) way: Way,
    pub(super) pays: bool,
}

/// What people did and were answered, in its order; by booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    MarkTried,
    /// Whatever the answer was.
    MarkEnded,
    Marked(Timestamp),
    WithdrawTried,
    Withdrawn,
    Cancelled,
}

pub(super) struct Stage {
    pub(super) lessons: Vec<Lesson>,
    pub(super) numbers: HashMap<Uuid, usize>,
    pub(super) stripe: Stripe,
    pub(super) fapshi: Fapshi,
    pub(super) clock: Clock,
    hand: Mutex<ClockHand>,
    addresses: [String; 2],
    plan: Mutex<VecDeque<(Timestamp, Step)>>,
    at_work: RwLock<()>,
    queue: Mutex<Queue>,
    bills: Mutex<Vec<Bill>>,
    /// The latest moment as of which each lesson's vendor was heard, and that was entered.
    heard: Mutex<HashMap<usize, Timestamp>>,
    said: Mutex<HashMap<usize, Vec<Said>>>,
    set_aside: Mutex<Vec<String>>,
}

impl Stage {
    /// With both gateways open, at `begins_at`.
    pub(super) async fn set(lessons: Vec<Lesson>, plan: Plan, begins_at: Timestamp) -> Self {
        let (clock, hand) = Clock::manual(begins_at);
        let stripe = Stripe::new(
            "http://cards.story/",
            STRIPE_KEY,
            STRIPE_WEBHOOK_SECRET,
            clock.clone(),
        );
        let service = |user: &str, key: &str| Service {
            user: user.into(),
            key: key.into(),
        };
        let (collections, payouts) = (
            service("collections", FAPSHI_KEY),
            service("payouts", FAPSHI_PAYOUT_KEY),
        );
        let fapshi = Fapshi::new("http://momo.story/", collections, payouts, FAPSHI_WEBHOOK_SECRET)
            .with_clock(clock.clone());
        fapshi.fill(PLENTY);
        let addresses = [
            simulators::serve(stripe.router()).await.unwrap(),
            simulators::serve(fapshi.router()).await.unwrap(),
        ];
        let numbers = lessons.iter().enumerate();
        let numbers = numbers
            .map(|(number, lesson)| (lesson.booking.0, number))
            .collect();
        Self {
            lessons,
            numbers,
            stripe,
            fapshi,
            clock,
            hand: Mutex::new(hand),
            addresses: addresses.map(|address| format!("http://{address}/")),
            plan: Mutex::new(plan.into()),
            at_work: RwLock::default(),
            queue: Mutex::default(),
            bills: Mutex::default(),
            heard: Mutex::default(),
            said: Mutex::default(),
            set_aside: Mutex::default(),
        }
    }

    /// The settings of whoever talks to the gateways.
    pub(super) fn env(&self) -> Env {
        let [stripe, fapshi] = self.addresses.clone();
        let settings = HashMap::from([
            ("STRIPE_API_URL", stripe),
            ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
            ("FAPSHI_API_URL", fapshi),
            ("FAPSHI_API_USER", "collections".to_owned()),
            ("FAPSHI_API_KEY", FAPSHI_KEY.to_owned()),
            ("FAPSHI_PAYOUT_USER", "payouts".to_owned()),
            ("FAPSHI_PAYOUT_KEY", FAPSHI_PAYOUT_KEY.to_owned()),
            ("LESSONSPACE_API_URL", "http://127.0.0.1:1/".to_owned()),
            ("LESSONSPACE_ORGANISATION", "1".to_owned()),
            ("LESSONSPACE_API_KEY", "unused".to_owned()),
            ("LESSONSPACE_SECRET", WEBHOOK_SECRET.to_owned()),
        ]);
        Env::from_lookup(move |name| settings.get(name).cloned())
    }

    // Time ---------------------------------------------------------------------------------------------

    /// What happens next; the clock moves to it, whoever is still at something earlier. Only over a night nobody is at
    /// anything: no function lives that long.
    pub(super) async fn next_step(&self) -> Option<Step> {
        let (at, step) = self.plan.lock().unwrap().pop_front()?;
        if at.duration_since(self.clock.now()) > A_FUNCTION_LIVES {
            let _nobody_else = self.at_work.write().await;
            self.move_to(at);
        } else {
            self.move_to(at);
        }
        Some(step)
    }

    fn move_to(&self, at: Timestamp) {
        let hand = self.hand.lock().unwrap();
        let ahead = at.duration_since(self.clock.now());
        if ahead.is_positive() {
            hand.advance(ahead);
        }
    }

    /// Held by whoever is at something.
    pub(super) async fn at_work(&self) -> RwLockReadGuard<'_, ()> {
        self.at_work.read().await
    }

    pub(super) fn wait(&self, duration: SignedDuration) {
        self.hand.lock().unwrap().advance(duration);
    }

    // Messages -----------------------------------------------------------------------------------------

    /// Every message comes twice.
    pub(super) fn post(&self, what: &What) {
        let mut queue = self.queue.lock().unwrap();
        for _ in 0..2 {
            queue.ready.push(Item {
                what: what.clone(),
                tries: 0,
            });
        }
    }

    /// What failed, or whose worker died, comes again: later each time, up to half an hour.
    pub(super) fn post_again(&self, item: Item) {
        let delay = SignedDuration::from_secs(30 << item.tries.min(6)).min(SignedDuration::from_mins(30));
        let due = self.clock.now() + delay;
        let mut queue = self.queue.lock().unwrap();
        queue.count += 1;
        let (count, tries) = (queue.count, item.tries + 1);
        queue.later.insert((due, count), Item { tries, ..item });
    }

    /// Some messages in no particular order: a fair share of those that wait, but at least `least`.
    pub(super) fn some(&self, least: usize, random: &mut StdRng) -> Vec<Item> {
        let mut queue = self.queue.lock().unwrap();
        queue.deliver(self.clock.now());

        let ready = &mut queue.ready;
        let most = ready.len().min(least.max(ready.len() / 12));
        let pick = |_| ready.swap_remove(random.random_range(0..ready.len()));
        (0..most).map(pick).collect()
    }

    /// How many messages wait, for now or for later.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let mut queue = self.queue.lock().unwrap();
        queue.deliver(self.clock.now());
        (queue.ready.len(), queue.later.len())
    }

    pub(super) fn set_aside(&self, why: String) {
        self.set_aside.lock().unwrap().push(why);
    }

    pub(super) fn was_set_aside(&self) -> Vec<String> {
        self.set_aside.lock().unwrap().clone()
    }

    /// What the gateways tell, as their doors put it on the queue.
    pub(super) fn letters(&self) -> Vec<Value> {
        let now = self.clock.now();
        let envelope = |kind: &str, body: &str| {
            let id = Uuid::new_v4();
            json!({
                "v": 1, "type": kind, "id": id, "occurred_at": now, "correlation_id": id, "causation_id": null,
                "payload": {"body": body},
            })
        };
        let (stripe, fapshi) = (self.stripe.letters(), self.fapshi.letters());
        let stripe = stripe.iter().map(|letter| envelope("stripe_event", &letter.body));
        let fapshi = fapshi.iter().map(|letter| envelope("fapshi_event", &letter.body));
        stripe.chain(fapshi).collect()
    }

    // The rooms' vendor --------------------------------------------------------------------------------

    /// What the vendor's list shows now to whoever an event has woken. It may lag by some minutes behind an end, which is
    /// then kept beside it as the event told it.
    pub(super) fn woken(&self, number: usize, random: &mut StdRng) -> Report {
        let now = self.clock.now();
        let lag = if random.random_range(0..6) == 0 {
            SignedDuration::from_mins(random.random_range(1..15))
        } else {
            SignedDuration::ZERO
        };
        let lesson = &self.lessons[number];
        let (shown, happened) = (lesson.seen_at(now - lag), lesson.seen_at(now));
        let has_ended = |span: &str| {
            happened
                .spans
                .get(span)
                .is_some_and(|span| span.ended_at.is_some())
        };
        let owed = happened.spans.keys().filter(|span| {
            has_ended(span) && shown.spans.get(*span).is_none_or(|span| span.ended_at.is_none())
        });
        let ends: BTreeMap<String, Timestamp> = owed.map(|span| (span.clone(), now)).collect();
        let shown = if ends.is_empty() { happened } else { shown };
        Report {
            evidence: Evidence { ends, ..shown },
            asked_at: Some(now),
            ..Report::default()
        }
    }

    /// What the vendor answers to whoever asks now.
    pub(super) fn answer(&self, number: usize) -> Option<Report> {
        let lesson = &self.lessons[number];
        let now = self.clock.now();
        (lesson.vendor != Vendor::Silent).then(|| Report {
            evidence: lesson.seen_at(now),
            asked_at: Some(now),
            ..Report::default()
        })
    }

    /// A report was entered that is complete as of the moment at which its vendor was asked.
    pub(super) fn heard(&self, number: usize, report: &Report) {
        if let (Some(at), true) = (report.asked_at, report.evidence.ends.is_empty()) {
            let mut heard = self.heard.lock().unwrap();
            let latest = heard.entry(number).or_insert(at);
            *latest = at.max(*latest);
        }
    }

    pub(super) fn heard_until(&self, number: usize) -> Option<Timestamp> {
        self.heard.lock().unwrap().get(&number).copied()
    }

    // People -------------------------------------------------------------------------------------------

    pub(super) fn say(&self, number: usize, said: Said) {
        self.said.lock().unwrap().entry(number).or_default().push(said);
    }

    pub(super) fn said(&self, number: usize) -> Vec<Said> {
        self.said
            .lock()
            .unwrap()
            .get(&number)
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn expect(&self, bill: Bill) {
        self.bills.lock().unwrap().push(bill);
    }

    /// Clients whose time has come pay, or fail to, or find that what they were given works no more.
    pub(super) fn clients_pay(&self) {
        let now = self.clock.now();
        let due: Vec<Bill> = self
            .bills
            .lock()
            .unwrap()
            .extract_if(.., |bill| bill.at <= now)
            .collect();
        for Bill { way, pays, .. } in due {
            let status = if pays { "SUCCESSFUL" } else { "FAILED" };
            match way {
                Way::Page(page) if pays => drop(self.stripe.close_checkout(&page, true)),
                Way::Page(_) => {}
                Way::Transaction(id) => drop(self.fapshi.end(&id, status)),
                Way::Phone(payment) => {
                    let all = self.fapshi.record("Collection");
                    let theirs = all
                        .iter()
                        .filter(|other| other["externalId"] == payment.to_string());
                    for id in theirs.filter_map(|other| other["transId"].as_str()) {
                        self.fapshi.end(id, status);
                    }
                }
            }
        }
    }

    // The gateways -------------------------------------------------------------------------------------

    /// Refunds that wait at their gateways come to an end, some of them to a bad one.
    pub(super) fn refunds_end(&self, random: &mut StdRng) {
        let mut is_bad = || random.random_range(0..5) == 0;
        for refund in self.stripe.record("refund") {
            if refund["status"] == "pending" {
                let status = if is_bad() { "failed" } else { "succeeded" };
                self.stripe.end_refund(refund["id"].as_str().unwrap(), status);
            }
        }
        for payout in self.fapshi.record("Payout") {
            if payout["status"] == "PENDING" {
                let status = if is_bad() { "FAILED" } else { "SUCCESSFUL" };
                self.fapshi.end(payout["transId"].as_str().unwrap(), status);
            }
        }
    }

    pub(super) fn misbehave(&self, random: &mut StdRng) {
        let faults = stripes_faults(random);
        self.stripe.misbehave(faults);
        self.fapshi.misbehave(fapshis_faults(random));
    }

    /// What is asked for happens, and nobody learns of it.
    pub(super) fn vanish(&self) {
        let faults = || Faults {
            lose_next: 12,
            break_after_next: 12,
            is_silent: true,
            ..Faults::default()
        };
        self.stripe.misbehave(faults());
        self.fapshi.misbehave(faults());
    }

    pub(super) fn behave(&self) {
        self.stripe.misbehave(Faults::default());
        self.fapshi.misbehave(Faults::default());
        self.stripe.tell_fees();
        self.fill(true);
    }

    /// The balance that payouts are made from, full or empty.
    pub(super) fn fill(&self, is_full: bool) {
        self.fapshi.fill(if is_full { PLENTY } else { 0 });
    }
}

/// One of five ways for requests and their answers to get lost or to fail, which both gateways have.
fn lost_or_broken(way: u32, count: u32, rest: Faults) -> Faults {
    let if_it_is = |other: u32| if way == other { count } else { 0 };
    Faults {
        lose_next: if_it_is(0),
        fail_next: if_it_is(1),
        vanish_next: if_it_is(2),
        break_next: if_it_is(3),
        break_after_next: if_it_is(4),
        ..rest
    }
}

/// Stripe tells of everything in the end, so what it says only once (a refund that came back, a fee that was told late)
/// is not hushed; what can be looked up is.
fn stripes_faults(random: &mut StdRng) -> Faults {
    let count = random.random_range(1..8);
    let hushed = Faults {
        is_silent: random.random_range(0..2) == 0,
        ..Faults::default()
    };
    match random.random_range(0..12) {
        way @ 0..5 => lost_or_broken(way, count, hushed),
        5 => Faults {
            decline_next: 2 * count,
            ..hushed
        },
        6 => Faults {
            decline_next: count,
            decline_code: "authentication_required".into(),
            ..Faults::default()
        },
        7 => Faults {
            refunds_wait: true,
            ..hushed
        },
        8 => Faults {
            fail_refunds_next: count,
            ..Faults::default()
        },
        9 => Faults {
            fees_wait: true,
            ..Faults::default()
        },
        10 => Faults {
            answer_after_ms: 3,
            ..hushed
        },
        _ => Faults::default(),
    }
}

fn fapshis_faults(random: &mut StdRng) -> Faults {
    let count = random.random_range(1..8);
    // It tells once: what is hushed is never told.
    let hushed = Faults {
        is_silent: random.random_range(0..2) == 0,
        ..Faults::default()
    };
    match random.random_range(0..9) {
        way @ 0..5 => lost_or_broken(way, count, hushed),
        5 => Faults {
            refunds_wait: true,
            ..hushed
        },
        6 => Faults {
            fail_refunds_next: count,
            ..hushed
        },
        7 => Faults {
            answer_after_ms: 3,
            ..hushed
        },
        _ => Faults::default(),
    }
}
