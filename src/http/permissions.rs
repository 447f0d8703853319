//! What each call needs.

use crate::auth::role::Permission;

use super::counters::requests::Call;

/// The permission that a call needs. A new call does not compile before it is entered here.
pub(crate) const fn of(call: Call) -> Permission {
    match call {
        // The page is the same for everybody, and asks for a token when it needs one. Members show a key of their own.
        Call::Health | Call::Page | Call::Member => Permission::Open,
        Call::OpenApi | Call::Other => Permission::Any,
        Call::Lease
        | Call::LeaseSeveral
        | Call::Renew
        | Call::Return
        | Call::ShowHolder
        | Call::ReturnHolder => Permission::Lease,
        Call::ShowPool | Call::Note | Call::ListHolders => Permission::Show,
        Call::ListPools
        | Call::ListLists
        | Call::ShowList
        | Call::ShowHours
        | Call::ShowZones
        | Call::Map
        | Call::Stats
        | Call::Cluster
        | Call::Audit
        | Call::Metrics => Permission::Observe,
        Call::Export | Call::Lookup | Call::Events | Call::ExportList | Call::LookupInList => {
            Permission::Numbers
        }
        Call::ChangePool
        | Call::AddNumbers
        | Call::Retire
        | Call::Reinstate
        | Call::ChangeZones
        | Call::Release
        | Call::AddToList
        | Call::RemoveFromList
        | Call::ReplaceList
        | Call::StartRound
        | Call::Pause
        | Call::Resume => Permission::Operate,
        Call::CreatePool
        | Call::DeletePool
        | Call::CreateList
        | Call::DeleteList
        | Call::Backup
        | Call::HandOver
        | Call::ForgetMember => Permission::Manage,
    }
}

/// Whether a call is on a list, which blocks any pool that names it.
pub(crate) const fn concerns_lists(call: Call) -> bool {
    matches!(
        call,
        Call::ListLists
            | Call::ShowList
            | Call::CreateList
            | Call::DeleteList
            | Call::ExportList
            | Call::AddToList
            | Call::LookupInList
            | Call::RemoveFromList
            | Call::ReplaceList
    )
}
