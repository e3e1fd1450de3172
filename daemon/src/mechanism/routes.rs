//! The route manager, started again until it starts.

use std::sync::Arc;
use std::time::Duration;

use routemgr::{Observed, Options, RouteManager, Wanted};
use tokio::sync::watch;
use tracing::warn;

use super::Fault;

const RETRY: Duration = Duration::from_secs(5);

pub struct Routing {
    wanted: watch::Sender<Option<Wanted>>,
    observed: watch::Receiver<Arc<Observed>>,
    fault: watch::Receiver<Fault>,
}

impl Routing {
    /// Needs a tokio runtime. Without `touch` the manager is never started.
    pub fn start(options: Options, touch: bool) -> Self {
        let (wanted, wanted_changes) = watch::channel(None);
        let (publish, observed) = watch::channel(Arc::default());
        let (fault_tx, fault) = watch::channel(None);
        if touch {
            tokio::spawn(keep(options, wanted_changes, publish, fault_tx));
        }
        Self { wanted, observed, fault }
    }
}

async fn keep(
    options: Options,
    mut wanted: watch::Receiver<Option<Wanted>>,
    publish: watch::Sender<Arc<Observed>>,
    fault: watch::Sender<Fault>,
) {
    loop {
        match RouteManager::start(options.clone()).await {
            Ok(manager) => {
                fault.send_replace(None);
                wanted.mark_changed();
                if forward(&manager, &mut wanted, &publish).await.is_err() {
                    return;
                }
                publish.send_replace(Arc::default());
                fault.send_replace(Some("the route manager ended".into()));
            }
            Err(error) => {
                warn!(%error, "the route manager cannot start; trying again");
                fault.send_replace(Some(error.to_string()));
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Until the manager ends (`Ok`) or nobody wants anything any more (`Err`).
async fn forward(
    manager: &RouteManager,
    wanted: &mut watch::Receiver<Option<Wanted>>,
    publish: &watch::Sender<Arc<Observed>>,
) -> Result<(), watch::error::RecvError> {
    let mut observed = manager.observed();
    observed.mark_changed();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                changed?;
                let wanted = wanted.borrow_and_update().clone();
                if let Some(wanted) = wanted {
                    manager.set_wanted(wanted);
                }
            }
            changed = observed.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                publish.send_replace(observed.borrow_and_update().clone());
            }
        }
    }
}

impl super::Routes for Routing {
    fn set_wanted(&self, wanted: Wanted) {
        self.wanted.send_replace(Some(wanted));
    }

    fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.clone()
    }

    fn fault(&self) -> watch::Receiver<Fault> {
        self.fault.clone()
    }
}
