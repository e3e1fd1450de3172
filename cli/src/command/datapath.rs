//! `datapath ...`: what the kernel's maps hold.

use proto::v1::datapath_query_service_client::DatapathQueryServiceClient;
use proto::v1::{DatapathRequest, DatapathState};

use crate::args::{Datapath, Format};
use crate::client::{LARGEST_ANSWER, Node};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::proto_json::{Shown, Style};
use crate::table;
use crate::view::{by_address, by_name, pool::short, yes_no};

pub(crate) async fn run(cx: &mut Context<'_>, what: Datapath) -> Result<Exit, Failure> {
    let (answers, exit) = cx.each(state).await?;
    match cx.format() {
        Format::Json | Format::Yaml => {
            let style = if cx.format() == Format::Json { Style::Json } else { Style::Document };
            let part = |state| Shown::new(&only(state, what), "vipcast.v1.DatapathState", style);
            let parts = answers.into_iter().map(|(target, state)| (target, part(state))).collect();
            if style == Style::Json { cx.json(parts)? } else { cx.yaml(parts)? }
        }
        Format::Table | Format::Wide | Format::Name => {
            let several = cx.global.nodes.len() > 1;
            let (mut header, mut rows) = (Vec::new(), Vec::new());
            for (target, state) in answers {
                let (columns, of_node) = view(state, what);
                header = columns;
                rows.extend(of_node.into_iter().map(|mut row| {
                    if several {
                        row.insert(0, target.clone());
                    }
                    row
                }));
            }
            if several {
                header.insert(0, "NODE");
            }
            if cx.format() == Format::Name {
                for row in rows {
                    writeln!(cx.out, "{}", row.first().map_or("", String::as_str))?;
                }
            } else if !header.is_empty() {
                cx.out.write_all(table::render(&header, rows).as_bytes())?;
            }
        }
    }
    Ok(exit)
}

async fn state(node: &Node) -> Result<DatapathState, Failure> {
    let client = DatapathQueryServiceClient::new(node.channel.clone());
    let answer = client.max_decoding_message_size(LARGEST_ANSWER).get(node.request(DatapathRequest {})).await;
    Ok(answer.map_err(|status| node.failure(status))?.into_inner())
}

/// The state with only what was asked for; `drops` needs interfaces and VIPs.
fn only(state: DatapathState, what: Datapath) -> DatapathState {
    let empty = DatapathState::default();
    match what {
        Datapath::Vips => DatapathState { vips: state.vips, ..empty },
        Datapath::Services => DatapathState { services: state.services, ..empty },
        Datapath::Backends => DatapathState { backends: state.backends, ..empty },
        Datapath::Pools => DatapathState { pools: state.pools, ..empty },
        Datapath::Interfaces => DatapathState { interfaces: state.interfaces, ..empty },
        Datapath::Drops => DatapathState { interfaces: state.interfaces, vips: state.vips, ..empty },
    }
}

type Table = (Vec<&'static str>, Vec<Vec<String>>);

fn view(state: DatapathState, what: Datapath) -> Table {
    match what {
        Datapath::Vips => vips(state),
        Datapath::Services => services(state),
        Datapath::Backends => backends(state),
        Datapath::Pools => pools(state),
        Datapath::Interfaces => interfaces(state),
        Datapath::Drops => drops(state),
    }
}

fn vips(mut state: DatapathState) -> Table {
    state.vips.sort_by_cached_key(|vip| by_address(&vip.address));
    let rows = state.vips.into_iter().map(|vip| vec![vip.address, yes_no(vip.echo), vip.undefined]);
    (vec!["VIP", "ECHO", "UNDEFINED"], rows.collect())
}

fn services(mut state: DatapathState) -> Table {
    state.services.sort_by_cached_key(|it| (by_address(&it.vip), it.protocol.clone(), it.port));
    let rows = state.services.into_iter().map(|it| {
        let port = if it.port == 0 { "all".to_owned() } else { it.port.to_string() };
        vec![it.vip, it.protocol, port, it.pool, it.packets.to_string(), it.bytes.to_string()]
    });
    (vec!["VIP", "PROTO", "PORT", "POOL", "PACKETS", "BYTES"], rows.collect())
}

fn backends(mut state: DatapathState) -> Table {
    state.backends.sort_by_cached_key(|it| (by_name(&it.pool), by_address(&it.address)));
    let rows = state.backends.into_iter().map(|it| {
        vec![it.pool, it.address, yes_no(it.in_ring), it.packets.to_string(), it.bytes.to_string()]
    });
    (vec!["POOL", "BACKEND", "IN RING", "PACKETS", "BYTES"], rows.collect())
}

fn pools(mut state: DatapathState) -> Table {
    state.pools.sort_by_cached_key(|it| by_name(&it.pool));
    let rows = state.pools.into_iter().map(|it| vec![it.pool, short(&it.ring_digest), it.members.join(",")]);
    (vec!["POOL", "RING", "MEMBERS"], rows.collect())
}

fn interfaces(mut state: DatapathState) -> Table {
    state.interfaces.sort_by_cached_key(|it| by_name(&it.name));
    let rows = state.interfaces.into_iter().map(|it| {
        let count = |name: &str| it.counters.get(name).copied().unwrap_or(0).to_string();
        let [received, passed, forwarded] = ["received", "passed", "forwarded"].map(count);
        let dropped: u64 =
            it.counters.iter().filter(|(name, _)| name.starts_with(DROP)).map(|(_, n)| n).sum();
        vec![it.name, it.xdp_mode, received, passed, forwarded, dropped.to_string(), it.message]
    });
    let rows = rows.collect();
    (vec!["INTERFACE", "XDP", "RECEIVED", "PASSED", "FORWARDED", "DROPPED", "MESSAGE"], rows)
}

/// What an interface's counters of dropped packets begin with.
const DROP: &str = "drop-";
/// Counters of a VIP that are no reason for a drop.
const NO_DROP: [&str; 3] = ["echo-replied", "too-big-sent", "undefined-passed"];

fn drops(mut state: DatapathState) -> Table {
    state.interfaces.sort_by_cached_key(|it| by_name(&it.name));
    state.vips.sort_by_cached_key(|vip| by_address(&vip.address));
    let row = |at: &str, reason: &str, count: u64| vec![at.to_owned(), reason.to_owned(), count.to_string()];
    let mut rows = Vec::new();
    for it in &state.interfaces {
        let dropped = it.counters.iter().filter_map(|(name, n)| Some((name.strip_prefix(DROP)?, *n)));
        rows.extend(dropped.filter(|(_, n)| *n > 0).map(|(reason, n)| row(&it.name, reason, n)));
    }
    for vip in &state.vips {
        let dropped = vip.counters.iter().filter(|(name, n)| **n > 0 && !NO_DROP.contains(&name.as_str()));
        rows.extend(dropped.map(|(reason, n)| row(&vip.address, reason, *n)));
    }
    (vec!["WHERE", "REASON", "COUNT"], rows)
}
