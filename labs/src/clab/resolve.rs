//! Inheritance and checks. As in containerlab, the nearer word wins for single values and maps, and lists are joined:
//! defaults, kind, group, node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::file::{Body, File, FileEnd, FileLink, Properties, Scalar};
use super::{Bind, DEFAULT_MTU, End, Link, Node, Topology};

/// Properties that concern containers and change nothing in a namespace.
const CONTAINER_ONLY: [&str; 12] = [
    "cap-add",
    "cmd",
    "entrypoint",
    "hostname",
    "image",
    "image-pull-policy",
    "labels",
    "memory",
    "network-mode",
    "privileged",
    "restart-policy",
    "user",
];
/// Longest interface name of the kernel (IFNAMSIZ without the terminator).
const NAME_MAX: usize = 15;

/// The topology, or everything that is wrong with the file.
pub(super) fn resolve(file: File) -> Result<Topology, Vec<String>> {
    let mut problems = Vec::new();
    if !is_name(&file.name) {
        problems.push(format!("name: {:?} is not made of letters, digits and dashes", file.name));
    }
    let Body { defaults, kinds, groups, nodes, links } = file.topology;
    let mut resolved = BTreeMap::new();
    for (name, own) in nodes {
        if !is_name(&name) {
            problems.push(format!("topology.nodes.{name}: not made of letters, digits and dashes"));
        }
        let own = own.unwrap_or_default();
        let layers = layers(&name, &defaults, &kinds, &groups, &own, &mut problems);
        let node = merge(&name, &layers, &mut problems);
        resolved.insert(name, node);
    }
    let links = links
        .into_iter()
        .enumerate()
        .filter_map(|(index, link)| resolve_link(index, link, &resolved, &mut problems))
        .collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    for end in links.iter().flat_map(|link| &link.ends) {
        if !seen.insert(end) {
            problems.push(format!("topology.links: {}:{} is used twice", end.node, end.interface));
        }
    }
    if problems.is_empty() { Ok(Topology { name: file.name, nodes: resolved, links }) } else { Err(problems) }
}

/// The properties that a node inherits, from the farthest to its own.
fn layers<'a>(
    name: &str,
    defaults: &'a Properties,
    kinds: &'a BTreeMap<String, Properties>,
    groups: &'a BTreeMap<String, Properties>,
    own: &'a Properties,
    problems: &mut Vec<String>,
) -> Vec<&'a Properties> {
    let group = own.group.as_ref().and_then(|group| groups.get(group));
    let kind = own.kind.as_ref().or(group.and_then(|group| group.kind.as_ref())).or(defaults.kind.as_ref());
    if kind.map(String::as_str) != Some("linux") {
        let kind = kind.map_or("none", String::as_str);
        problems.push(format!("topology.nodes.{name}.kind: {kind}: only `linux` can be run in a namespace"));
    }
    let kind = kind.and_then(|kind| kinds.get(kind));
    [Some(defaults), kind, group, Some(own)].into_iter().flatten().collect()
}

fn merge(name: &str, layers: &[&Properties], problems: &mut Vec<String>) -> Node {
    let mut node = Node::default();
    for layer in layers {
        for key in layer.other.keys().filter(|key| !CONTAINER_ONLY.contains(&key.as_str())) {
            problems.push(format!("topology.nodes.{name}.{key}: this runner cannot realise it"));
        }
        let text = |(key, value): (&String, &Scalar)| (key.clone(), value.clone().into_text());
        node.sysctls.extend(layer.sysctls.iter().map(text));
        node.env.extend(layer.env.iter().map(text));
        for bind in &layer.binds {
            match parse_bind(bind) {
                Ok(bind) => node.binds.push(bind),
                Err(reason) => problems.push(format!("topology.nodes.{name}.binds: {bind}: {reason}")),
            }
        }
        for line in &layer.exec {
            match shlex::split(line).filter(|words| !words.is_empty()) {
                Some(words) => node.exec.push(words),
                None => problems.push(format!("topology.nodes.{name}.exec: {line}: quotes do not match")),
            }
        }
    }
    node
}

/// `source:target[:ro|:rw]`.
fn parse_bind(text: &str) -> Result<Bind, &'static str> {
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err("wants SOURCE:TARGET");
    };
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err("knows only the options ro and rw"),
    };
    let bind = Bind { source: PathBuf::from(source), target: PathBuf::from(target), read_only };
    let climbs = bind.target.components().any(|part| part.as_os_str() == "..");
    if parts.next().is_some() || source.is_empty() || !bind.target.is_absolute() || climbs {
        return Err("wants SOURCE:TARGET with an absolute target");
    }
    Ok(bind)
}

