//! Packets built by hand, and checksums summed from scratch: nothing here is shared with the program under test.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;
pub const IPIP: u8 = 4;
pub const IPV6: u8 = 41;

/// The Internet checksum of `bytes`, whose checksum field is zero; zero if it was filled in rightly.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

pub fn ethernet(dst: [u8; 6], src: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    [&dst[..], &src, &ethertype.to_be_bytes(), packet].concat()
}

/// An IPv4 header; `bytes` gives the packet with length and checksum filled in.
#[derive(Clone)]
pub struct V4 {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub proto: u8,
    pub tos: u8,
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    pub ttl: u8,
    pub options: Vec<u8>,
}

impl V4 {
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, proto: u8) -> Self {
        Self { src, dst, proto, tos: 0, id: 0x1c46, fragment: 0x4000, ttl: 57, options: Vec::new() }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        assert_eq!(self.options.len() % 4, 0);
        let header = 20 + self.options.len();
        let mut out = vec![0x40 | (header / 4) as u8, self.tos];
        out.extend(((header + payload.len()) as u16).to_be_bytes());
        out.extend(self.id.to_be_bytes());
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, self.proto, 0, 0]);
        out.extend(self.src.octets());
        out.extend(self.dst.octets());
        out.extend(&self.options);
        let sum = checksum(&out).to_be_bytes();
        out[10..12].copy_from_slice(&sum);
        out.extend(payload);
        out
    }

    fn pseudo(&self, length: usize) -> Vec<u8> {
        let length = (length as u16).to_be_bytes();
        [&self.src.octets()[..], &self.dst.octets(), &[0, self.proto], &length].concat()
    }
}

/// An IPv6 header and its extension headers.
#[derive(Clone)]
pub struct V6 {
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// Upper-layer protocol.
    pub proto: u8,
    pub class: u8,
    pub label: u32,
    pub limit: u8,
    /// Type and bytes of each extension header; the next-header byte is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl V6 {
    pub fn new(src: Ipv6Addr, dst: Ipv6Addr, proto: u8) -> Self {
        Self { src, dst, proto, class: 0, label: 0xabcde, limit: 57, extensions: Vec::new() }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let length: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
        let types: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([self.proto]).collect();
        let mut out = (6 << 28 | u32::from(self.class) << 20 | self.label).to_be_bytes().to_vec();
        out.extend(((length + payload.len()) as u16).to_be_bytes());
        out.extend([types[0], self.limit]);
        out.extend(self.src.octets());
        out.extend(self.dst.octets());
        for ((_, bytes), next) in self.extensions.iter().zip(&types[1..]) {
            out.push(*next);
            out.extend(&bytes[1..]);
        }
        out.extend(payload);
        out
    }

    fn pseudo(&self, length: usize) -> Vec<u8> {
        let length = (length as u32).to_be_bytes();
        [&self.src.octets()[..], &self.dst.octets(), &length, &[0, 0, 0, self.proto]].concat()
    }
}

/// What transport checksums need of a network header.
pub trait Network: Clone {
    fn pseudo_header(&self, length: usize) -> Vec<u8>;
    fn packet(&self, payload: &[u8]) -> Vec<u8>;
}

impl Network for V4 {
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        self.pseudo(length)
    }
    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        self.bytes(payload)
    }
}

impl Network for V6 {
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        self.pseudo(length)
    }
    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        self.bytes(payload)
    }
}

/// A TCP segment (ACK) in its IP packet.
pub fn tcp<N: Network>(ip: &N, src: u16, dst: u16, data: &[u8]) -> Vec<u8> {
    let mut out = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    out.extend(0x1122_3344u32.to_be_bytes());
    out.extend(0x5566_7788u32.to_be_bytes());
    out.extend([0x50, 0x10, 0x20, 0x00, 0, 0, 0, 0]);
    out.extend(data);
    ip.packet(&sealed(ip, out, 16))
}

/// A UDP datagram in its IP packet.
pub fn udp<N: Network>(ip: &N, src: u16, dst: u16, data: &[u8]) -> Vec<u8> {
    let mut out = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    out.extend((8 + data.len() as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(data);
    ip.packet(&sealed(ip, out, 6))
}

/// An ICMPv6 message (type, code, the four bytes after the checksum) in its packet.
pub fn icmp6(ip: &V6, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let out = [&[kind, code, 0, 0][..], &rest, data].concat();
    ip.bytes(&sealed(ip, out, 2))
}

/// An ICMP message in its packet.
pub fn icmp4(ip: &V4, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = [&[kind, code, 0, 0][..], &rest, data].concat();
    let sum = checksum(&out).to_be_bytes();
    out[2..4].copy_from_slice(&sum);
    ip.bytes(&out)
}

fn sealed<N: Network>(ip: &N, mut message: Vec<u8>, at: usize) -> Vec<u8> {
    let sum = match checksum(&[ip.pseudo_header(message.len()), message.clone()].concat()) {
        0 => 0xffff,
        sum => sum,
    };
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Walks a frame from the Ethernet header inwards, through tunnels, and panics at the first wrong length or checksum.
/// Trailing padding is allowed. Quoted packets in ICMP errors are cut off and left alone.
pub fn verify(frame: &[u8]) {
    let packet = &frame[14..];
    match u16::from_be_bytes([frame[12], frame[13]]) {
        0x0800 => verify4(packet),
        0x86dd => verify6(packet),
        other => panic!("ethertype {other:#06x}"),
    }
}

fn verify4(packet: &[u8]) {
    assert_eq!(packet[0] >> 4, 4, "version");
    let header = usize::from(packet[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    assert!(total <= packet.len(), "total length {total} in {} bytes", packet.len());
    assert_eq!(checksum(&packet[..header]), 0, "IPv4 header checksum");
    let payload = &packet[header..total];
    let pseudo = |proto| [&packet[12..20], &[0, proto], &(payload.len() as u16).to_be_bytes()].concat();
    verify_payload(packet[9], payload, &pseudo(packet[9]));
}

fn verify6(packet: &[u8]) {
    assert_eq!(packet[0] >> 4, 6, "version");
    let mut at = 40;
    let end = at + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert!(end <= packet.len(), "payload to {end} in {} bytes", packet.len());
    let mut next = packet[6];
    while [0, 43, 44, 60].contains(&next) {
        next = packet[at];
        at += (usize::from(packet[at + 1]) + 1) * 8;
    }
    let payload = &packet[at..end];
    let length = (payload.len() as u32).to_be_bytes();
    verify_payload(next, payload, &[&packet[8..40], &length, &[0, 0, 0, next]].concat());
}

fn verify_payload(proto: u8, payload: &[u8], pseudo: &[u8]) {
    let sealed = [pseudo, payload].concat();
    match proto {
        IPIP => verify4(payload),
        IPV6 => verify6(payload),
        TCP | UDP | ICMPV6 => assert_eq!(checksum(&sealed), 0, "checksum of protocol {proto}"),
        ICMP => assert_eq!(checksum(payload), 0, "ICMP checksum"),
        other => panic!("protocol {other}"),
    }
}
