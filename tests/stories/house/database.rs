//! The connection: one, opened late, checked before it is trusted, and never waited for without end.

use crate::harness::{migrated_database, owner_url, service_url};
use futures::future::join_all;
use platform::database::{Database, DatabaseError};
use stories::cast::owner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
async fn nobody_on_the_way_can_talk_us_out_of_encryption() {
    for said in ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-full"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let somebody = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut asked = [0; 8];
            connection.read_exact(&mut asked).await.unwrap();
            connection.write_all(b"N").await.unwrap();
            let mut overheard = Vec::new();
            connection.read_to_end(&mut overheard).await.unwrap();
            (asked, overheard)
        });

        let url = format!("postgres://firstbell_service:a-password@{address}/x{said}");
        let answer = Database::at(&url).query("SELECT 1", &[]).await.unwrap_err();

        assert_eq!(
            answer.to_string(),
            "database unavailable: the server offers no TLS",
            "{said}"
        );
        let (asked, overheard) = somebody.await.unwrap();
        assert_eq!(
            asked,
            [0, 0, 0, 8, 4, 210, 22, 47],
            "{said}: not a request for TLS"
        );
        assert!(overheard.is_empty(), "{said}: went on in clear text");
    }
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_without_the_address() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let missing = format!("{}_not", service_url("postgres").replace("?sslmode=disable", ""));
    for (url, why) in [
        ("postgres://x@:y:z".to_owned(), "malformed address"),
        (
            format!("postgres://x@127.0.0.1:{port}/x?sslmode=disable"),
            "no server listens at the address",
        ),
        (
            "postgres://x@nowhere.invalid/x?sslmode=disable".to_owned(),
            "no route to the server",
        ),
        (format!("{missing}?sslmode=disable"), "there is no such database"),
    ] {
        let answer = Database::at(&url).query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(answer.to_string(), format!("database unavailable: {why}"));
    }
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
