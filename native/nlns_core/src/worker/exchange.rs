//! Serving a netlink exchange, on a socket that this helper keeps while it stays where it is.

use std::sync::atomic::Ordering;

use super::Worker;
use super::serve::PendingReply;
use crate::error::{Error, Stage};
use crate::netlink::{self, Connection, Exchange, ExchangeReply, Failed, Outcome, Patience};
use crate::netns::{EnterError, LocationUnknown, Spec};

impl Worker<'_> {
    pub(super) fn exchange(
        &mut self,
        mut exchange: Exchange,
        reply: Box<dyn ExchangeReply>,
        reached: Result<(), Error>,
        is_alive: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), LocationUnknown> {
        let stats = self.shared.stats();
        let mut reply = PendingReply::new(reply, stats);
        if !reply.is_wanted() {
            return Ok(());
        }
        let ready = reached.and_then(|()| is_alive());
        let ended = match (ready, reply.reply()) {
            (Ok(()), Some(reply)) => self.carry_out(&mut exchange, reply),
            (Err(error), _) => Err(Failed::Error(error)),
            (Ok(()), None) => return Ok(()),
        };
        let result = match ended {
            Ok(outcome) => Ok(outcome),
            Err(Failed::Error(error)) => Err(error),
            // Dropping the reply answers it.
            Err(Failed::LocationUnknown) => return Err(LocationUnknown),
        };
        match &result {
            Ok(Outcome::Answered(_)) => {
                self.me.served.fetch_add(1, Ordering::Relaxed);
                stats.exchanged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::Refused(_)) => _ = stats.failed.fetch_add(1, Ordering::Relaxed),
            Err(error) if reply.is_wanted() => stats.count(*error),
            Err(_) => _ = stats.cancelled.fetch_add(1, Ordering::Relaxed),
        }
        reply.answer(result);
        Ok(())
    }

    fn carry_out(
        &mut self,
        exchange: &mut Exchange,
        reply: &mut dyn ExchangeReply,
    ) -> Result<Outcome, Failed> {
        let protocol = exchange.protocol;
        let shared = self.shared;
        let go_on = || match shared.is_stopping() {
            true => Err(Error::STOPPED),
            false => Ok(()),
        };
        let patience = Patience {
            deadline: exchange.deadline,
            go_on: &go_on,
        };
        patience.check(true)?;
        let mut connection = self
            .connection
            .take()
            .filter(|kept| kept.is_for(protocol, &self.here));
        // It may wait in the kernel, for a lock or for data.
        self.shared.request_ticks();
        let connect = || self.connect(protocol);
        let ended = netlink::run(exchange, reply, &patience, &mut connection, connect);
        self.connection = connection;
        ended
    }

    fn connect(&mut self, protocol: u32) -> Result<Connection, Failed> {
        let socket = match self.host.socket(&mut self.here, Spec::netlink(protocol)) {
            Ok(socket) => socket,
            Err(EnterError::Error(error)) => return Err(Failed::Error(error)),
            Err(EnterError::LocationUnknown) => return Err(Failed::LocationUnknown),
        };
        let stay = self.stay.get_or_insert_default().clone();
        Connection::new(socket, self.here, protocol, stay)
            .map_err(|errno| Failed::Error(Error::new(Stage::Socket, errno)))
    }
}
