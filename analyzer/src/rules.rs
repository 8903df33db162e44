//! Identity rules: a user's own, checked before SQL sees them, and what all rules together read.
//!
//! The built-in rules and the meaning of their fields stand in the dbt project (`sql/dbt_project.yml`,
//! `sql/macros/identity.sql`).

use std::collections::BTreeSet;

use duckdb::Connection;
use podledger_sql::Doing;
use podledger_sql::project::Project;
use podledger_sql::runner::Runner;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::Result;

/// What a rule can fill.
pub const FIELDS: &[&str] = &[
    "system",
    "pipeline",
    "run",
    "epoch",
    "installation",
    "job",
    "attempt",
    "role",
    "main_container",
    "team",
];

/// Where a rule can look.
pub const SOURCES: &[&str] = &[
    "label",
    "annotation",
    "owner",
    "owner_uid",
    "owner_label",
    "owner_annotation",
    "namespace_label",
    "namespace",
    "pod_name",
    "constant",
];

/// Sources that look under a key.
const KEYED: &[&str] = &[
    "label",
    "annotation",
    "owner",
    "owner_uid",
    "owner_label",
    "owner_annotation",
    "namespace_label",
];

/// Text that one of the engines would read otherwise than the other: escapes, variables of Spark, groups that look around
/// or set flags.
const NOT_PORTABLE: &[&str] = &[
    "\\", "${", "(?=", "(?!", "(?<", "(?i", "(?s", "(?m", "(?x", "(?U", "(?P",
];

/// A rule that a user adds; it is asked before the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityRule {
    /// The system whose pods it is for: a built-in one, one that has a `system` rule here, or `any`.
    pub system: String,
    /// What it fills.
    pub field: String,
    /// Where it looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The label, annotation or kind of owner to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Has the part that counts as its first group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Stands for whatever is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Is replaced in what is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
    /// Replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Several sources that make one text, instead of `source`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<RulePart>,
    /// Stands between the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
}

/// One source of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulePart {
    /// Where it looks.
    pub source: String,
    /// The label, annotation or kind of owner to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Has the part that counts as its first group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl IdentityRule {
    /// Says what is wrong with the rule and how to mend it.
    ///
    /// # Errors
    /// A sentence that names the rule by system and field.
    pub fn check(&self) -> std::result::Result<(), String> {
        let title = format!("identity rule for {}.{}", self.system, self.field);
        let wrong = |what: String| Err(format!("{title}: {what}"));
        if !is_name(&self.system) {
            return wrong(format!(
                "`{}` is no name of a system; write small letters, digits and `-`",
                self.system
            ));
        }
        if !FIELDS.contains(&self.field.as_str()) {
            return wrong(format!(
                "there is no such field; use one of {}",
                FIELDS.join(", ")
            ));
        }
        if self.system == "any" && self.field == "system" {
            return wrong("`any` is no system that could apply to a pod; name one".to_owned());
        }
        if self.by.is_some() != self.replace.is_some() {
            return wrong("`replace` and `by` go together".to_owned());
        }
        match (&self.source, self.parts.is_empty()) {
            (Some(source), true) => {
                if (source == "constant") && self.value.is_none() {
                    return wrong("a `constant` needs its `value`".to_owned());
                }
                check_part(source, self.key.as_deref(), self.pattern.as_deref()).or_else(wrong)
            }
            (None, false) => {
                if self.separator.is_none() {
                    return wrong("`parts` need a `separator`".to_owned());
                }
                for part in &self.parts {
                    if part.source == "constant" {
                        return wrong("a part cannot be a `constant`".to_owned());
                    }
                    check_part(&part.source, part.key.as_deref(), part.pattern.as_deref()).or_else(wrong)?;
                }
                Ok(())
            }
            _ => wrong("give either a `source` or `parts`".to_owned()),
        }
    }
}

