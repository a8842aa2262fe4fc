//! The vendor's books as a judge reads them: what is true, whatever its API says.

use super::books::{Books, Link, Recording, Session, Stay, User};
use serde_json::{Value, json};

impl Books {
    pub(super) fn user_records(&self) -> Vec<Value> {
        self.users.iter().map(User::row).collect()
    }

    pub(super) fn space_records(&self, base: &str) -> Vec<Value> {
        let spaces = self.spaces.iter();
        spaces
            .map(|space| {
                let mut record = space.whole(base);
                if let Some(fields) = record.as_object_mut() {
                    fields.insert("siteId".into(), json!(space.site));
                    fields.insert("isArchived".into(), json!(space.is_archived));
                    fields.insert("isDeleted".into(), json!(space.is_deleted));
                    fields.insert("sessionIds".into(), json!(space.sessions));
                    fields.insert("recordingIds".into(), json!(space.recordings));
                }
                record
            })
            .collect()
    }

    pub(super) fn session_records(&self) -> Vec<Value> {
        self.sessions.iter().map(Session::record).collect()
    }

    pub(super) fn recording_records(&self) -> Vec<Value> {
        self.recordings.iter().map(Recording::record).collect()
    }

    pub(super) fn link_records(&self) -> Vec<Value> {
        self.links.iter().map(Link::record).collect()
    }
}

impl Session {
    fn record(&self) -> Value {
        let stays: Vec<Value> = self.stays.iter().map(Stay::record).collect();
        json!({
            "sessionId": self.id, "spaceId": self.space, "start": self.start, "end": self.end,
            "isAnalysed": self.is_analysed, "isDeleted": self.is_deleted, "stays": stays,
        })
    }
}

impl Stay {
    fn record(&self) -> Value {
        json!({
            "userId": self.user, "userTabId": self.tab, "from": self.from, "until": self.until,
            "hasCrashed": self.has_crashed,
        })
    }
}

impl Recording {
    fn record(&self) -> Value {
        json!({
            "recordingId": self.id, "spaceId": self.space, "sessionId": self.session, "from": self.from,
            "until": self.until, "isReady": self.is_ready,
        })
    }
}

impl Link {
    fn record(&self) -> Value {
        json!({
            "token": self.token, "userId": self.user, "redirectUrl": self.redirect_url, "made": self.made,
            "used": self.used,
        })
    }
}
