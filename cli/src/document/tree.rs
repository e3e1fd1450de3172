//! YAML (and JSON, its subset) as a tree in which every node knows its line and column. Scalars keep the text that was
//! written: what type they are is the schema's to say, so `1.10` stays a label and `no` is never a surprise.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{Fault, Place};

/// Deepest nesting; the deepest document of ours has 9 levels.
const DEEPEST: usize = 32;
/// Most nodes, aliases expanded: an alias that contains aliases grows exponentially.
const MOST_NODES: usize = 2_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    /// In the order written; keys are texts.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Node {
    /// What a person would call it.
    pub(crate) fn what(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// The documents of a stream, empty ones left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
            Fault { place: Some(place), path: String::new(), message: format!("not YAML: {}", error.info()) }
        })?;
        builder.event(event, span)?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    /// Count of nodes when it was opened.
    before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = match null {
                    true => Value::Null,
                    false => Value::Scalar { text: text.into_owned(), quoted },
                };
                self.nodes += 1;
                self.close(Node { place, value }, anchor, self.nodes - 1)
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(place, anchor, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { place, anchor, before, content }) = self.open.pop() else {
                    return Err(fault(place, "an end without a beginning"));
                };
                let value = match content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, .. } => Value::Map(entries),
                };
                self.close(Node { place, value }, anchor, before)
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(fault(place, "an alias inside the node that it names"));
                };
                self.nodes += size;
                self.close(node, 0, self.nodes)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= DEEPEST {
            return Err(fault(place, "nested too deeply"));
        }
        self.nodes += 1;
        self.open.push(Open { place, anchor, before: self.nodes - 1, content });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node, anchor: usize, before: usize) -> Result<(), Fault> {
        if self.nodes > MOST_NODES {
            return Err(fault(node.place, "too many nodes"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if node.value == Value::Null => {}
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, Fault> {
    match node.value {
        Value::Scalar { text, .. } => Ok(Key { place: node.place, text }),
        Value::Null => Ok(Key { place: node.place, text: String::new() }),
        _ => Err(fault(node.place, "a key must be a single value")),
    }
}

fn fault(place: Place, message: &str) -> Fault {
    Fault { place: Some(place), path: String::new(), message: message.to_owned() }
}
