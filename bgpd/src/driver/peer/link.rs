//! The TCP connections of one peer: at most three at a time, each with its output buffer.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::driver::output::Output;
use crate::driver::socket::Dialling;
use crate::fsm::ConnectionId;

/// Most that is read at once, and so the bound of what one peer makes us hold.
const CHUNK: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) output: Output,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<ConnectionId, Link>,
    last: u64,
    buffer: Vec<u8>,
}

impl Links {
    pub(super) fn add(&mut self, stream: TcpStream) -> ConnectionId {
        self.last += 1;
        let id = ConnectionId(self.last);
        self.links.insert(id, Link { stream, output: Output::default() });
        id
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Link> {
        self.links.remove(&id)
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.links.keys().copied().collect()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Link)> {
        self.links.iter_mut().map(|(id, link)| (*id, link))
    }

    /// Waits until a socket has something to read, or takes something that waits to be written.
    pub(super) async fn ready(&self) -> Vec<ConnectionId> {
        poll_fn(|cx| {
            let mut ready = Vec::new();
            for (id, link) in &self.links {
                let readable = link.stream.poll_read_ready(cx).is_ready();
                let writable = !link.output.is_empty() && link.stream.poll_write_ready(cx).is_ready();
                if readable || writable {
                    ready.push(*id);
                }
            }
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready) }
        })
        .await
    }

    /// What has arrived, up to one chunk; `None` when nothing has.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has closed.
    pub(super) fn read(&mut self, id: ConnectionId) -> io::Result<Option<Vec<u8>>> {
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        self.buffer.resize(CHUNK, 0);
        match link.stream.try_read(&mut self.buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(self.buffer.get(..count).map(<[u8]>::to_vec)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The result of the attempt under way; waits for ever when there is none.
pub(super) async fn dialled(dialling: &mut Option<Dialling>) -> io::Result<TcpStream> {
    match dialling {
        Some(dialling) => dialling.await,
        None => pending().await,
    }
}

/// Waits for ever without a deadline.
pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
