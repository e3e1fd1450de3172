//! `bulk`: large transfers both ways although the tunnel leaves 1480 of 1500 bytes and nobody lowered MTU or MSS for it;
//! and a download to a client behind a hop of 1400 bytes, whose router's ICMP must find the one server it concerns.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use super::super::facts::{FAR4, LbService, NODES, SERVERS, VIP4, WEB};
use super::super::predict::Model;
use crate::capture::{Captures, Point, WHOLE};
use crate::pcap::{Frame, Ip, Transport};
use crate::suite::Bench;
use crate::traffic::drive;
use crate::traffic::job::{Bulk, BulkReport, Job, Transfer};

const BYTES: u64 = 20_000_000;
/// The upload's source port; the download has the next one.
const PORT: u16 = 23_000;
/// No progress for so long: it hangs.
const STALL: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(40);
/// Of the link between r1 and the far client's router.
const NARROW: u32 = 1400;
/// Inside the tunnel.
const TUNNEL: u16 = 1480;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    no_help(bench)?;
    both_ways(bench)?;
    narrow(bench)
}

/// Nobody at the servers makes packets small enough by configuration.
fn no_help(bench: &mut Bench<'_>) -> Result<()> {
    let mut helped = Vec::new();
    for server in SERVERS {
        let node = bench.node(server.name)?;
        let routes = node.sh("ip route show table all")? + &node.sh("ip -6 route show table all")?;
        let lines =
            routes.lines().filter(|line| line.split(' ').any(|word| word == "mtu" || word == "advmss"));
        helped.extend(lines.map(|line| format!("{}: {line}", server.name)));
    }
    bench.expect(
        helped.is_empty(),
        match helped.first() {
            None => "no advmss, no route MTU at the servers".to_owned(),
            Some(line) => format!("a route at a server helps: {line}"),
        },
    );
    Ok(())
}

fn both_ways(bench: &mut Bench<'_>) -> Result<()> {
    let points = NODES.map(|node| node.lan_end());
    let captures = Captures::start(bench.lab, "bulk", &points, "icmp", WHOLE)?;
    let report = transfer(bench, "client", WEB, PORT, BYTES, BYTES)?;
    let frames = bench.captured(captures)?;
    bench.keep_json("client.json", &report)?;
    expect_whole(bench, "up", &report.up, WEB, PORT);
    expect_whole(bench, "down", &report.down, WEB, PORT + 1);
    let too_big = frames.values().flatten().filter_map(Frame::ip);
    let mtus: Vec<u16> =
        too_big.filter(|packet| packet.src == VIP4).filter_map(|packet| mtu(&packet)).collect();
    bench.expect(
        mtus.contains(&TUNNEL),
        format!("{} ICMP fragmentation-needed from {VIP4} to the client, MTU {mtus:?}", mtus.len()),
    );
    Ok(())
}

fn narrow(bench: &mut Bench<'_>) -> Result<()> {
    let to_nodes = NODES.map(|node| node.lan_end());
    let to_servers = SERVERS.map(|server| server.far_end());
    let towards = format!("icmp and dst host {VIP4}");
    let before = Captures::start(bench.lab, "narrow", &to_nodes, &towards, WHOLE)?;
    // The inner packet's protocol: ICMP.
    let after = Captures::start(bench.lab, "narrow", &to_servers, "ip proto 4 and ip[29] = 1", WHOLE)?;
    let port = PORT + 10;
    let report = transfer(bench, "far", WEB, port, 0, BYTES / 4)?;
    let (before, after) = (bench.captured(before)?, bench.captured(after)?);
    bench.keep_json("far.json", &report)?;
    let client = SocketAddr::new(FAR4.into(), port + 1);
    let model = Model::new(WEB);
    expect_received(bench, &report.down, BYTES / 4, model.server(client));

    let arrived = count(&before, client.port(), |packet| Some(packet.clone()));
    let steered = count(&after, client.port(), Ip::inner);
    let right = SERVERS.iter().find(|server| Some(server.name) == model.server(client));
    let only_right = right.is_some_and(|right| {
        steered.iter().all(|(point, count)| (*count > 0) == (*point == right.far_end()))
    });
    let sum = |counts: &BTreeMap<Point, usize>| counts.values().sum::<usize>();
    bench.expect(
        sum(&arrived) > 0 && sum(&steered) == sum(&arrived) && only_right,
        format!(
            "ICMP fragmentation-needed ({NARROW}) of the router to {VIP4}: {} at the nodes, {} at the servers: {}",
            sum(&arrived),
            sum(&steered),
            super::super::replies::shares(&steered)
        ),
    );
    learned(bench, report.down.server.as_deref())
}

