//! The one task that owns the kernel side. It hears announcements, decides what has to be read again, and works through it
//! in passes: sysctls, addresses, routes, ways, outcome. Whatever changes while a pass runs is the next pass's work.
//!
//! Announcements are subscribed before the first dump, so nothing falls between the two. Every error, every overrun of the
//! announcements and every resync interval ends in reading everything again.

mod objects;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use nix::errno::Errno;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::diff::{self, Held};
use crate::manager::Uninstall;
use crate::mirror::{Dirty, Interest, Mirror};
use crate::netlink::{Event, Events, Refusal, Requests, address, link, neighbour, route};
use crate::probe::Probes;
use crate::resolve::Way;
use crate::settings::Settings;
use crate::{Conflict, Error, Observed, Options, Route, RouteKey, Sysctl, Wanted};

/// Least time between the end of one pass and the next: foreign hands that change things all the time get at most a
/// hundred passes a second.
const BREATH: Duration = Duration::from_millis(10);
/// Least interval of resyncs and probes, whatever the options say.
const SHORTEST: Duration = Duration::from_millis(50);
/// Time after an overrun of the announcements in which their queue is read to its end.
const SETTLED: Duration = Duration::from_millis(200);
/// Pause after a failed pass.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Worker {
    options: Options,
    publish: watch::Sender<Arc<Observed>>,
    requests: Requests,
    events: Events,
    settings: Settings,
    mirror: Mirror,
    dirty: Dirty,
    next_resync: Instant,
    not_before: Instant,

    /// `None` before the first wanted set: look, do not touch.
    wanted: Option<Arc<Wanted>>,
    /// The wanted routes by canonical key, and the caller's keys for each.
    routes: BTreeMap<RouteKey, Route>,
    keys: BTreeSet<RouteKey>,
    callers_keys: BTreeMap<RouteKey, Vec<RouteKey>>,

    held: Held,
    foreign: BTreeMap<RouteKey, u8>,
    routes_installed: BTreeSet<RouteKey>,
    addresses_installed: BTreeSet<IpAddr>,
    /// Host addresses that we set and that this kernel does not mark.
    remembered: BTreeSet<IpAddr>,
    ways: BTreeMap<IpAddr, Way>,
    probes: Probes,
    conflicts: Conflicts,
    drift_repaired: u64,
}

/// What stands in the way, by the step that found it.
#[derive(Default)]
struct Conflicts {
    wanted: Vec<Conflict>,
    sysctls: Vec<Conflict>,
    addresses: Vec<Conflict>,
    routes: Vec<Conflict>,
}

impl Conflicts {
    fn all(&self) -> Vec<Conflict> {
        let all: BTreeSet<_> = [&self.wanted, &self.sysctls, &self.addresses, &self.routes]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        all.into_iter().collect()
    }
}

impl Worker {
    /// Opens the sockets and takes the first dump. Changes nothing.
    pub(crate) async fn start(
        options: Options,
        proc_sys: &Path,
        publish: watch::Sender<Arc<Observed>>,
    ) -> Result<Self, Error> {
        let settings = Settings::open(proc_sys, &options.saved_sysctls);
        let (requests, events) = open().await?;
        let now = Instant::now();
        let mut worker = Self {
            probes: Probes::new(options.probe_interval.max(SHORTEST)),
            next_resync: now + options.resync.max(SHORTEST),
            options,
            publish,
            requests,
            events,
            settings,
            mirror: Mirror::default(),
            dirty: Dirty::all(),
            not_before: now,
            wanted: None,
            routes: BTreeMap::new(),
            keys: BTreeSet::new(),
            callers_keys: BTreeMap::new(),
            held: Held::new(),
            foreign: BTreeMap::new(),
            routes_installed: BTreeSet::new(),
            addresses_installed: BTreeSet::new(),
            remembered: BTreeSet::new(),
            ways: BTreeMap::new(),
            conflicts: Conflicts::default(),
            drift_repaired: 0,
        };
        worker.pass().await.map_err(|refusal| Error::Netlink(refusal.to_string()))?;
        Ok(worker)
    }

