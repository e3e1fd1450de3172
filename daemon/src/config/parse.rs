//! Text to [`Config`]. Tables are read one by one, so that one table's bad key does not hide another's; then every
//! value is checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Bgp, Config, Datapath, Located, Log, LogFormat, Node, Paths, Routes, raw};

/// Longest name of a network interface (IFNAMSIZ - 1).
const INTERFACE_NAME: usize = 15;
const TABLES: [&str; 9] = ["node", "fleet", "bgp", "datapath", "routes", "removal", "api", "paths", "log"];

pub(super) fn parse(text: &str, host_name: &str) -> Result<Config, Vec<Located>> {
    let mut reader = Reader { text, errors: Vec::new() };
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        reader.errors = syntax.iter().map(|e| reader.locate(e)).collect();
        return Err(reader.finish());
    }
    let mut root = root.into_inner();
    let node = reader.table::<raw::Node>(&mut root, "node");
    let fleet = reader.table::<raw::Fleet>(&mut root, "fleet");
    let bgp = reader.table::<raw::Bgp>(&mut root, "bgp");
    let datapath = reader.table::<raw::Datapath>(&mut root, "datapath");
    let routes = reader.table::<raw::Routes>(&mut root, "routes");
    let removal = reader.table::<raw::Removal>(&mut root, "removal");
    let api = reader.table::<raw::Api>(&mut root, "api");
    let paths = reader.table::<raw::Paths>(&mut root, "paths");
    let log = reader.table::<raw::Log>(&mut root, "log");
    for (name, _) in &root {
        let message = format!("unknown key `{}`, expected one of {}", name.get_ref(), TABLES.join(", "));
        reader.error(&name.span(), message);
    }

    let paths = reader.paths(paths.value);
    let socket = reader.path(api.value.socket, "api.socket", paths.run.join("api.sock"));
    let node = reader.node(node, host_name);
    let seed = fleet.value.seed.and_then(|seed| reader.seed(&seed));
    let bgp = reader.bgp(bgp);
    let datapath = reader.datapath(datapath);
    let routes = reader.routes(routes.value);
    let linger = reader.duration(removal.value.linger, "removal.linger", "30s", 0, 3600);
    let log = reader.log(log.value);
    if !reader.errors.is_empty() {
        return Err(reader.finish());
    }
    match (bgp, datapath) {
        (Some(bgp), Some(datapath)) => {
            Ok(Config { node, seed, bgp, datapath, routes, linger, socket, paths, log })
        }
        _ => Err(reader.finish()),
    }
}

/// One table, and whether it could be read: what is missing is not complained about twice.
struct Table<T> {
    value: T,
    span: Range<usize>,
    sound: bool,
}

struct Reader<'t> {
    text: &'t str,
    errors: Vec<Located>,
}

