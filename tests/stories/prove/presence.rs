//! What Lessonspace shows of a lesson, and what that comes to. People press Join and come, leave and come back; the
//! vendor tells of it, late, or not at all; the schedules run minute by minute; and in the end everybody pays for what
//! happened, once.

use crate::charge::till::{CARD, Till};
use crate::harness::{API_KEY, Function, Reply, Told, World, owner_url, request};
use domain::ids::BookingId;
use domain::launch::classroom::Classroom;
use domain::prove::evidence::{Did, Evidence, Mark, Side, Span};
use futures::future::join3;
use jiff::{SignedDuration, Timestamp};
use platform::database::Database;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use simulators::lessonspace::{Faults, Quirk};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use store::prove::evidence::{self, Report};
use stories::cast::{Cast, Lesson, owner};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const JOIN: &str = "launch/join.json";
pub(super) const MARK: &str = "mark-no-show/mark.json";
pub(super) const WITHDRAW: &str = "withdraw-no-show/withdraw.json";
const CANCEL: &str = "cancel-session/cancel.json";

pub(super) const COMPLETED: &str = "COMPLETED_ASSUMED";
pub(super) const NO_STUDENT: &str = "NO_SHOW_STUDENT";
pub(super) const NO_TUTOR: &str = "NO_SHOW_TUTOR";
pub(super) const NOBODY: &str = "NOBODY_CAME";
pub(super) const EARLY: &str = "EARLY_END_SHORT";
const CANCELLED: &str = "CANCELLED";

/// A vendor that does not answer is waited for so long after the room has closed.
const GIVES_UP_AT: i64 = 75 + 24 * 60;

/// So long a story waits for what has to happen at once.
const PATIENCE: Duration = Duration::from_secs(6);

// What happens in a room -----------------------------------------------------------------------------------------

/// Somebody was in the room from one minute to another, or for ever; the vendor may have ended it because they did not
/// move.
struct Stay {
    who: Uuid,
    from: f64,
    to: Option<f64>,
    idles: bool,
}

impl Stay {
    /// Reads `0 - 61`, `3 - …`, `0 - 6 idle`.
    fn read(who: Uuid, text: &str) -> Self {
        let (times, idles) = match text.trim().strip_suffix(" idle") {
            Some(times) => (times, true),
            None => (text.trim(), false),
        };
        let (from, to) = times.split_once(" - ").unwrap();
        Self {
            who,
            from: from.parse().unwrap(),
            to: to.parse().ok(),
            idles,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Press(Uuid),
    Enter(Uuid),
    Leave(Uuid),
    Idle(Uuid),
    IdleOut,
    End,
}

/// Something that happens, and when the vendor first shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    shown_at: Timestamp,
    at: Timestamp,
    act: Act,
}

/// What is still to happen in a lesson's room.
pub(super) struct Play {
    pub(super) lesson: Lesson,
    steps: Vec<Step>,
}

impl Play {
    /// Reads `T -12 - -10, 0 - 61; L 3 - …`, in minutes from the planned start, of the tutor, the learner and a
    /// guardian (G). `told 90`: until then the vendor shows nothing of it.
    fn of(line: &str, lesson: Lesson, cast: &Cast) -> Self {
        let (mut stays, mut told) = (Vec::new(), f64::NEG_INFINITY);
        for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (who, times) = part.split_once(' ').unwrap();
            let who = match who {
                "T" => cast.tutor,
                "L" => cast.student,
                "G" => cast.parent,
                _ => {
                    told = times.parse().unwrap();
                    continue;
                }
            };
            stays.extend(times.split(',').map(|times| Stay::read(who, times)));
        }

        let at = |minute: f64| lesson.starts_at + SignedDuration::from_secs_f64(minute * 60.0);
        let mut steps = Vec::new();
        let mut happens = |act, minute: f64, shown: f64| {
            let (at, shown_at) = (at(minute), at(shown));
            steps.push(Step { shown_at, at, act });
        };
        for stay in &stays {
            happens(Act::Press(stay.who), stay.from, stay.from);
            happens(Act::Enter(stay.who), stay.from, stay.from.max(told));
            match stay.to {
                Some(to) if stay.idles => {
                    happens(Act::Idle(stay.who), to - 1.0, to - 1.0);
                    happens(Act::IdleOut, to, to);
                }
                Some(to) => {
                    happens(Act::Leave(stay.who), to, to.max(told));
                    // The vendor ends a session half a minute after the last has left.
                    let over = to + 0.5;
                    let goes_on = |other: &Stay| other.from <= over && other.to.is_none_or(|end| end > to);
                    if !stays.iter().any(goes_on) {
                        happens(Act::End, over, over.max(told));
                    }
                }
                None => {}
            }
        }
        steps.sort_by_key(|step| (step.shown_at, step.at));
        steps.dedup();
        Self { lesson, steps }
    }
}

// Who tends it ---------------------------------------------------------------------------------------------------

/// Lessons that start at the same time, and everything that tends them.
pub(super) struct School<'a> {
    world: &'a World,
    classroom: Classroom,
    starts_at: Timestamp,
    launch: Function,
    door: Function,
    apply: Function,
    relay: Function,
    reconcile: Function,
    charges: Function,
    /// What `apply-classroom-event` could not do yet: its queue delivers it again.
    pub(super) returned: Vec<Value>,
    /// What people were given by Join to get in with, by the lesson and the person.
    ways_in: Mutex<HashMap<(Uuid, Uuid), String>>,
    /// What happened and is told later, and when.
    held: Mutex<Vec<(Timestamp, Told)>>,
}

impl<'a> School<'a> {
    /// Lessons start in so many minutes, by the machine's clock.
    pub(super) async fn open(world: &'a World, minutes: i64) -> Self {
        Self::under(world, minutes, &[]).await
    }

