//! How an answer leaves the pool.

use crate::error::Error;
use crate::socket::Socket;

/// Carries an answer out of the pool. Called on a thread of the pool, never on the submitter's.
pub trait Reply<T = Socket>: Send {
    /// Returns whether the caller still waits. If not, the request is dropped without an answer.
    fn is_wanted(&self) -> bool;
    /// Returns whose it is: requests of one caller are answered in their order.
    fn caller(&self) -> u64 {
        0
    }
    /// Delivers the one answer.
    fn answer(self: Box<Self>, result: Result<T, Error>);
}
