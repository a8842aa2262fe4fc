//! Somebody who does what people do on the platform's pages, as the functions' handlers do it for them, and who works
//! on messages with the consumers' own code.

use crate::script::{Ahead, Lesson, Person, Script, Side, Step, Told};
use crate::stage::{Counts, Message, Pays, Stage};
use apply_classroom_event::ApplyClassroomEvent;
use apply_gateway_event::ApplyGatewayEvent;
use domain::charge::finding::{Finding, Opened, Outcome};
use domain::charge::gateway::Gateway;
use domain::charge::order::Wish;
use domain::charge::payment::{Collects, Method};
use domain::charge::settlement::contradicts_mark;
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::launch::classroom::Classroom;
use domain::launch::window::JoinPolicy;
use jiff::{SignedDuration, Timestamp};
use jobs::messages::LookAtTab;
use platform::batch::{Job, JobError, Message as Readable};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbound::VendorError;
use providers::classrooms::Visitor;
use providers::fapshi;
use providers::gateways::Gateways;
use providers::lessonspace::{Lessonspace, LessonspaceConfig, RoomRequest};
use providers::stripe::Checkout;
use refund_payment::RefundPayment;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use step_tab::StepTab;
use store::charge::books;
use store::charge::paying::{self, Order, OrderOutcome, PaymentToMake};
use store::charge::sessions;
use store::launch::rooms::{self, Admission};
use tokio_postgres::Client;
use url::Url;
use uuid::Uuid;

/// What could not be begun is tried again so much later.
const TRIES_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// Whoever began a payment and got no further within this time has died, as `start-payment` has it.
const BEGINNING_LASTS: SignedDuration = SignedDuration::from_secs(60);

/// What is to be done next about a lesson, and when.
pub(crate) type Next = Option<(Timestamp, Step)>;

/// What has been opened for lessons that are not over: rooms, and pages to pay on.
#[derive(Default)]
pub(crate) struct Open {
    rooms: Mutex<HashMap<usize, String>>,
    pages: Mutex<HashMap<usize, String>>,
}

impl Open {
    fn room(&self, lesson: usize) -> Option<String> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get(&lesson).cloned()
    }

    fn opened(&self, lesson: usize, room: String) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.insert(lesson, room);
    }

    fn closed(&self, lesson: usize) -> Option<String> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.remove(&lesson)
    }

    fn keep_page(&self, lesson: usize, page: String) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(lesson, page);
    }

    fn page(&self, lesson: usize) -> Option<String> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.remove(&lesson)
    }
}

pub(crate) struct Worker {
    stage: Arc<Stage>,
    script: Arc<Script>,
    open: Arc<Open>,
    database: Database,
    platform: Client,
    lessonspace: Lessonspace,
    capture: StepTab,
    refund: RefundPayment,
    classroom: ApplyClassroomEvent,
    gateway: ApplyGatewayEvent,
    webhook: Url,
    return_to: Url,
    ids: Ids,
}

#[derive(Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: String,
}

impl Worker {
    /// One with connections of their own, as the functions' role.
    pub(crate) fn hire(
        url: &str,
        platform: Client,
        stage: &Arc<Stage>,
        script: &Arc<Script>,
        open: &Arc<Open>,
    ) -> Self {
        let (clock, ids) = (stage.clock.clone(), || Ids::random(stage.clock.clone()));
        let mut env = stage.environment();
        let room_secret = env.secret("LESSONSPACE_SECRET").expect("a secret");
        let mut gateways = || Gateways::from_env(&mut env).expect("settings of gateways");
        let capture = StepTab {
            database: Database::at(url),
            gateways: gateways(),
            collects: Collects::Firstbell,
            review_above_minor: i64::MAX,
            ids: ids(),
            clock: clock.clone(),
        };
        let refund = RefundPayment {
            database: Database::at(url),
            gateways: gateways(),
            ids: ids(),
            clock: clock.clone(),
        };
        let gateways = gateways();
        let mut classroom =
            || Lessonspace::new(LessonspaceConfig::from_env(&mut env).expect("settings of Lessonspace"));
        let (lessonspace, asked) = (classroom(), classroom());
        Self {
            classroom: ApplyClassroomEvent {
                database: Database::at(url),
                lessonspace: asked,
                livekit: None,
                pencilspaces: None,
                room_secret,
                ids: ids(),
                clock: clock.clone(),
            },
            gateway: ApplyGatewayEvent {
                database: Database::at(url),
                gateways,
                ids: ids(),
                clock,
            },
            capture,
            refund,
            lessonspace,
            database: Database::at(url),
            platform,
            webhook: "https://month.invalid/hook".parse().expect("a URL"),
            return_to: "https://month.invalid/paid".parse().expect("a URL"),
            ids: ids(),
            stage: Arc::clone(stage),
            script: Arc::clone(script),
            open: Arc::clone(open),
        }
    }

