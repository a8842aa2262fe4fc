//! What happens in meetings. Each happening returns what the vendor tells of it.

use super::books::{Books, FileKind, Instance, Opens, Stay};
use super::encoding::meeting_uuid;
use super::events::{Reason, Step, Told};
use super::people::{Plan, Who};
use super::quirks::Quirk;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// A meeting of somebody who does not pay is cut after so long.
const FREE_LASTS: SignedDuration = SignedDuration::from_mins(40);

/// The vendor notices after so long that a connection is lost.
const NOTICED_AFTER: SignedDuration = SignedDuration::from_secs(75);

/// The token of an event about a recording is good for so long.
const EVENT_TOKEN_LIVES: SignedDuration = SignedDuration::from_hours(24);

impl Books {
    /// The host opens the meeting. Nobody is in it yet; whoever waited for this comes in, or into the waiting room.
    pub(super) fn start(&mut self, id: u64, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        if self.can_be_held(id, at) && !self.is_running(id) {
            told.extend(self.begin(id, at));
            told.extend(self.call_in(id, at));
        }
        told
    }

    /// Somebody comes to the door. The meeting's settings say what becomes of it.
    pub(super) fn enter(&mut self, id: u64, who: &Who, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        if !self.can_be_held(id, at) || self.is_locked_out(id, who) {
            return told;
        }
        if self.is_running(id) {
            told.extend(self.come_in(id, who, at));
            return told;
        }
        if *who != Who::Host && !self.may_begin(id, at) {
            told.extend(self.wait_for_host(id, who, at));
            return told;
        }

        let mut begun = self.begin(id, at);
        if *who != Who::Host {
            begun.extend(self.join(id, who, Step::JoinsBeforeHost, at));
        }
        begun.extend(self.join(id, who, Step::Joins, at));
        if self.is(Quirk::JoinsBeforeStarts) {
            begun.reverse();
        }
        told.extend(begun);
        if *who == Who::Host {
            told.extend(self.call_in(id, at));
        }
        told
    }

    /// Somebody is let in who sits in the waiting room.
    pub(super) fn admit(&mut self, id: u64, who: &Who, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        if let Some(stay) = self.end_stay(id, who, true, at) {
            told.extend(self.tell_step(id, Step::IsAdmitted, &stay, at));
            told.extend(self.join(id, who, Step::Joins, at));
        }
        told
    }

    /// Somebody leaves the meeting, its waiting room, or the page before the host has come. With the last one it ends.
    pub(super) fn leave(&mut self, id: u64, who: &Who, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        if let Some(stay) = self.end_stay(id, who, false, at) {
            told.extend(self.tell_leave(id, &stay, Reason::OfTheirOwn, at));
            if self.is_empty(id) {
                told.extend(self.close(id, at, Reason::HostEnded));
            }
        } else if let Some(stay) = self.end_stay(id, who, true, at) {
            told.extend(self.tell_step(id, Step::LeavesWaitingRoom, &stay, at));
        } else {
            told.extend(self.give_up(id, who, at));
        }
        told
    }

    /// Somebody's connection is lost. That is told late, and ends nothing: they may be back before.
    pub(super) fn drop_out(&mut self, id: u64, who: &Who, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        let noticed = at + NOTICED_AFTER;
        let left = if self.is(Quirk::LateLeaveTimes) {
            noticed
        } else {
            at
        };
        if let Some(stay) = self.end_stay(id, who, false, left) {
            told.extend(self.tell_leave(id, &stay, Reason::ConnectionLost, noticed));
        }
        told
    }

    /// The host ends it for all.
    pub(super) fn end(&mut self, id: u64, at: Timestamp) -> Vec<Told> {
        let mut told = self.cut(id, at);
        told.extend(self.close(id, at, Reason::HostEnded));
        told
    }

    /// Time passes, and meetings of those who do not pay are cut.
    pub(super) fn pass_time(&mut self, at: Timestamp) -> Vec<Told> {
        let running = self.meetings.values();
        let running = running.filter(|meeting| meeting.running().is_some());
        let ids: Vec<u64> = running.map(|meeting| meeting.id).collect();
        ids.into_iter().flat_map(|id| self.cut(id, at)).collect()
    }

    /// Ends a meeting whose free time is over.
    fn cut(&mut self, id: u64, now: Timestamp) -> Vec<Told> {
        let meeting = self.meetings.get(&id);
        let is_free = meeting
            .and_then(|meeting| self.host_of(meeting))
            .is_some_and(|host| host.plan == Plan::Basic);
        let start = meeting
            .and_then(|meeting| meeting.running())
            .map(|instance| instance.start);
        let over = start.filter(|_| is_free).map(|start| start + FREE_LASTS);
        over.filter(|over| *over <= now)
            .map_or_else(Vec::new, |over| self.close(id, over, Reason::FreePlan))
    }