fn resolve_link(
    index: usize,
    link: FileLink,
    nodes: &BTreeMap<String, Node>,
    problems: &mut Vec<String>,
) -> Option<Link> {
    let at = format!("topology.links[{index}]");
    let known = problems.len();
    if link.kind.as_deref().is_some_and(|kind| kind != "veth") {
        problems.push(format!("{at}.type: only veth can be run in namespaces"));
    }
    problems.extend(link.other.keys().map(|key| format!("{at}.{key}: this runner cannot realise it")));
    let ends: Vec<End> = link
        .endpoints
        .unwrap_or_default()
        .into_iter()
        .filter_map(|end| resolve_end(&at, end, nodes, problems))
        .collect();
    let mtu = link.mtu.unwrap_or(DEFAULT_MTU);
    if !(68..=65535).contains(&mtu) {
        problems.push(format!("{at}.mtu: {mtu} is no MTU"));
    }
    match <[End; 2]>::try_from(ends) {
        Ok(ends) if problems.len() == known => Some(Link { ends, mtu }),
        Ok(_) => None,
        Err(_) => {
            problems.push(format!("{at}.endpoints: wants two ends"));
            None
        }
    }
}

fn resolve_end(
    at: &str,
    end: FileEnd,
    nodes: &BTreeMap<String, Node>,
    problems: &mut Vec<String>,
) -> Option<End> {
    let end = match end {
        FileEnd::Long { node, interface } => End { node, interface },
        FileEnd::Brief(text) => match text.split_once(':') {
            Some((node, interface)) => End { node: node.to_owned(), interface: interface.to_owned() },
            None => {
                problems.push(format!("{at}.endpoints: {text:?} is not NODE:INTERFACE"));
                return None;
            }
        },
    };
    if !nodes.contains_key(&end.node) {
        problems.push(format!("{at}.endpoints: there is no node {:?}", end.node));
    }
    let name_ok = (1..=NAME_MAX).contains(&end.interface.len())
        && end.interface.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !name_ok || end.interface == "lo" {
        problems.push(format!("{at}.endpoints: {:?} cannot name an interface", end.interface));
    }
    Some(end)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name: two
prefix: ""
topology:
  defaults: { kind: linux, image: some/image, sysctls: { net.ipv4.ip_forward: 0 } }
  groups:
    router: { sysctls: { net.ipv4.ip_forward: 1 }, exec: ["ip link set eth1 up"] }
  nodes:
    a: { group: router, binds: ["a/x.conf:/etc/x.conf:ro"], exec: ["sh -c 'echo one two'"] }
    b:
  links:
    - { endpoints: ["a:eth1", "b:eth1"], mtu: 1500 }
    - type: veth
      endpoints: [{ node: a, interface: eth2 }, { node: b, interface: eth2 }]
"#;

    #[test]
    fn nodes_inherit_and_lists_are_joined() {
        let topology = Topology::parse(GOOD).unwrap();
        let (a, b) = (&topology.nodes["a"], &topology.nodes["b"]);
        assert_eq!(
            (a.sysctls["net.ipv4.ip_forward"].as_str(), b.sysctls["net.ipv4.ip_forward"].as_str()),
            ("1", "0")
        );
        assert_eq!(a.exec, [vec!["ip", "link", "set", "eth1", "up"], vec!["sh", "-c", "echo one two"]]);
        assert!(a.binds[0].read_only && b.binds.is_empty());
        assert_eq!(topology.links.iter().map(|link| link.mtu).collect::<Vec<_>>(), [1500, DEFAULT_MTU]);
        assert_eq!(
            topology.interfaces("b").map(|end| end.interface.as_str()).collect::<Vec<_>>(),
            ["eth1", "eth2"]
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let text = r#"
name: a lab
topology:
  nodes:
    a: { kind: nokia_srlinux }
    b: { kind: linux, stages: {}, binds: ["x:y", "x:/a/../b"], exec: ["sh -c 'open"] }
  links:
    - endpoints: ["a:eth1", "c:eth1"]
    - endpoints: ["a:eth2"]
    - { endpoints: ["a:a-name-that-is-too-long", "b:eth1"], mtu: 9, vars: {} }
    - { type: host, endpoint: { node: a, interface: e }, host-interface: x }
    - endpoints: ["a:eth3", "b:eth3"]
    - endpoints: ["a:eth3", "b:eth4"]
"#;
        let error = Topology::parse(text).unwrap_err().to_string();
        let expected = [
            "name: \"a lab\"",
            "nodes.a.kind: nokia_srlinux",
            "nodes.b.stages",
            "nodes.b.binds: x:y",
            "nodes.b.binds: x:/a/../b",
            "nodes.b.exec",
            "links[0].endpoints: there is no node \"c\"",
            "links[1].endpoints: wants two ends",
            "links[2].mtu: 9",
            "links[2].vars",
            "links[2].endpoints: \"a-name-that-is-too-long\"",
            "links[3].type",
            "links: a:eth3 is used twice",
        ];
        for part in expected {
            assert!(error.contains(part), "{part:?} is not in:\n{error}");
        }
    }
}
