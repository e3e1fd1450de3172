//! A private network namespace for each test, and peers in namespaces of their own. Nothing has a name on the host and
//! everything dies with its thread or child process. Needs root, iproute2 and util-linux.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests fail as the tests do.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use routemgr::{NextHop, Observed, Options, Route, RouteKey, RouteKind, RouteManager, Wanted};
use serde_json::Value;
use tokio::sync::watch;

/// Runs the test in a fresh network namespace: the thread's own, so its sockets, children and /proc/sys/net are there.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("these tests make network namespaces: run them as root");
        run("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(Bench { state: tempfile::tempdir().unwrap() }));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct Bench {
    state: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn options(&self) -> Options {
        Options {
            resync: Duration::from_secs(30),
            probe_interval: Duration::from_millis(200),
            saved_sysctls: self.state.path().join("saved-sysctls"),
        }
    }

    pub(crate) async fn manager(&self) -> RouteManager {
        RouteManager::start(self.options()).await.expect("the route manager starts")
    }

    /// A veth pair: `device` here, `eth0` in a new namespace, both up and with addresses, questions to neighbours fast.
    pub(crate) fn peer(&self, device: &str, here: &[&str], there: &[&str]) -> Peer {
        let peer = Peer::new();
        let pid = peer.pid();
        run("ip", &["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        for family in ["ipv4", "ipv6"] {
            for name in ["retrans_time_ms", "base_reachable_time_ms"] {
                put(&format!("net/{family}/neigh/{device}/{name}"), "100");
            }
        }
        for address in here {
            run("ip", &["address", "add", address, "dev", device, "nodad"]);
        }
        run("ip", &["link", "set", device, "up"]);
        for address in there {
            peer.run("ip", &["address", "add", address, "dev", "eth0", "nodad"]);
        }
        peer.run("ip", &["link", "set", "lo", "up"]);
        peer.run("ip", &["link", "set", "eth0", "up"]);
        peer
    }
}

/// Another namespace, held by a sleeping process.
pub(crate) struct Peer(Child);

impl Peer {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare (util-linux) starts");
        let peer = Self(child);
        let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let own = |p: &Self| std::fs::read_link(format!("/proc/{}/ns/net", p.0.id())).ok();
        let deadline = Instant::now() + Duration::from_secs(10);
        while own(&peer).is_none_or(|ns| ns == ours) {
            assert!(Instant::now() < deadline, "no namespace for the peer");
            std::thread::yield_now();
        }
        peer
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let namespace = format!("--net=/proc/{}/ns/net", self.0.id());
        run("nsenter", &[&[namespace.as_str(), program], args].concat())
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        let links: Value = serde_json::from_str(&self.run("ip", &["-j", "link", "show", "eth0"])).unwrap();
        parse_mac(links[0]["address"].as_str().unwrap())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn parse_mac(text: &str) -> [u8; 6] {
    let bytes: Vec<_> = text.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

pub(crate) fn own_mac(device: &str) -> [u8; 6] {
    let links: Value = serde_json::from_str(&run("ip", &["-j", "link", "show", device])).unwrap();
    parse_mac(links[0]["address"].as_str().unwrap())
}

/// Runs a program to its end; its output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `ip route` with the words given, one command.
pub(crate) fn route(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// Our routes of both families in all tables, as `ip -j` prints them, by destination.
pub(crate) fn ours() -> BTreeMap<String, Value> {
    let mut routes = BTreeMap::new();
    for family in ["-4", "-6"] {
        let text = run("ip", &[family, "-j", "-d", "route", "show", "table", "all", "proto", "175"]);
        let list: Vec<Value> = serde_json::from_str(text.trim()).unwrap_or_default();
        routes.extend(list.into_iter().map(|r| (r["dst"].as_str().unwrap().to_owned(), r)));
    }
    routes
}

pub(crate) fn sysctl(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{path}"))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .trim()
        .into()
}

pub(crate) fn put(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{path}"), value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// Waits for an observed state.
pub(crate) async fn until(
    rx: &mut watch::Receiver<Arc<Observed>>,
    what: impl Fn(&Observed) -> bool,
) -> Arc<Observed> {
    let wait = tokio::time::timeout(Duration::from_secs(15), rx.wait_for(|o| what(o)));
    if let Ok(observed) = wait.await {
        return observed.expect("the manager runs").clone();
    }
    panic!("never observed; last: {:#?}", rx.borrow());
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn key(prefix: &str) -> RouteKey {
    RouteKey { prefix: prefix.parse().unwrap(), table: 254, metric: 0 }
}

pub(crate) fn blackhole() -> Route {
    Route { kind: RouteKind::Blackhole, mtu: None, advmss: None }
}

pub(crate) fn via(hops: &[(&str, &str)]) -> Route {
    let hop = |(via, device): &(&str, &str)| NextHop {
        via: (!via.is_empty()).then(|| ip(via)),
        device: (!device.is_empty()).then(|| (*device).to_owned()),
        onlink: false,
        weight: 1,
    };
    Route { kind: RouteKind::Unicast(hops.iter().map(hop).collect()), mtu: None, advmss: None }
}

pub(crate) fn routes(list: &[(RouteKey, Route)]) -> Wanted {
    Wanted { routes: list.iter().cloned().collect(), ..Wanted::default() }
}

pub(crate) fn resolving(list: &[&str]) -> Wanted {
    Wanted { resolve: list.iter().map(|a| ip(a)).collect(), ..Wanted::default() }
}

pub(crate) fn all_installed(wanted: &Wanted) -> impl Fn(&Observed) -> bool + use<> {
    let keys: BTreeSet<_> = wanted.routes.keys().copied().collect();
    move |observed| observed.routes_installed == keys
}