    fn is_running(&self, id: u64) -> bool {
        self.meetings
            .get(&id)
            .is_some_and(|meeting| meeting.running().is_some())
    }

    fn is_empty(&self, id: u64) -> bool {
        let meeting = self.meetings.get(&id);
        meeting
            .and_then(|meeting| meeting.running())
            .is_some_and(Instance::is_empty)
    }

    /// Whether somebody has to sign in, and has not.
    fn is_locked_out(&self, id: u64, who: &Who) -> bool {
        let meeting = self.meetings.get(&id);
        let asks = meeting.is_some_and(|meeting| meeting.draft.settings.meeting_authentication);
        asks && matches!(who, Who::Guest(_))
    }

    /// Whether the meeting may begin without its host by now.
    fn may_begin(&self, id: u64, at: Timestamp) -> bool {
        let draft = self.meetings.get(&id).map(|meeting| &meeting.draft);
        draft.is_some_and(|draft| {
            let early = SignedDuration::from_mins(draft.settings.jbh_time);
            let is_time = draft.settings.jbh_time == 0 || at >= draft.start - early;
            draft.settings.join_before_host && is_time
        })
    }

    /// A meeting takes place from now on, under a uuid of its own.
    fn begin(&mut self, id: u64, at: Timestamp) -> Vec<Told> {
        let uuid = meeting_uuid(self.is(Quirk::SlashUuids));
        let Some(meeting) = self.meetings.get_mut(&id) else {
            return Vec::new();
        };
        meeting.instances.push(Instance::new(uuid.clone(), at));
        self.places.insert(uuid.clone(), id);

        let instance = self.instance(&uuid).map(|(_, instance)| instance);
        let told = self
            .teller(id)
            .zip(instance)
            .map(|(teller, instance)| teller.meeting("meeting.started", instance, at));
        told.into_iter().collect()
    }

    /// Those who waited for the host come in, or into the waiting room.
    fn call_in(&mut self, id: u64, at: Timestamp) -> Vec<Told> {
        let early = self
            .meetings
            .get_mut(&id)
            .map(|meeting| std::mem::take(&mut meeting.early));
        let mut told = Vec::new();
        for who in early.unwrap_or_default() {
            told.extend(self.come_in(id, &who, at));
        }
        told
    }

    /// Into the meeting, or into its waiting room.
    fn come_in(&mut self, id: u64, who: &Who, at: Timestamp) -> Option<Told> {
        let meeting = self.meetings.get(&id)?;
        let waits = meeting.draft.settings.waiting_room && *who != Who::Host;
        let step = if waits { Step::Knocks } else { Step::Joins };
        self.join(id, who, step, at)
    }

    /// Somebody's stay begins; for whoever joins before the host that is told twice, and begun with the second.
    fn join(&mut self, id: u64, who: &Who, step: Step, at: Timestamp) -> Option<Told> {
        let stay = self.stay(id, who, step == Step::Knocks, at)?;
        if step != Step::JoinsBeforeHost {
            let uuid = self.meetings.get(&id)?.running()?.uuid.clone();
            self.instance_mut(&uuid)?.stays.push(stay.clone());
        }
        self.tell_step(id, step, &stay, at)
    }

    fn stay(&mut self, id: u64, who: &Who, is_waiting: bool, from: Timestamp) -> Option<Stay> {
        let visit = self.visit();
        let meeting = self.meetings.get(&id)?;
        let host = self.host_of(meeting)?;
        let before = meeting.running().into_iter().flat_map(|instance| &instance.stays);
        let kept = before
            .filter(|stay| stay.who == *who && self.is(Quirk::KeepsParticipantUuids))
            .map(|stay| stay.uuid.clone())
            .next_back();
        Some(Stay {
            who: who.clone(),
            person: self.person(who, host),
            is_waiting,
            visit,
            uuid: kept.unwrap_or_else(|| Uuid::new_v4().to_string().to_uppercase()),
            from,
            until: None,
        })
    }

    /// Ends the oldest open stay of somebody, in the meeting or its waiting room.
    fn end_stay(&mut self, id: u64, who: &Who, is_waiting: bool, at: Timestamp) -> Option<Stay> {
        let instance = self.meetings.get_mut(&id)?.instances.last_mut()?;
        let mut open = instance.stays.iter_mut().filter(|stay| stay.until.is_none());
        let stay = open.find(|stay| stay.who == *who && stay.is_waiting == is_waiting)?;
        stay.until = Some(at);
        Some(stay.clone())
    }

    fn wait_for_host(&mut self, id: u64, who: &Who, at: Timestamp) -> Option<Told> {
        let stay = self.stay(id, who, true, at)?;
        self.meetings.get_mut(&id)?.early.push(who.clone());
        Some(self.teller(id)?.early(&stay, false, at))
    }

