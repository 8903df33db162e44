//! `podledger recommend`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_analyzer::replay::{Replay, Schedule};
use podledger_analyzer::rightsizing::{
    FailureCost, Filter, History, Saved, Settings, Split, Strategy, airflow, patch, read, recommendations,
    spark,
};
use podledger_sql::units::NanoUsd;

use super::Cli;
use super::advice::WINDOWS;
use super::recommend_proof::Proof;
use super::recommend_rows::{comma_separated, json, pools, table};
use super::recommend_track::{save, tell};

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
    /// Show how well each pool's machines can be replayed, and what all advice together would spare of them.
    #[arg(long, conflicts_with_all = ["backtest", "without_replay"])]
    pools: bool,
    /// Leave out realisable savings: what machines would have cost less.
    #[arg(long)]
    without_replay: bool,
    /// Keep what is advised, so that `--track` can say what became of it.
    #[arg(long, conflicts_with_all = ["backtest", "pools"])]
    save: bool,
    /// Say what became of advice that was kept: what was predicted and what was realised since requests changed.
    #[arg(long, conflicts_with_all = ["backtest", "pools", "save", "since", "until"])]
    track: bool,
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
    #[arg(long, value_name = "USD", default_value = "5", value_parser = usd)]
    failure_cost: NanoUsd,
    /// The same of a job that was seen to be tried again in a run.
    #[arg(long, value_name = "USD", default_value = "1", value_parser = usd)]
    retried_failure_cost: NanoUsd,
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
            let failure_cost = FailureCost {
                alone: self.failure_cost,
                retried: self.retried_failure_cost,
            };
            let is_json = self.format == Format::Json;
            let proof = Proof::of(
                &observed,
                &self.splits()?,
                &settings,
                failure_cost,
                is_json || self.plot.is_some(),
                |history| self.is_wanted(history),
            )?;
            proof.tell(is_json, self.plot.as_deref())?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.track {
            // Whose a template is, its attempts say.
            let is_wanted = |saved: &Saved| {
                self.pipeline
                    .as_ref()
                    .is_none_or(|pipeline| *pipeline == saved.template.pipeline)
                    && (self.team.is_none()
                        || observed
                            .histories
                            .iter()
                            .any(|history| history.template == saved.template && self.is_wanted(history)))
            };
            tell(&cli.data, &observed, is_wanted, self.format == Format::Json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = recommendations(&observed, self.strategy.into(), &settings);
        rows.retain(|row| {
            self.pipeline
                .as_ref()
                .is_none_or(|pipeline| *pipeline == row.template.pipeline)
                && self.team.as_ref().is_none_or(|team| *team == row.team)
        });
        let replay = if self.wants_replay() {
            Some(Replay::new(Schedule::read(ledger.connection(), &filter)?))
        } else {
            None
        };
        if let Some(replay) = replay.as_ref().filter(|_| self.pools) {
            pools(&rows, replay, self.format == Format::Json)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.save {
            save(&cli.data, &rows, replay.as_ref())?;
        }
        match self.format {
            Format::Table => table(&rows, self.limit, replay.as_ref()),
            Format::Json => json(&rows, replay.as_ref())?,
            Format::Csv => comma_separated(&rows, replay.as_ref()),
            Format::Yaml => print!("{}", patch(&rows, false).map_err(anyhow::Error::msg)?),
            Format::YamlInverse => print!("{}", patch(&rows, true).map_err(anyhow::Error::msg)?),
            Format::Airflow => print!("{}", airflow(&rows)),
            Format::Spark => print!("{}", spark(&rows)),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether machines are to be replayed: only where the figures are shown.
    fn wants_replay(&self) -> bool {
        self.pools
            || (!self.without_replay && matches!(self.format, Format::Table | Format::Json | Format::Csv))
    }

    /// Whether a history is of the pipeline and team that are asked for.
    fn is_wanted(&self, history: &History) -> bool {
        self.pipeline
            .as_ref()
            .is_none_or(|pipeline| *pipeline == history.template.pipeline)
            && self.team.as_ref().is_none_or(|team| *team == history.team)
    }
}

impl Recommend {
    /// Where a back-test's past ends, in order.
    fn splits(&self) -> anyhow::Result<Vec<Split>> {
        if self.train_until.is_empty() {
            let mut percents = if self.train_runs.is_empty() {
                WINDOWS.to_vec()
            } else {
                self.train_runs.clone()
            };
            percents.sort_unstable();
            percents.dedup();
            return Ok(percents.into_iter().map(Split::Runs).collect());
        }
        let mut instants = Vec::new();
        for date in &self.train_until {
            instants.extend(start_of(Some(*date))?);
        }
        instants.sort_unstable();
        instants.dedup();
        Ok(instants.into_iter().map(Split::At).collect())
    }
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
