//! The built-in list prices: the files in `prices/`, whose README names the sources.

use podledger_sql::units::NanoUsd;
use serde::Serialize;

use crate::error::{Error, Result};

const LIST: &str = include_str!("../prices/list_prices.csv");
const SERVICES: &str = include_str!("../prices/services.csv");

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
    /// Whole GPUs.
    pub gpu_count: i64,
    /// `on-demand`, `spot` or `reserved`.
    pub capacity_type: String,
    /// Price of an hour.
    pub hourly: NanoUsd,
    /// Day from which the price is known to hold, `YYYY-MM-DD`.
    pub valid_from: String,
    /// Key of the source, explained in `prices/README.md`.
    pub source: String,
}

/// A provider whose prices are known as of one day: machine types down, regions across.
struct Table {
    provider: &'static str,
    text: &'static str,
    source: &'static str,
}

const TABLES: &[Table] = &[
    Table {
        provider: "gcp",
        text: include_str!("../prices/gcp.csv"),
        source: "karpenter-provider-gcp@417f047b1175",
    },
    Table {
        provider: "azure",
        text: include_str!("../prices/azure.csv"),
        source: "karpenter-provider-azure@352646f59929",
    },
];

/// Columns of a [`Table`] before those of the regions.
const SHAPE_COLUMNS: usize = 5;

/// A built-in list price of something other than a machine: a control plane, a load balancer, Fargate, storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePrice {
    /// Cloud provider.
    pub provider: String,
    /// Region.
    pub region: String,
    /// `EKS`, `Fargate`, `EBS`, ...
    pub service: String,
    /// What of the service.
    pub item: String,
    /// What the price is for: `vCPU-hour`, `GB-month`, ...
    pub unit: String,
    /// Price of one unit.
    pub usd: NanoUsd,
    /// Day on which the price was known, `YYYY-MM-DD`.
    pub as_of: String,
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
    let of_provider: Vec<ListPrice> = all_list_prices()?
        .into_iter()
        .filter(|price| price.provider == provider)
        .collect();
    let mut found: Vec<ListPrice> = of_provider
        .iter()
        .filter(|price| price.region == region && price.instance_type == instance_type)
        .cloned()
        .collect();
    if found.is_empty() {
        let family = |name: &str| name.split(['.', '-']).next().map(str::to_owned);
        let mut near: Vec<&str> = of_provider
            .iter()
            .filter(|price| price.region == region && family(&price.instance_type) == family(instance_type))
            .map(|price| price.instance_type.as_str())
            .collect();
        near.dedup();
        near.truncate(NAMED);
        let mut regions: Vec<&str> = of_provider.iter().map(|price| price.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        return Err(no_price(match (near.is_empty(), regions.is_empty()) {
            (false, _) => format!("of this family there are {}", near.join(", ")),
            (true, false) if regions.contains(&region) => "import a price for it".to_owned(),
            (true, false) => format!("regions of {provider} are {}", regions.join(", ")),
            (true, true) => "providers are aws, gcp and azure".to_owned(),
        }));
    }
    found.sort_by(|a, b| a.valid_from.cmp(&b.valid_from));
    Ok(found)
}

/// How many types of a family an error names.
const NAMED: usize = 30;

/// Every built-in price of a machine.
///
/// # Errors
/// [`Error::NoPrice`] for a broken line, which a test of this crate rules out.
pub fn all_list_prices() -> Result<Vec<ListPrice>> {
    let mut all = Vec::new();
    for line in LIST.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [
            provider,
            region,
            instance_type,
            vcpu,
            memory_bytes,
            gpu_count,
            _,
            capacity_type,
            hourly,
            valid_from,
            source,
        ] = cells[..]
        else {
            return Err(broken(line, "has not eleven cells"));
        };
        all.push(ListPrice {
            provider: provider.to_owned(),
            region: region.to_owned(),
            instance_type: instance_type.to_owned(),
            cpu_millicores: number(line, vcpu)?.saturating_mul(1000),
            memory_bytes: number(line, memory_bytes)?,
            gpu_count: number(line, gpu_count)?,
            capacity_type: capacity_type.to_owned(),
            hourly: NanoUsd::from_decimal_str(hourly)?,
            valid_from: valid_from.to_owned(),
            source: source.to_owned(),
        });
    }
    for table in TABLES {
        let mut lines = table.text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let [instance_type, vcpu, memory_bytes, gpu_count, ..] = cells[..] else {
                return Err(broken(line, "has not five cells"));
            };
            for (column, hourly) in header.iter().zip(&cells).skip(SHAPE_COLUMNS) {
                let Some((region, valid_from)) = column.split_once('@') else {
                    return Err(broken(column, "is no region@date"));
                };
                if !hourly.is_empty() {
                    all.push(ListPrice {
                        provider: table.provider.to_owned(),
                        region: region.to_owned(),
                        instance_type: instance_type.to_owned(),
                        cpu_millicores: number(line, vcpu)?.saturating_mul(1000),
                        memory_bytes: number(line, memory_bytes)?,
                        gpu_count: number(line, gpu_count)?,
                        capacity_type: "on-demand".to_owned(),
                        hourly: NanoUsd::from_decimal_str(hourly)?,
                        valid_from: valid_from.to_owned(),
                        source: table.source.to_owned(),
                    });
                }
            }
        }
    }
    Ok(all)
}

