//! Listening sockets: who may connect, and with which key.
//!
//! Only configured peers get in, by their source address. Everybody else is closed at once, counted, and logged at
//! most once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Error;
use super::board::Board;

const BACKLOG: i32 = 128;
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Where accepted connections go: the peer's task, by source address.
pub(super) type Doors = Arc<Mutex<BTreeMap<IpAddr, mpsc::Sender<TcpStream>>>>;

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Arc<Socket>,
    address: SocketAddr,
    keyed: BTreeSet<IpAddr>,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            // The SYN-ACK leaves with it, before anybody knows which peer this is (RFC 5082).
            if address.is_ipv4() {
                socket.set_ttl_v4(255)?;
            } else {
                socket.set_only_v6(true)?;
                socket.set_unicast_hops_v6(255)?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let address = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok(Self { socket: Arc::new(socket), address, keyed: BTreeSet::new() })
        };
        bind().map_err(|source| Error::Listen { address, source })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the keys of this socket those of `keys`; addresses of the other family are left out.
    pub(super) fn set_keys(&mut self, keys: &BTreeMap<IpAddr, Vec<u8>>) {
        let ours = |address: &&IpAddr| address.is_ipv4() == self.address.is_ipv4();
        for gone in self.keyed.iter().filter(|address| !keys.contains_key(address)) {
            if let Err(error) = sockopt::remove_tcp_md5(&*self.socket, *gone, None) {
                tracing::warn!(peer = %gone, %error, "cannot remove the TCP MD5 key");
            }
        }
        self.keyed = keys.keys().filter(ours).copied().collect();
        for address in &self.keyed {
            let Some(key) = keys.get(address) else { continue };
            if let Err(error) = sockopt::set_tcp_md5(&*self.socket, *address, None, key) {
                tracing::error!(peer = %address, %error, "cannot set the TCP MD5 key");
            }
        }
    }

    /// The task that accepts for ever.
    pub(super) fn accept(
        &self,
        doors: Doors,
        board: Arc<Board>,
    ) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let listener = TcpListener::from_std(self.socket.try_clone()?.into())?;
        Ok(accept(listener, doors, board))
    }
}

async fn accept(listener: TcpListener, doors: Doors, board: Arc<Board>) {
    let mut log = Log::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let door = {
                    let doors = doors.lock().unwrap_or_else(PoisonError::into_inner);
                    doors.get(&from.ip().to_canonical()).cloned()
                };
                let refused = match door.map(|door| door.try_send(stream)) {
                    Some(Ok(())) => continue,
                    Some(Err(_)) => "the peer connects too fast",
                    None => "not a configured peer",
                };
                board.rejected();
                log.refused(from, refused);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept BGP connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// At most one line a second.
#[derive(Debug, Default)]
struct Log {
    last: Option<Instant>,
    suppressed: u64,
}

impl Log {
    fn refused(&mut self, from: SocketAddr, reason: &str) {
        if self.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            self.suppressed += 1;
            return;
        }
        tracing::warn!(%from, reason, suppressed = self.suppressed, "BGP connection refused");
        self.last = Some(Instant::now());
        self.suppressed = 0;
    }
}
