{#
Identity rules are data (`vars: builtin_identity_rules`, and a user's own `identity_rules` before them), unrolled here into
one expression per field. A rule names its `system`, the `field` it fills and where it looks (`source`):

  label, annotation              of the pod, by `key`
  owner, owner_uid               name or UID of the nearest owner of the kind `key`
  owner_label, owner_annotation  of the nearest owner that is known, else of the topmost, by `key`
  namespace_label                of the pod's namespace, by `key`
  namespace, pod_name            themselves
  constant                       `value`, always

If only a part counts, `pattern` has it as its first group; `replace` is replaced `by` something in what is found; `value`
stands for whatever is found. `parts` (each with source, key, pattern) joined by `separator` stand for one source; without
one of them there is no value. A built-in `system` rule may ask for another label beside (`with_label`). A rule applies to pods of its system, one of the system `any` to all.
#}
{% macro rule_part(part) %}
{%- if part.source == 'label' -%}
{%- set found = 'labels[' ~ quoted(part.key) ~ ']' -%}
{%- elif part.source == 'annotation' -%}
{%- set found = 'annotations[' ~ quoted(part.key) ~ ']' -%}
{%- elif part.source == 'owner' -%}
{%- set found = 'case owner_kind_1 when ' ~ quoted(part.key) ~ ' then owner_name_1 else case owner_kind_2 when ' ~ quoted(part.key) ~ ' then owner_name_2 else case owner_kind_3 when ' ~ quoted(part.key) ~ ' then owner_name_3 else case owner_kind_4 when ' ~ quoted(part.key) ~ ' then owner_name_4 end end end end' -%}
{%- elif part.source == 'owner_uid' -%}
{%- set found = 'case owner_kind_1 when ' ~ quoted(part.key) ~ ' then owner_uid_1 else case owner_kind_2 when ' ~ quoted(part.key) ~ ' then owner_uid_2 else case owner_kind_3 when ' ~ quoted(part.key) ~ ' then owner_uid_3 else case owner_kind_4 when ' ~ quoted(part.key) ~ ' then owner_uid_4 end end end end' -%}
{%- elif part.source == 'owner_label' -%}
{%- set found = 'coalesce(near_labels[' ~ quoted(part.key) ~ '], top_labels[' ~ quoted(part.key) ~ '])' -%}
{%- elif part.source == 'owner_annotation' -%}
{%- set found = 'coalesce(near_annotations[' ~ quoted(part.key) ~ '], top_annotations[' ~ quoted(part.key) ~ '])' -%}
{%- elif part.source == 'namespace_label' -%}
{%- set found = 'namespace_labels[' ~ quoted(part.key) ~ ']' -%}
{%- elif part.source in ['namespace', 'pod_name'] -%}
{%- set found = part.source -%}
{%- elif part.source == 'constant' -%}
{%- set found = quoted(part.value) -%}
{%- else -%}
{{ exceptions.raise_compiler_error("an identity rule's source must be label, annotation, owner, owner_uid, owner_label, owner_annotation, namespace_label, namespace, pod_name or constant, not " ~ part.source) }}
{%- endif -%}
{%- if part.pattern -%}nullif(regexp_extract({{ found }}, {{ quoted(part.pattern) }}, 1), ''){%- else -%}nullif({{ found }}, ''){%- endif -%}
{% endmacro %}

{# What a rule finds: a text, or NULL. #}
{% macro rule_value(rule) %}
{%- if rule.parts -%}
{%- for part in rule.parts -%}{{ rule_part(part) }}{% if not loop.last %} || {{ quoted(rule.separator) }} || {% endif %}{%- endfor -%}
{%- elif rule.value and rule.source != 'constant' -%}
case when {{ rule_part(rule) }} is not null then {{ quoted(rule.value) }} end
{%- elif rule.replace -%}
replace({{ rule_part(rule) }}, {{ quoted(rule.replace) }}, {{ quoted(rule.by) }})
{%- else -%}
{{ rule_part(rule) }}
{%- endif -%}
{% endmacro %}

{# Name of the column that says whether a system applies. #}
{% macro system_flag(system) %}is_{{ system | replace('-', '_') | replace('.', '_') | replace(' ', '_') }}{% endmacro %}

{# One column per system: whether any of its `system` rules finds something. #}
{% macro system_flags() %}
{%- for system in var('identity_systems') %}
        (false
{%- for rule in var('identity_rules') %}{% if rule.field == 'system' and rule.system == system %} or ({{ rule_value(rule) }} is not null){% endif %}{% endfor %}
{%- for rule in var('builtin_identity_rules') %}{% if rule.field == 'system' and rule.system == system %} or ({{ rule_value(rule) }} is not null{% if rule.with_label %} and labels[{{ quoted(rule.with_label) }}] is not null{% endif %}){% endif %}{% endfor %}) as {{ system_flag(system) }}{% if not loop.last %},{% endif %}
{%- endfor %}
{% endmacro %}

{# The name of the outermost system that applies. #}
{% macro identity_system() %}
case
{%- for system in var('identity_systems') %} when {{ system_flag(system) }} then {{ quoted(system) }}{% endfor %} end
{% endmacro %}

{# Whether a system's rules apply to a pod. `generic` has no say where any other system does. #}
{% macro system_applies(system) %}{% if system == 'generic' %}({{ identity_system() }}) = 'generic'{% else %}{{ system_flag(system) }}{% endif %}{% endmacro %}

{# The value of one field: that of the first rule of a system that applies, or of any, that finds something. #}
{% macro identity_field(field) %}
coalesce(
{%- for rule in var('identity_rules') %}{% if rule.field == field %}{% if rule.system != 'any' %}case when {{ system_applies(rule.system) }} then {{ rule_value(rule) }} end{% else %}{{ rule_value(rule) }}{% endif %}, {% endif %}{% endfor %}
{%- for rule in var('builtin_identity_rules') %}{% if rule.field == field %}{% if rule.system != 'any' %}case when {{ system_applies(rule.system) }} then {{ rule_value(rule) }} end{% else %}{{ rule_value(rule) }}{% endif %}, {% endif %}{% endfor %}cast(null as string))
{% endmacro %}

{# Number of the rule that decides a field, from 1, a user's own first; 0 where none finds anything. #}
{% macro identity_decider(field) %}
cast(case
{%- for rule in var('identity_rules') %}{% if rule.field == field %} when {% if rule.system != 'any' and field != 'system' %}{{ system_applies(rule.system) }} and {% endif %}{{ rule_value(rule) }} is not null then {{ loop.index }}{% endif %}{% endfor %}
{%- for rule in var('builtin_identity_rules') %}{% if rule.field == field %} when {% if rule.system != 'any' and field != 'system' %}{{ system_applies(rule.system) }} and {% endif %}{{ rule_value(rule) }} is not null then {{ loop.index + (var('identity_rules') | length) }}{% endif %}{% endfor %}
 else 0 end as bigint)
{% endmacro %}

{# How Airflow writes a text as a label: what a label may not hold is left out, and where that or its length changed it, a
   part of its MD5 is put behind (airflow/providers/cncf/kubernetes/kubernetes_helper_functions.py, make_safe_label_value). #}
{% macro airflow_label(text) %}case when {{ airflow_safe(text) }} <> {{ text }} or length({{ text }}) > 63 then substring({{ airflow_safe(text) }}, 1, 53) || '-' || substring(md5({{ text }}), 1, 9) else {{ text }} end{% endmacro %}
{% macro airflow_safe(text) %}{{ replace_all(replace_all(text, "'[^a-zA-Z0-9_.-]'"), "'^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$'") }}{% endmacro %}

{# The team that a declared mapping names, NULL where none does; mappings are asked in order. #}
{% macro mapped_team() %}
{%- if var('team_mappings') | length == 0 -%}cast(null as string){%- else -%}
case{% for mapping in var('team_mappings') %} when {% if mapping.pipeline is defined and mapping.pipeline %}identified.pipeline = {{ quoted(mapping.pipeline) }} and {% endif %}{% if mapping.namespace is defined and mapping.namespace %}pods.namespace = {{ quoted(mapping.namespace) }} and {% endif %}pods.start_ms >= {{ mapping.valid_from_ms | default(0) }} then {{ quoted(mapping.team) }}{% endfor %} end
{%- endif -%}
{% endmacro %}
