//! What of a bill is the clusters'.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What of a bill is the clusters': all of it where nothing is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// Billing accounts or sub accounts: payer and linked accounts, subscriptions, projects.
    pub accounts: Vec<String>,
    /// Tags that a charge must have, all of them.
    pub tags: BTreeMap<String, String>,
    /// Whether all machines of the scope are the clusters': then charges without a resource are matched by type, region and day, and
    /// machines that nobody saw are unobserved instead of out of scope.
    pub exclusive: bool,
}

impl Billing {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.exclusive && self.accounts.is_empty() && self.tags.is_empty() {
            return Err("billing: `exclusive` needs `accounts` or `tags` that it is about".to_owned());
        }
        if self.accounts.iter().any(|account| account.trim().is_empty()) {
            return Err("billing: an entry of `accounts` is empty".to_owned());
        }
        Ok(())
    }

    /// The scope in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.accounts.is_empty() {
            parts.push(format!("accounts {}", self.accounts.join(", ")));
        }
        parts.extend(self.tags.iter().map(|(key, value)| format!("tag {key}={value}")));
        if parts.is_empty() {
            parts.push("everything in the bill ([billing] in podledger.toml declares less)".to_owned());
        }
        if self.exclusive {
            parts.push("all machines of it are the clusters'".to_owned());
        }
        parts.join("; ")
    }

    /// The variable of the project that says it to models.
    pub(crate) fn variable(&self) -> Value {
        let tags: Vec<Value> = self
            .tags
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        json!({"accounts": self.accounts, "tags": tags, "exclusive": self.exclusive})
    }
}
