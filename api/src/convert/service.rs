//! `v1::Service`.

use model::{Collector, Forwarding, Hashing, Illegal, Protocol, Service, ServicePort, Violations, scalar};
use proto::v1;

use super::fields::{known, meta_labels, spec};

pub(super) fn service(resource: &v1::Service) -> Result<Service, Violations> {
    let mut violations = Collector::new();
    let labels = meta_labels(resource.meta.as_ref(), &mut violations);
    let parts = spec(resource.spec.as_ref(), &mut violations).map(|spec| {
        let mut inner = Collector::new();
        let service = from_spec(spec, &mut inner);
        violations.nest("spec", inner.finish(service))
    });
    let service = labels.zip(parts.flatten()).map(|(labels, service)| Service { labels, ..service });
    violations.finish(service)
}

fn from_spec(spec: &v1::ServiceSpec, violations: &mut Collector) -> Option<Service> {
    let vip = violations.take("vip", scalar::name(&spec.vip));
    let pool = violations.take("pool", scalar::name(&spec.pool));
    let protocol = protocol(spec.protocol, violations);
    let port = port(spec, violations);
    let forwarding = forwarding(spec.forwarding, violations);
    let hashing = hashing(spec.hashing, violations);
    Some(Service {
        labels: Default::default(),
        vip: vip?,
        protocol: protocol?,
        port: port?,
        pool: pool?,
        forwarding: forwarding?,
        hashing: hashing?,
    })
}

fn port(spec: &v1::ServiceSpec, violations: &mut Collector) -> Option<ServicePort> {
    match (spec.port, spec.all_ports) {
        (0, true) => Some(ServicePort::All),
        (0, false) => {
            violations.push("port", Illegal::Missing { expect: "a port, 1 to 65535, or all_ports = true" });
            None
        }
        (_, true) => {
            violations.push("all_ports", "cannot stand beside a port: leave one of the two out");
            None
        }
        (port, false) => violations.take("port", scalar::port(port)).map(ServicePort::Exact),
    }
}

fn protocol(value: i32, violations: &mut Collector) -> Option<Protocol> {
    use v1::Protocol as P;
    match known("protocol", "Protocol", value, violations)? {
        P::Tcp => Some(Protocol::Tcp),
        P::Udp => Some(Protocol::Udp),
        P::Unspecified => {
            violations.push("protocol", Illegal::Missing { expect: "tcp or udp" });
            None
        }
    }
}

fn forwarding(value: i32, violations: &mut Collector) -> Option<Forwarding> {
    use v1::Forwarding as P;
    match known("forwarding", "Forwarding", value, violations)? {
        P::L2 => Some(Forwarding::L2),
        P::Ipip => Some(Forwarding::IpIp),
        P::Unspecified => {
            let expect = "l2 (backends on a shared segment) or ipip (backends behind routers)";
            violations.push("forwarding", Illegal::Missing { expect });
            None
        }
    }
}

fn hashing(value: i32, violations: &mut Collector) -> Option<Hashing> {
    use v1::Hashing as P;
    Some(match known("hashing", "Hashing", value, violations)? {
        P::Unspecified | P::FiveTuple => Hashing::FiveTuple,
        P::SourceIp => Hashing::SourceIp,
    })
}
