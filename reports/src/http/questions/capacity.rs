//! What was there to run on, what it cost, and what was wasted.

use super::super::question::Kind::{Count, Duration, Instant, SmallUsd, Text, Usd};
use super::super::question::{Question, column, key};
use super::columns::{
    CAPACITY_TYPE, CLUSTER, COST, COST_CATEGORY, COST_USD, CPU_COST, CPU_HELD, GPU_COST, GPU_HELD, HOUR,
    INSTANCE_TYPE, ISO_WEEK, LIST_HOURLY_PRICE, MACHINE, MEMORY_COST, MEMORY_HELD, NODE_NAME, PIPELINE, POOL,
    PRICE_SOURCE, TEAM,
};

const OF_POOL: &[(&str, &str)] = &[("pool", "pool")];

/// What each pool cost, and how it idled.
pub static POOLS: Question = Question {
    name: "pools",
    title: "Node pools",
    about: "One row per node pool: cost, idle time by kind, and how much of it pods held. From `pools_hourly`.",
    sql: "select pool, string_agg(distinct instance_type, ', ' order by instance_type) as instance_types, \
              sum(up_ms) as up_ms, sum(unpriced_ms) as unpriced_ms, sum(cost) as cost, sum(idle_boot_cost) as idle_boot_cost, \
              sum(idle_startup_cost) as idle_startup_cost, sum(idle_gap_cost) as idle_gap_cost, sum(idle_tail_cost) as idle_tail_cost, \
              sum(idle_unpacked_cost) as idle_unpacked_cost, sum(node_reserved_cost) as node_reserved_cost, \
              cast(sum(cpu_request_millicore_ms) as hugeint) * 1000 // nullif(cast(sum(cpu_capacity_millicore_ms) as hugeint), 0) as cpu_held_permille, \
              cast(sum(memory_request_byte_ms) as hugeint) * 1000 // nullif(cast(sum(memory_capacity_byte_ms) as hugeint), 0) as memory_held_permille, \
              cast(sum(gpu_request_milligpu_ms) as hugeint) * 1000 // nullif(cast(sum(gpu_capacity_milligpu_ms) as hugeint), 0) as gpu_held_permille \
          from marts.pools_hourly where {hours} \
              [[and cluster = $cluster]] [[and pool = $pool]] \
          group by all",
    order: "cost desc nulls last, pool",
    columns: &[
        POOL.to("/pool", &[("pool", "pool")]),
        column("instance_types", "machines", Text, "Instance types in it."),
        COST_USD.to("/machines", &[("pool", "pool")]),
        column(
            "idle_boot_cost",
            "boot",
            Usd,
            "Cost of time before nodes registered, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "idle_boot")]),
        column(
            "idle_startup_cost",
            "startup",
            Usd,
            "Cost of time that nobody held before the first workload, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "idle_startup")]),
        column(
            "idle_gap_cost",
            "gap",
            Usd,
            "Cost of time that nobody held between workloads, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "idle_gap")]),
        column(
            "idle_tail_cost",
            "tail",
            Usd,
            "Cost of time that nobody held after the last workload, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "idle_tail")]),
        column(
            "idle_unpacked_cost",
            "unpacked",
            Usd,
            "Cost of time that nobody held beside running workloads, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "idle_unpacked")]),
        column(
            "node_reserved_cost",
            "reserved",
            Usd,
            "Cost of what nodes keep for themselves, USD.",
        )
        .to_those("/machine-hours", OF_POOL, &[("category", "node_reserved")]),
        CPU_HELD,
        MEMORY_HELD,
        GPU_HELD,
        column(
            "up_ms",
            "up",
            Duration,
            "Time that its machines were up together, ms.",
        ),
        column(
            "unpriced_ms",
            "without a price",
            Duration,
            "Of it, time of machines of which no price is known, ms.",
        ),
    ],
    required: &[],
};

/// How full pools were, hour by hour.
pub static POOL_HOURS: Question = Question {
    name: "pool-hours",
    title: "Hours of pools",
    about: "One row per hour and pool: how much of it pods held. From `pools_hourly`.",
    sql: "select pool, hour_start_at, sum(machines) as machines, sum(cost) as cost, \
              cast(sum(cpu_request_millicore_ms) as hugeint) * 1000 // nullif(cast(sum(cpu_capacity_millicore_ms) as hugeint), 0) as cpu_held_permille, \
              cast(sum(memory_request_byte_ms) as hugeint) * 1000 // nullif(cast(sum(memory_capacity_byte_ms) as hugeint), 0) as memory_held_permille, \
              cast(sum(gpu_request_milligpu_ms) as hugeint) * 1000 // nullif(cast(sum(gpu_capacity_milligpu_ms) as hugeint), 0) as gpu_held_permille \
          from marts.pools_hourly where {hours} \
              [[and cluster = $cluster]] [[and pool = $pool]] \
          group by all",
    order: "pool, hour_start_at",
    columns: &[
        POOL,
        HOUR,
        column(
            "machines",
            "machines",
            Count,
            "Machines that were up in the hour.",
        ),
        COST_USD.to("/machines", OF_POOL),
        CPU_HELD,
        MEMORY_HELD,
        GPU_HELD,
    ],
    required: &[],
};

const OF_MACHINE: &[(&str, &str)] = &[("machine", "machine"), ("cluster", "cluster")];

/// What each machine cost.
pub static MACHINES: Question = Question {
    name: "machines",
    title: "Machines",
    about: "One row per machine: what its hours of the range cost, and how much of that nobody held. From `allocations_hourly` and `machine_prices`.",
    sql: "with machines as ( \
              select cluster, machine, min(node_name) as node_name, min(pool) as pool, min(instance_type) as instance_type, \
                  min(capacity_type) as capacity_type, min(start_at) as started_at, max(end_at) as ended_at \
              from marts.machine_prices where true [[and cluster = $cluster]] [[and machine = $machine]] group by all \
          ), \
          costs as ( \
              select cluster, machine, sum(total_cost) as cost, \
                  {total_cost where consumer_kind = 'pod'} as pods_cost, \
                  {total_cost where consumer_kind = 'idle'} as idle_cost, count(distinct pod_uid) as pods \
              from marts.allocations_hourly where {hours} \
                  [[and cluster = $cluster]] [[and machine = $machine]] group by all \
          ) \
          select costs.*, machines.node_name, coalesce(machines.pool, 'unattributed') as pool, machines.instance_type, machines.capacity_type, \
              machines.started_at, machines.ended_at \
          from costs inner join machines on costs.cluster = machines.cluster and costs.machine = machines.machine \
          where true [[and coalesce(machines.pool, 'unattributed') = $pool]]",
    order: "cost desc nulls last, cluster, machine",
    columns: &[
        NODE_NAME.to("/machine", OF_MACHINE),
        POOL.to("/pool", &[("pool", "pool")]),
        INSTANCE_TYPE,
        CAPACITY_TYPE,
        column("started_at", "from", Instant, "When it began to cost."),
        column("ended_at", "to", Instant, "Until when it is known to cost."),
        column("pods", "pods", Count, "Pods that it held in the range."),
        COST.to("/machine", OF_MACHINE),
        column("pods_cost", "pods", SmallUsd, "Of it what pods held, USD.").to("/pods", OF_MACHINE),
        column("idle_cost", "idle", SmallUsd, "Of it what nobody held, USD.").to_those(
            "/machine-hours",
            OF_MACHINE,
            &[(
                "category",
                "idle_boot,idle_startup,idle_unpacked,idle_gap,idle_tail",
            )],
        ),
        column(
            "machine",
            "machine",
            Text,
            "Identifier: its provider's ID and its boot.",
        ),
        CLUSTER,
    ],
    required: &[],
};

/// What nobody's pods held of each machine, hour by hour.
pub static MACHINE_HOURS: Question = Question {
    name: "machine-hours",
    title: "Hours that nobody's pods held",
    about: "One row per hour, machine and cost category of what no pod held: idle time by kind, what nodes keep for themselves, what nobody observed. \
            From `allocations_hourly` and `machine_prices`.",
    sql: "with machines as ( \
              select cluster, machine, min(node_name) as node_name, min(pool) as pool, min(instance_type) as instance_type, \
                  min(capacity_type) as capacity_type \
              from marts.machine_prices where true [[and cluster = $cluster]] [[and machine = $machine]] group by all \
          ), \
          hours as ( \
              select cluster, machine, hour_start_at, cost_category, sum(cpu_cost) as cpu_cost, sum(memory_cost) as memory_cost, \
                  sum(gpu_cost) as gpu_cost, sum(total_cost) as cost \
              from marts.allocations_hourly where machine is not null and pod_uid is null and {hours} \
                  [[and cluster = $cluster]] [[and machine = $machine]] [[and {of_category}]] group by all \
          ) \
          select hours.*, machines.node_name, coalesce(machines.pool, 'unattributed') as pool, machines.instance_type, machines.capacity_type \
          from hours inner join machines on hours.cluster = machines.cluster and hours.machine = machines.machine \
          where true [[and coalesce(machines.pool, 'unattributed') = $pool]]",
    order: "cost desc nulls last, hour_start_at, cluster, machine, cost_category",
    columns: &[
        HOUR,
        NODE_NAME.to("/machine", OF_MACHINE),
        POOL.to("/pool", OF_POOL),
        INSTANCE_TYPE,
        CAPACITY_TYPE,
        COST_CATEGORY,
        CPU_COST.to("/machine", OF_MACHINE),
        MEMORY_COST.to("/machine", OF_MACHINE),
        GPU_COST.to("/machine", OF_MACHINE),
        COST.to("/machine", OF_MACHINE),
        MACHINE,
        CLUSTER,
    ],
    required: &[],
};

const PODS_OF_IT: &[(&str, &str)] = &[("category", "pod_category"), ("machine", "machine")];
const HOURS_OF_IT: &[(&str, &str)] = &[("category", "machine_category"), ("machine", "machine")];

/// What a machine's cost went to.
pub static MACHINE_PODS: Question = Question {
    name: "machine-categories",
    title: "What it went to",
    about: "One row per cost category of a machine in the range; they add up to its cost. From `allocations_hourly`.",
    sql: "select cost_category, sum(total_cost) as cost, sum(cpu_cost) as cpu_cost, sum(memory_cost) as memory_cost, sum(gpu_cost) as gpu_cost, \
              count(distinct pod_uid) as pods, max(machine) as machine, \
              max(case when pod_uid is not null then cost_category end) as pod_category, \
              max(case when pod_uid is null then cost_category end) as machine_category \
          from marts.allocations_hourly where machine = $machine and {hours} [[and cluster = $cluster]] group by all",
    order: "cost desc nulls last, cost_category",
    columns: &[
        COST_CATEGORY
            .to("/pods", PODS_OF_IT)
            .to("/machine-hours", HOURS_OF_IT),
        column("pods", "pods", Count, "Pods that have it."),
        CPU_COST.to("/pods", PODS_OF_IT).to("/machine-hours", HOURS_OF_IT),
        MEMORY_COST
            .to("/pods", PODS_OF_IT)
            .to("/machine-hours", HOURS_OF_IT),
        GPU_COST.to("/pods", PODS_OF_IT).to("/machine-hours", HOURS_OF_IT),
        column("cost", "cost", SmallUsd, "Cost, USD.")
            .to("/pods", PODS_OF_IT)
            .to("/machine-hours", HOURS_OF_IT),
        MACHINE,
        key("pod_category", Text, "The category, where pods have its cost."),
        key("machine_category", Text, "The category, where no pod has it."),
    ],
    required: &["machine"],
};

/// What an hour of a machine cost, and who said so.
pub static MACHINE_PRICES: Question = Question {
    name: "machine-prices",
    title: "Its price",
    about: "One row per stretch of time of a machine with one price, whenever it was up. From `machine_prices`.",
    sql: "select * from marts.machine_prices where machine = $machine [[and cluster = $cluster]]",
    order: "start_at, cluster",
    columns: &[
        NODE_NAME,
        column("pool", "pool", Text, "Node pool; NULL where the node names none.")
            .to("/pool", &[("pool", "pool")]),
        INSTANCE_TYPE,
        CAPACITY_TYPE,
        column("start_at", "from", Instant, "Start of the stretch."),
        column(
            "end_at",
            "to",
            Instant,
            "End of the stretch, as far as it is known.",
        ),
        LIST_HOURLY_PRICE,
        column(
            "hourly_price",
            "price of an hour",
            SmallUsd,
            "Price that is used, USD; NULL where none is known.",
        ),
        PRICE_SOURCE,
    ],
    required: &["machine"],
};

/// Prices that were used.
pub static PRICES: Question = Question {
    name: "prices",
    title: "Prices",
    about: "One row per price that machines of the range had: what an hour cost, and who said so. From `machine_prices`.",
    sql: "select instance_type, capacity_type, coalesce(pool, 'unattributed') as pool, list_hourly_price, hourly_price, price_source, \
              count(distinct machine) as machines, min(start_at) as first_at, max(end_at) as last_at, \
              sum(least(epoch_ms(end_at), $to) - greatest(epoch_ms(start_at), $from)) as up_ms \
          from marts.machine_prices where start_at < make_timestamp_ms($to) and end_at > make_timestamp_ms($from) \
              [[and cluster = $cluster]] [[and coalesce(pool, 'unattributed') = $pool]] group by all",
    order: "hourly_price is null desc, up_ms desc, instance_type, capacity_type, pool, hourly_price, list_hourly_price, price_source",
    columns: &[
        INSTANCE_TYPE,
        CAPACITY_TYPE,
        POOL.to("/pool", &[("pool", "pool")]),
        column("machines", "machines", Count, "Machines with this price."),
        column(
            "up_ms",
            "up",
            Duration,
            "Time that they were up in the range together, ms.",
        ),
        LIST_HOURLY_PRICE,
        column(
            "hourly_price",
            "price of an hour",
            SmallUsd,
            "Price that is used, USD; NULL where none is known: such time costs nothing here.",
        ),
        PRICE_SOURCE,
        column(
            "first_at",
            "from",
            Instant,
            "When the first machine of the range had this price.",
        ),
        column(
            "last_at",
            "until",
            Instant,
            "When the last one had, or up to when it was seen.",
        ),
    ],
    required: &[],
};

const WHO_WAITED: &[(&str, &str)] = &[("pipeline", "pipeline"), ("team", "team")];
const LONGEST_FIRST: &[(&str, &str)] = &[("sort", "-queue_wait_ms")];

/// How long pods waited for a machine.
pub static WAITS: Question = Question {
    name: "waits",
    title: "Waiting for a machine",
    about: "One row per team and pipeline of pods that were created in the range: half waited no longer than the first, 19 of 20 no longer than \
            the second. From `attempt_pods` and `pod_waits`.",
    sql: "with pods as ( \
              select cluster, pod_uid, team, pipeline, queue_wait_ms, scheduled_at from marts.attempt_pods \
              where created_at >= make_timestamp_ms($from) and created_at < make_timestamp_ms($to) \
                  [[and cluster = $cluster]] [[and pipeline = $pipeline]] [[and namespace = $namespace]] \
                  [[and {of_team}]] \
          ) \
          select pods.team, pods.pipeline, count(*) as pods, count(*) filter (pods.scheduled_at is null) as unbound_pods, \
              quantile_disc(pods.queue_wait_ms, 0.5) as queue_wait_p50_ms, quantile_disc(pods.queue_wait_ms, 0.95) as queue_wait_p95_ms, \
              max(pods.queue_wait_ms) as queue_wait_max_ms, sum(pods.queue_wait_ms) as queue_wait_total_ms, \
              quantile_disc(waits.machine_boot_ms, 0.95) as machine_boot_p95_ms, quantile_disc(waits.image_pull_ms, 0.95) as image_pull_p95_ms \
          from pods left join marts.pod_waits as waits on pods.cluster = waits.cluster and pods.pod_uid = waits.pod_uid \
          group by all",
    order: "queue_wait_total_ms desc nulls last, team, pipeline",
    columns: &[
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline"), ("team", "team")]),
        TEAM.to("/team", &[("team", "team")]),
        column("pods", "pods", Count, "Pods that were created in the range.").to("/pods", WHO_WAITED),
        column(
            "unbound_pods",
            "never bound",
            Count,
            "Of them pods that had no machine yet.",
        ),
        column(
            "queue_wait_p50_ms",
            "half waited",
            Duration,
            "Median wait from creation to binding, ms.",
        )
        .to_those("/pods", WHO_WAITED, LONGEST_FIRST),
        column(
            "queue_wait_p95_ms",
            "1 in 20 waited",
            Duration,
            "95th percentile of that wait, ms.",
        )
        .to_those("/pods", WHO_WAITED, LONGEST_FIRST),
        column("queue_wait_max_ms", "longest", Duration, "Longest wait, ms.").to_those(
            "/pods",
            WHO_WAITED,
            LONGEST_FIRST,
        ),
        column("queue_wait_total_ms", "together", Duration, "Sum of waits, ms.").to_those(
            "/pods",
            WHO_WAITED,
            LONGEST_FIRST,
        ),
        column(
            "machine_boot_p95_ms",
            "boot, 1 in 20",
            Duration,
            "95th percentile of the part in which a machine booted, ms; NULL where unknown.",
        ),
        column(
            "image_pull_p95_ms",
            "pull, 1 in 20",
            Duration,
            "95th percentile of pulling images after binding, ms; NULL where unknown.",
        ),
    ],
    required: &[],
};

/// What was wasted.
pub static FINDINGS: Question = Question {
    name: "findings",
    title: "Findings",
    about: "One row per finding and week: what was wasted, since when, what shows it and what mends it. Findings that are `counted_in` others \
            must not be added to them. From `findings`, in the zones that reports are built for.",
    sql: "select *, replace(finding, '_', ' ') as kind, case when subject_kind = 'pool' then subject end as pool \
          from marts.findings where zone = $zone \
              and iso_week in (select iso_week from build.calendar where zone = $zone and hour_start_ms >= $from and hour_start_ms < $to) \
              [[and cluster = $cluster]] [[and team = $team]] [[and namespace = $namespace]] [[and finding = $finding]] \
              [[and subject_kind = 'pool' and subject = $pool]] \
              [[and pipeline = $pipeline]]",
    order: "cost desc nulls last, finding, subject, team, cluster, iso_week",
    columns: &[
        column("kind", "what", Text, "The kind of finding in words.")
            .to("/findings", &[("finding", "finding")]),
        column(
            "subject",
            "where",
            Text,
            "What it is about: a job, a pool or a node.",
        )
        .to("/pool", &[("pool", "pool")])
        .to("/pipeline", &[("pipeline", "pipeline")]),
        column(
            "team",
            "team",
            Text,
            "Who answers for it; `unattributed` for pools and nodes.",
        )
        .to("/team", &[("team", "team")]),
        column(
            "cost",
            "cost",
            Usd,
            "What it cost in the week, USD; NULL where no price is known.",
        )
        .to("/pool", &[("pool", "pool")])
        .to("/pipeline", &[("pipeline", "pipeline")]),
        column(
            "previous_cost",
            "week before",
            Usd,
            "What it cost in the week before, USD; NULL unless that was observed whole.",
        ),
        column("since_at", "since", Instant, "Since when it is so."),
        column("evidence", "what shows it", Text, "What shows it, with counts."),
        column("mend", "what mends it", Text, "What to do about it."),
        column(
            "command",
            "how",
            Text,
            "A command, or the fields of an object, that mend it.",
        ),
        ISO_WEEK,
        key("finding", Text, "The kind of finding."),
        key(
            "subject_kind",
            Text,
            "What the subject is: job, pipeline, pool or node.",
        ),
        key("counted_in", Text, "What has the same money already."),
        key("namespace", Text, "Namespace of the subject."),
        key("pool", Text, "The pool, if it is about one."),
        key(
            "pipeline",
            Text,
            "The pipeline, if it is about one or its job, and it is known.",
        ),
        CLUSTER,
    ],
    required: &[],
};
