//! What we ask of Pencil Spaces: accounts, spaces, and links into them. What was seen in a space is in
//! [`super::analytics`].

use crate::address::below;
use crate::answer::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::people::Role;
use platform::config::Env;
use platform::outbound::VendorError;
use platform::secrets::Secret;
use platform::{invocation, outbound};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

/// How many rows a page of a list has; the vendor gives no more.
const PAGE: u32 = 100;
/// How many pages are read to find one row. Whether the vendor filters as it is asked is not known.
const MOST_PAGES: usize = 20;

/// Where Pencil Spaces is called, and with which key.
pub struct PencilSpacesConfig {
    base_url: Url,
    key: Secret,
}

impl PencilSpacesConfig {
    /// Reads `PENCIL_API_URL` and the secret `PENCIL_API_KEY`. The inner `None` is a deployment without Pencil Spaces:
    /// there is no address.
    #[allow(clippy::option_option, reason = "wrong, absent and there are three things")]
    pub fn from_env(env: &mut Env) -> Option<Option<Self>> {
        if env.or("PENCIL_API_URL", String::new())?.is_empty() {
            return Some(None);
        }

        // Read before any `?`, so that one failed start names everything that is missing.
        let (base_url, key) = (env.required("PENCIL_API_URL"), env.secret("PENCIL_API_KEY"));
        Some(Some(Self {
            base_url: base_url?,
            key: key?,
        }))
    }
}

/// The API of Pencil Spaces.
pub struct PencilSpaces {
    config: PencilSpacesConfig,
}

/// A person as the vendor is to know them.
pub struct Account<'a> {
    /// Their id with us, which the vendor keeps beside its own, if it takes it.
    pub profile: ProfileId,
    /// The name shown in the space.
    pub name: &'a str,
    /// What they are to the lesson: the vendor tells teachers from students.
    pub role: Role,
}

impl Account<'_> {
    /// The vendor's word for what somebody is. Only teachers lead.
    pub fn kind(role: Role) -> &'static str {
        match role {
            Role::Tutor => "Teacher",
            Role::Learner | Role::Guardian | Role::Payer => "Student",
        }
    }
}

/// A space, as far as we use it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// The vendor's id.
    #[serde(rename = "spaceId")]
    pub id: RoomId,
    /// Its address, which opens nothing by itself.
    pub link: Url,
    /// Our id of the booking; `None` for a space that is not of our making.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Who owns it.
    #[serde(default)]
    pub owner_id: Option<String>,
    /// Who leads in it.
    #[serde(default)]
    pub hosts: Vec<Member>,
    /// Who else may enter.
    #[serde(default)]
    pub participants: Vec<Member>,
    /// What is set for it; null where the vendor does not say.
    #[serde(default)]
    pub settings: Value,
}

/// Somebody who may enter a space.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The vendor's id of them.
    pub user_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(rename = "userId")]
    id: String,
    #[serde(default, rename = "userRole")]
    role: String,
    #[serde(default)]
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    url: Url,
}

/// One page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    results: Vec<T>,
    #[serde(default)]
    total_pages: Option<u32>,
}

impl PencilSpaces {
    /// The API described by `config`; connects to nothing yet.
    pub fn new(config: PencilSpacesConfig) -> Self {
        Self { config }
    }

    /// Makes an account and says by which id. **Never safe to repeat**: each call makes another. An e-mail address is not
    /// sent: it would tie the person to whatever account the vendor has for it.
    pub async fn make_account(&self, account: &Account<'_>) -> Result<String, VendorError> {
        let name = account.name.trim();
        let name = if name.is_empty() { "Participant" } else { name };
        let kind = Account::kind(account.role);
        let plain = json!({"name": name, "userRole": kind});
        let named = json!({"name": name, "userRole": kind, "externalId": account.profile});

        let made = match self.post::<User>("users/createAPIUser", &named).await {
            // Some have seen it refuse our ids. What it refuses it has not made.
            Err(VendorError::Permanent { .. }) => self.post("users/createAPIUser", &plain).await,
            made => made,
        };
        Ok(made?.id)
    }

    /// The account that an earlier call has made, whose answer was lost; `None` if the list shows none.
    pub async fn account_of(&self, account: &Account<'_>) -> Result<Option<String>, VendorError> {
        let id = account.profile.to_string();
        let kind = Account::kind(account.role);
        let is_theirs = |user: &User| user.external_id.as_ref() == Some(&id) && user.role == kind;
        let found = self.find("users", &json!({"externalId": &id}), is_theirs).await?;
        Ok(found.map(|user| user.id))
    }

    /// Makes the booking's space, private, without a waiting room in which a learner could be forgotten.
    pub async fn make_space(&self, booking: BookingId, record: bool) -> Result<Space, VendorError> {
        let body = json!({
            "title": "Lesson",
            "visibility": "private",
            "externalId": booking,
            // Whoever is invited is told by the platform.
            "notifyInvitees": false,
            "settings": settings(record),
        });
        self.post("spaces/create", &body).await
    }

    /// The space that an earlier call has made for the booking, whose answer was lost; `None` if the list shows none.
    pub async fn space_of(&self, booking: BookingId) -> Result<Option<Space>, VendorError> {
        let id = booking.to_string();
        let is_its = |space: &Space| space.external_id.as_ref() == Some(&id);
        self.find("spaces", &json!({"externalId": &id}), is_its).await
    }

    /// A space as it is now.
    pub async fn space(&self, space: &RoomId) -> Result<Space, VendorError> {
        self.get(&format!("spaces/{space}")).await
    }

