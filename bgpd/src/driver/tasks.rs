//! Named tasks, and which of them panicked: one session that fails must not take down the others.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// A set of tasks, each with the name of its peer.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// A task that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) panicked: bool,
}

impl Tasks {
    pub(super) fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> Id {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name.to_owned());
        id
    }

    /// The next task that ends; `None` at once when there is none.
    pub(super) async fn next_ended(&mut self) -> Option<Ended> {
        let (id, panicked) = match self.set.join_next_with_id().await? {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(Ended { id, name, panicked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_named_and_the_others_live() {
        let mut tasks = Tasks::default();
        let (go, wait) = tokio::sync::oneshot::channel();
        tasks.spawn("bad", async { panic!("planted") });
        tasks.spawn("good", async {
            wait.await.unwrap();
        });
        let ended = tasks.next_ended().await.unwrap();
        assert_eq!((ended.name.as_str(), ended.panicked), ("bad", true));
        go.send(()).unwrap();
        let ended = tasks.next_ended().await.unwrap();
        assert_eq!((ended.name.as_str(), ended.panicked), ("good", false));
        assert_eq!(tasks.next_ended().await, None);
    }
}
