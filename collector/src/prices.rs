//! The built-in list prices: `prices/list_prices.csv`, whose README names the sources.

use podledger_sql::ledger::quote;
use podledger_sql::units::NanoUsd;

use crate::error::{Error, Result};

const LIST: &str = include_str!("../prices/list_prices.csv");

/// A list price of an instance type, and the type's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPrice {
    /// Cloud provider, `aws`.
    pub provider: String,
    /// Region, `us-east-1`.
    pub region: String,
    /// Instance type, `m5.8xlarge`.
    pub instance_type: String,
    /// Virtual CPUs, in millicores.
    pub cpu_millicores: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// `on-demand`, `spot` or `reserved`.
    pub capacity_type: String,
    /// Price of an hour.
    pub hourly: NanoUsd,
    /// Day from which the price is known to hold, `YYYY-MM-DD`.
    pub valid_from: String,
    /// Key of the source, explained in `prices/README.md`.
    pub source: String,
}

/// The dated prices of `provider/region/instance_type`, oldest first.
///
/// # Errors
/// [`Error::NoPrice`] for a key of another form or without a price; it names types that have one.
pub fn list_prices(key: &str) -> Result<Vec<ListPrice>> {
    let no_price = |mend: String| Error::NoPrice {
        asked: key.to_owned(),
        mend,
    };
    let parts: Vec<&str> = key.split('/').collect();
    let [provider, region, instance_type] = parts[..] else {
        return Err(no_price(
            "write provider/region/instance type, such as aws/us-east-1/m5.8xlarge".to_owned(),
        ));
    };
    let mut found = Vec::new();
    let mut near = Vec::new();
    for line in LIST.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [
            a,
            b,
            c,
            vcpu,
            memory_bytes,
            _,
            _,
            capacity_type,
            hourly,
            valid_from,
            source,
        ] = cells[..]
        else {
            continue;
        };
        if (a, b, c) == (provider, region, instance_type) {
            let number = |text: &str| {
                text.parse::<i64>()
                    .map_err(|error| no_price(format!("`{text}`: {error}")))
            };
            found.push(ListPrice {
                provider: a.to_owned(),
                region: b.to_owned(),
                instance_type: c.to_owned(),
                cpu_millicores: number(vcpu)? * 1000,
                memory_bytes: number(memory_bytes)?,
                capacity_type: capacity_type.to_owned(),
                hourly: NanoUsd::from_decimal_str(hourly)?,
                valid_from: valid_from.to_owned(),
                source: source.to_owned(),
            });
        } else if a == provider && b == region && c.split('.').next() == instance_type.split('.').next() {
            near.push(c);
        }
    }
    if found.is_empty() {
        near.dedup();
        return Err(no_price(if near.is_empty() {
            "regions are aws/us-east-1, us-west-2, eu-west-1 and eu-central-1".to_owned()
        } else {
            format!("of this family there are {}", near.join(", "))
        }));
    }
    found.sort_by(|a, b| a.valid_from.cmp(&b.valid_from));
    Ok(found)
}

/// A query that yields prices as facts.
#[must_use]
pub fn price_query(prices: &[ListPrice]) -> String {
    let rows: Vec<String> = prices
        .iter()
        .map(|price| {
            format!(
                "select {} as provider, {} as region, {} as instance_type, {} as capacity_type, \
                 timestamp {} as valid_from_at, cast('{}' as decimal(18,9)) as hourly_usd, {} as source",
                quote(&price.provider),
                quote(&price.region),
                quote(&price.instance_type),
                quote(&price.capacity_type),
                quote(&format!("{} 00:00:00", price.valid_from)),
                price.hourly,
                quote(&price.source),
            )
        })
        .collect();
    rows.join(" union all ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_type_has_its_price_and_shape() {
        let prices = list_prices("aws/us-east-1/m5.8xlarge").unwrap();
        assert_eq!(prices[0].hourly, NanoUsd::from_decimal_str("1.536").unwrap());
        assert_eq!(
            (prices[0].cpu_millicores, prices[0].memory_bytes),
            (32_000, 128 << 30)
        );
    }

    #[test]
    fn an_unknown_type_is_answered_with_its_family() {
        let error = list_prices("aws/us-east-1/m5.9xlarge").unwrap_err().to_string();
        assert!(error.contains("m5.8xlarge"), "{error}");
        assert!(
            list_prices("m5.8xlarge")
                .unwrap_err()
                .to_string()
                .contains("provider/region")
        );
    }

    #[test]
    fn every_line_of_the_list_is_a_price() {
        for line in LIST.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            assert!(list_prices(&cells[..3].join("/")).is_ok(), "{line}");
        }
    }
}
