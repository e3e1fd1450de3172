//! `withdraw`: with no server left the VIPs leave the router, and nobody answers for them or sends packets in circles.
//! With a server back they are announced again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::facts::{
    CLIENT4, CLIENT6, HOST4, LbNode, NODES, RealServer, SERVERS, VIP4, VIP6, VIPS, WEB, WEB6,
};
use super::super::power::SERVER;
use super::super::quiet::Quiet;
use super::super::router::gateways;
use crate::capture::{Captures, Point, WHOLE};
use crate::pcap::{Frame, Transport};
use crate::suite::Bench;
use crate::traffic::drive;
use crate::traffic::job::{Job, Knock, Knocked};

/// Interval times fall, with room for a busy machine.
const GONE: Duration = Duration::from_secs(8);
const BACK: Duration = Duration::from_secs(15);
/// Milliseconds from probe to wire that count as one pass of the daemon, on a busy machine.
const PROMPT: f64 = 1000.0;
const BGP: u16 = 179;
/// Where the servers answer health probes.
const PROBED: [u16; 2] = [8080, 8081];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let result = withdraw(bench);
    // Whatever happened: the next check needs them.
    for server in SERVERS {
        SERVER.start(bench.lab, server.name)?;
    }
    result
}

fn withdraw(bench: &mut Bench<'_>) -> Result<()> {
    let wire = watch(bench)?;
    bench.step("killing the servers on ep1, ep2 and ep3");
    for server in SERVERS {
        SERVER.kill(bench.lab, server.name)?;
    }
    let killed = Instant::now();
    let gone = bench.wait_for(GONE, || routes(bench, |hops| hops == 0))?.is_some();
    let took = killed.elapsed();
    let frames = bench.captured(wire)?;
    bench.expect(
        gone,
        match gone {
            true => format!(
                "no route for {VIP4} and {VIP6} at r1 {:.1} s after the last server died",
                took.as_secs_f64()
            ),
            false => format!("r1 still has a route {:.0} s after the last server died", GONE.as_secs_f64()),
        },
    );
    if !gone {
        return Ok(());
    }
    let latencies = NODES.map(|node| (node.name, latency(&frames, node)));
    let shown = latencies.map(|(name, latency)| match latency {
        Some(latency) => format!("{name} {latency:.1} ms"),
        None => format!("{name} not seen"),
    });
    bench.expect(
        latencies.iter().all(|(_, latency)| latency.is_some_and(|latency| latency < PROMPT)),
        format!("from the last failing probe to the withdraw on the wire: {}", shown.join(", ")),
    );
    silence(bench)?;
    let first = SERVERS[0];
    SERVER.start(bench.lab, first.name)?;
    let started = Instant::now();
    let back = bench.wait_for(BACK, || routes(bench, |hops| hops == NODES.len()))?.is_some();
    bench.expect(
        back,
        format!(
            "{} started: announced again by every node: {back}, {:.1} s",
            first.name,
            started.elapsed().as_secs_f64()
        ),
    );
    Ok(())
}

