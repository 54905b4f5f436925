//! What a redirector knows by name, and the scavenger, which finalises what nobody has used for some time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{Fcb, Fobx, SrvOpen};
use super::layout::Dispatch;
use super::life::Node;
use super::net_root::{NetRoot, VNetRoot};
use super::registration::Redirector;
use super::server::Server;
use super::{net_root, server};
use crate::clock;
use crate::ex::work;

/// How long an object is kept if the table of callbacks does not say (ScavengerTimeout), in seconds.
const DEFAULT_TIMEOUT: u32 = 10;
/// 100 ns units.
const SECOND: u64 = 10_000_000;

/// The objects of a redirector.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) servers: Vec<Arc<Server>>,
    pub(super) net_roots: Vec<Arc<NetRoot>>,
    pub(super) v_net_roots: Vec<Arc<VNetRoot>>,
    /// By NET_ROOT and name.
    pub(super) fcbs: HashMap<(usize, String), Arc<Fcb>>,
    pub(super) srv_opens: HashMap<usize, Arc<SrvOpen>>,
    pub(super) fobxs: HashMap<usize, Arc<Fobx>>,
}

impl Tables {
    /// Views and servers that nobody has used since this time, taken from the tables.
    fn take_idle(&mut self, since: u64) -> (Vec<Arc<VNetRoot>>, Vec<Arc<Server>>) {
        let views = self
            .v_net_roots
            .extract_if(.., |view| view.node.is_idle_since(since))
            .collect();
        let servers = self
            .servers
            .extract_if(.., |server| server.node.is_idle_since(since))
            .collect();
        (views, servers)
    }

    /// Since when the longest idle of those that wait for the scavenger is idle.
    fn idle_since(&self) -> Option<u64> {
        let views = self.v_net_roots.iter().map(|view| &view.node);
        let servers = self.servers.iter().map(|server| &server.node);
        views.chain(servers).filter_map(Node::idle_since).min()
    }
}

impl Redirector {
    /// An object has a user less; the scavenger comes for it later.
    pub(super) fn release(self: &Arc<Self>, node: &Node) {
        let last = {
            let _tables = self.tables.lock();
            node.release()
        };
        if last {
            self.arm_scavenger();
        }
    }

    /// Finalises what nobody has used since this time.
    fn scavenge_since(self: &Arc<Self>, since: u64) {
        loop {
            let (views, servers) = self.tables.lock().take_idle(since);
            if views.is_empty() && servers.is_empty() {
                return;
            }
            for view in views {
                net_root::finalize_view(self, &view);
            }
            for server in servers {
                server::finalize(self, &server);
            }
        }
    }

    /// Finalises everything that nobody uses now.
    pub(super) fn scavenge_all(self: &Arc<Self>) {
        self.scavenge_since(u64::MAX);
    }

    /// Arranges that what is idle now is looked at when its time has come. Nothing is arranged for objects in use: a
    /// clock that always has a deadline would never find a hang.
    fn arm_scavenger(self: &Arc<Self>) {
        let seconds = match Dispatch(self.dispatch).scavenger_timeout().get() {
            0 => DEFAULT_TIMEOUT,
            seconds => seconds,
        };
        let timeout = u64::from(seconds) * SECOND;
        let Some(since) = self.tables.lock().idle_since() else {
            return;
        };
        if self.scavenger.swap(true, Ordering::AcqRel) {
            return;
        }
        let redirector = Arc::downgrade(self);
        clock::at(since + timeout, move || {
            let Some(redirector) = redirector.upgrade() else {
                return;
            };
            redirector.work_changed(1);
            work::queue_host(move || {
                redirector.scavenger.store(false, Ordering::Release);
                redirector.scavenge_since(clock::interrupt_time().saturating_sub(timeout));
                redirector.arm_scavenger();
                redirector.work_changed(-1);
            });
        });
    }
}
