//! Traffic that nobody should answer: what comes back, if anything.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::super::job::{Knock, Knocked};
use super::{connect, reset};

/// Knocks on all targets at the same time.
pub(super) fn run(knock: &Knock) -> Vec<Knocked> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            knock.targets.iter().map(|target| (target, scope.spawn(|| once(knock, *target)))).collect();
        threads
            .into_iter()
            .map(|(target, thread)| Knocked {
                target: *target,
                answer: thread.join().unwrap_or(Some("the client panicked".to_owned())),
            })
            .collect()
    })
}

fn once(knock: &Knock, target: SocketAddr) -> Option<String> {
    let wait = Duration::from_millis(knock.wait_ms);
    let answer = if knock.udp { udp(knock, target, wait) } else { tcp(knock, target, wait) };
    match answer {
        Ok(what) => Some(what),
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn tcp(knock: &Knock, target: SocketAddr, wait: Duration) -> io::Result<String> {
    reset(connect(target, knock.source, 0, wait)?);
    Ok("connected".to_owned())
}

fn udp(knock: &Knock, target: SocketAddr, wait: Duration) -> io::Result<String> {
    let socket = UdpSocket::bind(SocketAddr::new(knock.source, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(wait))?;
    socket.send(b"anybody?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(format!("{length} bytes"))
}
