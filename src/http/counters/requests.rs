//! Requests by call and status, and their latencies.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::{Distribution, DistributionSnapshot};

/// Relative error of a latency: 2^-5, about 3 %.
const GROUPING_POWER: u8 = 5;
/// Latencies are kept in nanoseconds up to 2^38 (4.6 minutes); longer ones count as that.
const MAX_VALUE_POWER: u8 = 38;
/// The statuses that have their own counter; the last counter, 0, is for all others.
const STATUSES: [u16; 17] =
    [200, 201, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503, 507, 0];

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A call of the API, as the stats name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Call { $($(#[$doc])* $name,)* }

        impl Call {
            /// Every call, in the order of the enum.
            pub const ALL: &'static [Call] = &[$(Call::$name,)*];

            /// The call's name in the stats.
            pub fn as_str(self) -> &'static str {
                match self { $(Call::$name => $text,)* }
            }
        }
    };
}

calls! {
    /// `POST /v1/pools/{pool}/lease`
    Lease = "lease",
    /// `POST /v1/lease`
    LeaseSeveral = "lease_several",
    /// `POST /v1/pools/{pool}/renew` and `POST /v1/pools/{pool}/numbers/{number}/renew`
    Renew = "renew",
    /// `POST /v1/pools/{pool}/return` and `POST /v1/pools/{pool}/numbers/{number}/return`
    Return = "return",
    /// `GET /v1/pools`
    ListPools = "list_pools",
    /// `GET /v1/pools/{pool}`
    ShowPool = "show_pool",
    /// `PUT /v1/pools/{pool}`
    CreatePool = "create_pool",
    /// `PATCH /v1/pools/{pool}`
    ChangePool = "change_pool",
    /// `DELETE /v1/pools/{pool}`
    DeletePool = "delete_pool",
    /// `GET /v1/pools/{pool}/note`
    Note = "note",
    /// `POST /v1/pools/{pool}/numbers`
    AddNumbers = "add_numbers",
    /// `GET /v1/pools/{pool}/numbers`
    Export = "export",
    /// `GET /v1/pools/{pool}/events`
    Events = "events",
    /// `GET /v1/pools/{pool}/numbers/{number}`
    Lookup = "lookup",
    /// `GET /v1/pools/{pool}/holders`
    ListHolders = "list_holders",
    /// `GET /v1/pools/{pool}/holders/{holder}`
    ShowHolder = "show_holder",
    /// `POST /v1/pools/{pool}/holders/{holder}/return`
    ReturnHolder = "return_holder",
    /// `GET /v1/pools/{pool}/hours`
    ShowHours = "show_hours",
    /// `GET /v1/pools/{pool}/zones`
    ShowZones = "show_zones",
    /// `PUT /v1/pools/{pool}/zones` and `DELETE /v1/pools/{pool}/zones`
    ChangeZones = "change_zones",
    /// `GET /v1/pools/{pool}/map`
    Map = "map",
    /// `POST /v1/pools/{pool}/retire`
    Retire = "retire",
    /// `POST /v1/pools/{pool}/reinstate`
    Reinstate = "reinstate",
    /// `POST /v1/pools/{pool}/release`
    Release = "release",
    /// `POST /v1/pools/{pool}/rounds`
    StartRound = "start_round",
    /// `POST /v1/pools/{pool}/pause`
    Pause = "pause",
    /// `POST /v1/pools/{pool}/resume`
    Resume = "resume",
    /// `GET /v1/lists`
    ListLists = "list_lists",
    /// `GET /v1/lists/{list}`
    ShowList = "show_list",
    /// `PUT /v1/lists/{list}`
    CreateList = "create_list",
    /// `DELETE /v1/lists/{list}`
    DeleteList = "delete_list",
    /// `GET /v1/lists/{list}/numbers`
    ExportList = "export_list",
    /// `POST /v1/lists/{list}/numbers`
    AddToList = "add_to_list",
    /// `GET /v1/lists/{list}/numbers/{number}`
    LookupInList = "lookup_in_list",
    /// `POST /v1/lists/{list}/remove`
    RemoveFromList = "remove_from_list",
    /// `POST /v1/lists/{list}/replace`
    ReplaceList = "replace_list",
    /// `GET /v1/audit`
    Audit = "audit",
    /// `POST /v1/backup`
    Backup = "backup",
    /// `GET /v1/cluster`
    Cluster = "cluster",
    /// `POST /v1/cluster/handover`
    HandOver = "hand_over",
    /// `POST /v1/cluster/forget`
    ForgetMember = "forget_member",
    /// What members ask of the primary
    Member = "member",
    /// `GET /v1/stats`
    Stats = "stats",
    /// `GET /metrics`
    Metrics = "metrics",
    /// `GET /openapi.json`
    OpenApi = "openapi",
    /// `GET /healthz` and `GET /readyz`
    Health = "health",
    /// `GET /` and its files
    Page = "page",
    /// Not a call: an unknown path, or a method that the path does not have.
    Other = "other",
}

