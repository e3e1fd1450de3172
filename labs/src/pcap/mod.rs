//! Captures as evidence: reads the classic pcap files that `tcpdump -w` writes and looks at Ethernet, IP, TCP, UDP and
//! ICMP as far as the checks need it. Verifies checksums from scratch.

mod packet;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

pub use packet::{Ip, Transport};

/// Longest frame that is read; anything larger is a broken file.
const MAX_FRAME: u32 = 262_144;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;

/// One captured Ethernet frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The IP packet in the frame; `None` for anything else or when it was cut.
    pub fn ip(&self) -> Option<Ip<'_>> {
        Ip::of_frame(&self.bytes)
    }
}

/// All frames of a capture. A last frame that was cut by the capture's end is left out.
pub fn read(path: &Path) -> io::Result<Vec<Frame>> {
    parse(BufReader::new(File::open(path)?))
}

fn parse(mut file: impl Read) -> io::Result<Vec<Frame>> {
    let mut header = [0; 24];
    file.read_exact(&mut header)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let nanoseconds = match word(0) {
        0xa1b2_c3d4 => false,
        0xa1b2_3c4d => true,
        other => return Err(broken(format!("not a little-endian pcap file: magic {other:#x}"))),
    };
    if word(20) != ETHERNET {
        return Err(broken(format!("link type {} instead of Ethernet", word(20))));
    }
    let mut frames = Vec::new();
    loop {
        let mut record = [0; 16];
        match file.read_exact(&mut record) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(frames),
            other => other?,
        }
        let word =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let (seconds, fraction, length) = (word(0), word(4), word(8));
        if length > MAX_FRAME {
            return Err(broken(format!("frame of {length} bytes")));
        }
        let mut bytes = vec![0; length as usize];
        match file.read_exact(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(frames),
            other => other?,
        }
        let micros = if nanoseconds { fraction / 1000 } else { fraction };
        frames.push(Frame { at_us: u64::from(seconds) * 1_000_000 + u64::from(micros), bytes });
    }
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(frames: &[&[u8]], cut: usize) -> Vec<u8> {
        let mut out = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        out.extend([0; 12]);
        out.extend(1u32.to_le_bytes());
        for frame in frames {
            out.extend(7u32.to_le_bytes());
            out.extend(5u32.to_le_bytes());
            out.extend((frame.len() as u32).to_le_bytes());
            out.extend((frame.len() as u32).to_le_bytes());
            out.extend(*frame);
        }
        out.truncate(out.len() - cut);
        out
    }

    #[test]
    fn frames_come_back_and_a_cut_one_is_left_out() {
        let frames = parse(&file(&[&[1, 2, 3], &[4]], 0)[..]).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], Frame { at_us: 7_000_005, bytes: vec![1, 2, 3] });
        assert_eq!(parse(&file(&[&[1, 2, 3], &[4, 5]], 1)[..]).unwrap().len(), 1);
        assert!(parse(&[0u8; 24][..]).is_err());
    }
}
