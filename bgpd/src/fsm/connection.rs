//! One TCP connection from OpenSent to Established (RFC 4271 8.2.2): messages in, what they mean out, and the hold and
//! keepalive timers. What follows from it is the arbiter's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Direction;
use super::import::Import;
use super::negotiate::Negotiated;
use super::retry::Jitter;
use crate::status::PeerState;
use crate::wire::{Context, Framer, Message, MessageType, Notification, Open, Reason, RouteRefresh};

/// How long to wait for the peer's OPEN. RFC 4271 8.2.2 suggests four minutes; a peer that takes longer than this is not
/// coming, and dialling again is what helps.
const OPEN_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) direction: Direction,
    pub(super) opened: Instant,
    pub(super) state: State,
    framer: Framer,
    context: Context,
    hold: Option<Instant>,
    keepalive: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum State {
    OpenSent,
    OpenConfirm(Arc<Negotiated>),
    Established { since: Instant, session: Arc<Negotiated> },
}

/// What one message means.
#[derive(Debug)]
pub(super) enum Step {
    /// The first message: to be judged.
    Open(Open),
    /// The KEEPALIVE that confirms our OPEN.
    Confirmed,
    Refresh(RouteRefresh),
    /// A KEEPALIVE or UPDATE, dealt with.
    Alive,
    /// The peer ends it.
    Notified(Notification),
    /// We end it.
    Fault(Notification),
}

/// Which timer ran out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Keepalive,
    Hold,
}

impl Connection {
    /// A connection on which our OPEN was just sent.
    pub(super) fn new(direction: Direction, internal: bool, now: Instant) -> Self {
        Self {
            direction,
            opened: now,
            state: State::OpenSent,
            framer: Framer::default(),
            context: Context { four_octet_asn: false, internal },
            hold: Some(now + OPEN_WAIT),
            keepalive: None,
        }
    }

    pub(super) fn peer_state(&self) -> PeerState {
        match self.state {
            State::OpenSent => PeerState::OpenSent,
            State::OpenConfirm(_) => PeerState::OpenConfirm,
            State::Established { .. } => PeerState::Established,
        }
    }

    pub(super) fn session(&self) -> Option<&Arc<Negotiated>> {
        match &self.state {
            State::OpenSent => None,
            State::OpenConfirm(session) | State::Established { session, .. } => Some(session),
        }
    }

    pub(super) fn established_since(&self) -> Option<Instant> {
        match self.state {
            State::Established { since, .. } => Some(since),
            _ => None,
        }
    }

    /// Appends received bytes; [`Self::step`] takes them apart.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.framer.push(chunk);
    }

    /// The next whole message, if there is one.
    pub(super) fn step(&mut self, import: &mut Import, now: Instant) -> Option<Step> {
        let message = match self.framer.next_frame()? {
            Ok(frame) => Message::decode(frame, &self.context),
            Err(error) => Err(error),
        };
        let step = match (&self.state, message) {
            (_, Err(error)) => Step::Fault(error),
            (_, Ok(Message::Notification(notification))) => Step::Notified(notification),
            (State::OpenSent, Ok(Message::Open(open))) => Step::Open(open),
            (State::OpenConfirm(_), Ok(Message::Keepalive)) => Step::Confirmed,
            (State::Established { .. }, Ok(Message::Keepalive)) => Step::Alive,
            (State::Established { .. }, Ok(Message::Update(update))) => {
                import.update(&update);
                Step::Alive
            }
            (State::Established { .. }, Ok(Message::RouteRefresh(refresh))) => Step::Refresh(refresh),
            (state, Ok(message)) => Step::Fault(unexpected(state, &message)),
        };
        if matches!(step, Step::Alive | Step::Refresh(_) | Step::Confirmed) {
            self.restart_hold(now);
        }
        Some(step)
    }

    /// The peer's OPEN was good.
    pub(super) fn confirm(&mut self, session: Arc<Negotiated>, jitter: &mut Jitter, now: Instant) {
        self.context = session.context();
        self.state = State::OpenConfirm(session);
        self.restart_hold(now);
        self.restart_keepalive(jitter, now);
    }

    pub(super) fn establish(&mut self, session: Arc<Negotiated>, now: Instant) {
        self.state = State::Established { since: now, session };
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.hold.into_iter().chain(self.keepalive).min()
    }

    /// The timer that has run out, if any. A keepalive is due again one interval later.
    pub(super) fn due(&mut self, jitter: &mut Jitter, now: Instant) -> Option<Due> {
        if self.hold.is_some_and(|at| at <= now) {
            return Some(Due::Hold);
        }
        if self.keepalive.is_some_and(|at| at <= now) {
            self.restart_keepalive(jitter, now);
            return Some(Due::Keepalive);
        }
        None
    }

    fn restart_hold(&mut self, now: Instant) {
        self.hold = self.session().and_then(|session| session.hold).map(|hold| now + hold);
    }

    fn restart_keepalive(&mut self, jitter: &mut Jitter, now: Instant) {
        let interval = self.session().and_then(|session| session.keepalive);
        self.keepalive = interval.map(|interval| now + jitter.spread(interval));
    }
}

/// FSM error with the type of the message as data (RFC 6608 3).
fn unexpected(state: &State, message: &Message<'_>) -> Notification {
    let reason = match state {
        State::OpenSent => Reason::UnexpectedInOpenSent,
        State::OpenConfirm(_) => Reason::UnexpectedInOpenConfirm,
        State::Established { .. } => Reason::UnexpectedInEstablished,
    };
    let kind = match message {
        Message::Open(_) => MessageType::Open,
        Message::Update(_) => MessageType::Update,
        Message::Notification(_) => MessageType::Notification,
        Message::Keepalive => MessageType::Keepalive,
        Message::RouteRefresh(_) => MessageType::RouteRefresh,
    };
    Notification::with_data(reason, &[kind as u8])
}
