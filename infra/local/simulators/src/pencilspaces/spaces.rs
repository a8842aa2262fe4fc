//! Spaces: made, listed, shown, ended and deleted.

use super::PencilSpaces;
use super::books::{ADMIN, Books, Settings, Space, new_id};
use super::fields::{Fields, Refusal, Sent, body, missing, refusal, wrong};
use super::lists::{Asked, Wanted};
use super::members::Members;
use super::quirks::Quirk;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What may be asked of a new space.
const FIELDS: [&str; 10] = [
    "title",
    "owner",
    "hosts",
    "participants",
    "visibility",
    "externalId",
    "notifyInvitees",
    "spaceToCloneId",
    "siteId",
    "settings",
];

/// By which fields of its rows the list of spaces can be filtered.
const FILTERS: [&str; 5] = ["spaceId", "title", "visibility", "ownerId", "externalId"];

const VISIBILITIES: [&str; 2] = ["public", "private"];

/// The site of an institution that has sites.
const SITE: &str = "MainSite000000000001";

pub(super) async fn create(State(vendor): State<PencilSpaces>, sent: Sent) -> Response {
    let base = vendor.base().to_owned();
    let made = body(sent).and_then(|body| vendor.books().create_space(&body, &base));
    vendor.answer_made(made)
}

pub(super) async fn list(State(vendor): State<PencilSpaces>, Query(asked): Query<Asked>) -> Response {
    let page = vendor.books().list_spaces(&asked, vendor.base());
    vendor.answer(page)
}

pub(super) async fn show(State(vendor): State<PencilSpaces>, Path(id): Path<String>) -> Response {
    let whole = vendor.books().whole(&id, vendor.base());
    vendor.answer(whole)
}

pub(super) async fn change(
    State(vendor): State<PencilSpaces>,
    Path(id): Path<String>,
    sent: Sent,
) -> Response {
    let changed = body(sent).and_then(|body| vendor.books().change_space(&id, &body));
    vendor.answer_whole(&id, changed)
}

pub(super) async fn change_settings(
    State(vendor): State<PencilSpaces>,
    Path(id): Path<String>,
    sent: Sent,
) -> Response {
    let changed = body(sent).and_then(|body| vendor.books().change_settings(&id, &body));
    vendor.answer_whole(&id, changed)
}

pub(super) async fn delete(State(vendor): State<PencilSpaces>, Path(id): Path<String>) -> Response {
    let deleted = vendor.books().delete_space(&id, vendor.now());
    match deleted {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => vendor.answer(Err(refusal)),
    }
}

pub(super) async fn end_ongoing_session(
    State(vendor): State<PencilSpaces>,
    Path(id): Path<String>,
) -> Response {
    let restarted = vendor.books().end_ongoing_session(&id, vendor.now());
    vendor.answer(restarted)
}

pub(super) async fn sites(State(vendor): State<PencilSpaces>, Query(asked): Query<Asked>) -> Response {
    let page = {
        let books = vendor.books();
        let sites = books
            .is(Quirk::HasSites)
            .then(|| json!({"id": SITE, "name": "Main site"}));
        Wanted::read(&asked, &["name"], &books).map(|wanted| wanted.page(sites.into_iter(), &books))
    };
    vendor.answer(page)
}

impl PencilSpaces {
    /// The answer to a change: the whole space.
    pub(super) fn answer_whole(&self, id: &str, changed: Result<(), Refusal>) -> Response {
        let whole = changed.and_then(|()| self.books().whole(id, self.base()));
        let says_nothing = whole.is_ok() && self.is(Quirk::PatchesSayNothing);
        if says_nothing {
            return StatusCode::OK.into_response();
        }
        self.answer(whole)
    }
}

impl Books {
    fn create_space(&mut self, body: &Value, base: &str) -> Result<Value, Refusal> {
        let fields = Fields::of(body, &FIELDS)?;
        let notifies = fields.wanted_flag("notifyInvitees")?;
        let members = Members::read(&fields, self)?;
        let site = self.site(&fields)?;
        let settings = self.settings(&fields)?;
        let visibility = fields.word("visibility", &VISIBILITIES)?;
        let external_id = fields.text("externalId")?;
        if let Some(first) = self.first_of(external_id)? {
            return Ok(first.row(base));
        }

        let id = new_id(20);
        let space = Space {
            title: fields.text("title")?.unwrap_or("Untitled space").to_owned(),
            visibility: visibility.unwrap_or("public").to_owned(),
            owner: members.owner,
            hosts: members.hosts,
            participants: members.participants,
            external_id: external_id.map(ToOwned::to_owned),
            site,
            settings,
            is_archived: false,
            is_deleted: false,
            main_room: new_id(20),
            sessions: Vec::new(),
            recordings: Vec::new(),
            id,
        };
        if notifies {
            self.invite(&space.members());
        }
        let row = space.row(base);
        let id = space.id.clone();
        self.spaces.add(&id, space);
        Ok(row)
    }

    /// The space that has the external id already, where the vendor takes it for the answer.
    fn first_of(&self, external_id: Option<&str>) -> Result<Option<&Space>, Refusal> {
        let Some(first) = external_id.and_then(|external_id| self.space_with(external_id)) else {
            return Ok(None);
        };
        if self.is(Quirk::ReturnsFirstSpace) {
            return Ok(Some(first));
        }
        if self.is(Quirk::MakesSecondSpace) {
            return Ok(None);
        }
        Err(refusal(StatusCode::CONFLICT, "externalId must be unique"))
    }