    fn clock(&self) -> &Clock {
        &self.stage.clock
    }

    /// Does one thing; what is to be done about the lesson next, if this leads to something.
    pub(crate) async fn act(&self, n: usize, step: Step) -> Next {
        let lesson = self.script.lessons.get(n)?;
        let person = self.script.people.get(lesson.person)?;
        match step {
            Step::Order | Step::PayMissing => self.order(n, lesson, person, step).await,
            Step::Pay => self.pay(n, lesson, person),
            Step::Join(side) => self.join(n, lesson, person, side).await,
            Step::ComeBack(side) => self.enter(n, lesson, person, side),
            Step::Leave(side) => self.leave(n, lesson, person, side),
            Step::Mark => self.mark(lesson, person).await,
            Step::Close => self.close(n, lesson),
            Step::Book | Step::Move | Step::Cancel | Step::Delete | Step::CancelTooLate | Step::Complete => {
                None
            }
        }
    }

    // The classroom -----------------------------------------------------------------------------------------

    /// As `launch` does it: claim or find the room, have the vendor launch, save who was given a way in.
    async fn join(&self, n: usize, lesson: &Lesson, person: &Person, side: Side) -> Next {
        let launched = self.launch(lesson, person, side).await;
        let Some(room) = launched else {
            return Some((
                self.clock().now() + SignedDuration::from_mins(1),
                Step::Join(side),
            ));
        };
        Counts::one(&self.stage.counts.launches);
        self.open.opened(n, room);
        self.enter(n, lesson, person, side)
    }

    async fn launch(&self, lesson: &Lesson, person: &Person, side: Side) -> Option<String> {
        let (booking, profile) = (BookingId(lesson.id), ProfileId(who(person, side)));
        let (claim, now, policy) = (self.ids.next(), self.clock().now(), JoinPolicy::default());
        let opening = (claim, Classroom::Lessonspace);
        let entrance = rooms::enter(&self.database, booking, profile, policy, opening, now).await;
        let entrance = entrance.ok()??;
        let role = entrance.booking.admit(entrance.role, policy, now).ok()?;
        if !entrance.is_claimed && entrance.booking.classroom.is_none() {
            return None;
        }

        let room = RoomRequest {
            booking,
            window: entrance.booking.window(policy)?,
            record: entrance.recording_consent,
            webhook: &self.webhook,
        };
        let visitor = Visitor {
            profile,
            name: &entrance.name,
            role,
            account: None,
        };
        let launched = self.lessonspace.launch(&room, &visitor).await.ok()?;
        let address = launched.room_url();
        let entered = Admission {
            classroom: Classroom::Lessonspace,
            room: &launched.room,
            address: address.as_str(),
            key: None,
            person: profile,
            role,
            known_as: launched.user.as_deref(),
        };
        let is_kept = rooms::entered(&self.database, booking, claim, &entered, now)
            .await
            .ok()?;
        is_kept.then_some(launched.room.0)
    }

    fn enter(&self, n: usize, lesson: &Lesson, person: &Person, side: Side) -> Next {
        let room = self.open.room(n)?;
        let told = self
            .stage
            .lessonspace
            .enter(&room, &who(person, side).to_string(), self.clock().now());
        self.tell(lesson, &told);
        None
    }

    fn leave(&self, n: usize, lesson: &Lesson, person: &Person, side: Side) -> Next {
        let room = self.open.room(n)?;
        let told = self
            .stage
            .lessonspace
            .leave(&room, &who(person, side).to_string(), self.clock().now());
        self.tell(lesson, &told);
        None
    }

    /// The vendor ends the session half a minute after the last one left.
    fn close(&self, n: usize, lesson: &Lesson) -> Next {
        let room = self.open.closed(n)?;
        let at = self.clock().now() - SignedDuration::from_secs(30);
        let told = self.stage.lessonspace.end(&room, at);
        self.tell(lesson, &told);
        None
    }

