//! What other requests would have spared: differences of replays.

use std::collections::{HashMap, HashSet};

use podledger_sql::units::NanoUsd;
use serde::Serialize;

use super::simulate::{Arrival, Outcome, Setting, outcome};
use super::{
    Amounts, Asked, DEVIATION_PPM, NotReplayed, Pod, Pool, PoolName, PoolReplay, Rules, Schedule, rules,
};
use crate::rightsizing::{ContainerKind, Recommendation, Template};

/// Each figure is the mean of so many replays, one with arrivals as recorded and others in which each pod comes up to [`DELAY_MS`] later: where a pod goes
/// decides where the next one does, so one replay alone says little of a small change.
const VARIANTS: u32 = 5;

/// Of a pool with more pods, one replay has to do.
const MANY_PODS: usize = 100_000;

/// A second: it changes the order of pods that come together, and no more. Pods that are torn apart by a boot time have other machines ordered
/// for them.
const DELAY_MS: i64 = 1000;

/// How many pods are replayed for templates alone, each variant counted.
const PODS_REPLAYED: usize = 20_000_000;

/// A schedule with the rules that reproduce it.
pub struct Replay {
    pools: Vec<Fitted>,
    templates: HashMap<Template, u32>,
    /// By template: numbers of the pools that its pods ran in.
    places: Vec<Vec<usize>>,
}

struct Fitted {
    pool: Pool,
    told: PoolReplay,
    /// What replays with recorded requests came to, by variant.
    recorded: Vec<Outcome>,
}

/// What advice would have spared of what machines cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Realisable {
    /// Mean of the variants; negative where machines would have cost more.
    pub saving: Option<NanoUsd>,
    /// Of the variants, the one that saves least, and the one that saves most.
    pub least: Option<NanoUsd>,
    pub most: Option<NanoUsd>,
    pub withheld: Option<NotReplayed>,
}

fn whole(nano: i128) -> NanoUsd {
    NanoUsd::from_nano(i64::try_from(nano).unwrap_or(i64::MAX))
}

impl Realisable {
    const fn withheld(reason: NotReplayed) -> Self {
        Self {
            saving: None,
            least: None,
            most: None,
            withheld: Some(reason),
        }
    }

    /// Of savings by pool and variant.
    fn of(by_pool: &[Vec<i128>]) -> Self {
        let variants = by_pool.iter().map(Vec::len).max().unwrap_or(0);
        let mut by_variant = vec![0; variants];
        for spared in by_pool {
            // Where there is one variant, it stands for all.
            for (sum, spared) in by_variant.iter_mut().zip(spared.iter().cycle()) {
                *sum += spared;
            }
        }
        let count = i128::try_from(by_variant.len().max(1)).unwrap_or(1);
        Self {
            saving: Some(whole(by_variant.iter().sum::<i128>() / count)),
            least: by_variant.iter().min().map(|nano| whole(*nano)),
            most: by_variant.iter().max().map(|nano| whole(*nano)),
            withheld: None,
        }
    }
}

/// What all advice together would have spared, in the pools that can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Total {
    #[serde(flatten)]
    pub realisable: Realisable,
    /// Nominal saving of the advice all of whose pods ran in these pools: what can be held against the realisable one.
    pub nominal: NanoUsd,
    /// What machines of these pools cost by the ledger.
    pub cost: NanoUsd,
    /// What machines of the other pools did.
    pub cost_not_replayed: NanoUsd,
    /// The other pools, each with the reason.
    pub left_out: Vec<PoolReplay>,
}

/// By number of a template, what it should ask for: millicores and bytes.
pub(super) type Changes = HashMap<u32, (Option<i64>, Option<i64>)>;

