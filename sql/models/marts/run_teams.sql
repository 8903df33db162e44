-- grain: one row per run and team that had pods in it
-- guarantee: the costs of a run's teams add up to the cost of the run
-- inputs: int_pod_names, int_pod_costs
{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget('dirty_runs', ['cluster', 'system', 'installation', 'pipeline', 'run', 'run_epoch']) }}") }}
select
    pods.cluster,
    pods.system,
    pods.installation,
    pods.pipeline,
    pods.run,
    pods.run_epoch,
    pods.team,
    count(*) as pods,
    {{ usd('sum(costs.cost_nano)') }} as cost,
    {{ usd('sum(' ~ wasted('pods', 'costs') ~ ')') }} as wasted_cost
from {{ touched('int_pod_names') }} as pods
left join {{ touched('int_pod_costs') }} as costs on pods.cluster = costs.cluster and pods.pod_uid = costs.pod_uid
where pods.run <> 'unattributed' and pods.pod_class = 'workload'
group by
    pods.cluster,
    pods.system,
    pods.installation,
    pods.pipeline,
    pods.run,
    pods.run_epoch,
    pods.team
