//! What will happen: who takes lessons with whom, and how each of them goes. The truth against which everything is
//! judged in the end is here, and is worked out from the script alone.

use crate::stage::Pays;
use jiff::{SignedDuration, Timestamp, Unit};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use uuid::Uuid;

/// The month. A quick one, of fewer lessons, is shorter, not emptier: so many lessons make a day, and three days are the
/// least.
const DAYS: i64 = 30;
const SHORTEST: i64 = 3;
const LESSONS_OF_A_DAY: usize = 1_000;
/// Lessons of one client, and clients of one tutor, on average.
const LESSONS_OF_A_CLIENT: usize = 8;
const CLIENTS_OF_A_TUTOR: usize = 10;
/// The room closes so long after the end.
const CLOSES_AFTER: i64 = 15;

/// Of a thousand half hours at which a lesson begins, how many fall into each hour of the day: most in the afternoon.
const HOURS: [(i8, u32); 16] = [
    (7, 15),
    (8, 30),
    (9, 40),
    (10, 40),
    (11, 35),
    (12, 30),
    (13, 45),
    (14, 75),
    (15, 110),
    (16, 140),
    (17, 140),
    (18, 115),
    (19, 85),
    (20, 55),
    (21, 30),
    (22, 15),
];

/// Somebody who takes lessons with one tutor, at one price.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) tutor: Uuid,
    pub(crate) pays: Pays,
    pub(crate) price: i64,
    pub(crate) currency: &'static str,
    pub(crate) phone: String,
}

/// How a lesson goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Story {
    /// Both come, if not always in time, and stay to the end.
    Held,
    /// Somebody drops out and comes back.
    DroppedOut,
    /// The student does not come, and the tutor waits.
    StudentMissing,
    /// The same, and the tutor marks it.
    StudentMarked,
    /// The tutor does not come.
    TutorMissing,
    /// Nobody comes.
    NobodyCame,
    /// Both leave well before the end.
    EndedEarly,
    /// The platform cancels it before its start.
    Cancelled,
    /// The platform deletes it before its start.
    Deleted,
    /// The platform cancels it when it has begun, which does not count.
    CancelledTooLate,
}

/// What the provider's webhooks tell of a lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Everything.
    All,
    /// The ends of its sessions; everything else is found in its list.
    Ends,
    /// Beginnings only: the ends never come.
    Beginnings,
}

/// What happens at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    // The platform, by its own SQL
    Book,
    Move,
    Cancel,
    Delete,
    CancelTooLate,
    Complete,
    // The people
    Order,
    Pay,
    PayMissing,
    Join(Side),
    ComeBack(Side),
    Leave(Side),
    Mark,
    Close,
}

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Tutor,
    Learner,
}

/// What a client does about paying when a lesson is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Nothing: the card on file will pay.
    Nothing,
    /// Orders something to pay with, or to leave a card on, and uses it.
    Pays,
    /// The same, but the first try to pay by phone fails.
    PaysAtSecondTry,
    /// Orders something to pay with, and leaves it at that.
    Orders,
}

/// One lesson.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    pub(crate) id: Uuid,
    pub(crate) person: usize,
    pub(crate) minutes: i64,
    pub(crate) booked_at: Timestamp,
    /// As it is booked.
    pub(crate) first_start: Timestamp,
    /// As it is held.
    pub(crate) starts_at: Timestamp,
    moved_at: Option<Timestamp>,
    pub(crate) called_off_at: Option<Timestamp>,
    pub(crate) story: Story,
    pub(crate) told: Told,
    /// What its client does about paying when it is booked.
    pub(crate) ahead: Ahead,
    /// Whether the platform says afterwards that it was held.
    is_completed: bool,
}

/// What a lesson comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: &'static str,
    pub(crate) charge: i64,
    pub(crate) payout: i64,
    pub(crate) fee: i64,
}

/// The whole month.
pub(crate) struct Script {
    pub(crate) people: Vec<Person>,
    pub(crate) lessons: Vec<Lesson>,
    pub(crate) begins_at: Timestamp,
    pub(crate) ends_at: Timestamp,
}

fn later(at: Timestamp, minutes: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_mins(minutes))
        .unwrap_or(Timestamp::MAX)
}

fn chance(random: &mut StdRng, of_a_thousand: u32) -> bool {
    random.random_range(0..1_000) < of_a_thousand
}

fn uuid(random: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}

