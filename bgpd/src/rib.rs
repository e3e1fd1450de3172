//! Adj-RIB-out of one session: what the peer shall have, what it was sent, and the difference that is still to be sent.
//!
//! It never queues a history. Each prefix is pending at most once, with its newest state, so a peer that does not read
//! costs one entry for each prefix and gets the difference when it reads again. Withdraws go before announces.
//! End-of-RIB (RFC 4724 2) follows the first complete dump of each family, when the caller says that it may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::RouteAttributes;
use crate::export::{Encoder, NotSendable};
use crate::wire::{Family, Packer};

/// The adj-RIB-out of one session.
#[derive(Debug)]
pub struct AdjRibOut {
    encoder: Encoder,
    wanted: BTreeMap<IpNet, Arc<RouteAttributes>>,
    sent: BTreeMap<IpNet, Arc<RouteAttributes>>,
    families: BTreeMap<Family, Pending>,
}

/// What one family has yet to send.
#[derive(Debug, Default)]
struct Pending {
    withdraws: BTreeSet<IpNet>,
    /// By attributes, so that prefixes that share them share UPDATEs. No empty sets.
    announces: BTreeMap<Arc<RouteAttributes>, BTreeSet<IpNet>>,
    end_of_rib_sent: bool,
}

/// What one call of [`AdjRibOut::fill`] wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub messages: u64,
    pub announced: Vec<IpNet>,
    pub withdrawn: Vec<IpNet>,
    /// Prefixes that no message can carry with their attributes; they are not announced.
    pub not_sendable: Vec<(IpNet, NotSendable)>,
    /// With this batch every family has had its End-of-RIB.
    pub completes_end_of_rib: bool,
}

impl AdjRibOut {
    pub fn new(encoder: Encoder, families: &[Family]) -> Self {
        let families = families.iter().map(|family| (*family, Pending::default())).collect();
        Self { encoder, wanted: BTreeMap::new(), sent: BTreeMap::new(), families }
    }

    /// What the peer shall have for `prefix`: these attributes, or nothing. Prefixes of families that the session does
    /// not carry are left out.
    pub fn set(&mut self, prefix: IpNet, attributes: Option<Arc<RouteAttributes>>) {
        let Some(pending) = self.families.get_mut(&Family::of(&prefix)) else { return };
        let old = self.wanted.get(&prefix);
        if old == attributes.as_ref() {
            return;
        }
        pending.withdraws.remove(&prefix);
        if let Some(old) = old {
            pending.remove_announce(&prefix, old);
        }
        let sent = self.sent.get(&prefix);
        match attributes {
            Some(attributes) => {
                if sent != Some(&attributes) {
                    pending.announces.entry(attributes.clone()).or_default().insert(prefix);
                }
                self.wanted.insert(prefix, attributes);
            }
            None => {
                if sent.is_some() {
                    pending.withdraws.insert(prefix);
                }
                self.wanted.remove(&prefix);
            }
        }
    }

    /// Everything that the peer shall have of a family is to be sent again (RFC 2918).
    pub fn refresh(&mut self, family: Family) {
        let Some(pending) = self.families.get_mut(&family) else { return };
        for (prefix, attributes) in self.wanted.iter().filter(|(prefix, _)| Family::of(prefix) == family) {
            pending.announces.entry(attributes.clone()).or_default().insert(*prefix);
        }
    }

    /// Another next hop: everything goes out again with it.
    pub fn set_encoder(&mut self, encoder: Encoder) {
        if self.encoder != encoder {
            self.encoder = encoder;
            for family in Family::ALL {
                self.refresh(family);
            }
        }
    }

