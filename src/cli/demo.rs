//! `podledger demo`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use podledger_analyzer::build::{build, check, describe};
use podledger_analyzer::config::Config;
use podledger_collector::import::{prices, query};
use podledger_collector::live::{Clock, Collection, Figures, Settings};
use podledger_reports::display::{dollars, percent, permille, thousands};
use podledger_reports::weekly::{self, Request};
use podledger_simulator::{ApiServer, Observed, Scenario, observe};
use podledger_sql::intake::Intake;
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::published::Published;

use super::collect::runtime;
use super::dashboard::{Dashboard, show, snapshots};
use super::report::{Format, last_week, write};
use super::report_advice::advise;
use super::simulated::client;
use super::{Cli, DEFAULT_DATA, VIOLATED};

/// Show what podledger does, on two weeks of a simulated platform: collected, built, checked, and reported.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger demo --seed 7")]
pub struct Demo {
    /// The same seed gives the same platform.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How large the platform is: 1 has some 20,000 pods in a week.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    scale: u16,
    /// End after the summary, without serving the dashboard.
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    dashboard: Dashboard,
}

/// Where the demo lives unless `--data` says otherwise.
const FOLDER: &str = "podledger-demo";

/// A file that says that a folder is the demo's, and may be made anew.
const MARK: &str = "demo.txt";
const MARKED: &str = "Made by `podledger demo`, which makes it anew each time.\n";

const HOUR: Duration = Duration::from_secs(3600);

const DAYS: u32 = 14;
const TEAMS: usize = 8;
const PIPELINES: usize = 16;

/// Monday of 2026-W45, so that the second week is 2026-W46.
const START: Date = date(2026, 11, 2);