impl Script {
    /// So many lessons over at most thirty days from `begins_at`, the same ones each time.
    pub(crate) fn write(count: usize, begins_at: Timestamp, random: &mut StdRng) -> Self {
        let days = i64::try_from(count.div_ceil(LESSONS_OF_A_DAY)).unwrap_or(DAYS);
        let days = days.clamp(SHORTEST, DAYS);
        let people = people(count.div_ceil(LESSONS_OF_A_CLIENT), random);
        let mut lessons: Vec<Lesson> = (0..count)
            .map(|_| lesson(random.random_range(0..people.len()), (begins_at, days), random))
            .collect();

        // Who pays when a lesson is settled leaves a card once; who pays ahead does so each time.
        lessons.sort_by_key(|lesson| lesson.booked_at);
        let mut met = HashSet::new();
        for lesson in &mut lessons {
            let is_first = met.insert(lesson.person);
            let pays = people.get(lesson.person).map(|person| person.pays);
            if pays == Some(Pays::CardOnFile) {
                lesson.ahead = if is_first { Ahead::Pays } else { Ahead::Nothing };
            }
        }
        Self {
            people,
            lessons,
            begins_at,
            ends_at: later(begins_at, days * 24 * 60),
        }
    }

    /// How long it is.
    pub(crate) fn days(&self) -> i64 {
        self.ends_at.duration_since(self.begins_at).as_hours() / 24
    }

    /// On average.
    pub(crate) fn lessons_an_hour(&self) -> u32 {
        let hours = u32::try_from(self.days() * 24).unwrap_or(1).max(1);
        u32::try_from(self.lessons.len()).unwrap_or(u32::MAX) / hours
    }

    pub(crate) fn tutors(&self) -> HashSet<Uuid> {
        self.people.iter().map(|person| person.tutor).collect()
    }
}

fn people(count: usize, random: &mut StdRng) -> Vec<Person> {
    let tutors: Vec<Uuid> = (0..count.div_ceil(CLIENTS_OF_A_TUTOR))
        .map(|_| uuid(random))
        .collect();
    let mut one = |n: usize| {
        let (pays, currency) = match random.random_range(0..100) {
            0..70 => (Pays::CardOnFile, ["TTD", "USD", "GBP"]),
            70..90 => (Pays::CardAhead, ["TTD", "USD", "EUR"]),
            _ => (Pays::MobileMoney, ["XAF"; 3]),
        };
        Person {
            id: uuid(random),
            tutor: tutors.get(n % tutors.len()).copied().unwrap_or_default(),
            pays,
            price: random.random_range(2_500..15_000),
            currency: currency.get(random.random_range(0..3)).copied().unwrap_or("TTD"),
            phone: format!("6{:08}", random.random_range(0..100_000_000)),
        }
    };
    (0..count).map(&mut one).collect()
}

fn lesson(person: usize, (begins_at, days): (Timestamp, i64), random: &mut StdRng) -> Lesson {
    let minutes = [30, 45, 60, 60, 60, 60, 60, 90]
        .get(random.random_range(0..8))
        .copied()
        .unwrap_or(60);
    let first_start = a_half_hour(begins_at, days, random);
    let earliest = later(begins_at, -24 * 60).max(later(first_start, -10 * 24 * 60));
    let booked_at = between(earliest, later(first_start, -180), random);
    let story = story(random);
    let is_called_off = matches!(story, Story::Cancelled | Story::Deleted);

    let called_off_at = is_called_off.then(|| between(later(booked_at, 60), later(first_start, -5), random));
    let moved_at = (!is_called_off && chance(random, 20))
        .then(|| between(later(booked_at, 30), later(first_start, -60), random));
    let starts_at = moved_at.map_or(first_start, |at| elsewhere(first_start, at, random));
    let told = match random.random_range(0..1_000) {
        0..15 => Told::Beginnings,
        15..115 => Told::All,
        _ => Told::Ends,
    };
    Lesson {
        id: uuid(random),
        person,
        minutes,
        booked_at,
        first_start,
        starts_at,
        moved_at,
        called_off_at,
        story,
        told,
        ahead: match random.random_range(0..1_000) {
            0..20 => Ahead::Orders,
            20..50 => Ahead::PaysAtSecondTry,
            _ => Ahead::Pays,
        },
        is_completed: chance(random, 100),
    }
}

fn story(random: &mut StdRng) -> Story {
    match random.random_range(0..1_000) {
        0..50 => Story::DroppedOut,
        50..65 => Story::StudentMissing,
        65..80 => Story::StudentMarked,
        80..90 => Story::TutorMissing,
        90..95 => Story::NobodyCame,
        95..110 => Story::EndedEarly,
        110..125 => Story::Cancelled,
        125..130 => Story::Deleted,
        130..133 => Story::CancelledTooLate,
        _ => Story::Held,
    }
}