    /// Of what the vendor has to say as much as it is to say of this lesson.
    fn tell(&self, lesson: &Lesson, webhooks: &[simulators::lessonspace::Webhook]) {
        let is_told = |webhook: &&simulators::lessonspace::Webhook| {
            let mut headers = webhook.headers.iter();
            let event = headers.find(|(name, _)| *name == "x-webhook-event");
            let says = |words: &[&str]| {
                event.is_some_and(|(_, event)| words.iter().any(|word| event.ends_with(word)))
            };
            match lesson.told {
                Told::All => true,
                Told::Ends => says(&["session.end"]),
                Told::Beginnings => says(&["session.start", "user.join"]),
            }
        };
        let told: Vec<_> = webhooks.iter().filter(is_told).cloned().collect();
        self.stage.tell(lesson.id, &told);
    }

    /// As `mark-no-show` does it. What is refused is asked again a minute later.
    async fn mark(&self, lesson: &Lesson, person: &Person) -> Next {
        let now = self.clock().now();
        if now > lesson.ends_at() {
            return None;
        }
        let find = "SELECT id FROM sessions WHERE booking_id = $1";
        let found = self
            .platform
            .query_opt(find, &[&lesson.id])
            .await
            .expect("sessions");
        let id: Uuid = found.map(|row| row.get(0))?;
        let stored = sessions::seen_by(&self.database, id, ProfileId(person.tutor)).await;
        let allowed = stored.ok().flatten().filter(|stored| {
            stored.session.allow_no_show(stored.status, now).is_ok()
                && !contradicts_mark(&stored.session, &stored.facts, now)
        });
        let Some(stored) = allowed else {
            return Some((now + SignedDuration::from_mins(1), Step::Mark));
        };
        let by = json!({"by": "tutor", "person": person.tutor});
        match sessions::mark_no_show(&self.database, &stored, &by, now).await {
            Ok(Some(_)) => {
                Counts::one(&self.stage.counts.marks);
                None
            }
            _ => Some((now + SignedDuration::from_mins(1), Step::Mark)),
        }
    }

    // Paying --------------------------------------------------------------------------------------------------

    /// As `start-payment` does it: write the payment down, have the gateway open it, keep what it gave. The client
    /// then uses it, a little later. `PayMissing` is a client who was told that something is missing.
    async fn order(&self, n: usize, lesson: &Lesson, person: &Person, step: Step) -> Next {
        let method = method(lesson, person, step);
        let now = self.clock().now();
        let again = Some((now + TRIES_AGAIN_AFTER, step));
        let is_mobile = person.pays == Pays::MobileMoney;
        let wish = Wish {
            person: ProfileId(person.id),
            method,
            up_to_minor: (method == Method::CardOnFile).then_some(person.price),
            only_currency: is_mobile.then_some(fapshi::CURRENCY),
            least_minor: if is_mobile { fapshi::LEAST_MINOR } else { 1 },
        };
        let order = Order {
            booking: BookingId(lesson.id),
            wish,
            gateway: Gateway::of(method),
            phone: is_mobile.then_some(person.phone.as_str()),
            abandoned_before: now - BEGINNING_LASTS,
        };
        let id = PaymentId(self.ids.next());
        let Ok(Some(started)) = paying::start(&self.database, &order, id, now).await else {
            return again;
        };
        let Some(begun) = &started.payment else {
            let is_paid = started.payable.missing.is_none_or(|missing| missing.minor() <= 0);
            let is_over = started.payable.is_off || (is_paid && method != Method::CardOnFile);
            return if is_over { None } else { again };
        };

        let page = match &begun.earlier {
            Some(earlier) => earlier.gateway_id.clone(),
            None => match self.open_page(begun, &order, &started, now).await {
                Some(page) => page,
                None => return again,
            },
        };
        Counts::one(&self.stage.counts.orders);
        let is_abandoned = step == Step::Order && lesson.ahead == Ahead::Orders;
        self.open.keep_page(n, page);
        (!is_abandoned).then(|| {
            (
                now + SignedDuration::from_mins(1 + i64::from(self.stage.draw(4))),
                Step::Pay,
            )
        })
    }

