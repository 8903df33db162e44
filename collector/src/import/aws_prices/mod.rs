//! `import aws-prices`: list prices as AWS's price list tells them now, as dated facts.
//!
//! ```text
//! machines of the lake, or a region -> GetProducts, all pages (ask) -> offers (offer) ─┐
//! prices of the lake ──────────────────────────────────────────────────────────────────┴> what is new -> facts
//! ```
//!
//! A price list tells what holds today and since when its term runs, not what held before. So a price that the lake knows otherwise holds
//! from now on, and the past stays as it was counted, unless that is asked for.

mod ask;
mod offer;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use podledger_sql::Doing;
use podledger_sql::facts::Fact as Table;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::scratch;
use podledger_sql::recall::relation;
use podledger_sql::units::NanoUsd;
use serde::Serialize;

use crate::aws::Aws;
use crate::error::Result;
use crate::import::{Imported, digest, fact, write_rows};
use offer::{Item, Offer};

/// Which prices.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these regions; those of the lake's machines where there are none.
    pub regions: Vec<String>,
    /// All instance types of the regions, not only those of the lake.
    pub all_types: bool,
    /// Let prices hold from the price list's own date on, where the lake knows another.
    pub restate: bool,
    pub now: Timestamp,
    /// UTC day under which the facts are filed.
    pub recorded_date: Date,
}

/// What the price list said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub regions: Vec<String>,
    /// Prices that were told, and those of them that the lake knows just so.
    pub prices: usize,
    pub known: usize,
    /// Region and type of machines that have no on-demand price.
    pub unpriced: Vec<String>,
    /// What has two prices, so that neither is taken.
    pub ambiguous: Vec<String>,
}

/// Prices of a thing by the instant from which they hold; `None` from where they were withdrawn.
type Timeline = BTreeMap<Timestamp, Option<NanoUsd>>;

/// A fact of `prices`.
#[derive(Debug, Serialize)]
struct MachineRow {
    provider: &'static str,
    region: String,
    instance_type: String,
    capacity_type: &'static str,
    valid_from_at: Timestamp,
    hourly_usd: String,
    source: String,
}

/// A fact of `service_prices`.
#[derive(Debug, Serialize)]
struct ServiceRow {
    provider: &'static str,
    region: String,
    service: String,
    item: String,
    unit: String,
    valid_from_at: Timestamp,
    price_usd: String,
    source: String,
}

/// Asks for prices, and writes those that are new.
///
/// # Errors
/// [`crate::Error::Aws`] for what cannot be asked, is not answered, or is no price list; [`crate::Error::Sql`]. Nothing is written then.
pub async fn import(
    lake: &Lake,
    aws: &Aws,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Told)> {
    let mut types = known_types(lake)?;
    if !options.regions.is_empty() {
        types.retain(|region, _| options.regions.contains(region));
    }
    if options.all_types {
        types = if options.regions.is_empty() {
            types
                .into_keys()
                .map(|region| (region, BTreeSet::new()))
                .collect()
        } else {
            let regions = options.regions.iter();
            regions.map(|region| (region.clone(), BTreeSet::new())).collect()
        };
    }
    if types.is_empty() {
        return Err(aws.wrong(
            "the lake knows no machine of AWS whose price could be asked for; name regions and ask for all of them (--region us-east-1 --all-types)",
        ));
    }
    let mut told = Told {
        regions: types.keys().cloned().collect(),
        ..Told::default()
    };
    let asker = ask::Asker::new(aws);
    let mut offers: BTreeMap<Item, Offer> = BTreeMap::new();
    for (region, of_region) in &types {
        progress(region);
        let mut found = asker.services(region).await?;
        if of_region.is_empty() {
            found.extend(asker.machines(region, None).await?);
        }
        for instance_type in of_region {
            progress(&format!("{region} {instance_type}"));
            let of_type = asker.machines(region, Some(instance_type)).await?;
            if of_type.is_empty() {
                told.unpriced.push(format!("aws/{region}/{instance_type}"));
            }
            found.extend(of_type);
        }
        offers.append(&mut one_each(found, &mut told.ambiguous));
    }
    told.prices = offers.len();
    let mut known = timelines(lake)?;
    let (mut machines, mut services) = (Vec::new(), Vec::new());
    for (item, offer) in offers {
        let timeline = known.remove(&item).unwrap_or_default();
        let starts = starts(&timeline, &offer, options.now, options.restate);
        told.known += usize::from(starts.is_empty());
        for valid_from_at in starts {
            let source = format!("AWS price list of {}", offer.published_at);
            match item.clone() {
                Item::Machine {
                    region,
                    instance_type,
                } => machines.push(MachineRow {
                    provider: "aws",
                    region,
                    instance_type,
                    capacity_type: "on-demand",
                    valid_from_at,
                    hourly_usd: offer.price.to_string(),
                    source,
                }),
                Item::Service {
                    region,
                    service,
                    item,
                    unit,
                } => services.push(ServiceRow {
                    provider: "aws",
                    region,
                    service,
                    item,
                    unit,
                    valid_from_at,
                    price_usd: offer.price.to_string(),
                    source,
                }),
            }
        }
    }
    if machines.is_empty() && services.is_empty() {
        return Ok((Imported::Already, told));
    }
    let id = digest([format!("{machines:?}{services:?}")]);
    let mut commit = lake.begin("aws-prices", &id, "import aws-prices", options.recorded_date)?;
    let mut written = Vec::new();
    if !machines.is_empty() {
        written.push(write_rows(&mut commit, "prices", &machines)?);
    }
    if !services.is_empty() {
        written.push(write_rows(&mut commit, "service_prices", &services)?);
    }
    commit.publish()?;
    Ok((Imported::Written(written), told))
}

