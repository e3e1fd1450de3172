//! `v1::Pool`: backends and their health check.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use model::{AdminState, Backend, Collector, HealthCheck, Illegal, Pool, Probe, Violations, own, scalar};
use proto::v1;

use super::fields::{bounded, duration, known, meta_labels, optional, spec};

/// Default of `max_backends`.
const DEFAULT_MAX_BACKENDS: u32 = 128;
/// Most `expect_status` entries.
const MOST_STATUSES: usize = 16;
/// Most bytes of a reply that a probe looks for.
const LONGEST_BODY: usize = 1024;

pub(super) fn pool(resource: &v1::Pool) -> Result<Pool, Violations> {
    let mut violations = Collector::new();
    let labels = meta_labels(resource.meta.as_ref(), &mut violations);
    let parts = spec(resource.spec.as_ref(), &mut violations).map(|spec| {
        let mut inner = Collector::new();
        let pool = from_spec(spec, &mut inner);
        violations.nest("spec", inner.finish(pool))
    });
    let pool = labels.zip(parts.flatten()).map(|(labels, pool)| Pool { labels, ..pool });
    violations.finish(pool)
}

fn from_spec(spec: &v1::PoolSpec, violations: &mut Collector) -> Option<Pool> {
    let count = spec.backends.len();
    // More than any pool may have are not looked at one by one.
    bounded("backends", "backends", &spec.backends, own::MOST_BACKENDS as usize, violations)?;
    let max_backends = match spec.max_backends {
        0 => Some(DEFAULT_MAX_BACKENDS),
        given => violations.take("max_backends", scalar::number(given, 1, own::MOST_BACKENDS)),
    };
    if let Some(max_backends) = max_backends {
        violations.take("backends", own::max_backends(max_backends, count));
    }
    let backends = backends(&spec.backends, violations);
    let health_check = match &spec.health_check {
        Some(check) => violations.nest("health_check", health_check(check)).map(Some),
        None => Some(None),
    };
    let min_healthy =
        violations.take("min_healthy", scalar::number(spec.min_healthy.unwrap_or(1), 1, own::MOST_BACKENDS));
    if let Some(min_healthy) = min_healthy {
        violations.take("min_healthy", own::min_healthy(min_healthy, count));
    }
    Some(Pool {
        labels: Default::default(),
        backends: backends?,
        health_check: health_check?,
        min_healthy: min_healthy?,
        max_backends: max_backends?,
    })
}

fn backends(list: &[v1::Backend], violations: &mut Collector) -> Option<BTreeMap<IpAddr, Backend>> {
    let mut parsed: Vec<Option<(IpAddr, Backend)>> = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        parsed.push(violations.nest(&format!("backends[{i}]"), backend(entry)));
    }
    let addresses =
        list.iter().enumerate().filter_map(|(i, entry)| Some((i, entry.address.parse::<IpAddr>().ok()?)));
    for (i, error) in own::distinct(addresses) {
        violations.push(format!("backends[{i}].address"), error);
    }
    parsed.into_iter().collect()
}

fn backend(entry: &v1::Backend) -> Result<(IpAddr, Backend), Violations> {
    use v1::AdminState as P;
    let mut violations = Collector::new();
    let address = violations.take("address", scalar::routable(&entry.address));
    let weight = violations.take("weight", scalar::weight(entry.weight.unwrap_or(1)));
    let admin_state =
        known("admin_state", "AdminState", entry.admin_state, &mut violations).map(|state| match state {
            P::Unspecified | P::Ready => AdminState::Ready,
            P::Drain => AdminState::Drain,
            P::Disabled => AdminState::Disabled,
        });
    // The least that a link must carry: RFC 791 (576 as hosts take it), RFC 8200 section 5.
    let least = if address.is_some_and(|a| a.is_ipv6()) { 1280 } else { 576 };
    let tunnel_mtu = match entry.tunnel_mtu {
        Some(mtu) => violations.take("tunnel_mtu", scalar::number(mtu, least, 65_535)).map(Some),
        None => Some(None),
    };
    let whole = || {
        let backend = Backend { weight: weight?, admin_state: admin_state?, tunnel_mtu: tunnel_mtu? };
        Some((address?, backend))
    };
    let backend = whole();
    violations.finish(backend)
}

