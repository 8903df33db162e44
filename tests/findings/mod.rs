//! Findings: examples one by one, each with its text, and what simulated platforms planted.

mod capacity;
mod evicted;
pub mod planted;

use crate::harness::World;

/// A machine of a pool from Monday, 2026-11-02, 00:00 UTC, for some days, at a dollar an hour; observed for these days.
fn given_machine(world: &World, name: &str, pool: &str, (cores, gpus): (u32, u32), days: u32) {
    world.given(
        "machines",
        &format!(
            "select 'c' as cluster, '{name}' as machine, timestamp '2026-11-02 00:00:00' as observed_at, '{name}' as node_name, \
             'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, '{pool}' as pool, \
             'instance' as billing_model, timestamp '2026-11-02 00:00:00' as launched_at, 'declared' as launch_source"
        ),
    );
    world.given(
        "node_states",
        &format!(
            "select 'c' as cluster, '{name}' as machine, timestamp '2026-11-02 00:00:00' as observed_at, \
             {cores} * 1000 as cpu_capacity_millicores, {cores} * 1000 as cpu_allocatable_millicores, \
             {cores}::bigint * 4294967296 as memory_capacity_bytes, {cores}::bigint * 4294967296 as memory_allocatable_bytes, \
             {gpus} * 1000 as gpu_capacity_milligpus, {gpus} * 1000 as gpu_allocatable_milligpus"
        ),
    );
    world.given(
        "prices",
        "select 'aws' as provider, 'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 1::decimal(18,9) as hourly_usd, 'test' as source",
    );
    world.given(
        "collection_watermarks",
        &format!(
            "select 'c' as cluster, timestamp '2026-11-02 00:00:00' + interval {days} day as observed_through_at, \
             timestamp '2026-11-02 00:00:00' as observed_from_at"
        ),
    );
}

/// A pod of a Job named for `uid`, from an hour of that week to another; `more` are further columns, each with a comma before it.
fn given_pod(world: &World, uid: &str, machine: Option<&str>, hours: (u32, u32), size: &str, more: &str) {
    let at = |hour: u32| format!("timestamp '2026-11-02 00:00:00' + interval {hour} hour");
    let (from, to) = hours;
    let place = machine.map_or_else(String::new, |machine| {
        format!(
            ", '{machine}' as machine, '{machine}' as node_name, {} as bound_at, 'scheduled' as start_source, \
             {} as released_at, 'watch' as end_source",
            at(from),
            at(to)
        )
    });
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, '{uid}' as pod_uid, {} as observed_at, '{uid}-x' as pod_name, 'data' as namespace, \
             {} as created_at, {size}{place}{more}",
            at(from),
            at(from)
        ),
    );
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, '{uid}' as pod_uid, {} as valid_from_at, map {{'batch.kubernetes.io/job-name': '{uid}'}} as labels, \
             [{{'kind': 'Job', 'name': '{uid}', 'uid': 'job-{uid}'}}] as owners",
            at(from)
        ),
    );
}

/// What a pod asks for, as columns.
fn size(cores: u32, gib: u32, gpus: u32) -> String {
    format!(
        "{cores} * 1000 as cpu_request_millicores, {gib}::bigint * 1073741824 as memory_request_bytes, \
         {gpus} * 1000 as gpu_request_milligpus"
    )
}

/// Columns of a pod that ran for all of its hours and succeeded.
fn succeeded((from, to): (u32, u32)) -> String {
    format!(
        ", timestamp '2026-11-02 00:00:00' + interval {from} hour as running_at, \
         timestamp '2026-11-02 00:00:00' + interval {to} hour as finished_at, 'Succeeded' as phase, 0 as exit_code"
    )
}

fn found(world: &World, finding: &str) -> Vec<String> {
    world.build(true);
    world.rows(&format!(
        "select subject, team, cost, evidence, mend, coalesce(command, '-') from marts.findings \
         where zone = 'UTC' and finding = '{finding}' order by 1"
    ))
}

