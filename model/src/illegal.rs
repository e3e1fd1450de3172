//! Why a single value is not legal. The text always says what is legal instead: it is read by the person who has to
//! change the document.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// One illegal value. `Display` is the sentence that follows the field path in a [`crate::Violation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("is required: {expect}")]
    Missing { expect: &'static str },
    #[error("{} is not {expect}", quoted(.value))]
    Malformed { value: String, expect: &'static str },
    #[error("{value} is out of range: {low} to {high}")]
    Range { value: u64, low: u64, high: u64 },
    #[error("{value} is out of range: {low} to {high}")]
    DurationRange { value: String, low: &'static str, high: &'static str },
    #[error("{address} is {what}: an ordinary unicast address is needed")]
    NotUnicast { address: IpAddr, what: &'static str },
    #[error("{prefix} has host bits set: write {network}")]
    HostBits { prefix: String, network: String },
    #[error("{what} is not supported by this version: {remedy}")]
    Unsupported { what: &'static str, remedy: &'static str },
    #[error("{value} is not a value of {kind} that this version knows")]
    UnknownEnum { kind: &'static str, value: i32 },
    #[error("{count} {what}: at most {most} are allowed")]
    TooMany { what: &'static str, count: usize, most: usize },
    #[error("{value} is already in this list, at index {first}: remove one of the two")]
    Duplicate { value: String, first: usize },
    #[error("{address} lies outside {prefix}: announce a prefix that contains it, or leave this field out")]
    OutsidePrefix { address: IpAddr, prefix: IpNet },
    #[error(
        "pass needs host_address = loopback, since the blackhole route under the VIP would eat the traffic: \
             set host_address to loopback, or undefined to drop"
    )]
    PassWithoutAddress,
    #[error("{min_healthy} can never be reached with {backends} backends: lower it, or add backends")]
    MinHealthy { min_healthy: u32, backends: usize },
    #[error(
        "{backends} backends are more than max_backends, {max_backends}: remove some; max_backends is fixed when \
             a pool is created"
    )]
    MaxBackends { backends: usize, max_backends: u32 },
    #[error("{address} is not of the family of {other}: both must be IPv4 or both IPv6")]
    Family { address: IpAddr, other: String },
    #[error("{keepalive:?} must be below the hold time, {hold:?}: use a third of it")]
    Keepalive { keepalive: Duration, hold: Duration },
    #[error("{timeout:?} must not be longer than the interval, {interval:?}")]
    ProbeTimeout { timeout: Duration, interval: Duration },
    #[error("{value:?} is not whole seconds: BGP carries the hold time in seconds")]
    WholeSeconds { value: Duration },
}

/// `value` in quotes, cut so that a hostile value cannot blow up a message or a log line.
fn quoted(value: &str) -> String {
    const SHOWN: usize = 64;
    match value.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{:?}...", &value[..cut]),
        None => format!("{value:?}"),
    }
}
