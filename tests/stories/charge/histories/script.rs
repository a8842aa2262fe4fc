//! What happens: ten thousand lessons, who was in their rooms and when, and everything that anybody does about them, each
//! in its minute.

use domain::charge::payment::Method;
use domain::ids::{BookingId, ProfileId};
use domain::prove::evidence::{Did, Evidence, Mark, Side, Span};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// Between two moments at which anything happens. Longer than every fence of five minutes: those end while workers are
/// still at what they fence.
const SLOT_MINUTES: i64 = 6;
/// Days on which something happens. Lessons begin on all but the last.
const DAYS: i64 = 4;
/// From one day to the next. Between its end and the next day's begin gateways forget their keys.
const DAY_MINUTES: i64 = 34 * 60;
/// How long a day lasts; then the clock steps to the next one, whatever was left undone.
const DAY_LASTS: i64 = 7 * 60 + 30;
/// The names by which the vendor knows the two in a room.
pub(super) const TUTOR: &str = "vendor-1";
pub(super) const LEARNER: &str = "vendor-2";

/// What the vendor of a room tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    /// Sends events, and answers.
    Tells,
    /// Answers when it is asked.
    Answers,
    /// Neither.
    Silent,
}

/// One booking, and what becomes of it.
#[derive(Debug, Clone)]
pub(super) struct Lesson {
    pub(super) booking: BookingId,
    pub(super) client: ProfileId,
    pub(super) price_minor: i64,
    pub(super) currency: &'static str,
    /// The phone that pays, where money is mobile.
    pub(super) phone: String,
    pub(super) starts_at: Timestamp,
    /// The platform means to move it to then.
    pub(super) moves_to: Option<Timestamp>,
    /// The platform means to call it off.
    pub(super) may_be_off: bool,
    pub(super) vendor: Vendor,
    /// Everything that its vendor will ever have seen.
    pub(super) seen: Evidence,
}

impl Lesson {
    pub(super) fn has_room(&self) -> bool {
        !self.seen.spans.is_empty()
    }

    /// What its vendor shows at `instant`: what runs then has no end yet.
    pub(super) fn seen_at(&self, instant: Timestamp) -> Evidence {
        let mut shown = self.seen.clone();
        shown.spans.retain(|_, span| span.began_at <= instant);
        for span in shown.spans.values_mut() {
            if span.ended_at.is_some_and(|end| end > instant) {
                (span.ended_at, span.is_idled) = (None, false);
            }
        }
        shown.marks.retain(|mark| mark.at <= instant);
        shown
    }
}

/// Something that happens, to the lesson of this number where it says one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Join(usize, Side),
    /// The vendor sends an event; whoever gets it looks at what the vendor shows, which may lag.
    Tell(usize),
    Mark(usize),
    Withdraw(usize),
    Cancel(usize),
    Pay(usize, Method),
    /// The platform writes into its own table.
    CallOff(usize),
    ConfirmAgain(usize),
    Move(usize),
    /// The schedules.
    Settle,
    Tend,
    Reconcile,
    CatchUp,
    /// Jobs leave the outbox, webhooks leave the gateways; each twice.
    Post,
    /// Somebody works on what was posted.
    Work,
    /// Clients pay whose time has come, and what waits at the gateways ends.
    Outside,
    /// Gateways misbehave, or cease to.
    Misbehave,
    /// Both gateways take what they are asked for, lose or spoil their answers, and tell nobody.
    Vanish,
    RunDry,
    FillUp,
    /// An operator retries some refunds that wait for a person.
    Operate,
}

pub(super) type Plan = Vec<(Timestamp, Step)>;

/// How somebody's time in a room ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Leaves,
    Idles,
    /// The vendor never says.
    Unknown,
}

use End::{Idles, Leaves, Unknown};

/// Minutes from the planned start.
pub(super) type Stay = (i64, i64, End);
/// How often of a hundred, the tutor's stays, the learner's.
type Pattern = (u32, &'static [Stay], &'static [Stay]);

const PATTERNS: &[Pattern] = &[
    (26, &[(-5, 63, Leaves)], &[(2, 63, Leaves)]),
    // Both look in, drop out, and come back.
    (
        8,
        &[(-10, -8, Leaves), (0, 20, Leaves), (25, 63, Leaves)],
        &[(0, 20, Leaves), (26, 63, Leaves)],
    ),
    (9, &[(0, 45, Leaves)], &[(1, 45, Leaves)]),
    // It ended, and did not.
    (
        6,
        &[(0, 45, Leaves), (62, 70, Leaves)],
        &[(0, 45, Leaves), (63, 70, Leaves)],
    ),
    (6, &[(-3, 90, Leaves)], &[(0, 90, Leaves)]),
    (4, &[(0, 40, Unknown)], &[(0, 40, Unknown)]),
    (4, &[(0, 30, Idles)], &[(0, 30, Idles)]),
    (9, &[(-2, 63, Leaves)], &[]),
    (6, &[], &[(0, 25, Leaves)]),
    (5, &[(0, 12, Leaves)], &[]),
    (5, &[(0, 12, Leaves)], &[(18, 61, Leaves)]),
    (12, &[], &[]),
];

