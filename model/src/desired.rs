//! The whole desired configuration and the rules between its resources.

use std::collections::BTreeMap;

use crate::{EndpointRoute, Name, Peer, Pool, Service, Vip};

/// Everything that users asked for, checked as a whole: references resolve, no two services take the same traffic, a
/// policy that needs another is refused without it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    pub vips: BTreeMap<Name, Vip>,
    pub pools: BTreeMap<Name, Pool>,
    pub services: BTreeMap<Name, Service>,
    pub peers: BTreeMap<Name, Peer>,
    pub routes: BTreeMap<Name, EndpointRoute>,
}
