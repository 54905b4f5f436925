//! What each event means for a virtual circuit: a pure function of its state, its flags and the event.
//!
//! Every method is one decision, made inside one hold of the circuit's lock (connection engine specification, 4.1).

/// Where a built circuit is in its life. Transitions go forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `RXCE_VC_ACTIVE`: sends are admitted.
    Active,
    /// `RXCE_VC_DISCONNECTED`: disconnected by either side, the endpoint is still open.
    Disconnected,
    /// `RXCE_VC_TEARDOWN`: one tear-down owns the structure.
    TearDown,
}

impl State {
    /// The value of the public `State` field.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Active => 0xAA,
            Self::Disconnected => 0xDD,
            Self::TearDown => 0xBB,
        }
    }
}

/// Whether the provider announces `TDI_SERVICE_ORDERLY_RELEASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// `TDI_DISCONNECT_RELEASE` is understood.
    Orderly,
    /// Only `TDI_DISCONNECT_ABORT` may be used.
    AbortOnly,
}

/// How a disconnect is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `TDI_DISCONNECT_RELEASE`: what is queued goes out first.
    Release,
    /// `TDI_DISCONNECT_ABORT`: what is queued is discarded.
    Abort,
}

impl Mode {
    /// The `RequestFlags` of the `TDI_DISCONNECT` request; exactly one flag may be given.
    #[must_use]
    pub const fn request_flags(self) -> u32 {
        match self {
            Self::Release => DISCONNECT_RELEASE,
            Self::Abort => 0x2,
        }
    }
}

const DISCONNECT_RELEASE: u32 = 0x4;

/// A client callback about the end of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The Disconnect callback, with the transport's `DisconnectFlags`.
    Disconnect(u32),
    /// The Error callback, with the address's error status.
    Error(i32),
}

/// What a local disconnect finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// A request has to be submitted.
    Submit(Mode),
    /// The circuit is disconnected and owes the peer nothing.
    Nothing,
    /// The circuit is being torn down.
    Refuse,
}

/// What the end of a connect means for the build that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// The circuit lives; the notice, if any, is still to be made.
    Alive(Option<Notice>),
    /// The build has to unwind; the circuit is in [`State::TearDown`].
    Unwind,
}

/// What a request to cancel a build finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelBuild {
    /// The build will fail, or is failing already, because it is cancelled.
    Cancelled,
    /// It has succeeded before.
    Built,
    /// It has failed before, or the circuit is being torn down.
    Refuse,
}

/// State and flags of one circuit, kept under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    state: State,
    closing: Closing,
    building: bool,
    announced: bool,
    local_disconnect_submitted: bool,
    abort_submitted: bool,
    remote_disconnect_seen: bool,
    remote_was_release: bool,
    cancelled: bool,
    owed: Option<Notice>,
}

impl Life {
    /// A circuit at its publication: active, and still being built.
    #[must_use]
    pub const fn new(closing: Closing) -> Self {
        Self {
            state: State::Active,
            closing,
            building: true,
            announced: true,
            local_disconnect_submitted: false,
            abort_submitted: false,
            remote_disconnect_seen: false,
            remote_was_release: false,
            cancelled: false,
            owed: None,
        }
    }

    /// A circuit that competes with others for one structure of the client's: until it is announced, the client hears
    /// nothing of it.
    #[must_use]
    pub const fn competing(closing: Closing) -> Self {
        let mut life = Self::new(closing);
        life.announced = false;
        life
    }

    /// Whether its build has not returned yet, or the competition that it is in.
    #[must_use]
    pub const fn is_building(&self) -> bool {
        self.building
    }

    /// Whether the client may hear of the circuit.
    #[must_use]
    pub const fn is_announced(&self) -> bool {
        self.announced
    }

    /// Announces the winner of a competition: it is built from now on. What is owed stays owed.
    pub const fn announce(&mut self) {
        self.announced = true;
        self.building = false;
    }

