//! The dbt project as data: models, macros, tests, sources and variables, each with the file it came from.
//!
//! ```text
//! dbt_project.yml ─┐
//! models/**        ├─> Project::from_files ──> Runner (renders and runs)
//! macros/*, tests/*┘
//! ```
//!
//! Architecture invariant: nothing here renders a template or knows a database. What the embedded runner cannot
//! do as dbt would is refused here, with file and line, instead of being skipped in silence.

mod files;
mod template;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use include_dir::{Dir, include_dir};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use self::files::{Node, Properties, Settings, column_rule};
use self::template::refuse_banned;
pub(crate) use self::template::tags;
use crate::error::{Error, Result};

static MODELS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/models");
static MACROS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/macros");
static ANALYSES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/analyses");
static TESTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/tests");
const PROJECT_FILE: &str = "dbt_project.yml";

/// A dbt project: its models, macros, tests, sources and variables, all with the files that hold them.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) models: BTreeMap<String, Model>,
    pub(crate) macros: BTreeMap<String, Macro>,
    pub(crate) tests: Vec<SingularTest>,
    pub(crate) column_tests: Vec<ColumnTest>,
    pub(crate) analyses: BTreeMap<String, Analysis>,
    pub(crate) sources: BTreeMap<(String, String), String>,
    pub(crate) vars: Map<String, Json>,
}

/// A `.sql` file under `models/` and what `dbt_project.yml` and its `.yml` configure for it.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) config: Map<String, Json>,
    /// What its `.yml` says of it.
    pub(crate) description: String,
    /// What its `.yml` says of its columns, in that order.
    pub(crate) columns: Vec<Described>,
}

/// Something with a name, and what the project says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// Empty where the project says nothing.
    pub description: String,
}

/// A model that others may rely on: a folder `marts` holds it.
#[derive(Debug, Clone, Copy)]
pub struct Mart<'a> {
    pub name: &'a str,
    /// Grain and meaning.
    pub description: &'a str,
    pub columns: &'a [Described],
}

/// One macro, cut out of its file but still on its line there, and named `__body` so that recursion goes through
/// the global of its name.
#[derive(Debug, Clone)]
pub(crate) struct Macro {
    pub(crate) file: String,
    pub(crate) template: String,
}

/// A `.sql` file under `tests/`: a query that must yield no row.
#[derive(Debug, Clone)]
pub(crate) struct SingularTest {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) guards: String,
}

/// A `.sql` file under `analyses/`: a query that is rendered and asked, but makes no relation.
#[derive(Debug, Clone)]
pub(crate) struct Analysis {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A `not_null`, `unique` or `accepted_values` of a `.yml` file.
#[derive(Debug, Clone)]
pub(crate) struct ColumnTest {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) target: Target,
    pub(crate) column: String,
    pub(crate) rule: ColumnRule,
}

/// What a column test looks at.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Model(String),
    Source(String),
}

/// What a column test demands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ColumnRule {
    NotNull,
    Unique,
    /// SQL literals, one of which every value must equal.
    Accepted(Vec<String>),
}

impl Project {
    /// The project that is built into the binary.
    ///
    /// # Errors
    /// [`Error::Model`] as [`Project::from_files`], which a test of this crate rules out.
    pub fn embedded() -> Result<Self> {
        Self::from_files(Self::embedded_files())
    }

    /// The files of the project that is built into the binary: path relative to the project, and text. They are a whole
    /// dbt project.
    #[must_use]
    pub fn embedded_files() -> Vec<(String, String)> {
        let mut files = vec![(
            PROJECT_FILE.to_owned(),
            include_str!("../../dbt_project.yml").to_owned(),
        )];
        for (folder, dir) in [
            ("models", &MODELS),
            ("macros", &MACROS),
            ("analyses", &ANALYSES),
            ("tests", &TESTS),
        ] {
            collect(folder, dir, &mut files);
        }
        files
    }

