//! An entry of AWS's price list: a product and its on-demand term, in JSON within JSON.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use podledger_sql::units::NanoUsd;
use serde::Deserialize;

/// What has a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// An hour of a machine.
    Machine { region: String, instance_type: String },
    /// Anything else, in the words of `service_prices`.
    Service {
        region: String,
        service: String,
        item: String,
        unit: String,
    },
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine {
                region,
                instance_type,
            } => write!(formatter, "aws/{region}/{instance_type}"),
            Self::Service {
                region,
                service,
                item,
                unit,
            } => write!(formatter, "aws/{region} {service} {item} per {unit}"),
        }
    }
}

/// What a unit of it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub price: NanoUsd,
    /// Since when the term runs.
    pub effective_at: Timestamp,
    /// When the list was published.
    pub published_at: Timestamp,
    /// AWS's name of the product.
    pub sku: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    product: Product,
    #[serde(default)]
    terms: Terms,
    publication_date: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    sku: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Terms {
    #[serde(default)]
    on_demand: BTreeMap<String, Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    effective_date: Option<Timestamp>,
    price_dimensions: BTreeMap<String, Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    unit: String,
    /// By currency.
    price_per_unit: BTreeMap<String, String>,
}

/// Attributes of a Linux machine that is rented by itself and used; where one is missing it does not exclude.
const MACHINE: &[(&str, &str)] = &[
    ("operatingSystem", "Linux"),
    ("tenancy", "Shared"),
    ("preInstalledSw", "NA"),
    ("capacitystatus", "Used"),
    ("operation", "RunInstances"),
    ("marketoption", "OnDemand"),
];

/// Services whose prices are facts: what the price list calls them, and what is asked of it.
pub(super) const SERVICES: &[(&str, Option<&str>)] = &[
    ("AmazonEC2", Some("Storage")),
    ("AWSELB", Some("Load Balancer-Network")),
    ("AmazonEKS", None),
];

/// The offer in an entry; `None` for what is no price of a thing that facts know.
///
/// # Errors
/// Text that says which product is at fault.
pub(super) fn read(text: &str, service: &str) -> Result<Option<(Item, Offer)>, String> {
    let entry: Entry = serde_json::from_str(text)
        .map_err(|error| format!("an entry of the price list cannot be read: {error}"))?;
    let sku = entry.product.sku;
    let attribute = |name: &str| {
        let value = entry.product.attributes.get(name);
        value.map_or("", String::as_str)
    };
    let Some((item, units)) = item(service, &attribute) else {
        return Ok(None);
    };
    let mut found = None;
    for term in entry.terms.on_demand.values() {
        for dimension in term.price_dimensions.values() {
            if !units.contains(&dimension.unit.to_lowercase().as_str()) {
                continue;
            }
            let wrong = |reason: String| format!("{item} ({sku}): {reason}");
            let Some(price) = dimension.price_per_unit.get("USD") else {
                let currencies: Vec<&str> = dimension.price_per_unit.keys().map(String::as_str).collect();
                return Err(wrong(format!(
                    "costs {}, and the ledger is in USD",
                    currencies.join(", ")
                )));
            };
            let price = NanoUsd::from_decimal_str(price).map_err(|error| wrong(error.to_string()))?;
            if price.get() < 0 {
                return Err(wrong(format!("costs {price}, which is negative")));
            }
            let offer = Offer {
                price,
                effective_at: term.effective_date.unwrap_or(entry.publication_date),
                published_at: entry.publication_date,
                sku: sku.clone(),
            };
            if let Some((_, other)) = found.replace((item.clone(), offer))
                && other.price != price
            {
                return Err(wrong(format!("has two prices, {} and {price}", other.price)));
            }
        }
    }
    Ok(found)
}

/// How an hour is written, in lower case.
const HOURS: &[&str] = &["hrs", "hours"];

/// What a product is, and how the unit of its price is written.
fn item<'a>(service: &str, attribute: &impl Fn(&str) -> &'a str) -> Option<(Item, &'static [&'static str])> {
    let region = attribute("regionCode").to_owned();
    let usage = attribute("usagetype");
    let of_service = |service: &str, item: String, unit: &str| Item::Service {
        region: region.clone(),
        service: service.to_owned(),
        item,
        unit: unit.to_owned(),
    };
    if region.is_empty() {
        return None;
    }
    match service {
        "AmazonEC2" if !attribute("instanceType").is_empty() => {
            let is_meant = MACHINE.iter().all(|(name, value)| {
                let told = attribute(name);
                told.is_empty() || told == *value
            });
            let machine = Item::Machine {
                region: region.clone(),
                instance_type: attribute("instanceType").to_owned(),
            };
            is_meant.then_some((machine, HOURS))
        }
        "AmazonEC2" => {
            let kind = attribute("volumeApiName");
            // Volumes, not what they do.
            (!kind.is_empty() && usage.contains("EBS:VolumeUsage")).then(|| {
                (
                    of_service("EBS", format!("{kind} storage"), "GB-month"),
                    &["gb-mo", "gb-month"][..],
                )
            })
        }
        "AWSELB" => {
            let name = usage.rsplit_once('-').map_or(usage, |(_, name)| name);
            // Not those on an outpost, and not reserved capacity.
            (name == "LoadBalancerUsage" && !usage.contains("Outposts")).then(|| {
                (
                    of_service("ELB", "Network Load Balancer".to_owned(), "hour"),
                    HOURS,
                )
            })
        }
        "AmazonEKS" => usage.ends_with("AmazonEKS-Hours:perCluster").then(|| {
            let item = "control plane, standard support".to_owned();
            (of_service("EKS", item, "cluster-hour"), HOURS)
        }),
        _ => None,
    }
}
