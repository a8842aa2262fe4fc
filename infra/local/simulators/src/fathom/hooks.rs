//! Registrations: who is to be told of which meetings, and with what in them.

use super::books::Books;
use super::meeting::{Included, Meeting, time};
use super::quirks::{Quirk, Quirks};
use super::register::Wish;
use super::webhooks::{self, Secret, Webhook};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// A secret goes on signing so long after another one took its place.
const ROTATES_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Where nothing has arrived for so long, nothing is sent any more.
const GIVES_UP_AFTER: SignedDuration = SignedDuration::from_hours(5 * 24);

/// A body is as large as a long lesson's with its transcript, and more.
const HUGE: usize = 1_500_000;

/// What a meeting may be to the account of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The account recorded it. With a team plan: and shared it with no team.
    MyRecordings,
    /// Somebody outside the account's team plan shared it with them.
    SharedExternalRecordings,
    /// The account recorded it and shared it with a team.
    MySharedWithTeamRecordings,
    /// Somebody on the same team plan shared it.
    SharedTeamRecordings,
}

impl Trigger {
    pub(super) fn needs_team(self) -> bool {
        match self {
            Self::MyRecordings | Self::SharedExternalRecordings => false,
            Self::MySharedWithTeamRecordings | Self::SharedTeamRecordings => true,
        }
    }
}

/// A registration, as a judge sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The vendor's id of it.
    pub id: String,
    /// Where to.
    pub url: Url,
    /// The secret that signs now.
    pub secret: String,
    /// The address of the account whose it is.
    pub account: String,
    /// For which meetings.
    pub triggered_for: Vec<Trigger>,
    /// It was deleted.
    pub is_deleted: bool,
    /// The vendor has given it up, since nothing arrived.
    pub is_disabled: bool,
}

#[derive(Clone)]
pub(super) struct Hook {
    id: String,
    url: Url,
    pub(super) account: String,
    /// The newest first, and when each was replaced.
    secrets: Vec<(Secret, Option<Timestamp>)>,
    triggered_for: Vec<Trigger>,
    included: Included,
    created_at: Timestamp,
    is_deleted: bool,
    is_disabled: bool,
    failing_since: Option<Timestamp>,
}

impl Hook {
    pub(super) fn new(account: &str, wish: Wish, secret: Secret, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            url: wish.url,
            account: account.to_owned(),
            secrets: vec![(secret, None)],
            triggered_for: wish.triggered_for,
            included: wish.included,
            created_at: now,
            is_deleted: false,
            is_disabled: false,
            failing_since: None,
        }
    }

    pub(super) fn registration(&self) -> Registration {
        Registration {
            id: self.id.clone(),
            url: self.url.clone(),
            secret: self.secret(),
            account: self.account.clone(),
            triggered_for: self.triggered_for.clone(),
            is_deleted: self.is_deleted,
            is_disabled: self.is_disabled,
        }
    }

    /// As whoever makes it is told.
    pub(super) fn render(&self, quirks: &Quirks) -> Value {
        json!({
            "id": self.id, "url": self.url, "secret": self.secret(), "created_at": time(self.created_at, quirks),
            "triggered_for": self.triggered_for, "include_transcript": self.included.transcript,
            "include_summary": self.included.summary, "include_action_items": self.included.action_items,
            "include_crm_matches": self.included.crm_matches,
        })
    }

    /// Ends it; whether it had not ended already.
    pub(super) fn delete(&mut self) -> bool {
        !std::mem::replace(&mut self.is_deleted, true)
    }

    fn secret(&self) -> String {
        let newest = self.secrets.first();
        newest.map(|(secret, _)| secret.text()).unwrap_or_default()
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_deleted && !self.is_disabled
    }

    /// Those that sign at this time.
    pub(super) fn signing(&self, now: Timestamp) -> Vec<&Secret> {
        let signs =
            |replaced: &Option<Timestamp>| replaced.is_none_or(|at| now.duration_since(at) < ROTATES_FOR);
        let secrets = self.secrets.iter().filter(|(_, replaced)| signs(replaced));
        secrets.map(|(secret, _)| secret).collect()
    }

    fn rotate(&mut self, now: Timestamp) -> String {
        for (_, replaced) in &mut self.secrets {
            replaced.get_or_insert(now);
        }
        self.secrets.insert(0, (Secret::new(), None));
        self.secret()
    }

    /// Takes note of what became of a delivery.
    fn note(&mut self, is_delivered: bool, now: Timestamp) {
        if is_delivered {
            self.failing_since = None;
            return;
        }
        let since = *self.failing_since.get_or_insert(now);
        self.is_disabled |= now.duration_since(since) >= GIVES_UP_AFTER;
    }

    /// Tells of a meeting.
    fn tell(&self, books: &Books, meeting: &Meeting, now: Timestamp) -> Webhook {
        let id = webhooks::new_id();
        let mut body = books.render(meeting, self.included);
        if books.is(Quirk::HugeBodies) {
            swell(&mut body);
        }
        let body = wrapped(body, &id, &books.quirks);

        let signed = body.to_string();
        Webhook {
            hook: Some(self.id.clone()),
            url: self.url.clone(),
            headers: webhooks::seal(&self.signing(now), &books.quirks, &id, now, &signed),
            body: webhooks::sent(&books.quirks, &body, signed),
        }
    }
}

