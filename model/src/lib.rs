//! What a user says to vipcast, as values that are legal by construction. Parsing collects every violation, not the
//! first. No I/O, no clock, nothing generated.
//!
//! A value is made in three steps: [`scalar`] turns texts and numbers into legal values, [`own`] holds the rules inside
//! one resource, [`Draft::finish`] those between resources. What travels on the wire is converted by its owner.

mod between;
pub mod desired;
pub mod illegal;
pub mod own;
pub mod resources;
pub mod scalar;
pub mod violation;

pub use desired::{Desired, Draft, Entry};
pub use illegal::Illegal;
pub use resources::{
    AdminState, AnnouncePolicy, Backend, EchoPolicy, EndpointRoute, Forwarding, Hashing, HealthCheck,
    HostAddress, Labels, Name, NextHop, Peer, Pool, Probe, Protocol, Require, Service, ServicePort,
    UndefinedPolicy, Vip,
};
pub use violation::{Collector, Violation, Violations};
