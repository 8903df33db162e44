//! Why a week did not cost what the one before cost.
//!
//! Per node pool, from marts `pools_hourly`; what all pools cost changes by the sum of three effects:
//!
//! * **prices**: time of this week's machines x (this week's price of an hour - last week's), per region and instance type. Buying the
//!   same type as spot is a price too.
//! * **work**: last week's cost x (this week's work / last week's - 1). Work is resource-time of running workload pods whose try neither
//!   failed nor was lost, weighed by OpenCost's default prices (0.031611 USD per core-hour, 0.004237 per GiB-hour, 0.95 per GPU-hour).
//! * **efficiency**: the rest: packing, idle time, failures, other machines.
//!
//! A pool whose machines were up as long as in the week before (within a hundredth) costs the same whatever they do: there, work has no
//! effect. Elsewhere its effect is never larger than what the pool cost in the dearer of the two weeks.
//!
//! What is no machine's (storage, load balancers, control planes) changes by itself: a fourth effect, told where there is such cost.
//!
//! Divisions truncate, and efficiency takes what they leave, so the effects add up exactly.

use std::collections::BTreeMap;

use podledger_sql::units::NanoUsd;

use super::Effect;
use super::ask::PoolHour;
use crate::display;

/// How many pipelines the bridge of a team names.
const NAMED: usize = 6;

/// Nano-dollars per core-hour, GiB-hour and GPU-hour (OpenCost's defaults).
const WEIGHTS: [i128; 3] = [31_611_000, 4_237_000, 950_000_000];

#[derive(Default)]
struct Pool {
    nano: [i128; 2],
    work: [i128; 2],
    /// Time and cost of priced machines by region and type.
    kinds: BTreeMap<(String, String), [(i128, i128); 2]>,
}

/// Effects on the cost of all pools, and `services`, the change of what is no machine's; `difference` is what they have to add up to.
pub(super) fn effects(hours: &[PoolHour], services: i64, difference: i64) -> Vec<Effect> {
    let mut pools: BTreeMap<&str, Pool> = BTreeMap::new();
    for hour in hours {
        let pool = pools.entry(&hour.pool).or_default();
        let week = usize::from(hour.is_this_week);
        pool.nano[week] += i128::from(hour.nano);
        pool.work[week] += work(&hour.work);
        let kind = pool
            .kinds
            .entry((hour.region.clone(), hour.instance_type.clone()))
            .or_default();
        kind[week].0 += i128::from(hour.up_ms - hour.unpriced_ms);
        kind[week].1 += i128::from(hour.nano);
    }
    let (mut volume, mut price) = (0_i128, 0_i128);
    for pool in pools.values() {
        let (mut of_price, mut up) = (0, [0_i128; 2]);
        for [(time_before, cost_before), (time, cost)] in pool.kinds.values() {
            up[0] += time_before;
            up[1] += time;
            if *time_before > 0 {
                of_price += cost - cost_before * time / time_before;
            }
        }
        price += of_price;
        let most = pool.nano[0].max(pool.nano[1] - of_price);
        let is_fixed = (up[1] - up[0]).abs() * 100 <= up[0];
        volume += match pool.work {
            _ if is_fixed => 0,
            [0, 0] => 0,
            // A pool that came, or went, came with its work.
            [0, _] => pool.nano[1] - of_price - pool.nano[0],
            [before, now] => (pool.nano[0] * (now - before) / before).clamp(-most, most),
        };
    }
    let services = i128::from(services);
    let efficiency = i128::from(difference) - services - volume - price;
    let named = |amount: i128, [less, same, more]: [&str; 3]| match amount {
        ..0 => less.to_owned(),
        0 => same.to_owned(),
        1.. => more.to_owned(),
    };
    [
        (
            "volume",
            volume,
            named(volume, ["less work", "same work", "more work"]),
        ),
        (
            "efficiency",
            efficiency,
            named(
                efficiency,
                [
                    "better packing and less waste",
                    "same packing",
                    "worse packing and more waste",
                ],
            ),
        ),
        (
            "price",
            price,
            named(price, ["lower prices", "same prices", "higher prices"]),
        ),
        (
            "services",
            services,
            named(
                services,
                ["less fixed cost", "same fixed cost", "more fixed cost"],
            ),
        ),
    ]
    .into_iter()
    .filter(|(key, amount, _)| *key != "services" || *amount != 0)
    .map(|(key, amount, label)| effect(key, label, amount))
    .collect()
}

