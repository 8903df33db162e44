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

mod context;
mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use duckdb::Connection;
use minijinja::{Environment, Error as JinjaError, ErrorKind, Value};

use self::context::{Context, Scope, environment, explain, hook_line, jinja, jinja_fault};
use self::marks::Marks;
use crate::error::{Error, Result};
use crate::project::{ColumnRule, ColumnTest, Model, Project, Target, fault};

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

/// Which columns are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TestedColumns {
    /// Of what is kept: a view computes what it shows for each test, and shows what is kept.
    OfTables,
    /// Of views too.
    All,
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

    /// Runs the tests of `tests/` and of the `.yml` files that read a model or source that has `changed`, those of `columns`; returns
    /// those that found rows. Each that ran is `done`: a test by its name, those of columns by what they read.
    ///
    /// # Errors
    /// [`Error::Model`] if DuckDB cannot run a test.
    pub fn run_tests(
        &self,
        connection: &Connection,
        columns: TestedColumns,
        changed: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(&str),
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
            done(&test.name);
        }
        for test in &self.project.column_tests {
            let reads = match &test.target {
                Target::Model(name) => name.clone(),
                Target::Source(relation) => relation.clone(),
            };
            if !changed(&reads) || columns == TestedColumns::OfTables && self.is_view(&reads) {
                continue;
            }
            if test.rule == ColumnRule::NotNull && !self.has_null(connection, test, &mut null_free)? {
                done(&reads);
                continue;
            }
            let (name, message, sql) = self.column_test(test);
            let found = failing(connection, &test.file, &sql, &Marks::at(test.line))?;
            done(&reads);
            if let Some((rows, sample)) = found {
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

    fn is_view(&self, name: &str) -> bool {
        self.parsed
            .get(name)
            .is_some_and(|parsed| parsed.materialized == Materialization::View)
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

#[cfg(test)]
mod tests;
