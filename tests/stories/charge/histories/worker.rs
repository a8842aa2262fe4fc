//! Whoever does something: people, the platform, the schedules and the functions behind the queues. Each may die at any
//! await, and what was left undone comes again, or never.

use super::script::{LEARNER, Step, TUTOR};
use super::stage::{Bill, Item, Said, Stage, Way, What};
use crate::harness::{owner_url, service_url};
use apply_classroom_event::ApplyClassroomEvent;
use apply_gateway_event::ApplyGatewayEvent;
use domain::charge::finding::{Finding, Opened, Outcome};
use domain::charge::gateway::Gateway;
use domain::charge::order::Wish;
use domain::charge::payment::{Collects, Method};
use domain::charge::session::SessionPolicy;
use domain::charge::settlement::{Facts, contradicts_mark, have_met};
use domain::ids::{PaymentId, ProfileId, RoomId};
use domain::launch::classroom::Classroom;
use domain::people::Role;
use domain::prove::evidence::Side;
use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use jobs::messages::{AskProvider, GiveBack, LookAtTab};
use jobs::settling::Settling;
use platform::batch::{Job, JobError, Message};
use platform::database::Database;
use platform::ids::Ids;
use platform::outbound::VendorError;
use providers::fapshi;
use providers::gateways::Gateways;
use providers::lessonspace::{Lessonspace, LessonspaceConfig};
use providers::stripe::Checkout;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use refund_payment::RefundPayment;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use step_tab::StepTab;
use store::charge::books;
use store::charge::paying::{self, Order, OrderOutcome, PaymentToMake};
use store::charge::sessions::{self, StoredSession};
use store::keep::following;
use store::keep::overdue;
use store::keep::tending;
use store::launch::rooms::{self, Admission};
use store::prove::evidence;
use stories::cast::owner;
use tokio_postgres::Client;
use uuid::Uuid;

/// Of each kind in one run of a schedule.
const MOST: i64 = 1_000;
/// Refunds of more francs, to a phone that may not be the payer's, wait for an operator.
const REVIEW_ABOVE: i64 = 8_000;

/// What works on tabs and refunds, over connections of its own.
struct Hands {
    capture: StepTab,
    refund: RefundPayment,
}

pub(super) struct Worker {
    pub(super) stage: Arc<Stage>,
    pub(super) settling: Settling,
    pub(super) owner: Client,
    pub(super) tutor: ProfileId,
    classroom: ApplyClassroomEvent,
    gateway: ApplyGatewayEvent,
    /// Two environments of the same functions, so that both copies of a message can be worked on at the same instant.
    hands: [Hands; 2],
    ids: Ids,
}

impl Worker {
    pub(super) async fn hire(name: &str, stage: &Arc<Stage>, tutor: ProfileId) -> Self {
        let clock = &stage.clock;
        let database = || Database::at(&service_url(name));
        let ids = || Ids::random(clock.clone());
        let mut env = stage.env();
        let mut gateways = || Gateways::from_env(&mut env).unwrap();
        let hands = [(); 2].map(|()| Hands {
            capture: StepTab {
                database: database(),
                gateways: gateways(),
                collects: Collects::Firstbell,
                review_above_minor: REVIEW_ABOVE,
                ids: ids(),
                clock: clock.clone(),
            },
            refund: RefundPayment {
                database: database(),
                gateways: gateways(),
                ids: ids(),
                clock: clock.clone(),
            },
        });
        let gateways = gateways();
        let classroom = ApplyClassroomEvent {
            database: database(),
            lessonspace: Lessonspace::new(LessonspaceConfig::from_env(&mut stage.env()).unwrap()),
            livekit: None,
            pencilspaces: None,
            room_secret: stage.env().secret("LESSONSPACE_SECRET").unwrap(),
            ids: ids(),
            clock: clock.clone(),
        };
        let gateway = ApplyGatewayEvent {
            database: database(),
            gateways,
            ids: ids(),
            clock: clock.clone(),
        };
        let settling = Settling {
            database: database(),
            collects: Collects::Firstbell,
            ids: ids(),
            clock: clock.clone(),
        };
        Self {
            stage: Arc::clone(stage),
            settling,
            owner: owner(&owner_url(name)).await,
            tutor,
            classroom,
            gateway,
            hands,
            ids: ids(),
        }
    }

