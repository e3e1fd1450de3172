//! A node that answers from a prepared state, on a unix socket: generated servers only, nothing of the daemon.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use proto::v1::{self, *};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the node holds and how it answers writes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) status: NodeStatus,
    pub(crate) config: Config,
    pub(crate) datapath: DatapathState,
    /// Answer of ApplyConfig; `None`: accept.
    pub(crate) refuse: Option<Status>,
    /// Refuse only what would be stored.
    pub(crate) refuse_store_only: bool,
    pub(crate) digest: String,
    /// Every ApplyConfig that came.
    pub(crate) applied: Vec<ApplyConfigRequest>,
    pub(crate) page_size: usize,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) target: String,
    _dir: Arc<tempfile::TempDir>,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Node {
    pub(crate) fn start(state: State) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("api.sock");
        let state = Arc::new(Mutex::new(state));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let api = Api(state.clone());
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(&path).unwrap()
        };
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(vip_service_server::VipServiceServer::new(api.clone()))
                .add_service(pool_service_server::PoolServiceServer::new(api.clone()))
                .add_service(service_service_server::ServiceServiceServer::new(api.clone()))
                .add_service(peer_service_server::PeerServiceServer::new(api.clone()))
                .add_service(endpoint_route_service_server::EndpointRouteServiceServer::new(api.clone()))
                .add_service(node_service_server::NodeServiceServer::new(api.clone()))
                .add_service(datapath_query_service_server::DatapathQueryServiceServer::new(api))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        let target = format!("unix://{}", path.display());
        Self { state, target, _dir: Arc::new(dir), _runtime: Arc::new(runtime) }
    }
}

/// `vipcast` as a user runs it.
pub(crate) fn vipcast(nodes: &[&Node], args: &[&str]) -> Output {
    with_input(nodes, args, "")
}

