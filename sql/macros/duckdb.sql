{% macro duckdb__ms(instant) %}(epoch_us({{ instant }}) // 1000){% endmacro %}
{% macro duckdb__at(milliseconds) %}make_timestamp(({{ milliseconds }}) * 1000){% endmacro %}
{% macro duckdb__hours(start_ms, end_ms) %}unnest(case when {{ end_ms }} > {{ start_ms }} then range({{ start_ms }} - {{ start_ms }} % 3600000, {{ end_ms }}, 3600000) end){% endmacro %}
{% macro duckdb__prorate(amount, part, whole) %}case when {{ part }} > {{ whole }} or {{ part }} < 0 then cast(error('part exceeds whole') as bigint) else cast((cast({{ amount }} as hugeint) * cast({{ part }} as hugeint)) // cast({{ whole }} as hugeint) as bigint) end{% endmacro %}
{% macro duckdb__idiv(dividend, divisor) %}(({{ dividend }}) // ({{ divisor }})){% endmacro %}
{% macro duckdb__last_item(list) %}list_extract({{ list }}, -1){% endmacro %}
{% macro duckdb__forget(dirty, keys) %}{% if is_incremental() %}delete from {{ this }} as old{% if not var('all_hours') %} using {{ source('build', dirty) }} as dirty where {% for key in keys %}old.{{ key }} = dirty.{{ key }}{% if not loop.last %} and {% endif %}{% endfor %}{% endif %}{% endif %}{% endmacro %}
{% macro duckdb__days(start_ms, end_ms) %}unnest(case when {{ end_ms }} > {{ start_ms }} then range({{ start_ms }} - {{ start_ms }} % 86400000, {{ end_ms }}, 86400000) end){% endmacro %}
{% macro duckdb__once() %}materialized{% endmacro %}
{% macro duckdb__content(nested) %}cast({{ nested }} as varchar){% endmacro %}
{% macro duckdb__json_of(map) %}case when {{ map }} is not null then cast(to_json({{ map }}) as varchar) end{% endmacro %}
{% macro duckdb__replace_all(text, pattern) %}regexp_replace({{ text }}, {{ pattern }}, '', 'g'){% endmacro %}
{% macro duckdb__item(list, number) %}list_extract({{ list }}, {{ number }}){% endmacro %}
{% macro duckdb__size_of(nested) %}len({{ nested }}){% endmacro %}
{% macro duckdb__wide_idiv(dividend, divisor) %}cast(cast({{ dividend }} as hugeint) // cast({{ divisor }} as hugeint) as decimal(38,0)){% endmacro %}
{% macro duckdb__unfold(list) %}unnest({{ list }}){% endmacro %}
{% macro duckdb__walk_back(list) %}list_reduce({{ list }}, lambda found, item: case when case when found.tried_number is null then item.end_ms <= found.start_ms else list_extract(item.numbers, 1) = found.tried_number end then struct_pack(end_ms := item.end_ms, start_ms := item.start_ms, tried_number := item.tried_number, numbers := list_concat(found.numbers, item.numbers)) else found end).numbers{% endmacro %}
{% macro duckdb__steps_back(number, end_ms, start_ms, tried_number) %}list(struct_pack(end_ms := {{ end_ms }}, start_ms := {{ start_ms }}, tried_number := {{ tried_number }}, numbers := [{{ number }}]) order by {{ number }}){% endmacro %}
{% macro duckdb__digest(line) %}sha256(string_agg({{ line }}, chr(10) order by {{ line }})){% endmacro %}
{% macro duckdb__json_text(text) %}cast(to_json(cast({{ text }} as varchar)) as varchar){% endmacro %}
