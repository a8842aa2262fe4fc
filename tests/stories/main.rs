//! Stories.
fn main_placeholder() {}