    /// Somebody does not wait for the host any longer.
    fn give_up(&mut self, id: u64, who: &Who, at: Timestamp) -> Option<Told> {
        let early = &mut self.meetings.get_mut(&id)?.early;
        let place = early.iter().position(|waiting| waiting == who)?;
        early.remove(place);

        let stay = self.stay(id, who, true, at)?;
        Some(self.teller(id)?.early(&stay, true, at))
    }

    /// Whoever is in it leaves, and it ends. If everything was to be recorded, it was.
    fn close(&mut self, id: u64, at: Timestamp, reason: Reason) -> Vec<Told> {
        let running = self.meetings.get(&id).and_then(|meeting| meeting.running());
        let Some(uuid) = running.map(|instance| instance.uuid.clone()) else {
            return Vec::new();
        };

        let gone = self.empty(&uuid, at);
        let tell = |stay: &Stay| {
            if stay.is_waiting {
                self.tell_step(id, Step::LeavesWaitingRoom, stay, at)
            } else {
                self.tell_leave(id, stay, reason, at)
            }
        };
        let mut told: Vec<Told> = gone.iter().filter_map(tell).collect();

        if let Some(instance) = self.instance_mut(&uuid) {
            instance.end = Some(at);
        }
        self.record_whole(id, &uuid, at);
        told.extend(self.tell_end(id, &uuid, at));
        told
    }

    /// Ends every stay that is open, and says which.
    fn empty(&mut self, uuid: &str, at: Timestamp) -> Vec<Stay> {
        let stays = self.instance_mut(uuid).map(|instance| &mut instance.stays);
        let open = stays.into_iter().flatten().filter(|stay| stay.until.is_none());
        open.map(|stay| {
            stay.until = Some(at);
            stay.clone()
        })
        .collect()
    }

    /// Where everything is to be recorded and nothing was by hand, it was recorded from beginning to end.
    fn record_whole(&mut self, id: u64, uuid: &str, end: Timestamp) {
        let meeting = self.meetings.get(&id);
        let is_asked = meeting.is_some_and(|meeting| meeting.draft.settings.auto_recording == "cloud");
        let instance = self.instance(uuid).map(|(_, instance)| instance);
        let begun = instance.filter(|instance| instance.recording.files.is_empty());
        if let Some(start) = begun.map(|instance| instance.start).filter(|_| is_asked) {
            self.record(uuid, start, end);
        }
    }

    fn tell_end(&self, id: u64, uuid: &str, at: Timestamp) -> Option<Told> {
        let (_, instance) = self.instance(uuid)?;
        Some(self.teller(id)?.meeting("meeting.ended", instance, at))
    }

    fn tell_step(&self, id: u64, step: Step, stay: &Stay, at: Timestamp) -> Option<Told> {
        let instance = self.meetings.get(&id)?.instances.last()?;
        Some(self.teller(id)?.step(step, instance, stay, at))
    }

    fn tell_leave(&self, id: u64, stay: &Stay, reason: Reason, noticed: Timestamp) -> Option<Told> {
        let instance = self.meetings.get(&id)?.instances.last()?;
        Some(self.teller(id)?.leaves(instance, stay, reason, noticed))
    }

    /// Files are ready, all but the transcript, and told of with links and a token of their own each time.
    pub(super) fn finish_recording(&mut self, base: &str, uuid: &str, at: Timestamp) -> Option<Told> {
        let instance = self.instance_mut(uuid)?;
        if instance.recording.files.is_empty() {
            return None;
        }
        instance.recording.is_ready = true;
        self.tell_recording(base, uuid, "recording.completed", at)
    }

    /// The transcript is ready, some time after the rest.
    pub(super) fn finish_transcript(
        &mut self,
        base: &str,
        uuid: &str,
        words: &str,
        at: Timestamp,
    ) -> Option<Told> {
        let instance = self.instance_mut(uuid)?;
        if instance.recording.files.is_empty() {
            return None;
        }
        instance.recording.transcribe(words);
        self.tell_recording(base, uuid, "recording.transcript_completed", at)
    }

    fn tell_recording(&mut self, base: &str, uuid: &str, event: &'static str, at: Timestamp) -> Option<Told> {
        let is_about_words = event == "recording.transcript_completed";
        let (meeting, instance) = self.instance(uuid)?;
        let id = meeting.id;
        let files = instance.recording.files.iter();
        let told_of: Vec<_> = files
            .filter(|file| (file.kind == FileKind::Transcript) == is_about_words)
            .cloned()
            .collect();
        let linked: Vec<_> = told_of
            .into_iter()
            .map(|file| {
                let link = self.link(base, uuid, &file.id);
                (file, link)
            })
            .collect();

        let token = self.ticket(Opens::Files(uuid.to_owned()), at + EVENT_TOKEN_LIVES);
        let (_, instance) = self.instance(uuid)?;
        Some(self.teller(id)?.recording(event, instance, &linked, token, at))
    }
}
