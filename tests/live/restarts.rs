//! A collector that was not there for a while: what the server still remembers is told late, what it has forgotten is a gap
//! with stated ends, of which Events tell the pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use duckdb::Connection;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use podledger_collector::import::prices;
use podledger_collector::live::Settings;
use podledger_simulator::{Change, ChangeKind, Object, Scenario};

use super::known::facts;
use super::{begin, changes, collection, in_simulated_time, scenario, serve, settings, start};
use crate::harness::{World, rows};

/// When the collector stops: in the middle of a minute of a busy hour.
const STOPPED_AFTER: Duration = Duration::from_secs(10 * 3600 + 1837);

fn platform() -> Scenario {
    Scenario {
        has_pod_events: true,
        ..scenario(11, 1, 40, false)
    }
}

/// Prices of a simulated platform.
pub fn given_prices(world: &World, scenario: Scenario) {
    let out = world.folder.path().join("prices");
    std::fs::create_dir(&out).unwrap();
    podledger_simulator::observe(scenario, &out)
        .unwrap()
        .for_each(drop);
    prices::import(
        &world.lake(),
        &out.join("prices.csv"),
        jiff::civil::date(2026, 11, 2),
    )
    .unwrap();
}

/// Collects a day, with an interruption of so many seconds.
fn interrupted(seconds: u64) -> World {
    let world = World::new();
    given_prices(&world, platform());
    in_simulated_time(async {
        let of_server = podledger_simulator::Settings::new(start());
        let (server, platform) = serve(of_server, platform()).await;
        let settings = Settings {
            commit_every: Duration::from_secs(60),
            ..settings(&world)
        };
        let first = begin(collection(&world, &server, settings.clone()));
        tokio::time::sleep(STOPPED_AFTER).await;
        first.stop().await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let second = begin(collection(&world, &server, settings));
        platform.await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.stop().await;
    });
    world
}

/// The gap of pods, if there is one: from, to, reason, recovered pods.
fn gap(world: &World) -> Option<(Timestamp, Timestamp, String, u64)> {
    let connection = Connection::open_in_memory().unwrap();
    let folder = world.folder.path().join("lake/collection_gaps");
    let found = rows(
        &connection,
        &format!(
            "select epoch_us(gap_start_at), epoch_us(gap_end_at), reason, recovered_pods from read_parquet('{}/*/*.parquet', \
             hive_partitioning = true, union_by_name = true) where resource = 'pods'",
            folder.display()
        ),
    );
    assert!(found.len() <= 1, "{found:?}");
    let row: Vec<&str> = found.first()?.split('|').map(str::trim).collect();
    let instant = |text: &str| Timestamp::from_microsecond(text.parse().unwrap()).unwrap();
    Some((
        instant(row[0]),
        instant(row[1]),
        row[2].to_owned(),
        row[3].parse().unwrap(),
    ))
}

/// A pod that was there between two instants only.
struct Unseen {
    bound_at: Option<Timestamp>,
}

/// Pods that were made and deleted between two instants, as the platform knows.
fn unseen(since: Timestamp, until: Timestamp) -> BTreeMap<String, Unseen> {
    let (mut made, mut unseen) = (BTreeSet::new(), BTreeMap::new());
    let at = |change: &Change| Timestamp::from_millisecond(change.at_ms).unwrap();
    for change in changes(platform()) {
        let Object::Pod(pod) = &change.object else {
            continue;
        };
        let uid = pod.metadata.uid.clone().unwrap();
        let inside = at(&change) > since && at(&change) <= until;
        if change.kind == ChangeKind::Added && inside {
            made.insert(uid);
        } else if change.kind == ChangeKind::Deleted && inside && made.contains(&uid) {
            let conditions = pod
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            let bound_at = conditions
                .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "True")
                .find_map(|condition| condition.last_transition_time.as_ref().map(|time| time.0));
            unseen.insert(uid, Unseen { bound_at });
        }
    }
    unseen
}

#[test]
fn after_thirty_seconds_everything_is_told_late_and_nobody_was_blind() {
    let world = interrupted(30);
    assert_eq!(gap(&world), None);
    world.build(true);
    assert_eq!(all_pods(&world), every_pod());
}

#[test]
fn after_ninety_seconds_there_is_a_gap_and_pods_that_came_and_went_are_recovered() {
    assert_gap(90);
}

#[test]
fn after_ten_minutes_there_is_a_gap_and_pods_that_came_and_went_are_recovered() {
    assert_gap(600);
}