    /// Lessons are sold under these rules.
    async fn under(world: &'a World, minutes: i64, rules: &[(&str, &str)]) -> Self {
        let start = Timestamp::now() + SignedDuration::from_mins(minutes);
        Self {
            world,
            classroom: Classroom::Lessonspace,
            starts_at: Lesson::starting(start).starts_at,
            launch: world.function("launch").await,
            door: world.function("webhook-lessonspace").await,
            apply: world.function("apply-classroom-event").await,
            relay: world.function("relay-outbox").await,
            reconcile: world.function_with("reconcile", rules).await,
            charges: world.function("process-charges").await,
            returned: Vec::new(),
            ways_in: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Lessons are held in another classroom.
    pub(super) async fn held_in(mut self, classroom: Classroom) -> Self {
        self.classroom = classroom;
        self.door = self
            .world
            .function(&format!("webhook-{}", classroom.word()))
            .await;
        self
    }

    fn at(&self, minute: i64) -> Timestamp {
        self.starts_at + SignedDuration::from_mins(minute)
    }

    async fn booked(&self, lesson: Lesson) -> Lesson {
        lesson.booked_by(&self.world.cast, &self.world.owner).await
    }

    async fn lesson(&self) -> Lesson {
        let lesson = Lesson {
            classroom: Some(self.classroom.word()),
            ..Lesson::starting(self.starts_at)
        };
        self.booked(lesson).await
    }

    /// A lesson in whose room this happens.
    async fn play(&self, line: &str) -> Play {
        Play::of(line, self.lesson().await, &self.world.cast)
    }

    pub(super) async fn plays(&self, lines: &[&str]) -> Vec<Play> {
        let mut plays = Vec::new();
        for line in lines {
            plays.push(self.play(line).await);
        }
        plays
    }

    // Time passes

    /// Whatever is to happen by this minute happens; what the vendor tells of it comes through the door and is applied.
    pub(super) async fn happen(&mut self, plays: &mut [Play], minute: i64) {
        self.world.travel_to(self.at(minute));
        for play in plays {
            let told = self.act(play, minute).await;
            self.hear(&told).await;
        }
        self.hear(&self.told_by_itself(minute)).await;
        self.listen().await;
    }

    /// The same, and nothing of it is told.
    pub(super) async fn happen_untold(&mut self, plays: &mut [Play], minute: i64) {
        self.world.travel_to(self.at(minute));
        for play in plays {
            drop(self.act(play, minute).await);
        }
        drop(self.told_by_itself(minute));
        self.listen().await;
    }

    /// What the vendor tells although nobody did anything in this minute.
    fn told_by_itself(&self, minute: i64) -> Vec<Told> {
        let mut held = self.held.lock().unwrap();
        let due = held.extract_if(.., |(at, _)| *at <= self.at(minute));
        let mut told: Vec<Told> = due.map(|(_, told)| told).collect();
        drop(held);

        match self.classroom {
            Classroom::Lessonspace => {}
            Classroom::LiveKit => {
                let livekit = &self.world.livekit;
                let passed = livekit.pass_time(self.at(minute)).into_iter();
                told.extend(passed.chain(livekit.take_webhooks()).map(Told::LiveKit));
            }
            Classroom::PencilSpaces => told.extend(self.counted(minute)),
        }
        told
    }

    /// The same, and the schedules run.
    pub(super) async fn pass(&mut self, plays: &mut [Play], minute: i64) {
        self.happen(plays, minute).await;
        self.tick().await;
    }

    /// Each schedule runs once.
    pub(super) async fn tick(&mut self) {
        self.reconcile.invoke(json!({})).await.unwrap();
        self.relay.invoke(json!({})).await.unwrap();
        self.listen().await;
        self.charges.invoke(json!({})).await.unwrap();
    }

    async fn act(&self, play: &mut Play, minute: i64) -> Vec<Told> {
        let (lesson, now) = (play.lesson, self.at(minute));
        let happened = play.steps.partition_point(|step| self.happens_at(step) <= now);
        let mut told = Vec::new();
        for step in play.steps.drain(..happened) {
            let news = self.take(&lesson, step).await;
            if step.shown_at <= now {
                told.extend(news);
            } else {
                let mut held = self.held.lock().unwrap();
                held.extend(news.into_iter().map(|news| (step.shown_at, news)));
            }
        }
        told
    }

    /// Lessonspace may show late what has happened, and then it is played late. Who keeps no record of what was shows
    /// what is, and may only tell of it late.
    fn happens_at(&self, step: &Step) -> Timestamp {
        match self.classroom {
            Classroom::Lessonspace => step.shown_at,
            Classroom::LiveKit | Classroom::PencilSpaces => step.at,
        }
    }

    async fn take(&self, lesson: &Lesson, step: Step) -> Vec<Told> {
        if let Act::Press(who) = step.act {
            let joined = self.world.call(&self.launch, JOIN, who, lesson).await;
            assert_eq!(joined.status, 200, "{step:?}: {}", joined.body);
            let way_in = joined.body["url"].as_str().unwrap().to_owned();
            self.ways_in.lock().unwrap().insert((lesson.id, who), way_in);
            return Vec::new();
        }

        let room = self.room(lesson).await;
        match self.classroom {
            Classroom::Lessonspace => in_lessonspace(&self.world.lessonspace, &room, step),
            Classroom::LiveKit => self.in_livekit(lesson, &room, step),
            Classroom::PencilSpaces => in_pencilspaces(&self.world.pencilspaces, &room, step),
        }
    }

    /// Sessions that ended five minutes ago are counted now, and told of; not those of which nothing is told yet.
    fn counted(&self, minute: i64) -> Vec<Told> {
        let (pencil, now) = (&self.world.pencilspaces, self.at(minute));
        let held = self.held.lock().unwrap();
        let is_held = |session: &Value| {
            let space = session["spaceId"].as_str().unwrap();
            held.iter()
                .any(|(_, told)| matches!(told, Told::PencilSpaces(webhook) if webhook.body.contains(space)))
        };
        let ended = |session: &Value| {
            let end: Option<Timestamp> = session["end"].as_str().and_then(|end| end.parse().ok());
            end.is_some_and(|end| end + SignedDuration::from_mins(5) <= now)
        };

        let mut told = Vec::new();
        for session in pencil.sessions() {
            if !is_held(&session) && session["isAnalysed"] == false && ended(&session) {
                told.extend(pencil.analyse(session["sessionId"].as_str().unwrap(), now));
            }
        }
        told.into_iter().map(Told::PencilSpaces).collect()
    }

    fn in_livekit(&self, lesson: &Lesson, room: &str, step: Step) -> Vec<Told> {
        let (livekit, at) = (&self.world.livekit, step.at);
        let told = match step.act {
            Act::Enter(who) => {
                let page: url::Url = self.ways_in.lock().unwrap()[&(lesson.id, who)].parse().unwrap();
                let token = page.query_pairs().find(|(name, _)| name == "token").unwrap().1;
                let mut told = livekit.join(&token, at).unwrap();
                told.extend(livekit.publish(room, &who.to_string(), at));
                told
            }
            Act::Leave(who) => livekit.leave(room, &who.to_string(), at),
            // The room stays until its time is over, and nobody is put out for not moving.
            Act::Press(_) | Act::Idle(_) | Act::IdleOut | Act::End => Vec::new(),
        };
        told.into_iter().map(Told::LiveKit).collect()
    }

    /// The vendor's webhooks come through the door.
    pub(super) async fn hear(&self, told: &[Told]) {
        for webhook in told {
            let reply = self.door.call(webhook.event(self.world)).await;
            assert_eq!(reply.status, 202, "{}", reply.body);
        }
    }

    /// What came in, and what was given back, is applied.
    async fn listen(&mut self) {
        let mut records = std::mem::take(&mut self.returned);
        records.extend(self.world.queued().await);
        for chunk in records.chunks(10) {
            let failed = self.apply.consume(chunk).await;
            let again = chunk
                .iter()
                .filter(|record| failed.iter().any(|id| record["messageId"] == *id));
            self.returned.extend(again.cloned());
        }
    }

    // What is to be seen

    async fn room(&self, lesson: &Lesson) -> String {
        let room = self.world.booking(lesson).await["meeting_provider_id"].clone();
        room.as_str().expect("nobody has opened the room").to_owned()
    }

    async fn session(&self, lesson: &Lesson) -> Uuid {
        let sql = "SELECT id FROM sessions WHERE booking_id = $1";
        let row = self.world.owner.query_opt(sql, &[&lesson.id]).await.unwrap();
        row.expect("the booking has no session").get(0)
    }

    /// Somebody on the lesson does something with its session.
    pub(super) async fn call(&self, function: &Function, sample: &str, who: Uuid, lesson: &Lesson) -> Reply {
        let (token, session) = (self.world.identity.token(who), self.session(lesson).await);
        function.call(request(sample, &token, session)).await
    }

    /// Each decision about a lesson, as [`decided`] writes it.
    pub(super) async fn decisions(&self, lesson: &Lesson) -> Vec<Value> {
        let sql = "SELECT jsonb_build_array(c.status, c.charge_minor, c.payout_minor, c.fee_minor,
                              floor(extract(epoch FROM c.decided_at - s.scheduled_start_at) / 60)::int)
                   FROM sessions s JOIN charges c ON c.session_id = s.id
                   WHERE s.booking_id = $1 ORDER BY c.decision";
        self.list(sql, lesson).await
    }

    /// What the client was told about a lesson.
    async fn notifications(&self, lesson: &Lesson) -> Vec<Value> {
        let sql = "SELECT to_jsonb(n.kind) FROM notifications n JOIN bookings b ON b.client_id = n.profile_id
                   WHERE b.id = $1 AND n.booking_id = b.id ORDER BY n.id";
        self.list(sql, lesson).await
    }

    /// What happened to a lesson's session and who did it, but for what the vendor told.
    async fn events(&self, lesson: &Lesson) -> Vec<Value> {
        let sql = "SELECT jsonb_build_array(e.kind, e.data -> 'by')
                   FROM session_events e JOIN sessions s ON s.id = e.session_id
                   WHERE s.booking_id = $1 AND e.data ->> 'by' IS DISTINCT FROM 'provider' ORDER BY e.id";
        self.list(sql, lesson).await
    }

    async fn list(&self, sql: &str, lesson: &Lesson) -> Vec<Value> {
        let rows = self.world.owner.query(sql, &[&lesson.id]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The platform writes its own row.
    async fn platform_writes(&self, lesson: &Lesson, set: &str) {
        let sql = format!("UPDATE public.bookings SET {set} WHERE id = $1");
        let written = self.world.owner.execute(&sql, &[&lesson.id]).await.unwrap();
        assert_eq!(written, 1, "{set}");
    }
}

fn in_pencilspaces(vendor: &simulators::pencilspaces::PencilSpaces, space: &str, step: Step) -> Vec<Told> {
    let at = step.at;
    let told = match step.act {
        Act::Enter(who) => vendor.enter(space, &who.to_string(), "tab", at),
        Act::Leave(who) => vendor.leave(space, &who.to_string(), "tab", at),
        // Sessions end with the last who leaves.
        Act::Press(_) | Act::Idle(_) | Act::IdleOut | Act::End => Vec::new(),
    };
    told.into_iter().map(Told::PencilSpaces).collect()
}

fn in_lessonspace(vendor: &simulators::lessonspace::Lessonspace, room: &str, step: Step) -> Vec<Told> {
    let at = step.at;
    let told = match step.act {
        Act::Enter(who) => vendor.enter(room, &who.to_string(), at),
        Act::Leave(who) => vendor.leave(room, &who.to_string(), at),
        Act::Idle(who) => vendor.idle(room, &who.to_string(), at),
        Act::IdleOut => vendor.idle_out(room, at),
        Act::End => vendor.end(room, at),
        Act::Press(_) => Vec::new(),
    };
    told.into_iter().map(Told::Lessonspace).collect()
}

/// An outcome of an hour at 100.00, and the minute in which it was decided.
pub(super) fn decided(status: &str, minute: i64) -> Value {
    let [charge, payout, fee] = match status {
        COMPLETED => [10_000, 9_000, 1_000],
        NO_STUDENT => [5_000, 4_500, 500],
        _ => [0, 0, 0],
    };
    json!([status, charge, payout, fee, minute])
}

fn nothing() -> Vec<Value> {
    Vec::new()
}

/// The lesson is paid ahead by card.
async fn paid_ahead(till: &Till, lesson: &Lesson) {
    let begun = till.begin(CARD, lesson).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    till.pays(&begun);
    till.hear(1).await;
    till.work().await;
}

// What happens around the end --------------------------------------------------------------------------------------

#[tokio::test]
async fn an_empty_moment_before_the_end_settles_nothing() {
    let till = Till::of(World::proving().await).await;
    let mut school = School::open(&till.world, 60).await;
    let play = school.play("T -10 - -8, -1 - 64; L -1 - 64").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    paid_ahead(&till, &lesson).await;

    // The tutor tries the room; both come in time, and run over the end.
    for minute in [
        -15, -10, -8, -7, -1, 0, 30, 59, 60, 61, 62, 63, 64, 65, 74, 75, 76,
    ] {
        school.pass(&mut plays, minute).await;
        till.work().await;

        let expected = if minute < 60 {
            nothing()
        } else {
            vec![decided(COMPLETED, 60)]
        };
        assert_eq!(school.decisions(&lesson).await, expected, "at {minute}");
        assert_eq!(
            till.at_stripe(),
            (vec![10_000], vec![]),
            "what was paid ahead goes back at {minute}"
        );
    }
}

#[tokio::test]
async fn a_lesson_that_dropped_out_and_came_back_is_one_lesson() {
    let till = Till::of(World::proving().await).await;
    let get_booking = till.world.function("get-booking").await;
    let mut school = School::open(&till.world, 60).await;
    let play = school.play("T 0 - 20, 22 - 61; L 0 - 20, 22 - 61").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    paid_ahead(&till, &lesson).await;

    for (minute, state) in [
        (-15, "ready"),
        (0, "live"),
        (10, "live"),
        (20, "live"),
        (21, "ready"),
        (22, "live"),
        (59, "live"),
        (60, "live"),
        (61, "live"),
        (62, "completed"),
        (75, "completed"),
    ] {
        school.pass(&mut plays, minute).await;
        till.work().await;
        let card = till
            .world
            .call(
                &get_booking,
                "get-booking/card.json",
                till.world.cast.parent,
                &lesson,
            )
            .await;
        assert_eq!(card.body["join_state"], state, "the card at {minute}");
    }
    assert_eq!(school.decisions(&lesson).await, [decided(COMPLETED, 60)]);
    assert_eq!(till.at_stripe(), (vec![10_000], vec![]));
}

// What the vendor does not tell, or tells late -------------------------------------------------------------------

#[tokio::test]
async fn an_end_that_was_told_and_is_not_listed_yet_settles_nothing() {
    for quirks in [vec![Quirk::Lags], vec![Quirk::Lags, Quirk::HidesLogs]] {
        let world = World::proving().await;
        world.lessonspace.behave(quirks.clone());
        let mut school = School::open(&world, 60).await;
        let play = school.play("T 0 - 45; L 0 - 45").await;
        let (lesson, mut plays) = (play.lesson, [play]);

        for minute in [-15, 0, 30, 45, 46, 60, 61, 75, 76, 81, 89] {
            school.pass(&mut plays, minute).await;
            assert_eq!(
                school.decisions(&lesson).await,
                nothing(),
                "{quirks:?}: settled at {minute}"
            );
        }
        assert!(
            !school.returned.is_empty(),
            "what was told of the end is forgotten"
        );

        world.lessonspace.lag(false);
        school.pass(&mut plays, 90).await;
        assert_eq!(
            school.decisions(&lesson).await,
            [decided(EARLY, 90)],
            "{quirks:?}"
        );
        assert!(school.returned.is_empty());
    }
}

#[tokio::test]
async fn a_vendor_that_never_tells_is_asked() {
    let world = World::proving().await;
    world.lessonspace.behave([Quirk::Silent]);
    let mut school = School::open(&world, 60).await;
    let mut plays = school
        .plays(&["T 0 - 61; L 0 - 61", "T 0 - 45; L 0 - 45", "T 0 - 61"])
        .await;

    for minute in [-15, 0, 45, 46, 59, 60, 61, 62, 74, 75] {
        school.pass(&mut plays, minute).await;
    }

    let outcomes = [(COMPLETED, 60), (EARLY, 75), (NO_STUDENT, 75)];
    for (play, (status, minute)) in plays.iter().zip(outcomes) {
        assert_eq!(
            school.decisions(&play.lesson).await,
            [decided(status, minute)],
            "{status}"
        );
    }
    assert_eq!(
        world.count("provider_events").await,
        0,
        "a webhook came after all"
    );
    let warns = |line: &String| line.contains("no webhook has ever come for this room");
    assert!(
        school.apply.log().iter().any(warns),
        "nobody says that webhooks do not come"
    );
}

impl School<'_> {
    /// When a lesson's room is asked about next, if ever.
    async fn asks_at(&self, lesson: &Lesson) -> Option<Timestamp> {
        let sql = "SELECT ask_at FROM sessions WHERE booking_id = $1";
        let row = self.world.owner.query_one(sql, &[&lesson.id]).await.unwrap();
        row.get(0)
    }
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_is_asked_ever_more_rarely_and_after_a_day_what_is_known_decides() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 30; L 0 - 30").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    school.pass(&mut plays, -15).await;
    school.pass(&mut plays, 0).await;

    // They go, but nobody hears of it.
    world.lessonspace.behave([Quirk::Silent]);
    world.lessonspace.misbehave(Faults {
        fail_next: u32::MAX,
        ..Faults::default()
    });
    school.pass(&mut plays, 31).await;

    let (mut gaps, mut last, mut question) = (Vec::new(), school.at(60), Vec::new());
    while let Some(next) = school.asks_at(&lesson).await {
        world.travel_to(next);
        school.tick().await;
        assert_eq!(school.returned.len(), 1, "one question, and no answer");
        question = std::mem::take(&mut school.returned);

        gaps.push(next.duration_since(last).as_mins());
        last = next;
    }
    // And once more shortly before what is known decides.
    assert_eq!(gaps[..10], [0, 15, 5, 10, 20, 40, 80, 160, 320, 640]);
    assert_eq!(gaps.len(), 11);
    assert_eq!(school.decisions(&lesson).await, nothing());

    school.pass(&mut plays, GIVES_UP_AT).await;
    assert_eq!(school.decisions(&lesson).await, [decided(COMPLETED, GIVES_UP_AT)]);
    let assumed =
        "SELECT c.explanation #> '{known,is_assumed}' FROM charges c JOIN sessions s ON s.id = c.session_id
                   WHERE s.booking_id = $1";
    assert_eq!(
        school.list(assumed, &lesson).await,
        [json!(true)],
        "it is said so"
    );

    // The last question comes again, and is answered.
    world.lessonspace.misbehave(Faults::default());
    school.returned = question;
    school.tick().await;
    let decisions = school.decisions(&lesson).await;
    assert_eq!(
        (decisions.len(), &decisions[1][0]),
        (2, &json!(EARLY)),
        "{decisions:?}"
    );
    let told = ["lesson_settled", "lesson_corrected"];
    assert_eq!(school.notifications(&lesson).await, told);
}

#[tokio::test]
async fn a_room_of_which_an_end_was_told_is_asked_about_until_its_list_shows_it() {
    let world = World::proving().await;
    world.lessonspace.behave([Quirk::Lags]);
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 45; L 0 - 45").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    for minute in [-15, 0, 45, 46] {
        school.pass(&mut plays, minute).await;
    }

    // The message that told of it is lost for good.
    assert!(!school.returned.is_empty(), "the end is listed at once");
    school.returned.clear();
    for minute in [60, 61, 75, 76] {
        school.pass(&mut plays, minute).await;
        assert_eq!(school.decisions(&lesson).await, nothing(), "settled at {minute}");
    }

    world.lessonspace.lag(false);
    let again = school.asks_at(&lesson).await;
    let again = again.expect("nobody asks about the end that was told");
    world.travel_to(again);
    school.tick().await;

    let minute = again.duration_since(school.starts_at).as_mins();
    assert_eq!(school.decisions(&lesson).await, [decided(EARLY, minute)]);
    let later = school.asks_at(&lesson).await;
    assert_eq!(later, None, "asked about although its end is listed");
}

#[tokio::test]
async fn a_room_that_somebody_has_not_left_when_it_closes_is_asked_about_until_its_end_is_listed() {
    let world = World::proving().await;
    let get_booking = world.function("get-booking").await;
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 78; L 0 - 78").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    let ended_at = async || {
        let parent = world.cast.parent;
        let card = world.call(&get_booking, "get-booking/card.json", parent, &lesson);
        card.await.body["meeting_ended_at"].clone()
    };
    for minute in [-15, 0, 60, 75] {
        school.pass(&mut plays, minute).await;
    }
    assert_eq!(ended_at().await, Value::Null, "they are still there");

