//! Renders the dbt project with minijinja, orders its models by `ref` and runs them on DuckDB.
//!
//! ```text
//! Project ─ parse pass (configs, refs) ─> order ─ compile ─> SQL + line map ─ run_model ─> DuckDB
//!                                                                           └ run_tests ─> failures
//! ```
//!
//! A model's lines are numbered by invisible marks while it is rendered, so that what DuckDB says of a line of the
//! statement is reported for the line of the model that made it, however many lines a macro or a loop gave out.
//!
//! Architecture invariant: a model's SQL depends on the project alone; no template reads the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use duckdb::Connection;
use minijinja::value::{Kwargs, Object, ObjectRepr, from_args};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, State, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::project::{ColumnRule, ColumnTest, Model, Project, Target, fault, line_of, tags};

/// How a model becomes a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Materialization {
    /// `create or replace view`.
    View,
    /// `create or replace table ... as`.
    Table,
    /// A table whose rows of a later run are appended after the model's `pre_hook`.
    Incremental,
}

/// A model rendered for DuckDB.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The model's name, which is also its relation's.
    pub name: String,
    /// The schema of its relation.
    pub schema: String,
    /// The file it was rendered from.
    pub file: String,
    /// How it becomes a relation.
    pub materialized: Materialization,
    /// The query.
    pub sql: String,
    /// The statement to run before it, unless it renders to nothing.
    pub pre_hook: Option<String>,
    /// Models that it refers to, by name, including those inside `is_incremental()`.
    pub depends_on: Vec<String>,
    lines: Marks,
}

/// A test that found rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// The name of the test: its file's stem, or `rule_relation_column` for one of a `.yml`.
    pub name: String,
    /// The file that holds it.
    pub file: String,
    /// What it guards.
    pub message: String,
    /// How many rows it found.
    pub rows: u64,
    /// The first of them in the order of their text.
    pub sample: String,
}

/// A project whose templates have been parsed and whose models are in an order in which they can run.
#[derive(Debug)]
pub struct Runner<'a> {
    project: &'a Project,
    environment: Environment<'static>,
    scope: Arc<Scope>,
    parsed: BTreeMap<String, Parsed>,
    tested: BTreeMap<String, BTreeSet<String>>,
    order: Vec<&'a str>,
}

/// What the parse pass learns of a model.
#[derive(Debug, Clone)]
struct Parsed {
    materialized: Materialization,
    refs: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl<'a> Runner<'a> {
    /// The runner of a project: renders every model and test once to learn configurations and references.
    ///
    /// # Errors
    /// [`Error::Model`] with file and line for a template that does not render, an unknown model, source or variable, a
    /// configuration that embedded and dbt would not treat alike, or a cycle of references.
    pub fn new(project: &'a Project) -> Result<Self> {
        let mut runner = Self {
            project,
            environment: environment(project)?,
            scope: Arc::new(Scope::of(project)),
            parsed: BTreeMap::new(),
            tested: BTreeMap::new(),
            order: Vec::new(),
        };
        let mut schemas = BTreeMap::new();
        for (name, model) in &project.models {
            let mut context = runner.render(name, model, false)?.1;
            let materialized = context.materialized(model)?;
            let mut refs = context.take_refs();
            let mut sources = context.take_sources();
            if materialized == Materialization::Incremental {
                context = runner.render(name, model, true)?.1;
                refs.extend(context.take_refs());
                sources.extend(context.take_sources());
            }
            schemas.insert(name.clone(), context.schema(model)?);
            let parsed = Parsed {
                materialized,
                refs,
                sources,
            };
            runner.parsed.insert(name.clone(), parsed);
        }
        runner.scope = Arc::new(Scope {
            schemas,
            ..Scope::of(project)
        });
        runner.order = runner.ordered()?;
        for test in &project.tests {
            let context = runner.render_test(&test.name, &test.file)?.1;
            let mut reads = context.take_refs();
            reads.extend(context.take_sources());
            runner.tested.insert(test.name.clone(), reads);
        }
        Ok(runner)
    }

    /// The project that it runs.
    #[must_use]
    pub fn project(&self) -> &Project {
        self.project
    }

    /// Names of all models in the order in which they run.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.order.iter().copied()
    }

