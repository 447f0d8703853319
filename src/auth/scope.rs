//! Which pools a principal may name and see.

use std::fmt;

use thiserror::Error;

use crate::domain::settings::PoolName;

/// Most patterns of one scope.
pub const MAX_PATTERNS: usize = 64;

/// The pools of a principal: names, beginnings such as `ru*`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Whether one of the patterns is `*`.
    all: bool,
    patterns: Box<[Pattern]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(Box<str>),
    Beginning(Box<str>),
}

/// A scope that is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScopeError {
    /// A text that is no pattern.
    #[error("\"{0}\" names no pools: give a pool's name, the beginning of names such as ru*, or * for all")]
    Pattern(String),
    /// No pattern or too many.
    #[error("there are {0} patterns of pools: give 1 to {MAX_PATTERNS}")]
    Count(usize),
}

impl Scope {
    /// Every pool.
    pub fn all() -> Self {
        Self { all: true, patterns: Box::default() }
    }

    /// The scope of these patterns.
    pub fn of(patterns: &[impl AsRef<str>]) -> Result<Self, ScopeError> {
        if !(1..=MAX_PATTERNS).contains(&patterns.len()) {
            return Err(ScopeError::Count(patterns.len()));
        }
        let mut all = false;
        let mut read = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            match pattern.strip_suffix('*') {
                Some("") => all = true,
                beginning => {
                    let name = beginning.unwrap_or(pattern);
                    let unknown = || ScopeError::Pattern(pattern.chars().take(80).collect());
                    name.parse::<PoolName>().map_err(|_| unknown())?;
                    let of = if beginning.is_some() { Pattern::Beginning } else { Pattern::Name };
                    read.push(of(name.into()));
                }
            }
        }
        Ok(Self { all, patterns: if all { Box::default() } else { read.into() } })
    }

    /// Whether all pools are in it, those too that do not exist yet.
    #[inline]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether a pool of this name is in it.
    #[inline]
    pub fn has(&self, pool: &str) -> bool {
        self.all
            || self.patterns.iter().any(|pattern| match pattern {
                Pattern::Name(name) => **name == *pool,
                Pattern::Beginning(beginning) => pool.starts_with(&**beginning),
            })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all {
            return f.write_str("*");
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            match pattern {
                Pattern::Name(name) => write!(f, "{separator}{name}")?,
                Pattern::Beginning(beginning) => write!(f, "{separator}{beginning}*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_the_pools_of_its_patterns() {
        let scope = Scope::of(&["ru*", "us-east"]).unwrap();
        for inside in ["ru", "ru-mobile", "us-east"] {
            assert!(scope.has(inside), "{inside}");
        }
        for outside in ["", "r", "us-east1", "us", "RU", "*", "aru"] {
            assert!(!scope.has(outside), "{outside}");
        }
        assert_eq!((scope.is_all(), scope.to_string().as_str()), (false, "ru*, us-east"));
        let all = Scope::of(&["ru*", "*"]).unwrap();
        assert!(all.is_all() && all.has("anything") && all == Scope::all());
    }

    #[test]
    fn what_names_no_pools_is_refused() {
        for bad in ["", "**", "a*b", "*a", "ru**", "a b", "/", ".hidden*", "\u{e9}*", "?"] {
            assert!(matches!(Scope::of(&[bad]), Err(ScopeError::Pattern(_))), "{bad}");
        }
        assert_eq!(Scope::of(&[""; 0]), Err(ScopeError::Count(0)));
        assert!(matches!(Scope::of(&["a"; MAX_PATTERNS + 1]), Err(ScopeError::Count(_))));
    }
}
