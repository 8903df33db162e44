//! `podledger.toml`: what a user declares about teams, weights and zones.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_sql::project::Project;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::billing::Billing;
use crate::conventions::{Sharing, Target};
use crate::error::{Error, Result};
use crate::prices::{self, Discount, PriceOverride};
use crate::rules::{self, IdentityRule};

/// The configuration; every key has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bucket that lakes share, and where snapshots are published: `s3://BUCKET/PREFIX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// How an hour's cost is split: a method of `allocation_weights`, `opencost`, `aws-split-cost`, or `fitted`.
    pub weights_method: String,
    /// What a pod is charged for: `max` of request and usage, `request` or `usage`.
    pub allocation_basis: AllocationBasis,
    /// Namespaces whose pods serve everybody.
    pub platform_namespaces: Vec<String>,
    /// IANA zones for which weekly figures are made.
    pub report_zones: Vec<String>,
    /// Who answers for what; the first that matches wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<TeamMapping>,
    /// Rules of who made a pod and for what, asked before the built-in ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_rules: Vec<IdentityRule>,
    /// Prices of machines, instead of list prices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub price_overrides: Vec<PriceOverride>,
    /// What is taken off list prices; the first that matches holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// What of a bill is the clusters'.
    #[serde(skip_serializing_if = "Billing::is_empty")]
    pub billing: Billing,
    /// How cost that all share is distributed in views.
    #[serde(skip_serializing_if = "is_default")]
    pub sharing: Sharing,
    /// How long runs may take; the first that names a pipeline holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// As what the provider sells volumes of a storage class, where the class has another name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_classes: BTreeMap<String, String>,
}

fn is_default(sharing: &Sharing) -> bool {
    *sharing == Sharing::default()
}

/// What a running pod is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationBasis {
    /// The larger of request and usage; request where usage is unknown.
    Max,
    /// What was asked for.
    Request,
    /// What was used; request where usage is unknown.
    Usage,
}

/// Declares that a team answers for the pods of a pipeline, a namespace, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamMapping {
    /// The team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Teams that share it, by weight, instead of `team`: costs are split among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<String, u32>,
    /// Pods of this pipeline.
    pub pipeline: Option<String>,
    /// Pods of this namespace.
    pub namespace: Option<String>,
    /// For pods that started on this UTC date or later.
    pub valid_from: Option<String>,
}

