//! JSON logs, one object a line: `timestamp` (RFC 3339), `level`, `message`, the invocation's ids, the
//! event's fields. The runtime's own format omits the timestamp, and Lambda then takes every line for INFO.

use crate::invocation::Invocation;
use crate::redaction::redact;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt::Debug;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the logger. Call once, first thing in `main`. A panic is logged by its place, never by its
/// message, which may quote anything.
pub fn init() {
    let _ = tracing_subscriber::registry().with(JsonLines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// Writes one log line, redacted. Nothing else writes to standard output.
#[allow(clippy::print_stdout, reason = "a function's standard output is its log")]
pub(crate) fn write(level: &str, message: &str, fields: Map<String, Value>) {
    let mut line = Map::new();
    line.insert("timestamp".into(), Timestamp::now().to_string().into());
    line.insert("level".into(), level.into());
    line.insert("message".into(), message.into());
    line.extend(fields);

    // Redacted as a whole, so that nothing depends on who wrote which field.
    println!("{}", redact(&Value::Object(line).to_string()));
}

struct JsonLines;

/// Our own crates speak from INFO on, libraries only from WARN on: their chatter may quote requests.
fn is_wanted(metadata: &Metadata<'_>) -> bool {
    const LIBRARIES: [&str; 12] = [
        "aws", "hyper", "reqwest", "rustls", "tokio", "tower", "lambda", "h2", "mio", "refinery", "Lambda",
        "log",
    ];
    let is_library = LIBRARIES
        .iter()
        .any(|library| metadata.target().starts_with(library));
    *metadata.level() <= if is_library { Level::WARN } else { Level::INFO }
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_wanted(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Invocation::fields());
        event.record(&mut fields);

        let message = fields
            .0
            .remove("message")
            .and_then(|value| value.as_str().map(ToOwned::to_owned));

        write(
            event.metadata().level().as_str(),
            &message.unwrap_or_default(),
            fields.0,
        );
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}
