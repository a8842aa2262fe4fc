//! The rules of a lesson.
//!
//! Everything here is a pure function of its arguments: no I/O, no async, no clock, and no vendor's name in a rule.
//! [RULES.md](../RULES.md) has each rule of the product with its reason, its default and its place.
//! The rooms are the product's chapters. Read them in this order:
//!
//! 1. who is who ([`people`]), under which ids ([`ids`]), and what money is ([`money`]);
//! 2. [`launch`]: when a room is open ([`launch::window`]), what a booking is and who may do what with it
//!    ([`launch::booking`]);
//! 3. [`prove`]: what was seen of a room ([`prove::evidence`]), what that means ([`prove::attendance`]), what a
//!    lesson looked like ([`prove::insights`]), and what a tutor may add ([`prove::snapshot`]);
//! 4. [`charge`]: what a lesson is sold as ([`charge::session`]), what it costs by its outcome
//!    ([`charge::settlement`]), and how that is paid ([`charge::order`], [`charge::payment`],
//!    [`charge::tab`], [`charge::retry`], [`charge::finding`]).

pub mod charge;
pub mod ids;
pub mod launch;
pub mod money;
pub mod people;
pub mod prove;
