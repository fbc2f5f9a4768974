//! What other threads ask of the manager.

use crossbeam_channel::{Receiver, Sender, unbounded};

pub(crate) enum Command {
    /// Spawn a helper, which counts as awake already.
    SpawnHelper,
    /// Join the thread of a helper, which is ending.
    JoinHelper(u64),
    /// Tick until a tick finds every path served and every helper idle.
    Tick,
    /// Spawn a closer: descriptors are waiting for one.
    SpawnCloser,
    /// Join the thread of a closer, which is ending.
    JoinCloser(u64),
    /// End every thread of the pool, and say how many could not be joined.
    Stop(Box<dyn FnOnce(usize) + Send>),
}

#[derive(Clone)]
pub(crate) struct CommandSender(Sender<Command>);

impl CommandSender {
    pub(crate) fn channel() -> (Self, Receiver<Command>) {
        let (sender, receiver) = unbounded();
        (Self(sender), receiver)
    }

    pub(crate) fn send(&self, command: Command) {
        // The manager ends only after a stop, when nothing is left to be done.
        let _ = self.0.send(command);
    }
}
