//! The file as it is written, before inheritance.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Values whose presence alone matters to us.
pub(super) type Any = serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) topology: Body,
    /// `prefix`, `mgmt`, …: of the container runtime, without meaning for namespaces.
    #[serde(flatten)]
    pub(super) _runtime: BTreeMap<String, Any>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    #[serde(default)]
    pub(super) defaults: Properties,
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, Properties>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Properties>,
    pub(super) nodes: BTreeMap<String, Option<Properties>>,
    #[serde(default)]
    pub(super) links: Vec<FileLink>,
}

/// What defaults, a kind, a group or a node may say.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Properties {
    pub(super) kind: Option<String>,
    pub(super) group: Option<String>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) binds: Vec<String>,
    #[serde(default)]
    pub(super) exec: Vec<String>,
    #[serde(flatten)]
    pub(super) other: BTreeMap<String, Any>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Scalar {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct FileLink {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) endpoints: Option<Vec<FileEnd>>,
    pub(super) mtu: Option<u32>,
    #[serde(flatten)]
    pub(super) other: BTreeMap<String, Any>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum FileEnd {
    /// `node:interface`.
    Brief(String),
    Long {
        node: String,
        interface: String,
    },
}
