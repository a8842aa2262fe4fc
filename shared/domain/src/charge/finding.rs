//! What payment gateways tell, in our words.

use crate::charge::retry::Advice;
use crate::ids::{PaymentId, RefundId};
use crate::money::Money;

/// What a gateway says about something of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A payment.
    Payment(PaymentId, Outcome),
    /// A refund.
    Refund(RefundId, Refunded),
    /// A dispute.
    Dispute(Dispute),
    /// Not about anything of ours: other software uses the same account.
    NotOurs,
}

/// Where a payment stands at its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The money came.
    Paid(Paid),
    /// This try to charge a card was refused.
    Declined(Declined),
    /// The client did not pay in time.
    Expired,
    /// The client could not pay.
    Failed(String),
    /// It waits for the client, or is being worked on.
    Open,
}

/// Money that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// How much.
    pub amount: Money,
    /// The gateway's name for the payment.
    pub gateway_id: String,
    /// The gateway's name for what refunds and disputes name.
    pub intent: Option<String>,
    /// The card to keep.
    pub card: Option<Card>,
    /// What the gateway kept of it for itself, in the currency in which it settles with us, which may be another one.
    /// Nothing kept is zero; `None` where the gateway does not say, or not yet.
    pub fee: Option<Money>,
}

/// A card that may be charged without its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The gateway's name for the client.
    pub customer: String,
    /// The gateway's name for the card.
    pub card: String,
}

/// A card that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// Which try of ours.
    pub attempt: i32,
    /// The gateway's code.
    pub reason: String,
    /// Whether trying again makes sense.
    pub advice: Advice,
}

/// Where a refund stands at its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refunded {
    /// Taken; the gateway will tell.
    Pending {
        /// The gateway's name for it.
        gateway_id: String,
    },
    /// The money went back.
    Done {
        /// The gateway's name for it.
        gateway_id: String,
        /// What the gateway took from us for it, beside the amount; `None` where it does not say.
        fee: Option<Money>,
    },
    /// It did not, and will not by itself.
    Failed {
        /// The gateway's name for it, if it got one.
        gateway_id: Option<String>,
        /// The gateway's code.
        reason: String,
    },
}

/// A payment that the client's bank disputes. Its sums are totals so far, not steps: whoever has entered an earlier
/// state of the same dispute enters the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The gateway's name for it.
    pub gateway_id: String,
    /// The payment of ours that it is about.
    pub payment: PaymentId,
    /// The gateway's name for what it is about.
    pub intent: String,
    /// How much.
    pub amount: Money,
    /// In the gateway's words.
    pub status: String,
    /// In the gateway's words.
    pub reason: Option<String>,
    /// Whether the money is gone for good.
    pub is_lost: bool,
    /// What the gateway took out of our balance when the dispute was opened; zero while the bank only asks. In the
    /// currency of [`Self::amount`].
    pub withdrawn: Money,
    /// What it put back, having found for us. In the currency of [`Self::amount`].
    pub reinstated: Money,
    /// What it charges us for the dispute, less what it gave back of that, in the currency in which it settles with
    /// us. `None` where it does not say.
    pub fee: Option<Money>,
}

/// Something to pay with: a page, or a request on a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The gateway's name for it.
    pub gateway_id: String,
    /// The page.
    pub link: Option<String>,
}
