//! Fathom, as far as its public documentation and integrations describe it (see the provider's README): a notetaker's
//! meetings with their transcripts, summaries and action items, files of them, and webhooks signed by Standard
//! Webhooks. It checks what it is sent as the vendor does, counts calls against the vendor's limits, and misbehaves in
//! every way that somebody has seen or the vendor does not exclude ([`Quirk`], [`Faults`]).

mod admission;
mod base64;
mod books;
mod control;
mod downloads;
mod hooks;
mod limits;
mod lists;
mod meeting;
mod pages;
mod quirks;
mod recordings;
mod register;
mod sketch;
#[cfg(test)]
mod stage;
mod webhooks;

pub use admission::Asked;
pub use hooks::{Registration, Trigger};
pub use quirks::{Faults, Quirk};
pub use sketch::{ActionItem, Highlight, Invitee, Line, MeetingSketch, Sharing, Span};
pub use webhooks::Webhook;

use axum::http::HeaderMap;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use books::{Books, Credential, CredentialKind};
use hooks::Hook;
use jiff::{SignedDuration, Timestamp};
use platform::clock::Clock;
use register::Wish;
use reqwest::redirect::Policy;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;
use uuid::Uuid;
use webhooks::Secret;

/// The address of the account that [`Fathom::new`] opens: the notetaker, which is invited to every lesson.
pub const RECORDER: &str = "notetaker@academy.example";

/// Deliveries are tried so often, waiting twice as long each time. The vendor's waits grow to ten hours.
const DELIVERY_TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A delivery that is not answered in this time has failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a download is asked after in vain, unless something else is said.
const POLLS: u32 = 2;

/// The simulated vendor.
#[derive(Clone)]
pub struct Fathom(Arc<Vendor>);

struct Vendor {
    base: String,
    clock: Clock,
    books: Mutex<Books>,
    http: reqwest::Client,
}

impl Fathom {
    /// A vendor reached at `base` (which ends in a slash), with one account: [`RECORDER`], without a team plan, whose
    /// key is `api_key`.
    pub fn new(base: &str, api_key: &str, clock: Clock) -> Self {
        let mut books = Books::default();
        books.open_account("Notetaker", RECORDER, None, clock.now());
        books.give_key(RECORDER, api_key);
        books.polls = POLLS;

        let http = reqwest::Client::builder().redirect(Policy::none()).build();
        Self(Arc::new(Vendor {
            base: base.into(),
            clock,
            books: Mutex::new(books),
            http: http.unwrap_or_default(),
        }))
    }

    /// The vendor's API below `external/v1/`, its files, and `/_control/` for whoever directs the play.
    pub fn router(&self) -> Router {
        let api = Router::new()
            .route("/meetings", get(lists::meetings))
            .route("/teams", get(lists::teams))
            .route("/team_members", get(lists::team_members))
            .route("/meeting_types", get(lists::meeting_types))
            .route("/recordings/{recording}/summary", get(recordings::summary))
            .route("/recordings/{recording}/transcript", get(recordings::transcript))
            .route("/recordings/{recording}/download", post(downloads::create))
            .route("/recordings/{recording}/downloads/{id}", get(downloads::show))
            .route("/webhooks", post(register::create))
            .route("/webhooks/{id}", delete(register::delete))
            .layer(middleware::from_fn_with_state(self.clone(), admission::admit));
        Router::new()
            .nest("/external/v1", api)
            .route("/files/{name}", get(downloads::file))
            .merge(control::router())
            .with_state(self.clone())
    }

    // What it is like ---------------------------------------------------------------------------------------

    /// Misbehaves from now on.
    pub fn misbehave(&self, faults: Faults) {
        self.books().faults = faults;
    }

    /// Has these quirks from now on, and no others.
    pub fn behave(&self, quirks: impl IntoIterator<Item = Quirk>) {
        self.books().quirks = quirks.into_iter().collect();
    }

    /// A download is asked after so often in vain before it is ready.
    pub fn take_polls(&self, polls: u32) {
        self.books().polls = polls;
    }

    /// Every account has all its calls again. This is for plays whose clock stands still; the vendor lets a minute pass.
    pub fn forget_calls(&self) {
        self.books().limits.clear();
    }

    // Whom it knows -----------------------------------------------------------------------------------------