    // They go, and what tells of it is lost for good.
    world.lessonspace.behave([Quirk::Silent]);
    school.pass(&mut plays, 79).await;
    assert_eq!(ended_at().await, Value::Null, "nobody has told of it");
    let again = school.asks_at(&lesson).await;
    world.travel_to(again.expect("nobody asks about those who were still there"));
    school.tick().await;

    let ended_at: Timestamp = ended_at().await.as_str().unwrap().parse().unwrap();
    let minutes = ended_at.duration_since(school.starts_at).as_mins();
    assert_eq!(minutes, 78, "the card shows another end");
    let later = school.asks_at(&lesson).await;
    assert_eq!(later, None, "asked about although its end is listed");
    assert_eq!(school.decisions(&lesson).await, [decided(COMPLETED, 60)]);
}

#[tokio::test]
async fn a_recording_that_its_list_shows_late_is_asked_for_where_it_was_allowed() {
    let world = World::proving().await;
    world.lessonspace.behave([Quirk::RecordingsPrepare]);
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 61; L 0 - 61"; 2]).await;
    let [open, shy] = std::array::from_fn(|n| plays[n].lesson);
    school.platform_writes(&shy, "recording_consent = false").await;

    for minute in [-15, 0, 60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }
    assert_eq!(school.asks_at(&shy).await, None, "there is nothing to ask for");

    // It takes the vendor an hour.
    let mut again = school.asks_at(&open).await;
    while let Some(next) = again.filter(|next| *next < school.at(135)) {
        world.travel_to(next);
        school.tick().await;
        again = school.asks_at(&open).await;
    }
    assert_eq!(world.booking(&open).await["recording_url"], Value::Null);
    world.lessonspace.behave([]);
    world.travel_to(again.expect("nobody asks for the recording"));
    school.tick().await;

    let address = &world.booking(&open).await["recording_url"];
    assert!(address.is_string(), "it is never found: {address}");
    let later = school.asks_at(&open).await;
    assert_eq!(later, None, "asked about although it is there");
    assert_eq!(world.booking(&shy).await["recording_url"], Value::Null);
}