    /// What a model reads itself: models by name, sources as `source.table`.
    pub fn reads(&self, name: &str) -> impl Iterator<Item = &str> {
        let parsed = self.parsed.get(name);
        let refs = parsed.into_iter().flat_map(|parsed| &parsed.refs);
        let sources = parsed.into_iter().flat_map(|parsed| &parsed.sources);
        refs.chain(sources).map(String::as_str)
    }

    /// Names of the models that a model needs, directly or not, in the order in which they run; none for an unknown one.
    #[must_use]
    pub fn ancestors(&self, name: &str) -> Vec<&str> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(parsed) = open.pop().and_then(|next| self.parsed.get(next)) {
            open.extend(
                parsed
                    .refs
                    .iter()
                    .map(String::as_str)
                    .filter(|parent| needed.insert(*parent)),
            );
        }
        self.models().filter(|model| needed.contains(model)).collect()
    }

    /// The SQL of a model, for a first or full run or, if it is incremental, for appending to what is there.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no such model or its templates do not render.
    pub fn compile(&self, name: &str, incremental: bool) -> Result<Compiled> {
        let (Some((name, model)), Some(parsed)) =
            (self.project.models.get_key_value(name), self.parsed.get(name))
        else {
            return Err(fault(name, 1, "there is no such model"));
        };
        let append = incremental && parsed.materialized == Materialization::Incremental;
        let ((sql, lines), context) = self.render(name, model, append)?;
        let pre_hook = self
            .render_hook(model, &context)?
            .filter(|hook| !hook.trim().is_empty());
        Ok(Compiled {
            name: name.clone(),
            schema: context.this.schema.clone(),
            file: model.file.clone(),
            materialized: parsed.materialized,
            sql,
            pre_hook,
            depends_on: parsed.refs.iter().cloned().collect(),
            lines,
        })
    }

    /// Makes or refreshes the relation of a model in the connection's default catalogue, in one transaction: its own,
    /// unless the caller has one open. An incremental model's `pre_hook` runs only before an append.
    ///
    /// # Errors
    /// [`Error::Model`] with the line of the model if DuckDB refuses its SQL (line 1 if DuckDB names none).
    pub fn run_model(&self, connection: &Connection, name: &str, full_refresh: bool) -> Result<()> {
        let schema = self.scope.schemas.get(name).map_or("main", String::as_str);
        let present = table_type(connection, schema, name)?;
        let compiled = self.compile(name, !full_refresh && present.as_deref() == Some("BASE TABLE"))?;
        let relation = format!("{schema}.{name}");
        let (stale, create) = match (compiled.materialized, present.as_deref()) {
            (Materialization::View, Some("BASE TABLE")) => (Some("table"), "create or replace view"),
            (Materialization::View, _) => (None, "create or replace view"),
            (_, Some("VIEW")) => (Some("view"), "create or replace table"),
            _ => (None, "create or replace table"),
        };
        let append = compiled.materialized == Materialization::Incremental
            && present.is_some()
            && stale.is_none()
            && !full_refresh;
        let prefix = if append {
            format!("insert into {relation} by name ")
        } else {
            format!("{create} {relation} as ")
        };
        let hook = compiled
            .pre_hook
            .as_ref()
            .filter(|_| append || compiled.materialized != Materialization::Incremental);
        transaction(connection, || {
            execute(
                connection,
                &format!("create schema if not exists {schema}"),
                "create a schema",
            )?;
            if let Some(kind) = stale {
                execute(
                    connection,
                    &format!("drop {kind} {relation}"),
                    "drop what a model was before",
                )?;
            }
            if let Some(hook) = hook {
                let line = self.project.models.get(name).map_or(1, hook_line);
                connection
                    .execute_batch(hook)
                    .map_err(|error| fault(&compiled.file, line, format!("pre_hook: {error}")))?;
            }
            let statement = format!("{prefix}{}", compiled.sql);
            connection.execute_batch(&statement).map_err(|error| {
                compiled
                    .lines
                    .explain(&compiled.file, &statement, prefix.len(), &error)
            })
        })
    }

    /// Runs the tests of `tests/` and of the `.yml` files that read a model or source that has `changed`; returns those
    /// that found rows.
    ///
    /// # Errors
    /// [`Error::Model`] if DuckDB cannot run a test.
    pub fn run_tests(
        &self,
        connection: &Connection,
        changed: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<TestFailure>> {
        let (mut failures, mut null_free) = (Vec::new(), BTreeSet::new());
        for test in &self.project.tests {
            // A test that reads nothing looks at something that the project does not know.
            let reads = self.tested.get(&test.name).filter(|reads| !reads.is_empty());
            if reads.is_some_and(|reads| !reads.iter().map(String::as_str).any(changed)) {
                continue;
            }
            let ((sql, lines), _) = self.render_test(&test.name, &test.file)?;
            if let Some((rows, sample)) = failing(connection, &test.file, &sql, &lines)? {
                let (name, message) = (test.name.clone(), test.guards.clone());
                failures.push(TestFailure {
                    name,
                    file: test.file.clone(),
                    message,
                    rows,
                    sample,
                });
            }
        }
        for test in &self.project.column_tests {
            let reads = match &test.target {
                Target::Model(name) => name.clone(),
                Target::Source(relation) => relation.clone(),
            };
            if !changed(&reads)
                || test.rule == ColumnRule::NotNull && !self.has_null(connection, test, &mut null_free)?
            {
                continue;
            }
            let (name, message, sql) = self.column_test(test);
            if let Some((rows, sample)) = failing(connection, &test.file, &sql, &Marks::at(test.line))? {
                failures.push(TestFailure {
                    name,
                    file: test.file.clone(),
                    message,
                    rows,
                    sample,
                });
            }
        }
        Ok(failures)
    }

    /// Whether a relation may have a NULL where none is allowed: all of its columns are asked at once, and only if that
    /// finds one need they be asked one by one.
    fn has_null(
        &self,
        connection: &Connection,
        test: &ColumnTest,
        null_free: &mut BTreeSet<String>,
    ) -> Result<bool> {
        let relation = self.tested_relation(test);
        if null_free.contains(&relation) {
            return Ok(false);
        }
        let columns: Vec<String> = self
            .project
            .column_tests
            .iter()
            .filter(|other| other.rule == ColumnRule::NotNull && self.tested_relation(other) == relation)
            .map(|other| format!("{} is null", other.column))
            .collect();
        let statement = format!(
            "select coalesce(bool_or({}), false) from {relation}",
            columns.join(" or ")
        );
        let found: bool = connection
            .query_row(&statement, [], |row| row.get(0))
            .map_err(|error| Marks::at(test.line).explain(&test.file, &statement, 0, &error))?;
        if !found {
            null_free.insert(relation);
        }
        Ok(found)
    }

    fn tested_relation(&self, test: &ColumnTest) -> String {
        match &test.target {
            Target::Model(name) => self
                .scope
                .relation(name)
                .map_or_else(|| name.clone(), |found| found.to_string()),
            Target::Source(relation) => relation.clone(),
        }
    }

    fn column_test(&self, test: &ColumnTest) -> (String, String, String) {
        let relation = self.tested_relation(test);
        let column = &test.column;
        let (rule, demand, sql) = match &test.rule {
            ColumnRule::NotNull => (
                "not_null",
                "is never null".to_owned(),
                format!("select * from {relation} where {column} is null"),
            ),
            ColumnRule::Unique => (
                "unique",
                "is unique".to_owned(),
                format!(
                    "select {column}, count(*) as occurrences from {relation} where {column} is not null \
                     group by {column} having count(*) > 1"
                ),
            ),
            ColumnRule::Accepted(values) => {
                let values = values.join(", ");
                let sql = format!(
                    "select {column}, count(*) as occurrences from {relation} where {column} not in ({values}) \
                     group by {column}"
                );
                ("accepted_values", format!("is one of {values}"), sql)
            }
        };
        let name = format!("{rule}_{}_{column}", relation.replace('.', "_"));
        (name, format!("{relation}.{column} {demand}"), sql)
    }

    fn render(&self, name: &str, model: &Model, append: bool) -> Result<((String, Marks), Arc<Context>)> {
        let config = model
            .config
            .iter()
            .map(|(key, value)| (key.clone(), jinja(value)))
            .collect();
        let context = Arc::new(Context::new(&self.scope, name, config, append));
        let template = self
            .environment
            .get_template(&model.file)
            .map_err(|error| jinja_fault(&model.file, &error))?;
        let rendered = template
            .render(Value::from_dyn_object(context.clone()))
            .map_err(|error| jinja_fault(&model.file, &error))?;
        Ok((Marks::take(&rendered), context))
    }

    /// The SQL of a query under `analyses/`.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no such query or its templates do not render.
    pub fn analysis(&self, name: &str) -> Result<String> {
        let Some(analysis) = self.project.analyses.get(name) else {
            return Err(fault(name, 1, "there is no such analysis"));
        };
        Ok(self.render_test(name, &analysis.file)?.0.0)
    }

    fn render_test(&self, name: &str, file: &str) -> Result<((String, Marks), Arc<Context>)> {
        let context = Arc::new(Context::new(&self.scope, name, BTreeMap::new(), false));
        let template = self
            .environment
            .get_template(file)
            .map_err(|error| jinja_fault(file, &error))?;
        let rendered = template
            .render(Value::from_dyn_object(Arc::clone(&context)))
            .map_err(|error| jinja_fault(file, &error))?;
        Ok((Marks::take(&rendered), context))
    }

    /// The hook, rendered after the model as dbt does; its text is a template inside of a template's string.
    fn render_hook(&self, model: &Model, context: &Arc<Context>) -> Result<Option<String>> {
        let Some(hook) = context.setting("pre_hook") else {
            return Ok(None);
        };
        let rendered = match hook.as_str() {
            Some(text) => {
                self.environment
                    .render_named_str(&model.file, text, Value::from_dyn_object(context.clone()))
            }
            None => Err(JinjaError::new(
                ErrorKind::InvalidOperation,
                "only one pre_hook is offered, as a string",
            )),
        };
        rendered.map(Some).map_err(|error| {
            fault(
                &model.file,
                hook_line(model),
                format!("pre_hook: {}", explain(&error)),
            )
        })
    }

    /// Models with every model after those that it refers to, otherwise by name.
    fn ordered(&self) -> Result<Vec<&'a str>> {
        let mut order: Vec<&'a str> = Vec::new();
        let mut waiting: BTreeMap<&'a str, &BTreeSet<String>> = BTreeMap::new();
        for name in self.project.models.keys() {
            waiting.extend(self.parsed.get(name).map(|parsed| (name.as_str(), &parsed.refs)));
        }
        while !waiting.is_empty() {
            let free =
                |refs: &BTreeSet<String>| !refs.iter().any(|parent| waiting.contains_key(parent.as_str()));
            let ready: Vec<&'a str> = waiting
                .iter()
                .filter(|(_, refs)| free(refs))
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                return Err(self.cycle(&waiting));
            }
            waiting.retain(|name, _| !ready.contains(name));
            order.extend(ready);
        }
        Ok(order)
    }

    /// Names a cycle by walking from any waiting model to one that it waits for, until a model comes again.
    fn cycle(&self, waiting: &BTreeMap<&str, &BTreeSet<String>>) -> Error {
        let mut path: Vec<&str> = Vec::new();
        let mut next = waiting.keys().next().copied();
        while let Some(name) = next.filter(|name| !path.contains(name)) {
            path.push(name);
            next = waiting.get(name).and_then(|refs| {
                refs.iter()
                    .map(String::as_str)
                    .find(|on| waiting.contains_key(on))
            });
        }
        let start = path.iter().position(|name| Some(*name) == next).unwrap_or(0);
        let mut names = path.split_off(start);
        names.extend(names.first().copied());
        let (Some(model), Some(parent)) = (
            names.first().and_then(|name| self.project.models.get(*name)),
            names.get(1),
        ) else {
            return fault("models", 1, "references form a cycle");
        };
        let line = model
            .text
            .lines()
            .position(|line| line.contains("ref(") && line.contains(parent))
            .map_or(1, |at| at + 1);
        fault(
            &model.file,
            line,
            format!(
                "references form a cycle: {} (a model names itself by `this`)",
                names.join(" -> ")
            ),
        )
    }
}

