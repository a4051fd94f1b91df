//! What can go wrong, and what the gate does about it.
//!
//! **Invariant:** every [`Reason`] has exactly one [`Reaction`], in one `match` without `_`; every reaction
//! takes the instrument's energy off first.

use std::fmt;

/// The only reactions, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reaction {
    /// Stand still where the tip is; a person may resume.
    Hold,
    /// Leave by the last validated retract path.
    Retract,
    /// Stand still and latch until a person clears it.
    Stop,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reaction:ident, $words:literal;)*) => {
        /// A fact that keeps the arm from moving.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What the gate does about it.
            #[must_use]
            pub const fn reaction(self) -> Reaction {
                match self {
                    $(Self::$name => Reaction::$reaction,)*
                }
            }

            /// In words a person understands.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }

            /// Its number on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// From that number.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|r| r.code() == code)
            }
        }
    };
}

reasons! {
    /// Nobody holds the enabling input.
    ConsentReleased = 1, Hold, "the enabling input was released";
    /// The enabling input has not been read for too long.
    ConsentStale = 2, Hold, "the enabling input has not been heard for too long";
    /// The two channels of the enabling input disagree.
    ConsentDisagrees = 3, Stop, "the two channels of the enabling input disagree";
    /// No heartbeat within its limit.
    HeartbeatLost = 4, Hold, "the heartbeat was lost";
    /// The arm has not been heard for too long.
    ArmStale = 5, Stop, "the arm has not been heard for too long";
    /// The arm says that it does not follow.
    ArmNotReady = 6, Stop, "the arm does not follow commands";
    /// The arm is not where it was told to be.
    TrackingError = 7, Stop, "the arm is not where it was told to be";
    /// The newest scene is too old.
    SceneStale = 8, Hold, "the scene is stale";
    /// The approval was withdrawn.
    ApprovalWithdrawn = 9, Hold, "the approval was withdrawn";
    /// The approval's hash does not fit the gate's own copies.
    ApprovalForged = 10, Stop, "an approval's hash does not fit";
    /// An approval came twice, or out of sequence.
    ApprovalReplayed = 11, Stop, "an approval came twice or out of sequence";
    /// The approval expired before it could start.
    ApprovalExpired = 12, Hold, "an approval had expired";
    /// The approved path does not start where the arm stands.
    ApprovalElsewhere = 13, Hold, "an approved path starts elsewhere";
    /// A stage panicked.
    StagePanicked = 14, Hold, "a stage panicked";
    /// A stage returned a fault.
    StageFaulted = 15, Hold, "a stage reported a fault";
    /// The gate itself took longer than its budget.
    GateOverran = 16, Hold, "the gate took longer than its budget";
    /// The recording can take no more.
    RecordingFailed = 17, Hold, "the recording failed";
    /// A source of video ended or failed.
    VideoLost = 18, Hold, "the video was lost";
    /// The tracker does not see the tip.
    LineOfSightLost = 19, Hold, "the tracker does not see the tip";
    /// A person ordered it.
    Ordered = 20, Hold, "a person ordered it";
    /// Hold inside the head lasted too long; leaving is offered.
    HeldTooLong = 21, Hold, "held inside the head for too long; retract is offered";
    /// The time given to the gate went backwards.
    ClockBackwards = 22, Stop, "the clock went backwards";
    /// The instrument's console does not do what it was told.
    InstrumentDisagrees = 23, Stop, "the instrument's energy is not what was commanded";
    /// The reference array has moved, or a touched landmark lay elsewhere: nothing says where the patient is.
    RegistrationLost = 24, Hold, "the registration no longer holds";
    /// No known landmark was touched since the patient was registered: nobody has seen that the registration holds.
    RegistrationUnchecked = 25, Hold, "no landmark was touched since the registration";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Faults that runners and edges have latched, as bits by [`Reason::code`]; read by the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latched(pub u32);

impl Latched {
    /// Adds one.
    #[must_use]
    pub const fn with(self, reason: Reason) -> Self {
        Self(self.0 | 1 << reason.code())
    }
    /// Whether this one is latched.
    #[must_use]
    pub const fn has(self, reason: Reason) -> bool {
        self.0 >> reason.code() & 1 == 1
    }
    /// One of those with the most severe reaction.
    #[must_use]
    pub fn worst(self) -> Option<Reason> {
        Reason::ALL.iter().copied().filter(|r| self.has(*r)).max_by_key(|r| r.reaction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_code_and_comes_back_from_it() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert!(reason.code() < 32, "Latched holds 32 bits");
        }
        assert_eq!(Reason::from_code(0), None);
    }

    #[test]
    fn the_most_severe_latched_reason_is_named() {
        let latched = Latched::default().with(Reason::StagePanicked).with(Reason::ArmStale);
        assert_eq!(latched.worst(), Some(Reason::ArmStale));
        assert_eq!(Latched::default().worst(), None);
    }
}