    async fn open_page(
        &self,
        begun: &PaymentToMake,
        order: &Order<'_>,
        started: &OrderOutcome,
        now: Timestamp,
    ) -> Option<String> {
        let opened = match self.ask(begun, order, started, now).await {
            Ok(opened) => opened,
            Err(VendorError::Permanent { .. }) => {
                let refused = Finding::Payment(begun.id, Outcome::Failed("refused".into()));
                let look = LookAtTab::draft(&self.ids, now);
                let _ = books::enter(&self.database, &refused, &look, now).await;
                return None;
            }
            Err(_) => return None,
        };
        let link = opened.link.as_deref();
        let kept = paying::opened(&self.database, begun.id, &opened.gateway_id, link).await;
        kept.ok().map(|_| opened.gateway_id)
    }

    async fn ask(
        &self,
        begun: &PaymentToMake,
        order: &Order<'_>,
        started: &OrderOutcome,
        now: Timestamp,
    ) -> Result<Opened, VendorError> {
        let gateways = &self.capture.gateways;
        match (order.wish.method, order.phone) {
            (Method::MobileMoney, Some(phone)) => {
                let phone = phone.parse().map_err(|_| VendorError::NotFound)?;
                gateways.fapshi.request(begun.id, begun.amount, &phone).await
            }
            (Method::MobileMoneyLink, _) => {
                gateways
                    .fapshi
                    .open_link(begun.id, begun.amount, &self.return_to)
                    .await
            }
            (method, _) => {
                let checkout = Checkout {
                    payment: begun.id,
                    amount: begun.amount,
                    customer: started.customer.as_deref(),
                    return_to: &self.return_to,
                    expires_at: now + method.lives(),
                };
                gateways.stripe.open_checkout(&checkout).await
            }
        }
    }

    /// The client pays on the page, or on the phone; not everybody has the money there at the first try.
    fn pay(&self, n: usize, lesson: &Lesson, person: &Person) -> Next {
        let page = self.open.page(n)?;
        let is_done = if person.pays == Pays::MobileMoney {
            let is_early = self.clock().now() < lesson.booked_at + SignedDuration::from_mins(30);
            let status = if lesson.ahead == Ahead::PaysAtSecondTry && is_early {
                "FAILED"
            } else {
                "SUCCESSFUL"
            };
            self.stage.fapshi.end(&page, status).is_some()
        } else {
            self.stage.stripe.close_checkout(&page, true).is_some()
        };
        // What is closed by now cannot be used: they order again, if anything is missing.
        (!is_done).then(|| (self.clock().now() + TRIES_AGAIN_AFTER, Step::PayMissing))
    }

    // Messages ------------------------------------------------------------------------------------------------

    /// Works on a message; what fails comes again.
    pub(crate) async fn work(&self, message: Message) {
        match self.consume(&message.body).await {
            Ok(()) => {}
            Err(JobError::Transient(reason)) => self.stage.put_off(message, reason),
            Err(JobError::Permanent(reason)) => self.stage.set_aside(&message, reason),
        }
    }

    async fn consume(&self, body: &str) -> Result<(), JobError> {
        let label: Label =
            serde_json::from_str(body).map_err(|_| JobError::Permanent("the body is not an envelope"))?;
        match label.kind.as_str() {
            "look_at_tab" => self.capture.run(Readable::read(body)?).await,
            "give_back" => self.refund.run(Readable::read(body)?).await,
            "stripe_event" | "fapshi_event" => self.gateway.run(Readable::read(body)?).await,
            _ => self.classroom.run(Readable::read(body)?).await,
        }
    }
}

fn who(person: &Person, side: Side) -> Uuid {
    match side {
        Side::Tutor => person.tutor,
        Side::Learner => person.id,
    }
}

/// How a client pays now. By phone every other lesson is paid by a link.
fn method(lesson: &Lesson, person: &Person, step: Step) -> Method {
    match (person.pays, step) {
        (Pays::CardOnFile, Step::Order) => Method::CardOnFile,
        (Pays::CardOnFile | Pays::CardAhead, _) => Method::Card,
        (Pays::MobileMoney, _) if lesson.id.as_bytes().last().is_some_and(|byte| byte % 2 == 0) => {
            Method::MobileMoneyLink
        }
        (Pays::MobileMoney, _) => Method::MobileMoney,
    }
}