impl Replay {
    /// Finds the rules of each pool and holds its replay against the ledger.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self::under(schedule, |_| None)
    }

    /// As [`Replay::new`], under rules that were found elsewhere, such as on days before; of a pool without any they are found.
    #[must_use]
    pub fn under(schedule: Schedule, rules: impl Fn(&PoolName) -> Option<Rules>) -> Self {
        let mut places = vec![Vec::new(); schedule.templates.len()];
        for (place, pool) in schedule.pools.iter().enumerate() {
            for asked in pool.pods.iter().flat_map(|pod| &pod.containers) {
                let Some(of_template) = places.get_mut(usize::try_from(asked.template).unwrap_or(usize::MAX))
                else {
                    continue;
                };
                if of_template.last() != Some(&place) {
                    of_template.push(place);
                }
            }
        }
        Self {
            pools: schedule
                .pools
                .into_iter()
                .map(|pool| {
                    let known = rules(&pool.name);
                    fit(pool, known)
                })
                .collect(),
            templates: (0..)
                .zip(schedule.templates)
                .map(|(number, template)| (template, number))
                .collect(),
            places,
        }
    }

    /// How well each pool can be replayed, by name.
    pub fn pools(&self) -> impl Iterator<Item = &PoolReplay> {
        self.pools.iter().map(|pool| &pool.told)
    }

    /// What each recommendation alone would have spared, in their order. Those at the end may be left out where there are many pods.
    #[must_use]
    pub fn each(&self, rows: &[Recommendation]) -> Vec<Realisable> {
        let mut left = PODS_REPLAYED;
        rows.iter()
            .map(|row| {
                let changes = self.changes([row]);
                let Some(number) = changes.keys().next() else {
                    let is_known = self.templates.contains_key(&row.template);
                    return Realisable::withheld(if is_known {
                        NotReplayed::NothingAdvised
                    } else {
                        NotReplayed::NoMachine
                    });
                };
                let places = self.places(*number);
                if places.is_empty() {
                    return Realisable::withheld(NotReplayed::NoMachine);
                }
                let pools = || places.iter().filter_map(|place| self.pools.get(*place));
                if let Some(reason) = pools().find_map(|pool| pool.told.withheld) {
                    return Realisable::withheld(reason);
                }
                let pods: usize = pools()
                    .map(|pool| pool.pool.pods.len() * pool.recorded.len())
                    .sum();
                if pods > left {
                    left = 0;
                    return Realisable::withheld(NotReplayed::NotAmongTheFirst);
                }
                left -= pods;
                let spared: Result<Vec<_>, _> = pools().map(|pool| spared(pool, &changes)).collect();
                spared.map_or_else(Realisable::withheld, |spared| Realisable::of(&spared))
            })
            .collect()
    }

    /// What all recommendations together would have spared.
    #[must_use]
    pub fn together(&self, rows: &[Recommendation]) -> Total {
        let changes = self.changes(rows);
        let changed: HashSet<usize> = changes
            .keys()
            .flat_map(|number| self.places(*number))
            .copied()
            .collect();
        let (mut by_pool, mut left_out, mut reason) = (Vec::new(), Vec::new(), None);
        let (mut cost, mut cost_not_replayed) = (0_i64, 0_i64);
        let mut replayed = HashSet::new();
        for (place, pool) in self.pools.iter().enumerate() {
            let is_changed = changed.contains(&place);
            let found = match pool.told.withheld {
                Some(reason) => Err(reason),
                None if is_changed => spared(pool, &changes),
                None => Ok(Vec::new()),
            };
            match found {
                Ok(spared) => {
                    cost = cost.saturating_add(pool.told.cost.get());
                    replayed.insert(place);
                    if is_changed {
                        by_pool.push(spared);
                    }
                }
                Err(found) => {
                    cost_not_replayed = cost_not_replayed.saturating_add(pool.told.cost.get());
                    reason = reason.or(is_changed.then_some(found));
                    left_out.push(PoolReplay {
                        withheld: Some(found),
                        ..pool.told.clone()
                    });
                }
            }
        }
        let realisable = if changes.is_empty() {
            Realisable::withheld(NotReplayed::NothingAdvised)
        } else if by_pool.is_empty() {
            Realisable::withheld(reason.unwrap_or(NotReplayed::NoMachine))
        } else {
            Realisable::of(&by_pool)
        };
        let is_replayed = |row: &&Recommendation| {
            let places = self
                .templates
                .get(&row.template)
                .map_or(&[][..], |number| self.places(*number));
            !places.is_empty() && places.iter().all(|place| replayed.contains(place))
        };
        let nominal = rows
            .iter()
            .filter(is_replayed)
            .fold(0_i64, |sum, row| sum.saturating_add(row.nominal_saving.get()));
        Total {
            realisable,
            nominal: NanoUsd::from_nano(nominal),
            cost: NanoUsd::from_nano(cost),
            cost_not_replayed: NanoUsd::from_nano(cost_not_replayed),
            left_out,
        }
    }

    /// Numbers of the pools in which a template ran.
    fn places(&self, template: u32) -> &[usize] {
        usize::try_from(template)
            .ok()
            .and_then(|number| self.places.get(number))
            .map_or(&[], Vec::as_slice)
    }

    fn changes<'a>(&self, rows: impl IntoIterator<Item = &'a Recommendation>) -> Changes {
        let whole = |amount: Option<u64>| amount.and_then(|amount| i64::try_from(amount).ok());
        rows.into_iter()
            .filter(|row| row.cpu_millicores.recommended.is_some() || row.memory_bytes.recommended.is_some())
            .filter_map(|row| {
                let advised = (
                    whole(row.cpu_millicores.recommended),
                    whole(row.memory_bytes.recommended),
                );
                Some((*self.templates.get(&row.template)?, advised))
            })
            .collect()
    }
}

