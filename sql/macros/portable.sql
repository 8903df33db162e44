{# Every difference between engines lives here, dispatched to duckdb.sql and spark.sql. #}
{# Milliseconds since 1970 of a timestamp without zone. #}
{% macro ms(instant) %}{{ return(adapter.dispatch('ms')(instant)) }}{% endmacro %}
{# Timestamp without zone of milliseconds since 1970. #}
{% macro at(milliseconds) %}{{ return(adapter.dispatch('at')(milliseconds)) }}{% endmacro %}
{# One row per UTC hour that [start_ms, end_ms) touches: the start of the hour. #}
{% macro hours(start_ms, end_ms) %}{{ return(adapter.dispatch('hours')(start_ms, end_ms)) }}{% endmacro %}
{# amount * part / whole in 128 bits, truncated; fails unless 0 <= part <= whole and whole > 0. #}
{% macro prorate(amount, part, whole) %}{{ return(adapter.dispatch('prorate')(amount, part, whole)) }}{% endmacro %}
{# Integer division of BIGINTs, truncated toward zero. #}
{% macro idiv(dividend, divisor) %}{{ return(adapter.dispatch('idiv')(dividend, divisor)) }}{% endmacro %}
{# Integer division of DECIMAL(38,0)s, truncated toward zero; never `idiv`, which some engine would compute in floating point. #}
{% macro wide_idiv(dividend, divisor) %}{{ return(adapter.dispatch('wide_idiv')(dividend, divisor)) }}{% endmacro %}
{# Last item of a list, NULL when it is empty or NULL. #}
{% macro last_item(list) %}{{ return(adapter.dispatch('last_item')(list)) }}{% endmacro %}
{# The smallest value that at least this fraction of the rows does not exceed, as BIGINT; no interpolation. #}
{% macro percentile(column, fraction) %}cast(percentile_disc({{ fraction }}) within group (order by {{ column }}) as bigint){% endmacro %}
{# UTC date of milliseconds since 1970. #}
{% macro date_of(milliseconds) %}cast({{ at(milliseconds) }} as date){% endmacro %}
{# US dollars with nine decimals of nano-dollars. #}
{% macro usd(nano) %}cast(cast({{ nano }} as decimal(19,0)) * cast(0.000000001 as decimal(9,9)) as decimal(18,9)){% endmacro %}
{# Nano-dollars of US dollars. #}
{% macro nano(dollars) %}cast(cast({{ dollars }} as decimal(27,9)) * cast(1000000000 as decimal(10,0)) as bigint){% endmacro %}
{# How long [a_start, a_end) and [b_start, b_end) overlap, in the unit of their ends. #}
{% macro overlap(a_start, a_end, b_start, b_end) %}greatest(least({{ a_end }}, {{ b_end }}) - greatest({{ a_start }}, {{ b_start }}), cast(0 as bigint)){% endmacro %}
{# A text as an SQL literal. #}
{% macro quoted(text) %}'{{ text | replace("'", "''") }}'{% endmacro %}
{# Drops the rows that this build computes anew: those with the keys in `dirty`, a table of `build`, or all of them. #}
{% macro forget(dirty, keys) %}{{ return(adapter.dispatch('forget')(dirty, keys)) }}{% endmacro %}
{# One row per UTC day that [start_ms, end_ms) touches: the start of the day. #}
{% macro days(start_ms, end_ms) %}{{ return(adapter.dispatch('days')(start_ms, end_ms)) }}{% endmacro %}
{# A quotient with six decimals, truncated; NULL without a whole. Never for money. #}
{% macro ratio(part, whole) %}cast(cast({{ wide_idiv('cast(' ~ part ~ ' as decimal(38,0)) * cast(1000000 as decimal(38,0))', 'nullif(cast(' ~ whole ~ ' as decimal(38,0)), 0)') }} as decimal(18,0)) * cast(0.000001 as decimal(6,6)) as decimal(18,6)){% endmacro %}
{# Marks a `with` query that is read several times and costly: it is computed once. Spark decides that by itself. #}
{% macro once() %}{{ return(adapter.dispatch('once')()) }}{% endmacro %}
{# A text that tells any two different maps or lists apart; its order means nothing. #}
{% macro content(nested) %}{{ return(adapter.dispatch('content')(nested)) }}{% endmacro %}
{# A map of texts as a JSON object; NULL where there is none. #}
{% macro json_of(map) %}{{ return(adapter.dispatch('json_of')(map)) }}{% endmacro %}
{# A text without what a pattern matches. #}
{% macro replace_all(text, pattern) %}{{ return(adapter.dispatch('replace_all')(text, pattern)) }}{% endmacro %}
{# Item of a list by number from 1, NULL beyond its end. #}
{% macro item(list, number) %}{{ return(adapter.dispatch('item')(list, number)) }}{% endmacro %}
{# How many items a list has. #}
{% macro size_of(nested) %}{{ return(adapter.dispatch('size_of')(nested)) }}{% endmacro %}
{# One row per item of a list; none for an empty one, or NULL. One in a select, and alone in its query. #}
{% macro unfold(list) %}{{ return(adapter.dispatch('unfold')(list)) }}{% endmacro %}
{# Walks a list of `steps_back` from its first: each next one is the one with the `tried_number` of the last, or else the first that had ended when the last began. Numbers of those met. #}
{% macro walk_back(list) %}{{ return(adapter.dispatch('walk_back')(list)) }}{% endmacro %}
{# A list of rows with `number`, `end_ms`, `start_ms` and `tried_number`, in the order of their numbers. #}
{% macro steps_back(number, end_ms, start_ms, tried_number) %}{{ return(adapter.dispatch('steps_back')(number, end_ms, start_ms, tried_number)) }}{% endmacro %}
{# Attodollars (18 decimals) of an amount of a bill, as DECIMAL(38,0): whole and fraction apart, because the product of both would not fit. #}
{% macro atto(amount) %}(cast(floor({{ amount }}) as decimal(19,0)) * cast(1000000000000000000 as decimal(19,0)) + cast(cast({{ amount }} % 1 + case when {{ amount }} % 1 < 0 then 1 else 0 end as decimal(18,18)) * cast(1000000000000000000 as decimal(19,0)) as decimal(38,0))){% endmacro %}
{# SHA-256 of the lines of a group in their order, one below the other, as hexadecimal text. #}
{% macro digest(line) %}{{ return(adapter.dispatch('digest')(line)) }}{% endmacro %}