    /// The notice that is owed, once.
    pub const fn take_owed(&mut self) -> Option<Notice> {
        self.owed.take()
    }

    /// Gives a circuit up that lost a competition, or did not get that far.
    pub const fn give_up(&mut self) {
        self.state = State::TearDown;
    }

    /// The present state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether a send may be listed.
    #[must_use]
    pub fn admits_send(&self) -> bool {
        matches!(self.state, State::Active)
            || (mutant!(SendAfterDisconnect) && matches!(self.state, State::Disconnected))
    }

    /// Whether a receive request may be listed; in a tear-down the list only shrinks.
    #[must_use]
    pub fn admits_receive(&self) -> bool {
        !matches!(self.state, State::TearDown) || mutant!(ReceiveInTearDown)
    }

    /// Whether a local disconnect was submitted, by `RxCeInitiateVCDisconnect` or by a tear-down.
    #[must_use]
    pub const fn local_disconnect_submitted(&self) -> bool {
        self.local_disconnect_submitted
    }

    /// Whether an abort was submitted; there is one per circuit at most.
    #[must_use]
    pub const fn abort_submitted(&self) -> bool {
        self.abort_submitted
    }

    /// Whether the peer or the address ended the circuit.
    #[must_use]
    pub const fn remote_disconnect_seen(&self) -> bool {
        self.remote_disconnect_seen
    }

    /// What `RxCeInitiateVCDisconnect` would do now, without doing it.
    #[must_use]
    pub fn local_disconnect(&self) -> Local {
        match self.state {
            State::Active => Local::Submit(self.local_mode()),
            State::Disconnected if self.awaits_local_disconnect() => {
                Local::Submit(self.local_mode())
            }
            State::Disconnected => Local::Nothing,
            State::TearDown => Local::Refuse,
        }
    }

    /// Decides a local disconnect (edge a). On [`Local::Submit`] the request must be listed in the same hold.
    pub fn begin_local_disconnect(&mut self) -> Local {
        let decision = self.local_disconnect();
        if let Local::Submit(mode) = decision {
            self.state = State::Disconnected;
            self.local_disconnect_submitted = !mutant!(SecondRelease);
            if matches!(mode, Mode::Abort) {
                self.abort_submitted = true;
            }
        }
        decision
    }

    /// Whether a circuit that is disconnected still has use for a local disconnect: the peer's release is to be
    /// acknowledged, or its connect, which a transport may keep for ever, has to be aborted.
    fn awaits_local_disconnect(&self) -> bool {
        ((self.remote_was_release && !mutant!(AcknowledgementForgotten)) || self.building)
            && !self.local_disconnect_submitted
    }

    fn local_mode(&self) -> Mode {
        match self.closing {
            Closing::AbortOnly if mutant!(ReleaseToAbortOnly) => Mode::Release,
            Closing::Orderly if !self.building => Mode::Release,
            _ => Mode::Abort,
        }
    }

    /// Records the transport's disconnect event (edge b). A notice is to be made by the caller, once.
    pub fn remote_disconnect(&mut self, flags: u32) -> Option<Notice> {
        // Anything but RELEASE alone from an orderly provider counts as an abort; an abort stays one.
        let release = flags == DISCONNECT_RELEASE
            || (mutant!(BothFlagsAreRelease) && flags & DISCONNECT_RELEASE != 0);
        if release && matches!(self.closing, Closing::Orderly) {
            if !self.remote_disconnect_seen {
                self.remote_was_release = true;
            }
        } else if !mutant!(AbortStaysRelease) {
            self.remote_was_release = false;
        }
        self.remote_end(Notice::Disconnect(flags))
    }

    /// Records an error of the circuit's address (edge c): a remote abort with another notice.
    pub fn address_error(&mut self, status: i32) -> Option<Notice> {
        self.remote_was_release = false;
        self.remote_end(Notice::Error(status))
    }

