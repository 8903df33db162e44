//! What is no machine's: volumes, load balancers, control planes, the hours and prices behind what they cost, and who answers for it.

use super::super::question::Kind::{Bytes, Count, Instant, SmallUsd, Text};
use super::super::question::{Column, Question, column, key};
use super::columns::{
    CLUSTER, COST, COST_CATEGORY, HOUR, NAMESPACE, PIPELINE_OR_NONE, PRICE_SOURCE, TEAM_OR_NONE,
};

const KIND: Column = column(
    "service_kind",
    "kind",
    Text,
    "volume, load_balancer or control_plane.",
);
const SERVICE: Column = key(
    "service_id",
    Text,
    "Identifier: the UID of a volume or Service; of a control plane that of its cluster.",
);
const NAME: Column = column(
    "service_name",
    "name",
    Text,
    "Name of the volume or Service; of a control plane that of its cluster.",
);
const TYPE: Column = column(
    "service_type",
    "type",
    Text,
    "Storage class of a volume, kind of a control plane; NULL where unknown or none.",
);
const HOURLY_PRICE: Column = column(
    "hourly_price",
    "price of an hour",
    SmallUsd,
    "Price of an hour of all of it, USD; NULL where none is known.",
);
const SIZE: Column = column("size_bytes", "size", Bytes, "Size of a volume, bytes.");
const THIS_ONE: &[(&str, &str)] = &[("service", "service_id"), ("cluster", "cluster")];

/// What each of them cost.
pub static SERVICES: Question = Question {
    name: "services",
    title: "Volumes, load balancers, control planes",
    about: "One row per volume, load balancer or control plane and cost category: what its hours of the range cost, which part of that pods pay that mount \
            it, and the newest price. From `services_hourly` and `service_prices`.",
    sql: "with prices as ( \
              select cluster, service_kind, service_id, max_by(service_name, start_at) as service_name, \
                  max_by(service_type, start_at) as service_type, max_by(case when service_kind = 'volume' then quantity end, start_at) as size_bytes, \
                  max_by(struct_pack(price := hourly_price, source := price_source), start_at) as newest \
              from marts.service_prices where start_at < make_timestamp_ms($to) and end_at > make_timestamp_ms($from) \
                  [[and cluster = $cluster]] [[and service_id = $service]] group by all \
          ), \
          costs as ( \
              select cluster, service_kind, service_id, cost_category, sum(cost) as cost, {cost where pod_uid is not null} as pods_cost, \
                  count(distinct hour_start_at) as hours, string_agg(distinct team, ', ' order by team) as teams, \
                  case when count(distinct team) = 1 then min(team) end as team, \
                  case when count(distinct namespace) = 1 then min(namespace) end as namespace \
              from marts.services_hourly where {hours} [[and cluster = $cluster]] [[and service_id = $service]] [[and {of_category}]] \
                  [[and {of_team} and cost_category not in ({shared})]] [[and pipeline = $pipeline and cost_category not in ({shared})]] \
                  [[and namespace = $namespace]] \
              group by all \
          ) \
          select costs.*, prices.service_name, prices.service_type, prices.size_bytes, prices.newest.price as hourly_price, \
              prices.newest.source as price_source \
          from costs left join prices on costs.cluster = prices.cluster and costs.service_kind = prices.service_kind \
              and costs.service_id = prices.service_id",
    order: "cost desc nulls last, service_kind, cluster, service_id, cost_category",
    columns: &[
        NAME.to("/services", THIS_ONE),
        KIND,
        TYPE,
        NAMESPACE,
        column(
            "teams",
            "teams",
            Text,
            "Who answers for it: of a volume who mounts it, or did last; `unattributed` where unknown.",
        )
        .to("/team", &[("team", "team")]),
        COST_CATEGORY,
        column(
            "hours",
            "hours",
            Count,
            "Hours of the range in which it was there.",
        ),
        SIZE,
        HOURLY_PRICE.to("/services", THIS_ONE),
        PRICE_SOURCE,
        COST.to("/services", THIS_ONE),
        column(
            "pods_cost",
            "pods pay",
            SmallUsd,
            "Of it, what pods pay that mount it, USD.",
        )
        .to("/services", THIS_ONE),
        SERVICE,
        key("team", Text, "The team, where it is one."),
        CLUSTER,
    ],
    required: &[],
};

/// The hours of one.
pub static SERVICE_HOURS: Question = Question {
    name: "service-hours",
    title: "Hour by hour",
    about: "One row per hour, cost category and who pays of one volume, load balancer or control plane: pods share a volume that they mount at the same \
            time, and what nobody mounts is the volume's own. From `services_hourly`.",
    sql: "select * from marts.services_hourly where service_id = $service and {hours} [[and cluster = $cluster]] [[and {of_category}]]",
    order: "hour_start_at, cost_category, pod_uid nulls first, cluster",
    columns: &[
        HOUR,
        COST_CATEGORY,
        column(
            "pod_name",
            "pod",
            Text,
            "The pod that mounts it; NULL where it is its own cost.",
        )
        .to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")]),
        NAMESPACE,
        TEAM_OR_NONE.to("/team", &[("team", "team")]),
        PIPELINE_OR_NONE.to("/pipeline", &[("pipeline", "pipeline")]),
        COST.to("/pod", &[("pod", "pod_uid"), ("cluster", "cluster")])
            .to("/team", &[("team", "team")]),
        key("pod_uid", Text, "UID of that pod."),
        CLUSTER,
    ],
    required: &["service"],
};

/// What an hour of one cost, and who said so.
pub static SERVICE_PRICES: Question = Question {
    name: "service-prices",
    title: "Its price",
    about: "One row per stretch of time of one volume, load balancer or control plane with one price, whenever it was there. From `service_prices`.",
    sql: "select *, case when service_kind = 'volume' then quantity end as size_bytes from marts.service_prices where service_id = $service [[and cluster = $cluster]]",
    order: "start_at, cluster",
    columns: &[
        NAME,
        KIND,
        TYPE,
        NAMESPACE,
        column("start_at", "from", Instant, "Start of the stretch."),
        column(
            "end_at",
            "to",
            Instant,
            "End of the stretch, as far as it is known.",
        ),
        SIZE,
        HOURLY_PRICE,
        PRICE_SOURCE,
        CLUSTER,
    ],
    required: &["service"],
};
