//! Gives money back, once: whoever finds that the gateway may have been asked before asks what became of it
//! first.
//!
//! Rules: [payment-written-first](../../../../shared/domain/RULES.md#payment-written-first),
//! [refund-retries](../../../../shared/domain/RULES.md#refund-retries),
//! [under-way](../../../../shared/domain/RULES.md#under-way).

use domain::charge::finding::{Finding, Refunded};
use domain::charge::gateway::Gateway;
use domain::charge::retry::may_be_under_way;
use jiff::Timestamp;
use jobs::messages::{GiveBack, LookAtTab};
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::outbound::VendorError;
use platform::queue::Envelope;
use providers::fapshi;
use providers::gateways::Gateways;
use store::charge::books::{self, Entered};
use store::charge::refunds::{self, PendingRefund};

/// Consumes `refunds`: one message is one refund that may be due.
pub struct RefundPayment {
    /// Holds the refunds, and the books that outcomes are entered in.
    pub database: Database,
    /// Stripe and Fapshi, which hold the money.
    pub gateways: Gateways,
    /// Makes the ids of ledger entries and follow-up jobs.
    pub ids: Ids,
    /// Tells what is due by now.
    pub clock: Clock,
}

impl Job for RefundPayment {
    type Message = Envelope<GiveBack>;

    async fn run(&self, envelope: Envelope<GiveBack>) -> Result<(), JobError> {
        let (id, now) = (envelope.payload.refund_id, self.clock.now());
        invocation::note("refund_id", id);

        let Some(due) = refunds::look_at(&self.database, id, envelope.id, now).await? else {
            return Ok(());
        };

        // Only a refund that was never asked for may be asked for without looking: a lost answer may have
        // been a yes.
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
                let look = LookAtTab::draft(&self.ids, now);
                return Ok(refunds::withdraw(&self.database, &due, &look, now).await?);
            }
            None => self.give_back(&due).await?,
        };

        tracing::info!(payment_id = %due.payment, ?answer, "refund");
        self.enter(&due, answer, now).await
    }
}

/// What became of a refund at its gateway.
#[derive(Debug)]
enum Answer {
    /// It was taken up, went back, or failed for good.
    Refunded(Refunded),
    /// Refused for a reason that may pass, such as an empty balance; it is tried again later.
    NotNow(&'static str),
}

impl RefundPayment {
    /// What became of a refund that the gateway may have been asked for.
    async fn find(&self, due: &PendingRefund) -> Result<Option<Refunded>, VendorError> {
        // Stripe lists refunds by their payment intent. Without an intent there is none that it could find.
        match (due.gateway, &due.intent) {
            (Gateway::Fapshi, _) => self.gateways.fapshi.find_refund(due.id).await,
            (Gateway::Stripe, Some(intent)) => self.gateways.stripe.find_refund(due.id, intent).await,
            (Gateway::Stripe, None) => Ok(None),
        }
    }

    async fn give_back(&self, due: &PendingRefund) -> Result<Answer, JobError> {
        let answer = match (due.gateway, &due.intent, &due.phone) {
            (Gateway::Fapshi, _, None) => return Ok(failed("no_phone")),
            (Gateway::Fapshi, ..) if due.amount.minor() < fapshi::LEAST_MINOR => {
                return Ok(failed("below_minimum"));
            }
            (Gateway::Fapshi, _, Some(phone)) => {
                self.gateways.fapshi.pay_out(due.id, due.amount, phone).await
            }
            (Gateway::Stripe, Some(intent), _) => {
                self.gateways.stripe.refund(due.id, intent, due.amount).await
            }
            (Gateway::Stripe, None, _) => return Ok(failed("unknown_at_gateway")),
        };

        Ok(match answer {
            Err(VendorError::Insufficient { .. }) => Answer::NotNow("balance_insufficient"),
            Err(VendorError::NotEnabled { .. }) => Answer::NotNow("not_enabled"),
            // Fapshi gives its reasons in words only, and not all of them stand for good.
            Err(VendorError::Permanent { .. }) if due.gateway == Gateway::Fapshi => Answer::NotNow("refused"),
            Err(VendorError::Permanent { status }) => {
                tracing::error!(status, "the gateway refused a refund");
                failed("refused")
            }
            answer => Answer::Refunded(answer?),
        })
    }

    async fn enter(&self, due: &PendingRefund, answer: Answer, now: Timestamp) -> Result<(), JobError> {
        match answer {
            Answer::Refunded(refunded) => {
                let finding = Finding::Refund(due.id, refunded);
                let look = LookAtTab::draft(&self.ids, now);
                let entered = books::enter(&self.database, &finding, &look, now).await?;
                if entered != Entered::Yes {
                    tracing::error!(?entered, "the gateway and the books disagree about a refund");
                    return Err(JobError::Permanent("the gateway and the books disagree"));
                }
            }
            Answer::NotNow(reason) => {
                let again = GiveBack::draft(&self.ids, now);
                refunds::refused(&self.database, due, reason, &again, now).await?;
            }
        }
        Ok(())
    }
}

/// A refund that failed for good: it stays owed, and an operator has to look at it.
fn failed(reason: &str) -> Answer {
    Answer::Refunded(Refunded::Failed {
        gateway_id: None,
        reason: reason.into(),
    })
}
