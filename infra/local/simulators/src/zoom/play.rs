//! What happens in meetings, for whoever directs the play. Each happening returns the webhooks that tell of it.

use super::Zoom;
use super::books::Books;
use super::events::Told;
use super::people::Who;
use super::webhooks::Webhook;
use jiff::Timestamp;

impl Zoom {
    /// Lets something happen, and seals what is told of it.
    fn play<T: IntoIterator<Item = Told>>(&self, happen: impl FnOnce(&mut Books) -> T) -> Vec<Webhook> {
        let now = self.now();
        let mut books = self.books();
        let told = happen(&mut books).into_iter().collect();
        self.vendor().seal(&books, told, now)
    }

    /// The host opens a meeting: `meeting.started`. Nobody is in it yet; whoever waited for this comes in, or into the
    /// waiting room. Nothing happens if it runs, does not exist, or its id is too old.
    pub fn start(&self, meeting: u64, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.start(meeting, at))
    }

    /// Somebody comes to the door, with one more device if they are inside. The host always comes in and opens the
    /// meeting if need be. Others come in, sit in the waiting room (until [`Self::admit`]), wait for the host (until
    /// the meeting starts), or open it themselves, as its settings say; guests are turned away where everybody has to
    /// sign in.
    pub fn enter(&self, meeting: u64, who: &Who, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.enter(meeting, who, at))
    }

    /// The host lets somebody in who sits in the waiting room.
    pub fn admit(&self, meeting: u64, who: &Who, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.admit(meeting, who, at))
    }

    /// Somebody leaves: the meeting (the oldest of several devices), its waiting room, or the page on which they wait
    /// for the host. When the last one has left, the meeting ends.
    pub fn leave(&self, meeting: u64, who: &Who, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.leave(meeting, who, at))
    }

    /// Somebody's connection is lost. The meeting goes on, even if it is empty, and the webhook is stamped 75 seconds
    /// later: it belongs behind whatever tells of their return.
    pub fn drop_out(&self, meeting: u64, who: &Who, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.drop_out(meeting, who, at))
    }

    /// The host ends a meeting for all: a leave of each, then `meeting.ended`.
    pub fn end(&self, meeting: u64, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.end(meeting, at))
    }

    /// Time passes: meetings of Basic hosts that have run for 40 minutes by then ended when these were over. All other
    /// happenings look for that in their own meeting, too. Whoever enters afterwards is in another instance.
    pub fn pass_time(&self, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.pass_time(at))
    }

    /// A whole meeting of the host and one guest, whatever its waiting room says.
    pub fn hold(&self, meeting: u64, guest: &str, from: Timestamp, until: Timestamp) -> Vec<Webhook> {
        let guest = Who::Guest(guest.into());
        self.play(|books| {
            let mut told = books.enter(meeting, &Who::Host, from);
            told.extend(books.enter(meeting, &guest, from));
            told.extend(books.admit(meeting, &guest, from));
            told.extend(books.end(meeting, until));
            told
        })
    }

    // Recordings ------------------------------------------------------------------------------------------------

    /// A part of what takes place under this uuid is recorded: one more set of files. False, and nothing, for Basic
    /// hosts and what never took place. Where `auto_recording` is `cloud`, what was not recorded so is recorded whole.
    pub fn record(&self, uuid: &str, from: Timestamp, until: Timestamp) -> bool {
        self.books().record(uuid, from, until)
    }

    /// The files are ready: `recording.completed`. Said again, it has another token and other links.
    pub fn recording_completed(&self, uuid: &str, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.finish_recording(&self.vendor().base(), uuid, at))
    }

    /// The transcript is ready: `recording.transcript_completed`. `words` is the whole file, in `WebVTT`.
    pub fn transcript_completed(&self, uuid: &str, words: &str, at: Timestamp) -> Vec<Webhook> {
        self.play(|books| books.finish_transcript(&self.vendor().base(), uuid, words, at))
    }

    /// The files of a recording, as they are, with their `file_type`.
    pub fn files(&self, uuid: &str) -> Vec<(&'static str, Vec<u8>)> {
        let books = self.books();
        let files = books
            .instance(uuid)
            .map(|(_, instance)| &instance.recording.files);
        let files = files.into_iter().flatten();
        files
            .map(|file| {
                let [file_type, ..] = file.kind.names();
                (file_type, file.content.clone())
            })
            .collect()
    }

    /// The recording is deleted.
    pub fn delete_recording(&self, uuid: &str) {
        if let Some(instance) = self.books().instance_mut(uuid) {
            instance.recording = super::books::Recording::default();
        }
    }
}
