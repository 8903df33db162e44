-- The costs of the month, as they are now.
insert into raw.closed_costs (
    month_start_at, cluster, hour_start_at, team, pipeline, job, namespace, cost_category, adjusts_month_at,
    cpu_nano, memory_nano, gpu_nano, service_nano, unused_nano, build_id
)
select
    make_timestamp($start * 1000),
    cluster,
    make_timestamp(hour_start_ms * 1000),
    team,
    pipeline,
    job,
    namespace,
    cost_category,
    make_timestamp(adjusts_month_ms * 1000),
    cast(sum(cpu_nano) as bigint),
    cast(sum(memory_nano) as bigint),
    cast(sum(gpu_nano) as bigint),
    cast(sum(service_nano) as bigint),
    cast(sum(unused_nano) as bigint),
    $closing
from intermediate.int_booked_costs
where hour_start_ms >= $start and hour_start_ms < $end
group by cluster, hour_start_ms, team, pipeline, job, namespace, cost_category, adjusts_month_ms;
