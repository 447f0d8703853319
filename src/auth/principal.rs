//! A caller: its name, and what it may do.

use std::sync::Arc;

use crate::state::time::Timestamp;

use super::live_leases::LiveLeases;
use super::quota::Quota;
use super::role::{Permission, Permissions, Role};
use super::scope::Scope;
use super::usage::Usage;

/// Longest name of a principal, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The name in the statistics of all principals beyond the first; no principal has it.
pub const OTHER: &str = "other";

/// What a principal is made of; see [`super::registry::Registry::principal`].
#[derive(Debug, Clone)]
pub struct PrincipalSettings {
    /// Its name in the log and in the statistics; see [`is_name`].
    pub name: Arc<str>,
    /// What calls it may make.
    pub role: Role,
    /// In which pools.
    pub scope: Scope,
    /// Whether it may see single numbers though its role is [`Role::Viewer`].
    pub shows_numbers: bool,
    /// Whether its returns may retire numbers; `None` for what its role has.
    pub may_retire: Option<bool>,
    /// What it may use.
    pub quota: Quota,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

impl PrincipalSettings {
    /// A principal of a role in some pools, without limits.
    pub fn new(name: &str, role: Role, scope: Scope) -> Self {
        let (name, quota) = (name.into(), Quota::default());
        Self { name, role, scope, shows_numbers: false, may_retire: None, quota, expires: None }
    }
}

/// A caller. All its tokens and connections share one.
#[derive(Debug)]
pub struct Principal {
    name: Arc<str>,
    role: Role,
    permissions: Permissions,
    scope: Scope,
    may_retire: bool,
    quota: Quota,
    limits_leases: bool,
    leases_freely: bool,
    expires: Option<Timestamp>,
    usage: Arc<Usage>,
    /// `None` if they are not limited.
    live: Option<Arc<LiveLeases>>,
}

/// Whether a text may be a principal's name: 1 to [`MAX_NAME_BYTES`] of `[A-Za-z0-9._@:+-]`, which stand in a log
/// and in a metric as they are, and not [`OTHER`].
pub fn is_name(text: &str) -> bool {
    text != OTHER
        && (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@:+-".contains(&byte))
}

impl Principal {
    pub(super) fn new(settings: PrincipalSettings, usage: Arc<Usage>) -> Self {
        let PrincipalSettings { name, role, scope, shows_numbers, may_retire, quota, expires } = settings;
        let (permissions, live) = (role.permissions(), usage.live_leases(&quota));
        let scope_is_all = scope.is_all();
        Self {
            name,
            role,
            permissions: if shows_numbers { permissions.and(Permission::Numbers) } else { permissions },
            scope,
            may_retire: may_retire.unwrap_or(role.may_retire()),
            limits_leases: quota.limits_leases(),
            leases_freely: role.permissions().has(Permission::Lease)
                && scope_is_all
                && quota.requests_per_second.is_none()
                && quota.body_bytes.is_none(),
            quota,
            expires,
            usage,
            live,
        }
    }

    /// Its name in the log and in the statistics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether it may make calls of a kind.
    #[inline]
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.has(permission)
    }

    /// The pools that it may name and see.
    #[inline]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether its returns may retire numbers.
    pub fn may_retire(&self) -> bool {
        self.may_retire
    }

    /// What it may use.
    #[inline]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Whether its quota limits anything of a lease, besides the leases under a key.
    #[inline]
    pub(crate) fn limits_leases(&self) -> bool {
        self.limits_leases
    }

    /// Whether it may lease, renew and return in every pool, as often as it likes and with bodies of any length.
    #[inline]
    pub(crate) fn leases_freely(&self) -> bool {
        self.leases_freely
    }

    /// When it ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Its live leases and how many they may be, if they are limited.
    #[inline]
    pub(crate) fn live_leases(&self) -> Option<(&LiveLeases, u64)> {
        self.live.as_deref().zip(self.quota.live_leases)
    }

    /// What it uses.
    #[inline]
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::registry::Registry;

    #[test]
    fn a_name_stands_in_a_log() {
        for good in ["shop", "a.b_c-d", "uid:1000", "CN+x", "me@host"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", OTHER, "a b", "a\"", "a\n", "\u{e9}", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn principals_of_one_name_share_what_they_use() {
        let registry = Registry::default();
        let settings = PrincipalSettings::new("shop", Role::Viewer, Scope::all());
        let one = registry.principal(settings.clone());
        let other = registry.principal(PrincipalSettings { shows_numbers: true, ..settings });
        assert!(Arc::ptr_eq(one.usage(), other.usage()));
        assert_eq!((one.may(Permission::Numbers), other.may(Permission::Numbers)), (false, true));
        assert_eq!(registry.counted_names(), ["shop".into()]);
    }
}
