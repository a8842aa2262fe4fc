//! What all requests have in common: what is asked, who asks, whether they may, and what is answered.

use super::books::Books;
use super::people::{Plan, Standing, User};
use super::quirks::{Mishap, Quirk};
use super::{Vendor, Zoom};
use crate::mailbox::lost;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What can be asked of the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `GET /oauth/authorize`
    Authorize,
    /// `POST /oauth/token`
    Token,
    /// `POST /oauth/revoke`
    Revoke,
    /// `GET /v2/users/me`
    ReadUser,
    /// `POST /v2/users/me/meetings`
    CreateMeeting,
    /// `GET /v2/users/me/meetings`
    ListMeetings,
    /// `GET /v2/meetings/{id}`
    ReadMeeting,
    /// `PATCH /v2/meetings/{id}`
    UpdateMeeting,
    /// `DELETE /v2/meetings/{id}`
    DeleteMeeting,
    /// `PUT /v2/meetings/{id}/status`
    EndMeeting,
    /// `GET /v2/past_meetings/{id or uuid}`
    ReadPast,
    /// `GET /v2/past_meetings/{id}/instances`
    ListInstances,
    /// `GET /v2/past_meetings/{id or uuid}/participants`
    ListParticipants,
    /// `GET /v2/meetings/{id or uuid}/recordings`
    ListRecordings,
    /// `GET /rec/download/{file}`
    Download,
    /// `GET /v2/report/…`
    Report,
}

/// How dear an operation is: its limit per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    Light,
    Medium,
    Heavy,
}

impl Operation {
    /// The scope that it needs.
    pub(super) fn scope(self) -> Option<&'static str> {
        match self {
            Self::Authorize | Self::Token | Self::Revoke => None,
            Self::ReadUser => Some("user:read:user"),
            Self::CreateMeeting => Some("meeting:write:meeting"),
            Self::ListMeetings => Some("meeting:read:list_meetings"),
            Self::ReadMeeting => Some("meeting:read:meeting"),
            Self::UpdateMeeting => Some("meeting:update:meeting"),
            Self::DeleteMeeting => Some("meeting:delete:meeting"),
            Self::EndMeeting => Some("meeting:update:status"),
            Self::ReadPast => Some("meeting:read:past_meeting"),
            Self::ListInstances => Some("meeting:read:list_past_instances"),
            Self::ListParticipants => Some("meeting:read:list_past_participants"),
            Self::ListRecordings | Self::Download => Some("cloud_recording:read:list_recording_files"),
            Self::Report => Some("report:read:list_meeting_participants:admin"),
        }
    }

    pub(super) fn weight(self) -> Weight {
        match self {
            Self::ListMeetings | Self::ListInstances | Self::ListParticipants => Weight::Medium,
            Self::Report => Weight::Heavy,
            Self::Authorize
            | Self::Token
            | Self::Revoke
            | Self::ReadUser
            | Self::CreateMeeting
            | Self::ReadMeeting
            | Self::UpdateMeeting
            | Self::DeleteMeeting
            | Self::EndMeeting
            | Self::ReadPast
            | Self::ListRecordings
            | Self::Download => Weight::Light,
        }
    }
}

impl Weight {
    /// How often a second an account may ask.
    pub(super) fn limit(self, plan: Plan) -> usize {
        match (self, plan) {
            (Self::Light, Plan::Basic) => 4,
            (Self::Medium, Plan::Basic) => 2,
            (Self::Heavy, Plan::Basic) => 1,
            (Self::Light, Plan::Pro) => 30,
            (Self::Medium, Plan::Pro) => 20,
            (Self::Heavy, Plan::Pro) => 10,
            (Self::Light, Plan::Business) => 80,
            (Self::Medium, Plan::Business) => 60,
            (Self::Heavy, Plan::Business) => 40,
        }
    }
}

/// A request as it came.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let method = request.method().to_string();
        let (path, query) = (request.uri().path().to_owned(), request.uri().query());
        let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(Self {
            method,
            path,
            query,
            headers,
            body,
        })
    }
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    pub(super) fn is_of_type(&self, media_type: &str) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        let given = given.split(';').next().unwrap_or_default();
        given.trim().eq_ignore_ascii_case(media_type)
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Result<serde_json::Map<String, Value>, Answer> {
        let wrong = || Answer::refusal(400, 300, "Request Body should be a valid JSON object.");
        if !self.is_of_type("application/json") {
            return Err(wrong());
        }
        serde_json::from_slice(&self.body).map_err(|_| wrong())
    }

    /// The body as a form. What is asked for twice counts once, the last time.
    pub(super) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    content: Content,
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    Json(Value),
    Page(String),
    File(&'static str, Vec<u8>),
}

/// An answer, or a refusal.
pub(super) type Outcome = Result<Answer, Answer>;

impl Answer {
    fn new(status: u16, content: Content) -> Self {
        Self {
            status,
            content,
            headers: Vec::new(),
        }
    }

    pub(super) fn json(status: u16, body: Value) -> Self {
        Self::new(status, Content::Json(body))
    }

    pub(super) fn nothing(status: u16) -> Self {
        Self::new(status, Content::Nothing)
    }

    pub(super) fn page(status: u16, html: &str) -> Self {
        let html = format!("<!doctype html><title>Zoom, simulated</title>{html}");
        Self::new(status, Content::Page(html))
    }

    pub(super) fn file(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(200, Content::File(media_type, bytes))
    }

    pub(super) fn refusal(status: u16, code: i64, message: &str) -> Self {
        Self::json(status, json!({"code": code, "message": message}))
    }

