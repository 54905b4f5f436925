//! Calls of the client's callbacks for a circuit.

use core::ptr;
#[cfg(debug_assertions)]
use core::sync::atomic::Ordering;

use rxce_engine::life::Notice;

use super::Circuit;

impl Circuit {
    /// Makes the one callback that the end of the circuit is announced with, without the transport's disconnect data.
    pub(in crate::connection) fn notify(&self, notice: Notice) {
        let (callbacks, client) = self.connection().callbacks();
        let none = ptr::null_mut();
        match notice {
            Notice::Disconnect(flags) => {
                if let Some(disconnect) = callbacks.Disconnect {
                    // SAFETY: The client's callback, as its table declares it; no lock is held.
                    self.in_callback(|| unsafe {
                        disconnect(client, self.vc(), 0, none, 0, none, flags)
                    });
                }
            }
            Notice::Error(status) => {
                if let Some(error) = callbacks.Error {
                    // SAFETY: As above.
                    self.in_callback(|| unsafe { error(client, self.vc(), status) });
                }
            }
        }
    }

    /// Runs a client callback, which must not tear this circuit down.
    #[cfg(debug_assertions)]
    pub(in crate::connection) fn in_callback<R>(&self, callback: impl FnOnce() -> R) -> R {
        // One thread is remembered: with several callbacks at once the rule is checked for the first.
        let first = self.callback_thread.compare_exchange(
            0,
            crate::nt::thread::current(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        let result = callback();
        if first.is_ok() {
            self.callback_thread.store(0, Ordering::Relaxed);
        }
        result
    }

    /// Runs a client callback.
    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "debug builds record the thread")]
    pub(in crate::connection) fn in_callback<R>(&self, callback: impl FnOnce() -> R) -> R {
        callback()
    }

    /// Whether this thread is inside a callback of the circuit, as far as is known.
    #[cfg(debug_assertions)]
    pub(in crate::connection) fn is_in_callback_here(&self) -> bool {
        self.callback_thread.load(Ordering::Relaxed) == crate::nt::thread::current()
    }

    /// Release builds do not know.
    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "debug builds record the thread")]
    pub(in crate::connection) const fn is_in_callback_here(&self) -> bool {
        false
    }
}
