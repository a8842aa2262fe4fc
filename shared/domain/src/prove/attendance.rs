//! What the facts of a room mean: who was there, whether they met, and when the lesson ended.
//!
//! The lesson lasts while the tutor stays: it ends with the tutor's stay in which tutor and learner last met. Who is
//! away for less than the policy's gap has not left. What ended before the planned start says nothing about the
//! lesson; a stay that the provider ended because nobody moved has an unknown end, and nobody is treated as if they
//! had gone by it. Where the provider does not say who was there, the room's own last end is all there is, beside our
//! launches: whoever pressed Join came, and where nobody can enter otherwise, who never pressed it was absent.
//!
//! Rules: [attendance-meeting](../../RULES.md#attendance-meeting), [attendance-gap](../../RULES.md#attendance-gap),
//! [attendance-idle](../../RULES.md#attendance-idle), [attendance-presses](../../RULES.md#attendance-presses),
//! [attendance-exclusive](../../RULES.md#attendance-exclusive),
//! [no-show-contradiction](../../RULES.md#no-show-contradiction).

use crate::charge::session::Session;
use crate::prove::evidence::{Did, Evidence, Mark, Side, Span};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;

/// How a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// They left.
    Left,
    /// They had left by then; nobody told when. They may have stayed so long.
    GoneBy,
    /// The provider ended it because nobody moved; they may have stayed.
    Idled,
    /// A webhook told an end that the provider's list does not show yet.
    Unsure,
    /// They were still there when the provider was last asked.
    Running,
}

/// An unbroken time in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stay {
    /// When it began.
    pub from: Timestamp,
    /// When it ended, or until when it is known to have lasted.
    pub to: Timestamp,
    /// How it ended.
    pub until: Until,
}

impl Stay {
    /// Whether it lasted to `instant` as far as anybody can tell: who did not leave did.
    pub fn reaches(&self, instant: Timestamp) -> bool {
        !self.is_over() || self.to >= instant
    }

    /// Whether they are known not to be there any more.
    fn is_over(&self) -> bool {
        match self.until {
            Until::Left | Until::GoneBy => true,
            Until::Idled | Until::Unsure | Until::Running => false,
        }
    }

    /// Whether both were there at once. A press of Join alone is nobody's presence to the other.
    fn meets(&self, other: &Self) -> bool {
        !self.is_moment() && !other.is_moment() && self.reaches(other.from) && other.reaches(self.from)
    }

    /// For how long both are known to have been there.
    fn shared_with(&self, other: &Self) -> SignedDuration {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        to.duration_since(from).max(SignedDuration::ZERO)
    }

    /// A press of Join, and nothing more. Who is still there has no end because nobody has been asked since.
    fn is_moment(&self) -> bool {
        self.from == self.to && self.until == Until::Left
    }

    /// Whether so much of the time from `from` to `to` was theirs, as far as anybody can tell: who did not leave stayed.
    fn fills(&self, wait: SignedDuration, from: Timestamp, to: Timestamp) -> bool {
        let begins = self.from.max(from);
        let ends = match self.until {
            Until::Left | Until::GoneBy => self.to.min(to),
            Until::Idled | Until::Unsure | Until::Running => to,
        };
        ends.duration_since(begins) >= wait
    }
}

/// What is known of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "presence", content = "stays", rename_all = "snake_case")]
pub enum Presence {
    /// Nobody of them came.
    Absent,
    /// They were there then; never empty.
    Present(Vec<Stay>),
    /// They pressed Join, or the provider names them; it does not say when they were there.
    Came,
    /// Nothing is known, which never costs anybody.
    Unknown,
}

/// What is known of everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attendance {
    /// The tutor.
    pub tutor: Presence,
    /// The learner's side.
    pub learner: Presence,
    /// The times for which the room was held open, whoever was in it.
    pub room: Vec<Stay>,
    /// A webhook told an end for which the provider's list still owes the time.
    #[serde(skip)]
    pub is_unsure: bool,
    /// Each side was in the room when the provider last said who was there, or has been let in since.
    #[serde(skip)]
    are_let_in: bool,
}

