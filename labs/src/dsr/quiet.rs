//! The watch over things that must never happen, whatever is sent: ICMP redirects, packets that go round until their TTL
//! is used up, answers from a VIP that should be silent.
//!
//! Looks at captures of every link of the nodes and of the router, and at every machine's own counters: a capture may
//! miss what a kernel drops at once, a counter cannot say who it was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;

use super::facts::{NODES, ROUTER_TO_CLIENT, ROUTER_TO_NODES, VIP4, VIP6, VIPS};
use super::mac::{self, Mac};
use crate::capture::{Captures, Point, WHOLE};
use crate::netstat::{self, Counters};
use crate::pcap::{Frame, Ip, Transport};
use crate::suite::Bench;

/// Counters that stay where they are while nothing loops.
const REDIRECTS: [&str; 4] = ["IcmpOutRedirects", "IcmpInRedirects", "Icmp6OutRedirects", "Icmp6InRedirects"];
const TIME_EXCEEDED: [&str; 4] =
    ["IcmpOutTimeExcds", "IcmpInTimeExcds", "Icmp6OutTimeExcds", "Icmp6InTimeExcds"];

/// A watch that has begun.
#[derive(Debug)]
pub(super) struct Quiet {
    captures: Captures,
    before: BTreeMap<String, Counters>,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// ICMP redirects, v4 and v6.
    pub(super) redirects: usize,
    pub(super) time_exceeded: usize,
    /// Packets that came by the same place again, to the same neighbour, with a smaller TTL, and the most rounds of one.
    pub(super) looped: usize,
    pub(super) rounds: usize,
    /// Packets whose source is a VIP.
    pub(super) from_vip: usize,
    /// Packets to a VIP that were sent to a node, on the nodes' ports of their LAN.
    pub(super) to_nodes: BTreeMap<IpAddr, u64>,
}

impl Quiet {
    pub(super) fn begin(bench: &Bench<'_>) -> Result<Self> {
        let points: Vec<Point> = NODES
            .iter()
            .flat_map(|node| node.far_ends())
            .chain([ROUTER_TO_CLIENT, ROUTER_TO_NODES])
            .collect();
        // Inside a tunnel packet the VIP is not at its usual place: whole tunnels are recorded.
        let filter = format!(
            "host {VIP4} or host {VIP6} or icmp or icmp6 or ip proto 4 or ip proto 41 or ip6 proto 41"
        );
        let captures = Captures::start(bench.lab, "quiet", &points, &filter, WHOLE)?;
        Ok(Self { captures, before: bench.counters("before")? })
    }

    /// Ends the watch; asserts that there was no redirect and no loop.
    pub(super) fn end(self, bench: &mut Bench<'_>) -> Result<Seen> {
        let frames = bench.captured(self.captures)?;
        let after = bench.counters("after")?;
        let mut seen = Seen::default();
        let nodes = NODES.map(|node| Ok((node.lan_end(), mac::of(bench.node(node.name)?, "eth1")?)));
        let nodes: BTreeMap<Point, Mac> = nodes.into_iter().collect::<Result<_>>()?;
        for (point, frames) in &frames {
            seen.add(frames, nodes.get(point));
        }
        let redirects = grown(&self.before, &after, &REDIRECTS);
        let exceeded = grown(&self.before, &after, &TIME_EXCEEDED);
        bench.expect(
            seen.redirects == 0 && redirects.is_empty(),
            format!("{} ICMP redirects in {} captures{}", seen.redirects, frames.len(), counted(&redirects)),
        );
        bench.expect(
            seen.looped == 0 && seen.time_exceeded == 0 && exceeded.is_empty(),
            format!(
                "{} packets went in circles{}, {} time-exceeded{}",
                seen.looped,
                if seen.looped > 0 { format!(" (up to {} rounds)", seen.rounds) } else { String::new() },
                seen.time_exceeded,
                counted(&exceeded)
            ),
        );
        Ok(seen)
    }
}

