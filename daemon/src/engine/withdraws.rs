//! From the last failing probe to the moment when the kernel took the withdraw: measured for each VIP that health took
//! away, logged, and shown in its status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bgpd::SpeakerStatus;
use health::Verdict;
use ipnet::IpNet;
use model::Name;
use tracing::info;

use crate::plan::{Observed, Plan, Reason, VipPlan, target};

#[derive(Debug, Default)]
pub(super) struct Withdraws {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<IpAddr, Waiting>,
    latencies: BTreeMap<IpAddr, Duration>,
}

#[derive(Debug)]
struct Waiting {
    name: Name,
    prefix: IpNet,
    failed_at: SystemTime,
}

impl Withdraws {
    /// `vip` was announced by the plan before and is not by this one.
    pub(super) fn begin(&self, name: &Name, vip: &VipPlan, plan: &Plan, observed: &Observed) {
        if !matches!(vip.announce, Err(Reason::BelowMinHealthy { .. })) {
            return;
        }
        if let Some(failed_at) = last_failure(vip, plan, observed) {
            let waiting = Waiting { name: name.clone(), prefix: vip.prefix, failed_at };
            self.lock().waiting.insert(vip.address, waiting);
        }
    }

    pub(super) fn cancel(&self, address: &IpAddr) {
        self.lock().waiting.remove(address);
    }

    /// Takes note of withdraws that the kernel has accepted meanwhile.
    pub(super) fn finish(&self, speaker: &SpeakerStatus) {
        let mut state = self.lock();
        let State { waiting, latencies } = &mut *state;
        waiting.retain(|address, waiting| {
            let accepted = speaker.last_withdrawn.get(&waiting.prefix);
            let Some(latency) = accepted.and_then(|at| at.duration_since(waiting.failed_at).ok()) else {
                return true;
            };
            let ms = latency.as_secs_f64() * 1000.0;
            info!(vip = waiting.name.as_str(), prefix = %waiting.prefix, ms, "withdraw accepted by the kernel");
            latencies.insert(*address, latency);
            false
        });
    }

    pub(super) fn latencies(&self) -> BTreeMap<IpAddr, Duration> {
        self.lock().latencies.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the probe ended that took the last backend of this VIP down.
fn last_failure(vip: &VipPlan, plan: &Plan, observed: &Observed) -> Option<SystemTime> {
    let services = plan.services.values().filter(|service| service.id.vip == vip.address);
    let pools = services.filter_map(|service| service.pool.0.rsplit_once('/'));
    let named = pools.filter_map(|(name, _)| plan.pools.get_key_value(&model::scalar::name(name).ok()?));
    let targets = named.flat_map(|(name, pool)| {
        pool.ways.values().flat_map(|way| way.keys()).map(move |backend| target(name, *backend))
    });
    targets
        .filter_map(|target| observed.health.targets.get(&target))
        .filter(|state| state.verdict == Verdict::Down)
        .filter_map(|state| state.last_failure_at)
        .max()
}
