-- grain: one row per machine: the newest thing observed of it
-- guarantee: the same row whatever the order or repetition of the facts
-- inputs: lake.machines
with facts as (
    select
        cluster,
        machine,
        {{ ms('observed_at') }} as observed_ms,
        node_name,
        provider,
        region,
        zone,
        instance_type,
        capacity_type,
        pool,
        billing_model,
        {{ ms('launched_at') }} as launched_ms,
        launch_source,
        {{ ms('ended_at') }} as ended_ms,
        end_source,
        end_reason,
        provider_id,
        labels,
        gpu_model
    from {{ source('lake', 'machines') }}
),

ranked as (
    select
        *,
        cast(row_number() over (
            partition by cluster, machine
            order by
                observed_ms desc nulls last,
                ended_ms desc nulls last,
                launched_ms asc nulls last,
                instance_type asc nulls last,
                capacity_type asc nulls last,
                node_name asc nulls last,
                billing_model asc nulls last,
                end_reason asc nulls last,
                end_source asc nulls last,
                launch_source asc nulls last,
                provider asc nulls last,
                region asc nulls last,
                zone asc nulls last,
                pool asc nulls last,
                gpu_model asc nulls last,
                {{ content('labels') }} asc nulls last
        ) as bigint) as newest
    from facts
)

select * from ranked where newest = 1