#[tokio::test]
async fn the_recording_of_the_longest_time_is_asked_for_although_a_shorter_one_is_there() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 5, 6 - 61; L 0 - 5, 6 - 61"]).await;
    let lesson = plays[0].lesson;
    for minute in [-15, 0, 5, 6] {
        school.pass(&mut plays, minute).await;
    }
    let address = async || world.booking(&lesson).await["recording_url"].clone();
    let of_five_minutes = address().await;
    assert!(of_five_minutes.is_string(), "of what ended first");

    // Of the rest it takes the vendor a while.
    world.lessonspace.behave([Quirk::RecordingsPrepare]);
    for minute in [60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }
    let again = school.asks_at(&lesson).await;
    world.lessonspace.behave([]);
    world.travel_to(again.expect("nobody asks for the rest"));
    school.tick().await;

    let of_the_lesson = address().await;
    assert!(
        of_the_lesson.is_string() && of_the_lesson != of_five_minutes,
        "{of_the_lesson}"
    );
    assert_eq!(
        school.asks_at(&lesson).await,
        None,
        "asked about although it is there"
    );
}

#[tokio::test]
async fn whoever_alone_pressed_join_and_was_not_seen_in_the_room_did_not_come() {
    let world = World::proving().await;
    let (tutor, student) = (world.cast.tutor, world.cast.student);
    let mut school = School::open(&world, 60).await;
    let mut lessons = Vec::new();
    for (pressed, outcome) in [
        (vec![tutor], NOBODY),
        (vec![student], NOBODY),
        // Where both did, the vendor may have missed them: that costs neither.
        (vec![tutor, student], COMPLETED),
    ] {
        lessons.push((school.lesson().await, pressed, outcome));
    }
    school.pass(&mut [], -15).await;

    school.happen(&mut [], 2).await;
    for (lesson, pressed, _) in &lessons {
        for who in pressed {
            let joined = world.call(&school.launch, JOIN, *who, lesson).await;
            assert_eq!(joined.status, 200, "{}", joined.body);
        }
    }
    for minute in [60, 61, 74] {
        school.pass(&mut [], minute).await;
        assert_eq!(world.count("charges").await, 0, "settled at {minute}");
    }

    school.pass(&mut [], 75).await;
    for (lesson, pressed, outcome) in &lessons {
        assert_eq!(
            school.decisions(lesson).await,
            [decided(outcome, 75)],
            "after {} pressed Join, and the vendor saw nobody",
            pressed.len()
        );
    }
}

#[tokio::test]
async fn a_provider_that_answers_after_the_settlement_that_it_saw_nobody_is_listened_to() {
    let world = World::proving().await;
    let (mark, tutor) = (world.function("mark-no-show").await, world.cast.tutor);
    let mut school = School::open(&world, 60).await;
    let lesson = school.lesson().await;
    school.pass(&mut [], -15).await;

    // The tutor presses Join and never enters; the learner never comes.
    school.happen(&mut [], 1).await;
    let joined = world.call(&school.launch, JOIN, tutor, &lesson).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    school.happen(&mut [], 21).await;
    let marked = school.call(&mark, MARK, tutor, &lesson).await;
    assert_eq!(marked.status, 200, "{}", marked.body);

    // It is settled before anybody has asked the vendor.
    school.happen(&mut [], 60).await;
    school.charges.invoke(json!({})).await.unwrap();
    assert_eq!(school.decisions(&lesson).await, [decided(NO_STUDENT, 60)]);

    school.tick().await;
    school.pass(&mut [], 75).await;

    assert_eq!(
        school.decisions(&lesson).await,
        [decided(NO_STUDENT, 60), decided(NOBODY, 75)],
        "that the vendor saw nobody is no news"
    );
    let told = ["no_show_marked", "lesson_settled", "lesson_corrected"];
    assert_eq!(school.notifications(&lesson).await, told);
}

impl School<'_> {
    /// What is known of a lesson's room, with the vendor's ids of its sessions replaced by their order, and without when
    /// somebody pressed Join.
    async fn known(&self, lesson: &Lesson) -> Evidence {
        let evidence = self.world.booking(lesson).await["evidence"].clone();
        let evidence: Evidence = serde_json::from_value(evidence).unwrap();
        let sessions = self.world.lessonspace.sessions_of(&self.room(lesson).await);
        let name = |span: &String| {
            let order = sessions.iter().position(|session| session == span);
            order.expect("a session of this room").to_string()
        };

        let seen = evidence.marks.iter().filter(|mark| mark.did != Did::Pressed);
        let marks = seen.map(|mark| Mark {
            span: name(&mark.span),
            ..mark.clone()
        });
        Evidence {
            marks: marks.collect(),
            spans: evidence
                .spans
                .iter()
                .map(|(id, span)| (name(id), *span))
                .collect(),
            ends: evidence.ends.iter().map(|(id, at)| (name(id), *at)).collect(),
            people: evidence.people,
        }
    }
}

