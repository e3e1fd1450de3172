//! The traps of such a lab, checked before anything is asserted: each of them breaks traffic without a word, or makes a
//! check pass that should not.
//!
//! - MTU and state of every link, as the topology says
//! - redirects off on `all`, `default` and every interface; rp_filter 0 everywhere, never inherited
//! - no address waits for duplicate address detection
//! - clients keep their hash (txrehash); routers hash over ports; servers keep quiet about the VIP in ARP
//! - on the last ports before the nodes: GRO on (else frames redirected into them are lost), checksums complete (tx off)
//! - a bpffs of its own for every machine
//! - every neighbour answers, and every real server reaches the client

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::facts::{CLIENT4, CLIENT6, NODES, SERVERS};
use crate::host::{Lab, Node, mounts};
use crate::suite::Bench;

/// Values of `net.ipv4.conf.*` on every machine and interface.
const PER_INTERFACE4: [(&str, &str); 3] =
    [("send_redirects", "0"), ("accept_redirects", "0"), ("rp_filter", "0")];
const PER_INTERFACE6: [(&str, &str); 1] = [("accept_redirects", "0")];
const CLIENTS: [&str; 3] = ["client", "far", "host"];
const ROUTERS: [&str; 3] = ["r1", "r2", "r3"];
const SWITCHES: [&str; 5] = ["lan", "net31", "net32", "net33", "ret"];

/// See [`crate::suite::Suite::preflight`]. The error lists everything that is wrong.
pub(super) fn preflight(bench: &Bench<'_>) -> Result<()> {
    let lab = bench.lab;
    let looked = std::thread::scope(|scope| {
        let workers: Vec<_> = lab.nodes().map(|node| scope.spawn(move || look(lab, node))).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results
            .map(|result| result.unwrap_or_else(|_| bail!("a worker panicked")))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut wrong: Vec<String> = looked.into_iter().flatten().collect();
    wrong.extend(unreachable(lab)?);
    if !wrong.is_empty() {
        bail!("the lab is not as it should be:\n{}", wrong.join("\n"));
    }
    bench.step("traps: MTU, redirects, rp_filter, DAD, hashing, ARP, GRO, checksums, bpffs, neighbours: all as wanted");
    Ok(())
}

fn look(lab: &Lab, node: &Node) -> Result<Vec<String>> {
    let mut wrong = links(lab, node)?;
    wrong.extend(sysctls(lab, node)?);
    if SWITCHES.contains(&node.name()) {
        for end in lab.topology().interfaces(node.name()) {
            wrong.extend(offloads(node, &end.interface)?);
        }
    }
    if node.name() == "r1" {
        wrong.extend(offloads(node, "eth3")?);
    }
    if mounts::below(&node.bpffs())?.is_empty() {
        wrong.push(format!("{}: no bpffs", node.name()));
    }
    Ok(wrong)
}

#[derive(Debug, Deserialize)]
struct IpLink {
    ifname: String,
    mtu: u32,
    operstate: String,
}

fn links(lab: &Lab, node: &Node) -> Result<Vec<String>> {
    let name = node.name();
    let seen: Vec<IpLink> = serde_json::from_str(&node.sh("ip -j link show")?).context("ip -j link")?;
    let mut wrong = Vec::new();
    for link in &lab.topology().links {
        for end in link.ends.iter().filter(|end| end.node == name) {
            match seen.iter().find(|seen| seen.ifname == end.interface) {
                Some(seen) if seen.mtu == link.mtu && seen.operstate == "UP" => {}
                Some(seen) => wrong.push(format!(
                    "{name}: {} has MTU {} and is {}, wanted {} and UP",
                    seen.ifname, seen.mtu, seen.operstate, link.mtu
                )),
                None => wrong.push(format!("{name}: no interface {}", end.interface)),
            }
        }
    }
    let tentative = node.sh("ip -6 -o addr show tentative")?;
    wrong.extend(tentative.lines().map(|line| format!("{name}: address not usable yet: {line}")));
    Ok(wrong)
}

fn sysctls(lab: &Lab, node: &Node) -> Result<Vec<String>> {
    let wanted = wanted_sysctls(lab, node.name());
    let mut argv = vec!["grep".to_owned(), "-H".to_owned(), ".".to_owned()];
    argv.extend(wanted.keys().cloned());
    let text = node.run(&argv)?;
    let seen: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let wrong = wanted.iter().filter(|(path, value)| seen.get(path.as_str()) != Some(&value.as_str()));
    Ok(wrong
        .map(|(path, value)| {
            let is = seen.get(path.as_str()).unwrap_or(&"unreadable");
            format!("{}: {path} is {is}, wanted {value}", node.name())
        })
        .collect())
}

fn wanted_sysctls(lab: &Lab, node: &str) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let mut want = |path: String, value: &str| {
        wanted.insert(format!("/proc/sys/net/{path}"), value.to_owned());
    };
    let own = lab.topology().interfaces(node).map(|end| end.interface.as_str());
    for scope in ["all", "default"].into_iter().chain(own) {
        for (key, value) in PER_INTERFACE4 {
            want(format!("ipv4/conf/{scope}/{key}"), value);
        }
        for (key, value) in PER_INTERFACE6 {
            want(format!("ipv6/conf/{scope}/{key}"), value);
        }
    }
    let router = if ROUTERS.contains(&node) { "1" } else { "0" };
    want("ipv4/ip_forward".to_owned(), router);
    want("ipv6/conf/all/forwarding".to_owned(), router);
    if ROUTERS.contains(&node) {
        want("ipv4/fib_multipath_hash_policy".to_owned(), "1");
        want("ipv6/fib_multipath_hash_policy".to_owned(), "1");
    }
    if CLIENTS.contains(&node) {
        want("core/txrehash".to_owned(), "0");
    }
    if SERVERS.iter().any(|server| server.name == node) {
        want("ipv4/conf/all/arp_ignore".to_owned(), "1");
        want("ipv4/conf/all/arp_announce".to_owned(), "2");
    }
    wanted
}

fn offloads(node: &Node, port: &str) -> Result<Vec<String>> {
    let text = node.run(["ethtool", "-k", port])?;
    let has = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
    let wanted = ["generic-receive-offload: on", "tx-checksumming: off"];
    let wrong = wanted.into_iter().filter(|wanted| !has(wanted));
    Ok(wrong.map(|wanted| format!("{}: {port}: wanted {wanted}", node.name())).collect())
}

/// Also lets every machine learn its neighbours before anything is measured.
fn unreachable(lab: &Lab) -> Result<Vec<String>> {
    let mut pings = Vec::new();
    for node in NODES {
        pings.push(("r1", node.lan4.to_string()));
        pings.push(("r1", node.lan6.to_string()));
        pings.push(("host", node.lan4.to_string()));
        pings.push(("host", node.lan6.to_string()));
    }
    for server in SERVERS {
        pings.push((server.name, CLIENT4.to_string()));
        pings.push((server.name, CLIENT6.to_string()));
        pings.push((server.name, super::facts::FAR4.to_string()));
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            pings.iter().map(|(from, to)| scope.spawn(move || ping(lab, from, to))).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        let results = results.map(|result| result.unwrap_or_else(|_| bail!("a worker panicked")));
        Ok(results.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

fn ping(lab: &Lab, from: &str, to: &str) -> Result<Option<String>> {
    let output = lab.node(from)?.output(["ping", "-n", "-q", "-c", "1", "-W", "2", to])?;
    Ok((!output.success).then(|| format!("{from} does not reach {to}")))
}
