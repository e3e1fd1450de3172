//! Who is who in the lab, as its topology and its documents have it (a test compares).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::capture::Point;

/// Hash key of the fleet, `fleet.seed` of every node.
pub(super) const SEED: [u64; 2] = [0x7669_7063_6173_7421, 3];
/// `max_backends` of every pool.
pub(super) const MAX_BACKENDS: u32 = 128;

pub(super) const VIP4: Ipv4Addr = Ipv4Addr::new(20, 20, 20, 1);
pub(super) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1);
pub(super) const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];
pub(super) const TCP: u16 = 8080;
pub(super) const UDP: u16 = 9000;

pub(super) const CLIENT4: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
pub(super) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub(super) const FAR4: Ipv4Addr = Ipv4Addr::new(4, 4, 4, 1);
pub(super) const HOST4: Ipv4Addr = Ipv4Addr::new(11, 11, 11, 200);
pub(super) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x11, 0, 0, 0, 0, 0x200);

/// The router's ports to the client and to the nodes' LAN.
pub(super) const ROUTER_TO_CLIENT: Point = Point { node: "r1", interface: "eth1" };
pub(super) const ROUTER_TO_NODES: Point = Point { node: "r1", interface: "eth3" };

/// A vipcast node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LbNode {
    pub(super) name: &'static str,
    /// On the LAN to r1.
    pub(super) lan4: Ipv4Addr,
    pub(super) lan6: Ipv6Addr,
    /// The LAN switch's port to it.
    pub(super) lan_port: &'static str,
}

pub(super) const NODES: [LbNode; 3] =
    [node("llb1", 1, "eth2"), node("llb2", 2, "eth3"), node("llb3", 3, "eth4")];

const fn node(name: &'static str, last: u8, lan_port: &'static str) -> LbNode {
    LbNode {
        name,
        lan4: Ipv4Addr::new(11, 11, 11, last),
        lan6: Ipv6Addr::new(0x2001, 0xdb8, 0x11, 0, 0, 0, 0, last as u16),
        lan_port,
    }
}

impl LbNode {
    /// The other ends of its links: there its redirected frames can be seen. Each switch has it on the same port.
    pub(super) fn far_ends(self) -> impl Iterator<Item = Point> {
        let servers =
            SERVERS.iter().map(move |server| Point { node: server.switch, interface: self.lan_port });
        std::iter::once(self.lan_end()).chain(servers)
    }

    /// The other end of its link to the LAN with the router.
    pub(super) fn lan_end(self) -> Point {
        Point { node: "lan", interface: self.lan_port }
    }
}

/// A real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RealServer {
    pub(super) name: &'static str,
    /// Tunnel ends and identities in the pools.
    pub(super) endpoint4: Ipv4Addr,
    pub(super) endpoint6: Ipv6Addr,
    /// The switch between it and the nodes.
    pub(super) switch: &'static str,
}

pub(super) const SERVERS: [RealServer; 3] =
    [server("ep1", 56, "net31"), server("ep2", 57, "net32"), server("ep3", 58, "net33")];

const fn server(name: &'static str, net: u8, switch: &'static str) -> RealServer {
    // The v6 networks are written with the same digits: 2001:db8:56::1.
    let digits = (net / 10 * 16 + net % 10) as u16;
    RealServer {
        name,
        endpoint4: Ipv4Addr::new(net, net, net, 1),
        endpoint6: Ipv6Addr::new(0x2001, 0xdb8, digits, 0, 0, 0, 0, 1),
        switch,
    }
}

/// A service of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LbService {
    pub(super) vip: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: datapath::Protocol,
    /// Its pool names the real servers by their IPv6 endpoints.
    pub(super) endpoints6: bool,
}

impl RealServer {
    /// The other end of its link to the nodes.
    pub(super) fn far_end(self) -> Point {
        Point { node: self.switch, interface: "eth1" }
    }
}

impl LbService {
    pub(super) fn address(self) -> SocketAddr {
        SocketAddr::new(self.vip, self.port)
    }

    /// The client's address of the VIP's family.
    pub(super) fn client(self) -> IpAddr {
        match self.vip {
            IpAddr::V4(_) => CLIENT4.into(),
            IpAddr::V6(_) => CLIENT6.into(),
        }
    }
}

/// IPv4 in IPv4.
pub(super) const WEB: LbService =
    LbService { vip: IpAddr::V4(VIP4), port: TCP, protocol: datapath::Protocol::Tcp, endpoints6: false };
/// IPv6 in IPv6.
pub(super) const WEB6: LbService =
    LbService { vip: IpAddr::V6(VIP6), port: TCP, protocol: datapath::Protocol::Tcp, endpoints6: true };
/// IPv4 in IPv4.
pub(super) const ECHO: LbService =
    LbService { vip: IpAddr::V4(VIP4), port: UDP, protocol: datapath::Protocol::Udp, endpoints6: false };
/// IPv6 in IPv4.
pub(super) const ECHO6: LbService =
    LbService { vip: IpAddr::V6(VIP6), port: UDP, protocol: datapath::Protocol::Udp, endpoints6: false };

pub(super) const SERVICES: [LbService; 4] = [WEB, WEB6, ECHO, ECHO6];
