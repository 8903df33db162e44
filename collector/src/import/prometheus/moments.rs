//! The moments at which a pod may have become another than it was, as scrapes show.

use std::collections::BTreeSet;

use super::objects::Moment;
use super::server::Series;

/// What a window told of one pod.
pub struct OnePod<'a> {
    pub series: &'a [&'a Series],
    /// How many samples it has of each phase.
    pub phases: &'a [&'a Series],
    /// How many samples tell that it was asked to go.
    pub deletions: &'a [&'a Series],
    /// Containers that waited, why, and the samples that said so.
    pub waits: &'a [Wait<'a>],
}

impl OnePod<'_> {
    /// The moments at which it may have been another than before: when it was first seen, bound, in another phase, waiting, asked
    /// to go. `node` and `asked_to_go_ms` are what was known before.
    #[must_use]
    pub fn moments(&self, node: String, asked_to_go_ms: Option<i64>) -> Vec<Moment> {
        let looks: BTreeSet<i64> = self
            .series
            .iter()
            .flat_map(|series| series.samples.iter().map(|(at_ms, _)| *at_ms))
            .collect();
        // A pod is bound once: the first look that shows a node.
        let bound = self
            .series
            .iter()
            .filter(|series| !series.label("node").is_empty())
            .filter_map(|series| Some((series.samples.first()?.0, series.label("node"))))
            .min();
        // Phases follow each other: the last so many looks of whoever counted show the last one.
        let since = |series: &Series| -> Option<i64> {
            let by = series.labels.get("instance");
            let mut looks: Vec<i64> = self
                .series
                .iter()
                .filter(|info| info.labels.get("instance") == by)
                .flat_map(|info| info.samples.iter().map(|(at_ms, _)| *at_ms))
                .collect();
            looks.sort_unstable();
            // A sample on the edge of the window may be counted in both.
            looks.get(looks.len().saturating_sub(count(series)?)).copied()
        };
        let phase_since = |phase: &str| {
            let of_phase = self.phases.iter().filter(|series| series.label("phase") == phase);
            of_phase.filter_map(|series| since(series)).min()
        };
        let ended = ["Succeeded", "Failed"]
            .into_iter()
            .filter_map(|phase| Some((phase_since(phase)?, phase)))
            .min();
        let has = |phase: &str| self.phases.iter().any(|series| series.label("phase") == phase);
        let pending = self
            .phases
            .iter()
            .filter(|series| series.label("phase") == "Pending")
            .filter_map(|series| count(series))
            .max()
            .unwrap_or(0);
        let running_ms = has("Running")
            .then(|| looks.iter().nth(pending).copied())
            .flatten();
        let asked_to_go_ms =
            asked_to_go_ms.or_else(|| self.deletions.iter().filter_map(|series| since(series)).min());
        let mut at: BTreeSet<i64> = looks.first().copied().into_iter().collect();
        at.extend(bound.map(|(at_ms, _)| at_ms).filter(|_| node.is_empty()));
        at.extend(running_ms);
        at.extend(ended.map(|(at_ms, _)| at_ms));
        at.extend(asked_to_go_ms.filter(|at_ms| looks.contains(at_ms)));
        for (_, _, samples) in self.waits {
            at.extend(samples.first().map(|(at_ms, _)| *at_ms));
            if let Some((last_ms, _)) = samples.last() {
                at.extend(looks.range(last_ms + 1..).next());
            }
        }
        // What became known within the window, such as when a container started, is known at its end.
        at.extend(looks.last());
        at.into_iter()
            .map(|at_ms| Moment {
                at_ms,
                node: match &bound {
                    Some((bound_ms, bound)) if node.is_empty() && *bound_ms <= at_ms => (*bound).to_owned(),
                    _ => node.clone(),
                },
                phase: match (&ended, running_ms) {
                    (Some((ended_ms, phase)), _) if *ended_ms <= at_ms => phase,
                    (_, Some(running_ms)) if running_ms <= at_ms => "Running",
                    _ => "Pending",
                },
                waits: self
                    .waits
                    .iter()
                    .filter(|(_, _, samples)| samples.iter().any(|(ms, _)| *ms == at_ms))
                    .map(|(container, reason, _)| ((*container).to_owned(), (*reason).to_owned()))
                    .collect(),
                asked_to_go_ms: asked_to_go_ms.filter(|asked_ms| *asked_ms <= at_ms),
            })
            .collect()
    }
}

/// A count that a function over time told.
fn count(series: &Series) -> Option<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of samples within an hour"
    )]
    series
        .last()
        .filter(|count| (0.0..1e9).contains(count))
        .map(|count| count.round() as usize)
}

/// A container that waited, why, and the samples that said so.
pub type Wait<'a> = (&'a str, &'a str, &'a [(i64, f64)]);
