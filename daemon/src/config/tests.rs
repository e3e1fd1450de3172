use super::*;

const LEAST: &str = "[bgp]\nasn = 64512\nrouter_id = \"11.11.11.1\"\n[datapath]\ninterfaces = [\"eth1\"]\n";

fn errors(text: &str) -> Vec<String> {
    parse(text, "host").expect_err("must be refused").iter().map(ToString::to_string).collect()
}

#[test]
fn the_least_file_is_defaulted() {
    let config = parse(LEAST, "host").expect("legal");
    assert_eq!(config.node.name, "host");
    assert_eq!(config.seed, None);
    assert_eq!(config.bgp.restart_time, Some(Duration::from_secs(15)));
    assert_eq!(config.bgp.listen.len(), 2);
    assert_eq!(config.datapath.icmp_errors_per_second, 100);
    assert_eq!(config.linger, Duration::from_secs(30));
    assert_eq!(config.socket, PathBuf::from("/run/vipcast/api.sock"));
    assert_eq!(config.routes.table, 254);
}

#[test]
fn the_documented_example_parses_and_says_the_defaults() {
    let example = include_str!("../../../packaging/vipcast.toml");
    let mut config = parse(example, "host").expect("packaging/vipcast.toml must parse");
    let least = parse(LEAST, "host").expect("legal");
    assert_eq!(config.seed, None, "a seed that everybody can read would be no secret");
    config.node = least.node.clone();
    config.datapath.interfaces = least.datapath.interfaces.clone();
    config.bgp.router_id = least.bgp.router_id;
    assert_eq!(config, least, "every value in the example is the default, or is one that has none");
}

#[test]
fn the_socket_follows_the_run_directory() {
    let config = parse(&format!("{LEAST}[paths]\nrun = \"/tmp/x\"\n"), "host").expect("legal");
    assert_eq!(config.socket, PathBuf::from("/tmp/x/api.sock"));
}

#[test]
fn the_seed_is_two_big_endian_words() {
    let text = format!("{LEAST}[fleet]\nseed = \"000102030405060708090a0b0c0d0e0f\"\n");
    let config = parse(&text, "host").expect("legal");
    assert_eq!(config.seed, Some([0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f]));
}

#[test]
fn graceful_restart_can_be_switched_off_and_listeners_left_out() {
    let text = LEAST.replace("[datapath]", "graceful_restart = false\nlisten = []\n[datapath]");
    let config = parse(&text, "host").expect("legal");
    assert_eq!(config.bgp.restart_time, None);
    assert!(config.bgp.listen.is_empty());
}

#[test]
fn unknown_keys_have_line_and_column() {
    let text = LEAST.replace("router_id", "ruoter_id");
    let errors = errors(&text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("line 3, column 1: unknown field `ruoter_id`"), "{errors:?}");
    let nested = format!("{LEAST}[datapath.limits]\nvisp = 3\n");
    assert!(self::errors(&nested)[0].starts_with("line 7, column 1: unknown field `visp`"));
}

#[test]
fn every_violation_is_reported_at_once_in_order() {
    let text = "[nod]\nname = \"a\"\n[bgp]\nasn = 0\nrouter_id = \"x\"\n[datapath]\ninterfaces = [\"eth1\", \"eth1\"]\n\
                wrong = 1\n[routes]\nresync = \"soon\"\n[log]\nformat = \"xml\"\n[paths]\nrun = \"relative\"\n";
    let errors = errors(text);
    let lines: Vec<&str> = errors.iter().map(|e| e.split(',').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["line 1", "line 4", "line 5", "line 8", "line 10", "line 12", "line 14"],
        "{errors:#?}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let errors = errors("");
    assert!(errors.iter().any(|e| e.contains("bgp.asn is missing")), "{errors:?}");
    assert!(errors.iter().any(|e| e.contains("bgp.router_id is missing")));
    assert!(errors.iter().any(|e| e.contains("datapath.interfaces is missing")));
}

#[test]
fn bad_values_are_refused() {
    for (table, key, value) in [
        ("fleet", "seed", "\"0011\""),
        ("fleet", "seed", "\"+0010203040506070809a0b0c0d0e0f0\""),
        ("fleet", "seed", "\"zz0102030405060708090a0b0c0d0e0f\""),
        ("routes", "table", "0"),
        ("routes", "metric", "0"),
        ("routes", "probe_interval", "\"0s\""),
        ("removal", "linger", "\"2h\""),
        ("removal", "linger", "30"),
        ("log", "level", "\"=nonsense=\""),
        ("api", "socket", "\"api.sock\""),
    ] {
        let text = format!("{LEAST}[{table}]\n{key} = {value}\n");
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{table}.{key} = {value}: {errors:?}");
        assert!(errors[0].starts_with("line 7, "), "{table}.{key} = {value}: {errors:?}");
    }
}

#[test]
fn broken_syntax_has_a_place() {
    let errors = errors("[bgp\nasn = 1\n");
    assert!(errors[0].starts_with("line 1, "), "{errors:?}");
}
