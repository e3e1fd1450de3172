//! The Ethernet header: is the frame for this interface, and what does it carry?

use aya_ebpf::bindings::xdp_action::{XDP_REDIRECT, XDP_TX};
use aya_ebpf::helpers::bpf_redirect;
use datapath_common::abi::{Backend, Iface, iface_flag};
use datapath_common::wire::ETH_LEN;

use crate::frame::{Frame, Window};
use crate::verdict::Exit;

/// What the Ethernet header says.
pub(crate) struct Link {
    pub(crate) ethertype: u16,
    /// Where the network header starts.
    pub(crate) l3: usize,
}

/// Reads the header of a frame for `iface`. Frames for other addresses, broadcast and multicast among them, are the
/// kernel's: a switch that forgot an address floods frames that another node already forwards.
#[inline(always)]
pub(crate) fn parse(frame: &Frame, iface: &Iface) -> Result<Link, Exit> {
    let eth = frame.window::<ETH_LEN>(0).ok_or(Exit::Pass)?;
    let [a, b, c, d, e, f] = iface.mac;
    let mine = u32::from_ne_bytes([a, b, c, d]) == eth.get::<u32, 0>()
        && u16::from_ne_bytes([e, f]) == eth.get::<u16, 4>();
    if !mine {
        return Err(Exit::Pass);
    }
    Ok(Link { ethertype: eth.be16::<12>(), l3: ETH_LEN })
}

/// Both addresses of an Ethernet header, destination first.
#[derive(Clone, Copy)]
pub(crate) struct Macs([u32; 3]);

impl Macs {
    /// From this node to the backend's next hop.
    #[inline(always)]
    pub(crate) fn to_backend(backend: &Backend) -> Self {
        let [a, b, c, d, e, f] = backend.dst_mac;
        let [g, h, i, j, k, l] = backend.src_mac;
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
        ])
    }

    /// As in a frame that came in.
    #[inline(always)]
    pub(crate) fn read(eth: Window<'_, ETH_LEN>) -> Self {
        Self([eth.get::<u32, 0>(), eth.get::<u32, 4>(), eth.get::<u32, 8>()])
    }

    /// Source and destination exchanged: back to the sender.
    #[inline(always)]
    pub(crate) fn swapped(self) -> Self {
        let [a, b, c] = self.0.map(u32::from_be);
        Self([b << 16 | c >> 16, c << 16 | a >> 16, a << 16 | b >> 16].map(u32::to_be))
    }

    #[inline(always)]
    pub(crate) fn write<const N: usize>(self, frame: Window<'_, N>) {
        frame.put::<u32, 0>(self.0[0]);
        frame.put::<u32, 4>(self.0[1]);
        frame.put::<u32, 8>(self.0[2]);
    }
}

/// Sends the frame out of the interface that it came in on.
#[inline(always)]
pub(crate) fn send_back(frame: &Frame, iface: &Iface) -> u32 {
    if iface.flags & iface_flag::TX != 0 {
        return XDP_TX;
    }
    // SAFETY: a plain helper call. It can only fail for flags, and there are none.
    unsafe { bpf_redirect(frame.ingress_ifindex(), 0) };
    XDP_REDIRECT
}
