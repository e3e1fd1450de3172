//! A node and a router in two network namespaces of their own, with a bpffs of their own, and real processes in them.
//! Everything is removed when [`Lab`] is dropped, also by a failing test. Needs root.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its part of this")]

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, setns};
use proto::v1;
use tonic::transport::{Channel, Endpoint, Uri};

pub const VIPCASTD: &str = env!("CARGO_BIN_EXE_vipcastd");
const PATIENCE: Duration = Duration::from_secs(20);

static LABS: AtomicU32 = AtomicU32::new(0);

/// Interfaces of the node: `e1` (11.11.11.1) towards the router, `e2` (31.31.31.9) towards the servers. The other ends
/// are in the router's namespace: `p1` (11.11.11.254) and `p2` (31.31.31.1), and the servers' addresses on its `lo`.
pub struct Lab {
    pub directory: PathBuf,
    pub node: String,
    pub router: String,
    children: Vec<Child>,
}

impl Lab {
    pub fn new() -> Self {
        let id = format!("{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("vipcastd-test-{id}"));
        fs::create_dir_all(directory.join("bpf")).expect("a temporary directory");
        let lab = Self {
            node: format!("vcdn-{id}"),
            router: format!("vcdr-{id}"),
            directory,
            children: Vec::new(),
        };
        lab.build();
        lab
    }

    fn build(&self) {
        let (node, router) = (&self.node, &self.router);
        let bpf = self.directory.join("bpf");
        run("mount", &["-t", "bpf", "bpf", bpf.to_str().expect("a path")]);
        for line in [
            format!("netns add {node}"),
            format!("netns add {router}"),
            format!("link add e1 netns {node} type veth peer name p1 netns {router}"),
            format!("link add e2 netns {node} type veth peer name p2 netns {router}"),
            format!("-n {node} link set lo up"),
            format!("-n {node} addr add 11.11.11.1/24 dev e1"),
            format!("-n {node} addr add 31.31.31.9/24 dev e2"),
            format!("-n {node} link set e1 up"),
            format!("-n {node} link set e2 up"),
            format!("-n {router} link set lo up"),
            format!("-n {router} addr add 11.11.11.254/24 dev p1"),
            format!("-n {router} addr add 31.31.31.1/24 dev p2"),
            format!("-n {router} addr add 56.56.56.1/32 dev lo"),
            format!("-n {router} addr add 57.57.57.1/32 dev lo"),
            format!("-n {router} link set p1 up"),
            format!("-n {router} link set p2 up"),
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        // What XDP sends back over a veth arrives only where the receiving end has GRO or a program.
        self.in_router("ethtool", &["-K", "p1", "gro", "on"]);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The configuration of a node named `name`, with directories of its own; `bgp` and `more` are appended to it.
    pub fn config(&self, name: &str, bgp: &str, more: &str) -> PathBuf {
        let directory = self.directory.display();
        let text = format!(
            "[node]\nname = \"{name}\"\n[fleet]\nseed = \"000102030405060708090a0b0c0d0e0f\"\n\
             [bgp]\nasn = 64512\nrouter_id = \"11.11.11.1\"\n{bgp}\n[datapath]\ninterfaces = [\"e1\"]\n\
             [datapath.limits]\nvips = 100\nservices = 100\nbackends = 1000\nring_slots = 131072\n\
             [paths]\nstate = \"{directory}/{name}/state\"\nrun = \"{directory}/{name}/run\"\n\
             pins = \"{directory}/bpf/{name}\"\n{more}\n"
        );
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, text).expect("written");
        path
    }

    fn enter(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program);
        command
    }

    pub fn in_node(&self, program: &str, arguments: &[&str]) -> Output {
        self.enter(&self.node, program).args(arguments).output().expect("nsenter runs")
    }

    pub fn in_router(&self, program: &str, arguments: &[&str]) -> Output {
        self.enter(&self.router, program).args(arguments).output().expect("nsenter runs")
    }

    /// Text that the node's or the router's `ip` prints.
    pub fn ip(&self, namespace: &str, arguments: &str) -> String {
        let output = Command::new("ip").args(["-n", namespace]).args(arguments.split(' ')).output();
        String::from_utf8(output.expect("ip runs").stdout).expect("UTF-8")
    }

    /// Runs until the lab ends or [`Lab::stop`].
    pub fn spawn(&mut self, namespace: &str, program: &str, arguments: &[&str], log: &str) -> u32 {
        let file = File::options().create(true).append(true).open(self.path(log)).expect("a log");
        let copy = file.try_clone().expect("a log");
        let mut command = self.enter(namespace, program);
        let child = command.args(arguments).stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
        let child = child.expect("nsenter runs");
        let id = child.id();
        self.children.push(child);
        id
    }

    /// vipcastd in the node's namespace; its output goes to `NAME.log`.
    pub fn start(&mut self, config: &Path) -> u32 {
        let node = self.node.clone();
        let log = config.with_extension("log");
        let log = log.file_name().expect("a name").to_string_lossy().into_owned();
        self.spawn(&node, VIPCASTD, &["--config", config.to_str().expect("a path")], &log)
    }

    /// Ends one process and waits for it; its exit status as text.
    pub fn stop(&mut self, id: u32, signal: &str) -> String {
        run("kill", &[&format!("-{signal}"), &id.to_string()]);
        let place = self.children.iter().position(|c| c.id() == id).expect("a process of this lab");
        self.children.remove(place).wait().expect("it ends").to_string()
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// BIRD as the router, which puts what it learns into its kernel and keeps it while we restart.
    pub fn bird(&mut self) {
        let config = self.path("bird.conf");
        let mut file = File::create(&config).expect("written");
        write!(
            file,
            "log stderr all;\nrouter id 11.11.11.254;\nprotocol device {{}}\n\
             protocol kernel {{ ipv4 {{ import none; export all; }}; graceful restart; }}\n\
             protocol bgp node {{ local 11.11.11.254 as 65001; neighbor 11.11.11.1 as 64512; passive on; hold time 9;\n\
             graceful restart aware; ipv4 {{ import all; export none; }}; }}\n"
        )
        .expect("written");
        let router = self.router.clone();
        let (config, control, pid) = (config, self.path("bird.ctl"), self.path("bird.pid"));
        let arguments = ["-f", "-c", text(&config), "-s", text(&control), "-P", text(&pid)];
        self.spawn(&router, "bird", &arguments, "bird.log");
    }

    /// A TCP server in the router's namespace, until the listener is dropped.
    pub fn server(&self, address: &str) -> TcpListener {
        let address: SocketAddr = address.parse().expect("an address");
        let namespace = File::open(format!("/run/netns/{}", self.router)).expect("the namespace");
        let bind = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter");
            TcpListener::bind(address).expect("free")
        };
        // The socket belongs to the namespace for ever; the thread that entered it ends here.
        std::thread::spawn(bind).join().expect("bound")
    }

    pub async fn api(&self, name: &str) -> Channel {
        let socket = self.path(&format!("{name}/run/api.sock"));
        let begin = Instant::now();
        loop {
            let path = socket.clone();
            let connect = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            });
            match Endpoint::from_static("http://node").connect_with_connector(connect).await {
                Ok(channel) => return channel,
                Err(error) if begin.elapsed() > PATIENCE => panic!("no API: {error:?}\n{}", self.all_logs()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub async fn status(&self, name: &str) -> v1::NodeStatus {
        let mut client = v1::node_service_client::NodeServiceClient::new(self.api(name).await);
        client.get_status(()).await.expect("a status").into_inner()
    }

    pub fn all_logs(&self) -> String {
        let entries = fs::read_dir(&self.directory).expect("there").filter_map(Result::ok);
        let logs = entries.filter(|e| e.path().extension().is_some_and(|x| x == "log"));
        logs.map(|e| {
            format!("--- {}\n{}", e.path().display(), fs::read_to_string(e.path()).unwrap_or_default())
        })
        .collect()
    }

    /// Waits until `look` gives something.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if begin.elapsed() > PATIENCE {
                panic!("not within {} s: {what}\n{}", PATIENCE.as_secs(), self.all_logs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a condition of the node.
    pub async fn condition(
        &self,
        name: &str,
        kind: &str,
        status: v1::condition::Status,
        words: &str,
    ) -> v1::Condition {
        let what = format!("{kind} {status:?} with `{words}`");
        self.until(&what, || async {
            let all = self.status(name).await.conditions;
            all.into_iter().find(|c| c.r#type == kind && c.status() == status && c.message.contains(words))
        })
        .await
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        for namespace in [&self.node, &self.router] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
        let _ = Command::new("umount").arg(self.directory.join("bpf")).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    assert!(
        output.status.success(),
        "{program} {}: {} (these tests need root)",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One VIP, two backends behind an endpoint route, the router as peer.
pub fn document() -> v1::Config {
    let meta = |name: &str| Some(v1::Meta { name: name.into(), ..v1::Meta::default() });
    let backend = |address: &str| v1::Backend { address: address.into(), ..v1::Backend::default() };
    let route = |name: &str, prefix: &str| v1::EndpointRoute {
        meta: meta(name),
        spec: Some(v1::EndpointRouteSpec {
            prefix: prefix.into(),
            next_hops: vec![v1::NextHop { via: "31.31.31.1".into(), ..v1::NextHop::default() }],
            ..v1::EndpointRouteSpec::default()
        }),
        status: None,
    };
    let interval = Duration::from_millis(200).try_into().expect("a duration");
    let check = v1::HealthCheck {
        probe: Some(v1::health_check::Probe::Tcp(v1::TcpProbe { port: 8080 })),
        interval: Some(interval),
        timeout: Some(interval),
        ..v1::HealthCheck::default()
    };
    v1::Config {
        vips: vec![v1::Vip {
            meta: meta("web"),
            spec: Some(v1::VipSpec { address: "20.20.20.1".into(), ..v1::VipSpec::default() }),
            status: None,
        }],
        pools: vec![v1::Pool {
            meta: meta("web"),
            spec: Some(v1::PoolSpec {
                backends: vec![backend("56.56.56.1"), backend("57.57.57.1")],
                health_check: Some(check),
                ..v1::PoolSpec::default()
            }),
            status: None,
        }],
        services: vec![v1::Service {
            meta: meta("web"),
            spec: Some(v1::ServiceSpec {
                vip: "web".into(),
                protocol: v1::Protocol::Tcp.into(),
                port: 8080,
                pool: "web".into(),
                forwarding: v1::Forwarding::Ipip.into(),
                ..v1::ServiceSpec::default()
            }),
            status: None,
        }],
        peers: vec![v1::Peer {
            meta: meta("r1"),
            spec: Some(v1::PeerSpec {
                address: "11.11.11.254".into(),
                remote_asn: 65001,
                ..v1::PeerSpec::default()
            }),
            status: None,
        }],
        routes: vec![route("ep1", "56.56.56.0/24"), route("ep2", "57.57.57.0/24")],
    }
}

pub async fn apply(
    channel: Channel,
    config: v1::Config,
    prune: bool,
) -> Result<v1::ApplyConfigResponse, tonic::Status> {
    let mut client = v1::node_service_client::NodeServiceClient::new(channel);
    let request = v1::ApplyConfigRequest { config: Some(config), prune, validate_only: false };
    client.apply_config(request).await.map(tonic::Response::into_inner)
}

pub async fn vip(channel: Channel) -> v1::Vip {
    let mut client = v1::vip_service_client::VipServiceClient::new(channel);
    client.get(v1::GetRequest { name: "web".into() }).await.expect("the VIP").into_inner()
}
