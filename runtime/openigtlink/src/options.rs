//! What a receiver insists on, and what it lets pass because it was told to.

/// How messages are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Longest body taken, in bytes.
    pub max_body: usize,
    /// Whether the CRC is looked at.
    pub checksum: Checksum,
    /// Whose deviations from the protocol are taken.
    pub peer: Peer,
}

impl DecodeOptions {
    /// Checks everything.
    #[must_use]
    pub const fn strict(max_body: usize) -> Self {
        Self { max_body, checksum: Checksum::Checked, peer: Peer::Strict }
    }
}

/// The CRC of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// Computed, and compared when a message comes in.
    #[default]
    Checked,
    /// Not looked at when a message comes in, and 0 when one goes out, which receivers that check refuse unless
    /// they were told the same. For transports that check for themselves, as shared memory or TLS; plain TCP's
    /// sixteen bits let one damage in 65 536 pass.
    Trusted,
}

/// Whose deviations from the protocol are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Peer {
    /// Nobody's.
    #[default]
    Strict,
    /// Those of the C++ library, which were seen in 1.11 or read in later ones:
    ///
    /// - GET_BIND and STT_BIND with a table of names of odd length, which it writes and itself refuses (1.11);
    /// - STT_VIDEO of 9 bytes, the last without a meaning (3.0);
    /// - attributes of POLYDATA other than scalars, vectors and normals of points, written as tensors of nine
    ///   numbers, of which only the first are the attribute's (1.11).
    CppLibrary,
}
