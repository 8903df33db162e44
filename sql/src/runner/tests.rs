use std::time::{Duration, Instant};

use super::*;

const SETTINGS: &str = "
name: shop
vars:
  basis: max
  rules:
    - {key: team, source: label}
    - {key: owner, source: annotation, pattern: '^a'}
models:
  shop:
    staging: {+materialized: view, +schema: staging}
    marts: {+materialized: table, +schema: marts}
";
const SOURCES: &str = "
sources:
  - name: lake
    schema: raw
    tables:
      - name: pod_states
        columns: [{name: uid, data_tests: [not_null]}]
";
const MACROS: &str = "
{# doubled {{ not rendered }} #}
{% macro twice(x) %}{{ return(adapter.dispatch('twice')(x)) }}{% endmacro %}
{% macro duckdb__twice(x) %}
(
    {{ x }}
    + {{ x }}
)
{% endmacro %}
{% macro spark__twice(x) %}{% set r = run_query('select 1') %}{{ x.strip() }}{% endmacro %}
{% macro source(a, b) %}{{ return('never') }}{% endmacro %}
{% macro forget() %}{% if is_incremental() %}delete from {{ this }} where id >= 2{% endif %}{% endmacro %}
{% macro chosen() %}{% for rule in var('rules') %}{% if rule.pattern %}{{ return([rule.key, loop.last]) }}{% endif %}{% endfor %}{% endmacro %}
{% macro no() %}{{ return(false) }}{% endmacro %}
{% macro fails(x) %}

{{ exceptions.raise_compiler_error('bad ' ~ x) }}{% endmacro %}
{% macro endless(x) %}{{ endless(x) }}{% endmacro %}
";

fn project(files: &[(&str, &str)]) -> Result<Project> {
    let base = [
        ("dbt_project.yml", SETTINGS),
        ("models/staging/sources.yml", SOURCES),
        ("macros/all.sql", MACROS),
    ];
    let files = base
        .iter()
        .chain(files)
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Project::from_files(files)
}

fn sql(text: &str) -> String {
    let project = project(&[("models/marts/m.sql", text)]).unwrap();
    Runner::new(&project).unwrap().compile("m", false).unwrap().sql
}

fn refused(text: &str) -> String {
    let project = match project(&[("models/marts/m.sql", text)]) {
        Ok(project) => project,
        Err(error) => return error.to_string(),
    };
    Runner::new(&project).unwrap_err().to_string()
}

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection
            .execute_batch("create schema raw; create table raw.pod_states as select * from (values (1, 'a'), (2, 'b')) t(uid, n)")
            .unwrap();
    connection
}

fn count(connection: &Connection, relation: &str) -> i64 {
    connection
        .query_row(&format!("select count(*) from {relation}"), [], |row| row.get(0))
        .unwrap()
}

