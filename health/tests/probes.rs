//! Single probes against real loopback servers: what is good, and what an operator reads when it is not.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as the tests do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use health::{Check, NetProber, Probe, ProbeError, Prober, Stage, Target, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn check(probe: Probe, timeout: Duration) -> Check {
    Check { probe, interval: Duration::from_secs(1), timeout, rise: 1, fall: 1, initial: Verdict::Unknown }
}

fn get(address: SocketAddr, body: Option<&str>) -> Check {
    let probe = Probe::Http {
        address,
        host: "app.example".into(),
        path: "/health?full=1".into(),
        expect_status: vec![(200, 299), (304, 304)],
        expect_body: body.map(Into::into),
    };
    check(probe, Duration::from_secs(5))
}

async fn probe(check: &Check) -> Result<(), ProbeError> {
    NetProber::default().probe(&Target("pool/a".into()), check).await
}

/// A server that hands each connection, after the request's empty line was read, to `answer`. Returns the first request.
async fn server<F, R>(answer: F) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>)
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let _ = requests.try_send(String::from_utf8_lossy(&request).into_owned());
            tokio::spawn(answer(stream));
        }
    });
    (address, seen)
}

async fn fixed(answer: &'static str) -> SocketAddr {
    server(move |mut s| async move {
        let _ = s.write_all(answer.as_bytes()).await;
    })
    .await
    .0
}

