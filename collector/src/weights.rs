//! How much a core, a GiB and a GPU weigh when a machine's price is split, fitted to a provider's own list prices.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::prices::{ListPrice, all_list_prices};

const GIB: f64 = 1_073_741_824.0;

/// Facts of `allocation_weights`. Only their ratios count: no money is made of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weights {
    pub method: &'static str,
    /// Cloud provider.
    pub provider: String,
    pub valid_from_at: String,
    /// Nano-dollars per core and hour.
    pub cpu_core_hour_nano: i64,
    /// Nano-dollars per GiB and hour.
    pub memory_gib_hour_nano: i64,
    /// Nano-dollars per GPU and hour.
    pub gpu_hour_nano: i64,
    pub source: String,
}

/// Weights of the method `fitted`, one row per provider of the built-in catalogue, dated by its newest price.
///
/// Core and GiB are what makes the sum of squared relative errors of `cores x a + GiB x b` against the on-demand price
/// smallest, over all machine types without GPUs and with cores of their own in all regions, by the newest price of each (least squares, solved in
/// closed form). A GPU is the median of what types with GPUs cost beyond that, per GPU.
///
/// # Errors
/// As [`all_list_prices`].
pub fn fitted_weights() -> Result<Vec<Weights>> {
    let mut newest: BTreeMap<(String, String, String), ListPrice> = BTreeMap::new();
    for price in all_list_prices()? {
        if price.capacity_type == "on-demand" {
            let key = (
                price.provider.clone(),
                price.region.clone(),
                price.instance_type.clone(),
            );
            let known = newest.get(&key).map(|known| known.valid_from.clone());
            if known.is_none_or(|known| known < price.valid_from) {
                newest.insert(key, price);
            }
        }
    }
    let mut providers: BTreeMap<&str, Vec<&ListPrice>> = BTreeMap::new();
    for price in newest.values() {
        providers.entry(&price.provider).or_default().push(price);
    }
    Ok(providers
        .into_iter()
        .filter_map(|(provider, prices)| fit(provider, &prices))
        .collect())
}

/// Types whose vCPUs are shares of a core: their price follows their memory alone, so they would say that cores cost nothing.
/// AWS T, Azure B, and Google's shared-core machines.
fn shares_cores(instance_type: &str) -> bool {
    const SHARED: &[&str] = &["t2.", "t3.", "t3a.", "t4g.", "Standard_B", "f1-micro", "g1-small"];
    const SHARED_E2: &[&str] = &["e2-micro", "e2-small", "e2-medium"];
    SHARED.iter().any(|prefix| instance_type.starts_with(prefix)) || SHARED_E2.contains(&instance_type)
}

/// Cores, GiB and dollars of a price. Weights are statistics: floating point is good enough, and its order is fixed.
#[expect(clippy::cast_precision_loss, reason = "shapes and prices are far below 2^53")]
fn shape(price: &ListPrice) -> (f64, f64, f64) {
    (
        price.cpu_millicores as f64 / 1000.0,
        price.memory_bytes as f64 / GIB,
        price.hourly.get() as f64,
    )
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "weights are a few dollars at most"
)]
fn fit(provider: &str, prices: &[&ListPrice]) -> Option<Weights> {
    // Normal equations of least squares with each row divided by its price.
    let (mut cores2, mut gib2, mut both, mut cores1, mut gib1) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let plain: Vec<_> = prices
        .iter()
        .filter(|price| price.gpu_count == 0 && !shares_cores(&price.instance_type))
        .collect();
    for price in &plain {
        let (cores, gib, dollars) = shape(price);
        let (cores, gib) = (cores / dollars, gib / dollars);
        cores2 += cores * cores;
        gib2 += gib * gib;
        both += cores * gib;
        cores1 += cores;
        gib1 += gib;
    }
    let determinant = cores2 * gib2 - both * both;
    if determinant <= 0.0 {
        return None;
    }
    let core = (cores1 * gib2 - gib1 * both) / determinant;
    let memory = (gib1 * cores2 - cores1 * both) / determinant;
    let mut gpus: Vec<i64> = prices
        .iter()
        .filter(|price| price.gpu_count > 0)
        .map(|price| {
            let (cores, gib, dollars) = shape(price);
            ((dollars - cores * core - gib * memory).max(0.0) / price.gpu_count as f64).round() as i64
        })
        .collect();
    gpus.sort_unstable();
    let as_of = prices.iter().map(|price| price.valid_from.as_str()).max()?;
    Some(Weights {
        method: "fitted",
        provider: provider.to_owned(),
        valid_from_at: format!("{as_of}T00:00:00Z"),
        cpu_core_hour_nano: core.round() as i64,
        memory_gib_hour_nano: memory.round() as i64,
        gpu_hour_nano: gpus.get(gpus.len() / 2).copied().unwrap_or_default(),
        source: format!("fitted to {} on-demand prices as of {as_of}", plain.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use podledger_sql::units::NanoUsd;

    fn price(cores: i64, gib: i64, gpu_count: i64, hourly: &str) -> ListPrice {
        ListPrice {
            provider: "p".to_owned(),
            region: "r".to_owned(),
            instance_type: format!("{cores}-{gib}-{gpu_count}"),
            cpu_millicores: cores * 1000,
            memory_bytes: gib << 30,
            gpu_count,
            capacity_type: "on-demand".to_owned(),
            hourly: NanoUsd::from_decimal_str(hourly).unwrap(),
            valid_from: "2026-01-01".to_owned(),
            source: "test".to_owned(),
        }
    }

    #[test]
    fn prices_that_are_made_of_parts_give_the_parts_back() {
        // 0.03 a core, 0.004 a GiB, 1.50 a GPU.
        let prices = [
            price(2, 4, 0, "0.076"),
            price(2, 8, 0, "0.092"),
            price(4, 32, 0, "0.248"),
            price(8, 32, 2, "3.368"),
        ];
        let weights = fit("p", &prices.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(
            (
                weights.cpu_core_hour_nano,
                weights.memory_gib_hour_nano,
                weights.gpu_hour_nano
            ),
            (30_000_000, 4_000_000, 1_500_000_000)
        );
        // Types of one shape cannot tell cores from memory.
        assert_eq!(fit("p", &[&prices[0], &prices[0]]), None);
    }

    #[test]
    fn every_provider_of_the_catalogue_has_weights_in_a_known_range() {
        let weights = fitted_weights().unwrap();
        let providers: Vec<&str> = weights.iter().map(|row| row.provider.as_str()).collect();
        assert_eq!(providers, ["aws", "azure", "gcp"]);
        for row in weights {
            // Between half and twice OpenCost's defaults for a core and a GiB.
            assert!(
                (15_000_000..64_000_000).contains(&row.cpu_core_hour_nano),
                "{row:?}"
            );
            assert!(
                (2_000_000..9_000_000).contains(&row.memory_gib_hour_nano),
                "{row:?}"
            );
            assert!(
                (300_000_000..10_000_000_000).contains(&row.gpu_hour_nano),
                "{row:?}"
            );
        }
    }
}
