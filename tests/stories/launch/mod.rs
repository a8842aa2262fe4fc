//! Joining, and the card of a booking.

mod accounts;
mod card;
mod choosing;
mod joining;
