//! Takes the next step on a booking's tab: charge the card on file, decide a refund, or give up what is not
//! needed. May run any number of times for the same tab, side by side; the tab ends the same.
//!
//! Rules: [tab-next](../../../../shared/domain/RULES.md#tab-next),
//! [collection-once](../../../../shared/domain/RULES.md#collection-once),
//! [refund-review](../../../../shared/domain/RULES.md#refund-review).

use domain::charge::finding::{Card, Declined, Finding, Outcome};
use domain::charge::gateway::Gateway;
use domain::charge::payment::Collects;
use domain::charge::retry::Advice;
use domain::charge::tab::{Ask, Next, Refund};
use domain::ids::{BookingId, PaymentId, RefundId};
use domain::money::{Money, MoneyError};
use jiff::{SignedDuration, Timestamp};
use jobs::messages::{GiveBack, LookAtTab};
use platform::batch::{Job, JobError};
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::invocation;
use platform::outbound::VendorError;
use platform::queue::Envelope;
use providers::gateways::{Gateways, least_minor};
use providers::stripe::SavedCardCharge;
use store::charge::books::{self, Entered};
use store::charge::tab::{self, Closing, GatewayPayment, LoadedTab};

/// How long a gateway may not know a payment before it counts as expired. Every page or request has run out
/// by then, so nobody can pay it any more.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(25);

/// The gateway still works on the payment: the job is tried again before long.
const UNDECIDED: JobError = JobError::Transient("the gateway has not decided yet");

/// Consumes `payments`: one message is one look at one booking's tab.
pub struct StepTab {
    /// Holds the tabs, and the books that outcomes are entered in.
    pub database: Database,
    /// Stripe and Fapshi, which hold the money.
    pub gateways: Gateways,
    /// Whether we collect what is charged, or the platform does; then nothing is charged here.
    pub collects: Collects,
    /// Minor units. A larger refund waits for an operator if its phone is not known to be the payer's.
    pub review_above_minor: i64,
    /// Makes the ids of refunds and ledger entries.
    pub ids: Ids,
    /// Tells what is due by now.
    pub clock: Clock,
}

impl Job for StepTab {
    type Message = Envelope<LookAtTab>;

    async fn run(&self, envelope: Envelope<LookAtTab>) -> Result<(), JobError> {
        let (booking, message) = (envelope.payload.booking_id, envelope.id);
        invocation::note("booking_id", booking);
        let now = self.clock.now();

        let Some(mut loaded) = tab::look_at_tab(&self.database, booking, message, now).await? else {
            return Err(JobError::Permanent(
                "there is no such booking, or it has no price",
            ));
        };

        let mut next = loaded.tab.next(false, now).map_err(incalculable)?;

        // What is unclear is looked up once. The second `next` is told so (`true`), and cannot ask for
        // another look-up.
        if let Next::LookUp(unclear) = &next {
            if self.look_up(&loaded, unclear, now).await? {
                loaded = tab::look_at_tab(&self.database, booking, message, now)
                    .await?
                    .ok_or(JobError::Transient("the booking is gone"))?;
            }
            next = loaded.tab.next(true, now).map_err(incalculable)?;
        }

        self.take(booking, &loaded, next, now).await
    }
}

impl StepTab {
    async fn take(
        &self,
        booking: BookingId,
        loaded: &LoadedTab,
        next: Next,
        now: Timestamp,
    ) -> Result<(), JobError> {
        match next {
            Next::Rest => Ok(()),
            Next::Wait | Next::LookUp(_) => Err(JobError::Transient("a payment is under way")),
            Next::Withdraw => {
                tracing::info!("refunds withdrawn");
                let look = LookAtTab::draft(&self.ids, now);
                Ok(tab::withdraw_unasked(&self.database, booking, loaded, &look, now).await?)
            }
            Next::Close(given_up, refund) => {
                self.close(booking, loaded, &given_up, refund.as_ref(), now).await
            }
            // The tab is kept for a platform that collects, but nobody is charged or asked by us.
            Next::Collect(_) | Next::AskClient(_) if self.collects == Collects::Platform => Ok(()),
            Next::Collect(amount) => self.collect(loaded, amount, now).await,
            Next::AskClient(ask) => self.ask_client(loaded, ask, now).await,
        }
    }

