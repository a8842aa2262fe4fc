//! What may be asked for, under the names that the vendor gives it.

use std::collections::BTreeSet;

/// A set of scopes, by their full names. Its order is not the one in which they were asked for.
pub(super) type Scopes = BTreeSet<String>;

/// What full names begin with.
const PREFIX: &str = "https://www.googleapis.com/auth/";

/// Those that only say who somebody is.
const IDENTITY: [&str; 3] = ["openid", "userinfo.email", "userinfo.profile"];

const KNOWN: [&str; 20] = [
    "userinfo.email",
    "userinfo.profile",
    "calendar",
    "calendar.readonly",
    "calendar.events",
    "calendar.events.readonly",
    "calendar.events.owned",
    "calendar.events.owned.readonly",
    "calendar.app.created",
    "calendar.calendarlist",
    "calendar.calendarlist.readonly",
    "calendar.calendars",
    "calendar.calendars.readonly",
    "meetings.space.created",
    "meetings.space.readonly",
    "meetings.space.settings",
    "drive",
    "drive.file",
    "drive.readonly",
    "drive.meet.readonly",
];

/// The full name of a scope; `None` if there is no such scope.
pub(super) fn full(name: &str) -> Option<String> {
    match name {
        "openid" => Some(name.into()),
        "email" | "profile" => Some(format!("{PREFIX}userinfo.{name}")),
        _ => {
            let short = name.strip_prefix(PREFIX)?;
            KNOWN.contains(&short).then(|| name.to_owned())
        }
    }
}

/// The full name of a scope that is named in full, as it was asked for, or without what all begin with.
pub(super) fn meant(name: &str) -> Option<String> {
    full(name).or_else(|| full(&format!("{PREFIX}{name}")))
}

/// Whether one of the `wanted`, by their short names, is among them.
pub(super) fn holds(scopes: &Scopes, wanted: &[&str]) -> bool {
    wanted
        .iter()
        .any(|short| scopes.contains(*short) || scopes.contains(&format!("{PREFIX}{short}")))
}

/// Whether they only say who somebody is.
pub(super) fn only_identify(scopes: &Scopes) -> bool {
    scopes.iter().all(|scope| {
        let short = scope.strip_prefix(PREFIX).unwrap_or(scope);
        IDENTITY.contains(&short)
    })
}

/// As they are written in an answer.
pub(super) fn written(scopes: &Scopes) -> String {
    let names: Vec<&str> = scopes.iter().map(String::as_str).collect();
    names.join(" ")
}
