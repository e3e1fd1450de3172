//! `apply` and `diff`: documents with faults, violations with places, several nodes, waiting.

// clippy knows test functions, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use proto::v1::*;
use support::*;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOCUMENT: &str = "\
vips:
  - meta: {name: web}
    spec: {address: 20.20.20.1}
pools:
  - name: servers
    spec:
      minHealthy: 2
      backends:
        - address: 56.56.56.1
        - address: 56.56.56.300
      health_check: {tcp: {port: 8080}, interval: 500ms}
services:
  - name: web
    spec: {vip: web, protocol: tcp, port: 8080, pool: servers, forwarding: ipip}
";

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vipcast.yml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn violations(of: &[(&str, &str)]) -> Status {
    let mut details = ErrorDetails::new();
    for (field, what) in of {
        details.add_bad_request_violation(*field, *what);
    }
    Status::with_error_details(Code::InvalidArgument, "invalid", details)
}

#[test]
fn a_document_reaches_the_node_as_meant() {
    let node = Node::start(State { digest: "d".into(), ..State::default() });
    let (_dir, path) = file(DOCUMENT);
    let output = vipcast(&[&node], &["apply", "-f", &path]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "vip web created\npool servers created\nservice web created\n");
    let state = node.state.lock().unwrap();
    let flags: Vec<bool> = state.applied.iter().map(|request| request.validate_only).collect();
    assert_eq!(flags, [true, false], "validated first, then stored");
    let config = state.applied[1].config.clone().unwrap();
    assert_eq!(config.pools[0].meta.as_ref().unwrap().name, "servers");
    let pool = config.pools[0].spec.clone().unwrap();
    assert_eq!(pool.min_healthy, Some(2));
    let check = pool.health_check.unwrap();
    assert_eq!(check.probe, Some(health_check::Probe::Tcp(TcpProbe { port: 8080 })));
    assert_eq!(check.interval.unwrap().nanos, 500_000_000);
    let service = config.services[0].spec.clone().unwrap();
    assert_eq!((service.protocol(), service.forwarding()), (Protocol::Tcp, Forwarding::Ipip));
}

#[test]
fn faults_of_the_document_name_line_and_column_and_nothing_is_sent() {
    let node = Node::start(State::default());
    let (_dir, path) =
        file("vips:\n  - name: a\n    spce: {}\n    spec:\n      adress: 1.1.1.1\n      echo: maybe\n");
    let output = vipcast(&[&node], &["apply", "-f", &path]);
    assert_exit(&output, 4);
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with(&format!("{path}:3:5: vips[0].spce: unknown field")), "{text}");
    assert!(lines[1].starts_with(&format!("{path}:5:7: vips[0].spec.adress: unknown field")), "{text}");
    assert!(
        lines[2].starts_with(&format!("{path}:6:13: vips[0].spec.echo: \"maybe\" is none of healthy")),
        "{text}"
    );
    assert!(node.state.lock().unwrap().applied.is_empty());
}

#[test]
fn violations_of_the_node_are_found_in_the_file() {
    let refuse = violations(&[
        ("pools[0].spec.backends[1].address", "\"56.56.56.300\" is not an IP address"),
        ("pools[0].spec.max_backends", "is required"),
        ("services[elsewhere].spec.pool", "no such pool"),
    ]);
    let node = Node::start(State { refuse: Some(refuse), ..State::default() });
    let (_dir, path) = file(DOCUMENT);
    let output = vipcast(&[&node], &["apply", "-f", &path]);
    assert_exit(&output, 4);
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("3 violations"), "{text}");
    assert!(
        lines[1].starts_with(&format!("{path}:10:20: pools[0].spec.backends[1].address: \"56.56.56.300\"")),
        "{text}"
    );
    assert!(lines[2].starts_with(&format!("{path}:6:5: pools[0].spec.max_backends: is required")), "{text}");
    assert!(lines[3].contains("services[elsewhere].spec.pool: no such pool"), "{text}");
    assert_eq!(node.state.lock().unwrap().applied.len(), 1, "only validated");
}

#[test]
fn as_many_violations_as_a_node_sends_arrive() {
    let fields: Vec<String> = (0..201).map(|i| format!("vips[{i}].spec.address")).collect();
    let what = "\"10.0.0.300\" is not an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1";
    let refuse = violations(&fields.iter().map(|field| (field.as_str(), what)).collect::<Vec<_>>());
    let node = Node::start(State { refuse: Some(refuse), ..State::default() });
    let output = with_input(&[&node], &["apply", "-f", "-"], "vips: []\n");
    assert_exit(&output, 4);
    assert_eq!(stderr(&output).lines().count(), 202, "{}", stderr(&output));
}

