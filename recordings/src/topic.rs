//! The numbers and names of everything that flows.

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $schema:literal;)*) => {
        /// A topic. Its number stands in what steps saw, its name is that of the recording's channel.
        ///
        /// **Invariant:** numbers and names are never used again for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Topic {
            $($(#[$doc])* $name = $number,)*
        }

        impl Topic {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As written in recordings and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Name and version of its schema; empty where the topic is not recorded.
            #[must_use]
            pub const fn schema(self) -> &'static str {
                match self {
                    $(Self::$name => $schema,)*
                }
            }
        }
    };
}

topics! {
    /// The session's header: one message, the first.
    Header = 0, "header", "bregma.Header.1";
    /// Camera frames; recorded as [`Topic::Encoded`].
    Video = 1, "video", "";
    /// Camera frames as H.264.
    Encoded = 2, "encoded", "bregma.EncodedFrame.1";
    /// Tracked tips.
    Tips = 3, "tips", "bregma.TipPose.1";
    /// Scans; their shape and digest are recorded, not their intensities.
    Volumes = 4, "volumes", "bregma.VolumeNote.1";
    /// Registrations.
    Registration = 5, "registration", "bregma.Registration.2";
    /// What was planned and known before.
    Anatomy = 6, "anatomy", "bregma.Anatomy.1";
    /// Regions of interest; recomputed, not recorded.
    Rois = 7, "rois", "";
    /// Scenes.
    Scenes = 8, "scenes", "bregma.Scene.4";
    /// Number, digest and age of each scene; follows from the scenes, not recorded.
    Stamps = 9, "stamps", "";
    /// Plans.
    Plans = 10, "plans", "bregma.Plan.1";
    /// Verdicts.
    Verdicts = 11, "verdicts", "bregma.Verdict.1";
    /// Approvals: their plain record.
    Approved = 12, "approved", "bregma.ApprovedRecord.1";
    /// Approvals that no longer hold.
    Withdrawn = 13, "withdrawn", "bregma.Withdrawn.1";
    /// What the gate told the arm.
    Sent = 14, "sent", "bregma.Sent.1";
    /// The gate's reactions.
    Reacted = 15, "reacted", "bregma.Reacted.1";
    /// What the arm says.
    Arm = 16, "arm", "bregma.ArmState.1";
    /// What the instrument's console says.
    Instrument = 17, "instrument", "bregma.InstrumentState.1";
    /// The enabling input.
    Consent = 18, "consent", "bregma.Consent.1";
    /// Signs of life.
    Heartbeat = 19, "heartbeat", "bregma.Heartbeat.1";
    /// What a person orders.
    Orders = 20, "orders", "bregma.Order.1";
    /// Steps of plan, validate and command, for replay. A message's number is the step's, within its stage.
    Steps = 21, "steps", "bregma.StepRecord.1";
    /// How far away what the microscope shows is.
    Ranges = 22, "ranges", "bregma.RangeImage.1";
}

impl Topic {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// From that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.number() == number)
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.name() == name)
    }

    /// Whether its messages are written to the recording.
    #[must_use]
    pub const fn recorded(self) -> bool {
        !self.schema().is_empty()
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_find_their_topic_and_no_other() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_number(topic.number()), Some(*topic));
            assert_eq!(Topic::from_name(topic.name()), Some(*topic));
        }
        assert_eq!((Topic::from_number(23), Topic::from_name("")), (None, None));
        let mut names: Vec<_> = Topic::ALL.iter().map(|t| t.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Topic::ALL.len());
    }
}
