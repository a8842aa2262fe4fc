//! The rules of a lesson.
//!
//! Everything here is a pure function of its arguments: no I/O, no async, no clock and no vendor's name
//! in a rule. Read it in this order: who is who ([`people`]), when the door is open ([`window`]), what a
//! booking is and who may do what with it ([`booking`]), what is known of the room ([`evidence`]) and
//! what that means ([`attendance`]), what a tutor may add ([`snapshot`]), what it all costs ([`session`], [`settlement`],
//! [`money`]), and how that is paid ([`payment`], [`gateway`]).

pub mod attendance;
pub mod booking;
pub mod evidence;
pub mod gateway;
pub mod ids;
pub mod money;
pub mod payment;
pub mod people;
pub mod session;
pub mod settlement;
pub mod snapshot;
pub mod window;
