//! The speaker, started once it is known whether this is a restart, and again until its listeners can be bound. Wanted
//! sets go to it without a detour: a withdraw waits for nothing here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bgpd::driver::{Shutdown, Speaker};
use bgpd::{SpeakerConfig, SpeakerStatus, Wanted};
use tokio::sync::watch;
use tracing::warn;

use super::Fault;

const RETRY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Speaking {
    shared: Arc<Shared>,
}

struct Shared {
    config: SpeakerConfig,
    inner: Mutex<Inner>,
    status: watch::Sender<Arc<SpeakerStatus>>,
    fault: watch::Sender<Fault>,
}

#[derive(Default)]
struct Inner {
    speaker: Option<Speaker>,
    wanted: Wanted,
    ended: bool,
}

impl Speaking {
    /// `config.restarting` is decided by [`super::Bgp::start`].
    pub fn new(config: SpeakerConfig) -> Self {
        let shared = Shared {
            config,
            inner: Mutex::default(),
            status: watch::Sender::new(Arc::default()),
            fault: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Ends the sessions; nothing starts again afterwards.
    pub async fn shutdown(&self, how: Shutdown) {
        let speaker = {
            let mut inner = self.shared.lock();
            inner.ended = true;
            inner.speaker.take()
        };
        if let Some(speaker) = speaker {
            speaker.shutdown(how).await;
        }
    }

    /// Announces nothing from now on: the last resort of the watchdog.
    pub fn withdraw_all(&self) {
        let mut inner = self.shared.lock();
        inner.wanted.routes.clear();
        if let Some(speaker) = &inner.speaker {
            speaker.set_wanted(inner.wanted.clone());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Ok`: it runs, or must not.
    fn try_start(&self, restarting: bool) -> Result<Option<watch::Receiver<Arc<SpeakerStatus>>>, String> {
        let mut inner = self.lock();
        if inner.ended {
            return Ok(None);
        }
        let config = SpeakerConfig { restarting, ..self.config.clone() };
        let speaker = Speaker::start(config).map_err(|e| e.to_string())?;
        speaker.set_wanted(inner.wanted.clone());
        let status = speaker.status();
        inner.speaker = Some(speaker);
        Ok(Some(status))
    }
}

async fn keep(shared: Arc<Shared>, restarting: bool) {
    let mut status = loop {
        match shared.try_start(restarting) {
            Ok(Some(status)) => break status,
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "the BGP speaker cannot start; trying again");
                shared.fault.send_replace(Some(error));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    shared.fault.send_replace(None);
    status.mark_changed();
    while status.changed().await.is_ok() {
        let newest = status.borrow_and_update().clone();
        shared.status.send_replace(newest);
    }
    if !shared.lock().ended {
        shared.fault.send_replace(Some("the BGP speaker ended".into()));
    }
}

impl super::Bgp for Speaking {
    fn start(&self, restarting: bool) {
        tokio::spawn(keep(self.shared.clone(), restarting));
    }

    fn set_wanted(&self, wanted: Wanted) {
        let mut inner = self.shared.lock();
        if let Some(speaker) = &inner.speaker {
            speaker.set_wanted(wanted.clone());
        }
        inner.wanted = wanted;
    }

    fn status(&self) -> watch::Receiver<Arc<SpeakerStatus>> {
        self.shared.status.subscribe()
    }

    fn fault(&self) -> watch::Receiver<Fault> {
        self.shared.fault.subscribe()
    }
}