/// Rows that a query yields and the first of them as text, or nothing.
fn failing(connection: &Connection, file: &str, sql: &str, lines: &Marks) -> Result<Option<(u64, String)>> {
    let prefix = "select count(*), coalesce(min(cast(podledger_failure as varchar)), '') from (";
    let statement = format!("{prefix}{sql}\n) as podledger_failure");
    let found = connection.query_row(&statement, [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    });
    let (rows, sample) = found.map_err(|error| lines.explain(file, &statement, prefix.len(), &error))?;
    Ok((rows > 0).then(|| (rows.unsigned_abs(), sample)))
}

/// `BASE TABLE` or `VIEW` if there is such a relation in the default catalogue.
fn table_type(connection: &Connection, schema: &str, name: &str) -> Result<Option<String>> {
    let query = "select max(table_type) from information_schema.tables \
                 where table_catalog = current_database() and table_schema = ? and table_name = ?";
    let found = connection.query_row(query, [schema, name], |row| row.get(0));
    found.map_err(|source| Error::DuckDb {
        doing: format!("look up {schema}.{name}"),
        source,
    })
}

fn execute(connection: &Connection, statement: &str, doing: &str) -> Result<()> {
    connection
        .execute_batch(statement)
        .map_err(|source| Error::DuckDb {
            doing: format!("{doing} (`{statement}`)"),
            source,
        })
}

