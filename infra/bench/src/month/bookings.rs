//! The platform: its own SQL on its own table. Our follower hangs on that table and asks the server's clock what time it
//! is; here it is told the month's.

use crate::script::{Lesson, Script, Step};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// The same function, with the month's time for the server's.
const TELL_TIME: &str = "
    DO $$ BEGIN
        EXECUTE replace(pg_get_functiondef('firstbell.follow()'::regprocedure), 'clock_timestamp()',
                        'current_setting(''month.now'')::timestamptz');
    END $$";

const BOOK: &str = "
    INSERT INTO public.bookings (id, client_id, tutor_id, status, session_start_time, session_duration, price_minor,
        price_currency)
    SELECT id, client, tutor, 'confirmed', start, minutes, price, currency
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::int[], $6::bigint[], $7::text[])
        AS b (id, client, tutor, start, minutes, price, currency)";

pub(crate) struct Platform {
    client: Client,
    lessons: HashMap<Uuid, usize>,
}

impl Platform {
    /// With everybody's profile.
    pub(crate) async fn open(client: Client, script: &Script) -> Self {
        client
            .batch_execute(TELL_TIME)
            .await
            .expect("the follower's clock");
        let people = script.people.iter().map(|person| person.id);
        let people: Vec<Uuid> = people.chain(script.tutors()).collect();
        let arrive =
            "INSERT INTO public.profiles (id, full_name) SELECT id, 'Somebody' FROM unnest($1::uuid[]) AS id";
        client.execute(arrive, &[&people]).await.expect("profiles");
        let connect = "INSERT INTO public.tutor_video_provider_connections (tutor_id, provider)
                       SELECT id, 'lessonspace' FROM unnest($1::uuid[]) AS id";
        let tutors: Vec<Uuid> = script.tutors().into_iter().collect();
        client.execute(connect, &[&tutors]).await.expect("connections");

        let lessons = script.lessons.iter().enumerate();
        Self {
            client,
            lessons: lessons.map(|(n, lesson)| (lesson.id, n)).collect(),
        }
    }

    /// Which lesson a booking is.
    pub(crate) fn lesson(&self, booking: Uuid) -> Option<usize> {
        self.lessons.get(&booking).copied()
    }

    /// What the platform has to write now.
    pub(crate) async fn write(&self, script: &Script, due: &BTreeMap<usize, Vec<Step>>, now: Timestamp) {
        let steps = due
            .iter()
            .flat_map(|(n, steps)| steps.iter().map(|step| (*n, *step)));
        let of = |wanted: &[Step]| -> Vec<(&Lesson, Step)> {
            let wanted = steps.clone().filter(|(_, step)| wanted.contains(step));
            wanted
                .filter_map(|(n, step)| Some((script.lessons.get(n)?, step)))
                .collect()
        };
        let (booked, changed) = (
            of(&[Step::Book]),
            of(&[
                Step::Move,
                Step::Cancel,
                Step::Delete,
                Step::CancelTooLate,
                Step::Complete,
            ]),
        );
        if booked.is_empty() && changed.is_empty() {
            return;
        }

        let tell = "SELECT set_config('month.now', $1, false)";
        self.client
            .execute(tell, &[&now.to_string()])
            .await
            .expect("a setting");
        if !booked.is_empty() {
            self.book(script, &booked).await;
        }
        for (lesson, step) in changed {
            self.change(lesson, step).await;
        }
    }

    async fn book(&self, script: &Script, booked: &[(&Lesson, Step)]) {
        let (mut ids, mut clients, mut tutors) = (Vec::new(), Vec::new(), Vec::new());
        let (mut starts, mut minutes) = (Vec::new(), Vec::new());
        let (mut prices, mut currencies) = (Vec::new(), Vec::new());
        for (lesson, _) in booked {
            let person = &script.people[lesson.person];
            ids.push(lesson.id);
            clients.push(person.id);
            tutors.push(person.tutor);
            starts.push(lesson.first_start);
            minutes.push(i32::try_from(lesson.minutes).expect("minutes"));
            prices.push(person.price);
            currencies.push(person.currency);
        }
        let row: [&(dyn ToSql + Sync); 7] =
            [&ids, &clients, &tutors, &starts, &minutes, &prices, &currencies];
        self.client.execute(BOOK, &row).await.expect("bookings");
    }

    async fn change(&self, lesson: &Lesson, step: Step) {
        let set = |status: &str| {
            format!(
                "UPDATE public.bookings SET status = '{status}' WHERE id = '{}'",
                lesson.id
            )
        };
        let sql = match step {
            Step::Move => format!(
                "UPDATE public.bookings SET session_start_time = '{}' WHERE id = '{}'",
                lesson.starts_at, lesson.id
            ),
            Step::Delete => format!("DELETE FROM public.bookings WHERE id = '{}'", lesson.id),
            Step::Complete => set("completed"),
            _ => set("cancelled"),
        };
        self.client
            .batch_execute(&sql)
            .await
            .expect("the platform's own write");
    }
}