    /// Appends UPDATEs to `out` until it holds `limit` bytes or more, or nothing is left to send. End-of-RIB only when
    /// `complete`: the caller's wanted set is whole.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize, complete: bool) -> Batch {
        let mut batch = Batch::default();
        for (family, pending) in &mut self.families {
            while out.len() < limit && !pending.withdraws.is_empty() {
                batch.messages += 1;
                let mut packer = Packer::withdraw(out, *family);
                while let Some(prefix) = pending.withdraws.pop_first() {
                    if !packer.push(&prefix) {
                        pending.withdraws.insert(prefix);
                        break;
                    }
                    self.sent.remove(&prefix);
                    batch.withdrawn.push(prefix);
                }
                packer.finish();
            }
        }
        self.fill_announces(out, limit, &mut batch);
        self.fill_end_of_rib(out, limit, complete, &mut batch);
        batch
    }

    fn fill_announces(&mut self, out: &mut Vec<u8>, limit: usize, batch: &mut Batch) {
        for (family, pending) in &mut self.families {
            while out.len() < limit
                && let Some((attributes, prefixes)) = pending.announces.pop_first()
            {
                let (section, next_hop) = match self.encoder.encode(*family, &attributes) {
                    Ok(encoded) => encoded,
                    Err(why) => {
                        batch.not_sendable.extend(prefixes.iter().map(|prefix| (*prefix, why)));
                        pending.take_back(&prefixes, &mut self.sent);
                        continue;
                    }
                };
                let mut rest = prefixes;
                while out.len() < limit && !rest.is_empty() {
                    let Ok(mut packer) = Packer::announce(out, *family, &section, &next_hop) else {
                        let why = NotSendable::TooLong;
                        batch.not_sendable.extend(rest.iter().map(|prefix| (*prefix, why)));
                        pending.take_back(&rest, &mut self.sent);
                        rest.clear();
                        break;
                    };
                    batch.messages += 1;
                    while let Some(prefix) = rest.pop_first() {
                        if !packer.push(&prefix) {
                            rest.insert(prefix);
                            break;
                        }
                        self.sent.insert(prefix, attributes.clone());
                        batch.announced.push(prefix);
                    }
                    packer.finish();
                }
                if !rest.is_empty() {
                    pending.announces.insert(attributes, rest);
                }
            }
        }
    }

    fn fill_end_of_rib(&mut self, out: &mut Vec<u8>, limit: usize, complete: bool, batch: &mut Batch) {
        if self.end_of_rib_sent() {
            return;
        }
        for (family, pending) in &mut self.families {
            if complete && out.len() < limit && pending.is_empty() && !pending.end_of_rib_sent {
                Packer::withdraw(out, *family).finish();
                pending.end_of_rib_sent = true;
                batch.messages += 1;
            }
        }
        batch.completes_end_of_rib = self.end_of_rib_sent();
    }

    /// Nothing is left to send, End-of-RIB aside.
    pub fn is_settled(&self) -> bool {
        self.families.values().all(Pending::is_empty)
    }

    /// End-of-RIB was written for every family.
    pub fn end_of_rib_sent(&self) -> bool {
        self.families.values().all(|pending| pending.end_of_rib_sent)
    }

    /// Prefixes that the peer shall have and that `keep` does not hold.
    pub fn wanted_outside(&self, keep: impl Fn(&IpNet) -> bool) -> Vec<IpNet> {
        self.wanted.keys().filter(|prefix| !keep(prefix)).copied().collect()
    }

    /// Prefixes that the peer has been sent and that were not withdrawn.
    pub fn sent(&self) -> impl ExactSizeIterator<Item = &IpNet> {
        self.sent.keys()
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.withdraws.is_empty() && self.announces.is_empty()
    }

    fn remove_announce(&mut self, prefix: &IpNet, attributes: &Arc<RouteAttributes>) {
        if let Some(prefixes) = self.announces.get_mut(attributes) {
            prefixes.remove(prefix);
            if prefixes.is_empty() {
                self.announces.remove(attributes);
            }
        }
    }

    /// What cannot be sent with its new attributes must not stay with its old ones.
    fn take_back(&mut self, prefixes: &BTreeSet<IpNet>, sent: &mut BTreeMap<IpNet, Arc<RouteAttributes>>) {
        self.withdraws.extend(prefixes.iter().filter(|prefix| sent.contains_key(prefix)));
    }
}
