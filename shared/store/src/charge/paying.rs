//! Paying ahead, and leaving a card: what a client orders, what they agree to, and what they see of it.

use crate::rows::{amount, money, word};
use domain::charge::finding::Outcome;
use domain::charge::gateway::Gateway;
use domain::charge::order::{Offer, Payable, Wish};
use domain::charge::payment::{Method, PaymentStatus};
use domain::ids::{BookingId, PaymentId, ProfileId};
use domain::launch::booking::BookingStatus;
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Begins a payment, or finds the one that the client can still use, if the client may pay this booking so.
pub const START: &str = include_str!("paying/start.sql");

/// What a client orders.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The booking that is paid for.
    pub booking: BookingId,
    /// Who asks, and how they want to pay. Only the client may, but everybody on the booking is told why not.
    pub wish: Wish,
    /// The gateway of this method.
    pub gateway: Gateway,
    /// The phone that pays, and that a refund would go to; `None` for methods that need none.
    pub phone: Option<&'a str>,
    /// An order that was begun before this time and got no answer from its gateway is abandoned.
    pub abandoned_before: Timestamp,
}

/// What came of an order: the payment, or what is needed to say why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderOutcome {
    /// What was known of the booking's money.
    pub payable: Payable,
    /// The client's customer record at the card gateway; `None` before their first card.
    pub customer: Option<String>,
    /// The payment that was begun or found; `None` if the client cannot pay now.
    pub payment: Option<PaymentToMake>,
}

/// A payment that can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct PaymentToMake {
    /// The payment's id, `payments.id`.
    pub id: PaymentId,
    /// How much is to be paid.
    pub amount: Money,
    /// What an earlier order got for it; `None` if it is new and the gateway is still to be asked.
    pub earlier: Option<EarlierOrder>,
}

/// What an earlier order got from its gateway, and can still be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierOrder {
    /// The page to pay on; `None` for a request to a phone.
    pub link: Option<String>,
    /// The gateway's id of the page or request.
    pub gateway_id: String,
    /// When the payment was begun.
    pub since: Timestamp,
    /// Whether the caller is to ask the gateway first whether it was paid. So it is if nobody has asked for
    /// some seconds.
    pub is_looking: bool,
}

/// Begins a payment or finds one that works; `None` for strangers.
pub async fn start(
    database: &Database,
    order: &Order<'_>,
    id: PaymentId,
    now: Timestamp,
) -> Result<Option<OrderOutcome>, DatabaseError> {
    let usable_since = now.saturating_sub(order.wish.method.lives()).unwrap_or(now);
    let (method, gateway) = (order.wish.method.word(), order.gateway.word());

    let params: [Param<'_>; 12] = [
        (&order.booking.0, Type::UUID),
        (&order.wish.person.0, Type::UUID),
        (&method, Type::TEXT),
        (&id.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&gateway, Type::TEXT),
        (&order.abandoned_before, Type::TIMESTAMPTZ),
        (&usable_since, Type::TIMESTAMPTZ),
        (&order.phone, Type::TEXT),
        (&order.wish.only_currency, Type::TEXT),
        (&order.wish.least_minor, Type::INT8),
        (&order.wish.up_to_minor, Type::INT8),
    ];

    let row = database.query_opt(START, &params).await?;
    row.as_ref().map(read_outcome).transpose()
}

fn read_outcome(row: &Row) -> Result<OrderOutcome, DatabaseError> {
    let (begun, usable): (Option<Uuid>, Option<Uuid>) = (column(row, "begun_id")?, column(row, "usable_id")?);
    let amount = money(row, "amount", "due_currency")?;

    let payment = match (begun, usable, amount) {
        (Some(id), _, Some(amount)) => Some(PaymentToMake {
            id: PaymentId(id),
            amount,
            earlier: None,
        }),
        (None, Some(id), Some(amount)) => Some(PaymentToMake {
            id: PaymentId(id),
            amount,
            earlier: Some(EarlierOrder {
                link: column(row, "link")?,
                gateway_id: column(row, "gateway_id")?,
                since: column(row, "created_at")?,
                is_looking: column(row, "is_looking")?,
            }),
        }),
        _ => None,
    };

    Ok(OrderOutcome {
        payable: Payable {
            offer: read_offer(row)?,
            is_off: column(row, "is_off")?,
            is_timed: column(row, "is_timed")?,
            missing: money(row, "missing", "due_currency")?,
        },
        customer: column(row, "customer_id")?,
        payment,
    })
}

fn read_offer(row: &Row) -> Result<Offer, DatabaseError> {
    Ok(Offer {
        client: ProfileId(column(row, "client_id")?),
        status: BookingStatus::from(column::<&str>(row, "status")?),
        is_agreed: column(row, "is_agreed")?,
        price: money(row, "price_minor", "price_currency")?,
    })
}

/// Lets the card on file pay for this booking, and for later lessons with its tutor up to the same price.
pub const AGREE: &str = include_str!("paying/agree.sql");

/// What came of a client's agreement that their card pays for a tutor's lessons.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The booking and its price.
    pub offer: Offer,
    /// The booking's tutor, whose lessons the agreement is about.
    pub tutor: ProfileId,
    /// Whether the client has a card on file.
    pub has_card: bool,
    /// The highest price that the client has agreed to by now; `None` if they may not agree, or there is no
    /// price.
    pub up_to: Option<Money>,
}

/// Lets the client's card on file pay for the tutor of `booking`, and writes `look` if a charge has waited for
/// that; `None` for strangers.
pub async fn agree(
    database: &Database,
    booking: BookingId,
    person: ProfileId,
    up_to_minor: Option<i64>,
    look: &Draft,
    now: Timestamp,
) -> Result<Option<Agreement>, DatabaseError> {
    let params: [Param<'_>; 5] = [
        (&booking.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&up_to_minor, Type::INT8),
        (look.json(), Type::JSONB),
    ];

    let row = database.query_opt(AGREE, &params).await?;
    row.as_ref().map(read_agreement).transpose()
}

