//! Where probe sockets come from. The default goes straight to the backend's own address; the caller may hand in another
//! way (a socket that enters the backend's tunnel, say) without this crate knowing what it is.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use crate::Target;

pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

pub trait Connect: Send + Sync + 'static {
    /// Opens a TCP connection for one probe. Must be safe to drop at any await: that is how a timeout cancels it.
    fn connect<'a>(&'a self, target: &'a Target, address: SocketAddr) -> Connecting<'a>;
}

/// Straight to the address, by the host's routing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Connect for Direct {
    fn connect<'a>(&'a self, _target: &'a Target, address: SocketAddr) -> Connecting<'a> {
        Box::pin(TcpStream::connect(address))
    }
}
