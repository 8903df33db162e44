//! What containers should ask for, for the report of a week.

use duckdb::Connection;
use podledger_analyzer::replay::{Replay, Schedule};
use podledger_analyzer::rightsizing::{
    Filter, Recommendation, Settings, Strategy, cpu_quantity, memory_quantity, nominal_savings, read,
    recommendations,
};
use podledger_reports::weekly::{Request, Sizing, Weekly};

/// From how long before the end of the week runs are learned from: a month and some days, so that the heavy runs at the end of one are among them.
const LEARNED_MS: i64 = 35 * 86_400_000;

const HOUR_MS: i64 = 3_600_000;

/// How many templates are replayed: more than a report shows.
const REPLAYED: usize = 30;

/// Puts advice on requests into a report.
pub(super) fn advise(report: &mut Weekly, connection: &Connection, request: &Request) -> anyhow::Result<()> {
    report.advise(&sizings(connection, request)?);
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

/// Advice on requests, with what machines would have cost less in the week, or, where that is not known, what was reserved.
pub(super) fn sizings(connection: &Connection, request: &Request) -> anyhow::Result<Vec<Sizing>> {
    let (start_ms, end_ms) = request.week.bounds_ms();
    let observed = read(connection, &learned(request))?;
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
        return Ok(Vec::new());
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
            pipeline: row.template.pipeline,
            job: row.template.job,
            saving: realisable.saving.unwrap_or(nominal),
            is_realisable: realisable.saving.is_some(),
        });
    Ok(sizings.collect())
}

fn both(cpu_millicores: u64, memory_bytes: u64) -> String {
    format!(
        "{} CPU and {} memory",
        cpu_quantity(cpu_millicores),
        memory_quantity(memory_bytes)
    )
}