/// From when on an offer is a new price; nothing where the lake knows it just so.
fn starts(timeline: &Timeline, offer: &Offer, now: Timestamp, restate: bool) -> Vec<Timestamp> {
    let price = Some(offer.price);
    let known_at = |instant: Timestamp| timeline.range(..=instant).next_back();
    let since = offer.effective_at;
    if restate {
        // Of two prices of one instant the higher stands, so a lower one follows it as closely as instants are told apart.
        let next = |at: Timestamp| at.checked_add(STEP).unwrap_or(at);
        let later = timeline.range(since..).map(|(at, _)| *at);
        return std::iter::once(since)
            .chain(later.filter(|at| since < *at && *at <= now))
            .filter(|at| known_at(next(*at)).is_none_or(|(_, known)| *known != price))
            .map(|at| {
                let is_higher = timeline.get(&at).is_some_and(|known| *known > price);
                if is_higher { next(at) } else { at }
            })
            .collect();
    }
    let start = match known_at(now) {
        Some((_, known)) if *known == price => None,
        // What was counted at another price stays so.
        Some((_, Some(_))) => Some(since.max(now)),
        // What had no price has one: that restates nothing.
        Some((at, None)) => Some(since.max(*at)),
        None => Some(since),
    };
    start.into_iter().collect()
}

/// Models tell instants apart by it.
const STEP: SignedDuration = SignedDuration::from_millis(1);

/// Things with one price; what has several is named.
fn one_each(found: Vec<(Item, Offer)>, ambiguous: &mut Vec<String>) -> BTreeMap<Item, Offer> {
    let mut offers: BTreeMap<Item, Offer> = BTreeMap::new();
    let mut torn = BTreeSet::new();
    for (item, offer) in found {
        match offers.get(&item) {
            Some(other) if other.price != offer.price => {
                ambiguous.push(format!(
                    "{item}: {} ({}) and {} ({})",
                    other.price, other.sku, offer.price, offer.sku
                ));
                torn.insert(item);
            }
            Some(_) => {}
            None => drop(offers.insert(item, offer)),
        }
    }
    offers.retain(|item, _| !torn.contains(item));
    offers
}

fn facts_of(lake: &Lake, table: &str) -> Result<String> {
    let table: &'static Table = fact(table)?;
    Ok(relation(lake, table)?)
}

/// Instance types of AWS by region, of the lake's machines.
fn known_types(lake: &Lake) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let doing = "read the machines of the lake";
    let connection = scratch()?;
    let mut statement = connection
        .prepare(&format!(
            "select distinct region, instance_type from {} where provider = 'aws' and region is not null and instance_type is not null",
            facts_of(lake, "machines")?
        ))
        .doing(doing)?;
    let pairs: Vec<(String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .doing(doing)?;
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (region, instance_type) in pairs {
        types.entry(region).or_default().insert(instance_type);
    }
    Ok(types)
}

