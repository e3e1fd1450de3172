//! Watch streams: commits in order, and a resource again when its conditions change. Bounded: a reader that does not
//! keep up is cut off and begins again.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::control::BoxStream;
use api::{ControlError, Kind, Resource, WatchEvent};
use datapath::Stats;
use proto::v1;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Inner, node, status};
use crate::engine::{Dated, View};
use crate::resource;
use crate::store::{Committed, Event, HISTORY};

/// Events that wait for the reader.
const WAITING: usize = 64;

type Item = Result<WatchEvent, ControlError>;

pub(super) fn follow(inner: Arc<Inner>, kind: Kind, from: u64) -> Result<BoxStream<Item>, ControlError> {
    let follow = inner.store.follow();
    let contents = inner.store.contents().borrow().clone();
    let mut first = Vec::new();
    if from == 0 {
        let all = contents.resources.values().filter(|r| r.kind() == kind);
        first.extend(all.map(|r| Event::Updated(r.clone())).map(|event| (contents.revision, event)));
    } else {
        let missed = inner.store.since(from).ok_or(ControlError::Compacted {
            oldest: contents.revision.saturating_sub(HISTORY as u64 - 1).max(from + 1),
        })?;
        for commit in missed.iter().filter(|c| c.revision <= contents.revision) {
            first.extend(commit.events.iter().map(|event| (commit.revision, event.clone())));
        }
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let watcher = Watcher { view: inner.view.clone(), inner, kind, sent: BTreeMap::new(), out: sender };
    let synced = (from == 0).then_some(contents.revision);
    tokio::spawn(watcher.run(first, synced, contents.revision, follow));
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

struct Watcher {
    inner: Arc<Inner>,
    kind: Kind,
    view: tokio::sync::watch::Receiver<Arc<View>>,
    /// Conditions as last sent.
    sent: BTreeMap<String, Vec<Dated>>,
    out: mpsc::Sender<Item>,
}

/// The reader left.
struct Gone;

impl Watcher {
    async fn run(
        mut self,
        first: Vec<(u64, Event)>,
        synced: Option<u64>,
        mut revision: u64,
        mut follow: tokio::sync::broadcast::Receiver<Arc<Committed>>,
    ) -> Option<()> {
        for (revision, event) in first {
            self.event(revision, &event).await.ok()?;
        }
        if let Some(revision) = synced {
            self.out.send(Ok(WatchEvent::Synced { revision })).await.ok()?;
        }
        loop {
            tokio::select! {
                biased;
                () = self.out.closed() => return None,
                commit = follow.recv() => match commit {
                    Ok(commit) if commit.revision > revision => {
                        revision = commit.revision;
                        for event in &commit.events {
                            self.event(revision, event).await.ok()?;
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return self.out.send(Err(ControlError::Lagged)).await.ok(),
                    Err(RecvError::Closed) => return None,
                },
                changed = self.view.changed() => {
                    changed.ok()?;
                    self.conditions().await.ok()?;
                }
            }
        }
    }

    async fn event(&mut self, revision: u64, event: &Event) -> Result<(), Gone> {
        let (Event::Updated(resource) | Event::Deleted(resource)) = event;
        if resource.kind() != self.kind {
            return Ok(());
        }
        let name = resource.name().to_owned();
        let event = match event {
            Event::Updated(resource) => {
                let view = self.view.borrow().clone();
                self.sent.insert(name.clone(), dated(&view, self.kind, &name));
                WatchEvent::Updated { revision, resource: Box::new(self.dressed(resource, &view)) }
            }
            Event::Deleted(resource) => {
                self.sent.remove(&name);
                WatchEvent::Deleted { revision, resource: Box::new(resource.clone()) }
            }
        };
        self.out.send(Ok(event)).await.map_err(|_| Gone)
    }

    /// Sends what looks different in the newest view.
    async fn conditions(&mut self) -> Result<(), Gone> {
        let view = self.view.borrow_and_update().clone();
        let contents = view.source.contents.clone();
        for resource in contents.resources.values().filter(|r| r.kind() == self.kind) {
            let name = resource.name();
            let now = dated(&view, self.kind, name);
            // What the commit stream has not announced yet comes with it.
            let Some(sent) = self.sent.get_mut(name).filter(|sent| **sent != now) else { continue };
            *sent = now;
            let revision = contents.revision;
            let resource = Box::new(self.dressed(resource, &view));
            self.out.send(Ok(WatchEvent::Updated { revision, resource })).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Counters are left out: they change all the time and are read with Get.
    fn dressed(&self, resource: &Resource, view: &View) -> Resource {
        let resource = resource::without_status(resource.clone());
        status::dress(resource, view, &Stats::default(), &self.inner.identity)
    }
}

fn dated(view: &View, kind: Kind, name: &str) -> Vec<Dated> {
    view.resources.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
}

pub(super) fn follow_node(inner: Arc<Inner>) -> BoxStream<v1::NodeStatus> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut view = inner.view.clone();
    tokio::spawn(async move {
        let mut last = None;
        loop {
            let newest = view.borrow_and_update().clone();
            let status = node::status(&inner.identity, &newest, None);
            if last.as_ref() != Some(&status) {
                last = Some(status.clone());
                if sender.send(status).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                changed = view.changed() => if changed.is_err() { return },
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}