fn assert_gap(seconds: u64) {
    let world = interrupted(seconds);
    let (since, until, reason, recovered) = gap(&world).unwrap();
    assert_eq!(reason, "restart");
    let stopped_at = start() + STOPPED_AFTER;
    let heard = stopped_at.duration_since(since);
    assert!(
        !heard.is_negative() && heard <= SignedDuration::from_secs(60),
        "blind since {since}"
    );
    assert_eq!(until, stopped_at + Duration::from_secs(seconds));

    // Pods that nobody saw are known by their Events, with the second in which they were bound.
    let expected: BTreeMap<String, Timestamp> = unseen(since, until)
        .into_iter()
        .filter_map(|(uid, pod)| Some((uid, pod.bound_at?)))
        .collect();
    if seconds >= 600 {
        assert!(
            expected.len() >= 5,
            "the platform has {} such pods",
            expected.len()
        );
    }
    assert_eq!(recovered, expected.len() as u64);
    world.build(true);
    let found = world.rows(
        "select pod_uid, bound_ms, end_source from intermediate.int_pods where start_source = 'event' order by 1",
    );
    let found: BTreeMap<String, Timestamp> = found
        .iter()
        .map(|row| {
            let row: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!(row[2], "event");
            (
                row[0].to_owned(),
                Timestamp::from_millisecond(row[1].parse().unwrap()).unwrap(),
            )
        })
        .filter(|(uid, _)| expected.contains_key(uid))
        .collect();
    assert_eq!(found, expected);
    // The platform tells no Events of static pods, and of those of DaemonSets.
    let (found, every) = (all_pods(&world), every_pod());
    assert_eq!(found.difference(&every).count(), 0);
    let unknown: Vec<&String> = every.difference(&found).collect();
    assert!(
        unknown.iter().all(|pod| pods_of_machines().contains(*pod)),
        "{unknown:?}"
    );

    assert_unobserved(&world, since, until);
}

fn all_pods(world: &World) -> BTreeSet<String> {
    let rows = world.rows("select pod_uid from intermediate.int_pods where bound_ms is not null");
    rows.into_iter().collect()
}

/// Every pod that ever had a machine: a static pod under the hash of its configuration.
fn every_pod() -> BTreeSet<String> {
    keys(|_| true)
}

fn pods_of_machines() -> BTreeSet<String> {
    let is_daemon = |pod: &Pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.kind == "DaemonSet")
    };
    keys(|pod| config_hash(pod).is_some() || is_daemon(pod))
}

fn keys(counts: impl Fn(&Pod) -> bool) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for change in changes(platform()) {
        if let Object::Pod(pod) = &change.object
            && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
            && counts(pod)
        {
            keys.insert(config_hash(pod).or(pod.metadata.uid.as_ref()).unwrap().clone());
        }
    }
    keys
}

fn config_hash(pod: &Pod) -> Option<&String> {
    pod.metadata
        .annotations
        .as_ref()?
        .get("kubernetes.io/config.mirror")
}

/// What is unobserved is what would be idle if the time had been watched, machine-hour by machine-hour, and it lies in the
/// hours of the gap only: no more than the gap's part of what the machines cost.
fn assert_unobserved(world: &World, since: Timestamp, until: Timestamp) {
    let by_hour = "select machine, epoch(hour_start_at)::bigint, \
         sum(case when cost_category = 'unobserved' then total_cost else 0 end), \
         sum(case when cost_category like 'idle%' or cost_category = 'unobserved' then total_cost else 0 end), \
         sum(total_cost) from marts.allocations_hourly where machine is not null group by all order by all";
    let blind = world.rows(by_hour);
    // The same facts, but for the one that tells of the gap.
    let lake = world.folder.path().join("lake");
    std::fs::remove_dir_all(lake.join("collection_gaps")).unwrap();
    std::fs::remove_file(world.folder.path().join("ledger.duckdb")).unwrap();
    world.build(true);
    let watched = world.rows(by_hour);
    assert_eq!(blind.len(), watched.len());
    // What a machine costs in a whole hour: one that was there for more than two has had one.
    let (mut machine_cost, mut machine_hours): (BTreeMap<String, f64>, BTreeMap<String, u32>) =
        Default::default();
    let cells = |row: &str| -> Vec<String> { row.split('|').map(|cell| cell.trim().to_owned()).collect() };
    for row in &watched {
        let row = cells(row);
        let hourly = machine_cost.entry(row[0].clone()).or_default();
        *hourly = hourly.max(row[4].parse().unwrap());
        *machine_hours.entry(row[0].clone()).or_default() += 1;
    }
    let predicted = predicted_unobserved(world, since, until);
    let (mut unobserved_sum, mut compared) = (0.0, 0);
    let hour_of = |at: Timestamp| at.as_second() - at.as_second().rem_euclid(3600);
    for (blind, watched) in blind.iter().zip(&watched) {
        let (blind, watched) = (cells(blind), cells(watched));
        assert_eq!(blind[..2], watched[..2]);
        assert_eq!(blind[3..], watched[3..], "money of {} was made or lost", blind[0]);
        // Before the first look nothing was observed either.
        let before: f64 = watched[2].parse().unwrap();
        let hour: i64 = blind[1].parse().unwrap();
        let (unobserved, total): (f64, f64) = (
            blind[2].parse::<f64>().unwrap() - before,
            blind[4].parse().unwrap(),
        );
        if (hour_of(since)..=hour_of(until)).contains(&hour) {
            let overlap = until.as_second().min(hour + 3600) - since.as_second().max(hour) + 1;
            #[expect(clippy::cast_precision_loss, reason = "a part of an hour")]
            let bound = (machine_cost[&blind[0]] * overlap as f64 / 3600.0).min(total);
            if machine_hours[&blind[0]] > 2 {
                assert!(unobserved <= bound, "{blind:?}: more than {bound}");
            } else {
                // What a whole hour of it costs is not known.
                assert!(unobserved <= total, "{blind:?}");
            }
            unobserved_sum += unobserved;
            if let Some(share) = predicted.get(&(blind[0].clone(), hour)) {
                let expected = total * share;
                assert!(
                    (unobserved - expected).abs() < 1e-6,
                    "{blind:?}: {expected} was predicted"
                );
                compared += 1;
            }
        } else {
            assert_eq!(unobserved, 0.0, "{blind:?}: {before} before the first look");
        }
    }
    assert!(
        unobserved_sum > 0.0 && compared >= 3,
        "{unobserved_sum}, {compared} compared"
    );
}

