//! The command line.

mod faults;
mod find;
mod manage;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use labs::{dsr, host, traffic};

/// The lab that `demo` shows.
const DEMO: &str = "tcp-l3dsr-ha";

#[derive(Debug, Parser)]
#[command(
    name = "vipcast-lab",
    about = "Networks of real routers and real traffic on this machine, with checks"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Labs of this checkout, and which of them are up
    List,
    /// Bring a lab up, run its checks, take it down
    Run {
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// The main lab with all of its checks
    Demo {
        #[command(flatten)]
        how: How,
    },
    /// A shell, or one command, in a machine of a lab that is up
    Shell {
        lab: String,
        node: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Take a kept lab down, or remove what a killed run has left
    Clean { name: String },
    /// The faults that can be planted, and the checks that each must turn false
    Faults {
        /// Lab whose faults are listed
        #[arg(default_value = DEMO)]
        name: String,
        #[arg(long)]
        json: bool,
    },
    /// Which real server of the main lab each source port must reach
    Predict(dsr::predict::Question),
    /// PID 1 of a machine
    #[command(hide = true)]
    NodeInit { spec: PathBuf },
    /// Traffic server
    #[command(hide = true)]
    Server(traffic::server::Server),
    /// Traffic client; its job is JSON
    #[command(hide = true)]
    Client { job: String },
}

#[derive(Debug, Args)]
struct How {
    /// For programs: the last line of stdout is one JSON object; everything else goes to stderr
    #[arg(long)]
    json: bool,
    /// Leave the lab up afterwards
    #[arg(long)]
    keep: bool,
    /// Keep raw results, counters and captures in this directory
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Plant a fault, and run the checks that it concerns
    #[arg(long = "break", value_name = "FAULT")]
    fault: Option<String>,
    /// Run these checks only
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// Succeed exactly if the fault turned its own checks false and no other
    #[arg(long, requires = "fault")]
    expect: bool,
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::List => manage::list(),
            Command::Run { name, how } => run::run(&name, how),
            Command::Demo { how } => run::run(DEMO, how),
            Command::Shell { lab, node, command } => manage::shell(&lab, &node, &command),
            Command::Clean { name } => manage::clean(&name),
            Command::Faults { name, json } => faults::faults(&name, json),
            Command::Predict(question) => dsr::predict::main(&question).map(|()| ExitCode::SUCCESS),
            Command::NodeInit { spec } => host::holder::main(&spec).map(|()| ExitCode::SUCCESS),
            Command::Server(server) => traffic::server::main(&server).map(|()| ExitCode::SUCCESS),
            Command::Client { job } => traffic::client::main(&job).map(|()| ExitCode::SUCCESS),
        }
    }
}
