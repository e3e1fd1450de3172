//! `udp` and `dual-stack`: the other protocol and the other family over the same nodes, as the model says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Result;

use super::super::facts::{ECHO, ECHO6, LbService, NODES, SERVERS, VIP6, WEB6};
use super::super::predict::Model;
use super::super::replies::{self, ask, judge, packets, shares};
use super::super::router;
use super::addresses;
use crate::suite::Bench;

const PORTS: std::ops::Range<u16> = 24_000..24_200;

pub(super) fn udp(bench: &mut Bench<'_>) -> Result<()> {
    exchange(bench, ECHO)?;
    exchange(bench, ECHO6)
}

pub(super) fn dual_stack(bench: &mut Bench<'_>) -> Result<()> {
    let (route, text) = router::route(bench.node("r1")?, VIP6.into())?;
    bench.keep_text("r1-fib6.json", &text)?;
    let gateways: BTreeSet<IpAddr> = route.map(|route| route.gateways).unwrap_or_default();
    bench.expect(
        gateways.len() == NODES.len(),
        format!("{} next hops for {VIP6}/128 in r1's FIB: {}", gateways.len(), addresses(&gateways)),
    );
    exchange(bench, WEB6)
}

fn exchange(bench: &mut Bench<'_>, service: LbService) -> Result<()> {
    let before = packets(bench, service)?;
    let replies = ask(bench, service, PORTS)?;
    let carried = replies::since(&before, &packets(bench, service)?);
    let name = format!("{:?}-{}", service.protocol, service.vip).to_lowercase();
    bench.keep_json(&format!("replies-{name}.json"), &replies)?;
    let judged = judge(&replies, service.client(), &Model::new(service));
    let all = PORTS.len();
    bench.expect(
        judged.as_predicted == all && judged.own_address == all && judged.by_server.len() == SERVERS.len(),
        format!(
            "{name}: {} of {all} answered as the model predicts: {}{}",
            judged.as_predicted,
            judged.shares(),
            judged.examples()
        ),
    );
    bench.expect(
        carried.values().all(|count| *count > 0),
        format!("{name}: packets by node: {}", shares(&carried)),
    );
    Ok(())
}