/// Adds what a vendor sees of these stays to what it has seen.
pub(super) fn play(seen: &mut Evidence, name: &str, start: Timestamp, tutor: &[Stay], learner: &[Stay]) {
    let at = |minutes: i64| start + SignedDuration::from_mins(minutes);
    let sides = [(TUTOR, Side::Tutor, tutor), (LEARNER, Side::Learner, learner)];
    let mut stays: Vec<(&str, Stay)> = Vec::new();
    for (who, side, theirs) in sides {
        if !theirs.is_empty() {
            seen.people.insert(who.into(), side);
        }
        stays.extend(theirs.iter().map(|stay| (who, *stay)));
    }
    stays.sort_by_key(|(_, stay)| stay.0);

    // The room is held open from the first who comes to the last who leaves.
    let mut spans: Vec<Stay> = Vec::new();
    for (who, stay) in stays {
        match spans.last_mut() {
            Some(span) if stay.0 <= span.1 => {
                if stay.1 >= span.1 {
                    (span.1, span.2) = (stay.1, stay.2);
                }
            }
            _ => spans.push(stay),
        }
        let span = format!("{name}{}", spans.len());
        let mut did = |did, minutes| {
            let (span, who) = (span.clone(), who.into());
            let at = at(minutes);
            seen.marks.insert(Mark { span, who, did, at });
        };
        did(Did::Came, stay.0);
        match stay.2 {
            Leaves => did(Did::Left, stay.1),
            Idles => did(Did::Idled, stay.1),
            Unknown => {}
        }
    }
    for (n, (from, to, end)) in spans.iter().enumerate() {
        let span = Span {
            began_at: at(*from),
            ended_at: (*end != Unknown).then(|| at(*to)),
            is_idled: *end == Idles,
            is_recorded: false,
        };
        seen.spans.insert(format!("{name}{}", n + 1), span);
    }
}

/// Both were there for the whole time.
pub(super) const IN_FULL: &[Stay] = &[(1, 61, Leaves)];

/// Makes up lessons and their histories.
pub(super) struct Author {
    random: StdRng,
    begins_at: Timestamp,
    clients: Vec<ProfileId>,
    plan: Plan,
}