fn check_part(source: &str, key: Option<&str>, pattern: Option<&str>) -> std::result::Result<(), String> {
    if !SOURCES.contains(&source) {
        return Err(format!(
            "there is no source `{source}`; use one of {}",
            SOURCES.join(", ")
        ));
    }
    if KEYED.contains(&source) != key.is_some_and(|key| !key.is_empty()) {
        return Err(if KEYED.contains(&source) {
            format!("the source `{source}` needs a `key`")
        } else {
            format!("the source `{source}` has no `key`")
        });
    }
    let Some(pattern) = pattern else { return Ok(()) };
    if let Some(found) = NOT_PORTABLE.iter().find(|found| pattern.contains(**found)) {
        return Err(format!(
            "pattern `{pattern}`: `{found}` does not mean the same to every engine; write `[0-9]` and `[.]` for classes and \
             plain characters, and no look-around or flags"
        ));
    }
    let regex = Regex::new(pattern).map_err(|error| format!("pattern `{pattern}`: {error}"))?;
    if regex.captures_len() < 2 {
        return Err(format!(
            "pattern `{pattern}` has no group: put the part that counts in parentheses"
        ));
    }
    Ok(())
}

fn is_name(system: &str) -> bool {
    system.starts_with(|first: char| first.is_ascii_lowercase())
        && system
            .chars()
            .all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '-')
}

/// Checks all rules of a user, alone and together.
///
/// # Errors
/// What is wrong with the first that is, and the mend.
pub fn check(rules: &[IdentityRule], builtin_systems: &[String]) -> std::result::Result<(), String> {
    for rule in rules {
        rule.check()?;
        let known = rule.system == "any"
            || builtin_systems.contains(&rule.system)
            || rules
                .iter()
                .any(|other| other.system == rule.system && other.field == "system");
        if !known {
            return Err(format!(
                "identity rule for {}.{}: no rule says which pods are of the system `{}`; add one with field = \"system\", or \
                 use one of {}",
                rule.system,
                rule.field,
                rule.system,
                builtin_systems.join(", ")
            ));
        }
    }
    Ok(())
}

/// The systems that a project knows, outermost first.
#[must_use]
pub fn systems(project: &Project) -> Vec<String> {
    let Some(Value::Array(systems)) = project.var("identity_systems") else {
        return Vec::new();
    };
    systems
        .iter()
        .filter_map(|system| system.as_str().map(str::to_owned))
        .collect()
}

/// The project with a user's rules before its own; a system that only they name comes first.
#[must_use]
pub fn apply(rules: &[IdentityRule], project: Project) -> Project {
    if rules.is_empty() {
        return project;
    }
    let builtin = systems(&project);
    let mut all: Vec<String> = Vec::new();
    for rule in rules {
        if rule.system != "any" && !builtin.contains(&rule.system) && !all.contains(&rule.system) {
            all.push(rule.system.clone());
        }
    }
    all.extend(builtin);
    project
        .with_var("identity_systems", json!(all))
        .with_var("identity_rules", json!(rules))
}

/// Annotations that some rule reads, sorted. No others are collected: they may carry secrets.
#[must_use]
pub fn annotations(project: &Project) -> Vec<String> {
    keys(project, &["annotation", "owner_annotation"])
}

/// Labels that some rule reads, sorted.
#[must_use]
pub fn labels(project: &Project) -> Vec<String> {
    keys(project, &["label", "owner_label", "namespace_label"])
}

/// The keys that rules of these sources read.
fn keys(project: &Project, sources: &[&str]) -> Vec<String> {
    let rules = ["identity_rules", "builtin_identity_rules"]
        .into_iter()
        .filter_map(|name| project.var(name)?.as_array())
        .flatten();
    let parts = rules.clone().flat_map(|rule| {
        let parts = rule["parts"].as_array().into_iter().flatten();
        std::iter::once(rule).chain(parts)
    });
    let read = parts
        .filter(|part| {
            part["source"]
                .as_str()
                .is_some_and(|source| sources.contains(&source))
        })
        .filter_map(|part| part["key"].as_str());
    let beside = rules
        .filter(|_| sources.contains(&"label"))
        .filter_map(|rule| rule["with_label"].as_str());
    let keys: BTreeSet<String> = read.chain(beside).map(str::to_owned).collect();
    keys.into_iter().collect()
}