#[tokio::test]
async fn webhooks_late_five_times_and_in_any_order_end_in_the_same_state() {
    let world = World::proving().await;
    let mut random = StdRng::seed_from_u64(2026);
    let mut school = School::open(&world, 60).await;
    let line = "T -10 - -8, -1 - 20, 22 - 61; L 0 - 20, 22 - 61, 63 - 64";
    let mut plays = school.plays(&[line; 4]).await;

    // The first lesson's come at once.
    let (mut late, mut all) = (Vec::<(i64, Told)>::new(), Vec::new());
    for minute in -12..=106 {
        world.travel_to(school.at(minute));
        for (number, play) in plays.iter_mut().enumerate() {
            let told = school.act(play, minute).await;
            all.extend(told.iter().cloned());
            if number == 0 {
                school.hear(&told).await;
                continue;
            }
            for webhook in told {
                let times = (0..5).map(|_| (minute + random.random_range(0..=40), webhook.clone()));
                late.extend(times);
            }
        }

        late.shuffle(&mut random);
        let (due, later) = late.into_iter().partition(|(at, _)| *at <= minute);
        late = later;
        let due: Vec<Told> = due.into_iter().map(|(_, webhook)| webhook).collect();
        school.hear(&due).await;
        school.listen().await;
        school.tick().await;
    }
    assert!(late.is_empty() && school.returned.is_empty());

    let expected = school.known(&plays[0].lesson).await;
    assert_eq!(expected.spans.len(), 4, "{expected:?}");
    for play in &plays {
        assert_eq!(school.known(&play.lesson).await, expected);
        assert_eq!(school.decisions(&play.lesson).await, [decided(COMPLETED, 60)]);
    }
    let count = i64::try_from(all.len()).unwrap();
    assert_eq!(
        world.count("provider_events").await,
        count,
        "each is recorded once"
    );

    // Once more, long after.
    let mut before = Vec::new();
    for play in &plays {
        before.push(world.booking(&play.lesson).await);
    }
    all.shuffle(&mut random);
    world.travel_to(school.at(600));
    school.hear(&all).await;
    school.listen().await;
    school.tick().await;
    for (play, before) in plays.iter().zip(before) {
        assert_eq!(world.booking(&play.lesson).await, before);
        assert_eq!(school.decisions(&play.lesson).await.len(), 1);
    }
}

// What people say ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_mark_shows_at_once_and_costs_nothing_before_the_end() {
    let world = World::proving().await;
    let (mark, withdraw) = (
        world.function("mark-no-show").await,
        world.function("withdraw-no-show").await,
    );
    let (tutor, parent, stranger) = (world.cast.tutor, world.cast.parent, world.cast.stranger);
    let mut school = School::open(&world, 60).await;
    let lines = [
        "T 0 - 30; L 0 - 30",
        "",
        "T 0 - 61; L 25 - 61",
        "T 0 - 30; L 0 - 30; told 90",
    ];
    let mut plays = school.plays(&lines).await;
    let [there, never, back, wrong] = std::array::from_fn(|n| plays[n].lesson);
    school.pass(&mut plays, -15).await;
    school.pass(&mut plays, 0).await;

    // Said too early, by somebody else, or against what is known.
    school.pass(&mut plays, 19).await;
    let early = school.call(&mark, MARK, tutor, &back).await;
    assert_eq!(early.verdict(), "409 no-show-too-early");
    school.pass(&mut plays, 21).await;
    for (who, lesson, verdict) in [
        (parent, &back, "403 not-the-tutor"),
        (stranger, &back, "403 forbidden"),
        (tutor, &there, "409 no-show-contradicted"),
        (tutor, &never, "409 no-show-contradicted"),
    ] {
        let refused = school.call(&mark, MARK, who, lesson).await;
        assert_eq!(refused.verdict(), verdict, "{}", refused.body);
    }

    // Said in time, and said again because the answer was lost.
    for lesson in [&back, &wrong, &wrong] {
        let marked = school.call(&mark, MARK, tutor, lesson).await;
        assert_eq!(marked.status, 200, "{}", marked.body);
        let shown = json!([
            marked.body["status"],
            marked.body["charge"]["amount"],
            marked.body["settles_at"]
        ]);
        assert_eq!(shown, json!([NO_STUDENT, 5_000, school.at(60).to_string()]));
    }
    for minute in [22, 25, 26] {
        school.pass(&mut plays, minute).await;
    }
    let by_client = school.call(&withdraw, WITHDRAW, parent, &back).await;
    assert_eq!(by_client.verdict(), "403 not-the-tutor");
    let withdrawn = school.call(&withdraw, WITHDRAW, tutor, &back).await;
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.body);
    school.pass(&mut plays, 59).await;
    assert_eq!(world.count("charges").await, 0, "somebody pays before the end");

    school.pass(&mut plays, 60).await;
    let late = school.call(&withdraw, WITHDRAW, tutor, &wrong).await;
    assert_eq!(late.verdict(), "409 session-settled");
    for minute in [61, 62, 75, 90] {
        school.pass(&mut plays, minute).await;
    }

    assert_eq!(school.decisions(&back).await, [decided(COMPLETED, 60)]);
    assert_eq!(
        school.decisions(&wrong).await,
        [decided(NO_STUDENT, 60), decided(EARLY, 90)],
        "what the vendor tells late overrules the mark"
    );
    assert_eq!(
        school.notifications(&back).await,
        ["no_show_marked", "no_show_withdrawn", "lesson_settled"]
    );
    assert_eq!(
        school.notifications(&wrong).await,
        ["no_show_marked", "lesson_settled", "lesson_corrected"]
    );
    assert_eq!(
        school.events(&back).await,
        [
            json!(["created", "schedule"]),
            json!(["joined", "tutor"]),
            json!(["no_show_marked", "tutor"]),
            json!(["joined", "learner"]),
            json!(["no_show_withdrawn", "tutor"]),
            json!(["settled", "schedule"]),
        ]
    );
    assert_eq!(
        school.events(&wrong).await,
        [
            json!(["created", "schedule"]),
            json!(["joined", "tutor"]),
            json!(["joined", "learner"]),
            json!(["no_show_marked", "tutor"]),
            json!(["settled", "schedule"]),
            json!(["corrected", "schedule"]),
        ]
    );
}

#[tokio::test]
async fn nobody_calls_off_what_has_begun_and_an_answer_that_was_lost_is_given_again() {
    let world = World::proving().await;
    let cancel = world.function("cancel-session").await;
    let (tutor, parent) = (world.cast.tutor, world.cast.parent);
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T -5 - 30; L -3 - 30", "T -5 - -4", "", ""]).await;
    let [met, alone, empty, begun] = std::array::from_fn(|n| plays[n].lesson);
    for minute in [-15, -5, -4, -3, -2] {
        school.pass(&mut plays, minute).await;
    }

    let refused = school.call(&cancel, CANCEL, parent, &met).await;
    assert_eq!(refused.verdict(), "409 session-started", "they have met already");
    for (who, lesson) in [(tutor, &alone), (parent, &empty)] {
        for time in ["the first time", "again", "and again"] {
            let called_off = school.call(&cancel, CANCEL, who, lesson).await;
            let told = json!([
                called_off.status,
                called_off.body["status"],
                called_off.body["charge"]["amount"]
            ]);
            assert_eq!(told, json!([200, CANCELLED, 0]), "{time}");
        }
    }
    let shut = world.call(&school.launch, JOIN, tutor, &alone).await;
    assert_eq!(shut.verdict(), "409 booking-cancelled");

    school.pass(&mut plays, 5).await;
    let late = school.call(&cancel, CANCEL, parent, &begun).await;
    assert_eq!(
        late.verdict(),
        "409 session-started",
        "nobody came, but its time has"
    );
    for minute in [30, 31, 60, 75] {
        school.pass(&mut plays, minute).await;
    }
    for (lesson, status, minute) in [
        (met, EARLY, 75),
        (alone, CANCELLED, -2),
        (empty, CANCELLED, -2),
        (begun, NOBODY, 75),
    ] {
        assert_eq!(
            school.decisions(&lesson).await,
            [decided(status, minute)],
            "{status}"
        );
    }
    let by = [json!(["settled", "tutor"]), json!(["settled", "client"])];
    assert_eq!(school.events(&alone).await.last(), Some(&by[0]));
    assert_eq!(school.events(&empty).await.last(), Some(&by[1]));
}

