//! A booking's tab: looking at it, and writing down the next step before a gateway hears of it.

use crate::rows::{amount, money, word};
use domain::charge::finding::Card;
use domain::charge::gateway::Gateway;
use domain::charge::payment::Payment;
use domain::charge::retry::under_way_since;
use domain::charge::tab::{CardOnFile, Refund, Tab};
use domain::ids::{BookingId, PaymentId, ProfileId, RefundId};
use domain::money::Money;
use jiff::Timestamp;
use platform::database::{Database, DatabaseError, Param, column};
use platform::outbox::Draft;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Loads a booking's tab, with a row for each of its payments.
pub const LOOK_AT_TAB: &str = include_str!("tab/look_at_tab.sql");

/// A booking's tab as it was loaded, with what is needed to talk to gateways about it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedTab {
    /// The tab, on which the domain decides.
    pub tab: Tab,
    /// The client's card on file; `None` if there is none.
    pub card: Option<Card>,
    /// The tab's payments as their gateways know them, in the order of `tab.payments`.
    pub at_gateways: Vec<GatewayPayment>,
    /// How many refunds of the booking were decided so far.
    pub refunds: i32,
}

impl LoadedTab {
    /// The payment that collects the charge that counts; `None` if nothing was charged yet.
    pub fn collection(&self) -> Option<(&Payment, &GatewayPayment)> {
        let mut both = self.tab.payments.iter().zip(&self.at_gateways);
        both.find(|(payment, _)| Some(payment.id) == self.tab.charge)
    }
}

/// A payment as its gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPayment {
    /// The payment's id, `payments.id`.
    pub id: PaymentId,
    /// The gateway's name: `stripe` or `fapshi`.
    pub gateway: Gateway,
    /// The gateway's id of it; `None` if the gateway has not named one.
    pub gateway_id: Option<String>,
    /// Whether it collects a charge from the card on file; otherwise the client makes it.
    pub collects: bool,
    /// The number of the attempt to collect, from 1 on.
    pub attempt: i32,
    /// How much this attempt is to collect, or the client is to pay.
    pub amount: Money,
    /// The client's record at the gateway under which this attempt was asked for; `None` if it was not asked
    /// for.
    pub customer: Option<String>,
    /// When it was begun, which is before any gateway heard of it.
    pub created_at: Timestamp,
    /// Since when the gateway may have been asked, this look included; `None` if it was not asked.
    pub asked_since: Option<Timestamp>,
    /// Whether this look has written down that the gateway may be asked now, and for which amount.
    pub is_written_down: bool,
}

/// Looks at a booking's tab, as `message` has asked for it; `None` if there is no such booking or it has no
/// price.
pub async fn look_at_tab(
    database: &Database,
    booking: BookingId,
    message: Uuid,
    now: Timestamp,
) -> Result<Option<LoadedTab>, DatabaseError> {
    let under_way_since = under_way_since(now);
    let params: [Param<'_>; 4] = [
        (&booking.0, Type::UUID),
        (&now, Type::TIMESTAMPTZ),
        (&under_way_since, Type::TIMESTAMPTZ),
        (&message, Type::UUID),
    ];

    let rows = database.query(LOOK_AT_TAB, &params).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let Some(due) = money(row, "due", "due_currency")? else {
        return Ok(None);
    };

    let (customer, card): (Option<String>, Option<String>) =
        (column(row, "customer_id")?, column(row, "card_id")?);
    // A card is of use only together with the record that it belongs to.
    let card = Option::zip(customer, card).map(|(customer, card)| Card { customer, card });
    let charge = column::<Option<Uuid>>(row, "charge_id")?.map(PaymentId);

    let (mut payments, mut at_gateways) = (Vec::new(), Vec::new());
    let mut on_file = CardOnFile::None;
    for row in &rows {
        // A booking without payments has one row, in which the payment's columns are NULL.
        if column::<Option<Uuid>>(row, "id")?.is_none() {
            continue;
        }

        let payment = read_payment(row)?;
        if Some(payment.id) == charge {
            let up_to = money(row, "up_to_minor", "currency")?;
            on_file = CardOnFile::of(card.is_some(), amount(row, "price_minor")?, up_to);
        }

        payments.push(payment);
        at_gateways.push(read_gateway_payment(row)?);
    }

    let refunds: i64 = column(row, "refunds")?;
    let tab = Tab {
        client: ProfileId(column(row, "client_id")?),
        due,
        charge,
        card: on_file,
        payments,
    };

    Ok(Some(LoadedTab {
        tab,
        card,
        at_gateways,
        refunds: i32::try_from(refunds).unwrap_or(i32::MAX),
    }))
}

fn read_payment(row: &Row) -> Result<Payment, DatabaseError> {
    Ok(Payment {
        id: PaymentId(column(row, "id")?),
        status: word(row, "status")?,
        amount: amount(row, "amount_minor")?,
        refunded: amount(row, "refunded")?,
        unasked: amount(row, "unasked")?,
        stuck: amount(row, "stuck")?,
        disputed: amount(row, "disputed")?,
        collects: column(row, "collects")?,
        asked_at: column(row, "asked_at")?,
    })
}

fn read_gateway_payment(row: &Row) -> Result<GatewayPayment, DatabaseError> {
    Ok(GatewayPayment {
        id: PaymentId(column(row, "id")?),
        gateway: word(row, "gateway")?,
        gateway_id: column(row, "gateway_id")?,
        collects: column(row, "collects")?,
        attempt: column(row, "attempt")?,
        amount: amount(row, "amount_minor")?,
        customer: column(row, "asked_customer_id")?,
        created_at: column(row, "created_at")?,
        asked_since: column(row, "asked_since")?,
        is_written_down: column(row, "is_written_down")?,
    })
}

