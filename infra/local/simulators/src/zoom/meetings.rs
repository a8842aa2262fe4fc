//! `/v2/users/me` and `/v2/meetings`.

use super::api::{Answer, Call, Desk, Operation, Outcome};
use super::books::{Meeting, Opens, time};
use super::encoding::{credential, meeting_uuid};
use super::events::Told;
use super::people::Standing;
use super::quirks::Quirk;
use super::settings::Settings;
use super::{Zoom, lists};
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// Creations and updates by one host on one day, in UTC.
const CHANGES_PER_DAY: u32 = 100;

/// A link for the host is good for so long.
const START_LINK_LIVES: SignedDuration = SignedDuration::from_hours(2);

/// In lists an agenda ends after so many characters.
const LISTED_AGENDA: usize = 250;

/// What a meeting is to be.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) topic: String,
    pub(super) agenda: String,
    pub(super) kind: i64,
    pub(super) start: Timestamp,
    pub(super) timezone: String,
    /// In minutes.
    pub(super) duration: i64,
    pub(super) password: String,
    pub(super) tracking_fields: Value,
    pub(super) settings: Settings,
}

impl Draft {
    pub(super) fn new(start: Timestamp) -> Self {
        Self {
            topic: "Zoom Meeting".into(),
            agenda: String::new(),
            kind: 2,
            start,
            timezone: "UTC".into(),
            duration: 60,
            password: credential(6),
            tracking_fields: Value::Array(Vec::new()),
            settings: Settings::default(),
        }
    }
}

/// `me` and nobody else.
fn check_me(user: &str) -> Result<(), Answer> {
    let gone = || Answer::refusal(404, 1001, &format!("User does not exist: {user}."));
    (user == "me").then_some(()).ok_or_else(gone)
}

pub(super) async fn read_user(State(zoom): State<Zoom>, Path(user): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ReadUser, call, |desk, _| {
        check_me(&user)?;
        let user = &desk.user;
        Ok(Answer::json(
            200,
            json!({
                "id": user.id, "account_id": user.account, "email": user.email, "type": user.plan.number(),
                "display_name": user.name, "first_name": user.name, "last_name": "", "role_name": "Owner",
                "timezone": "UTC", "verified": 1, "status": "active", "language": "en-US", "pmi": 1_234_567_890,
            }),
        ))
    })
    .await
}

pub(super) async fn create(State(zoom): State<Zoom>, Path(user): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::CreateMeeting, call, |desk, call| {
        check_me(&user)?;
        desk.create(&call.object()?)
    })
    .await
}

pub(super) async fn list(State(zoom): State<Zoom>, Path(user): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ListMeetings, call, |desk, call| {
        check_me(&user)?;
        desk.list(call)
    })
    .await
}

pub(super) async fn read(State(zoom): State<Zoom>, Path(id): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::ReadMeeting, call, |desk, _| {
        let id = desk.own(&id, not_found)?;
        Ok(Answer::json(200, desk.view(id)))
    })
    .await
}

pub(super) async fn update(State(zoom): State<Zoom>, Path(id): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::UpdateMeeting, call, |desk, call| {
        let id = desk.own(&id, not_host)?;
        desk.update(id, &call.object()?)
    })
    .await
}

pub(super) async fn delete(State(zoom): State<Zoom>, Path(id): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::DeleteMeeting, call, |desk, _| {
        let id = desk.own(&id, not_host)?;
        desk.delete(id)
    })
    .await
}

pub(super) async fn put_status(State(zoom): State<Zoom>, Path(id): Path<String>, call: Call) -> Response {
    zoom.serve(Operation::EndMeeting, call, |desk, call| {
        let id = desk.own(&id, not_host)?;
        desk.put_status(id, &call.object()?)
    })
    .await
}

fn not_found(id: u64) -> Answer {
    let text = format!("Meeting does not exist: {id}.");
    Answer::refusal(404, 3001, &text)
}

fn not_host(_: u64) -> Answer {
    Answer::refusal(400, 3003, "You are not the meeting host.")
}

/// The number of a meeting, as it stands in a path.
pub(super) fn meeting_number(text: &str) -> Result<u64, Answer> {
    let is_number = (9..=11).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = || Answer::refusal(400, 300, "Invalid meeting id.");
    is_number.then(|| text.parse().ok()).flatten().ok_or_else(wrong)
}

