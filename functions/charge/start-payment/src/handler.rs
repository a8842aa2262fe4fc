//! A client pays for a booking: ahead, or what is missing after its outcome. The payment is written down before
//! its gateway hears of it, so money that comes always finds it.
//!
//! Rules: [who-may-pay](../../../../shared/domain/RULES.md#who-may-pay),
//! [payment-methods](../../../../shared/domain/RULES.md#payment-methods),
//! [payment-lifetime](../../../../shared/domain/RULES.md#payment-lifetime),
//! [card-agreement](../../../../shared/domain/RULES.md#card-agreement).

use domain::charge::finding::{Finding, Opened, Outcome};
use domain::charge::gateway::Gateway;
use domain::charge::order::{PaymentRefusal, Wish};
use domain::charge::payment::{Collects, Method, PaymentStatus, UnknownWord};
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::money::Money;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use jobs::messages::LookAtTab;
use platform::api::{Call, Reply, Route};
use platform::auth::Authenticator;
use platform::clock::Clock;
use platform::database::Database;
use platform::ids::Ids;
use platform::outbound::VendorError;
use platform::problem::Problem;
use providers::fapshi::{self, Phone};
use providers::gateways::{Gateways, only_currency};
use providers::stripe::Checkout;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use store::charge::books;
use store::charge::paying::{self, Agreement, EarlierOrder, Order, OrderOutcome, PaymentToMake};
use url::Url;

/// Once a payment has been begun for so long without reaching its gateway, its request has died, and the next
/// one takes over.
const BEGINNING_LASTS: SignedDuration = SignedDuration::from_secs(60);

pub(crate) struct StartPayment {
    pub(crate) authenticator: Authenticator,
    pub(crate) database: Database,
    pub(crate) gateways: Gateways,
    pub(crate) offered: Offered,
    pub(crate) collects: Collects,
    pub(crate) return_to: Url,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

/// The methods that this platform offers, as a comma-separated list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered(Vec<Method>);

impl FromStr for Offered {
    type Err = UnknownWord;

