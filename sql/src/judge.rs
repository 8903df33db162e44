//! The judge of analysts' SQL: whether one query may run, decided on the tree that DuckDB's own parser makes.
//!
//! ```text
//! text -> json_serialize_sql -> tree (-> values of parameters, names of PostgreSQL's catalogue) -> judge_tree -> Ok, or Refused with what is refused and the mend
//! ```
//!
//! Architecture invariant: what is not on a list in this file is refused, down to the single field of the
//! tree, so a DuckDB that learns a new clause is refused that clause until somebody reads it.
//!
//! Architecture invariant: the judge never reads SQL itself; it knows only the tree.
//!
//! Architecture invariant: the judge does not bound time or memory (`repeat('x', 3e9)`, `range(1e15)`, a text
//! of three thousand open brackets, on which the parser alone spends ten seconds); the limits of the process
//! do, so the judge must run inside the process that they bind.
//!
//! Architecture invariant: the judge does not know which tables exist. DuckDB looks an unqualified name up in
//! the schemas `temp`, `marts` and `main` and in its own catalogue when `search_path` is `marts`: the session
//! must keep the first and the third empty.

use serde_json::{Map, Value};

use crate::{Doing, Error, catalogue};

/// The longest text of a query: 64 KiB = 64 * 1,024 bytes.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;

/// The only schema whose tables may be named.
const SCHEMA: &str = "marts";

/// The functions that may stand in a FROM clause.
const TABLE_FUNCTIONS: [&str; 3] = ["range", "generate_series", "unnest"];

/// How the views of DuckDB's catalogue begin that are found without naming their schema.
const CATALOGUE_PREFIXES: [&str; 4] = ["duckdb_", "pg_", "pragma_", "sqlite_"];

/// The classes of expressions, of `ExpressionClass` in DuckDB's `expression_type.hpp`.
///
/// Absent are PARAMETER and DEFAULT, and the classes that only a binder makes.
const EXPRESSIONS: &str = "\
     BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR \
     POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW";

/// The types of expressions of class OPERATOR.
const OPERATORS: &str = "\
     ARRAY_CONSTRUCTOR ARRAY_EXTRACT ARRAY_SLICE ARROW COMPARE_IN COMPARE_NOT_IN GROUPING_FUNCTION \
     OPERATOR_COALESCE OPERATOR_IS_NOT_NULL OPERATOR_IS_NULL OPERATOR_NOT OPERATOR_NULLIF OPERATOR_TRY \
     OPERATOR_UNPACK STRUCT_EXTRACT";

/// The types of query nodes, table references, modifiers and orders that need no look at their fields.
const NODES: &str = "\
     SELECT_NODE SET_OPERATION_NODE CTE_NODE RECURSIVE_CTE_NODE SUBQUERY JOIN EXPRESSION_LIST EMPTY \
     DISTINCT_MODIFIER LIMIT_MODIFIER ORDER_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING";

/// The fields of all these, from DuckDB's `src/storage/serialization`.
///
/// Absent are those of data-modifying nodes, of time travel (`at (version => ...)`) and of the forms written
/// for storage versions before 2.0, which leave parts of the query out.
const FIELDS: &str = "\
     aggregate_handling aggregates alias aliases arg_orders arguments at_clause case_checks catalog \
     catalog_name child children class collation column column_name_alias column_names columns \
     comparison_type condition cte_map cte_name default_expr delim_flipped distinct distinct_on_targets \
     duplicate_eliminated_columns else_expr end end_expr entries exclude_clause exclude_list expected_names \
     expected_types export_state expr expression filter filter_expr from_table function function_name \
     group_expressions group_sets groups has_ignore_nulls having id ignore_nulls include_nulls index input \
     is_implicit is_null is_operator is_percentage join_type key key_targets kind left lhs limit limit_type \
     literal lower map materialized method modifiers name named_param_map nearest_approx nearest_count \
     nearest_order_type node null_order offset offset_expr order_bys orders partitions path \
     payload_aggregates pivot_enum pivot_expressions pivots qualified_exclude_list qualified_name qualify \
     query query_location query_location_length query_node ranking_expression ref_type relation_name \
     rename_list repeatable replace_list right sample sample_rate sample_size schema schema_name seed \
     select_list setop_all setop_type source star_expr start start_expr subquery subquery_type syntax_type \
     table table_name text then_expr try_cast type type_expr type_info type_name union_all unpivot_names \
     upper using_columns value values when_expr where_clause with_ordinality";

