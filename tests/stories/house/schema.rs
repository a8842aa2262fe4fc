//! The schema beside a platform's: it comes whole or not at all, nothing in it is open to anybody who is not on the
//! list, every statement may run as the functions' own role, and it can be taken off again. All on a database as
//! Supabase gives it: the owner is no superuser, and default privileges open whatever is made.

use crate::harness::{
    MIGRATING, World, migrated_database, new_name, owner_url, platform_url, service_url, supabase_database,
    target,
};
use crate::keep::adoption::MARKETPLACE;
use domain::launch::classroom::Classroom;
use futures::future::join_all;
use migrations::MigrationError;
use serde_json::Value;
use std::collections::BTreeSet;
use stories::cast::owner;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

/// What is in a database, by kind and name, but for what belongs to the server.
async fn contents(database: &Client, schemas: &str) -> Vec<String> {
    let sql = format!(
        "SELECT format('%s %s.%s %s', c.relkind, n.nspname, c.relname, c.relacl)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname {schemas}
         UNION ALL SELECT format('function %s.%s %s', n.nspname, p.proname, p.proacl)
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname {schemas}
         UNION ALL SELECT format('trigger %s on %s.%s', t.tgname, n.nspname, c.relname)
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE NOT t.tgisinternal AND n.nspname {schemas}
         UNION ALL SELECT format('policy %s on %s', p.policyname, p.tablename)
         FROM pg_policies p WHERE p.schemaname {schemas}
         UNION ALL SELECT format('schema %s %s', nspname, nspacl) FROM pg_namespace n WHERE n.nspname {schemas}
         UNION ALL SELECT format('published %s', tablename) FROM pg_publication_tables p WHERE p.schemaname {schemas}
         UNION ALL SELECT format('row security of %s: %s', c.relname, c.relrowsecurity)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname {schemas}
         ORDER BY 1"
    );
    let rows = database.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const PLATFORMS: &str = "IN ('public', 'auth')";
const OURS: &str = "= 'firstbell'";

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_once_however_many_try() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    supabase_database(&name).await;
    let url = platform_url(&name);

    let runs = join_all((0..4).map(|_| migrations::migrate(target(&url, None)))).await;

    let mut applied: Vec<usize> = runs
        .into_iter()
        .map(|run| run.map_or(0, |report| report.applied.len()))
        .collect();
    applied.sort_unstable();
    let last = applied.pop().unwrap();
    assert!(last > 0, "nobody applied the migrations");
    assert_eq!(
        applied,
        [0, 0, 0],
        "one of four applies the migrations, the others find them applied, or give up"
    );
    let again = migrations::migrate(target(&url, None)).await.unwrap();
    assert!(again.applied.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_run_that_fails_leaves_nothing_behind_and_says_where_it_failed() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    supabase_database(&name).await;
    let (url, database) = (platform_url(&name), owner(&owner_url(&name)).await);
    let before = contents(&database, "NOT LIKE 'pg_%'").await;

    let broken = "-- Ours.\nCREATE TABLE public.lessons (id uuid);\n\nCREATE VIEW firstbell.platform_bookings AS\n    SELECT id, who FROM public.lessons;";
    let failed = migrations::migrate(target(&url, Some(("ours.sql", broken)))).await;

    let Err(MigrationError::Refused {
        file,
        line,
        statement,
        sqlstate,
        message,
    }) = failed
    else {
        panic!("the run did not fail: {failed:?}");
    };
    assert_eq!((file.as_str(), line, sqlstate.as_str()), ("ours.sql", 4, "42703"));
    assert!(
        statement.starts_with("CREATE VIEW") && message.contains("who"),
        "{statement}: {message}"
    );
    assert_eq!(contents(&database, "NOT LIKE 'pg_%'").await, before);

    // A view that can be made and is not what is asked for stops the run, too; so does a file that ends the transaction.
    let unfit =
        "CREATE VIEW firstbell.platform_bookings AS SELECT gen_random_uuid() AS id, 35.00 AS price_minor;";
    let failed = migrations::migrate(target(&url, Some(("ours.sql", unfit)))).await;
    assert!(
        matches!(&failed, Err(MigrationError::Unfit(findings)) if findings.len() > 5),
        "{failed:?}"
    );
    assert_eq!(contents(&database, "NOT LIKE 'pg_%'").await, before);

    migrations::migrate(target(&url, None)).await.unwrap();
}

#[tokio::test]
async fn a_forged_record_of_migrations_has_nowhere_to_stand() {
    let database = owner(&owner_url(&migrated_database().await)).await;

    for role in ["anon", "authenticated", "service_role"] {
        for attempt in [
            "INSERT INTO firstbell.migrations VALUES (9, 'forged', 'x')",
            "SELECT * FROM firstbell.migrations",
            "CREATE TABLE firstbell.migrations_too (id int)",
        ] {
            let seen = as_client(&database, role, Uuid::nil(), attempt).await;
            assert_eq!(seen, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {attempt}");
        }
    }
}

#[tokio::test]
async fn a_platform_without_a_view_is_told_what_to_write() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    let database = MARKETPLACE.settle_in(&name).await;
    let before = contents(&database, "NOT LIKE 'pg_%'").await;

    let refused = migrations::migrate(target(&platform_url(&name), None)).await;

    assert!(matches!(refused, Err(MigrationError::NoView)), "{refused:?}");
    assert_eq!(contents(&database, "NOT LIKE 'pg_%'").await, before);
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_changes_nothing() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    let database = MARKETPLACE.settle_in(&name).await;
    let url = platform_url(&name);
    let before = contents(&database, "NOT LIKE 'pg_%'").await;

    let report = migrations::check(target(&url, Some(MARKETPLACE.view())))
        .await
        .unwrap();

    assert_eq!(contents(&database, "NOT LIKE 'pg_%'").await, before);
    let said: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.severity, finding.says))
        .collect();
    for wanted in [
        "warning: public.exec_sql",
        "warning: authenticated may change",
        "REVOKE EXECUTE ON FUNCTION public.exec_sql",
        "note: platform_bookings leaves out",
    ] {
        assert!(
            said.iter().any(|line| line.contains(wanted)),
            "nothing says {wanted}: {said:#?}"
        );
    }
    assert!(!said.iter().any(|line| line.starts_with("error")), "{said:#?}");
}

