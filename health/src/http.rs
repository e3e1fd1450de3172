//! One HTTP/1.1 GET (RFC 9112) on an open connection, by hyper's client. Bounded: at most 64 KiB of header and 64 KiB of
//! body are kept, whatever the server sends.

use std::error::Error;
use std::io;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::probe::Deadline;
use crate::{ProbeError, Stage};

/// Bytes of a body that are searched.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
const HEADER_LIMIT: usize = 64 * 1024;
/// Characters of the wanted text that an error repeats.
const QUOTE_LIMIT: usize = 60;

pub(crate) struct Get<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) expect_status: &'a [(u16, u16)],
    pub(crate) expect_body: Option<&'a str>,
}

pub(crate) async fn exchange(stream: TcpStream, get: Get<'_>, deadline: Deadline) -> Result<(), ProbeError> {
    let request = get.request()?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http_error)?;
    let work = async {
        let sent = deadline.limit(Stage::Answer, sender.send_request(request)).await?;
        get.judge(sent.map_err(http_error)?, deadline).await
    };
    let mut work = std::pin::pin!(work);
    // The connection is driven by this very task: nothing outlives a probe that is dropped.
    tokio::select! {
        biased;
        result = &mut work => result,
        _ = connection => work.await,
    }
}

impl Get<'_> {
    fn request(&self) -> Result<Request<Empty<Bytes>>, ProbeError> {
        Request::get(self.path)
            .header(HOST, self.host)
            .header(USER_AGENT, concat!("vipcast-health/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|e| ProbeError::BadRequest(e.to_string()))
    }

    async fn judge(&self, response: Response<Incoming>, deadline: Deadline) -> Result<(), ProbeError> {
        let status = response.status().as_u16();
        if !self.expect_status.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
            return Err(ProbeError::Status(status));
        }
        match self.expect_body {
            None => Ok(()),
            Some(text) => {
                let found = deadline.limit(Stage::Body, contains(response.into_body(), text)).await??;
                found.then_some(()).ok_or_else(|| ProbeError::BodyLacks(quote(text)))
            }
        }
    }
}

/// Reads until the text was seen, the body ended or the limit is reached.
async fn contains(mut body: Incoming, text: &str) -> Result<bool, ProbeError> {
    let wanted = text.as_bytes();
    let mut seen = Vec::new();
    while !wanted.is_empty() {
        let Some(frame) = body.frame().await else { return Ok(false) };
        let Ok(data) = frame.map_err(http_error)?.into_data() else { continue };
        // The text may begin in what came before.
        let from = seen.len().saturating_sub(wanted.len() - 1);
        let room = BODY_LIMIT - seen.len();
        seen.extend_from_slice(data.get(..room).unwrap_or(&data));
        if seen[from..].windows(wanted.len()).any(|window| window == wanted) {
            return Ok(true);
        }
        if seen.len() == BODY_LIMIT {
            return Ok(false);
        }
    }
    Ok(true)
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn http_error(error: hyper::Error) -> ProbeError {
    let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset) => ProbeError::Reset,
        Some(io::ErrorKind::UnexpectedEof) => ProbeError::ClosedEarly,
        _ if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            ProbeError::ClosedEarly
        }
        _ if error.is_parse() => ProbeError::NotHttp(error.to_string()),
        Some(_) => ProbeError::Io(cause.map(ToString::to_string).unwrap_or_default()),
        None => ProbeError::Io(error.to_string()),
    }
}