#[test]
fn a_job_whose_image_is_missing() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    let waiting = ", 'ImagePullBackOff' as waiting_reason, 'Pending' as phase";
    given_pod(&world, "load", Some("m"), (2, 12), &size(2, 8, 0), waiting);
    world.given(
        "cluster_events",
        "select 'c' as cluster, 'e' as event_uid, 'BackOff' as reason, 'Pod' as involved_kind, 'load-x' as involved_name, \
         'load' as involved_uid, 'data' as namespace, 'Back-off pulling image \"registry.example.com/laod:1\"' as message, \
         timestamp '2026-11-02 02:00:30' as last_at, 12 as occurrences",
    );
    assert_eq!(
        found(&world, "stuck_pods"),
        [
            "load (ImagePullBackOff)|unattributed|5.000000000|1 pod held machines for 10.0 h in ImagePullBackOff, 1 of them never ran: \
             Back-off pulling image \"registry.example.com/laod:1\"|mend the name of the image, its registry or the pull secret, \
             and set a deadline|kubectl -n data describe pod load-x"
        ]
    );
}

#[test]
fn a_request_that_no_machine_can_meet() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    given_pod(
        &world,
        "huge",
        None,
        (2, 0),
        &size(64, 8, 0),
        ", 'Pending' as phase",
    );
    // What fits waits too, for a while: nothing is wrong with it.
    given_pod(
        &world,
        "small",
        None,
        (2, 0),
        &size(1, 1, 0),
        ", 'Pending' as phase",
    );
    for (uid, minute) in [("huge", 0), ("small", 1)] {
        world.given(
            "cluster_events",
            &format!(
                "select 'c' as cluster, '{uid}' as event_uid, 'FailedScheduling' as reason, 'Pod' as involved_kind, \
                 '{uid}-x' as involved_name, '{uid}' as involved_uid, \
                 '0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible.' as message, \
                 timestamp '2026-11-02 02:{minute:02}:00' as last_at, 12 as occurrences"
            ),
        );
    }
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'small' as pod_uid, timestamp '2026-11-02 02:10:00' as observed_at, 'small-x' as pod_name, \
             'data' as namespace, timestamp '2026-11-02 02:00:00' as created_at, {}, 'm' as machine, 'm' as node_name, \
             timestamp '2026-11-02 02:10:00' as bound_at, 'scheduled' as start_source, 'Pending' as phase",
            size(1, 1, 0)
        ),
    );
    assert_eq!(
        found(&world, "impossible_request"),
        [
            "huge|unattributed|0.000000000|1 pod waited 22.0 h (1 still do): Insufficient cpu; no machine that was ever here has room for \
             64000m CPU, 8192 MiB and 0 GPUs|ask for less, or give a pool machines that have so much|kubectl -n data describe pod huge-x"
        ]
    );
    assert_eq!(found(&world, "unschedulable_pods"), Vec::<String>::new());
}

#[test]
fn a_pool_that_never_reaches_zero() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 7);
    // Eight hours of each day but the last two.
    for day in 0..5 {
        let hours = (day * 24 + 8, day * 24 + 16);
        given_pod(
            &world,
            &format!("etl-{day}"),
            Some("m"),
            hours,
            &size(4, 16, 0),
            &succeeded(hours),
        );
    }
    assert_eq!(
        found(&world, "pool_never_zero"),
        [
            "batch|unattributed|128.000000000|76% of what the pool cost: 1 machine, 128.0 h in 128 hours; the pool was busy for 23% of \
             its time|let the pool scale to zero|minimum size 0"
        ]
    );
    // Nothing of it is told twice.
    let others = world.rows("select finding from marts.findings where zone = 'UTC' and cost > 0 order by 1");
    assert_eq!(others, ["pool_never_zero"]);
}

