//! Takes the next step on a booking's tab: charge the card on file, decide a refund, or give up what is not
//! needed. May run any number of times for the same tab, side by side; the tab ends the same. Source: product
//! page, "Sessions and money".

use domain::gateway::{Card, Declined, Finding, Outcome};
use domain::ids::{BookingId, PaymentId};
use domain::money::{Money, MoneyError};
use domain::payment::{Advice, Ask, Collects, Next, Refund};
use jiff::{SignedDuration, Timestamp};
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::queue::Envelope;
use providers::error::VendorError;
use providers::gateways::{Gateways, least_minor};
use providers::stripe::{self, SavedCardCharge};
use store::payments::{self, Entered, Line, LookAtTab, Open, Settling};

/// What its gateway still does not know after so long was never given to anybody, and cannot be paid any more.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(25);

/// What a gateway is asked for again before long.
const UNDECIDED: JobError = JobError::Transient("the gateway has not decided yet");

/// The function.
pub struct CapturePayment {
    /// Where tabs are.
    pub database: Database,
    /// Where the money is.
    pub gateways: Gateways,
    /// Who collects what is charged.
    pub collects: Collects,
    /// Above so many minor units a refund to a phone that is not known to be the payer's waits for an operator.
    pub review_above_minor: i64,
    /// Ids of what is made.
    pub ids: Ids,
    /// What is due, and for how long.
    pub clock: Clock,
}

impl Job for CapturePayment {
    type Message = Envelope<LookAtTab>;

    async fn run(&self, envelope: Envelope<LookAtTab>) -> Result<(), JobError> {
        let booking = envelope.payload.booking_id;
        invocation::note("booking_id", booking);
        let now = self.clock.now();
        let Some(mut open) = payments::look_at_tab(&self.database, booking, now).await? else {
            return Err(JobError::Permanent(
                "there is no such booking, or it has no price",
            ));
        };
        let mut next = open.tab.next(false, now).map_err(incalculable)?;
        if let Next::LookUp(unclear) = &next {
            if self.look_up(&open, unclear, now).await? {
                open = payments::look_at_tab(&self.database, booking, now)
                    .await?
                    .ok_or(JobError::Transient("the booking is gone"))?;
            }
            next = open.tab.next(true, now).map_err(incalculable)?;
        }
        self.take(booking, &open, next, now).await
    }
}

impl CapturePayment {
    async fn take(
        &self,
        booking: BookingId,
        open: &Open,
        next: Next,
        now: Timestamp,
    ) -> Result<(), JobError> {
        match next {
            Next::Rest => Ok(()),
            Next::Wait | Next::LookUp(_) => Err(JobError::Transient("a payment is under way")),
            Next::Withdraw => {
                tracing::info!("refunds withdrawn");
                Ok(payments::withdraw_unasked(&self.database, booking, open, &self.ids, now).await?)
            }
            Next::Settle(given_up, refund) => {
                self.settle(booking, open, &given_up, refund.as_ref(), now).await
            }
            Next::Collect(_) | Next::AskClient(_) if self.collects == Collects::Platform => Ok(()),
            Next::Collect(amount) => self.collect(open, amount, now).await,
            Next::AskClient(ask) => self.ask_client(open, ask, now).await,
        }
    }

    async fn settle(
        &self,
        booking: BookingId,
        open: &Open,
        given_up: &[PaymentId],
        refund: Option<&Refund>,
        now: Timestamp,
    ) -> Result<(), JobError> {
        let settling = Settling {
            booking,
            open,
            given_up,
            refund,
            review_above_minor: self.review_above_minor,
        };
        // If another refund was decided meanwhile, that statement also asked for the next look at this tab.
        let is_first = payments::settle(&self.database, settling, &self.ids, now).await?;
        let has_refund = refund.is_some();
        tracing::info!(is_first, given_up = given_up.len(), has_refund, "tab settled");
        Ok(())
    }

