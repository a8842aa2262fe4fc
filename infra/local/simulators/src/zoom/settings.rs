//! What a meeting is asked to be, and what comes of it: settings are not taken as asked.

use super::api::Answer;
use super::meetings::Draft;
use super::people::Plan;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// `2026-03-02T17:00:00` and the same with a Z.
const LOCAL_LENGTH: usize = 19;
const UTC_LENGTH: usize = 20;

const LONGEST_TOPIC: usize = 200;
const LONGEST_AGENDA: usize = 2000;
const LONGEST_PASSWORD: usize = 10;
const LONGEST_ZONE: usize = 64;

/// In minutes.
const DURATIONS: RangeInclusive<i64> = 1..=1440;

/// What is asked of a meeting, as far as it is looked at here.
#[derive(Debug, Clone, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "the vendor's, by its names")]
pub(super) struct Settings {
    pub(super) join_before_host: bool,
    /// How many minutes before; 0 is at any time.
    pub(super) jbh_time: i64,
    pub(super) waiting_room: bool,
    /// 2 is without registration.
    approval_type: i64,
    pub(super) auto_recording: String,
    pub(super) meeting_authentication: bool,
    mute_upon_entry: bool,
    host_video: bool,
    participant_video: bool,
    meeting_invitees: Value,
    use_pmi: bool,
    alternative_hosts: String,
}

impl Default for Settings {
    /// What an account starts with: whoever does not ask for anything gets a waiting room.
    fn default() -> Self {
        Self {
            join_before_host: false,
            jbh_time: 0,
            waiting_room: true,
            approval_type: 2,
            auto_recording: "none".into(),
            meeting_authentication: false,
            mute_upon_entry: false,
            host_video: false,
            participant_video: false,
            meeting_invitees: Value::Array(Vec::new()),
            use_pmi: false,
            alternative_hosts: String::new(),
        }
    }
}

impl Settings {
    fn read(&mut self, fields: &mut Fields<'_>) {
        fields.flag("join_before_host", &mut self.join_before_host);
        fields.number("jbh_time", 0..=1440, &mut self.jbh_time);
        fields.flag("waiting_room", &mut self.waiting_room);
        fields.number("approval_type", 0..=2, &mut self.approval_type);
        fields.text("auto_recording", 20, &mut self.auto_recording);
        fields.flag("meeting_authentication", &mut self.meeting_authentication);
        fields.flag("mute_upon_entry", &mut self.mute_upon_entry);
        fields.flag("host_video", &mut self.host_video);
        fields.flag("participant_video", &mut self.participant_video);
        fields.flag("use_pmi", &mut self.use_pmi);
        fields.text("alternative_hosts", 1000, &mut self.alternative_hosts);
        fields.invitees("meeting_invitees", &mut self.meeting_invitees);
    }

    /// What is in force: the account's locks and the plan's limits win, and what makes no sense goes. Nobody is told.
    pub(super) fn enforce(&mut self, plan: Plan, locks: &Map<String, Value>) {
        let mut ignored = Vec::new();
        self.read(&mut Fields::new(locks, "", &mut ignored));

        let is_known = ["none", "local", "cloud"].contains(&self.auto_recording.as_str());
        let is_above_plan = self.auto_recording == "cloud" && !plan.is_paid();
        if !is_known || is_above_plan {
            self.auto_recording = "none".into();
        }
        if !plan.is_paid() {
            self.approval_type = 2;
        }
        if ![0, 5, 10, 15].contains(&self.jbh_time) {
            self.jbh_time = 0;
        }
        if self.waiting_room {
            self.join_before_host = false;
        }
        if !self.join_before_host {
            self.jbh_time = 0;
        }
    }

    /// What an account gives that has locked everything.
    pub(super) fn coerce(&mut self) {
        self.join_before_host = false;
        self.jbh_time = 0;
        self.waiting_room = true;
        self.auto_recording = "none".into();
        self.meeting_authentication = true;
    }
}

/// Fields of a request, read one by one. What is wrong is collected; what is not there leaves things as they are.
pub(super) struct Fields<'a> {
    given: &'a Map<String, Value>,
    prefix: &'static str,
    wrong: &'a mut Vec<(String, String)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        given: &'a Map<String, Value>,
        prefix: &'static str,
        wrong: &'a mut Vec<(String, String)>,
    ) -> Self {
        Self { given, prefix, wrong }
    }

    fn refuse(&mut self, name: &str) {
        let field = format!("{}{name}", self.prefix);
        self.wrong.push((field, "Invalid field.".into()));
    }

    /// Puts what `read` makes of a field where it belongs; null is as wrong as any other type.
    fn put<T>(&mut self, name: &str, into: &mut T, read: impl FnOnce(&Value) -> Option<T>) {
        let Some(value) = self.given.get(name) else {
            return;
        };
        match read(value) {
            Some(value) => *into = value,
            None => self.refuse(name),
        }
    }

    fn flag(&mut self, name: &str, into: &mut bool) {
        self.put(name, into, Value::as_bool);
    }

    fn number(&mut self, name: &str, range: RangeInclusive<i64>, into: &mut i64) {
        self.put(name, into, |value| {
            value.as_i64().filter(|number| range.contains(number))
        });
    }

    fn text(&mut self, name: &str, longest: usize, into: &mut String) {
        self.put(name, into, |value| {
            let text = value.as_str()?;
            (text.chars().count() <= longest).then(|| text.to_owned())
        });
    }

    fn invitees(&mut self, name: &str, into: &mut Value) {
        let is_invitee = |invitee: &Value| {
            let email = invitee.get("email").and_then(Value::as_str);
            email.is_some_and(|email| email.contains('@'))
        };
        self.put(name, into, |value| {
            let invitees = value.as_array()?;
            invitees.iter().all(is_invitee).then(|| value.clone())
        });
    }
}