// What the platform does -----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_session_that_nobody_called_for_and_that_is_made_late_starts_from_what_is_known() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 45; L 0 - 45").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    let pending = Lesson {
        status: "pending",
        ..Lesson::starting(school.starts_at)
    };
    school.booked(pending).await;

    // The schedules are down, and come up after the lesson.
    for minute in [0, 45, 46, 60] {
        school.happen(&mut plays, minute).await;
    }
    assert_eq!(world.count("sessions").await, 0);
    school.pass(&mut plays, 90).await;

    let sql = "SELECT s.evidence FROM sessions s WHERE s.booking_id = $1";
    let known = world.booking(&lesson).await["evidence"].clone();
    assert_eq!(school.list(sql, &lesson).await, [known]);
    assert_eq!(
        school.decisions(&lesson).await,
        nothing(),
        "the vendor is asked first"
    );
    school.pass(&mut plays, 91).await;
    assert_eq!(school.decisions(&lesson).await, [decided(EARLY, 91)]);
    assert_eq!(
        world.count("sessions").await,
        1,
        "one that is not agreed has none"
    );
}

#[tokio::test]
async fn a_session_that_is_made_days_late_is_not_decided_before_its_provider_was_asked() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 45; L 0 - 45").await;
    let (lesson, mut plays) = (play.lesson, [play]);

    // What was told of the room ends while both are in it. Two days later the booking gets its session.
    for minute in [0, 40] {
        school.happen(&mut plays, minute).await;
    }
    let late = 2 * 24 * 60 + 75;
    let [play] = &mut plays;
    drop(school.act(play, late).await);
    world.travel_to(school.at(late));
    school.tick().await;
    assert_eq!(world.count("sessions").await, 1);
    assert_eq!(
        school.decisions(&lesson).await,
        nothing(),
        "by what was known two days ago"
    );

    school.pass(&mut plays, late + 1).await;
    assert_eq!(school.decisions(&lesson).await, [decided(EARLY, late + 1)]);
}

#[tokio::test]
async fn a_booking_that_is_moved_owes_nothing_for_its_old_hour() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    // In two days there are 2880 minutes.
    let line = "T -10 - -8, -4 - 20, 2880 - 2941; L -4 - 20, 2880 - 2941";
    let play = school.play(line).await;
    let (lesson, mut plays) = (play.lesson, [play]);
    for minute in [-15, -10, -8, -7, -4] {
        school.pass(&mut plays, minute).await;
    }

    let moved = "session_start_time = session_start_time + interval '2 days'";
    school.platform_writes(&lesson, moved).await;
    for minute in [-3, 20, 21, 60, 61, 75, 76, 90] {
        school.pass(&mut plays, minute).await;
        assert_eq!(school.decisions(&lesson).await, nothing(), "settled at {minute}");
    }
    // What was told of the old hour is no news.
    school.returned.clear();

    for minute in [2_865, 2_880, 2_939] {
        school.pass(&mut plays, minute).await;
        assert_eq!(school.decisions(&lesson).await, nothing(), "settled at {minute}");
    }
    school.pass(&mut plays, 2_940).await;
    assert_eq!(
        school.decisions(&lesson).await,
        [decided(COMPLETED, 60)],
        "an hour after its new start"
    );
    for minute in [2_941, 2_942, 2_955] {
        school.pass(&mut plays, minute).await;
    }
    assert_eq!(school.decisions(&lesson).await.len(), 1);
    assert_eq!(
        school.asks_at(&lesson).await,
        None,
        "nothing of the new hour is owed"
    );
}

#[tokio::test]
async fn the_platform_calls_off_before_the_start_and_not_while_the_lesson_is_held() {
    let till = Till::of(World::proving().await).await;
    let world = &till.world;
    // By the database's clock, too, the one has begun and the other has not.
    let mut school = School::open(world, -5).await;
    let play = school.play("T 0 - 61; L 0 - 61").await;
    let (held, mut plays) = (play.lesson, [play]);
    let ahead = world.lesson_in(60).await;
    for minute in [-15, 0, 6] {
        school.pass(&mut plays, minute).await;
    }
    paid_ahead(&till, &ahead).await;

    school.platform_writes(&held, "status = 'cancelled'").await;
    school.platform_writes(&ahead, "status = 'cancelled'").await;

    let listed = "SELECT jsonb_build_array(field, theirs) FROM booking_changes WHERE booking_id = $1 AND state = 'open'";
    assert_eq!(school.list(listed, &held).await, [json!(["status", "cancelled"])]);
    assert_eq!(school.list(listed, &ahead).await, nothing());
    assert_eq!(world.booking(&held).await["status"], "confirmed");

    school.pass(&mut plays, 7).await;
    till.work().await;
    till.hear(1).await;
    till.work().await;
    let called_off = school.decisions(&ahead).await;
    assert_eq!(
        (called_off.len(), &called_off[0][0], &called_off[0][1]),
        (1, &json!(CANCELLED), &json!(0))
    );
    assert_eq!(
        till.at_stripe(),
        (vec![10_000], vec![10_000]),
        "what was paid goes back"
    );
    assert_eq!(till.told().await, ["refunded"]);

    school.pass(&mut plays, 60).await;
    assert_eq!(school.decisions(&held).await, [decided(COMPLETED, 60)]);
}

// Evidence -------------------------------------------------------------------------------------------------------

fn some_evidence(random: &mut StdRng) -> Evidence {
    fn name(random: &mut StdRng) -> String {
        (*["a", "b", "c", "d"].choose(random).unwrap()).to_owned()
    }
    fn at(random: &mut StdRng) -> Timestamp {
        Timestamp::from_millisecond(random.random_range(1_772_366_400_000..1_772_366_400_050)).unwrap()
    }

    let mut some = Evidence::default();
    for _ in 0..random.random_range(0..4) {
        let span = Span {
            began_at: at(random),
            ended_at: random.random_bool(0.5).then(|| at(random)),
            is_idled: random.random_bool(0.3),
            is_recorded: random.random_bool(0.3),
        };
        some.spans.insert(name(random), span);
    }
    for _ in 0..random.random_range(0..3) {
        some.ends.insert(name(random), at(random));
    }
    for _ in 0..random.random_range(0..6) {
        let all = [Did::Pressed, Did::Came, Did::Left, Did::Idled, Did::WasThere];
        some.marks.insert(Mark {
            span: name(random),
            who: name(random),
            did: *all.choose(random).unwrap(),
            at: at(random),
        });
    }
    for _ in 0..random.random_range(0..4) {
        let side = *[Side::Tutor, Side::Learner, Side::Nobody, Side::Unclear]
            .choose(random)
            .unwrap();
        some.people.insert(name(random), side);
    }
    some
}

#[tokio::test]
async fn the_database_merges_evidence_as_the_domain_does_in_any_order() {
    let world = World::proving().await;
    let mut random = StdRng::seed_from_u64(11);
    let sql = "SELECT merged_evidence(merged_evidence($1, $2), $3), merged_evidence($3, merged_evidence($2, $1)),
                      merged_evidence(merged_evidence($2, '{}'), merged_evidence(merged_evidence($1, $3), $2))";
    for _ in 0..300 {
        let parts: [Evidence; 3] = std::array::from_fn(|_| some_evidence(&mut random));
        let mut expected = Evidence::default();
        for part in &parts {
            expected.merge(part.clone());
        }

        let [a, b, c] = parts.each_ref().map(|part| serde_json::to_value(part).unwrap());
        let row = world.owner.query_one(sql, &[&a, &b, &c]).await.unwrap();
        let merged: [Value; 3] = std::array::from_fn(|n| row.get(n));
        assert_eq!(merged[0], merged[1], "the order counts: {a} {b} {c}");
        assert_eq!(merged[0], merged[2], "the order counts: {a} {b} {c}");
        let read: Evidence = serde_json::from_value(merged[0].clone()).unwrap();
        assert_eq!(read, expected, "{a} {b} {c}");
    }
}

