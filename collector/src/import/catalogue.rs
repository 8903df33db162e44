//! `import catalogue`: the built-in list prices of machines and services, and weights fitted to them, as facts.

use jiff::civil::Date;
use podledger_sql::lake::Lake;

use crate::error::{Error, Result};
use crate::import::{Imported, digest, write_rows};
use crate::prices::{all_list_prices, price_rows, service_prices, service_rows};
use crate::weights::fitted_weights;

/// Which prices.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this region.
    pub region: Option<String>,
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// Writes the built-in prices to the lake; the same catalogue is written once.
///
/// # Errors
/// [`Error::NoPrice`] where provider and region have none, naming those that do; [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, options: &Options) -> Result<Imported> {
    let wanted = |provider: &str, region: &str| {
        options.provider.as_deref().is_none_or(|only| only == provider)
            && options.region.as_deref().is_none_or(|only| only == region)
    };
    let mut prices = all_list_prices()?;
    let mut places: Vec<String> = prices
        .iter()
        .map(|price| format!("{}/{}", price.provider, price.region))
        .collect();
    prices.retain(|price| wanted(&price.provider, &price.region));
    let mut services = service_prices()?;
    services.retain(|price| wanted(&price.provider, &price.region));
    if prices.is_empty() {
        places.sort_unstable();
        places.dedup();
        return Err(Error::NoPrice {
            asked: format!(
                "{}/{}",
                options.provider.as_deref().unwrap_or("any provider"),
                options.region.as_deref().unwrap_or("any region")
            ),
            mend: format!("there are {}", places.join(", ")),
        });
    }
    let mut weights = fitted_weights()?;
    weights.retain(|row| prices.iter().any(|price| price.provider == row.provider));

    let text = format!("{prices:?}{services:?}{weights:?}");
    let id = digest([text.as_bytes()]);
    if lake.is_committed("catalogue", &id) {
        return Ok(Imported::Already);
    }
    let mut commit = lake.begin("catalogue", &id, "import catalogue", options.recorded_date)?;
    let mut written = vec![write_rows(&mut commit, "prices", &price_rows(&prices))?];
    if !services.is_empty() {
        written.push(write_rows(
            &mut commit,
            "service_prices",
            &service_rows(&services),
        )?);
    }
    written.push(write_rows(&mut commit, "allocation_weights", &weights)?);
    commit.publish()?;
    Ok(Imported::Written(written))
}
