//! Load for the checks that break something: connections that stay, and new ones that arrive.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::facts::{LbNode, NODES, WEB};
use crate::capture::{Captures, Point};
use crate::pcap::{Frame, Transport};
use crate::suite::Bench;
use crate::traffic::drive::Client;
use crate::traffic::job::{Arrive, FailureKind, Held, Hold, Job, Opened};

const OPEN: Duration = Duration::from_secs(15);
/// Of one frame.
const PAYLOAD: u32 = 600;
const GIVE_UP: Duration = Duration::from_secs(12);
/// From closing the pipe to the last result: at most one frame of each connection is under way.
const FINISH: Duration = Duration::from_secs(20);

/// Connections that exchange a checked frame again and again.
pub(super) struct Long {
    client: Client,
    pub(super) connections: usize,
}

impl Long {
    /// Opens one connection from each port; returns when all are open.
    pub(super) fn open(bench: &Bench<'_>, ports: Range<u16>, interval: Duration) -> Result<Self> {
        let job = Job::Hold(Hold {
            target: WEB.address(),
            source: WEB.client(),
            ports: ports.collect(),
            payload: PAYLOAD,
            interval_ms: u64::try_from(interval.as_millis())?,
            give_up_ms: u64::try_from(GIVE_UP.as_millis())?,
        });
        let mut client = Client::start(bench.node("client")?, &job)?;
        let opened: Opened = client.answer(OPEN)?;
        ensure!(
            opened.failed == 0,
            "{} of {} long connections could not be opened",
            opened.failed,
            opened.open + opened.failed
        );
        bench.step(format!(
            "{} long connections, a checked frame on each every {} ms",
            opened.open,
            interval.as_millis()
        ));
        Ok(Self { client, connections: opened.open })
    }

    /// As [`Long::open`], and which of them go through which node, by the SYNs at the other ends of the nodes' links.
    pub(super) fn open_traced(
        bench: &Bench<'_>,
        ports: Range<u16>,
        interval: Duration,
    ) -> Result<(Self, BTreeMap<&'static str, usize>)> {
        let points = NODES.map(LbNode::lan_end);
        let filter = format!("dst host {} and tcp dst port {} and tcp[13] & 2 != 0", WEB.vip, WEB.port);
        let captures = Captures::start(bench.lab, "syn", &points, &filter, crate::capture::WHOLE)?;
        let long = Self::open(bench, ports.clone(), interval)?;
        let frames = bench.captured(captures)?;
        let by_node = NODES.iter().map(|node| (node.name, flows(&frames, node.lan_end(), &ports))).collect();
        Ok((long, by_node))
    }

    pub(super) fn close(self) -> Result<Vec<Held>> {
        self.client.finish(FINISH).context("long connections")
    }
}

/// Different client ports whose SYN was seen.
fn flows(frames: &BTreeMap<Point, Vec<Frame>>, at: Point, ports: &Range<u16>) -> usize {
    let packets = frames.get(&at).into_iter().flatten().filter_map(Frame::ip);
    let sources = packets.filter_map(|packet| match packet.transport() {
        Transport::Tcp { src, .. } if ports.contains(&src) => Some(src),
        _ => None,
    });
    sources.collect::<std::collections::BTreeSet<_>>().len()
}

/// New connections at a steady pace, each from a port of its own.
pub(super) fn arrivals(bench: &Bench<'_>, ports: Range<u16>, interval: Duration) -> Result<Client> {
    let job = Job::Arrive(Arrive {
        target: WEB.address(),
        source: WEB.client(),
        ports: ports.collect(),
        interval_ms: u64::try_from(interval.as_millis())?,
        limit_ms: 3000,
    });
    Client::start(bench.node("client")?, &job)
}

/// How a set of long connections went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) connections: usize,
    pub(super) frames: u64,
    pub(super) resets: usize,
    pub(super) wrong_bytes: usize,
    /// Closed, stalled or failed in any other way.
    pub(super) others: usize,
    pub(super) worst_ms: u64,
    pub(super) worst_port: u16,
    pub(super) example: Option<String>,
}

pub(super) fn summary<'h>(held: impl IntoIterator<Item = &'h Held>) -> Summary {
    let mut all = Summary::default();
    for one in held {
        all.connections += 1;
        all.frames += one.frames;
        if one.worst_ms >= all.worst_ms {
            (all.worst_ms, all.worst_port) = (one.worst_ms, one.port);
        }
        let Some(failure) = &one.failure else { continue };
        match failure.kind {
            FailureKind::Reset => all.resets += 1,
            FailureKind::WrongBytes => all.wrong_bytes += 1,
            _ => all.others += 1,
        }
        let server = one.server.as_deref().unwrap_or("nobody");
        all.example.get_or_insert(format!("port {} of {server}: {}", one.port, failure.message));
    }
    all
}

impl Summary {
    /// Every connection lived to the end, and did something.
    pub(super) fn unharmed(&self) -> bool {
        self.connections > 0
            && self.frames >= self.connections as u64
            && self.resets + self.wrong_bytes + self.others == 0
    }

    pub(super) fn text(&self) -> String {
        let example = self.example.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        format!(
            "{} connections, {} frames: {} resets, {} with wrong bytes, {} otherwise broken{example}; worst stall {:.1} s",
            self.connections,
            self.frames,
            self.resets,
            self.wrong_bytes,
            self.others,
            self.worst_ms as f64 / 1000.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::job::Failure;

    #[test]
    fn a_summary_counts_every_way_to_fail() {
        let held = |port, kind: Option<FailureKind>| Held {
            port,
            server: Some("ep1".into()),
            frames: 3,
            bytes: 9,
            worst_ms: u64::from(port),
            worst_at_ms: 0,
            failure: kind.map(|kind| Failure { kind, at_ms: 0, message: "x".into() }),
        };
        let good = summary(&[held(1, None), held(5, None)]);
        assert!(good.unharmed());
        assert_eq!((good.worst_ms, good.worst_port, good.frames), (5, 5, 6));
        for kind in [FailureKind::Reset, FailureKind::WrongBytes, FailureKind::Stalled, FailureKind::Closed] {
            assert!(!summary(&[held(1, None), held(2, Some(kind))]).unharmed(), "{kind:?}");
        }
        assert!(!summary(&[]).unharmed());
        assert!(!summary(&[Held { frames: 0, ..held(1, None) }]).unharmed());
    }
}
