//! The binary `vipcast`.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::run(cli, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()).await
}