    /// Opens another account, and gives its owner a key. All accounts with a team are of one customer.
    pub fn open_account(&self, name: &str, email: &str, team: Option<&str>) -> String {
        let key = new_credential();
        let mut books = self.books();
        books.open_account(name, email, team, self.now());
        books.give_key(email, &key);
        key
    }

    /// Takes an account's key away and gives its owner another: from now on the old one is refused, and downloads that
    /// it asked for are nobody's.
    pub fn rotate_key(&self, email: &str) -> String {
        let key = new_credential();
        self.books().give_key(email, &key);
        key
    }

    /// The account's owner connects an app; its token is good for so long.
    pub fn connect_app(&self, email: &str, lasts: SignedDuration) -> String {
        let token = new_credential();
        let until = meeting::later(self.now(), lasts);
        let credential = Credential {
            account: email.to_lowercase(),
            kind: CredentialKind::Token { until },
        };
        self.books().credentials.insert(token.clone(), credential);
        token
    }

    /// A key or token is good for nothing any more. What was registered with it goes on.
    pub fn revoke(&self, credential: &str) {
        self.books().credentials.remove(credential);
    }

    // Registrations -----------------------------------------------------------------------------------------

    /// Registers `url` on the vendor's settings page, for all that [`RECORDER`] records, with transcript, summary and
    /// action items; the secret. Any address will do.
    pub fn register(&self, url: &Url) -> String {
        self.keep_hook(url, Secret::new()).secret
    }

    /// As [`Self::register`], with a secret that the customer brings along; none if it is not `whsec_` and the base64 of
    /// 24 to 64 bytes.
    pub fn register_with(&self, url: &Url, secret: &str) -> Option<Registration> {
        Some(self.keep_hook(url, Secret::read(secret)?))
    }

    fn keep_hook(&self, url: &Url, secret: Secret) -> Registration {
        let hook = Hook::new(RECORDER, Wish::usual(url.clone()), secret, self.now());
        let registration = hook.registration();
        self.books().hooks.push(hook);
        registration
    }

    /// Gives a registration another secret, which is returned. For 24 hours both sign, the new one first.
    pub fn rotate_secret(&self, hook: &str) -> Option<String> {
        let now = self.now();
        self.books().rotate(hook, now)
    }

    /// Every registration there ever was, in the order in which they were made.
    pub fn registrations(&self) -> Vec<Registration> {
        self.books().hooks.iter().map(Hook::registration).collect()
    }

    // What happens ------------------------------------------------------------------------------------------

    /// A meeting has been recorded; its number. It stands in lists at once, and has no content yet.
    pub fn meeting(&self, sketch: MeetingSketch) -> u64 {
        let now = self.now();
        self.books().record(sketch, now)
    }

    /// Its content is there: tells whoever is to be told. Each time under new ids.
    pub fn content_ready(&self, recording: u64) -> Vec<Webhook> {
        let now = self.now();
        let mut books = self.books();
        if let Some(meeting) = books.meetings.get_mut(&recording) {
            meeting.is_ready = true;
        }
        books.tell(recording, now)
    }

    /// Tells of it as it stands: before its content is there, with null for everything that is to come.
    pub fn tell(&self, recording: u64) -> Vec<Webhook> {
        let now = self.now();
        self.books().tell(recording, now)
    }

    /// Somebody edits a meeting, in the vendor's own pages; whether there is one. Nobody is told. Who recorded it stays.
    pub fn edit(&self, recording: u64, change: impl FnOnce(&mut MeetingSketch)) -> bool {
        let found = self.books().meetings.get(&recording).cloned();
        let Some(mut meeting) = found else {
            return false;
        };
        change(&mut meeting.sketch);
        self.books().meetings.insert(recording, meeting);
        true
    }

    /// Somebody deletes a meeting. Nobody is told.
    pub fn delete(&self, recording: u64) {
        self.books().meetings.remove(&recording);
    }

    /// What single requests asked to be sent to an address, as far as it is there now. Downloads of which word is to be
    /// sent end hereby. Each is returned once.
    pub fn take_posts(&self) -> Vec<Webhook> {
        let now = self.now();
        let mut books = self.books();
        let mut posts = books.keep_promises();
        posts.extend(books.tell_of_downloads(self.base(), now));
        posts
    }

    // What it knows -----------------------------------------------------------------------------------------

