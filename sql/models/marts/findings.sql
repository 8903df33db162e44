-- grain: one row per zone, ISO week, cluster, finding, subject and team
-- guarantee: rows of which `counted_in` is NULL share no money; `failed_work` and `oom_kills` add up to the category failed, `evicted_work` to lost,
--     `stuck_pods` to stuck, `orphaned_claims` and `orphaned_volumes` to orphaned_storage, and findings of idle capacity to idle
-- inputs: finding_broken_work, finding_stuck_pods, finding_unschedulable_pods, finding_runaway_attempts, finding_jobs_without_deadline, finding_orphaned_claims, finding_completed_pods, finding_idle_capacity, finding_gpu_without_work, finding_gpu_held_idle, finding_gpu_underused, finding_daemon_overhead, finding_control_plane, finding_run_cost_regression
{{ config(materialized='view') }}
{%- set findings = ['finding_broken_work', 'finding_stuck_pods', 'finding_unschedulable_pods', 'finding_runaway_attempts', 'finding_jobs_without_deadline', 'finding_orphaned_claims', 'finding_completed_pods', 'finding_idle_capacity', 'finding_gpu_without_work', 'finding_gpu_held_idle', 'finding_gpu_underused', 'finding_daemon_overhead', 'finding_control_plane', 'finding_run_cost_regression'] %}
with findings as (
{%- for finding in findings %}
    select * from {{ ref(finding) }}
    {% if not loop.last %}union all{% endif %}
{%- endfor %}
)

select
    findings.zone,
    findings.iso_week,
    findings.cluster,
    findings.finding,
    findings.subject_kind,
    findings.subject,
    findings.team,
    findings.namespace,
    findings.pipeline,
    {{ usd('findings.cost_nano') }} as cost,
    case when weeks.previous_week is not null then {{ usd('findings.previous_cost_nano') }} end as previous_cost,
    {{ at('findings.since_ms') }} as since_at,
    findings.evidence,
    findings.mend,
    findings.command,
    findings.counted_in
from findings
inner join {{ ref('int_finding_weeks') }} as weeks
    on findings.cluster = weeks.cluster and findings.zone = weeks.zone and findings.iso_week = weeks.iso_week
