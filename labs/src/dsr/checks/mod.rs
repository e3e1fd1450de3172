//! The checks: each one looks at traffic and at the state of kernels and router from outside. What the product says of
//! itself proves nothing here, its packet counters apart where a check is about the path.

mod bulk;
mod daemon_restart;
mod dsr;
mod ecmp;
mod families;
mod load;
mod monitor;
mod node_death;
mod ping;
mod same_choice;
mod server_failure;
mod spread;
mod undefined;
mod withdraw;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::suite::Check;

/// In the order in which they run: from a look at the router to what breaks more and more.
pub(super) const ALL: &[Check] = &[
    Check { name: "ecmp", about: "r1 has every node as next hop", run: ecmp::run },
    Check {
        name: "spread",
        about: "600 connections, each to the server that the model predicts",
        run: spread::run,
    },
    Check {
        name: "same-choice",
        about: "the same flow through each node: the same server",
        run: same_choice::run,
    },
    Check { name: "dsr", about: "replies never come back through a node", run: dsr::run },
    Check {
        name: "bulk",
        about: "20 MB each way, every byte checked; a narrow path behind r1",
        run: bulk::run,
    },
    Check { name: "ping", about: "the VIPs answer ping", run: ping::run },
    Check { name: "undefined", about: "other ports: silence, no redirect, no loop", run: undefined::run },
    Check { name: "udp", about: "a UDP service, v4 and v6", run: families::udp },
    Check { name: "dual-stack", about: "TCP to the IPv6 VIP", run: families::dual_stack },
    Check { name: "server-failure", about: "a server is killed under load", run: server_failure::run },
    Check { name: "withdraw", about: "all servers are killed, one comes back", run: withdraw::run },
    Check { name: "node-death", about: "a node is cut off under load", run: node_death::run },
    Check {
        name: "daemon-restart",
        about: "a daemon is killed and started again under load",
        run: daemon_restart::run,
    },
];

fn addresses(of: &BTreeSet<IpAddr>) -> String {
    of.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}