/// Runs statements as one transaction, or within the caller's. A `begin` inside of a transaction aborts it, and the crate
/// does not tell whether one is open; but two queries see the same transaction identifier only if it is.
fn transaction(connection: &Connection, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let id = || {
        let found = connection.query_row("select txid_current()::bigint", [], |row| row.get::<_, i64>(0));
        found.map_err(|source| Error::DuckDb {
            doing: "ask for the transaction".into(),
            source,
        })
    };
    if id()? == id()? {
        return run();
    }
    execute(connection, "begin transaction", "begin a model's transaction")?;
    let outcome = run().and_then(|()| execute(connection, "commit", "commit a model"));
    if outcome.is_err() {
        // The failure is what matters; after a failed commit there may be nothing left to roll back.
        let _ = connection.execute_batch("rollback");
    }
    outcome
}

/// Which line of a template every part of its output came from.
#[derive(Debug, Clone)]
struct Marks(Vec<(usize, usize)>);

impl Marks {
    fn at(line: usize) -> Self {
        Self(vec![(0, line)])
    }

    /// Writes a mark before the first letter of each line that a tag does not cover. It stands after the indentation, so
    /// that whitespace control (`-%}`) works as without it.
    fn insert(text: &str) -> String {
        let tags = tags(text);
        let (mut marked, mut start) = (String::with_capacity(text.len() * 2), 0);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let first = start + line.len() - line.trim_start().len();
            let after = tags.partition_point(|tag| tag.end <= first);
            let covered = tags.get(after).is_some_and(|tag| {
                tag.start < first || (tag.start == first && text[first + 2..].starts_with('-'))
            });
            // Behind a tag of several lines, text goes on in a line of its own number.
            let inner = tags
                .get(after)
                .filter(|tag| tag.start < first && tag.end < start + line.len());
            let at = if covered {
                inner
                    .filter(|tag| !text[..tag.end - 2].ends_with('-'))
                    .map(|tag| tag.end)
            } else {
                Some(first)
            };
            match at.filter(|at| !text[*at..start + line.len()].trim().is_empty()) {
                Some(at) => {
                    marked.push_str(&text[start..at]);
                    marked.push_str(&format!("\u{1}{}\u{2}", index + 1));
                    marked.push_str(&text[at..start + line.len()]);
                }
                None => marked.push_str(line),
            }
            start += line.len();
        }
        marked
    }

    /// Output without its marks, and what they said.
    fn take(rendered: &str) -> (String, Self) {
        let mut pieces = rendered.split('\u{1}');
        let mut sql = pieces.next().unwrap_or_default().to_owned();
        let mut marks = Vec::new();
        for (line, text) in pieces.filter_map(|piece| piece.split_once('\u{2}')) {
            marks.push((sql.len(), line.parse().unwrap_or(1)));
            sql.push_str(text);
        }
        (sql, Self(marks))
    }

    fn line(&self, offset: usize) -> usize {
        let after = self.0.partition_point(|(start, _)| *start <= offset);
        self.0.get(after.saturating_sub(1)).map_or(1, |(_, line)| *line)
    }

    /// What DuckDB said, at the line it came from. It ends in `LINE n: text` and a caret below, or names no line.
    fn explain(&self, file: &str, statement: &str, prefix: usize, error: &duckdb::Error) -> Error {
        let text = error.to_string();
        let place = text
            .rsplit_once("\nLINE ")
            .and_then(|(head, place)| Some((head, place.split_once(": ")?)));
        let Some((head, (number, place))) = place else {
            return fault(file, if self.0.len() == 1 { self.line(0) } else { 1 }, text);
        };
        let (shown, caret) = place.split_once('\n').unwrap_or((place, ""));
        let column = caret
            .chars()
            .count()
            .saturating_sub(caret.trim_start().chars().count());
        let column = column.saturating_sub("LINE : ".len() + number.len());
        let before: usize = statement
            .split_inclusive('\n')
            .take(number.parse().unwrap_or(1_usize).saturating_sub(1))
            .map(str::len)
            .sum();
        let line = statement
            .get(before..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let cut = shown.starts_with("...") && !line.starts_with("...");
        let kept = shown.trim_start_matches("...").trim_end_matches("...");
        let within = kept
            .char_indices()
            .nth(column.saturating_sub(if cut { 3 } else { 0 }))
            .map_or(kept.len(), |(at, _)| at);
        let offset = before + line.find(kept).unwrap_or(0) + within;
        let message = format!(
            "{}\n  {shown}\n  {}{}",
            head.trim_end(),
            " ".repeat(column),
            caret.trim()
        );
        fault(file, self.line(offset.saturating_sub(prefix)), message.trim_end())
    }
}

