//! Beside a platform: three of them, with tables, words and habits of their own. Whatever its people and its server do
//! must come out as it did before we came, and its lessons run from Join to the books.

use crate::harness::{
    MIGRATING, World, new_name, owner_url, platform_url, request, supabase_database, target, webhook_event,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stories::cast::{Cast, Lesson, owner};
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

/// A platform that was there before us.
pub(crate) struct Platform {
    name: &'static str,
    tables: &'static str,
    view: &'static str,
    actions: &'static str,
    /// Moves its upcoming, confirmed lesson to `$1`, as its server does.
    moves: &'static str,
    currency: &'static str,
    /// What a lesson costs, what its tutor gets, and what stays.
    amounts: [i64; 3],
}

macro_rules! platform {
    ($name:literal, $moves:literal, $currency:literal, $amounts:expr) => {
        Platform {
            name: $name,
            tables: include_str!(concat!("../../platforms/", $name, ".sql")),
            view: include_str!(concat!("../../../infra/migrations/platforms/", $name, ".sql")),
            actions: include_str!(concat!("../../platforms/", $name, ".actions.sql")),
            moves: $moves,
            currency: $currency,
            amounts: $amounts,
        }
    };
}

/// Clients book for themselves or a child; an enum for the status, parties that may be missing.
pub(crate) const MARKETPLACE: Platform = platform!(
    "marketplace",
    "UPDATE public.bookings SET session_start_time = $1 WHERE id = $2",
    "GBP",
    [3_500, 3_150, 350]
);
/// Parents pay, tutors confirm; tables of our names with other columns.
const SCHOOL: Platform = platform!(
    "school",
    "UPDATE public.bookings SET confirmed_start_at = $1::timestamptz, confirmed_end_at = $1::timestamptz + interval '1 hour' WHERE id = $2",
    "TTD",
    [25_000, 22_500, 2_500]
);
/// Students in a table of their own; no row level security on bookings.
const STUDIO: Platform = platform!(
    "studio",
    "UPDATE public.bookings SET scheduled_at = $1 WHERE id = $2",
    "EUR",
    [3_000, 2_700, 300]
);
const ALL: [Platform; 3] = [MARKETPLACE, SCHOOL, STUDIO];

/// Somebody of every platform: parent 1, tutor 2, student 3, stranger 4.
fn person(n: u8) -> Uuid {
    let digits: String = std::iter::repeat_n(char::from(b'0' + n), 32).collect();
    digits.parse().unwrap()
}

/// The upcoming, confirmed lesson of every platform.
const UPCOMING: &str = "b0000000-0000-0000-0000-000000000003";

/// Something that one of the platform's people does.
struct Action<'a> {
    role: &'a str,
    person: &'a str,
    what: &'a str,
    sql: String,
}

impl Platform {
    /// The name and the text of the file with which it is adopted.
    pub(crate) fn view(&self) -> (&'static str, &'static str) {
        (self.name, self.view)
    }

    /// The platform, alone in a new database of Supabase. Needs [`MIGRATING`].
    pub(crate) async fn settle_in(&self, name: &str) -> Client {
        supabase_database(name).await;
        server(name).await.batch_execute(self.tables).await.unwrap();
        owner(&owner_url(name)).await
    }

    /// The platform, with us beside it.
    async fn adopted(&self) -> (String, Client) {
        let _alone = MIGRATING.lock().await;
        let name = new_name();
        let database = self.settle_in(&name).await;
        let url = platform_url(&name);
        migrations::migrate(target(&url, Some(self.view())))
            .await
            .unwrap();
        (name, database)
    }

    /// Its daily life: a line that says who does what, then one statement.
    fn actions(&self) -> Vec<Action<'_>> {
        let mut actions = Vec::<Action<'_>>::new();
        for line in self.actions.lines() {
            let title = line.strip_prefix("-- ").and_then(|line| line.split_once(": "));
            let title = title.and_then(|(who, what)| Some((who.split_once(' ')?, what)));
            if let Some(((role, person), what)) = title {
                let sql = String::new();
                actions.push(Action {
                    role,
                    person,
                    what,
                    sql,
                });
            } else {
                let action = actions.last_mut().expect("a title");
                action.sql.push_str(line);
                action.sql.push('\n');
            }
        }
        actions
    }
}

