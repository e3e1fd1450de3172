//! Connections to nodes: a unix socket or a TCP address, each call with a deadline.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::failure::{Exit, Failure};

/// Most bytes of one answer.
pub(crate) const LARGEST_ANSWER: usize = 16 << 20;
/// Largest header list taken from a node: violations travel in one.
const LARGEST_HEADERS: u32 = 1 << 20;

/// A node that can be called.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) target: String,
    pub(crate) channel: Channel,
    timeout: Duration,
}

impl Node {
    /// Connects to `unix:///path` or `http://host:port`.
    pub(crate) async fn connect(target: &str, timeout: Duration) -> Result<Self, Failure> {
        let unreachable = |reason: String| Failure::Unreachable { target: target.to_owned(), reason };
        let channel = match target.strip_prefix("unix://") {
            Some(path) => unix(PathBuf::from(path), timeout).await,
            None => tcp(target, timeout)?.connect().await,
        };
        let channel = channel.map_err(|error| unreachable(innermost(&error)))?;
        Ok(Self { target: target.to_owned(), channel, timeout })
    }

    /// A request with the deadline.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) fn failure(&self, status: Status) -> Failure {
        Failure::of(&self.target, status)
    }
}

async fn unix(path: PathBuf, timeout: Duration) -> Result<Channel, tonic::transport::Error> {
    // The address is not used: the connector below goes to the socket.
    let endpoint = common(Endpoint::from_static("http://node"), timeout);
    let connect = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connect).await
}

fn tcp(target: &str, timeout: Duration) -> Result<Endpoint, Failure> {
    let usage = || Failure::Ended {
        exit: Exit::Unreachable,
        message: format!("error: {target:?} is not a target: write unix:///path or http://host:port"),
    };
    if !target.starts_with("http://") {
        return Err(usage());
    }
    Ok(common(Endpoint::from_shared(target.to_owned()).map_err(|_| usage())?, timeout))
}

fn common(endpoint: Endpoint, timeout: Duration) -> Endpoint {
    endpoint.connect_timeout(timeout).http2_max_header_list_size(LARGEST_HEADERS)
}

/// The cause that a person can act on stands at the end of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
