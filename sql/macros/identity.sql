{#
Identity rules are data (`vars: builtin_identity_rules`, and a user's own `identity_rules` before them),
unrolled here into one expression per field. A rule names its system, the field it fills, where it looks
(`source`: label, annotation, namespace, pod_name, owner_kind, owner_name), the `key` there and, if only a part counts, a
`pattern` whose first group is the value. Rules of the system `any` apply whatever the system is.
#}
{% macro rule_value(rule) %}
{%- if rule.source == 'label' -%}
{%- set value = 'labels[' ~ quoted(rule.key) ~ ']' -%}
{%- elif rule.source == 'annotation' -%}
{%- set value = 'annotations[' ~ quoted(rule.key) ~ ']' -%}
{%- elif rule.source in ['namespace', 'pod_name', 'owner_kind', 'owner_name'] -%}
{%- set value = rule.source -%}
{%- else -%}
{{ exceptions.raise_compiler_error("identity rule for " ~ rule.system ~ "." ~ rule.field ~ ": source must be label, annotation, namespace, pod_name, owner_kind or owner_name, not " ~ rule.source) }}
{%- endif -%}
{%- if rule.pattern -%}nullif(regexp_extract({{ value }}, {{ quoted(rule.pattern) }}, 1), ''){%- else -%}nullif({{ value }}, ''){%- endif -%}
{% endmacro %}

{# The name of the system that made the pod: that of the first `system` rule that finds something. #}
{% macro identity_system() %}
case
{%- for rule in var('identity_rules') %}{% if rule.field == 'system' %} when {{ rule_value(rule) }} is not null then {{ quoted(rule.system) }}{% endif %}{% endfor %}
{%- for rule in var('builtin_identity_rules') %}{% if rule.field == 'system' %} when {{ rule_value(rule) }} is not null then {{ quoted(rule.system) }}{% endif %}{% endfor %} end
{% endmacro %}

{# The value of one field: that of the first rule of the pod's system, or of any system, that finds something. #}
{% macro identity_field(field) %}
coalesce(
{%- for rule in var('identity_rules') %}{% if rule.field == field %}case when {% if rule.system == 'any' %}true{% else %}system = {{ quoted(rule.system) }}{% endif %} then {{ rule_value(rule) }} end, {% endif %}{% endfor %}
{%- for rule in var('builtin_identity_rules') %}{% if rule.field == field %}case when {% if rule.system == 'any' %}true{% else %}system = {{ quoted(rule.system) }}{% endif %} then {{ rule_value(rule) }} end, {% endif %}{% endfor %}cast(null as string))
{% endmacro %}

{# The team that a declared mapping names, NULL where none does; mappings are asked in order. #}
{% macro mapped_team() %}
{%- if var('team_mappings') | length == 0 -%}cast(null as string){%- else -%}
case{% for mapping in var('team_mappings') %} when {% if mapping.pipeline is defined and mapping.pipeline %}pods.pipeline = {{ quoted(mapping.pipeline) }} and {% endif %}{% if mapping.namespace is defined and mapping.namespace %}pods.namespace = {{ quoted(mapping.namespace) }} and {% endif %}pods.start_ms >= {{ mapping.valid_from_ms | default(0) }} then {{ quoted(mapping.team) }}{% endfor %} end
{%- endif -%}
{% endmacro %}