/// Counters and latencies of every call, written by one thread.
#[derive(Debug)]
pub struct RequestCounters {
    calls: Vec<CallCounters>,
}

#[derive(Debug)]
struct CallCounters {
    by_status: [AtomicU64; STATUSES.len()],
    nanoseconds: Distribution,
}

/// The counts of one call since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSnapshot {
    /// The call.
    pub call: Call,
    /// How often it was answered.
    pub count: u64,
    /// How often with each status that occurred; 0 stands for any other status.
    pub by_status: Vec<(u16, u64)>,
    /// The time from request to response, in nanoseconds, without the wait for the disk.
    pub nanoseconds: DistributionSnapshot,
}

impl Default for RequestCounters {
    fn default() -> Self {
        Self { calls: Call::ALL.iter().map(|_| CallCounters::new()).collect() }
    }
}

impl CallCounters {
    fn new() -> Self {
        Self {
            by_status: Default::default(),
            nanoseconds: Distribution::new(GROUPING_POWER, MAX_VALUE_POWER),
        }
    }
}

impl RequestCounters {
    /// Counts one answered request. To be called by one thread only.
    pub fn record(&self, call: Call, status: u16, nanoseconds: u64) {
        let counters = &self.calls[call as usize];
        let place = STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len() - 1);
        counters.by_status[place].fetch_add(1, Ordering::Relaxed);
        counters.nanoseconds.record(nanoseconds);
    }
}

/// Adds up the counters of several threads; calls that were never made are left out.
pub fn snapshot<'a>(workers: &(impl Iterator<Item = &'a RequestCounters> + Clone)) -> Vec<CallSnapshot> {
    let of_call = |&call: &Call| {
        let mut counts = [0; STATUSES.len()];
        let mut sum: Option<DistributionSnapshot> = None;
        for counters in workers.clone().map(|worker| &worker.calls[call as usize]) {
            for (sum, count) in counts.iter_mut().zip(&counters.by_status) {
                *sum += count.load(Ordering::Relaxed);
            }
            let one = counters.nanoseconds.snapshot();
            match &mut sum {
                Some(sum) => sum.merge(&one),
                None => sum = Some(one),
            }
        }
        let count = counts.iter().sum();
        let by_status = STATUSES.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        (count > 0).then_some(CallSnapshot { call, count, by_status, nanoseconds: sum? })
    };
    Call::ALL.iter().filter_map(of_call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_workers_and_leaves_out_calls_that_never_happened() {
        let workers = [RequestCounters::default(), RequestCounters::default()];
        for i in 1..=1000 {
            workers[i % 2].record(Call::Lease, 200, i as u64 * 1_000);
        }
        workers[0].record(Call::Lease, 409, 1_000);
        workers[1].record(Call::Stats, 418, 3_600_000_000_000);
        let calls = snapshot(&workers.iter());
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].call, calls[0].count), (Call::Lease, 1001));
        assert_eq!(calls[0].by_status, [(200, 1000), (409, 1)]);
        let nanoseconds = &calls[0].nanoseconds;
        assert_eq!((nanoseconds.count(), nanoseconds.max), (1_001, 1_000_000));
        assert!(nanoseconds.quantile(0.9).abs_diff(900_000) < 45_000, "{}", nanoseconds.quantile(0.9));
        assert_eq!((calls[1].call, calls[1].by_status.as_slice()), (Call::Stats, &[(0, 1)][..]));
    }
}