/// What templates may ask of the project.
#[derive(Debug)]
struct Scope {
    vars: BTreeMap<String, Value>,
    schemas: BTreeMap<String, String>,
    sources: BTreeMap<(String, String), String>,
}

impl Scope {
    fn of(project: &Project) -> Self {
        Self {
            vars: project
                .vars
                .iter()
                .map(|(name, value)| (name.clone(), jinja(value)))
                .collect(),
            schemas: project
                .models
                .keys()
                .map(|name| (name.clone(), "main".to_owned()))
                .collect(),
            sources: project.sources.clone(),
        }
    }

    fn relation(&self, name: &str) -> Option<Relation> {
        self.schemas.get(name).map(|schema| Relation {
            schema: schema.clone(),
            name: name.to_owned(),
        })
    }
}

/// `schema.name`, as `this` and `ref` give it.
#[derive(Debug, Clone)]
struct Relation {
    schema: String,
    name: String,
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

impl Object for Relation {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "schema" => Some(Value::from(&self.schema)),
            "name" | "identifier" | "table" => Some(Value::from(&self.name)),
            _ => None,
        }
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// What one rendering sees: dbt's names, bound to one model, and what it said in `config` and `ref`.
#[derive(Debug)]
struct Context {
    scope: Arc<Scope>,
    this: Relation,
    append: bool,
    config: Mutex<BTreeMap<String, Value>>,
    refs: Mutex<BTreeSet<String>>,
    sources: Mutex<BTreeSet<String>>,
    depth: AtomicUsize,
}

impl Context {
    fn new(scope: &Arc<Scope>, name: &str, config: BTreeMap<String, Value>, append: bool) -> Self {
        let this = scope.relation(name).unwrap_or_else(|| Relation {
            schema: "main".into(),
            name: name.into(),
        });
        let (config, refs) = (Mutex::new(config), Mutex::default());
        Self {
            scope: Arc::clone(scope),
            this,
            append,
            config,
            refs,
            sources: Mutex::default(),
            depth: AtomicUsize::new(0),
        }
    }

