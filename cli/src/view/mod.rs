//! How resources look to people: one row in a list, lines and tables for a single one. Pure: the clock is an argument.

mod order;
mod peer;
pub(crate) mod pool;
mod route;
mod service;
pub(crate) mod status;
mod vip;

use std::time::SystemTime;

use proto::v1;

pub(crate) use order::{by_address, by_name};

use crate::clock;
use crate::document::words;
use crate::noun::Noun;
use crate::proto_json::descriptor;
use crate::table;

/// Reason of a condition of a resource whose node_selector does not take the node that was asked.
pub(crate) const NOT_HERE: &str = "OtherNode";

/// A kind's looks.
pub(crate) trait View: Noun {
    /// Columns of a list; `wide` adds the rest.
    fn header(wide: bool) -> Vec<&'static str>;
    fn row(&self, wide: bool, now: SystemTime) -> Vec<String>;
    /// Sorts a list for people: numerically by address where there is one.
    fn sort(list: &mut [Self]);
    /// What a single one says beyond its row, in label and value.
    fn facts(&self, now: SystemTime) -> Vec<(&'static str, String)>;
    /// Tables below the facts, each ready to print.
    fn tables(&self) -> Vec<String> {
        Vec::new()
    }

    /// One resource in full.
    fn details(&self, now: SystemTime) -> String {
        let mut facts = vec![(Self::WORD, self.name().to_owned())];
        facts.extend(self.facts(now));
        facts.push(("revision", self.meta().map_or_else(String::new, |meta| meta.revision.to_string())));
        facts.push(("labels", self.meta().map_or_else(String::new, |meta| labels(&meta.labels))));
        let mut text = lines(&facts);
        for table in self.tables().into_iter().chain(conditions(self.conditions(), now)) {
            text.push('\n');
            text.push_str(&table);
        }
        text
    }
}

/// "label   value" lines, aligned; empty values left out.
pub(crate) fn lines(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    let present = facts.iter().filter(|(_, value)| !value.is_empty());
    present.map(|(label, value)| format!("{label:width$}{value}\n")).collect()
}

pub(crate) fn conditions(conditions: &[v1::Condition], now: SystemTime) -> Option<String> {
    if conditions.is_empty() {
        return None;
    }
    let rows = conditions.iter().map(|condition| {
        vec![
            condition.r#type.clone(),
            status_word(condition).to_owned(),
            condition.reason.clone(),
            clock::since(condition.last_transition_at.as_ref(), now),
            condition.message.clone(),
        ]
    });
    Some(table::render(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows.collect()))
}

/// The resource concerns other nodes only.
pub(crate) fn is_elsewhere(resource: &impl Noun) -> bool {
    resource.conditions().iter().any(|condition| condition.reason == NOT_HERE)
}

pub(crate) fn status_word(condition: &v1::Condition) -> &'static str {
    use v1::condition::Status;
    match condition.status() {
        Status::True => "true",
        Status::False => "false",
        Status::Unknown | Status::Unspecified => "unknown",
    }
}

/// The condition says that something is not as it should be.
pub(crate) fn is_bad(condition: &v1::Condition) -> bool {
    use v1::condition::Status;
    match (condition.r#type.as_str(), condition.status()) {
        ("Degraded", status) => status == Status::True,
        (_, status) => status == Status::False,
    }
}

/// Why the first bad condition is bad, in the node's own words.
pub(crate) fn trouble(conditions: &[v1::Condition]) -> String {
    let bad = conditions.iter().find(|condition| is_bad(condition));
    bad.map_or_else(String::new, |condition| match condition.message.as_str() {
        "" => format!("{} {}", condition.r#type, condition.reason),
        message => message.to_owned(),
    })
}

/// The last column of a row: that the resource is on its way out, or what is wrong with it.
pub(crate) fn note(resource: &impl Noun, now: SystemTime) -> String {
    match resource.meta().and_then(|meta| meta.removal_at.as_ref()) {
        Some(then) => format!("being removed: still serves, for {}", clock::until(then, now)),
        None => trouble(resource.conditions()),
    }
}

/// Deleted, and lingering until routers have moved.
pub(crate) fn is_leaving(resource: &impl Noun) -> bool {
    resource.meta().is_some_and(|meta| meta.removal_at.is_some())
}

pub(crate) fn yes_no(value: bool) -> String {
    if value { "yes".to_owned() } else { "no".to_owned() }
}

pub(crate) fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The short name of an enum's value; empty for "unspecified", whose meaning the caller knows.
pub(crate) fn word(kind: &str, number: i32, default: &str) -> String {
    if number == 0 {
        return default.to_owned();
    }
    match descriptor_of_enum(kind) {
        Some(kind) => words::short_name(&kind, number),
        None => number.to_string(),
    }
}

fn descriptor_of_enum(kind: &str) -> Option<prost_reflect::EnumDescriptor> {
    descriptor("vipcast.v1.Config").parent_pool().get_enum_by_name(&format!("vipcast.v1.{kind}"))
}
