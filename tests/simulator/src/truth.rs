//! What everything really cost: plain loops over time, in 128 bits, from what the world did.
//!
//! The rules are those that podledger publishes (its `docs/allocation.md`); the way is another one. An hour of a machine is
//! cut wherever anything begins or ends, so that in each slice nothing changes; resource-time is added up slice by slice;
//! and money is divided by it at the end of the hour.

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) const HOUR: i64 = 3_600_000;

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
    /// What it used, by the start of the hour: millicore- and byte-milliseconds. Hours that nobody measured are not there.
    pub usage: BTreeMap<i64, [i128; 2]>,
}

/// Stages of a pod's time on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Stuck,
    Starting,
    Terminating,
    Running,
}

/// What a pod pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Paid {
    Stuck,
    Starting,
    Terminating,
    Used,
    UnusedRequest,
    Unmetered,
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
    pub pods: BTreeMap<(usize, Paid), i128>,
    /// Idle time by kind, and what the node keeps.
    pub machine: BTreeMap<&'static str, i128>,
    pub hours: Vec<HourTruth>,
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
    capacity: [i128; RESOURCES],
    reserved: [i128; RESOURCES],
    pods: BTreeMap<(usize, Stage), [i128; RESOURCES]>,
    idle: [[i128; RESOURCES]; 5],
    /// Milliseconds of each kind of time, whoever holds the machine in it.
    kinds: [i64; 5],
}

fn cost_hour(machine: &Machine, open: &[&Hold], hour: (i64, i64), workloads: (i64, i64), costs: &mut Costs) {
    let price = price_of(machine, hour);
    let times = measure(machine, open, hour, workloads);
    let start = hour.0 - hour.0 % HOUR;
    let usage: BTreeMap<usize, [i128; 2]> = open
        .iter()
        .filter_map(|hold| Some((hold.pod, *hold.usage.get(&start)?)))
        .collect();
    let pools = pools(machine, hour, price);
    costs.total += price;
    let mut idle: BTreeMap<&'static str, i128> = BTreeMap::new();
    // The kind of idle time that takes what the division leaves: the one that is there, in this order.
    let rest = [UNPACKED, 2, 3, 1, 0]
        .into_iter()
        .find(|kind| times.kinds[*kind] > 0)
        .unwrap_or(0);
    for resource in 0..RESOURCES {
        let mut pods: BTreeMap<usize, [i128; 4]> = BTreeMap::new();
        for ((pod, stage), time) in &times.pods {
            pods.entry(*pod).or_default()[*stage as usize] = time[resource];
        }
        // While it runs, a pod claims what it uses, where that is more than it asked for.
        let used = |pod: usize| usage.get(&pod).and_then(|used| used.get(resource)).copied();
        let claim = |pod: usize, stages: &[i128; 4]| {
            let running = stages[Stage::Running as usize];
            stages.iter().sum::<i128>() - running + running.max(used(pod).unwrap_or(0))
        };
        let claims: i128 = pods.iter().map(|(pod, stages)| claim(*pod, stages)).sum();
        let (pool, reserved_time) = (pools[resource], times.reserved[resource]);
        let whole = times.capacity[resource].max(reserved_time + claims);
        let share = |amount: i128, part: i128, of: i128| {
            if part == 0 || of == 0 {
                0
            } else {
                amount * part / of
            }
        };
        let reserved = share(pool, reserved_time, whole);
        *costs.machine.entry("node_reserved").or_default() += reserved;
        let mut left = pool - reserved;
        for (pod, stages) in &pods {
            let claim = claim(*pod, stages);
            let part = share(pool, claim, whole);
            left -= part;
            let mut running = part;
            let mut pay = |paid: Paid, cost: i128| *costs.pods.entry((*pod, paid)).or_default() += cost;
            for (stage, paid) in [
                (Stage::Stuck, Paid::Stuck),
                (Stage::Starting, Paid::Starting),
                (Stage::Terminating, Paid::Terminating),
            ] {
                let cost = share(part, stages[stage as usize], claim);
                running -= cost;
                pay(paid, cost);
            }
            let requested = stages[Stage::Running as usize];
            match used(*pod) {
                None => pay(Paid::Unmetered, running),
                Some(used) if used >= requested => pay(Paid::Used, running),
                Some(used) => {
                    let cost = running * used / requested;
                    pay(Paid::Used, cost);
                    pay(Paid::UnusedRequest, running - cost);
                }
            }
        }
        let idle_time = whole - reserved_time - claims;
        let (mut rest_cost, mut rest_time) = (left, idle_time);
        for (kind, name) in IDLE.iter().enumerate().take(UNPACKED) {
            if kind == rest || times.idle[kind][resource] == 0 {
                continue;
            }
            // What a pod uses beyond its request is taken from time beside it first.
            let time = times.idle[kind][resource].min(rest_time);
            rest_time -= time;
            let cost = share(left, time, idle_time);
            rest_cost -= cost;
            *idle.entry(name).or_default() += cost;
        }
        *idle.entry(IDLE[rest]).or_default() += rest_cost;
    }
    for (kind, cost) in &idle {
        *costs.machine.entry(kind).or_default() += cost;
    }
    costs.hours.push(HourTruth {
        hour_start_ms: start,
        up_ms: hour.1 - hour.0,
        busy_ms: times.kinds[UNPACKED],
        cost: price,
        idle,
    });
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
            times.capacity[resource] += capacity * length;
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
    pub pool: &'static str,
    pub outcome: &'static str,
    /// Whether nothing that Kubernetes showed tells the outcome.
    pub is_untold: bool,
    /// What was made to go wrong with it.
    pub planted: Option<&'static str>,
    /// Why it failed or was lost: what was made to go wrong with it, or with the driver that made it.
    pub cause: Option<&'static str>,
    /// Whether a driver made it.
    pub is_executor: bool,
    pub created_ms: i64,
    /// When it got its machine, in milliseconds since 1970.
    pub bound_ms: Option<i64>,
    /// When its containers began to run, and when that they had ended was told.
    pub running_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    /// When its machine was free of it.
    pub released_ms: Option<i64>,
    /// Milliseconds before it was bound, or gone, by what it waited for: `machine_order`, `machine_boot`, `unschedulable` (the
    /// scheduler had found no room) and `scheduling`.
    pub waits: BTreeMap<&'static str, i64>,
    /// The volume that it mounts, by UID.
    pub volume: Option<String>,
    /// Nano-dollars by cost category, without storage.
    pub costs: BTreeMap<&'static str, i128>,
}

