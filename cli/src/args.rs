//! The command line: nouns, verbs and what they take.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::document::words;

const EXIT_CODES: &str =
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 invalid, 5 unreachable, 6 degraded";

/// In the long help of `apply`; a test keeps it a legal document.
pub(crate) const EXAMPLE: &str = "\
Example:
  vips:
    - name: web
      spec: {address: 20.20.20.1}
  pools:
    - name: servers
      spec:
        backends: [{address: 56.56.56.1}, {address: 56.56.56.2, weight: 2}]
        health_check: {tcp: {port: 8080}, interval: 2s}
  services:
    - name: web
      spec: {vip: web, protocol: tcp, port: 8080, pool: servers, forwarding: ipip}
  peers:
    - name: r1
      spec: {address: 11.11.11.254, remote_asn: 65001}
  routes:
    - name: servers
      spec: {prefix: 56.56.56.0/24, next_hops: [{via: 31.31.31.1}]}

Field names are those of vipcast.v1.Config or their lowerCamelCase; `name: web` is short for
`meta: {name: web}`; enums go by short names (drop, ipip, tcp), durations as 500ms, 3s, 1m30s.";

/// Looks after vipcast nodes: VIPs, pools, services, BGP peers and routes.
#[derive(Debug, Parser)]
#[command(name = "vipcast", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// As [`Parser::parse_from`], and `--node` may stand before and after the verb: clap alone would drop those before,
    /// and a node that is silently left out is a node that differs.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Self {
        Self::parse_from(nodes_first(args))
    }
}

/// The same arguments with every `--node TARGET` right behind the program's name.
fn nodes_first(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut first: Vec<OsString> = args.next().into_iter().collect();
    let mut rest = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            rest.extend(args.by_ref());
        } else if arg == "--node" {
            first.push(arg);
            first.extend(args.next());
        } else if arg.to_string_lossy().starts_with("--node=") {
            first.push(arg);
        } else {
            rest.push(arg);
        }
    }
    first.extend(rest);
    first
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Node to talk to: unix:///path or http://host:port; may be given several times.
    #[arg(
        long = "node",
        value_name = "TARGET",
        env = "VIPCAST_NODE",
        global = true,
        value_delimiter = ',',
        default_value = "unix:///run/vipcast/api.sock"
    )]
    pub(crate) nodes: Vec<String>,
    /// How results are written. json is the protobuf JSON mapping, yaml a document that apply takes.
    #[arg(short, long, value_name = "FORMAT", global = true, default_value = "table")]
    pub(crate) output: Format,
    /// Longest wait for one answer of a node.
    #[arg(long, value_name = "DURATION", global = true, default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// A table with more columns.
    Wide,
    Json,
    Yaml,
    /// Names only, one a line.
    Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring nodes to what a document says.
    #[command(after_long_help = EXAMPLE)]
    Apply(Apply),
    /// Show what apply would change; exit code 1 when something would.
    Diff(Files),
    /// How the node is, and what is wrong with it; exit code 6 when something is.
    Status,
    /// The whole stored configuration as a document.
    Export,
    /// Virtual IPs.
    #[command(subcommand)]
    Vip(Verb),
    /// Pools of real servers.
    #[command(subcommand)]
    Pool(Verb),
    /// Services: a VIP's port and the pool behind it.
    #[command(subcommand)]
    Service(Verb),
    /// BGP neighbours.
    #[command(subcommand)]
    Peer(Verb),
    /// Routes to the real servers.
    #[command(subcommand)]
    Route(Verb),
    /// What the kernel's maps hold, whatever was asked for.
    #[command(subcommand)]
    Datapath(Datapath),
    /// Follow changes of one kind: first what is there, then every change. One node only.
    Watch { kind: Kind },
    /// Completions for a shell, on standard output.
    Completions { shell: clap_complete::Shell },
    /// Manual pages, one per command, into a directory.
    Man { directory: std::path::PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Document, YAML or JSON; - is standard input. Several are taken as one.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,
    /// Delete what is stored but not in the document.
    #[arg(long)]
    pub(crate) prune: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Validate on every node and show what would change, without changing it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until every resource of the document is in effect; exit code 6 when the time is over.
    #[arg(
        long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "60s", value_parser = duration,
        require_equals = false
    )]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All of them.
    List,
    /// One, with its status.
    Show { name: String },
    /// Delete one.
    Delete {
        name: String,
        /// Only check whether it could be deleted.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Datapath {
    Vips,
    Services,
    Backends,
    Pools,
    Interfaces,
    /// Every counter that is not zero, by interface and VIP.
    Drops,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Vip,
    Pool,
    Service,
    Peer,
    Route,
    Node,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (seconds, nanos) = words::duration(text)?;
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
    match parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("{text:?} must be more than zero")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn nodes(args: &[&str]) -> Vec<String> {
        Cli::from_args(args.iter().map(OsString::from)).global.nodes
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nodes_add_up_wherever_they_stand() {
        assert_eq!(nodes(&["vipcast", "--node", "a", "status", "--node=b", "--node", "c"]), ["a", "b", "c"]);
        assert_eq!(nodes(&["vipcast", "--node", "a,b", "status"]), ["a", "b"]);
    }
}
