//! Ten thousand lessons, each with a history of its own. People come to the room, drop out, come back or never show;
//! tutors mark absences and take that back; clients pay ahead, twice, late or never, by card and by mobile money; both
//! sides and the platform's own SQL call lessons off, move them and think again; the vendor of the rooms tells, lags or
//! is silent. Settlements, webhooks and jobs run side by side with all that, each message twice and in any order; cards
//! are refused, answers get lost, gateways keep a failure for a day and then forget it, payouts fail late or cannot be
//! made at all; workers die between any two statements, and the clock steps on by minutes and by days while others are
//! still at what they do.
//!
//! In the end every session has exactly the outcome that its evidence gives, gateways hold for each booking what it
//! costs, books and gateways agree to the unit, fees included, and what people were told is so. The gateways' own record
//! is the judge; the seed is printed.

mod judge;
mod script;
mod stage;
mod worker;

use self::script::{Author, IN_FULL, Lesson};
use self::stage::Stage;
use self::worker::{Worker, all_work};
use crate::harness::{migrated_database, owner_url};
use domain::ids::{BookingId, ProfileId};
use domain::prove::evidence::Evidence;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp, Unit};
use std::sync::Arc;
use std::time::Instant;
use store::prove::evidence::{self, Report};
use stories::cast::{Cast, owner};
use tokio_postgres::Client;
use uuid::Uuid;

/// So many unless `HISTORIES` says otherwise; ten thousand take some minutes.
const HISTORIES: usize = 2_000;
const CLIENTS: usize = 1_000;
const WORKERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_histories_end_in_one_outcome_each() {
    let seed = std::env::var("HISTORIES_SEED").map_or(1815, |seed| seed.parse().unwrap());
    let histories = std::env::var("HISTORIES").map_or(HISTORIES, |number| number.parse().unwrap());
    println!("{histories} histories of seed {seed}; HISTORIES and HISTORIES_SEED change them");
    let began = Instant::now();
    let name = migrated_database().await;
    let database = owner(&owner_url(&name)).await;
    let tutor = ProfileId(Cast::arrive(&database).await.tutor);
    let clients = clients(&database).await;
    // Whatever the database itself stamps with the machine's time lies before all of this.
    let begins_at = (Timestamp::now() + SignedDuration::from_mins(30))
        .round(Unit::Second)
        .unwrap();
    let (lessons, plan) = Author::new(seed, begins_at, clients.clone()).write(histories);
    book(&database, &lessons, tutor).await;
    let stage = Arc::new(Stage::set(lessons, plan, begins_at).await);
    leave_cards(&database, &stage, &clients, tutor).await;
    println!("booked after {} s", began.elapsed().as_secs());

    let mut workers = Vec::new();
    for n in 0..WORKERS as u64 {
        let worker = Worker::hire(&name, &stage, tutor).await;
        workers.push(tokio::spawn(worker.live(seed ^ (n + 1))));
    }
    let workers: Vec<Worker> = join_all(workers).await.into_iter().map(Result::unwrap).collect();
    println!(
        "lived after {} s, {:?} messages wait",
        began.elapsed().as_secs(),
        stage.waiting()
    );
    come_to_rest(&workers).await;
    late_news(&workers[0]).await;
    come_to_rest(&workers).await;
    println!("at rest after {} s", began.elapsed().as_secs());

    let summary = judge::judge(&workers[0]).await;
    println!("judged after {} s: {summary}", began.elapsed().as_secs());
}

/// People who pay.
async fn clients(database: &Client) -> Vec<ProfileId> {
    let clients: Vec<Uuid> = (0..CLIENTS).map(|_| Uuid::new_v4()).collect();
    let insert =
        "INSERT INTO public.profiles (id, full_name) SELECT id, 'A Client' FROM unnest($1::uuid[]) AS id";
    database.execute(insert, &[&clients]).await.unwrap();
    clients.into_iter().map(ProfileId).collect()
}

/// The platform writes its bookings, which are followed one by one, and the rooms that will be opened get their ids.
async fn book(database: &Client, lessons: &[Lesson], tutor: ProfileId) {
    let insert = "
        INSERT INTO public.bookings (id, client_id, tutor_id, status, session_start_time, session_duration, price_minor,
            price_currency)
        SELECT id, client, $1, 'confirmed', start, 60, price, currency
        FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[], $6::text[])
            AS b (id, client, start, price, currency)";
    for some in lessons.chunks(500) {
        let of = |field: fn(&Lesson) -> Uuid| some.iter().map(field).collect::<Vec<_>>();
        let (ids, clients) = (of(|lesson| lesson.booking.0), of(|lesson| lesson.client.0));
        let starts: Vec<Timestamp> = some.iter().map(|lesson| lesson.starts_at).collect();
        let prices: Vec<i64> = some.iter().map(|lesson| lesson.price_minor).collect();
        let currencies: Vec<&str> = some.iter().map(|lesson| lesson.currency).collect();
        database
            .execute(insert, &[&tutor.0, &ids, &clients, &starts, &prices, &currencies])
            .await
            .unwrap();
    }
    let rooms: Vec<Uuid> = lessons
        .iter()
        .filter(|lesson| lesson.has_room())
        .map(|lesson| lesson.booking.0)
        .collect();
    let open =
        "UPDATE firstbell.bookings SET meeting_provider = 'lessonspace', meeting_provider_id = 'room-' || id
                WHERE id = ANY($1)";
    database.execute(open, &[&rooms]).await.unwrap();
    let agreed = "SELECT count(*) FROM firstbell.bookings WHERE agreed_at IS NOT NULL AND wants_session";
    let agreed: i64 = database.query_one(agreed, &[]).await.unwrap().get(0);
    assert_eq!(
        usize::try_from(agreed).unwrap(),
        lessons.len(),
        "not every booking was followed"
    );
}