impl Desk<'_> {
    /// A living meeting of whoever asks; otherwise, if it is somebody else's, what `others` says.
    fn own(&self, id: &str, others: fn(u64) -> Answer) -> Result<u64, Answer> {
        let id = meeting_number(id)?;
        let meeting = self.books.living(id, self.now).ok_or_else(|| not_found(id))?;
        if meeting.host == self.user.id {
            Ok(id)
        } else {
            Err(others(id))
        }
    }

    /// Counts a creation or an update, if there may be one more today.
    fn check_day(&self) -> Result<(String, String), Answer> {
        let day = (self.user.id.clone(), self.now.strftime("%Y-%m-%d").to_string());
        if self.books.spent.get(&day).copied().unwrap_or_default() < CHANGES_PER_DAY {
            return Ok(day);
        }
        let text = format!(
            "You have exceeded the daily rate limit ({CHANGES_PER_DAY}) of Meeting Create/Update API requests \
             permitted for the user {}.",
            self.user.id
        );
        // These headers mislead, as the vendor's do; and there is no Retry-After.
        let answer = Answer::refusal(429, 429, &text)
            .with("x-ratelimit-category", "Light")
            .with("x-ratelimit-type", "QPS")
            .with("x-ratelimit-limit", "80")
            .with("x-ratelimit-remaining", "79");
        Err(answer)
    }

    fn enforce(&self, draft: &mut Draft) {
        let locks = self.books.locks.get(&self.user.account);
        draft
            .settings
            .enforce(self.user.plan, locks.unwrap_or(&Map::new()));
        if self.books.is(Quirk::CoercesSettings) {
            draft.settings.coerce();
        }
        if !self.user.plan.is_paid() {
            draft.tracking_fields = Value::Array(Vec::new());
        }
    }

    fn create(&mut self, asked: &Map<String, Value>) -> Outcome {
        if self.user.standing == Standing::MayNotHost {
            let text = "Your user account is not allowed meeting hosting and scheduling capabilities.";
            return Err(Answer::refusal(400, 3161, text));
        }
        if !asked.contains_key("start_time") {
            let missing = ("start_time".to_owned(), "Invalid field.".to_owned());
            return Err(Answer::invalid(&[missing]));
        }
        let mut draft = Draft::new(self.now);
        draft.apply(asked)?;
        let day = self.check_day()?;
        *self.books.spent.entry(day).or_default() += 1;

        self.enforce(&mut draft);
        let meeting = Meeting {
            id: self.new_number(),
            uuid: meeting_uuid(self.books.is(Quirk::SlashUuids)),
            host: self.user.id.clone(),
            draft,
            created: self.now,
            deleted: None,
            instances: Vec::new(),
            early: Vec::new(),
        };
        let id = meeting.id;
        self.books.grants.given_out.push(meeting.draft.password.clone());
        self.books.meetings.insert(id, meeting);
        self.tell_of_change(id, "meeting.created");
        Ok(Answer::json(201, self.view(id)))
    }

    /// Eleven digits: more than 32 bits hold.
    fn new_number(&self) -> u64 {
        loop {
            let number = rand::random_range(80_000_000_000..=89_999_999_999);
            if !self.books.meetings.contains_key(&number) {
                return number;
            }
        }
    }

    fn update(&mut self, id: u64, asked: &Map<String, Value>) -> Outcome {
        let meeting = self.books.living(id, self.now).ok_or_else(|| not_found(id))?;
        if meeting.running().is_some() {
            let text = "Cannot update a meeting that is in progress.";
            return Err(Answer::refusal(400, 3000, text));
        }
        let mut draft = meeting.draft.clone();
        draft.apply(asked)?;
        let day = self.check_day()?;
        *self.books.spent.entry(day).or_default() += 1;

        self.enforce(&mut draft);
        let has_effect = !self.books.is(Quirk::IgnoresUpdates);
        if let Some(meeting) = self.books.meetings.get_mut(&id).filter(|_| has_effect) {
            meeting.draft = draft;
        }
        self.tell_of_change(id, "meeting.updated");
        Ok(Answer::nothing(204))
    }

    fn delete(&mut self, id: u64) -> Outcome {
        let meeting = self.books.living(id, self.now).ok_or_else(|| not_found(id))?;
        if meeting.running().is_some() {
            let text = "Sorry, you cannot delete this meeting since it is in progress.";
            return Err(Answer::refusal(400, 3002, text));
        }
        if meeting.past().is_some() && meeting.scheduled_end() <= self.now {
            let text = "Sorry, you cannot delete this meeting since it has ended.";
            return Err(Answer::refusal(400, 3007, text));
        }

        self.tell_of_change(id, "meeting.deleted");
        if let Some(meeting) = self.books.meetings.get_mut(&id) {
            meeting.deleted = Some(self.now);
        }
        Ok(Answer::nothing(204))
    }

    fn put_status(&mut self, id: u64, asked: &Map<String, Value>) -> Outcome {
        if asked.get("action").and_then(Value::as_str) != Some("end") {
            let wrong = ("action".to_owned(), "Invalid field.".to_owned());
            return Err(Answer::invalid(&[wrong]));
        }
        let meeting = self.books.living(id, self.now).ok_or_else(|| not_found(id))?;
        if meeting.running().is_none() {
            return Err(Answer::refusal(400, 3000, "The meeting is not in progress."));
        }

        let news = self.books.end(id, self.now);
        self.keep(news);
        Ok(Answer::nothing(204))
    }

    fn tell_of_change(&mut self, id: u64, event: &'static str) {
        if !self.books.is(Quirk::TellsMore) {
            return;
        }
        let news = self.books.teller(id).map(|teller| teller.change(event, self.now));
        self.keep(news.into_iter().collect());
    }

    /// Keeps webhooks for whoever directs the play to send.
    fn keep(&mut self, news: Vec<Told>) {
        let webhooks = self.vendor.seal(self.books, news, self.now);
        self.books.untold.extend(webhooks);
    }

    fn list(&mut self, call: &Call) -> Outcome {
        let kind = call.query.get("type").map_or("scheduled", String::as_str);
        if ![
            "scheduled",
            "live",
            "upcoming",
            "upcoming_meetings",
            "previous_meetings",
        ]
        .contains(&kind)
        {
            return Err(Answer::refusal(400, 300, "Invalid type."));
        }
        let is_wanted = |meeting: &&Meeting| {
            let (is_running, is_to_come) = (meeting.running().is_some(), meeting.draft.start >= self.now);
            match kind {
                "live" => is_running,
                "scheduled" => true,
                "previous_meetings" => !is_running && meeting.past().is_some(),
                _ => is_running || is_to_come,
            }
        };
        let mut found: Vec<&Meeting> = self
            .books
            .meetings
            .values()
            .filter(|meeting| meeting.host == self.user.id)
            .filter(|meeting| self.books.living(meeting.id, self.now).is_some())
            .filter(is_wanted)
            .collect();
        found.sort_by_key(|meeting| meeting.draft.start);

        let rows = found.into_iter().map(|meeting| self.row(meeting)).collect();
        let list = format!("{}/{kind}", self.user.id);
        lists::page(self.books, call, self.now, ("meetings", &list), rows)
    }

    fn row(&self, meeting: &Meeting) -> Value {
        let draft = &meeting.draft;
        let agenda: String = draft.agenda.chars().take(LISTED_AGENDA).collect();
        json!({
            "uuid": meeting.uuid, "id": meeting.id, "host_id": meeting.host, "topic": draft.topic,
            "type": draft.kind, "start_time": time(draft.start), "duration": draft.duration,
            "timezone": draft.timezone, "agenda": agenda, "created_at": time(meeting.created),
            "join_url": self.join_url(meeting),
        })
    }

    fn join_url(&self, meeting: &Meeting) -> String {
        format!(
            "{}j/{}?pwd={}",
            self.vendor.base(),
            meeting.id,
            meeting.draft.password
        )
    }

    /// A meeting as its host sees it, with a link that is new each time.
    fn view(&mut self, id: u64) -> Value {
        let ticket = self.books.ticket(Opens::Meeting(id), self.now + START_LINK_LIVES);
        let Some(meeting) = self.books.meetings.get(&id) else {
            return Value::Null;
        };
        let draft = &meeting.draft;
        let status = if meeting.running().is_some() {
            "started"
        } else {
            "waiting"
        };
        json!({
            "uuid": meeting.uuid, "id": id, "host_id": meeting.host, "host_email": self.user.email,
            "topic": draft.topic, "type": draft.kind, "status": status, "start_time": time(draft.start),
            "duration": draft.duration, "timezone": draft.timezone, "agenda": draft.agenda,
            "created_at": time(meeting.created), "join_url": self.join_url(meeting),
            "start_url": format!("{}s/{id}?zak={ticket}", self.vendor.base()),
            "password": draft.password, "encrypted_password": draft.password, "h323_password": "123456",
            "pstn_password": "123456", "pre_schedule": false, "tracking_fields": draft.tracking_fields,
            "settings": draft.settings,
        })
    }
}
