//! What must not leave the node: keys are write-only. A placeholder stands for a key that is set, and is refused as a
//! key, so that a document that was read and sent back cannot replace the key silently.

use proto::v1;

use crate::control::Resource;

/// Shown in place of a key that is set.
pub const HIDDEN: &str = model::scalar::HIDDEN;

/// `peer` without its key.
pub fn peer(mut peer: v1::Peer) -> v1::Peer {
    if let Some(spec) = &mut peer.spec
        && !spec.md5_key.is_empty()
    {
        HIDDEN.clone_into(&mut spec.md5_key);
    }
    peer
}

/// `resource` without keys.
pub fn resource(resource: Resource) -> Resource {
    match resource {
        Resource::Peer(it) => Resource::Peer(peer(it)),
        other => other,
    }
}

/// `config` without keys.
pub fn config(mut config: v1::Config) -> v1::Config {
    config.peers = config.peers.into_iter().map(peer).collect();
    config
}
