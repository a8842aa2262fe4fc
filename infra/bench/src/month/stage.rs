//! What everybody shares: the clock, the simulated vendors, and the messages that are under way.

use jiff::{SignedDuration, Timestamp};
use platform::clock::{Clock, ClockHand};
use platform::config::Env;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};
use simulators::fapshi::{Fapshi, Service};
use simulators::lessonspace::{Lessonspace, Webhook};
use simulators::mailbox::Letter;
use simulators::stripe::Stripe;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

const KEY: &str = "a key of the month";
/// What falls to the ground between gateway and door, and what comes twice: so many of a hundred.
const LOST: u32 = 1;
const TWICE: u32 = 1;
/// A message that was received so often and not done ends among the dead letters. Whether what it was about came right
/// all the same, by a schedule's later look, is judged like everything else.
const MOST_RECEIPTS: u32 = 20;
/// It comes back after two seconds, doubled each time, and after no more than this.
const LONGEST_DELAY: SignedDuration = SignedDuration::from_mins(15);
/// So many examples of a problem are kept.
pub(crate) const EXAMPLES: usize = 5;

/// How a client pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pays {
    /// By the card on file, when the lesson is settled.
    CardOnFile,
    /// By card, when it is booked.
    CardAhead,
    /// By mobile money, when it is booked.
    MobileMoney,
}

/// A message on its way to its consumer.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) body: String,
    receipts: u32,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) launches: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) put_off: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) payment_webhooks: AtomicU64,
    pub(crate) lost_webhooks: AtomicU64,
    pub(crate) orders: AtomicU64,
    pub(crate) marks: AtomicU64,
}

/// As it stands now.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Counted {
    pub(crate) launches: u64,
    pub(crate) messages: u64,
    pub(crate) messages_delivered_twice: u64,
    pub(crate) messages_put_off: u64,
    pub(crate) messages_given_up: u64,
    pub(crate) payment_webhooks: u64,
    pub(crate) payment_webhooks_lost: u64,
    pub(crate) orders: u64,
    pub(crate) marks: u64,
}

impl Counts {
    pub(crate) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            launches: read(&self.launches),
            messages: read(&self.messages),
            messages_delivered_twice: read(&self.repeated),
            messages_put_off: read(&self.put_off),
            messages_given_up: read(&self.given_up),
            payment_webhooks: read(&self.payment_webhooks),
            payment_webhooks_lost: read(&self.lost_webhooks),
            orders: read(&self.orders),
            marks: read(&self.marks),
        }
    }
}

/// The stage.
pub(crate) struct Stage {
    pub(crate) clock: Clock,
    hand: Mutex<ClockHand>,
    pub(crate) stripe: Stripe,
    pub(crate) fapshi: Fapshi,
    pub(crate) lessonspace: Lessonspace,
    addresses: [String; 3],
    queue: Mutex<BTreeMap<Timestamp, Vec<Message>>>,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
    hopeless: Mutex<Vec<String>>,
    random: Mutex<StdRng>,
    pub(crate) counts: Counts,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// The vendors, served on ports of their own, at `now`.
    pub(crate) async fn set(now: Timestamp, seed: u64) -> Self {
        let (clock, hand) = Clock::manual(now);
        let service = |user: &str| Service {
            user: user.into(),
            key: KEY.into(),
        };
        let base = "http://vendor.invalid/";
        let stripe = Stripe::new(base, KEY, KEY, clock.clone());
        let fapshi = Fapshi::new(base, service("collect"), service("pay"), KEY).with_clock(clock.clone());
        let lessonspace = Lessonspace::new(base, KEY);

        let mut addresses = Vec::new();
        for router in [stripe.router(), fapshi.router(), lessonspace.router()] {
            let address = simulators::serve(router).await.expect("a port");
            addresses.push(format!("http://{address}/"));
        }
        Self {
            clock,
            hand: Mutex::new(hand),
            stripe,
            fapshi,
            lessonspace,
            addresses: addresses.try_into().expect("three vendors"),
            queue: Mutex::default(),
            reasons: Mutex::default(),
            hopeless: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            counts: Counts::default(),
        }
    }

    /// What functions read from their environment.
    pub(crate) fn environment(&self) -> Env {
        let [stripe, fapshi, lessonspace] = &self.addresses;
        let settings = HashMap::from([
            ("STRIPE_API_URL", stripe.clone()),
            ("STRIPE_SECRET_KEY", KEY.to_owned()),
            ("FAPSHI_API_URL", fapshi.clone()),
            ("FAPSHI_API_USER", "collect".to_owned()),
            ("FAPSHI_API_KEY", KEY.to_owned()),
            ("FAPSHI_PAYOUT_USER", "pay".to_owned()),
            ("FAPSHI_PAYOUT_KEY", KEY.to_owned()),
            ("LESSONSPACE_API_URL", format!("{lessonspace}v2/")),
            ("LESSONSPACE_ORGANISATION", "20001".to_owned()),
            ("LESSONSPACE_API_KEY", KEY.to_owned()),
            ("LESSONSPACE_SECRET", KEY.to_owned()),
        ]);
        Env::from_lookup(move |name| settings.get(name).cloned())
    }