#[test]
fn a_machine_with_gpus_whose_pods_want_none() {
    let world = World::new();
    given_machine(&world, "m", "gpu", (8, 1), 1);
    given_pod(
        &world,
        "etl",
        Some("m"),
        (0, 24),
        &size(8, 32, 0),
        &succeeded((0, 24)),
    );
    let rows = found(&world, "gpu_without_work");
    assert_eq!(rows.len(), 1);
    let expected = "pods held the accelerators of 1 machine (t) for 0% of their time; beside pods that hold none they were free for \
                    100%; 24 machine-hours had no pod with one";
    assert!(rows[0].contains(expected), "{rows:?}");
    // The same money is what was not packed.
    let sums = world.rows(
        "select finding, counted_in is null, cost from marts.findings where zone = 'UTC' and cost > 0 order by 1",
    );
    let cost = sums[0].rsplit_once('|').unwrap().1;
    assert_eq!(
        sums,
        [
            format!("gpu_without_work|false|{cost}"),
            format!("unpacked_capacity|true|{cost}")
        ]
    );
}

#[test]
fn pods_that_hold_gpus_and_do_not_use_them() {
    let world = World::new();
    given_machine(&world, "m", "gpu", (8, 4), 1);
    // Of a GPU each, for ten hours: one is at half a percent, one at 40, one at 2, one nearly idle in the hour that was measured, one failed. The first
    // hour is half as busy again, and the last one half as busy.
    for (uid, usage_thousandths, measured_hours, is_failed) in [
        ("stalled", 5, 10, false),
        ("busy", 400, 10, false),
        ("seldom", 20, 10, false),
        ("unseen", 0, 1, false),
        ("broken", 0, 10, true),
    ] {
        let from = if is_failed { 12 } else { 2 };
        let hours = (from, from + 10);
        let mut state = succeeded(hours);
        if is_failed {
            state = state.replace("'Succeeded' as phase, 0", "'Failed' as phase, 1");
        }
        given_pod(&world, uid, Some("m"), hours, &size(1, 4, 1), &state);
        world.given(
            "usage_hours",
            &format!(
                "select 'c' as cluster, '{uid}' as pod_uid, 'main' as container_name, \
                 timestamp '2026-11-02 00:00:00' + interval ({from} + hour) hour as hour_start_at, 'prometheus' as source, \
                 ({usage_thousandths} * case hour when 0 then 1.5 when 9 then 0.5 else 1 end * 3600000)::bigint as gpu_usage_milligpu_ms, \
                 3600000::bigint as gpu_measured_ms, (hour + 1) * 1073741824::bigint as gpu_memory_peak_bytes from range({measured_hours}) as hours(hour)"
            ),
        );
    }
    let rows = found(&world, "gpu_held_idle");
    let cost = world.rows(
        "select sum(gpu_cost) from marts.allocations_hourly where pod_uid = 'stalled' and cost_category in ('used', 'unused_request', 'unmetered')",
    );
    assert_eq!(
        rows,
        [format!(
            "stalled|unattributed|{}|1 pod held GPUs for 10.0 h and used 0% of what was measured of them|ask for no GPU where the work \
             needs none, or find why it does not reach it: a driver, a library without CUDA, a wait for data|kubectl -n data exec \
             stalled-x -- nvidia-smi",
            cost[0]
        )]
    );
    assert!(cost[0].as_str() > "1.", "{cost:?}");

    // What others hold and use little of is told by what they do not use.
    let of_part = |uid: &str, thousandths: u32| {
        world.rows(&format!(
            "select cast(sum(cast(gpu_cost * 1000000000 as bigint)) * {thousandths} // 1000 as bigint) * 0.000000001 from marts.allocations_hourly \
             where pod_uid = '{uid}' and cost_category in ('used', 'unused_request', 'unmetered')"
        ))
        .remove(0)
    };
    let told = |uid: &str, cost: &str, part: u32, fullest: u32| {
        format!(
            "{uid}|unattributed|{cost}|1 pod held GPUs for 10.0 h and used {part}% of what was measured of them, {fullest}% in the fullest hour, \
             and 10240 MiB of their memory|let several share one, by slices (MIG) or in turns (time slices), ask for a smaller kind, or give it \
             larger batches: its memory decides which fits|kubectl -n data exec {uid}-x -- nvidia-smi"
        )
    };
    assert_eq!(
        found(&world, "gpu_underused"),
        [
            told("busy", &of_part("busy", 600), 40, 60),
            told("seldom", &of_part("seldom", 980), 2, 3),
        ]
    );
}

