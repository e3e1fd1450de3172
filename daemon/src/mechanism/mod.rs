//! The four mechanisms as the engine sees them: whole wanted sets in, whole observations out, and a fault when one is
//! not there at all. Traits, so that the engine's tests run without a kernel; the real ones retry for ever, because a
//! fault of the node can be cured while the daemon runs.

mod bgp;
mod datapath;
mod health;
mod routes;

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

pub use bgp::Speaking;
pub use datapath::{DatapathThread, Event, Request};
pub use routes::Routing;

/// Why a mechanism is not there; `None`: it is.
pub type Fault = Option<String>;

pub trait Routes: Send + Sync {
    fn set_wanted(&self, wanted: routemgr::Wanted);
    fn observed(&self) -> watch::Receiver<Arc<routemgr::Observed>>;
    fn fault(&self) -> watch::Receiver<Fault>;
}

pub trait Health: Send + Sync {
    fn set_wanted(&self, wanted: ::health::Wanted);
    fn snapshot(&self) -> watch::Receiver<Arc<::health::Snapshot>>;
}

pub trait Bgp: Send + Sync {
    /// Opens the listeners and begins to dial. Called once, when it is known whether this is a restart (RFC 4724).
    fn start(&self, restarting: bool);
    /// Never blocks: a withdraw must not wait for anything.
    fn set_wanted(&self, wanted: bgpd::Wanted);
    fn status(&self) -> watch::Receiver<Arc<bgpd::SpeakerStatus>>;
    fn fault(&self) -> watch::Receiver<Fault>;
}

pub trait Datapath: Send + Sync {
    /// Queues a request; its outcome is an [`Event`].
    fn request(&self, request: Request);
}

/// Counters, on demand.
pub async fn stats(datapath: &dyn Datapath) -> Result<::datapath::Stats, String> {
    let (reply, answer) = oneshot::channel();
    datapath.request(Request::Stats(reply));
    answer.await.unwrap_or_else(|_| Err("the datapath thread is gone".into()))
}
