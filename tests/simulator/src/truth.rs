//! What everything really cost: plain loops over time, in 128 bits, from what the world did.
//!
//! The rules are those that podledger publishes (its `docs/allocation.md`); the way is another one. An hour of a machine is
//! cut wherever anything begins or ends, so that in each slice nothing changes; resource-time is added up slice by slice;
//! and money is divided by it at the end of the hour.

use std::collections::BTreeMap;

use serde::Serialize;

const HOUR: i64 = 3_600_000;

/// CPU, memory, accelerators.
const RESOURCES: usize = 3;

/// What a machine is: millicores, bytes, milli-GPUs; how much of them is for pods; and what it costs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub node: String,
    pub launched_ms: i64,
    pub registered_ms: i64,
    /// End of its life, or of what is looked at.
    pub end_ms: i64,
    pub is_ended: bool,
    pub capacity: [i64; RESOURCES],
    pub reserved: [i64; RESOURCES],
    /// Since when an hour costs so many nano-dollars, in order.
    pub prices: Vec<(i64, i64)>,
}

/// A pod on a machine.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub pod: usize,
    pub is_system: bool,
    pub bound_ms: i64,
    pub running_ms: i64,
    pub finished_ms: i64,
    pub released_ms: i64,
    /// From when to when its image could not be had.
    pub stuck_ms: (i64, i64),
    pub request: [i64; RESOURCES],
}

/// Stages of a pod's time on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Stuck,
    Starting,
    Terminating,
    Running,
}

/// Kinds of idle time, by when it is.
const IDLE: [&str; 5] = [
    "idle_boot",
    "idle_startup",
    "idle_gap",
    "idle_tail",
    "idle_unpacked",
];
const UNPACKED: usize = 4;

/// How a price is split: nano-dollars of a core-hour, a GiB-hour, a GPU-hour. OpenCost's defaults.
const WEIGHTS: [i128; RESOURCES] = [31_611_000, 4_237_000, 950_000_000];

/// Money of a machine, by who it is for.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    /// By pod and stage.
    pub pods: BTreeMap<(usize, Stage), i128>,
    /// Idle time by kind, and what the node keeps.
    pub machine: BTreeMap<&'static str, i128>,
    /// What all hours cost.
    pub total: i128,
}

/// What a machine cost over its life.
pub(crate) fn costs(machine: &Machine, holds: &[Hold]) -> Costs {
    let mut costs = Costs::default();
    let workloads = || {
        holds
            .iter()
            .filter(|hold| !hold.is_system && hold.released_ms > hold.bound_ms)
    };
    let first_workload = workloads()
        .map(|hold| hold.bound_ms)
        .min()
        .unwrap_or(machine.end_ms);
    let last_workload = workloads()
        .map(|hold| hold.released_ms)
        .max()
        .unwrap_or(machine.end_ms);
    let mut order: Vec<&Hold> = holds.iter().collect();
    order.sort_by_key(|hold| hold.bound_ms);
    let (mut open, mut next): (Vec<&Hold>, usize) = (Vec::new(), 0);
    let mut hour = machine.launched_ms - machine.launched_ms % HOUR;
    while hour < machine.end_ms {
        let (from, to) = (hour.max(machine.launched_ms), (hour + HOUR).min(machine.end_ms));
        while let Some(hold) = order.get(next).filter(|hold| hold.bound_ms < to) {
            open.push(hold);
            next += 1;
        }
        open.retain(|hold| hold.released_ms > from);
        cost_hour(
            machine,
            &open,
            (from, to),
            (first_workload, last_workload),
            &mut costs,
        );
        hour += HOUR;
    }
    costs
}

/// Resource-times of an hour.
#[derive(Default)]
struct Times {
    whole: [i128; RESOURCES],
    reserved: [i128; RESOURCES],
    pods: BTreeMap<(usize, Stage), [i128; RESOURCES]>,
    idle: [[i128; RESOURCES]; 5],
    /// Milliseconds of each kind of time, whoever holds the machine in it.
    kinds: [i64; 5],
}

