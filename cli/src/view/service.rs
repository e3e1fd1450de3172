//! Services.

use std::time::SystemTime;

use proto::v1::{Service, ServiceSpec, ServiceStatus};

use super::{View, by_name, note, word, yes_no};
use crate::noun::Noun;

impl View for Service {
    fn header(wide: bool) -> Vec<&'static str> {
        let mut header =
            vec!["NAME", "VIP", "PROTO", "PORT", "POOL", "FORWARDING", "HEALTHY", "BACKENDS", "MESSAGE"];
        if wide {
            header.splice(8..8, ["HASHING", "PACKETS", "BYTES"]);
        }
        header
    }

    fn row(&self, wide: bool, now: SystemTime) -> Vec<String> {
        let (spec, status) = parts(self);
        let mut row = vec![
            self.name().to_owned(),
            spec.vip.clone(),
            word("Protocol", spec.protocol, ""),
            port(&spec),
            spec.pool.clone(),
            word("Forwarding", spec.forwarding, ""),
            yes_no(status.healthy),
            status.usable_backends.to_string(),
            note(self, now),
        ];
        if wide {
            row.splice(8..8, [hashing(&spec), status.packets.to_string(), status.bytes.to_string()]);
        }
        row
    }

    fn sort(list: &mut [Self]) {
        list.sort_by_cached_key(|service| {
            let spec = service.spec.clone().unwrap_or_default();
            (by_name(&spec.vip), spec.protocol, spec.port, service.name().to_owned())
        });
    }

    fn facts(&self, _: SystemTime) -> Vec<(&'static str, String)> {
        let (spec, status) = parts(self);
        vec![
            ("vip", spec.vip.clone()),
            ("protocol", word("Protocol", spec.protocol, "")),
            ("port", port(&spec)),
            ("pool", spec.pool.clone()),
            ("forwarding", word("Forwarding", spec.forwarding, "")),
            ("hashing", hashing(&spec)),
            ("healthy", yes_no(status.healthy)),
            ("backends", status.usable_backends.to_string()),
            ("traffic", format!("{} packets, {} bytes", status.packets, status.bytes)),
        ]
    }
}

fn parts(service: &Service) -> (ServiceSpec, ServiceStatus) {
    (service.spec.clone().unwrap_or_default(), service.status.clone().unwrap_or_default())
}

fn port(spec: &ServiceSpec) -> String {
    if spec.all_ports { "all".to_owned() } else { spec.port.to_string() }
}

fn hashing(spec: &ServiceSpec) -> String {
    word("Hashing", spec.hashing, "five_tuple")
}
