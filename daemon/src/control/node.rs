//! The node's own status and the kernel's truth about the datapath.

use std::collections::BTreeMap;

use api::ControlError;
use datapath::{Mode, Protocol, ReadBack, Stats, Undefined};
use proto::v1;
use tokio::sync::oneshot;

use super::{Identity, Inner, status::conditions, timestamp};
use crate::engine::View;
use crate::mechanism::Request;
use crate::store::digest;

/// `stats`: with counters of the interfaces.
pub(super) fn status(identity: &Identity, view: &View, stats: Option<&Stats>) -> v1::NodeStatus {
    let read_back = view.source.observed.datapath.read_back.as_deref();
    v1::NodeStatus {
        name: identity.name.clone(),
        labels: identity.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(timestamp(view.started_at)),
        revision: view.source.contents.revision,
        conditions: conditions(&view.node),
        config_digest: digest(&view.source.contents.document()),
        router_id: identity.router_id.to_string(),
        asn: identity.asn,
        interfaces: identity.ingress.iter().map(|name| interface(name, read_back, stats)).collect(),
        restarted_gracefully: view.source.restarted,
    }
}

fn interface(name: &str, read_back: Option<&ReadBack>, stats: Option<&Stats>) -> v1::InterfaceStatus {
    let attached = read_back.and_then(|r| r.attached.get(name));
    let message = match (attached, read_back) {
        (Some(_), _) => String::new(),
        (None, None) => "the datapath was not read back".to_owned(),
        (None, Some(r)) => r.not_attached.get(name).cloned().unwrap_or_else(|| "not attached yet".into()),
    };
    let counters: BTreeMap<String, u64> =
        stats.and_then(|s| s.interfaces.get(name)).cloned().unwrap_or_default();
    v1::InterfaceStatus {
        name: name.to_owned(),
        xdp_mode: match attached {
            Some(Mode::Native) => "native",
            Some(Mode::Generic) => "generic",
            None => "detached",
        }
        .to_owned(),
        message,
        counters,
    }
}

impl Inner {
    pub(super) async fn datapath_state(&self) -> Result<v1::DatapathState, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.datapath.request(Request::Inspect(reply));
        let answer = answer.await.unwrap_or_else(|_| Err("the datapath thread is gone".into()));
        let (read_back, stats) = answer.map_err(|why| ControlError::Precondition {
            subject: format!("the datapath cannot be read: {why}"),
            remedy: "see the node's conditions (vipcast status)".into(),
        })?;
        Ok(state(&self.identity, &read_back, &stats))
    }
}

fn state(identity: &Identity, read_back: &ReadBack, stats: &Stats) -> v1::DatapathState {
    let vips = read_back.vips.iter().map(|(address, spec)| {
        let counters = stats.vips.get(address).into_iter().flatten();
        v1::DatapathVip {
            address: address.to_string(),
            echo: spec.echo,
            undefined: match spec.undefined {
                Undefined::Drop => "drop",
                Undefined::Pass => "pass",
            }
            .to_owned(),
            counters: counters.map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    });
    let services = read_back.services.iter().map(|(id, pool)| {
        let traffic = stats.services.get(id).copied().unwrap_or_default();
        v1::DatapathService {
            vip: id.vip.to_string(),
            protocol: match id.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            }
            .to_owned(),
            port: id.port.into(),
            pool: pool.0.clone(),
            packets: traffic.packets,
            bytes: traffic.bytes,
        }
    });
    let pools = read_back.members.iter().map(|(pool, members)| v1::DatapathPool {
        pool: pool.0.clone(),
        ring_digest: read_back.ring_digests.get(pool).map(|d| format!("{d:016x}")).unwrap_or_default(),
        members: members.iter().map(|m| m.0.to_string()).collect(),
    });
    let backends = stats.backends.iter().map(|((pool, backend), traffic)| v1::DatapathBackend {
        pool: pool.0.clone(),
        address: backend.0.to_string(),
        in_ring: read_back.members.get(pool).is_some_and(|members| members.contains(backend)),
        packets: traffic.packets,
        bytes: traffic.bytes,
    });
    v1::DatapathState {
        interfaces: identity
            .ingress
            .iter()
            .map(|name| interface(name, Some(read_back), Some(stats)))
            .collect(),
        vips: vips.collect(),
        services: services.collect(),
        pools: pools.collect(),
        backends: backends.collect(),
    }
}