fn read_agreement(row: &Row) -> Result<Agreement, DatabaseError> {
    Ok(Agreement {
        offer: read_offer(row)?,
        tutor: ProfileId(column(row, "tutor_id")?),
        has_card: column(row, "has_card")?,
        up_to: money(row, "up_to_minor", "currency")?,
    })
}

/// Keeps what the gateway gave for a payment that was begun. $1 payment, $2 gateway's id, $3 link or NULL.
pub const OPENED: &str = "
    UPDATE payments SET gateway_id = coalesce(gateway_id, $2), link = $3,
        status = CASE WHEN status = 'opening' THEN 'open' ELSE status END
    WHERE id = $1 RETURNING status";

/// Keeps what the gateway gave; returns the payment's status, which may be paid already.
pub async fn opened(
    database: &Database,
    payment: PaymentId,
    gateway_id: &str,
    link: Option<&str>,
) -> Result<PaymentStatus, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&payment.0, Type::UUID),
        (&gateway_id, Type::TEXT),
        (&link, Type::TEXT),
    ];
    let row = database.query_opt(OPENED, &params).await?;
    word(&row.ok_or(DatabaseError::Unexpected("no row"))?, "status")
}

/// A payment, for the client who makes it, and whether its gateway is to be asked about it first: one that is open, and
/// that nobody has asked about for some seconds. $1 payment, $2 person, $3 now.
pub const SEEN_BY: &str = "
    WITH looking AS (
        UPDATE payments SET looked_at = $3
        WHERE id = $1 AND client_id = $2 AND status = 'open' AND charge_id IS NULL
          AND coalesce(looked_at, created_at) < $3::timestamptz - interval '5 seconds'
        RETURNING id)
    SELECT p.id, p.booking_id, p.method, p.status, p.reason, p.amount_minor, p.currency, p.link, p.created_at,
           p.paid_at, p.next_try_at, p.gateway, p.gateway_id, looking.id IS NOT NULL AS is_looking,
           coalesce((SELECT sum(r.amount_minor) FROM refunds r WHERE r.payment_id = p.id AND r.status = 'done'), 0)::bigint AS refunded,
           EXISTS (SELECT FROM disputes d WHERE d.payment_id = p.id) AS is_disputed
    FROM payments p LEFT JOIN looking ON true WHERE p.id = $1 AND p.client_id = $2";

/// A payment as its client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientPayment {
    /// The payment's id, `payments.id`.
    pub id: PaymentId,
    /// The booking that it is for.
    pub booking: BookingId,
    /// How the client pays.
    pub method: Method,
    /// Where the payment stands.
    pub status: PaymentStatus,
    /// Why it was refused or given up; `None` while neither has happened.
    pub reason: Option<String>,
    /// How much is paid by it.
    pub amount: Money,
    /// How much of it was given back.
    pub refunded: Money,
    /// The page to pay on, if it has one, whether or not that still works.
    pub link: Option<String>,
    /// When the payment was begun.
    pub created_at: Timestamp,
    /// When the money came; `None` before.
    pub paid_at: Option<Timestamp>,
    /// When the card is tried again; `None` if no further try is planned.
    pub next_try_at: Option<Timestamp>,
    /// Whether the client's bank has ever disputed it.
    pub is_disputed: bool,
    /// The gateway's name: `stripe` or `fapshi`.
    pub gateway: Gateway,
    /// The gateway's id of it; `None` if the gateway has not named one.
    pub gateway_id: Option<String>,
    /// Whether the caller is to ask the gateway first where it stands. So it is if the payment is open and
    /// nobody has asked for some seconds.
    pub is_looking: bool,
}

impl ClientPayment {
    /// The payment as it is once `outcome` was entered at `now`, without reading it again.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Timestamp) -> Self {
        let (status, reason) = match outcome {
            Outcome::Paid(_) => (PaymentStatus::Paid, None),
            Outcome::Expired => (PaymentStatus::Closed, Some("expired".to_owned())),
            Outcome::Failed(reason) => (PaymentStatus::Failed, Some(reason)),
            Outcome::Declined(_) | Outcome::Open => return self,
        };

        Self {
            status,
            reason,
            paid_at: (status == PaymentStatus::Paid).then_some(now),
            ..self
        }
    }
}

/// Loads a payment for the client who makes it; `None` for anybody else.
pub async fn seen_by(
    database: &Database,
    payment: PaymentId,
    person: ProfileId,
    now: Timestamp,
) -> Result<Option<ClientPayment>, DatabaseError> {
    let params: [Param<'_>; 3] = [
        (&payment.0, Type::UUID),
        (&person.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
    ];
    let row = database.query_opt(SEEN_BY, &params).await?;
    row.as_ref().map(read_seen).transpose()
}

fn read_seen(row: &Row) -> Result<ClientPayment, DatabaseError> {
    Ok(ClientPayment {
        id: PaymentId(column(row, "id")?),
        booking: BookingId(column(row, "booking_id")?),
        method: word(row, "method")?,
        status: word(row, "status")?,
        reason: column(row, "reason")?,
        amount: amount(row, "amount_minor")?,
        refunded: amount(row, "refunded")?,
        link: column(row, "link")?,
        created_at: column(row, "created_at")?,
        paid_at: column(row, "paid_at")?,
        next_try_at: column(row, "next_try_at")?,
        is_disputed: column(row, "is_disputed")?,
        gateway: word(row, "gateway")?,
        gateway_id: column(row, "gateway_id")?,
        is_looking: column(row, "is_looking")?,
    })
}