/// Rules of a user that can never decide anything, because an earlier one of theirs looks at the same place first.
#[must_use]
pub fn shadowed(rules: &[IdentityRule]) -> Vec<String> {
    let place = |rule: &IdentityRule| (rule.field.clone(), rule.source.clone(), rule.key.clone());
    let mut lines = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let earlier = rules.iter().take(position).find(|earlier| {
            place(earlier) == place(rule)
                && earlier.parts == rule.parts
                && earlier
                    .pattern
                    .as_ref()
                    .is_none_or(|pattern| rule.pattern.as_ref() == Some(pattern))
                && (earlier.system == rule.system || earlier.system == "any")
                && rule.field != "system"
        });
        if let Some(earlier) = earlier {
            lines.push(format!(
                "rule {} ({}) never decides: rule for {} looks at the same place first",
                position + 1,
                title(&json!(rule)),
                earlier.system
            ));
        }
    }
    lines
}

/// The rules in use, and what they decide in a ledger.
#[derive(Debug)]
pub struct Rules {
    titles: Vec<String>,
    query: String,
}

/// What the rules decided of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// UID of the pod.
    pub pod_uid: String,
    /// Its name.
    pub pod_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Every field.
    pub decisions: Vec<Decision>,
}

/// One field of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The field.
    pub field: &'static str,
    /// What was found.
    pub value: Option<String>,
    /// The rule that found it.
    pub rule: Option<String>,
}

/// A share of the cost of all workload pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Of what: a rule, a namespace, a label.
    pub name: String,
    /// Pods.
    pub pods: i64,
    /// What they cost, in nano-dollars.
    pub cost_nano: i64,
    /// Of all workload pods' cost, in thousandths, cut off.
    pub permille: i64,
}

impl Rules {
    /// The rules of a configuration and the built-in ones.
    ///
    /// # Errors
    /// [`crate::Error::Sql`] where they do not make a query.
    pub fn of(config: &Config) -> Result<Self> {
        let project = config.apply(Project::embedded()?)?;
        let titles = ["identity_rules", "builtin_identity_rules"]
            .into_iter()
            .filter_map(|name| project.var(name)?.as_array())
            .flatten()
            .map(title)
            .collect();
        let query = Runner::new(&project)?.analysis("identity_decisions")?;
        Ok(Self { titles, query })
    }

    /// Of up to `limit` pods whose name or UID is like `pattern`, which rule decided what.
    ///
    /// # Errors
    /// [`crate::Error::Sql`] where nothing has been built.
    pub fn decisions(&self, connection: &Connection, pattern: &str, limit: u32) -> Result<Vec<Decided>> {
        let filter = format!(
            "where pod_name like $1 or pod_uid like $1 order by namespace, pod_name, pod_uid, cluster limit {limit}"
        );
        self.decided(connection, &filter, &[&pattern])
    }

    /// Of the pod that has a UID, in a cluster if one is named, which rule decided what.
    ///
    /// # Errors
    /// As [`Rules::decisions`].
    pub fn decisions_of(
        &self,
        connection: &Connection,
        cluster: Option<&str>,
        uid: &str,
    ) -> Result<Option<Decided>> {
        let filter = "where pod_uid = $1 and ($2 is null or cluster = $2) order by cluster limit 1";
        let found = self.decided(connection, filter, &[&uid, &cluster])?;
        Ok(found.into_iter().next())
    }

