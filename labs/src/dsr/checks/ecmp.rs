//! `ecmp`: the router's kernel spreads the VIP over every node, because of BGP.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Result;

use super::super::facts::{NODES, VIP4};
use super::super::router;
use super::addresses;
use crate::suite::Bench;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let (route, text) = router::route(bench.node("r1")?, VIP4.into())?;
    bench.keep_text("r1-fib.json", &text)?;
    let expected: BTreeSet<IpAddr> = NODES.iter().map(|node| node.lan4.into()).collect();
    let Some(route) = route else {
        bench.expect(false, format!("r1's FIB has no route for {VIP4}/32"));
        return Ok(());
    };
    bench.expect(
        route.gateways == expected,
        format!(
            "{} next hops for {VIP4}/32 in r1's FIB: {}",
            route.gateways.len(),
            addresses(&route.gateways)
        ),
    );
    bench.expect(route.protocol == "bgp", format!("learned by {}", route.protocol));
    Ok(())
}
