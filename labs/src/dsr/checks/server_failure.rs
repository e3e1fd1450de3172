//! `server-failure`: one server's process is killed under load. The others' connections feel nothing, and from the moment
//! at which every node has it out of its ring no new connection fails.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::facts::{NODES, RealServer, SERVERS, WEB};
use super::super::maps::Maps;
use super::super::power::SERVER;
use super::super::predict::Model;
use super::super::replies::judge;
use super::load::{Long, arrivals, summary};
use crate::host::interrupt;
use crate::suite::Bench;
use crate::traffic::job::{Held, Reply, now_ms};

const LONG: std::ops::Range<u16> = 26_000..26_100;
const NEW: std::ops::Range<u16> = 27_000..29_000;
const VICTIM: RealServer = SERVERS[1];
/// Interval times fall, with room for a busy machine.
const DOWN: Duration = Duration::from_secs(8);
/// New connections are watched for so long after it was declared down.
const AFTER: Duration = Duration::from_secs(2);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let long = Long::open(bench, LONG, Duration::from_millis(50))?;
    let new = arrivals(bench, NEW, Duration::from_millis(20))?;
    bench.step(format!("killing the server on {}", VICTIM.name));
    SERVER.kill(bench.lab, VICTIM.name)?;
    let killed = Instant::now();
    let out = bench.wait_for(DOWN, || out_of_all_rings(bench));
    let down = (now_ms(), killed.elapsed());
    interrupt::sleep(AFTER)?;
    let new: Vec<Reply> = new.finish(Duration::from_secs(10))?;
    let held = long.close();
    SERVER.start(bench.lab, VICTIM.name)?;
    let held = held?;
    bench.keep_json("long.json", &held)?;
    bench.keep_json("new.json", &new)?;

    let out = out?.is_some();
    bench.expect(
        out,
        match out {
            true => {
                format!("{} out of the ring of every node after {:.1} s", VICTIM.name, down.1.as_secs_f64())
            }
            false => format!("{} is still in a ring after {:.0} s", VICTIM.name, DOWN.as_secs_f64()),
        },
    );
    judge_long(bench, &held);
    if out {
        judge_new(bench, &new, down.0);
    }
    Ok(())
}

fn out_of_all_rings(bench: &Bench<'_>) -> Result<Option<()>> {
    for node in NODES {
        if Maps::of(bench.node(node.name)?).members(WEB)?.contains(&VICTIM.endpoint4.into()) {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

fn judge_long(bench: &mut Bench<'_>, held: &[Held]) {
    let (victims, others): (Vec<&Held>, Vec<&Held>) =
        held.iter().partition(|held| held.server.as_deref() == Some(VICTIM.name));
    let others = summary(others);
    bench.expect(others.unharmed(), format!("to the others: {}", others.text()));
    bench.expect(
        !victims.is_empty() && victims.iter().all(|held| held.failure.is_some()),
        format!("to {}: {} connections, ended with its process", VICTIM.name, victims.len()),
    );
}

fn judge_new(bench: &mut Bench<'_>, new: &[Reply], down_ms: u64) {
    let (before, after): (Vec<Reply>, Vec<Reply>) =
        new.iter().cloned().partition(|reply| reply.at_ms < down_ms);
    let failed = before.iter().filter(|reply| reply.server.is_none()).count();
    bench.step(format!("{} new connections until then, {failed} refused by the dead server", before.len()));
    let judged = judge(&after, WEB.client(), &Model::without(WEB, &[VICTIM.name]));
    bench.expect(
        judged.asked > 20 && judged.as_predicted == judged.asked,
        format!(
            "{} new connections afterwards, {} answered as the model without it predicts: {}{}",
            judged.asked,
            judged.as_predicted,
            judged.shares(),
            judged.examples()
        ),
    );
}