    fn decided(
        &self,
        connection: &Connection,
        filter: &str,
        values: &[&dyn duckdb::ToSql],
    ) -> Result<Vec<Decided>> {
        let columns: Vec<String> = FIELDS
            .iter()
            .map(|field| format!("{field}, {field}_rule"))
            .collect();
        let statement = format!(
            "select pod_uid, coalesce(pod_name, ''), coalesce(namespace, ''), {} from ({}) as decisions {filter}",
            columns.join(", "),
            self.query
        );
        let doing = "ask which rule decided what";
        let mut statement = connection.prepare(&statement).doing(doing)?;
        let rows = statement
            .query_map(values, |row| {
                let mut decisions = Vec::with_capacity(FIELDS.len());
                for (position, field) in FIELDS.iter().enumerate() {
                    let rule: i64 = row.get(4 + 2 * position)?;
                    decisions.push(Decision {
                        field,
                        value: row.get(3 + 2 * position)?,
                        rule: self.title(rule),
                    });
                }
                Ok(Decided {
                    pod_uid: row.get(0)?,
                    pod_name: row.get(1)?,
                    namespace: row.get(2)?,
                    decisions,
                })
            })
            .doing(doing)?;
        Ok(rows.collect::<duckdb::Result<_>>().doing(doing)?)
    }

    /// The share of cost that each rule of a field attributes, the largest first; what none attributes is a row too.
    ///
    /// # Errors
    /// As [`Rules::decisions`].
    pub fn shares(&self, connection: &Connection, field: &str) -> Result<Vec<Share>> {
        let inner = format!(
            "select cast({field}_rule as varchar) as name, costs.cost_nano \
             from ({}) as decisions \
             inner join marts.pods as pods using (cluster, pod_uid) \
             left join intermediate.int_pod_costs as costs using (cluster, pod_uid) where pods.pod_class = 'workload'",
            self.query
        );
        let mut shares = shares(connection, &inner, i64::MAX)?;
        for share in &mut shares {
            let rule = share.name.parse().unwrap_or(0);
            share.name = self
                .title(rule)
                .unwrap_or_else(|| "no rule found anything".to_owned());
        }
        Ok(shares)
    }

    /// The namespaces whose pods of no known pipeline cost most.
    ///
    /// # Errors
    /// As [`Rules::decisions`].
    pub fn gaps(&self, connection: &Connection) -> Result<Vec<Share>> {
        let inner = format!("select coalesce(pods.namespace, '') as name, costs.cost_nano {GAP}");
        shares(connection, &inner, 10)
    }

    /// The labels that those pods carry, by the cost of the pods.
    ///
    /// # Errors
    /// As [`Rules::decisions`].
    pub fn suggestions(&self, connection: &Connection) -> Result<Vec<Share>> {
        let inner = format!(
            "select unnest(map_keys(described.labels)) as name, costs.cost_nano {}",
            GAP.replace(
                "where",
                "inner join intermediate.int_pod_descriptions as described using (cluster, pod_uid) where"
            )
        );
        // These change with every release, or name the pod itself.
        let inner = format!(
            "select * from ({inner}) where name not in ('pod-template-hash', 'controller-uid', \
             'controller-revision-hash', 'batch.kubernetes.io/controller-uid', 'statefulset.kubernetes.io/pod-name', \
             'pod-template-generation', 'apps.kubernetes.io/pod-index')"
        );
        shares(connection, &inner, 10)
    }

    fn title(&self, number: i64) -> Option<String> {
        let position = usize::try_from(number).ok()?.checked_sub(1)?;
        self.titles.get(position).cloned()
    }
}

/// Workload pods of no known pipeline, and what they cost.
const GAP: &str = "from marts.pods as pods \
     left join intermediate.int_pod_costs as costs using (cluster, pod_uid) \
     where pods.pod_class = 'workload' and pods.pipeline = 'unattributed'";

fn shares(connection: &Connection, inner: &str, limit: i64) -> Result<Vec<Share>> {
    let statement = format!(
        "select name, count(*), cast(coalesce(sum(cost_nano), 0) as bigint) as cost, cast(coalesce(sum(cost_nano), 0) * 1000 \
         // greatest((select sum(costs.cost_nano) from intermediate.int_pod_costs as costs \
         inner join marts.pods as pods using (cluster, pod_uid) where pods.pod_class = 'workload'), 1) as bigint) \
         from ({inner}) group by name order by cost desc, count(*) desc, name limit {limit}"
    );
    let doing = "ask what rules attribute";
    let mut statement = connection.prepare(&statement).doing(doing)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Share {
                name: row.get(0)?,
                pods: row.get(1)?,
                cost_nano: row.get(2)?,
                permille: row.get(3)?,
            })
        })
        .doing(doing)?;
    Ok(rows.collect::<duckdb::Result<_>>().doing(doing)?)
}