/// The server of the connection, and no other, knows the narrow path.
fn learned(bench: &mut Bench<'_>, server: Option<&str>) -> Result<()> {
    let mut knows = Vec::new();
    for server in SERVERS {
        let text = bench.node(server.name)?.sh(&format!("ip route get {FAR4} from {VIP4}"))?;
        if text.contains(&format!("mtu {NARROW}")) {
            knows.push(server.name);
        }
    }
    bench.expect(
        knows.len() == 1 && knows.first().copied() == server,
        format!("path MTU {NARROW} is known to {knows:?}; the connection's server is {server:?}"),
    );
    Ok(())
}

fn transfer(
    bench: &Bench<'_>,
    node: &str,
    service: LbService,
    port: u16,
    up: u64,
    down: u64,
) -> Result<BulkReport> {
    let source: IpAddr = if node == "far" { FAR4.into() } else { service.client() };
    let stall_ms = u64::try_from(STALL.as_millis())?;
    let job = Job::Bulk(Bulk { target: service.address(), source, port, up, down, stall_ms });
    drive::run(bench.node(node)?, &job, LIMIT)
}

fn expect_whole(bench: &mut Bench<'_>, way: &str, transfer: &Transfer, service: LbService, port: u16) {
    let server = Model::new(service).server(SocketAddr::new(service.client(), port));
    bench.step(format!("{way}: {}", speed(transfer)));
    bench.expect(
        transfer.error.is_none() && transfer.bytes == BYTES && transfer.server.as_deref() == server,
        format!("{way}: {} of {BYTES} bytes right, {}", transfer.bytes, outcome(transfer)),
    );
}

fn expect_received(bench: &mut Bench<'_>, transfer: &Transfer, bytes: u64, server: Option<&str>) {
    bench.step(format!("behind {NARROW} bytes: {}", speed(transfer)));
    bench.expect(
        transfer.error.is_none() && transfer.bytes == bytes && transfer.server.as_deref() == server,
        format!("down to {FAR4}: {} of {bytes} bytes right, {}", transfer.bytes, outcome(transfer)),
    );
}

fn outcome(transfer: &Transfer) -> String {
    match (&transfer.error, &transfer.server) {
        (Some(error), _) => error.clone(),
        (None, Some(server)) => format!("by {server}"),
        (None, None) => "by nobody".to_owned(),
    }
}

fn speed(transfer: &Transfer) -> String {
    let rate = transfer.bytes as f64 / 1000.0 / transfer.took_ms.max(1) as f64;
    format!("{} ms, {rate:.0} MB/s", transfer.took_ms)
}

/// Messages of ICMP that quote the VIP's packet to this client port, at each point.
fn count<'f>(
    frames: &'f BTreeMap<Point, Vec<Frame>>,
    client_port: u16,
    open: impl Fn(&Ip<'f>) -> Option<Ip<'f>>,
) -> BTreeMap<Point, usize> {
    let about = |packet: &Ip<'f>| {
        let quoted = packet.quoted().map(|quoted| (quoted.src, quoted.transport()));
        let ours =
            matches!(quoted, Some((src, Transport::Tcp { dst, .. })) if src == VIP4 && dst == client_port);
        ours && mtu(packet).is_some_and(|mtu| u32::from(mtu) == NARROW)
    };
    let count = |frames: &'f [Frame]| {
        frames.iter().filter_map(Frame::ip).filter_map(|packet| open(&packet)).filter(about).count()
    };
    frames.iter().map(|(point, frames)| (*point, count(frames))).collect()
}

/// MTU that a fragmentation-needed message carries (RFC 1191 4); `None` for any other packet.
fn mtu(packet: &Ip<'_>) -> Option<u16> {
    match packet.transport() {
        Transport::Icmp { kind: 3, code: 4 } => {
            let bytes = packet.payload.get(6..8)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fragmentation_needed_has_an_mtu() {
        let mtu_with = |code| {
            let payload = [3, code, 0, 0, 0, 0, 0x05, 0x78];
            mtu(&Ip {
                src: FAR4.into(),
                dst: VIP4.into(),
                protocol: 1,
                ttl: 60,
                header_ok: true,
                dont_fragment: false,
                fragment: false,
                length: 28,
                payload: &payload,
            })
        };
        assert_eq!(mtu_with(4), Some(1400));
        assert_eq!(mtu_with(1), None);
    }
}
