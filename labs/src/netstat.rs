//! A machine's own counters, under the names that `nstat(8)` uses: `TcpRetransSegs`, `TcpExtTCPTimeouts`,
//! `Icmp6OutRedirects`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::host::{Lab, Node};

/// Counter -> value.
pub type Counters = BTreeMap<String, u64>;

/// Counters of one machine. They are read from outside through its PID 1: nothing has to run inside.
pub fn of(node: &Node) -> Result<Counters> {
    let pid = node.init().pid;
    let read = |name: &str| {
        let path = format!("/proc/{pid}/net/{name}");
        std::fs::read_to_string(&path).with_context(|| format!("counters of {}: {path}", node.name()))
    };
    let mut counters = pairs(&read("snmp")?);
    counters.extend(pairs(&read("netstat")?));
    counters.extend(lines(&read("snmp6")?));
    Ok(counters)
}

/// Counters of all machines.
pub fn of_all(lab: &Lab) -> Result<BTreeMap<String, Counters>> {
    lab.nodes().map(|node| Ok((node.name().to_owned(), of(node)?))).collect()
}

/// How much a counter has grown.
pub fn growth(before: &Counters, after: &Counters, name: &str) -> u64 {
    let value = |counters: &Counters| counters.get(name).copied().unwrap_or(0);
    value(after).saturating_sub(value(before))
}

/// As `nstat -asz` prints them.
pub fn text(counters: &Counters) -> String {
    counters.iter().map(|(name, value)| format!("{name:<40}{value}\n")).collect()
}

/// `/proc/net/snmp` and `/proc/net/netstat`: a line of names, then a line of values, both after the same prefix.
fn pairs(text: &str) -> Counters {
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = Counters::new();
    for pair in lines.chunks_exact(2) {
        let (Some((prefix, names)), Some((_, values))) = (pair[0].split_once(':'), pair[1].split_once(':'))
        else {
            continue;
        };
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            // `Tcp: MaxConn` is -1: a setting, no counter.
            if let Ok(value) = value.parse() {
                counters.insert(format!("{prefix}{name}"), value);
            }
        }
    }
    counters
}

/// `/proc/net/snmp6`: a name and a value on each line.
fn lines(text: &str) -> Counters {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_under_the_names_of_nstat() {
        let counters = pairs("Icmp: InMsgs OutRedirects\nIcmp: 4 5\nTcp: MaxConn RetransSegs\nTcp: -1 7\n");
        assert_eq!(counters.get("IcmpOutRedirects"), Some(&5));
        assert_eq!(counters.get("TcpRetransSegs"), Some(&7));
        assert_eq!(counters.get("TcpMaxConn"), None);
        let counters = lines("Ip6InReceives                   \t12\nIcmp6OutRedirects \t3\n");
        assert_eq!(counters.get("Icmp6OutRedirects"), Some(&3));
        assert_eq!(growth(&Counters::new(), &counters, "Ip6InReceives"), 12);
    }
}
