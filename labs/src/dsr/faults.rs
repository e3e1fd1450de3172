//! Planted faults: what each changes in the lab, by knobs that a real network has, and the checks that it must turn
//! false. A check that no fault can turn false is not a check.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::control;
use super::facts::{HOST4, HOST6, NODES, SERVERS, VIP4, VIP6, VIPS};
use super::maps::Maps;
use super::power::DAEMON;
use crate::host::{Edit, Node};
use crate::suite::{Bench, Fault, Moment};

pub(super) const ALL: &[Fault] = &[
    Fault {
        name: "no-maximum-paths",
        about: "r1 uses one path although it learns three",
        edits: &[Edit {
            file: "r1/bgpd.conf",
            find: "  maximum-paths 8\n exit-address-family\n !\n address-family ipv6 unicast",
            replace: "  maximum-paths 1\n exit-address-family\n !\n address-family ipv6 unicast",
        }],
        plant: None,
        falsifies: &["ecmp"],
        spares: &[],
    },
    Fault {
        name: "other-ring",
        about: "llb2 has another fleet seed",
        edits: &[Edit { file: "llb2/vipcast.toml", find: "\nseed = \"76", replace: "\nseed = \"77" }],
        plant: None,
        falsifies: &["spread", "same-choice", "udp", "dual-stack", "node-death"],
        spares: &["ecmp"],
    },
    Fault {
        name: "return-via-node",
        about: "the servers' way back leads through a node",
        edits: &[],
        plant: Some(return_via_node),
        falsifies: &["dsr"],
        spares: &["ecmp"],
    },
    Fault {
        name: "mtu-unhandled",
        about: "the datapath makes no ICMP errors",
        edits: &[no_icmp("llb1/vipcast.toml"), no_icmp("llb2/vipcast.toml"), no_icmp("llb3/vipcast.toml")],
        plant: None,
        falsifies: &["bulk"],
        spares: &["ping"],
    },
    Fault {
        name: "echo-off",
        about: "the VIPs do not answer echo",
        edits: &[
            Edit {
                file: DOCUMENT,
                find: "address: 20.20.20.1\n      echo: healthy",
                replace: "address: 20.20.20.1\n      echo: off",
            },
            Edit {
                file: DOCUMENT,
                find: "address: 2001:db8:20::1\n      echo: healthy",
                replace: "address: 2001:db8:20::1\n      echo: off",
            },
        ],
        plant: None,
        falsifies: &["ping"],
        spares: &["undefined"],
    },
    Fault {
        name: "no-blackhole",
        about: "undefined traffic reaches a kernel that forwards, with no blackhole route under the VIP",
        edits: &[],
        plant: Some(no_blackhole),
        falsifies: &["undefined"],
        spares: &[],
    },
    Fault {
        name: "redirects-on",
        about: "as no-blackhole, back out of the same interface with send_redirects=1",
        edits: &[],
        plant: Some(redirects_on),
        falsifies: &["undefined"],
        spares: &[],
    },
    Fault {
        name: "slow-health",
        about: "servers are probed once a minute",
        edits: &[],
        plant: Some(slow_health),
        falsifies: &["server-failure"],
        spares: &["ecmp"],
    },
    Fault {
        name: "ignore-health",
        about: "the pools have no health check",
        edits: &[
            Edit {
                file: DOCUMENT,
                find: "      health_check:\n        http: { port: 8081, path: /health }\n        interval: 250ms\n        \
                       timeout: 200ms\n        rise: 1\n        fall: 2\n  # The same servers",
                replace: "  # The same servers",
            },
            Edit {
                file: DOCUMENT,
                find: "      health_check:\n        http: { port: 8081, path: /health }\n        interval: 250ms\n        \
                       timeout: 200ms\n        rise: 1\n        fall: 2\n\nservices:",
                replace: "\nservices:",
            },
        ],
        plant: None,
        falsifies: &["withdraw"],
        spares: &["ecmp"],
    },
    Fault {
        name: "graceful-restart-off",
        about: "the nodes do not offer graceful restart",
        edits: &[
            no_graceful_restart("llb1/vipcast.toml"),
            no_graceful_restart("llb2/vipcast.toml"),
            no_graceful_restart("llb3/vipcast.toml"),
        ],
        plant: None,
        falsifies: &["daemon-restart"],
        spares: &[],
    },
    Fault {
        name: "skip-pin",
        about: "the datapath's pins are gone when the daemon starts again",
        edits: &[],
        plant: Some(skip_pin),
        falsifies: &["daemon-restart"],
        spares: &[],
    },
];

