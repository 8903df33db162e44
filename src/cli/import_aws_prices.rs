//! `podledger import aws-prices`.

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_collector::aws::Aws;
use podledger_collector::import::{Imported, aws_prices};

use super::Cli;

/// Prices of AWS's price list.
#[derive(Debug, Args)]
pub struct AwsPrices {
    /// Only this region; may be repeated [default: those of the machines in the lake].
    #[arg(long = "region", value_name = "NAME")]
    regions: Vec<String>,
    /// All instance types of the regions, not only those in the lake.
    #[arg(long)]
    all_types: bool,
    /// Let a price that differs hold from the date of the price list on, instead of from now on.
    #[arg(long)]
    restate: bool,
    /// Where the price list is, instead of at AWS.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// UTC date under which the facts are filed [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    recorded_date: Option<Date>,
}

/// How many things without a price are named; the others are counted.
const NAMED: usize = 20;

impl AwsPrices {
    pub fn run(&self, cli: &Cli, bar: &ProgressBar, today: Date) -> anyhow::Result<Imported> {
        let options = aws_prices::Options {
            regions: self.regions.clone(),
            all_types: self.all_types,
            restate: self.restate,
            now: Timestamp::now(),
            recorded_date: self.recorded_date.unwrap_or(today),
        };
        let lake = cli.lake()?;
        let progress = |step: &str| {
            bar.set_message(format!("asking for prices: {step}"));
            bar.tick();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(async {
            let aws = Aws::connect("the AWS price list", self.endpoint_url.as_deref()).await?;
            aws_prices::import(&lake, &aws, &options, &progress).await
        });
        bar.finish_and_clear();
        let (imported, told) = done.context("cannot import prices of AWS; nothing was written")?;
        println!(
            "{} prices in {}, {} of them known before",
            told.prices,
            told.regions.join(", "),
            told.known
        );
        for (names, what) in [
            (&told.unpriced, "no on-demand price for"),
            (&told.ambiguous, "two prices, of which none is taken:"),
        ] {
            for name in names.iter().take(NAMED) {
                println!("  {what} {name}");
            }
            if names.len() > NAMED {
                println!("  {what} {} more", names.len() - NAMED);
            }
        }
        Ok(imported)
    }
}
