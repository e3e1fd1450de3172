//! `daemon-restart`: one node's daemon is killed and started again under load, and nobody outside notices: no route event
//! at the router until the restart time is over, no packet lost between router, nodes and servers, no retransmission.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::facts::{LbNode, NODES, ROUTER_TO_NODES, SERVERS, VIP4, VIP6, VIPS, WEB};
use super::super::power::DAEMON;
use super::load::{Long, summary};
use super::monitor::Monitor;
use crate::capture::{Captures, Point};
use crate::host::interrupt;
use crate::netstat::{self, Counters};
use crate::pcap::Frame;
use crate::suite::{Bench, Moment};

const PORTS: std::ops::Range<u16> = 30_000..30_100;
const NODE: LbNode = NODES[0];
/// Longer than the restart time of 15 s: by then a router has dropped what was only kept for the restart.
const WATCH: Duration = Duration::from_secs(20);
/// The daemon's own account of what is stored, after its start.
const STORE: Duration = Duration::from_secs(10);
/// Headers are enough to count.
const SNAP: u32 = 96;
/// Counters of clients and servers that grow when packets are lost or answered wrongly.
const HARM: [&str; 6] =
    ["TcpRetransSegs", "TcpExtTCPTimeouts", "TcpEstabResets", "TcpOutRsts", "TcpInErrs", "TcpInCsumErrors"];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let stored = stored(bench)?;
    bench.keep_text("stored-before.yaml", &stored)?;
    let captures = count_packets(bench)?;
    let long = Long::open(bench, PORTS, Duration::from_millis(100))?;
    let before = bench.counters("before")?;
    let mut monitor = Monitor::start(bench.node("r1")?)?;

    bench.step(format!("SIGKILL to the daemon of {}", NODE.name));
    DAEMON.kill(bench.lab, NODE.name)?;
    let killed = Instant::now();
    let started =
        bench.moment(Moment::DaemonDead(NODE.name)).and_then(|()| DAEMON.start(bench.lab, NODE.name));
    bench.step(format!(
        "started again after {} ms; watching for {} s",
        killed.elapsed().as_millis(),
        WATCH.as_secs()
    ));
    started?;
    let again = bench.wait_for(STORE, || Ok(self::stored(bench).ok()))?.unwrap_or_default();
    bench.keep_text("stored-after.yaml", &again)?;
    interrupt::sleep(WATCH.saturating_sub(killed.elapsed()))?;

    let events = monitor.events(&VIPS.map(|vip| vip.to_string()))?;
    let after = bench.counters("after")?;
    let held = long.close()?;
    let frames = bench.captured(captures)?;
    bench.keep_text("ip-monitor.txt", &monitor.text())?;
    bench.keep_json("long.json", &held)?;

    bench.expect(
        events.is_empty(),
        match events.first() {
            None => format!("r1: no route event for {VIP4} or {VIP6} within {} s", WATCH.as_secs()),
            Some(event) => format!("r1: {} route events for the VIPs: {}", events.len(), event.trim()),
        },
    );
    let all = summary(&held);
    bench.expect(all.unharmed(), all.text());
    expect_no_harm(bench, &before, &after);
    expect_all_arrived(bench, &frames);
    bench.expect(
        !stored.trim().is_empty() && stored == again,
        match stored == again {
            true => format!("configuration back from the store: {} lines, the same", stored.lines().count()),
            false => format!(
                "configuration differs after the restart ({} lines, then {})",
                stored.lines().count(),
                again.lines().count()
            ),
        },
    );
    Ok(())
}

/// What the node's store holds, as a document.
fn stored(bench: &Bench<'_>) -> Result<String> {
    bench.node(NODE.name)?.run(["vipcast", "export"]).context("the stored configuration")
}

/// Records the packets to the VIP's service at the router, at the nodes, and, in their tunnels, at the servers.
fn count_packets(bench: &Bench<'_>) -> Result<[Captures; 2]> {
    let plain: Vec<Point> = std::iter::once(ROUTER_TO_NODES).chain(NODES.map(LbNode::lan_end)).collect();
    let filter = format!("dst host {} and tcp dst port {}", WEB.vip, WEB.port);
    let plain = Captures::start(bench.lab, "count", &plain, &filter, SNAP)?;
    let tunnel = SERVERS.map(|server| server.far_end());
    // Inside the tunnel: TCP.
    let tunnel = Captures::start(bench.lab, "count", &tunnel, "ip proto 4 and ip[29] = 6", SNAP)?;
    Ok([plain, tunnel])
}

fn expect_all_arrived(bench: &mut Bench<'_>, frames: &BTreeMap<Point, Vec<Frame>>) {
    let count =
        |points: &[Point]| points.iter().filter_map(|point| frames.get(point)).map(Vec::len).sum::<usize>();
    let router = count(&[ROUTER_TO_NODES]);
    let (nodes, servers) =
        (count(&NODES.map(LbNode::lan_end)), count(&SERVERS.map(|server| server.far_end())));
    bench.expect(
        router > 0 && router == nodes && nodes == servers,
        format!("{router} packets left r1, {nodes} reached the nodes, {servers} reached the servers"),
    );
}

fn expect_no_harm(
    bench: &mut Bench<'_>,
    before: &BTreeMap<String, Counters>,
    after: &BTreeMap<String, Counters>,
) {
    let none = Counters::new();
    let machines = ["client"].into_iter().chain(SERVERS.map(|server| server.name));
    let grown: Vec<String> = machines
        .flat_map(|node| HARM.map(|counter| (node, counter)))
        .filter_map(|(node, counter)| {
            let of =
                |all: &BTreeMap<String, Counters>| all.get(node).cloned().unwrap_or_else(|| none.clone());
            let growth = netstat::growth(&of(before), &of(after), counter);
            (growth > 0).then(|| format!("{node} {counter} +{growth}"))
        })
        .collect();
    bench.expect(
        grown.is_empty(),
        match grown.is_empty() {
            true => "retransmissions, timeouts, resets and errors at client and servers: +0".to_owned(),
            false => grown.join(", "),
        },
    );
}