/// That there was a span of this name.
fn seen(name: &str) -> Evidence {
    let span = Span {
        began_at: Timestamp::UNIX_EPOCH,
        ended_at: None,
        is_idled: false,
        is_recorded: false,
    };
    Evidence {
        spans: [(name.to_owned(), span)].into(),
        ..Evidence::default()
    }
}

impl School<'_> {
    /// The names of the spans of which a lesson's booking knows, and its session.
    async fn spans(&self, lesson: &Lesson) -> Vec<Value> {
        let sql = "SELECT jsonb_build_array(
                       (SELECT jsonb_agg(span ORDER BY span) FROM jsonb_object_keys(b.evidence -> 'spans') AS span),
                       (SELECT jsonb_agg(span ORDER BY span) FROM jsonb_object_keys(s.evidence -> 'spans') AS span))
                   FROM bookings b JOIN sessions s ON s.booking_id = b.id WHERE b.id = $1";
        self.list(sql, lesson).await
    }
}

#[tokio::test]
async fn reports_that_are_entered_at_the_same_time_take_nothing_from_each_other() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let lesson = school.lesson().await;
    school.pass(&mut [], -15).await;

    // One is being entered, and two more have to wait for it.
    let own = "SELECT current_database()::text";
    let own: String = world.owner.query_one(own, &[]).await.unwrap().get(0);
    let holder = owner(&owner_url(&own)).await;
    let enter = "UPDATE bookings SET evidence = $2 WHERE id = $1";
    let first = serde_json::to_value(seen("a")).unwrap();
    holder.batch_execute("BEGIN").await.unwrap();
    holder.execute(enter, &[&lesson.id, &first]).await.unwrap();

    let ours = [(); 2].map(|()| Database::at(&world.environment["DATABASE_URL"]));
    let (booking, now) = (BookingId(lesson.id), school.at(-15));
    let apply = async |database: &Database, name: &str| {
        let report = Report {
            evidence: seen(name),
            asked_at: Some(now),
            ..Report::default()
        };
        evidence::apply(database, booking, None, &report, now).await
    };
    let release = async {
        let wait = "SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                    WHERE NOT l.granted AND a.datname = current_database()";
        while world.owner.query(wait, &[]).await.unwrap().len() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let release = timeout(PATIENCE, release);
    let (second, third, released) = join3(apply(&ours[0], "b"), apply(&ours[1], "c"), release).await;

    assert!(released.is_ok(), "nobody waits for who is entering something");
    assert_eq!((second.unwrap(), third.unwrap()), (true, true));
    let all = ["a", "b", "c"];
    assert_eq!(
        school.spans(&lesson).await,
        [json!([all, all])],
        "a report is lost on the booking or on its session"
    );
}

#[tokio::test]
async fn a_session_whose_room_is_asked_about_learns_what_its_booking_knows_and_forgets_nothing() {
    let world = World::proving().await;
    let mut school = School::open(&world, 60).await;
    let lesson = school.lesson().await;
    school.pass(&mut [], -15).await;
    for (know, name) in [
        ("UPDATE bookings SET evidence = $2 WHERE id = $1", "a"),
        ("UPDATE sessions SET evidence = $2 WHERE booking_id = $1", "b"),
    ] {
        let evidence = serde_json::to_value(seen(name)).unwrap();
        let known = world.owner.execute(know, &[&lesson.id, &evidence]).await;
        assert_eq!(known.unwrap(), 1, "{know}");
    }

    school.pass(&mut [], 60).await;

    assert_eq!(school.spans(&lesson).await, [json!([["a"], ["a", "b"]])]);
}

#[tokio::test]
async fn what_only_its_booking_knows_corrects_a_session_that_is_settled() {
    let world = World::proving().await;
    let mark = world.function("mark-no-show").await;
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 61").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    for minute in [-15, 0, 21] {
        school.pass(&mut plays, minute).await;
    }
    let marked = school.call(&mark, MARK, world.cast.tutor, &lesson).await;
    assert_eq!(marked.status, 200, "{}", marked.body);
    for minute in [60, 61, 62] {
        school.pass(&mut plays, minute).await;
    }
    assert_eq!(school.decisions(&lesson).await, [decided(NO_STUDENT, 60)]);

    // The learner was there all the time, and of that the session has never heard.
    let [span] = world
        .lessonspace
        .sessions_of(&school.room(&lesson).await)
        .try_into()
        .unwrap();
    let who = "the learner's number".to_owned();
    let came = Mark {
        span,
        who: who.clone(),
        did: Did::Came,
        at: school.starts_at,
    };
    let evidence = Evidence {
        marks: [came].into(),
        people: [(who, Side::Learner)].into(),
        ..Evidence::default()
    };
    let evidence = serde_json::to_value(evidence).unwrap();
    let know = "UPDATE bookings SET evidence = merged_evidence(evidence, $2) WHERE id = $1";
    let known = world.owner.execute(know, &[&lesson.id, &evidence]).await;
    assert_eq!(known.unwrap(), 1, "{know}");

    // The question goes out, and its answer is still to come.
    world.travel_to(school.at(75));
    school.reconcile.invoke(json!({})).await.unwrap();
    school.charges.invoke(json!({})).await.unwrap();

    assert_eq!(
        school.decisions(&lesson).await,
        [decided(NO_STUDENT, 60), decided(COMPLETED, 75)],
        "what has reached it is not looked at"
    );
}

#[tokio::test]
async fn a_recording_is_kept_only_where_it_was_allowed() {
    let world = World::proving().await;
    // Whatever it was asked for.
    world.lessonspace.behave([Quirk::RecordsAnyway]);
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 61; L 0 - 61"; 2]).await;
    let [open, shy] = std::array::from_fn(|n| plays[n].lesson);
    school.platform_writes(&shy, "recording_consent = false").await;

    for minute in [-15, 0, 60, 61, 62] {
        school.pass(&mut plays, minute).await;
    }

    let address = async |lesson| world.booking(lesson).await["recording_url"].clone();
    let (kept, not_kept) = (address(&open).await, address(&shy).await);
    assert!(kept.is_string(), "where it was allowed there is none");
    assert_eq!(not_kept, Value::Null, "where it was not allowed");

    let watch = world.function("get-recording").await;
    let watched = async || {
        let sample = "get-recording/recording.json";
        world.call(&watch, sample, world.cast.tutor, &open).await.status
    };
    assert_eq!(watched().await, 200);
    school.platform_writes(&open, "recording_consent = false").await;
    assert_eq!(watched().await, 404, "allowed once, and not any more");
}

impl School<'_> {
    /// Somebody presses Join, the vendor lets them in, and its answer is lost on the way to us.
    async fn let_in_unknown(&self, lesson: &Lesson, user: Value) {
        let address = format!("{}spaces/launch/", self.world.environment["LESSONSPACE_API_URL"]);
        let launch = reqwest::Client::new()
            .post(address)
            .header("authorization", format!("Organisation {API_KEY}"))
            .json(&json!({"id": lesson.id, "user": user}));
        let answer = launch.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// The same, and they are seen in the room from minute 1 on.
    async fn comes_unknown(&self, lesson: &Lesson, name: &str, user: Value) {
        self.let_in_unknown(lesson, user).await;
        let room = self.room(lesson).await;
        let told = self.world.lessonspace.enter(&room, name, self.at(1));
        let told: Vec<Told> = told.into_iter().map(Told::Lessonspace).collect();
        self.hear(&told).await;
    }
}

#[tokio::test]
async fn two_whom_the_vendor_knows_by_one_id_are_not_taken_for_one_who_stayed_away() {
    let world = World::proving().await;
    world.lessonspace.behave([Quirk::OneUserForAll]);
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T -3 - 61; L -2 - 61"]).await;
    let lesson = plays[0].lesson;

    for minute in [-15, 0, 60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }

    assert_eq!(
        school.decisions(&lesson).await,
        [decided(COMPLETED, 60)],
        "what was seen under that id was taken for the tutor's alone"
    );
    let sides = &world.booking(&lesson).await["evidence"]["people"];
    let is_unclear = |side: &Value| side == "unclear";
    assert!(sides.as_object().unwrap().values().any(is_unclear), "{sides}");
}