/// Most clients left a card, and agreed to the tutor at any price of these histories; of those with mobile money, few.
async fn leave_cards(database: &Client, stage: &Stage, clients: &[ProfileId], tutor: ProfileId) {
    let mut with_card = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let has_card = if Author::is_mobile(number) {
            number % 4 == 0
        } else {
            number % 20 != 1
        };
        if has_card {
            let (customer, card) = stage.stripe.leave_card();
            let keep = "INSERT INTO saved_cards VALUES ($1, 'stripe', $2, $3, $4)";
            let now = stage.clock.now();
            database
                .execute(keep, &[&client.0, &customer, &card, &now])
                .await
                .unwrap();
            with_card.push(client.0);
        }
    }
    let agree = "
        INSERT INTO card_agreements (booking_id, client_id, tutor_id, currency, up_to_minor, agreed_at)
        SELECT id, client_id, $1, price_currency, 1000000, $2 FROM bookings WHERE client_id = ANY($3)";
    let now = stage.clock.now();
    database
        .execute(agree, &[&tutor.0, &now, &with_card])
        .await
        .unwrap();
}

/// Weeks pass. Gateways behave, nobody dies any more, and what is left gets done, until nothing moves.
async fn come_to_rest(workers: &[Worker]) {
    let stage = &workers[0].stage;
    for round in 0..160_u32 {
        stage.wait(SignedDuration::from_hours(if round < 12 { 1 } else { 12 }));
        stage.behave();
        stage.clients_pay();
        stage.refunds_end(&mut rand::SeedableRng::seed_from_u64(round.into()));
        for pass in 0..30 {
            workers[0].schedules().await;
            workers[0].post().await;
            if stage.waiting().0 == 0 {
                break;
            }
            all_work(workers, u64::from(round) * 100 + pass).await;
        }
        if stage.waiting() == (0, 0) && open(&workers[0].owner).await == 0 {
            return;
        }
    }
    panic!(
        "{:?} messages wait, and these things are open: {:#?}",
        stage.waiting(),
        what_is_open(&workers[0].owner).await
    );
}

/// Each of them, to be looked at.
async fn what_is_open(owner: &Client) -> Vec<serde_json::Value> {
    let sql = "
        SELECT to_jsonb(o) FROM outbox o WHERE sent_at IS NULL
        UNION ALL SELECT to_jsonb(b) FROM bookings b WHERE wants_session
        UNION ALL SELECT to_jsonb(s) FROM sessions s WHERE due_at IS NOT NULL OR ask_at IS NOT NULL
        UNION ALL SELECT to_jsonb(p) || jsonb_build_object('booking', to_jsonb(b)) FROM payments p JOIN bookings b ON b.id = p.booking_id
                  WHERE p.look_at IS NOT NULL
        UNION ALL SELECT to_jsonb(r) FROM refunds r WHERE look_at IS NOT NULL";
    let rows = owner.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Whatever somebody still means to do something about.
async fn open(owner: &Client) -> i64 {
    let sql = "
        SELECT (SELECT count(*) FROM outbox WHERE sent_at IS NULL)
             + (SELECT count(*) FROM bookings WHERE wants_session)
             + (SELECT count(*) FROM sessions WHERE due_at IS NOT NULL OR ask_at IS NOT NULL)
             + (SELECT count(*) FROM payments WHERE look_at IS NOT NULL)
             + (SELECT count(*) FROM refunds WHERE look_at IS NOT NULL)
             + (SELECT count(*) FROM follow_failures)";
    owner.query_one(sql, &[]).await.unwrap().get(0)
}

/// Long afterwards it turns out that both were there all the time: of lessons of which money could not be given back, and
/// of some others.
async fn late_news(worker: &Worker) {
    let sql = "
        SELECT s.booking_id, s.scheduled_start_at FROM sessions s
        WHERE EXISTS (SELECT FROM refunds r WHERE r.booking_id = s.booking_id AND r.status = 'failed')
           OR left(s.booking_id::text, 1) = '0'";
    let stage = &worker.stage;
    for row in worker.owner.query(sql, &[]).await.unwrap() {
        let mut evidence = Evidence::default();
        script::play(&mut evidence, "late", row.get(1), IN_FULL, IN_FULL);
        let report = Report {
            evidence,
            asked_at: Some(stage.clock.now()),
            ..Report::default()
        };
        let booking: Uuid = row.get(0);
        let now = stage.clock.now();
        evidence::apply(worker.database(), BookingId(booking), None, &report, now)
            .await
            .unwrap();
    }
}