/// Of machines that were there for a whole hour: the share of its cost that is unobserved, by machine and hour. Computed from
/// the facts by another way than the models': what nobody who is known held while nobody watched, of each resource, by
/// OpenCost's weights.
fn predicted_unobserved(world: &World, since: Timestamp, until: Timestamp) -> BTreeMap<(String, i64), f64> {
    let query = format!(
        "with hours as (select unnest(range({first}, {last} + 1, 3600)) as hour), \
         spans as (select hour, greatest(hour, {since}) as blind_from, least(hour + 3600, {until}) as blind_to from hours), \
         offered as ( \
            select machine, cpu_capacity_millicores / 1e3 as cores, memory_capacity_bytes / 1073741824 as gib, \
                coalesce(gpu_capacity_milligpus, 0) / 1e3 as gpus, cpu_allocatable_millicores / 1e3 as free_cores, \
                memory_allocatable_bytes / 1073741824 as free_gib \
            from {{node_states}} qualify row_number() over (partition by machine order by observed_at desc) = 1), \
         lives as ( \
            select machine, epoch(launched_at) as launched, epoch(ended_at) as ended from {{machines}} \
            qualify row_number() over (partition by machine order by observed_at desc) = 1), \
         pods as ( \
            select machine, epoch(bound_at) as bound, coalesce(epoch(released_at), 1e12) as released, \
                cpu_request_millicores / 1e3 as cores, memory_request_bytes / 1073741824 as gib, \
                coalesce(gpu_request_milligpus, 0) / 1e3 as gpus \
            from {{pod_states}} qualify row_number() over (partition by pod_uid order by observed_at desc) = 1), \
         held as ( \
            select pods.machine, hour, \
                sum(pods.cores * greatest(0, least(released, blind_to) - greatest(bound, blind_from))) as cores, \
                sum(pods.gib * greatest(0, least(released, blind_to) - greatest(bound, blind_from))) as gib, \
                sum(pods.gpus * greatest(0, least(released, blind_to) - greatest(bound, blind_from))) as gpus \
            from pods cross join spans where bound is not null group by all) \
         select machine, hour::bigint, \
            (0.031611 * (free_cores * (blind_to - blind_from) - coalesce(held.cores, 0)) \
             + 0.004237 * (free_gib * (blind_to - blind_from) - coalesce(held.gib, 0)) \
             + 0.95 * (offered.gpus * (blind_to - blind_from) - coalesce(held.gpus, 0))) \
            / (3600 * (0.031611 * offered.cores + 0.004237 * offered.gib + 0.95 * offered.gpus)) \
         from offered join lives using (machine) cross join spans left join held using (machine, hour) \
         where launched <= hour and coalesce(ended, 1e12) >= hour + 3600 order by all",
        first = since.as_second() - since.as_second().rem_euclid(3600),
        last = until.as_second() - until.as_second().rem_euclid(3600),
        since = since.as_microsecond() as f64 / 1e6,
        until = until.as_microsecond() as f64 / 1e6,
    );
    facts(world, &query)
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let key = (cells[0].to_owned(), cells[1].parse().unwrap());
            (key, cells[2].parse().unwrap())
        })
        .collect()
}
