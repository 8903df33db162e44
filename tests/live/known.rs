//! What a lake knows of a platform, whenever it was learnt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;
use podledger_sql::facts::FACTS;

use super::things::assert_things;
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

/// Rows of a table by pod, whenever they were learnt; each with an instant in microseconds since 1970.
fn of_pods(world: &World, table: &str, at: &str, columns: &str) -> BTreeMap<(String, String), i64> {
    let query = format!(
        "select pod_uid, coalesce(epoch_us(min({at})), -1), row({columns})::varchar from {{{table}}} group by all"
    );
    let rows = facts(world, &query);
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.splitn(3, '|').collect();
            let key = (cells[0].to_owned(), cells[2].to_owned());
            (key, cells[1].parse().unwrap())
        })
        .collect()
}

/// Events that were told, and when what they tell of happened.
fn events(world: &World) -> BTreeMap<String, i64> {
    let rows = facts(
        world,
        "select distinct epoch_us(last_at), row(event_uid, reason, involved_kind, involved_name, involved_uid, namespace, component, \
            message, first_at, occurrences)::varchar from {cluster_events}",
    );
    rows.iter()
        .map(|row| {
            let (at, told) = row.split_once('|').unwrap();
            (told.to_owned(), at.parse().unwrap())
        })
        .collect()
}

/// Times of which nothing is known: resource, reason, seconds.
pub fn gaps(world: &World) -> Vec<String> {
    facts(
        world,
        "select resource, reason, epoch(gap_end_at - gap_start_at)::bigint from {collection_gaps} order by all",
    )
}

/// Times in which nobody watched, in microseconds since 1970.
pub struct Spans(Vec<(i64, i64)>);

impl Spans {
    const NONE: Self = Self(Vec::new());

    /// The gaps that a lake states, and so much before and after them.
    fn of(world: &World, more: SignedDuration) -> Self {
        let rows = facts(
            world,
            "select distinct epoch_us(gap_start_at), epoch_us(gap_end_at) from {collection_gaps} where resource = 'pods'",
        );
        let more = i64::try_from(more.as_micros()).unwrap();
        let spans = rows.iter().map(|row| {
            let (from, to) = row.split_once('|').unwrap();
            (
                from.parse::<i64>().unwrap() - more,
                to.parse::<i64>().unwrap() + more,
            )
        });
        Self(spans.collect())
    }

    pub fn holds(&self, at: i64) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&at))
    }
}

/// Times of objects are told in whole seconds.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// Gaps are stated of pods and nodes. Other watches may come back so much sooner or later.
const UNSTATED: SignedDuration = SignedDuration::from_mins(5);

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
const OF_PODS: &str = "pod_name, bound_at, start_source, phase, exit_code, end_reason, cpu_request_millicores, memory_request_bytes, gpu_request_milligpus";

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
    /// What does not depend on when it was seen.
    told: String,
}

fn pods(world: &World) -> BTreeMap<String, Pod> {
    let columns = format!(
        "coalesce(machine, ''), epoch_us(created_at), coalesce(end_source, 'none'), coalesce(epoch_us(released_at), -1), \
         coalesce(epoch_us(end_earliest_at), -1), coalesce(epoch_us(end_latest_at), -1), row({OF_PODS})::varchar"
    );
    last_states(world, &columns)
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.splitn(8, '|').collect();
            let number = |cell: &str| cell.parse::<i64>().unwrap();
            let pod = Pod {
                uid: cells[0].to_owned(),
                machine: cells[1].to_owned(),
                created_at: number(cells[2]),
                end_source: cells[3].to_owned(),
                released_at: Some(number(cells[4])).filter(|at| *at >= 0),
                earliest_at: number(cells[5]),
                latest_at: number(cells[6]),
                told: cells[7].to_owned(),
            };
            (pod.uid.clone(), pod)
        })
        .collect()
}

