//! Labs: networks of real routers, real daemons and real traffic on one machine, each an executable test.
//!
//! A lab is a directory with a topology in containerlab's format ([`clab`]), realised in namespaces ([`host`]). What it
//! asserts is a [`suite`] of checks; [`dsr`] holds the one of the first lab. [`traffic`] is the client and server that
//! run inside, [`pcap`] reads what was seen on the wires.

pub mod capture;
pub mod clab;
pub mod dsr;
pub mod host;
pub mod netstat;
pub mod pcap;
pub mod suite;
pub mod traffic;