    fn site(&self, fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
        let site = fields.text("siteId")?;
        let has_sites = self.is(Quirk::HasSites);
        if has_sites && site.is_none() {
            return Err(wrong("siteId is required"));
        }
        if site.is_some_and(|site| !has_sites || site != SITE) {
            return Err(missing("Site"));
        }
        Ok(site.map(ToOwned::to_owned))
    }

    /// Those that are asked for; the others as in the space that is cloned, or as the vendor has them.
    fn settings(&self, fields: &Fields<'_>) -> Result<Settings, Refusal> {
        let cloned = fields.text("spaceToCloneId")?;
        let cloned = cloned.map(|id| self.space(id).ok_or_else(|| missing("Space to clone")));
        let before = cloned
            .transpose()?
            .map_or_else(Settings::default, |space| space.settings);
        fields
            .value("settings")
            .map_or(Ok(before), |wanted| before.changed(wanted))
    }

    fn list_spaces(&self, asked: &Asked, base: &str) -> Result<Value, Refusal> {
        let wanted = Wanted::read(asked, &FILTERS, self)?;
        let spaces = self.spaces.iter().filter(|space| !space.is_deleted);
        Ok(wanted.page(spaces.map(|space| space.row(base)), self))
    }

    fn whole(&self, id: &str, base: &str) -> Result<Value, Refusal> {
        let space = self.space(id).ok_or_else(|| missing("Space"))?;
        Ok(space.whole(base))
    }

    fn change_space(&mut self, id: &str, body: &Value) -> Result<(), Refusal> {
        let space = self.space_mut(id).ok_or_else(|| missing("Space"))?;
        let outer = Fields::of(body, &["space"])?;
        let inner = outer.value("space").ok_or_else(|| wrong("space is required"))?;
        let fields = Fields::of(inner, &["title", "visibility", "archived"])?;
        let title = fields.text("title")?;
        let visibility = fields.word("visibility", &VISIBILITIES)?;
        let archived = fields.flag("archived")?;

        if let Some(title) = title {
            title.clone_into(&mut space.title);
        }
        if let Some(visibility) = visibility {
            visibility.clone_into(&mut space.visibility);
        }
        space.is_archived = archived.unwrap_or(space.is_archived);
        Ok(())
    }

    fn change_settings(&mut self, id: &str, body: &Value) -> Result<(), Refusal> {
        let space = self.space_mut(id).ok_or_else(|| missing("Space"))?;
        let fields = Fields::of(body, &["settings"])?;
        let wanted = fields
            .value("settings")
            .ok_or_else(|| wrong("settings is required"))?;
        space.settings = space.settings.changed(wanted)?;
        Ok(())
    }

    /// Puts everybody out who is in it, and deletes it. What was analysed and recorded stays.
    fn delete_space(&mut self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        if self.space(id).is_none() {
            return Err(missing("Space"));
        }
        let told = self.end_session(id, now);
        self.untold.extend(told);
        if let Some(space) = self.space_mut(id) {
            space.is_deleted = true;
        }
        Ok(())
    }

    fn end_ongoing_session(&mut self, id: &str, now: Timestamp) -> Result<Value, Refusal> {
        if self.space(id).is_none() {
            return Err(missing("Space"));
        }
        let (ended, begun) = self.restart(id, now).ok_or_else(|| missing("Ongoing session"))?;
        Ok(json!({"endedSessionId": ended, "newSessionId": begun}))
    }

    /// Writes to people, children among them.
    pub(super) fn invite(&mut self, members: &[String]) {
        let others = members.iter().filter(|user| *user != ADMIN);
        self.invited.extend(others.cloned());
    }
}

impl Settings {
    fn changed(self, wanted: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(wanted, &["enableWaitingRoom", "disableAlwaysOnRecording"])?;
        let waiting_room = fields.flag("enableWaitingRoom")?;
        let disables = fields.flag("disableAlwaysOnRecording")?;
        Ok(Self {
            has_waiting_room: waiting_room.unwrap_or(self.has_waiting_room),
            disables_always_on_recording: disables.unwrap_or(self.disables_always_on_recording),
        })
    }
}

impl Space {
    /// Where it is opened, by whoever is logged in.
    fn link(&self, base: &str) -> String {
        format!("{base}spaces/{}", self.id)
    }

    /// As it is answered when it is made, and listed.
    fn row(&self, base: &str) -> Value {
        let mut row = json!({
            "spaceId": self.id, "title": self.title, "link": self.link(base),
            "visibility": self.visibility, "ownerId": self.owner,
        });
        if let (Some(fields), Some(external_id)) = (row.as_object_mut(), &self.external_id) {
            fields.insert("externalId".into(), json!(external_id));
        }
        row
    }

    /// As it is shown by itself.
    pub(super) fn whole(&self, base: &str) -> Value {
        let people = |users: &[String]| -> Value {
            let people = users.iter().map(|user| json!({"userId": user}));
            people.collect()
        };
        let mut whole = self.row(base);
        if let Some(fields) = whole.as_object_mut() {
            fields.insert("hosts".into(), people(&self.hosts));
            fields.insert("participants".into(), people(&self.participants));
            let settings = json!({
                "enableWaitingRoom": self.settings.has_waiting_room,
                "disableAlwaysOnRecording": self.settings.disables_always_on_recording,
            });
            fields.insert("settings".into(), settings);
        }
        whole
    }
}
