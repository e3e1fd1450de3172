//! `apply` and `diff`: one document for one or several nodes. It is validated on all nodes before any of them stores
//! it; then it is stored on each, and the nodes' config digests must agree. What succeeded where is always said.

use std::io::Write;

use proto::v1;
use proto::v1::change::Action;
use proto::v1::node_service_client::NodeServiceClient;

use super::wait;
use crate::args::{Apply, Files, Format};
use crate::client::Node;
use crate::context::{Answer, Context};
use crate::document::Document;
use crate::failure::{Exit, Failure};
use crate::proto_json::{Shown, Style};

pub(crate) async fn apply(cx: &mut Context<'_>, args: &Apply) -> Result<Exit, Failure> {
    let document = Document::read(&args.files.files)?;
    let checked = match everywhere(cx, &document, args.files.prune, true).await? {
        Ok(checked) => checked,
        Err(exit) => {
            if cx.global.nodes.len() > 1 {
                writeln!(cx.err, "nothing was applied on any node")?;
            }
            return Ok(exit);
        }
    };
    if args.dry_run {
        report(cx, checked)?;
        return Ok(Exit::Ok);
    }
    let (stored, exit) = store(cx, &document, args.files.prune).await?;
    let digests = digests_agree(cx, &stored)?;
    let revisions: Vec<Answer<u64>> =
        stored.iter().map(|(target, answer)| (target.clone(), answer.revision)).collect();
    report(cx, stored)?;
    let exit = exit.max(digests);
    match args.wait {
        Some(patience) if exit != Exit::Unreachable => {
            Ok(exit.max(wait::until_in_effect(cx, &document.config, &revisions, patience).await?))
        }
        _ => Ok(exit),
    }
}

pub(crate) async fn diff(cx: &mut Context<'_>, args: &Files) -> Result<Exit, Failure> {
    let document = Document::read(&args.files)?;
    let checked = match everywhere(cx, &document, args.prune, true).await? {
        Ok(checked) => checked,
        Err(exit) => return Ok(exit),
    };
    let differs = checked.iter().any(|(_, answer)| answer.changes.iter().any(is_change));
    report(cx, checked)?;
    Ok(if differs { Exit::Failed } else { Exit::Ok })
}

/// The same request on every node: all answers, or the worst exit code.
async fn everywhere(
    cx: &mut Context<'_>,
    document: &Document,
    prune: bool,
    validate_only: bool,
) -> Result<Result<Vec<Answer<v1::ApplyConfigResponse>>, Exit>, Failure> {
    let (mut answers, mut exit) = (Vec::new(), Exit::Ok);
    for target in cx.global.nodes.clone() {
        let answer = match Node::connect(&target, cx.global.timeout).await {
            Ok(node) => request(&node, document, prune, validate_only).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(answer) => answers.push((target, answer)),
            Err(failure) => {
                exit = exit.max(failure.exit());
                for line in failure.lines(Some(document)) {
                    writeln!(cx.err, "{line}")?;
                }
            }
        }
    }
    Ok(if exit == Exit::Ok { Ok(answers) } else { Err(exit) })
}

async fn request(
    node: &Node,
    document: &Document,
    prune: bool,
    validate_only: bool,
) -> Result<v1::ApplyConfigResponse, Failure> {
    let config = Some(document.config.clone());
    let request = node.request(v1::ApplyConfigRequest { config, prune, validate_only });
    let mut client = NodeServiceClient::new(node.channel.clone());
    Ok(client.apply_config(request).await.map_err(|status| node.failure(status))?.into_inner())
}

/// Stores on each node. A node that fails now leaves the others changed: both are named.
async fn store(
    cx: &mut Context<'_>,
    document: &Document,
    prune: bool,
) -> Result<(Vec<Answer<v1::ApplyConfigResponse>>, Exit), Failure> {
    let (stored, exit) = cx.each(async |node| request(node, document, prune, false).await).await?;
    if exit != Exit::Ok && cx.global.nodes.len() > 1 {
        let done: Vec<&str> = stored.iter().map(|(target, _)| target.as_str()).collect();
        let missing: Vec<&str> =
            cx.global.nodes.iter().map(String::as_str).filter(|target| !done.contains(target)).collect();
        let done = if done.is_empty() { "no node".to_owned() } else { done.join(", ") };
        writeln!(
            cx.err,
            "error: applied on {done}; not on {}: apply again when it is back",
            missing.join(", ")
        )?;
    }
    Ok((stored, exit))
}

fn digests_agree(cx: &mut Context<'_>, stored: &[Answer<v1::ApplyConfigResponse>]) -> Result<Exit, Failure> {
    let mut digests: Vec<&str> = stored.iter().map(|(_, answer)| answer.config_digest.as_str()).collect();
    digests.sort_unstable();
    digests.dedup();
    if digests.len() <= 1 {
        return Ok(Exit::Ok);
    }
    writeln!(
        cx.err,
        "error: the nodes' configurations differ: some hold resources that others do not; see export, or use --prune"
    )?;
    for (target, answer) in stored {
        writeln!(cx.err, "  {target}: {}", answer.config_digest)?;
    }
    Ok(Exit::Degraded)
}

fn report(cx: &mut Context<'_>, answers: Vec<Answer<v1::ApplyConfigResponse>>) -> Result<(), Failure> {
    match cx.format() {
        Format::Json | Format::Yaml => {
            let style = if cx.format() == Format::Json { Style::Json } else { Style::Document };
            let shown = |answer| Shown::new(&answer, "vipcast.v1.ApplyConfigResponse", style);
            let answers = answers.into_iter().map(|(target, answer)| (target, shown(answer))).collect();
            if style == Style::Json { cx.json(answers) } else { cx.yaml(answers) }
        }
        Format::Name => {
            for change in answers.iter().flat_map(|(_, answer)| &answer.changes).filter(|it| is_change(it)) {
                writeln!(cx.out, "{}/{}", change.kind, change.name)?;
            }
            Ok(())
        }
        Format::Table | Format::Wide => text(cx, &answers),
    }
}

fn text(cx: &mut Context<'_>, answers: &[Answer<v1::ApplyConfigResponse>]) -> Result<(), Failure> {
    let alike = answers.windows(2).all(|pair| pair[0].1.changes == pair[1].1.changes);
    let shown = if alike { &answers[..answers.len().min(1)] } else { answers };
    for (target, answer) in shown {
        if !alike {
            writeln!(cx.out, "node {target}")?;
        }
        changes(cx.out, &answer.changes)?;
    }
    if alike && answers.len() > 1 {
        let targets: Vec<&str> = answers.iter().map(|(target, _)| target.as_str()).collect();
        writeln!(cx.out, "on {} nodes: {}", answers.len(), targets.join(", "))?;
    }
    Ok(())
}

fn changes(out: &mut dyn Write, changes: &[v1::Change]) -> Result<(), Failure> {
    for change in changes.iter().filter(|change| is_change(change)) {
        let what = match change.action() {
            Action::Create => "created",
            Action::Update => "updated",
            Action::Delete => "deleted",
            Action::Unchanged | Action::Unspecified => "unchanged",
        };
        writeln!(out, "{} {} {what}", change.kind, change.name)?;
        for field in &change.fields {
            writeln!(out, "  {field}")?;
        }
    }
    let unchanged = changes.iter().filter(|change| !is_change(change)).count();
    if unchanged > 0 {
        writeln!(out, "{unchanged} unchanged")?;
    }
    Ok(())
}

fn is_change(change: &v1::Change) -> bool {
    !matches!(change.action(), Action::Unchanged | Action::Unspecified)
}
