//! One probe: connect, and for HTTP one exchange, all within one deadline. Errors say what an operator would say.
//!
//! A TCP probe closes in order (FIN, not RST): a reset would show as an aborted connection in the server's log at every
//! interval.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{Check, Connect, Direct, Probe, ProbeError, Stage, Target, http};

pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send + 'a>>;

/// Carries out single probes.
pub trait Prober: Send + Sync + 'static {
    /// Ends within `check.timeout`.
    fn probe<'a>(&'a self, target: &'a Target, check: &'a Check) -> Probing<'a>;
}

/// Probes over TCP sockets of a [`Connect`].
pub struct NetProber {
    connect: Arc<dyn Connect>,
}

impl NetProber {
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect }
    }
}

impl Default for NetProber {
    fn default() -> Self {
        Self::new(Arc::new(Direct))
    }
}

impl Prober for NetProber {
    fn probe<'a>(&'a self, target: &'a Target, check: &'a Check) -> Probing<'a> {
        Box::pin(self.run(target, check))
    }
}

impl NetProber {
    async fn run(&self, target: &Target, check: &Check) -> Result<(), ProbeError> {
        let deadline = Deadline { at: Instant::now() + check.timeout, timeout: check.timeout };
        let address = check.probe.address();
        let connecting = self.connect.connect(target, address);
        let stream = deadline.limit(Stage::Connect, connecting).await?.map_err(connect_error)?;
        match &check.probe {
            Probe::Tcp { .. } => Ok(()),
            Probe::Http { host, path, expect_status, expect_body, .. } => {
                let get = http::Get { host, path, expect_status, expect_body: expect_body.as_deref() };
                http::exchange(stream, get, deadline).await
            }
        }
    }
}

/// The end of a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(crate) async fn limit<F: Future>(&self, stage: Stage, work: F) -> Result<F::Output, ProbeError> {
        timeout_at(self.at, work).await.map_err(|_| ProbeError::TimedOut { after: self.timeout, stage })
    }
}

fn connect_error(error: io::Error) -> ProbeError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeError::Refused,
        io::ErrorKind::ConnectionReset => ProbeError::Reset,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => ProbeError::NoRoute,
        // The kernel gave up on its SYNs before our own deadline.
        io::ErrorKind::TimedOut => ProbeError::NoAnswer,
        _ => ProbeError::Io(error.to_string()),
    }
}