    /// The marts, by name, with what is said of them and their columns.
    pub fn marts(&self) -> impl Iterator<Item = Mart<'_>> {
        let of_marts = self
            .models
            .iter()
            .filter(|(_, model)| model.file.starts_with("models/marts/"));
        of_marts.map(|(name, model)| Mart {
            name,
            description: &model.description,
            columns: &model.columns,
        })
    }

    /// Every variable with its value.
    #[must_use]
    pub fn vars(&self) -> &Map<String, Json> {
        &self.vars
    }

    /// A project of files given as path (relative to the project, with `/`) and text.
    ///
    /// # Errors
    /// [`Error::Model`] for YAML that does not parse, a name that is given twice or is no lower case identifier, a
    /// `.yml` that names no model, a test or template construct that the embedded runner does not offer.
    pub fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let files: BTreeMap<String, String> = files.into_iter().collect();
        let settings: Settings = match files.get(PROJECT_FILE) {
            Some(text) => parse_yaml(PROJECT_FILE, text)?,
            None => {
                return Err(Error::Model {
                    file: PROJECT_FILE.into(),
                    line: 1,
                    message: "is missing".into(),
                });
            }
        };
        let mut project = Self {
            models: BTreeMap::new(),
            macros: BTreeMap::new(),
            tests: Vec::new(),
            column_tests: Vec::new(),
            analyses: BTreeMap::new(),
            sources: BTreeMap::new(),
            vars: settings.vars(),
        };
        for (file, text) in &files {
            match (
                file.split('/').next(),
                file.rsplit_once('.').map(|(_, extension)| extension),
            ) {
                (Some("models"), Some("sql")) => {
                    project.add_model(file, text, settings.folder_config(file))?;
                }
                (Some("macros"), Some("sql")) => project.add_macros(file, text)?,
                (Some("analyses"), Some("sql")) => {
                    refuse_banned(file, text, &tags(text))?;
                    let analysis = Analysis {
                        file: file.clone(),
                        text: text.clone(),
                    };
                    project.analyses.insert(identifier(file)?, analysis);
                }
                (Some("tests"), Some("sql")) => project.add_test(file, text)?,
                _ => {}
            }
        }
        for (file, text) in &files {
            if file.starts_with("models/") && (file.ends_with(".yml") || file.ends_with(".yaml")) {
                project.add_properties(file, text)?;
            }
        }
        Ok(project)
    }

    /// The project with a variable set, as `--vars` of dbt does; a name that it does not declare is added.
    #[must_use]
    pub fn with_var(mut self, name: &str, value: Json) -> Self {
        self.vars.insert(name.to_owned(), value);
        self
    }

    /// The value of a variable; `None` where it is not declared.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&Json> {
        self.vars.get(name)
    }

    /// A number that differs between projects whose models or macros differ. It may also differ between two builds of
    /// podledger: it is for telling whether relations are those of this project, not for keeping.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for model in self.models.values() {
            (
                &model.file,
                &model.text,
                Json::from(model.config.clone()).to_string(),
            )
                .hash(&mut hasher);
        }
        for each in self.macros.values() {
            (&each.file, &each.template).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn add_model(&mut self, file: &str, text: &str, config: Map<String, Json>) -> Result<()> {
        let name = identifier(file)?;
        refuse_banned(file, text, &tags(text))?;
        let model = Model {
            file: file.to_owned(),
            text: text.to_owned(),
            config,
            description: String::new(),
            columns: Vec::new(),
        };
        match self.models.insert(name.clone(), model) {
            Some(other) => Err(fault(
                file,
                1,
                format!("`{name}` is also the name of {}", other.file),
            )),
            None => Ok(()),
        }
    }

    fn add_test(&mut self, file: &str, text: &str) -> Result<()> {
        refuse_banned(file, text, &tags(text))?;
        let comment = text.lines().find_map(|line| line.trim().strip_prefix("--"));
        let Some(guards) = comment
            .map(|words| words.trim().to_owned())
            .filter(|words| !words.is_empty())
        else {
            return Err(fault(
                file,
                1,
                "a test must open with a `--` comment that says what it guards",
            ));
        };
        self.tests.push(SingularTest {
            name: identifier(file)?,
            file: file.to_owned(),
            text: text.to_owned(),
            guards,
        });
        Ok(())
    }

    /// Cuts a file into its macros. Those of Spark are for dbt alone; `source`, `ref` and `generate_schema_name` only
    /// teach dbt what the runner does by itself.
    fn add_macros(&mut self, file: &str, text: &str) -> Result<()> {
        let tags = tags(text);
        let mut rest = tags.iter().enumerate();
        while let Some((first, opening)) = rest.next() {
            if opening.text.starts_with("{#") {
                continue;
            }
            let Some((name, signature)) = opening
                .words()
                .strip_prefix("macro ")
                .and_then(|_| opening.signature())
            else {
                return Err(fault(
                    file,
                    opening.line,
                    format!("only macros may stand here, not `{}`", opening.text),
                ));
            };
            let Some((last, closing)) = rest.by_ref().find(|(_, tag)| tag.words() == "endmacro") else {
                return Err(fault(
                    file,
                    opening.line,
                    format!("macro `{name}` has no endmacro"),
                ));
            };
            if name.starts_with("spark__")
                || matches!(
                    name,
                    "source" | "ref" | "generate_schema_name" | "duckdb__parquet_of"
                )
            {
                continue;
            }
            refuse_banned(file, text, &tags[first..=last])?;
            let padding = "\n".repeat(opening.line - 1);
            let template = format!(
                "{padding}{{% macro __body{signature}{}",
                &text[opening.end..closing.end]
            );
            if let Some(other) = self.macros.insert(
                name.to_owned(),
                Macro {
                    file: file.to_owned(),
                    template,
                },
            ) {
                return Err(fault(
                    file,
                    opening.line,
                    format!("macro `{name}` is also in {}", other.file),
                ));
            }
        }
        Ok(())
    }

    fn add_properties(&mut self, file: &str, text: &str) -> Result<()> {
        let properties: Properties = parse_yaml(file, text)?;
        for node in properties.models {
            let line = line_of(text, 1, &format!("name: {}", node.name));
            let Some(model) = self.models.get_mut(&node.name) else {
                return Err(fault(file, line, format!("there is no model `{}`", node.name)));
            };
            model.config.extend(node.config.clone());
            model.description.clone_from(&node.description);
            model.columns = node.columns.iter().map(Described::from).collect();
            self.add_column_tests(file, text, line, Target::Model(node.name.clone()), node)?;
        }
        for source in properties.sources {
            for table in source.tables {
                let line = line_of(
                    text,
                    line_of(text, 1, &format!("name: {}", source.name)),
                    &format!("name: {}", table.name),
                );
                let schema = source.schema.as_ref().unwrap_or(&source.name);
                let relation = format!("{schema}.{}", table.identifier.as_ref().unwrap_or(&table.name));
                let key = (source.name.clone(), table.name.clone());
                if self.sources.insert(key, relation.clone()).is_some() {
                    return Err(fault(
                        file,
                        line,
                        format!("source `{}.{}` is declared twice", source.name, table.name),
                    ));
                }
                self.add_column_tests(file, text, line, Target::Source(relation), table)?;
            }
        }
        Ok(())
    }

    fn add_column_tests(
        &mut self,
        file: &str,
        text: &str,
        line: usize,
        target: Target,
        node: Node,
    ) -> Result<()> {
        if !node.data_tests.is_empty() {
            return Err(fault(file, line, "tests of a whole model belong into tests/"));
        }
        for column in node.columns {
            let line = line_of(text, line, &format!("name: {}", column.name));
            for test in column.data_tests {
                let rule = column_rule(&test).map_err(|message| fault(file, line, message))?;
                let (file, column) = (file.to_owned(), column.name.clone());
                self.column_tests.push(ColumnTest {
                    file,
                    line,
                    target: target.clone(),
                    column,
                    rule,
                });
            }
        }
        Ok(())
    }
}

