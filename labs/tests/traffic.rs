//! The traffic tool itself, over a plain link: it must see what is right and what is wrong before it may judge a VIP.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use labs::host::lab::Options;
use labs::host::{Lab, Place, process};
use labs::traffic::drive::{self, Client};
use labs::traffic::job::{
    Arrive, Ask, Bulk, BulkReport, FailureKind, Held, Hold, Job, Knock, Knocked, Opened, Reply,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vipcast-lab");
const LIMIT: Duration = Duration::from_secs(30);

/// A client and a server on one link.
struct Bench {
    lab: Option<Lab>,
    name: String,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(name: &str) -> Self {
        let name = format!("{name}{}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let topology = format!(
            r#"
name: {name}
topology:
  defaults: {{ kind: linux, sysctls: {{ net.ipv6.conf.default.accept_dad: 0 }} }}
  nodes:
    client:
      exec: [ip addr add 10.9.7.1/24 dev eth1, "ip addr add 2001:db8::1/64 dev eth1 nodad"]
    server:
      exec:
        - ip addr add 10.9.7.2/24 dev eth1
        - ip addr add 2001:db8::2/64 dev eth1 nodad
        - >-
          start-stop-daemon --start --background --make-pidfile --pidfile /run/server.pid
          --startas /usr/local/bin/vipcast-lab -- server --name one --tcp 8080 --http 8081 --udp 10.9.7.2:9000
  links: [{{ endpoints: ["client:eth1", "server:eth1"], mtu: 1500 }}]
"#
        );
        std::fs::write(dir.path().join(format!("{name}.clab.yml")), topology).unwrap();
        let options = Options {
            source: dir.path().to_path_buf(),
            edits: Vec::new(),
            programs: vec![PathBuf::from(PROGRAM)],
            holder: PathBuf::from(PROGRAM),
        };
        let lab = Lab::up(&name, &options, &mut |_| {}).unwrap();
        let bench = Self { lab: Some(lab), name, _dir: dir };
        bench.until_served();
        bench
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn until_served(&self) {
        let served = || self.ask("10.9.7.2:8080", "10.9.7.1", vec![39000])[0].server.is_some();
        for _ in 0..500 {
            if served() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not come up");
    }

    fn run<T: serde::de::DeserializeOwned>(&self, job: &Job) -> T {
        drive::run(self.lab().node("client").unwrap(), job, LIMIT).unwrap()
    }

    fn ask(&self, target: &str, source: &str, ports: Vec<u16>) -> Vec<Reply> {
        self.run(&Job::Ask(question(target, source, ports)))
    }

    fn hold(&self, ports: Vec<u16>) -> Client {
        let hold = Hold {
            target: "10.9.7.2:8080".parse().unwrap(),
            source: "10.9.7.1".parse().unwrap(),
            ports,
            payload: 3000,
            interval_ms: 10,
            give_up_ms: 5000,
        };
        Client::start(self.lab().node("client").unwrap(), &Job::Hold(hold)).unwrap()
    }

    fn kill_server(&self) {
        let server = self.lab().node("server").unwrap();
        let pid = server.pid_file("/run/server.pid").unwrap();
        server.run(["kill", "-KILL", &pid.to_string()]).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.lab.take());
        let _ = labs::host::lab::clean(&Place::new(&self.name));
    }
}

fn question(target: &str, source: &str, ports: Vec<u16>) -> Ask {
    Ask {
        target: target.parse().unwrap(),
        source: source.parse().unwrap(),
        ports,
        parallel: 8,
        limit_ms: 1000,
    }
}

#[test]
fn answers_name_the_server_and_the_clients_own_address() {
    let bench = Bench::new("ask");
    for (target, source) in [("10.9.7.2:8080", "10.9.7.1"), ("[2001:db8::2]:8080", "2001:db8::1")] {
        // Twice: closing with RST leaves the tuples free.
        for _ in 0..2 {
            let replies = bench.ask(target, source, (40000..40100).collect());
            assert_eq!(replies.len(), 100);
            for reply in replies {
                let seen = reply.seen.unwrap();
                assert_eq!(
                    (reply.server.as_deref(), seen.port()),
                    (Some("one"), reply.port),
                    "{:?}",
                    reply.error
                );
                assert_eq!(seen.ip().to_string(), source);
            }
        }
    }
    let udp: Vec<Reply> = bench.run(&Job::AskUdp(question("10.9.7.2:9000", "10.9.7.1", vec![40000, 40001])));
    assert!(udp.len() == 2 && udp.iter().all(|reply| reply.server.as_deref() == Some("one")), "{udp:?}");
    bench.kill_server();
    let replies = bench.ask("10.9.7.2:8080", "10.9.7.1", vec![40000]);
    assert!(
        replies[0].server.is_none() && replies[0].error.as_deref().unwrap().contains("refused"),
        "{replies:?}"
    );
}

#[test]
fn silence_and_answers_are_told_apart() {
    let bench = Bench::new("knock");
    bench.lab().node("server").unwrap().sh("ip route add blackhole 10.9.7.1").unwrap();
    let knock = |target: &str, udp| {
        let knock = Knock {
            targets: vec![target.parse().unwrap()],
            source: "10.9.7.1".parse().unwrap(),
            udp,
            wait_ms: 400,
        };
        bench.run::<Vec<Knocked>>(&Job::Knock(knock)).remove(0).answer
    };
    assert_eq!(knock("10.9.7.2:81", false), None);
    assert_eq!(knock("10.9.7.2:81", true), None);
    bench.lab().node("server").unwrap().sh("ip route del blackhole 10.9.7.1").unwrap();
    assert!(knock("10.9.7.2:81", false).unwrap().contains("refused"));
    assert!(knock("10.9.7.2:81", true).unwrap().contains("refused"));
    assert_eq!(knock("10.9.7.2:8080", false).unwrap(), "connected");
}

#[test]
fn bulk_data_is_checked_and_a_dead_path_is_an_error() {
    let bench = Bench::new("bulk");
    let job = |up, down| {
        Job::Bulk(Bulk {
            target: "10.9.7.2:8080".parse().unwrap(),
            source: "10.9.7.1".parse().unwrap(),
            port: 41000,
            up,
            down,
            stall_ms: 700,
        })
    };
    let report: BulkReport = bench.run(&job(3_000_001, 2_000_003));
    assert_eq!((report.up.bytes, report.down.bytes), (3_000_001, 2_000_003), "{report:?}");
    assert!(report.up.error.is_none() && report.down.error.is_none(), "{report:?}");
    bench.lab().node("server").unwrap().sh("ip link set eth1 down").unwrap();
    let report: BulkReport = bench.run(&job(1000, 1000));
    assert!(report.up.error.is_some() && report.down.error.is_some(), "{report:?}");
}

#[test]
fn long_connections_measure_stalls_and_see_their_end() {
    let bench = Bench::new("hold");
    let mut quiet = bench.hold((42000..42010).collect());
    let opened: Opened = quiet.answer(LIMIT).unwrap();
    assert_eq!((opened.open, opened.failed), (10, 0));
    std::thread::sleep(Duration::from_millis(200));
    // The link goes away for a while: nothing is lost, but it takes time.
    let server = bench.lab().node("server").unwrap();
    server.sh("ip link set eth1 down").unwrap();
    std::thread::sleep(Duration::from_millis(400));
    server.sh("ip link set eth1 up").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let held: Vec<Held> = quiet.finish(LIMIT).unwrap();
    for one in &held {
        assert!(one.failure.is_none() && one.frames > 5 && one.bytes == one.frames * 3000, "{one:?}");
        assert!((350..3000).contains(&one.worst_ms), "{one:?}");
    }
    let mut broken = bench.hold(vec![42100]);
    let opened: Opened = broken.answer(LIMIT).unwrap();
    assert_eq!(opened.open, 1);
    bench.kill_server();
    std::thread::sleep(Duration::from_millis(300));
    let held: Vec<Held> = broken.finish(LIMIT).unwrap();
    let kind = held[0].failure.as_ref().unwrap().kind;
    assert!(matches!(kind, FailureKind::Reset | FailureKind::Closed), "{held:?}");
}

#[test]
fn arrivals_go_on_whatever_becomes_of_them() {
    let bench = Bench::new("arrive");
    let arrive = Arrive {
        target: "10.9.7.2:8080".parse().unwrap(),
        source: "10.9.7.1".parse().unwrap(),
        ports: (43000..43050).collect(),
        interval_ms: 10,
        limit_ms: 1000,
    };
    let client = Client::start(bench.lab().node("client").unwrap(), &Job::Arrive(arrive)).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    bench.kill_server();
    std::thread::sleep(Duration::from_millis(300));
    let replies: Vec<Reply> = client.finish(LIMIT).unwrap();
    let good = replies.iter().filter(|reply| reply.server.is_some()).count();
    assert!(good > 10 && good < replies.len(), "{good} of {}", replies.len());
    assert!(replies.is_sorted_by_key(|reply| reply.at_ms));
}

/// Health probes of a node speak HTTP.
#[test]
fn the_server_answers_health_probes() {
    let bench = Bench::new("health");
    let client = bench.lab().node("client").unwrap();
    let script =
        "exec 3<>/dev/tcp/10.9.7.2/8081; printf 'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; cat <&3";
    let mut command = client.command(["bash", "-c", script]);
    let output = process::run(command.stdin(Stdio::null()), LIMIT).unwrap();
    assert!(output.stdout.starts_with("HTTP/1.1 200 OK\r\n"), "{output:?}");
}
