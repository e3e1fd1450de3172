//! `node-death`: a node is cut off under load. The router moves its flows to the others when the hold time is over, and
//! because every node makes the same choice no connection breaks.
//!
//! The cut is at the switch, and the daemon is killed only when the router has dropped the next hop: a daemon that dies
//! first would say goodbye by its closing TCP session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::facts::{LbNode, NODES, VIP4};
use super::super::power::DAEMON;
use super::super::replies::shares;
use super::super::router::gateways;
use super::load::{Long, summary};
use crate::suite::Bench;

const PORTS: std::ops::Range<u16> = 29_000..29_100;
/// Connections that the victim must carry: else its death proves little.
const LEAST: usize = 20;
/// The router's hold time is 3 s.
const DROPPED: Duration = Duration::from_secs(8);
const WORST: Duration = Duration::from_secs(8);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    // Asked from inside: /proc/sys/net shows the network namespace of who reads.
    let rehash = bench.node("client")?.sh("sysctl -n net.core.txrehash")?;
    bench.expect(rehash.trim() == "0", format!("the client's net.core.txrehash is {}", rehash.trim()));
    let (long, by_node) = Long::open_traced(bench, PORTS, Duration::from_millis(50))?;
    bench.keep_json("connections-by-node.json", &by_node)?;
    let victim = victim(&by_node)?;
    let count = long.connections;
    bench.expect(
        by_node.values().all(|flows| *flows > 0) && by_node.values().sum::<usize>() == count,
        format!("{count} connections over all nodes, victim {}: {}", victim.name, shares(&by_node)),
    );
    let cut = cut_and_kill(bench, victim);
    let held = long.close();
    revive(bench, victim)?;
    let (dropped, held) = (cut?, held?);
    bench.keep_json("long.json", &held)?;

    bench.expect(
        dropped.is_some(),
        match dropped {
            Some(after) => format!("r1 dropped the next hop {:.1} s after the cut", after.as_secs_f64()),
            None => format!("r1 still uses the dead node {:.0} s after the cut", DROPPED.as_secs_f64()),
        },
    );
    let all = summary(&held);
    bench.expect(all.unharmed(), all.text());
    bench.expect(
        u128::from(all.worst_ms) <= WORST.as_millis(),
        format!(
            "worst stall {:.1} s of at most {} s (port {})",
            all.worst_ms as f64 / 1000.0,
            WORST.as_secs(),
            all.worst_port
        ),
    );
    Ok(())
}

/// The second node if it carries enough, else the one that carries most.
fn victim(by_node: &BTreeMap<&'static str, usize>) -> Result<LbNode> {
    let flows = |node: &LbNode| by_node.get(node.name).copied().unwrap_or(0);
    let most = NODES.into_iter().max_by_key(flows).filter(|node| flows(node) >= LEAST);
    let preferred = Some(NODES[1]).filter(|node| flows(node) >= LEAST);
    match preferred.or(most) {
        Some(victim) => Ok(victim),
        None => bail!("no node carries {LEAST} connections: {}", shares(by_node)),
    }
}

/// Cuts the node off, waits until the router has dropped it, kills its daemon. `None` when the router kept it.
fn cut_and_kill(bench: &Bench<'_>, victim: LbNode) -> Result<Option<Duration>> {
    let port = victim.lan_end();
    bench.step(format!("cutting the link to {} ({port})", victim.name));
    bench.node(port.node)?.run(["ip", "link", "set", port.interface, "down"])?;
    let cut = Instant::now();
    let router = bench.node("r1")?;
    let dropped = bench.wait_for(DROPPED, || {
        Ok((!gateways(router, VIP4.into())?.contains(&victim.lan4.into())).then(|| cut.elapsed()))
    })?;
    DAEMON.kill(bench.lab, victim.name)?;
    bench.step(format!("{}: daemon killed", victim.name));
    // Connections of the other nodes may have been moved by the router as well: let each of them say something.
    crate::host::interrupt::sleep(Duration::from_millis(500))?;
    Ok(dropped)
}

fn revive(bench: &Bench<'_>, victim: LbNode) -> Result<()> {
    let port = victim.lan_end();
    bench.node(port.node)?.run(["ip", "link", "set", port.interface, "up"])?;
    DAEMON.start(bench.lab, victim.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_victim_carries_enough_connections() {
        let of = |a, b, c| BTreeMap::from([("llb1", a), ("llb2", b), ("llb3", c)]);
        assert_eq!(victim(&of(60, 20, 20)).unwrap().name, "llb2");
        assert_eq!(victim(&of(30, 10, 60)).unwrap().name, "llb3");
        assert!(victim(&of(10, 10, 10)).is_err());
    }
}
