//! `vip|pool|service|peer|route list|show|delete`.

use std::time::SystemTime;

use crate::args::{Format, Verb};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::proto_json::{Shown, Style};
use crate::table;
use crate::view::View;

pub(crate) async fn run<T: View>(cx: &mut Context<'_>, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::List => list::<T>(cx).await,
        Verb::Show { name } => show::<T>(cx, &name).await,
        Verb::Delete { name, dry_run } => delete::<T>(cx, &name, dry_run).await,
    }
}

async fn list<T: View>(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let (mut answers, exit) =
        cx.each(async |node| T::list(node).await.map_err(|status| node.failure(status))).await?;
    for (_, list) in &mut answers {
        T::sort(list);
    }
    match cx.format() {
        Format::Table | Format::Wide => {
            let several = cx.global.nodes.len() > 1;
            let text = list_table(&answers, cx.wide(), several, SystemTime::now());
            if answers.iter().any(|(_, list)| !list.is_empty()) {
                cx.out.write_all(text.as_bytes())?;
            } else if exit == Exit::Ok {
                writeln!(cx.err, "no {} is stored", T::WORD)?;
            }
        }
        Format::Json => {
            let shown = |list: Vec<T>| -> Vec<Shown> {
                list.iter().map(|resource| Shown::new(resource, T::FULL_NAME, Style::Json)).collect()
            };
            cx.json(answers.into_iter().map(|(target, list)| (target, shown(list))).collect())?;
        }
        Format::Yaml => {
            cx.document(answers.into_iter().map(|(target, list)| (target, T::document(list))).collect())?;
        }
        Format::Name => {
            let mut names: Vec<&str> = Vec::new();
            for resource in answers.iter().flat_map(|(_, list)| list) {
                if !names.contains(&resource.name()) {
                    names.push(resource.name());
                }
            }
            for name in names {
                writeln!(cx.out, "{name}")?;
            }
        }
    }
    Ok(exit)
}

/// Rows of all nodes; a column tells them apart when there are several.
fn list_table<T: View>(answers: &[(String, Vec<T>)], wide: bool, several: bool, now: SystemTime) -> String {
    let mut header = T::header(wide);
    let mut rows = Vec::new();
    for (target, list) in answers {
        for resource in list {
            let mut row = resource.row(wide, now);
            if several {
                row.insert(0, target.clone());
            }
            rows.push(row);
        }
    }
    if several {
        header.insert(0, "NODE");
    }
    table::render(&header, rows)
}

async fn show<T: View>(cx: &mut Context<'_>, name: &str) -> Result<Exit, Failure> {
    let (answers, exit) =
        cx.each(async |node| T::get(node, name).await.map_err(|status| node.failure(status))).await?;
    match cx.format() {
        Format::Table | Format::Wide => {
            for (target, resource) in &answers {
                if cx.global.nodes.len() > 1 {
                    writeln!(cx.out, "node {target}")?;
                }
                cx.out.write_all(resource.details(SystemTime::now()).as_bytes())?;
            }
        }
        Format::Json => {
            let shown = |resource: T| Shown::new(&resource, T::FULL_NAME, Style::Json);
            cx.json(answers.into_iter().map(|(target, it)| (target, shown(it))).collect())?;
        }
        Format::Yaml => {
            cx.document(answers.into_iter().map(|(target, it)| (target, T::document(vec![it]))).collect())?;
        }
        Format::Name => {
            if let Some((_, resource)) = answers.first() {
                writeln!(cx.out, "{}", resource.name())?;
            }
        }
    }
    Ok(exit)
}

async fn delete<T: View>(cx: &mut Context<'_>, name: &str, dry_run: bool) -> Result<Exit, Failure> {
    let (answers, exit) = cx
        .each(async |node| T::delete(node, name, dry_run).await.map_err(|status| node.failure(status)))
        .await?;
    let what = if dry_run { "can be deleted" } else { "deleted" };
    for (target, ()) in &answers {
        if cx.global.nodes.len() > 1 {
            write!(cx.out, "{target}: ")?;
        }
        writeln!(cx.out, "{} {name} {what}", T::WORD)?;
    }
    Ok(exit)
}
