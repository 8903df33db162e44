-- grain: one row per machine: from launch to its end, or to the watermark while it is open
-- guarantee: end_ms >= start_ms; billed minimums and rounding are part of [start_ms, end_ms)
-- inputs: stg_machines, stg_node_states, stg_billing_rules, stg_watermarks
{{ config(materialized='view') }}
with machines as (
    select * from {{ ref('stg_machines') }}
),

registrations as (
    select
        cluster,
        machine,
        min(observed_ms) as registered_ms
    from {{ ref('stg_node_states') }}
    group by
        cluster,
        machine
),

lives as (
    select
        machines.cluster,
        machines.machine,
        machines.node_name,
        machines.provider,
        machines.region,
        machines.zone,
        machines.instance_type,
        coalesce(machines.capacity_type, 'on-demand') as capacity_type,
        machines.pool,
        machines.provider_id,
        machines.labels,
        machines.gpu_model,
        machines.billing_model,
        machines.launched_ms as start_ms,
        machines.launch_source,
        machines.end_source,
        machines.end_reason,
        -- What lies beyond the watermark has not been observed yet.
        coalesce(machines.ended_ms <= watermarks.watermark_ms, machines.ended_ms is not null) as is_ended,
        greatest(
            least(
                coalesce(machines.ended_ms, watermarks.watermark_ms, machines.observed_ms),
                coalesce(watermarks.watermark_ms, machines.ended_ms, machines.observed_ms)
            ),
            machines.launched_ms
        ) as end_ms,
        registrations.registered_ms
    from machines
    left join registrations
        on machines.cluster = registrations.cluster and machines.machine = registrations.machine
    left join {{ ref('stg_watermarks') }} as watermarks on machines.cluster = watermarks.cluster
),

billed as (
    select
        lives.*,
        rules.interruption_refund_ms,
        case
            when lives.is_ended and lives.billing_model <> 'unbilled'
                then greatest(
                    coalesce(rules.minimum_ms, cast(0 as bigint)),
                    {{ idiv('lives.end_ms - lives.start_ms + greatest(coalesce(rules.rounding_ms, cast(1 as bigint)), cast(1 as bigint)) - 1', 'greatest(coalesce(rules.rounding_ms, cast(1 as bigint)), cast(1 as bigint))') }}
                    * greatest(coalesce(rules.rounding_ms, cast(1 as bigint)), cast(1 as bigint))
                )
            else lives.end_ms - lives.start_ms
        end as billed_ms
    from lives
    left join {{ ref('stg_billing_rules') }} as rules
        on lives.provider = rules.provider
        and lives.capacity_type = rules.capacity_type
        and lives.start_ms >= rules.valid_from_ms
        and lives.start_ms < rules.valid_to_ms
)

select
    cluster,
    machine,
    node_name,
    provider,
    region,
    zone,
    instance_type,
    capacity_type,
    pool,
    provider_id,
    labels,
    gpu_model,
    billing_model,
    launch_source,
    end_source,
    end_reason,
    is_ended,
    start_ms,
    -- Nothing can run before the node registers; a machine that never did is boot all along.
    least(greatest(coalesce(registered_ms, start_ms + billed_ms), start_ms), start_ms + billed_ms) as registered_ms,
    end_ms as up_to_ms,
    start_ms + billed_ms as end_ms,
    coalesce(
        is_ended
        and end_reason = 'SpotInterrupted'
        and end_ms - start_ms < interruption_refund_ms,
        false
    ) as is_refunded
from billed