impl Seen {
    /// Takes in the frames of one place; `node` is whose port to its LAN it is, if it is one's.
    fn add(&mut self, frames: &[Frame], node: Option<&Mac>) {
        let mut ttls: BTreeMap<Vec<u8>, BTreeSet<u8>> = BTreeMap::new();
        for frame in frames {
            let (Some(to), Some(packet)) = (frame.bytes.get(..6), frame.ip()) else { continue };
            match packet.transport() {
                Transport::Icmp { kind: 5, .. } | Transport::Icmp6 { kind: 137, .. } => self.redirects += 1,
                Transport::Icmp { kind: 11, .. } | Transport::Icmp6 { kind: 3, .. } => {
                    self.time_exceeded += 1
                }
                _ => {}
            }
            if VIPS.contains(&packet.src) {
                self.from_vip += 1;
            }
            if VIPS.contains(&packet.dst) {
                ttls.entry(identity(to, &packet)).or_default().insert(packet.ttl);
                if node.is_some_and(|node| node == to) {
                    *self.to_nodes.entry(packet.dst).or_default() += 1;
                }
            }
        }
        let rounds = ttls.values().map(BTreeSet::len);
        self.looped += rounds.clone().filter(|rounds| *rounds > 1).count();
        self.rounds = self.rounds.max(rounds.max().unwrap_or(0));
    }
}

/// What is the same of a packet that comes by again on its way to the same neighbour. So it is of a packet that is sent
/// again, but with the TTL of the first.
fn identity(to: &[u8], packet: &Ip<'_>) -> Vec<u8> {
    let mut key = format!("{to:?} {} {} {} ", packet.src, packet.dst, packet.protocol).into_bytes();
    key.extend(packet.payload.iter().take(16));
    key
}

/// Machines and counters that have grown.
fn grown(
    before: &BTreeMap<String, Counters>,
    after: &BTreeMap<String, Counters>,
    names: &[&str],
) -> BTreeMap<String, u64> {
    let none = Counters::new();
    let all = after.iter().flat_map(|(node, after)| {
        let before = before.get(node).unwrap_or(&none);
        names.iter().map(move |name| (format!("{node} {name}"), netstat::growth(before, after, name)))
    });
    all.filter(|(_, growth)| *growth > 0).collect()
}

fn counted(growth: &BTreeMap<String, u64>) -> String {
    match growth.is_empty() {
        true => ", none counted on any machine".to_owned(),
        false => format!(", counted: {}", super::replies::shares(growth)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet + IPv4 + a UDP header to the VIP.
    fn frame(ttl: u8, source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Frame {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0, 0x45, 0, 0, 20 + payload.len() as u8, 0, 0, 0, 0, ttl, protocol, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(payload);
        Frame { at_us: 0, bytes }
    }

    const NODE: Mac = [2; 6];

    #[test]
    fn a_packet_that_comes_again_with_a_smaller_ttl_loops_and_one_sent_again_does_not() {
        let (client, vip, udp) = ([1, 1, 1, 1], VIP4.octets(), [9, 9, 0, 81, 0, 8, 0, 0]);
        let mut seen = Seen::default();
        seen.add(&[frame(63, client, vip, 17, &udp), frame(63, client, vip, 17, &udp)], Some(&NODE));
        assert_eq!((seen.looped, seen.from_vip), (0, 0));
        assert_eq!(seen.to_nodes.get(&IpAddr::V4(VIP4)), Some(&2));
        let frames = [63, 61, 59].map(|ttl| frame(ttl, client, vip, 17, &udp));
        seen.add(&frames, None);
        assert_eq!((seen.looped, seen.rounds), (1, 3));
        assert_eq!(seen.to_nodes.get(&IpAddr::V4(VIP4)), Some(&2), "counted on the nodes' ports alone");
    }

    #[test]
    fn a_packet_that_a_node_sends_on_to_somebody_else_does_not_loop() {
        let (client, vip, udp) = ([1, 1, 1, 1], VIP4.octets(), [9, 9, 0, 81, 0, 8, 0, 0]);
        let (there, mut on) = (frame(63, client, vip, 17, &udp), frame(62, client, vip, 17, &udp));
        on.bytes[..6].copy_from_slice(&[4; 6]);
        let mut seen = Seen::default();
        seen.add(&[there, on], Some(&NODE));
        assert_eq!(seen.looped, 0);
        assert_eq!(seen.to_nodes.get(&IpAddr::V4(VIP4)), Some(&1));
    }

    #[test]
    fn redirects_time_exceeded_and_answers_are_told_apart() {
        let (router, client, vip) = ([11, 11, 11, 254], [1, 1, 1, 1], VIP4.octets());
        let mut seen = Seen::default();
        let icmp = |kind| frame(64, router, client, 1, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        seen.add(&[icmp(5), icmp(11), icmp(3), frame(64, vip, client, 6, &[0; 20])], None);
        assert_eq!((seen.redirects, seen.time_exceeded, seen.from_vip), (1, 1, 1));
    }
}