fn is_password(text: &str) -> bool {
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "@-_*".contains(letter);
    text.chars().count() <= LONGEST_PASSWORD && text.chars().all(is_known)
}

fn is_zone(text: &str) -> bool {
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "/_-+".contains(letter);
    let is_named = text.contains('/') || ["UTC", "GMT"].contains(&text);
    is_named && text.len() <= LONGEST_ZONE && text.chars().all(is_known)
}

/// When a meeting starts. A time without a Z is local to the meeting's zone; there is no table of zones here, so only
/// that of UTC is understood.
fn start_time(text: &str, zone: &str) -> Option<Timestamp> {
    if text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    if text.len() == UTC_LENGTH && text.ends_with('Z') {
        return text.parse().ok();
    }
    let is_local = text.len() == LOCAL_LENGTH && ["UTC", "GMT"].contains(&zone);
    let local: DateTime = is_local.then(|| text.parse().ok()).flatten()?;
    let zoned = local.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

impl Draft {
    /// Takes over what a request asks for, or says what is wrong with it.
    pub(super) fn apply(&mut self, given: &Map<String, Value>) -> Result<(), Answer> {
        let mut wrong = Vec::new();
        self.read(&mut Fields::new(given, "", &mut wrong));
        match given.get("settings") {
            None => {}
            Some(Value::Object(settings)) => {
                let mut fields = Fields::new(settings, "settings.", &mut wrong);
                self.settings.read(&mut fields);
            }
            Some(_) => wrong.push(("settings".into(), "Invalid field.".into())),
        }

        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Answer::invalid(&wrong))
        }
    }

    fn read(&mut self, fields: &mut Fields<'_>) {
        fields.text("topic", LONGEST_TOPIC, &mut self.topic);
        fields.text("agenda", LONGEST_AGENDA, &mut self.agenda);
        fields.number("type", 2..=2, &mut self.kind);
        fields.number("duration", DURATIONS, &mut self.duration);
        fields.put("timezone", &mut self.timezone, |value| {
            let zone = value.as_str().filter(|zone| is_zone(zone));
            zone.map(ToOwned::to_owned)
        });
        fields.put("password", &mut self.password, |value| {
            let password = value.as_str().filter(|text| is_password(text));
            password.map(ToOwned::to_owned)
        });
        fields.put("tracking_fields", &mut self.tracking_fields, |value| {
            value.is_array().then(|| value.clone())
        });

        let zone = self.timezone.clone();
        fields.put("start_time", &mut self.start, |value| {
            value.as_str().and_then(|text| start_time(text, &zone))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn effective(asked: &Value, plan: Plan, locks: &Value) -> Settings {
        let mut draft = Draft::new(Timestamp::UNIX_EPOCH);
        draft.apply(&object(&json!({ "settings": asked }))).unwrap();
        draft.settings.enforce(plan, &object(locks));
        draft.settings
    }

    #[test]
    fn start_times_have_two_forms() {
        assert!(start_time("2026-03-02T17:00:00Z", "Europe/Berlin").is_some());
        assert!(start_time("2026-03-02T17:00:00", "UTC").is_some());
        for wrong in [
            "2026-03-02T17:00:00.000Z",
            "2026-03-02T17:00:00+01:00",
            "2026-03-02 17:00:00Z",
            "1772470800",
        ] {
            assert!(start_time(wrong, "UTC").is_none(), "{wrong}");
        }
    }

    #[test]
    fn types_are_checked_and_each_fault_is_named() {
        let mut draft = Draft::new(Timestamp::UNIX_EPOCH);
        let asked = json!({"duration": "60", "password": "with space", "settings": {"waiting_room": "yes"}});
        let refusal = draft.apply(&object(&asked)).unwrap_err();
        let text = format!("{refusal:?}");
        for field in ["duration", "password", "settings.waiting_room"] {
            assert!(text.contains(field), "{field}");
        }
    }

    #[test]
    fn the_plan_and_the_account_win() {
        let basic = effective(&json!({"auto_recording": "cloud"}), Plan::Basic, &json!({}));
        assert_eq!(basic.auto_recording, "none");
        let paid = effective(&json!({"auto_recording": "cloud"}), Plan::Pro, &json!({}));
        assert_eq!(paid.auto_recording, "cloud");
        let odd = effective(&json!({"auto_recording": "both"}), Plan::Pro, &json!({}));
        assert_eq!(odd.auto_recording, "none");
        let both = json!({"waiting_room": true, "join_before_host": true});
        assert!(!effective(&both, Plan::Pro, &json!({})).join_before_host);
        let open = json!({"waiting_room": false, "join_before_host": true});
        let locked = effective(&open, Plan::Pro, &json!({"waiting_room": true}));
        assert!(locked.waiting_room && !locked.join_before_host);
    }
}
