//! What users and scripts see: golden tables, JSON, names, and exit codes.

// clippy knows test functions, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use proto::v1::*;
use support::*;

#[test]
fn lists_are_tables_sorted_as_numbers() {
    let mut state = healthy();
    let vip = |name: &str, address: &str| Vip {
        meta: Some(Meta { name: name.to_owned(), ..Meta::default() }),
        spec: Some(VipSpec { address: address.to_owned(), ..VipSpec::default() }),
        status: None,
    };
    state.config.vips.insert(0, vip("six", "2001:db8::1"));
    state.config.vips.insert(0, vip("ten", "20.20.20.10"));
    state.config.vips.insert(0, vip("nine", "20.20.20.9"));
    // Three pages: the order is over all of them.
    state.page_size = 2;
    let node = Node::start(state);
    let output = vipcast(&[&node], &["vip", "list"]);
    assert_exit(&output, 0);
    assert_eq!(
        stdout(&output),
        "NAME  ADDRESS      ANNOUNCED  ADVERTISED TO  MESSAGE\n\
         web   20.20.20.1   yes        r1             -\n\
         nine  20.20.20.9   no         -              -\n\
         ten   20.20.20.10  no         -              -\n\
         six   2001:db8::1  no         -              -\n"
    );
    assert_eq!(stdout(&vipcast(&[&node], &["vip", "list", "-o", "name"])), "web\nnine\nten\nsix\n");
}

#[test]
fn every_noun_lists() {
    let node = Node::start(healthy());
    for (noun, expected) in [
        ("pool", "NAME     USABLE  MIN  CHECK     MESSAGE\nservers  3/3     1    tcp:8080  -\n"),
        (
            "service",
            "NAME     VIP  PROTO  PORT  POOL     FORWARDING  HEALTHY  BACKENDS  MESSAGE\n\
             web-tcp  web  tcp    8080  servers  ipip        yes      3         -\n",
        ),
        (
            "peer",
            "NAME  ADDRESS       AS     STATE        UP/DOWN  ADVERTISED  LAST ERROR\n\
             r1    11.11.11.254  65001  Established  -        1           -\n",
        ),
        (
            "route",
            "NAME  PREFIX         NEXT HOPS       INSTALLED  MESSAGE\n\
             ep1   56.56.56.0/24  via 31.31.31.1  yes        -\n",
        ),
    ] {
        let output = vipcast(&[&node], &[noun, "list"]);
        assert_exit(&output, 0);
        assert_eq!(stdout(&output), expected, "{noun}");
    }
}

#[test]
fn show_has_backends_in_order_of_address() {
    let node = Node::start(healthy());
    let output = vipcast(&[&node], &["pool", "show", "servers"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains(".1 ") && line.contains("resolved")).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[0].starts_with("56.56.56.1") && rows[2].starts_with("58.58.58.1"), "{text}");
    assert!(text.contains("CONDITION"), "{text}");
}

#[test]
fn json_is_the_protobuf_mapping() {
    let node = Node::start(healthy());
    let output = vipcast(&[&node], &["vip", "list", "-o", "json"]);
    assert_exit(&output, 0);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list[0]["meta"]["name"], "web");
    assert_eq!(list[0]["status"]["announced"], true);
    assert_eq!(list[0]["status"]["advertisedTo"][0], "r1");
    assert_eq!(list[0]["meta"]["revision"], "4", "64-bit integers are strings");

    let output = vipcast(&[&node], &["pool", "show", "servers", "-o", "json"]);
    let pool: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pool["status"]["backends"][1]["packets"], "200");
    assert_eq!(pool["status"]["ringSlots"], 16384);

    let output = vipcast(&[&node, &node], &["vip", "list", "-o", "json"]);
    let by_node: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(by_node[&node.target][0]["meta"]["name"], "web");
}

#[test]
fn json_shows_defaults_too() {
    let mut state = healthy();
    state.config.vips[0].status = Some(VipStatus::default());
    let node = Node::start(state);
    let output = vipcast(&[&node], &["vip", "show", "web", "-o", "json"]);
    let vip: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(vip["status"]["announced"], false);
}

#[test]
fn yaml_is_a_document_that_apply_takes() {
    let node = Node::start(healthy());
    for args in [&["export"][..], &["pool", "list", "-o", "yaml"], &["pool", "show", "servers", "-o", "yaml"]]
    {
        let written = vipcast(&[&node], args);
        assert_exit(&written, 0);
        let output = with_input(&[&node], &["apply", "-f", "-", "--dry-run"], &stdout(&written));
        assert_exit(&output, 0);
        let state = node.state.lock().unwrap();
        let sent = state.applied.last().unwrap().config.clone().unwrap();
        let mut expected = state.config.pools.clone();
        for pool in &mut expected {
            pool.status.as_mut().unwrap().conditions.iter_mut().for_each(|it| it.last_transition_at = None);
        }
        assert_eq!(sent.pools, expected, "{args:?}");
    }
}

