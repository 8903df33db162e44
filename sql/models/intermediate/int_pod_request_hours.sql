-- grain: one row per machine and hour, of machines whose provider bills pods: what the pods were billed for
-- guarantee: the sums of int_pod_charges; NULL where one of them is
-- inputs: int_pod_charges
{{ config(materialized='view') }}
select
    cluster,
    machine,
    hour_start_ms,
    case when count(*) = count(cpu_nano) then cast(sum(cpu_nano) as bigint) end as cpu_nano,
    case when count(*) = count(memory_nano) then cast(sum(memory_nano) as bigint) end as memory_nano,
    cast(sum(cpu_claim) as bigint) as cpu_claim_millicore_ms,
    sum(memory_claim) as memory_claim_byte_ms,
    cast(sum(gpu_claim) as bigint) as gpu_claim_milligpu_ms
from {{ ref('int_pod_charges') }}
group by
    cluster,
    machine,
    hour_start_ms
