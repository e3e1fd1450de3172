//! Against FRR (Debian package `frr`) in network namespaces, down to the router's kernel FIB. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod lab;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{Lab, NODE, Process, ROUTER, SpeakerProcess, eventually, run};

const V4: &str = "20.20.20.1/32";
const V6: &str = "2001:db8:20::1/128";

struct Frr<'a> {
    lab: &'a Lab,
    _processes: [Process; 2],
}

impl<'a> Frr<'a> {
    fn start(lab: &'a Lab) -> Self {
        let config = lab.write(
            "frr.conf",
            &format!(
                "log stdout debugging
                 debug bgp neighbor-events
                 router bgp 65001
                  bgp router-id {ROUTER}
                  no bgp ebgp-requires-policy
                  no bgp default ipv4-unicast
                  neighbor {NODE} remote-as 64512
                  neighbor {NODE} timers 1 3
                  neighbor {NODE} timers connect 1
                  neighbor {NODE} passive
                  neighbor {NODE} advertisement-interval 0
                  address-family ipv4 unicast
                   neighbor {NODE} activate
                  exit-address-family
                  address-family ipv6 unicast
                   neighbor {NODE} activate
                  exit-address-family\n"
            ),
        );
        run("chown", &["-R", "frr:frr", lab.directory.path().to_str().unwrap()]);
        let (zserv, directory) = (lab.path("zserv.api"), lab.directory.path().to_str().unwrap());
        let daemon = |name: &str| {
            let pid = lab.path(&format!("{name}.pid"));
            let common = ["-f", &config, "-i", &pid, "-z", &zserv, "--vty_socket", directory];
            let program = format!("/usr/lib/frr/{name}");
            lab.daemon(name, &program, &[&common[..], &["-u", "frr", "-g", "frr"]].concat())
        };
        let zebra = daemon("zebra");
        eventually("zebra's socket", || std::fs::exists(&zserv).unwrap().to_string(), |seen| seen == "true");
        let bgpd = daemon("bgpd");
        let vty = lab.path("bgpd.vty");
        eventually("bgpd's socket", || std::fs::exists(&vty).unwrap().to_string(), |seen| seen == "true");
        Self { lab, _processes: [zebra, bgpd] }
    }

    fn ask(&self, question: &str) -> String {
        run("vtysh", &["--vty_socket", self.lab.directory.path().to_str().unwrap(), "-c", question])
    }

    fn fib(&self, prefix: &str) -> String {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        self.lab.router.ip(&[family, "route", "show", prefix])
    }

    fn routes(&self, prefix: &str) -> String {
        eventually(prefix, || self.fib(prefix), |fib| fib.contains("proto bgp"))
    }
}

fn speaker(lab: &Lab, restarting: bool, more: &[&str]) -> SpeakerProcess {
    let restarting = restarting.to_string();
    let arguments = ["64512", NODE, &restarting, ROUTER, "65001", "nh6=2001:db8:99::2", "hold=3"];
    lab.speaker(&[&arguments[..], more].concat())
}

fn announce_both(speaker: &mut SpeakerProcess) {
    speaker.tell(&format!("announce {V4} community=64512:20"));
    speaker.tell(&format!("announce {V6}"));
    speaker.tell("apply");
    speaker.tell("wait rib");
}

#[test]
fn routes_reach_the_fib_and_leave_it() {
    let lab = Lab::new();
    let frr = Frr::start(&lab);
    let mut speaker = speaker(&lab, false, &[]);
    announce_both(&mut speaker);
    assert!(frr.routes(V4).contains(&format!("via {NODE}")), "{}", frr.fib(V4));
    frr.routes(V6);
    let shown: serde_json::Value =
        serde_json::from_str(&frr.ask(&format!("show bgp ipv4 unicast {V4} json"))).unwrap();
    let path = &shown["paths"][0];
    assert_eq!(path["origin"], "IGP");
    assert_eq!(path["aspath"]["string"], "64512");
    assert_eq!(path["community"]["string"], "64512:20");

    speaker.tell(&format!("withdraw {V4}"));
    speaker.tell("apply");
    eventually("the withdraw", || frr.fib(V4), str::is_empty);
    assert!(!frr.fib(V6).is_empty());

    assert_eq!(speaker.ask("cease gone fishing"), "ceased");
    eventually("the end of the session", || frr.fib(V6), str::is_empty);
    let shown = frr.ask(&format!("show bgp neighbors {NODE}"));
    assert!(shown.contains("Cease/Administrative Shutdown"), "{shown}");
    let log = std::fs::read_to_string(lab.path("bgpd.log")).unwrap();
    assert!(log.contains("gone fishing"), "{log}");
}

/// `ip monitor route` in the router's namespace, framed by a planted route that shows that it sees events.
struct Monitor<'a> {
    lab: &'a Lab,
    process: Process,
}

const PLANTED: &str = "192.0.2.1/32";