#[test]
fn what_runs_far_longer_than_it_ever_did() {
    let world = World::new();
    given_machine(&world, "m", "batch", (32, 0), 3);
    for hour in 0..12 {
        let hours = (hour, hour + 1);
        given_pod(
            &world,
            &format!("nightly-{}", 1000 + hour),
            Some("m"),
            hours,
            &size(2, 8, 0),
            &succeeded(hours),
        );
    }
    let running = ", timestamp '2026-11-02 20:00:00' as running_at, 'Running' as phase";
    given_pod(
        &world,
        "nightly-1020",
        None,
        (20, 0),
        &size(2, 8, 0),
        &format!(
            ", 'm' as machine, 'm' as node_name, timestamp '2026-11-02 20:00:00' as bound_at, 'scheduled' as start_source{running}"
        ),
    );
    assert_eq!(
        found(&world, "runaway_attempts"),
        [
            "nightly|unattributed|3.250000000|1 pod (1 still running) ran for up to 52.0 h; 99 of 100 of 12 others were done after 60 min|\
             set a deadline, and end what runs too long|spec: {template: {spec: {activeDeadlineSeconds: 10800}}}"
        ]
    );
}

#[test]
fn a_week_is_compared_with_the_one_before_only_if_that_was_observed() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 14);
    let failed = |(from, to): (u32, u32)| {
        format!(
            ", timestamp '2026-11-02 00:00:00' + interval {from} hour as running_at, \
             timestamp '2026-11-02 00:00:00' + interval {to} hour as finished_at, 'Failed' as phase, 3 as exit_code, 'Error' as end_reason"
        )
    };
    given_pod(
        &world,
        "load",
        Some("m"),
        (10, 12),
        &size(4, 16, 0),
        &failed((10, 12)),
    );
    given_pod(
        &world,
        "load-2",
        Some("m"),
        (200, 205),
        &size(4, 16, 0),
        &failed((200, 205)),
    );
    world.build(true);
    assert_eq!(
        world.rows(
            "select iso_week, subject, cost, coalesce(cast(previous_cost as varchar), '-'), strftime(since_at, '%d %H:%M'), evidence \
             from marts.findings where zone = 'UTC' and finding = 'failed_work' order by all"
        ),
        [
            "2026-W45|load|2.000000000|-|02 12:00|1 of 1 pod failed (exit code 3); none got through",
            "2026-W46|load|5.000000000|2.000000000|10 13:00|1 of 1 pod failed (exit code 3); none got through",
        ]
    );
}

/// A task of a run of an Airflow dag, on a machine for some minutes of that week.
fn given_task(world: &World, run: u32, task: &str, minutes: (u32, u32)) {
    given_try(world, run, (task, 1), minutes);
}

/// One of its tries.
fn given_try(world: &World, run: u32, (task, number): (&str, u32), minutes: (u32, u32)) {
    let at = |minute: u32| format!("timestamp '2026-11-02 00:00:00' + interval {minute} minute");
    let (from, to) = minutes;
    let uid = format!("{task}-{run}-{number}");
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, '{uid}' as pod_uid, {to} as observed_at, '{uid}' as pod_name, 'data' as namespace, \
             {from} as created_at, 'm' as machine, 'm' as node_name, {from} as bound_at, 'scheduled' as start_source, \
             {from} as running_at, {to} as finished_at, {to} as released_at, 'watch' as end_source, 'Succeeded' as phase, 0 as exit_code, \
             {}",
            size(4, 16, 0),
            from = at(from),
            to = at(to),
        ),
    );
    given_names(world, run, (task, number), &at(from));
}

/// One of its tries that waits for some minutes, until it is deleted.
fn given_unbound_try(world: &World, run: u32, (task, number): (&str, u32), minutes: (u32, u32)) {
    let at = |minute: u32| format!("timestamp '2026-11-02 00:00:00' + interval {minute} minute");
    let (from, to) = minutes;
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, '{task}-{run}-{number}' as pod_uid, {to} as observed_at, '{task}-{run}-{number}' as pod_name, \
             'data' as namespace, {from} as created_at, {to} as deletion_requested_at, 'Pending' as phase, 'Deleted' as end_reason, {}",
            size(4, 16, 0),
            from = at(from),
            to = at(to),
        ),
    );
    given_names(world, run, (task, number), &at(from));
}

