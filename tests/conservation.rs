//! Properties over random histories. Failing seeds are printed by proptest.

pub mod sharing;
mod storage;

use podledger_analyzer::config::Config;
use proptest::prelude::*;

use crate::harness::{World, contents};

/// One fact of a pod, in minutes since 10:00.
#[derive(Debug, Clone)]
struct PodFact {
    pod: u8,
    machine: u8,
    observed: u16,
    bound: u16,
    held: Option<u16>,
    millicores: u16,
    mib: u16,
    failed: bool,
    daemon: bool,
}

/// What is said later of a pod: how much it used in an hour, and how an engine says it ended.
#[derive(Debug, Clone)]
struct LateFact {
    pod: u8,
    hour: u8,
    cpu_usage: u32,
    memory_usage: u64,
    outcome: u8,
}

/// What is learned of who a pod works for.
#[derive(Debug, Clone)]
struct IdentityFact {
    pod: u8,
    valid_from: u16,
    label: u8,
    daemon: bool,
}

/// A time in which nobody watched.
#[derive(Debug, Clone)]
struct Gap {
    start: u16,
    length: u16,
    is_of_pods: bool,
}

#[derive(Debug, Clone)]
struct History {
    facts: Vec<PodFact>,
    late: Vec<LateFact>,
    identities: Vec<IdentityFact>,
    ended: Vec<(u8, u16)>,
    gaps: Vec<Gap>,
    /// Facts of volumes, load balancers and their prices, by table.
    storage: Vec<(&'static str, String)>,
    watermark: u16,
}

fn pod_fact() -> impl Strategy<Value = PodFact> {
    (
        0..6_u8,
        0..3_u8,
        0..400_u16,
        0..300_u16,
        prop::option::of(0..200_u16),
        0..6000_u16,
        0..20_000_u16,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(pod, machine, observed, bound, held, millicores, mib, failed, daemon)| PodFact {
                pod,
                machine,
                observed,
                bound,
                held,
                millicores,
                mib,
                failed,
                daemon,
            },
        )
}

fn late_fact() -> impl Strategy<Value = LateFact> {
    (
        0..6_u8,
        0..8_u8,
        0..20_000_000_u32,
        0..100_000_000_000_000_000_u64,
        0..4_u8,
    )
        .prop_map(|(pod, hour, cpu_usage, memory_usage, outcome)| LateFact {
            pod,
            hour,
            cpu_usage,
            memory_usage,
            outcome,
        })
}

fn identity_fact() -> impl Strategy<Value = IdentityFact> {
    (0..6_u8, 0..400_u16, 0..3_u8, prop::bool::weighted(0.2)).prop_map(|(pod, valid_from, label, daemon)| {
        IdentityFact {
            pod,
            valid_from,
            label,
            daemon,
        }
    })
}

fn gap() -> impl Strategy<Value = Gap> {
    (0..400_u16, 0..90_u16, prop::bool::weighted(0.8)).prop_map(|(start, length, is_of_pods)| Gap {
        start,
        length,
        is_of_pods,
    })
}

fn history() -> impl Strategy<Value = History> {
    (
        prop::collection::vec(pod_fact(), 1..12),
        prop::collection::vec(late_fact(), 0..8),
        prop::collection::vec(identity_fact(), 0..8),
        prop::collection::vec((0..3_u8, 60..400_u16), 0..3),
        prop::collection::vec(gap(), 0..5),
        storage::facts("work"),
        200..420_u16,
    )
        .prop_map(
            |(facts, late, identities, ended, gaps, storage, watermark)| History {
                facts,
                late,
                identities,
                ended,
                gaps,
                storage,
                watermark,
            },
        )
}

fn at(minute: u16) -> String {
    format!("(timestamp '2026-11-16 10:00:00' + interval {minute} minute)")
}

fn given_machines(world: &World) {
    world.given(
        "machines",
        // The last has a type without a price.
        "select 'c' as cluster, 'm' || i as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'aws' as provider, \
         'us-east-1' as region, case i when 2 then 'unpriced' else 't' end as instance_type, \
         'on-demand' as capacity_type, 'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, \
         'declared' as launch_source from range(3) as r(i)",
    );
    world.given(
        "node_states",
        "select 'c' as cluster, 'm' || i as machine, timestamp '2026-11-16 10:07:00' as observed_at, \
         4000 as cpu_capacity_millicores, 3900 as cpu_allocatable_millicores, \
         17179869184 as memory_capacity_bytes, 16000000001 as memory_allocatable_bytes from range(3) as r(i)",
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         valid_from_at, hourly_usd, 'test' as source from (values \
         (timestamp '2026-01-01 00:00:00', 0.333333333::decimal(18,9)), \
         (timestamp '2026-11-16 12:20:00', 0.777777777::decimal(18,9))) as v(valid_from_at, hourly_usd)",
    );
}

fn pod_state(fact: &PodFact) -> String {
    let released = fact.held.map_or("null".to_owned(), |held| at(fact.bound + held));
    format!(
        "select 'c' as cluster, 'p{pod}' as pod_uid, {observed} as observed_at, 'p{pod}' as pod_name, '{namespace}' as namespace, \
         'm{machine}' as machine, timestamp '2026-11-16 10:00:00' as created_at, {bound} as bound_at, 'scheduled' as start_source, \
         {released}::timestamp as released_at, {end_source} as end_source, '{phase}' as phase, \
         {millicores} as cpu_request_millicores, {mib}::bigint * 1048576 as memory_request_bytes",
        pod = fact.pod,
        observed = at(fact.observed),
        namespace = if fact.daemon { "kube-system" } else { "work" },
        // A pod never moves.
        machine = (fact.pod + fact.machine / 3) % 3,
        bound = at(fact.bound),
        end_source = if fact.held.is_some() { "'watch'" } else { "null" },
        phase = match (fact.held, fact.failed) {
            (None, _) => "Running",
            (_, true) => "Failed",
            (_, false) => "Succeeded",
        },
        millicores = fact.millicores,
        mib = fact.mib,
    )
}

fn give(world: &World, table: &str, queries: &[String]) {
    if !queries.is_empty() {
        world.given(table, &queries.join(" union all "));
    }
}

fn machine_ends(history: &History) -> Vec<String> {
    let end = |(machine, minute): &(u8, u16)| {
        format!(
            "select 'c' as cluster, 'm{machine}' as machine, {at} as observed_at, 'aws' as provider, 'us-east-1' as region, \
             case {machine} when 2 then 'unpriced' else 't' end as instance_type, 'on-demand' as capacity_type, \
             'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source, \
             {at} as ended_at",
            at = at(*minute)
        )
    };
    history.ended.iter().map(end).collect()
}

fn gaps(of: &[Gap]) -> Vec<String> {
    let one = |gap: &Gap| {
        format!(
            "select 'c' as cluster, '{}' as resource, {} as gap_start_at, {} as gap_end_at, 'expired' as reason, \
             {} as recovered_pods",
            if gap.is_of_pods { "pods" } else { "nodes" },
            at(gap.start),
            at(gap.start + gap.length),
            gap.length % 3,
        )
    };
    of.iter().map(one).collect()
}

/// Machine-hours whose unobserved core-time is not what the minutes of their gaps, counted one by one, leave to nobody.
/// Use is told by the hour, so hours in which it is known are left out.
fn miscounted(world: &World, history: &History) -> Vec<String> {
    let blind: Vec<String> = (0..420_u16)
        .filter(|minute| {
            let covers = |gap: &Gap| gap.is_of_pods && (gap.start..gap.start + gap.length).contains(minute);
            history.gaps.iter().any(covers)
        })
        .map(|minute| format!("epoch_ms({})", at(minute)))
        .collect();
    world.rows(&format!(
        "with minutes as (
             select unnest([{}]::bigint[]) as minute_ms
         ),
         watched as (
             select machine, start_ms, up_to_ms, registered_ms, least(registered_ms, first_workload_ms) as boot_to_ms
             from intermediate.int_machine_lives
         ),
         claims as (
             select machine, minute_ms, sum(cpu_request_millicores) as claimed
             from intermediate.int_pod_spans
             inner join minutes on start_ms <= minute_ms and end_ms > minute_ms
             group by all
         ),
         free as (
             select
                 machine,
                 minute_ms - minute_ms % 3600000 as hour_start_ms,
                 sum(
                     case when minute_ms < boot_to_ms then 0 else 4000 end
                     - case when minute_ms < registered_ms then 0 else 100 end
                     - coalesce(claimed, 0)
                 ) * 60000 as free
             from watched
             inner join minutes on start_ms <= minute_ms and up_to_ms > minute_ms
             left join claims using (machine, minute_ms)
             group by all
         ),
         found as (
             select
                 machine,
                 hour_start_ms,
                 sum(case when consumer_kind in ('idle', 'unobserved') then cpu_millicore_ms else 0 end) as nobodys,
                 sum(case when consumer_kind = 'unobserved' then cpu_millicore_ms else 0 end) as unobserved
             from intermediate.machine_pod_hours
             group by all
         )
         select machine, hour_start_ms, free, nobodys, unobserved
         from found
         left join free using (machine, hour_start_ms)
         where unobserved <> least(greatest(coalesce(free, 0), 0), nobodys)
             and hour_start_ms not in (select epoch_ms(hour_start_at) from raw.usage_hours)
         order by all",
        blind.join(", ")
    ))
}

