//! Much data, every byte checked: uploads by the server, downloads here.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::job::{Bulk, BulkReport, Transfer};
use super::super::pattern;
use super::super::wire::{Greeting, Request, read_line};
use super::connect;

const CHUNK: usize = 1 << 16;

pub(super) fn run(bulk: &Bulk) -> BulkReport {
    let seed = u64::from(bulk.port);
    BulkReport {
        up: transfer(bulk, bulk.port, Request::Up { bytes: bulk.up, seed }, |input, out, done| {
            upload(input, out, bulk.up, seed, done)
        }),
        down: transfer(
            bulk,
            bulk.port.wrapping_add(1),
            Request::Down { bytes: bulk.down, seed: !seed },
            |input, _, done| download(input, bulk.down, !seed, done),
        ),
    }
}

fn transfer(
    bulk: &Bulk,
    port: u16,
    request: Request,
    work: impl FnOnce(&mut BufReader<&TcpStream>, &mut &TcpStream, &mut u64) -> io::Result<()>,
) -> Transfer {
    let start = Instant::now();
    let mut transfer = Transfer::default();
    let go = || {
        let stream = connect(bulk.target, bulk.source, port, Duration::from_millis(bulk.stall_ms))?;
        let (mut input, mut out) = (BufReader::with_capacity(CHUNK, &stream), &stream);
        out.write_all(request.line().as_bytes())?;
        let line = read_line(&mut input)?;
        transfer.server = Greeting::parse(&line).map(|greeting| greeting.server);
        work(&mut input, &mut out, &mut transfer.bytes)
    };
    let result = go();
    transfer.took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    transfer.error = result.err().map(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no progress for {} ms", bulk.stall_ms),
        _ => error.to_string(),
    });
    transfer
}

fn upload(
    input: &mut impl io::BufRead,
    out: &mut impl Write,
    bytes: u64,
    seed: u64,
    done: &mut u64,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < bytes {
        let room = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        pattern::fill(seed, at, &mut buffer[..room]);
        out.write_all(&buffer[..room])?;
        at += room as u64;
    }
    let verdict = read_line(input)?;
    if verdict != format!("ok {bytes}\n") {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("the server says {}", verdict.trim_end()),
        ));
    }
    *done = bytes;
    Ok(())
}

fn download(input: &mut impl Read, bytes: u64, seed: u64, done: &mut u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while *done < bytes {
        let room = usize::try_from(bytes - *done).unwrap_or(CHUNK).min(CHUNK);
        let read = input.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = pattern::check(seed, *done, &buffer[..read]) {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("wrong byte at {at}")));
        }
        *done += read as u64;
    }
    Ok(())
}
