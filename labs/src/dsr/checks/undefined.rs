//! `undefined`: what no service takes is dropped and counted: no answer, no redirect, nothing goes in circles. Asked by
//! the routed client, and by a host on the nodes' own LAN through each node: redirects are for on-link sources only.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use datapath_common::counters::DropReason;

use super::super::facts::{CLIENT4, CLIENT6, HOST4, HOST6, LbNode, NODES, VIP4, VIP6, VIPS};
use super::super::maps::Maps;
use super::super::quiet::Quiet;
use crate::host::Node;
use crate::suite::Bench;
use crate::traffic::drive;
use crate::traffic::job::{Job, Knock, Knocked};

/// Ports without a service.
const PORTS: [u16; 2] = [81, 65_000];
/// Shorter than the first repetition of a SYN.
const WAIT_MS: u64 = 700;
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let before = VIPS.map(|vip| undefined(bench, vip));
    let quiet = Quiet::begin(bench)?;
    let mut knocked = knock(bench.node("client")?, CLIENT4.into(), CLIENT6.into())?;
    let host = bench.node("host")?;
    for node in NODES {
        send_through(host, node)?;
        knocked.extend(knock(host, HOST4.into(), HOST6.into())?);
    }
    for vip in VIPS {
        host.run(["ip", "route", "del", &vip.to_string()])?;
    }
    bench.keep_json("answers.json", &knocked)?;
    let seen = quiet.end(bench)?;

    let answers: Vec<String> = knocked
        .iter()
        .filter_map(|knock| Some(format!("{}: {}", knock.target, knock.answer.as_deref()?)))
        .collect();
    bench.expect(
        answers.is_empty() && seen.from_vip == 0,
        format!(
            "{} SYNs and datagrams to undefined ports, {} answers, {} packets from a VIP{}",
            knocked.len(),
            answers.len(),
            seen.from_vip,
            answers.first().map(|answer| format!(" ({answer})")).unwrap_or_default()
        ),
    );
    for (vip, before) in VIPS.into_iter().zip(before) {
        let counted = undefined(bench, vip)?.saturating_sub(before?);
        let arrived = seen.to_nodes.get(&vip).copied().unwrap_or(0);
        let sent = knocked.iter().filter(|knock| knock.target.ip() == vip).count() as u64;
        bench.expect(
            counted == arrived && arrived == sent,
            format!("{vip}: {sent} sent, {arrived} arrived at the nodes, {counted} counted as undefined"),
        );
    }
    Ok(())
}

/// Knocks on all undefined ports of both VIPs, over TCP and UDP at the same time.
fn knock(node: &Node, from4: IpAddr, from6: IpAddr) -> Result<Vec<Knocked>> {
    let job = |vip: IpAddr, source, udp| {
        let targets = PORTS.map(|port| SocketAddr::new(vip, port)).to_vec();
        Job::Knock(Knock { targets, source, udp, wait_ms: WAIT_MS })
    };
    let jobs = [(IpAddr::from(VIP4), from4), (IpAddr::from(VIP6), from6)]
        .into_iter()
        .flat_map(|(vip, from)| [job(vip, from, false), job(vip, from, true)]);
    let jobs: Vec<Job> = jobs.collect();
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> =
            jobs.iter().map(|job| scope.spawn(|| drive::run::<Vec<Knocked>>(node, job, LIMIT))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<Knocked>>>| {
            thread.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked"))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    Ok(answers.into_iter().flatten().collect())
}

/// The host's own route for the VIPs: straight to a node instead of to its router.
fn send_through(host: &Node, node: LbNode) -> Result<()> {
    host.sh(&format!("ip route replace {VIP4}/32 via {}", node.lan4))?;
    host.sh(&format!("ip route replace {VIP6}/128 via {}", node.lan6)).map(drop)
}

fn undefined(bench: &Bench<'_>, vip: IpAddr) -> Result<u64> {
    NODES.iter().map(|node| Maps::of(bench.node(node.name)?).dropped(vip, DropReason::Undefined)).sum()
}