impl Attendance {
    /// Reads the evidence of a session whose provider was last asked at `asked_at`.
    pub fn of(session: &Session, evidence: &Evidence, asked_at: Option<Timestamp>) -> Self {
        let facts = Facts {
            session,
            evidence,
            asked_at,
        };
        let room = facts.room();
        if facts.tells_people() {
            return Self {
                tutor: present(facts.stays(Side::Tutor)),
                learner: present(facts.stays(Side::Learner)),
                room,
                is_unsure: facts.owes_an_end(),
                are_let_in: [Side::Tutor, Side::Learner]
                    .into_iter()
                    .all(|side| facts.was_in_the_room(side) || facts.was_let_in_since(side)),
            };
        }

        let [tutor, learner] = [Side::Tutor, Side::Learner].map(|side| facts.pressed(side));
        Self {
            tutor: facts.by_launches(tutor, learner, &room),
            learner: facts.by_launches(learner, tutor, &room),
            room,
            is_unsure: facts.owes_an_end(),
            are_let_in: tutor && learner,
        }
    }

    /// The lesson's last stay, and whether it is known who was in it: the tutor's stay in which the two last met, or,
    /// where nobody knows who was there, the room's last span. Who meets only after the planned end has held no lesson.
    pub fn lesson(&self, session: &Session) -> Option<Stay> {
        match (&self.tutor, &self.learner) {
            (Presence::Present(tutor), Presence::Present(learner)) => {
                let pairs = tutor
                    .iter()
                    .flat_map(|part| learner.iter().map(move |other| (part, other)));
                let meetings: Vec<(&Stay, &Stay)> = pairs.filter(|(part, other)| part.meets(other)).collect();
                if self.is_an_apology(session, &meetings) {
                    return None;
                }

                let has_met = |stay: &Stay| {
                    let mut parts = meetings.iter().map(|(part, _)| part);
                    parts.any(|part| part.from >= stay.from && part.from <= stay.to)
                };
                without_gaps(session, tutor).into_iter().rfind(has_met)
            }
            (Presence::Present(_) | Presence::Came, Presence::Absent) | (Presence::Absent, _) => None,
            _ => self.room.last().copied(),
        }
    }

    /// Whether the two met for the first time when the planned time was over, and for less than a lesson's length. While
    /// both are still there, that is not known.
    fn is_an_apology(&self, session: &Session, meetings: &[(&Stay, &Stay)]) -> bool {
        let (starts_at, ends_at) = (session.schedule.starts_at(), session.schedule.ends_at());
        let planned = ends_at.duration_since(starts_at);
        let is_short = self.together().saturating_add(tolerance(session)) < planned;

        let is_late_and_over = |(part, other): &(&Stay, &Stay)| {
            let is_over = part.is_over() || other.is_over();
            is_over && part.from.max(other.from) > ends_at
        };
        is_short && meetings.iter().all(is_late_and_over)
    }

    /// Whether tutor and learner are known to have been there at once, or both have been let in and nothing else is known
    /// since.
    pub fn have_met(&self, session: &Session) -> bool {
        self.are_let_in
            || matches!(
                (&self.tutor, &self.learner),
                (Presence::Present(_), Presence::Present(_))
            ) && self.lesson(session).is_some()
    }

    /// For how long the two are known to have been there at once, early minutes included.
    pub fn together(&self) -> SignedDuration {
        let (Presence::Present(tutor), Presence::Present(learner)) = (&self.tutor, &self.learner) else {
            return SignedDuration::ZERO;
        };
        let pairs = tutor
            .iter()
            .flat_map(|stay| learner.iter().map(move |other| (stay, other)));
        pairs.fold(SignedDuration::ZERO, |sum, (stay, other)| {
            sum.saturating_add(stay.shared_with(other))
        })
    }

    /// Whether the tutor waited for a learner whom they never met: was there, at the latest one gap or half the wait after
    /// the start, until the end of the wait; or, for a learner who did not come before the planned end, for as long as the wait within the planned time.
    pub fn tutor_waited(&self, session: &Session) -> bool {
        let Presence::Present(tutor) = &self.tutor else {
            return self.tutor == Presence::Came;
        };
        let (starts_at, ends_at) = (session.schedule.starts_at(), session.schedule.ends_at());
        let wait_ends = session.no_show_from();
        let wait = wait_ends.duration_since(starts_at);
        let missed_it = match &self.learner {
            Presence::Absent => true,
            Presence::Present(learner) => learner.iter().all(|stay| stay.from > ends_at),
            Presence::Came | Presence::Unknown => false,
        };

        without_gaps(session, tutor).iter().any(|stay| {
            let is_in_time = stay.from.duration_since(starts_at) <= gap(session).min(wait / 2);
            let is_long_enough = stay.fills(wait, starts_at, ends_at);
            (is_in_time && stay.reaches(wait_ends)) || (missed_it && is_long_enough)
        })
    }

