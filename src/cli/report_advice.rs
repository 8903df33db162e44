//! What containers should ask for, for the report of a week, and whether that would have held in it.

use duckdb::Connection;
use podledger_analyzer::replay::{Replay, Schedule};
use podledger_analyzer::rightsizing::{
    FailureCost, Filter, History, Observed, Recommendation, Settings, Split, Strategy, backtest,
    cpu_quantity, memory_quantity, nominal_savings, read, recommendations,
};
use podledger_reports::weekly::{Proof, Request, Sizing, Weekly};

use super::advice::{MOST_ATTEMPTS, judged};

/// From how long before the end of the week runs are learned from: a month and some days, so that the heavy runs at the end of one are among them.
const LEARNED_MS: i64 = 35 * 86_400_000;

const HOUR_MS: i64 = 3_600_000;

/// How many templates are replayed: more than a report shows.
const REPLAYED: usize = 30;

/// Puts advice on requests into a report, with what the advice of the time before would have come to in the week.
pub(super) fn advise(report: &mut Weekly, connection: &Connection, request: &Request) -> anyhow::Result<()> {
    let (sizings, proof) = of_week(connection, request)?;
    report.advise(&sizings);
    report.proof = Some(proof);
    Ok(())
}

/// What the advice on a week is learned from.
pub(super) fn learned(request: &Request) -> Filter {
    let (_, end_ms) = request.week.bounds_ms();
    Filter {
        since_ms: Some(end_ms - LEARNED_MS),
        until_ms: Some(end_ms),
    }
}

/// Advice on requests, with what machines would have cost less in the week where that is known and what was reserved less; and what the advice of the
/// time before would have come to in the week.
pub(super) fn of_week(connection: &Connection, request: &Request) -> anyhow::Result<(Vec<Sizing>, Proof)> {
    let (start_ms, end_ms) = request.week.bounds_ms();
    let observed = read(connection, &learned(request))?;
    let proof = prove(&observed, request);
    let mut rows = recommendations(&observed, Strategy::Podledger, &Settings::default());
    rows.retain(|row| request.team.as_ref().is_none_or(|team| *team == row.team));
    let nominal = nominal_savings(&observed, &rows, start_ms, end_ms);
    let mut of_week: Vec<_> = rows
        .into_iter()
        .zip(nominal)
        .filter(|(_, saving)| saving.get() > 0)
        .collect();
    of_week.sort_by(|a, b| (b.1, &a.0.template).cmp(&(a.1, &b.0.template)));
    of_week.truncate(REPLAYED);
    if of_week.is_empty() {
        return Ok((Vec::new(), proof));
    }
    // Machines are told by whole hours (UTC), where weeks may begin between two.
    let week = Filter {
        since_ms: Some(start_ms - start_ms.rem_euclid(HOUR_MS)),
        until_ms: Some(end_ms - end_ms.rem_euclid(HOUR_MS)),
    };
    let replay = Replay::new(Schedule::read(connection, &week)?);
    let rows: Vec<Recommendation> = of_week.iter().map(|(row, _)| row.clone()).collect();
    let realisable = replay.each(&rows);
    let sizings = of_week
        .into_iter()
        .zip(realisable)
        .map(|((row, nominal), realisable)| Sizing {
            current: both(row.cpu_millicores.current, row.memory_bytes.current),
            recommended: both(
                row.cpu_millicores
                    .recommended
                    .unwrap_or(row.cpu_millicores.current),
                row.memory_bytes.recommended.unwrap_or(row.memory_bytes.current),
            ),
            team: row.team,
            pipeline: row.template.pipeline,
            job: row.template.job,
            realisable: realisable.saving,
            nominal,
        });
    Ok((sizings.collect(), proof))
}

/// What is learned before the week, judged on it.
fn prove(observed: &Observed, request: &Request) -> Proof {
    let (start_ms, _) = request.week.bounds_ms();
    let seen = || {
        observed
            .histories
            .iter()
            .flat_map(|history| &history.observations)
    };
    let first = seen().map(|seen| seen.started_ms).min().unwrap_or(start_ms);
    let date = jiff::Timestamp::from_millisecond(first).map(|at| at.strftime("%Y-%m-%d").to_string());
    let mut proof = Proof {
        learned_from_date: date.unwrap_or_default(),
        outcomes: Vec::new(),
        withheld: None,
    };
    let attempts = seen().count();
    if attempts as u64 > MOST_ATTEMPTS {
        proof.withheld = Some(format!(
            "{attempts} tries in these weeks are more than the {MOST_ATTEMPTS} that a report judges; `podledger recommend --backtest` judges any number"
        ));
        return proof;
    }
    let is_asked = |history: &History| request.team.as_ref().is_none_or(|team| *team == history.team);
    let splits = [Split::At(start_ms)];
    let found = backtest(
        observed,
        &splits,
        &Settings::default(),
        FailureCost::default(),
        is_asked,
    );
    let ours = found
        .total
        .iter()
        .find(|outcome| outcome.strategy == Strategy::Podledger);
    if ours.is_none_or(|ours| ours.templates_advised == 0) {
        proof.withheld = Some("before the week, too little was known to advise on what ran in it".to_owned());
        return proof;
    }
    proof.outcomes = found.total.iter().map(|outcome| judged(None, outcome)).collect();
    proof
}

fn both(cpu_millicores: u64, memory_bytes: u64) -> String {
    format!(
        "{} CPU and {} memory",
        cpu_quantity(cpu_millicores),
        memory_quantity(memory_bytes)
    )
}
