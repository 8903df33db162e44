//! What AWS's Cost Explorer answers to `GetCostAndUsage`, flattened to rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use duckdb::Connection;
use podledger_sql::Doing;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The columns of the table `answers`, all of them texts.
pub(super) const COLUMNS: &[&str] = &[
    "Start",
    "End",
    "Estimated",
    "UnblendedCost",
    "AmortizedCost",
    "UsageQuantity",
    "UsageUnit",
    "Currency",
    "SERVICE",
    "REGION",
    "AZ",
    "LINKED_ACCOUNT",
    "USAGE_TYPE",
    "INSTANCE_TYPE",
    "OPERATION",
    "RECORD_TYPE",
    "Tags",
];

/// The dimensions by which answers may be grouped: the columns that a charge has for them.
pub(super) fn dimensions() -> impl Iterator<Item = &'static str> {
    let columns = COLUMNS.iter().copied();
    columns
        .skip_while(|column| *column != "SERVICE")
        .take_while(|column| *column != "Tags")
}

/// An answer to `GetCostAndUsage`, in the words of AWS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    #[serde(default)]
    pub group_definitions: Vec<Definition>,
    pub results_by_time: Vec<Of>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Definition {
    pub r#type: String,
    pub key: String,
}

/// What it cost in a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Of {
    pub time_period: Time,
    #[serde(default)]
    pub estimated: bool,
    #[serde(default)]
    pub groups: Vec<Group>,
    #[serde(default)]
    pub total: BTreeMap<String, Metric>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Time {
    pub start: String,
    pub end: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Group {
    pub keys: Vec<String>,
    pub metrics: BTreeMap<String, Metric>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metric {
    pub amount: String,
    pub unit: Option<String>,
}

/// Makes the table `answers` of the file `path`, or of `text` that stands for it: one answer, or several one after another.
///
/// # Errors
/// [`Error::Input`] for text that is no answer of Cost Explorer, or breaks off; and for one without the metric `UnblendedCost`.
pub(super) fn load(connection: &Connection, path: &Path, text: Option<&[u8]>) -> Result<()> {
    let text = match text {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?),
    };
    let input = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    let definitions: Vec<String> = COLUMNS
        .iter()
        .map(|column| format!("\"{column}\" varchar"))
        .collect();
    connection
        .execute_batch(&format!(
            "create or replace table answers ({})",
            definitions.join(", ")
        ))
        .doing("set up the import")?;
    let mut appender = connection.appender("answers").doing("set up the import")?;
    for answer in serde_json::Deserializer::from_slice(&text).into_iter::<Answer>() {
        let answer = answer.map_err(|error| {
            input(format!(
                "is no answer of Cost Explorer to GetCostAndUsage, or breaks off: {error}"
            ))
        })?;
        for of in &answer.results_by_time {
            let whole = Group {
                keys: Vec::new(),
                metrics: BTreeMap::new(),
            };
            let groups: Vec<(&Group, &BTreeMap<String, Metric>)> = if of.groups.is_empty() {
                vec![(&whole, &of.total)]
            } else {
                of.groups.iter().map(|group| (group, &group.metrics)).collect()
            };
            for (group, metrics) in groups {
                // A time in which nothing was used has neither groups nor totals.
                if group.keys.is_empty() && metrics.is_empty() {
                    continue;
                }
                let cells = cells(&answer.group_definitions, of, group, metrics).map_err(&input)?;
                let cells: Vec<Option<&str>> = COLUMNS
                    .iter()
                    .map(|column| cells.get(column).map(String::as_str))
                    .collect();
                appender
                    .append_row(duckdb::appender_params_from_iter(cells))
                    .doing("take in an answer of Cost Explorer")?;
            }
        }
    }
    appender.flush().doing("take in an answer of Cost Explorer")?;
    Ok(())
}

/// The cells of a group, by column.
fn cells(
    definitions: &[Definition],
    of: &Of,
    group: &Group,
    metrics: &BTreeMap<String, Metric>,
) -> Result<BTreeMap<&'static str, String>, String> {
    let at = format!("{} to {}", of.time_period.start, of.time_period.end);
    let unblended = metrics
        .get("UnblendedCost")
        .ok_or_else(|| format!("{at}: has no metric UnblendedCost; ask for it"))?;
    if group.keys.len() != definitions.len() && !group.keys.is_empty() {
        return Err(format!(
            "{at}: a group has {} keys, GroupDefinitions names {}",
            group.keys.len(),
            definitions.len()
        ));
    }
    let mut cells = BTreeMap::from([
        ("Start", of.time_period.start.clone()),
        ("End", of.time_period.end.clone()),
        ("Estimated", of.estimated.to_string()),
        ("UnblendedCost", unblended.amount.clone()),
    ]);
    if let Some(unit) = &unblended.unit {
        cells.insert("Currency", unit.clone());
    }
    if let Some(amortized) = metrics.get("AmortizedCost") {
        cells.insert("AmortizedCost", amortized.amount.clone());
    }
    if let Some(usage) = metrics.get("UsageQuantity") {
        cells.insert("UsageQuantity", usage.amount.clone());
        cells.insert("UsageUnit", usage.unit.clone().unwrap_or_default());
    }
    let mut tags = BTreeMap::new();
    for (definition, key) in definitions.iter().zip(&group.keys) {
        match definition.r#type.as_str() {
            "DIMENSION" => {
                let column = dimensions()
                    .find(|column| *column == definition.key)
                    .ok_or_else(|| {
                        format!(
                            "is grouped by {}, which no charge has; group by another dimension",
                            definition.key
                        )
                    })?;
                cells.insert(column, key.clone());
            }
            "TAG" => {
                // `Environment$prod`; nothing after the sign where there is no such tag.
                let value = key
                    .strip_prefix(definition.key.as_str())
                    .and_then(|rest| rest.strip_prefix('$'))
                    .unwrap_or(key);
                if !value.is_empty() {
                    tags.insert(definition.key.clone(), value.to_owned());
                }
            }
            other => return Err(format!("is grouped by a {other}; group by dimensions or tags")),
        }
    }
    if !tags.is_empty() {
        let tags = serde_json::to_string(&tags).map_err(|error| error.to_string())?;
        cells.insert("Tags", tags);
    }
    Ok(cells)
}
