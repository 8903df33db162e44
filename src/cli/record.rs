//! `podledger record`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use podledger_collector::live::{Clock, Settings, record};

use super::Cli;
use super::clusters::Clusters;
use super::collect::{runtime, stopped_by_signal};

/// Write what the watches of a cluster tell to a file, until Ctrl-C, for `import kubernetes` and `replay`.
///
/// Environments, arguments and annotations that no rule reads are left out; names, labels and images are not.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: podledger record --out monday/recording.jsonl && podledger import kubernetes monday"
)]
pub struct Record {
    #[command(flatten)]
    clusters: Clusters,
    /// File to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Record {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let config = cli.configuration()?;
        runtime()?.block_on(async {
            let clusters = self.clusters.connect().await?;
            let [cluster] = clusters.as_slice() else {
                anyhow::bail!("a recording is of one cluster: name one context");
            };
            let cannot = || format!("cannot make {}", self.out.display());
            if let Some(folder) = self.out.parent() {
                std::fs::create_dir_all(folder).with_context(cannot)?;
            }
            let mut options = File::options();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&self.out).with_context(cannot)?;
            let settings = Settings {
                annotations: config.annotations()?,
                ..Settings::default()
            };
            let client = cluster.client.clone();
            eprintln!("recording {}; Ctrl-C ends it", cluster.name);
            let stop = stopped_by_signal();
            let changes = record(
                client,
                settings,
                Clock::new(Timestamp::now),
                BufWriter::new(file),
                stop,
            )
            .await?;
            println!(
                "recorded {changes} changes of {} in {}",
                cluster.name,
                self.out.display()
            );
            Ok(ExitCode::SUCCESS)
        })
    }
}
