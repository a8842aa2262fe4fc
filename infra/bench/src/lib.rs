//! What the measurements share: a database with the schema, and a connection to it.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a measurement stops when it cannot measure"
)]

use migrations::{PATIENCE, Target};
use tokio_postgres::{Client, NoTls};

/// Connects as the owner, who sees our tables by their names.
pub async fn connect(url: &str) -> Client {
    let (client, driver) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the database is up");
    tokio::spawn(driver);
    client
        .batch_execute("SET search_path = firstbell, public")
        .await
        .expect("a setting");
    client
}

/// A new database with the schema and our own dialect of a platform; its address and a connection.
pub async fn fresh_database(admin: &Client, url: &str, name: &str) -> (String, Client) {
    for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        let done = admin.batch_execute(&format!("{statement} {name}")).await;
        done.expect("a new database");
    }

    let url = url.replace("/postgres?", &format!("/{name}?"));
    let target = Target {
        url: &url,
        ca_pem: None,
        platform: None,
        patience: PATIENCE,
    };
    migrations::migrate(target).await.expect("the schema");
    let client = connect(&url).await;
    (url, client)
}