impl Action<'_> {
    /// What came of it: the rows, or the error's code.
    async fn take(&self, platform: &Client) -> String {
        let claims = json!({"sub": self.person, "role": self.role});
        let role = match self.role {
            "owner" => "SELECT".to_owned(),
            role => format!("SET LOCAL ROLE {role}"),
        };
        let begin = format!("BEGIN; {role}; SELECT set_config('request.jwt.claims', '{claims}', true)");
        platform.batch_execute(&begin).await.unwrap();

        let answer = match platform.simple_query(&self.sql).await {
            Ok(messages) => messages.iter().map(row).collect::<Vec<_>>().join("; "),
            Err(error) => format!("error {}", error.code().map_or("", |code| code.code())),
        };
        // What is deferred fails here, or not at all.
        let end = if answer.starts_with("error") {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        match platform.batch_execute(end).await {
            Ok(()) => format!("{}: {answer}", self.what),
            Err(error) => format!("{}: {error}", self.what),
        }
    }
}

fn row(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => {
            let fields: Vec<_> = (0..row.len()).map(|n| row.get(n).unwrap_or("null")).collect();
            fields.join(", ")
        }
        SimpleQueryMessage::CommandComplete(rows) => format!("{rows} rows"),
        _ => String::new(),
    }
}

/// The platform's own server, which knows nothing of us.
async fn server(name: &str) -> Client {
    let connection = owner(&platform_url(name)).await;
    connection
        .batch_execute("SET search_path TO DEFAULT")
        .await
        .unwrap();
    connection
}

async fn live(platform: &Platform, name: &str) -> Vec<String> {
    let connection = server(name).await;
    let mut came = Vec::new();
    for action in platform.actions() {
        came.push(action.take(&connection).await);
    }
    came
}

