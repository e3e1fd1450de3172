//! `faults`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use labs::suite;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    /// Checks that must become false.
    checks: &'static [&'static str],
}

pub(super) fn faults(name: &str, json: bool) -> Result<ExitCode> {
    let suite = suite::of_lab(name).with_context(|| format!("lab {name} has no checks"))?;
    let rows: Vec<Row> = suite
        .faults
        .iter()
        .map(|fault| Row { name: fault.name, about: fault.about, checks: fault.falsifies })
        .collect();
    if json {
        println!("{}", serde_json::json!({ "faults": rows }));
    } else {
        for row in rows {
            println!("{:<22}{:<52}{}", row.name, row.checks.join(", "), row.about);
        }
    }
    Ok(ExitCode::SUCCESS)
}
