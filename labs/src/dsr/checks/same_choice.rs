//! `same-choice`: a flow reaches the same server whichever node it comes by. The router sends it through each node in
//! turn; a rule and a table of its own do that, so that the routing daemon never sees it.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::facts::{LbNode, NODES, VIP4, WEB};
use super::super::predict::Model;
use super::super::replies::{self, Judged, ask, judge, packets, shares};
use crate::host::Node;
use crate::suite::Bench;
use crate::traffic::job::Reply;

const PORTS: std::ops::Range<u16> = 21_000..21_050;
/// Table on the router that nothing else uses.
const TABLE: &str = "201";
/// Of the rule that leads to it: before the main table's.
const PREFERENCE: &str = "100";
/// Handshake, question and end of a connection: the client sends at least so many packets.
const PACKETS: u64 = 3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let mut by_port: BTreeMap<u16, Vec<(&str, Option<String>)>> = BTreeMap::new();
    for node in NODES {
        let (replies, carried) = through(bench, node)?;
        bench.keep_json(&format!("replies-{}.json", node.name), &replies)?;
        let judged = judge(&replies, WEB.client(), &Model::new(WEB));
        expect_path(bench, node, &judged, &carried);
        for reply in replies {
            by_port.entry(reply.port).or_default().push((node.name, reply.server));
        }
    }
    let differs = |answers: &[(&str, Option<String>)]| {
        answers.len() != NODES.len()
            || answers.iter().any(|answer| answer.1.is_none() || answer.1 != answers[0].1)
    };
    let wrong: Vec<_> = by_port.iter().filter(|(_, answers)| differs(answers)).collect();
    let example =
        wrong.first().map(|(port, answers)| format!(" (port {port}: {answers:?})")).unwrap_or_default();
    bench.expect(
        wrong.is_empty() && by_port.len() == PORTS.len(),
        format!(
            "{} of {} ports reach the same server through every node{example}",
            by_port.len() - wrong.len(),
            PORTS.len()
        ),
    );
    Ok(())
}

/// The replies that come back when the router knows this node alone, and what each node's counters say.
fn through(bench: &Bench<'_>, node: LbNode) -> Result<(Vec<Reply>, BTreeMap<&'static str, u64>)> {
    let pinned = Pinned::new(bench.node("r1")?, node)?;
    let before = packets(bench, WEB)?;
    let replies = ask(bench, WEB, PORTS)?;
    let carried = replies::since(&before, &packets(bench, WEB)?);
    drop(pinned);
    Ok((replies, carried))
}

fn expect_path(bench: &mut Bench<'_>, node: LbNode, judged: &Judged, carried: &BTreeMap<&'static str, u64>) {
    let least = PACKETS * PORTS.len() as u64;
    let alone =
        carried.iter().all(|(name, count)| if *name == node.name { *count >= least } else { *count == 0 });
    bench.expect(
        alone && judged.named == PORTS.len(),
        format!(
            "through {}: {} of {} answered ({}); packets {}",
            node.name,
            judged.named,
            PORTS.len(),
            judged.shares(),
            shares(carried)
        ),
    );
}

/// A route on the router that wins over BGP's; taken away when dropped. One that stays is in the way of the next.
struct Pinned<'n> {
    router: &'n Node,
}

impl<'n> Pinned<'n> {
    fn new(router: &'n Node, node: LbNode) -> Result<Self> {
        let pinned = Self { router };
        router.sh(&format!("ip route add {VIP4}/32 via {} table {TABLE}", node.lan4))?;
        router.sh(&format!("ip rule add pref {PREFERENCE} to {VIP4} lookup {TABLE}"))?;
        Ok(pinned)
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        // What was never set cannot be taken away.
        let _ = self.router.sh(&format!("ip rule del pref {PREFERENCE}"));
        let _ = self.router.sh(&format!("ip route flush table {TABLE}"));
    }
}