/// What Airflow says of a try.
fn given_names(world: &World, run: u32, (task, number): (&str, u32), from: &str) {
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, '{task}-{run}-{number}' as pod_uid, {from} as valid_from_at, \
             map {{'dag_id': 'daily', 'run_id': 'run-{run}', 'task_id': '{task}', 'try_number': '{number}'}} as labels"
        ),
    );
}

#[test]
fn a_pipeline_whose_runs_cost_more_since_a_day_and_the_job_that_explains_it() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 14);
    // Four runs a day: ten minutes of extract, twenty of transform, a minute more or less; from the second Wednesday on forty.
    for run in 0..56 {
        let (begin, noise) = (run * 360, run % 3);
        let transform = if run >= 36 { 40 } else { 20 };
        given_task(&world, run, "extract", (begin, begin + 10));
        let end = begin + 11 + transform + noise;
        given_task(&world, run, "transform", (begin + 11, end));
    }
    world.build(true);
    assert_eq!(
        world.rows(
            "select iso_week, subject, cost, strftime(since_at, '%Y-%m-%d'), evidence, counted_in from marts.findings \
             where zone = 'UTC' and finding = 'run_cost_regression'"
        ),
        [
            "2026-W46|daily|6.666666660|2026-11-11|the median run costs 64% more: 20 runs since, 36 before; job transform explains 100%|runs"
        ]
    );
    // One minute more or less is none.
    assert_eq!(
        world.rows(
            "select iso_week, runs, succeeded_runs, cost_p50, cost_per_success, duration_p50_ms from marts.pipeline_runs_weekly \
             where zone = 'UTC' order by 1"
        ),
        [
            "2026-W45|28|28|0.516666666|0.516071427|1920000",
            "2026-W46|28|28|0.833333332|0.754761903|3060000"
        ]
    );
}

#[test]
fn the_critical_path_of_a_run_is_the_chain_that_decided_its_end() {
    let world = World::new();
    given_machine(&world, "m", "batch", (16, 0), 1);
    given_task(&world, 1, "extract", (0, 10));
    // Both wait for extract; load waits for the slower one.
    given_task(&world, 1, "check", (11, 15));
    given_task(&world, 1, "transform", (11, 40));
    given_task(&world, 1, "load", (42, 50));
    // The second try of transform waits for the first, whatever ends meanwhile.
    given_task(&world, 2, "extract", (0, 10));
    given_task(&world, 2, "transform", (11, 20));
    given_task(&world, 2, "check", (11, 21));
    given_try(&world, 2, ("transform", 2), (22, 40));
    given_task(&world, 2, "load", (42, 50));
    // The first try of extract was deleted after five minutes without a machine.
    given_unbound_try(&world, 3, ("extract", 1), (0, 5));
    given_try(&world, 3, ("extract", 2), (6, 10));
    given_task(&world, 3, "load", (12, 20));
    world.build(true);
    let path = |run: &str| {
        world.rows(&format!(
            "select step, job, attempt, gap_ms // 60000, work_ms // 60000, run_duration_ms // 60000 from marts.run_critical_paths \
             where run = '{run}' order by 1"
        ))
    };
    assert_eq!(
        path("run-1"),
        ["1|extract|1|0|10|50", "2|transform|1|1|29|50", "3|load|1|2|8|50"]
    );
    assert_eq!(
        path("run-2"),
        [
            "1|extract|1|0|10|50",
            "2|transform|1|1|9|50",
            "3|transform|2|2|18|50",
            "4|load|1|2|8|50"
        ]
    );
    assert_eq!(
        path("run-3"),
        ["1|extract|1|0|0|20", "2|extract|2|1|4|20", "3|load|1|2|8|20"]
    );
    assert_eq!(
        world.rows(
            "select queue_wait_ms // 60000, outcome from marts.run_critical_paths where run = 'run-3' order by step"
        ),
        ["5|failed", "0|succeeded", "0|succeeded"]
    );
    assert_eq!(
        world.rows("select status, (epoch_ms(ended_at) - epoch_ms(created_at)) // 60000 from marts.runs where run = 'run-3'"),
        ["succeeded|20"]
    );
}

