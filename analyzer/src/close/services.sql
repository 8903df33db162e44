-- What an hour of each volume, load balancer and control plane costs, as it is known now: in the month, and in closed months of which one is adjusted in it, whose
-- adjustments are settled with it.
insert into raw.closed_services (
    month_start_at, priced_month_at, cluster, service_kind, service_id, start_at, end_at, hour_cost_nano, price_source, build_id
)
with settled as (
    select distinct late.month_start_ms, late.cluster, late.service_kind, late.service_id
    from intermediate.int_repriced_services as late
    inner join staging.stg_closed_months as months using (month_start_ms)
    where months.open_ms = $start and late.cost_nano <> late.closed_cost_nano
),
billed as (
    select distinct cluster, service_kind, service_id, hour_start_ms
    from intermediate.int_billed_service_hours
),
costs as (
    select cluster, service_kind, service_id, hour_start_ms, cast(sum(cost_nano) as bigint) as cost_nano
    from intermediate.int_service_hours
    where hour_start_ms >= $start and hour_start_ms < $end
    group by cluster, service_kind, service_id, hour_start_ms
),
hours as (
    select
        $start as month_start_ms,
        costs.*,
        billed.cluster is not null as is_billed
    from costs
    left join billed
        on costs.cluster = billed.cluster
        and costs.service_kind = billed.service_kind
        and costs.service_id = billed.service_id
        and costs.hour_start_ms = billed.hour_start_ms
    union all
    select month_start_ms, cluster, service_kind, service_id, hour_start_ms, cost_nano, is_billed
    from intermediate.int_repriced_services
    semi join settled using (month_start_ms, cluster, service_kind, service_id)
),
-- Hours that follow each other and cost the same have the same number.
numbered as (
    select
        *,
        hour_start_ms - 3600000 * row_number() over (
            partition by month_start_ms, cluster, service_kind, service_id, cost_nano, is_billed order by hour_start_ms
        ) as number
    from hours
)
select
    make_timestamp($start * 1000),
    make_timestamp(month_start_ms * 1000),
    cluster,
    service_kind,
    service_id,
    make_timestamp(min(hour_start_ms) * 1000),
    make_timestamp((max(hour_start_ms) + 3600000) * 1000),
    cost_nano,
    case when is_billed then 'billed' else 'estimated' end,
    $closing
from numbered
group by month_start_ms, cluster, service_kind, service_id, cost_nano, is_billed, number;