fn usage(late: &[LateFact]) -> Vec<String> {
    let one = |fact: &LateFact| {
        format!(
            "select 'c' as cluster, 'p{}' as pod_uid, {} as hour_start_at, 'kubelet' as source, \
             {}::bigint as cpu_usage_millicore_ms, {}::decimal(38,0) as memory_usage_byte_ms",
            fact.pod,
            at(u16::from(fact.hour) * 60),
            fact.cpu_usage,
            fact.memory_usage,
        )
    };
    late.iter().map(one).collect()
}

fn identities(of: &[IdentityFact]) -> Vec<String> {
    let one = |fact: &IdentityFact| {
        let labels = [
            "'team': 'red'",
            "'app.kubernetes.io/part-of': 'shop', 'blue': 'yes'",
            "'podledger.io/pipeline': 'p', 'podledger.io/run': 'r', 'podledger.io/job': 'j', 'podledger.io/attempt': '1'",
        ][usize::from(fact.label)];
        let owners = if fact.daemon {
            "[{'kind': 'DaemonSet', 'name': 'd', 'uid': 'd'}]"
        } else {
            "[{'kind': 'Job', 'name': 'etl-29387520', 'uid': 'j'}]"
        };
        format!(
            "select 'c' as cluster, 'p{}' as pod_uid, {} as valid_from_at, map {{{labels}}} as labels, {owners} as owners",
            fact.pod,
            at(fact.valid_from),
        )
    };
    of.iter().map(one).collect()
}

