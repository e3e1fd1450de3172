//! Replies compared with the pure model: every port must have been answered, by the server that the model names, and
//! that server must have seen the client's own address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use super::facts::{LbService, NODES};
use super::maps::Maps;
use super::predict::Model;
use crate::suite::Bench;
use crate::traffic::drive;
use crate::traffic::job::{Ask, Job, Reply};

/// Connections at the same time.
const PARALLEL: usize = 32;
/// For one answer.
const LIMIT: Duration = Duration::from_secs(3);

/// What a set of replies says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) asked: usize,
    /// Replies with a server's name in them.
    pub(super) named: usize,
    pub(super) as_predicted: usize,
    /// The server saw the client's own address and port.
    pub(super) own_address: usize,
    pub(super) by_server: BTreeMap<String, usize>,
    /// The first things that are wrong, for people.
    pub(super) wrong: Vec<String>,
}

/// Asks from every port of the client, over TCP or UDP as the service says.
pub(super) fn ask(
    bench: &Bench<'_>,
    service: LbService,
    ports: impl Iterator<Item = u16>,
) -> Result<Vec<Reply>> {
    let ask = Ask {
        target: service.address(),
        source: service.client(),
        ports: ports.collect(),
        parallel: PARALLEL,
        limit_ms: u64::try_from(LIMIT.as_millis())?,
    };
    let rounds = u32::try_from(ask.ports.len() / PARALLEL)? + 2;
    let job = match service.protocol {
        datapath::Protocol::Tcp => Job::Ask(ask),
        datapath::Protocol::Udp => Job::AskUdp(ask),
    };
    drive::run(bench.node("client")?, &job, LIMIT * rounds)
}

pub(super) fn judge(replies: &[Reply], client: IpAddr, model: &Model) -> Judged {
    let mut judged = Judged { asked: replies.len(), ..Judged::default() };
    for reply in replies {
        let from = SocketAddr::new(client, reply.port);
        let expected = model.server(from);
        let Some(server) = reply.server.as_deref().filter(|name| !name.is_empty()) else {
            let error = reply.error.as_deref().unwrap_or("empty reply");
            judged.wrong.push(format!("port {}: {error}", reply.port));
            continue;
        };
        judged.named += 1;
        *judged.by_server.entry(server.to_owned()).or_default() += 1;
        if expected == Some(server) {
            judged.as_predicted += 1;
        } else {
            let expected = expected.unwrap_or("nobody");
            judged.wrong.push(format!("port {}: {server} instead of {expected}", reply.port));
        }
        if reply.seen == Some(from) {
            judged.own_address += 1;
        } else {
            judged.wrong.push(format!("port {}: the server saw {:?}", reply.port, reply.seen));
        }
    }
    judged
}

impl Judged {
    /// Up to three of the things that are wrong.
    pub(super) fn examples(&self) -> String {
        match self.wrong.len() {
            0 => String::new(),
            count => format!(" ({count} wrong: {}…)", self.wrong[..count.min(3)].join(", ")),
        }
    }

    /// "ep1 203 ep2 197 ep3 200".
    pub(super) fn shares(&self) -> String {
        shares(&self.by_server)
    }
}

/// Name and number, name and number.
pub(super) fn shares<K: std::fmt::Display, V: std::fmt::Display>(of: &BTreeMap<K, V>) -> String {
    of.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(" ")
}

/// Packets of a service on every node, by the nodes' own counters.
pub(super) fn packets(bench: &Bench<'_>, service: LbService) -> Result<BTreeMap<&'static str, u64>> {
    NODES.iter().map(|node| Ok((node.name, Maps::of(bench.node(node.name)?).packets(service)?))).collect()
}

/// What was counted in between.
pub(super) fn since(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    let earlier = |name| before.get(name).copied().unwrap_or(0);
    after.iter().map(|(name, count)| (*name, count.saturating_sub(earlier(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::{CLIENT4, WEB};
    use super::*;

    fn reply(port: u16, server: Option<&str>) -> Reply {
        Reply {
            port,
            at_ms: 0,
            took_ms: 1,
            server: server.map(str::to_owned),
            seen: Some(SocketAddr::new(CLIENT4.into(), port)),
            error: None,
        }
    }

    #[test]
    fn empty_replies_wrong_servers_and_foreign_addresses_are_seen() {
        let model = Model::new(WEB);
        let client = IpAddr::from(CLIENT4);
        let right = model.server(SocketAddr::new(client, 1)).unwrap();
        let other = ["ep1", "ep2", "ep3"].into_iter().find(|name| *name != right);
        let good = judge(&[reply(1, Some(right))], client, &model);
        assert_eq!((good.named, good.as_predicted, good.own_address), (1, 1, 1));
        assert!(good.wrong.is_empty());
        for (bad, counts) in [
            (reply(1, None), (0, 0, 0)),
            (reply(1, Some("")), (0, 0, 0)),
            (reply(1, other), (1, 0, 1)),
            (Reply { seen: Some("11.11.11.1:1".parse().unwrap()), ..reply(1, Some(right)) }, (1, 1, 0)),
        ] {
            let judged = judge(std::slice::from_ref(&bad), client, &model);
            assert_eq!((judged.named, judged.as_predicted, judged.own_address), counts, "{bad:?}");
            assert_eq!(judged.wrong.len(), 1, "{bad:?}");
        }
    }
}
