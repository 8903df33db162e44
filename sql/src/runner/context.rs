//! What templates may ask: dbt's names, and the macros of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::{Kwargs, Object, ObjectRepr, from_args};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, State, UndefinedBehavior, Value};
use serde_json::Value as Json;

use super::Materialization;
use super::marks::Marks;
use crate::error::{Error, Result};
use crate::project::{Model, Project, fault, line_of};

/// What templates may ask of the project.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) vars: BTreeMap<String, Value>,
    pub(super) schemas: BTreeMap<String, String>,
    pub(super) sources: BTreeMap<(String, String), String>,
}

impl Scope {
    pub(super) fn of(project: &Project) -> Self {
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

    pub(super) fn relation(&self, name: &str) -> Option<Relation> {
        self.schemas.get(name).map(|schema| Relation {
            schema: schema.clone(),
            name: name.to_owned(),
        })
    }
}

/// `schema.name`, as `this` and `ref` give it.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
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
pub(super) struct Context {
    pub(super) scope: Arc<Scope>,
    pub(super) this: Relation,
    pub(super) append: bool,
    pub(super) config: Mutex<BTreeMap<String, Value>>,
    pub(super) refs: Mutex<BTreeSet<String>>,
    pub(super) sources: Mutex<BTreeSet<String>>,
    pub(super) depth: AtomicUsize,
}

impl Context {
    pub(super) fn new(scope: &Arc<Scope>, name: &str, config: BTreeMap<String, Value>, append: bool) -> Self {
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

    pub(super) fn setting(&self, key: &str) -> Option<Value> {
        held(&self.config)
            .get(key)
            .filter(|value| !value.is_none())
            .cloned()
    }

    pub(super) fn take_sources(&self) -> BTreeSet<String> {
        std::mem::take(&mut *held(&self.sources))
    }

    pub(super) fn take_refs(&self) -> BTreeSet<String> {
        std::mem::take(&mut *held(&self.refs))
    }

    pub(super) fn materialized(&self, model: &Model) -> Result<Materialization> {
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

    pub(super) fn schema(&self, model: &Model) -> Result<String> {
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

    pub(super) fn answer(
        &self,
        name: &str,
        state: &State<'_, '_>,
        args: &[Value],
    ) -> Result<Value, JinjaError> {
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

    pub(super) fn configure(&self, settings: Kwargs) -> Result<Value, JinjaError> {
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
pub(super) struct Builtin {
    pub(super) name: &'static str,
    pub(super) context: Arc<Context>,
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
pub(super) struct MacroCall {
    pub(super) name: String,
    pub(super) file: String,
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
pub(super) struct Returned(pub(super) Value);

impl fmt::Display for Returned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a macro returned")
    }
}

impl std::error::Error for Returned {}

pub(super) fn environment(project: &Project) -> Result<Environment<'static>> {
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

pub(super) fn macro_template(name: &str) -> String {
    format!("macro {name}")
}

/// A variable as templates see it: maps by attribute, numbers as integers where they are.
pub(super) fn jinja(value: &Json) -> Value {
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

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn refusal(message: impl Into<String>) -> JinjaError {
    JinjaError::new(ErrorKind::InvalidOperation, message.into())
}

/// What went wrong, without the position, which the caller gives.
pub(super) fn explain(error: &JinjaError) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

pub(super) fn jinja_fault(file: &str, error: &JinjaError) -> Error {
    fault(file, error.line().unwrap_or(1), explain(error))
}

pub(super) fn hook_line(model: &Model) -> usize {
    line_of(&model.text, 1, "pre_hook")
}
