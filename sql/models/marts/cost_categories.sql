-- grain: one row per cost category
-- guarantee: every allocated nano-dollar is in exactly one; the first that matches by position wins
-- inputs: none: this is the definition
{%- set categories = [
    ('node_reserved', 'overhead', false, 'what the node keeps for kubelet, kernel and eviction: capacity less allocatable'),
    ('system', 'overhead', false, 'pods of DaemonSets and of kube-system'),
    ('platform', 'overhead', false, 'pods of namespaces declared as platform'),
    ('stuck', 'waste', true, 'bound, but waiting on an image, on a container that cannot be created, or on a crash loop'),
    ('starting', 'overhead', false, 'bound, but not yet running: pulling, attaching, initialising'),
    ('terminating', 'overhead', false, 'containers have finished, resources are not released yet'),
    ('failed', 'waste', true, 'the whole running cost of an attempt that failed'),
    ('lost', 'waste', true, 'the whole running cost of an attempt that its machine or a preemption took away'),
    ('used', 'used', false, 'the part of the request that was used'),
    ('unused_request', 'waste', true, 'the part of the request that was not used'),
    ('unmetered', 'used', false, 'running, but nobody measured how much was used'),
    ('idle_boot', 'idle', true, 'paid for before the node registered'),
    ('idle_startup', 'idle', true, 'registered, but no workload has started yet'),
    ('idle_unpacked', 'idle', true, 'free beside a running workload'),
    ('idle_gap', 'idle', true, 'free between workloads'),
    ('idle_tail', 'idle', true, 'free after the last workload of a machine that has ended'),
    ('unobserved', 'unobserved', false, 'nobody watched, and no pod is known to have held it'),
] %}
{% for category, category_group, is_waste, description in categories %}
select
    '{{ category }}' as cost_category,
    cast({{ loop.index }} as bigint) as position,
    '{{ category_group }}' as category_group,
    {{ 'true' if is_waste else 'false' }} as is_waste,
    '{{ description }}' as description
{% if not loop.last %}union all{% endif %}
{% endfor %}
