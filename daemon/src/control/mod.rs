//! The node behind the API: reads come from the engine's view, writes go through the store. A write is checked against
//! the whole stored configuration, committed, and only then acknowledged; what it causes shows in the view.

mod linger;
mod node;
mod status;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::control::{BoxFuture, BoxStream};
use api::{Control, ControlError, Document, Kind, Resource, WatchEvent};
use proto::v1;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::engine::{Clock, View};
use crate::mechanism::Datapath;
use crate::resource;
use crate::store::Store;
use status::Counters;

/// What the node says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub router_id: Ipv4Addr,
    pub asn: u32,
    pub seed: Option<[u64; 2]>,
    pub ingress: Vec<String>,
    /// How long removals serve on.
    pub linger: Duration,
}

impl From<&Config> for Identity {
    fn from(config: &Config) -> Self {
        Self {
            name: config.node.name.clone(),
            labels: config.node.labels.clone(),
            router_id: config.bgp.router_id,
            asn: config.bgp.asn,
            seed: config.seed,
            ingress: config.datapath.interfaces.clone(),
            linger: config.linger,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct NodeControl {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    store: Arc<dyn Store>,
    view: tokio::sync::watch::Receiver<Arc<View>>,
    datapath: Arc<dyn Datapath>,
    clock: Clock,
    /// One write at a time: check and commit belong together.
    writing: Mutex<()>,
    counters: Counters,
}

impl NodeControl {
    pub fn new(
        identity: Identity,
        store: Arc<dyn Store>,
        view: tokio::sync::watch::Receiver<Arc<View>>,
        datapath: Arc<dyn Datapath>,
        clock: Clock,
    ) -> Self {
        let counters = Counters::default();
        let inner = Inner { identity, store, view, datapath, clock, writing: Mutex::default(), counters };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Stored resources of a kind and those that linger, by name; without status.
    fn present(&self, kind: Kind) -> BTreeMap<String, Resource> {
        let contents = self.store.contents().borrow().clone();
        let now = self.clock.now();
        let mut all = BTreeMap::new();
        for linger in contents.lingers.iter().filter(|l| l.until > now) {
            for mut resource in
                resource::of_document(&linger.document).into_iter().filter(|r| r.kind() == kind)
            {
                resource::meta_mut(&mut resource).removal_at = Some(linger.until.into());
                all.insert(resource.name().to_owned(), resource);
            }
        }
        let stored = contents.resources.iter().filter(|((k, _), _)| *k == kind);
        all.extend(stored.map(|((_, name), resource)| (name.clone(), resource.clone())));
        all
    }

    /// With the present status.
    async fn dressed(&self, resources: impl IntoIterator<Item = Resource>) -> Vec<Resource> {
        let stats = self.counters.get(self.datapath.as_ref()).await;
        let view = self.view();
        resources.into_iter().map(|r| status::dress(r, &view, &stats, &self.identity)).collect()
    }

    async fn get(&self, kind: Kind, name: String) -> Result<Resource, ControlError> {
        let found = self.present(kind).remove(&name);
        let found = found.ok_or(ControlError::NotFound { kind, name })?;
        let dressed = self.dressed([found]).await.pop();
        dressed.ok_or_else(|| ControlError::Internal("a resource got lost".into()))
    }
}

impl Control for NodeControl {
    fn get(&self, kind: Kind, name: &str) -> BoxFuture<'_, Result<Resource, ControlError>> {
        let name = name.to_owned();
        Box::pin(self.inner.get(kind, name))
    }

    fn list(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<Resource>, ControlError>> {
        Box::pin(async move { Ok(self.inner.dressed(self.inner.present(kind).into_values()).await) })
    }

    fn apply(
        &self,
        resource: Resource,
        validate_only: bool,
    ) -> BoxFuture<'_, Result<Resource, ControlError>> {
        Box::pin(async move {
            let stored = self.inner.apply(resource, validate_only).await?;
            let dressed = self.inner.dressed([stored]).await.pop();
            dressed.ok_or_else(|| ControlError::Internal("a resource got lost".into()))
        })
    }

    fn delete(
        &self,
        kind: Kind,
        name: &str,
        etag: &str,
        validate_only: bool,
    ) -> BoxFuture<'_, Result<(), ControlError>> {
        let (name, etag) = (name.to_owned(), etag.to_owned());
        Box::pin(self.inner.delete(kind, name, etag, validate_only))
    }

    fn watch(
        &self,
        kind: Kind,
        from_revision: u64,
    ) -> BoxFuture<'_, Result<BoxStream<Result<WatchEvent, ControlError>>, ControlError>> {
        Box::pin(async move { watch::follow(self.inner.clone(), kind, from_revision) })
    }

    fn apply_config(
        &self,
        request: v1::ApplyConfigRequest,
    ) -> BoxFuture<'_, Result<v1::ApplyConfigResponse, ControlError>> {
        Box::pin(self.inner.apply_config(request))
    }

    fn get_config(&self) -> BoxFuture<'_, Result<Document, ControlError>> {
        Box::pin(async move { Ok(api::normalized(&self.inner.store.contents().borrow().document())) })
    }

    fn node_status(&self) -> BoxFuture<'_, Result<v1::NodeStatus, ControlError>> {
        Box::pin(async move {
            let stats = self.inner.counters.get(self.inner.datapath.as_ref()).await;
            Ok(node::status(&self.inner.identity, &self.inner.view(), Some(&stats)))
        })
    }

    fn watch_node(&self) -> BoxFuture<'_, Result<BoxStream<v1::NodeStatus>, ControlError>> {
        Box::pin(async move { Ok(watch::follow_node(self.inner.clone())) })
    }

    fn datapath(&self) -> BoxFuture<'_, Result<v1::DatapathState, ControlError>> {
        Box::pin(self.inner.datapath_state())
    }
}

fn timestamp(at: SystemTime) -> prost_types::Timestamp {
    at.into()
}

#[cfg(test)]
mod tests;