fn health_check(check: &v1::HealthCheck) -> Result<HealthCheck, Violations> {
    const LOW: (Duration, &str) = (Duration::from_millis(50), "50ms");
    const HIGH: (Duration, &str) = (Duration::from_secs(3600), "1h");
    let mut violations = Collector::new();
    let probe = probe(check.probe.as_ref(), &mut violations);
    let interval = duration("interval", check.interval.as_ref(), &mut violations).and_then(|interval| {
        let interval = interval.unwrap_or(Duration::from_secs(2));
        violations.take("interval", scalar::within(interval, LOW, HIGH))
    });
    let timeout = duration("timeout", check.timeout.as_ref(), &mut violations).and_then(|timeout| {
        let default = own::default_timeout(interval.unwrap_or(HIGH.0));
        violations.take(
            "timeout",
            scalar::within(timeout.unwrap_or(default), (Duration::from_millis(10), "10ms"), HIGH),
        )
    });
    if let Some((timeout, interval)) = timeout.zip(interval) {
        violations.take("timeout", own::probe_timeout(timeout, interval));
    }
    let rise = violations.take("rise", scalar::number(check.rise.unwrap_or(2), 1, 100));
    let fall = violations.take("fall", scalar::number(check.fall.unwrap_or(3), 1, 100));
    let whole = || {
        Some(HealthCheck { probe: probe?, interval: interval?, timeout: timeout?, rise: rise?, fall: fall? })
    };
    let check = whole();
    violations.finish(check)
}

fn probe(probe: Option<&v1::health_check::Probe>, violations: &mut Collector) -> Option<Probe> {
    use v1::health_check::Probe as P;
    match probe {
        Some(P::Tcp(tcp)) => {
            let port = violations.take("tcp.port", scalar::port(tcp.port))?;
            Some(Probe::Tcp { port: port.get() })
        }
        Some(P::Http(http)) => violations.nest("http", http_probe(http)),
        None => {
            violations.push(
                "",
                Illegal::Missing {
                    expect: "a probe, tcp or http; without health checks leave health_check out",
                },
            );
            None
        }
    }
}

fn http_probe(http: &v1::HttpProbe) -> Result<Probe, Violations> {
    let mut violations = Collector::new();
    let port = violations.take("port", scalar::port(http.port));
    let path = optional("path", &http.path, scalar::http_path, &mut violations);
    let host = optional("host", &http.host, scalar::http_host, &mut violations);
    let expect_status = statuses(&http.expect_status, &mut violations);
    let body = (http.expect_body.len() <= LONGEST_BODY).then_some(()).ok_or(Illegal::TooMany {
        what: "bytes",
        count: http.expect_body.len(),
        most: LONGEST_BODY,
    });
    let body = violations.take("expect_body", body);
    let whole = || {
        body?;
        Some(Probe::Http {
            port: port?.get(),
            path: path?.unwrap_or_else(|| "/".to_owned()),
            host: host?,
            expect_status: expect_status?,
            expect_body: (!http.expect_body.is_empty()).then(|| http.expect_body.clone()),
        })
    };
    let probe = whole();
    violations.finish(probe)
}

fn statuses(texts: &[String], violations: &mut Collector) -> Option<Vec<(u16, u16)>> {
    if texts.is_empty() {
        return Some(vec![(200, 399)]);
    }
    bounded("expect_status", "ranges", texts, MOST_STATUSES, violations)?;
    let parsed: Vec<Option<(u16, u16)>> = texts
        .iter()
        .enumerate()
        .map(|(i, text)| violations.take(&format!("expect_status[{i}]"), scalar::status_range(text)))
        .collect();
    parsed.into_iter().collect()
}