    fn setting(&self, key: &str) -> Option<Value> {
        held(&self.config)
            .get(key)
            .filter(|value| !value.is_none())
            .cloned()
    }

    fn take_sources(&self) -> BTreeSet<String> {
        std::mem::take(&mut *held(&self.sources))
    }

    fn take_refs(&self) -> BTreeSet<String> {
        std::mem::take(&mut *held(&self.refs))
    }

    fn materialized(&self, model: &Model) -> Result<Materialization> {
        match self
            .setting("materialized")
            .as_ref()
            .map(ToString::to_string)
            .as_deref()
        {
            None | Some("view") => Ok(Materialization::View),
            Some("table") => Ok(Materialization::Table),
            Some("incremental") => Ok(Materialization::Incremental),
            Some(other) => {
                let line = line_of(&model.text, 1, "materialized");
                Err(fault(
                    &model.file,
                    line,
                    format!("materialized must be view, table or incremental, not `{other}`"),
                ))
            }
        }
    }

    fn schema(&self, model: &Model) -> Result<String> {
        let schema = self
            .setting("schema")
            .map_or_else(|| "main".to_owned(), |schema| schema.to_string());
        if schema
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !schema.is_empty()
        {
            return Ok(schema);
        }
        Err(fault(
            &model.file,
            line_of(&model.text, 1, "schema"),
            format!("`{schema}` cannot be the name of a schema"),
        ))
    }