/// What a machine cost beside what its pods paid.
#[derive(Debug, Clone, Serialize)]
pub struct MachineTruth {
    pub node: String,
    pub pool: &'static str,
    /// As its Node's `spec.providerID` has it.
    pub provider_id: String,
    pub instance_type: &'static str,
    pub capacity_type: &'static str,
    pub launched_ms: i64,
    /// End of its life, or of what is looked at.
    pub end_ms: i64,
    /// Since when an hour costs so many nano-dollars, in order.
    pub prices: Vec<(i64, i64)>,
    /// Nano-dollars that no pod pays, by cost category.
    pub costs: BTreeMap<&'static str, i128>,
    pub hours: Vec<HourTruth>,
    /// Nano-dollars of its whole life.
    pub total: i128,
}

/// An hour of a machine.
#[derive(Debug, Clone, Serialize)]
pub struct HourTruth {
    pub hour_start_ms: i64,
    pub up_ms: i64,
    /// While it had a pod that is none of its own.
    pub busy_ms: i64,
    pub cost: i128,
    /// Nano-dollars of idle time, by kind.
    pub idle: BTreeMap<&'static str, i128>,
}

/// A volume, and since when nobody needs it.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeTruth {
    pub uid: String,
    pub team: String,
    pub pipeline: String,
    pub bytes: i64,
    pub created_ms: i64,
    /// When the run that it was made for was over and it stayed.
    pub orphaned_ms: Option<i64>,
    /// When it was deleted; `None` if it never was.
    pub deleted_ms: Option<i64>,
    /// Nano-dollars, at [`VOLUME_NANO`].
    pub cost: i128,
    /// Of these, since nobody needs it.
    pub orphaned_cost: i128,
}

/// Nano-dollars of a GiB of storage for a month of 730 hours: general-purpose SSD volumes of the largest provider (gp3,
/// us-east-1) cost 0.08 USD.
pub const VOLUME_NANO: i128 = 80_000_000;

/// Nano-dollars of an hour of a managed control plane: 0.10 USD at the largest provider.
pub const CONTROL_PLANE_NANO: i128 = 100_000_000;

/// What so many bytes cost from one time to another, in nano-dollars, cut off below one in each hour.
pub(crate) fn volume_cost(bytes: i64, from_ms: i64, to_ms: i64) -> i128 {
    let mut cost = 0;
    let mut at = from_ms;
    while at < to_ms {
        let next = (at - at.rem_euclid(HOUR) + HOUR).min(to_ms);
        cost +=
            i128::from(bytes) * i128::from(next - at) * VOLUME_NANO / ((1 << 30) * 730 * i128::from(HOUR));
        at = next;
    }
    cost
}

