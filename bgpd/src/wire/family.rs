//! Address families: the two that the speaker handles, and the number pairs of all the others.

use std::fmt;

use ipnet::IpNet;

/// AFI and SAFI as on the wire, known or not (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfiSafi {
    pub afi: u16,
    pub safi: u8,
}

/// A family that the speaker can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ipv4Unicast,
    Ipv6Unicast,
}

impl Family {
    /// Both, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    pub const fn wire(self) -> AfiSafi {
        match self {
            Self::Ipv4Unicast => AfiSafi { afi: 1, safi: 1 },
            Self::Ipv6Unicast => AfiSafi { afi: 2, safi: 1 },
        }
    }

    /// The family that carries this prefix.
    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::Ipv4Unicast,
            IpNet::V6(_) => Self::Ipv6Unicast,
        }
    }

    /// Longest prefix, bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }
}

impl AfiSafi {
    pub fn known(self) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.wire() == self)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        })
    }
}
