//! Joining, and the card of a booking.

mod card;
mod choosing;
mod joining;