    /// The numbers of all meetings, in the order in which they were recorded.
    pub fn meetings(&self) -> Vec<u64> {
        self.books().meetings.keys().copied().collect()
    }

    /// The address at which everybody sees a recording.
    pub fn share_url(&self, recording: u64) -> Option<String> {
        let books = self.books();
        books.meetings.get(&recording).map(meeting::Meeting::share_url)
    }

    /// Every request to the API that arrived, with its answer's status: 2xx are the accepted ones.
    pub fn requests(&self) -> Vec<Asked> {
        self.books().asked.clone()
    }

    /// Every download that was asked for, as the vendor would show it.
    pub fn downloads(&self) -> Vec<Value> {
        self.books().list_downloads(self.base(), self.now())
    }

    // How it sends ------------------------------------------------------------------------------------------

    /// Sends a webhook exactly as it is, once. Returns the status, or 0 if there was none.
    pub async fn send(&self, webhook: &Webhook) -> u16 {
        let mut request = self.0.http.post(webhook.url.clone()).timeout(PATIENCE);
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        let sent = request
            .header("content-type", "application/json")
            .body(webhook.body.clone())
            .send()
            .await;
        let status = sent.map_or(0, |answer| answer.status().as_u16());

        let now = self.now();
        self.books().note_delivery(webhook, is_success(status), now);
        status
    }

    /// Sends a webhook as the vendor does: again after anything but success, eight times in all, under the same id.
    /// Returns the last status, or 0. A registration to which nothing got through for five days is sent nothing more.
    pub async fn deliver(&self, webhook: &Webhook) -> u16 {
        let mut status = self.send(webhook).await;
        for attempt in 1..DELIVERY_TRIES {
            if is_success(status) {
                break;
            }
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1)).await;
            status = self.send(webhook).await;
        }
        status
    }

    /// The same webhook as a later try would be: the same id, signed at the present time.
    #[must_use]
    pub fn seal_again(&self, webhook: &Webhook) -> Webhook {
        let now = self.now();
        self.books().seal_again(webhook, now)
    }

    // How it answers ----------------------------------------------------------------------------------------

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> &str {
        &self.0.base
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn new_credential() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The body of a request, if it says that it is JSON and is.
fn json_body(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let kind = headers.get("content-type")?.to_str().ok()?;
    let is_json = kind
        .split(';')
        .next()?
        .trim()
        .eq_ignore_ascii_case("application/json");
    serde_json::from_slice(body).ok().filter(|_| is_json)
}

#[cfg(test)]
mod tests {
    use super::Quirk;
    use super::stage::Stage;
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use jiff::SignedDuration;

    #[tokio::test]
    async fn what_is_refused_for_five_days_is_sent_no_more() {
        let stage = Stage::new().await;
        let refuses = Router::new().route("/", post(|| async { StatusCode::UNAUTHORIZED }));
        let address = crate::serve(refuses).await.unwrap();
        stage
            .fathom
            .register(&format!("http://{address}/").parse().unwrap());
        let lesson = stage.lesson(0);
        let webhook = stage.fathom.content_ready(lesson).remove(0);

        assert_eq!(stage.fathom.send(&webhook).await, 401);
        stage.hand.advance(SignedDuration::from_hours(5 * 24));
        assert_eq!(stage.fathom.send(&webhook).await, 401);

        assert!(stage.fathom.registrations()[0].is_disabled);
        assert!(stage.fathom.content_ready(lesson).is_empty());
    }

    #[tokio::test]
    async fn a_later_try_has_the_same_id_and_another_signature() {
        let stage = Stage::new().await;
        stage.fathom.register(&"https://firstbell.test/".parse().unwrap());
        let first = stage.fathom.content_ready(stage.lesson(0)).remove(0);

        stage.hand.advance(SignedDuration::from_mins(30));
        let second = stage.fathom.seal_again(&first);

        assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
        assert_ne!(
            first.header("webhook-signature"),
            second.header("webhook-signature")
        );
    }

    #[tokio::test]
    async fn a_silent_vendor_tells_nobody() {
        let stage = Stage::new().await;
        stage.fathom.register(&"https://firstbell.test/".parse().unwrap());
        stage.fathom.behave([Quirk::Silent]);

        assert!(stage.fathom.content_ready(stage.lesson(0)).is_empty());
    }
}
