//! A meeting as the vendor puts it, in its lists and in its webhooks alike.

use super::quirks::{Quirk, Quirks};
use super::sketch::{ActionItem, Invitee, Line, MeetingSketch, Sharing};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// A meeting was created so long after its recording ended, by the vendor's example. Its content takes longer.
const APPEARS_AFTER: SignedDuration = SignedDuration::from_secs(35);

#[derive(Clone)]
pub(super) struct Meeting {
    pub(super) id: u64,
    /// The address of the account that recorded it.
    pub(super) recorder: String,
    pub(super) sketch: MeetingSketch,
    /// Whoever knows this sees the recording.
    pub(super) share: String,
    /// Transcript, summary and action items are there.
    pub(super) is_ready: bool,
}

/// Which of the longer fields were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a field that is asked for by itself"
)]
pub(super) struct Included {
    pub(super) transcript: bool,
    pub(super) summary: bool,
    pub(super) action_items: bool,
    pub(super) highlights: bool,
    pub(super) crm_matches: bool,
}

/// Who recorded a meeting, as meetings name them.
pub(super) struct Recorder<'a> {
    pub(super) name: &'a str,
    pub(super) email: &'a str,
    pub(super) team: Option<&'a str>,
}

impl Meeting {
    pub(super) fn created_at(&self) -> Timestamp {
        later(self.sketch.recorded.end, APPEARS_AFTER)
    }

    /// The address at which the customer's people see it.
    pub(super) fn url(&self) -> String {
        format!("https://fathom.video/calls/{}", self.id)
    }

    /// The address at which everybody does.
    pub(super) fn share_url(&self) -> String {
        format!("https://fathom.video/share/{}", self.share)
    }

    /// Whether any invitee is of another domain than the recorder.
    pub(super) fn has_externals(&self) -> bool {
        let mut invitees = self.sketch.invitees.iter();
        invitees.any(|invitee| self.is_external(invitee))
    }

    fn is_external(&self, invitee: &Invitee) -> bool {
        domain(invitee.email.as_deref()) != domain(Some(&self.recorder))
    }

    /// The whole object.
    pub(super) fn render(&self, recorder: &Recorder<'_>, included: Included, quirks: &Quirks) -> Value {
        let mut fields = self.always(recorder, quirks);
        let is = |quirk| quirks.contains(&quirk);
        if is(Quirk::TextIds) {
            fields.insert("recording_id".into(), self.id.to_string().into());
        }
        if is(Quirk::HidesMeetingUrls) {
            fields.remove("meeting_url");
        }
        if is(Quirk::OldShape) {
            let kind = if self.has_externals() {
                "external"
            } else {
                "internal"
            };
            fields.insert("meeting_type".into(), kind.into());
        }

        for (name, is_asked, value) in self.longer(included) {
            if is_asked || !is(Quirk::OmitsWhatIsNotAsked) {
                fields.insert(name.into(), if is_asked { value } else { Value::Null });
            }
        }
        Value::Object(fields)
    }