fn cost_hour(machine: &Machine, open: &[&Hold], hour: (i64, i64), workloads: (i64, i64), costs: &mut Costs) {
    let price = price_of(machine, hour);
    let times = measure(machine, open, hour, workloads);
    let pools = pools(machine, hour, price);
    costs.total += price;
    // The kind of idle time that takes what the division leaves: the one that is there, in this order.
    let rest = [UNPACKED, 2, 3, 1, 0]
        .into_iter()
        .find(|kind| times.kinds[*kind] > 0)
        .unwrap_or(0);
    for resource in 0..RESOURCES {
        let (pool, whole) = (pools[resource], times.whole[resource]);
        let share = |part: i128| {
            if part == 0 || whole == 0 {
                0
            } else {
                pool * part / whole
            }
        };
        let reserved = share(times.reserved[resource]);
        let mut left = pool - reserved;
        *costs.machine.entry("node_reserved").or_default() += reserved;
        let mut pods: BTreeMap<usize, [i128; 4]> = BTreeMap::new();
        for ((pod, stage), time) in &times.pods {
            pods.entry(*pod).or_default()[*stage as usize] = time[resource];
        }
        for (pod, stages) in pods {
            let claim: i128 = stages.iter().sum();
            let part = share(claim);
            left -= part;
            let mut running = part;
            for stage in [Stage::Stuck, Stage::Starting, Stage::Terminating] {
                let time = stages[stage as usize];
                let cost = if time == 0 { 0 } else { part * time / claim };
                running -= cost;
                *costs.pods.entry((pod, stage)).or_default() += cost;
            }
            *costs.pods.entry((pod, Stage::Running)).or_default() += running;
        }
        let idle_time: i128 = times.idle.iter().map(|kind| kind[resource]).sum();
        let mut rest_cost = left;
        for (kind, name) in IDLE.iter().enumerate().take(UNPACKED) {
            let time = times.idle[kind][resource];
            if kind != rest && time > 0 {
                let cost = left * time / idle_time;
                rest_cost -= cost;
                *costs.machine.entry(name).or_default() += cost;
            }
        }
        *costs.machine.entry(IDLE[rest]).or_default() += rest_cost;
    }
}

/// What the time of an hour costs, cut off below a nano-dollar.
fn price_of(machine: &Machine, (from, to): (i64, i64)) -> i128 {
    let mut nano_ms = 0;
    for (number, (since, nano)) in machine.prices.iter().enumerate() {
        let until = machine
            .prices
            .get(number + 1)
            .map_or(i64::MAX, |(until, _)| *until);
        let (begin, end) = (from.max(*since), to.min(until));
        if end > begin {
            nano_ms += i128::from(*nano) * i128::from(end - begin);
        }
    }
    nano_ms / i128::from(HOUR)
}

/// The price of an hour in its parts. Memory takes what is left.
fn pools(machine: &Machine, (from, to): (i64, i64), price: i128) -> [i128; RESOURCES] {
    // Cores in thousandths, GiB in bytes, GPUs in thousandths: all to one scale.
    let scale = [1 << 30, 1000, 1 << 30];
    let mut weights = [0; RESOURCES];
    for resource in 0..RESOURCES {
        weights[resource] = i128::from(machine.capacity[resource])
            * i128::from(to - from)
            * WEIGHTS[resource]
            * scale[resource];
    }
    let all: i128 = weights.iter().sum();
    if all == 0 {
        return [0, price, 0];
    }
    let (cpu, gpu) = (price * weights[0] / all, price * weights[2] / all);
    [cpu, price - cpu - gpu, gpu]
}

