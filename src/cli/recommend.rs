//! `podledger recommend`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_analyzer::rightsizing::{
    Backtest, Filter, FrontierPoint, Observed, Outcome, Recommendation, Resource, Settings, Split, Strategy,
    airflow, backtest, frontier, patch, read, recommendations, spark,
};
use podledger_reports::charts::{Curve, CurvePoint, Paint, curves, standalone};
use podledger_reports::display::{csv, dollars, plain, short};
use podledger_sql::units::NanoUsd;
use serde::Serialize;

use super::Cli;
use super::advice::WINDOWS;

/// Say what containers should ask for, with the evidence; or prove it on runs that the advice has not seen.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  podledger --data real recommend --pipeline rnaseq\n  \
                  podledger --data real recommend --backtest --plot frontier.svg\n  \
                  podledger --data real recommend --backtest --train-until 2022-11-27"
)]
pub struct Recommend {
    /// One pipeline instead of all. Others still tell how often a run needs more than any before.
    #[arg(long)]
    pipeline: Option<String>,
    /// One team instead of all.
    #[arg(long)]
    team: Option<String>,
    /// Whose advice.
    #[arg(long, value_enum, default_value_t = StrategyName::Podledger)]
    strategy: StrategyName,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How many rows the table has; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    /// Only what began on this date (UTC) or later.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<Date>,
    /// Only what began before this date (UTC).
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<Date>,
    /// In how many runs of a pipeline an attempt may be killed for its memory, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = parts_per_million)]
    run_risk: u64,
    /// How many attempts may be, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "0.1", value_parser = parts_per_million)]
    attempt_risk: u64,
    /// Judge all strategies on later runs by what they learn from earlier ones.
    #[arg(long)]
    backtest: bool,
    /// Learn until this date (UTC) and judge after it, until the next one if several are given.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "backtest")]
    train_until: Vec<Date>,
    /// Learn from so many percent of each pipeline's runs and judge the next ones [default: 10 25 50 75].
    #[arg(long, value_name = "PERCENT", requires = "backtest", conflicts_with = "train_until", value_delimiter = ',',
          value_parser = clap::value_parser!(u8).range(1..=99))]
    train_runs: Vec<u8>,
    /// What a failed attempt costs beside what it held, in dollars: somebody is woken, or something waits.
    #[arg(long, value_name = "USD", default_value = "1", value_parser = usd)]
    failure_cost: NanoUsd,
    /// Draw waste against failures over the headroom, as SVG.
    #[arg(long, value_name = "FILE", requires = "backtest")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StrategyName {
    Podledger,
    Krr,
    Vpa,
    Current,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    /// Strategic-merge patches of pod templates.
    Yaml,
    /// The patches that take them back.
    YamlInverse,
    Airflow,
    Spark,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Podledger => Self::Podledger,
            StrategyName::Krr => Self::Krr,
            StrategyName::Vpa => Self::Vpa,
            StrategyName::Current => Self::Current,
        }
    }
}

fn usd(text: &str) -> Result<NanoUsd, String> {
    NanoUsd::from_decimal_str(text).map_err(|error| error.to_string())
}

/// A percentage with at most four decimals, in millionths.
fn parts_per_million(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no percentage between 0.0001 and 100 with at most four decimals");
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 4 || !rest.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let rest: u64 = format!("{rest:0<4}").parse().map_err(|_| wrong())?;
    let found = whole
        .checked_mul(10_000)
        .and_then(|whole| whole.checked_add(rest));
    found
        .filter(|found| (1..=1_000_000).contains(found))
        .ok_or_else(wrong)
}

fn start_of(date: Option<Date>) -> anyhow::Result<Option<i64>> {
    date.map(|date| Ok(date.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond()))
        .transpose()
}

