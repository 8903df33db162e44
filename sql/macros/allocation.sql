{# The rows of a model that this build has to look at, or all of them: `build` has a view of the same name. #}
{% macro touched(name) %}
{%- set whole = ref(name) -%}
{%- if var('all_hours') -%}{{ whole }}{%- else -%}{{ source('build', name) }}{%- endif -%}
{% endmacro %}

{# The facts of a table that this build has to look at, or all of them. #}
{% macro touched_facts(name) %}
{%- set whole = source('lake', name) -%}
{%- if var('all_hours') -%}{{ whole }}{%- else -%}{{ source('build', name) }}{%- endif -%}
{% endmacro %}

{# The facts of a table that are new in this build, or all of them. #}
{% macro new_facts(name) %}
{%- set whole = source('lake', name) -%}
{%- if var('all_hours') -%}{{ whole }}{%- else -%}{{ source('build', 'new_' ~ name) }}{%- endif -%}
{% endmacro %}

{# Before all facts are read again nothing may be left of the last time; a build that reads new facts only adds to it. #}
{% macro forget_all() %}{% if var('all_hours') %}{{ forget('', []) }}{% endif %}{% endmacro %}

{# The hours of the reporting weeks that this build computes. #}
{% macro touched_calendar() %}
{%- set whole = source('build', 'calendar') -%}
{%- if var('all_hours') -%}{{ whole }}{%- else -%}{{ source('build', 'touched_calendar') }}{%- endif -%}
{% endmacro %}

{# The machine-hours that this build computes: those that it found to have changed, or all of them. #}
{% macro dirty_hours(table='dirty_hours') %}
{%- if var('all_hours') -%}
(select cluster, machine, {{ hours('start_ms', 'end_ms') }} as hour_start_ms from {{ ref('int_machines') }})
{%- else -%}
{{ source('build', table) }}
{%- endif -%}
{% endmacro %}

{# Of what a running pod asked for in an hour, the part of the time in which its usage was measured. #}
{% macro measured(requested, measured_ms, type) %}case when {{ measured_ms }} is null then cast(0 as {{ type }}) when {{ measured_ms }} >= held_ms - stuck_ms - starting_ms - terminating_ms then {{ requested }} else cast({{ wide_idiv('cast(' ~ requested ~ ' as decimal(38,0)) * cast(' ~ measured_ms ~ ' as decimal(19,0))', 'cast(held_ms - stuck_ms - starting_ms - terminating_ms as decimal(38,0))') }} as {{ type }}) end{% endmacro %}

{# What a running pod is charged for by `vars: allocation_basis`; request where, and while, usage is unknown. #}
{% macro charged(requested, measured, used) %}
{%- if var('allocation_basis') == 'max' -%}{{ requested }} - {{ measured }} + greatest({{ measured }}, coalesce({{ used }}, {{ measured }}))
{%- elif var('allocation_basis') == 'usage' -%}{{ requested }} - {{ measured }} + coalesce({{ used }}, {{ measured }})
{%- elif var('allocation_basis') == 'request' -%}{{ requested }}
{%- else -%}{{ exceptions.raise_compiler_error("allocation_basis must be max, request or usage, not " ~ var('allocation_basis')) }}
{%- endif -%}
{% endmacro %}

{# prorate that yields zero (or NULL where the amount is unknown) when there is no whole to share. Most parts are zero:
   asking for that first spares the division. #}
{% macro share(amount, part, whole) %}case when {{ part }} <> 0 and {{ whole }} > 0 then {{ prorate(amount, part, whole) }} else {{ amount }} - {{ amount }} end{% endmacro %}

{# Of what a running pod pays, the part of the time in which nobody measured it. #}
{% macro unmetered_part(paid, requested, measured, charged, used) %}case when {{ used }} is null then {{ paid }} else {{ share(paid, requested ~ ' - ' ~ measured, charged) }} end{% endmacro %}

{# Of what a running pod pays for measured time, the part it used: all of it when it asked for nothing, NULL when usage is unknown. #}
{% macro used_part(paid, requested, used) %}case when {{ used }} is null then cast(null as bigint) when {{ used }} >= {{ requested }}{% if var('allocation_basis') == 'usage' %} or true{% endif %} then {{ paid }} else {{ prorate(paid, 'least(' ~ used ~ ', ' ~ requested ~ ')', requested) }} end{% endmacro %}

{# Free resource-time of one kind of idle: capacity of its time, less reservations and system pods spread over registered time. #}
{% macro free_time(capacity, overhead, kind_ms, registered_ms, up_ms) %}greatest({{ wide_idiv('cast(' ~ capacity ~ ' as decimal(38,0)) * cast(' ~ kind_ms ~ ' as decimal(19,0))', up_ms) }} - case when {{ registered_ms }} > 0 then {{ wide_idiv('cast(' ~ overhead ~ ' as decimal(38,0)) * cast(' ~ kind_ms ~ ' as decimal(19,0))', registered_ms) }} else cast(0 as decimal(38,0)) end, cast(0 as decimal(38,0))){% endmacro %}

{# Of what a pod claims in an hour, the part within `blind_ms`: what it asked for then, and of what it claims beyond its
   requests, or short of them, as large a part as of its time. #}
{% macro blind_claim(claim, requested, blind_requested) %}case when blind_ms = 0 then cast(0 as decimal(38,0)) when {{ claim }} >= {{ requested }} then cast({{ blind_requested }} as decimal(38,0)) + {{ wide_idiv('cast(' ~ claim ~ ' - (' ~ requested ~ ') as decimal(38,0)) * cast(blind_ms as decimal(19,0))', 'cast(held_ms as decimal(38,0))') }} else {{ wide_idiv('cast(' ~ claim ~ ' as decimal(38,0)) * cast(blind_ms as decimal(19,0))', 'cast(held_ms as decimal(38,0))') }} end{% endmacro %}

{# What of a pod's cost was waste: all that it ran for if its try failed or was lost, else what it asked for in vain. #}
{% macro wasted(pods, costs) %}case when {{ costs }}.cost_nano is null then cast(null as bigint) when {{ pods }}.pod_class <> 'workload' then cast(0 as bigint) when {{ pods }}.attempt_outcome in ('failed', 'lost') then {{ costs }}.stuck_nano + {{ costs }}.running_nano else {{ costs }}.stuck_nano + {{ costs }}.unused_nano end{% endmacro %}

{# When a pod was over: when it released its machine, or was deleted before it had one. #}
{% macro over_ms(pods) %}coalesce({{ pods }}.released_ms, case when {{ pods }}.bound_ms is null and {{ pods }}.end_reason is not null then coalesce({{ pods }}.deletion_requested_ms, {{ pods }}.created_ms) end){% endmacro %}