/// What the lake knows of prices of AWS; of several facts of one instant the higher stands, as in the models.
fn timelines(lake: &Lake) -> Result<BTreeMap<Item, Timeline>> {
    let doing = "read the prices of the lake";
    let connection = scratch()?;
    let text = format!(
        "select region, '' as service, instance_type as item, '' as unit, epoch_us(valid_from_at), \
         cast(max(hourly_usd) as varchar) from {} \
         where provider = 'aws' and capacity_type = 'on-demand' and zone is null group by all \
         union all \
         select region, service, item, unit, epoch_us(valid_from_at), cast(max(price_usd) as varchar) from {} \
         where provider = 'aws' group by all",
        facts_of(lake, "prices")?,
        facts_of(lake, "service_prices")?
    );
    let mut statement = connection.prepare(&text).doing(doing)?;
    let rows: Vec<(Item, i64, Option<String>)> = statement
        .query_map([], |row| {
            let (region, service, item, unit): (String, String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let item = if service.is_empty() {
                Item::Machine {
                    region,
                    instance_type: item,
                }
            } else {
                Item::Service {
                    region,
                    service,
                    item,
                    unit,
                }
            };
            Ok((item, row.get(4)?, row.get(5)?))
        })
        .and_then(Iterator::collect)
        .doing(doing)?;
    let mut timelines: BTreeMap<Item, Timeline> = BTreeMap::new();
    for (item, microseconds, price) in rows {
        let Ok(at) = Timestamp::from_microsecond(microseconds) else {
            continue;
        };
        let price = price.as_deref().map(NanoUsd::from_decimal_str).transpose()?;
        timelines.entry(item).or_default().insert(at, price);
    }
    Ok(timelines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}Z").parse().unwrap()
    }

    fn day(text: &str) -> Timestamp {
        at(&format!("{text}T00:00:00"))
    }

    fn offer(price: &str) -> Offer {
        Offer {
            price: NanoUsd::from_decimal_str(price).unwrap(),
            effective_at: day("11-01"),
            published_at: day("11-18"),
            sku: "S".to_owned(),
        }
    }

    #[test]
    fn a_refresh_leaves_the_past_alone_unless_asked() {
        let price = |text: &str| Some(NanoUsd::from_decimal_str(text).unwrap());
        let now = day("11-22");
        let list = day("11-01");
        for (known, expected, restated) in [
            // Nothing was known: the price holds since the list says so.
            (vec![], vec![list], vec![list]),
            (vec![("01-01", price("2"))], vec![], vec![]),
            (vec![("01-01", price("1"))], vec![now], vec![list]),
            // It was withdrawn, and is there again.
            (
                vec![("01-01", price("1")), ("11-10", None)],
                vec![day("11-10")],
                vec![list, day("11-10")],
            ),
            // A refresh came later than the change.
            (
                vec![("01-01", price("1")), ("11-20", price("2"))],
                vec![],
                vec![list],
            ),
            (vec![("11-01", price("2")), ("11-20", price("2"))], vec![], vec![]),
            // Another price is known from the same instant on: a lower one is outdone by it, a higher one has to be followed.
            (vec![("11-01", price("1"))], vec![now], vec![list]),
            (
                vec![("11-01", price("3"))],
                vec![now],
                vec![at("11-01T00:00:00.001")],
            ),
            // What is known of the future does not hold yet.
            (vec![("12-01", price("3"))], vec![list], vec![list]),
        ] {
            let mut timeline: Timeline = known.iter().map(|(at, price)| (day(at), *price)).collect();
            assert_eq!(starts(&timeline, &offer("2"), now, false), expected, "{known:?}");
            assert_eq!(
                starts(&timeline, &offer("2"), now, true),
                restated,
                "{known:?}, restated"
            );
            // Once is enough.
            timeline.extend(restated.into_iter().map(|at| (at, price("2"))));
            assert_eq!(starts(&timeline, &offer("2"), now, true), [], "{known:?}, again");
        }
    }

    #[test]
    fn what_has_two_prices_has_none() {
        let item = |name: &str| Item::Machine {
            region: "r".to_owned(),
            instance_type: name.to_owned(),
        };
        let mut ambiguous = Vec::new();
        let found = vec![
            (item("a"), offer("1")),
            (item("b"), offer("1")),
            (item("a"), offer("2")),
            (item("b"), offer("1")),
        ];
        let offers = one_each(found, &mut ambiguous);
        assert_eq!(offers.into_keys().collect::<Vec<_>>(), [item("b")]);
        assert_eq!(ambiguous, ["aws/r/a: 1.000000000 (S) and 2.000000000 (S)"]);
    }
}
