//! Options of the sockets that sessions run on.
//!
//! Towards a neighbour on the link everything leaves with TTL 255, whether or not the neighbour checks it (RFC 5082);
//! what arrives is checked only when configured. TCP gives a session up that has had no acknowledgement for the
//! hold time (TCP_USER_TIMEOUT), and tells us to write only when little waits unsent (TCP_NOTSENT_LOWAT), so
//! that a withdraw never queues behind a long dump.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::PeerConfig;

const NOT_SENT_LOW_WATER: u32 = 32 * 1024;
/// CS6, network control (RFC 4594).
const TRAFFIC_CLASS: u32 = 0xc0;

/// A connection attempt under way.
pub(super) type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Starts to connect to a peer.
pub(super) fn dial(peer: &PeerConfig) -> Dialling {
    let prepared = prepare(peer);
    let to = SocketAddr::new(peer.address, peer.port);
    Box::pin(async move { prepared?.connect(to).await })
}

fn prepare(peer: &PeerConfig) -> io::Result<TcpSocket> {
    let to = SocketAddr::new(peer.address, peer.port);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(key) = &peer.md5_key {
        sockopt::set_tcp_md5(&socket, peer.address, None, key)?;
    }
    configure(SockRef::from(&socket), peer)?;
    if let Some(local) = peer.local_address {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Options of a session's socket, dialled or accepted.
pub(super) fn configure(socket: SockRef<'_>, peer: &PeerConfig) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
    if !peer.timers.hold.is_zero() {
        socket.set_tcp_user_timeout(Some(peer.timers.hold))?;
    }
    let (send, accept) = hop_limits(peer);
    let family = match peer.address {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(send.into())?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
            sockopt::Family::V4
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(send.into())?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            sockopt::Family::V6
        }
    };
    sockopt::set_min_ttl(&*socket, family, accept)
}

/// TTL to send, and the least to accept (0: any).
fn hop_limits(peer: &PeerConfig) -> (u8, u8) {
    let hops = peer.multihop.unwrap_or(1).max(1);
    let least = u8::MAX - (hops - 1);
    match (peer.ttl_security, peer.multihop) {
        (true, _) => (u8::MAX, least),
        (false, None) => (u8::MAX, 0),
        (false, Some(_)) => (hops, 0),
    }
}
