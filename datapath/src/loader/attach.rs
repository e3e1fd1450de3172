//! XDP links: attached, pinned, adopted, replaced.
//!
//! What is attached is asked of the kernel each time (the interface's program id against that of the pinned link): a
//! link whose interface went away stays pinned and attached to nothing.

use std::collections::BTreeMap;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{Xdp, XdpMode};
use tracing::{info, warn};

use super::error::chain;
use super::netdev::Netdev;
use super::pins::{LinkPin, Pins};
use super::{AttachError, Error, Mode};

/// A pinned link and where it is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) pin: LinkPin,
    /// The interface that it is attached to now, by its name of now, and how.
    pub(crate) live: Option<(String, Mode)>,
}

/// All pinned links, by ingress slot.
pub(crate) fn attachments(
    pins: &Pins,
    devices: &BTreeMap<String, Netdev>,
) -> Result<BTreeMap<u32, Attachment>, Error> {
    let mut found = BTreeMap::new();
    for pin in pins.links()? {
        let program_id = open(pins, &pin)?.info().map_err(Error::object)?.program_id();
        let on = |dev: &Netdev| dev.xdp.filter(|xdp| xdp.program_id == program_id).map(|xdp| xdp.mode);
        let live = devices.iter().find_map(|(name, dev)| Some((name.clone(), on(dev)?)));
        found.insert(pin.slot, Attachment { pin, live });
    }
    Ok(found)
}

/// Attaches a program to an interface that has none and pins the link: native, or generic where that is allowed.
pub(crate) fn attach(
    pins: &Pins,
    pin: &LinkPin,
    device: &Netdev,
    allow_generic: bool,
    program: &mut Xdp,
) -> Result<Mode, AttachError> {
    if let Some(xdp) = device.xdp {
        return Err(AttachError::Foreign { program_id: xdp.program_id });
    }
    let (mode, id) = match program.attach_to_if_index(device.ifindex, XdpMode::Driver) {
        Ok(id) => (Mode::Native, id),
        Err(error) => {
            let native = chain(&error);
            if let rights @ Error::NoRights { .. } = Error::object(error) {
                return Err(rights.into());
            }
            if !allow_generic {
                return Err(AttachError::NoNative { native });
            }
            let generic = program.attach_to_if_index(device.ifindex, XdpMode::Skb);
            let refused = |e| AttachError::NoXdp { native: native.clone(), generic: chain(&e) };
            let id = generic.map_err(refused)?;
            warn!(interface = %pin.interface, reason = %native, "generic XDP: much slower than native");
            (Mode::Generic, id)
        }
    };
    let link = fd_link(program, id)?;
    link.pin(pins.link(pin)).map_err(Error::object)?;
    info!(interface = %pin.interface, ?mode, "XDP program attached");
    Ok(mode)
}

/// Puts a new program in the place of the running one; no packet sees neither or both.
pub(crate) fn replace(pins: &Pins, pin: &LinkPin, program: &mut Xdp) -> Result<(), Error> {
    let link: XdpLink = open(pins, pin)?.try_into().map_err(Error::object)?;
    let id = program.attach_to_link(link).map_err(Error::object)?;
    fd_link(program, id)?;
    info!(interface = %pin.interface, "XDP program replaced");
    Ok(())
}

/// The link out of aya's hands, which would detach it on drop.
fn fd_link(program: &mut Xdp, id: XdpLinkId) -> Result<FdLink, Error> {
    program.take_link(id).map_err(Error::object)?.try_into().map_err(Error::object)
}

fn open(pins: &Pins, pin: &LinkPin) -> Result<FdLink, Error> {
    PinnedLink::from_pin(pins.link(pin)).map(FdLink::from).map_err(Error::object)
}
