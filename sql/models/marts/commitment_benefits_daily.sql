-- grain: one row per charge date (UTC), cluster, savings plan or reservation, and team that held machines that it covered
-- guarantee: covered_cost of all teams is what the covered time of known machines cost effectively; who held no covered machine has no row
-- inputs: int_commitment_hours, machine_pod_hours, int_pod_names
{{ config(materialized='view') }}
with paid as (
    select
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        coalesce(pods.team, 'unattributed') as team,
        cast(sum(hours.cpu_nano + hours.memory_nano + hours.gpu_nano) as bigint) as part
    from {{ ref('machine_pod_hours') }} as hours
    inner join (select distinct cluster, machine, hour_start_ms from {{ ref('int_commitment_hours') }}) as covered
        on hours.cluster = covered.cluster and hours.machine = covered.machine and hours.hour_start_ms = covered.hour_start_ms
    left join {{ ref('int_pod_names') }} as pods on hours.cluster = pods.cluster and hours.pod_uid = pods.pod_uid
    group by
        hours.cluster,
        hours.machine,
        hours.hour_start_ms,
        coalesce(pods.team, 'unattributed')
),

ordered as (
    select
        *,
        cast(sum(part) over (
            partition by cluster, machine, hour_start_ms order by team asc nulls last
            rows between unbounded preceding and current row
        ) as bigint) as to_part,
        cast(sum(part) over (partition by cluster, machine, hour_start_ms) as bigint) as whole
    from paid
    where part > 0
),

divided as (
    select
        covered.hour_start_ms,
        covered.cluster,
        covered.provider,
        covered.billing_account_id,
        covered.commitment_discount_id,
        covered.commitment_discount_type,
        coalesce(ordered.team, 'unattributed') as team,
{%- for amount in ['covered_nano', 'estimated_nano'] %}
        case
            when ordered.whole is null then covered.{{ amount }}
            else {{ prorate('covered.' ~ amount, 'ordered.to_part', 'ordered.whole') }} - {{ prorate('covered.' ~ amount, 'ordered.to_part - ordered.part', 'ordered.whole') }}
        end as {{ amount }}{% if not loop.last %},{% endif %}
{%- endfor %}
    from {{ ref('int_commitment_hours') }} as covered
    left join ordered
        on covered.cluster = ordered.cluster
        and covered.machine = ordered.machine
        and covered.hour_start_ms = ordered.hour_start_ms
)

select
    {{ date_of('hour_start_ms') }} as charge_date,
    cluster,
    provider,
    billing_account_id,
    commitment_discount_id,
    max(commitment_discount_type) as commitment_discount_type,
    team,
    {{ usd('sum(covered_nano)') }} as covered_cost,
    {{ usd('sum(estimated_nano)') }} as estimated_cost,
    {{ usd('sum(estimated_nano - covered_nano)') }} as benefit
from divided
group by
    {{ date_of('hour_start_ms') }},
    cluster,
    provider,
    billing_account_id,
    commitment_discount_id,
    team
