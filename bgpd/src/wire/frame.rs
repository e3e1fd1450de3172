//! Cutting the TCP stream into messages, and the checks of the common header (RFC 4271 4.1, 6.1).

use super::{HEADER, MAX_MESSAGE, MessageType, Notification, Reason};

/// Reassembles messages from a byte stream. Holds at most one message more than the last chunk it was given.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Where the first unread message starts.
    start: usize,
    /// Behind a broken header there are no messages any more.
    broken: Option<Notification>,
}

impl Framer {
    /// Appends what came from the network.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.bytes.drain(..self.start.min(self.bytes.len()));
        self.start = 0;
        self.bytes.extend_from_slice(chunk);
    }

    /// The next whole message, header included; `None` until more bytes arrive.
    ///
    /// # Errors
    /// A header error as soon as the header can be read, without waiting for the body; it stays.
    pub fn next_frame(&mut self) -> Option<Result<&[u8], Notification>> {
        if let Some(error) = &self.broken {
            return Some(Err(error.clone()));
        }
        let header = *self.bytes.get(self.start..)?.first_chunk::<HEADER>()?;
        let length = match check_header(&header) {
            Ok((length, _)) => length,
            Err(error) => {
                self.bytes = Vec::new();
                return Some(Err(self.broken.insert(error).clone()));
            }
        };
        let end = self.start.saturating_add(length);
        let frame = self.bytes.get(self.start..end)?;
        self.start = end;
        Some(Ok(frame))
    }
}

/// Splits a frame into its type and body.
pub(super) fn split(frame: &[u8]) -> Result<(MessageType, &[u8]), Notification> {
    let (header, body) =
        frame.split_first_chunk::<HEADER>().ok_or_else(|| Notification::new(Reason::BadMessageLength))?;
    let (length, kind) = check_header(header)?;
    if length != frame.len() {
        return Err(bad_length(header));
    }
    Ok((kind, body))
}

fn check_header(header: &[u8; HEADER]) -> Result<(usize, MessageType), Notification> {
    let [marker @ .., high, low, kind] = header;
    if marker.iter().any(|&byte| byte != 0xff) {
        return Err(Notification::new(Reason::ConnectionNotSynchronized));
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if !(HEADER..=MAX_MESSAGE).contains(&length) {
        return Err(bad_length(header));
    }
    let (kind, lengths) = match kind {
        1 => (MessageType::Open, 29..=MAX_MESSAGE),
        2 => (MessageType::Update, 23..=MAX_MESSAGE),
        3 => (MessageType::Notification, 21..=MAX_MESSAGE),
        4 => (MessageType::Keepalive, HEADER..=HEADER),
        // RFC 7313 5: a wrong length of this one is an error of its own; an ORF list (RFC 5291) may follow.
        5 => (MessageType::RouteRefresh, HEADER..=MAX_MESSAGE),
        other => return Err(Notification::with_data(Reason::BadMessageType, &[*other])),
    };
    if lengths.contains(&length) { Ok((length, kind)) } else { Err(bad_length(header)) }
}

fn bad_length(header: &[u8; HEADER]) -> Notification {
    let [.., high, low, _] = header;
    Notification::with_data(Reason::BadMessageLength, &[*high, *low])
}

/// A message of `kind` around `body`; `None` when it is longer than [`MAX_MESSAGE`].
pub(super) fn wrap(kind: MessageType, body: &[u8]) -> Option<Vec<u8>> {
    let length = HEADER.checked_add(body.len()).filter(|&length| length <= MAX_MESSAGE)?;
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&[0xff; 16]);
    frame.extend_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    frame.push(kind as u8);
    frame.extend_from_slice(body);
    Some(frame)
}
