//! `status`: one look at a node, and whether all is well. Exit code 6 when something is not.

use std::time::SystemTime;

use proto::v1::node_service_client::NodeServiceClient;
use proto::v1::{EndpointRoute, Peer, Pool, Service, Vip};
use serde::Serialize;

use crate::args::Format;
use crate::client::Node;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::noun::Noun;
use crate::proto_json::{Shown, Style};
use crate::view::status::Snapshot;

pub(crate) async fn run(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let (answers, mut exit) = cx.each(async |node| snapshot(node).await).await?;
    if answers.iter().any(|(_, snapshot)| !snapshot.problems().is_empty()) {
        exit = exit.max(Exit::Degraded);
    }
    match cx.format() {
        Format::Json => {
            cx.json(
                answers.into_iter().map(|(target, it)| (target, Report::new(&it, Style::Json))).collect(),
            )?;
        }
        Format::Yaml => {
            let reports = answers.into_iter().map(|(target, it)| (target, Report::new(&it, Style::Document)));
            cx.yaml(reports.collect())?;
        }
        Format::Name => {
            for (_, snapshot) in &answers {
                writeln!(cx.out, "{}", snapshot.node.name)?;
            }
        }
        Format::Table | Format::Wide => {
            for (i, (_, snapshot)) in answers.iter().enumerate() {
                if i > 0 {
                    writeln!(cx.out)?;
                }
                cx.out.write_all(snapshot.render(cx.wide(), SystemTime::now()).as_bytes())?;
            }
        }
    }
    Ok(exit)
}

async fn snapshot(node: &Node) -> Result<Snapshot, Failure> {
    let failure = |status| node.failure(status);
    let mut client = NodeServiceClient::new(node.channel.clone());
    Ok(Snapshot {
        node: client.get_status(node.request(())).await.map_err(failure)?.into_inner(),
        vips: Vip::list(node).await.map_err(failure)?,
        pools: Pool::list(node).await.map_err(failure)?,
        services: Service::list(node).await.map_err(failure)?,
        peers: Peer::list(node).await.map_err(failure)?,
        routes: EndpointRoute::list(node).await.map_err(failure)?,
    })
}

/// The snapshot for programs.
#[derive(Serialize)]
struct Report {
    node: Shown,
    vips: Vec<Shown>,
    pools: Vec<Shown>,
    services: Vec<Shown>,
    peers: Vec<Shown>,
    routes: Vec<Shown>,
    problems: Vec<String>,
}

impl Report {
    fn new(snapshot: &Snapshot, style: Style) -> Self {
        fn all<T: Noun>(list: &[T], style: Style) -> Vec<Shown> {
            list.iter().map(|resource| Shown::new(resource, T::FULL_NAME, style)).collect()
        }
        Self {
            node: Shown::new(&snapshot.node, "vipcast.v1.NodeStatus", style),
            vips: all(&snapshot.vips, style),
            pools: all(&snapshot.pools, style),
            services: all(&snapshot.services, style),
            peers: all(&snapshot.peers, style),
            routes: all(&snapshot.routes, style),
            problems: snapshot.problems(),
        }
    }
}
