//! Pools and their backends.

use std::time::SystemTime;

use proto::v1::health_check::Probe;
use proto::v1::{Backend, BackendStatus, Pool, PoolSpec, PoolStatus};

use super::{View, by_address, by_name, note, word, yes_no};
use crate::noun::Noun;
use crate::table;

impl View for Pool {
    fn header(wide: bool) -> Vec<&'static str> {
        let mut header = vec!["NAME", "USABLE", "MIN", "CHECK", "MESSAGE"];
        if wide {
            header.splice(4..4, ["MAX", "SLOTS", "RING"]);
        }
        header
    }

    fn row(&self, wide: bool, now: SystemTime) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut row = vec![
            self.name().to_owned(),
            usable(self),
            spec.min_healthy().max(1).to_string(),
            check(&spec),
            note(self, now),
        ];
        if wide {
            let max = if spec.max_backends == 0 { 128 } else { spec.max_backends };
            row.splice(4..4, [max.to_string(), status.ring_slots.to_string(), short(&status.ring_digest)]);
        }
        row
    }

    fn sort(list: &mut [Self]) {
        list.sort_by_cached_key(|pool| by_name(pool.name()));
    }

    fn facts(&self, _: SystemTime) -> Vec<(&'static str, String)> {
        let (spec, status) = parts(self);
        vec![
            ("usable", usable(self)),
            ("min healthy", spec.min_healthy().max(1).to_string()),
            ("check", check(&spec)),
            ("ring", format!("{} slots, digest {}", status.ring_slots, status.ring_digest)),
        ]
    }

    fn tables(&self) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut backends = spec.backends;
        backends.sort_by_cached_key(|backend| by_address(&backend.address));
        let rows = backends.iter().map(|backend| {
            let of = status.backends.iter().find(|of| of.address == backend.address);
            backend_row(backend, &of.cloned().unwrap_or_default())
        });
        let header = [
            "BACKEND",
            "STATE",
            "WEIGHT",
            "HEALTH",
            "RESOLUTION",
            "IN RING",
            "SLOTS",
            "PACKETS",
            "BYTES",
            "MESSAGE",
        ];
        vec![table::render(&header, rows.collect())]
    }
}

/// Why backends that should serve do not: "57.57.57.1: connection refused".
pub(crate) fn missing(pool: &Pool) -> Vec<String> {
    let (spec, status) = parts(pool);
    let ready = spec.backends.iter().filter(|backend| backend.admin_state <= 1);
    let mut missing: Vec<&BackendStatus> = ready
        .filter_map(|backend| status.backends.iter().find(|of| of.address == backend.address))
        .filter(|of| !of.in_ring)
        .collect();
    missing.sort_by_cached_key(|of| by_address(&of.address));
    missing.iter().map(|of| format!("{}: {}", of.address, reason(of))).collect()
}

/// What a person needs of a backend that is out: the message, or whichever of health and resolution is wrong.
fn reason(of: &BackendStatus) -> String {
    match (of.message.as_str(), of.resolution.as_str()) {
        ("", "" | "resolved") => {
            format!("health {}", if of.health.is_empty() { "unknown" } else { &of.health })
        }
        ("", resolution) => resolution.to_owned(),
        (message, _) => message.to_owned(),
    }
}

fn backend_row(backend: &Backend, of: &BackendStatus) -> Vec<String> {
    vec![
        backend.address.clone(),
        word("AdminState", backend.admin_state, "ready"),
        backend.weight.unwrap_or(1).to_string(),
        of.health.clone(),
        of.resolution.clone(),
        yes_no(of.in_ring),
        of.slots.to_string(),
        of.packets.to_string(),
        of.bytes.to_string(),
        of.message.clone(),
    ]
}

/// "2/3".
pub(crate) fn usable(pool: &Pool) -> String {
    let (spec, status) = parts(pool);
    format!("{}/{}", status.usable, spec.backends.len())
}

fn parts(pool: &Pool) -> (PoolSpec, PoolStatus) {
    (pool.spec.clone().unwrap_or_default(), pool.status.clone().unwrap_or_default())
}

fn check(spec: &PoolSpec) -> String {
    match spec.health_check.as_ref().and_then(|check| check.probe.as_ref()) {
        Some(Probe::Tcp(tcp)) => format!("tcp:{}", tcp.port),
        Some(Probe::Http(http)) => format!("http:{}{}", http.port, http.path),
        None => "none".to_owned(),
    }
}

/// The beginning of a digest: enough to compare by eye.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
