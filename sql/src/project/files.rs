//! What `dbt_project.yml` and the `.yml` files beside models may say.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::ColumnRule;

#[derive(Deserialize)]
pub(super) struct Settings {
    pub(super) name: String,
    #[serde(default)]
    pub(super) vars: Map<String, Json>,
    #[serde(default)]
    pub(super) models: Json,
}

impl Settings {
    /// Variables of the whole file and, above them, those under the project's own name.
    pub(super) fn vars(&self) -> Map<String, Json> {
        let mut vars = self.vars.clone();
        if let Some(Json::Object(own)) = vars.remove(&self.name) {
            vars.extend(own);
        }
        vars
    }

    /// `+key: value` of every folder on the way to a model, the nearest winning.
    pub(super) fn folder_config(&self, file: &str) -> Map<String, Json> {
        let mut config = Map::new();
        let mut level = Some(&self.models);
        let folders = file
            .split('/')
            .skip(1)
            .map(|folder| folder.trim_end_matches(".sql"));
        for folder in std::iter::once(self.name.as_str()).chain(folders) {
            config.extend(
                level
                    .and_then(Json::as_object)
                    .into_iter()
                    .flatten()
                    .filter_map(configured),
            );
            level = level.and_then(|level| level.get(folder));
        }
        config.extend(
            level
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
                .filter_map(configured),
        );
        config
    }
}

pub(super) fn configured((key, value): (&String, &Json)) -> Option<(String, Json)> {
    key.strip_prefix('+')
        .map(|key| (key.replace('-', "_"), value.clone()))
}

#[derive(Deserialize)]
pub(super) struct Properties {
    #[serde(default)]
    pub(super) models: Vec<Node>,
    #[serde(default)]
    pub(super) sources: Vec<SourceNode>,
}

#[derive(Deserialize)]
pub(super) struct SourceNode {
    pub(super) name: String,
    pub(super) schema: Option<String>,
    #[serde(default)]
    pub(super) tables: Vec<Node>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) identifier: Option<String>,
    #[serde(default)]
    pub(super) config: Map<String, Json>,
    #[serde(default)]
    pub(super) columns: Vec<Column>,
    #[serde(default, alias = "tests")]
    pub(super) data_tests: Vec<Json>,
}

#[derive(Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default, alias = "tests")]
    pub(super) data_tests: Vec<Json>,
}

pub(super) fn column_rule(test: &Json) -> Result<ColumnRule, String> {
    let arguments = match test {
        Json::String(name) if name == "not_null" => return Ok(ColumnRule::NotNull),
        Json::String(name) if name == "unique" => return Ok(ColumnRule::Unique),
        Json::Object(test) if test.len() == 1 => test.get("accepted_values").and_then(Json::as_object),
        _ => None,
    };
    let arguments = arguments.map(|all| all.get("arguments").and_then(Json::as_object).unwrap_or(all));
    let Some(arguments) = arguments else {
        return Err(format!(
            "only not_null, unique and accepted_values are offered, without settings, not {test}"
        ));
    };
    if let Some(other) = arguments
        .keys()
        .find(|key| !matches!(key.as_str(), "values" | "quote"))
    {
        return Err(format!(
            "accepted_values takes `values` and `quote`, not `{other}`"
        ));
    }
    let quote = arguments.get("quote").and_then(Json::as_bool).unwrap_or(true);
    let values = arguments
        .get("values")
        .and_then(Json::as_array)
        .filter(|values| !values.is_empty());
    let literal = |value: &Json| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if quote {
            format!("'{}'", text.replace('\'', "''"))
        } else {
            text
        }
    };
    Ok(ColumnRule::Accepted(
        values
            .ok_or("accepted_values needs a list of `values`")?
            .iter()
            .map(literal)
            .collect(),
    ))
}
