//! `podledger export`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use podledger_sql::ledger::quote;
use podledger_sql::project::Project;

use super::Cli;

#[derive(Debug, Subcommand)]
pub enum Export {
    /// The models as a dbt project over this lake, for dbt-duckdb or dbt-spark.
    #[command(after_help = "Example: podledger --data real export dbt real-dbt")]
    Dbt {
        /// Folder to write; it must not be there, or be one that this command wrote.
        folder: PathBuf,
    },
}

/// Marks a folder as one that may be written again.
const MARK: &str = ".podledger-export";

/// How dbt reaches an engine; the DuckDB file lies in the folder, Spark runs inside of dbt.
const PROFILES: &str = "\
podledger:
  target: duckdb
  outputs:
    duckdb:
      type: duckdb
      path: podledger.duckdb
      threads: 1
    spark:
      type: spark
      method: session
      schema: podledger
      host: NA
      threads: 1
      server_side_parameters:
        spark.master: local[*]
        spark.ui.enabled: \"false\"
        spark.driver.memory: 4g
        spark.sql.session.timeZone: UTC
        spark.sql.timestampType: TIMESTAMP_NTZ
        spark.sql.parquet.mergeSchema: \"true\"
        spark.sql.shuffle.partitions: \"8\"
        spark.sql.legacy.createHiveTableByDefault: \"false\"
        spark.sql.sources.default: parquet
";

impl Export {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let Self::Dbt { folder } = self;
        let ledger = cli.ledger_read_only()?;
        let config = cli.configuration()?;
        let project = config.apply(Project::embedded()?)?;
        if folder.exists() && !folder.join(MARK).exists() {
            anyhow::bail!(
                "{} is there and was not written by this command; name another folder",
                folder.display()
            );
        }
        for (path, text) in Project::embedded_files() {
            write(&folder.join(path), &text)?;
        }
        write(&folder.join(MARK), "")?;
        write(&folder.join("profiles.yml"), PROFILES)?;

        // The calendar needs time zones, which SQL engines know differently: it goes along as a table.
        let build = folder.join("build");
        let calendar = build.join("calendar");
        fs::create_dir_all(&calendar).with_context(|| format!("cannot create {}", calendar.display()))?;
        // A ledger opened for reading may not write files: it has only shown that there is one.
        drop(ledger);
        let ledger = cli.ledger()?;
        ledger.connection().execute_batch(&format!(
            "copy (select * from build.calendar order by all) to {} (format parquet)",
            quote(&calendar.join("calendar.parquet").to_string_lossy())
        ))?;
        let mut vars = project.vars().clone();
        vars.insert("lake".to_owned(), absolute(&cli.data.join("lake"))?.into());
        vars.insert("build".to_owned(), absolute(&build)?.into());
        vars.insert("all_hours".to_owned(), true.into());
        let vars = serde_json::to_string_pretty(&vars)?;
        write(&folder.join("vars.json"), &vars)?;
        println!(
            "wrote {folder}; run it with\n  cd {folder} && dbt build --full-refresh --profiles-dir . --vars \"$(cat vars.json)\"\n\
             and with --target spark on Spark",
            folder = folder.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn absolute(path: &Path) -> anyhow::Result<String> {
    let path = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}