    fn answer(&self, name: &str, state: &State<'_, '_>, args: &[Value]) -> Result<Value, JinjaError> {
        match name {
            "ref" => {
                let (first, second): (&str, Option<&str>) = from_args(args)?;
                let model = second.unwrap_or(first);
                let relation = self
                    .scope
                    .relation(model)
                    .ok_or_else(|| refusal(format!("there is no model `{model}`")))?;
                held(&self.refs).insert(model.to_owned());
                Ok(Value::from_object(relation))
            }
            "source" => {
                let (source, table): (String, String) = from_args(args)?;
                held(&self.sources).insert(format!("{source}.{table}"));
                let unknown = format!("there is no source `{source}.{table}` in a .yml under models/");
                let relation = self.scope.sources.get(&(source, table));
                relation.map(Value::from).ok_or_else(|| refusal(unknown))
            }
            "var" => {
                let (name, default): (&str, Option<&Value>) = from_args(args)?;
                let unset = || {
                    refusal(format!(
                        "variable `{name}` is not set in dbt_project.yml and has no default"
                    ))
                };
                self.scope.vars.get(name).or(default).cloned().ok_or_else(unset)
            }
            "config" => self.configure(from_args::<(Kwargs,)>(args)?.0),
            "is_incremental" => from_args::<()>(args).map(|()| Value::from(self.append)),
            "log" => {
                let words = args.first().map(ToString::to_string).unwrap_or_default();
                tracing::debug!(model = %self.this, "{words}");
                Ok(Value::from(""))
            }
            "env_var" => {
                let (name, default): (&str, Option<&Value>) = from_args(args)?;
                let found = std::env::var(name)
                    .ok()
                    .map(Value::from)
                    .or_else(|| default.cloned());
                found.ok_or_else(|| {
                    refusal(format!(
                        "environment variable `{name}` is not set and has no default"
                    ))
                })
            }
            "return" => {
                let (value,): (&Value,) = from_args(args)?;
                Err(refusal("return() outside of a macro").with_source(Returned(value.clone())))
            }
            "adapter.dispatch" => {
                let (name, _package): (&str, Option<&Value>) = from_args(args)?;
                let found = ["duckdb", "default"]
                    .iter()
                    .find_map(|engine| state.lookup(&format!("{engine}__{name}")));
                found.ok_or_else(|| {
                    refusal(format!("there is no macro `duckdb__{name}` or `default__{name}`"))
                })
            }
            "exceptions.raise_compiler_error" => {
                let (message,): (&str,) = from_args(args)?;
                Err(refusal(message.to_owned()))
            }
            "config.get" => {
                let (key, default): (&str, Option<&Value>) = from_args(args)?;
                Ok(self
                    .setting(key)
                    .or_else(|| default.cloned())
                    .unwrap_or_else(|| Value::from(())))
            }
            _ => Err(refusal(format!("`{name}` is not offered by the embedded runner"))),
        }
    }

    fn configure(&self, settings: Kwargs) -> Result<Value, JinjaError> {
        for key in settings.args() {
            let value: Value = settings.peek(key)?;
            match key {
                "alias" | "database" | "enabled" | "post_hook" | "unique_key" => {
                    return Err(refusal(format!(
                        "config `{key}` is not offered by the embedded runner"
                    )));
                }
                "incremental_strategy" if value.as_str() != Some("append") => {
                    return Err(refusal(
                        "incremental_strategy must be `append`, the only one that all engines share",
                    ));
                }
                _ => held(&self.config).insert(key.to_owned(), value),
            };
        }
        Ok(Value::from(""))
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let builtin = |name: &'static str| {
            Some(Value::from_object(Builtin {
                name,
                context: Arc::clone(self),
            }))
        };
        match key.as_str()? {
            "context" => Some(Value::from_dyn_object(Arc::clone(self))),
            "this" => Some(Value::from_object(self.this.clone())),
            "model" => Some(Value::from_pairs([("name", self.this.name.as_str())])),
            "target" => Some(Value::from_pairs([
                ("type", "duckdb"),
                ("name", "embedded"),
                ("schema", "main"),
            ])),
            "execute" => Some(Value::from(true)),
            "adapter" => builtin("adapter"),
            "builtins" => builtin("builtins"),
            "config" => builtin("config"),
            "env_var" => builtin("env_var"),
            "exceptions" => builtin("exceptions"),
            "is_incremental" => builtin("is_incremental"),
            "log" => builtin("log"),
            "ref" => builtin("ref"),
            "return" => builtin("return"),
            "source" => builtin("source"),
            "var" => builtin("var"),
            _ => None,
        }
    }
}

