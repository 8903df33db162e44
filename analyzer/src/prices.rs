//! Prices that a user declares in `podledger.toml`: of own hardware, and what is taken off list prices.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_sql::project::Project;
use podledger_sql::units::NanoUsd;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Hours of a year: 365.25 days of 24 hours.
pub const HOURS_PER_YEAR: i128 = 8_766;

/// The price of an hour of the machines that one of `machine`, `node`, `label`, `pool` and `instance_type` names. The most
/// particular holds, in this order; a list price holds where none does. Or of a GiB of a `volume` or `storage_class`, of a
/// `load_balancer`, or of a cluster's `control_plane`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceOverride {
    /// The `spec.providerID` of a node; its machine's name where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The name of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A label of nodes: `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A pool of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// An instance type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The name of a PersistentVolume: the price of a GiB of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// A storage class: the price of a GiB of its volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// The load balancer of a Service, `namespace/name`; `*` means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// The control plane of a cluster, by the cluster's identifier; `*` means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<String>,
    /// Only machines of this region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// From this UTC date on; always, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// US dollars an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly_usd: Option<String>,
    /// Own hardware, instead of `hourly_usd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_premises: Option<OnPremises>,
}

/// What own hardware costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnPremises {
    /// What one machine was bought for, US dollars.
    pub purchase_usd: String,
    /// Years over which it is written off.
    pub years: u32,
    /// What it draws on average, in watts, without cooling.
    #[serde(default)]
    pub power_watts: u32,
    /// US dollars per kilowatt-hour.
    #[serde(default = "zero")]
    pub usd_per_kwh: String,
    /// Power usage effectiveness in percent: 150 means that cooling and losses take half as much again.
    #[serde(default = "hundred")]
    pub power_usage_effectiveness_percent: u32,
    /// What else it costs in a year: space, support, hands. US dollars.
    #[serde(default = "zero")]
    pub yearly_usd: String,
}

fn zero() -> String {
    "0".to_owned()
}

fn hundred() -> u32 {
    100
}

/// What is taken off the list prices of the machines that match every key given. Of several the first that matches holds;
/// declared prices are never discounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discount {
    /// Only this provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Only this region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Only `on-demand`, `spot` or `reserved` capacity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_type: Option<String>,
    /// Only this pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Only this instance type; `m5.*` means all that begin with `m5.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// From this UTC date on; always, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// How much, in percent with at most four decimals.
    pub percent: String,
}

impl OnPremises {
    /// US dollars an hour: purchase / (years x 8,766 h) + watts x PUE x price of a kWh + yearly / 8,766 h, rounded to the
    /// nearest nano-dollar. A year has 365.25 x 24 = 8,766 hours.
    ///
    /// # Errors
    /// What is wrong with it: no amount, no years, or more than an hour's price can hold.
    pub fn hourly(&self) -> Result<NanoUsd, String> {
        if self.years == 0 {
            return Err("`years` must be 1 or more".to_owned());
        }
        let amount = |key: &str, text: &str| {
            let amount = NanoUsd::from_decimal_str(text).map_err(|error| format!("`{key}`: {error}"))?;
            if amount.get() < 0 {
                return Err(format!("`{key}` must not be negative"));
            }
            Ok(i128::from(amount.get()))
        };
        let years = i128::from(self.years);
        // All over one whole of years x hours x 1,000 W per kW x 100 percent.
        let whole = years * HOURS_PER_YEAR * 100_000;
        let written_off = amount("purchase_usd", &self.purchase_usd)? * 100_000;
        let power = amount("usd_per_kwh", &self.usd_per_kwh)?
            * i128::from(self.power_watts)
            * i128::from(self.power_usage_effectiveness_percent)
            * years
            * HOURS_PER_YEAR;
        let yearly = amount("yearly_usd", &self.yearly_usd)? * years * 100_000;
        let hourly = (written_off + power + yearly + whole / 2) / whole;
        i64::try_from(hourly)
            .map(NanoUsd::from_nano)
            .map_err(|_| "an hour costs more than can be counted".to_owned())
    }
}

