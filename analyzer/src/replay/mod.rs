//! What nodes would have cost, had containers asked for something else: the recorded schedule is run again on the recorded shapes of
//! machines, with the rules of each pool's autoscaler.
//!
//! ```text
//! ledger -> Schedule: pools with machines and pods -> rules fitted per pool -> replay as recorded -> held against the ledger
//!                                                          └-> replay with other requests -> difference: realisable saving
//! ```
//!
//! A pod arrives when it was created and holds its machine for as long as it did. It is bound to a registered machine of its pool with
//! room for what it asks for; which one, a score says. Pods that wait have machines ordered for them; these boot. An
//! empty machine goes after the pool's idle time, unless the pool is at its least size. Boot time, idle time and least size are read off
//! the pool's own machines; whether there is a least size, the score and the way of ordering are those that reproduce its cost best.
//!
//! Architecture invariant: a saving is a difference of two replays under the same rules; it is told only of pools whose replay with
//! recorded requests costs what the ledger says, within [`DEVIATION_PPM`], and where the work that asks for more is done as well.
//! Architecture invariant: everything but [`Schedule::read`] is a pure function of plain structs.

mod price;
mod read;
mod rules;
mod savings;
mod simulate;

use podledger_sql::units::NanoUsd;
use serde::Serialize;

use crate::rightsizing::{ContainerKind, Template};

pub use savings::{Realisable, Replay, Total};

/// How far a replay with recorded requests may be from the ledger's cost, in millionths: 2%.
pub const DEVIATION_PPM: u64 = 20_000;

/// CPU in millicores, memory in bytes, accelerators in thousandths.
type Amounts = [i64; 3];

/// Machines of one pool and one shape, and the pods that ran on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PoolName {
    pub cluster: String,
    /// `unattributed` where nobody says to which pool machines belong.
    pub pool: String,
    pub instance_type: String,
    pub capacity_type: String,
}

/// What happened in a window, as far as it decides what machines cost.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    pools: Vec<Pool>,
    templates: Vec<Template>,
}

#[derive(Debug, Clone)]
struct Pool {
    name: PoolName,
    /// The window, ms since 1970.
    from_ms: i64,
    to_ms: i64,
    /// Until when machines are paid for: what is billed at least, and in full steps, may end after the window.
    billed_to_ms: i64,
    machines: Vec<Machine>,
    /// In the order in which they arrived; of those that came together, in the order in which they were bound.
    pods: Vec<Pod>,
    /// What a machine has for pods, daemons and what is the cluster's own left out.
    room: Amounts,
    prices: price::Prices,
    /// What its machines cost in the window by the ledger.
    cost: NanoUsd,
    /// Why nothing can be said of it, whatever a replay shows.
    unusable: Option<NotReplayed>,
}

/// A machine as recorded.
#[derive(Debug, Clone, Copy, Default)]
struct Machine {
    start_ms: i64,
    registered_ms: i64,
    /// Until when it was up; it may be billed for longer.
    up_to_ms: i64,
    /// Its provider's rules.
    minimum_ms: i64,
    rounding_ms: i64,
    is_ended: bool,
    /// When its last workload pod let go of it; `None` if it never had one.
    last_workload_ms: Option<i64>,
}

/// A pod as recorded.
#[derive(Debug, Clone)]
struct Pod {
    arrives_ms: i64,
    bound_ms: i64,
    holds_ms: i64,
    request: Amounts,
    containers: Vec<Asked>,
}

/// What a container of a template asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Number of the template in [`Schedule`].
    template: u32,
    kind: ContainerKind,
    cpu_millicores: i64,
    memory_bytes: i64,
}

/// Which of the machines with room a pod is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// The one that was ordered first.
    Oldest,
    /// The fullest, as `MostAllocated` of Kubernetes' scheduler says.
    MostAllocated,
    /// The emptiest: `LeastAllocated`, the default of Kubernetes' scheduler.
    LeastAllocated,
}

impl Score {
    /// In words that follow a comma.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Oldest => "oldest machine first,",
            Self::MostAllocated => "fullest machine first,",
            Self::LeastAllocated => "emptiest machine first,",
        }
    }
}

/// How many machines are ordered for pods that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// As many as what waits would fill.
    BySum,
    /// One for each pod that fits on none of those that boot, beside what these were ordered for.
    ByPod,
}

impl Ordering {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::BySum => "machines ordered by the sum of what waits",
            Self::ByPod => "machines ordered pod by pod",
        }
    }
}

/// The rules of a pool's autoscaler, as far as its machines show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// From the start of a machine to its registration: the median.
    pub boot_ms: i64,
    /// From its last workload pod to its end: the median; `None` where no machine that had work ever went.
    pub idle_ms: Option<i64>,
    /// How many machines are never taken away: the fewest that were up at a time, or none.
    pub least_machines: u32,
    /// The most that were up at a time: what waits beyond them goes on waiting.
    pub most_machines: u32,
    /// For how long a machine that ended is billed at least, and in which steps: its provider's rules.
    pub minimum_ms: i64,
    pub rounding_ms: i64,
    pub score: Score,
    pub ordering: Ordering,
}

/// Why no realisable saving is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotReplayed {
    /// Nothing is advised, so nothing would change.
    NothingAdvised,
    /// None of its pods ran on a machine that is known.
    NoMachine,
    /// Some of the pool's machine time has no price.
    Unpriced,
    /// Pods are billed for what they ask for: no node can be spared, and the bill follows the request.
    BilledByRequest,
    /// With recorded requests, the replay of a pool is more than 2% off the ledger's cost.
    NotReproduced,
    /// A pod would ask for more than a machine of its pool has.
    LargerThanMachine,
    /// Pods that would ask for more would wait: their pool never had as many machines as they need.
    PoolTooSmall,
    /// Others save more: the replay is made for the first templates alone.
    NotAmongTheFirst,
}

impl NotReplayed {
    /// The reason in a sentence's words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NothingAdvised => "nothing is advised",
            Self::NoMachine => "its machines are not known",
            Self::Unpriced => "some of its machines' time has no price",
            Self::BilledByRequest => "its pods are billed by request",
            Self::NotReproduced => "the replay is more than 2% off what its machines cost",
            Self::LargerThanMachine => "no machine of its pool has so much",
            Self::PoolTooSmall => "its pods would wait for more machines than their pool ever had",
            Self::NotAmongTheFirst => "replayed for larger savings only",
        }
    }
}

/// How well a pool can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolReplay {
    #[serde(flatten)]
    pub name: PoolName,
    pub from_ms: i64,
    pub to_ms: i64,
    pub machines: u64,
    pub pods: u64,
    /// What its machines cost in the window by the ledger.
    pub cost: NanoUsd,
    /// What they cost in the replay with recorded requests; `None` where there is none.
    pub replayed_cost: Option<NanoUsd>,
    /// How far that is from the ledger, in millionths of it; negative where the replay is cheaper.
    pub deviation_ppm: Option<i64>,
    pub rules: Rules,
    pub withheld: Option<NotReplayed>,
}

#[cfg(test)]
mod tests;