fn a_half_hour(begins_at: Timestamp, days: i64, random: &mut StdRng) -> Timestamp {
    let mut drawn = random.random_range(0..1_000);
    let mut hour = 16;
    for (candidate, weight) in HOURS {
        hour = candidate;
        if drawn < weight {
            break;
        }
        drawn -= weight;
    }
    let day = random.random_range(0..days);
    let half = 30 * random.random_range(0..2);
    later(begins_at, (day * 24 + i64::from(hour)) * 60 + half)
}

/// A whole minute.
fn between(from: Timestamp, to: Timestamp, random: &mut StdRng) -> Timestamp {
    let minutes = to.duration_since(from).as_mins().max(1);
    let at = later(from, random.random_range(0..minutes));
    at.round(Unit::Minute).unwrap_or(at)
}

/// Another half hour than `start`, earlier or later, and far enough from `now`.
fn elsewhere(start: Timestamp, now: Timestamp, random: &mut StdRng) -> Timestamp {
    let half_hours = [-6, -4, -2, -1, 1, 2, 4, 48, 96]
        .get(random.random_range(0..9))
        .copied()
        .unwrap_or(1);
    let wanted = later(start, 30 * half_hours);
    if wanted > later(now, 60) {
        wanted
    } else {
        later(start, 60)
    }
}

impl Lesson {
    pub(crate) fn ends_at(&self) -> Timestamp {
        later(self.starts_at, self.minutes)
    }

    fn closes_at(&self) -> Timestamp {
        later(self.ends_at(), CLOSES_AFTER)
    }

    /// What it comes to by the product's table, from how it went.
    pub(crate) fn outcome(&self, price: i64) -> Outcome {
        let (status, charge) = match self.story {
            Story::Held | Story::DroppedOut | Story::CancelledTooLate => ("COMPLETED_ASSUMED", price),
            Story::StudentMissing | Story::StudentMarked => ("NO_SHOW_STUDENT", price / 2),
            Story::TutorMissing => ("NO_SHOW_TUTOR", 0),
            Story::NobodyCame => ("NOBODY_CAME", 0),
            Story::EndedEarly => ("EARLY_END_SHORT", 0),
            Story::Cancelled | Story::Deleted => ("CANCELLED", 0),
        };
        let payout = charge * 9 / 10;
        Outcome {
            status,
            charge,
            payout,
            fee: charge - payout,
        }
    }

    /// Before this nobody can know that anything is to be given back.
    pub(crate) fn is_final_from(&self) -> Timestamp {
        match (self.called_off_at, self.story) {
            (Some(at), _) => at,
            (None, Story::StudentMarked | Story::Held | Story::DroppedOut | Story::CancelledTooLate) => {
                self.ends_at()
            }
            (None, _) => self.closes_at(),
        }
    }

    /// Everything that happens by itself, in no particular order but for what happens at the same instant.
    pub(crate) fn steps(&self, random: &mut StdRng) -> Vec<(Timestamp, Step)> {
        let mut steps = vec![(self.booked_at, Step::Book)];
        if self.ahead != Ahead::Nothing {
            steps.push((later(self.booked_at, random.random_range(3..20)), Step::Order));
        }
        steps.extend(self.moved_at.map(|at| (at, Step::Move)));
        let in_the_room = match self.story {
            Story::Cancelled => return self.called_off(steps, Step::Cancel),
            Story::Deleted => return self.called_off(steps, Step::Delete),
            Story::Held | Story::CancelledTooLate => self.held(self.minutes, random),
            Story::DroppedOut => self.dropped_out(random),
            Story::StudentMissing | Story::StudentMarked => self.student_missing(random),
            Story::TutorMissing => tutor_missing(random),
            Story::NobodyCame => Vec::new(),
            Story::EndedEarly => self.held(self.minutes - random.random_range(12..=self.minutes / 2), random),
        };
        steps.extend(
            in_the_room
                .into_iter()
                .map(|(minute, step)| (later(self.starts_at, minute), step)),
        );
        if self.story == Story::CancelledTooLate {
            let minute = random.random_range(5..self.minutes + 40);
            steps.push((later(self.starts_at, minute), Step::CancelTooLate));
        } else if self.is_completed {
            steps.push((later(self.ends_at(), random.random_range(0..120)), Step::Complete));
        }
        steps
    }

    fn called_off(&self, mut steps: Vec<(Timestamp, Step)>, how: Step) -> Vec<(Timestamp, Step)> {
        steps.extend(self.called_off_at.map(|at| (at, how)));
        steps
    }