/// What became of platforms with trouble, beside the same without.
#[derive(Default)]
pub struct Seen {
    runs: usize,
    pods: usize,
    gaps: usize,
    gap_seconds: i64,
    /// Pods that came and went in a gap, and of which nothing is known.
    unseen: usize,
    /// Ends that the whole lake saw just when they came, how many of them another has elsewhere, and how far at most.
    ends: usize,
    moved: usize,
    furthest_us: i64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.pods += other.pods;
        self.gaps += other.gaps;
        self.gap_seconds += other.gap_seconds;
        self.unseen += other.unseen;
        self.ends += other.ends;
        self.moved += other.moved;
        self.furthest_us = self.furthest_us.max(other.furthest_us);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} runs, {} pods; {} gaps of pods, {} s in all; {} pods unseen; {} of {} ends moved, by {}.{:03} s at most",
            self.runs,
            self.pods,
            self.gaps,
            self.gap_seconds,
            self.unseen,
            self.moved,
            self.ends,
            self.furthest_us / 1_000_000,
            self.furthest_us / 1000 % 1000
        )
    }
}

/// The platform tells something of most that can be compared, so that it is.
pub fn assert_telling(whole: &World) {
    for (table, least) in [
        ("pod_states", 20),
        ("machines", 2),
        ("node_states", 2),
        ("node_claims", 1),
        ("container_requests", 20),
        ("container_ends", 20),
        ("owner_objects", 1),
        ("namespace_states", 1),
        ("service_states", 1),
        ("cluster_events", 20),
    ] {
        let count = facts(whole, &format!("select count(*) from {{{table}}}"));
        assert!(
            count[0].parse::<u64>().unwrap() >= least,
            "{table} has {} rows",
            count[0]
        );
    }
}

/// Of the same platform, one lake knows all that another knows of which nobody ever lost sight, and each thing once; and
/// every pod ended between the bounds that are stated.
pub fn assert_all_known_once(found: &World, whole: &World, after: &str) -> Seen {
    assert_eq!(doubled(found, SEEN_AGAIN), Vec::<String>::new(), "{after}");
    assert_known_within(found, whole, SignedDuration::ZERO, after)
}

