//! One run: up, settle, check by check, down, and a look at what is left.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{Bench, CLEAN, Check, Evidence, Fault, Moment, Outcome, Report, Reporter, Suite, of_lab};
use crate::host::lab::Options;
use crate::host::{Lab, interrupt};

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub lab: String,
    pub source: PathBuf,
    pub programs: Vec<PathBuf>,
    pub holder: PathBuf,
    pub fault: Option<String>,
    pub only: Vec<String>,
    pub keep: bool,
    pub evidence: Option<PathBuf>,
}

/// Runs a lab and its checks. An error means that the run itself could not be done.
pub fn run(request: &Request, say: &Reporter) -> Result<Report> {
    let suite = of_lab(&request.lab);
    let (fault, checks) = choose(suite, request)?;
    let evidence = request.evidence.as_deref().map(Evidence::create).transpose()?;
    let options = Options {
        source: request.source.clone(),
        edits: fault.map(|fault| fault.edits.to_vec()).unwrap_or_default(),
        programs: request.programs.clone(),
        holder: request.holder.clone(),
    };
    say.title(&request.lab, "bringing it up");
    if let Some(fault) = fault {
        say.step(&format!("with the planted fault {}: {}", fault.name, fault.about));
    }
    let lab = Lab::up(&request.lab, &options, &mut |text| say.step(&text))?;
    let mut outcomes = Vec::new();
    if let Some(suite) = suite {
        let mut bench = Bench::new(&lab, say, fault, evidence);
        (suite.preflight)(&bench).context("preflight")?;
        if request.keep && checks.is_empty() {
            (suite.settle)(&mut bench).context("the lab is not ready")?;
        }
        for check in &checks {
            outcomes.push(run_check(suite, check, &mut bench)?);
        }
    }
    if request.keep {
        lab.keep()?;
        say_how_to_look_around(&request.lab, say);
    } else {
        outcomes.push(end(lab, say));
    }
    let ok = outcomes.iter().all(|outcome| outcome.ok);
    let expected_false = fault.map(|fault| fault.falsifies.to_vec());
    Ok(Report { ok, checks: outcomes, fault: fault.map(|fault| fault.name), expected_false })
}

/// The fault and the checks that are to run, in the suite's order.
fn choose(
    suite: Option<&'static Suite>,
    request: &Request,
) -> Result<(Option<&'static Fault>, Vec<&'static Check>)> {
    let Some(suite) = suite else {
        if request.fault.is_some() || !request.only.is_empty() {
            bail!("lab {} has no checks", request.lab);
        }
        return Ok((None, Vec::new()));
    };
    let fault = match &request.fault {
        None => None,
        Some(name) => {
            let known: Vec<&str> = suite.faults.iter().map(|fault| fault.name).collect();
            Some(suite.fault(name).with_context(|| {
                format!("lab {} has no fault {name}; it has {}", suite.lab, known.join(", "))
            })?)
        }
    };
    for name in request.only.iter().filter(|name| *name != CLEAN) {
        if suite.check(name).is_none() {
            let known: Vec<&str> = suite.checks.iter().map(|check| check.name).collect();
            bail!("lab {} has no check {name}; it has {}, {CLEAN}", suite.lab, known.join(", "));
        }
    }
    let concerned = |check: &Check| {
        fault.is_none_or(|fault| fault.falsifies.contains(&check.name) || fault.spares.contains(&check.name))
    };
    let asked = |check: &Check| request.only.is_empty() || request.only.iter().any(|name| name == check.name);
    Ok((fault, suite.checks.iter().filter(|check| asked(check) && concerned(check)).collect()))
}

fn run_check(suite: &Suite, check: &'static Check, bench: &mut Bench<'_>) -> Result<Outcome> {
    interrupt::check()?;
    bench.begin(check.name);
    bench.say.title(check.name, check.about);
    let result = (suite.settle)(bench)
        .context("the lab is not ready")
        .and_then(|()| bench.moment(Moment::Settled).context("the fault could not be planted"))
        .and_then(|()| (check.run)(bench));
    interrupt::check()?;
    Ok(bench.verdict(result))
}

fn end(lab: Lab, say: &Reporter) -> Outcome {
    say.title(CLEAN, "nothing of the lab is left on this machine");
    let nodes = lab.nodes().count();
    let left = lab.take_down();
    let detail = if left.is_empty() {
        format!("{nodes} machines gone; no namespace, process, mount, pin or file is left")
    } else {
        format!("FAILED: left over: {}", left.join("; "))
    };
    say.finding(left.is_empty(), &detail);
    Outcome { name: CLEAN.to_owned(), ok: left.is_empty(), detail, unfinished: false }
}

fn say_how_to_look_around(lab: &str, say: &Reporter) {
    say.line("");
    say.line(&format!("the lab stays up. A shell in a machine:  vipcast-lab shell {lab} r1"));
    say.line(&format!("                      One command:       vipcast-lab shell {lab} r1 ip route"));
    say.line(&format!("                      Take it down:      vipcast-lab clean {lab}"));
}