/// Makes a meeting huge where it has room: in its transcript, else its summary, else its title.
fn swell(meeting: &mut Value) {
    let padding = "and so on ".repeat(HUGE / 10);
    let Some(fields) = meeting.as_object_mut() else {
        return;
    };

    if let Some(lines) = fields.get_mut("transcript").and_then(Value::as_array_mut) {
        lines.push(json!({
            "speaker": {"display_name": "Tutor", "matched_calendar_invitee_email": null},
            "text": padding, "timestamp": "00:00:00",
        }));
    } else if let Some(summary) = fields.get_mut("default_summary").and_then(Value::as_object_mut) {
        summary.insert("markdown_formatted".into(), padding.into());
    } else {
        fields.insert("title".into(), padding.into());
    }
}

fn wrapped(mut meeting: Value, id: &str, quirks: &Quirks) -> Value {
    let number = meeting.get("recording_id").cloned();
    if let (true, Some(fields)) = (quirks.contains(&Quirk::CarriesIds), meeting.as_object_mut()) {
        fields.insert("id".into(), id.into());
    }

    if quirks.contains(&Quirk::WrapsInData) {
        return json!({"event": "new_meeting_content_ready", "data": meeting});
    }
    if quirks.contains(&Quirk::WrapsInMeeting) {
        if let Some(fields) = meeting.as_object_mut() {
            fields.remove("recording_id");
        }
        return json!({"event_type": "recording.ready", "recording": {"id": number}, "meeting": meeting});
    }
    meeting
}

impl Books {
    /// Tells of a meeting whoever asked to be told.
    pub(super) fn tell(&self, recording: u64, now: Timestamp) -> Vec<Webhook> {
        let Some(meeting) = self.meetings.get(&recording) else {
            return Vec::new();
        };
        let hooks = self.hooks.iter().filter(|hook| {
            let trigger = self.trigger(&hook.account, meeting);
            hook.is_live() && trigger.is_some_and(|trigger| hook.triggered_for.contains(&trigger))
        });
        hooks
            .filter(|_| !self.is(Quirk::Silent))
            .map(|hook| hook.tell(self, meeting, now))
            .collect()
    }

    /// The same webhook signed anew, as its next try hours later would be. One that is for no registration stays.
    pub(super) fn seal_again(&self, webhook: &Webhook, now: Timestamp) -> Webhook {
        let hook = self
            .hooks
            .iter()
            .find(|hook| Some(&hook.id) == webhook.hook.as_ref());
        let id = webhook.header("webhook-id").unwrap_or_default();
        let headers =
            hook.map(|hook| webhooks::seal(&hook.signing(now), &self.quirks, id, now, &webhook.body));
        Webhook {
            headers: headers.unwrap_or_else(|| webhook.headers.clone()),
            ..webhook.clone()
        }
    }