    /// Lets time pass until `instant`.
    pub(crate) fn wait_until(&self, instant: Timestamp) {
        let wait = instant.duration_since(self.clock.now());
        locked(&self.hand).advance(wait.max(SignedDuration::ZERO));
    }

    /// A number below `end`.
    pub(crate) fn draw(&self, end: u32) -> u32 {
        locked(&self.random).random_range(0..end)
    }

    // Messages ----------------------------------------------------------------------------------------------

    /// Hands a message over; now and then it comes twice, the second time a little later.
    pub(crate) fn post(&self, body: String) {
        let now = self.clock.now();
        Counts::one(&self.counts.messages);
        if self.draw(100) < TWICE {
            Counts::one(&self.counts.repeated);
            let minutes = [0, 1, 45][self.draw(3) as usize];
            self.post_at(now + SignedDuration::from_mins(minutes), body.clone(), 0);
        }
        self.post_at(now, body, 0);
    }

    fn post_at(&self, at: Timestamp, body: String, receipts: u32) {
        let message = Message { body, receipts };
        locked(&self.queue).entry(at).or_default().push(message);
    }

    /// What is to be delivered by now.
    pub(crate) fn due(&self) -> Vec<Message> {
        let mut queue = locked(&self.queue);
        let later = queue.split_off(&(self.clock.now() + SignedDuration::from_nanos(1)));
        let due = std::mem::replace(&mut *queue, later);
        due.into_values().flatten().collect()
    }

    /// When the next message is to be delivered.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        locked(&self.queue).keys().next().copied()
    }

    /// A message that was not done comes back later, or is given up.
    pub(crate) fn put_off(&self, message: Message, why: &'static str) {
        *locked(&self.reasons).entry(why).or_default() += 1;
        let receipts = message.receipts + 1;
        if receipts >= MOST_RECEIPTS {
            return Counts::one(&self.counts.given_up);
        }
        Counts::one(&self.counts.put_off);
        let delay = SignedDuration::from_secs(1 << receipts.min(16)).min(LONGEST_DELAY);
        self.post_at(self.clock.now() + delay, message.body, receipts);
    }

    /// How often a message was put off, by why.
    pub(crate) fn reasons(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.reasons).clone()
    }

    /// A message of which its consumer says that it will never be done.
    pub(crate) fn set_aside(&self, message: &Message, why: &str) {
        let at = self.clock.now();
        locked(&self.hopeless).push(format!("{at} {why}: {}", message.body));
    }

    /// Every message that will never be done.
    pub(crate) fn hopeless(&self) -> Vec<String> {
        locked(&self.hopeless).clone()
    }

    /// Everything that the gateways have to tell; some of it gets lost, and what is left comes in any order.
    pub(crate) fn collect_letters(&self) {
        let letters =
            |kind: &'static str, letters: Vec<Letter>| letters.into_iter().map(move |one| (kind, one));
        let mut all: Vec<(&str, Letter)> = letters("stripe_event", self.stripe.letters())
            .chain(letters("fapshi_event", self.fapshi.letters()))
            .collect();
        while !all.is_empty() {
            let most = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let (kind, letter) = all.swap_remove(self.draw(most) as usize);
            Counts::one(&self.counts.payment_webhooks);
            if self.draw(100) < LOST {
                Counts::one(&self.counts.lost_webhooks);
                continue;
            }
            self.post(self.envelope(kind, &json!({"body": letter.body})));
        }
    }

    /// The classroom's webhooks about a booking.
    pub(crate) fn tell(&self, booking: Uuid, webhooks: &[Webhook]) {
        for webhook in webhooks {
            let header = |wanted: &str| {
                webhook
                    .headers
                    .iter()
                    .find(|(name, _)| *name == wanted)
                    .map(|(_, value)| value)
            };
            let payload = json!({
                "booking": booking, "body": webhook.body,
                "headers": {
                    "id": header("x-webhook-id"), "event": header("x-webhook-event"),
                    "signature": header("x-webhook-signature"), "timestamp": header("x-webhook-timestamp"),
                },
            });
            self.post(self.envelope("lessonspace_event", &payload));
        }
    }

    /// A delivery as its door puts it on the queue.
    fn envelope(&self, kind: &str, payload: &Value) -> String {
        let id = Uuid::new_v4();
        let envelope = json!({
            "v": 1, "type": kind, "id": id, "occurred_at": self.clock.now(), "correlation_id": id,
            "causation_id": null, "payload": payload,
        });
        envelope.to_string()
    }
}
