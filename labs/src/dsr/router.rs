//! What the router's kernel really holds for a VIP: its FIB, not its routing daemon's opinion.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::host::Node;

/// A route of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FibRoute {
    /// Who put it there: `bgp`.
    pub(super) protocol: String,
    /// Next hops in use.
    pub(super) gateways: BTreeSet<IpAddr>,
}

/// The route for exactly this address in the main table, and what `ip` printed. `None`: there is none.
pub(super) fn route(router: &Node, vip: IpAddr) -> Result<(Option<FibRoute>, String)> {
    let (family, prefix) = match vip {
        IpAddr::V4(_) => ("-4", format!("{vip}/32")),
        IpAddr::V6(_) => ("-6", format!("{vip}/128")),
    };
    let text = router.run(["ip", "-j", family, "route", "show", "exact", &prefix])?;
    Ok((parse(&text)?, text))
}

/// Its next hops; empty when there is no route.
pub(super) fn gateways(router: &Node, vip: IpAddr) -> Result<BTreeSet<IpAddr>> {
    Ok(route(router, vip)?.0.map(|route| route.gateways).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    protocol: String,
    gateway: Option<IpAddr>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Debug, Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
    #[serde(default)]
    flags: Vec<String>,
}

fn parse(text: &str) -> Result<Option<FibRoute>> {
    // Older versions print nothing at all instead of an empty list.
    let entries: Vec<Entry> = match text.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).with_context(|| format!("not a list of routes: {text}"))?,
    };
    let entry = match entries.as_slice() {
        [] => return Ok(None),
        [entry] => entry,
        more => bail!("{} routes for one prefix: {text}", more.len()),
    };
    let usable = |hop: &&Hop| !hop.flags.iter().any(|flag| flag == "dead" || flag == "linkdown");
    let hops = entry.nexthops.iter().filter(usable).filter_map(|hop| hop.gateway);
    let gateways = hops.chain(entry.gateway).collect();
    Ok(Some(FibRoute { protocol: entry.protocol.clone(), gateways }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hop_several_hops_and_none() {
        let several = r#"[{"dst":"20.20.20.1","nhid":30,"protocol":"bgp","metric":20,"flags":[],"nexthops":[
            {"gateway":"11.11.11.1","dev":"eth3","weight":1,"flags":[]},
            {"gateway":"11.11.11.2","dev":"eth3","weight":1,"flags":["dead"]},
            {"gateway":"11.11.11.3","dev":"eth3","weight":1,"flags":[]}]}]"#;
        let route = parse(several).unwrap().unwrap();
        assert_eq!(route.protocol, "bgp");
        let expected: Vec<IpAddr> = vec!["11.11.11.1".parse().unwrap(), "11.11.11.3".parse().unwrap()];
        assert_eq!(route.gateways.into_iter().collect::<Vec<_>>(), expected);
        let one = r#"[{"dst":"20.20.20.1","gateway":"11.11.11.1","dev":"eth3","protocol":"bgp","flags":[]}]"#;
        assert_eq!(parse(one).unwrap().unwrap().gateways.len(), 1);
        assert_eq!(parse("[]").unwrap(), None);
        assert_eq!(parse("").unwrap(), None);
        assert!(parse(&format!("[{0},{0}]", &one[1..one.len() - 1])).is_err());
    }
}
