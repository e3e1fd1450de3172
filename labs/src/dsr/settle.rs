//! From "all machines run" to "ready to be checked": programs started, links up, every real server in every node's ring,
//! and every node's announcement accepted by the router.
//!
//! Nothing is done when all of that is so. Looks at the router's BGP table and not at its FIB: how many paths the FIB
//! uses is for a check to find out.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::control;
use super::facts::{NODES, SERVERS, VIP4, VIP6};
use super::router;
use crate::host::Lab;
use crate::suite::Bench;

/// A session that was just lost needs a retry of the router's (1 s) and a backend its probes (250 ms).
const LIMIT: Duration = Duration::from_secs(20);
/// The way from the router's BGP table into its FIB takes milliseconds.
const INSTALLED: Duration = Duration::from_secs(2);
/// Names of the pools in the lab's document.
const POOLS: usize = 2;

/// See [`crate::suite::Suite::settle`].
pub(super) fn settle(bench: &mut Bench<'_>) -> Result<()> {
    if missing(bench.lab)?.is_none() {
        return installed(bench);
    }
    mend(bench.lab)?;
    wait_for_sockets(bench)?;
    let said = control::apply(bench.lab, LIMIT)?;
    bench.keep_text("apply.txt", &said)?;
    let mut last = String::new();
    let settled = bench.wait_for(LIMIT, || {
        Ok(match missing(bench.lab)? {
            None => Some(()),
            Some(what) => {
                last = what;
                None
            }
        })
    })?;
    settled.with_context(|| format!("after {} s still {last}", LIMIT.as_secs()))?;
    bench.step(format!("{} nodes announce, {} real servers in every ring", NODES.len(), SERVERS.len()));
    installed(bench)
}

/// Gives the router's kernel the moment that it is behind its BGP table. With fewer paths than nodes, for whatever
/// reason, the checks go on: they are there to find out.
fn installed(bench: &Bench<'_>) -> Result<()> {
    let router = bench.node("r1")?;
    bench.wait_for(INSTALLED, || {
        let complete =
            |vip: IpAddr| Ok::<_, anyhow::Error>(router::gateways(router, vip)?.len() == NODES.len());
        Ok((complete(VIP4.into())? && complete(VIP6.into())?).then_some(()))
    })?;
    Ok(())
}

/// Starts what does not run and puts cut links back.
fn mend(lab: &Lab) -> Result<()> {
    for node in NODES {
        lab.node("lan")?.run(["ip", "link", "set", "dev", node.lan_port, "up"])?;
        // Does nothing when it runs.
        lab.node(node.name)?.run(lab.exec_line(node.name, "/usr/local/bin/vipcastd")?)?;
    }
    for server in SERVERS {
        lab.node(server.name)?.run(lab.exec_line(server.name, "/usr/local/bin/vipcast-lab")?)?;
    }
    Ok(())
}

fn wait_for_sockets(bench: &Bench<'_>) -> Result<()> {
    for node in NODES {
        let machine = bench.node(node.name)?;
        let log = || std::fs::read_to_string(machine.path("/var/log/vipcastd.log")).unwrap_or_default();
        let up = bench.wait_for(LIMIT, || {
            Ok(std::os::unix::net::UnixStream::connect(machine.path("/run/vipcast/api.sock")).ok())
        })?;
        if up.is_none() {
            bail!("vipcastd on {} does not open its socket; its log ends with:\n{}", node.name, tail(&log()));
        }
    }
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// What is not as it should be; `None`: ready.
fn missing(lab: &Lab) -> Result<Option<String>> {
    for node in NODES {
        if std::os::unix::net::UnixStream::connect(lab.node(node.name)?.path("/run/vipcast/api.sock"))
            .is_err()
        {
            return Ok(Some(format!("no daemon on {}", node.name)));
        }
    }
    for (node, pools) in control::ask::<Vec<Pool>>(lab, &["pool", "list"])? {
        if pools.len() != POOLS {
            return Ok(Some(format!("{node} has {} pools", pools.len())));
        }
        for pool in pools {
            let inside = pool.status.backends.iter().filter(|backend| backend.in_ring).count();
            if inside != SERVERS.len() {
                return Ok(Some(format!(
                    "{inside} real servers in the ring of {} on {node}",
                    pool.meta.name
                )));
            }
        }
    }
    for (family, vip) in [("ipv4", format!("{VIP4}/32")), ("ipv6", format!("{VIP6}/128"))] {
        let question = format!("show bgp {family} unicast {vip} json");
        let answer = lab.node("r1")?.run(["vtysh", "-c", &question])?;
        let paths = serde_json::from_str::<Prefix>(&answer).unwrap_or_default().paths;
        let good = paths.iter().filter(|path| path.valid && !path.stale).count();
        if good != NODES.len() {
            return Ok(Some(format!("{good} good paths to {vip} at r1")));
        }
    }
    Ok(None)
}

#[derive(Debug, Deserialize)]
struct Pool {
    meta: Meta,
    #[serde(default)]
    status: PoolStatus,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct PoolStatus {
    #[serde(default)]
    backends: Vec<BackendStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BackendStatus {
    #[serde(default)]
    in_ring: bool,
}

/// FRR's answer for one prefix; an empty object when it has none.
#[derive(Debug, Default, Deserialize)]
struct Prefix {
    #[serde(default)]
    paths: Vec<BgpPath>,
}

#[derive(Debug, Deserialize)]
struct BgpPath {
    #[serde(default)]
    valid: bool,
    /// Kept for a session that is restarting.
    #[serde(default)]
    stale: bool,
}