impl Author {
    pub(super) fn new(seed: u64, begins_at: Timestamp, clients: Vec<ProfileId>) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            begins_at,
            clients,
            plan: Vec::new(),
        }
    }

    /// Whether the clients of this number pay by mobile money: each third.
    pub(super) fn is_mobile(client: usize) -> bool {
        client.is_multiple_of(3)
    }

    fn happens(&mut self, of_a_hundred: u32) -> bool {
        self.random.random_range(0..100) < of_a_hundred
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        self.random.random_range(from..to.max(from + 1))
    }

    /// So many minutes after the beginning, at the next moment at which anything happens.
    fn at(&self, minutes: i64) -> Timestamp {
        let day = minutes.div_euclid(DAY_MINUTES).clamp(0, DAYS - 1);
        let within = (minutes - day * DAY_MINUTES).clamp(0, DAY_LASTS - SLOT_MINUTES);
        let slot = within / SLOT_MINUTES * SLOT_MINUTES;
        self.begins_at + SignedDuration::from_mins(day * DAY_MINUTES + slot)
    }

    fn add(&mut self, minutes: i64, step: Step) {
        self.plan.push((self.at(minutes), step));
    }

    /// People press twice.
    fn add_twice(&mut self, minutes: i64, step: Step) {
        self.add(minutes, step);
        self.add(minutes, step);
    }

    /// So many lessons, and everything that happens, in its order.
    pub(super) fn write(mut self, lessons: usize) -> (Vec<Lesson>, Plan) {
        let lessons = (0..lessons).map(|number| self.lesson(number)).collect();
        for day in 0..DAYS {
            for slot in 0..DAY_LASTS / SLOT_MINUTES {
                self.schedules(day * DAY_MINUTES + slot * SLOT_MINUTES);
            }
            self.night(day);
        }

        // What happens in one moment happens in any order.
        self.plan.shuffle(&mut self.random);
        self.plan.sort_by_key(|(at, _)| *at);
        (lessons, self.plan)
    }

    fn schedules(&mut self, minutes: i64) {
        for step in [
            Step::Settle,
            Step::Tend,
            Step::Reconcile,
            Step::CatchUp,
            Step::Outside,
        ] {
            self.add(minutes, step);
        }
        self.add_twice(minutes, Step::Post);
        for _ in 0..20 {
            self.add(minutes, Step::Work);
        }
        if self.happens(50) {
            self.add(minutes, Step::Misbehave);
        }
        for (step, of_a_hundred) in [(Step::RunDry, 3), (Step::FillUp, 5), (Step::Operate, 12)] {
            if self.happens(of_a_hundred) {
                self.add(minutes, step);
            }
        }
    }

    /// Before the clock steps on for a day, answers get lost.
    fn night(&mut self, day: i64) {
        let evening = day * DAY_MINUTES + DAY_LASTS - 4 * SLOT_MINUTES;
        for slot in 0..4 {
            self.add_twice(evening + slot * SLOT_MINUTES, Step::Vanish);
        }
    }

    fn lesson(&mut self, number: usize) -> Lesson {
        let client = number % self.clients.len();
        let is_mobile = Self::is_mobile(client);
        let day = self.between(0, DAYS - 1) * DAY_MINUTES;
        let start = day + self.between(60, 6 * 60);
        let is_moved = self.happens(6);
        let moves_to = is_moved.then(|| day + DAY_MINUTES + self.between(60, 6 * 60));
        let may_be_off = self.happens(7);

        let mut seen = Evidence::default();
        let (tutor, learner) = self.stays();
        if !is_moved || self.happens(30) {
            play(&mut seen, "a", self.at(start), &tutor, &learner);
            self.in_the_room(number, start, &tutor, &learner);
        }
        if let Some(moved) = moves_to {
            play(&mut seen, "b", self.at(moved), &tutor, &learner);
            self.in_the_room(number, moved, &tutor, &learner);
        }
        let vendor = match self.between(0, 100) {
            0..8 => Vendor::Silent,
            8..40 => Vendor::Answers,
            _ => Vendor::Tells,
        };
        if vendor == Vendor::Tells && !seen.spans.is_empty() {
            self.telling(number, moves_to.unwrap_or(start));
        }
        self.people(number, day, start, is_mobile);
        self.platform(number, day, start, is_moved, may_be_off);

        Lesson {
            booking: BookingId(Uuid::from_u128(self.random.random())),
            client: self.clients[client],
            price_minor: if is_mobile {
                self.between(1_000, 10_000)
            } else {
                self.between(1_000, 100_000)
            },
            currency: if is_mobile { "XAF" } else { "TTD" },
            phone: format!("6{:08}", self.between(0, 100_000_000)),
            starts_at: self.at(start),
            moves_to: moves_to.map(|minutes| self.at(minutes)),
            may_be_off,
            vendor,
            seen,
        }
    }

    /// Who comes when, but for some minutes.
    fn stays(&mut self) -> (Vec<Stay>, Vec<Stay>) {
        let (_, tutor, learner) = PATTERNS
            .choose_weighted(&mut self.random, |pattern| pattern.0)
            .unwrap();
        let mut about = |stays: &[Stay]| {
            let late = self.random.random_range(0..2);
            stays
                .iter()
                .map(|stay| (stay.0 + late, stay.1 + late, stay.2))
                .collect()
        };
        (about(tutor), about(learner))
    }

    fn in_the_room(&mut self, number: usize, start: i64, tutor: &[Stay], learner: &[Stay]) {
        for (side, stays) in [(Side::Tutor, tutor), (Side::Learner, learner)] {
            if let Some(first) = stays.first() {
                self.add(start + first.0, Step::Join(number, side));
            }
        }
    }

    fn telling(&mut self, number: usize, start: i64) {
        for (from, to, of_a_hundred) in [(5, 40, 40), (45, 70, 60), (90, 240, 10)] {
            if self.happens(of_a_hundred) {
                let minutes = start + self.between(from, to);
                self.add(minutes, Step::Tell(number));
            }
        }
    }

    fn people(&mut self, number: usize, day: i64, start: i64, is_mobile: bool) {
        if self.happens(15) {
            let marks = start + self.between(20, 60);
            self.add_twice(marks, Step::Mark(number));
            if self.happens(30) {
                let withdraws = self.between(marks, start + 60);
                self.add_twice(withdraws, Step::Withdraw(number));
            }
        }
        if self.happens(9) {
            let cancels = self.between(day, start + 2);
            self.add_twice(cancels, Step::Cancel(number));
        }

        let methods: &[Method] = if is_mobile {
            &[
                Method::MobileMoneyLink,
                Method::MobileMoney,
                Method::MobileMoneyLink,
            ]
        } else {
            &[Method::Card]
        };
        let pays = |author: &mut Self, from: i64, to: i64| {
            let method = *methods.choose(&mut author.random).unwrap();
            let minutes = author.between(from, to);
            author.add_twice(minutes, Step::Pay(number, method));
        };
        // Ahead, ahead once more some other way, and the day after, for what nobody could collect.
        let ahead = if is_mobile { 60 } else { 15 };
        if self.happens(ahead) {
            pays(self, day, start);
        }
        if self.happens(ahead / 4) {
            pays(self, day, start + 60);
        }
        if self.happens(if is_mobile { 40 } else { 5 }) {
            pays(self, day + DAY_MINUTES, day + DAY_MINUTES + DAY_LASTS);
        }
    }

    fn platform(&mut self, number: usize, day: i64, start: i64, is_moved: bool, may_be_off: bool) {
        if is_moved {
            let moves = self.between(day, start);
            self.add(moves, Step::Move(number));
        }
        if may_be_off {
            let calls_off = self.between(day, start);
            self.add(calls_off, Step::CallOff(number));
            if self.happens(50) {
                let thinks_again = self.between(calls_off, start);
                self.add(thinks_again, Step::ConfirmAgain(number));
            }
        }
    }
}
