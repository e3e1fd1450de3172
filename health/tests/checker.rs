//! The running checker on a virtual clock with scripted probes, and once against real sockets.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as the tests do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use health::connect::Connecting;
use health::probe::Probing;
use health::{
    Check, Checker, Connect, NetProber, Probe, ProbeError, Prober, Snapshot, Target, TargetState, Verdict,
    Wanted,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Answers what the test says and notes when each target was probed.
#[derive(Default)]
struct Script {
    broken: Mutex<BTreeMap<Target, &'static str>>,
    probes: Mutex<BTreeMap<Target, Vec<Instant>>>,
}

impl Script {
    fn set(&self, target: &str, broken: Option<&'static str>) {
        let mut map = self.broken.lock().unwrap();
        match broken {
            Some(why) => map.insert(Target(target.into()), why),
            None => map.remove(&Target(target.into())),
        };
    }

    fn times(&self, target: &str) -> Vec<Instant> {
        self.probes.lock().unwrap().get(&Target(target.into())).cloned().unwrap_or_default()
    }
}

impl Prober for Script {
    fn probe<'a>(&'a self, target: &'a Target, _check: &'a Check) -> Probing<'a> {
        Box::pin(async move {
            self.probes.lock().unwrap().entry(target.clone()).or_default().push(Instant::now());
            match self.broken.lock().unwrap().get(target) {
                Some(why) => Err(ProbeError::Io((*why).into())),
                None => Ok(()),
            }
        })
    }
}

fn check(port: u16) -> Check {
    Check {
        probe: Probe::Tcp { address: SocketAddr::from(([192, 0, 2, 1], port)) },
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        initial: Verdict::Unknown,
    }
}

fn wanted(targets: &[(&str, Check)]) -> Wanted {
    Wanted { targets: targets.iter().map(|(n, c)| (Target((*n).into()), c.clone())).collect() }
}

fn state(snapshot: &Snapshot, name: &str) -> TargetState {
    snapshot.targets.get(&Target(name.into())).cloned().unwrap_or_else(|| panic!("no target {name}"))
}

async fn until(rx: &mut watch::Receiver<Arc<Snapshot>>, what: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    tokio::time::timeout(Duration::from_secs(120), rx.wait_for(|s| what(s)))
        .await
        .expect("the snapshot never came")
        .expect("the checker is gone")
        .clone()
}

