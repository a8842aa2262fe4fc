//! An event as somebody sends it: what is refused, what is dropped without a word, and what the times mean.

use super::answers::Refusal;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// What a body asks of the event's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    /// A room, by a request of this id.
    Create(String),
    /// No room any longer.
    Remove,
}

/// An event as it was sent, without what the vendor drops.
pub(super) struct Draft {
    pub(super) fields: Map<String, Value>,
    pub(super) ask: Ask,
}

/// What the vendor takes.
const KNOWN: [&str; 20] = [
    "id",
    "summary",
    "description",
    "location",
    "start",
    "end",
    "attendees",
    "extendedProperties",
    "guestsCanInviteOthers",
    "guestsCanModify",
    "guestsCanSeeOtherGuests",
    "anyoneCanAddSelf",
    "reminders",
    "status",
    "visibility",
    "transparency",
    "colorId",
    "source",
    "eventType",
    "endTimeUnspecified",
];

/// Where the names of places begin that a time zone may be named after.
const AREAS: [&str; 11] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
    "Etc",
];

const LONGEST_KEY: usize = 44;
const LONGEST_VALUE: usize = 1024;
const MOST_PROPERTIES: usize = 300;
const MOST_BYTES: usize = 32 * 1024;

fn invalid(message: &str) -> Refusal {
    Refusal::bad_event("invalid", message)
}

impl Draft {
    /// Reads a body. What would be dropped without a word is complained about.
    pub(super) fn of(
        mut fields: Map<String, Value>,
        version: u8,
        complaints: &mut Vec<String>,
    ) -> Result<Self, Refusal> {
        if fields.contains_key("hangoutLink") {
            return Err(invalid("hangoutLink is read-only."));
        }
        let conference = fields.remove("conferenceData");
        let ask = ask(conference.as_ref(), version, complaints)?;

        fields.retain(|name, _| {
            let is_known = KNOWN.contains(&name.as_str());
            if !is_known {
                complaints.push(format!("event: {name} is ignored"));
            }
            is_known
        });
        check_attendees(fields.get("attendees"))?;
        cut_properties(fields.get_mut("extendedProperties"), complaints)?;
        Ok(Self { fields, ask })
    }
}

/// Whether an id may be chosen for an event: base32hex in lower case, 5 to 1024 letters.
pub(super) fn is_event_id(id: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_digit() || ('a'..='v').contains(&letter);
    (5..=1024).contains(&id.len()) && id.chars().all(is_letter)
}

fn ask(conference: Option<&Value>, version: u8, complaints: &mut Vec<String>) -> Result<Ask, Refusal> {
    let Some(conference) = conference else {
        return Ok(Ask::Nothing);
    };
    let is_filled = conference.as_object().is_some_and(|conference| {
        let has_more = conference.keys().any(|name| name != "createRequest");
        let is_echo = conference
            .get("createRequest")
            .is_some_and(|request| request.get("status").is_some());
        has_more || is_echo
    });
    if is_filled {
        return Err(invalid("Invalid conference data."));
    }
    if version == 0 {
        complaints.push("event: conferenceData without conferenceDataVersion=1 is ignored".into());
        return Ok(Ask::Nothing);
    }
    if conference.is_null() {
        return Ok(Ask::Remove);
    }

    let request = conference.get("createRequest");
    let text = |path: &str| {
        let value = request.and_then(|request| request.pointer(path));
        value.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let id = text("/requestId").ok_or_else(|| invalid("Missing conference request id."))?;
    if text("/conferenceSolutionKey/type") != Some("hangoutsMeet") {
        return Err(invalid("Invalid conference type value."));
    }
    Ok(Ask::Create(id.to_owned()))
}

fn check_attendees(attendees: Option<&Value>) -> Result<(), Refusal> {
    let Some(attendees) = attendees.filter(|attendees| !attendees.is_null()) else {
        return Ok(());
    };
    let attendees = attendees
        .as_array()
        .ok_or_else(|| invalid("Invalid attendees."))?;
    let is_address = |attendee: &Value| {
        let email = attendee.get("email").and_then(Value::as_str).unwrap_or_default();
        let parts = email.split_once('@');
        parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !email.contains(' '))
    };
    if attendees.iter().all(is_address) {
        Ok(())
    } else {
        Err(invalid("Invalid attendee email."))
    }
}

