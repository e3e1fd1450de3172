//! What an operator gets to see when something is wrong: a clear word, nothing half done. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod support;

use std::fs;
use std::process::Command;

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
