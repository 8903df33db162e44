//! `podledger import prometheus`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use podledger_collector::import::Imported;
use podledger_collector::import::prometheus::{self, Server, Settings, Totals};

use super::Cli;

/// How far back is asked where nothing else is said.
const DAYS: i64 = 30;

#[derive(Debug, Args)]
pub struct Prometheus {
    /// Where its API is: http://prometheus:9090, or that of Thanos, Mimir or VictoriaMetrics with their path.
    url: String,
    /// Identifier of the cluster: the UID of its namespace kube-system.
    #[arg(long, value_name = "UID")]
    cluster: String,
    /// From when on [default: the beginning of the day, UTC, 30 days before --until].
    #[arg(long, value_name = "INSTANT")]
    since: Option<Timestamp>,
    /// Until when [default: now, or when the collector first saw the cluster].
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
    /// Matchers that every series must meet, where the server holds several clusters: 'cluster="prod"'.
    #[arg(long = "match", value_name = "MATCHERS", default_value = "")]
    matchers: String,
    /// File with a token that is sent as `Authorization: Bearer`.
    #[arg(long, value_name = "FILE")]
    bearer_token_file: Option<PathBuf>,
    /// A header that is sent too, such as X-Scope-OrgID=team; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// File with certificates (PEM) to trust beside those of the system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Of a hundred parts of time, how many the server may be kept busy.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    load_percent: u32,
    /// UTC date under which the facts are filed [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    recorded_date: Option<Date>,
}

impl Prometheus {
    pub fn run(&self, cli: &Cli, bar: &ProgressBar, today: Date) -> anyhow::Result<Imported> {
        let until = self.until.unwrap_or_else(Timestamp::now);
        let since = match self.since {
            Some(since) => since,
            None => until
                .checked_sub(SignedDuration::from_hours(24 * DAYS))?
                .to_zoned(TimeZone::UTC)
                .start_of_day()?
                .timestamp(),
        };
        anyhow::ensure!(since < until, "--since {since} is not before --until {until}");
        let config = cli.configuration()?;
        let options = prometheus::Options {
            cluster: self.cluster.clone(),
            since,
            until,
            labels: config.labels()?,
            annotations: config.annotations()?,
            recorded_date: self.recorded_date.unwrap_or(today),
        };
        let server = Server::new(Settings {
            url: self.url.clone(),
            matchers: self.matchers.clone(),
            bearer_token: self.bearer_token_file.as_deref().map(read).transpose()?,
            headers: self.headers.clone(),
            certificates: self
                .ca_file
                .as_deref()
                .map(read)
                .transpose()?
                .map(String::into_bytes),
            load_percent: self.load_percent,
        })?;
        let progress = |step: &str| {
            bar.set_message(format!("importing {}: {step}", self.url));
            bar.tick();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let imported = runtime.block_on(prometheus::import(&cli.lake()?, &server, &options, &progress));
        bar.finish_and_clear();
        let (imported, totals) = imported.with_context(|| {
            format!("cannot import from {}; days that were complete are kept, and the same command goes on after them", self.url)
        })?;
        print(&totals);
        Ok(imported)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `NAME=VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE, such as X-Scope-OrgID=team".to_owned())
}

fn print(totals: &Totals) {
    println!(
        "{} days, {} of which were imported before; {} pods on {} nodes, {} container-hours of usage",
        totals.days + totals.days_before,
        totals.days_before,
        totals.pods,
        totals.nodes,
        totals.usage_hours
    );
    if let Some(until) = totals.until {
        println!("  until {until}");
    }
    for (count, what) in [
        (
            totals.untyped_nodes,
            "nodes without an instance type: their cost stays unknown; let kube-state-metrics show it \
             (--metric-labels-allowlist=nodes=[*]) or declare a price",
        ),
        (
            totals.samples_of_unknown_pods,
            "samples are of pods that kube-state-metrics never showed: left out",
        ),
        (
            totals.gaps,
            "gaps of more than five minutes, in which nobody scraped",
        ),
    ] {
        if count > 0 {
            println!("  {count:>9} {what}");
        }
    }
    for key in &totals.unpriced {
        println!("  no built-in list price for {key}: its cost stays unknown until a price is imported");
    }
    for reason in totals.rejected.iter().take(20) {
        eprintln!("  left out: {reason}");
    }
    if totals.rejected.len() > 20 {
        eprintln!("  left out: {} more", totals.rejected.len() - 20);
    }
}