/// What the nodes are told.
const DOCUMENT: &str = "vipcast.yml";
/// Until a changed document is in effect.
const APPLY: Duration = Duration::from_secs(20);

const fn no_icmp(file: &'static str) -> Edit {
    Edit { file, find: "icmp_errors_per_second = 1000", replace: "icmp_errors_per_second = 0" }
}

const fn no_graceful_restart(file: &'static str) -> Edit {
    Edit { file, find: "graceful_restart = true", replace: "graceful_restart = false" }
}

/// Each server answers through the first node's port on the network that both share.
fn return_via_node(bench: &Bench<'_>, moment: Moment<'_>) -> Result<()> {
    if moment != Moment::Settled {
        return Ok(());
    }
    forward(bench.node(NODES[0].name)?)?;
    for (server, net) in SERVERS.iter().zip([31, 32, 33]) {
        let node = bench.node(server.name)?;
        node.sh(&format!("ip route replace default via {net}.{net}.{net}.11 dev eth1"))?;
        node.sh(&format!("ip -6 route replace default via 2001:db8:{net}::11 dev eth1"))?;
    }
    Ok(())
}

/// The way round the blackhole leads to the router, which sends the packet to a node again.
fn no_blackhole(bench: &Bench<'_>, moment: Moment<'_>) -> Result<()> {
    match moment {
        Moment::Settled => leak(bench, "11.11.11.254", "2001:db8:11::fe"),
        Moment::DaemonDead(_) => Ok(()),
    }
}

/// The way round the blackhole leads to a host on the same LAN, which drops the packet: no loop, but a redirect.
fn redirects_on(bench: &Bench<'_>, moment: Moment<'_>) -> Result<()> {
    if moment != Moment::Settled {
        return Ok(());
    }
    for node in NODES {
        let node = bench.node(node.name)?;
        node.sh("sysctl -q -w net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth1.send_redirects=1")?;
    }
    leak(bench, &HOST4.to_string(), &HOST6.to_string())
}

/// Undefined traffic to the VIPs passes the datapath and the blackhole of every node, and is forwarded to a gateway.
///
/// The daemons would repair all of it: they are killed. The datapath goes on without them, and the router keeps their
/// routes for the restart time.
fn leak(bench: &Bench<'_>, gateway4: &str, gateway6: &str) -> Result<()> {
    for node in NODES {
        DAEMON.kill(bench.lab, node.name)?;
        let node = bench.node(node.name)?;
        forward(node)?;
        node.sh(&format!("ip route add default via {gateway4} dev eth1 table 203"))?;
        node.sh(&format!("ip -6 route add default via {gateway6} dev eth1 table 203"))?;
        node.sh(&format!("ip rule add pref 50 to {VIP4} lookup 203"))?;
        node.sh(&format!("ip -6 rule add pref 50 to {VIP6} lookup 203"))?;
        for vip in VIPS {
            Maps::of(node).forget(vip)?;
        }
    }
    Ok(())
}

fn forward(node: &Node) -> Result<()> {
    node.sh("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1").map(drop)
}

/// Told to nodes that know their servers already: with such an interval a first probe that fails would cost the lab a
/// minute to come up.
fn slow_health(bench: &Bench<'_>, moment: Moment<'_>) -> Result<()> {
    if moment != Moment::Settled {
        return Ok(());
    }
    let path = bench.lab.place().files().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let slow = text.replace("interval: 250ms", "interval: 60s");
    ensure!(slow.contains("interval: 60s"), "{DOCUMENT} has no interval to change");
    std::fs::write(&path, slow).with_context(|| format!("cannot write {}", path.display()))?;
    control::apply(bench.lab, APPLY).map(drop)
}

fn skip_pin(bench: &Bench<'_>, moment: Moment<'_>) -> Result<()> {
    match moment {
        Moment::DaemonDead(node) => Maps::unpin_all(bench.node(node)?),
        Moment::Settled => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault that changes nothing would prove nothing, and is found out only when it is run.
    #[test]
    fn every_edit_finds_its_place_in_the_lab() {
        let lab = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tcp-l3dsr-ha");
        for fault in ALL {
            for edit in fault.edits {
                let text = std::fs::read_to_string(lab.join(edit.file)).unwrap();
                assert_eq!(text.matches(edit.find).count(), 1, "{}: {:?}", fault.name, edit);
                assert_ne!(edit.find, edit.replace, "{}", fault.name);
            }
        }
    }
}