impl PriceOverride {
    /// What it is about: the selector's kind, the label's name or nothing, and the value.
    fn selector(&self) -> Result<(&'static str, &str, &str), String> {
        let given: Vec<(&'static str, &str)> = [
            ("machine", &self.machine),
            ("node", &self.node),
            ("label", &self.label),
            ("pool", &self.pool),
            ("instance_type", &self.instance_type),
            ("volume", &self.volume),
            ("storage_class", &self.storage_class),
            ("load_balancer", &self.load_balancer),
            ("control_plane", &self.control_plane),
        ]
        .into_iter()
        .filter_map(|(kind, value)| Some((kind, value.as_deref()?)))
        .collect();
        match given[..] {
            [("label", label)] => label
                .split_once('=')
                .map(|(key, value)| ("label", key, value))
                .ok_or_else(|| format!("label `{label}` must be written as key=value")),
            [(kind, value)] => Ok((kind, "", value)),
            _ => Err("needs exactly one of `machine`, `node`, `label`, `pool`, `instance_type`, `volume`, `storage_class`, \
                      `load_balancer`, `control_plane`"
                .to_owned()),
        }
    }

    fn hourly(&self) -> Result<NanoUsd, String> {
        match (&self.hourly_usd, &self.on_premises) {
            (Some(text), None) => {
                let price =
                    NanoUsd::from_decimal_str(text).map_err(|error| format!("`hourly_usd`: {error}"))?;
                if price.get() < 0 {
                    return Err("`hourly_usd` must not be negative".to_owned());
                }
                Ok(price)
            }
            (None, Some(hardware)) => hardware
                .hourly()
                .map_err(|reason| format!("on_premises: {reason}")),
            _ => Err("needs either `hourly_usd` or `on_premises`".to_owned()),
        }
    }
}

impl Discount {
    fn parts_per_million(&self) -> Result<i64, String> {
        // A percentage with four decimals is a whole number of parts per million.
        let percent = NanoUsd::from_decimal_str(&self.percent)
            .map_err(|error| format!("`percent`: {error}"))?
            .get();
        if percent % 100_000 != 0 || !(0..=100_000_000_000).contains(&percent) {
            return Err(format!(
                "`percent`: `{}` is not between 0 and 100 with at most four decimals",
                self.percent
            ));
        }
        Ok(percent / 100_000)
    }
}

/// The first mistake in what is declared, by the number of its entry; nothing if there is none.
///
/// # Errors
/// The mistake.
pub fn check(overrides: &[PriceOverride], discounts: &[Discount]) -> Result<(), String> {
    for (number, entry) in (1..).zip(overrides) {
        variable(entry).map_err(|reason| format!("entry {number} of `price_overrides`: {reason}"))?;
    }
    for (number, entry) in (1..).zip(discounts) {
        discount_variable(entry).map_err(|reason| format!("entry {number} of `discounts`: {reason}"))?;
    }
    Ok(())
}

/// The project with these prices as its variables.
///
/// # Errors
/// As [`check`].
pub fn apply(
    overrides: &[PriceOverride],
    discounts: &[Discount],
    project: Project,
) -> Result<Project, String> {
    let overrides: Vec<_> = overrides.iter().map(variable).collect::<Result<_, _>>()?;
    let discounts: Vec<_> = discounts
        .iter()
        .map(discount_variable)
        .collect::<Result<_, _>>()?;
    Ok(project
        .with_var("price_overrides", json!(overrides))
        .with_var("discounts", json!(discounts)))
}

fn variable(entry: &PriceOverride) -> Result<serde_json::Value, String> {
    let (selector, selector_key, selector_value) = entry.selector()?;
    Ok(json!({
        "selector": selector,
        "selector_key": selector_key,
        "selector_value": selector_value,
        "region": entry.region.clone().unwrap_or_default(),
        "valid_from_ms": milliseconds(entry.valid_from.as_deref())?,
        "price_nano": entry.hourly()?.get(),
        "source": if entry.on_premises.is_some() { "configuration, own hardware" } else { "configuration" },
    }))
}

