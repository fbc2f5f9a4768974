//! What others ask of the keeper.

use crossbeam_channel::{Receiver, Sender, unbounded};

pub(crate) enum Order {
    /// Start a helper; it is counted already.
    Hire,
    /// Join the thread of a helper, which is ending.
    Bury(u64),
    /// Look every [`TICK`](super::TICK) until no path is ready, no helper naps, and none that stays on one
    /// processor has something to do.
    Watch,
    /// Descriptors are waiting for a closer.
    HireCloser,
    /// Join the thread of a closer, which is ending.
    BuryCloser(u64),
    Stop(Box<dyn FnOnce(usize) + Send>),
}

#[derive(Clone)]
pub(crate) struct Orders(Sender<Order>);

impl Orders {
    pub(crate) fn channel() -> (Self, Receiver<Order>) {
        let (sender, receiver) = unbounded();
        (Self(sender), receiver)
    }

    pub(crate) fn order(&self, order: Order) {
        // The keeper is gone only after a stop, when nothing is left to be done.
        let _ = self.0.send(order);
    }
}
