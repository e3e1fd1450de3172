//! What is on its way to one peer: a bounded buffer in front of the socket. Routes are written into it only when it is
//! empty, so a peer that does not read holds up a few kilobytes and otherwise just falls behind in its adj-RIB-out.

use std::io;

use tokio::net::TcpStream;

#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    /// For writing routes into; only while [`Self::is_empty`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Hands the kernel what it takes without blocking; `true` when nothing is left.
    pub(super) fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.written < self.bytes.len() {
            match stream.try_write(self.rest()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.written = 0;
        Ok(true)
    }
}
