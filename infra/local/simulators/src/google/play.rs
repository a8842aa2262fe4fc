//! What people do: with their accounts, and in rooms. Whatever is told of it comes back, to be delivered, or not.

use super::accounts::{Account, Consent};
use super::meetings::Kind;
use super::quirks::Quirk;
use super::rooms::Who;
use super::subscriptions::Suspension;
use super::{Google, Webhook};
use jiff::Timestamp;

impl Google {
    // Accounts ----------------------------------------------------------------------------------------------

    /// Somebody has an account. Returns its number, the `sub` of tokens.
    pub fn add_user(&self, email: &str, name: &str, account: Account) -> String {
        let mut books = self.books();
        let has_other_id = books.is(Quirk::MeetIdsDiffer);
        books.accounts.add(email, name, account, has_other_id)
    }

    /// Meet's number of somebody, as in `users/…`. The same as their `sub`, unless [`Quirk::MeetIdsDiffer`].
    pub fn meet_id(&self, sub: &str) -> Option<String> {
        self.books().person(sub).map(|person| person.meet_id.clone())
    }

    /// Somebody is signed in where consent pages are opened from now on, and answers them at once. Without anybody
    /// the page asks who is there.
    pub fn sign_in(&self, sub: &str) {
        self.books().accounts.at_browser = Some(sub.into());
    }

    /// Nobody is signed in any longer.
    pub fn sign_out(&self) {
        self.books().accounts.at_browser = None;
    }

    /// What whoever comes to the consent page does there, from now on.
    pub fn consent(&self, consent: Consent) {
        self.books().accounts.consent = consent;
    }

    /// Somebody takes back at Google what they allowed: every token of theirs is dead, their subscriptions sleep.
    pub fn revoke(&self, sub: &str) -> Vec<Webhook> {
        self.books().withdraw(sub)
    }

    /// Somebody's refresh tokens die, as after half a year or by their administrator; what they allowed stays.
    pub fn kill_refresh_tokens(&self, sub: &str) {
        self.books().accounts.kill_refresh_tokens(sub);
    }

    /// Whether somebody's calendar may have Meet rooms, from now on: their domain decides that.
    pub fn allow_meet(&self, sub: &str, may_meet: bool) {
        if let Some(person) = self.books().accounts.people.get_mut(sub) {
            person.may_meet = may_meet;
        }
    }

    // Rooms: named by their space, code, link, or the id of their event. A room that is not there stays silent ---

    /// A conference begins that nobody is in yet, unless one is being held.
    pub fn start(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.room(room);
        space.map(|space| books.start(&space, at)).unwrap_or_default()
    }

    /// Somebody comes in with a device; the first one begins a conference. A device that is inside is not told again.
    pub fn enter(&self, room: &str, who: &Who, device: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.room(room);
        space
            .map(|space| books.enter(&space, who, device, at))
            .unwrap_or_default()
    }

    /// Somebody leaves with a device. When the last one has, the conference is over; whoever comes back begins another.
    pub fn leave(&self, room: &str, who: &Who, device: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.room(room);
        space
            .map(|space| books.leave(&space, who, device, at))
            .unwrap_or_default()
    }

    /// The conference is over for everybody.
    pub fn end(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.room(room);
        space.map(|space| books.end(&space, at)).unwrap_or_default()
    }

    /// Whether somebody would have to knock: all but the owner, the invited who are signed in, and anybody if the space
    /// is open. `enter` does not ask this: whoever knocks may be let in.
    pub fn must_knock(&self, room: &str, who: &Who) -> bool {
        let books = self.books();
        let space = books.room(room);
        let Some(space) = space.and_then(|space| books.rooms.space(&space)) else {
            return true;
        };
        let access = space.config.get("accessType").and_then(serde_json::Value::as_str);
        let is_expected = match who {
            Who::User(sub) => {
                let person = books.person(sub);
                let is_invited = person.is_some_and(|person| books.is_invited(&space.id, person));
                is_invited || space.owner == *sub
            }
            Who::Phone(_) => access == Some("TRUSTED"),
            Who::Anonymous(_) => false,
        };
        !is_expected && access != Some("OPEN")
    }

    /// A recording begins, beside others that may run. Accounts of persons cannot record.
    pub fn record(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.with_edition(room, Kind::Recording, at)
    }

    /// A transcript begins, likewise.
    pub fn transcribe(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        self.with_edition(room, Kind::Transcript, at)
    }

    fn with_edition(&self, room: &str, kind: Kind, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let Some(space) = books.room(room) else {
            return Vec::new();
        };
        let owner = books.rooms.space(&space).map(|space| space.owner.clone());
        let person = owner.and_then(|owner| books.person(&owner).cloned());
        if person.is_some_and(|person| person.account == Account::Personal) {
            return Vec::new();
        }
        books.record(&space, kind, at)
    }

    /// What is being recorded ends, and has no file yet.
    pub fn stop_recording(&self, room: &str, at: Timestamp) -> Vec<Webhook> {
        let mut books = self.books();
        let space = books.room(room);
        space
            .map(|space| books.stop(&space, Kind::Recording, at))
            .unwrap_or_default()
    }

    /// Somebody says something into the transcripts that are being made.
    pub fn say(&self, room: &str, who: &Who, text: &str, from: Timestamp, to: Timestamp) {
        let mut books = self.books();
        if let Some(space) = books.room(room) {
            books.say(&space, who, text, from, to);
        }
    }

    /// The file of a recording, `conferenceRecords/R/recordings/A`, is there. It may be never.
    pub fn recording_ready(&self, name: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().generate(name, Kind::Recording, at)
    }

    /// The document of a transcript, `conferenceRecords/R/transcripts/A`, is there.
    pub fn transcript_ready(&self, name: &str, at: Timestamp) -> Vec<Webhook> {
        self.books().generate(name, Kind::Transcript, at)
    }

    /// The organizer deletes a file; what is known of the recording stays.
    pub fn delete_file(&self, file: &str) {
        self.books().rooms.files.remove(file);
    }

    /// A file may not be downloaded any longer.
    pub fn forbid_download(&self, file: &str) {
        if let Some(file) = self.books().rooms.files.get_mut(file) {
            file.may_download = false;
        }
    }

    // Subscriptions -----------------------------------------------------------------------------------------

    /// Sends the reminders that the clock makes due, and ends the subscriptions that have run out.
    pub fn pass_time(&self) -> Vec<Webhook> {
        self.books().pass_time()
    }

    /// Suspends one subscription, by its name, or all of somebody, by their `sub`. What happens meanwhile is lost.
    pub fn suspend(&self, whose: &str, reason: Suspension) -> Vec<Webhook> {
        self.books().suspend(whose, reason)
    }

    /// Pushes that a request caused, such as a conference that was ended by the API, or a grant that was revoked by it.
    pub fn waiting(&self) -> Vec<Webhook> {
        std::mem::take(&mut self.books().waiting)
    }
}
