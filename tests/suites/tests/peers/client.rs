//! The control interface of exchange.sys, typed: a session with a server.

use anyhow::{Result, bail, ensure};
use exchange_ioctl::{
    Answer, Closed, DEVICE_NAME, EVENTS, Event, How, Kind, Open, Protocol, Wait, code, status_of,
};
use ntsim::io::status;
use ntsim::{File, NtStatus};

/// Everything, copied.
pub(crate) const TAKE_ALL: Answer = Answer::Take(u32::MAX);
/// Flags of the disconnect callback: the peer closed its side, in order.
pub(crate) const RELEASE: u32 = 4;
/// Flags of the disconnect callback: the connection is gone.
pub(crate) const ABORT: u32 = 2;
/// Nothing more is expected for so long before a test gives up, in milliseconds of real time.
const PATIENCE: u32 = 60_000;

/// A session. Dropping it closes the handle, and so whatever was not torn down.
pub(crate) struct Client(File);

impl Client {
    /// Opens a session that has no circuit yet.
    pub(crate) fn new() -> Result<Self> {
        match File::open(DEVICE_NAME) {
            Ok(file) => Ok(Self(file)),
            Err(error) => bail!("cannot open {DEVICE_NAME}: {error}"),
        }
    }

    /// A session with a circuit to this port.
    pub(crate) fn connected(port: u16, room: u32, answer: Answer) -> Result<Self> {
        let client = Self::new()?;
        let answered = client.build(Protocol::Tcp, port, room, answer)?;
        ensure!(answered == 0, "no circuit: {}", status::name(answered));
        Ok(client)
    }

    /// A session with a datagram address that sends to this port.
    pub(crate) fn datagrams(port: u16, room: u32, answer: Answer) -> Result<Self> {
        let client = Self::new()?;
        let answered = client.build(Protocol::Udp, port, room, answer)?;
        ensure!(answered == 0, "no address: {}", status::name(answered));
        Ok(client)
    }

    /// Builds; what the engine answered.
    pub(crate) fn build(
        &self,
        protocol: Protocol,
        port: u16,
        room: u32,
        answer: Answer,
    ) -> Result<i32> {
        let open = Open {
            protocol,
            ip: [127, 0, 0, 1],
            port,
            room,
            answer,
        };
        self.status(code::OPEN, &open.encode())
    }

    fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
        self.0.ioctl(code, input, room)
    }

    fn status(&self, code: u32, input: &[u8]) -> Result<i32> {
        let output = self.control(code, input, 4)?;
        status_of(&output).ok_or_else(|| anyhow::anyhow!("no status in {output:?}"))
    }

    /// How indications are answered from now on.
    pub(crate) fn answer(&self, answer: Answer) -> Result<()> {
        self.control(code::ANSWER, &answer.encode(), 0)?;
        Ok(())
    }

    /// Sends; what the engine answered.
    pub(crate) fn send(&self, how: How, bytes: &[u8]) -> Result<i32> {
        self.status(code::SEND, &[&how.encode(), bytes].concat())
    }

    /// Sends, and the send works.
    pub(crate) fn say(&self, bytes: &[u8]) -> Result<()> {
        let answered = self.send(How::Synchronous, bytes)?;
        ensure!(answered == 0, "not sent: {}", status::name(answered));
        Ok(())
    }

    /// Waits for bytes (of [`Kind::Received`]) or calls; an error with all events if they do not come.
    pub(crate) fn wait(&self, kind: Kind, at_least: u32) -> Result<()> {
        if self.has_within(kind, at_least, PATIENCE)? {
            return Ok(());
        }
        bail!(
            "waited in vain for {at_least} of {kind:?}; events: {:?}",
            self.events()?
        )
    }

    /// Whether so much comes before nothing happens for so long.
    pub(crate) fn has_within(&self, kind: Kind, at_least: u32, milliseconds: u32) -> Result<bool> {
        let wait = Wait {
            kind,
            at_least,
            milliseconds,
        };
        match self.control(code::WAIT, &wait.encode(), 0) {
            Ok(_) => Ok(true),
            Err(NtStatus(status::IO_TIMEOUT)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What happened so far.
    pub(crate) fn events(&self) -> Result<Vec<Event>> {
        let bytes = self.control(code::EVENTS, &[], EVENTS * Event::LEN)?;
        bytes
            .chunks_exact(Event::LEN)
            .map(|bytes| {
                let event = bytes.try_into().ok().and_then(Event::decode);
                event.ok_or_else(|| anyhow::anyhow!("no event: {bytes:?}"))
            })
            .collect()
    }

    /// What happened so far, but for the sizes of received pieces, which the network chooses.
    pub(crate) fn story(&self) -> Result<Vec<(Kind, u32)>> {
        let told = |event: Event| match event.kind {
            Kind::Received | Kind::Refused => (event.kind, 0),
            kind => (kind, event.first),
        };
        Ok(self.events()?.into_iter().map(told).collect())
    }

    /// All received bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let offset = u32::try_from(all.len())?.to_le_bytes();
            let more = self.control(code::BYTES, &offset, 1 << 20)?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    /// Begins to disconnect; what the engine answered.
    pub(crate) fn disconnect(&self) -> Result<i32> {
        self.status(code::DISCONNECT, &[])
    }

    /// Tears everything down; what the engine answered.
    pub(crate) fn close(&self) -> Result<Closed> {
        let output = self.control(code::CLOSE, &[], Closed::LEN)?;
        Closed::decode(&output).ok_or_else(|| anyhow::anyhow!("no answers in {output:?}"))
    }

    /// Tears everything down, and every routine succeeds.
    pub(crate) fn close_well(&self) -> Result<()> {
        let closed = self.close()?;
        let answers = [
            closed.circuit,
            closed.connection,
            closed.address,
            closed.transport,
        ];
        ensure!(
            answers
                .iter()
                .all(|answer| [0, exchange_ioctl::NOT_BUILT].contains(answer)),
            "torn down with {closed:x?}"
        );
        Ok(())
    }
}

/// A status as events carry it.
pub(crate) const fn number(status: i32) -> u32 {
    status.cast_unsigned()
}
