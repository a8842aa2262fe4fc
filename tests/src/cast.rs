//! The people of a lesson and the booking that brings them together, as rows.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// Connects as somebody who sees our tables and the platform's by their names, ours first.
pub async fn owner(url: &str) -> Client {
    let (client, driver) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the database is up");
    tokio::spawn(driver);
    let names = "SET search_path = firstbell, public";
    client.batch_execute(names).await.expect("a setting");
    client
}

/// A parent, their child, a tutor and somebody who has nothing to do with them.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Pays, and is the student's guardian.
    pub parent: Uuid,
    /// Learns.
    pub student: Uuid,
    /// Teaches.
    pub tutor: Uuid,
    /// Is a guardian of the student too, but pays nothing.
    pub other_parent: Uuid,
    /// Is nobody here.
    pub stranger: Uuid,
}

impl Cast {
    /// Writes their profiles.
    pub async fn arrive(database: &Client) -> Self {
        let [parent, student, tutor, other_parent, stranger] = std::array::from_fn(|_| Uuid::new_v4());
        let names = [
            "Ada Parent",
            "Ben Student",
            "Cleo Tutor",
            "Dan Parent",
            "Eve Stranger",
        ];
        for (id, name) in [parent, student, tutor, other_parent, stranger].iter().zip(names) {
            let insert = "INSERT INTO public.profiles (id, full_name) VALUES ($1, $2)";
            database.execute(insert, &[id, &name]).await.expect("a profile");
        }
        for guardian in [parent, other_parent] {
            let insert =
                "INSERT INTO public.profile_graph (source_profile_id, target_profile_id, relationship_type, accepted_at)
                 VALUES ($1, $2, 'GUARDIAN', now())";
            database
                .execute(insert, &[&guardian, &student])
                .await
                .expect("a link");
        }
        let connect = "INSERT INTO public.tutor_video_provider_connections (tutor_id, provider) VALUES ($1, 'lessonspace')";
        database.execute(connect, &[&tutor]).await.expect("a connection");
        Self {
            parent,
            student,
            tutor,
            other_parent,
            stranger,
        }
    }
}

/// A booking to be written.
#[derive(Debug, Clone, Copy)]
pub struct Lesson {
    /// Its id.
    pub id: Uuid,
    /// Its planned start.
    pub starts_at: Timestamp,
    /// Its planned length in minutes.
    pub minutes: i32,
    /// `confirmed`, `cancelled`, …
    pub status: &'static str,
    /// Whether the student is set already; otherwise the client learns.
    pub has_student: bool,
    /// The pinned price in minor units.
    pub price: i64,
    /// Of this currency.
    pub currency: &'static str,
    /// Where it is to be held; `None` leaves that to the deployment.
    pub classroom: Option<&'static str>,
}

impl Lesson {
    /// A confirmed hour for the student, at 100.00 TTD.
    pub fn starting(starts_at: Timestamp) -> Self {
        // To the second that has begun: Postgres keeps no nanoseconds, and now is not in the future.
        let to_the_second = TimestampRound::new()
            .smallest(Unit::Second)
            .mode(RoundMode::Floor);
        let starts_at = starts_at.round(to_the_second).expect("a round time");
        Self {
            id: Uuid::new_v4(),
            starts_at,
            minutes: 60,
            status: "confirmed",
            has_student: true,
            price: 10_000,
            currency: "TTD",
            classroom: None,
        }
    }

    /// The planned end.
    pub fn ends_at(&self) -> Timestamp {
        self.starts_at + SignedDuration::from_mins(self.minutes.into())
    }

    /// Writes it, as a platform in our own dialect does, and sees it copied. One that is confirmed only after its start
    /// counts because an operator says so, which stories that are not about that take for granted.
    pub async fn booked_by(self, cast: &Cast, database: &Client) -> Self {
        let student = self.has_student.then_some(cast.student);
        let insert =
            "INSERT INTO public.bookings (id, client_id, tutor_id, student_id, status, session_start_time,
                          session_duration, recording_consent, price_minor, price_currency, classroom)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, $9, $10)";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
            &self.id,
            &cast.parent,
            &cast.tutor,
            &student,
            &self.status,
            &self.starts_at,
            &self.minutes,
            &self.price,
            &self.currency,
            &self.classroom,
        ];
        database.execute(insert, &row).await.expect("a booking");

        let accept = "SELECT firstbell.accept_change(id, 'a story', 'it was agreed in time')
                      FROM firstbell.booking_changes
                      WHERE booking_id = $1 AND state = 'open' AND theirs = '\"confirmed\"'";
        database.execute(accept, &[&self.id]).await.expect("an operator");
        self
    }
}
