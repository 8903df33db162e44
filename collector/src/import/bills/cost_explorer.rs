//! What AWS's Cost Explorer answers to `GetCostAndUsage`, flattened to rows.

use std::collections::BTreeMap;
use std::path::Path;

use duckdb::Connection;
use podledger_sql::Doing;
use serde::Deserialize;

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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    group_definitions: Vec<Definition>,
    results_by_time: Vec<Of>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    r#type: String,
    key: String,
}

/// What it cost in a time.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Of {
    time_period: Time,
    #[serde(default)]
    estimated: bool,
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(default)]
    total: BTreeMap<String, Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Time {
    start: String,
    end: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    keys: Vec<String>,
    metrics: BTreeMap<String, Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    amount: String,
    unit: Option<String>,
}

/// Makes the table `answers` of the file `path`: one answer, or several one after another.
///
/// # Errors
/// [`Error::Input`] for text that is no answer of Cost Explorer, or breaks off; and for one without the metric `UnblendedCost`.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<()> {
    let text = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
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
                let column = COLUMNS
                    .iter()
                    .skip_while(|column| **column != "SERVICE")
                    .find(|column| **column == definition.key && **column != "Tags")
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
