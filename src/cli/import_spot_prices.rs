//! `podledger import spot-prices`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use jiff::civil::Date;
use podledger_collector::import::{Imported, spot_prices};

use super::Cli;

/// A spot price history.
#[derive(Debug, Args)]
pub struct SpotPrices {
    /// The file, gzip or not; `-` for standard input.
    file: PathBuf,
    /// UTC date under which the facts are filed [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    recorded_date: Option<Date>,
}

impl SpotPrices {
    pub fn run(&self, cli: &Cli, today: Date) -> anyhow::Result<Imported> {
        let (imported, contents) =
            spot_prices::import(&cli.lake()?, &self.file, self.recorded_date.unwrap_or(today))
                .with_context(|| format!("cannot import {}; nothing was written", self.file.display()))?;
        if let Some((first, last)) = contents.times {
            println!(
                "{} prices of {} instance types in zones, from {first} to {last}",
                contents.prices, contents.series
            );
        }
        for (system, count) in &contents.others {
            println!("  {count:>9} records are of {system}: left out");
        }
        if contents.is_cut {
            println!(
                "  AWS has more than this file (it names a next page); what it does not have stays unknown"
            );
        }
        Ok(imported)
    }
}