fn discount_variable(entry: &Discount) -> Result<serde_json::Value, String> {
    if let Some(capacity_type) = &entry.capacity_type
        && !podledger_sql::facts::CAPACITY_TYPES.contains(&capacity_type.as_str())
    {
        return Err(format!(
            "`capacity_type`: `{capacity_type}` is none of {}",
            podledger_sql::facts::CAPACITY_TYPES.join(", ")
        ));
    }
    let family = entry
        .instance_type
        .as_deref()
        .and_then(|pattern| pattern.strip_suffix('*'));
    let whole = entry.instance_type.as_deref().filter(|_| family.is_none());
    if family.or(whole).is_some_and(|text| text.contains('*')) {
        return Err("`instance_type` may have a `*` at its end only".to_owned());
    }
    Ok(json!({
        "provider": entry.provider,
        "region": entry.region,
        "capacity_type": entry.capacity_type,
        "pool": entry.pool,
        "instance_type": whole,
        "family": family,
        "valid_from_ms": milliseconds(entry.valid_from.as_deref())?,
        "parts_per_million": entry.parts_per_million()?,
    }))
}

/// The start of a UTC date in milliseconds since 1970; 1970 without one.
fn milliseconds(date: Option<&str>) -> Result<i64, String> {
    let Some(date) = date else { return Ok(0) };
    let bad = |error: jiff::Error| format!("valid_from `{date}`: {error}; write YYYY-MM-DD");
    let start = date
        .parse::<Date>()
        .and_then(|date| date.to_zoned(TimeZone::UTC))
        .map_err(bad)?;
    Ok(start.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack(purchase: &str) -> OnPremises {
        OnPremises {
            purchase_usd: purchase.to_owned(),
            years: 4,
            power_watts: 500,
            usd_per_kwh: "0.20".to_owned(),
            power_usage_effectiveness_percent: 150,
            yearly_usd: "876.6".to_owned(),
        }
    }

    #[test]
    fn own_hardware_costs_what_is_written_off_and_what_it_draws() {
        // 35,064 / (4 x 8,766) = 1; 0.5 kW x 1.5 x 0.20 = 0.15; 876.6 / 8,766 = 0.1.
        assert_eq!(rack("35064").hourly().unwrap().to_string(), "1.250000000");
        // A third of a nano-dollar is rounded to the nearest.
        let bare = OnPremises {
            power_watts: 0,
            yearly_usd: "0".to_owned(),
            ..rack("1")
        };
        assert_eq!(bare.hourly().unwrap().to_string(), "0.000028519");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_entry() {
        let pool = PriceOverride {
            pool: Some("p".to_owned()),
            ..PriceOverride::default()
        };
        let priced = PriceOverride {
            hourly_usd: Some("1".to_owned()),
            ..pool.clone()
        };
        let discount = |percent: &str| Discount {
            percent: percent.to_owned(),
            ..Discount::default()
        };
        for (overrides, discounts, expected) in [
            (vec![pool.clone()], vec![], "either `hourly_usd` or `on_premises`"),
            (
                vec![PriceOverride {
                    node: Some("n".to_owned()),
                    ..priced.clone()
                }],
                vec![],
                "exactly one of",
            ),
            (
                vec![PriceOverride {
                    label: Some("x".to_owned()),
                    pool: None,
                    ..priced.clone()
                }],
                vec![],
                "key=value",
            ),
            (
                vec![PriceOverride {
                    valid_from: Some("May".to_owned()),
                    ..priced.clone()
                }],
                vec![],
                "YYYY-MM-DD",
            ),
            (
                vec![PriceOverride {
                    hourly_usd: Some("-1".to_owned()),
                    ..pool.clone()
                }],
                vec![],
                "negative",
            ),
            (
                vec![PriceOverride {
                    on_premises: Some(OnPremises {
                        years: 0,
                        ..rack("1")
                    }),
                    ..pool
                }],
                vec![],
                "`years`",
            ),
            (vec![], vec![discount("101")], "between 0 and 100"),
            (vec![], vec![discount("1.00001")], "four decimals"),
            (
                vec![],
                vec![Discount {
                    instance_type: Some("m*.large".to_owned()),
                    ..discount("1")
                }],
                "at its end",
            ),
            (
                vec![],
                vec![Discount {
                    capacity_type: Some("sopt".to_owned()),
                    ..discount("1")
                }],
                "none of on-demand",
            ),
        ] {
            let error = check(&overrides, &discounts).unwrap_err();
            assert!(
                error.contains("entry 1 of") && error.contains(expected),
                "{error}"
            );
        }
        check(&[priced], &[discount("12.5")]).unwrap();
    }
}