#[test]
fn a_pod_s_wait_is_divided_by_what_it_waited_for() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // Created before its machine was ordered, which registers at 10:03.
    world.given(
        "node_states",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:03:00' as observed_at, 4000 as cpu_capacity_millicores, \
         4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes",
    );
    world.given(
        "machines",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:03:00' as observed_at, 'n2' as node_name, 'aws' as provider, \
         'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, 'instance' as billing_model, \
         timestamp '2026-11-16 10:01:00' as launched_at, 'declared' as launch_source",
    );
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 10:30:00' as observed_at, 'p' as pod_name, 'data' as namespace, \
             'm2' as machine, 'n2' as node_name, timestamp '2026-11-16 10:00:20' as created_at, \
             timestamp '2026-11-16 10:03:10' as bound_at, 'scheduled' as start_source, \
             timestamp '2026-11-16 10:05:00' as running_at, timestamp '2026-11-16 10:20:00' as finished_at, \
             timestamp '2026-11-16 10:20:05' as released_at, 'watch' as end_source, 'Succeeded' as phase, {}",
            size(4, 16, 0)
        ),
    );
    for (reason, at) in [("Pulling", "10:03:15"), ("Pulled", "10:04:00")] {
        world.given(
            "cluster_events",
            &format!(
                "select 'c' as cluster, '{reason}' as event_uid, '{reason}' as reason, 'Pod' as involved_kind, 'p' as involved_name, \
                 'p' as involved_uid, timestamp '2026-11-16 {at}' as last_at, 1 as occurrences"
            ),
        );
    }
    world.given(
        "container_ends",
        "select 'c' as cluster, 'p' as pod_uid, 'prepare' as container_name, 'init' as container_kind, 0 as restart_count, \
         timestamp '2026-11-16 10:05:00' as observed_at, timestamp '2026-11-16 10:04:10' as started_at, \
         timestamp '2026-11-16 10:04:40' as finished_at, 0 as exit_code",
    );
    // Others wait for room on a machine that is there, for ever, or until they are deleted; what the scheduler first says counts.
    for (uid, bound, deleted) in [
        ("q", "timestamp '2026-11-16 10:10:00'", "null::timestamp"),
        ("r", "null::timestamp", "null::timestamp"),
        ("s", "null::timestamp", "timestamp '2026-11-16 10:06:00'"),
    ] {
        world.given(
            "pod_states",
            &format!(
                "select 'c' as cluster, '{uid}' as pod_uid, timestamp '2026-11-16 10:30:00' as observed_at, '{uid}' as pod_name, \
                 'data' as namespace, if({bound} is null, null, 'm') as machine, timestamp '2026-11-16 10:04:00' as created_at, \
                 {bound} as bound_at, 'scheduled' as start_source, {bound} as running_at, {deleted} as deletion_requested_at, \
                 'Pending' as phase, {}",
                size(1, 4, 0)
            ),
        );
    }
    for (uid, event, first, last) in [
        ("p", "e1", "10:00:21", "10:03:00"),
        ("q", "e2", "10:08:00", "10:09:00"),
        ("q", "e3", "10:04:05", "10:06:00"),
        ("r", "e4", "10:04:01", "10:25:00"),
        ("s", "e5", "10:04:00", "10:05:00"),
    ] {
        world.given(
            "cluster_events",
            &format!(
                "select 'c' as cluster, '{event}' as event_uid, 'FailedScheduling' as reason, 'Pod' as involved_kind, '{uid}' as involved_name, \
                 '{uid}' as involved_uid, timestamp '2026-11-16 {first}' as first_at, timestamp '2026-11-16 {last}' as last_at, 3 as occurrences"
            ),
        );
    }
    world.build(true);
    assert_eq!(
        world.rows(
            "select queue_wait_ms, machine_order_ms, machine_boot_ms, unschedulable_ms, scheduling_ms, startup_ms, stuck_ms, image_pull_ms, \
                 init_ms, setup_ms \
             from marts.pod_waits order by pod_uid"
        ),
        [
            "170000|40000|120000|10000|0|110000|0|45000|30000|35000",
            "360000|0|0|355000|5000|0|0|0|0|0",
            "3360000|0|0|3359000|1000|0|0|0|0|0",
            "120000|0|0|120000|0|0|0|0|0|0"
        ]
    );
}

