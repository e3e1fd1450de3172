//! From the tree to a message, led by the descriptors. Every fault is collected with its place and path; a key that
//! no field has is a fault, never ignored.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value as Proto,
};

use super::tree::{Key, Node, Value};
use super::{Fault, Place, words};

/// What is filled while a document is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    /// Where each field stands, by the path that the node's violations use.
    pub(crate) places: BTreeMap<String, Place>,
}

impl Findings {
    fn fault(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.faults.push(Fault { place: Some(place), path: path.to_owned(), message: message.into() });
    }
}

/// Reads `node` as the fields of `message`. Lists are appended to, so that several documents make one.
pub(crate) fn fill(message: &mut DynamicMessage, node: &Node, path: &str, findings: &mut Findings) {
    findings.places.entry(path.to_owned()).or_insert(node.place);
    let Value::Map(entries) = &node.value else {
        let expect = field_names(&message.descriptor());
        return findings.fault(
            node.place,
            path,
            format!("is {}: a mapping of {expect} is needed", node.what()),
        );
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (key, value) in entries {
        let Some(target) = Target::of(&message.descriptor(), &key.text) else {
            let expect = field_names(&message.descriptor());
            findings.fault(key.place, &join(path, &key.text), format!("unknown field: there are {expect}"));
            continue;
        };
        let path = join(path, &target.path());
        if !seen.insert(path.clone()) {
            findings.fault(key.place, &path, "is given twice");
            continue;
        }
        findings.places.insert(path.clone(), value_place(key, value));
        match &target {
            Target::Field(field) => set(message, field, value, &path, findings),
            Target::Meta { meta, field } => {
                let mut inner = match message.get_field(meta).into_owned() {
                    Proto::Message(inner) => inner,
                    _ => continue,
                };
                set(&mut inner, field, value, &path, findings);
                message.set_field(meta, Proto::Message(inner));
            }
        }
    }
}

/// What a key means in a message.
enum Target {
    Field(FieldDescriptor),
    /// `name` and `labels` of a resource may stand beside its spec: `- name: web` for `- meta: {name: web}`.
    Meta {
        meta: FieldDescriptor,
        field: FieldDescriptor,
    },
}

impl Target {
    fn of(message: &MessageDescriptor, key: &str) -> Option<Self> {
        let by_name = |message: &MessageDescriptor| {
            message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))
        };
        if let Some(field) = by_name(message) {
            return Some(Self::Field(field));
        }
        let meta = message.get_field_by_name("meta").filter(|_| matches!(key, "name" | "labels"))?;
        let field = by_name(meta.kind().as_message()?)?;
        Some(Self::Meta { meta, field })
    }

    fn path(&self) -> String {
        match self {
            Self::Field(field) => field.name().to_owned(),
            Self::Meta { meta, field } => format!("{}.{}", meta.name(), field.name()),
        }
    }
}

fn set(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) {
    if node.value == Value::Null {
        return;
    }
    if let Some(other) = other_of_oneof(message, field) {
        let what = format!("cannot stand beside {}: leave one of the two out", other.name());
        return findings.fault(node.place, path, what);
    }
    if field.is_list() {
        list(message, field, node, path, findings);
    } else if field.is_map() {
        map(message, field, node, path, findings);
    } else if let Some(value) = single(message, field, node, path, findings) {
        message.set_field(field, value);
    }
}

fn other_of_oneof(message: &DynamicMessage, field: &FieldDescriptor) -> Option<FieldDescriptor> {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    oneof.fields().find(|other| other != field && message.has_field(other))
}

fn list(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) {
    let Value::List(items) = &node.value else {
        return findings.fault(node.place, path, format!("is {}: a list is needed", node.what()));
    };
    let mut list = match message.get_field(field).into_owned() {
        Proto::List(list) => list,
        _ => Vec::new(),
    };
    for item in items {
        let path = format!("{path}[{}]", list.len());
        findings.places.insert(path.clone(), item.place);
        if item.value == Value::Null {
            findings.fault(item.place, &path, "is empty: remove it, or give it a value");
        } else if let Some(value) = scalar_or_message(field, item, None, &path, findings) {
            list.push(value);
        }
    }
    message.set_field(field, Proto::List(list));
}