impl Recommend {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        let filter = Filter {
            since_ms: start_of(self.since)?,
            until_ms: start_of(self.until)?,
        };
        let observed = read(ledger.connection(), &filter)?;
        let settings = Settings {
            run_risk_ppm: self.run_risk,
            attempt_risk_ppm: self.attempt_risk,
            ..Settings::default()
        };
        if self.backtest {
            self.prove(&self.narrowed(observed), &settings)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = recommendations(&observed, self.strategy.into(), &settings);
        rows.retain(|row| {
            self.pipeline
                .as_ref()
                .is_none_or(|pipeline| *pipeline == row.template.pipeline)
                && self.team.as_ref().is_none_or(|team| *team == row.team)
        });
        match self.format {
            Format::Table => table(&rows, self.limit),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
            Format::Csv => comma_separated(&rows),
            Format::Yaml => print!("{}", patch(&rows, false).map_err(anyhow::Error::msg)?),
            Format::YamlInverse => print!("{}", patch(&rows, true).map_err(anyhow::Error::msg)?),
            Format::Airflow => print!("{}", airflow(&rows)),
            Format::Spark => print!("{}", spark(&rows)),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is judged: other pipelines and teams are left out.
    fn narrowed(&self, mut observed: Observed) -> Observed {
        observed.histories.retain(|history| {
            self.pipeline
                .as_ref()
                .is_none_or(|pipeline| *pipeline == history.template.pipeline)
                && self.team.as_ref().is_none_or(|team| *team == history.team)
        });
        observed
    }

    fn prove(&self, observed: &Observed, settings: &Settings) -> anyhow::Result<()> {
        let splits: Vec<Split> = if self.train_until.is_empty() {
            let mut percents = if self.train_runs.is_empty() {
                WINDOWS.to_vec()
            } else {
                self.train_runs.clone()
            };
            percents.sort_unstable();
            percents.dedup();
            percents.into_iter().map(Split::Runs).collect()
        } else {
            let mut instants = Vec::new();
            for date in &self.train_until {
                instants.extend(start_of(Some(*date))?);
            }
            instants.sort_unstable();
            instants.dedup();
            instants.into_iter().map(Split::At).collect()
        };
        let proof = backtest(observed, &splits, settings, self.failure_cost);
        if proof.total.iter().all(|outcome| outcome.attempts == 0) {
            anyhow::bail!("nothing to judge: no attempt that was measured comes after what is learned from");
        }
        let points = if self.format == Format::Json || self.plot.is_some() {
            frontier(observed, &splits, settings)
        } else {
            Vec::new()
        };
        if self.format == Format::Json {
            let told = Proof {
                backtest: &proof,
                frontier: &points,
            };
            println!("{}", serde_json::to_string_pretty(&told)?);
        } else {
            print_proof(&proof);
        }
        if let Some(path) = &self.plot {
            let svg = plot(&points, &proof)?;
            std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// A back-test as JSON.
#[derive(Serialize)]
struct Proof<'a> {
    backtest: &'a Backtest,
    frontier: &'a [FrontierPoint],
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

fn table(rows: &[Recommendation], limit: usize) {
    println!(
        "nominal savings: what was reserved, at reference prices, not what nodes would have been spared\n"
    );
    let shown = if limit == 0 { rows.len() } else { limit };
    for row in rows.iter().take(shown) {
        println!(
            "{:>12}  {} / {} / {}",
            dollars(row.nominal_saving),
            short(&row.template.pipeline),
            short(&row.template.job),
            short(&row.template.container)
        );
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
}

fn comma_separated(rows: &[Recommendation]) {
    println!(
        "cluster,namespace,team,pipeline,job,container,container_kind,strategy,cpu_request_millicores,cpu_recommended_millicores,\
         cpu_withheld,cpu_severity,memory_request_bytes,memory_recommended_bytes,memory_withheld,memory_severity,memory_seen_bytes,\
         bound_ppm,confidence,runs,attempts,oom_kills,source,nominal_saving_usd"
    );
    for row in rows {
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

#[cfg(test)]
mod tests {
    use super::parts_per_million;

    #[test]
    fn percentages_are_read_in_millionths() {
        assert_eq!(parts_per_million("1"), Ok(10_000));
        assert_eq!(parts_per_million("0.1"), Ok(1_000));
        assert_eq!(parts_per_million("100"), Ok(1_000_000));
        for wrong in ["0", "-1", "101", "1%", "0.00001", "", "1.+1"] {
            assert!(parts_per_million(wrong).is_err(), "{wrong}");
        }
    }
}
