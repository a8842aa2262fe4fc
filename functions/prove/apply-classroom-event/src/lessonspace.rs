//! What Lessonspace's webhooks do, and what its own list says. A webhook's body is not believed: it only says which room to
//! ask about.

use crate::{ApplyClassroomEvent, side_of};
use domain::ids::BookingId;
use domain::launch::classroom::Classroom;
use domain::prove::evidence::Evidence;
use jiff::{SignedDuration, Timestamp};
use jobs::events::{event, whole};
use platform::batch::JobError;
use platform::invocation;
use platform::queue::Envelope;
use providers::lessonspace::{self, Delivery, Kind, Signature};
use std::collections::BTreeSet;
use store::prove::evidence::{self, About, Report, Room};
use store::prove::inbox::Event;

/// The vendor's list is read from so long before the planned start until so long after the planned end.
const AROUND: SignedDuration = SignedDuration::from_hours(2);
/// How many people whom no launch of ours knows are looked up in one report. One lost answer is rare; more
/// strangers than that are not ours.
const MOST_STRANGERS: usize = 3;

impl ApplyClassroomEvent {
    /// Handles a webhook. Its body is not believed: it only says which room to ask the vendor about.
    pub(crate) async fn told_by_lessonspace(&self, mut envelope: Envelope<Delivery>) -> Result<(), JobError> {
        let (delivery, id) = (envelope.payload.clone(), envelope.payload.event_id());
        let booking = delivery.booking;
        invocation::note("booking_id", booking);

        // Only what is worth keeping is written down with the event.
        envelope.payload = delivery.clone().trimmed();
        let whole = whole(&envelope)?;
        let kind = delivery.headers.event.as_deref().unwrap_or("unnamed");
        let event = event(lessonspace::NAME, &id, kind, Some(booking), &envelope, &whole);

        let known = evidence::load(
            &self.database,
            Some(&event),
            About::Booking(booking),
            envelope.id,
            self.clock.now(),
        )
        .await?;
        if known.is_settled {
            return Ok(());
        }

        match &known.room {
            Some(room) if !is_of(room, &delivery) => {
                // Told for this booking and about another room: nothing that time would mend.
                self.shelf().park(&event, "the event is about another room").await
            }
            Some(room) => {
                let signature = self.weigh_signature(&delivery, room).await?;
                self.merge(&event, &delivery, signature, room).await
            }
            None if known.booking.is_some() => {
                self.shelf()
                    .wait(&event, known.attempts, "the room is not known yet")
                    .await
            }
            None => self.shelf().wait(&event, known.attempts, "no such booking").await,
        }
    }

    /// Checks the signature, and only logs what it finds. The body is not believed either way, but signatures
    /// that fit show that we understand the vendor.
    async fn weigh_signature(&self, delivery: &Delivery, room: &Room) -> Result<Signature, JobError> {
        let secrets = self.room_secret.all().await;
        let secrets = secrets.map_err(|_| JobError::Transient("the secret is unavailable"))?;

        let signature = delivery.signature_by(room.key.as_deref(), &secrets);

        match signature {
            Signature::Raw | Signature::Compact | Signature::Absent | Signature::NoKey => {
                tracing::info!(?signature, "webhook");
            }
            Signature::Wrong => tracing::warn!(?signature, "webhook"),
        }

        Ok(signature)
    }

    async fn merge(
        &self,
        event: &Event<'_>,
        delivery: &Delivery,
        signature: Signature,
        room: &Room,
    ) -> Result<(), JobError> {
        let (booking, kind) = (delivery.booking, delivery.kind());
        let mut report = match kind {
            Kind::Other => Report::default(),
            _ => self.report(booking, room).await?,
        };

        // Nobody waits for what a stranger says, nor for what happened at another time of a lesson that was moved.
        let may_be_behind = signature != Signature::Wrong && is_about_now(room, delivery, event.received_at);
        if !may_be_behind || !is_behind(kind, delivery.span().as_deref(), &report.evidence) {
            let is_new =
                evidence::apply(&self.database, booking, Some(event), &report, self.clock.now()).await?;
            tracing::info!(kind = event.kind, is_new, "event applied");
            return Ok(());
        }

        // What the list does show counts; and until it shows the end, nobody may take the lesson for running.
        if let (Kind::SessionEnd, Some(span)) = (kind, delivery.span()) {
            report.evidence.ends.insert(span, event.received_at);
        }
        evidence::apply(&self.database, booking, None, &report, self.clock.now()).await?;
        Err(JobError::Transient("the vendor's list does not show it yet"))
    }

