//! The rules of a lesson.
//!
//! Everything here is a pure function of its arguments: no I/O, no async, no clock and no vendor's name
//! in a rule. Read it in this order: who is who ([`people`]), when the door is open ([`window`]), what a
//! booking is and who may do what with it ([`booking`]), what the provider saw ([`evidence`]) and what a
//! tutor may add ([`snapshot`]).

pub mod booking;
pub mod evidence;
pub mod ids;
pub mod people;
pub mod snapshot;
pub mod window;
