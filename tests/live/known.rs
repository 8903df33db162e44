//! What a lake knows of a platform, whenever it was learnt.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use podledger_sql::facts::FACTS;

use crate::harness::{World, rows};

/// Rows of a query over the lake; `{table}` stands for a table of facts.
pub fn facts(world: &World, query: &str) -> Vec<String> {
    let connection = duckdb::Connection::open_in_memory().unwrap();
    let mut text = query.to_owned();
    for fact in FACTS {
        let folder = world.folder.path().join("lake").join(fact.table);
        let read = format!(
            "read_parquet('{}/*/*.parquet', hive_partitioning = true, union_by_name = true)",
            folder.display()
        );
        text = text.replace(&format!("{{{}}}", fact.table), &read);
    }
    rows(&connection, &text)
}

/// What is known of each pod at last, without the times at which it was learnt.
pub fn last_states(world: &World, columns: &str) -> Vec<String> {
    facts(
        world,
        &format!(
            "select pod_uid, {columns} from {{pod_states}} \
             qualify row_number() over (partition by pod_uid order by observed_at desc) = 1 order by pod_uid"
        ),
    )
}

/// What is known of each machine at last: its launch is known better when its claim is seen after its node.
fn machines(world: &World) -> Vec<String> {
    facts(
        world,
        "select machine, node_name, provider, region, zone, instance_type, capacity_type, pool, launched_at, launch_source \
         from {machines} \
         qualify row_number() over (partition by machine order by observed_at desc) = 1 order by machine",
    )
}

/// What a table says of its subjects, whenever it was learnt.
pub fn distinct(world: &World, table: &str, columns: &str) -> Vec<String> {
    facts(
        world,
        &format!("select distinct {columns} from {{{table}}} order by all"),
    )
}

/// Times of which nothing is known: resource, reason, seconds.
pub fn gaps(world: &World) -> Vec<String> {
    facts(
        world,
        "select resource, reason, epoch(gap_end_at - gap_start_at)::bigint from {collection_gaps} order by all",
    )
}

/// What is told again by who begins anew: an event is not remembered, and has the same key when it is seen again.
pub const SEEN_AGAIN: &[&str] = &["cluster_events"];

/// What is told again by who reads a list: events that are still there, and namespaces.
pub const LISTED_AGAIN: &[&str] = &["cluster_events", "namespace_states"];

/// Facts that are there more than once, by table, but for those of the tables `harmless`.
pub fn doubled(world: &World, harmless: &[&str]) -> Vec<String> {
    FACTS
        .iter()
        .filter(|fact| fact.key.first() == Some(&"cluster") && !harmless.contains(&fact.table))
        .filter_map(|fact| {
            let mut key = fact.key.join(", ");
            if fact.table == "pod_identities" {
                // When more of a chain of owners is seen, it is told again for the same instant.
                key.push_str(", labels::varchar, annotations::varchar, owners::varchar");
            }
            let found = facts(
                world,
                &format!(
                    "select {key}, count(*) from {{{}}} group by all having count(*) > 1 limit 1",
                    fact.table
                ),
            );
            found.first().map(|row| format!("{}: {row}", fact.table))
        })
        .collect()
}

/// Columns of a pod's last state that do not depend on when it was seen.
const OF_PODS: &str =
    "pod_name, machine, bound_at, start_source, phase, exit_code, end_reason, cpu_request_millicores";

/// A pod as it is known at last.
struct Pod {
    uid: String,
    machine: String,
    created_at: i64,
    end_source: String,
    /// Microseconds since 1970; none while it is there.
    released_at: Option<i64>,
    earliest_at: i64,
    latest_at: i64,
}

fn pods(world: &World) -> Vec<Pod> {
    let columns = "coalesce(machine, ''), epoch_us(created_at), coalesce(end_source, 'none'), coalesce(epoch_us(released_at), -1), \
         coalesce(epoch_us(end_earliest_at), -1), coalesce(epoch_us(end_latest_at), -1)";
    last_states(world, columns)
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let number = |cell: &str| cell.parse::<i64>().unwrap();
            Pod {
                uid: cells[0].to_owned(),
                machine: cells[1].to_owned(),
                created_at: number(cells[2]),
                end_source: cells[3].to_owned(),
                released_at: Some(number(cells[4])).filter(|at| *at >= 0),
                earliest_at: number(cells[5]),
                latest_at: number(cells[6]),
            }
        })
        .collect()
}

/// Of the same platform, one lake knows all that another knows of which nobody ever lost sight, and each thing once; and
/// every pod ended between the bounds that are stated.
pub fn assert_all_known_once(found: &World, whole: &World, after: &str) {
    assert_eq!(doubled(found, SEEN_AGAIN), Vec::<String>::new(), "{after}");
    assert_known_within(found, whole, SignedDuration::ZERO, after);
}

