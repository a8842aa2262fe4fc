//! What the vendor knows, and what was noticed of those who ask.

use super::accounts::{Account, Accounts, Person};
use super::answers::{Refusal, Rpc};
use super::events::Event;
use super::keys::Keys;
use super::quirks::{Faults, Quirk, Quirks, take_one};
use super::rooms::Rooms;
use super::scopes::{self, Scopes};
use super::subscriptions::Subscriptions;
use super::{PushIdentity, Webhook};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use platform::clock::Clock;
use serde_json::Value;

/// The services that want a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Calendar,
    Drive,
    Meet,
    Events,
}

/// Whoever calls, by their token.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) sub: String,
    pub(super) scopes: Scopes,
}

impl Caller {
    pub(super) fn holds(&self, wanted: &[&str]) -> bool {
        scopes::holds(&self.scopes, wanted)
    }
}

pub(super) struct Books {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) push: PushIdentity,
    pub(super) clock: Clock,
    pub(super) keys: Keys,
    pub(super) accounts: Accounts,
    /// All calendars' events, in the order in which they were made.
    pub(super) events: Vec<Event>,
    pub(super) rooms: Rooms,
    pub(super) subscriptions: Subscriptions,
    /// Pushes of which no play told.
    pub(super) waiting: Vec<Webhook>,
    pub(super) faults: Faults,
    pub(super) quirks: Quirks,
    /// Every request that was accepted.
    pub(super) requests: Vec<Value>,
    /// What was let pass though nobody can have wanted it.
    pub(super) complaints: Vec<String>,
    /// What became of each try to deliver a push: its message and the status.
    pub(super) deliveries: Vec<(String, u16)>,
}

impl Books {
    pub(super) fn new(client: (&str, &str), push: PushIdentity, clock: Clock) -> Self {
        Self {
            client_id: client.0.into(),
            client_secret: client.1.into(),
            push,
            clock,
            keys: Keys::new(),
            accounts: Accounts::default(),
            events: Vec::new(),
            rooms: Rooms::default(),
            subscriptions: Subscriptions::default(),
            waiting: Vec::new(),
            faults: Faults::default(),
            quirks: Quirks::new(),
            requests: Vec::new(),
            complaints: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn is(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub(super) fn complain(&mut self, text: impl Into<String>) {
        self.complaints.push(text.into());
    }

    pub(super) fn person(&self, sub: &str) -> Option<&Person> {
        self.accounts.people.get(sub)
    }

    /// Who calls, if their token is good and holds one of the `wanted` scopes.
    pub(super) fn caller(
        &mut self,
        headers: &HeaderMap,
        service: Service,
        wanted: &[&str],
    ) -> Result<Caller, Refusal> {
        let token = bearer(headers);
        let is_rejected = take_one(&mut self.faults.reject_tokens_next);
        let holder = token.and_then(|token| self.accounts.holder(token, self.now()));
        let holder = holder.filter(|_| !is_rejected);
        let holder = holder.ok_or_else(|| unauthenticated(service, token.is_some()))?;

        let caller = Caller {
            sub: holder.sub.clone(),
            scopes: holder.scopes.clone(),
        };
        if !caller.holds(wanted) {
            return Err(insufficient(service));
        }
        let person = self.person(&caller.sub);
        let is_personal = person.is_some_and(|person| person.account == Account::Personal);
        if is_personal && self.is(Quirk::PersonalHasNoMeetApi) && is_of_workspace(service) {
            return Err(Refusal::rpc(
                Rpc::PermissionDenied,
                "The caller does not have permission",
            ));
        }
        Ok(caller)
    }

    /// Keeps an accepted request. A form may hold secrets: of it only the kind of grant is kept.
    pub(super) fn note(&mut self, method: &str, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) {
        let token = bearer(headers);
        let holder = token.and_then(|token| self.accounts.holder(token, self.now()));
        let sub = holder.map(|access| access.sub.clone());
        let body = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(_) => super::answers::Pairs::parse(body)
                .one("grant_type")
                .map_or(Value::Null, Value::from),
        };
        self.requests.push(serde_json::json!({
            "method": method, "path": path, "query": query, "sub": sub, "body": body,
        }));
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get("authorization")?.to_str().ok()?;
    given.strip_prefix("Bearer ")
}

fn is_of_workspace(service: Service) -> bool {
    match service {
        Service::Calendar | Service::Drive => false,
        Service::Meet | Service::Events => true,
    }
}

fn unauthenticated(service: Service, has_token: bool) -> Refusal {
    if is_of_workspace(service) {
        let text = "Request had invalid authentication credentials.";
        return Refusal::rpc(Rpc::Unauthenticated, text);
    }
    let (reason, message) = if has_token {
        ("authError", "Invalid Credentials")
    } else {
        ("required", "Login Required.")
    };
    Refusal::calendar(StatusCode::UNAUTHORIZED, reason, message)
}

fn insufficient(service: Service) -> Refusal {
    let text = "Request had insufficient authentication scopes.";
    if is_of_workspace(service) {
        return Refusal::rpc_for(Rpc::PermissionDenied, text, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    }
    Refusal::calendar(StatusCode::FORBIDDEN, "insufficientPermissions", text)
}