    /// Both come, and stay until about the minute `until`.
    fn held(&self, until: i64, random: &mut StdRng) -> Vec<(i64, Step)> {
        let is_late = self.story != Story::EndedEarly && chance(random, 200);
        let comes = if is_late {
            random.random_range(2..10)
        } else {
            random.random_range(-3..2)
        };
        // A minute early is a goodbye.
        let leaves = until + random.random_range(-1..2);
        vec![
            (random.random_range(-5..0), Step::Join(Side::Tutor)),
            (comes, Step::Join(Side::Learner)),
            (leaves, Step::Leave(Side::Learner)),
            (leaves + random.random_range(0..2), Step::Leave(Side::Tutor)),
            (leaves + 2, Step::Close),
        ]
    }

    fn dropped_out(&self, random: &mut StdRng) -> Vec<(i64, Step)> {
        let drops = random.random_range(11..self.minutes - 13);
        let is_long = self.minutes >= 60 && drops < self.minutes - 25 && chance(random, 150);
        let back = drops + if is_long { 12 } else { random.random_range(2..9) };
        let mut steps = self.held(self.minutes, random);
        steps.extend([
            (drops, Step::Leave(Side::Learner)),
            (back, Step::ComeBack(Side::Learner)),
        ]);
        if chance(random, 600) {
            steps.extend([
                (drops, Step::Leave(Side::Tutor)),
                (back, Step::ComeBack(Side::Tutor)),
            ]);
        }
        steps
    }

    fn student_missing(&self, random: &mut StdRng) -> Vec<(i64, Step)> {
        let wait = self.minutes / 3;
        let leaves = wait + random.random_range(5..8);
        let mut steps = vec![
            (random.random_range(-4..1), Step::Join(Side::Tutor)),
            (leaves, Step::Leave(Side::Tutor)),
            (leaves + 1, Step::Close),
        ];
        if self.story == Story::StudentMarked {
            steps.push((wait + random.random_range(0..4), Step::Mark));
        }
        steps
    }
}

fn tutor_missing(random: &mut StdRng) -> Vec<(i64, Step)> {
    let leaves = random.random_range(10..16);
    vec![
        (random.random_range(-4..3), Step::Join(Side::Learner)),
        (leaves, Step::Leave(Side::Learner)),
        (leaves + 1, Step::Close),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn script() -> (Script, StdRng) {
        let mut random = StdRng::seed_from_u64(7);
        let begins_at = "2027-03-01T00:00:00Z".parse().unwrap();
        (Script::write(5_000, begins_at, &mut random), random)
    }

    fn first(steps: &[(Timestamp, Step)], wanted: Step) -> Option<Timestamp> {
        let all = steps.iter().filter(|(_, step)| *step == wanted);
        all.map(|(at, _)| *at).min()
    }

    #[test]
    fn nothing_happens_before_a_lesson_is_booked_and_nobody_leaves_who_has_not_come() {
        let (script, mut random) = script();
        for lesson in &script.lessons {
            let steps = lesson.steps(&mut random);
            assert!(steps.iter().all(|(at, _)| *at >= lesson.booked_at), "{lesson:?}");
            for side in [Side::Tutor, Side::Learner] {
                let (came, left) = (first(&steps, Step::Join(side)), first(&steps, Step::Leave(side)));
                assert_eq!(came.is_some(), left.is_some(), "{lesson:?}");
                assert!(came < left || came.is_none(), "{lesson:?}: {steps:?}");
                assert!(first(&steps, Step::ComeBack(side)).is_none_or(|back| Some(back) > left));
            }
        }
    }

    #[test]
    fn what_is_called_off_or_moved_is_so_before_it_begins() {
        let (script, mut random) = script();
        let (mut moved, mut off) = (0, 0);
        for lesson in &script.lessons {
            let steps = lesson.steps(&mut random);
            for step in [Step::Cancel, Step::Delete, Step::Move] {
                let before = lesson.first_start.min(lesson.starts_at);
                assert!(first(&steps, step).is_none_or(|at| at < before), "{lesson:?}");
            }
            moved += u32::from(first(&steps, Step::Move).is_some());
            off += u32::from(lesson.called_off_at.is_some());
        }
        for count in [moved, off] {
            assert!(
                (60..140).contains(&count),
                "{count} of 5,000 are not about two percent"
            );
        }
    }

    #[test]
    fn the_parts_of_a_charge_add_up_to_it() {
        let (script, _) = script();
        for lesson in &script.lessons {
            let outcome = lesson.outcome(9_999);
            assert_eq!(outcome.payout + outcome.fee, outcome.charge);
        }
    }
}