/// The scalar, aggregate and window functions and the macros that compute from their arguments alone.
///
/// They are those of `duckdb_functions()` in DuckDB 2.0.0 less the ones that the test
/// `functions_are_those_of_duckdb_less_the_refused` takes away and says why.
const FUNCTIONS: &str = "\
     != !__postfix !~~ !~~* % & && * ** + - ->> / // < <-> << <= <=> <@ = > >= >> @ @> ^ ^@ abs acos acosh \
     add age aggregate ago any_value apply approx_count_distinct approx_quantile approx_top_k arbitrary \
     arg_max arg_max_null arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin \
     array_agg array_aggr array_aggregate array_append array_apply array_cat array_concat array_contains \
     array_cosine_distance array_cosine_similarity array_cross_product array_distance array_distinct \
     array_dot_product array_extract array_filter array_grade_up array_has array_has_all array_has_any \
     array_indexof array_inner_product array_intersect array_length array_negative_dot_product \
     array_negative_inner_product array_pop_back array_pop_front array_position array_prepend \
     array_push_back array_push_front array_reduce array_resize array_reverse array_reverse_sort \
     array_select array_slice array_sort array_to_json array_to_string array_to_string_comma_default \
     array_transform array_unique array_value array_where array_zip ascii asin asinh assert_true atan atan2 \
     atanh avg bar base64 bin binom bit_and bit_count bit_length bit_or bit_position bit_xor bitstring \
     bitstring_agg bool_and bool_or cardinality cbrt ceil ceiling century char_length character_length chr \
     concat concat_ws contains corr cos cosh cot count count_if count_star countif covar_pop covar_samp \
     cume_dist current_date current_localtime current_localtimestamp damerau_levenshtein date_add date_diff \
     date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek \
     dayofyear days_in_month decade decimal_average decimal_division decode degrees dense_rank divide \
     editdist3 element_at encode ends_with entropy enum_code enum_first enum_last enum_range \
     enum_range_boundary epoch epoch_ms epoch_ns epoch_us equi_width_bins era error even exp factorial favg \
     fdiv fill filter first first_value flatten floor fmod format format_bytes formatreadabledecimalsize \
     formatreadablesize from_base64 from_binary from_hex from_json from_json_strict fsum gamma gcd \
     gen_random_uuid generate_series generate_subscripts geomean geometric_mean get_bit get_current_time \
     get_current_timestamp grade_up greatest greatest_common_divisor group_concat hamming hash hex \
     histogram histogram_exact hive_partition_component hour if ilike_escape instr invoke isfinite isinf \
     isnan isodow isoyear jaccard jaro_similarity jaro_winkler_similarity json json_array json_array_length \
     json_contains json_deep_merge json_exists json_extract json_extract_path json_extract_path_text \
     json_extract_string json_group_array json_group_object json_group_structure json_insert json_keys \
     json_merge_patch json_merge_patch_diff json_normalize json_object json_pretty json_quote json_remove \
     json_replace json_set json_strip_nulls json_structure json_transform json_transform_strict json_type \
     json_valid json_value julian kahan_sum kurtosis kurtosis_pop lag last last_day last_value lcase lcm \
     lead least least_common_multiple left left_grapheme len length length_grapheme levenshtein lgamma \
     like_escape list list_aggr list_aggregate list_any_value list_append list_apply \
     list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or \
     list_cat list_concat list_contains list_cosine_distance list_cosine_similarity list_count \
     list_distance list_distinct list_dot_product list_element list_entropy list_extract list_filter \
     list_first list_grade_up list_has list_has_all list_has_any list_histogram list_indexof \
     list_inner_product list_intersect list_kurtosis list_kurtosis_pop list_last list_mad list_max \
     list_median list_min list_mode list_negative_dot_product list_negative_inner_product list_pack \
     list_position list_prepend list_product list_reduce list_resize list_reverse list_reverse_sort \
     list_select list_sem list_skewness list_slice list_sort list_stddev_pop list_stddev_samp \
     list_string_agg list_sum list_transform list_unique list_value list_var_pop list_var_samp list_where \
     list_zip listagg ln log log10 log2 lower lpad ltrim lttb mad make_date make_time make_timestamp \
     make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat map_contains map_contains_entry \
     map_contains_value map_entries map_extract map_extract_value map_from_entries map_keys map_values max \
     max_by md5 md5_number md5_number_lower md5_number_upper mean median microsecond millennium millisecond \
     min min_by minute mismatches mod mode month monthname multiply nanosecond nextafter nfc_normalize \
     not_ilike_escape not_like_escape now nth_value ntile nullif octet_length ord overlay parse_dirname \
     parse_dirpath parse_filename parse_formatted_bytes parse_path path_join percent_rank pi position pow \
     power prefix printf product quantile quantile_cont quantile_disc quarter radians random range rank \
     rank_dense reduce regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches \
     regexp_replace regexp_split_to_array regexp_split_to_table regr_avgx regr_avgy regr_count \
     regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reservoir_quantile reverse \
     right right_grapheme round round_even roundbankers row row_number row_to_json rpad rtrim second sem \
     set_bit sha1 sha256 sign signbit sin sinh skewness split split_part sqrt starts_with stddev stddev_pop \
     stddev_samp str_split str_split_regex strftime string_agg string_split string_split_regex \
     string_to_array strip_accents strlen strpos strptime struct_concat struct_contains struct_extract \
     struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack struct_position \
     struct_update struct_values substr substring substring_grapheme subtract suffix sum sum_no_overflow \
     sumkahan switch tan tanh time_bucket timezone timezone_hour timezone_minute to_base to_base64 \
     to_binary to_centuries to_days to_decades to_hex to_hours to_json to_microseconds to_millennia \
     to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today \
     transaction_timestamp translate trim trunc try_strptime typeof ucase unbin unhex unicode union_extract \
     union_tag union_value unnest upper url_decode url_encode uuid uuid_extract_timestamp \
     uuid_extract_version uuidv4 uuidv7 var_pop var_samp variance variant_array_length variant_contains \
     variant_exists variant_extract variant_extract_string variant_keys variant_type variant_typeof wavg \
     week weekday weekofyear weighted_avg xor year yearweek | || ~ ~~ ~~* ~~~";

