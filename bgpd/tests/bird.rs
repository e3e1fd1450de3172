//! Against BIRD 2 (Debian package `bird2`) in network namespaces: what it shows is what we meant. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod lab;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use lab::{Lab, NODE, NODE_V6, Process, ROUTER, ROUTER_V6, SpeakerProcess, eventually};

const V4: &str = "20.20.20.1/32";
const V6: &str = "2001:db8:20::1/128";

struct Bird {
    _process: Process,
    control: String,
}

impl Bird {
    /// A neighbour of another AS over IPv4; `extra` goes into the BGP protocol.
    fn start(lab: &Lab, extra: &str) -> Self {
        Self::with(lab, &format!("local {ROUTER} as 65001; neighbor {NODE} as 4200000001; {extra}"))
    }

    fn with(lab: &Lab, neighbour: &str) -> Self {
        let config = lab.write(
            "bird.conf",
            &format!(
                "log stderr all;
                 router id {ROUTER};
                 protocol device {{}}
                 protocol bgp node {{
                   {neighbour}
                   direct;
                   error wait time 1, 2;
                   connect retry time 1;
                   connect delay time 1;
                   graceful restart on;
                   ipv4 {{ import all; export none; }};
                   ipv6 {{ import all; export none; }};
                 }}\n"
            ),
        );
        let control = lab.path("bird.ctl");
        let arguments = ["-f", "-c", &config, "-s", &control, "-P", &lab.path("bird.pid")];
        let process = lab.daemon("bird", "/usr/sbin/bird", &arguments);
        let path = control.clone();
        eventually(
            "BIRD's control socket",
            || std::fs::exists(&path).unwrap().to_string(),
            |seen| seen == "true",
        );
        Self { _process: process, control }
    }

    fn ask(&self, question: &str) -> String {
        birdc(&self.control, question)
    }

    fn sees(&self, prefix: &str, found: impl Fn(&str) -> bool) -> String {
        let question = format!("show route all {prefix}");
        eventually(prefix, || self.ask(&question), found)
    }
}