#[tokio::test(start_paused = true)]
async fn verdicts_follow_the_probes() {
    let script = Arc::new(Script::default());
    script.set("b", Some("connection refused"));
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    checker.set_wanted(wanted(&[("a", check(1)), ("b", check(2))]));

    let first = until(&mut rx, |s| s.targets.len() == 2).await;
    assert_eq!(state(&first, "a").verdict, Verdict::Unknown);

    let begin = Instant::now();
    let up = until(&mut rx, |s| state(s, "a").verdict == Verdict::Up).await;
    assert_eq!(state(&up, "a").probes, 2);
    assert!(begin.elapsed() < Duration::from_millis(1300), "{:?}", begin.elapsed());

    let down = until(&mut rx, |s| state(s, "b").verdict == Verdict::Down).await;
    assert_eq!(state(&down, "b").failures, 3);
    assert_eq!(state(&down, "b").last_error.as_deref(), Some("connection refused"));
    assert!(state(&down, "b").failing_since.is_some());

    script.set("b", None);
    let repaired = until(&mut rx, |s| state(s, "b").verdict == Verdict::Up).await;
    assert_eq!(state(&repaired, "b").failing_since, None);
    assert!(state(&repaired, "b").last_failure_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dead_target_is_down_within_fall_intervals() {
    let script = Arc::new(Script::default());
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    checker.set_wanted(wanted(&[("a", check(1))]));
    until(&mut rx, |s| !s.targets.is_empty() && state(s, "a").verdict == Verdict::Up).await;
    script.set("a", Some("gone"));
    let begin = Instant::now();
    until(&mut rx, |s| state(s, "a").verdict == Verdict::Down).await;
    assert!(begin.elapsed() <= Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(begin.elapsed() >= Duration::from_millis(1800), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn counts_are_published_at_most_once_a_second() {
    let script = Arc::new(Script::default());
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    let fast = Check { interval: Duration::from_millis(20), initial: Verdict::Up, ..check(1) };
    let targets: Vec<_> = (0..50).map(|n| (format!("t{n}"), fast.clone())).collect();
    checker.set_wanted(Wanted { targets: targets.into_iter().map(|(n, c)| (Target(n), c)).collect() });
    until(&mut rx, |s| s.targets.len() == 50).await;
    rx.mark_unchanged();
    let begin = Instant::now();
    let mut published = 0;
    while begin.elapsed() < Duration::from_secs(10) {
        rx.changed().await.unwrap();
        published += 1;
    }
    assert!((9..=11).contains(&published), "{published} snapshots in ten seconds");
    assert!(state(&rx.borrow(), "t0").probes > 400);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_check_keeps_state_and_rhythm() {
    let script = Arc::new(Script::default());
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    checker.set_wanted(wanted(&[("a", check(1))]));
    until(&mut rx, |s| !s.targets.is_empty() && state(s, "a").verdict == Verdict::Up).await;
    let probes = script.times("a").len();
    for n in 0..50 {
        let again = Check { initial: if n % 2 == 0 { Verdict::Down } else { Verdict::Unknown }, ..check(1) };
        checker.set_wanted(wanted(&[("a", again), ("b", check(n))]));
        until(&mut rx, |s| s.targets.len() == 2).await;
        assert_eq!(state(&rx.borrow(), "a").verdict, Verdict::Up);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Half a second passed: at most one probe, not fifty.
    assert!(script.times("a").len() <= probes + 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_check_keeps_the_verdict_only_for_the_same_address() {
    let script = Arc::new(Script::default());
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    checker.set_wanted(wanted(&[("a", check(1)), ("b", check(2))]));
    until(&mut rx, |s| s.targets.len() == 2 && s.targets.values().all(|t| t.verdict == Verdict::Up)).await;
    let slower = Check { interval: Duration::from_secs(60), ..check(1) };
    checker.set_wanted(wanted(&[("a", slower), ("b", check(3))]));
    let after = until(&mut rx, |s| state(s, "b").probes == 0).await;
    assert_eq!(state(&after, "a").verdict, Verdict::Up);
    assert_eq!(state(&after, "b").verdict, Verdict::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_left_is_not_probed_and_nothing_runs_after_drop() {
    let script = Arc::new(Script::default());
    let checker = Checker::start_with(script.clone());
    let mut rx = checker.snapshot();
    checker.set_wanted(wanted(&[("a", check(1)), ("b", check(2))]));
    until(&mut rx, |s| s.targets.len() == 2 && s.targets.values().all(|t| t.probes > 1)).await;
    checker.set_wanted(wanted(&[("b", check(2))]));
    until(&mut rx, |s| s.targets.len() == 1).await;
    let (a, b) = (script.times("a").len(), script.times("b").len());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(script.times("a").len(), a);
    assert!(script.times("b").len() >= b + 18);
    drop(checker);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let b = script.times("b").len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(script.times("b").len(), b);
}

/// Counts connections and sends them all to one address, as a tunnel's socket factory would.
struct Detour(SocketAddr, Mutex<Vec<(Target, SocketAddr)>>);

impl Connect for Detour {
    fn connect<'a>(&'a self, target: &'a Target, address: SocketAddr) -> Connecting<'a> {
        self.1.lock().unwrap().push((target.clone(), address));
        Box::pin(TcpStream::connect(self.0))
    }
}

#[tokio::test]
async fn a_socket_factory_decides_the_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let detour = Arc::new(Detour(listener.local_addr().unwrap(), Mutex::default()));
    let checker = Checker::start_with(Arc::new(NetProber::new(detour.clone())));
    let mut rx = checker.snapshot();
    let quick = Check { interval: Duration::from_millis(20), ..check(80) };
    checker.set_wanted(wanted(&[("pool/a", quick)]));
    until(&mut rx, |s| s.targets.values().any(|t| t.verdict == Verdict::Up)).await;
    let asked = detour.1.lock().unwrap()[0].clone();
    assert_eq!(asked, (Target("pool/a".into()), SocketAddr::from(([192, 0, 2, 1], 80))));
}

#[tokio::test]
async fn a_thousand_targets_against_one_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let checker = Checker::start();
    let mut rx = checker.snapshot();
    let one = Check { probe: Probe::Tcp { address }, rise: 1, timeout: Duration::from_secs(5), ..check(0) };
    let targets = (0..1000).map(|n| (Target(format!("pool/{n}")), one.clone())).collect();
    checker.set_wanted(Wanted { targets });
    let all_up =
        |s: &Snapshot| s.targets.len() == 1000 && s.targets.values().all(|t| t.verdict == Verdict::Up);
    until(&mut rx, all_up).await;
}
