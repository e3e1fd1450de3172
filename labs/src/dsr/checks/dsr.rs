//! `dsr`: replies never come back through a node. Looked at from the far end of every link of every node: no packet from
//! a VIP but the node's own ICMP, and traffic to the VIPs on all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;

use super::super::facts::{NODES, SERVICES, VIP4, VIP6, VIPS};
use super::super::mac;
use super::super::predict::Model;
use super::super::replies::{ask, judge};
use crate::capture::{Captures, Point, WHOLE};
use crate::pcap::{Frame, Ip, Transport};
use crate::suite::Bench;

/// Enough that every node sends to every server in any distribution by the router.
const PORTS: std::ops::Range<u16> = 22_000..22_180;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let points: Vec<Point> = NODES.iter().flat_map(|node| node.far_ends()).collect();
    let filter = format!("host {VIP4} or host {VIP6} or ip proto 4 or ip proto 41 or ip6 proto 41");
    let captures = Captures::start(bench.lab, "dsr", &points, &filter, WHOLE)?;
    let (mut asked, mut own) = (0, 0);
    for service in SERVICES {
        let replies = ask(bench, service, PORTS)?;
        let judged = judge(&replies, service.client(), &Model::new(service));
        asked += judged.asked;
        own += judged.own_address;
        bench.keep_json(&format!("replies-{}-{:?}.json", service.vip, service.protocol), &replies)?;
    }
    let frames = bench.captured(captures)?;
    let mut total = Links::default();
    for node in NODES {
        let mac = mac::of(bench.node(node.name)?, "eth1")?;
        for point in node.far_ends() {
            let link = Links::of(frames.get(&point).map(Vec::as_slice).unwrap_or_default(), mac);
            total.add(point, link);
        }
    }
    bench.expect(
        total.from_vip.is_empty(),
        format!(
            "{} packets from a VIP on {} links of the nodes, their own ICMP apart{}",
            total.from_vip.values().sum::<usize>(),
            points.len(),
            examples(&total.from_vip)
        ),
    );
    bench.expect(
        total.to_vip.len() == points.len(),
        format!(
            "{} packets to a VIP, plain or in a tunnel, on {} of these links",
            total.to_vip.values().sum::<usize>(),
            total.to_vip.len()
        ),
    );
    bench.expect(total.broken == 0, format!("{} wrong checksums among them", total.broken));
    bench.expect(
        own == asked,
        format!("servers saw the client's own address and port {own} times of {asked}"),
    );
    Ok(())
}

/// What was seen on a set of links.
#[derive(Debug, Default)]
struct Links {
    from_vip: BTreeMap<String, usize>,
    to_vip: BTreeMap<String, usize>,
    broken: usize,
}

#[derive(Debug, Default)]
struct Link {
    from_vip: usize,
    to_vip: usize,
    broken: usize,
}

impl Links {
    fn of(frames: &[Frame], node_mac: [u8; 6]) -> Link {
        let mut link = Link::default();
        for frame in frames {
            let Some(packet) = frame.ip() else { continue };
            let inner = packet.inner();
            let about = inner.as_ref().unwrap_or(&packet);
            if is_vip(about.dst) {
                link.to_vip += 1;
                link.broken += usize::from(!packet.header_ok || !about.checksums_ok());
            }
            if is_vip(packet.src) && !(frame.bytes.get(6..12) == Some(&node_mac) && is_icmp(&packet)) {
                link.from_vip += 1;
            }
        }
        link
    }

    fn add(&mut self, point: Point, link: Link) {
        for (map, count) in [(&mut self.from_vip, link.from_vip), (&mut self.to_vip, link.to_vip)] {
            if count > 0 {
                map.insert(point.to_string(), count);
            }
        }
        self.broken += link.broken;
    }
}

fn is_vip(address: IpAddr) -> bool {
    VIPS.contains(&address)
}

fn is_icmp(packet: &Ip<'_>) -> bool {
    matches!(packet.transport(), Transport::Icmp { .. } | Transport::Icmp6 { .. })
}

fn examples(of: &BTreeMap<String, usize>) -> String {
    match of.is_empty() {
        true => String::new(),
        false => format!(": {}", super::super::replies::shares(of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(from: [u8; 6], src: [u8; 4], dst: [u8; 4], protocol: u8) -> Frame {
        let mut bytes = vec![0; 6];
        bytes.extend(from);
        bytes.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0]);
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend([0; 8]);
        Frame { at_us: 0, bytes }
    }

    #[test]
    fn only_the_nodes_own_icmp_may_come_from_a_vip() {
        let (vip, client) = (VIP4.octets(), [1, 1, 1, 1]);
        let from = |mac, protocol| Links::of(&[frame(mac, vip, client, protocol)], MAC).from_vip;
        assert_eq!(from(MAC, 1), 0, "an echo reply or too-big of the node");
        assert_eq!(from([4; 6], 1), 1, "somebody else's ICMP");
        assert_eq!(from(MAC, 6), 1, "a reply of a server, forwarded by the node");
        let towards = Links::of(&[frame([4; 6], client, vip, 6)], MAC);
        assert_eq!((towards.to_vip, towards.from_vip), (1, 0));
        assert_eq!(towards.broken, 1, "its header checksum is zero");
    }
}
