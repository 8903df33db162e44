//! `podledger recommend`: rows of advice as a table, CSV and JSON, each with what it would save on paper and in machines.

use podledger_analyzer::replay::{NotReplayed, PoolReplay, Realisable, Replay, Total};
use podledger_analyzer::rightsizing::{Recommendation, Resource};
use podledger_reports::display::{csv, dollars, plain, short};
use podledger_sql::units::NanoUsd;
use serde::Serialize;

/// A row of advice as JSON.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    recommendation: &'a Recommendation,
    /// `None` where no replay was asked for.
    realisable: Option<Realisable>,
}

/// A replay as JSON.
#[derive(Serialize)]
struct Replayed<'a> {
    pools: Vec<&'a PoolReplay>,
    total: Total,
}

/// The rows as JSON.
pub(super) fn json(rows: &[Recommendation], replay: Option<&Replay>) -> anyhow::Result<()> {
    let realisable = replay.map(|replay| replay.each(rows));
    let told: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(number, recommendation)| Row {
            recommendation,
            realisable: realisable.as_ref().and_then(|found| found.get(number).copied()),
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&told)?);
    Ok(())
}

/// How well each pool is replayed, and what all rows together would save.
pub(super) fn pools(rows: &[Recommendation], replay: &Replay, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        let told = Replayed {
            pools: replay.pools().collect(),
            total: replay.together(rows),
        };
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(());
    }
    println!(
        "{:<40} {:>8} {:>9} {:>12} {:>12} {:>8}  rules, and why it is left out",
        "pool", "machines", "pods", "cost", "replayed", "off"
    );
    for pool in replay.pools() {
        let rules = &pool.rules;
        let name = format!("{} {}", plain(&pool.name.pool), plain(&pool.name.instance_type));
        println!(
            "{:<40} {:>8} {:>9} {:>12} {:>12} {:>8}  boots in {} s, {}, at least {}, {} {}{}",
            short(&name),
            pool.machines,
            pool.pods,
            dollars(pool.cost),
            pool.replayed_cost.map_or_else(|| "-".to_owned(), dollars),
            pool.deviation_ppm.map_or_else(|| "-".to_owned(), percent),
            rules.boot_ms / 1000,
            rules.idle_ms.map_or_else(
                || "never goes".to_owned(),
                |idle| format!("goes after {} s", idle / 1000)
            ),
            rules.least_machines,
            rules.score.words(),
            rules.ordering.words(),
            pool.withheld
                .map_or_else(String::new, |reason| format!("; left out: {}", reason.reason()))
        );
    }
    print_total(rows, replay);
    Ok(())
}

/// Millionths as a percentage.
fn percent(ppm: i64) -> String {
    let sign = if ppm < 0 { "-" } else { "+" };
    let ppm = ppm.unsigned_abs();
    format!("{sign}{}.{:02}%", ppm / 10_000, ppm % 10_000 / 100)
}

/// `realisable $8.10 ($7.90 to $8.40)`.
fn realisable(found: &Realisable) -> String {
    match (found.saving, found.least, found.most) {
        (Some(saving), Some(least), Some(most)) => format!(
            "realisable {} ({} to {})",
            dollars(saving),
            dollars(least),
            dollars(most)
        ),
        _ => format!(
            "realisable ? {}",
            found.withheld.map_or("", |reason| reason.reason())
        ),
    }
}

fn print_total(rows: &[Recommendation], replay: &Replay) {
    let total = replay.together(rows);
    let nominal = rows
        .iter()
        .fold(0_i64, |sum, row| sum.saturating_add(row.nominal_saving.get()));
    let nominal = NanoUsd::from_nano(nominal);
    println!(
        "\nall {} together: nominal {}; where machines are replayed, which cost {}: nominal {}, {}",
        rows.len(),
        dollars(nominal),
        dollars(total.cost),
        dollars(total.nominal),
        realisable(&total.realisable)
    );
    for pool in &total.left_out {
        let off = pool
            .deviation_ppm
            .filter(|_| pool.withheld == Some(NotReplayed::NotReproduced));
        println!(
            "  without pool {} {} ({}): {}{}",
            short(&pool.name.pool),
            short(&pool.name.instance_type),
            dollars(pool.cost),
            pool.withheld.map_or("", |reason| reason.reason()),
            off.map_or_else(String::new, |off| format!(", by {}", percent(off)))
        );
    }
}

/// `(-1950m) 2000m -> 50m`.
fn change(resource: &Resource, unit: &str, size: u64) -> String {
    let whole = |amount: u64| amount.div_ceil(size);
    match (resource.recommended, resource.withheld) {
        (Some(advised), _) => {
            let (from, to) = (whole(resource.current), whole(advised));
            let sign = if to < from { "-" } else { "+" };
            format!("({sign}{}{unit}) {from}{unit} -> {to}{unit}", from.abs_diff(to))
        }
        (None, Some(withheld)) => format!("{}{unit} -> ? {}", whole(resource.current), withheld.reason()),
        (None, None) => format!("{}{unit} -> ?", whole(resource.current)),
    }
}