    /// Does what happens next until nothing does any more.
    pub(super) async fn live(self, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        while let Some(step) = self.stage.next_step().await {
            let _awake = self.stage.at_work().await;
            let life = mortal(10, &mut random);
            match step {
                Step::Work => self.work(8, true, &mut random).await,
                // The post office does not lose what it was given: that is the outbox's own story.
                Step::Post => self.post().await,
                step => drop(tokio::time::timeout(life, self.take(step, &mut random)).await),
            }
        }
        self
    }

    async fn take(&self, step: Step, random: &mut StdRng) {
        match step {
            Step::Join(number, side) => self.join(number, side).await,
            Step::Tell(number) => {
                let report = self.stage.woken(number, random);
                self.stage.post(&What::Report(number, report));
            }
            Step::Mark(number) => self.mark(number).await,
            Step::Withdraw(number) => self.withdraw(number).await,
            Step::Cancel(number) => self.cancel(number).await,
            Step::Pay(number, method) => self.pay(number, method, random).await,
            Step::CallOff(number) => self.call_off(number).await,
            Step::ConfirmAgain(number) => self.confirm_again(number).await,
            Step::Move(number) => self.move_it(number).await,
            Step::Settle => drop(self.settling.run().await),
            Step::Tend => self.tend().await,
            Step::Reconcile => {
                let (now, ids) = (self.now(), &self.ids);
                let (look, give_back) = (LookAtTab::draft(ids, now), GiveBack::draft(ids, now));
                drop(overdue::reconcile(self.database(), MOST, &look, &give_back, now).await);
            }
            Step::CatchUp => drop(following::catch_up(self.database(), 1_000, self.now()).await),
            Step::Outside => {
                self.stage.clients_pay();
                if random.random_range(0..10) == 0 {
                    self.stage.refunds_end(random);
                }
            }
            Step::Misbehave => self.stage.misbehave(random),
            Step::Vanish => self.stage.vanish(),
            Step::RunDry => self.stage.fill(false),
            Step::FillUp => self.stage.fill(true),
            Step::Operate => self.operate().await,
            Step::Post | Step::Work => {}
        }
    }

    fn now(&self) -> Timestamp {
        self.stage.clock.now()
    }

    pub(super) fn database(&self) -> &Database {
        &self.settling.database
    }

    // The schedules ------------------------------------------------------------------------------------

    async fn tend(&self) {
        let (policy, now) = (SessionPolicy::default(), self.now());
        drop(
            tending::tend(
                self.database(),
                Classroom::Lessonspace,
                &policy,
                MOST,
                &AskProvider::draft(&self.ids, now),
                now,
            )
            .await,
        );
    }

    /// Every schedule once.
    pub(super) async fn schedules(&self) {
        for step in [Step::CatchUp, Step::Tend, Step::Settle, Step::Reconcile] {
            let mut random = StdRng::seed_from_u64(0);
            self.take(step, &mut random).await;
        }
    }

    /// What is due leaves the outbox, and what gateways have to tell arrives.
    pub(super) async fn post(&self) {
        let sql = "UPDATE outbox SET sent_at = $1 WHERE sent_at IS NULL AND due_at <= $1
                   RETURNING as_posted(id, queue, envelope) -> 'envelope'";
        let jobs = self.owner.query(sql, &[&self.now()]).await.unwrap();
        let jobs = jobs.iter().map(|row| row.get::<_, Value>(0));
        for message in jobs.chain(self.stage.letters()) {
            self.stage.post(&What::Job(message));
        }
    }

    // The functions behind the queues ------------------------------------------------------------------

    /// Works on some messages. Those that fail, and those that somebody dies over, come again.
    pub(super) async fn work(&self, least: usize, is_mortal: bool, random: &mut StdRng) {
        for item in self.stage.some(least, random) {
            let life = mortal(if is_mortal { 12 } else { 0 }, random);
            let is_doubled = random.random_range(0..6) == 0;
            let done = tokio::time::timeout(life, Box::pin(self.work_on(&item, is_doubled))).await;
            match done {
                Ok(Ok(())) => {}
                Ok(Err(JobError::Permanent(reason))) => {
                    self.stage.set_aside(format!("{reason}: {:?}", item.what));
                }
                Ok(Err(JobError::Transient(_))) | Err(_) => self.stage.post_again(item),
            }
        }
    }

