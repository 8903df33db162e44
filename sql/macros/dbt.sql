{#
What real dbt needs beside the models; the embedded runner does the same by itself and does not read these.
`vars: lake` is the folder of the lake, `vars: build` the folder of what a build hands to the models.
#}
{% macro generate_schema_name(custom_schema_name, node) %}{{ custom_schema_name or target.schema }}{% endmacro %}

{# A source is read where the lake is; `builtins.source` keeps the lineage. #}
{% macro source(source_name, table_name) %}
{%- do builtins.source(source_name, table_name) -%}
{{ return(adapter.dispatch('parquet_of')(var(source_name) ~ '/' ~ table_name)) }}
{% endmacro %}
{% macro duckdb__parquet_of(folder) %}read_parquet('{{ folder }}/**/*.parquet', hive_partitioning = false, union_by_name = true){% endmacro %}
{% macro spark__parquet_of(folder) %}parquet.`{{ folder }}`{% endmacro %}
