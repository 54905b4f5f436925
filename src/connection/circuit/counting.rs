//! What a circuit counts, for itself and at its parents.

use rxce_engine::circuit::Circuit as _;

use super::Circuit;
use crate::{
    abi::extension::Counters,
    connection::{
        counters::{Counter, Stripe, Totals},
        shelf::Shelf,
    },
    trace,
};

impl Circuit {
    /// Its share in what the transport counts.
    const fn stripe(&self) -> &Stripe {
        // SAFETY: A part of the transport, which the circuit has pinned.
        unsafe { self.stripe.as_ref() }
    }

    /// Where an idle request may lie.
    pub(in crate::connection) fn shelf(&self) -> &Shelf {
        &self.stripe().shelf
    }

    /// A send was listed; called under the circuit's lock.
    pub(in crate::connection) fn count_listed(&self, bytes: u32) {
        self.counters.flow.listed(bytes);
    }

    /// A listed send is about to be given to the transport.
    pub(in crate::connection) fn count_sent(&self, bytes: u32) {
        self.stripe().sent(bytes);
        trace::sent(self.vc().addr(), bytes);
    }

    /// A send failed.
    pub(in crate::connection) fn count_send_failure(&self) {
        self.counters.send_failures.count();
        self.count(|totals| &totals.send_failures);
        trace::send_failed(self.vc().addr());
    }

    /// The client took `bytes` of an indication.
    pub(in crate::connection) fn count_received(&self, bytes: u32) {
        self.count_receives(true, bytes);
    }

    /// `bytes` came into the client's memory.
    pub(in crate::connection) fn count_filled(&self, bytes: u32) {
        self.count_receives(false, bytes);
    }

    fn count_receives(&self, first: bool, bytes: u32) {
        self.counters.flow.received(first, bytes);
        self.stripe().received(first, bytes);
        trace::received(self.vc().addr(), bytes);
    }

    /// An indication was refused, by the client or because older bytes wait.
    pub(in crate::connection) fn count_refused(&self) {
        self.counters.refused.count();
        self.count(|totals| &totals.refused);
        trace::refused(self.vc().addr());
    }

    /// Counts what is rare, at all parents.
    pub(in crate::connection) fn count(&self, which: impl Fn(&Totals) -> &Counter) {
        let connection = self.connection();
        which(connection.totals()).add(1);
        connection.address().count(1, which);
    }

    /// Leaves what was counted to connection and address; the transport has it already. The circuit ends.
    pub(super) fn fold_counters(&self) {
        let connection = self.connection();
        connection.totals().flow.fold(&self.counters.flow);
        connection.address().totals().flow.fold(&self.counters.flow);
        let own = self.counters.report();
        trace::circuit_ended(
            self.vc().addr(),
            own.Sends,
            own.BytesSent,
            own.SendFailures,
            own.Receives,
            own.BytesReceived,
            own.ReceivesRefused,
        );
    }

    /// What was counted.
    pub(in crate::connection) fn counted(&self) -> Counters {
        let life = self.hold(|ledger| ledger.life);
        Counters {
            Connects: u64::from(!life.is_building()),
            LocalDisconnects: life.local_disconnect_submitted().into(),
            RemoteDisconnects: life.remote_disconnect_seen().into(),
            ..self.counters.report()
        }
    }
}
