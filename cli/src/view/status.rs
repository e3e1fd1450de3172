//! A node at a glance: what an operator asks first, and everything that is not as it should be.

use std::time::SystemTime;

use proto::v1::{Condition, EndpointRoute, NodeStatus, Peer, Pool, Service, Vip};

use super::{View, conditions, is_bad, is_elsewhere, is_leaving, lines, peer, pool, trouble};
use crate::clock;
use crate::noun::Noun;
use crate::table;

/// What a node said at one time.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) node: NodeStatus,
    pub(crate) vips: Vec<Vip>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) services: Vec<Service>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) routes: Vec<EndpointRoute>,
}

impl Snapshot {
    pub(crate) fn render(&self, wide: bool, now: SystemTime) -> String {
        let mut text = lines(&self.summary(now));
        let peers = if wide { self.peers.clone() } else { here(&self.peers) };
        for section in [
            section(&peers, wide, now),
            section(&self.vips, wide, now),
            section(&self.pools, wide, now),
            section(&self.services, wide, now),
            wide.then(|| section(&self.routes, wide, now)).flatten(),
            wide.then(|| conditions(&self.node.conditions, now)).flatten(),
        ]
        .into_iter()
        .flatten()
        {
            text.push('\n');
            text.push_str(&section);
        }
        let problems = self.problems();
        if !problems.is_empty() {
            text.push_str("\nproblems\n");
            text.extend(problems.iter().map(|problem| format!("  {problem}\n")));
        }
        text
    }

