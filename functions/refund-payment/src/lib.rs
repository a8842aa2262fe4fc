//! Gives money back, once: whoever finds that the gateway may have been asked before asks what became of it
//! first. Source: product page, "Sessions and money".

use domain::gateway::{Finding, Refunded};
use domain::payment::may_be_under_way;
use jiff::Timestamp;
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::queue::Envelope;
use providers::error::VendorError;
use providers::fapshi;
use providers::gateways::Gateways;
use store::payments::{self, Due, Entered, GiveBack};

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
        let answer = match found {
            Some(found) => Answer::Refunded(found),
            // The gateway has taken it: it is looked up again, and never asked for again.
            None if due.is_pending => return Ok(()),
            None if due.asked_at.is_some_and(|at| may_be_under_way(at, now)) => {
                return Err(JobError::Transient("the refund may be under way"));
            }
            None if !due.is_due => {
                tracing::info!(payment_id = %due.payment, "refund withdrawn");
                return Ok(payments::withdraw(&self.database, &due, &self.ids, now).await?);
            }
            None => self.give_back(&due).await?,
        };
        tracing::info!(payment_id = %due.payment, ?answer, "refund");
        self.enter(&due, answer, now).await
    }
}

/// What a gateway says to a refund.
#[derive(Debug)]
enum Answer {
    /// What became of it.
    Refunded(Refunded),
    /// Refused, for now.
    NotNow(&'static str),
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

    async fn give_back(&self, due: &Due) -> Result<Answer, JobError> {
        let answer = match (&due.intent, &due.phone, due.gateway.as_str()) {
            (_, None, fapshi::NAME) => return Ok(failed("no_phone")),
            (_, _, fapshi::NAME) if due.amount.minor() < fapshi::LEAST_MINOR => {
                return Ok(failed("below_minimum"));
            }
            (_, Some(phone), fapshi::NAME) => self.gateways.fapshi.pay_out(due.id, due.amount, phone).await,
            (Some(intent), _, _) => self.gateways.stripe.refund(due.id, intent, due.amount).await,
            (None, _, _) => return Ok(failed("unknown_at_gateway")),
        };
        Ok(match answer {
            Err(VendorError::Insufficient { .. }) => Answer::NotNow("balance_insufficient"),
            Err(VendorError::NotEnabled { .. }) => Answer::NotNow("not_enabled"),
            // Fapshi gives its reasons in words only, and not all of them stand for good.
            Err(VendorError::Permanent { .. }) if due.gateway == fapshi::NAME => Answer::NotNow("refused"),
            Err(VendorError::Permanent { status }) => {
                tracing::error!(status, "the gateway refused a refund");
                failed("refused")
            }
            answer => Answer::Refunded(answer?),
        })
    }

    async fn enter(&self, due: &Due, answer: Answer, now: Timestamp) -> Result<(), JobError> {
        match answer {
            Answer::Refunded(refunded) => {
                let finding = Finding::Refund(due.id, refunded);
                let entered = payments::enter(&self.database, &finding, &self.ids, now).await?;
                if entered != Entered::Yes {
                    tracing::error!(?entered, "the gateway and the books disagree about a refund");
                    return Err(JobError::Permanent("the gateway and the books disagree"));
                }
            }
            Answer::NotNow(reason) => {
                payments::refused(&self.database, due, reason, &self.ids, now).await?;
            }
        }
        Ok(())
    }
}

/// For a person to look at.
fn failed(reason: &str) -> Answer {
    Answer::Refunded(Refunded::Failed {
        gateway_id: None,
        reason: reason.into(),
    })
}