/// What a pod used in an hour.
#[derive(Debug, Clone, Serialize)]
pub struct UsageHour {
    pub pod_uid: String,
    pub hour_start_ms: i64,
    pub cpu_millicore_ms: i128,
    pub memory_byte_ms: i128,
    pub memory_peak_bytes: i64,
}

/// Whose waste it is and of which kind: what a good report has to find.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WasteKey {
    pub kind: &'static str,
    pub team: String,
    pub pipeline: String,
    pub job: String,
    pub pool: &'static str,
}

/// How much of it there is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Waste {
    /// Pods, machines or volumes.
    pub count: u64,
    /// Nano-dollars.
    pub cost: i128,
}

/// Sums of a scenario, which stay small however large it is.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    pub pods: u64,
    /// Nano-dollars of all machines.
    pub total: i128,
    /// Nano-dollars by cost category, of pods and machines.
    pub categories: BTreeMap<&'static str, i128>,
    pub wastes: BTreeMap<WasteKey, Waste>,
    /// The job that became slower, or asked for more, once it did.
    pub changed: Option<ChangedJob>,
}

/// A job that takes longer, or asks for more, than it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedJob {
    pub team: String,
    pub pipeline: String,
    pub job: String,
}

impl Sums {
    pub(crate) fn pay(&mut self, costs: &BTreeMap<&'static str, i128>) {
        for (category, cost) in costs {
            *self.categories.entry(category).or_default() += cost;
        }
    }

    pub(crate) fn waste(&mut self, key: WasteKey, cost: i128) {
        let waste = self.wastes.entry(key).or_default();
        waste.count += 1;
        waste.cost += cost;
    }
}

impl Paid {
    /// The cost category of a workload pod: of the time in which it ran, it hangs on how it ended.
    pub(crate) fn category(self, outcome: &'static str) -> &'static str {
        match (self, outcome) {
            (Self::Stuck, _) => "stuck",
            (Self::Starting, _) => "starting",
            (Self::Terminating, _) => "terminating",
            (_, "failed" | "lost") => outcome,
            (Self::Used, _) => "used",
            (Self::UnusedRequest, _) => "unused_request",
            (Self::Unmetered, _) => "unmetered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pods of the whole machine's CPU, one after the other; the first uses double, so that the hour has one and a half of it.
    #[test]
    fn a_pod_that_uses_more_than_there_is_pays_more_and_leaves_nothing_idle() {
        let machine = Machine {
            end_ms: HOUR,
            capacity: [1000, 0, 0],
            prices: vec![(0, 1_000_000_000)],
            ..Machine::default()
        };
        let hold = |pod: usize, from: i64, usage: i128| Hold {
            pod,
            is_system: false,
            bound_ms: from,
            running_ms: from,
            finished_ms: from + HOUR / 2,
            released_ms: from + HOUR / 2,
            stuck_ms: (0, 0),
            request: [1000, 0, 0],
            usage: BTreeMap::from([(0, [usage, 0])]),
        };
        let half = i128::from(HOUR) * 500;
        let costs = costs(&machine, &[hold(1, 0, half * 2), hold(2, HOUR / 2, half / 2)]);
        assert_eq!(costs.pods[&(1, Paid::Used)], 666_666_666);
        assert_eq!(costs.pods[&(2, Paid::Used)], 166_666_666);
        assert_eq!(costs.pods[&(2, Paid::UnusedRequest)], 166_666_667);
        assert_eq!(costs.machine["idle_unpacked"], 1);
    }

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
            // Half of the CPU; all of the memory and more than was asked for is another test.
            usage: BTreeMap::from([(0, [1000 * 20 * 60_000, (8_i128 << 30) * 20 * 60_000])]),
        };
        let costs = costs(&machine, &[hold]);
        // The pod holds a quarter of each pool.
        let pod: i128 = costs.pods.values().sum();
        assert_eq!(pod, 250_000_000);
        assert_eq!(costs.pods[&(7, Paid::Starting)], 83_333_333);
        // Of the CPU's quarter, two thirds while it ran, half of that used.
        let cpu = 126_444_000_i128 * 1_000_000_000 / (126_444_000 + 67_792_000) / 4;
        assert_eq!(
            costs.pods[&(7, Paid::UnusedRequest)],
            cpu - cpu / 3 - (cpu - cpu / 3) / 2
        );
        // CPU 126,444 of 194,236 parts; the node keeps 1/8 of CPU and 1/16 of memory for three quarters.
        assert_eq!(costs.machine["node_reserved"], 61_029_495 + 16_360_252);
        assert_eq!(costs.machine.values().sum::<i128>() + pod, 1_000_000_000);
        assert!(costs.machine["idle_boot"] > costs.machine["idle_startup"]);
        assert!(!costs.machine.contains_key("idle_gap"));
    }
}