fn measure(machine: &Machine, open: &[&Hold], (from, to): (i64, i64), (first, last): (i64, i64)) -> Times {
    let mut cuts = vec![from, to, machine.registered_ms, first, last];
    for hold in open {
        cuts.extend([
            hold.bound_ms,
            hold.running_ms,
            hold.finished_ms,
            hold.released_ms,
            hold.stuck_ms.0,
            hold.stuck_ms.1,
        ]);
    }
    cuts.retain(|cut| (from..=to).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    let mut times = Times::default();
    for slice in cuts.windows(2) {
        let [begin, end] = slice else { continue };
        let length = i128::from(end - begin);
        let held: Vec<&&Hold> = open
            .iter()
            .filter(|hold| hold.bound_ms <= *begin && hold.released_ms >= *end)
            .collect();
        let is_registered = *begin >= machine.registered_ms;
        let is_busy = held.iter().any(|hold| !hold.is_system);
        let kind = if is_busy {
            UNPACKED
        } else if !is_registered && *begin < first {
            0
        } else if *begin < first {
            1
        } else if machine.is_ended && *begin >= last {
            3
        } else {
            2
        };
        times.kinds[kind] += end - begin;
        for resource in 0..RESOURCES {
            let capacity = i128::from(machine.capacity[resource]);
            let reserved = if is_registered {
                i128::from(machine.reserved[resource])
            } else {
                0
            };
            let claimed: i128 = held.iter().map(|hold| i128::from(hold.request[resource])).sum();
            times.reserved[resource] += reserved * length;
            times.idle[kind][resource] += (capacity - reserved - claimed) * length;
            times.whole[resource] += capacity * length;
        }
        for hold in held {
            let stage = stage(hold, *begin);
            let time = times.pods.entry((hold.pod, stage)).or_default();
            for (resource, time) in time.iter_mut().enumerate() {
                *time += i128::from(hold.request[resource]) * length;
            }
        }
    }
    times
}

fn stage(hold: &Hold, at: i64) -> Stage {
    if (hold.stuck_ms.0..hold.stuck_ms.1).contains(&at) {
        Stage::Stuck
    } else if at < hold.running_ms {
        Stage::Starting
    } else if at >= hold.finished_ms {
        Stage::Terminating
    } else {
        Stage::Running
    }
}

/// What a pod was and cost.
#[derive(Debug, Clone, Serialize)]
pub struct PodTruth {
    pub uid: String,
    pub namespace: String,
    pub team: String,
    pub system: String,
    pub pipeline: String,
    /// `unattributed` where the system tells no run.
    pub run: String,
    pub job: String,
    pub outcome: &'static str,
    /// Whether nothing that Kubernetes showed tells the outcome.
    pub is_untold: bool,
    /// When it got its machine, in milliseconds since 1970.
    pub bound_ms: Option<i64>,
    /// When its machine was free of it.
    pub released_ms: Option<i64>,
    /// Nano-dollars by cost category.
    pub costs: BTreeMap<&'static str, i128>,
}

impl PodTruth {
    pub(crate) fn nobody(number: usize) -> Self {
        Self {
            uid: format!("nobody-{number}"),
            namespace: String::new(),
            team: String::new(),
            system: String::new(),
            pipeline: String::new(),
            run: String::new(),
            job: String::new(),
            outcome: "unknown",
            is_untold: true,
            bound_ms: None,
            released_ms: None,
            costs: BTreeMap::new(),
        }
    }
}

/// What a scenario came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Truth {
    pub pods: Vec<PodTruth>,
    /// Nano-dollars that no pod pays, by node and cost category.
    pub nodes: BTreeMap<String, BTreeMap<&'static str, i128>>,
    /// Nano-dollars of all machines.
    pub total: i128,
}

impl Truth {
    /// Nano-dollars by whatever `key` tells of a pod.
    #[must_use]
    pub fn pods_by<K: Ord>(&self, key: impl Fn(&PodTruth) -> K) -> BTreeMap<K, i128> {
        let mut sums = BTreeMap::new();
        for pod in &self.pods {
            *sums.entry(key(pod)).or_default() += pod.costs.values().sum::<i128>();
        }
        sums
    }

    /// Nano-dollars by cost category, of pods and machines.
    #[must_use]
    pub fn categories(&self) -> BTreeMap<&'static str, i128> {
        let mut sums: BTreeMap<&'static str, i128> = BTreeMap::new();
        for costs in self.pods.iter().map(|pod| &pod.costs).chain(self.nodes.values()) {
            for (category, cost) in costs {
                *sums.entry(category).or_default() += cost;
            }
        }
        sums
    }
}

impl Stage {
    /// The cost category of a workload pod's time in this stage; `None` while it runs, which hangs on how it ends.
    pub(crate) fn category(self) -> Option<&'static str> {
        match self {
            Self::Stuck => Some("stuck"),
            Self::Starting => Some("starting"),
            Self::Terminating => Some("terminating"),
            Self::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_worked_by_hand_comes_out() {
        // 4 cores, 16 GiB, 1 USD; booted for a quarter; half a core and 1 GiB kept by the node; one pod of 2 cores and 8 GiB in
        // the second half, which starts for ten minutes.
        let minute = 60_000;
        let machine = Machine {
            registered_ms: 15 * minute,
            end_ms: HOUR,
            is_ended: true,
            capacity: [4000, 16 << 30, 0],
            reserved: [500, 1 << 30, 0],
            prices: vec![(0, 1_000_000_000)],
            ..Machine::default()
        };
        let hold = Hold {
            pod: 7,
            is_system: false,
            bound_ms: 30 * minute,
            running_ms: 40 * minute,
            finished_ms: 60 * minute,
            released_ms: 60 * minute,
            stuck_ms: (0, 0),
            request: [2000, 8 << 30, 0],
        };
        let costs = costs(&machine, &[hold]);
        // The pod holds a quarter of each pool.
        let pod: i128 = costs.pods.values().sum();
        assert_eq!(pod, 250_000_000);
        assert_eq!(costs.pods[&(7, Stage::Starting)], 83_333_333);
        // CPU 126,444 of 194,236 parts; the node keeps 1/8 of CPU and 1/16 of memory for three quarters.
        assert_eq!(costs.machine["node_reserved"], 61_029_495 + 16_360_252);
        assert_eq!(costs.machine.values().sum::<i128>() + pod, 1_000_000_000);
        assert!(costs.machine["idle_boot"] > costs.machine["idle_startup"]);
        assert!(!costs.machine.contains_key("idle_gap"));
    }
}