pub(crate) fn with_input(nodes: &[&Node], args: &[&str], input: &str) -> Output {
    let mut command = command(args);
    for node in nodes {
        command.args(["--node", &node.target]);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
    command.args(args).env_remove("VIPCAST_NODE").env("NO_COLOR", "1");
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", stdout(output), stderr(output));
}

#[derive(Clone)]
struct Api(Arc<Mutex<State>>);

type Stream<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

macro_rules! service {
    ($kind:ident, $list:ident, $field:ident, $module:ident::$service:ident, $apply:ident, $response:ident, $event:ident) => {
        #[tonic::async_trait]
        impl v1::$module::$service for Api {
            type WatchStream = Stream<$event>;

            async fn get(&self, request: Request<GetRequest>) -> Result<Response<$kind>, Status> {
                let name = request.into_inner().name;
                let state = self.0.lock().unwrap();
                let found = state.config.$list.iter().find(|it| it.meta.as_ref().unwrap().name == name);
                found
                    .cloned()
                    .map(Response::new)
                    .ok_or_else(|| Status::not_found(format!("{name} does not exist")))
            }
            async fn list(&self, request: Request<ListRequest>) -> Result<Response<$response>, Status> {
                let start: usize = request.into_inner().page_token.parse().unwrap_or(0);
                let state = self.0.lock().unwrap();
                let size = if state.page_size == 0 { 1000 } else { state.page_size };
                let all = &state.config.$list;
                let end = (start + size).min(all.len());
                let next_page_token = if end < all.len() { end.to_string() } else { String::new() };
                Ok(Response::new($response { $list: all[start..end].to_vec(), next_page_token }))
            }
            async fn apply(&self, _: Request<$apply>) -> Result<Response<$kind>, Status> {
                Err(Status::unimplemented("not used by the command line"))
            }
            async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
                let request = request.into_inner();
                let mut state = self.0.lock().unwrap();
                let list = &mut state.config.$list;
                let at = list.iter().position(|it| it.meta.as_ref().unwrap().name == request.name);
                let at = at.ok_or_else(|| Status::not_found(format!("{} does not exist", request.name)))?;
                if !request.validate_only {
                    list.remove(at);
                }
                Ok(Response::new(()))
            }
            async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
                let state = self.0.lock().unwrap();
                let mut events: Vec<_> = state
                    .config
                    .$list
                    .iter()
                    .cloned()
                    .enumerate()
                    .map(|(i, it)| {
                        Ok($event {
                            r#type: EventType::Updated.into(),
                            revision: i as u64 + 1,
                            $field: Some(it),
                        })
                    })
                    .collect();
                events.push(Ok($event { r#type: EventType::Synced.into(), revision: 7, $field: None }));
                Ok(Response::new(tokio_stream::iter(events)))
            }
        }
    };
}

service!(Vip, vips, vip, vip_service_server::VipService, ApplyVipRequest, ListVipsResponse, VipEvent);
service!(Pool, pools, pool, pool_service_server::PoolService, ApplyPoolRequest, ListPoolsResponse, PoolEvent);
service!(
    Service,
    services,
    service,
    service_service_server::ServiceService,
    ApplyServiceRequest,
    ListServicesResponse,
    ServiceEvent
);
service!(Peer, peers, peer, peer_service_server::PeerService, ApplyPeerRequest, ListPeersResponse, PeerEvent);
service!(
    EndpointRoute,
    routes,
    route,
    endpoint_route_service_server::EndpointRouteService,
    ApplyEndpointRouteRequest,
    ListEndpointRoutesResponse,
    EndpointRouteEvent
);

#[tonic::async_trait]
impl node_service_server::NodeService for Api {
    type WatchStatusStream = Stream<NodeStatus>;

    async fn get_status(&self, _: Request<()>) -> Result<Response<NodeStatus>, Status> {
        Ok(Response::new(self.0.lock().unwrap().status.clone()))
    }
    async fn watch_status(
        &self,
        _: Request<WatchNodeRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let status = self.0.lock().unwrap().status.clone();
        Ok(Response::new(tokio_stream::iter(vec![Ok(status)])))
    }
    async fn get_config(&self, _: Request<()>) -> Result<Response<Config>, Status> {
        Ok(Response::new(self.0.lock().unwrap().config.clone()))
    }
    async fn apply_config(
        &self,
        request: Request<ApplyConfigRequest>,
    ) -> Result<Response<ApplyConfigResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        let store = !request.validate_only;
        state.applied.push(request.clone());
        if let Some(refusal) = state.refuse.clone().filter(|_| store || !state.refuse_store_only) {
            return Err(refusal);
        }
        let created = |kind: &str, meta: &Option<Meta>| Change {
            action: change::Action::Create.into(),
            kind: kind.to_owned(),
            name: meta.as_ref().unwrap().name.clone(),
            fields: Vec::new(),
        };
        let config = request.config.unwrap();
        let mut changes: Vec<Change> = config.vips.iter().map(|it| created("vip", &it.meta)).collect();
        changes.extend(config.pools.iter().map(|it| created("pool", &it.meta)));
        changes.extend(config.services.iter().map(|it| created("service", &it.meta)));
        Ok(Response::new(ApplyConfigResponse { revision: 5, config_digest: state.digest.clone(), changes }))
    }
}

#[tonic::async_trait]
impl datapath_query_service_server::DatapathQueryService for Api {
    async fn get(&self, _: Request<DatapathRequest>) -> Result<Response<DatapathState>, Status> {
        Ok(Response::new(self.0.lock().unwrap().datapath.clone()))
    }
}

/// The seed scenario's configuration with status: healthy, one node of three.
pub(crate) fn healthy() -> State {
    let condition = |kind: &str| Condition {
        r#type: kind.to_owned(),
        status: condition::Status::True.into(),
        reason: "Done".to_owned(),
        ..Condition::default()
    };
    let meta = |name: &str| Some(Meta { name: name.to_owned(), revision: 4, ..Meta::default() });
    let backend = |address: &str| Backend { address: address.to_owned(), ..Backend::default() };
    let backend_status = |address: &str, packets| BackendStatus {
        address: address.to_owned(),
        health: "up".to_owned(),
        resolution: "resolved".to_owned(),
        in_ring: true,
        slots: 5461,
        packets,
        bytes: packets * 60,
        ..BackendStatus::default()
    };
    let addresses = ["58.58.58.1", "56.56.56.1", "57.57.57.1"];
    let vip = Vip {
        meta: meta("web"),
        spec: Some(VipSpec { address: "20.20.20.1".into(), ..VipSpec::default() }),
        status: Some(VipStatus {
            conditions: vec![condition("Programmed"), condition("Advertised")],
            announced: true,
            advertised_to: vec!["r1".into()],
            ..VipStatus::default()
        }),
    };
    let pool = Pool {
        meta: meta("servers"),
        spec: Some(PoolSpec {
            backends: addresses.map(backend).to_vec(),
            health_check: Some(HealthCheck {
                probe: Some(health_check::Probe::Tcp(TcpProbe { port: 8080 })),
                ..HealthCheck::default()
            }),
            ..PoolSpec::default()
        }),
        status: Some(PoolStatus {
            conditions: vec![condition("Programmed")],
            backends: addresses.iter().zip(1..).map(|(a, n)| backend_status(a, n * 100)).collect(),
            usable: 3,
            ring_slots: 16384,
            ring_digest: "0123456789abcdef".into(),
        }),
    };
    let service = Service {
        meta: meta("web-tcp"),
        spec: Some(ServiceSpec {
            vip: "web".into(),
            protocol: Protocol::Tcp.into(),
            port: 8080,
            pool: "servers".into(),
            forwarding: Forwarding::Ipip.into(),
            ..ServiceSpec::default()
        }),
        status: Some(ServiceStatus {
            conditions: vec![condition("Programmed")],
            healthy: true,
            usable_backends: 3,
            packets: 600,
            bytes: 36_000,
        }),
    };
    let peer = Peer {
        meta: meta("r1"),
        spec: Some(PeerSpec { address: "11.11.11.254".into(), remote_asn: 65001, ..PeerSpec::default() }),
        status: Some(PeerStatus {
            state: "Established".into(),
            advertised: vec!["20.20.20.1/32".into()],
            ..PeerStatus::default()
        }),
    };
    let hop = |via: &str| NextHop { via: via.to_owned(), ..NextHop::default() };
    let route = EndpointRoute {
        meta: meta("ep1"),
        spec: Some(EndpointRouteSpec {
            prefix: "56.56.56.0/24".into(),
            next_hops: vec![hop("31.31.31.1")],
            ..EndpointRouteSpec::default()
        }),
        status: Some(EndpointRouteStatus { installed: true, ..EndpointRouteStatus::default() }),
    };
    State {
        status: NodeStatus {
            name: "llb1".into(),
            version: "0.1.0".into(),
            revision: 5,
            conditions: vec![condition("Ready")],
            config_digest: "fedcba9876543210".into(),
            router_id: "11.11.11.1".into(),
            asn: 64512,
            interfaces: vec![InterfaceStatus {
                name: "eth1".into(),
                xdp_mode: "native".into(),
                counters: [
                    ("passed".to_owned(), 3),
                    ("drop-malformed".to_owned(), 5),
                    ("drop-internal".to_owned(), 0),
                ]
                .into(),
                ..InterfaceStatus::default()
            }],
            ..NodeStatus::default()
        },
        config: Config {
            vips: vec![vip],
            pools: vec![pool],
            services: vec![service],
            peers: vec![peer],
            routes: vec![route],
        },
        digest: "fedcba9876543210".into(),
        ..State::default()
    }
}
