//! `import spot-prices`: what `aws ec2 describe-spot-price-history` printed, as list prices of zones.
//!
//! Each record is a price from an instant on, until the next of the same instance type and zone: just what a dated list price of a zone is.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_sql::lake::Lake;
use podledger_sql::units::NanoUsd;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::import::kubernetes::{bytes_of, title};
use crate::import::{Imported, digest, write_rows};

/// What the spot market calls machines that run Linux and are billed for nothing besides; the second is what the first is called
/// in accounts that once had another network.
const LINUX: &[&str] = &["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

/// `SpotPriceHistory` of EC2, as the AWS CLI prints it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    spot_price_history: Vec<Record>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    availability_zone: String,
    instance_type: String,
    product_description: String,
    spot_price: String,
    timestamp: Timestamp,
}

/// A fact of `prices`.
#[derive(Debug, Serialize)]
struct Row {
    provider: &'static str,
    region: String,
    zone: String,
    instance_type: String,
    capacity_type: &'static str,
    valid_from_at: Timestamp,
    hourly_usd: String,
    source: &'static str,
}

/// What was in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Prices from an instant on.
    pub prices: usize,
    /// Pairs of an instance type and a zone.
    pub series: usize,
    /// First and last instant from which a price holds.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Records of other systems than Linux, by what they are called: left out.
    pub others: BTreeMap<String, usize>,
    /// Whether the last answer says that there are more.
    pub is_cut: bool,
}

/// Reads `file` (`-` is standard input), gzip or not, and writes its prices to the lake; the same prices are written once.
///
/// # Errors
/// [`Error::Input`] for what is no spot price history or breaks off, naming record and field; [`Error::Io`]; [`Error::Sql`].
/// Nothing is written then.
pub fn import(lake: &Lake, file: &Path, recorded_date: Date) -> Result<(Imported, Contents)> {
    let bytes = bytes_of(file)?;
    let (rows, contents) = read(&bytes).map_err(|reason| Error::Input {
        path: title(file),
        reason,
    })?;
    // The same prices come in other orders and in other pages.
    let id = digest(rows.iter().map(|row| format!("{row:?}")));
    if lake.is_committed("spot-prices", &id) {
        return Ok((Imported::Already, contents));
    }
    let note = format!("import spot-prices {}", file.display());
    let mut commit = lake.begin("spot-prices", &id, &note, recorded_date)?;
    let written = write_rows(&mut commit, "prices", &rows)?;
    commit.publish()?;
    Ok((Imported::Written(vec![written]), contents))
}

fn read(bytes: &[u8]) -> Result<(Vec<Row>, Contents), String> {
    let mut unpacked = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes)
            .read_to_end(&mut unpacked)
            .map_err(|error| {
                format!("the compressed file is damaged or breaks off: {error}; fetch it again")
            })?;
        unpacked.as_slice()
    } else {
        bytes
    };
    let mut contents = Contents::default();
    let mut known: BTreeMap<(String, String, Timestamp), (usize, NanoUsd)> = BTreeMap::new();
    let mut number = 0;
    for answer in serde_json::Deserializer::from_slice(bytes).into_iter::<Answer>() {
        let answer = answer.map_err(|error| {
            format!(
                "is not what `aws ec2 describe-spot-price-history --output json` prints, or breaks off: {error}"
            )
        })?;
        contents.is_cut = answer.next_token.is_some_and(|token| !token.is_empty());
        for record in answer.spot_price_history {
            number += 1;
            let at = |field: &str, reason: String| format!("record {number}, {field}: {reason}");
            if !LINUX.contains(&record.product_description.as_str()) {
                *contents.others.entry(record.product_description).or_default() += 1;
                continue;
            }
            let price = NanoUsd::from_decimal_str(&record.spot_price)
                .map_err(|error| at("SpotPrice", error.to_string()))?;
            if price.get() < 0 {
                return Err(at("SpotPrice", format!("`{}` is negative", record.spot_price)));
            }
            if region(&record.availability_zone).is_none() {
                return Err(at(
                    "AvailabilityZone",
                    format!("`{}` is no zone, such as us-east-1a", record.availability_zone),
                ));
            }
            if record.instance_type.is_empty() {
                return Err(at("InstanceType", "is empty".to_owned()));
            }
            let key = (record.availability_zone, record.instance_type, record.timestamp);
            if let Some((other, before)) = known.insert(key, (number, price))
                && before != price
            {
                return Err(at(
                    "SpotPrice",
                    format!(
                        "record {other} has another price of the same type and zone from the same instant on; keep one"
                    ),
                ));
            }
        }
    }
    if known.is_empty() {
        return Err(match contents.others.is_empty() {
            true => "has no prices".to_owned(),
            false => format!("has no prices of {}, which clusters run on", LINUX.join(" or ")),
        });
    }
    let instants = || known.keys().map(|(.., at)| *at);
    contents.times = instants().min().zip(instants().max());
    contents.prices = known.len();
    let mut series: Vec<_> = known.keys().map(|(zone, of_type, _)| (zone, of_type)).collect();
    series.dedup();
    contents.series = series.len();
    let rows = known
        .into_iter()
        .filter_map(|((zone, instance_type, valid_from_at), (_, price))| {
            Some(Row {
                provider: "aws",
                region: region(&zone)?,
                zone,
                instance_type,
                capacity_type: "spot",
                valid_from_at,
                hourly_usd: price.to_string(),
                source: "spot price history",
            })
        })
        .collect();
    Ok((rows, contents))
}