#[tokio::test]
async fn a_run_does_not_wait_for_readers_and_gives_up_beside_a_writer() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    let database = MARKETPLACE.settle_in(&name).await;
    let (url, idle) = (platform_url(&name), owner(&owner_url(&name)).await);
    let before = contents(&database, "NOT LIKE 'pg_%'").await;

    let write = "BEGIN; UPDATE public.bookings SET service_name = service_name";
    idle.batch_execute(write).await.unwrap();
    let beside_a_writer = migrations::migrate(target(&url, Some(MARKETPLACE.view()))).await;

    assert!(
        matches!(beside_a_writer, Err(MigrationError::Busy(_))),
        "{beside_a_writer:?}"
    );
    assert_eq!(contents(&database, "NOT LIKE 'pg_%'").await, before);

    let read = "ROLLBACK; BEGIN; SELECT count(*) FROM public.bookings";
    idle.batch_execute(read).await.unwrap();
    let beside_a_reader = migrations::migrate(target(&url, Some(MARKETPLACE.view()))).await;

    assert!(beside_a_reader.is_ok(), "{beside_a_reader:?}");
}

#[tokio::test]
async fn nothing_of_the_platform_is_changed_but_for_one_trigger_and_all_of_it_comes_off_again() {
    let _alone = MIGRATING.lock().await;
    let name = new_name();
    let database = MARKETPLACE.settle_in(&name).await;
    let url = platform_url(&name);
    let before = contents(&database, PLATFORMS).await;

    let report = migrations::migrate(target(&url, Some(MARKETPLACE.view())))
        .await
        .unwrap();
    assert_eq!(report.followed, 7, "the bookings that were there are copied");

    let mut after = contents(&database, PLATFORMS).await;
    after.retain(|what| what != "trigger firstbell_follow on public.bookings");
    assert_eq!(after, before);
    let references = "SELECT conname::text FROM pg_constraint c JOIN pg_class t ON t.oid = c.confrelid
                      WHERE c.connamespace = 'firstbell'::regnamespace AND t.relnamespace <> 'firstbell'::regnamespace";
    assert!(database.query(references, &[]).await.unwrap().is_empty());

    migrations::unadopt(target(&url, None), false).await.unwrap();

    assert_eq!(contents(&database, PLATFORMS).await, before);
    assert!(contents(&database, OURS).await.is_empty());
}