impl<'t> Reader<'t> {
    fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.errors.push(Located::at(self.text, span, message));
    }

    fn locate(&self, error: &toml::de::Error) -> Located {
        Located::at(self.text, &error.span().unwrap_or(0..0), error.message().replace('\n', ", "))
    }

    fn finish(mut self) -> Vec<Located> {
        self.errors.sort();
        self.errors
    }

    fn table<T: DeserializeOwned + Default>(&mut self, root: &mut DeTable<'t>, name: &str) -> Table<T> {
        let Some(value) = root.remove(name) else {
            return Table { value: T::default(), span: 0..0, sound: true };
        };
        let span = value.span();
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            self.error(&span, format!("`{name}` must be a table: write [{name}]"));
            return Table { value: T::default(), span, sound: false };
        }
        match T::deserialize(value.into_deserializer()) {
            Ok(value) => Table { value, span, sound: true },
            Err(error) => {
                let located = self.locate(&error);
                self.errors.push(located);
                Table { value: T::default(), span, sound: false }
            }
        }
    }

    fn node(&mut self, table: Table<raw::Node>, host_name: &str) -> Node {
        let (name, span) = match table.value.name {
            Some(name) => (name.get_ref().clone(), name.span()),
            None => (host_name.to_owned(), table.span),
        };
        if table.sound && (name.is_empty() || name.len() > 253 || name.contains(char::is_whitespace)) {
            self.error(&span, "node.name must be 1 to 253 characters without spaces");
        }
        Node { name, labels: table.value.labels }
    }

    /// 16 bytes as 32 hexadecimal digits; each half is one big-endian word.
    fn seed(&mut self, seed: &Spanned<String>) -> Option<[u64; 2]> {
        let text = seed.get_ref();
        let halves = text.is_ascii().then(|| text.split_at_checked(16)).flatten();
        let word = |half: &str| {
            let digits = half.len() == 16 && half.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(half, 16).ok()).flatten()
        };
        let parsed = halves.and_then(|(high, low)| Some([word(high)?, word(low)?]));
        if parsed.is_none() {
            self.error(
                &seed.span(),
                "fleet.seed must be 16 bytes as 32 hexadecimal digits, the same on every node",
            );
        }
        parsed
    }

    fn bgp(&mut self, table: Table<raw::Bgp>) -> Option<Bgp> {
        let Table { value: raw, span, sound } = table;
        if !sound {
            return None;
        }
        let asn = match &raw.asn {
            None => {
                self.error(&span, "bgp.asn is missing: our autonomous system number, the same on every node");
                0
            }
            Some(asn) if *asn.get_ref() == 0 || *asn.get_ref() == u32::MAX => {
                self.error(&asn.span(), "bgp.asn must be 1 to 4294967294");
                0
            }
            Some(asn) => *asn.get_ref(),
        };
        let router_id = match &raw.router_id {
            None => {
                self.error(&span, "bgp.router_id is missing: an IPv4 address that is unique in the AS");
                Ipv4Addr::UNSPECIFIED
            }
            Some(id) => match id.get_ref().parse::<Ipv4Addr>() {
                Ok(parsed) if !parsed.is_unspecified() => parsed,
                _ => {
                    self.error(&id.span(), "bgp.router_id must be an IPv4 address other than 0.0.0.0");
                    Ipv4Addr::UNSPECIFIED
                }
            },
        };
        let listen = match raw.listen {
            None => vec![
                SocketAddr::from((IpAddr::from([0; 4]), 179)),
                SocketAddr::from((IpAddr::from([0; 16]), 179)),
            ],
            Some(listen) => listen.iter().filter_map(|address| self.listener(address)).collect(),
        };
        let restart = self.duration(raw.restart_time, "bgp.restart_time", "15s", 1, 4095);
        if restart.subsec_nanos() != 0 {
            self.error(&span, "bgp.restart_time must be whole seconds");
        }
        let restart_time = raw.graceful_restart.unwrap_or(true).then_some(restart);
        Some(Bgp { asn, router_id, listen, restart_time })
    }

    fn listener(&mut self, address: &Spanned<String>) -> Option<SocketAddr> {
        let parsed = address.get_ref().parse().ok();
        if parsed.is_none() {
            self.error(&address.span(), "bgp.listen takes ADDRESS:PORT, IPv6 in brackets: \"[::]:179\"");
        }
        parsed
    }

    fn datapath(&mut self, table: Table<raw::Datapath>) -> Option<Datapath> {
        let Table { value: raw, span, sound } = table;
        if !sound {
            return None;
        }
        let mut interfaces = Vec::new();
        match raw.interfaces {
            Some(list) if !list.get_ref().is_empty() => {
                for interface in list.into_inner() {
                    let name = interface.get_ref();
                    if name.is_empty()
                        || name.len() > INTERFACE_NAME
                        || name.contains(|c: char| c == '/' || c.is_whitespace())
                    {
                        self.error(
                            &interface.span(),
                            "an interface name has 1 to 15 characters, no `/` or space",
                        );
                    } else if interfaces.contains(name) {
                        self.error(&interface.span(), format!("interface {name} is there twice"));
                    }
                    interfaces.push(interface.into_inner());
                }
            }
            Some(list) => self.error(&list.span(), MISSING_INTERFACES),
            None => self.error(&span, MISSING_INTERFACES),
        }
        interfaces.sort();
        let default = datapath::Limits::default();
        let limits = datapath::Limits {
            vips: self.limit(raw.limits.vips, "vips", default.vips, 1_000_000),
            services: self.limit(raw.limits.services, "services", default.services, 1_000_000),
            backends: self.limit(raw.limits.backends, "backends", default.backends, 65_535),
            ring_slots: self.limit(raw.limits.ring_slots, "ring_slots", default.ring_slots, 1 << 28),
        };
        Some(Datapath {
            interfaces,
            allow_generic: raw.allow_generic,
            icmp_errors_per_second: raw.icmp_errors_per_second.unwrap_or(100),
            limits,
        })
    }

    fn limit(&mut self, value: Option<Spanned<u32>>, name: &str, default: u32, most: u32) -> u32 {
        let Some(value) = value else { return default };
        if !(1..=most).contains(value.get_ref()) {
            self.error(&value.span(), format!("datapath.limits.{name} must be 1 to {most}"));
        }
        value.into_inner()
    }

    fn routes(&mut self, raw: raw::Routes) -> Routes {
        let table = raw.table.map_or(254, |table| {
            if matches!(table.get_ref(), 0 | 255) {
                self.error(&table.span(), "routes.table must not be 0 or 255 (the kernel's own)");
            }
            table.into_inner()
        });
        let metric = raw.metric.map_or(1024, |metric| {
            if *metric.get_ref() == 0 {
                self.error(
                    &metric.span(),
                    "routes.metric must be at least 1: 0 means another value for IPv6",
                );
            }
            metric.into_inner()
        });
        Routes {
            table,
            metric,
            probe_interval: self.duration(raw.probe_interval, "routes.probe_interval", "5s", 1, 3600),
            resync: self.duration(raw.resync, "routes.resync", "30s", 1, 3600),
        }
    }

    fn paths(&mut self, raw: raw::Paths) -> Paths {
        Paths {
            state: self.path(raw.state, "paths.state", "/var/lib/vipcast".into()),
            run: self.path(raw.run, "paths.run", "/run/vipcast".into()),
            pins: self.path(raw.pins, "paths.pins", "/sys/fs/bpf/vipcast".into()),
        }
    }

    fn path(&mut self, value: Option<Spanned<PathBuf>>, key: &str, default: PathBuf) -> PathBuf {
        let Some(value) = value else { return default };
        if !value.get_ref().is_absolute() {
            self.error(&value.span(), format!("{key} must be an absolute path"));
        }
        value.into_inner()
    }

    /// A duration like `500ms` or `1m 30s` between `least` and `most` seconds.
    fn duration(
        &mut self,
        value: Option<Spanned<String>>,
        key: &str,
        default: &str,
        least: u64,
        most: u64,
    ) -> Duration {
        let (text, span) = match value {
            Some(value) => (value.get_ref().clone(), value.span()),
            None => (default.to_owned(), 0..0),
        };
        match humantime::parse_duration(&text) {
            Ok(d) if (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&d) => d,
            Ok(_) => {
                self.error(&span, format!("{key} must be {least}s to {most}s"));
                Duration::ZERO
            }
            Err(error) => {
                self.error(&span, format!("{key} is not a duration like \"500ms\" or \"30s\": {error}"));
                Duration::ZERO
            }
        }
    }

    fn log(&mut self, raw: raw::Log) -> Log {
        let format = match raw.format.as_ref().map(|f| f.get_ref().as_str()) {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => {
                let span = raw.format.as_ref().map_or(0..0, Spanned::span);
                self.error(&span, "log.format must be \"text\" or \"json\"");
                LogFormat::Text
            }
        };
        let level = raw.level.map_or_else(
            || "info".to_owned(),
            |level| {
                if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(level.get_ref()) {
                    self.error(&level.span(), format!("log.level: {error}"));
                }
                level.into_inner()
            },
        );
        Log { format, level }
    }
}

const MISSING_INTERFACES: &str =
    "datapath.interfaces is missing: the interfaces that traffic to the VIPs comes in on, at least one";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
