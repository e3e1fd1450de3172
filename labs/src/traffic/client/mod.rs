//! The client: does one [`Job`] and prints what happened.

mod ask;
mod bulk;
mod hold;
mod knock;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::job::Job;

/// Does the job that the JSON text describes.
pub fn main(job: &str) -> Result<()> {
    match serde_json::from_str(job).context("not a job")? {
        Job::Ask(ask) => print(&ask::tcp(&ask)),
        Job::AskUdp(ask) => print(&ask::udp(&ask)),
        Job::Bulk(bulk) => print(&bulk::run(&bulk)),
        Job::Hold(hold) => hold::run(&hold, &until_stdin_closes()),
        Job::Arrive(arrive) => print(&ask::arrive(&arrive, &until_stdin_closes())),
        Job::Knock(knock) => print(&knock::run(&knock)),
    }
}

/// One line of JSON.
fn print(value: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(value)?)?;
    stdout.flush().context("nobody listens")
}

/// Becomes true when the runner closes the pipe, or is gone.
fn until_stdin_closes() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = io::stdin().read_to_end(&mut rest);
        flag.store(true, Ordering::SeqCst);
    });
    stop
}

/// A connection from a chosen port. The port may still be known from an earlier connection.
fn connect(target: SocketAddr, source: IpAddr, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, port).into())?;
    socket.connect_timeout(&target.into(), limit)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// Closes with RST: neither end remembers the tuple.
fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
}
