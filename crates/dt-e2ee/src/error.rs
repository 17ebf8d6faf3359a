//! What goes wrong in a group: for a member and for the controller.

/// Why a member's operation was not done. The group stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not an MLS message of the kind that was expected.
    #[error("malformed MLS message: {0}")]
    Malformed(&'static str),
    /// The message is of another group, or the group has another shape than the
    /// controller said (suite, external sender, extensions).
    #[error("not the group of this meeting: {0}")]
    WrongGroup(&'static str),
    /// The message belongs to an epoch before this one.
    #[error("the message is of an earlier epoch")]
    Stale,
    /// The message belongs to an epoch after this one: something was missed.
    #[error("the message is of a later epoch")]
    Ahead,
    /// MLS allows it, this project's rules don't.
    #[error("against the rules of the group: {0}")]
    Rule(&'static str),
    /// The external commit by which this member entered is not confirmed.
    #[error("the commit to enter is not confirmed yet")]
    Unconfirmed,
    /// This member was removed.
    #[error("removed from the group")]
    Removed,
    /// There is no state to go back to.
    #[error("no earlier state is kept")]
    NothingBefore,
    /// openmls refused.
    #[error("{doing} failed")]
    Mls {
        /// What was being done.
        doing: &'static str,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps what openmls says.
    pub(crate) fn mls<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Self::Mls {
            doing,
            source: Box::new(source),
        }
    }
}

/// Why the [`Keeper`](crate::Keeper) refused a message. Its state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Made for another epoch than the present one: somebody was faster.
    #[error("made for another epoch")]
    Stale,
    /// Leaves an open proposal out.
    #[error("does not cover every open proposal")]
    Incomplete,
    /// The group has as many leaves or open proposals as it may have.
    #[error("the group is full")]
    Full,
    /// Breaks the rules of MLS or of this project.
    #[error("invalid: {0}")]
    Invalid(String),
}

impl Refused {
    /// Tells what is wrong with all there is to say.
    pub(crate) fn because(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("{what}: {error}"))
    }

    /// Tells what is wrong.
    pub(crate) fn invalid(what: &str) -> Self {
        Self::Invalid(what.to_owned())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Stale | Error::Ahead => Self::Stale,
            Error::Mls { doing, source } => Self::because(doing, source),
            other => Self::Invalid(other.to_string()),
        }
    }
}