    /// Whether what is known speaks against a mark, made at `at`, that the learner did not come: the learner was there
    /// then, or had been for longer than the tolerance, or the tutor had not come. A stay that idled speaks against
    /// nothing.
    pub fn contradicts_mark(&self, session: &Session, at: Timestamp) -> bool {
        let tutor_came = match &self.tutor {
            Presence::Present(stays) => stays.iter().any(|stay| stay.from <= at),
            Presence::Absent => false,
            Presence::Came | Presence::Unknown => true,
        };
        let Presence::Present(learner) = &self.learner else {
            return !tutor_came;
        };
        let before: Vec<&Stay> = learner
            .iter()
            .filter(|stay| stay.from <= at && stay.until != Until::Idled)
            .collect();
        let for_a_while = before.iter().fold(SignedDuration::ZERO, |sum, stay| {
            sum.saturating_add(stay.to.min(at).duration_since(stay.from))
        });
        let is_there = before.iter().any(|stay| stay.reaches(at) && !stay.is_moment());
        !tutor_came || is_there || for_a_while > tolerance(session)
    }
}

/// An end that is early by no more than this is none.
pub fn tolerance(session: &Session) -> SignedDuration {
    SignedDuration::from_mins(session.policy.tolerance_minutes.into())
}

fn gap(session: &Session) -> SignedDuration {
    SignedDuration::from_mins(session.policy.gap_minutes.into())
}

fn present(stays: Vec<Stay>) -> Presence {
    if stays.is_empty() {
        Presence::Absent
    } else {
        Presence::Present(stays)
    }
}

/// Stays less than the gap apart are one; so is what follows a stay that nobody is known to have left.
fn without_gaps(session: &Session, stays: &[Stay]) -> Vec<Stay> {
    let mut whole: Vec<Stay> = Vec::new();
    for stay in stays {
        match whole.last_mut() {
            Some(last) if !last.is_over() || stay.from.duration_since(last.to) < gap(session) => {
                last.to = last.to.max(stay.to);
                last.until = stay.until;
            }
            _ => whole.push(*stay),
        }
    }
    whole
}

/// Stays that touch, of several people or devices on one side, are one. An end that is not known outweighs one that is.
fn united(mut stays: Vec<Stay>) -> Vec<Stay> {
    stays.sort_by_key(|stay| (stay.from, stay.to));
    let mut whole: Vec<Stay> = Vec::new();
    for stay in stays {
        match whole.last_mut() {
            Some(last) if stay.from <= last.to => {
                last.until = last.until.max(stay.until);
                last.to = last.to.max(stay.to);
            }
            _ => whole.push(stay),
        }
    }
    whole
}

/// The evidence beside the session that it is about.
struct Facts<'a> {
    session: &'a Session,
    evidence: &'a Evidence,
    asked_at: Option<Timestamp>,
}