#[test]
fn a_job_without_a_deadline() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    for (uid, deadline) in [("sync", "0"), ("load", "3600000"), ("old", "null")] {
        given_pod(&world, uid, Some("m"), (2, 4), &size(1, 4, 0), &succeeded((2, 4)));
        world.given(
            "owner_objects",
            &format!(
                "select 'c' as cluster, 'job-{uid}' as owner_uid, timestamp '2026-11-02 02:00:00' as valid_from_at, 'Job' as kind, \
                 '{uid}' as name, 'data' as namespace, {deadline}::bigint as active_deadline_ms"
            ),
        );
    }
    assert_eq!(
        found(&world, "jobs_without_deadline"),
        [
            "sync|unattributed|0.000000000|1 object of kind Job without a deadline, the newest sync; they took up to 2.0 h|\
             set a deadline: one pod that hangs is paid for until somebody sees it|spec: {activeDeadlineSeconds: 21600}"
        ]
    );
}

#[test]
fn a_claim_that_outlives_its_job() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 2);
    world.given(
        "service_prices",
        "select 'aws' as provider, 'us-east-1' as region, 'EBS' as service, 'gp3 storage' as item, 'GB-month' as unit, \
         timestamp '2026-01-01 00:00:00' as valid_from_at, 0.073::decimal(18,9) as price_usd, 'test' as source",
    );
    // Of one the run is over, one goes with its run, and one belongs to a service that runs on.
    for (uid, deleted, running) in [
        ("sync", "null", false),
        ("load", "12", false),
        ("database", "null", true),
    ] {
        let more = if running {
            ", timestamp '2026-11-02 02:00:00' as running_at, 'Running' as phase, 'm' as machine, 'm' as node_name, \
             timestamp '2026-11-02 02:00:00' as bound_at, 'scheduled' as start_source"
                .to_owned()
        } else {
            succeeded((2, 12))
        };
        given_pod(
            &world,
            uid,
            (!running).then_some("m"),
            (2, 12),
            &size(1, 4, 0),
            &more,
        );
        world.given(
            "pod_claims",
            &format!(
                "select 'c' as cluster, '{uid}' as pod_uid, '{uid}-work' as claim_name, 'data' as namespace, \
                 timestamp '2026-11-02 02:00:00' as observed_at"
            ),
        );
        world.given(
            "volume_claims",
            &format!(
                "select 'c' as cluster, 'claim-{uid}' as claim_uid, timestamp '2026-11-02 12:00:00' as observed_at, \
                 '{uid}-work' as claim_name, 'data' as namespace, 'gp3' as storage_class, 10::bigint * 1073741824 as requested_bytes, \
                 timestamp '2026-11-02 01:00:00' as created_at, \
                 timestamp '2026-11-02 00:00:00' + interval ({deleted}) hour as deleted_at"
            ),
        );
    }
    assert_eq!(
        found(&world, "orphaned_claims"),
        // Ten GiB for 36 hours at 0.073 USD for 730 hours.
        [
            "sync|unattributed|0.036000000|1 claim of 10 GiB outlived the runs that mounted them; 1 are still there, the newest sync-work|\
             delete them when nobody needs what they hold, and let the engine do so after every run (Argo: volumeClaimGC)|\
             kubectl -n data get pvc sync-work"
        ]
    );
}

