//! `import opencost-prices`: the CSV with which OpenCost is told prices of nodes, GPUs and volumes.
//!
//! Its columns are `EndTimestamp, InstanceID, Region, AssetClass, InstanceIDField, InstanceType, MarketPriceHourly, Version`.
//! As there, a row of a node is about the node whose field has the value; a node that no row names is priced by the mean of
//! the rows of its region and instance type; GPUs come on top, by the value of a label; volumes are priced per GiB.
//! OpenCost reads the newest price only. Here a price ends with its `EndTimestamp` where a later row follows it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use podledger_sql::lake::Lake;
use podledger_sql::units::NanoUsd;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::import::{Imported, digest, write_rows};

/// Columns without which a row says nothing.
const COLUMNS: &[&str] = &["InstanceID", "AssetClass", "InstanceIDField", "MarketPriceHourly"];

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(default)]
    end_timestamp: String,
    #[serde(rename = "InstanceID")]
    instance_id: String,
    #[serde(default)]
    region: String,
    asset_class: String,
    #[serde(rename = "InstanceIDField")]
    instance_id_field: String,
    #[serde(default)]
    instance_type: String,
    market_price_hourly: String,
}

/// Whose price it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    selector: &'static str,
    selector_key: String,
    selector_value: String,
    region: String,
}

/// A fact of `price_overrides`.
#[derive(Debug, Serialize)]
struct Row {
    selector: &'static str,
    selector_key: Option<String>,
    selector_value: String,
    region: Option<String>,
    valid_from_at: Timestamp,
    hourly_usd: String,
    source: String,
}

/// Reads `file` and writes its prices to the lake; the same file is written once.
///
/// # Errors
/// [`Error::Input`] with line and column for what is no price; [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, file: &Path, recorded_date: Date) -> Result<Imported> {
    let bytes = std::fs::read(file).map_err(|source| Error::Io {
        path: file.to_path_buf(),
        source,
    })?;
    let rows = read(&bytes).map_err(|reason| Error::Input {
        path: file.to_path_buf(),
        reason,
    })?;
    let id = digest([bytes.as_slice()]);
    if lake.is_committed("opencost-prices", &id) {
        return Ok(Imported::Already);
    }
    let note = format!("import opencost-prices {}", file.display());
    let mut commit = lake.begin("opencost-prices", &id, &note, recorded_date)?;
    let written = write_rows(&mut commit, "price_overrides", &rows)?;
    commit.publish()?;
    Ok(Imported::Written(vec![written]))
}

fn read(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if let Some(missing) = COLUMNS
        .iter()
        .find(|column| !header.iter().any(|name| name == **column))
    {
        return Err(format!(
            "has no column `{missing}`; it needs {}",
            COLUMNS.join(", ")
        ));
    }
    // By whose it is and when it ends; a price without an end is the newest.
    let mut prices: BTreeMap<Key, BTreeMap<Timestamp, (u64, NanoUsd)>> = BTreeMap::new();
    let mut of_type: BTreeMap<(String, String), BTreeMap<Key, (Timestamp, NanoUsd)>> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let at = |reason: String| format!("line {line}: {reason}");
        let row: Line = record
            .deserialize(Some(&header))
            .map_err(|error| at(error.to_string()))?;
        let key = key(&row).map_err(&at)?;
        let ends_at = end(&row.end_timestamp).map_err(&at)?;
        let price = NanoUsd::from_decimal_str(&row.market_price_hourly)
            .map_err(|error| at(format!("MarketPriceHourly: {error}")))?;
        if price.get() < 0 {
            return Err(at("MarketPriceHourly must not be negative".to_owned()));
        }
        if row.asset_class == "node" && !row.instance_type.is_empty() {
            let newest = of_type
                .entry((row.region.clone(), row.instance_type.clone()))
                .or_default()
                .entry(key.clone())
                .or_insert((ends_at, price));
            if newest.0 <= ends_at {
                *newest = (ends_at, price);
            }
        }
        let before = prices.entry(key).or_default().insert(ends_at, (line, price));
        if let Some((other, _)) = before.filter(|(_, other)| *other != price) {
            return Err(at(format!(
                "has another price than line {other} for the same {} `{}` and EndTimestamp; keep one",
                row.instance_id_field, row.instance_id
            )));
        }
    }
    if prices.is_empty() {
        return Err("has no prices".to_owned());
    }
    let mut rows = Vec::new();
    for (key, ends) in prices {
        let mut valid_from_at = Timestamp::UNIX_EPOCH;
        for (ends_at, (line, price)) in ends {
            rows.push(row(
                &key,
                valid_from_at,
                price,
                format!("opencost-prices, line {line}"),
            ));
            valid_from_at = ends_at;
        }
    }
    for ((region, instance_type), named) in of_type {
        let total: i128 = named.values().map(|(_, price)| i128::from(price.get())).sum();
        let count = i128::try_from(named.len()).unwrap_or(i128::MAX);
        let mean = i64::try_from(total / count).map_err(|error| error.to_string())?;
        let key = Key {
            selector: "instance_type",
            selector_key: String::new(),
            selector_value: instance_type,
            region,
        };
        let source = format!("opencost-prices, mean of {count} nodes");
        rows.push(row(&key, Timestamp::UNIX_EPOCH, NanoUsd::from_nano(mean), source));
    }
    Ok(rows)
}

fn row(key: &Key, valid_from_at: Timestamp, price: NanoUsd, source: String) -> Row {
    Row {
        selector: key.selector,
        selector_key: Some(key.selector_key.clone()).filter(|key| !key.is_empty()),
        selector_value: key.selector_value.clone(),
        region: Some(key.region.clone()).filter(|region| !region.is_empty()),
        valid_from_at,
        hourly_usd: price.to_string(),
        source,
    }
}