/// The same, with ends that may be so much off, and where lists may have been read anew.
pub fn assert_known_within(found: &World, whole: &World, slack: SignedDuration, after: &str) {
    assert_eq!(gaps(found), Vec::<String>::new(), "{after}");
    let (some, all) = (last_states(found, OF_PODS), last_states(whole, OF_PODS));
    assert!(all.len() > 50, "{} pods", all.len());
    assert_eq!(some, all, "{after}");
    let (some, all) = (machines(found), machines(whole));
    assert!(all.len() > 3, "{} machines", all.len());
    assert_eq!(some, all, "{after}: machines");
    for (table, columns) in [
        (
            "container_requests",
            "pod_uid, container_name, cpu_request_millicores, memory_request_bytes, cpu_limit_millicores, memory_limit_bytes",
        ),
        (
            "container_ends",
            "pod_uid, container_name, restart_count, finished_at, exit_code, reason",
        ),
        ("node_claims", "node_claim_uid, node_name"),
    ] {
        let known = |world: &World| distinct(world, table, columns);
        assert!(known(whole).len() > 3, "{table}");
        assert_eq!(known(found), known(whole), "{after}: {table}");
    }
    assert_eq!(identities(found), identities(whole), "{after}: pod_identities");
    assert_ends(found, whole, slack, after);
}

/// Who pods are. When more of a chain of owners is seen, it is told again for the same instant: what knows most counts.
fn identities(world: &World) -> Vec<String> {
    facts(
        world,
        "select distinct pod_uid, labels::varchar, owners::varchar from (from {pod_identities} \
         qualify row_number() over (partition by pod_uid, valid_from_at order by len(owners) desc, owners::varchar) = 1) \
         order by all",
    )
}

/// The same, but for pods that came and went while nobody watched: of those nothing needs to be known.
pub fn assert_known_or_unseen(found: &World, whole: &World, after: &str) {
    let spans = facts(
        found,
        "select epoch_us(gap_start_at), epoch_us(gap_end_at) from {collection_gaps} where resource = 'pods'",
    );
    let spans: Vec<(i64, i64)> = spans
        .iter()
        .map(|row| {
            let (from, to) = row.split_once('|').unwrap();
            (from.parse().unwrap(), to.parse().unwrap())
        })
        .collect();
    let known: BTreeSet<String> = pods(found).into_iter().map(|pod| pod.uid).collect();
    let all = pods(whole);
    let ever: BTreeSet<&String> = all.iter().map(|pod| &pod.uid).collect();
    for uid in &known {
        assert!(ever.contains(uid), "{after}: {uid} never was");
    }
    for pod in all.iter().filter(|pod| !known.contains(&pod.uid)) {
        // Creations are told in whole seconds.
        let is_unseen = spans.iter().any(|(from, to)| {
            pod.created_at >= *from - 1_000_000 && pod.released_at.is_none_or(|at| at <= *to)
        });
        assert!(is_unseen, "{after}: nothing is known of {}", pod.uid);
    }
    assert_machines(&pods(found), &all, found, after);
    assert_ends(found, whole, SignedDuration::ZERO, after);
}

/// Each pod is on the machine that it was on, if that was ever seen.
fn assert_machines(some: &[Pod], all: &[Pod], found: &World, after: &str) {
    let truth: BTreeMap<&String, &Pod> = all.iter().map(|pod| (&pod.uid, pod)).collect();
    let seen: BTreeSet<String> = distinct(found, "machines", "machine").into_iter().collect();
    for pod in some {
        let Some(truth) = truth.get(&pod.uid) else {
            continue;
        };
        let expected = if seen.contains(&truth.machine) {
            truth.machine.as_str()
        } else {
            ""
        };
        assert_eq!(pod.machine, expected, "{after}: the machine of {}", pod.uid);
    }
}

/// No fact is there twice; who is gone has ended; and where the whole lake saw the end just when it came, it lies between
/// the bounds that the other states.
fn assert_ends(found: &World, whole: &World, slack: SignedDuration, after: &str) {
    assert_eq!(doubled(found, LISTED_AGAIN), Vec::<String>::new(), "{after}");
    let slack = i64::try_from(slack.as_micros()).unwrap();
    let truth: BTreeMap<String, Pod> = pods(whole)
        .into_iter()
        .map(|pod| (pod.uid.clone(), pod))
        .collect();
    let mut compared = 0;
    for pod in pods(found) {
        let Some(truth) = truth.get(&pod.uid) else {
            continue;
        };
        assert_eq!(
            pod.released_at.is_some(),
            truth.released_at.is_some(),
            "{after}: whether {} has ended",
            pod.uid
        );
        if truth.end_source == "watch"
            && let Some(ended_at) = truth.released_at
        {
            assert!(
                pod.earliest_at - slack <= ended_at && ended_at <= pod.latest_at + slack,
                "{after}: {} ended at {ended_at} and is said to have between {} and {} ({})",
                pod.uid,
                pod.earliest_at,
                pod.latest_at,
                pod.end_source
            );
            compared += 1;
        }
    }
    assert!(compared > 30, "{after}: {compared} ends");
}
