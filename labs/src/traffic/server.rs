//! The traffic server of a real server: TCP with a name, checked streams and bulk data; UDP with a name; HTTP health.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::wire::{Greeting, Request, read_line};
use super::{pattern, stream};

/// Clients that say nothing are let go.
const PATIENCE: Duration = Duration::from_secs(60);
const CHUNK: usize = 1 << 16;

#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Said in every answer
    #[arg(long)]
    pub name: String,
    /// TCP port, on every address of both families
    #[arg(long)]
    pub tcp: u16,
    /// Addresses to answer datagrams on: a reply leaves from the address that was asked
    #[arg(long)]
    pub udp: Vec<SocketAddr>,
    /// Port that answers HTTP requests with 200
    #[arg(long)]
    pub http: u16,
}

/// Serves until killed.
pub fn main(server: &Server) -> Result<()> {
    let name: Arc<str> = server.name.as_str().into();
    let http = listen(server.http)?;
    let tcp = listen(server.tcp)?;
    for address in &server.udp {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let name = name.clone();
        thread::spawn(move || answer_datagrams(&name, &socket));
    }
    thread::spawn(move || accept(&http, answer_http));
    accept(&tcp, move |stream| answer(&name, stream));
    Ok(())
}

fn listen(port: u16) -> Result<TcpListener> {
    let address = (Ipv6Addr::UNSPECIFIED, port);
    TcpListener::bind(address).with_context(|| format!("cannot listen on port {port}"))
}

/// A thread for every connection: there are hundreds at most.
fn accept(listener: &TcpListener, serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let serve = serve.clone();
                // Clients that reset or go away are their own business.
                thread::spawn(move || serve(stream));
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn answer(name: &str, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let client = plain(stream.peer_addr()?);
    let mut out = &stream;
    let mut input = BufReader::with_capacity(CHUNK, &stream);
    let line = read_line(&mut input)?;
    let request = Request::parse(&line).ok_or(ErrorKind::InvalidData)?;
    out.write_all(Greeting { server: name.to_owned(), client }.line().as_bytes())?;
    match request {
        Request::Name => {}
        Request::Up { bytes, seed } => {
            let verdict = match receive(&mut input, bytes, seed)? {
                None => format!("ok {bytes}\n"),
                Some(at) => format!("wrong {at}\n"),
            };
            out.write_all(verdict.as_bytes())?;
        }
        Request::Down { bytes, seed } => send(&mut out, bytes, seed)?,
        Request::Hold { seed } => hold(&mut input, &mut out, seed)?,
    }
    // Until the client closes: who closes first keeps the tuple in TIME_WAIT.
    input.read(&mut [0; 1]).map(|_| ())
}

fn receive(input: &mut impl Read, bytes: u64, seed: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < bytes {
        let room = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        let read = input.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(wrong) = pattern::check(seed, at, &buffer[..read]) {
            return Ok(Some(wrong));
        }
        at += read as u64;
    }
    Ok(None)
}

fn send(out: &mut impl Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < bytes {
        let room = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        pattern::fill(seed, at, &mut buffer[..room]);
        out.write_all(&buffer[..room])?;
        at += room as u64;
    }
    Ok(())
}

fn hold(input: &mut impl Read, out: &mut impl Write, seed: u64) -> io::Result<()> {
    for sequence in 0.. {
        let length = match stream::receive(input, seed, sequence) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        stream::send(out, !seed, sequence, length)?;
    }
    Ok(())
}

fn answer_http(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut input = BufReader::new(&stream);
    while read_line(&mut input)?.trim_end() != "" {}
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}

fn answer_datagrams(name: &str, socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let mut answer = Greeting { server: name.to_owned(), client: plain(client) }.line().into_bytes();
        answer.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&answer, client);
    }
}

/// IPv4 clients of a dual-stack socket under their own address.
fn plain(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