/// Every built-in price of a service.
///
/// # Errors
/// As [`all_list_prices`].
pub fn service_prices() -> Result<Vec<ServicePrice>> {
    let mut all = Vec::new();
    for line in SERVICES.lines().skip(1) {
        // The item alone is quoted, because it may hold commas.
        let pieces: Vec<&str> = line.split('"').collect();
        let [before, item, after] = pieces[..] else {
            return Err(broken(line, "has no quoted item"));
        };
        let before: Vec<&str> = before.trim_end_matches(',').split(',').collect();
        let after: Vec<&str> = after.trim_start_matches(',').split(',').collect();
        let ([provider, region, service], [unit, usd, as_of, source]) = (&before[..], &after[..]) else {
            return Err(broken(line, "has not eight cells"));
        };
        all.push(ServicePrice {
            provider: (*provider).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            item: item.to_owned(),
            unit: (*unit).to_owned(),
            usd: NanoUsd::from_decimal_str(usd)?,
            as_of: (*as_of).to_owned(),
            source: (*source).to_owned(),
        });
    }
    Ok(all)
}

fn number(line: &str, text: &str) -> Result<i64> {
    text.parse()
        .map_err(|error| broken(line, &format!("`{text}`: {error}")))
}

fn broken(line: &str, reason: &str) -> Error {
    Error::NoPrice {
        asked: line.to_owned(),
        mend: reason.to_owned(),
    }
}

/// Facts of `prices`.
#[must_use]
pub fn price_rows(prices: &[ListPrice]) -> Vec<impl Serialize + use<>> {
    #[derive(Serialize)]
    struct Row {
        provider: String,
        region: String,
        instance_type: String,
        capacity_type: String,
        valid_from_at: String,
        hourly_usd: String,
        source: String,
    }
    let row = |price: &ListPrice| Row {
        provider: price.provider.clone(),
        region: price.region.clone(),
        instance_type: price.instance_type.clone(),
        capacity_type: price.capacity_type.clone(),
        valid_from_at: start_of(&price.valid_from),
        hourly_usd: price.hourly.to_string(),
        source: price.source.clone(),
    };
    prices.iter().map(row).collect()
}

/// Facts of `service_prices`.
#[must_use]
pub fn service_rows(prices: &[ServicePrice]) -> Vec<impl Serialize + use<>> {
    #[derive(Serialize)]
    struct Row {
        provider: String,
        region: String,
        service: String,
        item: String,
        unit: String,
        valid_from_at: String,
        price_usd: String,
        source: String,
    }
    let row = |price: &ServicePrice| Row {
        provider: price.provider.clone(),
        region: price.region.clone(),
        service: price.service.clone(),
        item: price.item.clone(),
        unit: price.unit.clone(),
        valid_from_at: start_of(&price.as_of),
        price_usd: price.usd.to_string(),
        source: price.source.clone(),
    };
    prices.iter().map(row).collect()
}

/// The first instant of a UTC date.
fn start_of(date: &str) -> String {
    format!("{date}T00:00:00Z")
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

    fn hourly(key: &str) -> Vec<(String, String)> {
        let prices = list_prices(key).unwrap();
        prices
            .iter()
            .map(|price| (price.valid_from.clone(), price.hourly.to_string()))
            .collect()
    }

    #[test]
    fn known_prices_are_as_published() {
        let one = |key: &str| hourly(key).pop().unwrap().1;
        assert_eq!(one("aws/us-east-1/m5.large"), "0.096000000");
        assert_eq!(one("aws/us-east-1/c5.xlarge"), "0.170000000");
        assert_eq!(one("gcp/us-central1/n2-standard-4"), "0.194236000");
        assert_eq!(one("azure/eastus/Standard_D4s_v5"), "0.192000000");
        let cut: Vec<(String, String)> = hourly("aws/us-east-1/p5.48xlarge");
        assert_eq!(cut[0].1, "98.320000000");
        assert_eq!(cut[1], ("2025-06-23".to_owned(), "55.040000000".to_owned()));
        let service = |service: &str, unit: &str| {
            let prices = service_prices().unwrap();
            let found = prices
                .iter()
                .find(|price| price.service == service && price.region == "us-east-1" && price.unit == unit);
            found.unwrap().usd.to_string()
        };
        assert_eq!(service("Fargate", "vCPU-hour"), "0.040480000");
        assert_eq!(service("Fargate", "GB-hour"), "0.004445000");
        assert_eq!(service("EKS", "cluster-hour"), "0.100000000");
    }

    #[test]
    fn every_price_has_a_shape_and_a_key_of_its_own() {
        let all = all_list_prices().unwrap();
        assert!(all.len() > 18_000, "{}", all.len());
        let mut keys = std::collections::BTreeSet::new();
        for price in &all {
            assert!(
                price.cpu_millicores > 0 && price.memory_bytes > 0 && price.hourly.get() > 0,
                "{price:?}"
            );
            let key = (
                &price.provider,
                &price.region,
                &price.instance_type,
                &price.capacity_type,
                &price.valid_from,
            );
            assert!(keys.insert(key), "{price:?}");
        }
        assert!(service_prices().unwrap().len() > 30);
    }
}
