//! `podledger build`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use podledger_analyzer::build::build;
use podledger_sql::published::Publishing;

use super::{Cli, bucket};

/// Take in new facts, compute what they cost, and publish the marts as Parquet files.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger --data real build")]
pub struct Build {
    /// Compute every machine-hour anew.
    #[arg(long)]
    full: bool,
    /// Throw the ledger away and fill it again from the lake.
    #[arg(long)]
    rebuild: bool,
    /// Leave the Parquet files as they are.
    #[arg(long)]
    no_publish: bool,
    /// Leave the bucket alone: build of what is here.
    #[arg(long)]
    no_bucket: bool,
    /// Show how long each step and each model took.
    #[arg(long)]
    timings: bool,
}

impl Build {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let config = cli.configuration()?;
        let lake = cli.lake()?;
        let bucket = if self.no_bucket {
            None
        } else {
            cli.bucket(&config)?
        };
        if let Some(bucket) = &bucket {
            bucket::pull(bucket, &lake)?;
        }
        if self.rebuild {
            // Opening it proves that nobody else has it.
            drop(cli.ledger()?);
            std::fs::remove_file(cli.ledger_path())?;
        }
        let (ledger, report) = build(cli.ledger()?, &lake, &config, self.full)?;
        if self.timings {
            for step in &report.steps {
                println!("  {:>7.3} s  {}", step.elapsed.as_secs_f64(), step.name);
            }
        }
        println!(
            "build {} {}: {} new facts, {} machine-hours computed in {:.2} s, checks ok",
            report.build_id,
            if report.is_full { "(full)" } else { "(incremental)" },
            report.ingested_rows,
            report.dirty_hours,
            started.elapsed().as_secs_f64(),
        );
        if !self.no_publish {
            let started = Instant::now();
            let folder = match cli.published().publish(ledger.connection())? {
                Publishing::Done { folder, bytes } => {
                    println!(
                        "published {:.1} MB in {:.2} s: {}",
                        bytes as f64 / 1e6,
                        started.elapsed().as_secs_f64(),
                        folder.display()
                    );
                    Some(folder)
                }
                Publishing::Unchanged { folder } => {
                    println!("published before: {}", folder.display());
                    Some(folder)
                }
                Publishing::Busy => {
                    println!("not published: another process is publishing");
                    None
                }
            };
            if let (Some(bucket), Some(folder)) = (&bucket, folder) {
                bucket::publish(bucket, &folder)?;
            }
        }
        if let Some(bucket) = &bucket {
            bucket::push(bucket, &lake)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
