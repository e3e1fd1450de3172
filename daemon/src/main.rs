//! vipcastd: the command line of the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use daemon::config::{Config, DEFAULT_PATH};
use daemon::realserver::{self, RealServer};
use daemon::{detach, run};

/// Announces virtual IPs over BGP and forwards their traffic to real servers by direct server return.
#[derive(Parser)]
#[command(name = "vipcastd", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Args)]
struct ConfigArg {
    /// The node's configuration.
    #[arg(short, long, global = true, default_value = DEFAULT_PATH, env = "VIPCAST_CONFIG")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (the default).
    Run,
    /// Check a configuration file and say everything that is wrong with it.
    CheckConfig { file: PathBuf },
    /// Remove everything that vipcast put into this host's kernel. The daemon must be stopped.
    Detach {
        /// Do not wait for routers to be told.
        #[arg(long)]
        no_withdraw: bool,
    },
    /// Prepare this host as a real server: VIPs on lo, quiet ARP, decapsulation.
    RealServer(RealServer),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command.unwrap_or(Command::Run) {
        Command::Run => with_config(&cli.config.config, |config| {
            run::log(&config.log);
            block_on(run::run(config))
        }),
        Command::CheckConfig { file } => with_config(&file, |_| {
            println!("{} is valid", file.display());
            Ok(())
        }),
        Command::Detach { no_withdraw } => with_config(&cli.config.config, |config| {
            run::log(&config.log);
            block_on(async move { detach::detach(&config, !no_withdraw).await })
        }),
        Command::RealServer(arguments) => block_on(realserver::run(arguments)).map_err(Failure::Failed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

enum Failure {
    /// The configuration is wrong: exit status 2.
    Config(anyhow::Error),
    Failed(anyhow::Error),
}

impl Failure {
    fn report(self) -> ExitCode {
        let (error, code) = match self {
            Self::Config(error) => (error, 2),
            Self::Failed(error) => (error, 1),
        };
        eprintln!("vipcastd: {error:#}");
        ExitCode::from(code)
    }
}

fn with_config(
    path: &std::path::Path,
    act: impl FnOnce(Config) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    let config = Config::load(path).map_err(|error| Failure::Config(error.into()))?;
    act(config).map_err(Failure::Failed)
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(future)
}