/// A rule in a few words: `airflow: label dag_id`.
fn title(rule: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let place = |part: &Value| {
        let words = [text(&part["source"]), text(&part["key"])];
        let mut place = words.join(" ").trim_end().to_owned();
        if let Some(pattern) = part["pattern"].as_str() {
            place += &format!(" ~ {pattern}");
        }
        place
    };
    let places = match rule["parts"].as_array().filter(|parts| !parts.is_empty()) {
        Some(parts) => parts.iter().map(place).collect::<Vec<_>>().join(" and "),
        None => place(rule),
    };
    format!("{}: {places}", text(&rule["system"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> IdentityRule {
        toml::from_str(text).unwrap()
    }

    fn builtin() -> Vec<String> {
        systems(&Project::embedded().unwrap())
    }

    #[test]
    fn every_mistake_is_named_with_its_mend() {
        let cases = [
            (
                "system='airflow'\nfield='pipline'\nsource='label'\nkey='x'",
                "use one of system, pipeline",
            ),
            (
                "system='airflow'\nfield='team'\nsource='labels'\nkey='x'",
                "no source `labels`",
            ),
            ("system='airflow'\nfield='team'\nsource='label'", "needs a `key`"),
            (
                "system='airflow'\nfield='team'\nsource='namespace'\nkey='x'",
                "has no `key`",
            ),
            ("system='airflow'\nfield='team'", "either a `source` or `parts`"),
            (
                "system='airflow'\nfield='team'\nsource='constant'",
                "needs its `value`",
            ),
            (
                "system='airflow'\nfield='team'\nsource='label'\nkey='x'\npattern='a+'",
                "has no group",
            ),
            (
                "system='airflow'\nfield='team'\nsource='label'\nkey='x'\npattern='(a'",
                "pattern `(a`",
            ),
            (
                "system='airflow'\nfield='team'\nsource='label'\nkey='x'\npattern='([0-9]+)\\d'",
                "every engine",
            ),
            (
                "system='airflow'\nfield='team'\nsource='label'\nkey='x'\npattern='(?i)(a)'",
                "every engine",
            ),
            (
                "system='any'\nfield='system'\nsource='label'\nkey='x'",
                "name one",
            ),
            (
                "system='My System'\nfield='team'\nsource='label'\nkey='x'",
                "no name of a system",
            ),
            (
                "system='luigi'\nfield='job'\nsource='label'\nkey='x'",
                "field = \"system\"",
            ),
        ];
        for (text, expected) in cases {
            let error = check(&[rule(text)], &builtin()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_built_in_rules_pass_the_checks_of_a_users() {
        let project = Project::embedded().unwrap();
        let rules = project.var("builtin_identity_rules").unwrap().as_array().unwrap();
        assert!(rules.len() > 150);
        for rule in rules {
            let mut rule = rule.clone();
            rule.as_object_mut().unwrap().remove("with_label");
            let rule: IdentityRule = serde_json::from_value(rule).unwrap();
            check(std::slice::from_ref(&rule), &builtin()).unwrap();
        }
    }

    #[test]
    fn only_annotations_that_a_rule_reads_are_kept() {
        let own = rule("system='any'\nfield='team'\nsource='annotation'\nkey='example.com/team'");
        let kept = annotations(&apply(&[own], Project::embedded().unwrap()));
        assert!(kept.contains(&"example.com/team".to_owned()));
        assert!(kept.contains(&"job.runner.gitlab.com/ref".to_owned()));
        assert!(!kept.contains(&"kubectl.kubernetes.io/last-applied-configuration".to_owned()));
    }
}
