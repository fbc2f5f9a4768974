//! Making threads, and knowing when one is gone.
//!
//! A thread begins in the network namespace of the thread that spawns it. So only the manager spawns: it
//! never leaves the VM's namespace, and a scheduler must not wait for a thread to be made.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::gettid;

use crate::control::{Command, CommandSender};
use crate::sys;

/// Sending a message takes 6 KiB, a panic with a backtrace 27. At 16 KiB a panic would take the VM down.
pub(crate) const STACK: usize = 64 * 1024;

/// How often a joined thread that is not gone yet is looked for again.
const POLL: Duration = Duration::from_micros(50);

/// How many such looks. A thread takes some 60 µs to go, and whole time slices where all cores are busy.
const POLLS: u32 = 20_000;

/// A thread of the pool.
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// Its number, once it runs.
    tid: Arc<AtomicI32>,
}

/// Spawns a thread that runs `body` and sends `last` when it ends, however it ends. Signals stay blocked in
/// it, as they are in the manager.
pub(crate) fn spawn(
    name: &str,
    commands: &CommandSender,
    last: Command,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<Thread> {
    let tid = Arc::<AtomicI32>::default();
    let (own_tid, commands) = (tid.clone(), commands.clone());
    let builder = Builder::new().name(name.to_owned()).stack_size(STACK);
    let handle = builder.spawn(move || {
        own_tid.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        let _last = ExitGuard(commands, Some(last));
        body();
    })?;
    Ok(Thread { handle, tid })
}

impl Thread {
    /// Waits until the thread has left every namespace. An error is its panic.
    ///
    /// pthread_join(3) returns earlier: the kernel wakes the joiner when it lets go of the thread's memory,
    /// and only then takes the thread out of its namespaces (`do_exit`, Linux 4.9 to 7.2). The thread's
    /// number goes last.
    pub(crate) fn join(self) -> std::thread::Result<()> {
        let joined = self.handle.join();
        let is_there = |tid: &AtomicI32| {
            Pid::from_raw(tid.load(Ordering::Relaxed)).is_some_and(sys::thread_exists)
        };
        for _ in 0..POLLS {
            if !is_there(&self.tid) {
                break;
            }
            sleep(POLL);
        }
        joined
    }
}

/// Tells the manager of the end of a thread, a panic included.
struct ExitGuard(CommandSender, Option<Command>);

impl Drop for ExitGuard {
    fn drop(&mut self) {
        if let Some(last) = self.1.take() {
            self.0.send(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_end_is_told_after_panic() {
        let (commands, receiver) = CommandSender::channel();
        let last = |id| Command::JoinHelper(id);
        let quiet = spawn("nlns-test", &commands, last(1), || {}).unwrap();
        assert!(matches!(receiver.recv(), Ok(Command::JoinHelper(1))));
        assert!(quiet.join().is_ok());
        let body = || panic!("a panic that belongs to this test");
        let panics = spawn("nlns-test", &commands, last(2), body).unwrap();
        assert!(matches!(receiver.recv(), Ok(Command::JoinHelper(2))));
        assert!(panics.join().is_err());
    }

    #[test]
    fn joined_thread_is_gone() {
        let (commands, _receiver) = CommandSender::channel();
        // Without the wait some of these are still there: 9 of 20,000 on two processors.
        for _ in 0..2_000 {
            let thread = spawn("nlns-test", &commands, Command::Tick, || {}).unwrap();
            let tid = thread.tid.clone();
            thread.join().unwrap();
            let tid = Pid::from_raw(tid.load(Ordering::Relaxed)).unwrap();
            assert!(!sys::thread_exists(tid));
        }
    }
}