#[tokio::test]
async fn books_are_not_thrown_away_by_mistake() {
    let _alone = MIGRATING.lock().await;
    let name = migrated_database_held().await;
    let database = owner(&owner_url(&name)).await;
    let entries = "
        INSERT INTO ledger_accounts VALUES ('a', 'fees', NULL, 'TTD'), ('b', 'fees', NULL, 'TTD');
        INSERT INTO bookings (id, client_id, tutor_id, status)
        VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'completed');
        INSERT INTO payments (id, booking_id, client_id, gateway, method, amount_minor, currency, status, paid_at, tutor_id, price_minor, created_at)
        SELECT gen_random_uuid(), id, client_id, 'stripe', 'card', 1, 'TTD', 'paid', now(), tutor_id, 1, now() FROM bookings;
        INSERT INTO ledger_entries (payment_id, account_id, kind, amount_minor, currency, created_at)
        SELECT p.id, a.id, 'payment', a.amount, 'TTD', now() FROM payments p, (VALUES ('a', 1), ('b', -1)) AS a (id, amount)";
    database.batch_execute(entries).await.unwrap();
    let url = platform_url(&name);

    let refused = migrations::unadopt(target(&url, None), false).await;
    assert!(matches!(refused, Err(MigrationError::HasBooks(3))), "{refused:?}");

    migrations::unadopt(target(&url, None), true).await.unwrap();
    assert!(contents(&database, OURS).await.is_empty());
}

/// [`migrated_database`], for who holds the lock that it may need: made before it is taken.
async fn migrated_database_held() -> String {
    let name = new_name();
    supabase_database(&name).await;
    migrations::migrate(target(&platform_url(&name), None))
        .await
        .unwrap();
    name
}

// As the functions ----------------------------------------------------------------------------------------

/// The statements that the functions' own role may not plan, which asks for every grant that running them would.
async fn misfits(database: &Client) -> Vec<String> {
    let mut misfits = Vec::new();
    for (name, sql) in store::STATEMENTS {
        if let Err(error) = database
            .batch_execute(&format!("EXPLAIN (GENERIC_PLAN) {sql}"))
            .await
        {
            let why = error.as_db_error().map_or("", |error| error.message());
            misfits.push(format!("{name}: {why}"));
        }
    }
    misfits
}

