//! The catalogue: name, where it is, and what is wrong then.

macro_rules! catalogue {
    ($($place:literal { $($name:ident: $description:literal,)+ })+) => {
        /// A defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $description] $name,)+)+
        }

        impl Mutant {
            /// Every defect, in the order of the catalogue.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)+)+
                }
            }

            /// The part of the engine that it is in.
            #[must_use]
            pub const fn place(self) -> &'static str {
                match self {
                    $($(Self::$name => $place,)+)+
                }
            }

            /// What is wrong then.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $($(Self::$name => $description,)+)+
                }
            }
        }
    };
}

impl Mutant {
    /// Its number, for [`select`](crate::select); never 0.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32 + 1
    }
}

catalogue! {
    "initiate" {
        StateBeforeMemory: "the state is changed before the request is allocated",
        UnlockedDecision: "the decision is carried out in another hold of the lock than it was made in",
        SecondRelease: "a local disconnect is not recorded: another RELEASE follows",
        ReleaseToAbortOnly: "a provider that knows only ABORT gets a RELEASE",
        AcknowledgementForgotten: "the peer's RELEASE is never acknowledged",
        TimeoutSign: "the time-out of a RELEASE has the wrong sign: a date instead of a span",
    }
    "tear-down" {
        TearDownWhileBuilding: "a circuit that is being built can be torn down",
        SecondTearDown: "a circuit that is being torn down can be torn down once more",
        TearDownSendsNothing: "tear-down of an active circuit sends no disconnect",
        NoOrderlyWait: "tear-down does not wait for an orderly end before it aborts",
        OrderlyWaitTooLong: "tear-down waits ten times as long for an orderly end",
        ReceivesDelayAbort: "tear-down waits for receives as if a RELEASE ended them",
        NoAbort: "tear-down does not escalate to an ABORT",
        SecondAbort: "a second ABORT is sent",
        NoCancel: "requests that outlive the ABORT are not cancelled",
        NoEarlyClose: "the endpoint is not closed while requests are left",
        NoDrain: "tear-down does not wait for the requests in flight",
        LostWakeUp: "whoever waits for progress is not woken",
        StatusSwallowed: "tear-down does not return the transport's failure",
        StatusOfGonePeer: "tear-down returns a failure although the peer had gone before",
        CleanUpNotAwaited: "tear-down does not wait for pCleanUpEvent",
        NoRundown: "the circuit is freed before the last callback has returned",
        StructureNotCleared: "the structure of a circuit that was torn down is not zeroed",
        HandleClosedTwice: "the endpoint's handle is closed a second time",
        HandleOnWrongThread: "handles are opened and closed in the caller's thread, whatever its level",
        EndpointKept: "the endpoint's handle is not closed",
        FileObjectKept: "the endpoint's file object is not dereferenced",
    }
    "peer's end" {
        AbortStaysRelease: "an ABORT after a RELEASE does not take back that an acknowledgement is owed",
        BothFlagsAreRelease: "a disconnect with both flags counts as a RELEASE",
        NoticeAfterLocalDisconnect: "the client hears of a disconnect that it has asked for",
        NoticeInTearDown: "the client is called although a tear-down has the circuit",
        NoticeWhileBuilding: "the client hears of a disconnect while the circuit is still being built",
        OwedNoticeLost: "a disconnect that came during the build is never announced",
        ErrorReachesOne: "an error of the address reaches one of its circuits only",
        ReferenceKept: "a disconnect that is not announced keeps a reference to the circuit",
        ReferenceReleasedTwice: "a disconnect that is not announced releases its reference twice",
    }
    "build" {
        BuiltDespiteDisconnect: "a build succeeds although the circuit was disconnected meanwhile",
        CancelForgotten: "a cancelled build does not know that it was cancelled",
        CancelledKeepsConnect: "a cancelled build does not cancel its connect",
        DamageAccepted: "the public fields of a circuit are not compared",
        ParentsUnchecked: "the signatures of a circuit's parents are not compared",
        BuiltTwice: "two builds can reserve one structure",
        MirrorStale: "the public counters are not brought up to date when a circuit goes",
        ClaimedWithChildren: "a parent can be torn down while it has circuits",
        ExpeditedUnasked: "the handler of expedited data is registered with every provider",
        NoErrorHandler: "the handler of address errors is not registered",
        LevelUnchecked: "routines that wait accept any level",
    }
    "registry" {
        StaleIdAccepted: "an id of an earlier use of the same slot is accepted",
        IdOutlivesBlock: "an id still leads to its block when that is freed",
    }
    "send" {
        SendAfterDisconnect: "sends are accepted after a disconnect",
        NoSecondLook: "the state is not looked at again when a send is listed",
        CallbackOnRefusal: "a send that is refused is also completed by a callback",
        SendStatusSwallowed: "SendComplete always tells of success",
        SendCompletedTwice: "SendComplete is called twice",
        SubmittedForgotten: "SendSubmitted is not called",
        EngineFlagsPassedOn: "the engine's own option bits reach the transport",
        SendLengthOffByOne: "a send may be one byte shorter than its chain",
        EmptyPartAccepted: "a part of no bytes is accepted",
        RequestFreedTwice: "the completion of a send gives its part of the request back twice",
        RequestKept: "the completion of a send keeps its part of the request",
    }
    "receive" {
        ReceiveInTearDown: "receives are admitted during a tear-down",
        GuardNotTaken: "the guard of a stream is not taken: indications overtake each other",
        RefusalForgotten: "data that was refused because of a receive in progress is not fetched",
        EarlyRefusalForgotten: "data that came before the winner was known is not fetched",
        FetchedTwice: "data that a receive request fetches is fetched once more",
        TearDownRefuses: "data that comes during a tear-down is refused instead of discarded",
        DiscardBehindReceive: "data behind an accepted receive is discarded during a tear-down",
        ExpeditedAsNormal: "expedited data is given to the callback of normal data",
        TakenNotClamped: "a client can take more than was indicated",
        ContinuationFromStart: "the continuation of a receive begins at the start of the client's memory",
        NoContinuation: "a receive that came in part is not continued",
        DataReadyTwice: "DataReady is called twice",
        DataReadyForgotten: "DataReady is not called when a receive cannot begin",
        SpareReusedEarly: "the spare receive is used again while somebody has a part of it",
        RefusedBytesLost: "bytes that were fetched and refused are dropped",
        StaleReceiveMdl: "pReceiveMdl still shows the chain of a receive that is over",
        SendPossibleToAddress: "SEND_POSSIBLE always goes to the address",
        ChainTwice: "a chain that the client took is fetched once more",
    }
    "datagram" {
        DatagramContextLost: "SendComplete of a datagram comes without the client's context",
        DatagramTooLong: "a datagram may be longer than the provider takes",
        DatagramAddressKept: "a datagram that was sent keeps a reference to its address",
        DatagramTakenOnRefusal: "a refused datagram counts as taken",
        DatagramReadyForgotten: "DataReady is not called for a datagram",
    }
    "query" {
        QueryPrecedence: "the length is checked before the class",
        QueryLengthOffByOne: "a buffer that is one byte too short is accepted",
        OverflowIsFailure: "the overflow of an adapter's names is a failure",
        AnswerOnFailure: "the caller's buffer is written although the query failed",
        QueryInTearDown: "a query is listed during a tear-down",
        QueryMdlLeaked: "the MDL of a query is not freed",
    }
    "packets" {
        TrackerLeaked: "the record of a packet is not freed with it",
        PacketWithoutLocations: "a packet without stack locations is asked for",
    }
    "unload" {
        UnloadWithoutRundown: "the unload does not wait for completion routines that still have a reference",
        UnloadWithoutVisit: "the unload does not wait for the last instructions of completion routines",
    }
    "competition" {
        BestIsFirst: "the best transport is whichever succeeds first",
        AllDoesNotWait: "the choice of all does not wait for all",
        LastFailureReported: "the failure of the last transport is reported, not that of the first",
        WinnerNotRecorded: "a later success decides once more",
        LoserNotClosed: "the endpoints of those that lost are not closed",
        CleanUpEventMissing: "the winner gets no pCleanUpEvent while others are being closed",
        CleanUpEventNeverSet: "pCleanUpEvent is never signalled",
        WrongIndex: "the reported index is one too high",
        CompletionAlsoInline: "the completion routine is called although the routine returned the result",
        OwedAfterCompletionLost: "a disconnect of the winner before its announcement is never told",
    }
    "counters" {
        BytesCountedTwice: "the bytes of a send are counted twice",
        FoldForgotten: "what a circuit counted is lost to its parents when it goes",
        FailureIsConnect: "a failed connect is counted as a connect",
    }
}
