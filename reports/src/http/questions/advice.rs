//! What containers should ask for, and the proof of it. It rests on all that was seen, not on some days.

use super::super::question::Kind::{
    Bytes, Count, Instant, MemoryTime, Millicores, Permille, ProcessorTime, Text, Usd,
};
use super::super::question::{Question, column, key};
use super::columns::{CAPACITY_TYPE, CLUSTER, INSTANCE_TYPE, PIPELINE, POOL, SYSTEM, TEAM};

/// Advice on each template.
pub static RIGHTSIZING: Question = Question {
    name: "rightsizing",
    title: "What containers should ask for",
    about: "One row per template (container of a job of a pipeline): what it asks for, what it should, with the evidence, and what KRR and the \
            Vertical Pod Autoscaler would say of the same history. Of all attempts that were seen, whatever the range. From `container_attempts`.",
    sql: "select *, nominal_saving_nano * 0.000000001 as nominal_saving, realisable_saving_nano * 0.000000001 as realisable_saving, \
              realisable_least_nano * 0.000000001 as realisable_least, realisable_most_nano * 0.000000001 as realisable_most, \
              make_timestamp_ms(from_ms) as seen_from_at, make_timestamp_ms(until_ms) as seen_until_at \
          from advice.main.templates where true [[and cluster = $cluster]] [[and {of_team}]] [[and pipeline = $pipeline]] \
              [[and namespace = $namespace]] [[and job = $job]]",
    order: "nominal_saving desc, cluster, pipeline, job, container, container_kind, system nulls first, namespace nulls first",
    columns: &[
        PIPELINE.to("/pipeline", &[("pipeline", "pipeline")]),
        column("job", "job", Text, "The unit of work inside a run."),
        column(
            "container",
            "container",
            Text,
            "Name of the container; `(main)` where it is generated.",
        )
        .to("/rightsizing", &[("pipeline", "pipeline"), ("job", "job")]),
        column(
            "nominal_saving",
            "nominal saving",
            Usd,
            "What was reserved less what would have been, at reference prices, USD: not what nodes would have been spared. Negative where more is advised.",
        )
        .to("/rightsizing", &[("pipeline", "pipeline"), ("job", "job")]),
        column(
            "realisable_saving",
            "realisable",
            Usd,
            "What machines would have cost less, by replay, had this alone been changed, USD; NULL where that is withheld. Negative where they would have cost more.",
        )
        .to("/rightsizing", &[("pipeline", "pipeline"), ("job", "job")]),
        column(
            "realisable_withheld",
            "realisable withheld",
            Text,
            "Why no realisable saving is told.",
        ),
        column(
            "cpu_request_millicores",
            "CPU asked",
            Millicores,
            "What the newest attempt asked for, millicores.",
        ),
        column(
            "cpu_advised_millicores",
            "CPU advised",
            Millicores,
            "What it should ask for, millicores; NULL where that is withheld.",
        ),
        column(
            "memory_request_bytes",
            "memory asked",
            Bytes,
            "What the newest attempt asked for, bytes.",
        ),
        column(
            "memory_advised_bytes",
            "memory advised",
            Bytes,
            "What it should ask for, which is meant as the limit too, bytes; NULL where that is withheld.",
        ),
        column(
            "memory_seen_bytes",
            "most needed",
            Bytes,
            "The most that an attempt needed, bytes.",
        ),
        column("runs", "runs", Count, "Runs that it was learned from.")
            .to("/runs", &[("pipeline", "pipeline")]),
        column("attempts", "tries", Count, "Attempts that it was learned from.")
            .to("/pods", &[("pipeline", "pipeline"), ("job", "job")]),
        column(
            "confidence",
            "confidence",
            Text,
            "high: the evidence allows for the promise over all of a pipeline; medium: for that of the template; no: nothing is promised.",
        ),
        column(
            "memory_withheld",
            "memory withheld",
            Text,
            "Why nothing is advised for memory.",
        ),
        column(
            "cpu_withheld",
            "CPU withheld",
            Text,
            "Why nothing is advised for CPU.",
        ),
        column("risks", "but", Text, "What may make the advice wrong."),
        column(
            "memory_krr_bytes",
            "KRR: memory",
            Bytes,
            "What KRR would say, bytes.",
        ),
        column(
            "memory_vpa_bytes",
            "VPA: memory",
            Bytes,
            "What the VPA would say, bytes.",
        ),
        column(
            "cpu_krr_millicores",
            "KRR: CPU",
            Millicores,
            "What KRR would say, millicores.",
        ),
        column(
            "cpu_vpa_millicores",
            "VPA: CPU",
            Millicores,
            "What the VPA would say, millicores.",
        ),
        column(
            "oom_kills",
            "killed for memory",
            Count,
            "Attempts that were killed for their memory.",
        ),
        TEAM.to("/team", &[("team", "team")]),
        key(
            "realisable_least",
            Usd,
            "Of the replays that the realisable saving is the mean of, the least, USD.",
        ),
        key("realisable_most", Usd, "Of these replays, the most, USD."),
        key(
            "bound_ppm",
            Count,
            "In how many of a million runs it is expected to need more memory, at most; NULL where nothing is promised.",
        ),
        key(
            "cpu_severity",
            Text,
            "How far CPU is from the advice: good, ok, warning, critical or unknown.",
        ),
        key(
            "memory_severity",
            Text,
            "How far memory is from the advice: good, ok, warning, critical or unknown.",
        ),
        key(
            "attempts_measured",
            Count,
            "Attempts of which memory was measured.",
        ),
        key(
            "seen_from_at",
            Instant,
            "When the first attempt that it was learned from started.",
        ),
        key("seen_until_at", Instant, "When the last one ended."),
        key("source", Text, "Who measured; NULL where nobody did."),
        key("image", Text, "Image of the newest attempt; NULL where unknown."),
        key("namespace", Text, "Kubernetes namespace; NULL where unknown."),
        key("container_kind", Text, "container, sidecar or init."),
        SYSTEM,
        CLUSTER,
        key(
            "patch",
            Text,
            "Strategic-merge patch of its pod template, YAML; NULL where there is nothing to change.",
        ),
        key("inverse_patch", Text, "The patch that takes it back, YAML."),
        key(
            "airflow",
            Text,
            "`container_resources` of Airflow's operator; NULL where it is not Airflow's.",
        ),
        key("spark", Text, "Settings of Spark; NULL where it is not Spark's."),
    ],
    required: &[],
};

