//! What Lessonspace says happened in a room.
//!
//! The room's own list has, for each session, who was in it and a log of when they came, left and stopped moving. The
//! organisation's list has the sessions and who was in them, and stands in when the first cannot be read.

use super::api::Lessonspace;
use super::id_text;
use crate::answer::read;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::prove::evidence::{Did, Evidence, Mark, Span};
use jiff::{SignedDuration, Timestamp};
use platform::invocation;
use platform::outbound::VendorError;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many pages of one list are read. A lesson fills one.
const MOST_PAGES: usize = 10;

/// How many characters of an unknown log type are shown.
const LONGEST_WORD: usize = 40;

/// The error for a list that we could not read to its end. Such a list proves nothing.
const ENDLESS: VendorError = VendorError::Permanent { status: 200 };
/// How far apart two departures of one person in the same instant are kept. No rule reckons with so short a
/// time.
const JUST_AFTER: SignedDuration = SignedDuration::from_millis(1);

/// A list as the vendor's endpoints answer it: all at once, or a page and where the next one is.
#[derive(Deserialize)]
#[serde(untagged)]
enum List<T> {
    All(Vec<T>),
    Page {
        #[serde(default)]
        next: Option<String>,
        results: Vec<T>,
    },
}

/// A session in either list. Besides what is read here a row has names, e-mail addresses and the recording's password:
/// rows are never logged.
#[derive(Deserialize)]
struct Row {
    uuid: String,
    /// Null for the session that a launch has announced and nobody has begun.
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    profiles: Option<Vec<Profile>>,
    guests: Option<Vec<Guest>>,
    /// When each person came and left; in the room's own list only.
    logs: Option<Vec<Log>>,
    /// People who were connected; in the room's own list only.
    connected_users: Option<Vec<Connected>>,
    recording_available: Option<bool>,
    recording_deleted: Option<bool>,
    space: Option<Space>,
}

#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    user: Value,
}

#[derive(Deserialize)]
struct Connected {
    #[serde(default)]
    profile: Value,
}