    /// One sentence per thing that is not as it should be.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.node_problems();
        let detached = self.node.interfaces.iter().filter(|interface| interface.xdp_mode == "detached");
        problems
            .extend(detached.map(|it| format!("interface {}: XDP is not attached: {}", it.name, it.message)));
        problems.extend(staying(&self.peers).filter_map(peer_problem));
        problems.extend(staying(&self.vips).filter_map(|vip| self.vip_problem(vip)));
        problems.extend(staying(&self.pools).flat_map(pool_problems));
        problems.extend(staying(&self.services).filter_map(|it| with_trouble(it, service_problem(it))));
        problems.extend(staying(&self.routes).filter_map(|it| with_trouble(it, route_problem(it))));
        problems
    }

    /// "Ready" repeats the words of whatever keeps the node from it: said once.
    fn node_problems(&self) -> Vec<String> {
        let bad: Vec<_> = self.node.conditions.iter().filter(|condition| is_bad(condition)).collect();
        let repeated = |it: &Condition| {
            it.r#type == "Ready"
                && bad.iter().any(|other| other.r#type != "Ready" && other.message == it.message)
        };
        bad.iter()
            .filter(|it| !repeated(it))
            .map(|it| {
                format!(
                    "node: {}: {}",
                    it.r#type,
                    if it.message.is_empty() { &it.reason } else { &it.message }
                )
            })
            .collect()
    }

    fn summary(&self, now: SystemTime) -> Vec<(&'static str, String)> {
        let node = &self.node;
        let ready = node.conditions.iter().find(|condition| condition.r#type == "Ready");
        let state = match ready {
            Some(ready) if is_bad(ready) => format!("NOT READY: {}", ready.message),
            Some(_) if self.problems().is_empty() => "ready".to_owned(),
            Some(_) => "ready, degraded".to_owned(),
            None => "unknown".to_owned(),
        };
        let up = clock::since(node.started_at.as_ref(), now);
        let up = if up.is_empty() { up } else { format!(", up {up}") };
        let (peers, routes) = (here(&self.peers), here(&self.routes));
        let established = peers.iter().filter(|peer| peer::is_established(peer)).count();
        let announced = self.vips.iter().filter(|it| it.status.as_ref().is_some_and(|s| s.announced)).count();
        let installed = routes.iter().filter(|it| it.status.as_ref().is_some_and(|s| s.installed)).count();
        let interfaces: Vec<String> = node
            .interfaces
            .iter()
            .map(|interface| format!("{} {}", interface.name, interface.xdp_mode))
            .collect();
        vec![
            ("node", node.name.clone()),
            ("state", state),
            ("daemon", format!("vipcastd {}{up}", node.version)),
            ("config", format!("revision {}, digest {}", node.revision, pool::short(&node.config_digest))),
            (
                "bgp",
                format!(
                    "AS {}, router id {}, {established}/{} established",
                    node.asn,
                    node.router_id,
                    peers.len()
                ),
            ),
            ("vips", format!("{announced}/{} announced", self.vips.len())),
            ("routes", format!("{installed}/{} installed", routes.len())),
            ("datapath", interfaces.join(", ")),
        ]
    }

    /// A VIP that services use shall be announced and reach a peer. One that none uses is not missed.
    fn vip_problem(&self, vip: &Vip) -> Option<String> {
        if !self.services.iter().any(|it| it.spec.as_ref().is_some_and(|spec| spec.vip == vip.name())) {
            return None;
        }
        let status = vip.status.clone().unwrap_or_default();
        let what = match status.announced {
            false => Some("not announced"),
            true if status.advertised_to.is_empty() => Some("announced, but no peer has it"),
            true => None,
        };
        with_trouble(vip, what.map(str::to_owned))
    }
}

/// Those whose node_selector takes this node.
fn here<T: Noun>(list: &[T]) -> Vec<T> {
    list.iter().filter(|resource| !is_elsewhere(*resource)).cloned().collect()
}

/// What is being removed owes nothing any more.
fn staying<T: Noun>(list: &[T]) -> impl Iterator<Item = &T> {
    list.iter().filter(|resource| !is_leaving(*resource))
}

/// A table with the kind's name in place of NAME.
fn section<T: View>(list: &[T], wide: bool, now: SystemTime) -> Option<String> {
    if list.is_empty() {
        return None;
    }
    let mut list = list.to_vec();
    T::sort(&mut list);
    let word = T::WORD.to_uppercase();
    let mut header: Vec<&str> = T::header(wide);
    if let Some(first) = header.first_mut() {
        *first = &word;
    }
    Some(table::render(&header, list.iter().map(|resource| resource.row(wide, now)).collect()))
}

/// "vip web: not announced: healthy 0 < 1": what we see and what the node says of it.
fn with_trouble<T: Noun>(resource: &T, what: Option<String>) -> Option<String> {
    let trouble = trouble(resource.conditions());
    let text = match (what, trouble.as_str()) {
        (None, "") => return None,
        (Some(what), "") => what,
        (Some(what), trouble) if !trouble.starts_with(&what) => format!("{what}: {trouble}"),
        (Some(_), trouble) => trouble.to_owned(),
        (None, trouble) => trouble.to_owned(),
    };
    Some(format!("{} {}: {text}", T::WORD, resource.name()))
}

fn peer_problem(it: &Peer) -> Option<String> {
    let down = !peer::is_established(it) && !it.spec.as_ref().is_some_and(|spec| spec.shutdown);
    if is_elsewhere(it) || !down {
        return None;
    }
    let status = it.status.clone().unwrap_or_default();
    let state = if status.state.is_empty() { "no session" } else { &status.state };
    let what = if status.last_error.is_empty() {
        state.to_owned()
    } else {
        format!("{state}: {}", status.last_error)
    };
    Some(format!("peer {}: {what}", it.name()))
}

fn pool_problems(it: &Pool) -> Vec<String> {
    let missing = pool::missing(it);
    if missing.is_empty() {
        return with_trouble(it, None).into_iter().collect();
    }
    missing.into_iter().map(|reason| format!("pool {}: {reason}", it.name())).collect()
}

fn service_problem(it: &Service) -> Option<String> {
    let healthy = it.status.as_ref().is_some_and(|status| status.healthy);
    (!healthy).then(|| "not healthy".to_owned())
}

fn route_problem(it: &EndpointRoute) -> Option<String> {
    let installed = it.status.as_ref().is_some_and(|status| status.installed);
    (!installed && !is_elsewhere(it)).then(|| "not installed".to_owned())
}