impl Demo {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let data = if cli.data == Path::new(DEFAULT_DATA) {
            PathBuf::from(FOLDER)
        } else {
            cli.data.clone()
        };
        if !self.no_serve {
            self.dashboard.can_listen()?;
        }
        clear(&data)?;
        // Whatever is configured for a cluster of one's own is not meant for this one.
        let config = Config::default();
        let lake = Lake::open(&data.join("lake"))?;
        let collected = self.collect(&data, &lake, &config)?;
        let started = Instant::now();
        let ledger = Ledger::open(&data.join("ledger.duckdb"))?;
        let (ledger, _) = build(ledger, &lake, &config, true)?;
        let built = started.elapsed();
        let connection = ledger.connection();
        let (short, ended): (i64, i64) = connection.query_row(
            "select count(*) filter (released_at - scheduled_at < interval 1 minute), count(*) from marts.attempt_pods \
             where released_at is not null",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        println!(
            "{collected} · built in {:.1} s · {} of pods lived under a minute\n",
            built.as_secs_f64(),
            percent(permille(short, ended))
        );
        let failures = check(&ledger, &config)?;
        let request = Request {
            week: last_week(connection, "UTC")?,
            team: None,
        };
        let mut report = weekly::weekly(connection, &request)?;
        advise(&mut report, connection, &request)?;
        let files = write(&report, &[Format::Html, Format::Md], &data.join("reports"))?;
        print!("{}", weekly::terminal(&report));
        if !failures.is_empty() {
            for failure in &failures {
                println!("violated: {}", describe(failure));
            }
            return Ok(ExitCode::from(VIOLATED));
        }
        let hours: i64 = connection.query_row(
            "select coalesce(sum(value), 0)::bigint from marts.data_quality where measure = 'machine_hours'",
            [],
            |row| row.get(0),
        )?;
        println!(
            "CHECK  ok: {} machine-hours, 0 nano-dollars off · {} rests on uncertain ends",
            thousands(hours.unsigned_abs()),
            dollars(report.trust.uncertain_ends)
        );
        let published = Published::new(&data.join("published"));
        published.publish(connection)?;
        if let Some(file) = files.first() {
            println!("report     {}", file.display());
        }
        println!(
            "ask        podledger --data {} sql \"from teams_weekly\"",
            data.display()
        );
        if let Some(folder) = published.current()? {
            println!("parquet    {}", folder.with_file_name("current").display());
        }
        println!(
            "yours      kubectl get pods,nodes,namespaces,jobs -A -o json | podledger import kubernetes -"
        );
        drop(ledger);
        if !self.no_serve {
            self.serve(&data, &config)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Serves the dashboard until somebody stops it.
    fn serve(&self, data: &Path, config: &Config) -> anyhow::Result<()> {
        let shown = snapshots(
            &data.join("ledger.duckdb"),
            Published::new(&data.join("published")),
        );
        runtime()?.block_on(show(
            &self.dashboard,
            shown,
            data.join("tokens.toml"),
            config,
            self.dashboard.sql.settings(data)?,
        ))
    }

    /// Simulates the platform and takes in what a watch of it would have recorded; says how much that was.
    fn collect(&self, data: &Path, lake: &Lake, config: &Config) -> anyhow::Result<String> {
        let started = Instant::now();
        let scenario = Scenario {
            seed: self.seed,
            start_ms: START.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond(),
            days: DAYS,
            teams: TEAMS,
            pipelines: PIPELINES * usize::from(self.scale),
            has_noise: true,
            has_pod_events: false,
            has_flaws: true,
            slower_from_ms: None,
            request_percent: None,
            heavier_from_ms: None,
            has_branches: false,
        };
        let folder = tempfile::tempdir_in(data).context("cannot make a folder for prices and usage")?;
        let mut observed = observe(scenario, folder.path()).context("cannot simulate")?;
        watch(&mut observed, data, lake, config)?;
        let sums = observed.finish().context("cannot simulate")?;
        println!(
            "podledger demo · simulated platform, seed {} · {} pods, 4 node pools",
            self.seed,
            thousands(sums.pods)
        );
        let recorded_date = START.saturating_add(jiff::Span::new().days(i64::from(DAYS)));
        prices::import(lake, &folder.path().join("prices.csv"), recorded_date)?;
        let usage = folder
            .path()
            .join("usage.csv")
            .display()
            .to_string()
            .replace('\'', "''");
        query::import_query(lake, "usage_hours", &format!("from '{usage}'"), recorded_date)?;
        let services = folder
            .path()
            .join("services.csv")
            .display()
            .to_string()
            .replace('\'', "''");
        let services =
            format!("select * replace (cast(price_usd as decimal(18,9)) as price_usd) from '{services}'");
        query::import_query(lake, "service_prices", &services, recorded_date)?;
        Ok(format!(
            "collected {} weeks in {:.1} s",
            DAYS / 7,
            started.elapsed().as_secs_f64()
        ))
    }
}

/// Collects a simulated cluster as `collect` does a real one, through the same client and watches. Time is simulated too: it
/// passes as soon as everything that happens at an instant is taken in.
fn watch(observed: &mut Observed, data: &Path, lake: &Lake, config: &Config) -> anyhow::Result<()> {
    let start = START.to_zoned(TimeZone::UTC)?.timestamp();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let server = ApiServer::new(podledger_simulator::Settings {
            bookmark_every: HOUR,
            ..podledger_simulator::Settings::new(start)
        });
        let clock = {
            let server = server.clone();
            Clock::new(move || server.now())
        };
        let collection = Collection {
            kubelets: None,
            client: client(&server),
            name: "demo".to_owned(),
            settings: Arc::new(Settings {
                annotations: config.annotations()?,
                watch_timeout: 6 * HOUR,
                patience: 12 * HOUR,
                commit_every: 6 * HOUR,
                commit_changes: 20_000,
                seal_every: 48 * HOUR,
                ..Settings::default()
            }),
            store: Arc::new(Intake::open(&data.join("intake.duckdb"), start)?),
            lake: lake.clone(),
            bucket: None,
            clock,
            figures: Figures::default(),
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let collect = async {
            // What is there at first has to be there before it is asked for.
            tokio::task::yield_now().await;
            collection.run(stopped).await
        };
        let platform = async {
            server.run(observed).await;
            // Everybody hears of the end first.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = stop.send(true);
        };
        let (_, collected) = tokio::join!(platform, collect);
        collected
            .map(drop)
            .context("cannot collect the simulated cluster")
    })
}

/// Makes room for a new demo; a folder that is not the demo's is left alone.
fn clear(data: &Path) -> anyhow::Result<()> {
    if data.exists() {
        let is_empty = data
            .read_dir()
            .with_context(|| format!("cannot read {}", data.display()))?
            .next()
            .is_none();
        anyhow::ensure!(
            is_empty || std::fs::read_to_string(data.join(MARK)).is_ok_and(|text| text == MARKED),
            "{} is there and was not made by this command; name another folder with --data",
            data.display()
        );
        std::fs::remove_dir_all(data).with_context(|| format!("cannot clear {}", data.display()))?;
    }
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    std::fs::write(data.join(MARK), MARKED)?;
    Ok(())
}