    async fn work_on(&self, item: &Item, is_doubled: bool) -> Result<(), JobError> {
        let job = match &item.what {
            What::Report(number, report) => return self.enter(*number, report).await,
            What::Job(job) => job,
        };
        let body = job.to_string();
        let [one, other] = &self.hands;
        match job["type"].as_str().unwrap() {
            "ask_provider" => self.ask(job).await,
            "look_at_tab" if is_doubled => {
                let both = (Message::read(&body)?, Message::read(&body)?);
                let both = Box::pin(join(one.capture.run(both.0), other.capture.run(both.1))).await;
                both.0.and(both.1)
            }
            "look_at_tab" => one.capture.run(Message::read(&body)?).await,
            "give_back" if is_doubled => {
                let both = (Message::read(&body)?, Message::read(&body)?);
                let both = Box::pin(join(one.refund.run(both.0), other.refund.run(both.1))).await;
                both.0.and(both.1)
            }
            "give_back" => one.refund.run(Message::read(&body)?).await,
            "stripe_event" | "fapshi_event" => self.gateway.run(Message::read(&body)?).await,
            _ => self.classroom.run(Message::read(&body)?).await,
        }
    }

    /// The vendor is asked, as `apply-classroom-event` asks it. One that is silent has the message end among the dead letters.
    async fn ask(&self, job: &Value) -> Result<(), JobError> {
        let booking: Uuid = job["payload"]["booking_id"].as_str().unwrap().parse().unwrap();
        let number = self.stage.numbers[&booking];
        match self.stage.answer(number) {
            Some(report) => self.enter(number, &report).await,
            None => Ok(()),
        }
    }

    async fn enter(&self, number: usize, report: &evidence::Report) -> Result<(), JobError> {
        let booking = self.stage.lessons[number].booking;
        evidence::apply(self.database(), booking, None, report, self.now()).await?;
        self.stage.heard(number, report);
        Ok(())
    }

    // People -------------------------------------------------------------------------------------------

    async fn join(&self, number: usize, side: Side) {
        let lesson = &self.stage.lessons[number];
        let (person, role, known_as) = match side {
            Side::Tutor => (self.tutor, Role::Tutor, TUTOR),
            Side::Learner | Side::Nobody | Side::Unclear => (lesson.client, Role::Payer, LEARNER),
        };
        let entered = Admission {
            classroom: Classroom::Lessonspace,
            room: &RoomId(format!("room-{}", lesson.booking)),
            address: "https://vendor.story/room",
            key: None,
            person,
            role,
            known_as: Some(known_as),
        };
        drop(
            rooms::entered(
                self.database(),
                lesson.booking,
                Uuid::new_v4(),
                &entered,
                self.now(),
            )
            .await,
        );
    }

    /// The lesson's session as the person sees it, if it has one by now.
    pub(super) async fn session(&self, number: usize, person: ProfileId) -> Option<StoredSession> {
        let sql = "SELECT id FROM sessions WHERE booking_id = $1";
        let booking = self.stage.lessons[number].booking.0;
        let id = self.owner.query_opt(sql, &[&booking]).await.unwrap()?.get(0);
        sessions::seen_by(self.database(), id, person).await.ok()?
    }

    /// As `mark-no-show` does it.
    async fn mark(&self, number: usize) {
        self.stage.say(number, Said::MarkTried);
        let marked = self.marked(number).await;
        self.stage.say(number, Said::MarkEnded);
        if let Some(at) = marked {
            self.stage.say(number, Said::Marked(at));
        }
    }

    async fn marked(&self, number: usize) -> Option<Timestamp> {
        let (stored, now) = (self.session(number, self.tutor).await?, self.now());
        if stored.facts.no_show_marked_at.is_none() {
            stored.session.allow_no_show(stored.status, now).ok()?;
            if contradicts_mark(&stored.session, &stored.facts, now) {
                return None;
            }
        }
        let by = json!({"by": "tutor", "person": self.tutor});
        sessions::mark_no_show(self.database(), &stored, &by, now)
            .await
            .ok()?
    }