/// Judges one query of an analyst; `Ok` means that it only reads tables of schema `marts` and computes from
/// them.
///
/// # Errors
///
/// [`Error::Refused`] for everything else, syntax errors included; [`Error::DuckDb`] when DuckDB cannot be
/// asked.
pub fn judge(connection: &duckdb::Connection, text: &str) -> crate::Result<()> {
    allow(&read(connection, text)?)
}

/// The tree of a query, for [`allow`] to judge.
///
/// # Errors
///
/// [`Error::Refused`] for a text that is too long or holds what no parser should see, [`Error::DuckDb`].
pub(crate) fn read(connection: &duckdb::Connection, text: &str) -> crate::Result<Value> {
    judge_text(text).map_err(|reason| Error::Refused { reason })?;
    parse(connection, text)
}

/// Judges the tree of a query.
///
/// # Errors
///
/// [`Error::Refused`].
pub(crate) fn allow(tree: &Value) -> crate::Result<()> {
    judge_tree(tree).map_err(|reason| Error::Refused { reason })
}

/// The text of a tree that was changed after it was parsed. That text is what runs, so it is judged too.
///
/// # Errors
///
/// [`Error::Refused`], [`Error::DuckDb`].
pub(crate) fn write(connection: &duckdb::Connection, tree: &Value) -> crate::Result<String> {
    let text: String = connection
        .query_row(
            "select json_deserialize_sql(cast(? as json))",
            [tree.to_string()],
            |row| row.get(0),
        )
        .doing("write a query of its tree")?;
    allow(&parse(connection, &text)?)?;
    Ok(text)
}

