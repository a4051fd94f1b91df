//! Which of the two worlds a case is played in.

/// Home, where everything is trained and tuned; or foreign, where nothing is, and claims are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorldKind {
    /// The world that training and tuning see.
    #[default]
    Home,
    /// Another solver, other constitutive values, other noise: for evaluation alone.
    Foreign,
}

impl WorldKind {
    /// As reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Foreign => "foreign",
        }
    }
}
