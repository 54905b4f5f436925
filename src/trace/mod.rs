//! Events for Event Tracing for Windows: one function each, and the names of its arguments are those of the event's values.
//!
//! A structure is named by the address of the client's memory. Without a listener, an event costs a load and a branch; without the feature
//! `etw`, nothing. All of them may be written at any IRQL, but not under a lock.

#[cfg(feature = "etw")]
mod description;
#[cfg(feature = "etw")]
mod provider;

#[cfg(feature = "etw")]
pub(crate) use provider::{start, stop};

/// Nobody can listen.
///
/// # Safety
///
/// None is needed.
#[cfg(not(feature = "etw"))]
pub(crate) const unsafe fn start() {}

/// Nobody could listen.
///
/// # Safety
///
/// None is needed.
#[cfg(not(feature = "etw"))]
pub(crate) const unsafe fn stop() {}

/// Makes the functions. The type behind a name is one of [`description::Type`]'s.
macro_rules! events {
    ($(
        $(#[$meta:meta])*
        $class:ident $name:literal $function:ident($($value:ident: $type:ident),* $(,)?);
    )*) => {$(
        $(#[$meta])*
        #[inline]
        pub(crate) fn $function($($value: value_of!($type)),*) {
            #[cfg(feature = "etw")]
            {
                const VALUES: &[description::Value] =
                    &[$((stringify!($value), description::Type::$type)),*];
                static DESCRIPTION: [u8; description::length_of_event($name, VALUES)] =
                    description::event($name, VALUES);
                static DESCRIPTOR: wdk_sys::EVENT_DESCRIPTOR =
                    provider::Class::$class.descriptor();

                /// The values as they lie in the event: without gaps.
                #[repr(C, packed)]
                struct Values {
                    $($value: value_of!($type)),*
                }

                #[cold]
                #[inline(never)]
                fn write(values: &Values) {
                    provider::write(&DESCRIPTOR, &DESCRIPTION, values);
                }

                if provider::listens(provider::Class::$class) {
                    write(&Values { $($value),* });
                }
            }
            #[cfg(not(feature = "etw"))]
            let _ = ($($value,)*);
        }
    )*};
}

/// The type of a value in memory.
macro_rules! value_of {
    (NUMBER) => {
        u32
    };
    (FLAGS) => {
        u32
    };
    (COUNT) => {
        u64
    };
    (POINTER) => {
        usize
    };
    (STATUS) => {
        i32
    };
}

events! {
    /// A transport was bound.
    Life "TransportBuilt" transport_built(transport: POINTER);
    /// A transport is gone, or its build has failed.
    #[expect(clippy::too_many_arguments, reason = "one for each value of the event")]
    Life "TransportEnded" transport_ended(
        transport: POINTER,
        sends: COUNT,
        bytes_sent: COUNT,
        send_failures: COUNT,
        receives: COUNT,
        bytes_received: COUNT,
        receives_refused: COUNT,
        connects: COUNT,
        connect_failures: COUNT,
        local_disconnects: COUNT,
        remote_disconnects: COUNT,
        address_errors: COUNT,
    );
    /// A local address was opened.
    Life "AddressBuilt" address_built(address: POINTER, transport: POINTER);
    /// A local address is gone, or its build has failed.
    Life "AddressEnded" address_ended(address: POINTER);
    /// A connection was built.
    Life "ConnectionBuilt" connection_built(connection: POINTER, address: POINTER);
    /// A connection is gone, or its build has failed.
    Life "ConnectionEnded" connection_ended(connection: POINTER);
    /// A circuit's connect is on its way.
    Life "ConnectSent" connect_sent(circuit: POINTER, connection: POINTER);
    /// The transport has answered the connect.
    Life "ConnectEnded" connect_ended(circuit: POINTER, status: STATUS);
    /// A circuit can be used.
    Life "CircuitBuilt" circuit_built(circuit: POINTER, connection: POINTER);
    /// A disconnect is on its way; an ABORT, if that is 1.
    Life "DisconnectSent" disconnect_sent(circuit: POINTER, abort: NUMBER);
    /// The transport has answered the disconnect.
    Life "DisconnectEnded" disconnect_ended(circuit: POINTER, status: STATUS);
    /// The transport says that the circuit is no more.
    Life "DisconnectIndicated" disconnect_indicated(circuit: POINTER, flags: FLAGS);
    /// A circuit is gone, or its build has failed.
    Life "CircuitEnded" circuit_ended(
        circuit: POINTER,
        sends: COUNT,
        bytes_sent: COUNT,
        send_failures: COUNT,
        receives: COUNT,
        bytes_received: COUNT,
        receives_refused: COUNT,
    );
    /// A circuit could not be built.
    Trouble "CircuitFailed" circuit_failed(circuit: POINTER, status: STATUS);
    /// A transport gives an address up.
    Trouble "AddressError" address_error(address: POINTER, status: STATUS);
    /// A send has failed.
    Trouble "SendFailed" send_failed(circuit: POINTER);
    /// A send was given to the transport.
    Data "Sent" sent(circuit: POINTER, bytes: NUMBER);
    /// The client has taken bytes, or they came into its memory.
    Data "Received" received(circuit: POINTER, bytes: NUMBER);
    /// The client has refused received bytes.
    Data "Refused" refused(circuit: POINTER);
}
