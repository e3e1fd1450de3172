//! Every rule of the plan, against a kernel that does as it is told until a test says otherwise.

mod announcing;
mod membership;
mod removal;

use health::Verdict;
use proto::v1;

use super::*;
use crate::testing::*;

/// Intent, node and kernel.
struct World {
    intent: Intent,
    facts: Facts,
    observed: Observed,
    now: SystemTime,
}

impl World {
    fn of(document: &v1::Config) -> Self {
        let desired = api::desired(document).expect("a legal document");
        let intent = Intent { desired, lingering: Vec::new() };
        Self { intent, facts: facts(), observed: Observed::default(), now: at(0) }
    }

    /// Everything healthy, programmed and announced.
    fn settled(document: &v1::Config) -> Self {
        let mut world = Self::of(document);
        world.settle();
        world
    }

    fn change(&mut self, document: &v1::Config) {
        self.intent.desired = api::desired(document).expect("a legal document");
    }

    /// One pass, without any of it being carried out.
    fn plan(&mut self) -> Plan {
        let plan = plan(&self.intent, &self.facts, &self.observed, self.now);
        self.observed.announced = plan.announced.clone();
        plan
    }

    /// The datapath did as it was told.
    fn program(&mut self, plan: &Plan) {
        self.observed.datapath.attempted = Some(arc(plan.datapath.clone()));
        self.observed.datapath.read_back = Some(arc(mirror(&plan.datapath)));
    }

    fn settle(&mut self) -> Plan {
        let first = self.plan();
        self.observed.routes = arc(routed(&first.routes));
        self.observed.health = arc(probed(&first.health, Verdict::Up));
        self.converge()
    }

    /// Passes until nothing changes any more.
    fn converge(&mut self) -> Plan {
        for _ in 0..4 {
            let plan = self.plan();
            self.program(&plan);
            if self.plan() == plan {
                return plan;
            }
        }
        panic!("the plan does not come to rest");
    }

    fn verdict(&mut self, target: &str, verdict: Verdict) {
        let mut snapshot = (*self.observed.health).clone();
        snapshot.targets.insert(health::Target(target.into()), state(verdict));
        self.observed.health = arc(snapshot);
    }

    fn routes(&mut self, change: impl FnOnce(&mut routemgr::Observed)) {
        let mut observed = (*self.observed.routes).clone();
        change(&mut observed);
        self.observed.routes = arc(observed);
    }

    fn read_back(&mut self, change: impl FnOnce(&mut ::datapath::ReadBack)) {
        let mut read_back = self.observed.datapath.read_back.as_deref().cloned().expect("read back");
        change(&mut read_back);
        self.observed.datapath.read_back = Some(arc(read_back));
    }
}

fn named<'a, T>(map: &'a BTreeMap<Name, T>, name: &str) -> &'a T {
    map.iter().find(|(n, _)| n.as_str() == name).map(|(_, value)| value).expect("there is one of that name")
}

/// "announced", or the word of the reason.
fn word(plan: &Plan, vip: &str) -> &'static str {
    match &named(&plan.vips, vip).announce {
        Ok(()) => "announced",
        Err(reason) => reason.word(),
    }
}

fn prefixes(plan: &Plan) -> Vec<String> {
    plan.bgp.routes.keys().map(ToString::to_string).collect()
}

fn in_ring(plan: &Plan, pool: &str) -> Vec<String> {
    let spec = plan.datapath.pools.get(&::datapath::PoolName(pool.into())).expect("the pool");
    spec.backends.iter().filter(|(_, b)| b.in_ring).map(|(id, _)| id.0.to_string()).collect()
}