#[test]
fn pods_that_nobody_removes_after_they_ended() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 3);
    // A hundred are told of, ninety-nine are not; what is removed before the end of what was observed is not kept.
    for (namespace, pods, removed_hour) in [("data", 100, "null"), ("few", 99, "null"), ("gone", 100, "71")] {
        let numbers = format!("range({pods}) as numbers(number)");
        world.given(
            "pod_states",
            &format!(
                "select 'c' as cluster, concat('{namespace}-', number) as pod_uid, timestamp '2026-11-02 02:00:00' as observed_at, \
                 concat('{namespace}-', number) as pod_name, '{namespace}' as namespace, 'm' as machine, 'm' as node_name, \
                 timestamp '2026-11-02 01:00:00' as created_at, timestamp '2026-11-02 01:00:00' as bound_at, \
                 'scheduled' as start_source, timestamp '2026-11-02 02:00:00' as released_at, 'watch' as end_source, \
                 'Succeeded' as phase, 0 as exit_code, 10 as cpu_request_millicores, 1048576::bigint as memory_request_bytes \
                 from {numbers}"
            ),
        );
        world.given(
            "pod_identities",
            &format!(
                "select 'c' as cluster, concat('{namespace}-', number) as pod_uid, timestamp '2026-11-02 01:00:00' as valid_from_at, \
                 [{{'kind': 'Job', 'name': concat('job-', number), 'uid': concat('job-', number)}}] as owners from {numbers}"
            ),
        );
        world.given(
            "kept_pods",
            &format!(
                "select 'c' as cluster, concat('{namespace}-', number) as pod_uid, timestamp '2026-11-03 02:00:00' as observed_at, \
                 timestamp '2026-11-02 02:00:00' as released_at, null::timestamp as removed_at from {numbers} union all \
                 select 'c', concat('{namespace}-', number), timestamp '2026-11-04 23:00:00', timestamp '2026-11-02 02:00:00', \
                 timestamp '2026-11-02 00:00:00' + interval ({removed_hour}) hour \
                 from {numbers} where {removed_hour} is not null"
            ),
        );
    }
    assert_eq!(
        found(&world, "completed_pods"),
        [
            "job|unattributed|0.000000000|100 pods ended more than a day ago and are still there, the oldest for 70.0 h; \
             objects of kind Job own them|\
             have them deleted when they are done: they hold no machine, but the API server keeps and lists them all|\
             spec: {ttlSecondsAfterFinished: 3600}"
        ]
    );
}

#[test]
fn a_limit_that_was_exceeded_is_raised_by_half() {
    let world = World::new();
    given_machine(&world, "m", "batch", (4, 0), 1);
    let killed = ", timestamp '2026-11-02 02:00:00' as running_at, timestamp '2026-11-02 03:00:00' as finished_at, \
        'Failed' as phase, 137 as exit_code, 'OOMKilled' as end_reason";
    given_pod(&world, "train", Some("m"), (2, 3), &size(1, 4, 0), killed);
    let told = |world: &World| found(world, "oom_kills").remove(0);
    let request = told(&world);
    assert!(
        request.contains("killed for memory at a request of 4096 MiB; none got through")
            && request.ends_with("|-"),
        "{request}"
    );
    world.given(
        "container_ends",
        "select 'c' as cluster, 'train' as pod_uid, name as container_name, 'container' as container_kind, 0 as restart_count, \
         timestamp '2026-11-02 03:00:00' as observed_at, code as exit_code, reason \
         from (values ('main', 137, 'OOMKilled'), ('proxy', 0, 'Completed')) as v(name, code, reason)",
    );
    world.given(
        "container_requests",
        "select 'c' as cluster, 'train' as pod_uid, name as container_name, timestamp '2026-11-02 02:00:00' as observed_at, \
         'container' as container_kind, 500 as cpu_request_millicores, 2147483648 as memory_request_bytes, \
         gib * 1073741824::bigint as memory_limit_bytes from (values ('main', 3), ('proxy', 8)) as v(name, gib)",
    );
    let limit = told(&world);
    assert!(
        limit.contains("killed for memory at a limit of 3072 MiB of main; none got through")
            && limit.ends_with("|resources: {requests: {memory: 4608Mi}, limits: {memory: 4608Mi}} for main"),
        "{limit}"
    );
}
