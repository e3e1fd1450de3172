//! The gRPC services over a [`Control`]: resource services, the node and the datapath, with health and reflection.
//!
//! Requests are bounded before anything looks at them (4 MiB decoded); watch streams end when the server stops, so that
//! a stop waits for nobody.

mod listen;
mod node;
mod resources;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use proto::v1;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub use listen::{BindError, Listener};

use crate::control::{BoxStream, Control, Kind};

/// Most bytes of one request, decoded. A document of 10 000 resources is about 2 MiB.
pub const MOST_REQUEST_BYTES: usize = 4 << 20;
/// Most bytes of one response: the answer to the largest legal request with status in it.
pub const MOST_RESPONSE_BYTES: usize = 16 << 20;
/// After a stop, open calls get this long.
const LINGER: Duration = Duration::from_secs(3);

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the reflection service cannot read the descriptors: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the API server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Binds `path` with `mode` and serves until `shutdown`; see [`Listener`] for a bind that is separate from serving.
pub async fn serve_unix(
    path: &std::path::Path,
    mode: u32,
    control: Arc<dyn Control>,
    ready: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    Listener::bind(path, mode).await?.serve(control, ready, shutdown).await
}

/// What every service holds.
struct Node {
    control: Arc<dyn Control>,
    /// Turns true when the server stops.
    stopping: watch::Receiver<bool>,
}

impl Node {
    /// `stream` until the server stops.
    fn until_stop<T: Send + 'static>(&self, stream: BoxStream<T>) -> BoxStream<T> {
        let mut stopping = self.stopping.clone();
        let stop = async move {
            // An error means that the sender is gone: the server has stopped as well.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        Box::pin(stream.take_until(Box::pin(stop)))
    }
}

/// All services; health follows `ready` until the server stops.
fn routes(
    control: Arc<dyn Control>,
    ready: watch::Receiver<bool>,
    stopping: watch::Receiver<bool>,
) -> Result<Routes, ServeError> {
    let node = Arc::new(Node { control, stopping: stopping.clone() });
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(follow(reporter, ready, stopping));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    macro_rules! bounded {
        ($server:path, $service:expr) => {{
            use $server as Server;
            Server::new($service)
                .max_decoding_message_size(MOST_REQUEST_BYTES)
                .max_encoding_message_size(MOST_RESPONSE_BYTES)
        }};
    }
    let of = |kind| resources::Resources { node: node.clone(), kind };
    let routes = Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(bounded!(v1::vip_service_server::VipServiceServer, of(Kind::Vip)))
        .add_service(bounded!(v1::pool_service_server::PoolServiceServer, of(Kind::Pool)))
        .add_service(bounded!(v1::service_service_server::ServiceServiceServer, of(Kind::Service)))
        .add_service(bounded!(v1::peer_service_server::PeerServiceServer, of(Kind::Peer)))
        .add_service(bounded!(
            v1::endpoint_route_service_server::EndpointRouteServiceServer,
            of(Kind::EndpointRoute)
        ))
        .add_service(bounded!(v1::node_service_server::NodeServiceServer, node::NodeApi(node.clone())))
        .add_service(bounded!(
            v1::datapath_query_service_server::DatapathQueryServiceServer,
            node::NodeApi(node.clone())
        ));
    Ok(routes)
}

/// Reports readiness for the whole server (the empty name) as the health protocol has it.
async fn follow(
    reporter: HealthReporter,
    mut ready: watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let status = match *ready.borrow_and_update() && !*stopping.borrow() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        reporter.set_service_status("", status).await;
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            stop = stopping.changed() => if stop.is_err() || *stopping.borrow() {
                reporter.set_service_status("", ServingStatus::NotServing).await;
                return;
            },
        }
    }
}