fn outcomes(late: &[LateFact]) -> Vec<String> {
    let one = |fact: &LateFact| {
        let outcome = ["succeeded", "failed", "lost", "retired"][usize::from(fact.outcome)];
        format!(
            "select 'c' as cluster, 'p{}' as pod_uid, {} as observed_at, 'engine' as source, '{outcome}' as outcome",
            fact.pod,
            at(u16::from(fact.hour)),
        )
    };
    late.iter().map(one).collect()
}

fn watermark(world: &World, minute: u16) {
    world.given(
        "collection_watermarks",
        &format!("select 'c' as cluster, {} as observed_through_at", at(minute)),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("PODLEDGER_SOAK").is_some() { 200 } else { 5 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every build checks conservation itself; what it leaves must not depend on how the facts came.
    #[test]
    fn incremental_builds_equal_a_full_one_for_any_order_and_segmentation(history in history(), cut in 0..12_usize) {
        let cut = cut.min(history.facts.len());
        let states: Vec<String> = history.facts.iter().map(pod_state).collect();
        let ends = machine_ends(&history);

        let (usage, outcomes) = (usage(&history.late), outcomes(&history.late));
        let identities = identities(&history.identities);
        let gaps = gaps(&history.gaps);

        let mut whole = World::new();
        whole.threads = 1;
        given_machines(&whole);
        give(&whole, "usage_hours", &usage);
        give(&whole, "engine_outcomes", &outcomes);
        give(&whole, "pod_identities", &identities);
        give(&whole, "pod_states", &states);
        give(&whole, "machines", &ends);
        give(&whole, "collection_gaps", &gaps);
        for (table, fact) in &history.storage {
            whole.given(table, fact);
        }
        watermark(&whole, history.watermark);
        whole.build(true);
        prop_assert_eq!(miscounted(&whole, &history), Vec::<String>::new());

        // The later facts first, some of them twice, and a watermark that moves; built in between.
        let parts = World::new();
        watermark(&parts, history.watermark / 2);
        give(&parts, "pod_states", &states[cut..]);
        given_machines(&parts);
        let (late_storage, storage) = history.storage.split_at(history.storage.len() / 2);
        for (table, fact) in storage {
            parts.given(table, fact);
        }
        parts.build(false);
        let (again, _) = states.split_at(cut.max(1));
        give(&parts, "pod_states", again);
        let (late_gaps, gaps) = gaps.split_at(gaps.len() / 2);
        give(&parts, "collection_gaps", gaps);
        parts.build(false);
        watermark(&parts, history.watermark);
        give(&parts, "machines", &ends);
        give(&parts, "pod_states", &states[..cut]);
        parts.build(false);
        give(&parts, "usage_hours", &usage);
        give(&parts, "engine_outcomes", &outcomes);
        for (table, fact) in late_storage {
            parts.given(table, fact);
        }
        parts.build(false);
        give(&parts, "collection_gaps", late_gaps);
        give(&parts, "pod_identities", &identities);
        parts.build(false);

        let (whole, parts) = (contents(&whole), contents(&parts));
        for (expected, found) in whole.iter().zip(&parts) {
            prop_assert_eq!(expected, found);
        }
        prop_assert_eq!(whole.len(), parts.len());
    }

    /// A build checks that its marts add up to the machines' cost; rules and declarations decide only whose it is.
    #[test]
    fn changed_rules_move_money_and_make_or_lose_none(history in history(), choice in 0..16_u8) {
        let mut world = World::new();
        given_machines(&world);
        give(&world, "usage_hours", &usage(&history.late));
        give(&world, "engine_outcomes", &outcomes(&history.late));
        give(&world, "pod_identities", &identities(&history.identities));
        let states: Vec<String> = history.facts.iter().map(pod_state).collect();
        give(&world, "pod_states", &states);
        watermark(&world, history.watermark);
        world.build(true);
        let hours = "select cluster, hour_start_at, machine, sum(total_cost), sum(cpu_cost), sum(memory_cost) \
                     from marts.allocations_hourly group by all order by all";
        let (money, rows_before) = (world.rows(hours), world.rows("from intermediate.machine_pod_hours order by all"));

        world.config = declared(choice);
        let report = world.build(false);
        prop_assert_eq!(report.dirty_hours, 0);
        prop_assert_eq!(&world.rows(hours), &money);
        prop_assert_eq!(world.rows("from intermediate.machine_pod_hours order by all"), rows_before);
        let changed = contents(&world);
        world.build_anew();
        prop_assert_eq!(contents(&world), changed);
    }
}

/// Who a pod works for hangs on other pods and on objects: on the pod that made it, on all of its run, on what Airflow wrote
/// on another pod, on owners and namespaces that may be seen late.
fn naming_fact() -> impl Strategy<Value = (&'static str, String)> {
    let pod = || 0..10_u8;
    let state = (pod(), 0..4_u8, 0..100_u16, 1..200_u16, 0..3_u8).prop_map(|(pod, day, created, held, end)| {
        let (phase, exit_code) = [("Succeeded", "0"), ("Failed", "1"), ("Running", "null")][usize::from(end)];
        let released = if end == 2 { "null".to_owned() } else { at(created + held) };
        // Days apart, so that a run's name may come again.
        let day = u16::from(day) * 1440;
        let text = format!(
            "select 'c' as cluster, 'p{pod}' as pod_uid, {observed} + interval {day} minute as observed_at, 'p{pod}' as pod_name, \
             'n{namespace}' as namespace, 'm{machine}' as machine, {created} + interval {day} minute as created_at, \
             {created} + interval {day} minute as bound_at, 'scheduled' as start_source, \
             {released}::timestamp + interval {day} minute as released_at, '{phase}' as phase, {exit_code}::bigint as exit_code, \
             1000 as cpu_request_millicores, 1048576 as memory_request_bytes",
            observed = at(created + held),
            namespace = pod % 2,
            machine = pod % 3,
            created = at(created),
        );
        ("pod_states", text)
    });
    let identity = (pod(), 0..7_u8, 1..3_u8, 0..300_u16).prop_map(|(pod, kind, attempt, valid_from)| {
        let (labels, annotations, owners) = match kind {
            0 => ("{'dag_id': 'd', 'run_id': 'scheduled__2026-11-16T0000000000-d50f007ee', 'task_id': 't'}".to_owned(), "null", "[]"),
            1 => (
                "{'dag_id': 'd', 'run_id': 'scheduled__2026-11-16T0000000000-d50f007ee', 'task_id': 't'}".to_owned(),
                "map {'dag_id': 'd', 'run_id': 'scheduled__2026-11-16T00:00:00+00:00', 'task_id': 't'}",
                "[]",
            ),
            2 => ("{'spark-app-selector': 's', 'spark-role': 'executor'}".to_owned(), "null", "[{'kind': 'Pod', 'name': 'p0', 'uid': 'p0'}]"),
            3 => ("{'spark-app-selector': 's', 'spark-role': 'executor'}".to_owned(), "null", "[{'kind': 'Pod', 'name': 'p1', 'uid': 'p1'}]"),
            4 => ("{'app': 'a'}".to_owned(), "null", "[{'kind': 'Job', 'name': 'etl-29387520', 'uid': 'j'}, {'kind': 'CronJob', 'name': 'etl', 'uid': 'k'}]"),
            _ => (
                format!("{{'podledger.io/pipeline': 'p{kind}', 'podledger.io/run': 'r', 'podledger.io/job': 'j', 'podledger.io/attempt': '{attempt}'}}"),
                "null",
                "[]",
            ),
        };
        let text = format!(
            "select 'c' as cluster, 'p{pod}' as pod_uid, {} as valid_from_at, map {labels} as labels, {annotations}::map(varchar, varchar) as annotations, \
             {owners}::struct(kind varchar, name varchar, uid varchar)[] as owners",
            at(valid_from)
        );
        ("pod_identities", text)
    });
    let owner = (any::<bool>(), 0..300_u16, 0..3_u8).prop_map(|(is_job, valid_from, outcome)| {
        let (uid, kind, name) = if is_job { ("j", "Job", "etl-29387520") } else { ("k", "CronJob", "etl") };
        let outcome = ["succeeded", "failed", "running"][usize::from(outcome)];
        let text = format!(
            "select 'c' as cluster, '{uid}' as owner_uid, {} as valid_from_at, '{kind}' as kind, '{name}' as name, 'n0' as namespace, \
             map {{'team': 't{valid_from}'}} as labels, '{outcome}' as outcome",
            at(valid_from)
        );
        ("owner_objects", text)
    });
    let namespace = (0..2_u8, 0..300_u16, 0..3_u8).prop_map(|(namespace, valid_from, team)| {
        let text = format!(
            "select 'c' as cluster, 'n{namespace}' as namespace, {} as valid_from_at, map {{'team': 'red{team}'}} as labels",
            at(valid_from)
        );
        ("namespace_states", text)
    });
    let end = (pod(), 0..2_u8, 0..2_u8).prop_map(|(pod, restart, exit_code)| {
        let text = format!(
            "select 'c' as cluster, 'p{pod}' as pod_uid, 'base' as container_name, 'container' as container_kind, \
             {restart} as restart_count, {} as observed_at, {exit_code} as exit_code",
            at(300)
        );
        ("container_ends", text)
    });
    let watermark = (300..6000_u16).prop_map(|minute| {
        (
            "collection_watermarks",
            format!("select 'c' as cluster, {} as observed_through_at", at(minute)),
        )
    });
    prop_oneof![6 => state, 6 => identity, 1 => owner, 1 => namespace, 1 => end, 1 => watermark, 2 => storage::fact("n0")]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("PODLEDGER_SOAK").is_some() { 200 } else { 4 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_come_out_the_same_whatever_was_seen_first(facts in prop::collection::vec((naming_fact(), 0..4_u8), 5..60)) {
        let parts = World::new();
        given_machines(&parts);
        for part in 0..4 {
            for ((table, text), _) in facts.iter().filter(|(_, of)| *of == part) {
                parts.given(table, text);
            }
            parts.build(false);
        }
        let whole = World::new();
        given_machines(&whole);
        for ((table, text), _) in facts.iter().rev() {
            whole.given(table, text);
        }
        whole.build(true);
        let names = "from intermediate.int_pod_names order by cluster, pod_uid";
        prop_assert_eq!(parts.rows(names), whole.rows(names));
        let (whole, parts) = (contents(&whole), contents(&parts));
        for (expected, found) in whole.iter().zip(&parts) {
            prop_assert_eq!(expected, found);
        }
        prop_assert_eq!(whole.len(), parts.len());
    }
}

/// One of sixteen ways to say who answers for what.
fn declared(choice: u8) -> Config {
    let mut text = String::new();
    if choice & 1 > 0 {
        text += "platform_namespaces = ['work']\n";
    }
    if choice & 2 > 0 {
        text += "[[teams]]\nteam = 'ops'\npipeline = 'etl'\nvalid_from = '2026-11-01'\n\
                 [[teams]]\nshares = {ml = 3, growth = 4, risk = 2}\nnamespace = 'work'\n";
    }
    if choice & 4 > 0 {
        text += "[[identity_rules]]\nsystem = 'any'\nfield = 'team'\nsource = 'label'\nkey = 'blue'\nvalue = 'blue'\n";
    }
    if choice & 8 > 0 {
        text += "[[identity_rules]]\nsystem = 'colour'\nfield = 'system'\nsource = 'label'\nkey = 'team'\n\
                 [[identity_rules]]\nsystem = 'colour'\nfield = 'pipeline'\nsource = 'label'\nkey = 'team'\n\
                 pattern = '^(.)'\n";
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("podledger.toml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}
