//! Messages as JSON and as documents, by their descriptors.
//!
//! JSON is the standard protobuf mapping, so that other tools' types fit: lowerCamelCase names, 64-bit integers as
//! strings, enums by full name, durations as "3s". Fields that have no presence are written also when they hold their
//! default: a script may rely on `.status.announced`. Documents (YAML) are what `apply -f` reads: names as in the .proto
//! files, defaults left out.

use std::sync::OnceLock;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Serialize, Serializer};

/// Descriptor of a message of ours.
///
/// # Panics
/// When `full_name` is not in the compiled-in descriptors: a misspelt constant in this crate.
pub(crate) fn descriptor(full_name: &str) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    #[allow(clippy::expect_used)]
    POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the build script encoded them"))
        .get_message_by_name(full_name)
        .unwrap_or_else(|| panic!("{full_name} is not in vipcast.v1"))
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Json,
    Document,
}

impl Style {
    fn options(self) -> SerializeOptions {
        match self {
            Self::Json => SerializeOptions::new().skip_default_fields(false),
            Self::Document => {
                SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false)
            }
        }
    }
}

/// A message that serde can write.
pub(crate) struct Shown {
    message: DynamicMessage,
    style: Style,
}

impl Shown {
    pub(crate) fn new(message: &impl Message, full_name: &str, style: Style) -> Self {
        let mut dynamic = DynamicMessage::new(descriptor(full_name));
        // The bytes come from the type generated from the same descriptors.
        let merged = dynamic.merge(message.encode_to_vec().as_slice());
        debug_assert!(merged.is_ok(), "{full_name}");
        Self { message: dynamic, style }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.message.serialize_with_options(serializer, &self.style.options())
    }
}