    fn from_str(list: &str) -> Result<Self, UnknownWord> {
        list.split(',')
            .map(|word| word.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// How the client wants to pay: the body of the request, told apart by `method`.
#[derive(Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
enum Body {
    /// Pay now on a card page. The card is kept for later lessons.
    Card {},
    /// Leave a card, to be charged when the lesson has its outcome.
    CardOnFile { up_to_minor: Option<i64> },
    /// Let the card that is on file already pay for lessons with this tutor, up to this price.
    SavedCard { up_to_minor: Option<i64> },
    /// Pay by a link to a page. The phone is where a refund would go.
    MobileMoneyLink { phone: String },
    /// Pay by answering a request that appears on this phone.
    MobileMoney { phone: String },
}

impl Body {
    fn method(&self) -> Method {
        match self {
            Self::Card {} => Method::Card,
            Self::CardOnFile { .. } => Method::CardOnFile,
            Self::SavedCard { .. } => Method::SavedCard,
            Self::MobileMoneyLink { .. } => Method::MobileMoneyLink,
            Self::MobileMoney { .. } => Method::MobileMoney,
        }
    }

    /// The highest price that the client has seen, in minor units, if they said so. A payment page shows its
    /// price itself, so it needs none.
    fn up_to_minor(&self) -> Option<i64> {
        match self {
            Self::CardOnFile { up_to_minor } | Self::SavedCard { up_to_minor } => *up_to_minor,
            Self::Card {} | Self::MobileMoneyLink { .. } | Self::MobileMoney { .. } => None,
        }
    }

    fn phone(&self) -> Result<Option<Phone>, Problem> {
        let (Self::MobileMoneyLink { phone } | Self::MobileMoney { phone }) = self else {
            return Ok(None);
        };
        let phone = phone.parse().map_err(|_| {
            let detail = "The phone must be nine digits that begin with 6.";
            Problem::bad_request("malformed-phone", detail)
        })?;
        Ok(Some(phone))
    }
}

#[derive(Serialize)]
struct Answer {
    id: PaymentId,
    booking_id: BookingId,
    method: Method,
    status: PaymentStatus,
    amount: Money,
    /// Where to pay; null if the client answers a request on their phone.
    url: Option<String>,
    /// Until when this can be paid.
    expires_at: Timestamp,
}

/// The answer when a saved card is allowed to pay, and nothing has to be paid now.
#[derive(Serialize)]
struct Agreed {
    booking_id: BookingId,
    method: Method,
    tutor_id: ProfileId,
    up_to: Money,
}

impl Route for StartPayment {
    async fn handle(&self, call: Call) -> Result<Reply, Problem> {
        let person = ProfileId(call.user(&self.authenticator).await?);
        let booking: BookingId = call.path_id("booking_id")?;
        let body = call.json::<Body>()?;
        let (method, phone, now) = (body.method(), body.phone()?, self.clock.now());

        self.offer(method)?;

        if method == Method::SavedCard {
            return self.agree(booking, person, body.up_to_minor(), now).await;
        }

        let text = phone.as_ref().map(ToString::to_string);
        let wish = wish(person, method, body.up_to_minor());
        let order = order(booking, wish, text.as_deref(), now);

        let started = paying::start(&self.database, &order, PaymentId(self.ids.next()), now).await?;
        let started = started.ok_or_else(Problem::forbidden)?;
        let begun = begun(&started, &order.wish).map_err(refused)?;

        match &begun.earlier {
            Some(earlier) => self.reopen(booking, &order, begun, earlier, now).await,
            None => {
                self.open(booking, method, phone.as_ref(), &started, begun, now)
                    .await
            }
        }
    }
}

impl StartPayment {
    /// Whether this platform offers the method. A saved card is offered wherever leaving a card is.
    fn offer(&self, method: Method) -> Result<(), Problem> {
        if self.collects == Collects::Platform {
            let detail = "The platform takes payments itself.";
            return Err(conflict("collected-by-platform", detail));
        }

        let as_offered = match method {
            Method::SavedCard => Method::CardOnFile,
            method => method,
        };

        if self.offered.0.contains(&as_offered) {
            Ok(())
        } else {
            let detail = "This platform does not offer that.";
            Err(conflict("method-not-offered", detail))
        }
    }

    /// Lets the card on file pay. No money moves now: it pays when a lesson has its outcome, and it pays at
    /// once what only waited for this permission.
    async fn agree(
        &self,
        booking: BookingId,
        person: ProfileId,
        up_to_minor: Option<i64>,
        now: Timestamp,
    ) -> Result<Reply, Problem> {
        let look = LookAtTab::draft(&self.ids, now);
        let agreement = paying::agree(&self.database, booking, person, up_to_minor, &look, now).await?;
        let agreement = agreement.ok_or_else(Problem::forbidden)?;
        let up_to = agreed(&agreement, person, up_to_minor).map_err(refused)?;
        let up_to = up_to.ok_or_else(Problem::internal)?;
        Ok(Reply::ok(Agreed {
            booking_id: booking,
            method: Method::SavedCard,
            tutor_id: agreement.tutor,
            up_to,
        }))
    }

    /// Hands out an earlier order again while it can still be used. If it was paid meanwhile, the answer says
    /// so.
    async fn reopen(
        &self,
        booking: BookingId,
        order: &Order<'_>,
        begun: &PaymentToMake,
        earlier: &EarlierOrder,
        now: Timestamp,
    ) -> Result<Reply, Problem> {
        let reply = |status, link| {
            let answer = answer(booking, order.wish.method, begun, status, link, earlier.since);
            Ok(Reply::ok(answer))
        };

        // Only one of several callers asks the gateway; for the others the order still counts as open.
        let found = if earlier.is_looking {
            self.gateways
                .end_in_time(order.gateway, begun.id, Some(&earlier.gateway_id))
                .await
        } else {
            None
        };

        let Some(found) = found else {
            return reply(PaymentStatus::Open, earlier.link.clone());
        };

        let is_paid = matches!(found, Outcome::Paid(_));
        let finding = Finding::Payment(begun.id, found);
        let look = LookAtTab::draft(&self.ids, now);
        books::enter(&self.database, &finding, &look, now).await?;
        if is_paid {
            return reply(PaymentStatus::Paid, None);
        }

        // It has ended: the next order begins another.
        Err(Problem::unavailable(
            "payment-being-started",
            "The payment is being started.",
            1,
        ))
    }

    /// Asks the gateway for a page or a request, and saves what it answers.
    async fn open(
        &self,
        booking: BookingId,
        method: Method,
        phone: Option<&Phone>,
        started: &OrderOutcome,
        begun: &PaymentToMake,
        now: Timestamp,
    ) -> Result<Reply, Problem> {
        let opened = match self.ask(begun, method, phone, started, now).await {
            Ok(opened) => opened,
            Err(error) => return Err(self.give_up(begun.id, error, now).await),
        };
        let link = opened.link.as_deref();
        let status = paying::opened(&self.database, begun.id, &opened.gateway_id, link).await?;
        let answer = answer(booking, method, begun, status, opened.link, now);
        Ok(Reply::with_status(StatusCode::CREATED, answer))
    }

    async fn ask(
        &self,
        begun: &PaymentToMake,
        method: Method,
        phone: Option<&Phone>,
        started: &OrderOutcome,
        now: Timestamp,
    ) -> Result<Opened, VendorError> {
        match (method, phone) {
            (Method::MobileMoney, Some(phone)) => {
                self.gateways.fapshi.request(begun.id, begun.amount, phone).await
            }
            (Method::MobileMoneyLink, _) => {
                self.gateways
                    .fapshi
                    .open_link(begun.id, begun.amount, &self.return_to)
                    .await
            }
            // Its phone is asked for before anything is ordered.
            (Method::MobileMoney, None) => Err(VendorError::Permanent { status: 400 }),
            (Method::Card | Method::CardOnFile | Method::SavedCard, _) => {
                let checkout = Checkout {
                    payment: begun.id,
                    amount: begun.amount,
                    customer: started.customer.as_deref(),
                    return_to: &self.return_to,
                    expires_at: until(method, now),
                };
                self.gateways.stripe.open_checkout(&checkout).await
            }
        }
    }

    /// Ends the payment if the gateway refused it for good. After silence the payment stays, because the
    /// gateway may have heard of it; the client's next order begins another.
    async fn give_up(&self, payment: PaymentId, error: VendorError, now: Timestamp) -> Problem {
        tracing::error!(%error, "the gateway did not open the payment");
        if !matches!(error, VendorError::Permanent { .. }) {
            let detail = "Payments cannot be started right now.";
            return Problem::unavailable("provider-unavailable", detail, 60);
        }

        let refused = Finding::Payment(payment, Outcome::Failed("refused".into()));
        let look = LookAtTab::draft(&self.ids, now);
        match books::enter(&self.database, &refused, &look, now).await {
            Ok(_) => conflict(
                "payment-refused",
                "The payment provider refused. Please pay another way.",
            ),
            Err(error) => error.into(),
        }
    }
}

fn wish(person: ProfileId, method: Method, up_to_minor: Option<i64>) -> Wish {
    let gateway = Gateway::of(method);
    let is_mobile = gateway == Gateway::Fapshi;
    Wish {
        person,
        method,
        up_to_minor,
        only_currency: only_currency(gateway),
        least_minor: if is_mobile { fapshi::LEAST_MINOR } else { 1 },
    }
}

fn order(booking: BookingId, wish: Wish, phone: Option<&str>, now: Timestamp) -> Order<'_> {
    Order {
        booking,
        wish,
        gateway: Gateway::of(wish.method),
        phone,
        abandoned_before: now.saturating_sub(BEGINNING_LASTS).unwrap_or(now),
    }
}

/// The highest price that the card may pay without asking again, or why it may not pay.
fn agreed(
    agreement: &Agreement,
    person: ProfileId,
    up_to_minor: Option<i64>,
) -> Result<Option<Money>, PaymentRefusal> {
    agreement.offer.price_seen_by(person, up_to_minor)?;
    if !agreement.has_card {
        return Err(PaymentRefusal::NoCard);
    }
    Ok(agreement.up_to)
}

/// The payment that was begun or found for this order, or why there is none.
fn begun<'a>(started: &'a OrderOutcome, wish: &Wish) -> Result<&'a PaymentToMake, PaymentRefusal> {
    match &started.payment {
        Some(begun) => Ok(begun),
        None => Err(started.payable.refusal(wish)),
    }
}

fn refused(refusal: PaymentRefusal) -> Problem {
    match refusal {
        PaymentRefusal::NotTheClient => {
            Problem::new(StatusCode::FORBIDDEN, "not-the-client", "Only the client pays.")
        }
        PaymentRefusal::Cancelled => conflict("booking-cancelled", "The booking is cancelled."),
        PaymentRefusal::UnknownStatus => Problem::unknown_status(),
        PaymentRefusal::WithoutPrice => conflict("booking-without-price", "The booking has no price."),
        PaymentRefusal::Closed => conflict(
            "booking-closed",
            "The lesson's time has passed, and nobody had agreed to it.",
        ),
        PaymentRefusal::WithoutTime => conflict("booking-without-time", "The booking has no time yet."),
        PaymentRefusal::PriceChanged(price) => conflict(
            "price-changed",
            "The lesson costs more than you have seen. Look at it again.",
        )
        .with("price_minor", price.minor()),
        PaymentRefusal::PriceNotAgreed(price) => conflict(
            "price-not-agreed",
            "The price may still change: say the highest that you agree to.",
        )
        .with("price_minor", price.minor()),
        PaymentRefusal::NothingToPay => conflict("nothing-to-pay", "Everything is paid."),
        PaymentRefusal::OtherCurrency => conflict(
            "currency-not-supported",
            "Not in this currency. Please pay another way.",
        ),
        PaymentRefusal::TooLittle => conflict("amount-too-small", "Too little for this way of paying."),
        PaymentRefusal::NoCard => conflict("no-card-on-file", "There is no card on file. Leave one first."),
        PaymentRefusal::BeingStarted => {
            Problem::unavailable("payment-being-started", "The payment is being started.", 2)
        }
    }
}

fn until(method: Method, since: Timestamp) -> Timestamp {
    since.saturating_add(method.lives()).unwrap_or(Timestamp::MAX)
}

fn answer(
    booking_id: BookingId,
    method: Method,
    begun: &PaymentToMake,
    status: PaymentStatus,
    url: Option<String>,
    since: Timestamp,
) -> Answer {
    Answer {
        id: begun.id,
        booking_id,
        method,
        status,
        amount: begun.amount,
        url,
        expires_at: until(method, since),
    }
}

fn conflict(kind: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::CONFLICT, kind, detail)
}
