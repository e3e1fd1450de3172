//! What differs between two configurations, field by field, in words: for `--dry-run`, `diff` and the answer to a
//! write. Works on descriptors, so that a new field cannot be forgotten. Keys are never shown.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};
use proto::v1;

use crate::control::Kind;
use crate::convert::{Stored, name_of, normalized};
use model::scalar::HIDDEN;

/// Fields that are never shown.
const SECRET: [&str; 1] = ["md5_key"];
/// Most changed fields that are named of one resource.
const MOST_FIELDS: usize = 50;

/// Everything between `before` and `after`, by kind and name; what is alike is listed as unchanged.
pub fn changes(before: &v1::Config, after: &v1::Config) -> Vec<v1::Change> {
    let (before, after) = (normalized(before), normalized(after));
    let mut changes = Vec::new();
    of_kind(Kind::Vip, &before.vips, &after.vips, &mut changes);
    of_kind(Kind::Pool, &before.pools, &after.pools, &mut changes);
    of_kind(Kind::Service, &before.services, &after.services, &mut changes);
    of_kind(Kind::Peer, &before.peers, &after.peers, &mut changes);
    of_kind(Kind::EndpointRoute, &before.routes, &after.routes, &mut changes);
    changes
}

fn of_kind<T: Stored>(kind: Kind, before: &[T], after: &[T], changes: &mut Vec<v1::Change>) {
    use v1::change::Action;
    let find = |list: &[T], name: &str| list.binary_search_by(|it| name_of(it).cmp(name)).ok();
    let mut push = |action: Action, name: &str, fields| {
        let (kind, name) = (kind.word().to_owned(), name.to_owned());
        changes.push(v1::Change { action: action.into(), kind, name, fields });
    };
    for new in after {
        let name = name_of(new);
        match find(before, name).map(|i| &before[i]) {
            None => push(Action::Create, name, Vec::new()),
            Some(old) if old == new => push(Action::Unchanged, name, Vec::new()),
            Some(old) => push(Action::Update, name, fields(old, new)),
        }
    }
    for old in before.iter().filter(|old| find(after, name_of(*old)).is_none()) {
        push(Action::Delete, name_of(old), Vec::new());
    }
}

fn fields<T: Stored>(before: &T, after: &T) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(before), Some(after)) = (dynamic(before), dynamic(after)) {
        messages("", &before, &after, &mut lines);
    }
    lines.truncate(MOST_FIELDS);
    lines
}

fn dynamic<T: Stored>(message: &T) -> Option<DynamicMessage> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS).ok()).as_ref()?;
    let descriptor = pool.get_message_by_name(T::FULL_NAME)?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()
}

fn messages(path: &str, before: &DynamicMessage, after: &DynamicMessage, lines: &mut Vec<String>) {
    for field in after.descriptor().fields() {
        let path = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        let old = before.has_field(&field).then(|| before.get_field(&field).into_owned());
        let new = after.has_field(&field).then(|| after.get_field(&field).into_owned());
        values(&path, &field, old.as_ref(), new.as_ref(), lines);
    }
}

fn values(
    path: &str,
    field: &FieldDescriptor,
    old: Option<&Value>,
    new: Option<&Value>,
    lines: &mut Vec<String>,
) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Message(old)), Some(Value::Message(new))) if !is_well_known(new) => {
            messages(path, old, new, lines);
        }
        (Some(Value::List(old)), Some(Value::List(new))) => lists(path, field, old, new, lines),
        (old, new) => {
            lines.push(format!("{path}: {} -> {}", shown(field, old), shown(field, new)));
        }
    }
}

/// Lists of messages that have an identity (backends by address) are compared by it: a backend inserted at the front is
/// one line, not a change of every line.
fn lists(path: &str, field: &FieldDescriptor, old: &[Value], new: &[Value], lines: &mut Vec<String>) {
    let identity = |value: &Value| match value {
        Value::Message(message) => {
            let field = message.descriptor().get_field_by_name("address")?;
            message.get_field(&field).as_str().map(str::to_owned)
        }
        _ => None,
    };
    let keyed = |list: &[Value]| {
        list.iter().map(|value| Some((identity(value)?, value.clone()))).collect::<Option<Vec<_>>>()
    };
    let (Some(old_keyed), Some(new_keyed)) = (keyed(old), keyed(new)) else {
        let whole = |list: &[Value]| shown(field, Some(&Value::List(list.to_vec())));
        return lines.push(format!("{path}: {} -> {}", whole(old), whole(new)));
    };
    let find =
        |list: &[(String, Value)], key: &str| list.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let before = lines.len();
    for (key, value) in &new_keyed {
        let path = format!("{path}[{key}]");
        match find(&old_keyed, key) {
            None => lines.push(format!("{path}: added")),
            Some(was) => values(&path, field, Some(&was), Some(value), lines),
        }
    }
    for (key, _) in old_keyed.iter().filter(|(key, _)| find(&new_keyed, key).is_none()) {
        lines.push(format!("{path}[{key}]: removed"));
    }
    if lines.len() == before {
        lines.push(format!("{path}: order changed"));
    }
}

fn is_well_known(message: &DynamicMessage) -> bool {
    message.descriptor().full_name().starts_with("google.protobuf.")
}

fn shown(field: &FieldDescriptor, value: Option<&Value>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(_) if SECRET.contains(&field.name()) => HIDDEN.to_owned(),
        Some(value) => text(field, value),
    }
}

fn text(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::String(v) => v.clone(),
        Value::EnumNumber(number) => match field.kind().as_enum().and_then(|e| e.get_value(*number)) {
            Some(known) => known.name().to_lowercase(),
            None => number.to_string(),
        },
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|value| text(field, value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut items: Vec<String> =
                map.iter().map(|(key, value)| format!("{}={}", key_text(key), text(field, value))).collect();
            items.sort();
            format!("{{{}}}", items.join(", "))
        }
        Value::Message(message) if message.descriptor().full_name() == "google.protobuf.Duration" => {
            let part = |name| message.get_field_by_name(name).map(|v| v.into_owned());
            let seconds = part("seconds").and_then(|v| v.as_i64()).unwrap_or(0);
            let nanos = part("nanos").and_then(|v| v.as_i32()).unwrap_or(0);
            format!("{}s", seconds as f64 + f64::from(nanos) / 1e9)
        }
        Value::Message(message) => {
            let fields: Vec<String> = message
                .fields()
                .map(|(field, value)| format!("{}: {}", field.name(), shown(&field, Some(value))))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}
