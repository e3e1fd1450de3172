//! `watch`: one line per event, until the node ends it or the user does.

use std::time::SystemTime;

use proto::v1::node_service_client::NodeServiceClient;
use proto::v1::{self, EventType};
use serde::Serialize;
use tonic::Request;

use crate::args::Format;
use crate::client::Node;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::noun::{Event, Noun};
use crate::proto_json::{Shown, Style};
use crate::view::{View, trouble};

pub(crate) async fn resources<T: View>(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let node = single(cx).await?;
    let mut events = T::watch(&node).await.map_err(|status| node.failure(status))?;
    while let Some(event) = events.message().await.map_err(|status| node.failure(status))? {
        let event: Event<T> = event.into();
        match cx.format() {
            Format::Json => json(cx, &event)?,
            _ => line(cx, &event)?,
        }
        cx.out.flush()?;
    }
    Err(Failure::Unreachable { target: node.target, reason: "the node ended the watch".to_owned() })
}

pub(crate) async fn node(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let node = single(cx).await?;
    let mut client = NodeServiceClient::new(node.channel.clone());
    let answer = client.watch_status(Request::new(v1::WatchNodeRequest {})).await;
    let mut statuses = answer.map_err(|status| node.failure(status))?.into_inner();
    while let Some(status) = statuses.message().await.map_err(|status| node.failure(status))? {
        if cx.format() == Format::Json {
            let shown = Shown::new(&status, "vipcast.v1.NodeStatus", Style::Json);
            writeln!(cx.out, "{}", serde_json::to_string(&shown).map_err(std::io::Error::from)?)?;
        } else {
            let trouble = trouble(&status.conditions);
            let state = if trouble.is_empty() { "ready".to_owned() } else { trouble };
            writeln!(cx.out, "revision {}  {state}", status.revision)?;
        }
        cx.out.flush()?;
    }
    Err(Failure::Unreachable { target: node.target, reason: "the node ended the watch".to_owned() })
}

async fn single(cx: &Context<'_>) -> Result<Node, Failure> {
    match cx.global.nodes.as_slice() {
        [target] => Node::connect(target, cx.global.timeout).await,
        _ => Err(Failure::Ended {
            exit: Exit::Failed,
            message: "error: watch follows one node: give one --node".to_owned(),
        }),
    }
}

fn line<T: View>(cx: &mut Context<'_>, event: &Event<T>) -> Result<(), Failure> {
    let Some(resource) = &event.resource else {
        return Ok(writeln!(cx.out, "{} {}", word(event.kind), event.revision)?);
    };
    let (header, row) = (T::header(false), resource.row(false, SystemTime::now()));
    let facts: Vec<String> = header
        .iter()
        .zip(&row)
        .skip(1)
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| format!("{}={value}", label.to_lowercase().replace(' ', "_")))
        .collect();
    Ok(writeln!(cx.out, "{} {} {} {}", word(event.kind), event.revision, resource.name(), facts.join(" "))?)
}

fn json<T: Noun>(cx: &mut Context<'_>, event: &Event<T>) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Line {
        r#type: &'static str,
        revision: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<Shown>,
    }
    let line = Line {
        r#type: event.kind.as_str_name(),
        revision: event.revision.to_string(),
        resource: event.resource.as_ref().map(|it| Shown::new(it, T::FULL_NAME, Style::Json)),
    };
    Ok(writeln!(cx.out, "{}", serde_json::to_string(&line).map_err(std::io::Error::from)?)?)
}

fn word(kind: EventType) -> &'static str {
    match kind {
        EventType::Updated => "updated",
        EventType::Deleted => "deleted",
        EventType::Synced => "synced",
        EventType::Unspecified => "unknown",
    }
}
