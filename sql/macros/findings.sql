{# What a finding about a job calls it: its pipeline and its own name, as far as they are known. #}
{% macro job_subject(pods) %}case when {{ pods }}.pipeline = 'unattributed' then coalesce({{ pods }}.namespace, 'unattributed') when {{ pods }}.job = 'unattributed' then {{ pods }}.pipeline else {{ pods }}.pipeline || '/' || {{ pods }}.job end{% endmacro %}
{# A whole number as text. #}
{% macro number_text(number) %}cast(cast({{ number }} as bigint) as string){% endmacro %}
{# A time as text: hours with one decimal, in integers. #}
{% macro hours_text(ms) %}({{ number_text(idiv(ms, '3600000')) }} || '.' || {{ number_text(idiv('(' ~ ms ~ ') % 3600000', '360000')) }} || ' h'){% endmacro %}
{# Parts of a hundred, in integers; of what is not known, or of nothing, that is said. #}
{% macro percent_text(part, whole) %}coalesce({{ number_text(wide_idiv('cast(' ~ part ~ ' as decimal(38,0)) * cast(100 as decimal(38,0))', 'nullif(cast(' ~ whole ~ ' as decimal(38,0)), 0)')) }} || '%', 'an unknown part'){% endmacro %}
{# Memory as text, in MiB. #}
{% macro mebibytes(bytes) %}{{ number_text(idiv(bytes, '1048576')) }}{% endmacro %}
{# Nano-dollars of a week's rows that have `condition`; NULL where none has a price. #}
{% macro priced_sum(nano, condition) %}cast(sum(case when {{ condition }} then {{ nano }} end) as bigint){% endmacro %}
{# Since when something has happened again and again: the end of the first of those that follow each other within seven days. #}
{% macro streak(ended_ms, previous_ms, keys) %}max(case when {{ previous_ms }} is null or {{ ended_ms }} - {{ previous_ms }} > cast(604800000 as bigint) then {{ ended_ms }} end) over (partition by {{ keys }} order by {{ ended_ms }} asc nulls last, pod_uid asc nulls last rows between unbounded preceding and current row){% endmacro %}
{# What containers that do not start wait for, though nobody makes them wait. #}
{% macro stuck_reasons() %}'ImagePullBackOff', 'ErrImagePull', 'InvalidImageName', 'ErrImageNeverPull', 'RegistryUnavailable', 'CreateContainerConfigError', 'CreateContainerError', 'RunContainerError', 'CrashLoopBackOff'{% endmacro %}
{# How many of something, in words. #}
{% macro counted(number, noun) %}{{ number_text(number) }} || case when {{ number }} = 1 then ' {{ noun }}' else ' {{ noun }}s' end{% endmacro %}

{# What the pods of a relation paid in each week that they held a machine in, or the week before: they are found before anything is summed. Running is
   what the categories used, unused_request, unmetered, failed and lost divide; the other stages are the categories of their names. #}
{% macro finding_pods(meant) %}(
with costs as (
    select
        hours.cluster,
        hours.zone,
        hours.iso_week,
        costs.pod_uid,
        costs.stage,
        hours.is_this,
        costs.held_ms,
        costs.gpu_nano,
        costs.cpu_nano + costs.memory_nano + costs.gpu_nano as cost_nano
    from {{ ref('machine_pod_hours') }} as costs
    inner join {{ ref('int_finding_hours') }} as hours
        on costs.cluster = hours.cluster and costs.hour_start_ms = hours.hour_start_ms
    inner join (select distinct cluster, pod_uid from {{ meant }}) as meant on costs.cluster = meant.cluster and costs.pod_uid = meant.pod_uid
    where costs.consumer_kind = 'pod'
)

select
    cluster,
    zone,
    iso_week,
    pod_uid
{%- for stage in ['stuck', 'running'] %},
    {{ priced_sum('cost_nano', "is_this and stage = '" ~ stage ~ "'") }} as {{ stage }}_nano,
    {{ priced_sum('cost_nano', "not is_this and stage = '" ~ stage ~ "'") }} as previous_{{ stage }}_nano,
    cast(sum(case when is_this and stage = '{{ stage }}' then held_ms else cast(0 as bigint) end) as bigint) as {{ stage }}_ms
{%- endfor %},
    {{ priced_sum('gpu_nano', "is_this and stage = 'running'") }} as running_gpu_nano,
    {{ priced_sum('gpu_nano', "not is_this and stage = 'running'") }} as previous_running_gpu_nano,
    {{ priced_sum('cost_nano', 'is_this') }} as cost_nano,
    {{ priced_sum('cost_nano', 'not is_this') }} as previous_cost_nano,
    max(case when is_this then 1 else 0 end) = 1 as is_this
from costs
group by
    cluster,
    zone,
    iso_week,
    pod_uid
){% endmacro %}
