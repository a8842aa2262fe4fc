//! Databases: one that is migrated once, and a copy of it for each story.

use super::*;
use migrations::Target;
use std::time::Duration;
use stories::cast::owner;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The address of `database` in the stories' cluster, for the story's own hands: a superuser.
pub(crate) fn owner_url(database: &str) -> String {
    variable("TEST_DATABASE_URL").replace("/postgres?", &format!("/{database}?"))
}

/// The same, as the platform's owner, who is no superuser: whoever runs `migrate`.
pub(crate) fn platform_url(database: &str) -> String {
    owner_url(database).replace("postgres@", "platform_owner@")
}

/// The same, as the role that the functions have.
pub(crate) fn service_url(database: &str) -> String {
    owner_url(database).replace("postgres@", "firstbell_service:any@")
}

/// Held while a database is migrated: roles belong to the whole cluster, and two databases must not make them at
/// the same time.
pub(crate) static MIGRATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A new database as Supabase gives it to a project, with nothing of the project in it. Held with [`MIGRATING`], since
/// it makes roles.
pub(crate) async fn supabase_database(name: &str) {
    let admin = owner(&owner_url("postgres")).await;
    let create = format!("CREATE DATABASE {name}");
    admin.batch_execute(&create).await.unwrap();

    let superuser = owner(&owner_url(name)).await;
    let brings = include_str!("../../platforms/supabase.sql");
    superuser.batch_execute(brings).await.unwrap();
}

/// A name for a database that nobody else has.
pub(crate) fn new_name() -> String {
    format!("story_{}", Uuid::new_v4().simple())
}

/// Where `migrate` runs, as the platform's owner.
pub(crate) fn target<'a>(url: &'a str, platform: Option<(&'a str, &'a str)>) -> Target<'a> {
    Target {
        url,
        ca_pem: None,
        platform,
        patience: Duration::from_millis(200),
    }
}

/// A new database with the schema, cloned from one that was migrated once.
pub(crate) async fn migrated_database() -> String {
    static READY: OnceCell<()> = OnceCell::const_new();
    static CLONING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let admin = owner(&owner_url("postgres")).await;
    READY
        .get_or_init(|| async {
            let _alone = MIGRATING.lock().await;
            supabase_database(TEMPLATE).await;
            let url = platform_url(TEMPLATE);
            migrations::migrate(target(&url, None)).await.unwrap();
        })
        .await;
    let name = new_name();
    let _one_at_a_time = CLONING.lock().await;
    admin
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
        .await
        .unwrap();
    name
}
