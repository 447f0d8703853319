//! Which users of this machine may call over a socket file, and as what.

use std::fmt;
use std::io;
use std::str::FromStr;

use thiserror::Error;

use crate::sys::users;

use super::principal::{PrincipalSettings, is_name};
use super::role::{Role, RoleError};
use super::scope::Scope;

/// A user or a group with a role: `user:NAME:ROLE` or `group:NAME:ROLE`, each by its name or its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRule {
    /// Whose role it is.
    pub kind: PeerKind,
    /// Its name or id.
    pub name: String,
    /// The role.
    pub role: Role,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// A user.
    User,
    /// All users of a group.
    Group,
}

/// A rule that is refused.
#[derive(Debug, Error)]
pub enum PeerRuleError {
    /// A text that is no rule.
    #[error("\"{0}\" is not a peer: give user:NAME:ROLE or group:NAME:ROLE, such as user:alice:operator")]
    Rule(String),
    /// An unknown role.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// A user or a group that there is not.
    #[error("there is no {0}: create it, or give another peer")]
    Unknown(String),
    /// Users and groups cannot be looked up.
    #[error("{what} cannot be looked up: {error}. Give its number instead")]
    LookUp {
        /// What was looked up.
        what: String,
        /// The system's error.
        error: io::Error,
    },
}

impl PeerKind {
    const ALL: [Self; 2] = [Self::User, Self::Group];

    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

impl FromStr for PeerRule {
    type Err = PeerRuleError;

    fn from_str(text: &str) -> Result<Self, PeerRuleError> {
        let (who, role) = text.rsplit_once(':').ok_or_else(|| PeerRuleError::Rule(text.to_owned()))?;
        Self::new(who, role)
    }
}

impl PeerRule {
    /// The rule of `user:NAME` or `group:NAME`.
    pub fn new(who: &str, role: &str) -> Result<Self, PeerRuleError> {
        let refused = || PeerRuleError::Rule(format!("{who}:{role}"));
        let (kind, name) = who.split_once(':').ok_or_else(refused)?;
        let kind = PeerKind::ALL.into_iter().find(|one| one.as_str() == kind).ok_or_else(refused)?;
        if name.is_empty() {
            return Err(refused());
        }
        Ok(Self { kind, name: name.to_owned(), role: role.parse()? })
    }

    fn id(&self) -> Result<u32, PeerRuleError> {
        let what = || format!("{} \"{}\"", self.kind.as_str(), self.name);
        let found = match (self.name.parse(), self.kind) {
            (Ok(id), _) => Ok(Some(id)),
            (Err(_), PeerKind::User) => users::user_id(&self.name),
            (Err(_), PeerKind::Group) => users::group_id(&self.name),
        };
        match found {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(PeerRuleError::Unknown(what())),
            Err(error) => Err(PeerRuleError::LookUp { what: what(), error }),
        }
    }
}

impl fmt::Display for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind.as_str(), self.name, self.role)
    }
}

/// The rules of one socket file, by the ids of users and groups.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    users: Vec<(u32, Role, String)>,
    groups: Vec<(u32, Role)>,
}

/// The process at the other end of a socket file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerProcess {
    /// Its user.
    pub uid: u32,
    /// Its groups.
    pub groups: Vec<u32>,
}

impl Peers {
    /// Looks users and groups up.
    pub fn of(rules: &[PeerRule]) -> Result<Self, PeerRuleError> {
        let mut peers = Self::default();
        for rule in rules {
            let id = rule.id()?;
            match rule.kind {
                PeerKind::User => peers.users.push((id, rule.role, rule.name.clone())),
                PeerKind::Group => peers.groups.push((id, rule.role)),
            }
        }
        Ok(peers)
    }

    /// Whether there are any: without rules, whoever may connect is as good as another.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// What a peer may do: its user's role, else the strongest of its groups'. `None` if no rule is about it.
    pub fn principal_of(&self, peer: &PeerProcess) -> Option<PrincipalSettings> {
        let uid = peer.uid;
        if let Some((_, role, name)) = self.users.iter().find(|(user, ..)| *user == uid) {
            let has_name = is_name(name) && name.parse::<u32>().is_err();
            let name = if has_name { name.clone() } else { format!("uid:{uid}") };
            return Some(PrincipalSettings::new(&name, *role, Scope::all()));
        }
        let roles =
            self.groups.iter().filter(|(group, _)| peer.groups.contains(group)).map(|(_, role)| *role);
        let strongest = roles.max_by_key(|role| Role::ALL.iter().position(|other| other == role))?;
        Some(PrincipalSettings::new(&format!("uid:{uid}"), strongest, Scope::all()))
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    fn peers(rules: &[&str]) -> Peers {
        Peers::of(&rules.iter().map(|rule| rule.parse().unwrap()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_users_own_role_wins_and_else_the_strongest_of_its_groups() {
        let peers = peers(&["group:7:client", "group:8:operator", "user:5:viewer", "user:root:admin"]);
        let role = |uid, groups: &[u32]| {
            let principal = peers.principal_of(&PeerProcess { uid, groups: groups.to_vec() })?;
            Some((principal.name.to_string(), principal.role))
        };
        assert_eq!(role(5, &[8]), Some(("uid:5".to_owned(), Role::Viewer)));
        assert_eq!(role(0, &[]), Some(("root".to_owned(), Role::Admin)));
        assert_eq!(role(6, &[7, 9]), Some(("uid:6".to_owned(), Role::Client)));
        assert_eq!(role(6, &[8, 7]), Some(("uid:6".to_owned(), Role::Operator)));
        assert_eq!(role(6, &[9]), None);
    }

    #[test]
    fn what_is_no_peer_is_refused() {
        for (text, expected) in [
            ("alice", "is not a peer"),
            ("alice:operator", "is not a peer"),
            ("user::operator", "is not a peer"),
            ("person:alice:operator", "is not a peer"),
            ("user:alice:king", "no role \"king\""),
        ] {
            let message = text.parse::<PeerRule>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let message = Peers::of(&["user:no such user:client".parse().unwrap()]).unwrap_err().to_string();
        assert!(message.contains("there is no user \"no such user\""), "{message}");
    }
}
