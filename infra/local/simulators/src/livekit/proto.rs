//! Messages of protocol buffers in JSON. One table of fields for each message does three things: it reads requests in
//! either spelling, prints answers in snake case with every default, and prints events in camel case without any.

use serde_json::{Map, Value, json};

/// The fields of a message, in the order in which they are declared.
pub(super) type Message = &'static [Field];

/// A field, by its name in snake case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
    shape: Shape,
    /// The `oneof` that it belongs to; empty if none.
    group: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Int32,
    Uint32,
    Int64,
    Double,
    /// Names by number; a number that means nothing has an empty name.
    Choice(&'static [&'static str]),
    Message(Message),
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    One,
    Many,
    /// From text to text.
    Map,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        shape: Shape::One,
        group: "",
    }
}

pub(super) const fn text(name: &'static str) -> Field {
    field(name, Kind::Text)
}

pub(super) const fn flag(name: &'static str) -> Field {
    field(name, Kind::Flag)
}

pub(super) const fn int32(name: &'static str) -> Field {
    field(name, Kind::Int32)
}

pub(super) const fn uint32(name: &'static str) -> Field {
    field(name, Kind::Uint32)
}

pub(super) const fn int64(name: &'static str) -> Field {
    field(name, Kind::Int64)
}

pub(super) const fn double(name: &'static str) -> Field {
    field(name, Kind::Double)
}

