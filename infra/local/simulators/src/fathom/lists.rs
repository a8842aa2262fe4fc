//! Meetings, teams, people: lists, ten a page.

use super::Fathom;
use super::admission::Caller;
use super::books::{Account, Books};
use super::meeting::{Included, Meeting, domain, time};
use super::pages::{Query, numbered, page};
use super::quirks::Quirk;
use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Those filters of the meetings that are not about a list of values.
struct Wanted {
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    has_externals: Option<bool>,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, StatusCode> {
        let has_externals = match query.get("calendar_invitees_domains_type") {
            None | Some("all") => None,
            Some("only_internal") => Some(false),
            Some("one_or_more_external") => Some(true),
            Some(_) => return Err(StatusCode::BAD_REQUEST),
        };
        Ok(Self {
            after: query.time("created_after")?,
            before: query.time("created_before")?,
            has_externals,
        })
    }

    fn takes(&self, books: &Books, query: &Query, meeting: &Meeting) -> bool {
        let created = meeting.created_at();
        let invitees = meeting.sketch.invitees.iter();
        let domains: Vec<String> = invitees
            .filter_map(|invitee| domain(invitee.email.as_deref()))
            .collect();
        let team = books.team(&meeting.recorder).map(ToOwned::to_owned);
        let kind = meeting.sketch.meeting_type.clone();

        self.after.is_none_or(|after| created > after)
            && self.before.is_none_or(|before| created < before)
            && self
                .has_externals
                .is_none_or(|wanted| wanted == meeting.has_externals())
            && query.takes("calendar_invitees_domains[]", &domains)
            && query.takes("recorded_by[]", std::slice::from_ref(&meeting.recorder))
            && query.takes("teams[]", &Vec::from_iter(team))
            && query.takes("meeting_type", &Vec::from_iter(kind))
    }
}

/// Which of the longer fields are asked for.
fn included(query: &Query) -> Result<Included, StatusCode> {
    Ok(Included {
        transcript: query.flag("include_transcript")?,
        summary: query.flag("include_summary")?,
        action_items: query.flag("include_action_items")?,
        highlights: query.flag("include_highlights")?,
        crm_matches: query.flag("include_crm_matches")?,
    })
}

pub(super) async fn meetings(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let (wanted, included) = (Wanted::read(&query)?, included(&query)?);

    let books = vendor.books();
    let is_oldest_first = books.is(Quirk::OldestFirst);
    let found = books
        .meetings
        .values()
        .filter(|meeting| books.sees(&caller.account, meeting) && wanted.takes(&books, &query, meeting));
    let rows = found.map(|meeting| {
        let number = i64::try_from(meeting.id).unwrap_or(i64::MAX);
        let (at, number) = (meeting.created_at().as_second(), number);
        let rank = if is_oldest_first {
            (at, number)
        } else {
            (-at, -number)
        };
        (rank, meeting)
    });
    let page = page(&books, "meetings", &query, rows.collect())?;
    Ok(Json(page.show(|meeting| books.render(meeting, included))))
}

pub(super) async fn teams(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let books = vendor.books();
    let mut teams: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for account in colleagues(&books, &caller) {
        if let Some(team) = account.team.as_deref() {
            let created = teams.entry(team).or_insert(account.created_at);
            *created = account.created_at.min(*created);
        }
    }

    let page = page(&books, "teams", &query, numbered(teams.into_iter()))?;
    Ok(Json(page.show(
        |(name, created)| json!({"name": name, "created_at": time(*created, &books.quirks)}),
    )))
}

pub(super) async fn team_members(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let books = vendor.books();
    let members = colleagues(&books, &caller).filter(|account| {
        let wanted = query.get("team");
        wanted.is_none_or(|wanted| account.team.as_deref() == Some(wanted))
    });

    let page = page(&books, "team_members", &query, numbered(members))?;
    Ok(Json(page.show(|account| {
        let created = time(account.created_at, &books.quirks);
        json!({"name": account.name, "email": account.email, "created_at": created})
    })))
}

pub(super) async fn meeting_types(
    State(vendor): State<Fathom>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StatusCode> {
    let query = Query::read(query.as_deref());
    let books = vendor.books();
    let mut kinds: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for meeting in books.meetings.values() {
        if let Some(kind) = meeting.sketch.meeting_type.as_deref()
            && books.sees(&caller.account, meeting)
        {
            kinds.entry(kind).or_insert(meeting.created_at());
        }
    }

    let page = page(&books, "meeting_types", &query, numbered(kinds.into_iter()))?;
    Ok(Json(page.show(|(name, created)| {
        json!({"name": name, "status": "active", "created_at": time(*created, &books.quirks)})
    })))
}

/// Everybody on the caller's team plan, or nobody if they have none.
fn colleagues<'a>(books: &'a Books, caller: &Caller) -> impl Iterator<Item = &'a Account> {
    let has_team = books.team(&caller.account).is_some();
    let accounts = books.accounts.values();
    accounts.filter(move |account| has_team && account.team.is_some())
}