/// Writes down that the gateway may be asked for so much of a charge from now on, unless somebody else did
/// since the tab was looked at. $1 payment, $2 attempt, $3 amount, $4 now, $5 since when it was written down
/// as the tab was looked at, or NULL, $6 the client's record at the gateway under which it is asked for, and
/// under which it will be looked up.
pub const ASK_FOR: &str = "
    UPDATE payments SET amount_minor = $3, asked_at = $4, customer_id = $6
    WHERE id = $1 AND attempt = $2 AND status = 'opening' AND asked_at IS NOT DISTINCT FROM $5::timestamptz RETURNING id";

/// Writes down that so much of a charge is about to be asked for; `false` if somebody else did first, who
/// then also asks.
pub async fn ask_for(
    database: &Database,
    line: &GatewayPayment,
    card: &Card,
    amount: Money,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let minor = amount.minor();
    let params: [Param<'_>; 6] = [
        (&line.id.0, Type::UUID),
        (&line.attempt, Type::INT4),
        (&minor, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
        (&line.asked_since, Type::TIMESTAMPTZ),
        (&card.customer, Type::TEXT),
    ];

    Ok(database.query_opt(ASK_FOR, &params).await?.is_some())
}

/// Gives up collections that are not to be made, and decides a refund if no other was decided meanwhile; neither,
/// if what is due has changed since it was seen.
pub const CLOSE: &str = include_str!("tab/close.sql");

/// What is to be done about a tab, as decided from what was loaded.
#[derive(Debug, Clone, Copy)]
pub struct Closing<'a> {
    /// The booking whose tab it is.
    pub booking: BookingId,
    /// The tab as it was loaded.
    pub loaded: &'a LoadedTab,
    /// The collections to give up.
    pub given_up: &'a [PaymentId],
    /// The refund to decide, with its id; `None` if nothing goes back.
    pub refund: Option<(RefundId, &'a Refund)>,
    /// In minor units. A larger refund waits for an operator if its phone is not known to be the payer's.
    pub review_above_minor: i64,
}

/// Gives up collections and decides a refund; `false` if another refund was decided, or something else is due, since
/// the tab was looked at. Whoever did that has asked for another look.
pub async fn close(
    database: &Database,
    closing: Closing<'_>,
    give_back: &Draft,
    look: &Draft,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let Closing {
        booking,
        loaded,
        given_up,
        refund,
        review_above_minor,
    } = closing;

    let at_gateways = loaded
        .at_gateways
        .iter()
        .filter(|line| given_up.contains(&line.id));
    let (given_up, asked_since): (Vec<Uuid>, Vec<Option<Timestamp>>) =
        at_gateways.map(|line| (line.id.0, line.asked_since)).unzip();

    let (id, refund) = (refund.map(|(id, _)| id.0), refund.map(|(_, refund)| refund));
    // A refund has its number in the booking, so of two that were decided side by side only one is inserted.
    let ordinal = loaded.refunds.saturating_add(1);
    let payment = refund.map(|refund| refund.payment.0);
    let minor = refund.map(|refund| refund.amount.minor());
    let code = refund.map(|refund| refund.amount.currency().code());

    let due = loaded.tab.due.minor();

    let params: [Param<'_>; 13] = [
        (&given_up, Type::UUID_ARRAY),
        (&id, Type::UUID),
        (&booking.0, Type::UUID),
        (&ordinal, Type::INT4),
        (&payment, Type::UUID),
        (&minor, Type::INT8),
        (&code, Type::TEXT),
        (&now, Type::TIMESTAMPTZ),
        (give_back.json(), Type::JSONB),
        (look.json(), Type::JSONB),
        (&asked_since, Type::TIMESTAMPTZ_ARRAY),
        (&due, Type::INT8),
        (&review_above_minor, Type::INT8),
    ];

    let decided = !database.query(CLOSE, &params).await?.is_empty();
    Ok(decided || refund.is_none())
}

/// Withdraws the refunds of a booking that no gateway was asked for yet, and asks for another look at the tab, if what is
/// due is still what was seen. $1 booking, $2 due, $3 now, $4 draft of the job that looks at a booking's tab.
pub const WITHDRAW_UNASKED: &str = "
    WITH withdrawn AS (
        UPDATE refunds r SET status = 'closed', reason = 'not_due', settled_at = $3, look_at = NULL
        FROM bookings b CROSS JOIN LATERAL due(b, $3::timestamptz) d
        WHERE b.id = $1 AND d.minor = $2::bigint AND r.booking_id = b.id AND is_unasked(r)
        RETURNING r.id),
    job AS (
        INSERT INTO outbox (id, queue, envelope, due_at, locked_until)
        SELECT gen_random_uuid(), $4::jsonb ->> 'queue', about($4, $1), $3, senders_turn($3)
        WHERE EXISTS (SELECT FROM withdrawn) RETURNING *)
    SELECT jsonb_agg(as_posted(id, queue, envelope)) AS posted FROM job";

/// Withdraws the refunds of a tab that no gateway was asked for yet, because the money that they would give
/// back is due by now.
pub async fn withdraw_unasked(
    database: &Database,
    booking: BookingId,
    loaded: &LoadedTab,
    look: &Draft,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let due = loaded.tab.due.minor();
    let params: [Param<'_>; 4] = [
        (&booking.0, Type::UUID),
        (&due, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
        (look.json(), Type::JSONB),
    ];
    database.query(WITHDRAW_UNASKED, &params).await.map(drop)
}
