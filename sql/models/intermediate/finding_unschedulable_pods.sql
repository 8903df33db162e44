-- grain: one row per zone, ISO week, cluster, team, job and reason for which its pods found no machine
-- guarantee: cost is zero, for what waits holds nothing; told are pods that waited for a quarter of an hour or longer and of which the
--     scheduler said why; impossible are those for which no machine ever here has room, and none was ordered
-- inputs: pods, stg_cluster_events, int_machine_shapes, int_finding_weeks
{{ config(materialized='view') }}
{%- set job = ['team', 'installation', 'pipeline', 'job'] %}
with shapes as (
    select distinct
        cluster,
        cpu_capacity_millicores - cpu_reserved_millicores as cpu_millicores,
        memory_capacity_bytes - memory_reserved_bytes as memory_bytes,
        coalesce(gpu_capacity_milligpus - gpu_reserved_milligpus, cast(0 as bigint)) as gpu_milligpus
    from {{ ref('int_machine_shapes') }}
),

messages as (
    select
        cluster,
        involved_uid as pod_uid,
        max_by(coalesce(message, ''), (last_ms, coalesce(message, ''))) as message
    from {{ ref('stg_cluster_events') }}
    where reason = 'FailedScheduling' and involved_kind = 'Pod'
    group by
        cluster,
        involved_uid
),

unheeded as (
    select
        pods.*,
        {{ job_subject('pods') }} as subject,
        messages.message
    from {{ ref('pods') }} as pods
    inner join messages on pods.cluster = messages.cluster and pods.pod_uid = messages.pod_uid
    where pods.pod_class = 'workload'
),

-- For these a machine was ordered, or promised.
helped as (
    select distinct
        cluster,
        involved_uid as pod_uid
    from {{ ref('stg_cluster_events') }}
    where reason in ('TriggeredScaleUp', 'Nominated') and involved_kind = 'Pod'
),

possible as (
    select distinct
        unheeded.cluster,
        unheeded.pod_uid
    from unheeded
    inner join shapes
        on unheeded.cluster = shapes.cluster
        and shapes.cpu_millicores >= unheeded.cpu_request_millicores
        and shapes.memory_bytes >= unheeded.memory_request_bytes
        and shapes.gpu_milligpus >= unheeded.gpu_request_milligpus
),

waiting as (
    select
        weeks.cluster,
        weeks.zone,
        weeks.iso_week,
        weeks.from_ms,
        unheeded.pod_uid,
        unheeded.pod_name,
        unheeded.namespace,
{%- for column in job %}
        unheeded.{{ column }},
{%- endfor %}
        unheeded.subject,
        unheeded.created_ms,
        unheeded.cpu_request_millicores,
        unheeded.memory_request_bytes,
        unheeded.gpu_request_milligpus,
        least(coalesce(unheeded.bound_ms, unheeded.released_ms, unheeded.deletion_requested_ms, weeks.observed_to_ms), weeks.observed_to_ms) as waited_to_ms,
        coalesce(unheeded.bound_ms, unheeded.released_ms, unheeded.deletion_requested_ms) is null as is_waiting,
        unheeded.bound_ms is null and possible.pod_uid is null and helped.pod_uid is null as is_impossible,
        -- '0/4 nodes are available: 4 Insufficient cpu.', of any number of nodes
        {{ replace_all("coalesce(nullif(regexp_extract(unheeded.message, 'nodes are available: ([^.]*)', 1), ''), unheeded.message)", "'[0-9]+ '") }} as reason
    from unheeded
    inner join {{ ref('int_finding_weeks') }} as weeks
        on unheeded.cluster = weeks.cluster
        and unheeded.created_ms < weeks.observed_to_ms
        and coalesce(unheeded.bound_ms, unheeded.released_ms, unheeded.deletion_requested_ms, weeks.observed_to_ms) > weeks.from_ms
    left join possible on unheeded.cluster = possible.cluster and unheeded.pod_uid = possible.pod_uid
    left join helped on unheeded.cluster = helped.cluster and unheeded.pod_uid = helped.pod_uid
),

summed as (
    select
        cluster,
        zone,
        iso_week,
{%- for column in job %}
        {{ column }},
{%- endfor %}
        reason,
        is_impossible,
        max(subject) as subject,
        max(namespace) as namespace,
        min(created_ms) as since_ms,
        count(*) as pods,
        cast(sum(case when is_waiting then 1 else 0 end) as bigint) as waiting_pods,
        cast(sum(waited_to_ms - greatest(created_ms, from_ms)) as bigint) as waited_ms,
        max(cpu_request_millicores) as cpu_request_millicores,
        max(memory_request_bytes) as memory_request_bytes,
        max(gpu_request_milligpus) as gpu_request_milligpus,
        nullif(max_by(coalesce(pod_name, ''), (created_ms, coalesce(pod_name, ''))), '') as pod_name
    from waiting
    where waited_to_ms - created_ms >= 900000
    group by
        cluster,
        zone,
        iso_week,
{%- for column in job %}
        {{ column }},
{%- endfor %}
        reason,
        is_impossible
)

select
    cluster,
    zone,
    iso_week,
    case when is_impossible then 'impossible_request' else 'unschedulable_pods' end as finding,
    'job' as subject_kind,
    subject,
    team,
    namespace,
    nullif(pipeline, 'unattributed') as pipeline,
    cast(0 as bigint) as cost_nano,
    cast(null as bigint) as previous_cost_nano,
    since_ms,
    {{ counted('pods', 'pod') }} || ' waited ' || {{ hours_text('waited_ms') }} || ' (' || {{ number_text('waiting_pods') }} || ' still do): ' || reason
    || case
        when is_impossible
            then '; no machine that was ever here has room for ' || {{ number_text('cpu_request_millicores') }} || 'm CPU, '
                || {{ mebibytes('memory_request_bytes') }} || ' MiB and ' || {{ number_text(idiv('gpu_request_milligpus', '1000')) }} || ' GPUs'
        else ''
    end as evidence,
    case
        when is_impossible then 'ask for less, or give a pool machines that have so much'
        else 'raise the limit of its pool, or run it at another time'
    end as mend,
    'kubectl -n ' || namespace || ' describe pod ' || pod_name as command,
    cast(null as string) as counted_in
from summed
