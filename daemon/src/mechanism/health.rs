use std::sync::Arc;

use health::{Checker, Snapshot, Wanted};
use tokio::sync::watch;

impl super::Health for Checker {
    fn set_wanted(&self, wanted: Wanted) {
        Checker::set_wanted(self, wanted);
    }

    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        Checker::snapshot(self)
    }
}