impl<'a> Monitor<'a> {
    fn start(lab: &'a Lab) -> Self {
        let mut command = lab.router.command("ip");
        let command = command.args(["-o", "monitor", "route"]).stdout(Stdio::piped());
        let process = Process(command.spawn().unwrap());
        std::thread::sleep(Duration::from_millis(300));
        lab.router.ip(&["route", "add", "blackhole", PLANTED]);
        Self { lab, process }
    }

    /// Everything that it saw of the announced prefixes.
    fn events(mut self) -> String {
        self.lab.router.ip(&["route", "del", PLANTED]);
        std::thread::sleep(Duration::from_millis(300));
        self.process.0.kill().unwrap();
        let mut events = String::new();
        self.process.0.stdout.take().unwrap().read_to_string(&mut events).unwrap();
        assert_eq!(
            events.matches("192.0.2.1").count(),
            2,
            "the monitor did not see the planted route: {events}"
        );
        let ours = |line: &&str| line.contains("20.20.20.1") || line.contains("db8:20::1");
        events.lines().filter(ours).collect()
    }
}

impl Frr<'_> {
    /// Waits until FRR has had End-of-RIB for both families, and checks that nothing is stale any more.
    fn settled(&self) {
        let neighbour = || self.ask(&format!("show bgp neighbors {NODE} json"));
        let settled = |json: &str| {
            let all: serde_json::Value = serde_json::from_str(json).unwrap();
            let received = &all[NODE]["gracefulRestartInfo"]["endOfRibRecv"];
            received["ipv6Unicast"] == true && received["ipv4Unicast"] == true
        };
        eventually("End-of-RIB at FRR", neighbour, settled);
        let route = self.ask(&format!("show bgp ipv4 unicast {V4} json"));
        assert!(!route.contains("\"stale\":true"), "{route}");
    }
}

/// The router's FIB must not see anything of a restart, however sudden.
#[test]
fn kill_and_restart_without_a_fib_event() {
    let lab = Lab::new();
    let frr = Frr::start(&lab);
    let mut first = speaker(&lab, false, &[]);
    announce_both(&mut first);
    frr.routes(V4);
    frr.routes(V6);

    let monitor = Monitor::start(&lab);
    first.kill();
    let killed = Instant::now();
    let mut second = speaker(&lab, true, &[]);
    announce_both(&mut second);
    println!("re-established and sent {:?} after the kill", killed.elapsed());
    frr.settled();
    assert_eq!(monitor.events(), "");
}

/// The same when the router has not seen the end of the old session and holds it for alive.
#[test]
fn restart_over_a_half_open_session_without_a_fib_event() {
    let lab = Lab::new();
    let frr = Frr::start(&lab);
    let mut first = speaker(&lab, false, &[]);
    announce_both(&mut first);
    frr.routes(V4);
    frr.routes(V6);

    let monitor = Monitor::start(&lab);
    lab.node.ip(&["route", "add", "blackhole", &format!("{ROUTER}/32")]);
    first.kill();
    lab.node.ip(&["route", "del", "blackhole", &format!("{ROUTER}/32")]);
    let mut second = speaker(&lab, true, &[]);
    announce_both(&mut second);
    frr.settled();
    assert_eq!(monitor.events(), "");
}

/// Without graceful restart FRR answers the first OPEN after a kill with Cease/7; the quick retry gets in.
#[test]
fn half_open_session_without_graceful_restart_is_retried_quickly() {
    let lab = Lab::new();
    let frr = Frr::start(&lab);
    let mut first = speaker(&lab, false, &["restart=0"]);
    announce_both(&mut first);
    frr.routes(V4);
    lab.node.ip(&["route", "add", "blackhole", &format!("{ROUTER}/32")]);
    first.kill();
    lab.node.ip(&["route", "del", "blackhole", &format!("{ROUTER}/32")]);
    let started = Instant::now();
    let mut second = speaker(&lab, false, &["restart=0"]);
    announce_both(&mut second);
    println!("established after {:?}; {}", started.elapsed(), second.ask("status"));
    // The old session's hold time, and one retry.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    frr.routes(V4);
}

/// SIGTERM's way out keeps the routes, and the next run takes them over.
#[test]
fn keep_leaves_the_routes_stale_until_the_next_run() {
    let lab = Lab::new();
    let frr = Frr::start(&lab);
    let mut first = speaker(&lab, false, &[]);
    announce_both(&mut first);
    frr.routes(V4);
    assert_eq!(first.ask("keep"), "ok");
    let stale = || frr.ask(&format!("show bgp ipv4 unicast {V4} json"));
    eventually("the stale mark", stale, |route| route.contains("\"stale\":true"));
    assert!(!frr.fib(V4).is_empty(), "the route left the FIB");

    // The second run no longer wants the IPv6 route: End-of-RIB ends it.
    let mut second = speaker(&lab, true, &[]);
    second.tell(&format!("announce {V4} community=64512:20"));
    second.tell("apply");
    second.tell("wait rib");
    eventually("the end of the stale IPv6 route", || frr.fib(V6), str::is_empty);
    assert!(!frr.fib(V4).is_empty(), "the route that is still wanted stays");
}