/// The same, with ends that may be so much off, and where lists may have been read anew.
pub fn assert_known_within(found: &World, whole: &World, slack: SignedDuration, after: &str) -> Seen {
    assert_eq!(gaps(found), Vec::<String>::new(), "{after}");
    assert_eq!(pods(found).len(), pods(whole).len(), "{after}: pods");
    assert_pods(found, whole, &Spans::NONE, after);
    assert_things(found, whole, &Spans::NONE, after);
    assert_told(found, whole, &Spans::NONE, after);
    assert_eq!(identities(found), identities(whole), "{after}: pod_identities");
    assert_ends(found, whole, slack, after)
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

/// The same, but for what came and went while nobody watched: of that nothing needs to be known.
pub fn assert_known_or_unseen(found: &World, whole: &World, after: &str) -> Seen {
    assert_pods(found, whole, &Spans::of(found, RESOLUTION), after);
    let unstated = Spans::of(found, UNSTATED);
    assert_things(found, whole, &unstated, after);
    assert_told(found, whole, &unstated, after);
    assert_ends(found, whole, SignedDuration::ZERO, after)
}

/// Of each pod is known what it was and is, and the machine that it is on, if that was ever seen; but for those that came and went
/// unseen, and the last of those that ended unseen.
fn assert_pods(found: &World, whole: &World, unseen: &Spans, after: &str) {
    let (some, all) = (pods(found), pods(whole));
    let machines: BTreeSet<String> = facts(found, "select distinct machine from {machines}")
        .into_iter()
        .collect();
    for uid in some.keys() {
        assert!(all.contains_key(uid), "{after}: {uid} never was");
    }
    for (uid, truth) in &all {
        let ended_unseen = truth.released_at.is_some_and(|at| unseen.holds(at));
        let Some(pod) = some.get(uid) else {
            let is_unseen = unseen.holds(truth.created_at) && (ended_unseen || truth.released_at.is_none());
            assert!(is_unseen, "{after}: nothing is known of {uid}");
            continue;
        };
        let machine = if machines.contains(&truth.machine) {
            truth.machine.as_str()
        } else {
            ""
        };
        assert_eq!(pod.machine, machine, "{after}: the machine of {uid}");
        // When a pod was bound is told by its first sight where its watch began anew with it.
        let plain = |told: &str| match unseen.0.is_empty() {
            true => told.to_owned(),
            false => told.replace("scheduled", "first_seen"),
        };
        if !ended_unseen {
            assert_eq!(plain(&pod.told), plain(&truth.told), "{after}: {uid}");
        }
    }
}

/// What is told once of a pod, and Events: all of it, but for what happened while nobody watched.
fn assert_told(found: &World, whole: &World, unseen: &Spans, after: &str) {
    let known = pods(found);
    for (table, at, columns) in [
        (
            "container_requests",
            "observed_at",
            "container_name, container_kind, image, cpu_request_millicores, memory_request_bytes, gpu_request_milligpus, \
                cpu_limit_millicores, memory_limit_bytes",
        ),
        (
            "container_ends",
            "coalesce(finished_at, observed_at)",
            "container_name, container_kind, restart_count, started_at, finished_at, exit_code, reason",
        ),
        ("pod_claims", "observed_at", "claim_name, namespace"),
        (
            "engine_outcomes",
            "observed_at",
            "source, outcome, reason, started_at, finished_at, cpu_request_millicore_ms, memory_request_byte_ms",
        ),
    ] {
        let (some, all) = (
            of_pods(found, table, at, columns),
            of_pods(whole, table, at, columns),
        );
        for told in some.keys() {
            assert!(all.contains_key(told), "{after}: {table}: {told:?} never was");
        }
        for (told, at) in &all {
            let is_unseen = unseen.holds(*at) || !known.contains_key(&told.0);
            assert!(
                some.contains_key(told) || is_unseen,
                "{after}: {table}: nobody told {told:?}"
            );
        }
    }
    let (some, all) = (events(found), events(whole));
    for event in some.keys() {
        assert!(all.contains_key(event), "{after}: {event} never was");
    }
    for (event, at) in &all {
        assert!(
            some.contains_key(event) || unseen.holds(*at),
            "{after}: nobody told {event}"
        );
    }
}

/// No fact is there twice; who is gone has ended; and where the whole lake saw the end just when it came, it lies between
/// the bounds that the other states.
fn assert_ends(found: &World, whole: &World, slack: SignedDuration, after: &str) -> Seen {
    assert_eq!(doubled(found, LISTED_AGAIN), Vec::<String>::new(), "{after}");
    let slack = i64::try_from(slack.as_micros()).unwrap();
    let (some, all) = (pods(found), pods(whole));
    let gaps = facts(
        found,
        "select epoch(gap_end_at - gap_start_at)::bigint from {collection_gaps} where resource = 'pods'",
    );
    let mut seen = Seen {
        runs: 1,
        pods: all.len(),
        gaps: gaps.len(),
        gap_seconds: gaps.iter().map(|seconds| seconds.parse::<i64>().unwrap()).sum(),
        unseen: all.len() - some.len(),
        ..Seen::default()
    };
    for (uid, pod) in &some {
        let truth = &all[uid];
        assert_eq!(
            pod.released_at.is_some(),
            truth.released_at.is_some(),
            "{after}: whether {uid} has ended"
        );
        if truth.end_source == "watch"
            && let (Some(truth_at), Some(ended_at)) = (truth.released_at, pod.released_at)
        {
            assert!(
                pod.earliest_at - slack <= truth_at && truth_at <= pod.latest_at + slack,
                "{after}: {uid} ended at {truth_at} and is said to have between {} and {} ({})",
                pod.earliest_at,
                pod.latest_at,
                pod.end_source
            );
            seen.ends += 1;
            seen.moved += usize::from(truth_at != ended_at);
            seen.furthest_us = seen.furthest_us.max((truth_at - ended_at).abs());
        }
    }
    assert!(seen.ends > 30, "{after}: {} ends", seen.ends);
    seen
}
