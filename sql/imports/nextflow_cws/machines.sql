-- On-premises machines: there from the first moment of the trace to its end, paid as the declared instance type.
select
    getvariable('cluster') as cluster,
    node as machine,
    make_timestamp(bounds.start_ms * 1000) as observed_at,
    node as node_name,
    getvariable('provider') as provider,
    getvariable('region') as region,
    getvariable('instance_type') as instance_type,
    'on-demand' as capacity_type,
    'declared' as billing_model,
    make_timestamp(bounds.start_ms * 1000) as launched_at,
    'trace_start' as launch_source
from trace_nodes, bounds
order by machine
