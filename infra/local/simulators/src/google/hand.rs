//! What tutors do by hand in their own calendars, which no app is told of.

use super::Google;
use super::events::Conference;
use jiff::Timestamp;
use serde_json::json;

impl Google {
    /// An event is moved. Whether it was there.
    pub fn move_event(&self, id: &str, start: Timestamp, end: Timestamp) -> bool {
        self.books().by_hand(id, |event| {
            for (name, at) in [("start", start), ("end", end)] {
                let side = json!({"dateTime": at, "timeZone": "UTC"});
                event.fields.insert(name.into(), side);
            }
            (event.start, event.end) = (start, end);
        })
    }

    /// An event is deleted. It keeps its id. Whether it was there.
    pub fn delete_event(&self, id: &str) -> bool {
        self.books().by_hand(id, |event| event.is_cancelled = true)
    }

    /// An event's room is taken away from it. The room itself stays. Whether the event was there.
    pub fn remove_room(&self, id: &str) -> bool {
        self.books()
            .by_hand(id, |event| event.conference = Conference::None)
    }

    /// An event gets another organizer: its first one can no longer change it. Whether it was there.
    pub fn give_away(&self, id: &str, email: &str) -> bool {
        self.books()
            .by_hand(id, |event| email.clone_into(&mut event.organizer))
    }

    /// A room's code is given to a new room of somebody else, as may happen a year after it was last used. The room
    /// gets another code. Returns the name of the other's space.
    pub fn reuse_code(&self, room: &str, by: &str) -> Option<String> {
        let mut books = self.books();
        let space = books.room(room)?;
        let code = books.rooms.code_of(&space);
        let other = books.rooms.open(by, false);
        let others_code = books.rooms.code_of(&other);
        books.rooms.space_mut(&space)?.code = others_code;
        books.rooms.space_mut(&other)?.code = code;
        Some(format!("spaces/{other}"))
    }
}