#[derive(Deserialize)]
struct Guest {
    #[serde(default)]
    socket_id: Value,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    profile: Value,
    #[serde(rename = "log_type")]
    what: Option<String>,
    date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Space {
    #[serde(default)]
    id: Value,
    record_av: Option<bool>,
}

/// A user of the organisation, with the id by which we named them to the vendor.
#[derive(Deserialize)]
struct Member {
    user: Profiled,
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Profiled {
    #[serde(default)]
    id: Value,
}

impl Lessonspace {
    /// Everything that the vendor's list says of the sessions in `room` that began between `from` and `until`.
    /// `people` stays empty: which of the vendor's ids is whose is known from the launches.
    ///
    /// An error is never an empty list: [`VendorError::Transient`] where asking again may help, otherwise the vendor
    /// does not let us read it to its end.
    pub async fn report(
        &self,
        booking: BookingId,
        room: &RoomId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Evidence, VendorError> {
        let of_room = self.rooms_own_rows(room, from, until).await;
        let rows = match of_room {
            Err(error) if is_unreadable(error) => {
                tracing::warn!(%booking, %error, "the room's own list is unreadable: nobody's times are known");
                self.organisations_rows(room, from, until).await?
            }
            other => other?,
        };

        let mut evidence = Evidence::default();
        for row in rows {
            let is_asked_for = row
                .start_time
                .is_some_and(|began_at| (from..=until).contains(&began_at));
            if is_asked_for {
                evidence.merge(row.evidence());
            }
        }

        Ok(evidence)
    }

    async fn rooms_own_rows(
        &self,
        room: &RoomId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Row>, VendorError> {
        let path = format!("spaces/{room}/sessions/");
        let mut rows: Vec<Row> = self.list(&path, &bounds(from, until)).await?;

        // Rows of this list may leave the room out, since it is in the address.
        rows.retain(|row| row.space.as_ref().is_none_or(|space| space.is(room)));
        Ok(rows)
    }

    async fn organisations_rows(
        &self,
        room: &RoomId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Row>, VendorError> {
        let path = format!("organisations/{}/sessions/", self.config.organisation);
        let mut filter = bounds(from, until);
        filter.push(("space".into(), room.to_string()));
        let mut rows: Vec<Row> = self.list(&path, &filter).await?;

        // A filter that the vendor does not know is ignored without a word, so the rows are filtered here,
        // too.
        rows.retain(|row| row.space.as_ref().is_some_and(|space| space.is(room)));
        Ok(rows)
    }

    /// Whom the vendor knows as `vendor_user`, for a person in `room` of whom no launch of ours tells because its
    /// answer was lost. `None` if the vendor does not say, or says something that is no id of ours.
    pub async fn known_as(&self, room: &RoomId, vendor_user: &str) -> Result<Option<ProfileId>, VendorError> {
        let path = format!("organisations/{}/users/", self.config.organisation);
        let filter = [("space".to_owned(), room.to_string())];
        let members: Vec<Member> = self.list(&path, &filter).await?;

        let found = members
            .into_iter()
            .find(|member| id_text(&member.user.id).as_deref() == Some(vendor_user));
        Ok(found.and_then(|member| member.external_id?.parse().ok()))
    }

    /// Reads all pages of a list. Of `next` only the query is taken, so the address stays the vendor's and
    /// our key goes nowhere else.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &[(String, String)],
    ) -> Result<Vec<T>, VendorError> {
        let (mut all, mut query) = (Vec::new(), filter.to_vec());

        for _ in 0..MOST_PAGES {
            let request = self.request(Method::GET, path).await?.query(&query);
            match read(invocation::phase("vendor_ms", request.send()).await).await? {
                List::All(rows) => {
                    all.extend(rows);
                    return Ok(all);
                }
                List::Page { next, results } => {
                    all.extend(results);
                    let Some(next) = next else { return Ok(all) };
                    let next = self.config.base_url.join(&next).map_err(|_| ENDLESS)?;
                    query = next.query_pairs().into_owned().collect();
                }
            }
        }

        Err(ENDLESS)
    }
}

fn bounds(from: Timestamp, until: Timestamp) -> Vec<(String, String)> {
    vec![
        // Without this the vendor leaves out sessions of one person, and whoever waited alone would never
        // have been there.
        ("include_single_user".into(), "true".into()),
        ("start_time_after".into(), from.to_string()),
        ("start_time_before".into(), until.to_string()),
    ]
}

/// Whether the other list should be asked: this one is not there, refuses the question, or answers something else.
fn is_unreadable(error: VendorError) -> bool {
    match error {
        VendorError::NotFound | VendorError::Permanent { .. } => true,
        VendorError::Transient { status, .. } => status.is_some_and(|status| (200..300).contains(&status)),
        // A key that is refused altogether gets 401. With 403 only this list is forbidden, and the other may
        // be allowed.
        VendorError::Barred { status } => status == 403,
        VendorError::NotEnabled { .. } | VendorError::Insufficient { .. } => false,
    }
}

/// What a log's type says; `None` for one that is not known. One spelling has been seen in the wild, `user-joined`.
fn did(log_type: &str) -> Option<Did> {
    let log_type = log_type.to_ascii_lowercase();
    let says = |word| log_type.contains(word);

    if says("join") {
        Some(Did::Came)
    } else if says("left") || says("leave") {
        Some(Did::Left)
    } else if says("idle") {
        Some(Did::Idled)
    } else {
        None
    }
}

/// A log's type as it may be shown: a word, and nobody's name.
fn shown(log_type: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    log_type.chars().filter(is_plain).take(LONGEST_WORD).collect()
}

/// The time to the millisecond, which is how evidence is stored: the same log read twice is the same mark.
fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

impl Space {
    fn is(&self, room: &RoomId) -> bool {
        self.id.as_str() == Some(room.0.as_str())
    }
}

impl Row {
    /// The row as facts; nothing for a session that nobody has begun.
    fn evidence(self) -> Evidence {
        let Some(began_at) = self.start_time.map(to_millisecond) else {
            return Evidence::default();
        };

        let mut marks = self.logged();
        let logged: BTreeSet<String> = marks.iter().map(|mark| mark.who.clone()).collect();
        for who in self.people().filter(|who| !logged.contains(who)) {
            marks.insert(Mark {
                span: self.uuid.clone(),
                who,
                did: Did::WasThere,
                at: began_at,
            });
        }

        let span = Span {
            began_at,
            ended_at: self.end_time.map(to_millisecond),
            is_idled: self.end_time.is_some() && all_who_stayed_were_idle(&marks),
            is_recorded: self.is_recorded(),
        };
        Evidence {
            spans: BTreeMap::from([(self.uuid, span)]),
            marks,
            ..Evidence::default()
        }
    }

    fn logged(&self) -> BTreeSet<Mark> {
        let (mut marks, mut unknown) = (BTreeSet::new(), BTreeSet::new());

        for log in self.logs.iter().flatten() {
            let log_type = log.what.as_deref().unwrap_or_default();
            let (Some(did), Some(who), Some(at)) = (did(log_type), id_text(&log.profile), log.date) else {
                unknown.insert(shown(log_type));
                continue;
            };
            let mut mark = Mark {
                span: self.uuid.clone(),
                who,
                did,
                at: to_millisecond(at),
            };
            // Whoever closes two tabs at once leaves twice. Marks are a set, so the second departure gets a
            // time just after the first.
            while did == Did::Left && marks.contains(&mark) {
                mark.at += JUST_AFTER;
            }
            marks.insert(mark);
        }

        for log_type in unknown {
            tracing::warn!(log_type, "the vendor logs something that we do not read");
        }
        marks
    }

    /// Everybody who was in the session, whether or not a log says when.
    fn people(&self) -> impl Iterator<Item = String> {
        let profiles = self
            .profiles
            .iter()
            .flatten()
            .filter_map(|one| id_text(&one.user));
        let connected = self.connected_users.iter().flatten();
        let connected = connected.filter_map(|one| id_text(&one.profile));
        let guests = self.guests.iter().flatten();
        let guests = guests.filter_map(|one| Some(format!("guest:{}", id_text(&one.socket_id)?)));

        profiles.chain(connected).chain(guests)
    }

    fn is_recorded(&self) -> bool {
        let is_on = self.space.as_ref().and_then(|space| space.record_av);
        let is_available = self.recording_available.or(is_on).unwrap_or(false);
        is_available && !self.recording_deleted.unwrap_or(false)
    }
}

/// Whether somebody never left, and everybody who did not leave was idle at the end. Then it was the vendor
/// that ended the session, and they may have stayed in front of it.
fn all_who_stayed_were_idle(marks: &BTreeSet<Mark>) -> bool {
    let mut last = BTreeMap::<&str, &Mark>::new();
    for mark in marks {
        let latest = last.entry(&mark.who).or_insert(mark);
        // Of two marks at the same instant the departure counts as the later one.
        if (mark.at, mark.did == Did::Left) > (latest.at, latest.did == Did::Left) {
            *latest = mark;
        }
    }

    let mut stayed = last.values().filter(|mark| mark.did != Did::Left).peekable();
    stayed.peek().is_some() && stayed.all(|mark| mark.did == Did::Idled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SPAN: &str = "5b0f3c9e-1111-4000-8000-000000000001";

    fn row(changes: &Value) -> Value {
        let mut row = json!({
            "id": 880_123, "uuid": SPAN, "name": "Lesson",
            "start_time": "2026-03-02T17:00:04.123456Z", "end_time": "2026-03-02T18:01:00.500+00:00",
            "profiles": [
                {"user": 11, "name": "Cleo Tutor", "email": "cleo@example.test", "role": "teacher"},
                {"user": 12, "name": null, "email": null, "role": "student"},
            ],
            "guests": [], "billable_seconds": 3600, "tags": {}, "summary": null,
            "playback_url": null, "recording_available": true, "recording_deleted": false,
            "is_password_set": false, "playback_password": null,
            "space": {"id": "r-1", "alias": null, "slug": "x", "organisation": 20001, "record_av": true},
            "logs": [
                {"profile": 11, "log_type": "user-joined", "date": "2026-03-02T17:00:04.123456Z"},
                {"profile": 12, "log_type": "user-joined", "date": "2026-03-02T17:02:00Z"},
                {"profile": 12, "log_type": "user-left", "date": "2026-03-02T18:00:00Z"},
                {"profile": 11, "log_type": "user-left", "date": "2026-03-02T18:00:30Z"},
            ],
            "connected_users": [],
        });

        for (name, value) in changes.as_object().unwrap() {
            row[name] = value.clone();
        }

        row
    }

    fn evidence(changes: &Value) -> Evidence {
        serde_json::from_value::<Row>(row(changes)).unwrap().evidence()
    }

    fn told(evidence: &Evidence) -> Vec<(String, Did, String)> {
        let marks = evidence.marks.iter();
        marks
            .map(|mark| (mark.who.clone(), mark.did, mark.at.to_string()))
            .collect()
    }

    #[test]
    fn a_row_says_who_came_and_left_and_when() {
        let read = evidence(&json!({}));
        let span = Span {
            began_at: "2026-03-02T17:00:04.123Z".parse().unwrap(),
            ended_at: Some("2026-03-02T18:01:00.5Z".parse().unwrap()),
            is_idled: false,
            is_recorded: true,
        };
        assert_eq!(read.spans, BTreeMap::from([(SPAN.to_owned(), span)]));
        assert!(read.people.is_empty() && read.ends.is_empty());
        assert!(read.marks.iter().all(|mark| mark.span == SPAN));

        let mark = |who: &str, did, at: &str| (who.to_owned(), did, at.to_owned());
        let expected = [
            mark("11", Did::Came, "2026-03-02T17:00:04.123Z"),
            mark("11", Did::Left, "2026-03-02T18:00:30Z"),
            mark("12", Did::Came, "2026-03-02T17:02:00Z"),
            mark("12", Did::Left, "2026-03-02T18:00:00Z"),
        ];
        assert_eq!(told(&read), expected);
    }

    #[test]
    fn whoever_no_log_mentions_was_there_at_some_time() {
        let read = evidence(&json!({
            "logs": [{"profile": 11, "log_type": "user-joined", "date": "2026-03-02T17:00:04Z"}],
            "connected_users": [{"profile": 11}, {"profile": 13}],
            "guests": [{"socket_id": "Abc-1", "name": "Grandma"}, {"socket_id": null}],
        }));
        let was_there: Vec<_> = read
            .marks
            .iter()
            .filter(|mark| mark.did == Did::WasThere)
            .collect();

        let who: Vec<_> = was_there.iter().map(|mark| mark.who.as_str()).collect();
        assert_eq!(who, ["12", "13", "guest:Abc-1"]);
        assert!(was_there.iter().all(|mark| mark.at == read.spans[SPAN].began_at));
        assert_eq!(read.marks.len(), 4);
    }

    #[test]
    fn a_row_without_presence_is_a_span_all_the_same() {
        let nothing = json!({"logs": null, "connected_users": null, "guests": null, "profiles": null});
        let read = evidence(&nothing);

        assert_eq!((read.spans.len(), read.marks.len()), (1, 0));

        let bare = json!({"uuid": SPAN, "start_time": "2026-03-02T17:00:00Z", "end_time": null});
        let read = serde_json::from_value::<Row>(bare).unwrap().evidence();
        assert_eq!(
            (read.spans[SPAN].ended_at, read.spans[SPAN].is_recorded),
            (None, false)
        );
    }

    #[test]
    fn a_session_that_nobody_began_is_nothing() {
        assert_eq!(evidence(&json!({"start_time": null})), Evidence::default());
    }

    #[test]
    fn a_span_has_ended_by_idling_if_whoever_was_still_there_was_idle() {
        let log = |who: u32, what: &str, minute: u32| json!({"profile": who, "log_type": what, "date": format!("2026-03-02T17:{minute:02}:00Z")});
        let (came, idled) = (log(11, "user-joined", 0), log(11, "user-idle", 10));
        let cases = [
            (json!([came, idled]), true, "alone and still"),
            (json!([idled, came]), true, "in any order"),
            (
                json!([came, idled, log(11, "user-left", 10)]),
                false,
                "left at that moment",
            ),
            (
                json!([came, idled, log(11, "user-joined", 12)]),
                false,
                "moved again",
            ),
            (
                json!([came, log(12, "user-joined", 1), log(12, "user-left", 5), idled]),
                true,
                "the other one had left before",
            ),
            (
                json!([came, log(12, "user-joined", 1), idled]),
                false,
                "the other one moved",
            ),
            (json!([came, log(11, "user-left", 10)]), false, "left"),
            (json!([]), false, "nobody knows"),
        ];

        for (logs, is_idled, why) in cases {
            let read = evidence(&json!({"logs": logs, "profiles": []}));
            assert_eq!(read.spans[SPAN].is_idled, is_idled, "{why}");
            let running = evidence(&json!({"logs": logs, "profiles": [], "end_time": null}));
            assert!(!running.spans[SPAN].is_idled, "{why}, and it still runs");
        }

        let unlogged = evidence(&json!({"logs": [came, idled]}));
        assert!(
            !unlogged.spans[SPAN].is_idled,
            "of one nobody knows whether they left"
        );
    }

    #[test]
    fn a_recording_is_there_if_the_row_says_so_or_else_the_room() {
        let cases = [
            (json!({}), true),
            (json!({"recording_available": false}), false),
            (json!({"recording_deleted": true}), false),
            (json!({"recording_available": null}), true),
            (
                json!({"recording_available": null, "recording_deleted": null}),
                true,
            ),
            (
                json!({"recording_available": null, "recording_deleted": true}),
                false,
            ),
            (
                json!({"recording_available": null, "space": {"id": "r-1", "record_av": false}}),
                false,
            ),
            (
                json!({"recording_available": null, "space": {"id": "r-1"}}),
                false,
            ),
            (json!({"recording_available": null, "space": null}), false),
            (json!({"recording_available": true, "space": null}), true),
        ];

        for (changes, is_recorded) in cases {
            assert_eq!(
                evidence(&changes).spans[SPAN].is_recorded,
                is_recorded,
                "{changes}"
            );
        }
    }

    #[test]
    fn a_log_is_read_by_the_word_in_its_type() {
        let known = [
            ("user-joined", Did::Came),
            ("USER_JOIN", Did::Came),
            ("user-left", Did::Left),
            ("leave", Did::Left),
            ("user-idle", Did::Idled),
            ("idled", Did::Idled),
        ];

        for (log_type, expected) in known {
            assert_eq!(did(log_type), Some(expected), "{log_type}");
        }

        assert_eq!((did("chat"), did("")), (None, None));
    }

    #[test]
    fn what_is_not_known_of_a_log_is_left_out_and_the_rest_stays() {
        let read = evidence(&json!({"profiles": [], "logs": [
            {"profile": 11, "log_type": "whiteboard", "date": "2026-03-02T17:00:04Z"},
            {"profile": null, "log_type": "user-joined", "date": "2026-03-02T17:00:04Z"},
            {"log_type": "user-joined", "date": "2026-03-02T17:00:04Z"},
            {"profile": 11, "log_type": "user-joined", "date": null},
            {"profile": 11, "log_type": null, "date": "2026-03-02T17:00:04Z"},
            {"profile": "12", "log_type": "user-joined", "date": "2026-03-02T17:00:04Z"},
        ]}));

        let who: Vec<_> = read.marks.iter().map(|mark| mark.who.as_str()).collect();
        assert_eq!(who, ["12"]);
        assert_eq!(shown("Ada <ada@example.test> joined"), "Adaadaexample.testjoined");
        assert_eq!(shown(&"x".repeat(900)).len(), LONGEST_WORD);
    }

    #[test]
    fn who_closes_two_tabs_at_once_leaves_twice() {
        let log = |what: &str, second: i64| {
            let date = Timestamp::from_second(1_772_470_800 + second).unwrap();
            json!({"profile": 11, "log_type": what, "date": date.to_string()})
        };
        let read = evidence(&json!({"logs": [
            log("user-joined", 0), log("user-joined", 5), log("user-left", 1_200), log("user-left", 1_200),
        ]}));
        let left = read.marks.iter().filter(|mark| mark.did == Did::Left);
        assert_eq!(left.count(), 2, "or the other tab would stay until the room ends");
    }

    #[test]
    fn rows_of_another_room_are_told_apart() {
        let space = |id: Value| serde_json::from_value::<Space>(json!({ "id": id })).unwrap();
        let room = RoomId("r-1".into());
        assert!(space(json!("r-1")).is(&room));
        for other in [json!("r-2"), json!(null), json!(1)] {
            assert!(!space(other).is(&room));
        }
    }

    #[test]
    fn a_list_comes_in_pages_or_all_at_once() {
        let page =
            json!({"count": 2, "next": "https://x/?page=2", "previous": null, "results": [row(&json!({}))]});

        let read: List<Row> = serde_json::from_value(page).unwrap();
        assert!(matches!(read, List::Page { next: Some(_), results } if results.len() == 1));

        let read: List<Row> = serde_json::from_value(json!([row(&json!({})), row(&json!({}))])).unwrap();
        assert!(matches!(read, List::All(rows) if rows.len() == 2));

        let read: List<Row> = serde_json::from_value(json!([])).unwrap();
        assert!(matches!(read, List::All(rows) if rows.is_empty()));

        assert!(serde_json::from_value::<List<Row>>(json!({"detail": "Not found."})).is_err());

        let odd = json!([{"uuid": 7, "start_time": "yesterday"}]);
        assert!(
            serde_json::from_value::<List<Row>>(odd).is_err(),
            "a row that cannot be read is not left out"
        );
    }

    #[test]
    fn another_list_is_asked_only_where_this_one_will_never_answer() {
        let transient = |status| VendorError::Transient {
            status,
            retry_after_seconds: None,
        };

        for (error, is_hopeless) in [
            (VendorError::NotFound, true),
            (ENDLESS, true),
            (transient(Some(200)), true),
            (transient(Some(429)), false),
            (transient(Some(503)), false),
            (transient(None), false),
            (VendorError::Barred { status: 403 }, true),
            (VendorError::Barred { status: 401 }, false),
        ] {
            assert_eq!(is_unreadable(error), is_hopeless, "{error}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_logs_does_not_matter(order in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let logs = row(&json!({}))["logs"].clone();
            let shuffled: Vec<_> = order.iter().map(|at| logs[*at].clone()).collect();
            prop_assert_eq!(evidence(&json!({ "logs": shuffled })), evidence(&json!({})));
        }
    }

    #[test]
    fn the_vendor_ended_what_nobody_left_and_nobody_moved_in() {
        let idled_out = |did: &[(&str, Did, i64)]| {
            let mark = |(who, did, minute): &(&str, Did, i64)| Mark {
                span: SPAN.into(),
                who: (*who).into(),
                did: *did,
                at: Timestamp::from_second(minute * 60).unwrap(),
            };
            all_who_stayed_were_idle(&did.iter().map(mark).collect())
        };
        let tutor = [("tutor", Did::Came, 0), ("tutor", Did::Idled, 10)];
        let beside = |others: [(&'static str, Did, i64); 2]| idled_out(&[&tutor[..], &others].concat());

        assert!(idled_out(&tutor));
        assert!(
            beside([("learner", Did::Came, 5), ("learner", Did::Left, 5)]),
            "who left in the instant of coming has left"
        );
        assert!(
            !beside([("learner", Did::Idled, 5), ("learner", Did::Came, 6)]),
            "somebody moved again"
        );
        assert!(
            !idled_out(&[("tutor", Did::Came, 0), ("tutor", Did::Left, 10)]),
            "nobody stayed"
        );
    }
}
