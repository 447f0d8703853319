//! What a role may do.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The kinds of calls that a role may or may not make. Each is a bit of a role's [`Permissions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Calls that need no token.
    Open,
    /// Calls that every principal may make, and paths without a call.
    Any,
    /// Lease, renew and return.
    Lease,
    /// Show a pool.
    Show,
    /// Figures of the daemon and its pools, without a number.
    Observe,
    /// Single numbers and lists of them.
    Numbers,
    /// Change pools and their numbers.
    Operate,
    /// Create and delete pools, and make backups.
    Manage,
}

/// A set of [`Permission`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// These permissions, and those that every principal has.
    const fn of(given: &[Permission]) -> Self {
        let mut bits = (1 << Permission::Open as u8) | (1 << Permission::Any as u8);
        let mut index = 0;
        while index < given.len() {
            bits |= 1 << given[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// These permissions and one more.
    #[must_use]
    pub const fn and(self, permission: Permission) -> Self {
        Self(self.0 | (1 << permission as u8))
    }

    /// Whether the set has a permission.
    #[inline]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }
}

/// A role, which decides what calls a principal may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A service that leases.
    Client,
    /// A dashboard or a monitoring system.
    Viewer,
    /// Who runs the pools.
    Operator,
    /// Who may do everything.
    Admin,
}

/// A role that does not exist.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("there is no role \"{0}\": give client, viewer, operator or admin")]
pub struct RoleError(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Client, Self::Viewer, Self::Operator, Self::Admin];

    /// The name in the tokens file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What a role may do.
    pub const fn permissions(self) -> Permissions {
        use Permission::{Lease, Manage, Numbers, Observe, Operate, Show};
        match self {
            Self::Client => Permissions::of(&[Lease, Show]),
            Self::Viewer => Permissions::of(&[Show, Observe]),
            Self::Operator => Permissions::of(&[Lease, Show, Observe, Numbers, Operate]),
            Self::Admin => Permissions::of(&[Lease, Show, Observe, Numbers, Operate, Manage]),
        }
    }

    /// Whether a return may retire numbers if nothing else is said.
    pub const fn may_retire(self) -> bool {
        matches!(self, Self::Operator | Self::Admin)
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| RoleError(text.chars().take(32).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_it_is_for() {
        use Permission::{Any, Lease, Manage, Numbers, Observe, Open, Operate, Show};
        let all = [Open, Any, Lease, Show, Observe, Numbers, Operate, Manage];
        for (role, expected) in [
            (Role::Client, "1111 0000"),
            (Role::Viewer, "1101 1000"),
            (Role::Operator, "1111 1110"),
            (Role::Admin, "1111 1111"),
        ] {
            let bits: String =
                all.iter().map(|&one| if role.permissions().has(one) { '1' } else { '0' }).collect();
            assert_eq!(bits, expected.replace(' ', ""), "{role}");
        }
        assert!(Role::Viewer.permissions().and(Numbers).has(Numbers));
    }

    #[test]
    fn a_role_has_one_name() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("give client, viewer"));
    }
}