/// Properties that are too long vanish or are cut, and nobody is told.
fn cut_properties(properties: Option<&mut Value>, complaints: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(properties) = properties.and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let (mut count, mut bytes) = (0, 0);
    for kind in ["private", "shared"] {
        let Some(kind) = properties.get_mut(kind).and_then(Value::as_object_mut) else {
            continue;
        };
        if !kind.values().all(|value| value.is_string() || value.is_null()) {
            return Err(invalid("Invalid extended property value."));
        }
        kind.retain(|name, value| keeps_property(name, value, complaints));
        count += kind.len();
        let lengths = kind
            .iter()
            .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
        bytes += lengths.sum::<usize>();
    }
    if count > MOST_PROPERTIES || bytes > MOST_BYTES {
        return Err(invalid("Too many extended properties."));
    }
    Ok(())
}

fn keeps_property(name: &str, value: &mut Value, complaints: &mut Vec<String>) -> bool {
    if name.len() > LONGEST_KEY {
        complaints.push(format!(
            "event: the property {name} is dropped, its name is too long"
        ));
        return false;
    }
    if let Value::String(text) = value
        && text.len() > LONGEST_VALUE
    {
        complaints.push(format!("event: the property {name} is cut"));
        *text = text.chars().take(LONGEST_VALUE).collect();
    }
    true
}

/// When an event begins and ends, its times rewritten as the vendor answers them: the same instants in the calendar's
/// own zone, which is UTC.
pub(super) fn settle_times(fields: &mut Map<String, Value>) -> Result<(Timestamp, Timestamp), Refusal> {
    let start = settle(fields, "start", "Missing start time.")?;
    let end = settle(fields, "end", "Missing end time.")?;
    if end <= start {
        let text = "The specified time range is empty.";
        return Err(Refusal::bad_event("timeRangeEmpty", text));
    }
    Ok((start, end))
}

fn settle(fields: &mut Map<String, Value>, name: &str, missing: &str) -> Result<Timestamp, Refusal> {
    let missing = || Refusal::bad_event("required", missing);
    let side = fields.get_mut(name).and_then(Value::as_object_mut);
    let side = side.ok_or_else(missing)?;
    if let Some(zone) = side.get("timeZone").filter(|zone| !zone.is_null())
        && !zone.as_str().is_some_and(is_zone)
    {
        return Err(invalid("Invalid time zone definition."));
    }

    let text = side.get("dateTime").and_then(Value::as_str).ok_or_else(missing)?;
    let at = instant(text).ok_or_else(|| invalid("Invalid value for dateTime."))?;
    side.insert("dateTime".into(), at.to_string().into());
    side.entry("timeZone").or_insert_with(|| "UTC".into());
    Ok(at)
}

/// Reads RFC 3339 with an offset, and nothing else.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let is_head = head.char_indices().all(|(place, letter)| match place {
        4 | 7 => letter == '-',
        10 => letter == 'T',
        13 | 16 => letter == ':',
        _ => letter.is_ascii_digit(),
    });
    let zone = tail.strip_prefix('.').map_or(tail, |fraction| {
        fraction.trim_start_matches(|letter: char| letter.is_ascii_digit())
    });
    let is_offset = zone == "Z"
        || (zone.len() == 6
            && zone.starts_with(['+', '-'])
            && zone.char_indices().skip(1).all(|(place, letter)| match place {
                3 => letter == ':',
                _ => letter.is_ascii_digit(),
            }));
    (is_head && is_offset).then(|| text.parse().ok()).flatten()
}

