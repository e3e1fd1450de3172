//! The binary `vipcast`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = cli::Cli::from_args(std::env::args_os());
    cli::run(cli, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()).await
}
