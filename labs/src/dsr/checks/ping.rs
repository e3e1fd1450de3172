//! `ping`: the VIPs answer echo requests of several sizes, by the nodes themselves, with right checksums.

use std::net::IpAddr;

use anyhow::Result;

use super::super::facts::{NODES, ROUTER_TO_CLIENT, VIPS};
use super::super::maps::Maps;
use crate::capture::{Captures, WHOLE};
use crate::host::Node;
use crate::pcap::{Frame, Transport};
use crate::suite::Bench;

const COUNT: usize = 3;
/// Payload bytes: the usual, an odd number, nearly a full packet.
const SIZES: [&str; 3] = ["56", "57", "1400"];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let captures = Captures::start(bench.lab, "ping", &[ROUTER_TO_CLIENT], "icmp or icmp6", WHOLE)?;
    let client = bench.node("client")?;
    let before = VIPS.map(|vip| replied(bench, vip));
    let mut received = Vec::new();
    for vip in VIPS {
        let answers = std::thread::scope(|scope| {
            let pings = SIZES.map(|size| scope.spawn(move || ping(client, vip, size)));
            pings.into_iter().map(|ping| ping.join().unwrap_or(Ok(0))).collect::<Result<Vec<_>>>()
        })?;
        received.push(answers.into_iter().sum::<usize>());
    }
    let frames = bench.captured(captures)?;
    let frames = frames.get(&ROUTER_TO_CLIENT).map(Vec::as_slice).unwrap_or_default();
    let wanted = COUNT * SIZES.len();
    for ((vip, received), before) in VIPS.into_iter().zip(received).zip(before) {
        let (replies, broken) = echo_replies(frames, vip);
        let counted = replied(bench, vip)? - before?;
        bench.expect(
            received == wanted && replies == wanted && broken == 0 && counted >= wanted as u64,
            format!(
                "{vip}: {received} of {wanted} pings answered, {replies} replies captured, {broken} with a wrong \
                 checksum; the nodes counted {counted}"
            ),
        );
    }
    Ok(())
}

/// How many were answered.
fn ping(client: &Node, vip: IpAddr, size: &str) -> Result<usize> {
    let (count, target) = (COUNT.to_string(), vip.to_string());
    let argv = ["ping", "-n", "-q", "-c", &count, "-i", "0.2", "-W", "1", "-s", size, &target];
    Ok(answered(&client.output(argv)?.stdout))
}

/// "3 packets transmitted, 2 received, 33% packet loss, time 405ms".
fn answered(text: &str) -> usize {
    let line = text.lines().find(|line| line.contains("packets transmitted")).unwrap_or_default();
    let part = line.split(',').find(|part| part.contains("received")).unwrap_or_default();
    part.split_ascii_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Replies from a VIP, and how many of them have a wrong checksum.
fn echo_replies(frames: &[Frame], vip: IpAddr) -> (usize, usize) {
    let packets = frames.iter().filter_map(Frame::ip).filter(|packet| packet.src == vip);
    let replies = packets.filter(|packet| {
        matches!(packet.transport(), Transport::Icmp { kind: 0, .. } | Transport::Icmp6 { kind: 129, .. })
    });
    replies.fold((0, 0), |(all, broken), packet| (all + 1, broken + usize::from(!packet.checksums_ok())))
}

fn replied(bench: &Bench<'_>, vip: IpAddr) -> Result<u64> {
    NODES.iter().map(|node| Maps::of(bench.node(node.name)?).echo_replied(vip)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_ping_is_read() {
        let text = "PING 20.20.20.1 (20.20.20.1) 56(84) bytes of data.\n\n--- 20.20.20.1 ping statistics ---\n\
                    3 packets transmitted, 2 received, 33.3333% packet loss, time 405ms\n";
        assert_eq!(answered(text), 2);
        assert_eq!(answered("ping: connect: Network is unreachable"), 0);
    }
}