    /// As `withdraw-no-show` does it.
    async fn withdraw(&self, number: usize) {
        self.stage.say(number, Said::WithdrawTried);
        let Some(stored) = self.session(number, self.tutor).await else {
            return;
        };
        let now = self.now();
        if stored.session.allow_withdrawal(stored.status, now).is_err() {
            return;
        }
        let by = json!({"by": "tutor", "person": self.tutor});
        if let Ok(true) = sessions::withdraw_no_show(self.database(), stored.id, &by, now).await {
            self.stage.say(number, Said::Withdrawn);
        }
    }

    /// As `cancel-session` does it.
    async fn cancel(&self, number: usize) {
        let client = self.stage.lessons[number].client;
        let Some(stored) = self.session(number, client).await else {
            return;
        };
        let (now, have_met) = (self.now(), have_met(&stored.session, &stored.facts));
        if stored.session.allow_cancel(stored.status, have_met, now).is_err() {
            return;
        }
        let facts = Facts {
            cancelled_at: Some(now),
            ..stored.facts.clone()
        };
        let by = json!({"by": "client", "person": client});
        if let Ok(Some(_)) = self.settling.conclude(&stored, &facts, &by).await {
            self.stage.say(number, Said::Cancelled);
        }
    }

    /// As `start-payment` does it; and then the client pays, at once, later, in vain or never.
    async fn pay(&self, number: usize, method: Method, random: &mut StdRng) {
        let (lesson, now) = (&self.stage.lessons[number], self.now());
        let is_mobile = method != Method::Card;
        let wish = Wish {
            person: lesson.client,
            method,
            up_to_minor: None,
            only_currency: is_mobile.then_some(fapshi::CURRENCY),
            least_minor: if is_mobile { fapshi::LEAST_MINOR } else { 1 },
        };
        let order = Order {
            booking: lesson.booking,
            wish,
            gateway: Gateway::of(method),
            phone: is_mobile.then_some(lesson.phone.as_str()),
            abandoned_before: now - SignedDuration::from_secs(60),
        };
        let id = PaymentId(self.ids.next());
        let Ok(Some(started)) = paying::start(self.database(), &order, id, now).await else {
            return;
        };
        let Some(begun) = &started.payment else { return };
        let name = match &begun.earlier {
            Some(earlier) => {
                if earlier.is_looking {
                    self.look(begun, method, &earlier.gateway_id, now).await;
                }
                earlier.gateway_id.clone()
            }
            None => match self.open(&started, begun, &order, now).await {
                Some(name) => name,
                None if method == Method::MobileMoney && random.random_range(0..2) == 0 => {
                    // It may have reached the phone all the same.
                    self.bill(Way::Phone(begun.id), random);
                    return;
                }
                None => return,
            },
        };
        let way = if is_mobile {
            Way::Transaction(name)
        } else {
            Way::Page(name)
        };
        self.bill(way, random);
    }

    fn bill(&self, way: Way, random: &mut StdRng) {
        let minutes = match random.random_range(0..100) {
            0..50 => 0,
            50..80 => random.random_range(1..180),
            80..92 => random.random_range(180..48 * 60),
            _ => return,
        };
        let pays = random.random_range(0..10) != 0;
        let at = self.now() + SignedDuration::from_mins(minutes);
        self.stage.expect(Bill { at, way, pays });
        if minutes == 0 {
            self.stage.clients_pay();
        }
    }

    /// Asks the gateway for what the client needs, and keeps it; the gateway's name for it once that is kept.
    async fn open(
        &self,
        started: &OrderOutcome,
        begun: &PaymentToMake,
        order: &Order<'_>,
        now: Timestamp,
    ) -> Option<String> {
        let opened = match self.ask_gateway(started, begun, order, now).await {
            Ok(opened) => opened,
            Err(VendorError::Permanent { .. }) => {
                let refused = Finding::Payment(begun.id, Outcome::Failed("refused".into()));
                let look = LookAtTab::draft(&self.ids, now);
                drop(books::enter(self.database(), &refused, &look, now).await);
                return None;
            }
            Err(_) => return None,
        };
        let kept = paying::opened(
            self.database(),
            begun.id,
            &opened.gateway_id,
            opened.link.as_deref(),
        )
        .await;
        kept.ok().map(|_| opened.gateway_id)
    }