fn parse(connection: &duckdb::Connection, text: &str) -> crate::Result<Value> {
    let tree: String = connection
        .query_row(
            "select cast(json_serialize_sql(cast(? as varchar)) as varchar)",
            [text],
            |row| row.get(0),
        )
        .doing("parse a query for the judge")?;
    parse_tree(&tree).map_err(|reason| Error::Refused { reason })
}

/// Judges the text before any parser sees it.
fn judge_text(text: &str) -> Result<(), String> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(format!(
            "query text is {} bytes, the limit is {TEXT_MAX_BYTES}",
            text.len()
        ));
    }
    // What runs the query may take the text for a C string and end it here, what parses it does not.
    if text.contains('\0') {
        return Err("query text holds a NUL character; remove it".to_owned());
    }
    Ok(())
}

/// The tree as JSON; `serde_json` stops at a depth of 128, which bounds the recursion below.
fn parse_tree(json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| {
        if error.to_string().starts_with("recursion limit exceeded") {
            "query is nested too deeply; name its parts in CTEs".to_owned()
        } else {
            format!("DuckDB's tree of the query cannot be read: {error}")
        }
    })
}

fn judge_tree(tree: &Value) -> Result<(), String> {
    if tree["error"] != Value::Bool(false) {
        return Err(parser_refusal(tree));
    }
    match tree["statements"].as_array().map(Vec::as_slice) {
        Some([statement]) => walk(statement, None),
        Some([]) => Err("the text holds no statement; write one SELECT".to_owned()),
        Some(statements) => Err(format!(
            "only one statement is allowed, this text holds {}; send them one by one",
            statements.len()
        )),
        None => Err("DuckDB's tree of the query holds no statements".to_owned()),
    }
}

/// Why DuckDB made no tree: a syntax error, or anything but SELECT.
fn parser_refusal(tree: &Value) -> String {
    let message = tree["error_message"]
        .as_str()
        .unwrap_or("DuckDB does not say why");
    if tree["error_type"] == "not implemented" && message.starts_with("Only SELECT") {
        return "only SELECT is allowed, and a PIVOT only with its values listed: \
                `pivot t on team in ('a', 'b') using sum(cost)`"
            .to_owned();
    }
    match tree["position"].as_str() {
        Some(position) => format!("the query cannot be parsed: {message}, at byte {position}"),
        None => format!("the query cannot be parsed: {message}"),
    }
}

