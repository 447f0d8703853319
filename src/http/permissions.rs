//! What each call needs.

use crate::auth::role::Permission;

use super::counters::requests::Call;

/// The permission that a call needs. A new call does not compile before it is entered here.
pub(crate) const fn of(call: Call) -> Permission {
    match call {
        // The page is the same for everybody, and asks for a token when it needs one.
        Call::Health | Call::Page => Permission::Open,
        Call::OpenApi | Call::Other => Permission::Any,
        Call::Lease | Call::Renew | Call::Return => Permission::Lease,
        Call::ShowPool => Permission::Show,
        Call::ListPools | Call::Map | Call::Stats | Call::Metrics => Permission::Observe,
        Call::Export | Call::Lookup => Permission::Numbers,
        Call::ChangePool
        | Call::AddNumbers
        | Call::Retire
        | Call::Reinstate
        | Call::StartRound
        | Call::Pause
        | Call::Resume => Permission::Operate,
        Call::CreatePool | Call::DeletePool | Call::Backup => Permission::Manage,
    }
}