    fn remote_end(&mut self, notice: Notice) -> Option<Notice> {
        self.remote_disconnect_seen = true;
        match self.state {
            State::Active => {}
            State::Disconnected if mutant!(NoticeAfterLocalDisconnect) => return Some(notice),
            State::TearDown if mutant!(NoticeInTearDown) => return Some(notice),
            State::Disconnected | State::TearDown => return None,
        }
        self.state = State::Disconnected;
        if self.building && !mutant!(NoticeWhileBuilding) {
            self.owed = (!mutant!(OwedNoticeLost)).then_some(notice);
            return None;
        }
        Some(notice)
    }

    /// Claims the circuit for a tear-down (edge d).
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidParameter`] if it is being built or is already being torn down.
    pub fn begin_tear_down(&mut self) -> Result<(), crate::Error> {
        let building = self.building && !mutant!(TearDownWhileBuilding);
        let claimed = matches!(self.state, State::TearDown) && !mutant!(SecondTearDown);
        if building || claimed {
            return Err(crate::Error::InvalidParameter);
        }
        self.state = State::TearDown;
        Ok(())
    }

    /// Whether a tear-down has a disconnect to send. A "no" is final.
    #[must_use]
    pub const fn owes_disconnect(&self) -> bool {
        !self.local_disconnect_submitted
            && (!self.remote_disconnect_seen || self.remote_was_release)
    }

    /// The disconnect that a tear-down sends first, if one is due. It must be listed in the same hold.
    pub fn tear_down_disconnect(&mut self) -> Option<Mode> {
        if !self.owes_disconnect() || mutant!(TearDownSendsNothing) {
            return None;
        }
        self.local_disconnect_submitted = true;
        match self.closing {
            Closing::Orderly => Some(Mode::Release),
            Closing::AbortOnly => {
                self.abort_submitted = true;
                Some(Mode::Abort)
            }
        }
    }

    /// Decides an escalation to ABORT: `true` once per circuit.
    pub fn escalate(&mut self) -> bool {
        let first = !self.abort_submitted || mutant!(SecondAbort);
        self.abort_submitted = true;
        first
    }

    /// Decides to cancel the build, whatever it is waiting for. The waiter has to be woken.
    pub fn cancel_build(&mut self) -> CancelBuild {
        match self.state {
            _ if self.cancelled => CancelBuild::Cancelled,
            State::TearDown => CancelBuild::Refuse,
            // A circuit of a competition is reached by its client when it has won.
            State::Active | State::Disconnected if !self.building || !self.announced => {
                CancelBuild::Built
            }
            State::Active | State::Disconnected => {
                self.state = State::Disconnected;
                self.cancelled = !mutant!(CancelForgotten);
                CancelBuild::Cancelled
            }
        }
    }

    /// Whether the build was cancelled.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Decides that a build fails before its connect; nobody can cancel it any more. `true` if somebody has.
    pub const fn fail_build(&mut self) -> bool {
        self.state = State::TearDown;
        self.cancelled
    }

    /// Decides whether a connect may still be sent; a circuit that was disconnected meanwhile unwinds.
    pub const fn begin_connect(&mut self) -> bool {
        let admitted = matches!(self.state, State::Active);
        if !admitted {
            self.state = State::TearDown;
        }
        admitted
    }

    /// Whether a build has nothing to wait for, although its connect goes on.
    #[must_use]
    pub const fn is_build_over(&self) -> bool {
        self.local_disconnect_submitted || self.cancelled
    }

    /// Decides the fate of a build whose connect ended, or whose wait was cut short by a local disconnect or a
    /// cancellation.
    pub fn end_build(&mut self, connected: bool) -> Built {
        if connected && (!self.is_build_over() || mutant!(BuiltDespiteDisconnect)) {
            self.building = false;
            return Built::Alive(self.owed.take());
        }
        self.state = State::TearDown;
        Built::Unwind
    }
}