/// Whether the router's next hops of both VIPs are as many as wanted.
fn routes(bench: &Bench<'_>, wanted: impl Fn(usize) -> bool) -> Result<Option<()>> {
    let router = bench.node("r1")?;
    for vip in VIPS {
        if !wanted(gateways(router, vip)?.len()) {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

/// Nothing answers for a VIP that is not announced: not for the client, nor for a host that asks a node directly.
fn silence(bench: &mut Bench<'_>) -> Result<()> {
    let quiet = Quiet::begin(bench)?;
    let knock = |node: &str, source: IpAddr, target: SocketAddr| -> Result<Vec<Knocked>> {
        let job = Job::Knock(Knock { targets: vec![target], source, udp: false, wait_ms: 700 });
        drive::run(bench.node(node)?, &job, Duration::from_secs(10))
    };
    let host = bench.node("host")?;
    host.sh(&format!("ip route replace {VIP4}/32 via {}", NODES[0].lan4))?;
    let mut answers = knock("client", CLIENT4.into(), WEB.address())?;
    answers.extend(knock("client", CLIENT6.into(), WEB6.address())?);
    answers.extend(knock("host", HOST4.into(), WEB.address())?);
    let ping = bench.node("client")?.output(["ping", "-n", "-q", "-c", "1", "-W", "1", &VIP4.to_string()])?;
    host.sh(&format!("ip route del {VIP4}/32"))?;
    let seen = quiet.end(bench)?;
    bench.keep_json("answers.json", &answers)?;
    // The router says that it knows no such network: that is no answer of the VIP.
    let answered = answers.iter().filter(|knock| {
        let said = knock.answer.as_deref().unwrap_or("unreachable");
        !said.contains("unreachable") && !said.contains("No route to host")
    });
    let answered = answered.count();
    bench.expect(
        answered == 0 && seen.from_vip == 0 && !ping.success,
        format!(
            "{} SYNs to the withdrawn VIPs and a ping: {answered} answered, {} packets from a VIP",
            answers.len(),
            seen.from_vip
        ),
    );
    Ok(())
}

/// Records BGP at the nodes' links to the router, and what servers say to probes.
fn watch(bench: &Bench<'_>) -> Result<Captures> {
    let bgp = NODES.iter().map(|node| node.lan_end());
    let probes = NODES.iter().flat_map(|node| SERVERS.map(|server| probe_end(*node, server)));
    let points: Vec<Point> = bgp.chain(probes).collect();
    let [tcp, http] = PROBED;
    let filter = format!("tcp port {BGP} or tcp src port {tcp} or tcp src port {http}");
    Captures::start(bench.lab, "wire", &points, &filter, WHOLE)
}

fn probe_end(node: LbNode, server: RealServer) -> Point {
    Point { node: server.switch, interface: node.lan_port }
}

/// Milliseconds from the last refusal of a probe to the first UPDATE of a node after it. Both were seen from outside.
fn latency(frames: &BTreeMap<Point, Vec<Frame>>, node: LbNode) -> Option<f64> {
    let at = |point: Point| frames.get(&point).map(Vec::as_slice).unwrap_or_default();
    let refusals: Vec<u64> = SERVERS
        .iter()
        .flat_map(|server| at(probe_end(node, *server)))
        .filter(|frame| is_refusal(frame))
        .map(|frame| frame.at_us)
        .collect();
    let first = *refusals.iter().min()?;
    let updates = at(node.lan_end()).iter().filter(|frame| frame.at_us >= first && is_update(frame, node));
    let update = updates.map(|frame| frame.at_us).max()?;
    let last = refusals.into_iter().filter(|refusal| *refusal <= update).max()?;
    Some((update - last) as f64 / 1000.0)
}

fn is_refusal(frame: &Frame) -> bool {
    const RST: u8 = 4;
    let transport = frame.ip().map(|packet| packet.transport());
    matches!(transport, Some(Transport::Tcp { src, flags, .. }) if PROBED.contains(&src) && flags & RST != 0)
}

/// A segment of the node with a BGP UPDATE (RFC 4271 4.1: marker, length, type 2) among its messages.
fn is_update(frame: &Frame, node: LbNode) -> bool {
    let Some(packet) = frame.ip().filter(|packet| packet.src == node.lan4) else { return false };
    if !matches!(packet.transport(), Transport::Tcp { src, dst, .. } if src == BGP || dst == BGP) {
        return false;
    }
    let header = packet.payload.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    let mut messages = packet.payload.get(header..).unwrap_or_default();
    while messages.starts_with(&[0xff; 16]) {
        if messages.get(18) == Some(&2) {
            return true;
        }
        let length =
            messages.get(16..18).map_or(0, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
        messages = messages.get(length.max(19)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(at_us: u64, src: [u8; 4], ports: [u16; 2], flags: u8, data: &[u8]) -> Frame {
        let mut bytes = vec![0; 12];
        let length = u16::try_from(40 + data.len()).unwrap().to_be_bytes();
        bytes.extend([8, 0, 0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 6, 0, 0]);
        bytes.extend(src);
        bytes.extend([11, 11, 11, 254]);
        bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        bytes.extend(data);
        Frame { at_us, bytes }
    }

    #[test]
    fn the_latency_is_from_the_last_refusal_to_the_last_update() {
        let node = NODES[0];
        let mut update = vec![0xff; 16];
        update.extend([0, 23, 2, 0, 0, 0, 0]);
        let mut keepalive = vec![0xff; 16];
        keepalive.extend([0, 19, 4]);
        let refusal = |at| segment(at, [56, 56, 56, 1], [8081, 40000], 0x14, &[]);
        let bgp = |at, data: &[u8]| segment(at, [11, 11, 11, 1], [40001, BGP], 0x18, data);
        let frames: BTreeMap<Point, Vec<Frame>> = [
            (probe_end(node, SERVERS[0]), vec![refusal(1_000), refusal(2_000), refusal(9_000)]),
            (
                node.lan_end(),
                vec![
                    bgp(500, &update),
                    bgp(3_500, &[keepalive.clone(), update].concat()),
                    bgp(4_000, &keepalive),
                ],
            ),
        ]
        .into();
        assert_eq!(latency(&frames, node), Some(1.5));
        assert_eq!(latency(&BTreeMap::new(), node), None);
    }
}
