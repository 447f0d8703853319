//! Who makes a request, and whether the principal may make it.

use std::sync::Arc;

use crate::auth::principal::Principal;
use crate::auth::role::{Permission, Role};
use crate::auth::usage::{ConnectionShare, NameIndex};

use super::counters::requests::Call;
use super::permissions;
use super::response::code::Code;
use super::response::problem::Problem;

/// Who makes a request: a principal, or nobody in particular if the daemon knows none. Nobody may do everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Actor(Option<Arc<OnConnection>>);

/// A principal on a connection, which its requests share.
#[derive(Debug)]
pub(crate) struct OnConnection {
    pub(crate) principal: Arc<Principal>,
    /// Counts the connection as one of the principal's.
    pub(crate) share: Arc<ConnectionShare>,
}

impl Actor {
    /// Nobody in particular.
    pub(crate) const NOBODY: Self = Self(None);

    pub(crate) fn of(principal: Arc<Principal>, share: Arc<ConnectionShare>) -> Self {
        Self(Some(Arc::new(OnConnection { principal, share })))
    }

    /// The principal, with its connection.
    pub(crate) fn on_connection(&self) -> Option<&OnConnection> {
        self.0.as_deref()
    }

    /// The principal.
    #[inline]
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.0.as_ref().map(|on| &*on.principal)
    }

    /// The principal's name; empty for nobody.
    pub(crate) fn name(&self) -> &str {
        self.principal().map_or("", Principal::name)
    }

    /// The place of the principal's counters.
    #[inline]
    pub(crate) fn index(&self) -> Option<NameIndex> {
        self.principal().map(|principal| principal.usage().index)
    }

    /// Whether a pool of this name exists for it.
    #[inline]
    pub(crate) fn sees(&self, pool: &str) -> bool {
        self.principal().is_none_or(|principal| principal.scope().has(pool))
    }

    /// Whether every pool exists for it.
    pub(crate) fn sees_all(&self) -> bool {
        self.principal().is_none_or(|principal| principal.scope().is_all())
    }

    /// Whether it may make calls of a kind.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.principal().is_none_or(|principal| principal.may(permission))
    }

    /// Largest body of its requests, in bytes.
    pub(crate) fn max_body_bytes(&self) -> u64 {
        self.principal().and_then(|principal| principal.quota().body_bytes).unwrap_or(u64::MAX)
    }

    /// Whether it may make a call now, with a body of at least `body_bytes`. `pool` is the one that the path
    /// names.
    #[inline]
    pub(crate) fn admit(
        &self,
        call: Call,
        pool: Option<&str>,
        body_bytes: u64,
        now_nanos: u64,
    ) -> Result<(), Problem> {
        match self.principal() {
            None => Ok(()),
            Some(principal) if principal.leases_freely() && permissions::of(call) == Permission::Lease => {
                Ok(())
            }
            Some(principal) => admit(principal, call, pool, body_bytes, now_nanos),
        }
    }

    /// Gives back what [`Self::admit`] took for a call that is to be made anew.
    #[cold]
    pub(crate) fn withdraw(&self) {
        if let Some(principal) = self.principal()
            && let Some(per_second) = principal.quota().requests_per_second
        {
            principal.usage().requests.give_back(1, per_second);
        }
    }
}

#[inline]
fn admit(
    principal: &Principal,
    call: Call,
    pool: Option<&str>,
    body_bytes: u64,
    now_nanos: u64,
) -> Result<(), Problem> {
    let (quota, scope) = (principal.quota(), principal.scope());
    if let Some(per_second) = quota.requests_per_second
        && let Err(seconds) = principal.usage().requests.take(1, per_second, now_nanos)
    {
        let detail = format!("This caller may make {per_second} requests a second: make fewer");
        return Err(Problem::quota_exceeded(detail, seconds));
    }
    let needed = permissions::of(call);
    if !principal.may(needed) {
        return Err(no_permission(principal, call, needed));
    }
    match pool {
        Some(pool) if !scope.has(pool) => {
            return Err(if call == Call::CreatePool {
                Problem::forbidden(format!("This caller's pools are {scope}: create one of these names"))
            } else {
                Problem::pool_not_found()
            });
        }
        _ if permissions::concerns_lists(call) && !scope.is_all() => {
            return Err(Problem::forbidden(format!(
                "Lists are shared by all pools, and this caller's are {scope}: use a token with pools = [\"*\"]"
            )));
        }
        _ if call == Call::Backup && !scope.is_all() => {
            return Err(Problem::forbidden(format!(
                "A backup has all pools, and this caller's are {scope}: use a token with pools = [\"*\"]"
            )));
        }
        _ => {}
    }
    match quota.body_bytes {
        Some(most) if body_bytes > most => Err(body_too_large(most)),
        _ => Ok(()),
    }
}

/// The refusal of a body that is larger than its caller's may be.
pub(crate) fn body_too_large(most_bytes: u64) -> Problem {
    let detail = format!("The bodies of this caller have at most {most_bytes} bytes: split the request");
    Problem::new(Code::TooLarge, detail)
}

#[cold]
fn no_permission(principal: &Principal, call: Call, needed: Permission) -> Problem {
    let role = principal.role();
    let able = Role::ALL.into_iter().filter(|role| role.permissions().has(needed));
    let able = able.map(Role::as_str).collect::<Vec<_>>().join(" or ");
    let viewer = if role == Role::Viewer && needed == Permission::Numbers {
        ", or one with numbers = true"
    } else {
        ""
    };
    Problem::forbidden(format!(
        "The call {} is not for the role {role}: use a token with the role {able}{viewer}",
        call.as_str()
    ))
}
