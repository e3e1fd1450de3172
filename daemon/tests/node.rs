//! vipcastd as a process on a real kernel, with BIRD as its router: announce, serve, withdraw, restart, leave. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod support;

use std::fs;
use std::time::Duration;

use proto::v1;
use support::{Lab, apply, document, vip};

const VIP_ROUTE: &str = "20.20.20.1 via 11.11.11.1";

async fn announced(lab: &Lab) {
    lab.until("the router's kernel has the VIP", || async {
        lab.ip(&lab.router, "route").contains(VIP_ROUTE).then_some(())
    })
    .await;
}

async fn withdrawn(lab: &Lab) {
    lab.until("the router's kernel has lost the VIP", || async {
        (!lab.ip(&lab.router, "route").contains("20.20.20.1")).then_some(())
    })
    .await;
}

fn pings(lab: &Lab) -> bool {
    lab.in_router("ping", &["-c", "1", "-W", "1", "20.20.20.1"]).status.success()
}

#[tokio::test]
async fn a_vip_comes_and_goes_with_the_health_of_its_servers() {
    let mut lab = Lab::new();
    lab.bird();
    let config = lab.config("n", "", "[removal]\nlinger = \"2s\"");
    lab.start(&config);
    lab.condition("n", "Ready", v1::condition::Status::True, "").await;
    let first = lab.server("56.56.56.1:8080");

    let answer = apply(lab.api("n").await, document(), false).await.expect("a legal document");
    assert_eq!((answer.revision, answer.changes.len()), (1, 6));
    announced(&lab).await;
    let routes = lab.ip(&lab.node, "route");
    assert!(routes.contains("blackhole 20.20.20.1 proto 175"), "{routes}");
    assert!(lab.ip(&lab.node, "link show e1").contains("xdp"), "native XDP");
    assert!(lab.path("bpf/n").is_dir());
    assert!(pings(&lab), "{}", lab.all_logs());

    let state = lab
        .until("advertised, proven", || async {
            let status = vip(lab.api("n").await).await.status?;
            (status.advertised_to == ["r1"]).then_some(status)
        })
        .await;
    assert!(state.announced);
    let mut pools = v1::pool_service_client::PoolServiceClient::new(lab.api("n").await);
    let pool = loop {
        let pool = pools.get(v1::GetRequest { name: "web".into() }).await.unwrap().into_inner();
        let pool = pool.status.unwrap();
        // Two of three probes are not a verdict yet.
        if pool.backends.iter().all(|b| b.health != "unknown") {
            break pool;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let dead = pool.backends.iter().find(|b| b.address == "57.57.57.1").unwrap();
    assert_eq!((pool.usable, dead.in_ring, dead.slots), (1, false, 0));
    assert!(dead.message.contains("refused"), "{}", dead.message);

    drop(first);
    withdrawn(&lab).await;
    assert!(!pings(&lab), "a VIP that is not healthy does not answer");
    let latency = lab
        .until("the withdraw was measured", || async {
            vip(lab.api("n").await).await.status?.last_withdraw_latency
        })
        .await;
    let latency = Duration::try_from(latency).unwrap();
    assert!(latency < Duration::from_millis(500), "{latency:?}");

    let _second = lab.server("57.57.57.1:8080");
    announced(&lab).await;

    apply(lab.api("n").await, v1::Config { peers: document().peers, ..v1::Config::default() }, true)
        .await
        .unwrap();
    withdrawn(&lab).await;
    assert!(lab.ip(&lab.node, "route").contains("blackhole 20.20.20.1"), "it lingers");
    assert!(vip(lab.api("n").await).await.meta.unwrap().removal_at.is_some());
    lab.until("and then goes", || async {
        (!lab.ip(&lab.node, "route").contains("proto 175")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_daemon_comes_back_without_an_event_at_the_router() {
    let mut lab = Lab::new();
    lab.bird();
    let config = lab.config("n", "", "");
    let _servers = [lab.server("56.56.56.1:8080"), lab.server("57.57.57.1:8080")];
    let first = lab.start(&config);
    lab.condition("n", "Ready", v1::condition::Status::True, "").await;
    apply(lab.api("n").await, document(), false).await.unwrap();
    announced(&lab).await;
    lab.until("the ring is full", || async {
        (vip(lab.api("n").await).await.status?.advertised_to == ["r1"]).then_some(())
    })
    .await;

    let second = lab.in_node(support::VIPCASTD, &["--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("another vipcastd (process {first})")), "{said}");

    let router = lab.router.clone();
    let monitor = lab.spawn(&router, "ip", &["monitor", "route"], "monitor.log");
    assert!(lab.stop(first, "KILL").contains("SIGKILL"));
    assert!(pings(&lab), "the datapath goes on");
    let again = lab.start(&config);
    let status = lab
        .until("established again", || async {
            let status = lab.status("n").await;
            let up = status.conditions.iter().any(|c| c.r#type == "Bgp" && c.message.starts_with("1 of 1"));
            (up && !vip(lab.api("n").await).await.status?.advertised_to.is_empty()).then_some(status)
        })
        .await;
    assert!(status.restarted_gracefully);
    assert_eq!(status.revision, 1, "state comes back from the store");
    lab.until("End-of-RIB", || async {
        let mut peers = v1::peer_service_client::PeerServiceClient::new(lab.api("n").await);
        let peer = peers.get(v1::GetRequest { name: "r1".into() }).await.unwrap().into_inner();
        peer.status?.end_of_rib_sent.then_some(())
    })
    .await;
    assert!(pings(&lab));
    lab.stop(monitor, "TERM");
    let events = lab.log("monitor.log");
    assert!(!events.contains("20.20.20.1"), "{events}");
    let log = lab.log("n.log");
    assert!(!log.contains("old=Up new=Down") && !log.contains("withdrawing"), "{log}");

    assert!(lab.stop(again, "TERM").contains("exit status: 0"));
    assert!(lab.ip(&lab.router, "route").contains(VIP_ROUTE), "SIGTERM keeps the routes");
    assert!(pings(&lab), "and the datapath");
    let detach =
        lab.in_node(support::VIPCASTD, &["detach", "--no-withdraw", "--config", config.to_str().unwrap()]);
    assert!(detach.status.success(), "{}", String::from_utf8_lossy(&detach.stderr));
    assert!(!lab.path("bpf/n").exists());
    assert!(!lab.ip(&lab.node, "route").contains("proto 175"));
    assert!(!lab.ip(&lab.node, "link show e1").contains("xdp"));
}

#[tokio::test]
async fn detach_withdraws_first() {
    let mut lab = Lab::new();
    lab.bird();
    let config = lab.config("n", "", "[removal]\nlinger = \"0s\"");
    let _server = lab.server("56.56.56.1:8080");
    let daemon = lab.start(&config);
    apply(lab.api("n").await, document(), false).await.unwrap();
    announced(&lab).await;
    let running = lab.in_node(support::VIPCASTD, &["detach", "--config", config.to_str().unwrap()]);
    assert!(!running.status.success(), "not while the daemon runs");
    lab.stop(daemon, "TERM");
    assert!(lab.ip(&lab.router, "route").contains(VIP_ROUTE));
    let detach = lab.in_node(support::VIPCASTD, &["detach", "--config", config.to_str().unwrap()]);
    assert!(detach.status.success(), "{}", String::from_utf8_lossy(&detach.stderr));
    withdrawn(&lab).await;
    assert!(!lab.path("bpf/n").exists());
}

#[tokio::test]
async fn a_corrupt_store_serves_from_its_copy_and_two_corrupt_ones_touch_nothing() {
    let mut lab = Lab::new();
    lab.bird();
    let config = lab.config("n", "", "");
    let _server = lab.server("56.56.56.1:8080");
    let daemon = lab.start(&config);
    apply(lab.api("n").await, document(), false).await.unwrap();
    announced(&lab).await;
    lab.stop(daemon, "KILL");

    fs::write(lab.path("n/state/store.redb"), b"nonsense").unwrap();
    let daemon = lab.start(&config);
    lab.condition("n", "StoreHealthy", v1::condition::Status::False, "running from the copy").await;
    lab.until("announced from the copy", || async {
        (vip(lab.api("n").await).await.status?.advertised_to == ["r1"]).then_some(())
    })
    .await;
    let refused = apply(lab.api("n").await, v1::Config::default(), true).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    lab.stop(daemon, "KILL");

    fs::write(lab.path("n/state/last-good.pb"), b"nonsense").unwrap();
    let daemon = lab.start(&config);
    lab.condition("n", "StoreHealthy", v1::condition::Status::False, "neither").await;
    lab.condition("n", "Ready", v1::condition::Status::False, "neither").await;
    assert!(pings(&lab), "the datapath is as it was");
    assert!(lab.ip(&lab.node, "route").contains("blackhole 20.20.20.1"));
    let sockets = String::from_utf8(lab.in_node("ss", &["-tln"]).stdout).unwrap();
    assert!(!sockets.contains(":179"), "not dialling, not listening: {sockets}");

    lab.stop(daemon, "TERM");
    let detach = lab.in_node(support::VIPCASTD, &["detach", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&detach.stderr);
    assert!(!detach.status.success() && said.contains("--no-withdraw"), "{said}");
    assert!(pings(&lab), "what routers were not told of stays");
}
