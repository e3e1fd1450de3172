//! Short questions: who answers which port?

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::job::{Arrive, Ask, Reply, now_ms};
use super::super::wire::{Greeting, Request, read_line};
use super::{connect, reset};

pub(super) fn tcp(ask: &Ask) -> Vec<Reply> {
    each(ask, |port| tcp_once(ask.target, ask.source, port, Duration::from_millis(ask.limit_ms)))
}

pub(super) fn udp(ask: &Ask) -> Vec<Reply> {
    each(ask, |port| {
        reply(port, || udp_once(ask.target, ask.source, port, Duration::from_millis(ask.limit_ms)))
    })
}

/// New connections at a steady pace, whatever becomes of the ones before.
pub(super) fn arrive(arrive: &Arrive, stop: &AtomicBool) -> Vec<Reply> {
    let replies = Mutex::new(Vec::new());
    let limit = Duration::from_millis(arrive.limit_ms);
    thread::scope(|scope| {
        let start = Instant::now();
        for (round, port) in (1..).zip(arrive.ports.iter().cycle()) {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            scope.spawn(|| {
                let reply = tcp_once(arrive.target, arrive.source, *port, limit);
                if let Ok(mut replies) = replies.lock() {
                    replies.push(reply);
                }
            });
            let next = start + Duration::from_millis(arrive.interval_ms) * round;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    let mut replies = replies.into_inner().unwrap_or_default();
    replies.sort_by_key(|reply| (reply.at_ms, reply.port));
    replies
}

/// Asks for all ports, a few at the same time; answers in the order of the ports.
fn each(ask: &Ask, once: impl Fn(u16) -> Reply + Sync) -> Vec<Reply> {
    let next = AtomicUsize::new(0);
    let replies = Mutex::new(Vec::with_capacity(ask.ports.len()));
    thread::scope(|scope| {
        for _ in 0..ask.parallel.clamp(1, 64) {
            scope.spawn(|| {
                while let Some(port) = ask.ports.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let reply = once(*port);
                    if let Ok(mut replies) = replies.lock() {
                        replies.push(reply);
                    }
                }
            });
        }
    });
    let mut replies = replies.into_inner().unwrap_or_default();
    replies.sort_by_key(|reply| reply.port);
    replies
}

fn tcp_once(target: SocketAddr, source: IpAddr, port: u16, limit: Duration) -> Reply {
    reply(port, || {
        let stream = connect(target, source, port, limit)?;
        (&stream).write_all(Request::Name.line().as_bytes())?;
        let line = read_line(&mut BufReader::new(&stream));
        reset(stream);
        parse(&line?)
    })
}

fn udp_once(target: SocketAddr, source: IpAddr, port: u16, limit: Duration) -> io::Result<Greeting> {
    let socket = UdpSocket::bind(SocketAddr::new(source, port))?;
    // Only answers that come from the address that was asked are let in.
    socket.connect(target)?;
    socket.set_read_timeout(Some(limit))?;
    let question = format!("question {port}");
    socket.send(question.as_bytes())?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    match text.split_once('\n') {
        Some((line, echo)) if echo == question => parse(line),
        _ => Err(io::Error::new(ErrorKind::InvalidData, format!("answer {text:?}"))),
    }
}

fn parse(line: &str) -> io::Result<Greeting> {
    Greeting::parse(line).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("answer {line:?}")))
}

fn reply(port: u16, ask: impl FnOnce() -> io::Result<Greeting>) -> Reply {
    let (at_ms, start) = (now_ms(), Instant::now());
    let answer = ask();
    let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (greeting, error) = match answer {
        Ok(greeting) => (Some(greeting), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Reply {
        port,
        at_ms,
        took_ms,
        seen: greeting.as_ref().map(|greeting| greeting.client),
        server: greeting.map(|greeting| greeting.server),
        error,
    }
}