    /// Fields that are not as they have to be.
    pub(super) fn invalid(fields: &[(String, String)]) -> Self {
        let errors = fields.iter();
        let errors: Vec<Value> = errors
            .map(|(field, message)| json!({"field": field, "message": message}))
            .collect();
        let body = json!({"code": 300, "message": "Validation Failed.", "errors": errors});
        Self::json(400, body)
    }

    pub(super) fn over_the_day(now: Timestamp) -> Self {
        let text = "You have reached the maximum daily rate limit for this API. Refer to the response header for \
                    details on when you can make another request.";
        let midnight = (now.as_second().div_euclid(86_400) + 1) * 86_400;
        let midnight = Timestamp::from_second(midnight).unwrap_or(now);
        Self::refusal(429, 429, text)
            .with("x-ratelimit-category", "Light")
            .with("x-ratelimit-type", "Daily-limit")
            .with("x-ratelimit-limit", "6000")
            .with("x-ratelimit-remaining", "0")
            .with(
                "retry-after",
                &midnight.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            )
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.content {
            Content::Nothing => ().into_response(),
            Content::Json(body) => Json(body).into_response(),
            Content::Page(html) => Html(html).into_response(),
            Content::File(media_type, bytes) => ([("content-type", media_type)], bytes).into_response(),
        };
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Where somebody's request is worked on.
pub(super) struct Desk<'a> {
    pub(super) books: &'a mut Books,
    pub(super) vendor: &'a Vendor,
    pub(super) user: User,
    pub(super) now: Timestamp,
}

impl Zoom {
    /// Answers a request of whoever a bearer token speaks for.
    pub(super) async fn serve(
        &self,
        operation: Operation,
        call: Call,
        work: impl FnOnce(&mut Desk<'_>, &Call) -> Outcome + Send,
    ) -> Response {
        self.answer(operation, &call, |books| {
            let now = self.now();
            let user = admit(books, operation, &call, now)?;
            let mut desk = Desk {
                books,
                vendor: self.vendor(),
                user,
                now,
            };
            work(&mut desk, &call)
        })
        .await
    }

    /// Answers a request, late or not at all if it was told to, and writes it down.
    pub(super) async fn answer(
        &self,
        operation: Operation,
        call: &Call,
        work: impl FnOnce(&mut Books) -> Outcome + Send,
    ) -> Response {
        let delay = self.books().faults.delay(operation);
        tokio::time::sleep(delay).await;

        let now = self.now();
        let (answer, late, is_lost) = {
            let mut books = self.books();
            let mishap = books.faults.before(operation, now);
            let is_spared = matches!(mishap, Mishap::Spared);
            let answer = match mishap {
                Mishap::None | Mishap::Spared => work(&mut books).unwrap_or_else(|refusal| refusal),
                Mishap::Refuses(answer) => answer,
                Mishap::Vanishes => {
                    books.note(operation, call, 0, now);
                    return lost();
                }
            };
            books.note(operation, call, answer.status, now);
            let late = books.faults.lateness(operation);
            let may_get_lost = answer.status < 400 && !is_spared;
            let is_lost = may_get_lost && books.faults.loses(operation);
            (answer, late, is_lost)
        };

        tokio::time::sleep(late).await;
        if is_lost { lost() } else { answer.into_response() }
    }
}

/// Whoever asks, if they may.
fn admit(books: &mut Books, operation: Operation, call: &Call, now: Timestamp) -> Result<User, Answer> {
    let unknown = |text: &str| Answer::refusal(401, 124, text);
    let token = call.bearer().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| unknown("Invalid access token."))?;
    let (user, has_scope) = {
        let grant = books.grants.bearer(token, now).map_err(unknown)?;
        let scope = operation.scope();
        let has_scope = scope.is_none_or(|scope| grant.scopes.contains(scope));
        (grant.user.clone(), has_scope)
    };

    let gone = || Answer::refusal(404, 1001, &format!("User does not exist: {user}."));
    let found = books.users.get(&user).cloned().ok_or_else(gone)?;
    match found.standing {
        Standing::Gone => return Err(gone()),
        Standing::AppSwitchedOff => return Err(unknown("Invalid access token.")),
        Standing::Active | Standing::MayNotHost => {}
    }
    if !has_scope {
        return Err(unscoped(books, operation));
    }
    limit(books, operation, &found)?;
    Ok(found)
}

fn unscoped(books: &Books, operation: Operation) -> Answer {
    let status = if books.is(Quirk::ScopesAre401) {
        401
    } else if books.is(Quirk::ScopesAre403) {
        403
    } else {
        400
    };
    let scope = operation.scope().unwrap_or_default();
    let text = format!("Invalid access token, does not contain scopes:[{scope}].");
    Answer::refusal(status, 4711, &text)
}

fn limit(books: &mut Books, operation: Operation, user: &User) -> Result<(), Answer> {
    if !books.is(Quirk::LimitsRate) {
        return Ok(());
    }
    let (weight, now) = (operation.weight(), Instant::now());
    let asked = books.asked.entry((user.account.clone(), weight)).or_default();
    asked.retain(|at| now.duration_since(*at) < Duration::from_secs(1));

    let limit = weight.limit(user.plan);
    if asked.len() < limit {
        asked.push_back(now);
        return Ok(());
    }
    let text = "You have reached the maximum per-second rate limit for this API. Try again later.";
    let answer = Answer::refusal(429, 429, text)
        .with("x-ratelimit-category", &format!("{weight:?}"))
        .with("x-ratelimit-type", "QPS")
        .with("x-ratelimit-limit", &limit.to_string())
        .with("x-ratelimit-remaining", "0");
    Err(answer)
}
