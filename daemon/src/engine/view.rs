//! What the API shows: one immutable picture after each pass, with the conditions of every resource and the times of
//! their last change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bgpd::SpeakerStatus;

use crate::conditions::{self, Finding};
use crate::plan::{Facts, Intent, Observed, Plan};
use crate::resource::Key;
use crate::store::{Condition, Contents};

/// The raw material of one view.
#[derive(Debug, Clone)]
pub struct ViewSource {
    pub contents: Arc<Contents>,
    pub intent: Arc<Intent>,
    pub plan: Arc<Plan>,
    pub observed: Observed,
    pub speaker: Arc<SpeakerStatus>,
    pub bgp_fault: Option<String>,
    pub routes_fault: Option<String>,
    pub store: Condition,
    /// The maps do not hold what the plan wants although it was attempted.
    pub failed: bool,
    /// Routers were told of a graceful restart at this start.
    pub restarted: bool,
    pub withdraw_latencies: BTreeMap<IpAddr, Duration>,
}

#[derive(Debug, Clone)]
pub struct View {
    pub source: ViewSource,
    pub started_at: SystemTime,
    pub resources: BTreeMap<Key, Vec<Dated>>,
    pub node: Vec<Dated>,
}

/// A condition and when its status last changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Dated {
    pub finding: Finding,
    pub since: SystemTime,
}

impl View {
    /// Before the first pass.
    pub fn new(started_at: SystemTime, store: Condition) -> Self {
        let source = ViewSource {
            contents: Arc::default(),
            intent: Arc::default(),
            plan: Arc::default(),
            observed: Observed::default(),
            speaker: Arc::default(),
            bgp_fault: None,
            routes_fault: None,
            store,
            failed: false,
            restarted: false,
            withdraw_latencies: BTreeMap::new(),
        };
        Self { source, started_at, resources: BTreeMap::new(), node: Vec::new() }
    }

    pub(super) fn next(&self, source: ViewSource, facts: &Facts, now: SystemTime) -> Self {
        let mut resources = BTreeMap::new();
        for (key, findings) in conditions::of_resources(&source, facts) {
            let old = self.resources.get(&key).map(Vec::as_slice).unwrap_or_default();
            resources.insert(key, date(findings, old, now));
        }
        let node = date(conditions::of_node(&source, facts), &self.node, now);
        Self { source, started_at: self.started_at, resources, node }
    }

    /// The node serves what is wanted of it.
    pub fn ready(&self) -> bool {
        self.node.iter().any(|c| c.finding.kind == conditions::READY && c.finding.status == Some(true))
    }
}

fn date(findings: Vec<Finding>, old: &[Dated], now: SystemTime) -> Vec<Dated> {
    let since = |finding: &Finding| {
        let same = old.iter().find(|d| d.finding.kind == finding.kind && d.finding.status == finding.status);
        same.map_or(now, |d| d.since)
    };
    findings.into_iter().map(|finding| Dated { since: since(&finding), finding }).collect()
}
