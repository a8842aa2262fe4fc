//! The connection: one, opened late, checked before it is trusted, and never waited for without end.

use crate::harness::{migrated_database, owner_url, service_url};
use futures::future::join_all;
use platform::database::{Database, DatabaseError};
use stories::cast::owner;
use tokio::net::TcpListener;

async fn backends(database: &str) -> i64 {
    let admin = owner(&owner_url("postgres")).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    admin.query_one(sql, &[&database]).await.unwrap().get(0)
}

#[tokio::test]
async fn however_much_is_asked_at_once_there_is_one_connection() {
    let name = migrated_database().await;
    let database = Database::at(&service_url(&name));
    assert_eq!(backends(&name).await, 0, "nothing is opened before it is needed");
    for answer in join_all((0..20).map(|_| database.query("SELECT 1", &[]))).await {
        assert_eq!(answer.unwrap().len(), 1);
    }
    assert_eq!(backends(&name).await, 1);
}

#[tokio::test]
async fn a_connection_that_died_is_replaced_without_anybody_noticing() {
    let name = migrated_database().await;
    let database = Database::at(&service_url(&name));
    let admin = owner(&owner_url("postgres")).await;
    for _ in 0..3 {
        assert!(database.query("SELECT 1", &[]).await.is_ok());
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        admin.execute(kill, &[&name]).await.unwrap();
    }
    assert!(database.query("SELECT 1", &[]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept().await {
            held.push(connection);
        }
    });
    let database = Database::at(&format!("postgres://x@{address}/x?sslmode=disable"));
    let answer = database.query("SELECT 1", &[]).await;
    assert!(matches!(answer, Err(DatabaseError::Unavailable(_))), "{answer:?}");
    silent.abort();
}

#[tokio::test]
async fn the_servers_own_limits_stand_behind_ours() {
    let database = Database::at(&service_url(&migrated_database().await));
    let sql = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
                      current_setting('idle_in_transaction_session_timeout')";
    let rows = database.query(sql, &[]).await.unwrap();
    let limits: [&str; 3] = [rows[0].get(0), rows[0].get(1), rows[0].get(2)];
    assert_eq!(limits, ["8s", "2s", "10s"]);
}

#[tokio::test]
async fn a_refusal_of_the_schema_is_told_from_an_outage() {
    let database = Database::at(&service_url(&migrated_database().await));
    let refused = database
        .query("INSERT INTO outbox (id) VALUES (gen_random_uuid())", &[])
        .await;
    assert!(
        matches!(refused, Err(DatabaseError::Refused { .. })),
        "{refused:?}"
    );
    let forbidden = database.query("DELETE FROM bookings", &[]).await;
    assert!(
        matches!(forbidden, Err(DatabaseError::Refused { .. })),
        "the functions' role may not delete"
    );
    let cancelled = database
        .query("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)", &[])
        .await;
    assert!(
        matches!(cancelled, Err(DatabaseError::Unavailable(_))),
        "{cancelled:?}"
    );
}
