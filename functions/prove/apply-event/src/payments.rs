//! Events about money: ask the gateway where the payment, refund or dispute stands, then enter what it says.

use crate::{ApplyEvent, event, whole};
use domain::charge::finding::Finding;
use platform::batch::JobError;
use platform::queue::Envelope;
use providers::error::VendorError;
use providers::{fapshi, stripe};
use store::charge::books::{self, Entered};
use store::prove::inbox::{self, Event};

impl ApplyEvent {
    pub(crate) async fn stripe(&self, envelope: Envelope<stripe::Delivery>) -> Result<(), JobError> {
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

    pub(crate) async fn fapshi(&self, envelope: Envelope<fapshi::Delivery>) -> Result<(), JobError> {
        let whole = whole(&envelope)?;
        let notice = envelope.payload.notice();
        let notice = notice.ok_or(JobError::Permanent("not an event"))?;
        let id = notice.event_id();
        let event = event(fapshi::NAME, &id, &notice.status, None, &envelope, &whole);

        let found = self.gateways.fapshi.look_up(&notice).await;
        let found = found.map_err(vendor_error)?;

        // The webhook is not signed: one that names another payment than the gateway does is somebody's try.
        if notice.external_id.is_some() && notice.external_id != found.transaction.external_id {
            return self.park(&event, "the gateway names another payment").await;
        }

        if found.is_open() {
            return Err(JobError::Transient("the gateway does not say so yet"));
        }

        self.enter(&event, &found.finding()).await
    }

    async fn enter(&self, event: &Event<'_>, finding: &Finding) -> Result<(), JobError> {
        let now = self.clock.now();
        match books::enter_with(&self.database, finding, event, &self.ids, now).await? {
            Entered::Yes => {
                tracing::info!(kind = event.kind, "event applied");
                Ok(())
            }
            Entered::Unknown => {
                let attempts = inbox::attempts(&self.database, event).await?;
                self.wait(event, attempts, "no such payment").await
            }
            Entered::Disagrees => {
                self.park(event, "another amount or currency than was asked for")
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
