//! What the vendor's analysis of a session says of whoever was in it.

use super::books::{Books, Session, Stay, time};
use super::quirks::Quirk;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// What somebody does in a session, to be added to what they did before.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Activity {
    /// Seconds of speaking. Nothing keeps them below the time on the call.
    pub speaking_seconds: u32,
    /// Seconds with the microphone on.
    pub mic_seconds: u32,
    /// Seconds with the camera on.
    pub camera_seconds: u32,
    /// Seconds in the space without being on its call. By default the call lasts as long as the stay.
    pub off_call_seconds: u32,
    /// How often they raised a hand.
    pub raised_hands: u32,
    /// How often they reacted.
    pub reactions: u32,
    /// How many messages they wrote to all.
    pub public_messages: u32,
    /// How many messages they wrote to somebody.
    pub private_messages: u32,
}

impl Activity {
    /// Both together.
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            speaking_seconds: self.speaking_seconds.saturating_add(more.speaking_seconds),
            mic_seconds: self.mic_seconds.saturating_add(more.mic_seconds),
            camera_seconds: self.camera_seconds.saturating_add(more.camera_seconds),
            off_call_seconds: self.off_call_seconds.saturating_add(more.off_call_seconds),
            raised_hands: self.raised_hands.saturating_add(more.raised_hands),
            reactions: self.reactions.saturating_add(more.reactions),
            public_messages: self.public_messages.saturating_add(more.public_messages),
            private_messages: self.private_messages.saturating_add(more.private_messages),
        }
    }
}

type Span = (Timestamp, Timestamp);

/// An attendee of a session, with the stays that make them one.
struct Attendee<'a> {
    user: &'a str,
    stays: Vec<&'a Stay>,
    activity: Activity,
    /// When stays end that have not ended.
    end: Timestamp,
}

/// Everybody who was in a session, by when they first came, and its totals.
pub(super) fn attendance(books: &Books, session: &Session, now: Timestamp) -> (Vec<Value>, Value) {
    let attendees = attendees(books, session, now);
    let in_space: i64 = attendees.iter().map(Attendee::in_space).sum();
    let on_call: i64 = attendees.iter().map(Attendee::on_call).sum();
    let stats = json!({
        "attendeesCount": attendees.len(), "totalSpaceDuration": in_space, "totalCallDuration": on_call,
    });
    let rows = attendees.iter().map(|attendee| attendee.row(books)).collect();
    (rows, stats)
}

fn attendees<'a>(books: &Books, session: &'a Session, now: Timestamp) -> Vec<Attendee<'a>> {
    let is_split = books.is(Quirk::SplitsAttendees);
    let mut attendees: Vec<Attendee<'_>> = Vec::new();
    for stay in &session.stays {
        let is_theirs = |attendee: &&mut Attendee<'_>| {
            let has_tab = || attendee.stays.iter().any(|other| other.tab == stay.tab);
            attendee.user == stay.user && (!is_split || has_tab())
        };
        if let Some(attendee) = attendees.iter_mut().find(is_theirs) {
            attendee.stays.push(stay);
        } else {
            attendees.push(Attendee {
                user: &stay.user,
                stays: vec![stay],
                activity: session.activities.get(&stay.user).copied().unwrap_or_default(),
                end: session.end.unwrap_or(now),
            });
        }
    }
    attendees
}