impl From<&files::Column> for Described {
    fn from(column: &files::Column) -> Self {
        Self {
            name: column.name.clone(),
            description: column.description.clone(),
        }
    }
}

/// The stem of a file as the name of a relation.
fn identifier(file: &str) -> Result<String> {
    let stem = file
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".sql"))
        .unwrap_or_default();
    let plain = stem
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if plain && !stem.is_empty() && !stem.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Ok(stem.to_owned());
    }
    Err(fault(
        file,
        1,
        "the file's name must be of lower case letters, digits and underscores",
    ))
}

/// The first line from `from` on that contains `words` and no longer name, else `from`.
pub(crate) fn line_of(text: &str, from: usize, words: &str) -> usize {
    let holds = |line: &str| {
        line.match_indices(words).any(|(at, _)| {
            !line[at + words.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
        })
    };
    text.lines()
        .enumerate()
        .skip(from - 1)
        .find(|(_, line)| holds(line))
        .map_or(from, |(index, _)| index + 1)
}

/// An error of a project file.
pub(crate) fn fault(file: &str, line: usize, message: impl Into<String>) -> Error {
    Error::Model {
        file: file.to_owned(),
        line,
        message: message.into(),
    }
}

fn parse_yaml<T: for<'a> Deserialize<'a>>(file: &str, text: &str) -> Result<T> {
    yaml_serde::from_str(text).map_err(|error| {
        fault(
            file,
            error.location().map_or(1, |location| location.line()),
            error.to_string(),
        )
    })
}

fn collect(path: &str, dir: &Dir<'static>, files: &mut Vec<(String, String)>) {
    for file in dir.files() {
        if let Some(text) = file.contents_utf8() {
            files.push((
                format!("{path}/{}", file.path().to_string_lossy().replace('\\', "/")),
                text.to_owned(),
            ));
        }
    }
    for inner in dir.dirs() {
        collect(path, inner, files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "name: shop\nvars: {a: 1, shop: {a: 2}}\nmodels: {+materialized: view, shop: {marts: {+materialized: table, +pre-hook: x, big: {+schema: large}}}}\n";

    fn load(files: &[(&str, &str)]) -> Result<Project> {
        let files = [("dbt_project.yml", SETTINGS)].iter().chain(files);
        Project::from_files(files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
    }

    fn refused(file: &str, text: &str) -> String {
        load(&[(file, text)]).unwrap_err().to_string()
    }

    #[test]
    fn the_embedded_project_loads() {
        Project::embedded().unwrap();
    }

    #[test]
    fn the_nearest_folder_configures_a_model_and_its_yml_stands_above() {
        let project = load(&[
            ("models/a.sql", "select 1"),
            ("models/marts/b.sql", "select 1"),
            ("models/marts/big/c.sql", "select 1"),
            (
                "models/marts/marts.yml",
                "models: [{name: b, config: {schema: own}}]",
            ),
        ])
        .unwrap();
        let config = |name: &str| Json::Object(project.models[name].config.clone());
        assert_eq!(config("a"), serde_json::json!({"materialized": "view"}));
        assert_eq!(
            config("b"),
            serde_json::json!({"materialized": "table", "pre_hook": "x", "schema": "own"})
        );
        assert_eq!(
            config("c"),
            serde_json::json!({"materialized": "table", "pre_hook": "x", "schema": "large"})
        );
        assert_eq!(project.vars["a"], 2);
    }

    #[test]
    fn a_macro_keeps_its_line_and_those_of_spark_are_left_to_dbt() {
        let text = "{# {% macro no() %} #}\n{% macro a(x) -%}\n  {{ x }}\n{%- endmacro %}\n{% macro spark__a() %}{% call statement('x') %}{% endcall %}{% endmacro %}{% macro b() %}'}}'{% endmacro %}";
        let project = load(&[("macros/m.sql", text)]).unwrap();
        assert_eq!(project.macros.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            project.macros["a"].template,
            "\n{% macro __body(x) -%}\n  {{ x }}\n{%- endmacro %}"
        );
    }

    #[test]
    fn what_the_runner_cannot_do_is_refused_at_its_line() {
        let table = [
            (
                "models/a.yml",
                "models:\n  - name: gone",
                "models/a.yml:2: there is no model `gone`",
            ),
            (
                "models/Big.sql",
                "",
                "models/Big.sql:1: the file's name must be of lower case letters, digits and underscores",
            ),
            (
                "tests/t.sql",
                "select 1",
                "tests/t.sql:1: a test must open with a `--` comment that says what it guards",
            ),
            (
                "macros/m.sql",
                "\n{% set x = 1 %}",
                "macros/m.sql:2: only macros may stand here, not `{% set x = 1 %}`",
            ),
            (
                "macros/m.sql",
                "\n{% macro a() %}",
                "macros/m.sql:2: macro `a` has no endmacro",
            ),
            (
                "macros/m.sql",
                "{% macro a() %}\n{{ run_query('') }}{% endmacro %}",
                "macros/m.sql:2: `run_query` has no effect in the embedded runner; remove it",
            ),
            (
                "macros/m.sql",
                "{% macro a() %}{% endmacro %}\n{% macro a() %}{% endmacro %}",
                "macros/m.sql:2: macro `a` is also in macros/m.sql",
            ),
            (
                "models/s.yml",
                "sources:\n- name: lake\n  tables:\n  - name: a\n    columns:\n    - name: b\n      tests: [relationships]",
                "models/s.yml:6: only not_null, unique and accepted_values are offered, without settings, not \"relationships\"",
            ),
        ];
        for (file, text, expected) in table {
            assert_eq!(refused(file, text), expected);
        }
        assert!(refused("models/a.yml", "models:\n  - nam: x").starts_with("models/a.yml:2: "));
    }

    #[test]
    fn tags_end_where_jinja_ends_them() {
        let text = "a {{ {'x': '}}'} }} {b} {%- set y = \"%}\" -%}\n{# {{ #} {{ open";
        let found: Vec<_> = tags(text).iter().map(|tag| (tag.line, tag.text)).collect();
        assert_eq!(
            found,
            [
                (1, "{{ {'x': '}}'} }}"),
                (1, "{%- set y = \"%}\" -%}"),
                (2, "{# {{ #}")
            ]
        );
    }
}
