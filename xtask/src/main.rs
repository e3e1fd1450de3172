//! The only task runner: `cargo xtask setup | ebpf | build | demo | lab | test | deps | deny | ci`.
//!
//! It stays thin, because it is what a fresh machine compiles first, before it can say anything: the work itself is in
//! cargo, apt, rustup and the lab runner (`vipcast-lab`). Progress goes to stderr; stdout belongs to the program that is
//! run (`demo --json`) or to the result (`test`).

mod deny;
mod deps;
mod ebpf;
mod lab;
mod place;
mod run;
mod setup;
mod source;
mod steps;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::place::Place;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Build, show and test vipcast")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Provide what the other tasks need: Debian packages, an eBPF toolchain, bpf-linker. Quick when all is there
    Setup,
    /// Build the eBPF objects into target/bpf
    Ebpf,
    /// Set up, then build the eBPF objects and the programs vipcastd, vipcast and vipcast-lab
    Build {
        /// Optimised programs, as they are packaged (the labs use the quicker development build)
        #[arg(long)]
        release: bool,
    },
    /// Set up, build and show the main lab step by step
    ///
    /// Arguments: --json, --keep, --break FAULT, --evidence DIR, --only CHECK,...
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Set up, build and call the lab runner: run | list | shell | clean NAME
    ///
    /// Arguments of run: --json, --keep, --break FAULT, --evidence DIR, --only CHECK,...
    Lab {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Everything that must hold: format, lints, tests, dependency directions, the demo and each of its faults
    Test {
        /// More cases of the property tests
        #[arg(long)]
        full: bool,
    },
    /// Check which crate may see which, and where `unsafe` may stand
    Deps,
    /// Check licences, sources and duplicates of the dependencies; installs cargo-deny on first use
    Deny,
    /// Run exactly what CI runs (.ci/run)
    Ci,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> Result<ExitCode> {
    let place = Place::find()?;
    match task {
        Task::Setup => setup::all(&place)?,
        Task::Ebpf => {
            let tools = setup::ebpf_tools(&place)?;
            for object in ebpf::build(&place, &tools)? {
                println!("{}", object.display());
            }
        }
        Task::Build { release } => {
            let profile = if release { lab::Profile::Release } else { lab::Profile::Dev };
            for program in lab::build(&place, profile)? {
                println!("{}", program.display());
            }
        }
        Task::Demo { args } => return lab::exec(&place, [OsString::from("demo")].into_iter().chain(args)),
        Task::Lab { args } => return lab::exec(&place, args),
        Task::Test { full } => return test::run(&place, full),
        Task::Deps => deps::check(&place)?,
        Task::Deny => deny::check(&place)?,
        Task::Ci => {
            run::loud(std::process::Command::new(place.root.join(".ci/run")).current_dir(&place.root))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Task {
        Cli::try_parse_from(std::iter::once("xtask").chain(words.split(' '))).unwrap().task
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_for_the_lab_runner_pass_untouched() {
        let Task::Demo { args } = parse("demo --json --break echo-off --only ping") else {
            panic!("not the demo")
        };
        assert_eq!(args, ["--json", "--break", "echo-off", "--only", "ping"]);
        let Task::Lab { args } = parse("lab run tcp-l3dsr-ha --keep") else { panic!("not a lab") };
        assert_eq!(args, ["run", "tcp-l3dsr-ha", "--keep"]);
    }
}
