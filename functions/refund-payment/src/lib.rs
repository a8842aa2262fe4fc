//! Gives money back, once: whoever finds that the gateway may have been asked before asks what became of it
//! first. Source: product page, "Sessions and money".

use domain::gateway::{Finding, Refunded};
use domain::payment::may_be_under_way;
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::queue::Envelope;
use providers::error::VendorError;
use providers::fapshi;
use providers::gateways::Gateways;
use store::payments::{self, Due, GiveBack};

/// The function.
pub struct RefundPayment {
    /// Where tabs are.
    pub database: Database,
    /// Where the money is.
    pub gateways: Gateways,
    /// Ids of what is made.
    pub ids: Ids,
    /// What is due, and for how long.
    pub clock: Clock,
}

impl Job for RefundPayment {
    type Message = Envelope<GiveBack>;

    async fn run(&self, envelope: Envelope<GiveBack>) -> Result<(), JobError> {
        let (id, now) = (envelope.payload.refund_id, self.clock.now());
        invocation::note("refund_id", id);
        let Some(due) = payments::look_at_refund(&self.database, id, now).await? else {
            return Ok(());
        };
        let found = match due.asked_at {
            Some(_) => self.find(&due).await?,
            None => None,
        };
        let refunded = match found {
            Some(found) => found,
            None if due.asked_at.is_some_and(|at| may_be_under_way(at, now)) => {
                return Err(JobError::Transient("the refund may be under way"));
            }
            None => self.give_back(&due).await?,
        };
        tracing::info!(payment_id = %due.payment, ?refunded, "refund");
        payments::enter(&self.database, &Finding::Refund(id, refunded), &self.ids, now).await?;
        Ok(())
    }
}

impl RefundPayment {
    /// What became of a refund that the gateway may have been asked for.
    async fn find(&self, due: &Due) -> Result<Option<Refunded>, VendorError> {
        match (&due.intent, due.gateway.as_str()) {
            (_, fapshi::NAME) => self.gateways.fapshi.find_refund(due.id).await,
            (Some(intent), _) => self.gateways.stripe.find_refund(due.id, intent).await,
            (None, _) => Ok(None),
        }
    }

    async fn give_back(&self, due: &Due) -> Result<Refunded, JobError> {
        let answer = match (&due.intent, &due.phone, due.gateway.as_str()) {
            (_, None, fapshi::NAME) => return Ok(failed("no_phone")),
            (_, _, fapshi::NAME) if due.amount.minor() < fapshi::LEAST_MINOR => {
                return Ok(failed("below_minimum"));
            }
            (_, Some(phone), fapshi::NAME) => self.gateways.fapshi.pay_out(due.id, due.amount, phone).await,
            (Some(intent), _, _) => self.gateways.stripe.refund(due.id, intent, due.amount).await,
            (None, _, _) => return Ok(failed("unknown_at_gateway")),
        };
        match answer {
            Err(VendorError::Permanent { status }) => {
                tracing::error!(status, "the gateway refused a refund");
                Ok(failed("refused"))
            }
            answer => Ok(answer?),
        }
    }
}

/// For a person to look at.
fn failed(reason: &str) -> Refunded {
    Refunded::Failed {
        gateway_id: None,
        reason: reason.into(),
    }
}