#[cfg(test)]
mod tests {
    use crate::fathom::stage::{Stage, lesson};
    use crate::fathom::{MeetingSketch, Quirk, Sharing};
    use serde_json::Value;

    fn numbers(body: &Value) -> Vec<u64> {
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["recording_id"].as_u64().unwrap())
            .collect()
    }

    fn encoded(cursor: &Value) -> String {
        url::form_urlencoded::byte_serialize(cursor.as_str().unwrap().as_bytes()).collect()
    }

    #[tokio::test]
    async fn ten_a_page_and_the_newest_first() {
        let stage = Stage::new().await;
        let lessons: Vec<u64> = (0..12).map(|hours| stage.lesson(hours)).collect();

        let first = stage.get("meetings").await.body;
        let cursor = encoded(&first["next_cursor"]);
        stage.fathom.delete(lessons[2]);
        let second = stage.get(&format!("meetings?cursor={cursor}")).await.body;

        assert_eq!(first["limit"], 10);
        assert_eq!(
            numbers(&first),
            lessons[2..].iter().rev().copied().collect::<Vec<_>>()
        );
        assert_eq!(numbers(&second), [lessons[1], lessons[0]]);
        assert!(second["next_cursor"].is_null());
    }

    #[tokio::test]
    async fn cursors_are_the_vendors_own() {
        let stage = Stage::new().await;
        let (_, _) = (stage.lesson(0), stage.lesson(1));
        stage.fathom.behave([Quirk::TinyPages]);
        let first = stage.get("meetings").await.body;
        let raw = first["next_cursor"].as_str().unwrap();
        let another_list = format!("teams?cursor={}", encoded(&first["next_cursor"]));

        for path in [
            "meetings?cursor=2",
            &format!("meetings?cursor={raw}"),
            &another_list,
        ] {
            assert_eq!(stage.get(path).await.status, 400, "{path}");
        }
    }

    #[tokio::test]
    async fn filters_take_and_refuse() {
        let stage = Stage::new().await;
        let (early, late) = (stage.lesson(0), stage.lesson(3));
        let alone = stage.fathom.meeting(MeetingSketch {
            invitees: Vec::new(),
            ..lesson(2)
        });
        let cases = [
            ("created_after=2026-03-02T14:00:00Z", vec![late, alone]),
            ("created_before=2026-03-02T14:00:00Z", vec![early]),
            ("calendar_invitees_domains_type=only_internal", vec![alone]),
            ("calendar_invitees_domains[]=family.example", vec![late, early]),
            (
                "calendar_invitees_domains[]=a.example&calendar_invitees_domains[]=b.example",
                vec![],
            ),
            ("recorded_by[]=somebody@else.example", vec![]),
            ("meeting_type=Exam", vec![]),
            ("recorded_by=ignored&limit=1", vec![late, alone, early]),
        ];

        for (query, wanted) in cases {
            let said = stage.get(&format!("meetings?{query}")).await;
            assert_eq!(numbers(&said.body), wanted, "{query}");
        }
        for query in [
            "created_after=yesterday",
            "include_summary=1",
            "calendar_invitees_domains_type=x",
        ] {
            assert_eq!(
                stage.get(&format!("meetings?{query}")).await.status,
                400,
                "{query}"
            );
        }
    }

    #[tokio::test]
    async fn content_comes_when_it_is_ready_and_asked_for() {
        let stage = Stage::new().await;
        let lesson = stage.lesson(0);
        let asked = "meetings?include_transcript=true&include_summary=true";

        let early = stage.get(asked).await.body["items"][0].clone();
        stage.fathom.content_ready(lesson);
        let ready = stage.get(asked).await.body["items"][0].clone();

        assert!(early["transcript"].is_null() && early["default_summary"].is_null());
        assert_eq!(ready["transcript"][0]["timestamp"], "01:02:05");
        assert_eq!(ready["default_summary"]["markdown_formatted"], "## Fractions");
        assert!(ready["action_items"].is_null());
        assert!(ready["calendar_invitees"][1]["email"].is_null());
    }

    #[tokio::test]
    async fn a_key_shows_what_its_owner_may_see() {
        let stage = Stage::new().await;
        stage
            .fathom
            .open_account("Tutor", "tutor@academy.example", Some("Maths"));
        let colleague = stage
            .fathom
            .open_account("Head", "head@academy.example", Some("French"));
        let recorded = |sharing| MeetingSketch {
            recorded_by: Some("tutor@academy.example".into()),
            sharing,
            ..lesson(0)
        };
        stage.fathom.meeting(recorded(Sharing::SingleTeam));
        let shared = stage.fathom.meeting(recorded(Sharing::AllTeams));

        assert_eq!(numbers(&stage.get("meetings").await.body), Vec::<u64>::new());
        assert_eq!(
            numbers(&stage.get_with(&colleague, "meetings").await.body),
            [shared]
        );
        let teams = stage.get_with(&colleague, "teams").await.body;
        assert_eq!(teams["items"].as_array().unwrap().len(), 2);
    }
}