    /// What the vendor's list says of the room and its recordings.
    pub(crate) async fn report_of_lessonspace(
        &self,
        booking: BookingId,
        room: &Room,
    ) -> Result<Report, JobError> {
        let asked_at = self.clock.now();
        let (from, until) = time_of(room, asked_at);

        let mut evidence = self.lessonspace.report(booking, &room.id, from, until).await?;
        self.name_strangers(&mut evidence, room).await;

        let recorded = evidence
            .spans
            .iter()
            .filter(|(_, span)| span.is_recorded && span.ended_at.is_some());
        let recordings = recorded
            .map(|(id, _)| Ok((id.clone(), self.lessonspace.playback_address(id)?.to_string())))
            .collect::<Result<_, JobError>>()?;

        Ok(Report {
            evidence,
            asked_at: Some(asked_at),
            recordings,
            ..Report::default()
        })
    }

    /// Looks up people whom no launch of ours knows, because its answer was lost: the vendor may know them by
    /// our id. Whoever stays unknown costs nobody anything, and a failed look-up does not fail the report.
    async fn name_strangers(&self, evidence: &mut Evidence, room: &Room) {
        let seen: BTreeSet<&String> = evidence.marks.iter().map(|mark| &mark.who).collect();
        let strangers = seen
            .into_iter()
            .filter(|who| !room.evidence.people.contains_key(*who));
        let strangers: Vec<String> = strangers.take(MOST_STRANGERS).cloned().collect();

        for who in strangers {
            match self.lessonspace.known_as(&room.id, &who).await {
                Ok(Some(person)) => drop(evidence.people.insert(who, side_of(room, person))),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the vendor does not say who somebody is"),
            }
        }
    }
}

/// Whether a webhook of Lessonspace is about this room, as far as it says.
fn is_of(room: &Room, delivery: &Delivery) -> bool {
    room.classroom == Classroom::Lessonspace && delivery.room().is_none_or(|named| named == room.id)
}

/// From when until when the vendor is asked. A lesson that has no time is asked about around `now`.
fn time_of(room: &Room, now: Timestamp) -> (Timestamp, Timestamp) {
    let (from, until) = match room.schedule {
        Some(schedule) => (schedule.starts_at(), schedule.ends_at()),
        None => (now, now),
    };
    (
        from.saturating_sub(AROUND).unwrap_or(Timestamp::MIN),
        until.saturating_add(AROUND).unwrap_or(Timestamp::MAX),
    )
}

/// Whether what the vendor tells happened around the lesson as it is planned now, and not before it was
/// moved.
fn is_about_now(room: &Room, delivery: &Delivery, received_at: Timestamp) -> bool {
    let told = delivery.headers.timestamp.as_deref();
    let happened_at = told.and_then(|time| time.parse().ok()).unwrap_or(received_at);
    let (from, until) = time_of(room, received_at);
    (from..=until).contains(&happened_at)
}

/// Whether the vendor's list does not show yet what its webhook told.
fn is_behind(kind: Kind, span: Option<&str>, evidence: &Evidence) -> bool {
    let listed = match span {
        Some(id) => evidence.spans.get(id),
        None => evidence.spans.values().max_by_key(|span| span.began_at),
    };
    match kind {
        Kind::Other => false,
        Kind::SessionEnd => listed.is_none_or(|span| span.ended_at.is_none()),
        Kind::SessionStart | Kind::SessionIdle | Kind::UserJoin | Kind::UserLeave | Kind::UserIdle => {
            listed.is_none()
        }
    }
}
