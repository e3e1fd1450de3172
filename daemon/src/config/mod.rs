//! The node's own facts, `/etc/vipcast/vipcast.toml`: what cannot come from the API because it differs between nodes or
//! must be there before the API is. Unknown keys are errors, every violation is reported at once with line and column,
//! and each value is legal by construction once [`Config::parse`] accepted it.

mod error;
mod parse;
mod raw;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, Located};

/// Where the configuration is looked for when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/vipcast/vipcast.toml";

/// The whole file, defaulted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub node: Node,
    /// The fleet's hash key; `None`: no service can be served.
    pub seed: Option<[u64; 2]>,
    pub bgp: Bgp,
    pub datapath: Datapath,
    pub routes: Routes,
    /// How long a removed VIP keeps serving after its withdraw.
    pub linger: Duration,
    /// The API's unix socket.
    pub socket: PathBuf,
    pub paths: Paths,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Default: the host name.
    pub name: String,
    /// What `node_selector`s match.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bgp {
    pub asn: u32,
    pub router_id: Ipv4Addr,
    /// Empty: dial only.
    pub listen: Vec<SocketAddr>,
    /// Restart time of graceful restart (RFC 4724), whole seconds; `None`: graceful restart is off.
    pub restart_time: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datapath {
    /// Ingress interfaces, sorted, at least one.
    pub interfaces: Vec<String>,
    /// Generic XDP may be used where the driver has no native one.
    pub allow_generic: bool,
    /// ICMP errors that the datapath may make, per second and VIP.
    pub icmp_errors_per_second: u32,
    pub limits: datapath::Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Table of the VIPs' blackhole routes.
    pub table: u32,
    /// Metric of the VIPs' blackhole routes.
    pub metric: u32,
    pub probe_interval: Duration,
    pub resync: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub state: PathBuf,
    pub run: PathBuf,
    pub pins: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter directive: `info`, `debug`, `info,bgpd=debug`.
    pub level: String,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &host_name())
            .map_err(|errors| ConfigError::Invalid { path: path.to_owned(), errors })
    }

    /// Checks a text. `host_name` is the default of `node.name`. Errors come in the order of the file.
    pub fn parse(text: &str, host_name: &str) -> Result<Self, Vec<Located>> {
        parse::parse(text, host_name)
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