    fn always(&self, recorder: &Recorder<'_>, quirks: &Quirks) -> Map<String, Value> {
        let sketch = &self.sketch;
        let time = |at| time(at, quirks);
        let domains = if self.has_externals() {
            "one_or_more_external"
        } else {
            "only_internal"
        };
        let invitees: Vec<Value> = sketch
            .invitees
            .iter()
            .map(|invitee| self.invitee(invitee, quirks))
            .collect();

        let fields = json!({
            "title": sketch.title, "meeting_title": sketch.meeting_title, "meeting_type": sketch.meeting_type,
            "recording_id": self.id, "url": self.url(), "share_url": self.share_url(),
            "created_at": time(self.created_at()), "meeting_url": sketch.meeting_url,
            "scheduled_start_time": time(sketch.scheduled.start), "scheduled_end_time": time(sketch.scheduled.end),
            "recording_start_time": time(sketch.recorded.start), "recording_end_time": time(sketch.recorded.end),
            "calendar_invitees_domains_type": domains, "shared_with": shared_with(sketch.sharing),
            "transcript_language": sketch.language, "calendar_invitees": invitees,
            "recorded_by": {
                "name": recorder.name, "email": recorder.email,
                "email_domain": domain(Some(recorder.email)), "team": recorder.team,
            },
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    fn longer(&self, included: Included) -> [(&'static str, bool, Value); 5] {
        let no_crm = json!({
            "contacts": [], "companies": [], "deals": [], "error": "no CRM is connected",
        });
        let ready = |value: Value| if self.is_ready { value } else { Value::Null };
        [
            ("transcript", included.transcript, ready(self.transcript())),
            ("default_summary", included.summary, ready(self.summary())),
            ("action_items", included.action_items, ready(self.action_items())),
            ("highlights", included.highlights, ready(self.highlights())),
            ("crm_matches", included.crm_matches, no_crm),
        ]
    }

    pub(super) fn transcript(&self) -> Value {
        self.sketch.transcript.iter().map(line).collect()
    }

    /// Null, if there is none.
    pub(super) fn summary(&self) -> Value {
        let summary = self.sketch.summary.as_ref();
        summary.map_or(
            Value::Null,
            |text| json!({"template_name": "General", "markdown_formatted": text}),
        )
    }

    fn action_items(&self) -> Value {
        let items = self.sketch.action_items.iter();
        items.map(|item| self.action_item(item)).collect()
    }

    fn action_item(&self, item: &ActionItem) -> Value {
        let assignee = item.assignee.clone().unwrap_or_default();
        json!({
            "description": item.description, "user_generated": item.is_user_generated,
            "completed": item.is_completed, "recording_timestamp": clock_face(item.at_seconds),
            "recording_playback_url": format!("{}#t={}", self.url(), item.at_seconds),
            "assignee": {"name": assignee.name, "email": assignee.email, "team": null},
        })
    }

    fn highlights(&self) -> Value {
        let highlights = self.sketch.highlights.iter();
        highlights
            .map(|highlight| {
                let mut value = json!({
                    "type": highlight.label, "summary": highlight.summary,
                    "start_time": highlight.start_seconds, "end_time": highlight.end_seconds,
                });
                if let (Some(text), Some(fields)) = (&highlight.text, value.as_object_mut()) {
                    fields.insert("text".into(), text.as_str().into());
                }
                value
            })
            .collect()
    }

    fn invitee(&self, invitee: &Invitee, quirks: &Quirks) -> Value {
        let is_external = self.is_external(invitee);
        if quirks.contains(&Quirk::OldShape) {
            return json!({"name": invitee.name, "email": invitee.email, "is_external": is_external});
        }
        json!({
            "name": invitee.name, "email": invitee.email, "email_domain": domain(invitee.email.as_deref()),
            "is_external": is_external, "matched_speaker_display_name": invitee.matched_speaker,
        })
    }
}

fn line(line: &Line) -> Value {
    json!({
        "speaker": {"display_name": line.speaker, "matched_calendar_invitee_email": line.email},
        "text": line.text, "timestamp": clock_face(line.at_seconds),
    })
}

fn shared_with(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::NoTeams => "no_teams",
        Sharing::SingleTeam => "single_team",
        Sharing::MultipleTeams => "multiple_teams",
        Sharing::AllTeams => "all_teams",
    }
}

/// What stands behind the @ of an address.
pub(super) fn domain(email: Option<&str>) -> Option<String> {
    let (_, domain) = email?.rsplit_once('@')?;
    Some(domain.to_lowercase())
}

/// `HH:MM:SS`.
fn clock_face(seconds: u32) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// So long after `at`, or at the end of time.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// In whole seconds.
pub(super) fn time(at: Timestamp, quirks: &Quirks) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    if quirks.contains(&Quirk::OffsetTimes) {
        whole.display_with_offset(Offset::constant(1)).to_string()
    } else {
        whole.to_string()
    }
}