fn map(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) {
    let kind = field.kind();
    let (Value::Map(entries), Some(entry)) = (&node.value, kind.as_message()) else {
        return findings.fault(node.place, path, format!("is {}: a mapping is needed", node.what()));
    };
    let value_field = entry.map_entry_value_field();
    let mut map = std::collections::HashMap::new();
    for (key, value) in entries {
        let path = format!("{path}[{}]", key.text);
        let map_key = match entry.map_entry_key_field().kind() {
            Kind::String => MapKey::String(key.text.clone()),
            _ => return findings.fault(key.place, &path, "cannot be given in a document"),
        };
        let Some(value) = scalar_or_message(&value_field, value, None, &path, findings) else { continue };
        if map.insert(map_key, value).is_some() {
            findings.fault(key.place, &path, "is given twice");
        }
    }
    message.set_field(field, Proto::Map(map));
}

fn single(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    node: &Node,
    path: &str,
    findings: &mut Findings,
) -> Option<Proto> {
    let present = match message.get_field(field).into_owned() {
        Proto::Message(present) => Some(present),
        _ => None,
    };
    scalar_or_message(field, node, present, path, findings)
}

fn scalar_or_message(
    field: &FieldDescriptor,
    node: &Node,
    present: Option<DynamicMessage>,
    path: &str,
    findings: &mut Findings,
) -> Option<Proto> {
    let kind = field.kind();
    if let Some(descriptor) = kind.as_message().filter(|message| !is_duration(message)) {
        if descriptor.full_name().starts_with("google.protobuf.") {
            // Timestamps are the node's to write.
            return None;
        }
        let mut inner = present.unwrap_or_else(|| DynamicMessage::new(descriptor.clone()));
        fill(&mut inner, node, path, findings);
        return Some(Proto::Message(inner));
    }
    let Value::Scalar { text, quoted } = &node.value else {
        findings.fault(node.place, path, format!("is {}: a single value is needed", node.what()));
        return None;
    };
    scalar(&kind, text, *quoted).map_err(|message| findings.fault(node.place, path, message)).ok()
}

fn scalar(kind: &Kind, text: &str, quoted: bool) -> Result<Proto, String> {
    fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("{text:?} is not a whole number that fits"))
    }
    match kind {
        Kind::String => Ok(Proto::String(text.to_owned())),
        Kind::Bool => match text {
            "true" if !quoted => Ok(Proto::Bool(true)),
            "false" if !quoted => Ok(Proto::Bool(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        Kind::Uint32 | Kind::Fixed32 => number(text).map(Proto::U32),
        Kind::Uint64 | Kind::Fixed64 => number(text).map(Proto::U64),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number(text).map(Proto::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number(text).map(Proto::I64),
        Kind::Enum(kind) => words::enum_number(kind, text).map(Proto::EnumNumber),
        Kind::Message(message) => {
            let (seconds, nanos) = words::duration(text)?;
            let mut duration = DynamicMessage::new(message.clone());
            duration.set_field_by_name("seconds", Proto::I64(seconds));
            duration.set_field_by_name("nanos", Proto::I32(nanos));
            Ok(Proto::Message(duration))
        }
        Kind::Double | Kind::Float | Kind::Bytes => Err("cannot be given in a document".to_owned()),
    }
}

fn is_duration(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.Duration"
}

/// Where to look for a field: its value when that is one line, else its key.
fn value_place(key: &Key, value: &Node) -> Place {
    match value.value {
        Value::Scalar { .. } => value.place,
        _ => key.place,
    }
}

fn field_names(message: &MessageDescriptor) -> String {
    message.fields().map(|field| field.name().to_owned()).collect::<Vec<_>>().join(", ")
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}