/// What all advice together would have spared.
pub static SAVINGS: Question = Question {
    name: "rightsizing-savings",
    title: "All of it together",
    about: "One row: what all advice would save on paper, and what machines would have cost less by replay if all of it had been followed: not the sum \
            of what each row would have saved alone. Of all that was seen, whatever the range. From `container_attempts` and `machine_prices`.",
    sql: "select (select sum(nominal_saving_nano) * 0.000000001 from advice.main.templates) as nominal_saving, \
              realisable_saving_nano * 0.000000001 as realisable_saving, realisable_least_nano * 0.000000001 as realisable_least, \
              realisable_most_nano * 0.000000001 as realisable_most, realisable_withheld, \
              (select sum(cost_nano) * 0.000000001 from advice.main.replayed where withheld is null) as cost \
          from advice.main.together",
    order: "realisable_saving",
    columns: &[
        column(
            "nominal_saving",
            "nominal saving",
            Usd,
            "What was reserved less what would have been, at reference prices, USD.",
        ),
        column(
            "realisable_saving",
            "realisable",
            Usd,
            "What machines would have cost less, USD; NULL where that is withheld.",
        ),
        column(
            "realisable_least",
            "at least",
            Usd,
            "Of the replays that it is the mean of, the least, USD.",
        ),
        column(
            "realisable_most",
            "at most",
            Usd,
            "Of these replays, the most, USD.",
        ),
        column(
            "realisable_withheld",
            "withheld",
            Text,
            "Why no realisable saving is told.",
        ),
        column(
            "cost",
            "of",
            Usd,
            "What the machines cost that are replayed, USD.",
        ),
    ],
    required: &[],
};