impl TeamMapping {
    /// What pods are said to belong to: the team, or all that share them with their weights, such as `growth 1 + ml 3`.
    #[must_use]
    pub fn name(&self) -> String {
        self.team.clone().unwrap_or_else(|| {
            let members: Vec<String> = self
                .shares
                .iter()
                .map(|(team, weight)| format!("{team} {weight}"))
                .collect();
            members.join(" + ")
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bucket: None,
            weights_method: "opencost".to_owned(),
            allocation_basis: AllocationBasis::Max,
            platform_namespaces: Vec::new(),
            report_zones: vec!["UTC".to_owned()],
            teams: Vec::new(),
            identity_rules: Vec::new(),
            price_overrides: Vec::new(),
            discounts: Vec::new(),
            billing: Billing::default(),
            sharing: Sharing::default(),
            targets: Vec::new(),
            storage_classes: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The configuration in `path`.
    ///
    /// # Errors
    /// [`Error::Config`] with the key or line at fault and what is allowed there.
    pub fn read(path: &Path) -> Result<Self> {
        let config = |reason: String| Error::Config {
            path: path.to_path_buf(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| config(error.to_string()))?;
        let parsed: Self = toml::from_str(&text).map_err(|error| config(error.to_string()))?;
        for mapping in &parsed.teams {
            if mapping.team.is_some() != mapping.shares.is_empty() {
                return Err(config(
                    "an entry of `teams` needs either `team` or `shares`".to_owned(),
                ));
            }
            if mapping.shares.len() == 1 || mapping.shares.values().any(|weight| *weight == 0) {
                return Err(config(format!(
                    "team `{}`: `shares` needs at least two teams, each with a weight of 1 or more",
                    mapping.name()
                )));
            }
            if mapping.pipeline.is_none() && mapping.namespace.is_none() {
                return Err(config(format!(
                    "team `{}` names neither `pipeline` nor `namespace`; add one",
                    mapping.name()
                )));
            }
            valid_from_ms(mapping).map_err(&config)?;
        }
        rules::check(&parsed.identity_rules, &rules::systems(&Project::embedded()?)).map_err(&config)?;
        prices::check(&parsed.price_overrides, &parsed.discounts).map_err(&config)?;
        parsed.billing.check().map_err(&config)?;
        parsed.sharing.check().map_err(&config)?;
        for target in &parsed.targets {
            target.variable().map_err(&config)?;
        }
        if let Some(class) = parsed
            .storage_classes
            .iter()
            .find_map(|(class, sold_as)| sold_as.trim().is_empty().then_some(class))
        {
            return Err(config(format!(
                "`storage_classes.{class}` is empty; write what the provider sells it as, such as \"gp3\" or \"Premium_LRS\""
            )));
        }
        for zone in &parsed.report_zones {
            TimeZone::get(zone).map_err(|error| config(format!("report_zones: `{zone}`: {error}")))?;
        }
        Ok(parsed)
    }

    /// The project with this configuration as its variables.
    ///
    /// # Errors
    /// [`Error::Config`] for a date that is none.
    pub fn apply(&self, project: Project) -> Result<Project> {
        let mut mappings = Vec::with_capacity(self.teams.len());
        for mapping in &self.teams {
            let valid_from_ms = valid_from_ms(mapping).map_err(|reason| Error::Config {
                path: "configuration".into(),
                reason,
            })?;
            mappings.push(json!({
                "team": mapping.name(),
                "pipeline": mapping.pipeline,
                "namespace": mapping.namespace,
                "valid_from_ms": valid_from_ms,
            }));
        }
        let mut shares = BTreeMap::new();
        for mapping in self.teams.iter().filter(|mapping| !mapping.shares.is_empty()) {
            let whole: u64 = mapping.shares.values().copied().map(u64::from).sum();
            let mut from_part = 0;
            for (member, weight) in &mapping.shares {
                let to_part = from_part + u64::from(*weight);
                shares.insert(
                    (mapping.name(), member),
                    json!({
                        "team": mapping.name(),
                        "member": member,
                        "from_part": from_part,
                        "to_part": to_part,
                        "whole": whole,
                    }),
                );
                from_part = to_part;
            }
        }
        let shares: Vec<_> = shares.into_values().collect();
        let targets: Vec<_> = self
            .targets
            .iter()
            .map(Target::variable)
            .collect::<std::result::Result<_, _>>()
            .map_err(|reason| Error::Config {
                path: "configuration".into(),
                reason,
            })?;
        let storage_classes: Vec<_> = self
            .storage_classes
            .iter()
            .map(|(class, sold_as)| json!({"storage_class": class, "sold_as": sold_as}))
            .collect();
        let project = prices::apply(&self.price_overrides, &self.discounts, project).map_err(|reason| {
            Error::Config {
                path: "configuration".into(),
                reason,
            }
        })?;
        Ok(rules::apply(&self.identity_rules, project)
            .with_var("billing_scope", self.billing.variable())
            .with_var("team_shares", json!(shares))
            .with_var("weights_method", json!(self.weights_method))
            .with_var("allocation_basis", json!(self.allocation_basis))
            .with_var("platform_namespaces", json!(self.platform_namespaces))
            .with_var("report_zones", json!(self.report_zones))
            .with_var("team_mappings", json!(mappings))
            .with_var("sharing_weights", json!(self.sharing.variable()))
            .with_var("storage_classes", json!(storage_classes))
            .with_var("targets", json!(targets)))
    }

    /// Annotations that a rule of this configuration reads; no others are kept.
    ///
    /// # Errors
    /// As [`Config::apply`].
    pub fn annotations(&self) -> Result<Vec<String>> {
        Ok(rules::annotations(&self.apply(Project::embedded()?)?))
    }

    /// Labels that a rule of this configuration reads.
    ///
    /// # Errors
    /// As [`Config::apply`].
    pub fn labels(&self) -> Result<Vec<String>> {
        Ok(rules::labels(&self.apply(Project::embedded()?)?))
    }

    /// The whole configuration as text: while it and the facts are the same, a build has nothing to do.
    #[must_use]
    pub fn views_fingerprint(&self) -> String {
        // Where facts come from changes nothing that is made of them.
        let config = Self {
            bucket: None,
            ..self.clone()
        };
        json!(config).to_string()
    }

    /// What of the configuration decides the rows of `machine_pod_hours`: a change of it needs a full build.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        json!([self.weights_method, self.allocation_basis]).to_string()
    }
}

fn valid_from_ms(mapping: &TeamMapping) -> Result<i64, String> {
    let Some(date) = &mapping.valid_from else {
        return Ok(0);
    };
    let bad = |error: jiff::Error| {
        format!(
            "team `{}`: valid_from `{date}`: {error}; write YYYY-MM-DD",
            mapping.name()
        )
    };
    let date: Date = date.parse().map_err(bad)?;
    Ok(date
        .to_zoned(TimeZone::UTC)
        .map_err(bad)?
        .timestamp()
        .as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("podledger.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn an_unknown_key_is_named_with_what_is_allowed() {
        let error = read("weight_method = 'opencost'").unwrap_err().to_string();
        assert!(
            error.contains("weight_method") && error.contains("weights_method"),
            "{error}"
        );
    }

    #[test]
    fn a_mapping_without_anything_to_match_is_refused() {
        let error = read("[[teams]]\nteam = 'ml'").unwrap_err().to_string();
        assert!(error.contains("team `ml` names neither"), "{error}");
    }

    #[test]
    fn shares_need_two_teams_and_stand_instead_of_one() {
        for (text, expected) in [
            ("[[teams]]\nnamespace = 'x'", "either `team` or `shares`"),
            (
                "[[teams]]\nteam = 'a'\nshares = {a = 1, b = 1}\nnamespace = 'x'",
                "either `team` or `shares`",
            ),
            (
                "[[teams]]\nshares = {a = 1}\nnamespace = 'x'",
                "at least two teams",
            ),
            (
                "[[teams]]\nshares = {a = 0, b = 1}\nnamespace = 'x'",
                "a weight of 1 or more",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let config = read("[[teams]]\nshares = {ml = 3, growth = 1}\nnamespace = 'x'").unwrap();
        assert_eq!(config.teams[0].name(), "growth 1 + ml 3");
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn a_storage_class_is_sold_as_something() {
        let error = read("[storage_classes]\nfast = ' '").unwrap_err().to_string();
        assert!(error.contains("`storage_classes.fast` is empty"), "{error}");
        let config = read("[storage_classes]\nfast = 'gp3'\n[sharing.weights]\nml = 1").unwrap();
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn an_exclusive_scope_says_of_what() {
        let error = read("[billing]\nexclusive = true").unwrap_err().to_string();
        assert!(error.contains("needs `accounts` or `tags`"), "{error}");
        let config = read("[billing]\naccounts = ['1']\ntags = {team = 'x'}\nexclusive = true").unwrap();
        assert_eq!(
            config.billing.describe(),
            "accounts 1; tag team=x; all machines of it are the clusters'"
        );
    }

    #[test]
    fn where_facts_come_from_makes_no_other_build() {
        let config = read("bucket = 's3://metering/prod'").unwrap();
        assert_eq!(config.bucket.as_deref(), Some("s3://metering/prod"));
        assert_eq!(config.views_fingerprint(), Config::default().views_fingerprint());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = Config {
            bucket: Some("s3://metering/prod".to_owned()),
            report_zones: vec!["Europe/Berlin".to_owned()],
            ..Config::default()
        };
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