#[tokio::test]
async fn every_statement_may_run_as_the_functions_own_role() {
    let name = migrated_database().await;
    let service = tokio_postgres::connect(&service_url(&name), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(service.1);

    assert_eq!(misfits(&service.0).await, Vec::<String>::new());

    // The story can fail: a grant that is missing is found, which preparing alone would not do.
    let owner = owner(&owner_url(&name)).await;
    owner
        .batch_execute("REVOKE INSERT ON session_events FROM firstbell_service")
        .await
        .unwrap();
    assert!(
        !misfits(&service.0).await.is_empty(),
        "a missing grant is not found"
    );
}

/// What grows with each lesson, and is never read from its one end to the other.
const GROWS: [&str; 12] = [
    "bookings",
    "card_agreements",
    "charges",
    "disputes",
    "ledger_entries",
    "notifications",
    "outbox",
    "payments",
    "provider_events",
    "refunds",
    "session_events",
    "sessions",
];

/// Where a plan reads through the whole of a table that grows: row by row, or by an index of all rows without a condition.
fn reads_through(plan: &Value, partial: &BTreeSet<String>) -> Vec<String> {
    let text = |name: &str| plan[name].as_str().unwrap_or_default();
    let grows = GROWS.contains(&text("Relation Name"));
    let by_index = text("Node Type").starts_with("Index") && !partial.contains(text("Index Name"));
    let is_whole = text("Node Type") == "Seq Scan" || (by_index && plan["Index Cond"].is_null());

    let here = (grows && is_whole).then(|| format!("{} of {}", text("Node Type"), text("Relation Name")));
    let below = plan["Plans"].as_array().into_iter().flatten();
    here.into_iter()
        .chain(below.flat_map(|plan| reads_through(plan, partial)))
        .collect()
}

/// What each statement reads through, whose plan has no better way.
async fn slow(service: &Client) -> Vec<String> {
    let partial = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indpred IS NOT NULL";
    let partial = service.query(partial, &[]).await.unwrap();
    let partial: BTreeSet<String> = partial.iter().map(|row| row.get(0)).collect();

    let mut slow = Vec::new();
    for (name, sql) in store::STATEMENTS {
        let explained = format!("EXPLAIN (GENERIC_PLAN, FORMAT JSON) {sql}");
        let rows = service.simple_query(&explained).await.unwrap();
        let plan = rows.iter().find_map(|row| match row {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(plan.unwrap()).unwrap();
        let found = reads_through(&plan[0]["Plan"], &partial);
        slow.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    slow
}

#[tokio::test]
async fn no_statement_reads_through_a_table_that_grows() {
    let name = migrated_database().await;
    let service = tokio_postgres::connect(&service_url(&name), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(service.1);

    // Then only what has no index to go by is read row by row, however few rows there are.
    service.0.batch_execute("SET enable_seqscan = off").await.unwrap();
    assert_eq!(slow(&service.0).await, Vec::<String>::new());

    // The story can fail: an index that is missing is found.
    let owner = owner(&owner_url(&name)).await;
    let drop = "DROP INDEX firstbell.payments_booking";
    owner.batch_execute(drop).await.unwrap();
    assert!(
        slow(&service.0)
            .await
            .contains(&"charge::tab::LOOK_AT_TAB: Seq Scan of payments".to_owned()),
        "a missing index is not found"
    );
}

// As clients ------------------------------------------------------------------------------------------------

/// Runs `query` as a client of Supabase would: as the role its token has, with its claims.
pub(crate) async fn as_client(
    database: &Client,
    role: &str,
    sub: Uuid,
    query: &str,
) -> Result<u64, SqlState> {
    let begin = format!(
        "BEGIN; SET LOCAL ROLE {role}; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{sub}\"}}', true);"
    );
    database.batch_execute(&begin).await.unwrap();
    let result = database.execute(query, &[]).await;
    database.batch_execute("ROLLBACK").await.unwrap();
    result.map_err(|error| error.code().cloned().unwrap_or(SqlState::INTERNAL_ERROR))
}

/// Everything in the schema that somebody may do something with who is neither its owner nor the functions' role.
const REACHABLE: &str = "
    SELECT format('%s: %s on %s', who, string_agg(privilege, ', ' ORDER BY privilege), what) FROM (
        SELECT coalesce(r.rolname, 'PUBLIC') AS who, a.privilege_type AS privilege, granted.what
        FROM (
            SELECT 'the schema' AS what, nspacl AS acl FROM pg_namespace WHERE nspname = 'firstbell'
            UNION ALL SELECT c.relname, c.relacl FROM pg_class c WHERE c.relnamespace = 'firstbell'::regnamespace
            UNION ALL SELECT c.relname || '.' || t.attname, t.attacl FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
                WHERE c.relnamespace = 'firstbell'::regnamespace
            -- A function without a list of its own may be run by everybody.
            UNION ALL SELECT p.proname || '()', coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p
                WHERE p.pronamespace = 'firstbell'::regnamespace) AS granted
        CROSS JOIN LATERAL aclexplode(granted.acl) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE coalesce(r.rolname, 'PUBLIC') NOT IN ('platform_owner', 'firstbell_service')) AS reachable
    GROUP BY who, what ORDER BY 1";

const ON_THE_LIST: [&str; 41] = [
    "authenticated: EXECUTE on guarded_students()",
    "authenticated: EXECUTE on person()",
    "authenticated: SELECT on bookings.client_id",
    "authenticated: SELECT on bookings.duration_actual",
    "authenticated: SELECT on bookings.id",
    "authenticated: SELECT on bookings.meeting_ended_at",
    "authenticated: SELECT on bookings.meeting_provider",
    "authenticated: SELECT on bookings.meeting_started_at",
    "authenticated: SELECT on bookings.recording_consent",
    "authenticated: SELECT on bookings.session_duration",
    "authenticated: SELECT on bookings.session_start_time",
    "authenticated: SELECT on bookings.status",
    "authenticated: SELECT on bookings.student_id",
    "authenticated: SELECT on bookings.tutor_id",
    "authenticated: SELECT on notifications",
    "authenticated: SELECT on session_events",
    "authenticated: SELECT on sessions.booking_id",
    "authenticated: SELECT on sessions.cancelled_at",
    "authenticated: SELECT on sessions.charge_scheduled_at",
    "authenticated: SELECT on sessions.client_id",
    "authenticated: SELECT on sessions.created_at",
    "authenticated: SELECT on sessions.currency",
    "authenticated: SELECT on sessions.duration_minutes",
    "authenticated: SELECT on sessions.id",
    "authenticated: SELECT on sessions.min_payable_minutes",
    "authenticated: SELECT on sessions.no_show_marked_at",
    "authenticated: SELECT on sessions.no_show_wait_minutes",
    "authenticated: SELECT on sessions.price_minor",
    "authenticated: SELECT on sessions.provider",
    "authenticated: SELECT on sessions.scheduled_end_at",
    "authenticated: SELECT on sessions.scheduled_start_at",
    "authenticated: SELECT on sessions.settled_at",
    "authenticated: SELECT on sessions.status",
    "authenticated: SELECT on sessions.tutor_id",
    "authenticated: SELECT on sessions.waived_at",
    "authenticated: USAGE on the schema",
    "service_role: EXECUTE on accept_change()",
    "service_role: EXECUTE on reject_change()",
    "service_role: SELECT on booking_changes",
    "service_role: SELECT on follow_failures",
    "service_role: USAGE on the schema",
];

async fn reachable(database: &Client) -> Vec<String> {
    let rows = database.query(REACHABLE, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_clients_reach_is_on_a_list_and_a_new_run_closes_what_was_made_since() {
    let _alone = MIGRATING.lock().await;
    let name = migrated_database_held().await;
    let database = owner(&owner_url(&name)).await;
    let platform = owner(&platform_url(&name)).await;

    assert_eq!(reachable(&database).await, ON_THE_LIST);

    // The platform makes its view anew by hand, and default privileges open it.
    let anew = "DROP VIEW firstbell.platform_people;
                CREATE VIEW firstbell.platform_people AS SELECT id, full_name FROM public.profiles;
                CREATE FUNCTION firstbell.helper() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    platform.batch_execute(anew).await.unwrap();
    assert!(reachable(&database).await.len() > ON_THE_LIST.len());

    migrations::migrate(target(&platform_url(&name), None))
        .await
        .unwrap();
    assert_eq!(reachable(&database).await, ON_THE_LIST);
}

#[tokio::test]
async fn people_see_their_own_lessons_and_nobody_elses() {
    let world = World::new().await;
    let lesson = world.lesson_in(60).await;
    let create = world.function("create-session").await;
    world
        .call(&create, "create-session/create.json", world.cast.parent, &lesson)
        .await;
    let cast = world.cast;

    for (who, id, bookings, sessions) in [
        ("client", cast.parent, 1, 1),
        ("tutor", cast.tutor, 1, 1),
        ("student", cast.student, 1, 0),
        ("guardian", cast.other_parent, 1, 0),
        ("stranger", cast.stranger, 0, 0),
    ] {
        let see = |query: &'static str| as_client(&world.owner, "authenticated", id, query);
        assert_eq!(
            see("SELECT id, status FROM bookings").await,
            Ok(bookings),
            "bookings seen by the {who}"
        );
        assert_eq!(
            see("SELECT id, status, settled_at FROM sessions").await,
            Ok(sessions),
            "sessions seen by the {who}"
        );
        assert_eq!(
            see("SELECT * FROM session_events").await,
            Ok(sessions),
            "events seen by the {who}"
        );
        assert_eq!(
            see("SELECT price_minor FROM bookings").await,
            Err(SqlState::INSUFFICIENT_PRIVILEGE),
            "a child and a guardian see no price, the {who} neither: that is the session's"
        );
    }

    let anon = as_client(
        &world.owner,
        "anon",
        Uuid::nil(),
        "SELECT id FROM firstbell.bookings",
    )
    .await;
    assert_eq!(anon, Err(SqlState::INSUFFICIENT_PRIVILEGE));
}

#[tokio::test]
async fn a_link_that_the_other_side_did_not_accept_shows_nothing() {
    let world = World::new().await;
    world.lesson_in(60).await;
    let (stranger, student) = (world.cast.stranger, world.cast.student);
    let link = "INSERT INTO public.profile_graph (source_profile_id, target_profile_id, relationship_type) VALUES ($1, $2, 'GUARDIAN')";
    world.owner.execute(link, &[&stranger, &student]).await.unwrap();
    let look = || as_client(&world.owner, "authenticated", stranger, "SELECT id FROM bookings");

    assert_eq!(look().await, Ok(0), "made oneself a guardian");

    world
        .owner
        .execute("UPDATE public.profile_graph SET accepted_at = now()", &[])
        .await
        .unwrap();
    assert_eq!(look().await, Ok(1));
}

#[tokio::test]
async fn people_hear_what_is_told_to_them_and_change_nothing() {
    let world = World::new().await;
    let tell = "INSERT INTO notifications (profile_id, kind, source, created_at) VALUES ($1, 'refunded', 'refund/1', now())";
    world.owner.execute(tell, &[&world.cast.parent]).await.unwrap();
    let hear = "SELECT * FROM notifications";

    for (who, rows) in [(world.cast.parent, 1), (world.cast.tutor, 0)] {
        assert_eq!(
            as_client(&world.owner, "authenticated", who, hear).await,
            Ok(rows)
        );
    }
    for attempt in [
        "DELETE FROM notifications",
        "UPDATE bookings SET status = 'cancelled'",
        "UPDATE sessions SET price_minor = 1",
        "INSERT INTO card_agreements (booking_id, client_id) VALUES (gen_random_uuid(), gen_random_uuid())",
        "SELECT setval('ledger_entries_id_seq', 1)",
        "SELECT accept_change(1, 'me', 'because')",
    ] {
        let denied = as_client(&world.owner, "authenticated", world.cast.parent, attempt).await;
        assert_eq!(denied, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{attempt}");
    }

    let published = "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_publication_tables
                     WHERE pubname = 'supabase_realtime' AND schemaname = 'firstbell'";
    let tables: Vec<String> = world.owner.query_one(published, &[]).await.unwrap().get(0);
    assert_eq!(
        tables,
        ["bookings", "notifications", "session_events", "sessions"]
    );
}

#[tokio::test]
async fn the_database_knows_every_classroom_by_its_word() {
    let world = World::new().await;
    let sql = "SELECT is_classroom($1)";

    for classroom in Classroom::ALL {
        let row = world.owner.query_one(sql, &[&classroom.word()]).await.unwrap();
        assert!(
            row.get::<_, bool>(0),
            "is_classroom in functions.sql lacks {}",
            classroom.word()
        );
    }
    let row = world.owner.query_one(sql, &[&"elsewhere"]).await.unwrap();
    assert!(!row.get::<_, bool>(0));
}
