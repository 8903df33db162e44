//! `podledger recommend --backtest`: what advice would have come to, as tables, JSON and a picture.

use std::path::Path;

use anyhow::Context;
use podledger_analyzer::rightsizing::{
    Backtest, FrontierPoint, Observed, Outcome, Settings, Split, Strategy, backtest, frontier,
};
use podledger_reports::charts::{Curve, CurvePoint, Paint, curves, standalone};
use podledger_reports::display::dollars;
use podledger_sql::units::NanoUsd;
use serde::Serialize;

/// Judges all strategies and prints what they come to; `plot` is a file to draw the frontier into.
pub(super) fn prove(
    observed: &Observed,
    splits: &[Split],
    settings: &Settings,
    failure_cost: NanoUsd,
    is_json: bool,
    plot_path: Option<&Path>,
) -> anyhow::Result<()> {
    let proof = backtest(observed, splits, settings, failure_cost);
    if proof.total.iter().all(|outcome| outcome.attempts == 0) {
        anyhow::bail!("nothing to judge: no attempt that was measured comes after what is learned from");
    }
    let points = if is_json || plot_path.is_some() {
        frontier(observed, splits, settings)
    } else {
        Vec::new()
    };
    if is_json {
        let told = Proof {
            backtest: &proof,
            frontier: &points,
        };
        println!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        print_proof(&proof);
    }
    if let Some(path) = plot_path {
        let svg = plot(&points, &proof)?;
        std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A back-test as JSON.
#[derive(Serialize)]
struct Proof<'a> {
    backtest: &'a Backtest,
    frontier: &'a [FrontierPoint],
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