/// The region of a zone: `us-east-1a`, and also `us-west-2-lax-1a`, a zone elsewhere that belongs to the region.
fn region(zone: &str) -> Option<String> {
    let end = zone.find(|letter: char| letter.is_ascii_digit())?;
    let digits = zone[end..].find(|letter: char| !letter.is_ascii_digit())?;
    let (region, rest) = zone.split_at(end + digits);
    (region.matches('-').count() >= 2 && region[..end].ends_with('-') && !rest.is_empty())
        .then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(zone: &str, system: &str, price: &str, at: &str) -> String {
        format!(
            "{{\"AvailabilityZone\": \"{zone}\", \"AvailabilityZoneId\": \"use1-az1\", \"InstanceType\": \"m5.large\", \
             \"ProductDescription\": \"{system}\", \"SpotPrice\": \"{price}\", \"Timestamp\": \"{at}\"}}"
        )
    }

    fn answer(records: &[String], rest: &str) -> String {
        format!("{{\"SpotPriceHistory\": [{}]{rest}}}", records.join(","))
    }

    const AT: &str = "2026-11-01T03:12:45+00:00";

    #[test]
    fn records_become_prices_of_zones_in_order() {
        let text = answer(
            &[
                record("us-east-1b", "Linux/UNIX", "0.035100", "2026-11-02T00:00:00.000Z"),
                record("us-east-1a", "Linux/UNIX", "0.034800", AT),
                record("us-east-1a", "Windows", "0.126800", AT),
            ],
            ", \"NextToken\": \"\"",
        ) + &answer(
            &[
                record("us-west-2-lax-1a", "Linux/UNIX (Amazon VPC)", "0.04", AT),
                record("us-east-1a", "Linux/UNIX", "0.0348", AT),
            ],
            ", \"NextToken\": \"more\"",
        );
        let (rows, contents) = read(text.as_bytes()).unwrap();
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} {} {}",
                    row.region, row.zone, row.capacity_type, row.valid_from_at, row.hourly_usd
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                "us-east-1 us-east-1a spot 2026-11-01T03:12:45Z 0.034800000",
                "us-east-1 us-east-1b spot 2026-11-02T00:00:00Z 0.035100000",
                "us-west-2 us-west-2-lax-1a spot 2026-11-01T03:12:45Z 0.040000000",
            ]
        );
        assert_eq!((contents.prices, contents.series, contents.is_cut), (3, 3, true));
        assert_eq!(contents.others, BTreeMap::from([("Windows".to_owned(), 1)]));
    }

    #[test]
    fn mistakes_are_named_by_record() {
        let good = record("us-east-1a", "Linux/UNIX", "0.0348", AT);
        for (bad, expected) in [
            (
                record("us-east-1a", "Linux/UNIX", "0,0348", AT),
                "record 2, SpotPrice",
            ),
            (record("us-east-1a", "Linux/UNIX", "-1", AT), "is negative"),
            (
                record("us-east-1", "Linux/UNIX", "1", AT),
                "record 2, AvailabilityZone: `us-east-1`",
            ),
            (
                record("us-east-1a", "Linux/UNIX", "1", AT),
                "record 1 has another price",
            ),
            (record("us-east-1a", "Linux/UNIX", "1", "yesterday"), "breaks off"),
        ] {
            let error = read(answer(&[good.clone(), bad.clone()], "").as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{bad}: {error}");
        }
        let whole = answer(std::slice::from_ref(&good), "");
        assert!(
            read(&whole.as_bytes()[..whole.len() - 2])
                .unwrap_err()
                .contains("breaks off")
        );
        assert_eq!(read(answer(&[], "").as_bytes()).unwrap_err(), "has no prices");
        let windows = answer(&[record("us-east-1a", "Windows", "1", AT)], "");
        assert!(
            read(windows.as_bytes())
                .unwrap_err()
                .contains("no prices of Linux/UNIX")
        );
    }
}
