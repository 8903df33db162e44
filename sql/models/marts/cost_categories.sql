-- grain: one row per cost category
-- guarantee: every allocated nano-dollar is in exactly one; the first that matches by position wins
-- inputs: none: this is the definition
{%- set categories = [
    ('control_plane', 'fixed', false, true, 'the managed control plane of a cluster'),
    ('storage', 'storage', false, false, 'volumes: to the pods that mount them, and while nobody does, to who did last'),
    ('orphaned_storage', 'storage', true, false, 'volumes that no claim holds, or whose runs are over'),
    ('load_balancer', 'fixed', false, true, 'load balancers of Services'),
    ('node_reserved', 'overhead', false, true, 'what the node keeps for kubelet, kernel and eviction: capacity less allocatable'),
    ('system', 'overhead', false, true, 'pods of DaemonSets and of kube-system'),
    ('platform', 'overhead', false, true, 'pods of namespaces declared as platform'),
    ('stuck', 'waste', true, false, 'bound, but waiting on an image, on a container that cannot be created, or on a crash loop'),
    ('starting', 'overhead', false, false, 'bound, but not yet running: pulling, attaching, initialising'),
    ('terminating', 'overhead', false, false, 'containers have finished, resources are not released yet'),
    ('failed', 'waste', true, false, 'the whole running cost of an attempt that failed'),
    ('lost', 'waste', true, false, 'the whole running cost of an attempt that its machine or a preemption took away'),
    ('used', 'used', false, false, 'the part of the request that was used'),
    ('unused_request', 'waste', true, false, 'the part of the request that was not used'),
    ('unmetered', 'used', false, false, 'running, but nobody measured how much was used'),
    ('idle_boot', 'idle', true, true, 'paid for before the node registered'),
    ('idle_startup', 'idle', true, true, 'registered, but no workload has started yet'),
    ('idle_unpacked', 'idle', true, true, 'free beside a running workload'),
    ('idle_gap', 'idle', true, true, 'free between workloads'),
    ('idle_tail', 'idle', true, true, 'free after the last workload of a machine that has ended'),
    ('unobserved', 'unobserved', false, true, 'nobody watched, and no pod is known to have held it'),
    ('adjustment', 'fixed', false, false, 'what later bills say of a month that was closed, in a month that is open'),
] %}
{% for category, category_group, is_waste, is_shared, description in categories %}
select
    '{{ category }}' as cost_category,
    cast({{ loop.index }} as bigint) as position,
    '{{ category_group }}' as category_group,
    {{ 'true' if is_waste else 'false' }} as is_waste,
    {{ 'true' if is_shared else 'false' }} as is_shared,
    '{{ description }}' as description
{% if not loop.last %}union all{% endif %}
{% endfor %}
