//! The sample events under `events/`: each is what its function would be handed, and is understood by it.

use crate::harness::{World, request};
use serde_json::Value;
use std::fs::read_dir;
use stories::stack::root;
use uuid::Uuid;

/// A sample's picture lies beside it.
const PICTURE: &str = "whiteboard.png";
/// What a consumer says of a message that it cannot read, whatever the message is about.
const NOT_UNDERSTOOD: [&str; 2] = ["the body is not an envelope", "an event of an unknown"];

#[tokio::test]
async fn every_sample_is_understood_by_its_function() {
    let world = World::new().await;
    let names = |folder: &std::path::Path| {
        let entries = read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };

    let functions = names(&root().join("events"));
    for chapter in ["launch", "prove", "charge", "keep"] {
        for name in names(&root().join("functions").join(chapter)) {
            assert!(functions.contains(&name), "{name} has no sample event");
        }
    }

    for name in functions {
        let function = world.function(&name).await;
        let samples = names(&root().join("events").join(&name));
        for sample in samples.iter().filter(|sample| !sample.ends_with(PICTURE)) {
            let token = world.identity.token(world.cast.parent);
            let event = request(&format!("{name}/{sample}"), &token, Uuid::new_v4());
            let said = understood(&function.invoke(event.clone()).await, &event);
            assert!(said, "{name} does not understand {sample}: {:#?}", function.log());
        }

        let is_foreign = |line: &String| NOT_UNDERSTOOD.iter().any(|words| line.contains(words));
        assert!(
            !function.log().iter().any(is_foreign),
            "{name}: {:#?}",
            function.log()
        );
    }
}

/// A route may refuse who asks, or find nothing; it does not call the request malformed, and does not break.
fn understood(answer: &Result<Value, String>, event: &Value) -> bool {
    let is_route = event["requestContext"]["http"].is_object();
    match answer {
        Ok(answer) if is_route => {
            let status = answer["statusCode"].as_u64().unwrap_or(500);
            status < 500 && status != 400 && status != 404
        }
        Ok(_) => true,
        Err(_) => false,
    }
}