impl Facts<'_> {
    /// What reaches into the lesson: not what ended before its start, not what began after the room had closed, and not what
    /// has run without an end since another time of a booking that was moved, unless somebody was seen in it since.
    fn counts(&self, span: &str, stay: &Stay) -> bool {
        let starts_at = self.session.schedule.starts_at();
        let reaches_in = match stay.until {
            Until::Left | Until::GoneBy => stay.to > starts_at,
            Until::Idled => stay.to > starts_at || self.is_of_this_time(stay.from),
            Until::Unsure | Until::Running => {
                self.is_of_this_time(stay.from)
                    || self.marks_in(span).any(|mark| self.is_of_this_time(mark.at))
            }
        };
        reaches_in && stay.from < self.session.window().closes_at
    }

    /// What counts of one person's stays, of whom these marks are. When a stay ended that nobody saw end is not known: it
    /// counts only if it began in this hour, or they were seen in it.
    fn counts_of(&self, span: &str, marks: &[&Mark], stay: &Stay) -> bool {
        let mut seen = marks.iter().filter(|mark| mark.did != Did::Gone);
        let is_known_of = stay.until != Until::GoneBy
            || self.is_of_this_time(stay.from)
            || seen.any(|mark| self.is_of_this_time(mark.at));
        is_known_of && self.counts(span, stay)
    }

    /// Whether it is not before anybody could enter this lesson's room, give or take a gap.
    fn is_of_this_time(&self, at: Timestamp) -> bool {
        let opens_at = self.session.window().opens_at;
        opens_at
            .saturating_sub(gap(self.session))
            .is_ok_and(|opens_at| at >= opens_at)
    }

    /// The end of somebody's stay in a span, if they did not leave it before.
    fn end_of(&self, id: &str, span: &Span, from: Timestamp, has_idled: bool) -> Stay {
        let (to, until) = match span.ended_at {
            Some(end) if has_idled => (end, Until::Idled),
            Some(end) => (end, Until::Left),
            None => {
                let is_told = self.evidence.ends.contains_key(id);
                let until = if is_told { Until::Unsure } else { Until::Running };
                (self.asked_at.unwrap_or(from), until)
            }
        };
        let to = to.max(from);
        Stay { from, to, until }
    }

    fn room(&self) -> Vec<Stay> {
        let spans = self.evidence.spans.iter();
        let stays = spans.map(|(id, span)| (id, self.end_of(id, span, span.began_at, span.is_idled)));
        let counted = stays.filter(|(id, stay)| self.counts(id, stay));
        let mut counted: Vec<Stay> = counted.map(|(_, stay)| stay).collect();
        counted.sort_by_key(|stay| (stay.from, stay.to));
        counted
    }

    fn counted_spans(&self) -> impl Iterator<Item = (&String, &Span)> {
        self.evidence
            .spans
            .iter()
            .filter(|(id, span)| self.counts(id, &self.end_of(id, span, span.began_at, span.is_idled)))
    }

    /// Whether an end around this lesson was told that the list does not show.
    fn owes_an_end(&self) -> bool {
        let window = self.session.window();
        let is_of_this_time =
            |told: &Timestamp| *told > self.session.schedule.starts_at() && *told < window.closes_at;
        let is_owed = |id: &String| {
            self.evidence
                .spans
                .get(id)
                .is_none_or(|span| span.ended_at.is_none())
        };
        self.evidence
            .ends
            .iter()
            .any(|(id, told)| is_owed(id) && is_of_this_time(told))
    }

    fn marks_in(&self, span: &str) -> impl Iterator<Item = &Mark> {
        self.evidence.marks.iter().filter(move |mark| mark.span == span)
    }

    fn side_of(&self, mark: &Mark) -> Option<Side> {
        let side = self.evidence.people.get(&mark.who).copied();
        side.filter(|side| *side != Side::Unclear)
    }

    /// Whether the provider says of every span who was in it and when, in names that we know. A list without times takes
    /// nothing back that another told: each only adds.
    fn tells_people(&self) -> bool {
        let is_timed = |untimed: &Mark| {
            self.marks_in(&untimed.span)
                .any(|mark| mark.who == untimed.who && !matches!(mark.did, Did::WasThere | Did::Gone))
        };
        let is_told = |id: &String| {
            let mut marks = self.marks_in(id).peekable();
            marks.peek().is_some()
                && marks.all(|mark| match self.side_of(mark) {
                    Some(Side::Nobody) => true,
                    Some(_) => mark.did != Did::WasThere || is_timed(mark),
                    None => false,
                })
        };
        let mut spans = self.counted_spans().peekable();
        spans.peek().is_some() && spans.all(|(id, _)| is_told(id))
    }

    /// When somebody of `side` was there, by the provider's word. A learner's side that pressed Join came, if for that
    /// moment only; a tutor has to have been seen.
    fn stays(&self, side: Side) -> Vec<Stay> {
        let mut stays = Vec::new();
        for (id, span) in self.counted_spans() {
            let marks: Vec<&Mark> = self
                .marks_in(id)
                .filter(|mark| self.side_of(mark) == Some(side))
                .collect();
            for person in marks.chunk_by(|one, next| one.who == next.who) {
                let theirs = self.stays_of(id, span, person);
                stays.extend(theirs.into_iter().filter(|stay| self.counts_of(id, person, stay)));
            }
        }
        if side == Side::Learner {
            let start = self.session.schedule.starts_at();
            let presses = self.presses(side).filter(|at| *at >= start);
            stays.extend(presses.map(|at| Stay {
                from: at,
                to: at,
                until: Until::Left,
            }));
        }
        united(stays)
    }

    /// One person's stays in one span. Each tab and device is a connection of its own: they are there until the last of
    /// them has left. A departure without an arrival ends what was there before.
    fn stays_of(&self, id: &str, span: &Span, marks: &[&Mark]) -> Vec<Stay> {
        let mut marks = marks.to_vec();
        marks.sort_by_key(|mark| (mark.at, mark.did));

        let mut stays = Vec::<Stay>::new();
        let (mut since, mut connections, mut has_idled) = (None, 0_u32, false);
        for mark in marks {
            match mark.did {
                Did::Came => {
                    since = since.or(Some(mark.at));
                    connections = connections.saturating_add(1);
                    has_idled = false;
                }
                Did::Left if connections > 1 => connections -= 1,
                Did::Left => {
                    let earlier = || stays.pop().map_or(span.began_at, |stay| stay.from);
                    let from = since.take().unwrap_or_else(earlier);
                    let to = mark.at.max(from);
                    let until = Until::Left;
                    stays.push(Stay { from, to, until });
                    connections = 0;
                }
                Did::Idled => {
                    since = since.or_else(|| stays.is_empty().then_some(span.began_at));
                    has_idled = true;
                }
                // Only if nobody told when they left.
                Did::Gone => {
                    let to = mark.at;
                    let until = Until::GoneBy;
                    stays.extend(since.take().map(|from| Stay { from, to, until }));
                    connections = 0;
                }
                Did::WasThere | Did::Pressed => {}
            }
        }
        stays.extend(since.map(|from| self.end_of(id, span, from, has_idled)));
        stays
    }

    /// When somebody of `side` pressed Join for this lesson, without those who were seen to leave again before it began.
    fn presses(&self, side: Side) -> impl Iterator<Item = Timestamp> {
        let gone_at = self.gone_before_start(side);
        let times = self.presses_of(side).map(|mark| mark.at);
        times.filter(move |at| gone_at.is_none_or(|gone_at| *at > gone_at))
    }

    fn presses_of(&self, side: Side) -> impl Iterator<Item = &Mark> {
        let closes_at = self.session.window().closes_at;
        self.evidence.marks.iter().filter(move |mark| {
            let is_of_this_time = self.is_of_this_time(mark.at) && mark.at < closes_at;
            mark.did == Did::Pressed && is_of_this_time && self.side_of(mark) == Some(side)
        })
    }

    /// When the last of `side` was seen to leave before the start, if as many of them were seen to leave as had pressed
    /// Join by then: the provider may name them otherwise than we do.
    fn gone_before_start(&self, side: Side) -> Option<Timestamp> {
        let starts_at = self.session.schedule.starts_at();
        let left =
            |mark: &&Mark| mark.did == Did::Left && mark.at <= starts_at && self.side_of(mark) == Some(side);
        let left: Vec<&Mark> = self.evidence.marks.iter().filter(left).collect();
        let gone_at = left.iter().map(|mark| mark.at).max()?;

        let leavers: BTreeSet<&str> = left.iter().map(|mark| mark.who.as_str()).collect();
        let earlier = self.presses_of(side).filter(|mark| mark.at <= gone_at);
        let pressers: BTreeSet<&str> = earlier.map(|mark| mark.who.as_str()).collect();
        (leavers.len() >= pressers.len()).then_some(gone_at)
    }

    /// Whether somebody of `side` had not left when the provider last said who was there.
    fn was_in_the_room(&self, side: Side) -> bool {
        self.stays(side).iter().any(|stay| !stay.is_over())
    }

    /// Whether somebody of `side` has pressed Join since the provider last said who was there.
    fn was_let_in_since(&self, side: Side) -> bool {
        let asked_at = self.asked_at.unwrap_or(Timestamp::MIN);
        self.presses(side).any(|at| at > asked_at)
    }

    fn was_asked_since_start(&self) -> bool {
        self.asked_at
            .is_some_and(|asked| asked >= self.session.schedule.starts_at())
    }

    /// Whether somebody of `side` pressed Join, or the provider names them without a word of when they were there.
    fn pressed(&self, side: Side) -> bool {
        let is_named =
            |(id, _): (&String, &Span)| self.marks_in(id).any(|mark| self.side_of(mark) == Some(side));
        self.presses(side).next().is_some() || self.counted_spans().any(is_named)
    }

    /// Whether the provider saw somebody whom no launch of ours knows, such as one whose answer was lost.
    fn saw_strangers(&self) -> bool {
        self.counted_spans()
            .any(|(id, _)| self.marks_in(id).any(|mark| self.side_of(mark).is_none()))
    }

    /// A side of which the provider says nothing, by our launches: whether they pressed Join, and whether the others
    /// did. Whoever alone pressed it was alone in the room.
    fn by_launches(&self, they: bool, others: bool, room: &[Stay]) -> Presence {
        let is_exclusive = self.session.is_entered_through_us && !self.saw_strangers();
        match (they, others) {
            (true, false) if is_exclusive && !room.is_empty() => Presence::Present(united(room.to_vec())),
            // They had the key, and were not seen using it.
            (true, false) if is_exclusive && self.was_asked_since_start() => Presence::Absent,
            (true, _) => Presence::Came,
            (false, true) if is_exclusive => Presence::Absent,
            // Nobody was seen by anybody.
            (false, _) if room.is_empty() && (is_exclusive || self.asked_at.is_some()) => Presence::Absent,
            (false, _) => Presence::Unknown,
        }
    }
}