impl Attendee<'_> {
    fn spans(&self) -> impl Iterator<Item = Span> {
        self.stays
            .iter()
            .map(|stay| (stay.from, stay.until.unwrap_or(self.end)))
    }

    /// Those parts of the stays in which the tab was not in the background.
    fn visible_spans(&self) -> Vec<Span> {
        let mut visible = Vec::new();
        for stay in &self.stays {
            let end = stay.until.unwrap_or(self.end);
            let mut from = stay.from;
            for (hidden, shown) in &stay.hidden {
                visible.push((from, *hidden));
                from = shown.unwrap_or(end);
            }
            visible.push((from, end));
        }
        visible
    }

    /// Seconds in the space; two tabs at once count once.
    fn in_space(&self) -> i64 {
        covered(self.spans().collect())
    }

    fn on_call(&self) -> i64 {
        let off_call = i64::from(self.activity.off_call_seconds);
        self.in_space().saturating_sub(off_call).max(0)
    }

    fn first_join(&self) -> Option<Timestamp> {
        self.spans().map(|(from, _)| from).min()
    }

    /// None if somebody is still there, or nobody knows.
    fn last_leave(&self, books: &Books) -> Option<Timestamp> {
        let is_unknown =
            |stay: &&&Stay| stay.until.is_none() || (stay.has_crashed && books.is(Quirk::CrashesHaveNoEnd));
        let is_known = self.stays.iter().find(is_unknown).is_none();
        is_known.then(|| self.spans().map(|(_, until)| until).max())?
    }

    fn row(&self, books: &Books) -> Value {
        let user = books.users.get(self.user);
        let (in_space, activity) = (self.in_space(), self.activity);
        let times = (self.first_join().map(time), self.last_leave(books).map(time));
        let (joined, left) = in_order(books, times);
        json!({
            "userId": self.user,
            "name": user.map(|user| &user.name),
            "email": user.map(|user| &user.email),
            "timeJoined": joined,
            "timeLeft": left,
            "timeOnCall": self.on_call(),
            "spaceDuration": in_space,
            "spaceDurationInBackground": in_space - covered(self.visible_spans()),
            "speakingTime": activity.speaking_seconds,
            "micOnTime": activity.mic_seconds,
            "cameraOnTime": activity.camera_seconds,
            "raisedHands": activity.raised_hands,
            "reactions": activity.reactions,
            "publicMessages": activity.public_messages,
            "privateMessages": activity.private_messages,
        })
    }
}

/// A beginning and an end, or the other way round.
pub(super) fn in_order<T>(books: &Books, (start, end): (T, T)) -> (T, T) {
    if books.is(Quirk::EndsBeforeStart) {
        (end, start)
    } else {
        (start, end)
    }
}

/// How many seconds are in at least one span.
fn covered(mut spans: Vec<Span>) -> i64 {
    spans.sort_unstable();
    let mut sum = SignedDuration::ZERO;
    let mut reached = Timestamp::MIN;
    for (from, until) in spans {
        let from = from.max(reached);
        if until > from {
            sum = sum.saturating_add(until.duration_since(from));
            reached = until;
        }
    }
    sum.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pencilspaces::books::ADMIN;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn stay(tab: &str, from: i64, until: i64, hidden: &[(i64, i64)]) -> Stay {
        let hidden = hidden
            .iter()
            .map(|(from, until)| (minute(*from), Some(minute(*until))));
        Stay {
            user: ADMIN.into(),
            tab: tab.into(),
            from: minute(from),
            until: Some(minute(until)),
            has_crashed: false,
            hidden: hidden.collect(),
        }
    }

    #[test]
    fn two_tabs_at_once_count_once_and_only_the_first_join_and_the_last_leave_are_told() {
        let mut books = Books::new("secret");
        let mut session = Session::new("space", minute(0));
        session.end = Some(minute(60));
        session.stays = vec![
            stay("phone", 0, 20, &[]),
            stay("laptop", 10, 30, &[(15, 25)]),
            stay("laptop", 50, 60, &[]),
        ];

        let (rows, stats) = attendance(&books, &session, minute(90));
        books.quirks.insert(Quirk::SplitsAttendees);
        let (split, _) = attendance(&books, &session, minute(90));

        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["timeJoined"], "1970-01-01T00:00:00.000Z");
        assert_eq!(rows[0]["timeLeft"], "1970-01-01T01:00:00.000Z");
        assert_eq!(rows[0]["spaceDuration"], 40 * 60);
        assert_eq!(rows[0]["spaceDurationInBackground"], 5 * 60);
        assert_eq!(stats["totalSpaceDuration"], 40 * 60);
        assert_eq!(split.len(), 2);
    }
}
