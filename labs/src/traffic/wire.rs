//! What client and server say to each other over TCP: one line each, then what the line announces.

use std::io::{self, BufRead, ErrorKind};
use std::net::SocketAddr;

/// Longest line that is read.
const LINE_MAX: u64 = 256;

/// The client's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Who are you, and who am I?
    Name,
    /// The client sends this many pattern bytes; the server answers with a verdict.
    Up { bytes: u64, seed: u64 },
    /// The server sends this many pattern bytes.
    Down { bytes: u64, seed: u64 },
    /// Frames to and fro until the client closes ([`super::stream`]).
    Hold { seed: u64 },
}

impl Request {
    pub(super) fn line(self) -> String {
        match self {
            Self::Name => "NAME\n".to_owned(),
            Self::Up { bytes, seed } => format!("UP {bytes} {seed}\n"),
            Self::Down { bytes, seed } => format!("DOWN {bytes} {seed}\n"),
            Self::Hold { seed } => format!("HOLD {seed}\n"),
        }
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["NAME"] => Some(Self::Name),
            ["UP", bytes, seed] => Some(Self::Up { bytes: bytes.parse().ok()?, seed: seed.parse().ok()? }),
            ["DOWN", bytes, seed] => {
                Some(Self::Down { bytes: bytes.parse().ok()?, seed: seed.parse().ok()? })
            }
            ["HOLD", seed] => Some(Self::Hold { seed: seed.parse().ok()? }),
            _ => None,
        }
    }
}

/// The server's first line, and its answer to a datagram: its name and the client as it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) server: String,
    pub(super) client: SocketAddr,
}

impl Greeting {
    pub(super) fn line(&self) -> String {
        format!("{} {}\n", self.server, self.client)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let (server, client) = line.trim_end().split_once(' ')?;
        let client = client.split(' ').next()?.parse().ok()?;
        (!server.is_empty()).then(|| Self { server: server.to_owned(), client })
    }
}

/// One line; an error when the other end closes before its end or writes too much.
pub(super) fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    io::Read::take(&mut *from, LINE_MAX).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed before an answer"));
    }
    String::from_utf8(line).map_err(|_| io::Error::new(ErrorKind::InvalidData, "not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_greetings_survive_the_wire() {
        for request in [
            Request::Name,
            Request::Up { bytes: 20, seed: 3 },
            Request::Down { bytes: 1, seed: u64::MAX },
            Request::Hold { seed: 9 },
        ] {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        let greeting = Greeting { server: "ep1".into(), client: "[2001:db8::1]:4000".parse().unwrap() };
        assert_eq!(Greeting::parse(&greeting.line()), Some(greeting.clone()));
        assert_eq!(Request::parse("UP 1"), None);
        assert_eq!(Greeting::parse(" 1.1.1.1:1"), None);
    }

    #[test]
    fn a_line_must_end_and_be_short() {
        assert_eq!(read_line(&mut &b"one\ntwo"[..]).unwrap(), "one\n");
        assert_eq!(read_line(&mut &b"two"[..]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(read_line(&mut &vec![b'x'; 1000][..]).is_err());
    }
}
