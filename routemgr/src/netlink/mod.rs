//! Thin netlink: two sockets of family NETLINK_ROUTE. `Requests` asks and changes (one request at a time, each answered by
//! an ACK, a reply or a whole dump), `Events` hears what the kernel announces to its multicast groups.
//!
//! They are apart so that a burst of announcements, which may overrun a socket's buffer (ENOBUFS), never costs an answer.
//! Both live in the network namespace of the thread that opens them.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod route;

use std::io;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use netlink_packet_core::{
    DefaultNla, ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, Nla, NlasIterator, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use rtnetlink::MulticastGroup as Group;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};
use tokio::task::AbortHandle;

/// Length of struct nlmsghdr, which precedes the attributes of a capped error (NETLINK_CAP_ACK).
const HEADER: usize = 16;
/// NLMSGERR_ATTR_MSG: the kernel's own words (linux/netlink.h).
const EXT_ACK_TEXT: u16 = 1;
/// A dump that the kernel marks as interrupted by a change is taken again at most so often.
const DUMP_TRIES: usize = 5;
/// Receive buffer of the announcements, bytes (the kernel caps it at net.core.rmem_max).
const EVENT_BUFFER: i32 = 4 << 20;

/// The kernel said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `None`: the socket itself is gone.
    pub(crate) errno: Option<Errno>,
    /// The kernel's extended words, when it gave any.
    pub(crate) text: Option<String>,
}

impl Refusal {
    const GONE: Self = Self { errno: None, text: None };

    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno == Some(errno)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.errno, &self.text) {
            (Some(errno), Some(text)) => write!(f, "{} ({text})", errno.desc()),
            (Some(errno), None) => f.write_str(errno.desc()),
            (None, _) => f.write_str("the netlink socket closed"),
        }
    }
}

impl std::error::Error for Refusal {}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks and changes.
pub(crate) struct Requests {
    handle: rtnetlink::Handle,
    port: u32,
    _task: Task,
}

impl Requests {
    pub(crate) fn open() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        // Without these an ACK cannot be told from a socket that closed.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        let port = socket.bind_auto()?.port_number();
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        let task = Task(tokio::spawn(connection).abort_handle());
        Ok(Self { handle, port, _task: task })
    }

    /// Netlink port of this socket: announcements of our own changes carry it.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Changes something; waits for the kernel's ACK.
    pub(crate) async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).await.map(drop)
    }

    /// Asks for one object.
    pub(crate) async fn ask(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Refusal> {
        Ok(self.exchange(message, NLM_F_REQUEST).await?.messages.pop())
    }

    /// Asks for all objects.
    pub(crate) async fn dump(
        &self,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut answer = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
        for _ in 1..DUMP_TRIES {
            if !answer.interrupted {
                break;
            }
            answer = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
        }
        Ok(answer.messages)
    }

    async fn exchange(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Answer, Refusal> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        let mut stream = self.handle.clone().request(request).map_err(|_| Refusal::GONE)?;
        let mut answer = Answer { messages: Vec::new(), interrupted: false };
        let mut complete = false;
        while let Some(reply) = stream.next().await {
            answer.interrupted |= reply.header.flags & NLM_F_DUMP_INTR != 0;
            match reply.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    answer.messages.push(inner);
                    complete |= flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
                }
                NetlinkPayload::Error(error) => {
                    refusal(&error).map_or(Ok(()), Err)?;
                    complete = true;
                }
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(Refusal { errno: Some(Errno::from_raw(-done.code)), text: None });
                }
                NetlinkPayload::Done(_) => complete = true,
                _ => {}
            }
        }
        if complete { Ok(answer) } else { Err(Refusal::GONE) }
    }
}

struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

/// `None`: the message is an ACK.
fn refusal(error: &ErrorMessage) -> Option<Refusal> {
    let errno = Errno::from_raw(-error.code?.get());
    let attributes = error.header.get(HEADER..).unwrap_or_default();
    let text = NlasIterator::new(attributes)
        .filter_map(|nla| DefaultNla::parse(&nla.ok()?).ok())
        .find(|nla| nla.kind() == EXT_ACK_TEXT)
        .map(|nla| {
            let mut value = vec![0; nla.value_len()];
            nla.emit_value(&mut value);
            String::from_utf8_lossy(&value).trim_end_matches(['\0', '.']).to_owned()
        });
    Some(Refusal { errno: Some(errno), text })
}

/// One announcement.
#[derive(Debug)]
pub(crate) enum Event {
    /// With the netlink port of whoever made the change.
    Message(Box<RouteNetlinkMessage>, u32),
    /// The socket's buffer overran: some were lost.
    Lost,
}

/// Announcements of links, addresses, neighbours, routes and rules.
pub(crate) struct Events {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    _task: Task,
}

impl Events {
    pub(crate) fn subscribe() -> io::Result<Self> {
        let groups = [
            Group::Link,
            Group::Neigh,
            Group::Ipv4Ifaddr,
            Group::Ipv6Ifaddr,
            Group::Ipv4Route,
            Group::Ipv6Route,
            Group::Ipv4Rule,
            Group::Ipv6Rule,
        ];
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection_with_socket::<TokioSocket>(&groups)?;
        connection.socket_mut().socket_mut().set_rx_buf_sz(EVENT_BUFFER)?;
        let task = Task(tokio::spawn(connection).abort_handle());
        Ok(Self { messages, _task: task })
    }

    /// `None`: the socket closed, and a new subscription and dump are due. Safe to drop while it waits.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let (message, _) = self.messages.next().await?;
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => {
                    return Some(Event::Message(Box::new(inner), message.header.port_number));
                }
                NetlinkPayload::Overrun(_) => return Some(Event::Lost),
                _ => {}
            }
        }
    }
}
