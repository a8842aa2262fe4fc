//! What whoever directs the play says about a meeting. How the vendor puts it is in [`super::meeting`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// From one instant to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
}

/// A recorded meeting, and what the vendor makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeetingSketch {
    /// The recording's title, which the vendor or its owner may have chosen.
    pub title: String,
    /// The calendar event's title.
    #[serde(default)]
    pub meeting_title: Option<String>,
    /// The join link of the calendar event; none if the vendor did not find one.
    #[serde(default)]
    pub meeting_url: Option<String>,
    /// The calendar event's hours.
    pub scheduled: Span,
    /// From when to when the notetaker was in the room.
    pub recorded: Span,
    /// Whom the calendar event names.
    #[serde(default)]
    pub invitees: Vec<Invitee>,
    /// What was said.
    #[serde(default)]
    pub transcript: Vec<Line>,
    /// The summary, as Markdown; without one there never is one.
    #[serde(default)]
    pub summary: Option<String>,
    /// What somebody promised to do.
    #[serde(default)]
    pub action_items: Vec<ActionItem>,
    /// Moments that somebody marked.
    #[serde(default)]
    pub highlights: Vec<Highlight>,

    /// The address of the account that recorded it; [`super::RECORDER`] if none is given.
    #[serde(default)]
    pub recorded_by: Option<String>,
    /// With which teams it is shared.
    #[serde(default)]
    pub sharing: Sharing,
    /// The addresses of single people with whom it is shared.
    #[serde(default)]
    pub shared_with_people: Vec<String>,
    /// These people may look at it and not download it.
    #[serde(default)]
    pub is_limited: bool,
    /// The name of its meeting type.
    #[serde(default)]
    pub meeting_type: Option<String>,
    /// The language that was spoken. Summaries and action items are English all the same.
    #[serde(default = "english")]
    pub language: String,
    /// There is no picture.
    #[serde(default)]
    pub is_audio_only: bool,
    /// What a download of it contains.
    #[serde(default = "a_short_file")]
    pub media: Vec<u8>,
}

fn english() -> String {
    "en".into()
}

fn a_short_file() -> Vec<u8> {
    b"ID3 a lesson".to_vec()
}

impl MeetingSketch {
    /// A meeting that was recorded in exactly the planned hours, under the calendar event's title, private to the recorder,
    /// with nobody named and nothing said.
    pub fn new(title: &str, scheduled: Span) -> Self {
        Self {
            title: title.into(),
            meeting_title: Some(title.into()),
            meeting_url: None,
            scheduled,
            recorded: scheduled,
            invitees: Vec::new(),
            transcript: Vec::new(),
            summary: None,
            action_items: Vec::new(),
            highlights: Vec::new(),
            recorded_by: None,
            sharing: Sharing::default(),
            shared_with_people: Vec::new(),
            is_limited: false,
            meeting_type: None,
            language: english(),
            is_audio_only: false,
            media: a_short_file(),
        }
    }
}

/// Somebody on the calendar event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invitee {
    /// As the calendar has it.
    pub name: Option<String>,
    /// None, if the calendar hides it.
    pub email: Option<String>,
    /// The speaker whom the vendor takes them for.
    pub matched_speaker: Option<String>,
}

impl Invitee {
    /// Somebody whose name and address are known.
    pub fn new(name: &str, email: &str) -> Self {
        Self {
            name: Some(name.into()),
            email: Some(email.into()),
            matched_speaker: None,
        }
    }
}

/// A line of the transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The name that the speaker had in the room.
    pub speaker: String,
    /// The invitee's address, if the vendor matched one.
    #[serde(default)]
    pub email: Option<String>,
    /// Seconds from the start of the recording.
    pub at_seconds: u32,
    /// What was said.
    pub text: String,
}

/// Something to be done. The vendor gives it no id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionItem {
    /// What, in English.
    pub description: String,
    /// Where it was said, in seconds from the start of the recording.
    pub at_seconds: u32,
    /// By whom.
    #[serde(default)]
    pub assignee: Option<Invitee>,
    /// Somebody wrote it by hand.
    #[serde(default)]
    pub is_user_generated: bool,
    /// Somebody ticked it off.
    #[serde(default)]
    pub is_completed: bool,
}

/// A marked moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Highlight {
    /// The mark's label.
    pub label: String,
    /// What happened in it.
    #[serde(default)]
    pub summary: Option<String>,
    /// Seconds from the start of the recording.
    pub start_seconds: f64,
    /// Seconds from the start of the recording.
    pub end_seconds: f64,
    /// All that was said in it, if that is more than its summary.
    #[serde(default)]
    pub text: Option<String>,
}

/// With which teams of the customer a meeting is shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// With none: private to whoever recorded it.
    #[default]
    NoTeams,
    /// With the recorder's own.
    SingleTeam,
    /// With several.
    MultipleTeams,
    /// With everybody at the customer's.
    AllTeams,
}
