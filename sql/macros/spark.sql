{% macro spark__ms(instant) %}cast(cast(cast({{ instant }} - timestamp_ntz '1970-01-01 00:00:00' as interval second) as decimal(20,6)) * 1000 as bigint){% endmacro %}
{% macro spark__at(milliseconds) %}timestampadd(millisecond, {{ milliseconds }}, timestamp_ntz '1970-01-01 00:00:00'){% endmacro %}
{% macro spark__hours(start_ms, end_ms) %}explode(case when {{ end_ms }} > {{ start_ms }} then sequence({{ start_ms }} - {{ start_ms }} % 3600000, {{ end_ms }} - 1 - ({{ end_ms }} - 1) % 3600000, cast(3600000 as bigint)) end){% endmacro %}
{% macro spark__prorate(amount, part, whole) %}case when {{ part }} > {{ whole }} or {{ part }} < 0 then cast(raise_error('part exceeds whole') as bigint) else cast((cast({{ amount }} as decimal(38,0)) * cast({{ part }} as decimal(38,0))) div cast({{ whole }} as decimal(38,0)) as bigint) end{% endmacro %}
{% macro spark__idiv(dividend, divisor) %}(({{ dividend }}) div ({{ divisor }})){% endmacro %}
{% macro spark__last_item(list) %}try_element_at({{ list }}, -1){% endmacro %}
{% macro spark__days(start_ms, end_ms) %}explode(case when {{ end_ms }} > {{ start_ms }} then sequence({{ start_ms }} - {{ start_ms }} % 86400000, {{ end_ms }} - 1 - ({{ end_ms }} - 1) % 86400000, cast(86400000 as bigint)) end){% endmacro %}
{% macro spark__once() %}{% endmacro %}
{% macro spark__content(nested) %}to_json({{ nested }}){% endmacro %}
{% macro spark__json_of(map) %}to_json({{ map }}){% endmacro %}
{% macro spark__replace_all(text, pattern) %}regexp_replace({{ text }}, {{ pattern }}, ''){% endmacro %}
{% macro spark__item(list, number) %}get({{ list }}, {{ number }} - 1){% endmacro %}
{% macro spark__size_of(nested) %}size({{ nested }}){% endmacro %}
{# Spark cannot delete rows of Parquet: there a run is a full one. #}
{% macro spark__forget(dirty, keys) %}{% if is_incremental() %}{{ exceptions.raise_compiler_error("on Spark run with --full-refresh: rows of Parquet tables cannot be deleted") }}{% endif %}{% endmacro %}
{# `div` yields a BIGINT and wraps: what is divided here stays below 2^63 when divided. #}
{% macro spark__wide_idiv(dividend, divisor) %}cast(({{ dividend }}) div ({{ divisor }}) as decimal(38,0)){% endmacro %}
{% macro spark__unfold(list) %}explode({{ list }}){% endmacro %}
{% macro spark__walk_back(list) %}aggregate({{ list }}, named_struct('end_ms', cast(null as bigint), 'start_ms', cast(9000000000000000 as bigint), 'tried_number', cast(null as bigint), 'numbers', cast(array() as array<bigint>)), (found, item) -> case when case when found.tried_number is null then item.end_ms <= found.start_ms else get(item.numbers, 0) = found.tried_number end then named_struct('end_ms', item.end_ms, 'start_ms', item.start_ms, 'tried_number', item.tried_number, 'numbers', concat(found.numbers, item.numbers)) else found end, found -> found.numbers){% endmacro %}
{% macro spark__steps_back(number, end_ms, start_ms, tried_number) %}transform(array_sort(collect_list(named_struct('number', {{ number }}, 'end_ms', {{ end_ms }}, 'start_ms', {{ start_ms }}, 'tried_number', {{ tried_number }}))), item -> named_struct('end_ms', item.end_ms, 'start_ms', item.start_ms, 'tried_number', item.tried_number, 'numbers', array(item.number))){% endmacro %}
{% macro spark__digest(line) %}sha2(array_join(array_sort(collect_list({{ line }})), chr(10)), 256){% endmacro %}
{# Of `{"text":"..."}` what stands between the colon and the brace. #}
{% macro spark__json_text(text) %}substring(to_json(named_struct('text', {{ text }})), 9, length(to_json(named_struct('text', {{ text }}))) - 9){% endmacro %}
