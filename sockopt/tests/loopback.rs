//! The options against the running kernel, over loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use sockopt::{Family, MAX_KEY, remove_tcp_md5, set_min_ttl, set_tcp_md5, unacknowledged_bytes};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Dials with a key (or none) and says whether the connection came up within half a second.
fn dials(to: SocketAddr, key: Option<&[u8]>) -> Option<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    if let Some(key) = key {
        set_tcp_md5(&socket, to.ip(), None, key).unwrap();
    }
    socket.connect_timeout(&to.into(), Duration::from_millis(500)).ok().map(|()| socket.into())
}

#[test]
fn md5_of_one_address() {
    let (listener, address) = listener();
    set_tcp_md5(&listener, LOOPBACK, None, b"secret").unwrap();
    assert!(dials(address, None).is_none(), "an unsigned SYN was answered");
    assert!(dials(address, Some(b"other")).is_none(), "a SYN with a wrong key was answered");

    let mut stream = dials(address, Some(b"secret")).expect("the right key connects");
    let (mut accepted, _) = listener.accept().unwrap();
    stream.write_all(b"signed").unwrap();
    let mut bytes = [0; 6];
    accepted.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"signed");

    remove_tcp_md5(&listener, LOOPBACK, None).unwrap();
    assert!(dials(address, None).is_some(), "the key is gone");
    assert!(remove_tcp_md5(&listener, LOOPBACK, None).is_err(), "there is nothing left to remove");
}

#[test]
fn md5_of_a_prefix() {
    let (listener, address) = listener();
    set_tcp_md5(&listener, IpAddr::from([127, 0, 0, 0]), Some(8), b"fleet").unwrap();
    assert!(dials(address, None).is_none(), "an unsigned SYN was answered");
    assert!(dials(address, Some(b"fleet")).is_some(), "the key of the prefix connects");
}

#[test]
fn md5_over_ipv6() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let address = listener.local_addr().unwrap();
    set_tcp_md5(&listener, address.ip(), None, b"six").unwrap();
    assert!(dials(address, None).is_none(), "an unsigned SYN was answered");
    assert!(dials(address, Some(b"six")).is_some(), "the right key connects");
}

#[test]
fn md5_refuses_bad_arguments() {
    let (listener, _) = listener();
    assert!(set_tcp_md5(&listener, LOOPBACK, None, b"").is_err());
    assert!(set_tcp_md5(&listener, LOOPBACK, None, &[0; MAX_KEY + 1]).is_err());
    assert!(set_tcp_md5(&listener, LOOPBACK, Some(33), b"k").is_err());
    set_tcp_md5(&listener, LOOPBACK, None, &[7; MAX_KEY]).unwrap();
}

#[test]
fn low_ttl_is_dropped() {
    let (listener, address) = listener();
    let stream = TcpStream::connect(address).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    set_min_ttl(&accepted, Family::V4, 255).unwrap();
    accepted.set_read_timeout(Some(Duration::from_millis(200))).unwrap();

    stream.set_ttl(254).unwrap();
    (&stream).write_all(b"x").unwrap();
    assert!(accepted.read(&mut [0]).is_err(), "a segment with TTL 254 came through");

    stream.set_ttl(255).unwrap();
    accepted.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 1, "its retransmission with TTL 255 comes through");
}

#[test]
fn min_ttl_over_ipv6() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    set_min_ttl(&accepted, Family::V6, 255).unwrap();
    accepted.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    (&stream).write_all(b"x").unwrap();
    assert!(accepted.read(&mut [0]).is_err(), "a segment with the default hop limit came through");
}

#[test]
fn out_queue_counts_what_the_peer_has_not_taken() {
    let (listener, address) = listener();
    let stream = TcpStream::connect(address).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    assert_eq!(unacknowledged_bytes(&stream).unwrap(), 0);

    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(n) = (&stream).write(&[0; 65536]) {
        sent += n;
    }
    let waiting = unacknowledged_bytes(&stream).unwrap();
    assert!(waiting > 0, "{sent} bytes to a reader that does not read leave some in the queue");

    drop(stream);
    let mut all = Vec::new();
    accepted.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), sent);
}