/// Changes of the pipelines of a team, the largest by name.
pub(super) fn by_pipeline(
    now: &BTreeMap<(String, String), i64>,
    before: &BTreeMap<(String, String), i64>,
    difference: i64,
) -> Vec<Effect> {
    let mut changes: BTreeMap<&str, i128> = BTreeMap::new();
    for (sign, sums) in [(1, now), (-1, before)] {
        for ((_, pipeline), nano) in sums {
            *changes.entry(pipeline).or_default() += sign * i128::from(*nano);
        }
    }
    let mut changes: Vec<(&str, i128)> = changes.into_iter().filter(|(_, change)| *change != 0).collect();
    changes.sort_by_key(|(_, change)| std::cmp::Reverse(change.unsigned_abs()));
    let mut effects: Vec<Effect> = changes
        .iter()
        .take(NAMED)
        .map(|(pipeline, change)| effect("pipeline", display::short(pipeline), *change))
        .collect();
    let named: i128 = changes.iter().take(NAMED).map(|(_, change)| change).sum();
    let rest = i128::from(difference) - named;
    if rest != 0 {
        effects.push(effect("others", "all others".to_owned(), rest));
    }
    effects
}

fn effect(key: &'static str, label: String, amount: i128) -> Effect {
    Effect {
        key,
        label,
        amount: NanoUsd::from_nano(i64::try_from(amount).unwrap_or(0)),
    }
}

/// Work in nano-dollars, cut off below a thousandth of one.
fn work(times: &[i128; 3]) -> i128 {
    let [cpu, memory, gpu] = times;
    // Millicore-ms, byte-ms, milli-GPU-ms: to a scale of core-ms, GiB-ms, GPU-ms.
    cpu * WEIGHTS[0] / 1000 + (memory >> 20) * WEIGHTS[1] / 1024 + gpu * WEIGHTS[2] / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(is_this_week: bool, nano: i64, up_ms: i64, cpu: i128) -> PoolHour {
        PoolHour {
            is_this_week,
            hour_start_ms: 0,
            pool: "p".to_owned(),
            region: String::new(),
            instance_type: "m5.large".to_owned(),
            up_ms,
            unpriced_ms: 0,
            nano,
            idle_nano: [0; 5],
            capacity: [0; 3],
            request: [0; 3],
            work: [cpu, 0, 0],
            cpu_usage: None,
        }
    }

    fn amounts(hours: &[PoolHour], difference: i64) -> Vec<i64> {
        effects(hours, 0, difference)
            .iter()
            .map(|effect| effect.amount.get())
            .collect()
    }

    /// Twice the work on twice the time is volume; the same work on half the time is efficiency; a dearer hour is price.
    #[test]
    fn each_effect_comes_out_alone() {
        let before = || hour(false, 1000, 100, 1_000_000);
        assert_eq!(
            amounts(&[before(), hour(true, 2000, 200, 2_000_000)], 1000),
            [1000, 0, 0]
        );
        assert_eq!(
            amounts(&[before(), hour(true, 500, 50, 1_000_000)], -500),
            [0, -500, 0]
        );
        assert_eq!(
            amounts(&[before(), hour(true, 1100, 100, 1_000_000)], 100),
            [0, 0, 100]
        );
    }

    #[test]
    fn machines_that_stand_there_anyway_cost_the_same_whatever_they_do() {
        let hours = [
            hour(false, 1000, 100, 1_000_000),
            hour(true, 1000, 100, 9_000_000),
        ];
        assert_eq!(amounts(&hours, 0), [0, 0, 0]);
    }

    #[test]
    fn work_never_explains_more_than_the_bill() {
        let hours = [
            hour(false, 1000, 100, 1_000_000),
            hour(true, 1200, 120, 90_000_000),
        ];
        assert_eq!(amounts(&hours, 200), [1200, -1000, 0]);
    }

    #[test]
    fn effects_add_up_whatever_is_divided() {
        let hours = [hour(false, 1003, 97, 1_000_007), hour(true, 1511, 89, 1_300_011)];
        assert_eq!(amounts(&hours, 508).iter().sum::<i64>(), 508);
    }

    #[test]
    fn a_pool_that_came_is_more_work() {
        assert_eq!(amounts(&[hour(true, 700, 70, 5_000)], 700), [700, 0, 0]);
    }

    #[test]
    fn a_team_is_told_which_pipelines_changed_and_the_rest_adds_up() {
        let sums = |pairs: &[(&str, i64)]| {
            pairs
                .iter()
                .map(|(pipeline, nano)| (("t".to_owned(), (*pipeline).to_owned()), *nano))
                .collect::<BTreeMap<_, _>>()
        };
        let now = sums(&[
            ("a", 5),
            ("b", 7),
            ("c", 1),
            ("d", 1),
            ("e", 1),
            ("f", 1),
            ("g", 1),
            ("h", 1),
        ]);
        let before = sums(&[("a", 9), ("z", 20)]);
        let effects = by_pipeline(&now, &before, -11);
        assert_eq!(effects[0].label, "z");
        assert_eq!(effects.last().map(|effect| effect.key), Some("others"));
        assert_eq!(effects.iter().map(|effect| effect.amount.get()).sum::<i64>(), -11);
    }
}
