//! The interfaces that VIP traffic comes in on: their slots, their MACs, their programs.

use std::collections::{BTreeMap, BTreeSet};

use datapath_common::abi::{Iface, iface_flag, program};
use tracing::{info, warn};

use super::netdev::Netdev;
use super::object::{INGRESS_SLOTS, shapes};
use super::pins::LinkPin;
use super::{
    AttachError, Attachment, Datapath, Error, Mode, attach, attachments, devices, load, replace, xdp,
};
use crate::{Ingress, Wanted};

/// The interface that may send with XDP_TX: the only ingress, so that a packet for it also came in on it, and no veth,
/// which loses such frames without a trace when its peer runs no XDP program.
pub(super) fn bounce(wanted: &Wanted, devices: &BTreeMap<String, Netdev>) -> Option<u32> {
    let mut names = wanted.ingress.keys();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    devices.get(name).filter(|dev| !dev.is_veth).map(|dev| dev.ifindex)
}

impl Datapath {
    /// Detaches what is not wanted any more, and drops links that are attached to nothing.
    pub(super) fn detach_unwanted(
        &mut self,
        wanted: &Wanted,
        devices: &BTreeMap<String, Netdev>,
    ) -> Result<(), Error> {
        for Attachment { pin, live } in attachments(&self.pins, devices)?.into_values() {
            let keep = live.as_ref().and_then(|(name, mode)| {
                let ingress = wanted.ingress.get(name)?;
                (*mode == Mode::Native || ingress.allow_generic).then(|| name.clone())
            });
            match keep {
                Some(name) if name == pin.interface => {}
                Some(name) => {
                    info!(old = %pin.interface, new = %name, "interface was renamed");
                    if self.loaded.remove(&pin.interface) {
                        self.loaded.insert(name.clone());
                    }
                    self.pins.rename_link(&pin, &LinkPin { interface: name, ..pin.clone() })?;
                }
                None => {
                    info!(interface = %pin.interface, attached = live.is_some(), "XDP link removed");
                    self.pins.remove_link(&pin)?;
                    self.loaded.remove(&pin.interface);
                    self.maps.put_iface(pin.slot, Iface::default(), false)?;
                }
            }
        }
        Ok(())
    }

    /// Attaches what is wanted and is not attached; returns what could not be, and why.
    pub(super) fn attach_wanted(&mut self, wanted: &Wanted) -> Result<BTreeMap<String, String>, Error> {
        let devices = devices()?;
        let here = attachments(&self.pins, &devices)?;
        let mut taken: BTreeSet<u32> = here.keys().copied().collect();
        let by_name: BTreeMap<String, LinkPin> =
            here.into_values().filter_map(|a| Some((a.live?.0, a.pin))).collect();
        let mut refused = BTreeMap::new();
        for (name, ingress) in &wanted.ingress {
            let device = devices.get(name);
            let result = match (device, by_name.get(name)) {
                (None, _) => Err(AttachError::NoInterface),
                (Some(device), Some(pin)) => self.keep(pin, device),
                (Some(device), None) => self.attach_new(name, ingress, device, &mut taken),
            };
            if let Err(reason) = result {
                warn!(interface = %name, %reason, "not attached");
                refused.insert(name.clone(), reason.to_string());
            }
        }
        Ok(refused)
    }

    /// Follows the interface's MAC; puts our program in the place of an earlier process's.
    fn keep(&mut self, pin: &LinkPin, device: &Netdev) -> Result<(), AttachError> {
        self.maps.put_iface(pin.slot, iface(device)?, false)?;
        if self.loaded.contains(&pin.interface) {
            return Ok(());
        }
        let mut ebpf = load(&self.pins, &shapes(&self.limits), pin.slot)?;
        replace(&self.pins, pin, xdp(&mut ebpf, program::INGRESS)?)?;
        self.loaded.insert(pin.interface.clone());
        Ok(())
    }

    fn attach_new(
        &mut self,
        name: &str,
        ingress: &Ingress,
        device: &Netdev,
        taken: &mut BTreeSet<u32>,
    ) -> Result<(), AttachError> {
        if let Some(xdp) = device.xdp {
            return Err(AttachError::Foreign { program_id: xdp.program_id });
        }
        let record = iface(device)?;
        let slot = (0..INGRESS_SLOTS).find(|slot| !taken.contains(slot));
        let slot = slot.ok_or(AttachError::NoSlot { limit: INGRESS_SLOTS })?;
        let pin = LinkPin { slot, interface: name.to_owned() };
        let mut ebpf = load(&self.pins, &shapes(&self.limits), slot)?;
        let program = xdp(&mut ebpf, program::INGRESS)?;
        self.maps.put_iface(slot, record, true)?;
        attach(&self.pins, &pin, device, ingress.allow_generic, program)?;
        taken.insert(slot);
        self.loaded.insert(pin.interface);
        Ok(())
    }
}

/// What the program must know of an interface.
pub(super) fn iface(device: &Netdev) -> Result<Iface, AttachError> {
    let mac = device.mac.ok_or(AttachError::NoMac)?;
    let flags = if device.is_veth { 0 } else { iface_flag::TX };
    Ok(Iface { ifindex: device.ifindex, mac, flags, pad: 0 })
}