pub(super) const fn choice(name: &'static str, names: &'static [&'static str]) -> Field {
    field(name, Kind::Choice(names))
}

pub(super) const fn message(name: &'static str, message: Message) -> Field {
    field(name, Kind::Message(message))
}

pub(super) const fn map(name: &'static str) -> Field {
    Field {
        shape: Shape::Map,
        ..text(name)
    }
}

impl Field {
    pub(super) const fn many(self) -> Self {
        Self {
            shape: Shape::Many,
            ..self
        }
    }

    pub(super) const fn of(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    fn is_called(&self, key: &str) -> bool {
        self.name == key || camel(self.name) == key
    }

    fn read(&self, given: &Value) -> Option<Value> {
        match self.shape {
            Shape::One => self.kind.read(given),
            Shape::Many => {
                let items = given.as_array()?.iter().map(|item| self.kind.read(item));
                items.collect::<Option<Vec<Value>>>().map(Value::Array)
            }
            Shape::Map => {
                let is_text = given.as_object()?.values().all(Value::is_string);
                is_text.then(|| given.clone())
            }
        }
    }

    fn print(&self, value: &Value, nested: Printer) -> Value {
        match (self.shape, value) {
            (Shape::Many, Value::Array(items)) => {
                items.iter().map(|item| self.kind.print(item, nested)).collect()
            }
            (Shape::One, value) => self.kind.print(value, nested),
            (Shape::Many | Shape::Map, value) => value.clone(),
        }
    }

    fn default_value(&self) -> Value {
        match (self.shape, self.kind) {
            (Shape::Many, _) => json!([]),
            (Shape::Map, _) => json!({}),
            (Shape::One, Kind::Text) => json!(""),
            (Shape::One, Kind::Flag) => json!(false),
            (Shape::One, Kind::Int32 | Kind::Uint32 | Kind::Double) => json!(0),
            (Shape::One, Kind::Int64) => json!("0"),
            (Shape::One, Kind::Choice(names)) => json!(names.first()),
            (Shape::One, Kind::Message(_)) => Value::Null,
        }
    }

    /// Whether its presence says something even if its value does not.
    fn has_presence(&self) -> bool {
        !self.group.is_empty() || matches!((self.shape, self.kind), (Shape::One, Kind::Message(_)))
    }
}

type Printer = fn(&Value, Message) -> Value;

impl Kind {
    fn read(self, given: &Value) -> Option<Value> {
        let whole = || integer(given);
        match self {
            Self::Text => given.is_string().then(|| given.clone()),
            Self::Flag => given.is_boolean().then(|| given.clone()),
            Self::Int32 => i32::try_from(whole()?).ok().map(Value::from),
            Self::Uint32 => u32::try_from(whole()?).ok().map(Value::from),
            Self::Int64 => whole().map(Value::from),
            Self::Double => given.as_f64().map(Value::from),
            Self::Choice(names) => choose(given, names),
            Self::Message(message) => read(given, message),
        }
    }

    fn print(self, value: &Value, nested: Printer) -> Value {
        match self {
            Self::Int64 => json!(integer(value).unwrap_or_default().to_string()),
            Self::Message(message) => nested(value, message),
            Self::Text | Self::Flag | Self::Int32 | Self::Uint32 | Self::Double | Self::Choice(_) => {
                value.clone()
            }
        }
    }
}

fn integer(given: &Value) -> Option<i64> {
    given.as_i64().or_else(|| given.as_str()?.parse().ok())
}

fn choose(given: &Value, names: &[&'static str]) -> Option<Value> {
    let by_name = given
        .as_str()
        .and_then(|name| names.iter().find(|known| **known == name));
    let by_number = given
        .as_u64()
        .and_then(|number| names.get(usize::try_from(number).ok()?));
    by_name
        .or(by_number)
        .filter(|name| !name.is_empty())
        .map(|name| json!(name))
}

fn camel(name: &str) -> String {
    let mut spelt = String::new();
    let mut is_next_upper = false;
    for character in name.chars() {
        if character == '_' {
            is_next_upper = true;
        } else if std::mem::take(&mut is_next_upper) {
            spelt.push(character.to_ascii_uppercase());
        } else {
            spelt.push(character);
        }
    }
    spelt
}

/// The fields of `message` that are set in `given`, by their names in snake case. Unknown fields are dropped without a
/// word. Nothing, if a field has another type, comes twice, or is not the only one of its `oneof`.
pub(super) fn read(given: &Value, message: Message) -> Option<Value> {
    let mut read = Map::new();
    let mut groups = Vec::new();
    for (key, value) in given.as_object()? {
        let field = message.iter().find(|field| field.is_called(key));
        let Some(field) = field.filter(|_| !value.is_null()) else {
            continue;
        };
        let is_rival = !field.group.is_empty() && groups.contains(&field.group);
        if is_rival || read.contains_key(field.name) {
            return None;
        }
        groups.push(field.group);
        read.insert(field.name.to_owned(), field.read(value)?);
    }
    Some(Value::Object(read))
}

/// A message as the API answers it: in snake case, with every default.
pub(super) fn answer(value: &Value, message: Message) -> Value {
    let fields = message.iter().filter_map(|field| {
        let printed = match value.get(field.name) {
            Some(value) => field.print(value, answer),
            None if field.group.is_empty() => field.default_value(),
            None => return None,
        };
        Some((field.name.to_owned(), printed))
    });
    Value::Object(fields.collect())
}

/// A message as a webhook tells it: in camel case, without defaults.
pub(super) fn event(value: &Value, message: Message) -> Value {
    let fields = message.iter().filter_map(|field| {
        let printed = field.print(value.get(field.name)?, event);
        let is_told = field.has_presence() || printed != field.default_value();
        is_told.then(|| (camel(field.name), printed))
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Message = &[text("a_b")];
    const OUTER: Message = &[
        int64("at_ns"),
        choice("status", &["FIRST", "SECOND"]),
        message("inner", INNER),
        choice("preset", &["PLAIN", "FANCY"]).of("options"),
        text("advanced").of("options"),
        text("names").many(),
    ];

    #[test]
    fn both_spellings_are_read_and_unknown_keys_dropped() {
        let given = json!({"atNs": "5", "status": 1, "inner": {"a_b": "x", "what": 1}, "names": null});
        let read = read(&given, OUTER);
        assert_eq!(
            read,
            Some(json!({"at_ns": 5, "status": "SECOND", "inner": {"a_b": "x"}}))
        );
    }

    #[test]
    fn wrong_types_repetitions_and_rivals_are_not_read() {
        for given in [
            json!([]),
            json!({"atNs": "five"}),
            json!({"status": "THIRD"}),
            json!({"at_ns": 1, "atNs": 1}),
            json!({"preset": "PLAIN", "advanced": "x"}),
            json!({"names": "one"}),
        ] {
            assert_eq!(read(&given, OUTER), None, "{given}");
        }
    }

    #[test]
    fn answers_have_every_default_and_events_none() {
        let value = json!({"at_ns": 5, "status": "FIRST", "inner": {}, "preset": "PLAIN"});

        let answered = answer(&value, OUTER);
        let told = event(&value, OUTER);

        assert_eq!(
            answered,
            json!({"at_ns": "5", "status": "FIRST", "inner": {"a_b": ""}, "preset": "PLAIN", "names": []})
        );
        assert_eq!(told, json!({"atNs": "5", "inner": {}, "preset": "PLAIN"}));
    }
}