#[test]
fn dry_run_stores_nothing() {
    let node = Node::start(State::default());
    let output = with_input(&[&node], &["apply", "--dry-run", "-f", "-"], DOCUMENT);
    assert_exit(&output, 0);
    let state = node.state.lock().unwrap();
    assert!(state.applied.iter().all(|request| request.validate_only));
}

#[test]
fn diff_exits_1_when_something_differs() {
    let node = Node::start(State::default());
    assert_exit(&with_input(&[&node], &["diff", "-f", "-"], DOCUMENT), 1);
    assert_exit(&with_input(&[&node], &["diff", "-f", "-"], "vips: []\n"), 0);
}

#[test]
fn one_refusal_keeps_all_nodes_unchanged() {
    let good = Node::start(State::default());
    let bad = Node::start(State { refuse: Some(violations(&[("vips[0]", "no")])), ..State::default() });
    let output = with_input(&[&good, &bad], &["apply", "-f", "-"], DOCUMENT);
    assert_exit(&output, 4);
    assert!(stderr(&output).contains("nothing was applied on any node"), "{}", stderr(&output));
    assert!(good.state.lock().unwrap().applied.iter().all(|request| request.validate_only));
}

#[test]
fn partial_success_is_named_per_node() {
    let good = Node::start(State::default());
    let bad = Node::start(State {
        refuse: Some(Status::failed_precondition("the store cannot be written")),
        refuse_store_only: true,
        ..State::default()
    });
    let output = with_input(&[&good, &bad], &["apply", "-f", "-"], DOCUMENT);
    assert_exit(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("the store cannot be written"), "{text}");
    assert!(text.contains(&format!("applied on {}; not on {}", good.target, bad.target)), "{text}");
}

#[test]
fn nodes_whose_digests_differ_are_named() {
    let a = Node::start(State { digest: "aaaa".into(), ..State::default() });
    let b = Node::start(State { digest: "bbbb".into(), ..State::default() });
    let output = with_input(&[&a, &b], &["apply", "-f", "-"], DOCUMENT);
    assert_exit(&output, 6);
    let text = stderr(&output);
    assert!(text.contains(&format!("{}: aaaa", a.target)), "{text}");
    assert!(text.contains(&format!("{}: bbbb", b.target)), "{text}");
    let same = Node::start(State { digest: "aaaa".into(), ..State::default() });
    let output = with_input(&[&a, &same], &["apply", "-f", "-"], DOCUMENT);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("on 2 nodes"), "{}", stdout(&output));
}

#[test]
fn wait_ends_when_all_is_in_effect() {
    let node = Node::start(healthy());
    let document = "vips:\n- name: web\n  spec: {address: 20.20.20.1}\n";
    assert_exit(&with_input(&[&node], &["apply", "--wait", "5s", "-f", "-"], document), 0);
}

#[test]
fn wait_says_what_is_missing_when_time_is_over() {
    let mut state = healthy();
    let vip = state.config.vips[0].status.as_mut().unwrap();
    vip.conditions[1].status = condition::Status::False.into();
    vip.conditions[1].message = "no peer is established".into();
    let node = Node::start(state);
    let document = "vips:\n- name: web\n  spec: {address: 20.20.20.1}\n";
    let output = with_input(&[&node], &["apply", "--wait", "300ms", "-f", "-"], document);
    assert_exit(&output, 6);
    assert!(
        stderr(&output).contains("vip web: Advertised is false: no peer is established"),
        "{}",
        stderr(&output)
    );
    // A node that has not taken up the revision is not done, whatever its conditions say.
    let mut state = healthy();
    state.status.revision = 4;
    let node = Node::start(state);
    let output = with_input(&[&node], &["apply", "--wait", "300ms", "-f", "-"], document);
    assert_exit(&output, 6);
    assert!(stderr(&output).contains("revision 5 is stored, 4 is in effect"), "{}", stderr(&output));
}

#[test]
fn a_missing_file_is_an_error() {
    let node = Node::start(State::default());
    let output = vipcast(&[&node], &["apply", "-f", "/nonexistent.yml"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("/nonexistent.yml"), "{}", stderr(&output));
}
