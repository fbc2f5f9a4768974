//! The end of a pool's threads.

use std::time::{Duration, Instant};

use super::Manager;
use crate::control::Command;
use crate::error::Error;

/// How long a stop waits for helpers, and then for closers. One that takes longer is stuck in the kernel and
/// ends by itself when the kernel lets go of it.
const STOP_TIME: Duration = Duration::from_secs(2);

impl Manager {
    /// Ends helpers, then closers, which may get what those drop; answers how many are stuck.
    pub(super) fn stop(&mut self) -> usize {
        let paths = self.pool.registry.close();
        for helper in self.pool.crew.helpers() {
            self.pool.crew.rouse(&helper);
        }
        self.bury_until(|manager| manager.threads.is_empty());
        for path in paths {
            self.refuse(&path, usize::MAX, Error::STOPPED);
        }
        // Nobody waits for those who are stuck. They may be let go by any thread, and a scheduler         // announce anything, so that is done here.
        for helper in self.pool.crew.helpers() {
            helper.fail_leave_requests();
        }
        self.closers.stop();
        self.bury_until(|manager| manager.closers.count() == 0);
        self.threads.len() + self.closers.count()
    }

    /// Joins threads as they end, for [`STOP_TIME`] at most.
    fn bury_until(&mut self, is_over: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + STOP_TIME;
        while !is_over(self) {
            match self.commands.recv_deadline(deadline) {
                Ok(Command::JoinHelper(id)) => drop(self.join(id)),
                Ok(Command::SpawnHelper) => {
                    self.pool.crew.gone(None);
                }
                Ok(Command::JoinCloser(id)) => self.closers.bury(id),
                Ok(Command::SpawnCloser) => _ = self.closers.hire(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}
