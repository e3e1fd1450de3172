//! What an operator gets to see when something is wrong: a clear word, nothing half done. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod support;

use std::fs;
use std::process::Command;

use proto::v1;
use proto::v1::condition::Status;
use support::{Lab, VIPCASTD, apply, document, vip};

#[tokio::test]
async fn a_foreign_xdp_program_is_named_left_alone_and_replaced_when_it_is_gone() {
    let mut lab = Lab::new();
    let other = lab.config("other", "listen = []", "");
    let foreign = lab.start(&other);
    lab.condition("other", "DatapathAttached", Status::True, "").await;
    lab.stop(foreign, "KILL");

    let config = lab.config("n", "listen = []", "");
    lab.start(&config);
    let fault = lab.condition("n", "DatapathAttached", Status::False, "another XDP program").await;
    assert!(fault.message.contains("e1"), "{}", fault.message);
    lab.condition("n", "Ready", Status::False, "another XDP program").await;
    apply(lab.api("n").await, document(), false).await.expect("the API works");
    let status = vip(lab.api("n").await).await.status.unwrap();
    assert!(!status.announced);

    let gone = lab.in_node(VIPCASTD, &["detach", "--no-withdraw", "--config", other.to_str().unwrap()]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    lab.condition("n", "DatapathAttached", Status::True, "e1").await;
}

#[tokio::test]
async fn without_rights_it_stays_up_and_says_so() {
    let mut lab = Lab::new();
    let config = lab.config("n", "listen = []", "");
    let node = lab.node.clone();
    let arguments =
        ["--bounding-set=-all", "--inh-caps=-all", "--", VIPCASTD, "--config", config.to_str().unwrap()];
    lab.spawn(&node, "setpriv", &arguments, "n.log");
    lab.condition("n", "DatapathAttached", Status::False, "no rights").await;
    lab.condition("n", "RoutesProgrammed", Status::False, "no rights").await;
    lab.condition("n", "Ready", Status::False, "").await;
    assert!(!lab.ip(&lab.node, "link show e1").contains("xdp"));
    assert!(!lab.path("bpf/n/maps").exists(), "no pins");
    assert!(!lab.ip(&lab.node, "route").contains("proto 175"));
    let redirects = lab.in_node("cat", &["/proc/sys/net/ipv4/conf/e1/send_redirects"]);
    assert_eq!(String::from_utf8_lossy(&redirects.stdout).trim(), "1", "sysctls are as they were");
}

#[tokio::test]
async fn backends_without_a_way_are_kept_out_and_named_and_the_others_serve() {
    let mut lab = Lab::new();
    let config = lab.config("n", "listen = []", "");
    lab.start(&config);
    lab.condition("n", "Ready", Status::True, "").await;
    let _server = lab.server("56.56.56.1:8080");
    let mut document = document();
    let backend = |address: &str| v1::Backend { address: address.into(), ..v1::Backend::default() };
    // Without a route, and with a next hop that nobody answers for.
    document.pools[0].spec.as_mut().unwrap().backends =
        ["56.56.56.1", "58.58.58.1", "31.31.31.77"].map(backend).into();
    apply(lab.api("n").await, document, false).await.expect("a legal document");

    let pool = || async {
        let mut pools = v1::pool_service_client::PoolServiceClient::new(lab.api("n").await);
        pools.get(v1::GetRequest { name: "web".into() }).await.unwrap().into_inner().status.unwrap()
    };
    let status = lab
        .until("one backend in the ring, the neighbour given up", || async {
            let status = pool().await;
            let failed = status.backends.iter().any(|b| b.resolution.contains("does not answer"));
            (status.usable == 1 && failed).then_some(status)
        })
        .await;
    let of = |address: &str| status.backends.iter().find(|b| b.address == address).unwrap();
    let good = of("56.56.56.1");
    assert_eq!((good.resolution.as_str(), good.in_ring, good.slots), ("resolved", true, status.ring_slots));
    for (address, why) in [("58.58.58.1", "no route to 58.58.58.1"), ("31.31.31.77", "31.31.31.77")] {
        let out = of(address);
        assert_eq!((out.in_ring, out.slots), (false, 0), "{out:?}");
        assert!(out.resolution.contains(why) && out.message.contains(why), "{out:?}");
    }
    let degraded = status.conditions.iter().find(|c| c.r#type == "Degraded").unwrap();
    assert!(degraded.status() == Status::True, "{degraded:?}");
    assert!(
        degraded.message.contains("58.58.58.1") && degraded.message.contains("31.31.31.77"),
        "{degraded:?}"
    );
    assert!(vip(lab.api("n").await).await.status.unwrap().announced);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_used_when_it_is_free() {
    let mut lab = Lab::new();
    let config = lab.config("n", "listen = [\"11.11.11.254:179\"]", "");
    lab.start(&config);
    lab.condition("n", "Bgp", Status::False, "cannot listen on 11.11.11.254:179").await;
    lab.ip(&lab.node, "addr add 11.11.11.254/32 dev lo");
    lab.condition("n", "Bgp", Status::True, "").await;
}

#[tokio::test]
async fn an_interface_that_is_not_there_yet_is_attached_when_it_comes() {
    let mut lab = Lab::new();
    lab.ip(&lab.node, "link del e1");
    let config = lab.config("n", "listen = []", "");
    lab.start(&config);
    lab.condition("n", "DatapathAttached", Status::False, "e1: no such interface").await;
    lab.ip(&lab.node, "link add e1 type veth peer name e1p");
    lab.ip(&lab.node, "link set e1 up");
    lab.condition("n", "DatapathAttached", Status::True, "e1").await;
}

#[test]
fn a_wrong_configuration_ends_with_every_place_named() {
    let directory = std::env::temp_dir().join(format!("vipcastd-config-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("vipcast.toml");
    fs::write(&file, "[bgp]\nasn = 64512\nrouter_id = \"1.1.1.1\"\nasm = 1\n[datapath]\ninterfaces = []\n")
        .unwrap();
    for arguments in [vec!["check-config", file.to_str().unwrap()], vec!["--config", file.to_str().unwrap()]]
    {
        let output = Command::new(VIPCASTD).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("line 4, column 1: unknown field `asm`"), "{said}");
        assert!(said.contains("line 6, column 14: datapath.interfaces is missing"), "{said}");
    }
    fs::write(&file, "[bgp]\nasn = 64512\nrouter_id = \"1.1.1.1\"\n[datapath]\ninterfaces = [\"eth1\"]\n")
        .unwrap();
    let good = Command::new(VIPCASTD).args(["check-config", file.to_str().unwrap()]).output().unwrap();
    assert!(good.status.success());
    let missing = Command::new(VIPCASTD).args(["--config", "/nonexistent/vipcast.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_real_server_is_prepared_once_checked_and_undone() {
    let lab = Lab::new();
    let pins = lab.path("bpf/real-server");
    let run = lab.path("real-server");
    let server = |more: &[&str]| {
        let (pins, run) = (pins.to_str().unwrap(), run.to_str().unwrap());
        let mut arguments =
            vec!["real-server", "--interface", "p2", "--vip", "20.20.20.1", "--vip", "2001:db8::1"];
        arguments.extend([
            "--node-source",
            "31.31.31.0/24",
            "--local",
            "56.56.56.1",
            "--pins",
            pins,
            "--run",
            run,
        ]);
        arguments.extend(more);
        let output = lab.in_router(VIPCASTD, &arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (good, said) = server(&["--check"]);
    assert!(!good && said.contains("WRONG 20.20.20.1 is an address of this host"), "{said}");

    let (good, said) = server(&[]);
    assert!(good, "{said}");
    assert!(said.contains("20.20.20.1 is on lo") && said.contains("arp_announce = 2 (was 0)"), "{said}");
    let addresses = lab.ip(&lab.router, "addr show dev lo");
    assert!(addresses.contains("20.20.20.1/32") && addresses.contains("2001:db8::1/128"), "{addresses}");
    assert!(lab.ip(&lab.router, "link show p2").contains("xdp"));

    let (good, said) = server(&[]);
    assert!(good && !said.contains("(was"), "the second time changes nothing: {said}");
    let (good, said) = server(&["--check"]);
    assert!(good, "{said}");

    let (good, said) = server(&["--undo"]);
    assert!(good, "{said}");
    assert!(!lab.ip(&lab.router, "addr show dev lo").contains("20.20.20.1"));
    assert!(!lab.ip(&lab.router, "link show p2").contains("xdp"));
    let announce = lab.in_router("cat", &["/proc/sys/net/ipv4/conf/p2/arp_announce"]);
    assert_eq!(String::from_utf8_lossy(&announce.stdout).trim(), "0");
    let (good, said) = server(&["--undo"]);
    assert!(good, "nothing left to undo: {said}");
    let (good, said) = server(&["--local", "9.9.9.9"]);
    assert!(!good && said.contains("9.9.9.9") && said.contains("nothing was changed"), "{said}");
}

#[tokio::test]
async fn pins_of_other_sizes_are_refused_and_detach_removes_them() {
    let mut lab = Lab::new();
    let config = lab.config("n", "listen = []", "");
    let first = lab.start(&config);
    lab.condition("n", "DatapathAttached", Status::True, "").await;
    lab.stop(first, "TERM");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("vips = 100\n", "vips = 200\n")).unwrap();
    let second = lab.start(&config);
    lab.condition("n", "DatapathAttached", Status::False, "vipcastd detach").await;
    assert!(lab.ip(&lab.node, "link show e1").contains("xdp"), "what runs goes on running");
    lab.stop(second, "TERM");
    let gone = lab.in_node(VIPCASTD, &["detach", "--config", config.to_str().unwrap()]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert!(!lab.ip(&lab.node, "link show e1").contains("xdp"));
    lab.start(&config);
    lab.condition("n", "DatapathAttached", Status::True, "").await;
}
