//! `vipcastd detach`: everything that vipcast put into this host's kernel goes, in the order of a removal: withdraw,
//! linger, unprogram. The daemon must be stopped; the store stays.

use std::time::Duration;

use anyhow::{Context, bail};
use bgpd::driver::{Shutdown, Speaker};
use bgpd::{PeerState, SpeakerStatus};
use datapath::Datapath;
use routemgr::RouteManager;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::engine;
use crate::lock::InstanceLock;
use crate::plan::{self, Facts, Observed};
use crate::run::{open_store, route_options, speaker_config};
use crate::store::{Condition, Store};

/// Longest wait for sessions that tell routers that our routes are gone.
const SESSIONS: Duration = Duration::from_secs(20);

pub async fn detach(config: &Config, withdraw: bool) -> anyhow::Result<()> {
    let _lock = InstanceLock::take(&config.paths.run)?;
    if withdraw {
        withdraw_all(config).await?;
    }
    Datapath::remove(&config.paths.pins).context("cannot remove the datapath")?;
    info!(pins = %config.paths.pins.display(), "datapath removed");
    let manager = RouteManager::start(route_options(config)).await?;
    manager.uninstall().await.context("routes, addresses and sysctls")?;
    info!("routes and addresses removed, sysctls restored");
    Ok(())
}

/// A router that kept our routes as stale drops them when a session comes up that neither sends them nor claims that
/// forwarding went on (RFC 4724 4.2).
async fn withdraw_all(config: &Config) -> anyhow::Result<()> {
    let store = open_store(config)?;
    if let Condition::Unreadable { why, remedy } = store.condition() {
        bail!(
            "nobody knows which routers to tell: {why}; {remedy}; `--no-withdraw` goes on without telling them"
        );
    }
    let contents = store.contents().borrow().clone();
    let intent = engine::intent(&contents).map_err(anyhow::Error::msg)?;
    let facts = Facts::from(config);
    let plan = plan::plan(&intent, &facts, &Observed::default(), std::time::SystemTime::now());
    let wanted = bgpd::Wanted { peers: plan.bgp.peers, complete: true, ..bgpd::Wanted::default() };
    let expected = wanted.peers.values().filter(|peer| peer.enabled).count();
    if expected == 0 {
        return Ok(());
    }
    let speaker =
        Speaker::start(speaker_config(config)).context("cannot start the BGP speaker to withdraw")?;
    speaker.set_wanted(wanted);
    let told = tokio::time::timeout(SESSIONS, told(speaker.status(), expected)).await;
    match told {
        Ok(()) => info!(peers = expected, "withdrawn everywhere"),
        Err(_) => warn!("not every peer could be told; they drop the routes when their restart timer ends"),
    }
    speaker.shutdown(Shutdown::Cease("vipcast was detached from this host".into())).await;
    tokio::time::sleep(config.linger).await;
    Ok(())
}

async fn told(mut status: watch::Receiver<std::sync::Arc<SpeakerStatus>>, expected: usize) {
    let up = |status: &SpeakerStatus| {
        let up = status.peers.values().filter(|p| p.state == PeerState::Established && p.end_of_rib_sent);
        up.count() >= expected
    };
    // An error means that the speaker ended; then nobody can be told any more.
    let _ = status.wait_for(|status| up(status)).await;
}
