//! What the holder of an access token may do: `{principal}.{operation}.{component}`
//! (spec 002, OAuth 2.0 scope system).

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope (principal.operation.component, like user.write.gc)")]
pub struct InvalidScope;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it stands in a scope.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl FromStr for $name {
            type Err = InvalidScope;

            fn from_str(text: &str) -> Result<Self, InvalidScope> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(InvalidScope),
                }
            }
        }
    };
}

words!(
    /// Who holds the token.
    Principal {
        /// A person.
        User = "user",
        /// A program.
        Service = "service",
    }
);
words!(
    /// What it may do there.
    Operation {
        /// Look.
        Read = "read",
        /// Change.
        Write = "write",
        /// Administer.
        Admin = "admin",
    }
);
words!(
    /// Where it may do it.
    Component {
        /// Global controller.
        Gc = "gc",
        /// Meeting controller.
        Mc = "mc",
        /// Media handler.
        Mh = "mh",
        /// Auth controller.
        Ac = "ac",
    }
);

/// One permission, like `user.write.gc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Who holds it.
    pub principal: Principal,
    /// What it allows.
    pub operation: Operation,
    /// At which role.
    pub component: Component,
}

impl Scope {
    /// The scope of these three words.
    #[must_use]
    pub const fn new(principal: Principal, operation: Operation, component: Component) -> Self {
        Self {
            principal,
            operation,
            component,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            self.principal.as_str(),
            self.operation.as_str(),
            self.component.as_str()
        )
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let mut words = text.split('.');
        let mut word = || words.next().ok_or(InvalidScope);
        let scope = Self {
            principal: word()?.parse()?,
            operation: word()?.parse()?,
            component: word()?.parse()?,
        };
        match words.next() {
            None => Ok(scope),
            Some(_) => Err(InvalidScope),
        }
    }
}

/// A set of scopes, written with single spaces between them as in RFC 6749
/// section 3.3. There are 24 scopes, so that the set is bounded by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// Whether this very scope is in the set. An `admin` scope implies nothing
    /// else: deny by default.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether every scope of `other` is in the set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// Whether whoever holds this set may do `operation` at `component`.
    #[must_use]
    pub fn allows(&self, operation: Operation, component: Component) -> bool {
        self.0
            .iter()
            .any(|s| s.operation == operation && s.component == component)
    }

    /// Whether all scopes are those of `principal`.
    #[must_use]
    pub fn is_of(&self, principal: Principal) -> bool {
        self.0.iter().all(|s| s.principal == principal)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;

    /// The empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scope_set_reads_back_as_it_is_written() {
        let set: ScopeSet = "user.write.gc user.read.gc".parse().unwrap();
        assert_eq!(set.to_string(), "user.read.gc user.write.gc");
        assert!(set.allows(Operation::Write, Component::Gc));
        assert!(!set.allows(Operation::Admin, Component::Gc));
        assert!(set.is_of(Principal::User));
        assert_eq!("".parse(), Ok(ScopeSet::default()));
    }

    #[test]
    fn what_is_not_three_known_words_is_no_scope() {
        for text in [
            "user",
            "user.read",
            "user.read.gc.x",
            "root.read.gc",
            "user.read.gc ",
            " ",
            "User.read.gc",
        ] {
            assert!(text.parse::<ScopeSet>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_scope_or_refused(text in "[a-z.]{0,20}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