/// An address where nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn tcp_connects_and_closes_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reader = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A reset would be an error here.
        stream.read(&mut [0; 16]).await
    });
    assert_eq!(probe(&check(Probe::Tcp { address }, Duration::from_secs(5))).await, Ok(()));
    assert_eq!(reader.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn tcp_refused() {
    let c = check(Probe::Tcp { address: closed_port().await }, Duration::from_secs(5));
    let error = probe(&c).await.unwrap_err();
    assert_eq!(error, ProbeError::Refused);
    assert_eq!(error.to_string(), "connection refused");
}

#[tokio::test]
async fn tcp_that_never_answers_times_out() {
    // A listener whose queue is full drops further SYNs.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(stream) => held.push(stream.unwrap()),
            Err(_) => break,
        }
    }
    assert!(held.len() < 8, "the queue never filled");
    let begin = Instant::now();
    let c = check(Probe::Tcp { address }, Duration::from_millis(200));
    let error = probe(&c).await.unwrap_err();
    assert_eq!(error, ProbeError::TimedOut { after: c.timeout, stage: Stage::Connect });
    assert_eq!(error.to_string(), "timed out after 200ms while connecting");
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn http_sends_what_was_asked() {
    let (address, mut requests) = server(|mut s| async move {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await;
    assert_eq!(probe(&get(address, None)).await, Ok(()));
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("get /health?full=1 http/1.1\r\n"), "{request}");
    assert_eq!(request.matches("host: app.example\r\n").count(), 1, "{request}");
    assert!(request.contains("connection: close\r\n"), "{request}");
    assert!(request.contains("user-agent: vipcast-health/"), "{request}");
}

#[tokio::test]
async fn http_status_ranges() {
    let good = fixed("HTTP/1.1 304 Not Modified\r\n\r\n").await;
    assert_eq!(probe(&get(good, None)).await, Ok(()));
    let bad = fixed("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let error = probe(&get(bad, None)).await.unwrap_err();
    assert_eq!(error, ProbeError::Status(503));
    assert_eq!(error.to_string(), "status 503");
    let outside = fixed("HTTP/1.1 301 Moved Permanently\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(probe(&get(outside, None)).await, Err(ProbeError::Status(301)));
}

#[tokio::test]
async fn http_body_must_contain_the_text() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"state\":\"good\"}";
    let address = fixed(answer).await;
    assert_eq!(probe(&get(address, Some("\"good\""))).await, Ok(()));
    let error = probe(&get(address, Some("ready"))).await.unwrap_err();
    assert_eq!(error.to_string(), "body lacks \"ready\"");
}

#[tokio::test]
async fn http_body_text_is_found_across_pieces() {
    let (address, _requests) = server(|mut s| async move {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = s.write_all(head).await;
        for piece in ["4\r\nxxre\r\n", "1\r\na\r\n", "4\r\ndyyy\r\n", "0\r\n\r\n"] {
            let _ = s.write_all(piece.as_bytes()).await;
            let _ = s.flush().await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(probe(&get(address, Some("ready"))).await, Ok(()));
}

#[tokio::test]
async fn http_without_body_check_does_not_wait_for_the_body() {
    let (address, _requests) = server(|mut s| async move {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow").await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(probe(&get(address, None)).await, Ok(()));
}

#[tokio::test]
async fn http_server_that_hangs() {
    let (address, _requests) = server(|s| async move {
        let _keep = s;
        std::future::pending::<()>().await;
    })
    .await;
    let c = Check { timeout: Duration::from_millis(200), ..get(address, None) };
    let error = probe(&c).await.unwrap_err();
    assert_eq!(error, ProbeError::TimedOut { after: c.timeout, stage: Stage::Answer });
}

#[tokio::test]
async fn http_slow_body_times_out_as_a_whole() {
    let (address, _requests) = server(|mut s| async move {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        // A byte now and then must not keep the probe alive.
        while s.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let c = Check { timeout: Duration::from_millis(300), ..get(address, Some("ready")) };
    let begin = Instant::now();
    let error = probe(&c).await.unwrap_err();
    assert_eq!(error, ProbeError::TimedOut { after: c.timeout, stage: Stage::Body });
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn http_endless_body_is_cut_off() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let (address, _requests) = server(move |mut s| {
        let count = count.clone();
        async move {
            let _ = s.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let block = [b'x'; 16 * 1024];
            while s.write_all(&block).await.is_ok() {
                count.fetch_add(block.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let error = probe(&get(address, Some("ready"))).await.unwrap_err();
    assert_eq!(error, ProbeError::BodyLacks("ready".into()));
    // What sits in the sockets' buffers counts as sent; an unbounded reader would have gone on to the timeout.
    assert!(sent.load(Ordering::Relaxed) < 64 << 20);
}

#[tokio::test]
async fn http_text_beyond_the_limit_does_not_count() {
    let (address, _requests) = server(|mut s| async move {
        let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        answer.extend(std::iter::repeat_n(b'x', 64 * 1024 - 2));
        answer.extend(b"ready");
        let _ = s.write_all(&answer).await;
    })
    .await;
    assert_eq!(probe(&get(address, Some("ready"))).await, Err(ProbeError::BodyLacks("ready".into())));
}

#[tokio::test]
async fn http_header_flood_is_cut_off() {
    let (address, _requests) = server(|mut s| async move {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let line = format!("x-flood: {}\r\n", "y".repeat(8000));
        while s.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let begin = Instant::now();
    let error = probe(&get(address, None)).await.unwrap_err();
    assert!(matches!(error, ProbeError::NotHttp(_)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn http_broken_answers() {
    let gone = fixed("").await;
    assert_eq!(probe(&get(gone, None)).await, Err(ProbeError::ClosedEarly));
    let short = fixed("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
    assert_eq!(probe(&get(short, Some("ready"))).await, Err(ProbeError::ClosedEarly));
    let other = fixed("SSH-2.0-OpenSSH_9.2\r\n").await;
    assert!(matches!(probe(&get(other, None)).await, Err(ProbeError::NotHttp(_))));
}

#[tokio::test]
async fn http_reset_by_the_server() {
    let (address, _requests) = server(|s| async move {
        s.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(probe(&get(address, None)).await, Err(ProbeError::Reset));
}

#[tokio::test]
async fn http_check_that_cannot_be_sent() {
    let address = fixed("HTTP/1.1 200 OK\r\n\r\n").await;
    let mut c = get(address, None);
    if let Probe::Http { host, .. } = &mut c.probe {
        *host = "a\nb".into();
    }
    assert!(matches!(probe(&c).await, Err(ProbeError::BadRequest(_))));
}

#[tokio::test]
async fn long_wanted_text_is_shortened_in_the_error() {
    let address = fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let error = probe(&get(address, Some(&"ä".repeat(500)))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("body lacks \"{}…\"", "ä".repeat(60)));
}
