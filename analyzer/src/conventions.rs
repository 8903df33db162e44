//! What a user declares of how cost is shared and when runs should be over: conventions of views, which change no cost.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How the cost that all share (idle time, node overhead, platform, control plane, load balancers) is distributed in
/// `shared_costs_weekly`, beside the methods that need no declaration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sharing {
    /// Parts of teams by the method `weights`: whole numbers, of which only the proportion counts. A team that is not named has
    /// no part.
    pub weights: BTreeMap<String, u32>,
}

impl Sharing {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// The mistake: weights that are all zero.
    pub fn check(&self) -> Result<(), String> {
        if !self.weights.is_empty() && self.weights.values().all(|weight| *weight == 0) {
            return Err("`sharing.weights` gives no team a part; write a weight of 1 or more".to_owned());
        }
        Ok(())
    }

    /// Teams and weights in the order of names.
    pub(crate) fn variable(&self) -> Vec<(&String, u32)> {
        self.weights
            .iter()
            .map(|(team, weight)| (team, *weight))
            .collect()
    }
}

/// How long a run of a pipeline may take, from when its first pod was created to the release of its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The pipeline's name; `*` means every one. The first entry that names a pipeline holds.
    pub pipeline: String,
    /// How long: `90m`, `2h 30m`, `PT45M`.
    pub within: String,
}

impl Target {
    pub(crate) fn variable(&self) -> Result<serde_json::Value, String> {
        let wrong = |reason: String| format!("`targets`: pipeline `{}`: {reason}", self.pipeline);
        let within: SignedDuration = self.within.parse().map_err(|error: jiff::Error| {
            wrong(format!(
                "`within`: `{}`: {error}; write a duration such as 90m",
                self.within
            ))
        })?;
        let within_ms = i64::try_from(within.as_millis())
            .ok()
            .filter(|ms| *ms > 0)
            .ok_or_else(|| wrong("`within` must be longer than nothing".to_owned()))?;
        Ok(json!({"pipeline": self.pipeline, "within_ms": within_ms}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_or_refused_by_pipeline() {
        let target = |within: &str| Target {
            pipeline: "etl".to_owned(),
            within: within.to_owned(),
        };
        for (text, ms) in [("90m", 5_400_000), ("2h 30m", 9_000_000), ("PT45M", 2_700_000)] {
            assert_eq!(
                target(text).variable(),
                Ok(json!({"pipeline": "etl", "within_ms": ms}))
            );
        }
        for text in ["", "soon", "-1h", "0s"] {
            let reason = target(text).variable().unwrap_err();
            assert!(reason.contains("pipeline `etl`: `within`"), "{reason}");
        }
    }

    #[test]
    fn weights_of_nothing_are_refused() {
        let sharing = |weight| Sharing {
            weights: BTreeMap::from([("ml".to_owned(), weight)]),
        };
        assert!(sharing(0).check().unwrap_err().contains("sharing.weights"));
        assert_eq!(sharing(3).check(), Ok(()));
        assert_eq!(Sharing::default().check(), Ok(()));
    }
}
