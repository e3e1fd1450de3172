//! Who lies where in a map that is handed out in contiguous pieces of power-of-two sizes, and free indices.

use std::collections::{BTreeMap, BTreeSet};

/// Occupied pieces of a map: base -> length.
#[derive(Debug, Clone)]
pub(super) struct Areas {
    limit: u32,
    taken: BTreeMap<u32, u32>,
}

impl Areas {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, taken: BTreeMap::new() }
    }

    /// Marks a piece as taken; false when it leaves the map or meets another.
    pub(super) fn occupy(&mut self, base: u32, len: u32) -> bool {
        let Some(end) = base.checked_add(len).filter(|end| *end <= self.limit) else { return false };
        let before = self.taken.range(..end).next_back();
        if before.is_some_and(|(b, l)| b + l > base) {
            return false;
        }
        self.taken.insert(base, len);
        true
    }

    pub(super) fn release(&mut self, base: u32) {
        self.taken.remove(&base);
    }

    /// Takes the first free piece of `len`, a power of two, at a multiple of `len`: pieces of mixed sizes then fall
    /// apart into each other without holes.
    pub(super) fn allocate(&mut self, len: u32) -> Option<u32> {
        let mut at = 0u32;
        for (&base, &taken) in &self.taken {
            if at.checked_add(len).is_some_and(|end| end <= base) {
                break;
            }
            at = at.max((base + taken).checked_next_multiple_of(len)?);
        }
        self.occupy(at, len).then_some(at)
    }
}

/// Free numbers below a limit, lowest first.
#[derive(Debug, Clone)]
pub(super) struct Indices {
    limit: u32,
    taken: BTreeSet<u32>,
    next: u32,
}

impl Indices {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, taken: BTreeSet::new(), next: 0 }
    }

    /// Marks a number as taken; false when it is out of range or taken already.
    pub(super) fn occupy(&mut self, index: u32) -> bool {
        index < self.limit && self.taken.insert(index)
    }

    /// Everything must have been occupied before the first call.
    pub(super) fn allocate(&mut self) -> Option<u32> {
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
        (self.next < self.limit && self.taken.insert(self.next)).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_meet_and_fill_the_map() {
        let mut areas = Areas::new(64);
        assert_eq!(areas.allocate(16), Some(0));
        assert_eq!(areas.allocate(4), Some(16));
        assert_eq!(areas.allocate(16), Some(32));
        assert_eq!(areas.allocate(8), Some(24), "the hole that alignment left is used");
        assert_eq!(areas.allocate(16), Some(48));
        assert_eq!(areas.allocate(4), Some(20));
        assert_eq!(areas.allocate(4), None);
        areas.release(32);
        assert_eq!(areas.allocate(32), None);
        assert_eq!(areas.allocate(16), Some(32));
    }

    #[test]
    fn occupied_pieces_are_checked() {
        let mut areas = Areas::new(64);
        assert!(areas.occupy(8, 8));
        assert!(!areas.occupy(4, 8));
        assert!(!areas.occupy(15, 1));
        assert!(areas.occupy(16, 48));
        assert!(!areas.occupy(64, 1));
        assert!(!areas.occupy(u32::MAX, 2));
        assert!(areas.occupy(0, 8));
        assert_eq!(areas.allocate(1), None);
    }

    #[test]
    fn lowest_free_number() {
        let mut indices = Indices::new(4);
        assert!(indices.occupy(1));
        assert!(!indices.occupy(1));
        assert!(!indices.occupy(4));
        assert_eq!([(); 4].map(|()| indices.allocate()), [Some(0), Some(2), Some(3), None]);
    }
}