fn key(row: &Line) -> Result<Key, String> {
    let field = row.instance_id_field.as_str();
    let (selector, selector_key) = match (row.asset_class.as_str(), field) {
        ("node", "metadata.name") => ("node", ""),
        ("node", "spec.providerID") => ("machine", ""),
        ("node", _) if field.starts_with("metadata.labels.") => ("label", &field["metadata.labels.".len()..]),
        ("pv", "metadata.name") => ("volume", ""),
        ("pv", "spec.storageClassName") => ("storage_class", ""),
        ("gpu", _) if !field.is_empty() => ("gpu_model", field),
        ("node" | "pv" | "gpu", _) => {
            return Err(format!(
                "InstanceIDField `{field}` is not known for {}; write metadata.name, spec.providerID, metadata.labels.NAME, \
                 spec.storageClassName, or for gpu the name of a label",
                row.asset_class
            ));
        }
        (other, _) => return Err(format!("AssetClass `{other}` is none of node, pv, gpu")),
    };
    if row.instance_id.is_empty() {
        return Err("InstanceID is empty".to_owned());
    }
    Ok(Key {
        selector,
        selector_key: selector_key.to_owned(),
        selector_value: row.instance_id.clone(),
        region: row.region.clone(),
    })
}

/// `2026-01-31 23:59:59 UTC`, or any RFC 3339 instant; the end of all time for nothing.
fn end(text: &str) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Ok(Timestamp::MAX);
    }
    if let Some(local) = text.strip_suffix(" UTC") {
        let instant = local
            .parse::<DateTime>()
            .and_then(|local| local.to_zoned(TimeZone::UTC));
        return instant
            .map(|instant| instant.timestamp())
            .map_err(|error| format!("EndTimestamp `{text}`: {error}"));
    }
    text.parse()
        .map_err(|error| format!("EndTimestamp `{text}`: {error}; write 2026-01-31 23:59:59 UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "EndTimestamp,InstanceID,Region,AssetClass,InstanceIDField,InstanceType,MarketPriceHourly,Version\n";

    fn rows(lines: &str) -> Vec<String> {
        let rows = read(format!("{HEADER}{lines}").as_bytes()).unwrap();
        rows.iter()
            .map(|row| {
                format!(
                    "{} {} {} {} {} {}",
                    row.selector,
                    row.selector_key.as_deref().unwrap_or("-"),
                    row.selector_value,
                    row.region.as_deref().unwrap_or("-"),
                    row.valid_from_at,
                    row.hourly_usd
                )
            })
            .collect()
    }

    #[test]
    fn every_kind_of_row_becomes_an_override() {
        assert_eq!(
            rows(
                "2019-04-17 23:34:22 UTC,n1,,node,metadata.name,,0.1337,\n\
                 ,i-1,us-east-1,node,spec.providerID,,0.1,\n\
                 ,b,,node,metadata.labels.example.com/rack,,0.2,\n\
                 ,fast,,pv,spec.storageClassName,,0.0001,\n\
                 ,tesla-t4,,gpu,nvidia.com/gpu_type,,0.35,\n"
            ),
            [
                "gpu_model nvidia.com/gpu_type tesla-t4 - 1970-01-01T00:00:00Z 0.350000000",
                "label example.com/rack b - 1970-01-01T00:00:00Z 0.200000000",
                "machine - i-1 us-east-1 1970-01-01T00:00:00Z 0.100000000",
                "node - n1 - 1970-01-01T00:00:00Z 0.133700000",
                "storage_class - fast - 1970-01-01T00:00:00Z 0.000100000",
            ]
        );
    }

    #[test]
    fn a_price_holds_until_its_end_and_the_last_one_goes_on() {
        assert_eq!(
            rows(
                "2026-02-01 00:00:00 UTC,n,,node,metadata.name,t,2,\n\
                 2026-01-01T00:00:00Z,n,,node,metadata.name,t,1,\n\
                 2026-01-01T00:00:00Z,m,,node,metadata.name,t,4,\n"
            ),
            [
                "node - m - 1970-01-01T00:00:00Z 4.000000000",
                "node - n - 1970-01-01T00:00:00Z 1.000000000",
                "node - n - 2026-01-01T00:00:00Z 2.000000000",
                // A node that no row names: the mean of the newest prices.
                "instance_type - t - 1970-01-01T00:00:00Z 3.000000000",
            ]
        );
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (lines, expected) in [
            (",n,,node,metadata.annotations.x,,1,\n", "line 2: InstanceIDField"),
            (",n,,disk,metadata.name,,1,\n", "line 2: AssetClass `disk`"),
            (",n,,node,metadata.name,,one,\n", "line 2: MarketPriceHourly"),
            (",n,,node,metadata.name,,-1,\n", "negative"),
            ("soon,n,,node,metadata.name,,1,\n", "EndTimestamp `soon`"),
            (",,,node,metadata.name,,1,\n", "InstanceID is empty"),
            (
                ",n,,node,metadata.name,,1,\n,n,,node,metadata.name,,2,\n",
                "line 3: has another price than line 2",
            ),
            ("", "has no prices"),
        ] {
            let error = read(format!("{HEADER}{lines}").as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{lines}: {error}");
        }
        assert!(
            read(b"InstanceID,AssetClass\nn,node\n")
                .unwrap_err()
                .contains("no column `InstanceIDField`")
        );
    }
}