/// What a pool would have been spared, by variant; or why nobody can say.
fn spared(pool: &Fitted, changes: &Changes) -> Result<Vec<i128>, NotReplayed> {
    if let Some(reason) = pool.told.withheld {
        return Err(reason);
    }
    let Pool { pods, room, .. } = &pool.pool;
    let requests: Vec<Amounts> = pods.iter().map(|pod| request(pod, changes)).collect();
    let mut raised_ms = 0;
    for (pod, request) in pods.iter().zip(&requests) {
        if (0..3).any(|resource| request[resource] > room[resource].max(pod.request[resource])) {
            return Err(NotReplayed::LargerThanMachine);
        }
        if (0..3).any(|resource| request[resource] > pod.request[resource]) {
            raised_ms += i128::from(pod.holds_ms);
        }
    }
    (0..)
        .zip(&pool.recorded)
        .map(|(variant, recorded)| {
            let found = replayed(&pool.pool, pool.told.rules, &requests, variant);
            // What waits for machines that nobody may order costs nothing; that is no saving.
            let later_ms = found.late_ms - recorded.late_ms;
            if raised_ms > 0 && later_ms * 1_000_000 > raised_ms * i128::from(DEVIATION_PPM) {
                return Err(NotReplayed::PoolTooSmall);
            }
            Ok(recorded.cost_nano - found.cost_nano)
        })
        .collect()
}

fn fit(pool: Pool, known: Option<Rules>) -> Fitted {
    let recorded: Vec<Amounts> = pool.pods.iter().map(|pod| pod.request).collect();
    let mut rules = known.unwrap_or_else(|| rules::observed(&pool));
    let mut outcomes = Vec::new();
    if pool.unusable.is_none() {
        let off = |rules: Rules| {
            let found = replayed(&pool, rules, &recorded, 0).cost_nano;
            (found - i128::from(pool.cost.get())).abs()
        };
        // That few machines were up for a while may be the pool's rule, or work that went on and on.
        let ways = rules::WAYS.into_iter().flat_map(|(score, ordering)| {
            [0, rules.least_machines].map(|least_machines| Rules {
                least_machines,
                score,
                ordering,
                ..rules
            })
        });
        if known.is_none() {
            rules = ways.min_by_key(|rules| off(*rules)).unwrap_or(rules);
        }
        let variants = if pool.pods.len() > MANY_PODS { 1 } else { VARIANTS };
        outcomes = (0..variants)
            .map(|variant| replayed(&pool, rules, &recorded, variant))
            .collect();
    }
    // What is held against the ledger is the schedule as recorded.
    let replayed_nano = outcomes.first().map(|outcome| outcome.cost_nano);
    let deviation_ppm = replayed_nano.map(|replayed_nano| {
        let cost_nano = i128::from(pool.cost.get());
        let off = (replayed_nano - cost_nano) * 1_000_000 / cost_nano.max(1);
        i64::try_from(off).unwrap_or(i64::MAX)
    });
    let is_off = deviation_ppm.is_some_and(|off| off.unsigned_abs() > DEVIATION_PPM);
    let told = PoolReplay {
        name: pool.name.clone(),
        from_ms: pool.from_ms,
        to_ms: pool.to_ms,
        machines: u64::try_from(pool.machines.len()).unwrap_or(u64::MAX),
        pods: u64::try_from(pool.pods.len()).unwrap_or(u64::MAX),
        cost: pool.cost,
        replayed_cost: replayed_nano.map(whole),
        deviation_ppm,
        rules,
        withheld: pool
            .unusable
            .or_else(|| is_off.then_some(NotReplayed::NotReproduced)),
    };
    Fitted {
        pool,
        told,
        recorded: outcomes,
    }
}

