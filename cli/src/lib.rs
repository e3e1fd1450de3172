//! `vipcast`, the command line. Knows the API (`proto`) and nothing of the daemon: whatever it can do, another client
//! can do.

mod args;
mod client;
mod clock;
mod command;
mod context;
mod document;
mod failure;
mod noun;
mod proto_json;
mod table;
mod view;

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use proto::v1::{EndpointRoute, Peer, Pool, Service, Vip};

pub use args::Cli;

use args::{Command, Format, Kind};
use client::Node;
use command::{apply, datapath, resource, status, watch};
use context::Context;
use failure::{Exit, Failure};

/// Runs one command. Results go to `out`, everything else to `err`.
pub async fn run(cli: Cli, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let Cli { global, command } = cli;
    let mut cx = Context { global, out, err };
    let result = dispatch(&mut cx, command).await.and_then(|exit| {
        cx.out.flush()?;
        Ok(exit)
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit() != Exit::Ok {
                // Standard error may be gone as well: the exit code still tells.
                let _ = cx.complain(&failure);
            }
            failure.exit().into()
        }
    }
}

async fn dispatch(cx: &mut Context<'_>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Apply(args) => apply::apply(cx, &args).await,
        Command::Diff(files) => apply::diff(cx, &files).await,
        Command::Status => status::run(cx).await,
        Command::Export => export(cx).await,
        Command::Vip(verb) => resource::run::<Vip>(cx, verb).await,
        Command::Pool(verb) => resource::run::<Pool>(cx, verb).await,
        Command::Service(verb) => resource::run::<Service>(cx, verb).await,
        Command::Peer(verb) => resource::run::<Peer>(cx, verb).await,
        Command::Route(verb) => resource::run::<EndpointRoute>(cx, verb).await,
        Command::Datapath(what) => datapath::run(cx, what).await,
        Command::Watch { kind: Kind::Vip } => watch::resources::<Vip>(cx).await,
        Command::Watch { kind: Kind::Pool } => watch::resources::<Pool>(cx).await,
        Command::Watch { kind: Kind::Service } => watch::resources::<Service>(cx).await,
        Command::Watch { kind: Kind::Peer } => watch::resources::<Peer>(cx).await,
        Command::Watch { kind: Kind::Route } => watch::resources::<EndpointRoute>(cx).await,
        Command::Watch { kind: Kind::Node } => watch::node(cx).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "vipcast", &mut cx.out);
            Ok(Exit::Ok)
        }
        Command::Man { directory } => {
            clap_mangen::generate_to(Cli::command(), directory)?;
            Ok(Exit::Ok)
        }
    }
}

/// The stored configuration; a document unless JSON is asked for.
async fn export(cx: &mut Context<'_>) -> Result<Exit, Failure> {
    use proto::v1::node_service_client::NodeServiceClient;
    let (configs, exit) = cx
        .each(async |node: &Node| {
            let client = NodeServiceClient::new(node.channel.clone());
            let mut client = client.max_decoding_message_size(client::LARGEST_ANSWER);
            let answer = client.get_config(node.request(())).await;
            Ok(answer.map_err(|status| node.failure(status))?.into_inner())
        })
        .await?;
    if cx.format() == Format::Json {
        let style = proto_json::Style::Json;
        let shown = |config| proto_json::Shown::new(&config, "vipcast.v1.Config", style);
        cx.json(configs.into_iter().map(|(target, config)| (target, shown(config))).collect())?;
    } else {
        cx.document(configs)?;
    }
    Ok(exit)
}