    pub(super) fn hook_mut(&mut self, id: &str) -> Option<&mut Hook> {
        self.hooks.iter_mut().find(|hook| hook.id == id)
    }

    /// A new secret for a registration.
    pub(super) fn rotate(&mut self, id: &str, now: Timestamp) -> Option<String> {
        Some(self.hook_mut(id)?.rotate(now))
    }

    pub(super) fn note_delivery(&mut self, webhook: &Webhook, is_delivered: bool, now: Timestamp) {
        let id = webhook.hook.as_deref().unwrap_or_default();
        if let Some(hook) = self.hook_mut(id) {
            hook.note(is_delivered, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fathom::stage::{Stage, lesson};
    use crate::fathom::{MeetingSketch, Quirk, RECORDER, Sharing};
    use serde_json::{Value, json};

    fn wish() -> Value {
        json!({
            "destination_url": "https://firstbell.test/api/webhooks/fathom",
            "triggered_for": ["my_recordings"], "include_summary": true,
        })
    }

    #[tokio::test]
    async fn what_is_told_is_the_meeting_itself_with_what_was_asked_for() {
        let stage = Stage::new().await;
        stage.post("webhooks", &wish()).await;
        let lesson = stage.lesson(0);

        let early = stage.fathom.tell(lesson).remove(0);
        let ready = stage.fathom.content_ready(lesson).remove(0);

        let read = |body: &str| serde_json::from_str::<Value>(body).unwrap();
        assert_eq!(read(&early.body)["default_summary"], Value::Null);
        let body = read(&ready.body);
        assert_eq!(body["recording_id"], lesson);
        assert_eq!(body["default_summary"]["markdown_formatted"], "## Fractions");
        assert_eq!(body["transcript"], Value::Null);
        assert_ne!(early.header("webhook-id"), ready.header("webhook-id"));
    }

    #[tokio::test]
    async fn with_a_team_plan_my_recordings_are_those_that_no_team_sees() {
        let stage = Stage::new().await;
        stage.post("webhooks", &wish()).await;
        let shared = stage.fathom.meeting(MeetingSketch {
            sharing: Sharing::AllTeams,
            ..lesson(0)
        });
        assert_eq!(stage.fathom.tell(shared).len(), 1);

        stage.fathom.open_account("Notetaker", RECORDER, Some("Lessons"));

        assert!(stage.fathom.tell(shared).is_empty());
        assert_eq!(stage.fathom.tell(stage.lesson(1)).len(), 1);
    }

    #[tokio::test]
    async fn an_old_secret_signs_for_a_day_behind_the_new_one() {
        let stage = Stage::new().await;
        stage.fathom.register(&"https://firstbell.test/".parse().unwrap());
        let (id, lesson) = (stage.fathom.registrations()[0].id.clone(), stage.lesson(0));
        let entries = || {
            let webhook = stage.fathom.tell(lesson).remove(0);
            webhook.header("webhook-signature").unwrap().split(' ').count()
        };

        stage.fathom.rotate_secret(&id).unwrap();
        assert_eq!(entries(), 2);
        stage
            .fathom
            .behave([Quirk::WrongSignatureFirst, Quirk::AsymmetricSignatureFirst]);
        assert_eq!(entries(), 4);

        stage.hand.advance(jiff::SignedDuration::from_hours(24));
        stage.fathom.behave([]);
        assert_eq!(entries(), 1);
    }

    #[tokio::test]
    async fn bodies_can_be_huge() {
        let stage = Stage::new().await;
        stage.fathom.register(&"https://firstbell.test/".parse().unwrap());
        stage.fathom.behave([Quirk::HugeBodies]);

        let webhook = stage.fathom.content_ready(stage.lesson(0)).remove(0);

        assert!(webhook.body.len() > 1_500_000);
    }
}