/// Every row of the platform's own tables, but for when it was written.
async fn rows_of(database: &Client) -> Vec<String> {
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1";
    let mut all = Vec::new();
    for table in database.query(tables, &[]).await.unwrap() {
        let name: &str = table.get(0);
        let sql = format!(
            "SELECT '{name}: ' || (to_jsonb(t) - 'created_at' - 'updated_at')::text FROM public.{name} t ORDER BY 1"
        );
        let rows = database.query(&sql, &[]).await.unwrap();
        all.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    all
}

/// Bookings whose copy is not what the view says, as far as it is followed without asking.
async fn stale(database: &Client) -> i64 {
    let sql = "SELECT count(*) FROM platform_bookings v FULL JOIN bookings b ON b.id = v.id
               WHERE b.seen IS DISTINCT FROM to_jsonb(v)";
    database.batch_execute("SET timezone = 'UTC'").await.unwrap();
    database.query_one(sql, &[]).await.unwrap().get(0)
}

async fn catch_up(database: &Client) -> (i64, i64) {
    database
        .batch_execute("SELECT walk_on(1000, clock_timestamp())")
        .await
        .unwrap();
    let sql = "SELECT failing, healed FROM catch_up(1000, clock_timestamp())";
    let row = database.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn the_platforms_life_goes_on_as_it_did_before() {
    for platform in ALL {
        let alone = {
            let _alone = MIGRATING.lock().await;
            let name = new_name();
            platform.settle_in(&name).await;
            name
        };
        let (beside, database) = platform.adopted().await;

        let (before, after) = (live(&platform, &alone).await, live(&platform, &beside).await);

        assert!(before.len() > 20, "{}: {} actions", platform.name, before.len());
        assert_eq!(after, before, "{}", platform.name);
        let bare = owner(&owner_url(&alone)).await;
        assert_eq!(
            rows_of(&database).await,
            rows_of(&bare).await,
            "{}",
            platform.name
        );

        // Nothing was lost on the way to us. What changes in a table that the view only joins is found by the walk.
        assert_eq!(catch_up(&database).await.0, 0, "{}", platform.name);
        assert_eq!(stale(&database).await, 0, "{}", platform.name);
    }
}

#[tokio::test]
async fn whatever_breaks_on_our_side_the_platforms_life_goes_on() {
    let harms = [
        (
            "our table is gone",
            "ALTER TABLE firstbell.bookings RENAME TO lost",
            "ALTER TABLE firstbell.lost RENAME TO bookings",
        ),
        (
            "the view is gone",
            "ALTER VIEW firstbell.platform_bookings RENAME TO lost",
            "ALTER VIEW firstbell.lost RENAME TO platform_bookings",
        ),
        (
            "nothing can be written",
            "ALTER TABLE firstbell.bookings ADD CONSTRAINT never CHECK (status IS NULL) NOT VALID;
             ALTER TABLE firstbell.follow_failures ADD CONSTRAINT never CHECK (message IS NULL) NOT VALID",
            "ALTER TABLE firstbell.bookings DROP CONSTRAINT never; ALTER TABLE firstbell.follow_failures DROP CONSTRAINT never",
        ),
        (
            "the way back is broken",
            "ALTER FUNCTION firstbell.note_failure RENAME TO lost",
            "ALTER FUNCTION firstbell.lost RENAME TO note_failure",
        ),
        (
            "nothing is left that could note it",
            "ALTER TABLE firstbell.bookings RENAME TO lost; ALTER FUNCTION firstbell.note_failure RENAME TO lost;
             ALTER FUNCTION firstbell.try_to_follow RENAME TO lost_too",
            "ALTER TABLE firstbell.lost RENAME TO bookings; ALTER FUNCTION firstbell.lost RENAME TO note_failure;
             ALTER FUNCTION firstbell.lost_too RENAME TO try_to_follow",
        ),
    ];
    let before = {
        let name = new_name();
        let lock = MIGRATING.lock().await;
        MARKETPLACE.settle_in(&name).await;
        drop(lock);
        live(&MARKETPLACE, &name).await
    };

    for (harm, break_it, mend_it) in harms {
        let (name, database) = MARKETPLACE.adopted().await;
        database.batch_execute(break_it).await.unwrap();

        assert_eq!(live(&MARKETPLACE, &name).await, before, "{harm}");

        database.batch_execute(mend_it).await.unwrap();
        // What was noted is followed again; what was not is found by the walk.
        catch_up(&database).await;
        assert_eq!(catch_up(&database).await.0, 0, "{harm}");
        assert_eq!(stale(&database).await, 0, "{harm}");
    }
}

#[tokio::test]
async fn while_our_table_is_locked_the_platform_hardly_waits() {
    let (name, database) = MARKETPLACE.adopted().await;
    let platform = server(&name).await;
    database
        .batch_execute("BEGIN; LOCK TABLE firstbell.bookings")
        .await
        .unwrap();
    let many = "SET statement_timeout = '5s';
                INSERT INTO public.bookings (client_id, tutor_id, service_name, session_start_time, session_duration, amount)
                SELECT '11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222', 'Algebra',
                       '2031-05-01 12:00+00', 60, 20 FROM generate_series(1, 200)";

    // Two hundred waits of 100 ms would be twenty seconds, and the platform's own patience is five.
    platform.batch_execute(many).await.unwrap();

    database.batch_execute("ROLLBACK").await.unwrap();
    let waits = "SELECT count(*) FILTER (WHERE sqlstate = '55P03'), count(*) FROM follow_failures";
    let row = database.query_one(waits, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (1, 200),
        "it waited once, and noted the rest"
    );
    let (failing, healed) = catch_up(&database).await;
    assert_eq!((failing, healed), (0, 200));
    assert_eq!(stale(&database).await, 0);
}

/// A lesson of a platform, from Join to the settlement.
struct Played {
    server: Client,
    world: World,
    lesson: Lesson,
    charge: Value,
}

/// Plays the upcoming lesson of a platform: Join, the vendor's report, settlement.
async fn played(platform: &Platform) -> Played {
    let (name, _) = platform.adopted().await;
    let server = server(&name).await;
    let cast = Cast {
        parent: person(1),
        student: person(3),
        tutor: person(2),
        other_parent: person(6),
        stranger: person(4),
    };
    let world = World::around(&name, cast).await;
    let lesson = Lesson {
        id: UPCOMING.parse().unwrap(),
        ..Lesson::starting(Timestamp::now() + SignedDuration::from_mins(2))
    };
    server
        .execute(platform.moves, &[&lesson.starts_at, &lesson.id])
        .await
        .unwrap();

    let create = world.function("create-session").await;
    let made = world
        .call(&create, "create-session/create.json", cast.tutor, &lesson)
        .await;
    assert_eq!(made.status, 201, "{}: {}", platform.name, made.body);
    let room = world.opened_room(&lesson).await;
    let launch = world.function("launch").await;
    let stranger = world
        .call(&launch, "launch/join.json", cast.stranger, &lesson)
        .await;
    assert_eq!(stranger.verdict(), "403 forbidden", "{}", platform.name);
    let learner = world
        .call(&launch, "launch/join.json", cast.student, &lesson)
        .await;
    assert_eq!(
        learner.body["role"], "learner",
        "{}: {}",
        platform.name, learner.body
    );

    let end = lesson.ends_at() + SignedDuration::from_mins(1);
    let (door, apply) = (
        world.function("webhook-lessonspace").await,
        world.function("apply-classroom-event").await,
    );
    for webhook in world.lessonspace.hold_session(&room, lesson.starts_at, end) {
        assert_eq!(door.call(webhook_event(&webhook)).await.status, 202);
    }
    assert_eq!(apply.consume(&world.queued().await).await, Vec::<String>::new());

    world.travel(70);
    world
        .function("process-charges")
        .await
        .invoke(json!({}))
        .await
        .unwrap();
    let explain = world.function("explain-charge").await;
    let session = made.body["id"].as_str().unwrap().parse().unwrap();
    let token = world.identity.token(cast.parent);
    let charge = explain
        .call(request("explain-charge/charge.json", &token, session))
        .await;
    Played {
        server,
        world,
        lesson,
        charge: charge.body,
    }
}

#[tokio::test]
async fn a_lesson_of_any_platform_runs_from_join_to_the_books() {
    for platform in ALL {
        let Played { world, charge, .. } = played(&platform).await;

        let amounts = ["charge", "payout", "fee"].map(|part| charge[part]["amount"].as_i64().unwrap());
        assert_eq!(
            charge["status"], "COMPLETED_ASSUMED",
            "{}: {charge}",
            platform.name
        );
        assert_eq!(amounts, platform.amounts, "{}", platform.name);
        assert_eq!(
            charge["charge"]["currency"], platform.currency,
            "{}",
            platform.name
        );
        let books = "SELECT coalesce(sum(amount_minor), 1)::bigint, count(*) FROM ledger_entries";
        let row = world.owner.query_one(books, &[]).await.unwrap();
        assert_eq!(
            (row.get::<_, i64>(0), row.get::<_, i64>(1)),
            (0, 3),
            "{}",
            platform.name
        );
        assert_eq!(world.count("booking_changes").await, 0, "{}", platform.name);
    }
}

#[tokio::test]
async fn the_platform_is_told_in_its_own_columns() {
    let Played {
        server,
        world,
        lesson,
        ..
    } = played(&MARKETPLACE).await;
    world
        .function("follow-bookings")
        .await
        .invoke(json!({}))
        .await
        .unwrap();
    let told = "SELECT status::text, duration_actual, recording_url IS NOT NULL, meeting_url IS NOT NULL
                FROM public.bookings WHERE id = $1";
    let row = server.query_one(told, &[&lesson.id]).await.unwrap();
    let told: (String, i32, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(told, ("Completed".into(), 61 * 60, true, true));

    let Played {
        server,
        world,
        lesson,
        ..
    } = played(&STUDIO).await;
    world
        .function("follow-bookings")
        .await
        .invoke(json!({}))
        .await
        .unwrap();
    let told = "SELECT status, actual_minutes, recording_url IS NOT NULL FROM public.bookings WHERE id = $1";
    let row = server.query_one(told, &[&lesson.id]).await.unwrap();
    let told: (String, i16, bool) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(told, ("completed".into(), 61, true));
}

#[tokio::test]
async fn a_platform_that_cannot_be_told_does_not_stop_us_and_is_told_later() {
    let (name, database) = MARKETPLACE.adopted().await;
    let lock = owner(&owner_url(&name)).await;
    let hold = format!("BEGIN; SELECT FROM public.bookings WHERE id = '{UPCOMING}' FOR UPDATE");
    lock.batch_execute(&hold).await.unwrap();
    let learn =
        format!("UPDATE bookings SET recording_url = 'https://vendor/recording' WHERE id = '{UPCOMING}'");

    database.batch_execute(&learn).await.unwrap();

    let url = format!("SELECT recording_url FROM public.bookings WHERE id = '{UPCOMING}'");
    let told = || async {
        database
            .query_one(&url, &[])
            .await
            .unwrap()
            .get::<_, Option<String>>(0)
    };
    assert_eq!(told().await, None);
    lock.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(catch_up(&database).await, (0, 1));
    assert_eq!(told().await.as_deref(), Some("https://vendor/recording"));
}

#[tokio::test]
async fn a_person_is_deleted_and_the_books_stay() {
    for platform in ALL {
        let Played {
            server,
            world,
            charge,
            ..
        } = played(&platform).await;
        assert_eq!(charge["status"], "COMPLETED_ASSUMED");
        let entries = world.count("ledger_entries").await;

        let erase = "DELETE FROM auth.users WHERE id = '11111111-1111-1111-1111-111111111111'";
        let erased = server.execute(erase, &[]).await;

        assert!(matches!(erased, Ok(1)), "{}: {erased:?}", platform.name);
        assert_eq!(world.count("ledger_entries").await, entries, "{}", platform.name);
        assert_eq!(world.count("sessions").await, 1, "{}", platform.name);
        catch_up(&world.owner).await;
        let open = "bookings WHERE client_id = '11111111-1111-1111-1111-111111111111' AND status IN ('pending', 'confirmed')
                    AND session_start_time > now() + interval '1 day'";
        assert_eq!(
            world.count(open).await,
            0,
            "{}: lessons to come are called off",
            platform.name
        );
        let name = "platform_people WHERE id = '11111111-1111-1111-1111-111111111111'";
        assert_eq!(
            world.count(name).await,
            0,
            "{}: their name is gone",
            platform.name
        );
    }
}