    async fn collect(&self, open: &Open, amount: Money, now: Timestamp) -> Result<(), JobError> {
        let (line, card) = collection(open)?;
        let card = card.ok_or(JobError::Transient("the card is gone"))?;
        // It stays on the client's account: no card can pay it, so nobody is asked to.
        if amount.minor() < least_minor(stripe::NAME, amount.currency()) {
            return self
                .enter(line.id, refused(line.attempt, "amount_too_small"), now)
                .await;
        }
        // What the gateway is asked for, and of whom, is what is written down: there it is looked up.
        let is_of_this_card = line.customer.as_deref() == Some(card.customer.as_str());
        let is_written_down = line.is_written_down && line.amount == amount && is_of_this_card;
        let may_ask = is_written_down || payments::ask_for(&self.database, line, card, amount, now).await?;
        if !may_ask {
            return Err(JobError::Transient("somebody else collects"));
        }
        let charge = SavedCardCharge {
            payment: line.id,
            attempt: line.attempt,
            amount,
            customer: &card.customer,
            card: &card.card,
        };
        let outcome = match self.gateways.stripe.charge(&charge).await {
            Err(VendorError::Permanent { status }) => {
                // Not the card, but what we asked: too small an amount, a currency, a card that is no more.
                tracing::error!(status, "the gateway refused the request");
                refused(line.attempt, "refused")
            }
            outcome => outcome?,
        };
        if outcome == Outcome::Open {
            return Err(UNDECIDED);
        }
        self.enter(line.id, outcome, now).await
    }

    async fn ask_client(&self, open: &Open, ask: Ask, now: Timestamp) -> Result<(), JobError> {
        let (line, _) = collection(open)?;
        self.enter(line.id, refused(line.attempt, ask.word()), now).await
    }

    /// Learns from the gateways what became of payments; tells whether any of them moved.
    async fn look_up(&self, open: &Open, unclear: &[PaymentId], now: Timestamp) -> Result<bool, JobError> {
        let mut moved = false;
        for line in open.lines.iter().filter(|line| unclear.contains(&line.id)) {
            match self.find(line, open.card.as_ref(), now).await? {
                // It may still take the money: nothing is charged beside it, and it is not given up.
                Some(Outcome::Open) if line.collects => return Err(UNDECIDED),
                None | Some(Outcome::Open) => {}
                Some(outcome) => {
                    self.enter(line.id, outcome, now).await?;
                    moved = true;
                }
            }
        }
        Ok(moved)
    }

    async fn find(
        &self,
        line: &Line,
        card: Option<&Card>,
        now: Timestamp,
    ) -> Result<Option<Outcome>, VendorError> {
        if line.collects {
            return self.find_charge(line, card).await;
        }
        let name = line.gateway_id.as_deref();
        let found = self.gateways.find(&line.gateway, line.id, name).await?;
        let is_old = now.duration_since(line.created_at) > UNKNOWN_FOR;
        Ok(found.or(is_old.then_some(Outcome::Expired)))
    }

    /// Under the client's record at the gateway for which it was asked, and under the one that they have now.
    async fn find_charge(&self, line: &Line, card: Option<&Card>) -> Result<Option<Outcome>, VendorError> {
        let asked = line.customer.as_deref();
        let current = card.map(|card| card.customer.as_str());
        for customer in asked.into_iter().chain(current.filter(|now| asked != Some(*now))) {
            let stripe = &self.gateways.stripe;
            let found = stripe
                .find_charge(customer, line.id, line.attempt, line.created_at)
                .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn enter(&self, payment: PaymentId, outcome: Outcome, now: Timestamp) -> Result<(), JobError> {
        let finding = Finding::Payment(payment, outcome);
        match payments::enter(&self.database, &finding, &self.ids, now).await? {
            Entered::Yes => Ok(()),
            Entered::Unknown | Entered::Disagrees => {
                tracing::error!(payment_id = %payment, "the gateway took another amount than was asked for");
                Err(JobError::Permanent("the gateway and the books disagree"))
            }
        }
    }
}

/// The collection of the charge that counts, and the card to collect it from.
fn collection(open: &Open) -> Result<(&Line, Option<&Card>), JobError> {
    let collection = open.collection();
    let (_, line) = collection.ok_or(JobError::Permanent("the charge has no collection"))?;
    invocation::note("payment_id", line.id);
    Ok((line, open.card.as_ref()))
}

fn refused(attempt: i32, reason: &str) -> Outcome {
    Outcome::Declined(Declined {
        attempt,
        reason: reason.into(),
        advice: Advice::AskClient,
    })
}

fn incalculable(error: MoneyError) -> JobError {
    tracing::error!(%error, "a tab does not add up");
    JobError::Permanent("a tab does not add up")
}
