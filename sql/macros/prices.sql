{# What `vars: discounts` takes off a machine's list price at an instant, in parts per million: the first that matches. #}
{% macro discount(machines, instant) %}
{%- if var('discounts') | length == 0 -%}cast(0 as bigint){%- else -%}
case
{%- for entry in var('discounts') %} when {{ instant }} >= {{ entry.valid_from_ms }}
{%- for column in ['provider', 'region', 'capacity_type', 'pool'] %}{% if entry[column] %} and {{ machines }}.{{ column }} = {{ quoted(entry[column]) }}{% endif %}{% endfor %}
{%- if entry.instance_type %} and {{ machines }}.instance_type = {{ quoted(entry.instance_type) }}{% endif %}
{%- if entry.family %} and substr({{ machines }}.instance_type, 1, {{ entry.family | length }}) = {{ quoted(entry.family) }}{% endif %} then cast({{ entry.parts_per_million }} as bigint)
{%- endfor %} else cast(0 as bigint) end
{%- endif -%}
{% endmacro %}