#[test]
fn status_of_a_healthy_node() {
    let node = Node::start(healthy());
    let output = vipcast(&[&node], &["status"]);
    assert_exit(&output, 0);
    assert_eq!(
        stdout(&output),
        "\
node      llb1
state     ready
daemon    vipcastd 0.1.0
config    revision 5, digest fedcba987654
bgp       AS 64512, router id 11.11.11.1, 1/1 established
vips      1/1 announced
routes    1/1 installed
datapath  eth1 native

PEER  ADDRESS       AS     STATE        UP/DOWN  ADVERTISED  LAST ERROR
r1    11.11.11.254  65001  Established  -        1           -

VIP  ADDRESS     ANNOUNCED  ADVERTISED TO  MESSAGE
web  20.20.20.1  yes        r1             -

POOL     USABLE  MIN  CHECK     MESSAGE
servers  3/3     1    tcp:8080  -

SERVICE  VIP  PROTO  PORT  POOL     FORWARDING  HEALTHY  BACKENDS  MESSAGE
web-tcp  web  tcp    8080  servers  ipip        yes      3         -
"
    );
}

#[test]
fn status_names_every_problem_and_exits_6() {
    let mut state = healthy();
    let bad = |kind: &str, message: &str| Condition {
        r#type: kind.to_owned(),
        status: condition::Status::False.into(),
        message: message.to_owned(),
        ..Condition::default()
    };
    let vip = state.config.vips[0].status.as_mut().unwrap();
    vip.announced = false;
    vip.conditions = vec![bad("Advertised", "2 usable backends of 3 needed")];
    let pool = state.config.pools[0].status.as_mut().unwrap();
    pool.usable = 1;
    pool.backends[1].in_ring = false;
    pool.backends[1].message = "connection refused".into();
    pool.backends[2].in_ring = false;
    pool.backends[2].resolution = "no route to 57.57.57.1".into();
    let peer = state.config.peers[0].status.as_mut().unwrap();
    peer.state = "Active".into();
    peer.last_error = "connection timed out".into();
    state.status.interfaces[0].xdp_mode = "detached".into();
    state.status.interfaces[0].message = "another program is attached".into();
    let node = Node::start(state);
    let output = vipcast(&[&node], &["status"]);
    assert_exit(&output, 6);
    let text = stdout(&output);
    let problems = text.split_once("\nproblems\n").unwrap().1;
    assert_eq!(
        problems,
        "  interface eth1: XDP is not attached: another program is attached\n  \
           peer r1: Active: connection timed out\n  \
           vip web: not announced: 2 usable backends of 3 needed\n  \
           pool servers: 56.56.56.1: connection refused\n  \
           pool servers: 57.57.57.1: no route to 57.57.57.1\n"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&vipcast(&[&node], &["status", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), 5);
    assert_eq!(json["node"]["name"], "llb1");
}

#[test]
fn what_is_being_removed_says_so_and_is_no_problem() {
    let mut state = healthy();
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    for meta in [&mut state.config.vips[0].meta, &mut state.config.services[0].meta] {
        meta.as_mut().unwrap().removal_at = Some(in_an_hour.into());
    }
    state.config.vips[0].status = None;
    state.config.services[0].status = None;
    let node = Node::start(state);
    let output = vipcast(&[&node], &["status"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("being removed: still serves, for 00:59:"), "{}", stdout(&output));
}

/// Peers and routes of other nodes are neither counted nor, unless asked for, listed.
#[test]
fn what_is_for_other_nodes_is_no_problem() {
    let mut state = healthy();
    let elsewhere = Condition {
        r#type: "Accepted".into(),
        status: condition::Status::True.into(),
        reason: "OtherNode".into(),
        ..Condition::default()
    };
    let mut peer = state.config.peers[0].clone();
    peer.meta.as_mut().unwrap().name = "r9".into();
    peer.status = Some(PeerStatus { conditions: vec![elsewhere.clone()], ..Default::default() });
    state.config.peers.push(peer);
    let mut route = state.config.routes[0].clone();
    route.meta.as_mut().unwrap().name = "far".into();
    route.status = Some(EndpointRouteStatus { conditions: vec![elsewhere], ..Default::default() });
    state.config.routes.push(route);
    let node = Node::start(state);
    let output = vipcast(&[&node], &["status"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains(" 1/1 established\n") && text.contains("routes    1/1 installed\n"), "{text}");
    assert!(text.contains("\nr1 ") && !text.contains("r9"), "{text}");
    let wide = stdout(&vipcast(&[&node], &["status", "-o", "wide"]));
    assert!(
        wide.contains(" 1/1 established\n") && wide.contains("\nr9 ") && wide.contains("\nfar "),
        "{wide}"
    );
}

#[test]
fn datapath_views() {
    let mut state = healthy();
    state.datapath = DatapathState {
        interfaces: state.status.interfaces.clone(),
        vips: vec![DatapathVip {
            address: "20.20.20.1".into(),
            echo: true,
            undefined: "drop".into(),
            counters: [("undefined".to_owned(), 7), ("echo-replied".to_owned(), 2)].into(),
        }],
        services: vec![DatapathService {
            vip: "20.20.20.1".into(),
            protocol: "tcp".into(),
            port: 0,
            pool: "servers".into(),
            packets: u64::MAX,
            bytes: 0,
        }],
        pools: vec![DatapathPool {
            pool: "servers".into(),
            ring_digest: "0123456789abcdef".into(),
            members: vec!["56.56.56.1".into(), "57.57.57.1".into()],
        }],
        backends: vec![DatapathBackend {
            pool: "servers".into(),
            address: "56.56.56.1".into(),
            ..Default::default()
        }],
    };
    let node = Node::start(state);
    for (what, expected) in [
        ("vips", "VIP         ECHO  UNDEFINED\n20.20.20.1  yes   drop\n"),
        (
            "services",
            "VIP         PROTO  PORT  POOL     PACKETS               BYTES\n\
             20.20.20.1  tcp    all   servers  18446744073709551615  0\n",
        ),
        ("pools", "POOL     RING          MEMBERS\nservers  0123456789ab  56.56.56.1,57.57.57.1\n"),
        (
            "backends",
            "POOL     BACKEND     IN RING  PACKETS  BYTES\nservers  56.56.56.1  no       0        0\n",
        ),
        (
            "interfaces",
            "INTERFACE  XDP     RECEIVED  PASSED  FORWARDED  DROPPED  MESSAGE\n\
             eth1       native  0         3       0          5        -\n",
        ),
        ("drops", "WHERE       REASON     COUNT\neth1        malformed  5\n20.20.20.1  undefined  7\n"),
    ] {
        let output = vipcast(&[&node], &["datapath", what]);
        assert_exit(&output, 0);
        assert_eq!(stdout(&output), expected, "{what}");
    }
}

#[test]
fn watch_is_a_line_per_event() {
    let node = Node::start(healthy());
    let output = vipcast(&[&node], &["watch", "vip"]);
    assert_exit(&output, 5);
    assert_eq!(
        stdout(&output),
        "updated 1 web address=20.20.20.1 announced=yes advertised_to=r1\nsynced 7\n"
    );
    let output = vipcast(&[&node], &["watch", "vip", "-o", "json"]);
    let lines: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["resource"]["meta"]["name"], "web");
    assert_eq!(lines[1]["type"], "EVENT_TYPE_SYNCED");
}

#[test]
fn exit_codes() {
    let node = Node::start(healthy());
    assert_exit(&vipcast(&[&node], &["vip", "show", "web"]), 0);
    assert_exit(&vipcast(&[&node], &["no-such-noun"]), 2);
    assert_exit(&vipcast(&[&node], &["vip", "show", "absent"]), 3);
    assert_exit(&vipcast(&[&node], &["vip", "delete", "absent"]), 3);
    let output = vipcast(&[], &["--node", "unix:///nonexistent/api.sock", "status"]);
    assert_exit(&output, 5);
    assert!(stderr(&output).contains("unix:///nonexistent/api.sock"), "{}", stderr(&output));
    // A node that answers is shown although another does not.
    let output = vipcast(&[&node], &["--node", "unix:///nonexistent/api.sock", "vip", "list"]);
    assert_exit(&output, 5);
    assert!(stdout(&output).contains("20.20.20.1"));
}

#[test]
fn delete_deletes_unless_dry() {
    let node = Node::start(healthy());
    assert_exit(&vipcast(&[&node], &["service", "delete", "web-tcp", "--dry-run"]), 0);
    assert_eq!(node.state.lock().unwrap().config.services.len(), 1);
    let output = vipcast(&[&node], &["service", "delete", "web-tcp"]);
    assert_eq!(stdout(&output), "service web-tcp deleted\n");
    assert_eq!(node.state.lock().unwrap().config.services.len(), 0);
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    let node = Node::start(healthy());
    let mut child = command(&["--node", &node.target, "status"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn completions_name_the_nouns() {
    let output = vipcast(&[], &["completions", "bash"]);
    assert_exit(&output, 0);
    for noun in ["vip", "pool", "service", "peer", "route", "datapath", "apply"] {
        assert!(stdout(&output).contains(noun), "{noun}");
    }
}

#[test]
fn manual_pages_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert_exit(&vipcast(&[], &["man", dir.path().to_str().unwrap()]), 0);
    for page in ["vipcast.1", "vipcast-apply.1", "vipcast-vip-show.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let text = std::fs::read_to_string(dir.path().join("vipcast.1")).unwrap();
    assert!(text.contains("6 degraded"), "{text}");
}