const MIB: u64 = 1 << 20;

/// The rows, as many as asked for (0: all), the largest nominal savings first.
pub(super) fn table(rows: &[Recommendation], limit: usize, replay: Option<&Replay>) {
    println!(
        "first: nominal saving, what was reserved, at reference prices; realisable: what machines would have cost less, each row changed \
         alone\n"
    );
    let shown = if limit == 0 {
        rows.len()
    } else {
        limit.min(rows.len())
    };
    let found = replay.map(|replay| replay.each(&rows[..shown]));
    for (number, row) in rows.iter().take(shown).enumerate() {
        println!(
            "{:>12}  {} / {} / {}",
            dollars(row.nominal_saving),
            short(&row.template.pipeline),
            short(&row.template.job),
            short(&row.template.container)
        );
        if let Some(found) = found.as_ref().and_then(|found| found.get(number)) {
            println!("{:>14}{}", "", realisable(found));
        }
        println!(
            "{:>14}cpu     {} [{}]",
            "",
            change(&row.cpu_millicores, "m", 1),
            row.cpu_millicores.severity.name()
        );
        println!(
            "{:>14}memory  {} [{}]",
            "",
            change(&row.memory_bytes, "Mi", MIB),
            row.memory_bytes.severity.name()
        );
        let bound = row.bound_ppm.map_or_else(String::new, |bound| {
            format!(
                ", more in at most {}.{:04}% of runs",
                bound / 10_000,
                bound % 10_000
            )
        });
        let risks: Vec<&str> = row.risks.iter().map(|risk| risk.words()).collect();
        println!(
            "{:>14}{} runs, {} attempts by {}, most {}Mi; {} confidence{bound}{}{}",
            "",
            row.runs,
            row.attempts,
            plain(row.source.as_deref().unwrap_or("nobody")),
            row.memory_seen_bytes.div_ceil(MIB),
            row.confidence.name(),
            if risks.is_empty() { "" } else { "; " },
            risks.join(", ")
        );
    }
    if rows.is_empty() {
        println!("nothing to size: no container of a pipeline was seen");
    } else if rows.len() > shown {
        println!("{} more: --limit 0 shows all", rows.len() - shown);
    }
    if let Some(replay) = replay.filter(|_| !rows.is_empty()) {
        print_total(rows, replay);
    }
}

/// The rows as CSV.
pub(super) fn comma_separated(rows: &[Recommendation], replay: Option<&Replay>) {
    let found = replay.map(|replay| replay.each(rows));
    println!(
        "cluster,namespace,team,pipeline,job,container,container_kind,strategy,cpu_request_millicores,cpu_recommended_millicores,\
         cpu_withheld,cpu_severity,memory_request_bytes,memory_recommended_bytes,memory_withheld,memory_severity,memory_seen_bytes,\
         bound_ppm,confidence,runs,attempts,oom_kills,source,nominal_saving_usd,realisable_saving_usd,\
         realisable_least_usd,realisable_most_usd,realisable_withheld"
    );
    for (number, row) in rows.iter().enumerate() {
        let amount = |resource: &Resource| {
            [
                resource.current.to_string(),
                resource
                    .recommended
                    .map_or_else(String::new, |found| found.to_string()),
                resource
                    .withheld
                    .map_or("", |withheld| withheld.reason())
                    .to_owned(),
                resource.severity.name().to_owned(),
            ]
        };
        let mut cells = vec![
            row.template.cluster.clone(),
            row.template.namespace.clone().unwrap_or_default(),
            row.team.clone(),
            row.template.pipeline.clone(),
            row.template.job.clone(),
            row.template.container.clone(),
            row.template.kind.name().to_owned(),
            row.strategy.name().to_owned(),
        ];
        cells.extend(amount(&row.cpu_millicores));
        cells.extend(amount(&row.memory_bytes));
        cells.extend([
            row.memory_seen_bytes.to_string(),
            row.bound_ppm.map_or_else(String::new, |bound| bound.to_string()),
            row.confidence.name().to_owned(),
            row.runs.to_string(),
            row.attempts.to_string(),
            row.oom_kills.to_string(),
            row.source.clone().unwrap_or_default(),
        ]);
        let mut line: Vec<String> = cells.iter().map(|cell| field(cell)).collect();
        // Money is no name: a minus of its own stays one.
        line.push(row.nominal_saving.to_string());
        let realisable = found.as_ref().and_then(|found| found.get(number));
        for money in [
            realisable.and_then(|found| found.saving),
            realisable.and_then(|found| found.least),
            realisable.and_then(|found| found.most),
        ] {
            line.push(money.map_or_else(String::new, |money| money.to_string()));
        }
        let withheld = realisable.and_then(|found| found.withheld);
        line.push(field(withheld.map_or("", |reason| reason.reason())));
        println!("{}", line.join(","));
    }
}

/// A cell, quoted where it has to be. What is not there stays empty: only names that show nothing are told as blank.
fn field(cell: &str) -> String {
    if cell.is_empty() {
        return String::new();
    }
    let safe = csv(cell);
    if safe.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}
