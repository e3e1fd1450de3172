//! Long connections: numbered frames with checkable contents, each answered by one of the same number.
//!
//! A frame is {sequence number u64, length u32} in network order, then pattern bytes that start at an offset that is
//! different for every frame. Answers use the complement of the seed, so that a frame that comes back by itself is
//! wrong.

use std::io::{self, ErrorKind, Read, Write};

use super::pattern;

/// Longest payload.
const PAYLOAD_MAX: u32 = 1 << 16;
const HEADER: usize = 12;

/// Sends one frame in a single write.
pub(super) fn send(to: &mut impl Write, seed: u64, sequence: u64, length: u32) -> io::Result<()> {
    let mut frame = vec![0; HEADER + length as usize];
    let (header, payload) = frame.split_at_mut(HEADER);
    header[..8].copy_from_slice(&sequence.to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    pattern::fill(seed, offset(sequence), payload);
    to.write_all(&frame)
}

/// Reads one frame and checks number and contents; returns its length. `UnexpectedEof` when the other end has closed,
/// `InvalidData` when a byte is wrong.
pub(super) fn receive(from: &mut impl Read, seed: u64, sequence: u64) -> io::Result<u32> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let (number, length) = header.split_at(8);
    let number = u64::from_be_bytes(number.try_into().unwrap_or_default());
    let length = u32::from_be_bytes(length.try_into().unwrap_or_default());
    if number != sequence || length > PAYLOAD_MAX {
        return Err(wrong(format!("frame {number} of {length} bytes instead of frame {sequence}")));
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    match pattern::check(seed, offset(sequence), &payload) {
        None => Ok(length),
        Some(at) => Err(wrong(format!("wrong byte in frame {sequence} at {}", at - offset(sequence)))),
    }
}

fn offset(sequence: u64) -> u64 {
    sequence << 20
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_checked() {
        let mut bytes = Vec::new();
        send(&mut bytes, 1, 5, 1000).unwrap();
        assert_eq!(receive(&mut &bytes[..], 1, 5).unwrap(), 1000);
        assert_eq!(receive(&mut &bytes[..], 1, 6).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(receive(&mut &bytes[..], !1, 5).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(receive(&mut &bytes[..500], 1, 5).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        bytes[700] ^= 4;
        assert_eq!(receive(&mut &bytes[..], 1, 5).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
