//! `podledger import cost-explorer`: files with answers, or AWS asked now.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::ToSpan;
use jiff::civil::Date;
use podledger_collector::aws::Aws;
use podledger_collector::import::Imported;
use podledger_collector::import::bills::live::{self, Asked, dollars};
use podledger_collector::import::bills::{COST_EXPLORER, Format};

use super::Cli;
use super::import_bills::{self, Filing};

/// Answers of Cost Explorer: in files, or asked for now.
#[derive(Debug, Args)]
pub struct CostExplorer {
    /// A file with answers, or a folder of such files.
    #[arg(required_unless_present = "live")]
    path: Option<PathBuf>,
    /// Ask AWS now, at $0.01 for each request; credentials are found as the AWS CLI finds them.
    #[arg(long, conflicts_with_all = ["path", "assume_usd", "delivered_at"])]
    live: bool,
    /// First UTC day that is asked for [default: the first of the month before this].
    #[arg(long, value_name = "YYYY-MM-DD", requires = "live")]
    since: Option<Date>,
    /// UTC day until which is asked; it is not among them [default: today].
    #[arg(long, value_name = "YYYY-MM-DD", requires = "live")]
    until: Option<Date>,
    /// What costs are split by: SERVICE, REGION, AZ, LINKED_ACCOUNT, USAGE_TYPE, INSTANCE_TYPE, OPERATION, RECORD_TYPE, or TAG:name; two at most.
    #[arg(
        long,
        value_name = "BY",
        value_delimiter = ',',
        requires = "live",
        default_value = "SERVICE,LINKED_ACCOUNT"
    )]
    group_by: Vec<String>,
    /// Ask for all of the bill, not only for the accounts and tags of [billing] in the configuration.
    #[arg(long, requires = "live")]
    whole_bill: bool,
    /// How many requests a month (UTC) may have, counted in the data: 100 cost $1.00.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 100,
        env = "PODLEDGER_COST_EXPLORER_MONTHLY_REQUESTS"
    )]
    monthly_requests: u32,
    /// Ask again for days that are final and were told before.
    #[arg(long, requires = "live")]
    refresh: bool,
    /// Where Cost Explorer is, instead of at AWS.
    #[arg(long, value_name = "URL", requires = "live")]
    endpoint_url: Option<String>,
    #[command(flatten)]
    filing: Filing,
}

impl CostExplorer {
    pub fn run(&self, cli: &Cli, bar: &ProgressBar, today: Date) -> anyhow::Result<Imported> {
        if let Some(path) = &self.path {
            return import_bills::import(cli, path, Format::CostExplorer, &self.filing, bar, today);
        }
        let scope = if self.whole_bill {
            Default::default()
        } else {
            cli.configuration()?.billing
        };
        let since = match self.since {
            Some(since) => since,
            None => today.first_of_month().checked_sub(1.month())?,
        };
        let options = live::Options {
            bill: self.filing.options(COST_EXPLORER, today),
            since,
            until: self.until.unwrap_or(today),
            group_by: self.group_by.clone(),
            accounts: scope.accounts,
            tags: scope.tags,
            monthly_requests: self.monthly_requests,
            refresh: self.refresh,
        };
        let lake = cli.lake()?;
        let progress = |step: &str| {
            bar.set_message(format!("asking Cost Explorer: {step}"));
            bar.tick();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(async {
            let aws = Aws::connect("Cost Explorer", self.endpoint_url.as_deref()).await?;
            live::import(&lake, &cli.data, &aws, &options, &progress).await
        });
        bar.finish_and_clear();
        let (imported, totals, asked) =
            done.context("cannot import what Cost Explorer says; nothing was written")?;
        print_asked(&asked, self.monthly_requests);
        if let Some(totals) = &totals {
            import_bills::print(totals);
        }
        Ok(imported)
    }
}

fn print_asked(asked: &Asked, limit: u32) {
    println!(
        "asked for {} days, of which {} say something new; {} more are final and were told before",
        asked.days, asked.changed_days, asked.final_days
    );
    if !asked.scope.is_empty() {
        println!("  only {}; --whole-bill asks for all", asked.scope);
    }
    println!(
        "  {} requests ({}); {} now has {} of {limit} ({})",
        asked.requests,
        dollars(asked.requests),
        asked.month,
        asked.month_requests,
        dollars(asked.month_requests)
    );
    if let (Some(first), Some(last)) = (asked.untold_days.first(), asked.untold_days.last()) {
        println!(
            "  nothing is said of {} days between {first} and {last}: what they cost stays unknown",
            asked.untold_days.len()
        );
    }
}
