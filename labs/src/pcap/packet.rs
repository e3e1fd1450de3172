//! Just enough of IPv4, IPv6, TCP, UDP and ICMP to ask what a captured packet is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP4: u8 = 1;
const ICMP6: u8 = 58;

/// An IP packet with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    /// The IPv4 header's own checksum is right (always true for IPv6).
    pub header_ok: bool,
    /// Second half of the IPv4 flags word: don't fragment.
    pub dont_fragment: bool,
    /// Not the first fragment, or more follow.
    pub fragment: bool,
    /// Total length of the IP packet, bytes.
    pub length: usize,
    pub payload: &'a [u8],
}

/// The layer above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `flags` as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    Tcp {
        src: u16,
        dst: u16,
        flags: u8,
    },
    Udp {
        src: u16,
        dst: u16,
    },
    Icmp {
        kind: u8,
        code: u8,
    },
    Icmp6 {
        kind: u8,
        code: u8,
    },
    Other,
}

impl<'a> Ip<'a> {
    pub(super) fn of_frame(frame: &'a [u8]) -> Option<Self> {
        match frame.get(12..14)? {
            [0x08, 0x00] => Self::v4(frame.get(14..)?),
            [0x86, 0xdd] => Self::v6(frame.get(14..)?),
            _ => None,
        }
    }

    /// The packet inside an IP-in-IP tunnel packet.
    pub fn inner(&self) -> Option<Ip<'a>> {
        match self.protocol {
            4 => Self::v4(self.payload),
            41 => Self::v6(self.payload),
            _ => None,
        }
    }

    /// The packet that an ICMP error quotes, which may be cut.
    pub fn quoted(&self) -> Option<Ip<'a>> {
        let quote = self.payload.get(8..)?;
        match self.transport() {
            Transport::Icmp { kind: 3 | 4 | 5 | 11 | 12, .. } => Self::v4_cut(quote),
            Transport::Icmp6 { kind: 1..=4, .. } => Self::v6_cut(quote),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<Self> {
        let packet = Self::v4_cut(bytes)?;
        (bytes.len() >= packet.length).then_some(packet)
    }

    fn v4_cut(bytes: &'a [u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 15) * 4;
        let fixed = bytes.get(..20)?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        let fragment_word = u16::from_be_bytes([fixed[6], fixed[7]]);
        let end = length.min(bytes.len());
        Some(Self {
            src: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
            dst: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
            protocol: fixed[9],
            ttl: fixed[8],
            header_ok: sum(bytes.get(..header)?, 0) == 0xffff,
            dont_fragment: fragment_word & 0x4000 != 0,
            fragment: fragment_word & 0x3fff != 0,
            length,
            payload: bytes.get(header..end)?,
        })
    }

    fn v6(bytes: &'a [u8]) -> Option<Self> {
        let packet = Self::v6_cut(bytes)?;
        (bytes.len() >= packet.length).then_some(packet)
    }

    fn v6_cut(bytes: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; 40] = bytes.get(..40)?.try_into().ok()?;
        let address = |at: usize| -> Option<IpAddr> {
            let octets: [u8; 16] = fixed.get(at..at + 16)?.try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        };
        let length = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        Some(Self {
            src: address(8)?,
            dst: address(24)?,
            protocol: fixed[6],
            ttl: fixed[7],
            header_ok: true,
            dont_fragment: true,
            fragment: fixed[6] == 44,
            length,
            payload: bytes.get(40..length.min(bytes.len()))?,
        })
    }

    pub fn transport(&self) -> Transport {
        let p = self.payload;
        let port = |at: usize| Some(u16::from_be_bytes([*p.get(at)?, *p.get(at + 1)?]));
        let known = match self.protocol {
            // A quoted TCP header may be cut behind the ports.
            TCP => port(0).zip(port(2)).map(|(src, dst)| Transport::Tcp {
                src,
                dst,
                flags: p.get(13).copied().unwrap_or(0),
            }),
            UDP => port(0).zip(port(2)).map(|(src, dst)| Transport::Udp { src, dst }),
            ICMP4 => p.first().zip(p.get(1)).map(|(&kind, &code)| Transport::Icmp { kind, code }),
            ICMP6 => p.first().zip(p.get(1)).map(|(&kind, &code)| Transport::Icmp6 { kind, code }),
            _ => None,
        };
        known.unwrap_or(Transport::Other)
    }

    /// The IPv4 header's and the transport's checksums are right. Fragments and unknown protocols count as right.
    pub fn checksums_ok(&self) -> bool {
        self.header_ok && (self.fragment || self.transport_ok())
    }

    fn transport_ok(&self) -> bool {
        match self.protocol {
            ICMP4 => sum(self.payload, 0) == 0xffff,
            UDP if self.payload.get(6..8) == Some(&[0, 0]) => self.src.is_ipv4(),
            TCP | UDP | ICMP6 => sum(self.payload, self.pseudo_header()) == 0xffff,
            _ => true,
        }
    }

    /// Sum of addresses, protocol and length (RFC 9293 3.1, RFC 8200 8.1).
    fn pseudo_header(&self) -> u32 {
        let addresses = match (self.src, self.dst) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u32::from(sum(&a.octets(), 0)) + u32::from(sum(&b.octets(), 0)),
            (IpAddr::V6(a), IpAddr::V6(b)) => u32::from(sum(&a.octets(), 0)) + u32::from(sum(&b.octets(), 0)),
            _ => 0,
        };
        addresses + u32::from(self.protocol) + u32::try_from(self.payload.len()).unwrap_or(0)
    }
}

/// One's complement sum, not inverted: 0xffff over data that holds its own right checksum.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut total = u64::from(start);
    for pair in bytes.chunks(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet + IPv4 + ICMP echo request, bytes from a real capture on loopback addresses.
    fn echo() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0x7c, 0xde, 127, 0, 0, 1, 127, 0, 0, 1]);
        frame.extend([8, 0, 0xf7, 0xfd, 0, 1, 0, 1]);
        frame
    }

    #[test]
    fn an_echo_request_is_read_and_its_checksums_are_checked() {
        let mut frame = echo();
        let ip = Ip::of_frame(&frame).unwrap();
        assert_eq!(ip.transport(), Transport::Icmp { kind: 8, code: 0 });
        assert_eq!(ip.src, IpAddr::from([127, 0, 0, 1]));
        assert!(ip.checksums_ok(), "{ip:?}");
        frame[38] ^= 1;
        assert!(!Ip::of_frame(&frame).unwrap().checksums_ok());
        frame[38] ^= 1;
        frame[22] ^= 1;
        assert!(!Ip::of_frame(&frame).unwrap().checksums_ok());
    }

    #[test]
    fn no_prefix_of_a_frame_panics() {
        let frame = echo();
        for n in 0..frame.len() {
            assert!(Ip::of_frame(&frame[..n]).is_none(), "{n}");
        }
    }
}