/// A function or namespace of dbt, bound to a rendering.
#[derive(Debug)]
struct Builtin {
    name: &'static str,
    context: Arc<Context>,
}

impl Object for Builtin {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, JinjaError> {
        self.context.answer(self.name, state, args)
    }

    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, JinjaError> {
        match self.name {
            "builtins" => self.context.answer(method, state, args),
            name => self.context.answer(&format!("{name}.{method}"), state, args),
        }
    }
}

/// A macro as a value that any template may call; it renders in the context of the model that called it.
#[derive(Debug)]
struct MacroCall {
    name: String,
    file: String,
}

/// Deeper calls of macros are taken for an endless recursion; the project nests four.
const DEEPEST_MACRO: usize = 32;

impl Object for MacroCall {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, JinjaError> {
        let value = state.lookup("context").unwrap_or_default();
        let Some(context) = value.downcast_object::<Context>() else {
            return Err(refusal("`context` is a name of dbt and must not be set"));
        };
        if context.depth.fetch_add(1, Ordering::Relaxed) >= DEEPEST_MACRO {
            return Err(refusal(format!("macro `{}` calls itself without end", self.name)));
        }
        let template = state.env().get_template(&macro_template(&self.name))?;
        let called = template
            .render_captured(value)?
            .with_state_mut(|inner| inner.call_macro("__body", args));
        context.depth.fetch_sub(1, Ordering::Relaxed);
        match called {
            Ok(text) => Ok(Value::from(text)),
            Err(error) => {
                match std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Returned>()) {
                    Some(Returned(value)) => Ok(value.clone()),
                    None => {
                        let place = format!(
                            "macro `{}` at {}:{}",
                            self.name,
                            self.file,
                            error.line().unwrap_or(1)
                        );
                        Err(refusal(format!("{} in {place}", explain(&error))))
                    }
                }
            }
        }
    }
}

/// How `return` leaves a macro with a value that is not turned into text.
#[derive(Debug)]
struct Returned(Value);

impl fmt::Display for Returned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a macro returned")
    }
}

impl std::error::Error for Returned {}

fn environment(project: &Project) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(true);
    let files = project.models.values().map(|model| (&model.file, &model.text));
    let tests = project.tests.iter().map(|test| (&test.file, &test.text));
    let analyses = project
        .analyses
        .values()
        .map(|analysis| (&analysis.file, &analysis.text));
    for (file, text) in files.chain(tests).chain(analyses) {
        let added = environment.add_template_owned(file.clone(), Marks::insert(text));
        added.map_err(|error| jinja_fault(file, &error))?;
    }
    for (name, source) in &project.macros {
        let added = environment.add_template_owned(macro_template(name), source.template.clone());
        added.map_err(|error| jinja_fault(&source.file, &error))?;
        let call = MacroCall {
            name: name.clone(),
            file: source.file.clone(),
        };
        environment.add_global(name.clone(), Value::from_object(call));
    }
    Ok(environment)
}

fn macro_template(name: &str) -> String {
    format!("macro {name}")
}

/// A variable as templates see it: maps by attribute, numbers as integers where they are.
fn jinja(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            (None, float) => Value::from(float),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => items.iter().map(jinja).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(key, field)| (key.as_str(), jinja(field))))
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(message: impl Into<String>) -> JinjaError {
    JinjaError::new(ErrorKind::InvalidOperation, message.into())
}

/// What went wrong, without the position, which the caller gives.
fn explain(error: &JinjaError) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

fn jinja_fault(file: &str, error: &JinjaError) -> Error {
    fault(file, error.line().unwrap_or(1), explain(error))
}

fn hook_line(model: &Model) -> usize {
    line_of(&model.text, 1, "pre_hook")
}

#[cfg(test)]
mod tests {
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
                format!(
                    "select\nuid, {{{{ twice(\n'uid') }}}} as x, {far} boom, {far} uid\nfrom raw.pod_states"
                ),
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
            .execute_batch(
                "insert into raw.pod_states values (3, 'c'); insert into marts.m values ('old', 0)",
            )
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
            .run_tests(&connection, &|_| true)
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
    fn a_test_that_cannot_run_names_its_line() {
        let project = project(&[("tests/broken.sql", "-- Nothing.\nselect 1\nfrom gone")]).unwrap();
        let error = Runner::new(&project)
            .unwrap()
            .run_tests(&database(), &|_| true)
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
}
