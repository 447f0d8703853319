//! Which calls are operators' changes, and how the log names them.

use crate::http::counters::requests::Call;

/// The event and the message of a successful operators' call that changes something.
#[inline]
pub(crate) fn event_of(call: Call) -> Option<(&'static str, &'static str)> {
    Some(match call {
        Call::CreatePool => ("pool_created", "a pool was created"),
        Call::ChangePool => ("pool_changed", "the settings of a pool were changed"),
        Call::DeletePool => ("pool_deleted", "a pool was deleted"),
        Call::AddNumbers => ("numbers_added", "numbers were added to a pool"),
        Call::Retire => ("numbers_retired", "numbers of a pool were retired"),
        Call::Reinstate => ("numbers_reinstated", "numbers of a pool were reinstated"),
        Call::Release => ("numbers_released", "numbers of a pool were released"),
        Call::ReturnHolder => ("holder_returned", "all that a holder had was returned"),
        Call::StartRound => ("round_started", "the next round of a pool was started"),
        Call::ChangeZones => ("zones_changed", "the time zones of a pool's numbers were replaced or removed"),
        Call::Pause => ("pool_paused", "a pool was paused: it refuses new leases until it is resumed"),
        Call::Resume => ("pool_resumed", "a pool was resumed"),
        Call::CreateList => ("list_created", "a list was created"),
        Call::DeleteList => ("list_deleted", "a list was deleted"),
        Call::AddToList => ("list_added", "numbers were put on a list"),
        Call::RemoveFromList => ("list_removed", "numbers were taken off a list"),
        Call::ReplaceList => ("list_replaced", "the numbers of a list were replaced"),
        Call::Backup => ("backup_made", "a backup was made"),
        _ => return None,
    })
}

/// Whether a call's duration depends on the size of its body or response.
pub(crate) fn is_slow_by_nature(call: Call) -> bool {
    matches!(
        call,
        Call::CreatePool
            | Call::ChangePool
            | Call::AddNumbers
            | Call::Export
            | Call::Retire
            | Call::Reinstate
            | Call::Release
            | Call::ShowHolder
            | Call::ReturnHolder
            | Call::CreateList
            | Call::ExportList
            | Call::AddToList
            | Call::RemoveFromList
            | Call::ReplaceList
            | Call::Backup
    )
}