    pub(crate) async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<Wanted>>>,
        mut uninstall: mpsc::Receiver<Uninstall>,
    ) {
        loop {
            let probe_at = self.probes.next().map(Instant::from_std);
            tokio::select! {
                biased;
                request = uninstall.recv() => {
                    if let Some(answer) = request {
                        // The asker may have gone; what was asked is done all the same.
                        let _ = answer.send(self.uninstall().await);
                    }
                    return;
                }
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = wanted.borrow_and_update().clone();
                    newest.into_iter().for_each(|wanted| self.want(wanted));
                }
                event = self.events.next() => self.hear(event).await,
                () = sleep_until(self.next_resync) => self.resync(),
                () = sleep_until(self.not_before), if self.dirty.any() => {}
                () = sleep_until(probe_at.unwrap_or(self.next_resync)), if probe_at.is_some() => {}
            }
            while let Some(event) = self.events.next().now_or_never() {
                self.hear(event).await;
            }
            if self.dirty.any() && self.not_before <= Instant::now() {
                self.pass_or_retry().await;
            }
            if let Err(refusal) = self.probe_due().await {
                warn!(error = %refusal, "probing next hops failed");
                self.reopen().await;
            }
        }
    }

    fn want(&mut self, wanted: Arc<Wanted>) {
        let first = self.wanted.is_none();
        let mut routes = BTreeMap::new();
        let mut callers_keys: BTreeMap<RouteKey, Vec<RouteKey>> = BTreeMap::new();
        self.conflicts.wanted.clear();
        for (key, route) in &wanted.routes {
            let filed = diff::canonical(key);
            callers_keys.entry(filed).or_default().push(*key);
            if routes.entry(filed).or_insert_with(|| route.clone()) != route {
                let what = diff::describe(&filed, Some(route));
                let reason = "another route with the same prefix, table and metric is wanted".into();
                self.conflicts.wanted.push(Conflict::Kernel { what, reason });
            }
        }
        // A route that is wanted otherwise from now on is no drift.
        self.routes_installed.retain(|key| routes.get(key) == self.routes.get(key));
        self.addresses_installed.retain(|address| wanted.host_addresses.contains(address));
        self.foreign.retain(|key, _| routes.contains_key(key));
        self.ways.retain(|address, _| wanted.resolve.contains(address));
        self.keys = routes.keys().copied().collect();
        self.routes = routes;
        self.callers_keys = callers_keys;
        self.dirty.routes = true;
        self.dirty.foreign |= first;
        self.dirty.host_addresses = true;
        self.dirty.sysctls = true;
        self.dirty.outcome = true;
        self.dirty.ways.extend(wanted.resolve.iter().filter(|address| !self.ways.contains_key(address)));
        self.wanted = Some(wanted);
    }

    async fn hear(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Message(message, port)) => {
                let nothing = BTreeSet::new();
                let resolve = self.wanted.as_ref().map_or(&nothing, |wanted| &wanted.resolve);
                let interest = Interest { keys: &self.keys, resolve, port: self.requests.port() };
                self.mirror.absorb(&message, port, &interest, &mut self.dirty);
            }
            Some(Event::Lost) => {
                warn!("the kernel's announcements overran: reading everything again");
                self.resync();
                // The kernel goes on dropping, without another word, until the queue has been read to its end
                // (NETLINK_S_CONGESTED): what changes before that is found by a second reading.
                self.next_resync = Instant::now() + SETTLED;
            }
            None => self.reopen().await,
        }
    }

    fn resync(&mut self) {
        self.dirty = Dirty::all();
        self.dirty.foreign = !self.foreign.is_empty();
        self.next_resync = Instant::now() + self.options.resync.max(SHORTEST);
    }

    async fn pass_or_retry(&mut self) {
        if let Err(refusal) = self.pass().await {
            warn!(error = %refusal, "reading or changing the kernel's routing state failed: trying again");
            if refusal.errno.is_none() {
                self.reopen().await;
            }
            self.resync();
            self.dirty.foreign = true;
            self.not_before = Instant::now() + RETRY;
        } else {
            self.not_before = Instant::now() + BREATH;
        }
    }

    /// New sockets after the old ones closed, however long it takes.
    async fn reopen(&mut self) {
        loop {
            match open().await {
                Ok((requests, events)) => {
                    (self.requests, self.events) = (requests, events);
                    return self.resync();
                }
                Err(error) => warn!(%error, "netlink cannot be opened again"),
            }
            sleep(RETRY).await;
        }
    }

    async fn pass(&mut self) -> Result<(), Refusal> {
        let mut dirty = std::mem::take(&mut self.dirty);
        if dirty.everything {
            self.mirror.replace_links(&self.requests.dump(link::dump()).await?);
            self.mirror.replace_addresses(&self.requests.dump(address::dump()).await?);
            self.mirror.replace_neighbours(&self.requests.dump(neighbour::dump()).await?);
        }
        for hop in &dirty.lost_hops {
            self.probes.hurry(hop, Instant::now().into_std());
        }
        if let Some(wanted) = self.wanted.clone() {
            if dirty.sysctls {
                self.sync_sysctls(&wanted);
            }
            if dirty.host_addresses {
                self.sync_addresses(&wanted).await?;
            }
            if dirty.routes {
                self.sync_routes(&wanted, &mut dirty).await?;
            }
            self.look_up(&wanted, &dirty).await?;
        }
        self.publish().await
    }

    fn sync_sysctls(&mut self, wanted: &Wanted) {
        let (present, missing): (Vec<_>, Vec<_>) =
            wanted.interfaces.iter().map(String::as_str).partition(|name| self.mirror.index(name).is_some());
        let mut set = if wanted.interfaces.is_empty() { BTreeMap::new() } else { Sysctl::ingress(present) };
        set.extend(wanted.sysctls.iter().map(|(sysctl, value)| (sysctl.clone(), value.clone())));
        let applied = self.settings.apply(&set);
        self.drift_repaired += applied.repaired;
        let missing = missing.into_iter().map(|name| Conflict::Kernel {
            what: format!("interface {name}"),
            reason: "there is no such interface".into(),
        });
        self.conflicts.sysctls = applied.conflicts.into_iter().chain(missing).collect();
    }

    async fn publish(&mut self) -> Result<(), Refusal> {
        let before = self.publish.borrow().clone();
        let resolved = self.judge_all(&before.resolved).await?;
        let installed = self.routes_installed.iter().filter_map(|key| self.callers_keys.get(key));
        let links = self.mirror.links.iter();
        let observed = Observed {
            routes_installed: installed.flatten().copied().collect(),
            host_addresses: self.addresses_installed.clone(),
            resolved,
            interfaces: links.map(|(index, link)| (link.name.clone(), (*index, link.running))).collect(),
            conflicts: self.conflicts.all(),
            drift_repaired: self.drift_repaired,
        };
        if observed != *before {
            log_changes(&before, &observed);
            self.publish.send_replace(Arc::new(observed));
        }
        Ok(())
    }
}

