//! Writes: check, commit, answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{ControlError, Kind, Resource};
use model::Desired;
use proto::v1;

use super::{Inner, linger, timestamp};
use crate::resource::{self, Key};
use crate::store::{Commit, Contents, StoreError, digest, etag};

impl Inner {
    pub(super) async fn apply(
        &self,
        resource: Resource,
        validate_only: bool,
    ) -> Result<Resource, ControlError> {
        let _one = self.writing.lock().await;
        let contents = self.store.contents().borrow().clone();
        let key = resource::key(&resource);
        check_etag(&contents, &key, sent_etag(&resource))?;
        let applied = api::apply_one(&contents.document(), &resource).map_err(ControlError::Invalid)?;
        self.can_serve(&applied.desired)?;
        if let Some(stored) = contents.resources.get(&key)
            && resource::said(stored) == resource::said(&resource)
        {
            return Ok(stored.clone());
        }
        let resource = self.stamped(&contents, resource);
        if !validate_only {
            self.commit(&contents, &applied.desired, vec![resource.clone()], Vec::new()).await?;
        }
        Ok(resource)
    }

    pub(super) async fn delete(
        &self,
        kind: Kind,
        name: String,
        etag: String,
        validate_only: bool,
    ) -> Result<(), ControlError> {
        let _one = self.writing.lock().await;
        let contents = self.store.contents().borrow().clone();
        let key = (kind, name);
        if !contents.resources.contains_key(&key) {
            return Err(ControlError::NotFound { kind, name: key.1 });
        }
        check_etag(&contents, &key, &etag)?;
        let users = api::users_of(&contents.document(), kind, &key.1);
        if !users.is_empty() {
            return Err(ControlError::Precondition {
                subject: format!("{kind} {} is used by {}", key.1, users.join(", ")),
                remedy: "delete what uses it first, or point it elsewhere".into(),
            });
        }
        let mut after = (*contents).clone();
        after.resources.remove(&key);
        let desired = api::desired(&after.document()).map_err(ControlError::Invalid)?;
        if !validate_only {
            self.commit(&contents, &desired, Vec::new(), vec![key]).await?;
        }
        Ok(())
    }

    pub(super) async fn apply_config(
        &self,
        request: v1::ApplyConfigRequest,
    ) -> Result<v1::ApplyConfigResponse, ControlError> {
        let _one = self.writing.lock().await;
        let contents = self.store.contents().borrow().clone();
        let (before, document) = (contents.document(), request.config.unwrap_or_default());
        let applied =
            api::apply_document(&before, &document, request.prune).map_err(ControlError::Invalid)?;
        self.can_serve(&applied.desired)?;
        for resource in resource::of_document(&document) {
            check_etag(&contents, &resource::key(&resource), sent_etag(&resource))?;
        }
        let wanted: BTreeMap<Key, Resource> =
            resource::of_document(&applied.config).into_iter().map(|r| (resource::key(&r), r)).collect();
        let changed = |(key, resource): &(&Key, &Resource)| {
            contents.resources.get(*key).is_none_or(|old| resource::said(old) != resource::said(resource))
        };
        let put: Vec<_> =
            wanted.iter().filter(changed).map(|(_, r)| self.stamped(&contents, r.clone())).collect();
        let delete: Vec<_> =
            contents.resources.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        let mut response = v1::ApplyConfigResponse {
            revision: contents.revision,
            config_digest: digest(&applied.config),
            changes: api::changes(&before, &applied.config),
        };
        let alike = put.is_empty() && delete.is_empty();
        if !alike && !request.validate_only {
            response.revision = self.commit(&contents, &applied.desired, put, delete).await?.revision;
        }
        Ok(response)
    }

    /// Rings are keyed with the fleet's seed: without it every node would choose for itself.
    fn can_serve(&self, desired: &Desired) -> Result<(), ControlError> {
        if self.identity.seed.is_some() || desired.services.is_empty() {
            return Ok(());
        }
        Err(ControlError::Precondition {
            subject: format!("node {} has no [fleet] seed, and services need one", self.identity.name),
            remedy: "set the same seed on every node (vipcast.toml) and restart vipcastd".into(),
        })
    }

    /// As it will be stored: with the bookkeeping of the next revision and without status.
    fn stamped(&self, contents: &Contents, resource: Resource) -> Resource {
        let revision = contents.revision + 1;
        let old = contents.resources.get(&resource::key(&resource)).and_then(Resource::meta);
        let created_at = old.and_then(|meta| meta.created_at).or_else(|| Some(timestamp(self.clock.now())));
        let mut said = resource::said(&resource);
        let etag = etag(revision, &said);
        let meta = resource::meta_mut(&mut said);
        meta.etag = etag;
        meta.revision = revision;
        meta.created_at = created_at;
        said
    }

    /// Returns after the change is on the disk.
    async fn commit(
        &self,
        contents: &Contents,
        desired: &Desired,
        put: Vec<Resource>,
        delete: Vec<Key>,
    ) -> Result<Arc<Contents>, ControlError> {
        let old = api::desired(&contents.document()).map_err(ControlError::Invalid)?;
        let lingers = linger::after(contents, &old, desired, self.clock.now(), self.identity.linger);
        let commit = Commit { expected: contents.revision, put, delete, lingers };
        let store = self.store.clone();
        let stored = tokio::task::spawn_blocking(move || store.commit(commit)).await;
        match stored.map_err(|e| ControlError::Internal(format!("the write was cut short: {e}")))? {
            Ok(contents) => {
                tracing::info!(rev = contents.revision, "configuration changed");
                Ok(contents)
            }
            Err(StoreError::ReadOnly { why, remedy }) => {
                Err(ControlError::Precondition { subject: why, remedy })
            }
            Err(other) => Err(ControlError::Internal(other.to_string())),
        }
    }
}

fn sent_etag(resource: &Resource) -> &str {
    resource.meta().map_or("", |meta| meta.etag.as_str())
}

fn check_etag(contents: &Contents, key: &Key, sent: &str) -> Result<(), ControlError> {
    let stored = contents.resources.get(key).map_or("", sent_etag);
    if sent.is_empty() || sent == stored {
        return Ok(());
    }
    Err(ControlError::Conflict { kind: key.0, name: key.1.clone(), stored: stored.to_owned() })
}
