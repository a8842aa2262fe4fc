//! The `OpenAPI` document, to which every answer that any story gets is held.

use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let file = stories::stack::root().join("infra/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// The schema that the document promises for this route's answer: `(media type, schema)`.
fn promised(route: &str, status: u16) -> (String, Value) {
    let (method, path) = route.split_once(' ').unwrap();
    let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "{route} is not in infra/openapi.json");
    let content = operation["responses"][status.to_string()]["content"].as_object();
    let content = content.unwrap_or_else(|| panic!("{route} may not answer {status}"));
    let (media_type, content) = content.iter().next().unwrap();
    (media_type.clone(), content["schema"].clone())
}

fn validator(schema: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = DOCUMENT["components"].clone();
    whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    jsonschema::options()
        .should_validate_formats(true)
        .build(&whole)
        .unwrap()
}

/// Fails the story if an answer is not as the document says.
pub(crate) fn hold(event: &Value, status: u16, media_type: &Value, body: &Value) {
    let route = event["routeKey"].as_str().unwrap();
    let (promised_type, schema) = promised(route, status);
    assert_eq!(*media_type, promised_type, "{route} {status}");
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = validators
        .entry(schema.to_string())
        .or_insert_with(|| validator(&schema));
    let wrong: Vec<String> = validator
        .iter_errors(body)
        .map(|error| error.to_string())
        .collect();
    assert!(
        wrong.is_empty(),
        "{route} {status} is not as documented: {wrong:?} in {body}"
    );
}
