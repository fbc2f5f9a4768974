//! The end of a pool's threads.

use super::{Manager, TICK};
use crate::control::Command;
use crate::error::Error;

/// How many ticks, some 2 s, a stop waits for helpers, and then for closers. One that takes longer is stuck in
/// the kernel and ends by itself when the kernel lets go of it. Ticks in which the process stands still do
/// not count.
const STOP_TICKS: u32 = 400;

impl Manager {
    /// Ends helpers, then closers, which may get what those drop; returns how many are stuck.
    pub(super) fn stop(&mut self) -> usize {
        let paths = self.shared.registry().close();
        let (idle, now) = (self.shared.idle(), self.shared.now());
        for helper in idle.helpers() {
            idle.wake_if_idle(&helper, now);
        }
        self.join_until(|manager| manager.helpers.is_empty());
        for path in paths {
            self.refuse(&path, usize::MAX, Error::STOPPED);
        }
        // Nobody waits for those that are stuck. Their leave requests may be dropped by any thread, and a
        // scheduler must not send, so they are failed here.
        for helper in self.shared.idle().helpers() {
            helper.fail_leave_requests();
        }
        self.closers.stop();
        self.join_until(|manager| manager.closers.count() == 0);
        self.helpers.len() + self.closers.count()
    }

    /// Joins threads as they end, for [`STOP_TICKS`] at most.
    fn join_until(&mut self, is_over: impl Fn(&Self) -> bool) {
        let mut ticks = 0;
        while !is_over(self) && ticks < STOP_TICKS {
            match self.commands.recv_timeout(TICK) {
                Ok(Command::JoinHelper(id)) => drop(self.join(id)),
                Ok(Command::SpawnHelper) => {
                    self.shared.idle().unregister(None);
                }
                Ok(Command::JoinCloser(id)) => self.closers.join(id),
                Ok(Command::SpawnCloser) => _ = self.closers.spawn_missing(),
                Ok(Command::Tick | Command::Stop(_)) => {}
                Err(_) => ticks += 1,
            }
        }
    }
}