/// Its answer, also when that is "Network not found", which `birdc` takes for a failure.
fn birdc(control: &str, question: &str) -> String {
    let output = Command::new("birdc").args(["-s", control, question]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn speaker(lab: &Lab, restarting: bool, more: &[&str]) -> SpeakerProcess {
    let restarting = restarting.to_string();
    let mut arguments =
        vec!["4200000001", NODE, &restarting, ROUTER, "65001", "nh6=2001:db8:99::2", "hold=9"];
    arguments.extend(more);
    lab.speaker(&arguments)
}

#[test]
fn announces_and_withdraws_with_exact_attributes() {
    let lab = Lab::new();
    let bird = Bird::start(&lab, "passive on;");
    let mut speaker = speaker(&lab, false, &[]);
    speaker.tell(&format!("announce {V4} med=7 prepend=2 community=64512:20 large=4200000001:1:2"));
    speaker.tell(&format!("announce {V6} community=65535:0"));
    speaker.tell("apply");
    speaker.tell("wait rib");

    let v4 = bird.sees(V4, |route| route.contains("BGP.next_hop"));
    for line in [
        "BGP.origin: IGP",
        "BGP.as_path: 4200000001 4200000001 4200000001",
        "BGP.next_hop: 10.99.0.2",
        "BGP.med: 7",
        "BGP.community: (64512,20)",
        "BGP.large_community: (4200000001, 1, 2)",
    ] {
        assert!(v4.lines().any(|seen| seen.trim() == line), "no {line:?} in\n{v4}");
    }
    let v6 = bird.sees(V6, |route| route.contains("BGP.next_hop"));
    for line in ["BGP.as_path: 4200000001", "BGP.next_hop: 2001:db8:99::2", "BGP.community: (65535,0)"] {
        assert!(v6.lines().any(|seen| seen.trim() == line), "no {line:?} in\n{v6}");
    }

    speaker.tell(&format!("withdraw {V4}"));
    speaker.tell("apply");
    bird.sees(V4, |route| route.contains("Network not found"));
    assert!(bird.ask(&format!("show route all {V6}")).contains("BGP.next_hop"), "the other route stays");

    speaker.tell("disable");
    speaker.tell("wait idle");
    bird.sees(V6, |route| route.contains("Network not found"));
    let protocol = bird.ask("show protocols all node");
    assert!(protocol.contains("Received: Administrative shutdown"), "{protocol}");

    speaker.tell("enable");
    speaker.tell("wait rib");
    bird.sees(V6, |route| route.contains("BGP.next_hop"));
    assert_eq!(speaker.ask("cease planned work"), "ceased");
    let protocol =
        eventually("the goodbye", || bird.ask("show protocols all node"), |p| p.contains("Received: A"));
    assert!(protocol.contains("planned work"), "the operator's words are missing in\n{protocol}");
    let log = std::fs::read_to_string(lab.path("bird.log")).unwrap();
    assert!(!log.contains("Unexpected AF") && !log.contains("Error: "), "{log}");
}

#[test]
fn graceful_restart_keeps_the_route_through_a_kill() {
    let lab = Lab::new();
    let bird = Bird::start(&lab, "passive on;");
    let mut first = speaker(&lab, false, &[]);
    first.tell(&format!("announce {V4}"));
    first.tell(&format!("announce {V6}"));
    first.tell("apply");
    first.tell("wait rib");
    bird.sees(V4, |route| route.contains("BGP.next_hop"));
    bird.sees(V6, |route| route.contains("BGP.next_hop"));

    let watch = Watch::start(bird.control.clone());
    first.kill();
    let stale =
        eventually("the stale mark", || bird.ask("show protocols all node"), |p| !p.contains("Established"));
    assert!(stale.contains("Neighbor graceful restart active") || stale.contains("node"), "{stale}");
    watch.one_round();

    let mut second = speaker(&lab, true, &[]);
    second.tell(&format!("announce {V4}"));
    second.tell(&format!("announce {V6}"));
    second.tell("apply");
    second.tell("wait rib");
    let settled = |p: &str| p.contains("Established") && !p.contains("graceful restart active");
    eventually("the end of the restart", || bird.ask("show protocols all node"), settled);
    watch.one_round();
    assert_eq!(watch.stop(), 0, "times that a route was gone");

    // The second run has sent its End-of-RIB: a session after it starts without the R-bit.
    second.tell("withdraw 2001:db8:20::1/128");
    second.tell("apply");
    bird.sees(V6, |route| route.contains("Network not found"));
}

#[test]
fn both_sides_dial_and_end_up_with_one_session() {
    let lab = Lab::new();
    let bird = Bird::start(&lab, "");
    let mut speaker = speaker(&lab, false, &["listen=10.99.0.2:179"]);
    speaker.tell(&format!("announce {V4}"));
    speaker.tell("apply");
    speaker.tell("wait rib");
    bird.sees(V4, |route| route.contains("BGP.next_hop"));
}

#[test]
fn md5_and_ttl_security() {
    let lab = Lab::new();
    let bird = Bird::start(&lab, "passive on; password \"s3cret\"; ttl security on;");
    let mut speaker = speaker(&lab, false, &["md5=s3cret", "ttl_security=1"]);
    speaker.tell(&format!("announce {V4}"));
    speaker.tell("apply");
    speaker.tell("wait rib");
    bird.sees(V4, |route| route.contains("BGP.next_hop"));
}

#[test]
fn passive_speaker_is_dialled_with_md5() {
    let lab = Lab::new();
    let bird = Bird::start(&lab, "password \"s3cret\"; ttl security on;");
    let mut speaker =
        speaker(&lab, false, &["passive=1", "listen=10.99.0.2:179", "md5=s3cret", "ttl_security=1"]);
    speaker.tell(&format!("announce {V4}"));
    speaker.tell("apply");
    speaker.tell("wait rib");
    bird.sees(V4, |route| route.contains("BGP.next_hop"));
}

#[test]
fn internal_peer_gets_local_pref_and_an_empty_path() {
    let lab = Lab::new();
    let bird = Bird::with(&lab, &format!("local {ROUTER} as 65001; neighbor {NODE} as 65001; passive on;"));
    let mut speaker = lab.speaker(&["65001", NODE, "false", ROUTER, "65001", "nh6=2001:db8:99::2"]);
    speaker.tell(&format!("announce {V4} prepend=3"));
    speaker.tell(&format!("announce {V6} local_pref=250"));
    speaker.tell("apply");
    speaker.tell("wait rib");
    let v4 = bird.sees(V4, |route| route.contains("BGP.next_hop"));
    assert!(v4.contains("BGP.local_pref: 100"), "{v4}");
    assert!(v4.lines().any(|line| line.trim() == "BGP.as_path:"), "{v4}");
    let v6 = bird.sees(V6, |route| route.contains("BGP.next_hop"));
    assert!(v6.contains("BGP.local_pref: 250"), "{v6}");
}

#[test]
fn both_families_over_an_ipv6_session() {
    let lab = Lab::new();
    let extra = "passive on; password \"s3cret\"; ttl security on;";
    let bird =
        Bird::with(&lab, &format!("local {ROUTER_V6} as 65001; neighbor {NODE_V6} as 4200000001; {extra}"));
    let transport = ["md5=s3cret", "ttl_security=1", "nh4=10.99.0.2"];
    let arguments = ["4200000001", NODE, "false", ROUTER_V6, "65001"];
    let mut speaker = lab.speaker(&[&arguments[..], &transport].concat());
    speaker.tell(&format!("announce {V4}"));
    speaker.tell(&format!("announce {V6}"));
    speaker.tell("apply");
    speaker.tell("wait rib");
    let v4 = bird.sees(V4, |route| route.contains("BGP.next_hop"));
    assert!(v4.contains("BGP.next_hop: 10.99.0.2"), "{v4}");
    let v6 = bird.sees(V6, |route| route.contains("BGP.next_hop"));
    assert!(v6.contains(&format!("BGP.next_hop: {NODE_V6}")), "{v6}");
}

/// Asks BIRD for both routes in a loop and counts how often one was missing.
struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<u32>,
}

impl Watch {
    fn start(control: String) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let rounds = Arc::<AtomicU32>::default();
        let (seen, done) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            let mut missed = 0;
            while !seen.load(Ordering::Relaxed) {
                for prefix in [V4, V6] {
                    let route = birdc(&control, &format!("show route {prefix}"));
                    missed += u32::from(!route.contains("unicast"));
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            missed
        });
        Self { stop, rounds, thread }
    }

    /// Returns when a whole round of questions began after this call.
    fn one_round(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        let now = || self.rounds.load(Ordering::Relaxed).to_string();
        eventually("two rounds", now, |now| now.parse::<u32>().is_ok_and(|now| now >= before + 2));
    }

    /// Times that a route was not there.
    fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