    async fn close(
        &self,
        booking: BookingId,
        loaded: &LoadedTab,
        given_up: &[PaymentId],
        refund: Option<&Refund>,
        now: Timestamp,
    ) -> Result<(), JobError> {
        let closing = Closing {
            booking,
            loaded,
            given_up,
            refund: refund.map(|refund| (RefundId(self.ids.next()), refund)),
            review_above_minor: self.review_above_minor,
        };

        // If another refund was decided meanwhile, that statement also asked for the next look at this tab.
        let (give_back, look) = (GiveBack::draft(&self.ids, now), LookAtTab::draft(&self.ids, now));
        let is_first = tab::close(&self.database, closing, &give_back, &look, now).await?;
        let has_refund = refund.is_some();
        tracing::info!(is_first, given_up = given_up.len(), has_refund, "tab closed");
        Ok(())
    }

    async fn collect(&self, loaded: &LoadedTab, amount: Money, now: Timestamp) -> Result<(), JobError> {
        let (line, card) = collection(loaded)?;
        let card = card.ok_or(JobError::Transient("the card is gone"))?;

        // It stays on the client's account: no card can pay it, so nobody is asked to.
        if amount.minor() < least_minor(Gateway::OF_CARDS, amount.currency()) {
            return self
                .enter(line.id, refused(line.attempt, "amount_too_small"), now)
                .await;
        }

        // What the gateway is asked for, and of whom, is what is written down: there it is looked up.
        let is_of_this_card = line.customer.as_deref() == Some(card.customer.as_str());
        let is_written_down = line.is_written_down && line.amount == amount && is_of_this_card;
        let may_ask = is_written_down || tab::ask_for(&self.database, line, card, amount, now).await?;
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

    async fn ask_client(&self, loaded: &LoadedTab, ask: Ask, now: Timestamp) -> Result<(), JobError> {
        let (line, _) = collection(loaded)?;
        self.enter(line.id, refused(line.attempt, ask.word()), now).await
    }

    /// Learns from the gateways what became of payments; tells whether any of them moved.
    async fn look_up(
        &self,
        loaded: &LoadedTab,
        unclear: &[PaymentId],
        now: Timestamp,
    ) -> Result<bool, JobError> {
        let mut moved = false;

        for line in loaded
            .at_gateways
            .iter()
            .filter(|line| unclear.contains(&line.id))
        {
            match self.find(line, loaded.card.as_ref(), now).await? {
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
        line: &GatewayPayment,
        card: Option<&Card>,
        now: Timestamp,
    ) -> Result<Option<Outcome>, VendorError> {
        if line.collects {
            return self.find_charge(line, card).await;
        }
        let name = line.gateway_id.as_deref();
        let found = self.gateways.find(line.gateway, line.id, name).await?;
        let is_old = now.duration_since(line.created_at) > UNKNOWN_FOR;
        Ok(found.or(is_old.then_some(Outcome::Expired)))
    }

    /// Looks under the customer record that was asked, and under the client's present one: a charge that was
    /// begun before the card was changed stands under the older.
    async fn find_charge(
        &self,
        line: &GatewayPayment,
        card: Option<&Card>,
    ) -> Result<Option<Outcome>, VendorError> {
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
        let look = LookAtTab::draft(&self.ids, now);
        match books::enter(&self.database, &finding, &look, now).await? {
            Entered::Yes => Ok(()),
            entered @ (Entered::Unknown | Entered::Disagrees) => {
                tracing::error!(payment_id = %payment, ?entered, "the gateway and the books disagree about a payment");
                Err(JobError::Permanent("the gateway and the books disagree"))
            }
        }
    }
}

/// The payment that collects the charge that counts, and the card on file, if there is one.
fn collection(loaded: &LoadedTab) -> Result<(&GatewayPayment, Option<&Card>), JobError> {
    let collection = loaded.collection();
    let (_, line) = collection.ok_or(JobError::Permanent("the charge has no collection"))?;
    invocation::note("payment_id", line.id);
    Ok((line, loaded.card.as_ref()))
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
