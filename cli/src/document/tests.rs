use proto::v1::*;

use super::*;

fn parse(text: &str) -> Result<Config, Vec<String>> {
    match Document::parse(&[("f".to_owned(), text.to_owned())]) {
        Ok(document) => Ok(document.config),
        Err(Error::Faults(lines)) => Err(lines),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn fault(text: &str, expected: &str) {
    let lines = parse(text).unwrap_err();
    assert!(lines.iter().any(|line| line.starts_with(expected)), "{lines:#?}");
}

#[test]
fn both_spellings_of_names_and_all_spellings_of_enums() {
    for undefined in ["drop", "DROP", "UNDEFINED_POLICY_DROP", "1"] {
        let config = parse(&format!("vips: [{{name: a, spec: {{undefined: {undefined}}}}}]")).unwrap();
        assert_eq!(config.vips[0].spec.as_ref().unwrap().undefined(), UndefinedPolicy::Drop, "{undefined}");
    }
    let snake = parse("vips: [{meta: {name: a}, spec: {host_address: loopback}}]").unwrap();
    let camel = parse("vips: [{meta: {name: a}, spec: {hostAddress: loopback}}]").unwrap();
    assert_eq!(snake, camel);
    let hashing = parse("services: [{name: a, spec: {hashing: source-ip}}]").unwrap();
    assert_eq!(hashing.services[0].spec.as_ref().unwrap().hashing(), Hashing::SourceIp);
}

#[test]
fn json_is_taken_as_it_is() {
    let text = "{\n\t\"peers\": [\n\t\t{\"meta\": {\"name\": \"r1\"}, \"spec\": {\"address\": \"192.0.2.1\", \
                \"remoteAsn\": 65001, \"holdTime\": \"9s\", \"families\": [\"ADDRESS_FAMILY_IPV4_UNICAST\"]}}\n\t]\n}\n";
    let config = parse(text).unwrap();
    let spec = config.peers[0].spec.as_ref().unwrap();
    assert_eq!((spec.remote_asn, spec.hold_time.as_ref().unwrap().seconds), (65001, 9));
    assert_eq!(spec.families, [AddressFamily::Ipv4Unicast as i32]);
}

#[test]
fn texts_stay_as_written() {
    let text =
        "vips: [{name: '1', labels: {version: 1.10, on: no}, spec: {announce: {communities: [65000:80]}}}]";
    let config = parse(text).unwrap();
    let labels = &config.vips[0].meta.as_ref().unwrap().labels;
    assert_eq!(labels["version"], "1.10");
    assert_eq!(labels["on"], "no");
    assert_eq!(config.vips[0].spec.as_ref().unwrap().announce.as_ref().unwrap().communities, ["65000:80"]);
}

#[test]
fn several_documents_make_one() {
    let text = "vips:\n- name: a\n---\nvips:\n- name: b\npools:\n- name: p\n---\n";
    let config = parse(text).unwrap();
    let names: Vec<&str> = config.vips.iter().map(|vip| vip.meta.as_ref().unwrap().name.as_str()).collect();
    assert_eq!((names, config.pools.len()), (vec!["a", "b"], 1));
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let both = Document::parse(&[file("1", "vips: [{name: a}]"), file("2", "\nvips: [{name: b}]")]).unwrap();
    assert_eq!(both.place("vips[1].meta.name").unwrap(), "2:2:15");
    assert_eq!(both.place("vips[0].spec.address").unwrap(), "1:1:8");
}

#[test]
fn anchors_are_expanded() {
    let text = "peers:\n- name: a\n  spec: &s {remote_asn: 65001}\n- name: b\n  spec: *s\n";
    assert_eq!(parse(text).unwrap().peers[1].spec.as_ref().unwrap().remote_asn, 65001);
}

#[test]
fn every_fault_has_its_place() {
    fault("vip: []", "f:1:1: vip: unknown field: there are vips, pools");
    fault("vips:\n- spec:\n    adress: x", "f:3:5: vips[0].spec.adress: unknown field");
    fault("vips: {}", "f:1:7: vips: is a mapping: a list is needed");
    fault("vips: [a]", "f:1:8: vips[0]: is a single value: a mapping of meta, spec, status is needed");
    fault(
        "pools: [{spec: {min_healthy: -1}}]",
        "f:1:30: pools[0].spec.min_healthy: \"-1\" is not a whole number",
    );
    fault("pools: [{spec: {min_healthy: 1.5}}]", "f:1:30:");
    fault("pools: [{spec: {min_healthy: [1]}}]", "f:1:30: pools[0].spec.min_healthy: is a list");
    fault("peers: [{spec: {hold_time: 9}}]", "f:1:28: peers[0].spec.hold_time: \"9\" is not a duration");
    fault(
        "peers: [{spec: {passive: yes}}]",
        "f:1:26: peers[0].spec.passive: \"yes\" is neither true nor false",
    );
    fault("vips: [{spec: {echo: off, echo: off}}]", "f:1:27: vips[0].spec.echo: is given twice");
    fault(
        "vips: [{spec: {undefined: 9}}]",
        "f:1:27: vips[0].spec.undefined: \"9\" is none of drop, reject, pass",
    );
    fault(
        "pools: [{spec: {health_check: {tcp: {port: 1}, http: {port: 2}}}}]",
        "f:1:54: pools[0].spec.health_check.http: cannot stand beside tcp",
    );
    fault("vips: [\n  {", "f:");
    fault("a: b: c", "f:1:");
    fault("{[1]: 2}", "f:1:2: a key must be a single value");
}

#[test]
fn all_faults_at_once() {
    let lines =
        parse("vips: [{spec: {echo: x, undefined: y}}]\npeers: [{spec: {port: z}}]\nfoo: 1\n").unwrap_err();
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn hostile_documents_end_in_a_fault() {
    fault(&format!("vips: {}", "[".repeat(100_000)), "f:1:");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    fault(&bomb, "f:");
    fault("vips: &v [*v]", "f:1:");
    assert!(parse("vips: [{name: a, spec: null}]").unwrap().vips[0].spec.is_none());
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_example_of_the_help_is_a_document() {
    let (_, example) = crate::args::EXAMPLE.split_once('\n').unwrap();
    let (example, _) = example.split_once("\n\n").unwrap();
    let config = parse(example).unwrap();
    assert_eq!(config.pools[0].spec.as_ref().unwrap().backends[1].weight, Some(2));
    assert_eq!(config.routes[0].spec.as_ref().unwrap().next_hops[0].via, "31.31.31.1");
}

/// What a reader copies must work: a document, with a route to every backend.
#[test]
fn the_example_of_the_readme_reaches_its_backends() {
    let readme = include_str!("../../../README.md");
    let (_, example) = readme.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let config = parse(example).unwrap();
    let prefixes: Vec<&str> =
        config.routes.iter().map(|it| it.spec.as_ref().unwrap().prefix.as_str()).collect();
    for backend in &config.pools[0].spec.as_ref().unwrap().backends {
        let (network, _) = backend.address.rsplit_once('.').unwrap();
        assert!(prefixes.contains(&format!("{network}.0/24").as_str()), "{}: {prefixes:?}", backend.address);
    }
}