/// How well machines can be replayed.
pub static REPLAYED: Question = Question {
    name: "rightsizing-pools",
    title: "How well machines are replayed",
    about: "One row per pool and shape of machines: what they cost, and what a replay of what was recorded costs by the rules that reproduce it best. \
            Realisable savings are told only where both are within 2%. Of all that was seen, whatever the range. From `machine_prices` and `pods`.",
    sql: "select *, cost_nano * 0.000000001 as cost, replayed_cost_nano * 0.000000001 as replayed_cost, \
              deviation_ppm // 1000 as deviation_permille, case when pool <> 'unattributed' then pool end as named_pool \
          from advice.main.replayed where true [[and cluster = $cluster]] [[and pool = $pool]]",
    order: "cost desc, cluster, pool, instance_type, capacity_type",
    columns: &[
        POOL.to("/pool", &[("pool", "named_pool")]),
        INSTANCE_TYPE,
        CAPACITY_TYPE,
        column("machines", "machines", Count, "Machines that were up."),
        column("pods", "pods", Count, "Pods that ran on them."),
        column("cost", "cost", Usd, "What its machines cost, USD.").to("/pool", &[("pool", "named_pool")]),
        column(
            "replayed_cost",
            "replayed",
            Usd,
            "What they cost in the replay with recorded requests, USD.",
        ),
        column(
            "deviation_permille",
            "off",
            Permille,
            "How far that is from the ledger, in tenths of a percent.",
        ),
        column(
            "rules",
            "by which rules",
            Text,
            "Rules of the pool's autoscaler, as its machines show them.",
        ),
        column(
            "withheld",
            "left out",
            Text,
            "Why no realisable saving is told of its pods.",
        ),
        CLUSTER,
        key("named_pool", Text, "The pool, where its nodes name one."),
    ],
    required: &[],
};

/// What the advice would have come to.
pub static BACKTEST: Question = Question {
    name: "rightsizing-backtest",
    title: "The proof",
    about: "One row per window and strategy: what its advice would have come to on runs that it had not seen. No attempt is judged twice. Costs are \
            at reference prices (0.031611 USD per core-hour, 0.004237 per GiB-hour), with 5 USD per failed attempt, \
            or 1 where its job was seen to be tried again in a run. From `container_attempts`.",
    sql: "select *, coalesce(learned_from, 'all windows') as learned, retry_cost_nano * 0.000000001 as retry_cost, \
              total_cost_nano * 0.000000001 as total_cost \
          from advice.main.judged",
    order: "place",
    columns: &[
        column(
            "strategy",
            "strategy",
            Text,
            "Whose advice; current is what was asked for.",
        ),
        column(
            "learned",
            "learned from",
            Text,
            "What it was learned from; the rest, until the next window, is judged.",
        ),
        column(
            "templates_advised",
            "advised",
            Count,
            "Templates for which memory was advised, of those judged.",
        ),
        column("templates", "templates", Count, "Templates that were judged."),
        column("attempts", "tries", Count, "Attempts that were judged."),
        column(
            "failed_attempts",
            "failed tries",
            Count,
            "Attempts that needed more memory than advised.",
        ),
        column("runs", "runs", Count, "Runs that were judged."),
        column("failed_runs", "failed runs", Count, "Runs with such an attempt."),
        column(
            "requested_mib_ms",
            "memory reserved",
            MemoryTime,
            "Memory that would have been reserved, MiB-ms.",
        ),
        column(
            "wasted_mib_ms",
            "of it wasted",
            MemoryTime,
            "What of it was not needed, and all that was lost, MiB-ms.",
        ),
        column(
            "requested_millicore_ms",
            "CPU reserved",
            ProcessorTime,
            "Processor time that would have been reserved, millicore-ms.",
        ),
        column(
            "wasted_millicore_ms",
            "of it unused",
            ProcessorTime,
            "What of it was not used, millicore-ms.",
        ),
        column(
            "short_millicore_ms",
            "CPU short",
            ProcessorTime,
            "Processor time used beyond what was asked for, millicore-ms.",
        ),
        column(
            "retry_cost",
            "retries",
            Usd,
            "What second tries reserved, and the price of failures, USD.",
        ),
        column(
            "total_cost",
            "total",
            Usd,
            "All that was reserved, and the price of failures, USD.",
        ),
    ],
    required: &[],
};
