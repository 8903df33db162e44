//! `podledger export`.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use podledger_sql::ledger::quote;
use podledger_sql::project::Project;
use tempfile::NamedTempFile;

use super::Cli;
use super::export_focus::Focus;
use super::export_marts::{Marts, Written};

#[derive(Debug, Subcommand)]
pub enum Export {
    /// Cost and usage as FOCUS 1.2, with every machine's hours split among those who held it.
    Focus(Focus),
    /// Marts as Parquet files.
    #[command(
        after_help = "Examples: podledger export parquet marts\n          podledger export parquet runs.parquet --mart runs --from 2026-11-01"
    )]
    Parquet(Marts),
    /// Marts as CSV files that a spreadsheet may open: no cell is a formula.
    #[command(
        after_help = "Examples: podledger export csv marts --from 2026-11-01 --to 2026-12-01\n          podledger export csv costs.csv --mart costs_daily"
    )]
    Csv(Marts),
    /// The models as a dbt project over this lake, for dbt-duckdb or dbt-spark.
    #[command(after_help = "Example: podledger --data real export dbt real-dbt")]
    Dbt {
        /// Folder to write; it must not be there, or be one that this command wrote.
        folder: PathBuf,
    },
}

/// Marks a folder as one that may be written again.
pub(super) const MARK: &str = ".podledger-export";

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
        match self {
            Self::Focus(focus) => focus.run(cli),
            Self::Parquet(marts) => marts.run(cli, Written::Parquet),
            Self::Csv(marts) => marts.run(cli, Written::Csv),
            Self::Dbt { folder } => Self::dbt(cli, folder),
        }
    }

    fn dbt(cli: &Cli, folder: &Path) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        let config = cli.configuration()?;
        let project = config.apply(Project::embedded()?)?;
        refuse_others(folder)?;
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

/// Refuses a folder that is there and that `podledger export` did not write.
///
/// # Errors
/// For such a folder.
pub(super) fn refuse_others(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() && !folder.join(MARK).exists() {
        anyhow::bail!(
            "{} is there and was not written by this command; name another folder",
            folder.display()
        );
    }
    Ok(())
}

/// A file that has its name only once it is whole, and that nobody else may read.
pub(super) struct Output {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    may_replace: bool,
}

impl Output {
    /// Begins a file; one that is there stays as it is until [`Output::finish`].
    ///
    /// # Errors
    /// Where there is such a file that may not be replaced, or its folder cannot be written.
    pub(super) fn begin(path: &Path, may_replace: bool) -> anyhow::Result<Self> {
        if !may_replace && path.exists() {
            anyhow::bail!("{} is there: name another file, or give --force", path.display());
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let file = NamedTempFile::new_in(folder)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        Ok(Self {
            file: BufWriter::new(file),
            path: path.to_path_buf(),
            may_replace,
        })
    }

    /// Gives the file its name, once all of it is on the disk.
    ///
    /// # Errors
    /// Where it cannot be written, or another file has taken the name.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let context = || format!("cannot write {}", self.path.display());
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .with_context(context)?;
        file.as_file().sync_all().with_context(context)?;
        let named = if self.may_replace {
            file.persist(&self.path)
        } else {
            file.persist_noclobber(&self.path)
        };
        named.map_err(|error| error.error).with_context(context)?;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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