#[tokio::test]
async fn whoever_came_without_our_knowing_costs_nobody_anything() {
    let world = World::proving().await;
    let student = world.cast.student.to_string();
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 61"; 3]).await;
    let [known, stranger, alone] = std::array::from_fn(|n| plays[n].lesson);
    school.pass(&mut plays, -15).await;
    school.pass(&mut plays, 0).await;

    // Of the one the vendor says who they are to us, of the other it cannot.
    for (lesson, name, user) in [
        (
            known,
            student.as_str(),
            json!({"id": student, "name": "Ben Student"}),
        ),
        (stranger, "a visitor", json!({"name": "a visitor"})),
    ] {
        school.comes_unknown(&lesson, name, user).await;
    }
    for minute in [2, 60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }

    assert_eq!(school.decisions(&known).await, [decided(COMPLETED, 60)]);
    assert_eq!(school.decisions(&stranger).await, [decided(COMPLETED, 60)]);
    assert_eq!(
        school.decisions(&alone).await,
        [decided(NO_STUDENT, 75)],
        "where nobody came it is known"
    );
    let sides = &world.booking(&known).await["evidence"]["people"];
    let learners = sides.as_object().unwrap().values();
    assert_eq!(learners.filter(|side| **side == "learner").count(), 1, "{sides}");
}

#[tokio::test]
async fn somebody_of_the_learners_came_for_them_and_somebody_elses_came_for_nobody() {
    let world = World::proving().await;
    let cast = world.cast;
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 61"; 2]).await;
    let [guardian, outsider] = std::array::from_fn(|n| plays[n].lesson);
    school.pass(&mut plays, -15).await;
    school.pass(&mut plays, 0).await;

    // Both have a profile of ours, and of neither do we know that they were let in.
    for (lesson, who) in [(guardian, cast.other_parent), (outsider, cast.stranger)] {
        let who = who.to_string();
        let user = json!({"id": who, "name": "Somebody"});
        school.comes_unknown(&lesson, &who, user).await;
    }
    for minute in [2, 60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }

    for (lesson, side, outcome) in [
        (guardian, "learner", decided(COMPLETED, 60)),
        (outsider, "nobody", decided(NO_STUDENT, 75)),
    ] {
        let people = &world.booking(&lesson).await["evidence"]["people"];
        let sides = people.as_object().unwrap().values();
        assert_eq!(sides.filter(|known| **known == side).count(), 1, "{people}");
        assert_eq!(school.decisions(&lesson).await, [outcome], "with a {side}");
    }
}

#[tokio::test]
async fn what_the_vendor_saw_counts_before_it_says_who_it_saw() {
    let world = World::proving().await;
    let student = world.cast.student.to_string();
    let mut school = School::open(&world, 60).await;
    let play = school.play("T 0 - 61").await;
    let (lesson, mut plays) = (play.lesson, [play]);
    school.pass(&mut plays, -15).await;
    school.pass(&mut plays, 0).await;
    let user = json!({"id": student, "name": "Ben Student"});
    school.comes_unknown(&lesson, &student, user).await;

    // Who was there can still be read, and then nothing more.
    world.lessonspace.misbehave(Faults {
        spare_next: 1,
        fail_next: u32::MAX,
        fail_with: 500,
        ..Faults::default()
    });
    school.happen(&mut plays, 1).await;

    let known = school.known(&lesson).await;
    let strangers = known
        .marks
        .iter()
        .filter(|mark| !known.people.contains_key(&mark.who));
    assert_eq!(strangers.count(), 1, "what was seen is lost: {known:?}");
    assert!(school.returned.is_empty(), "what was seen waits for who it was");

    world.lessonspace.misbehave(Faults::default());
    school.pass(&mut plays, 60).await;
    assert_eq!(
        school.decisions(&lesson).await,
        [decided(COMPLETED, 60)],
        "who it was is asked again"
    );
}

// One bad row ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_session_that_cannot_be_settled_stops_nobody_else() {
    const REFUSED: i64 = 4_242;

    let world = World::proving().await;
    let mut school = School::under(&world, 60, &[("ATTENDANCE", "assumed")]).await;
    let mut lessons = Vec::new();
    for number in 0..40 {
        let price = if number == 17 { REFUSED } else { 10_000 };
        let lesson = Lesson {
            price,
            ..Lesson::starting(school.starts_at)
        };
        lessons.push(school.booked(lesson).await);
    }
    school.pass(&mut [], -15).await;
    let refuse = format!("ALTER TABLE charges ADD CHECK (charge_minor <> {REFUSED})");
    world.owner.batch_execute(&refuse).await.unwrap();
    // No currency that anybody knows.
    let harm = "UPDATE sessions SET currency = '???' WHERE booking_id = $1";
    world.owner.execute(harm, &[&lessons[23].id]).await.unwrap();

    school.pass(&mut [], 60).await;

    for (number, lesson) in lessons.iter().enumerate() {
        let (decisions, events) = (school.decisions(lesson).await, school.events(lesson).await);
        if [17, 23].contains(&number) {
            assert_eq!(decisions, nothing());
            assert_eq!(
                events.last(),
                Some(&json!(["unreadable", "schedule"])),
                "it is said"
            );
        } else {
            assert_eq!(decisions, [decided(COMPLETED, 60)], "session {number}");
        }
    }

    let tries_less = |line: &String| line.contains("trying a smaller one");
    assert!(
        school.charges.log().iter().any(tries_less),
        "the batch went through"
    );

    school.pass(&mut [], 61).await;
    let said = "SELECT to_jsonb(e.id) FROM session_events e JOIN sessions s ON s.id = e.session_id
                WHERE s.booking_id = $1 AND e.kind = 'unreadable'";
    assert_eq!(school.list(said, &lessons[17]).await.len(), 1, "once");
}

impl School<'_> {
    /// What the next run of `reconcile` counts as given up, by its summary: an alarm looks at that.
    async fn given_up(&self) -> Value {
        // It has no other summary, and that comes a moment after the answer.
        let reconcile = self.world.function("reconcile").await;
        reconcile.invoke(json!({})).await.unwrap();
        let summary = async {
            loop {
                let lines = reconcile.log();
                if let Some(line) = lines.iter().find(|line| line.contains("\"given_up\"")) {
                    break line.clone();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let line = timeout(PATIENCE, summary).await.expect("a summary");
        let summary: Value = serde_json::from_str(&line).unwrap();
        summary["given_up"].clone()
    }
}

#[tokio::test]
async fn a_session_that_is_set_aside_rings_an_alarm_until_somebody_has_mended_it() {
    let world = World::new().await;
    let mut school = School::open(&world, 60).await;
    let lesson = school.lesson().await;
    school.pass(&mut [], -15).await;
    let harm = "UPDATE sessions SET currency = '???' WHERE booking_id = $1";
    world.owner.execute(harm, &[&lesson.id]).await.unwrap();
    assert_eq!(school.given_up().await, 0, "before anybody tried to settle it");

    school.pass(&mut [], 60).await;
    for minute in [61, 62] {
        school.pass(&mut [], minute).await;
        assert_eq!(school.given_up().await, 1, "nobody hears of it at {minute}");
    }

    let mend = "UPDATE sessions SET currency = 'TTD', due_at = scheduled_end_at WHERE booking_id = $1";
    world.owner.execute(mend, &[&lesson.id]).await.unwrap();
    school.pass(&mut [], 63).await;
    assert_eq!(school.decisions(&lesson).await, [decided(COMPLETED, 63)]);
    assert_eq!(school.given_up().await, 0, "it was mended");
}

#[tokio::test]
async fn a_recording_that_never_comes_rings_no_alarm_and_an_end_that_never_comes_does() {
    let world = World::proving().await;
    world.lessonspace.behave([Quirk::RecordingsPrepare]);
    let mut school = School::open(&world, 60).await;
    let mut plays = school.plays(&["T 0 - 61; L 0 - 61", "T 0 - …; L 0 - …"]).await;
    let [ended, endless] = std::array::from_fn(|n| plays[n].lesson);
    for minute in [-15, 0, 60, 61, 62, 75] {
        school.pass(&mut plays, minute).await;
    }

    let last = school.at(75) + SignedDuration::from_mins(23 * 60 + 30);
    let mut next = school.asks_at(&ended).await.expect("a question");
    while next < last {
        world.travel_to(next);
        school.tick().await;
        next = school.asks_at(&ended).await.expect("another question");
    }
    assert_eq!(
        school.asks_at(&endless).await,
        Some(next),
        "they are asked about at once"
    );
    world.travel_to(next);

    assert_eq!(school.given_up().await, 1, "only the end is what money waits for");
    for lesson in [&ended, &endless] {
        assert_eq!(school.asks_at(lesson).await, None, "asked about for ever");
    }
}