fn is_zone(name: &str) -> bool {
    let place = name.split_once('/');
    let is_place = place.is_some_and(|(area, place)| AREAS.contains(&area) && !place.is_empty());
    let is_plain = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "/_+-".contains(letter));
    is_plain && (is_place || name == "UTC" || name == "GMT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(body: &Value, version: u8) -> (Result<Draft, Refusal>, Vec<String>) {
        let mut complaints = Vec::new();
        let fields = body.as_object().cloned().unwrap();
        (Draft::of(fields, version, &mut complaints), complaints)
    }

    #[test]
    fn ids_are_of_the_vendors_alphabet() {
        assert!(is_event_id("fb0192f0c47b1e7cc398c4dc0c0c07398f"));
        for id in ["fb0", "fbw0192", "FB0192", "fb-0192", &"a".repeat(1025)] {
            assert!(!is_event_id(id), "{id}");
        }
    }

    #[test]
    fn a_room_is_asked_for_by_version_one_and_by_nothing_that_was_read() {
        let create = |id: &str, kind: &str| {
            let key = json!({"type": kind});
            json!({"conferenceData": {"createRequest": {"requestId": id, "conferenceSolutionKey": key}}})
        };

        let (asked, complaints) = draft(&create("r1", "hangoutsMeet"), 1);
        assert_eq!(asked.unwrap().ask, Ask::Create("r1".into()));
        assert!(complaints.is_empty());

        let (ignored, complaints) = draft(&create("r1", "hangoutsMeet"), 0);
        assert_eq!(ignored.unwrap().ask, Ask::Nothing);
        assert_eq!(complaints.len(), 1);

        assert!(draft(&create("", "hangoutsMeet"), 1).0.is_err());
        assert!(draft(&create("r1", "eventHangout"), 1).0.is_err());
        assert!(
            draft(&json!({"conferenceData": {"conferenceId": "abc-mnop-xyz"}}), 1)
                .0
                .is_err()
        );
        assert!(
            draft(&json!({"hangoutLink": "https://meet.google.com/abc-mnop-xyz"}), 1)
                .0
                .is_err()
        );
    }

    #[test]
    fn properties_that_are_too_long_vanish() {
        let long = "k".repeat(45);
        let private = json!({long: "v", "short": "v".repeat(1030)});
        let (read, complaints) = draft(&json!({"extendedProperties": {"private": private}}), 0);

        let fields = Value::Object(read.unwrap().fields);
        let kept = &fields["extendedProperties"]["private"];
        assert_eq!(kept.as_object().unwrap().len(), 1);
        assert_eq!(kept["short"].as_str().unwrap().len(), 1024);
        assert_eq!(complaints.len(), 2);
    }

    #[test]
    fn times_are_instants_in_a_named_zone() {
        let settled = |start: Value, end: Value| {
            let mut fields = json!({"start": start, "end": end}).as_object().cloned().unwrap();
            settle_times(&mut fields).map(|_| Value::Object(fields))
        };
        let at = |time: &str, zone: &str| json!({"dateTime": time, "timeZone": zone});
        let (ten, eleven) = ("2026-10-01T10:00:00+02:00", "2026-10-01T11:00:00+02:00");

        let good = settled(at(ten, "Europe/Berlin"), at(eleven, "Europe/Berlin")).unwrap();
        assert_eq!(good["start"]["dateTime"], "2026-10-01T08:00:00Z");
        assert!(settled(at(eleven, "UTC"), at(ten, "UTC")).is_err(), "empty");
        assert!(settled(at("2026-10-01T10:00:00", "Europe/Berlin"), at(eleven, "UTC")).is_err());
        assert!(settled(at("2026-10-01 10:00Z", "UTC"), at(eleven, "UTC")).is_err());
        assert!(settled(at(ten, "+02:00"), at(eleven, "UTC")).is_err());
        assert!(settled(json!({}), at(eleven, "UTC")).is_err());
    }
}