    async fn ask_gateway(
        &self,
        started: &OrderOutcome,
        begun: &PaymentToMake,
        order: &Order<'_>,
        now: Timestamp,
    ) -> Result<Opened, VendorError> {
        let Gateways { stripe, fapshi } = &self.gateway.gateways;
        let return_to = "https://app.story/paid".parse().unwrap();
        match (order.wish.method, order.phone) {
            (Method::MobileMoney, Some(phone)) => {
                let phone = phone.parse().unwrap();
                fapshi.request(begun.id, begun.amount, &phone).await
            }
            (Method::MobileMoneyLink, _) => fapshi.open_link(begun.id, begun.amount, &return_to).await,
            _ => {
                let checkout = Checkout {
                    payment: begun.id,
                    amount: begun.amount,
                    customer: started.customer.as_deref(),
                    return_to: &return_to,
                    expires_at: now + SignedDuration::from_hours(1),
                };
                stripe.open_checkout(&checkout).await
            }
        }
    }

    /// What was handed out before is looked up before it is handed out again.
    async fn look(&self, begun: &PaymentToMake, method: Method, name: &str, now: Timestamp) {
        let Gateways { stripe, fapshi } = &self.gateway.gateways;
        let found = if method == Method::Card {
            stripe.checkout(name).await.ok()
        } else {
            let found = fapshi.find(begun.id).await.ok().flatten();
            found.map(|found| Finding::Payment(begun.id, found))
        };
        if let Some(found) = found {
            let look = LookAtTab::draft(&self.ids, now);
            drop(books::enter(self.database(), &found, &look, now).await);
        }
    }

    // The platform and its operators -------------------------------------------------------------------

    /// The platform writes into its own table, before the lesson's start, by whose clock that is.
    async fn write(&self, number: usize, sql: &str) {
        let booking = self.stage.lessons[number].booking.0;
        let sql = format!("UPDATE public.bookings SET {sql} WHERE id = $1 AND session_start_time > $2");
        drop(self.owner.execute(&sql, &[&booking, &self.now()]).await);
    }

    async fn call_off(&self, number: usize) {
        self.write(number, "status = 'cancelled'").await;
    }

    async fn move_it(&self, number: usize) {
        if let Some(start) = self.stage.lessons[number].moves_to {
            self.write(number, &format!("session_start_time = '{start}'"))
                .await;
        }
    }

    /// The platform confirms what it had called off, and an operator lets that count.
    async fn confirm_again(&self, number: usize) {
        self.write(number, "status = 'confirmed'").await;
        let booking = self.stage.lessons[number].booking.0;
        let sql = "SELECT accept_change(c.id, 'Olu', 'they made it up', $2) FROM booking_changes c
                   JOIN bookings b ON b.id = c.booking_id
                   WHERE b.id = $1 AND c.state = 'open' AND c.field = 'status' AND c.theirs = '\"confirmed\"'
                     AND b.session_start_time > $2";
        drop(self.owner.execute(sql, &[&booking, &self.now()]).await);
    }

    async fn operate(&self) {
        let sql = "SELECT retry_refund(r.id, 'Olu', 'the client called', $1)
                   FROM (SELECT id FROM refunds WHERE status IN ('failed', 'held') ORDER BY random() LIMIT 3) AS r";
        drop(self.owner.execute(sql, &[&self.now()]).await);
    }
}

/// How long somebody lives who dies young once in so many times: until about some statement of their work.
fn mortal(once_in: u32, random: &mut StdRng) -> Duration {
    if once_in > 0 && random.random_range(0..once_in) == 0 {
        Duration::from_micros(random.random_range(100..5_000))
    } else {
        Duration::from_mins(1)
    }
}

/// Everybody works at once on what waits, and nobody dies.
pub(super) async fn all_work(workers: &[Worker], seed: u64) {
    let (ready, _) = workers[0].stage.waiting();
    let share = ready.div_ceil(workers.len()).max(1);
    let all = workers.iter().zip(seed..).map(|(worker, seed)| async move {
        let mut random = StdRng::seed_from_u64(seed);
        worker.work(share, false, &mut random).await;
    });
    join_all(all).await;
}
