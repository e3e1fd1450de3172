//! What a user says to vipcast, as values that are legal by construction. Parsing collects every violation, not the
//! first. No I/O, no clock, nothing generated.

pub mod desired;
pub mod resources;
pub mod violation;

pub use desired::Desired;
pub use resources::{
    AdminState, AnnouncePolicy, Backend, EchoPolicy, EndpointRoute, Forwarding, Hashing, HealthCheck,
    HostAddress, Labels, Name, NextHop, Peer, Pool, Probe, Protocol, Require, Service, ServicePort,
    UndefinedPolicy, Vip,
};
pub use violation::{Violation, Violations};
