//! Outputs that are nothing but numbers.

use p9::{
    Error,
    wire::{Reader, Writer},
};

use crate::format::codec;

/// Which interface the driver has. A driver that does not know [`crate::code::VERSION`] has an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its [`crate::INTERFACE_VERSION`].
    pub version: u32,
}

impl Version {
    /// Encoded size.
    pub const SIZE: usize = 4;
}

codec!(
    Version,
    |input| Self {
        version: input.u32()?
    },
    |this, output| {
        output.u32(this.version)?;
    }
);

macro_rules! numbers {
    ($(#[$about:meta])* $structure:ident { $($name:ident $doc:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $structure {
            $(#[doc = $doc] pub $name: u64,)+
        }

        impl $structure {
            /// The names of the numbers, in the order of the encoding.
            pub const NAMES: &[&str] = &[$(stringify!($name),)+];
            /// Encoded size.
            pub const SIZE: usize = Self::NAMES.len() * size_of::<u64>();

            /// The numbers with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, Error> {
                Ok(Self { $($name: input.u64()?,)+ })
            }

            fn write(&self, output: &mut Writer<'_>) -> Result<(), Error> {
                $(output.u64(self.$name)?;)+
                Ok(())
            }
        }
    };
}

numbers!(
    /// Counters since the driver was loaded.
    Statistics {
        circuits "Circuits that were built.",
        sends_synchronous "Requests sent synchronously.",
        sends_asynchronous "Requests sent asynchronously.",
        sends_completed "Send-complete callbacks.",
        indications "Receive callbacks.",
        copied_bytes "Bytes copied from indications.",
        in_place_receives "Indications answered with a buffer for the rest.",
        in_place_bytes "Bytes that the transport wrote into such a buffer.",
        disconnects "Disconnect callbacks.",
        protocol_errors "Replies that broke the protocol.",
    }
);

codec!(
    Statistics,
    |input| Self::read(&mut input)?,
    |this, output| { this.write(&mut output)? }
);

numbers!(
    /// What `RxCexQueryCounters` tells of one structure; the names are those of `RXCEX_COUNTERS`.
    EngineCounters {
        sends "Sends.",
        bytes_sent "BytesSent.",
        send_failures "SendFailures.",
        receives "Receives.",
        bytes_received "BytesReceived.",
        receives_refused "ReceivesRefused.",
        receives_refetched "ReceivesRefetched.",
        datagrams_sent "DatagramsSent.",
        datagram_bytes_sent "DatagramBytesSent.",
        datagram_send_failures "DatagramSendFailures.",
        datagrams_received "DatagramsReceived.",
        datagram_bytes_received "DatagramBytesReceived.",
        datagrams_refused "DatagramsRefused.",
        connects "Connects.",
        connect_failures "ConnectFailures.",
        local_disconnects "LocalDisconnects.",
        remote_disconnects "RemoteDisconnects.",
        address_errors "AddressErrors.",
    }
);

/// What the engine counted for the session: of its transport, its address, its connection and its circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of the transport.
    pub transport: EngineCounters,
    /// Of the address.
    pub address: EngineCounters,
    /// Of the connection.
    pub connection: EngineCounters,
    /// Of the circuit.
    pub circuit: EngineCounters,
}

impl Counters {
    /// Encoded size.
    pub const SIZE: usize = 4 * EngineCounters::SIZE;

    /// The structures with what they are called.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &EngineCounters); 4] {
        [
            ("transport", &self.transport),
            ("address", &self.address),
            ("connection", &self.connection),
            ("circuit", &self.circuit),
        ]
    }
}

codec!(
    Counters,
    |input| Self {
        transport: EngineCounters::read(&mut input)?,
        address: EngineCounters::read(&mut input)?,
        connection: EngineCounters::read(&mut input)?,
        circuit: EngineCounters::read(&mut input)?,
    },
    |this, output| {
        for (_, counters) in this.named() {
            counters.write(&mut output)?;
        }
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        let circuit = EngineCounters {
            sends: 1,
            address_errors: u64::MAX,
            ..EngineCounters::default()
        };
        let counters = Counters {
            circuit,
            ..Counters::default()
        };
        let mut buffer = [0; Counters::SIZE];
        let bytes = counters.encode(&mut buffer).unwrap_or_default();
        assert_eq!(bytes.len(), Counters::SIZE);
        assert_eq!(Counters::decode(bytes), Ok(counters));
        assert_eq!(circuit.named().last(), Some(("address_errors", u64::MAX)));
        assert_eq!(Statistics::SIZE, 80);
        assert_eq!(Version::decode(&[2, 0, 0, 0]), Ok(Version { version: 2 }));
    }
}
