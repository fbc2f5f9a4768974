//! What others ask of the manager.

use crossbeam_channel::{Receiver, Sender, unbounded};

pub(crate) enum Command {
    /// Start a helper; it is counted already.
    SpawnHelper,
    /// Join the thread of a helper, which is ending.
    JoinHelper(u64),
    /// Look every tick until no path is ready, no helper naps, and none that stays on one
    /// processor has something to do.
    Watch,
    /// Descriptors are waiting for a closer.
    SpawnCloser,
    /// Join the thread of a closer, which is ending.
    JoinCloser(u64),
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
        // The manager is gone only after a stop, when nothing is left to be done.
        let _ = self.0.send(command);
    }
}
