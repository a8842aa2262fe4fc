//! Applies what a gateway tells, which the door has verified. Whatever an event says, the gateway is asked where
//! the payment, refund or dispute stands, and that is entered into the books. May run any number of times for
//! the same event, in any order and side by side; the end state is the same.

use domain::charge::finding::Finding;
use domain::charge::gateway::Gateway;
use jobs::events::{Shelf, event, told_by, whole};
use jobs::messages::{GATEWAY_EVENTS, LookAtTab};
use platform::batch::{Job, JobError, Message};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbound::VendorError;
use platform::queue::Envelope;
use providers::gateways::Gateways;
use providers::{fapshi, stripe};
use serde::Deserialize;
use store::charge::books::{self, Entered};
use store::prove::inbox::{self, Event};

/// Consumes `gateway-events`: one message is one event of a gateway.
pub struct ApplyGatewayEvent {
    /// Holds the events and the books.
    pub database: Database,
    /// Stripe and Fapshi, which are asked about payments.
    pub gateways: Gateways,
    /// Makes the ids of messages.
    pub ids: Ids,
    /// Tells the time at which events are applied.
    pub clock: Clock,
}

/// A message of the queue, told apart by the `type` of its envelope.
pub enum Incoming {
    /// A webhook of Stripe.
    Stripe(Envelope<stripe::Delivery>),
    /// A webhook of Fapshi.
    Fapshi(Envelope<fapshi::Delivery>),
}

#[derive(Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: String,
}

impl Message for Incoming {
    fn read(body: &str) -> Result<Self, JobError> {
        // The type is read first, since each gateway's message has a payload of its own.
        let label: Label =
            serde_json::from_str(body).map_err(|_| JobError::Permanent("the body is not an envelope"))?;
        match told_by(&label.kind) {
            Some(Gateway::Stripe) => Message::read(body).map(Self::Stripe),
            Some(Gateway::Fapshi) => Message::read(body).map(Self::Fapshi),
            None => Err(JobError::Permanent("an event of an unknown gateway")),
        }
    }

    fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Stripe(envelope) => envelope.correlation_id(),
            Self::Fapshi(envelope) => envelope.correlation_id(),
        }
    }
}

impl Job for ApplyGatewayEvent {
    type Message = Incoming;

    async fn run(&self, incoming: Incoming) -> Result<(), JobError> {
        match incoming {
            Incoming::Stripe(envelope) => self.stripe(envelope).await,
            Incoming::Fapshi(envelope) => self.fapshi(envelope).await,
        }
    }
}

impl ApplyGatewayEvent {
    async fn stripe(&self, envelope: Envelope<stripe::Delivery>) -> Result<(), JobError> {
        let whole = whole(&envelope)?;
        let notice = envelope.payload.notice();
        let notice = notice.ok_or(JobError::Permanent("not an event"))?;
        let event = event(stripe::NAME, &notice.id, &notice.kind, None, &envelope, &whole);

        let finding = self
            .gateways
            .stripe
            .look_up(&notice.subject)
            .await
            .map_err(vendor_error)?;
        self.enter(&event, &finding).await
    }

    async fn fapshi(&self, envelope: Envelope<fapshi::Delivery>) -> Result<(), JobError> {
        let whole = whole(&envelope)?;
        let notice = envelope.payload.notice();
        let notice = notice.ok_or(JobError::Permanent("not an event"))?;
        let id = notice.event_id();
        let event = event(fapshi::NAME, &id, &notice.status, None, &envelope, &whole);

        let found = self.gateways.fapshi.look_up(&notice).await;
        let found = found.map_err(vendor_error)?;

        // The webhook is not signed: one that names another payment than the gateway does is somebody's try.
        if notice.external_id.is_some() && notice.external_id != found.transaction.external_id {
            return self
                .shelf()
                .park(&event, "the gateway names another payment")
                .await;
        }

        if found.is_open() {
            return Err(JobError::Transient("the gateway does not say so yet"));
        }

        self.enter(&event, &found.finding()).await
    }

    fn shelf(&self) -> Shelf<'_> {
        Shelf {
            database: &self.database,
            queue: GATEWAY_EVENTS,
            ids: &self.ids,
            now: self.clock.now(),
        }
    }

    async fn enter(&self, event: &Event<'_>, finding: &Finding) -> Result<(), JobError> {
        let now = self.clock.now();
        let look = LookAtTab::draft(&self.ids, now);
        match books::enter_with(&self.database, finding, event, &look, now).await? {
            Entered::Yes => {
                tracing::info!(kind = event.kind, "event applied");
                Ok(())
            }
            Entered::Unknown => {
                let attempts = inbox::attempts(&self.database, event).await?;
                self.shelf().wait(event, attempts, "no such payment").await
            }
            Entered::Disagrees => {
                self.shelf()
                    .park(event, "another amount or currency than was asked for")
                    .await
            }
        }
    }
}

/// A failed look-up. An event about something that its gateway does not have is set aside, since asking again
/// would not bring it.
fn vendor_error(error: VendorError) -> JobError {
    match error {
        VendorError::NotFound => JobError::Permanent("the gateway does not know it"),
        error => error.into(),
    }
}
