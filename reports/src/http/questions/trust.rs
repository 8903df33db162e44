//! What figures rest on.

use super::super::question::Kind::{Count, Duration, Instant, Text, UsdIfAny};
use super::super::question::{Question, column};
use super::columns::CLUSTER_SHOWN;

/// How far clusters were observed.
pub static CLUSTERS: Question = Question {
    name: "clusters",
    title: "Clusters",
    about: "One row per cluster: from when to when it was observed. From `clusters`.",
    sql: "select * from marts.clusters where true [[and cluster = $cluster]]",
    order: "cluster",
    columns: &[
        CLUSTER_SHOWN.to("/", &[("cluster", "cluster")]),
        column(
            "observed_from_at",
            "observed from",
            Instant,
            "When its first machine was seen.",
        ),
        column(
            "observed_through_at",
            "observed through",
            Instant,
            "Up to when everything is known.",
        ),
        column("machines", "machines", Count, "Machines that were ever up."),
    ],
    required: &[],
};

/// What is missing or uncertain in the whole ledger.
pub static DATA_QUALITY: Question = Question {
    name: "data-quality",
    title: "Data quality",
    about: "One row per cluster and measure of what is known, missing or uncertain, over all time. From `data_quality`.",
    sql: "select cluster, measure, unit, replace(regexp_replace(measure, '_(ms|nano|core_ms)\\z', ''), '_', ' ') as words, \
              case when unit not in ('ms', 'nano-usd') then value end as number, \
              case when unit = 'ms' then value end as duration_ms, \
              case when unit = 'nano-usd' then cast(value as decimal(28,0)) * 0.000000001 end as cost \
          from marts.data_quality where true [[and cluster = $cluster]]",
    order: "cluster, measure",
    columns: &[
        column("words", "measure", Text, "What is measured, in words."),
        column(
            "number",
            "number",
            Count,
            "Its value, if it is a number of things; in its unit.",
        ),
        column("duration_ms", "time", Duration, "Its value, if it is a time, ms."),
        column("cost", "money", UsdIfAny, "Its value, if it is money, USD."),
        column("unit", "unit", Text, "The unit of the mart's value."),
        column("measure", "name", Text, "The measure, as the mart names it."),
        CLUSTER_SHOWN,
    ],
    required: &[],
};
