//! `spread`: every connection is answered by the server that the pure model names, and everybody carries some.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::facts::{SERVERS, WEB};
use super::super::predict::Model;
use super::super::replies::{self, ask, judge, packets, shares};
use crate::netstat::{self, Counters};
use crate::suite::Bench;

const PORTS: std::ops::Range<u16> = 20_000..20_600;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (nodes, servers) = (packets(bench, WEB)?, servers(bench)?);
    let replies = ask(bench, WEB, PORTS)?;
    bench.keep_json("replies.json", &replies)?;
    let nodes = replies::since(&nodes, &packets(bench, WEB)?);
    bench.keep_json("node-packets.json", &nodes)?;
    let judged = judge(&replies, WEB.client(), &Model::new(WEB));

    let all = PORTS.len();
    bench.expect(
        judged.named == all,
        format!(
            "{all} connections, {} replies with a name: {}{}",
            judged.named,
            judged.shares(),
            judged.examples()
        ),
    );
    bench.expect(
        judged.as_predicted == all,
        format!(
            "{} of {all} from exactly the server that the model predicts{}",
            judged.as_predicted,
            judged.examples()
        ),
    );
    let accepted = accepted(&servers, &self::servers(bench)?);
    let enough = |server: &&str| {
        accepted.get(server).copied().unwrap_or(0)
            >= judged.by_server.get(*server).copied().unwrap_or(0).max(1) as u64
    };
    let names = SERVERS.map(|server| server.name);
    bench.expect(
        names.iter().all(enough) && judged.by_server.len() == names.len(),
        format!("connections accepted by the servers' kernels (probes among them): {}", shares(&accepted)),
    );
    bench.expect(
        nodes.values().all(|count| *count > 0),
        format!("packets forwarded by the nodes' own counters: {}", shares(&nodes)),
    );
    Ok(())
}

fn servers(bench: &Bench<'_>) -> Result<BTreeMap<&'static str, Counters>> {
    SERVERS.iter().map(|server| Ok((server.name, netstat::of(bench.node(server.name)?)?))).collect()
}

/// Connections that each server's kernel has accepted in between.
fn accepted(
    before: &BTreeMap<&'static str, Counters>,
    after: &BTreeMap<&'static str, Counters>,
) -> BTreeMap<&'static str, u64> {
    let growth = |name: &&str| before.get(*name).zip(after.get(*name));
    before
        .keys()
        .filter_map(|name| growth(name).map(|(b, a)| (*name, netstat::growth(b, a, "TcpPassiveOpens"))))
        .collect()
}