    /// Sets what people may do in the space: those who are in it already are changed, the others added.
    pub async fn set_members(
        &self,
        space: &Space,
        members: &[(&str, MemberRole)],
    ) -> Result<(), VendorError> {
        let is_in = |id: &str| space.role_of(id).is_some();
        let entries = |those_in: bool| -> Vec<Value> {
            let chosen = members.iter().filter(|(id, _)| is_in(id) == those_in);
            chosen
                .map(|(id, role)| json!({"userId": id, "role": role.word()}))
                .collect()
        };
        let body = json!({
            "addUsers": entries(false),
            "modifyUsers": entries(true),
            "notifyInvitees": false,
        });
        self.patch(&format!("spaces/{}/updateUsers", space.id), &body)
            .await
    }

    /// Sets anew whether the space may be recorded.
    pub async fn set_recording(&self, space: &RoomId, record: bool) -> Result<(), VendorError> {
        let body = json!({"settings": settings(record)});
        self.patch(&format!("spaces/{space}/settings/"), &body).await
    }

    /// A fresh link that opens `page` to this account, once and soon. A credential: never stored, never logged.
    pub async fn link(&self, account: &str, page: &Url) -> Result<Url, VendorError> {
        let mut path = below(&self.config.base_url, &format!("users/{account}/authorize"))?;
        path.query_pairs_mut().append_pair("redirectUrl", page.as_str());

        let request = self.request(Method::GET, path).await?;
        let link: Link = self.answer(request).await?.json()?;
        Ok(link.url)
    }

    /// The first row of a list that is the one wanted. The filter saves reading where the vendor heeds it; that it does
    /// is not relied on.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        list: &str,
        filter: &Value,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, VendorError> {
        let first: Page<T> = self.page(list, filter, 1).await?;
        let pages = first.total_pages.unwrap_or(1);
        if let Some(found) = first.results.into_iter().find(&is_wanted) {
            return Ok(Some(found));
        }

        // What was made just now is on the last page.
        for page in (2..=pages).rev().take(MOST_PAGES) {
            let answer: Page<T> = self.page(list, filter, page).await?;
            if let Some(found) = answer.results.into_iter().find(&is_wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Every row of a list that is wanted, of the first page and the last ones.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        list: &str,
        filter: &Value,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, VendorError> {
        let first: Page<T> = self.page(list, filter, 1).await?;
        let pages = first.total_pages.unwrap_or(1);
        let mut wanted: Vec<T> = first.results.into_iter().filter(&is_wanted).collect();

        for page in (2..=pages).rev().take(MOST_PAGES) {
            let answer: Page<T> = self.page(list, filter, page).await?;
            wanted.extend(answer.results.into_iter().filter(&is_wanted));
        }
        Ok(wanted)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        list: &str,
        filter: &Value,
        page: u32,
    ) -> Result<Page<T>, VendorError> {
        let mut url = below(&self.config.base_url, list)?;
        url.query_pairs_mut()
            .append_pair("filters", &STANDARD.encode(filter.to_string()))
            .append_pair("pageNumber", &page.to_string())
            .append_pair("pageSize", &PAGE.to_string());
        let request = self.request(Method::GET, url).await?;
        self.answer(request).await?.json()
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, VendorError> {
        let request = self
            .request(Method::GET, below(&self.config.base_url, path)?)
            .await?;
        self.answer(request).await?.json()
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, VendorError> {
        let request = self
            .request(Method::POST, below(&self.config.base_url, path)?)
            .await?;
        self.answer(request.json(body)).await?.json()
    }

    /// A change, whose answer may be empty.
    async fn patch(&self, path: &str, body: &Value) -> Result<(), VendorError> {
        let request = self
            .request(Method::PATCH, below(&self.config.base_url, path)?)
            .await?;
        let answer = self.answer(request.json(body)).await?;
        if answer.status.is_success() && answer.is_empty() {
            return Ok(());
        }

        let said: Value = answer.json()?;
        // The vendor has been seen to say so with a success.
        let is_error = said.get("err").is_some_and(|error| !error.is_null());
        (!is_error).then_some(()).ok_or(VendorError::Permanent {
            status: answer.status.as_u16(),
        })
    }

    async fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, VendorError> {
        let key = self.config.key.get().await.map_err(|_| VendorError::SILENT)?;
        let client = outbound::client().await.map_err(|_| VendorError::SILENT)?;
        Ok(client
            .request(method, url)
            .bearer_auth(key.expose_secret())
            .timeout(outbound::budget()))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, VendorError> {
        let answer = Answer::wait(invocation::phase("vendor_ms", request.send()).await).await?;
        if answer.status == reqwest::StatusCode::UNAUTHORIZED {
            self.config.key.forget().await;
        }
        Ok(answer)
    }
}

/// What somebody may do in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    /// Leads.
    Host,
    /// Takes part.
    Participant,
}

impl MemberRole {
    fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Participant => "participant",
        }
    }

    /// What somebody may do who has this part in a lesson.
    pub fn of(role: Role) -> Self {
        match role {
            Role::Tutor => Self::Host,
            Role::Learner | Role::Guardian | Role::Payer => Self::Participant,
        }
    }
}

impl Space {
    /// What somebody may do in it; `None` for whoever may not enter.
    pub fn role_of(&self, user: &str) -> Option<MemberRole> {
        let among = |members: &[Member]| members.iter().any(|member| member.user_id == user);
        if among(&self.hosts) {
            Some(MemberRole::Host)
        } else {
            among(&self.participants).then_some(MemberRole::Participant)
        }
    }

    /// Whether the vendor says that it is set to record only if it may.
    pub fn records_as(&self, record: bool) -> bool {
        self.settings.get("disableAlwaysOnRecording") == Some(&Value::Bool(!record))
    }
}

fn settings(record: bool) -> Value {
    json!({"enableWaitingRoom": false, "disableAlwaysOnRecording": !record})
}
