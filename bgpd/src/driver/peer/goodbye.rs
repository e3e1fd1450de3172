//! Closing a connection so that the last words arrive: write what is left, end our direction, read until the peer
//! has ended its own. A plain `close` with unread data in the socket would send RST, and the NOTIFICATION could
//! be lost with it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::Link;

/// For what is left to write, and for acknowledgements of withdraws.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// For the peer to close its side.
const LINGER: Duration = Duration::from_secs(1);
/// A peer that connects in a loop must not pile them up.
const MOST: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Goodbyes(JoinSet<()>);

impl Goodbyes {
    pub(super) fn say(&mut self, link: Link) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < MOST {
            self.0.spawn(say(link));
        }
    }

    pub(super) async fn wait(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

async fn say(link: Link) {
    let Link { mut stream, output } = link;
    let write = async {
        stream.write_all(output.rest()).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(PATIENCE, write).await, Ok(Ok(()))) {
        return;
    }
    let mut rest = [0; 4096];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    // Past the limit the connection is cut.
    let _ = timeout(LINGER, drain).await;
}