/// What happens to a pool in a variant, if its pods ask for `requests`.
fn replayed(pool: &Pool, rules: Rules, requests: &[Amounts], variant: u32) -> Outcome {
    let mut arrivals: Vec<Arrival> = (0_u64..)
        .zip(pool.pods.iter().zip(requests))
        .map(|(number, (pod, request))| Arrival {
            at_ms: if variant == 0 || pod.arrives_ms <= pool.from_ms {
                pod.arrives_ms
            } else {
                pod.arrives_ms + later(number, variant, DELAY_MS)
            },
            holds_ms: pod.holds_ms,
            // A pod that ran fitted on a machine, whatever daemons hold of one on average.
            request: [0, 1, 2].map(|resource: usize| request[resource].min(pool.room[resource])),
        })
        .collect();
    arrivals.sort_by_key(|arrival| arrival.at_ms);
    let setting = Setting {
        from_ms: pool.from_ms,
        to_ms: pool.to_ms,
        billed_to_ms: pool.billed_to_ms,
        room: pool.room,
        rules,
        prices: &pool.prices,
    };
    outcome(&setting, &arrivals)
}

/// Below `most`, spread evenly over pods and variants, and always the same (`SplitMix64`: Steele, Lea, Flood 2014).
fn later(number: u64, variant: u32, most: i64) -> i64 {
    let mut mixed = number
        .wrapping_mul(u64::from(VARIANTS))
        .wrapping_add(u64::from(variant))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    i64::try_from(mixed % most.unsigned_abs().max(1)).unwrap_or(0)
}

/// What a pod asks for after a change: its recorded request, less what its containers asked for together, and with what they would.
pub(super) fn request(pod: &Pod, changes: &Changes) -> Amounts {
    if !pod
        .containers
        .iter()
        .any(|asked| changes.contains_key(&asked.template))
    {
        return pod.request;
    }
    let advised = |asked: &Asked| changes.get(&asked.template).copied().unwrap_or_default();
    let cpu = effective(&pod.containers, |asked| asked.cpu_millicores);
    let new_cpu = effective(&pod.containers, |asked| {
        advised(asked).0.unwrap_or(asked.cpu_millicores)
    });
    let memory = effective(&pod.containers, |asked| asked.memory_bytes);
    let new_memory = effective(&pod.containers, |asked| {
        advised(asked).1.unwrap_or(asked.memory_bytes)
    });
    [
        (pod.request[0] - cpu + new_cpu).max(0),
        (pod.request[1] - memory + new_memory).max(0),
        pod.request[2],
    ]
}

/// What containers hold together: all that run side by side, or the largest init container beside the sidecars
/// (Kubernetes, "Resource sharing within containers").
fn effective(containers: &[Asked], amount: impl Fn(&Asked) -> i64) -> i64 {
    let of = |kind: ContainerKind| {
        containers
            .iter()
            .filter(move |asked| asked.kind == kind)
            .map(&amount)
    };
    let sidecars: i64 = of(ContainerKind::Sidecar).sum();
    let together = of(ContainerKind::Container).sum::<i64>() + sidecars;
    let first = of(ContainerKind::Init).max().unwrap_or(0) + sidecars;
    together.max(first)
}