/// Sockets in an order that loses nothing (announcements first), with the rights checked.
async fn open() -> Result<(Requests, Events), Error> {
    let failed = |e: std::io::Error| Error::Netlink(e.to_string());
    let events = Events::subscribe().map_err(failed)?;
    let requests = Requests::open().map_err(failed)?;
    match requests.change(route::malformed(), 0).await {
        Err(refusal) if refusal.is(Errno::EPERM) => Err(Error::NotPermitted),
        Err(refusal) if refusal.errno.is_none() => Err(Error::Netlink(refusal.to_string())),
        _ => Ok((requests, events)),
    }
}

fn log_changes(before: &Observed, now: &Observed) {
    for (address, result) in &now.resolved {
        let old = before.resolved.get(address);
        if old == Some(result) {
            continue;
        }
        match result {
            Ok(way) => {
                info!(%address, device = %way.device, next_hop = %way.next_hop, mtu = way.mtu, "resolved")
            }
            Err(error) if matches!(old, Some(Ok(_))) => {
                warn!(%address, reason = %error, "no longer resolved")
            }
            Err(error) => debug!(%address, reason = %error, "not resolved"),
        }
    }
    for conflict in now.conflicts.iter().filter(|c| !before.conflicts.contains(c)) {
        warn!(%conflict, "conflict");
    }
    for conflict in before.conflicts.iter().filter(|c| !now.conflicts.contains(c)) {
        info!(%conflict, "conflict is gone");
    }
}