#[test]
fn dbt_names_render_as_dbt_renders_them() {
    let table = [
        ("{{ source('lake', 'pod_states') }}", "raw.pod_states"),
        ("{{ builtins.source('lake', 'pod_states') }}", "raw.pod_states"),
        (
            "{{ this }} {{ this.schema }} {{ this.name }} {{ this ~ '_x' }}",
            "marts.m marts m marts.m_x",
        ),
        ("{{ var('basis') }} {{ var('missing', 7) }}", "max 7"),
        ("{{ target.type }} {{ target.name }}", "duckdb embedded"),
        (
            "{{ config(schema='other') }}{{ config.get('schema') }} {{ config.get('x', 'y') }}",
            "other y",
        ),
        ("{% if execute and not is_incremental() %}yes{% endif %}", "yes"),
        (
            "{% for rule in var('rules') %}{{ rule.key | replace('e', \"'\") }}{{ ',' if not loop.last }}{% endfor %}",
            "t'am,own'r",
        ),
        (
            "{% set n = namespace(sum=0) %}{% for i in [1, 2] %}{% set n.sum = n.sum + i %}{% endfor %}{{ n.sum }}",
            "3",
        ),
        (
            "{{ chosen()[0] }} {{ chosen()[1] }} {% if no() %}true{% else %}false{% endif %}",
            "owner True false",
        ),
        (
            "{{ env_var('PODLEDGER_NO_SUCH', 'd') }}{{ log('x') }}{{ none is none }}{{ None is none }}",
            "dTrueTrue",
        ),
        ("{{ (var('rules') | length) ~ ('A' | lower) }}", "2a"),
    ];
    for (text, expected) in table {
        assert_eq!(sql(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_rendered_names_file_and_line() {
    let table = [
        (
            "select\n{{ ref('gone') }}",
            "models/marts/m.sql:2: there is no model `gone`",
        ),
        (
            "\n\n{{ source('lake', 'gone') }}",
            "models/marts/m.sql:3: there is no source `lake.gone` in a .yml under models/",
        ),
        (
            "{{ var('gone') }}",
            "models/marts/m.sql:1: variable `gone` is not set in dbt_project.yml and has no default",
        ),
        (
            "\n{{ gone }}",
            "models/marts/m.sql:2: undefined value: `gone` is undefined",
        ),
        (
            "\n{% if %}",
            "models/marts/m.sql:2: syntax error: unexpected end of block",
        ),
        (
            "\n{{ fails('x') }}",
            "models/marts/m.sql:2: bad x in macro `fails` at macros/all.sql:17",
        ),
        (
            "{{ gone() }}",
            "models/marts/m.sql:1: unknown function: gone is unknown",
        ),
        (
            "\n{{ adapter.dispatch('gone')(1) }}",
            "models/marts/m.sql:2: there is no macro `duckdb__gone` or `default__gone`",
        ),
        (
            "\n{{ return(1) }}",
            "models/marts/m.sql:2: return() outside of a macro",
        ),
        (
            "\n{% do return(1) %}",
            "models/marts/m.sql:2: `do return` has no effect in the embedded runner; remove it",
        ),
        (
            "{% set x =\n run_query('x') %}",
            "models/marts/m.sql:1: `run_query` has no effect in the embedded runner; remove it",
        ),
        (
            "\n{%- call  statement('x') -%}{% endcall %}",
            "models/marts/m.sql:2: `call statement` has no effect in the embedded runner; remove it",
        ),
        (
            "\n{{ config(materialized='seed') }}",
            "models/marts/m.sql:2: materialized must be view, table or incremental, not `seed`",
        ),
        (
            "{{ config(unique_key='id') }}",
            "models/marts/m.sql:1: config `unique_key` is not offered by the embedded runner",
        ),
        (
            "\nfrom {{ ref('m') }}",
            "models/marts/m.sql:2: references form a cycle: m -> m (a model names itself by `this`)",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refused(text), expected, "{text}");
    }
    assert!(refused("{{ endless(1) }}").contains("macro `endless` calls itself without end"));
}

#[test]
fn models_run_after_what_they_refer_to_even_only_incrementally() {
    let project = project(&[
            ("models/marts/a.sql", "select * from {{ ref('z') }} join {{ ref('b') }} using (id)"),
            ("models/marts/b.sql", "{{ config(materialized='incremental') }}select 1 as id{% if is_incremental() %} from {{ ref('c') }}{% endif %}"),
            ("models/staging/c.sql", "select 1 as id"),
            ("models/staging/d.sql", "select 1 as id"),
            ("models/marts/z.sql", "select 1 as id from {{ ref('shop', 'd') }}"),
        ]).unwrap();
    let runner = Runner::new(&project).unwrap();
    assert_eq!(runner.models().collect::<Vec<_>>(), ["c", "d", "b", "z", "a"]);
    assert_eq!(runner.ancestors("a"), ["c", "d", "b", "z"]);
    assert_eq!(runner.ancestors("z"), ["d"]);
    assert!(runner.ancestors("gone").is_empty());
    let compiled = runner.compile("b", true).unwrap();
    assert_eq!(compiled.sql, "select 1 as id from staging.c");
    assert_eq!(compiled.depends_on, ["c"]);
    assert_eq!(compiled.materialized, Materialization::Incremental);
}

#[test]
fn a_cycle_names_its_models_and_the_line_of_the_reference() {
    let project = project(&[
        ("models/marts/a.sql", "select *\nfrom {{ ref('b') }}"),
        ("models/marts/b.sql", "select * from {{ ref('c') }}"),
        ("models/marts/c.sql", "select * from {{ ref('b') }}"),
    ])
    .unwrap();
    let error = Runner::new(&project).unwrap_err().to_string();
    assert_eq!(
        error,
        "models/marts/b.sql:1: references form a cycle: b -> c -> b (a model names itself by `this`)"
    );
}

#[test]
fn variables_given_by_the_caller_win() {
    let files = [("models/marts/m.sql", "{{ var('basis') }} {{ var('new')[1].x }}")];
    let project = project(&files).unwrap();
    let project = project
        .with_var("basis", "usage".into())
        .with_var("new", serde_json::json!([1, {"x": 2.5}]));
    assert_eq!(
        Runner::new(&project).unwrap().compile("m", false).unwrap().sql,
        "usage 2.5"
    );
}

/// Every line says its number, so that whatever a template does to lines, the map must give it back.
#[test]
fn every_rendered_line_knows_its_line_in_the_model() {
    let text = "{{ config(\n    materialized='table'\n) }}\nL4 {# a\ncomment #} L5\n{% set x = [\n 1, 2] %}\n{%- for i in x %}\n    L9 {{ i }}\n    L10\n{%- endfor %}\n{% if execute %}{% else %}\nL13\n{% endif %}\nL15 {{ twice('p') }} L15\nL16 {{ twice(\n 'p') }} L17\n{{- twice('q') -}}\n   L19\n{% set block %}\nL21\n{% endset %}\nL23 {{ block }}\nL24";
    let (rendered, marks) = {
        let project = project(&[("models/marts/m.sql", text)]).unwrap();
        let runner = Runner::new(&project).unwrap();
        let compiled = runner.compile("m", false).unwrap();
        (compiled.sql, compiled.lines)
    };
    assert!(!rendered.contains(['\u{1}', '\u{2}']));
    let found: Vec<(usize, usize)> = rendered
        .match_indices('L')
        .map(|(at, _)| {
            let digits: String = rendered[at + 1..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            (digits.parse().unwrap(), marks.line(at))
        })
        .collect();
    assert_eq!(found.len(), 14, "{rendered}");
    for (said, line) in found {
        assert_eq!(said, line, "{rendered}");
    }
}

#[test]
fn an_error_below_a_macro_of_many_lines_is_reported_at_its_line_in_the_model() {
    let text = "-- grain: pod\nselect\n    {% for i in [1, 2, 3] %}\n    uid as u{{ i }},\n    {% endfor %}\n    {{ twice('uid') }} as doubled,\n    boom\nfrom {{ source('lake', 'pod_states') }}\n";
    for folder in ["staging", "marts"] {
        let file = format!("models/{folder}/m.sql");
        let project = project(&[(&file, text)]).unwrap();
        let error = Runner::new(&project)
            .unwrap()
            .run_model(&database(), "m", false)
            .unwrap_err();
        let Error::Model {
            file: named,
            line,
            message,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((named, line), (file, 7), "{message}");
        assert!(
            message.starts_with("Binder Error: Referenced column \"boom\" not found"),
            "{message}"
        );
        assert!(message.ends_with("\n      boom\n      ^^^^"), "{message}");
    }
}

#[test]
fn an_error_inside_a_macro_is_reported_where_the_model_calls_it() {
    let far = "uid, ".repeat(60);
    let table = [
        (
            "select\n{{ twice('boom') }} as x,\nuid from raw.pod_states".to_owned(),
            2,
        ),
        (
            format!("select\nuid, {{{{ twice(\n'uid') }}}} as x, {far} boom, {far} uid\nfrom raw.pod_states"),
            3,
        ),
        ("select\n\n1 as a 2 as b".to_owned(), 3),
        ("select 1\nfrom raw.pod_states where (uid = 1\n".to_owned(), 2),
    ];
    for (text, expected) in table {
        let project = project(&[("models/marts/m.sql", &text)]).unwrap();
        let error = Runner::new(&project)
            .unwrap()
            .run_model(&database(), "m", false)
            .unwrap_err();
        let Error::Model { line, message, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(line, expected, "{message}");
    }
}

#[test]
fn an_error_of_a_running_query_names_the_file() {
    let project = project(&[(
        "models/marts/m.sql",
        "select 1 as a,\nerror('no ' || uid) as b from raw.pod_states",
    )])
    .unwrap();
    let error = Runner::new(&project)
        .unwrap()
        .run_model(&database(), "m", false)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("models/marts/m.sql:1: Invalid Input Error: no "),
        "{error}"
    );
}

const LEDGER: &str = "{{ config(\n  materialized='incremental',\n  incremental_strategy='append',\n  pre_hook=\"{{ forget() }}\"\n) }}\nselect n, uid as id from {{ source('lake', 'pod_states') }}\n{% if is_incremental() %}where uid >= 2{% endif %}";

#[test]
fn an_incremental_model_forgets_and_appends_and_a_full_refresh_starts_again() {
    let project = project(&[("models/marts/m.sql", LEDGER)]).unwrap();
    let runner = Runner::new(&project).unwrap();
    assert_eq!(runner.compile("m", false).unwrap().pre_hook, None);
    assert_eq!(
        runner.compile("m", true).unwrap().pre_hook.unwrap(),
        "delete from marts.m where id >= 2"
    );
    let connection = database();
    assert_eq!(
        runner.compile("m", false).unwrap().materialized,
        Materialization::Incremental
    );
    runner.run_model(&connection, "m", false).unwrap();
    assert_eq!(count(&connection, "marts.m"), 2);
    connection
        .execute_batch("insert into raw.pod_states values (3, 'c'); insert into marts.m values ('old', 0)")
        .unwrap();
    runner.run_model(&connection, "m", false).unwrap();
    assert_eq!(count(&connection, "marts.m"), 4);
    runner.run_model(&connection, "m", true).unwrap();
    assert_eq!(count(&connection, "marts.m"), 3);
}

#[test]
fn a_failed_append_leaves_what_was_there() {
    let project = project(&[("models/marts/m.sql", LEDGER)]).unwrap();
    let runner = Runner::new(&project).unwrap();
    let connection = database();
    runner.run_model(&connection, "m", false).unwrap();
    connection
        .execute_batch("alter table raw.pod_states rename column n to label")
        .unwrap();
    assert!(
        runner
            .run_model(&connection, "m", false)
            .unwrap_err()
            .to_string()
            .starts_with("models/marts/m.sql:6: ")
    );
    assert_eq!(count(&connection, "marts.m"), 2);
}

#[test]
fn a_run_inside_the_callers_transaction_is_undone_with_it() {
    let project = project(&[("models/marts/m.sql", "select 1 as id")]).unwrap();
    let runner = Runner::new(&project).unwrap();
    let connection = database();
    connection.execute_batch("begin transaction").unwrap();
    runner.run_model(&connection, "m", false).unwrap();
    assert_eq!(count(&connection, "marts.m"), 1);
    connection.execute_batch("rollback").unwrap();
    assert_eq!(table_type(&connection, "marts", "m").unwrap(), None);
}

#[test]
fn a_model_may_change_between_view_and_table() {
    let connection = database();
    for (kind, present) in [
        ("view", "VIEW"),
        ("table", "BASE TABLE"),
        ("view", "VIEW"),
        ("incremental", "BASE TABLE"),
        ("table", "BASE TABLE"),
    ] {
        let text = format!("{{{{ config(materialized='{kind}') }}}}select 1 as id");
        let project = project(&[("models/marts/m.sql", &text)]).unwrap();
        Runner::new(&project)
            .unwrap()
            .run_model(&connection, "m", false)
            .unwrap();
        assert_eq!(
            table_type(&connection, "marts", "m").unwrap().as_deref(),
            Some(present)
        );
        assert_eq!(count(&connection, "marts.m"), 1);
    }
}

#[test]
fn failing_tests_say_what_they_guard_and_show_a_row() {
    let properties = "
models:
  - name: m
    columns:
      - {name: id, data_tests: [not_null, unique]}
      - name: kind
        tests:
          - accepted_values: {arguments: {values: [a, it's]}}
";
    let project = project(&[
        (
            "models/marts/m.sql",
            "select * from (values (1, 'a'), (1, 'it''s'), (null, 'c')) t(id, kind)",
        ),
        ("models/marts/marts.yml", properties),
        (
            "tests/kinds.sql",
            "-- No kind is c.\nselect kind,\n  kind from {{ ref('m') }} where kind = 'c' -- end",
        ),
        ("tests/fine.sql", "-- Fine.\nselect 1 where false"),
    ])
    .unwrap();
    let runner = Runner::new(&project).unwrap();
    let connection = database();
    runner.run_model(&connection, "m", false).unwrap();
    let failures: Vec<_> = runner
        .run_tests(&connection, TestedColumns::All, &|_| true, &mut |_| ())
        .unwrap()
        .into_iter()
        .map(|failure| (failure.name, failure.message, failure.rows, failure.sample))
        .collect();
    let expected = [
        ("kinds", "No kind is c.", 1, "{'kind': c, 'kind_1': c}"),
        (
            "not_null_marts_m_id",
            "marts.m.id is never null",
            1,
            "{'id': NULL, 'kind': c}",
        ),
        (
            "unique_marts_m_id",
            "marts.m.id is unique",
            1,
            "{'id': 1, 'occurrences': 2}",
        ),
        (
            "accepted_values_marts_m_kind",
            "marts.m.kind is one of 'a', 'it''s'",
            1,
            "{'kind': c, 'occurrences': 1}",
        ),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, message, rows, sample)| {
            (
                (*name).to_owned(),
                (*message).to_owned(),
                *rows,
                (*sample).to_owned(),
            )
        })
        .collect();
    assert_eq!(failures, expected);
}

#[test]
fn columns_of_views_are_tested_where_all_are() {
    let project = project(&[
        ("models/staging/v.sql", "select cast(null as int) as id"),
        (
            "models/staging/staging.yml",
            "models: [{name: v, columns: [{name: id, data_tests: [not_null]}]}]",
        ),
    ])
    .unwrap();
    let runner = Runner::new(&project).unwrap();
    let connection = database();
    runner.run_model(&connection, "v", false).unwrap();
    for (columns, expected) in [(TestedColumns::OfTables, 0), (TestedColumns::All, 1)] {
        let mut ran = 0;
        let failures = runner.run_tests(&connection, columns, &|name| name == "v", &mut |_| ran += 1);
        assert_eq!((failures.unwrap().len(), ran), (expected, expected));
    }
}

#[test]
fn a_test_that_cannot_run_names_its_line() {
    let project = project(&[("tests/broken.sql", "-- Nothing.\nselect 1\nfrom gone")]).unwrap();
    let error = Runner::new(&project)
        .unwrap()
        .run_tests(&database(), TestedColumns::All, &|_| true, &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("tests/broken.sql:3: Catalog Error"), "{error}");
}

#[test]
fn fifty_models_compile_in_no_time() {
    let files: Vec<(String, String)> = (0..50)
        .map(|number| {
            let calls = "    {{ twice('uid') }} as x,\n".repeat(30);
            (
                format!("models/marts/m{number}.sql"),
                format!("select\n{calls}    1 as y\nfrom {{{{ source('lake', 'pod_states') }}}}"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let project = project(&files).unwrap();
    let started = Instant::now();
    let runner = Runner::new(&project).unwrap();
    let parsed = started.elapsed();
    for name in runner.models().map(str::to_owned).collect::<Vec<_>>() {
        runner.compile(&name, false).unwrap();
    }
    println!("parsed in {parsed:?}, all in {:?}", started.elapsed());
    // A debug build is about ten times slower; the bound only catches a change of order.
    assert!(started.elapsed() < Duration::from_secs(5));
}
