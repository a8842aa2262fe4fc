//! What is told of lessons, and asked without being told: ask the vendor what it saw, merge that into the booking and
//! its session.

use crate::{ApplyEvent, event, whole};
use domain::evidence::{Evidence, Side};
use domain::ids::{BookingId, ProfileId};
use jiff::{SignedDuration, Timestamp};
use platform::batch::JobError;
use platform::invocation;
use platform::queue::Envelope;
use providers::lessonspace::{self, Delivery, Kind, SealedKey, Signature};
use std::collections::BTreeSet;
use store::events::Event;
use store::lessons::{self, AskProvider, Report, Room};

/// The vendor is asked for what began so long before the planned start, and so long after the planned end.
const AROUND: SignedDuration = SignedDuration::from_hours(2);
/// So many people whom no launch of ours knows are looked up; one lost answer is rare, more are not ours.
const MOST_STRANGERS: usize = 3;

impl ApplyEvent {
    /// A webhook: it only wakes us up.
    pub(crate) async fn lesson(&self, mut envelope: Envelope<Delivery>) -> Result<(), JobError> {
        let (delivery, id) = (envelope.payload.clone(), envelope.payload.event_id());
        let booking = delivery.booking;
        invocation::note("booking_id", booking);
        envelope.payload = delivery.clone().trimmed();
        let whole = whole(&envelope)?;
        let kind = delivery.headers.event.as_deref().unwrap_or("unnamed");
        let event = event(lessonspace::NAME, &id, kind, Some(booking), &envelope, &whole);

        let known = lessons::load(&self.database, Some(&event), booking).await?;
        if known.is_settled {
            return Ok(());
        }
        match &known.room {
            Some(room) if delivery.room().is_some_and(|named| named != room.id) => {
                // Told for this booking and about another room: nothing that time would mend.
                self.park(&event, "the event is about another room").await
            }
            Some(room) => {
                let signature = self.weigh_signature(&delivery, room).await?;
                self.merge(&event, &delivery, signature, room).await
            }
            None if known.booking_exists => {
                self.wait(&event, known.attempts, "the room is not known yet")
                    .await
            }
            None => self.wait(&event, known.attempts, "no such booking").await,
        }
    }

    /// Nobody told us anything: it is time to ask.
    pub(crate) async fn ask(&self, envelope: Envelope<AskProvider>) -> Result<(), JobError> {
        let booking = envelope.payload.booking_id;
        invocation::note("booking_id", booking);
        let known = lessons::load(&self.database, None, booking).await?;
        let Some(room) = known.room else {
            return Ok(());
        };
        if !room.has_reported {
            tracing::warn!("no webhook has ever come for this room");
        }
        let report = self.report(booking, &room).await?;
        lessons::apply(&self.database, booking, None, &report, self.clock.now()).await?;
        Ok(())
    }

    /// The body is not believed, signed or not; but that signatures match says whether we understand the vendor.
    async fn weigh_signature(&self, delivery: &Delivery, room: &Room) -> Result<Signature, JobError> {
        let sealed = room.key.clone().map(SealedKey);
        let secrets = self.room_secret.all().await;
        let secrets = secrets.map_err(|_| JobError::Transient("the secret is unavailable"))?;
        let key = sealed.and_then(|sealed| sealed.open(delivery.booking, &secrets));
        let signature = delivery.signature(key.as_ref());
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
                lessons::apply(&self.database, booking, Some(event), &report, self.clock.now()).await?;
            tracing::info!(kind = event.kind, is_new, "event applied");
            return Ok(());
        }

        // What the list does show counts; and until it shows the end, nobody may take the lesson for running.
        if let (Kind::SessionEnd, Some(span)) = (kind, delivery.span()) {
            report.evidence.ends.insert(span, event.received_at);
        }
        lessons::apply(&self.database, booking, None, &report, self.clock.now()).await?;
        Err(JobError::Transient("the vendor's list does not show it yet"))
    }

    /// What the vendor itself says of the room.
    async fn report(&self, booking: BookingId, room: &Room) -> Result<Report, JobError> {
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
        })
    }

    /// People whom no launch of ours knows, because its answer was lost: the vendor may say who they are to us.
    /// Whoever stays unknown costs nobody anything; nor does the report that names them.
    async fn name_strangers(&self, evidence: &mut Evidence, room: &Room) {
        let seen: BTreeSet<&String> = evidence.marks.iter().map(|mark| &mark.who).collect();
        let strangers = seen.into_iter().filter(|who| !room.people.contains(who));
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

/// Somebody of ours who has no part in this lesson is nobody's presence in it.
fn side_of(room: &Room, person: ProfileId) -> Side {
    if person == room.tutor {
        Side::Tutor
    } else if room.learners.contains(&person) {
        Side::Learner
    } else {
        Side::Nobody
    }
}

/// What is looked at around a lesson; around `now` for one that has no time.
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

/// Whether what the vendor tells happened around the lesson as it is planned now.
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