/// Judges every object of the tree; `cte` is the innermost CTE around it, for the reason.
fn walk(value: &Value, cte: Option<&str>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, cte)),
        Value::Object(object) => {
            judge_object(object, cte)?;
            let cte = match (object.get("key"), object.get("value")) {
                (Some(Value::String(name)), Some(value)) if value.get("query_node").is_some() => {
                    Some(name.as_str())
                }
                _ => cte,
            };
            object.values().try_for_each(|value| walk(value, cte))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn judge_object(object: &Map<String, Value>, cte: Option<&str>) -> Result<(), String> {
    match (object.get("class"), object.get("type")) {
        (Some(class), _) => judge_expression(class.as_str().unwrap_or_default(), object)?,
        (None, Some(Value::String(kind))) => judge_node(kind, object, cte)?,
        // A part of the above, such as one order or one argument; its fields tell it.
        (None, _) => {}
    }
    match object.keys().find(|field| !is_listed(FIELDS, field)) {
        Some(field) => Err(format!(
            "the query holds a clause (`{field}`) that is not allowed"
        )),
        None => Ok(()),
    }
}

fn judge_expression(class: &str, expression: &Map<String, Value>) -> Result<(), String> {
    let kind = expression.get("type").and_then(Value::as_str).unwrap_or_default();
    match class {
        "FUNCTION" | "WINDOW" => judge_function(&path(expression)?),
        "OPERATOR" if !is_listed(OPERATORS, kind) => Err(format!("the operator {kind} is not allowed")),
        "TYPE" => match path(expression)?.as_slice() {
            [_] => Ok(()),
            path => Err(format!(
                "type `{}` is not allowed; name a type without its schema",
                path.join(".")
            )),
        },
        "PARAMETER" => Err("a parameter has no value; write the value into the text".to_owned()),
        class if is_listed(EXPRESSIONS, class) => Ok(()),
        class => Err(format!("an expression of class {class} is not allowed")),
    }
}

/// Judges the name alone, but of the catalogue's macros: what stands before it is a schema or, in `team.upper()`, the column to compute
/// from, and no schema of a session holds a macro of its own under a listed name.
fn judge_function(path: &[&str]) -> Result<(), String> {
    match path.last() {
        Some(name) if path.len() == 2 && catalogue::is_macro(path[0], name) => Ok(()),
        Some(name) if is_listed(FUNCTIONS, &name.to_ascii_lowercase()) => Ok(()),
        _ => Err(format!(
            "function `{}` is not allowed; allowed are those that compute from their arguments alone",
            path.join(".")
        )),
    }
}

/// Judges a query node, a table reference, a modifier or an order.
fn judge_node(kind: &str, node: &Map<String, Value>, cte: Option<&str>) -> Result<(), String> {
    match kind {
        "BASE_TABLE" => judge_table(&path(node)?),
        "TABLE_FUNCTION" => judge_table_function(node),
        "PIVOT" => judge_pivot(node),
        "SHOW_REF" => Err(
            "SHOW, DESCRIBE and SUMMARIZE are not allowed; ask `information_schema.tables` and \
                           `information_schema.columns`"
                .to_owned(),
        ),
        kind if is_listed(NODES, kind) => Ok(()),
        kind => Err(match (kind.strip_suffix("_QUERY_NODE"), cte) {
            (Some(statement), cte) => {
                let article = if statement.starts_with(['I', 'U']) {
                    "an"
                } else {
                    "a"
                };
                let place = cte
                    .map(|name| format!(" inside the CTE `{name}`"))
                    .unwrap_or_default();
                format!("only SELECT is allowed, this is {article} {statement}{place}")
            }
            (None, _) => format!("the query holds a part ({kind}) that is not allowed"),
        }),
    }
}

fn judge_table(path: &[&str]) -> Result<(), String> {
    let name = match path {
        [name] => name,
        [schema, name] if schema.eq_ignore_ascii_case(SCHEMA) => name,
        [schema, name] if catalogue::is_table(schema, name) => return Ok(()),
        path => {
            return Err(format!(
                "table `{}` is outside schema `{SCHEMA}`; query the tables in it",
                path.join(".")
            ));
        }
    };
    // A name with a dot, a slash, a colon or a star can be a file to read: DuckDB tells files by `.csv`,
    // `.parquet`, `.json` and their like, and opens globs and URLs. A name that is a CTE's here may be a
    // table's elsewhere in the query, so CTEs get no exception.
    if name.is_empty()
        || !name
            .chars()
            .all(|char| char.is_alphanumeric() || "_-$ ".contains(char))
    {
        return Err(format!(
            "`{name}` is not the name of a table; files cannot be read, query the tables of `{SCHEMA}`"
        ));
    }
    let lower_case = name.to_ascii_lowercase();
    if CATALOGUE_PREFIXES
        .iter()
        .any(|prefix| lower_case.starts_with(prefix))
    {
        return Err(format!(
            "`{name}` belongs to the catalogue; query the tables of `{SCHEMA}`"
        ));
    }
    Ok(())
}

fn judge_table_function(node: &Map<String, Value>) -> Result<(), String> {
    let function = node.get("function").and_then(Value::as_object);
    let path = match function {
        Some(function) if function.get("class").is_some_and(|class| class == "FUNCTION") => path(function)?,
        _ => return Err("a FROM clause calls something that is not a function".to_owned()),
    };
    match path.as_slice() {
        [name] if TABLE_FUNCTIONS.contains(&name.to_ascii_lowercase().as_str()) => Ok(()),
        [schema, name] if catalogue::is_macro(schema, name) => Ok(()),
        path => Err(format!(
            "table function `{}` is not allowed; allowed: {}",
            path.join("."),
            TABLE_FUNCTIONS.join(", ")
        )),
    }
}

fn judge_pivot(node: &Map<String, Value>) -> Result<(), String> {
    let pivots = node
        .get("pivots")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match pivots.iter().find(|pivot| pivot["pivot_enum"] != "") {
        Some(pivot) => Err(format!(
            "a PIVOT over the enum type {} is not allowed; list its values",
            pivot["pivot_enum"]
        )),
        None => Ok(()),
    }
}

/// The parts of a qualified name, the name itself last.
fn path(object: &Map<String, Value>) -> Result<Vec<&str>, String> {
    object
        .get("qualified_name")
        .and_then(|name| name["path"].as_array())
        .and_then(|path| path.iter().map(Value::as_str).collect())
        .ok_or_else(|| "the query holds a name that the judge cannot read".to_owned())
}

fn is_listed(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|listed| listed == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must pass and what must not, with the trees that DuckDB 2.0.0 gave, less the locations in the
    /// text.
    fn cases(verdict: &str) -> Vec<Value> {
        let cases: Value = serde_json::from_str(include_str!("judge_cases.json")).unwrap();
        cases[verdict].as_array().unwrap().clone()
    }

    #[test]
    fn queries_that_only_read_marts_and_compute_pass() {
        for case in cases("accept") {
            assert_eq!(judge_tree(&case["tree"]), Ok(()), "{}", case["text"]);
        }
    }

    #[test]
    fn every_known_way_out_is_shut_and_the_reason_names_it() {
        for case in cases("refuse") {
            let reason = judge_tree(&case["tree"]).expect_err(case["text"].as_str().unwrap());
            assert!(
                reason.contains(case["reason"].as_str().unwrap()),
                "{}: {reason}",
                case["text"]
            );
        }
    }

    /// A tree of one query over `range(1)`, to be spoilt.
    fn tree() -> Value {
        let mut cases = cases("accept");
        let at = cases
            .iter()
            .position(|case| case["text"] == "select * from range(10) as t(i)")
            .unwrap();
        cases.swap_remove(at)["tree"].take()
    }

    #[test]
    fn parts_that_a_later_duckdb_may_bring_are_refused() {
        let node = "/statements/0/node";
        for (pointer, spoilt) in [
            ("", serde_json::json!({})),
            ("/error", Value::Null),
            ("/statements", Value::Null),
            ("/statements/0/node/type", "COPY_QUERY_NODE".into()),
            ("/statements/0/node/type", "STATEMENT_NODE".into()),
            ("/statements/0/node/from_table/type", "COLUMN_DATA".into()),
            (
                "/statements/0/node/from_table/function/class",
                "COLUMN_REF".into(),
            ),
            ("/statements/0/node/from_table/function/class", Value::Null),
            (
                "/statements/0/node/from_table/function/qualified_name",
                Value::Null,
            ),
            (
                "/statements/0/node/from_table/function/qualified_name/path",
                serde_json::json!([]),
            ),
            (
                "/statements/0/node/from_table/function/qualified_name/path/0",
                1.into(),
            ),
            ("/statements/0/node/select_list/0/class", "BOUND_SUBQUERY".into()),
            (
                "/statements/0/node/modifiers",
                serde_json::json!([{ "type": "INTO_MODIFIER" }]),
            ),
            (
                "/statements/0/node/modifiers",
                serde_json::json!([{ "into": "t" }]),
            ),
        ] {
            let mut tree = tree();
            *tree.pointer_mut(pointer).unwrap() = spoilt.clone();
            assert!(judge_tree(&tree).is_err(), "{pointer} = {spoilt}");
        }
        let mut tree = tree();
        assert_eq!(judge_tree(&tree), Ok(()));
        tree.pointer_mut(node).unwrap()["into"] = "t".into();
        assert!(judge_tree(&tree).unwrap_err().contains("`into`"));
    }

    #[test]
    fn nesting_beyond_what_the_walk_can_bear_is_refused() {
        let json = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(
            parse_tree(&json).unwrap_err(),
            "query is nested too deeply; name its parts in CTEs"
        );
        assert!(parse_tree("{").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn text_is_at_most_64_kib_and_without_nul() {
        assert_eq!(judge_text(&" ".repeat(65_536)), Ok(()));
        assert_eq!(
            judge_text(&" ".repeat(65_537)).unwrap_err(),
            "query text is 65537 bytes, the limit is 65536"
        );
        assert!(judge_text("select 1\0; delete from t").is_err());
    }

    #[test]
    fn duckdb_still_gives_trees_that_are_judged_alike() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        for case in cases("accept") {
            let text = case["text"].as_str().unwrap();
            assert!(
                judge(&connection, text).is_ok(),
                "{text}: {:?}",
                judge(&connection, text)
            );
        }
        let deep = format!("select {}1{}", "abs(".repeat(100), ")".repeat(100));
        let long = format!("select '{}'", "x".repeat(70_000));
        let made = [
            (deep.as_str(), "nested too deeply"),
            (long.as_str(), "query text is 70009 bytes"),
        ];
        let cases = cases("refuse");
        let captured = cases
            .iter()
            .map(|case| (case["text"].as_str().unwrap(), case["reason"].as_str().unwrap()));
        for (text, expected) in captured.chain(made) {
            match judge(&connection, text) {
                Err(Error::Refused { reason }) => assert!(reason.contains(expected), "{text}: {reason}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    /// How [`FUNCTIONS`] came about: less what is volatile, less families, less single names.
    ///
    /// Families: internals (`__`), collations, geometry (`st_`), what PostgreSQL's clients ask of a catalogue
    /// (`has_`, `pg_`, `inet_`), SQL as JSON and back, and `current_*` but for dates and times. Single names:
    /// catalogue, settings, session, indexes and logs; types as values; raw aggregate states and raw
    /// variants, which trust their bytes. `unnest` is no function to DuckDB, but may be called as one.
    #[test]
    fn functions_are_those_of_duckdb_less_the_refused() {
        let refused = "\
             alias bitstring_byte_comparable can_cast_implicitly cast_to_type col_description combine \
             combine_aggr constant_or_null create_sort_key finalize format_pg_type format_type \
             get_block_size get_type getvariable in_search_path index_key is_histogram_other_bin make_type \
             map_to_pg_oid normalized_interval obj_description parse_duckdb_log_message remap_struct \
             replace_type session_user shobj_description timetz_byte_comparable to_aggregate_state \
             txid_current unpivot_list user variant_bytes_to_variant variant_comparator variant_group_array \
             variant_group_object variant_normalize variant_to_parquet_variant version vertex_extract";
        let derived = "
            select string_agg(name, ' ')
            from (
                select lower(function_name) as name
                from duckdb_functions()
                where
                    function_type in ('scalar', 'aggregate', 'macro', 'window')
                    and not contains(function_name, ' ')
                    and not regexp_matches(function_name, '^(__|collate_|icu_|st_|has_|pg_|inet_|json_copy_)')
                    and not regexp_matches(function_name, '^(json_serialize_|json_deserialize_)')
                    and (
                        not starts_with(function_name, 'current_')
                        or function_name in ('current_date', 'current_localtime', 'current_localtimestamp')
                    )
                    and not list_contains(string_split(cast(? as varchar), ' '), function_name)
                group by all
                having
                    not bool_or(coalesce(stability = 'VOLATILE', false))
                    or name in ('random', 'uuid', 'uuidv4', 'uuidv7', 'gen_random_uuid', 'error')
            ) as functions
        ";
        let every =
            "select string_agg(distinct lower(function_name), ' ') from duckdb_functions() where ? <> ''";
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let ask = |sql: &str| -> String { connection.query_row(sql, [refused], |row| row.get(0)).unwrap() };
        let (derived, every) = (ask(derived), ask(every));

        let unknown: Vec<&str> = derived
            .split(' ')
            .filter(|name| !is_listed(FUNCTIONS, name))
            .collect();
        assert_eq!(
            unknown,
            Vec::<&str>::new(),
            "read what these do, then allow or refuse them"
        );
        // Some names come with the extension `icu`, which is not in every build, hence `every`.
        let wrong = |name: &&str| *name != "unnest" && is_listed(&every, name) && !is_listed(&derived, name);
        let wrong: Vec<&str> = FUNCTIONS.split_ascii_whitespace().filter(wrong).collect();
        assert_eq!(wrong, Vec::<&str>::new(), "these must not be allowed");
    }
}
