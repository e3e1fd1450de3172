//! `--wait`: a document is in effect on a node when the node has taken up its revision and every resource of the
//! document says so in its conditions.

use std::time::{Duration, Instant};

use proto::v1::condition::Status as Truth;
use proto::v1::node_service_client::NodeServiceClient;
use proto::v1::{self, Condition, EndpointRoute, Peer, Pool, Service, Vip};

use crate::client::Node;
use crate::context::{Answer, Context};
use crate::failure::{Exit, Failure};
use crate::noun::Noun;
use crate::view::NOT_HERE;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Conditions that must be true where they are reported.
const GOALS: [&str; 3] = ["Accepted", "Programmed", "Advertised"];
/// Reasons that need no waiting: the resource is for other nodes, or nothing uses the pool.
const NOTHING_TO_DO: [&str; 2] = [NOT_HERE, "Unused"];

/// Waits on every node; what is missing when the time is over is said per node.
pub(crate) async fn until_in_effect(
    cx: &mut Context<'_>,
    document: &v1::Config,
    revisions: &[Answer<u64>],
    patience: Duration,
) -> Result<Exit, Failure> {
    let deadline = Instant::now() + patience;
    let mut exit = Exit::Ok;
    for (target, revision) in revisions {
        let node = Node::connect(target, cx.global.timeout).await?;
        loop {
            let missing = missing(&node, document, *revision).await.map_err(|status| node.failure(status))?;
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                writeln!(cx.err, "error: {target}: not in effect after {patience:?}:")?;
                for line in &missing {
                    writeln!(cx.err, "  {line}")?;
                }
                exit = Exit::Degraded;
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(exit)
}

async fn missing(node: &Node, document: &v1::Config, revision: u64) -> Result<Vec<String>, tonic::Status> {
    let mut client = NodeServiceClient::new(node.channel.clone());
    let applied = client.get_status(node.request(())).await?.into_inner().revision;
    if applied < revision {
        return Ok(vec![format!("node: revision {revision} is stored, {applied} is in effect")]);
    }
    let mut missing = Vec::new();
    of_kind::<Pool>(node, document, &mut missing).await?;
    of_kind::<Service>(node, document, &mut missing).await?;
    of_kind::<EndpointRoute>(node, document, &mut missing).await?;
    of_kind::<Peer>(node, document, &mut missing).await?;
    let vips = vips_in_use(node, document).await?;
    for vip in vips.iter().filter_map(|(vip, used)| unsettled(vip, *used)) {
        missing.push(vip);
    }
    Ok(missing)
}

async fn of_kind<T: Noun>(
    node: &Node,
    document: &v1::Config,
    missing: &mut Vec<String>,
) -> Result<(), tonic::Status> {
    if T::of(document).is_empty() {
        return Ok(());
    }
    let stored = T::list(node).await?;
    for wanted in T::of(document) {
        match stored.iter().find(|stored| stored.name() == wanted.name()) {
            Some(stored) => missing.extend(unsettled(stored, true)),
            None => missing.push(format!("{} {}: is gone", T::WORD, wanted.name())),
        }
    }
    Ok(())
}

/// The document's VIPs as stored, each with whether a service uses it: one without is not announced.
async fn vips_in_use(node: &Node, document: &v1::Config) -> Result<Vec<(Vip, bool)>, tonic::Status> {
    if document.vips.is_empty() {
        return Ok(Vec::new());
    }
    let (stored, services) = (Vip::list(node).await?, Service::list(node).await?);
    let uses = |name: &str| services.iter().any(|it| it.spec.as_ref().is_some_and(|spec| spec.vip == name));
    let wanted = |vip: &Vip| document.vips.iter().any(|it| it.name() == vip.name());
    Ok(stored
        .into_iter()
        .filter(wanted)
        .map(|vip| {
            let used = uses(vip.name());
            (vip, used)
        })
        .collect())
}

/// What a resource still lacks: "pool web: Programmed is false: no route to 56.56.56.1".
fn unsettled<T: Noun>(resource: &T, advertised: bool) -> Option<String> {
    let about = |what: String| Some(format!("{} {}: {what}", T::WORD, resource.name()));
    let goals: Vec<&Condition> = resource
        .conditions()
        .iter()
        .filter(|condition| GOALS.contains(&condition.r#type.as_str()))
        .filter(|condition| advertised || condition.r#type != "Advertised")
        .filter(|condition| !NOTHING_TO_DO.contains(&condition.reason.as_str()))
        .collect();
    if resource.conditions().is_empty() {
        return about("has no status yet".to_owned());
    }
    let open = goals.iter().find(|condition| condition.status() != Truth::True)?;
    let why = if open.message.is_empty() { &open.reason } else { &open.message };
    about(format!("{} is {}: {why}", open.r#type, crate::view::status_word(open)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(conditions: &[(&str, Truth, &str)]) -> Vip {
        let condition = |(kind, status, reason): &(&str, Truth, &str)| Condition {
            r#type: (*kind).to_owned(),
            status: (*status).into(),
            reason: (*reason).to_owned(),
            ..Condition::default()
        };
        let status = v1::VipStatus {
            conditions: conditions.iter().map(condition).collect(),
            ..v1::VipStatus::default()
        };
        Vip { status: Some(status), ..Vip::default() }
    }

    #[test]
    fn every_goal_counts() {
        let all =
            [("Accepted", Truth::True, ""), ("Programmed", Truth::True, ""), ("Advertised", Truth::True, "")];
        assert_eq!(unsettled(&vip(&all), true), None);
        for i in 0..all.len() {
            let mut one_open = all;
            one_open[i].1 = Truth::Unknown;
            assert!(unsettled(&vip(&one_open), true).is_some(), "{one_open:?}");
        }
        assert!(unsettled(&vip(&[]), true).is_some());
    }

    #[test]
    fn what_nobody_uses_need_not_be_advertised() {
        let idle = vip(&[("Programmed", Truth::True, ""), ("Advertised", Truth::False, "NoService")]);
        assert!(unsettled(&idle, true).is_some());
        assert_eq!(unsettled(&idle, false), None);
        let elsewhere = vip(&[("Programmed", Truth::False, NOT_HERE)]);
        assert_eq!(unsettled(&elsewhere, true), None);
        let degraded = vip(&[("Programmed", Truth::True, ""), ("Degraded", Truth::True, "BackendDown")]);
        assert_eq!(unsettled(&degraded, true), None);
    }
}
