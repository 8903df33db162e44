//! `podledger recommend --backtest`: what advice would have come to, as tables, JSON and a picture.

use std::path::Path;

use anyhow::Context;
use podledger_analyzer::rightsizing::{
    Backtest, FailureCost, FrontierPoint, History, Observed, Outcome, Settings, Split, Strategy, backtest,
    frontier, undominated,
};
use podledger_reports::charts::{Curve, CurvePoint, Paint, curves, standalone};
use podledger_reports::display::dollars;
use serde::Serialize;

/// A back-test, with its frontier; as JSON as it is.
#[derive(Serialize)]
pub(super) struct Proof {
    backtest: Backtest,
    /// Empty unless it is asked for.
    frontier: Vec<FrontierPoint>,
    /// Points of peers that no point of ours is at or below.
    undominated: Vec<FrontierPoint>,
}

impl Proof {
    /// Judges all strategies on those histories for which `is_judged` says so.
    pub(super) fn of(
        observed: &Observed,
        splits: &[Split],
        settings: &Settings,
        failure_cost: FailureCost,
        is_drawn: bool,
        is_judged: impl Fn(&History) -> bool,
    ) -> anyhow::Result<Self> {
        let backtest = backtest(observed, splits, settings, failure_cost, &is_judged);
        if backtest.total.iter().all(|outcome| outcome.attempts == 0) {
            anyhow::bail!("nothing to judge: no attempt that was measured comes after what is learned from");
        }
        let frontier = if is_drawn {
            frontier(observed, splits, settings, is_judged)
        } else {
            Vec::new()
        };
        Ok(Self {
            undominated: undominated(&frontier),
            backtest,
            frontier,
        })
    }

    /// Prints it; `plot_path` is a file to draw the frontier into.
    pub(super) fn tell(&self, is_json: bool, plot_path: Option<&Path>) -> anyhow::Result<()> {
        if is_json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print_proof(&self.backtest);
            if !self.frontier.is_empty() {
                self.print_frontier();
            }
        }
        if let Some(path) = plot_path {
            let svg = plot(&self.frontier, &self.backtest)?;
            std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Where peers are not worse over all headrooms.
    fn print_frontier(&self) {
        let count = |points: &[FrontierPoint], strategy| {
            let of_it = points.iter().filter(|point| point.strategy == strategy);
            of_it.count()
        };
        println!("\nwith none to four times the headroom, at no more waste and no more failed attempts:");
        for strategy in Strategy::DRAWN.into_iter().skip(1) {
            let all = count(&self.frontier, strategy);
            let not = count(&self.undominated, strategy);
            println!(
                "  podledger is at or below {} of {all} points of {}",
                all - not,
                strategy.name()
            );
        }
        for point in &self.undominated {
            println!(
                "  not below {} with {}% of its headroom: {:.1} GiB-h wasted, {} failed attempts",
                point.strategy.name(),
                point.headroom_permille / 10,
                gib_hours(point.wasted_byte_ms),
                point.failed_attempts
            );
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn gib_hours(byte_ms: u128) -> f64 {
    byte_ms as f64 / f64::from(1 << 30) / 3_600_000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn core_hours(millicore_ms: u128) -> f64 {
    millicore_ms as f64 / 1000.0 / 3_600_000.0
}

fn print_proof(proof: &Backtest) {
    for window in &proof.windows {
        print_outcomes(&format!("learned from {}", window.learned), &window.outcomes);
    }
    if proof.windows.len() > 1 {
        print_outcomes("all windows together", &proof.total);
    }
    println!(
        "costs at reference prices; a failed attempt is lost whole and run again with what it had asked for"
    );
}

fn print_outcomes(title: &str, outcomes: &[Outcome]) {
    let judged = outcomes.first().map_or((0, 0, 0), |outcome| {
        (outcome.attempts, outcome.runs, outcome.templates)
    });
    println!(
        "{title}: {} attempts, {} runs, {} templates judged",
        judged.0, judged.1, judged.2
    );
    println!(
        "  {:<10} {:>8} {:>11} {:>11} {:>10} {:>10} {:>9} {:>7} {:>7} {:>11} {:>11}",
        "strategy",
        "advised",
        "GiB-h",
        "wasted",
        "core-h",
        "wasted",
        "short",
        "failed",
        "runs",
        "retries",
        "total"
    );
    for outcome in outcomes {
        println!(
            "  {:<10} {:>8} {:>11.1} {:>11.1} {:>10.1} {:>10.1} {:>9.1} {:>7} {:>7} {:>11} {:>11}",
            outcome.strategy.name(),
            outcome.templates_advised,
            gib_hours(outcome.requested_byte_ms),
            gib_hours(outcome.wasted_byte_ms),
            core_hours(outcome.requested_millicore_ms),
            core_hours(outcome.wasted_millicore_ms),
            core_hours(outcome.short_millicore_ms),
            outcome.failed_attempts,
            outcome.failed_runs,
            dollars(outcome.retry_cost),
            dollars(outcome.total_cost)
        );
    }
    println!();
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn plot(points: &[FrontierPoint], proof: &Backtest) -> anyhow::Result<String> {
    let mut drawn = Vec::new();
    for (strategy, paint) in [
        (Strategy::Podledger, Paint::Used),
        (Strategy::Krr, Paint::Unused),
        (Strategy::KrrOfAnyPoints, Paint::Idle),
        (Strategy::Vpa, Paint::Failed),
    ] {
        let points = points
            .iter()
            .filter(|point| point.strategy == strategy)
            .map(|point| CurvePoint {
                x: gib_hours(point.wasted_byte_ms),
                y: point.failed_attempts as f64,
                title: format!(
                    "{}, {}% of its headroom: {:.1} GiB-hours wasted, {} failed attempts",
                    strategy.name(),
                    point.headroom_permille / 10,
                    gib_hours(point.wasted_byte_ms),
                    point.failed_attempts
                ),
                is_chosen: point.headroom_permille == 1000,
            });
        drawn.push(Curve {
            label: strategy.name().to_owned(),
            paint,
            points: points.collect(),
        });
    }
    let current = proof
        .total
        .iter()
        .filter(|outcome| outcome.strategy == Strategy::Current)
        .map(|outcome| CurvePoint {
            x: gib_hours(outcome.wasted_byte_ms),
            y: outcome.failed_attempts as f64,
            title: format!(
                "current: {:.1} GiB-hours wasted, {} failed attempts",
                gib_hours(outcome.wasted_byte_ms),
                outcome.failed_attempts
            ),
            is_chosen: true,
        });
    drawn.push(Curve {
        label: "current".to_owned(),
        paint: Paint::Total,
        points: current.collect(),
    });
    let svg = curves(
        "the frontier",
        "Wasted GiB-hours against failed attempts, over the headroom of each strategy",
        "wasted GiB-hours",
        "failed attempts",
        &drawn,
    )?;
    Ok(standalone(&svg))
}
