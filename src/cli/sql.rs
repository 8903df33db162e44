//! `podledger sql`.

use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use podledger_reports::door::{Answer, Door, Format as Written, Rendering, Settings};

use super::Cli;
use super::collect::runtime;

/// Ask one read-only question over the marts that were published last.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: podledger sql \"select pipeline, sum(cost) from costs_daily group by all order by 2 desc\"\n          \
                  podledger sql --format parquet \"from runs\" > runs.parquet\n          podledger sql - < question.sql"
)]
pub struct Sql {
    /// The query, or `-` to read it from standard input; tables are those of `marts`.
    query: String,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// How many rows a table shows at most; other formats have all.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    rows: usize,
    #[command(flatten)]
    limits: SqlLimits,
}

/// What queries may take.
#[derive(Debug, Args)]
pub struct SqlLimits {
    /// How long a query may take, in seconds, until its last row was read.
    #[arg(long = "sql-timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How much memory a query may take for its tables, in MiB; its process may have four times as much address space.
    #[arg(long = "sql-memory", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    memory: u64,
}

impl SqlLimits {
    /// Settings of a door with these limits.
    ///
    /// # Errors
    /// Where this program cannot be found, or the directory of data has no path.
    pub fn settings(&self, data: &Path) -> anyhow::Result<Settings> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let published = data.join("published");
        // Links are followed now: what the process may read is decided by where files are.
        let published = match published.canonicalize() {
            Ok(published) => published,
            Err(_) => std::path::absolute(&published)
                .with_context(|| format!("cannot tell where {} is", published.display()))?,
        };
        let mut settings = Settings::new(program, published);
        settings.patience = Duration::from_secs(self.timeout);
        settings.limits.memory_bytes = self.memory << 20;
        settings.process_bytes = self.memory << 22;
        Ok(settings)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Arrow,
    Parquet,
}

impl Format {
    fn written(self) -> Option<Written> {
        match self {
            Self::Table => None,
            Self::Csv => Some(Written::Csv),
            Self::Json => Some(Written::Json),
            Self::Arrow => Some(Written::Arrow),
            Self::Parquet => Some(Written::Parquet),
        }
    }
}

impl Sql {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let query = if self.query == "-" {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the query from standard input")?;
            text
        } else {
            self.query.clone()
        };
        let door = Door::new(self.limits.settings(&cli.data)?);
        let done = runtime()?.block_on(async {
            let mut worker = door.worker().await?;
            let mut answer = worker.ask(&query).await?;
            match self.format.written() {
                Some(format) => write(&mut answer, format).await,
                None => self.table(&mut answer).await,
            }
        });
        match done {
            // Who has seen enough (`| head`) is told nothing more.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            done => done.map(|()| ExitCode::SUCCESS),
        }
    }

    async fn table(&self, answer: &mut Answer<'_>) -> anyhow::Result<()> {
        let schema = answer.schema().context("the answer has no columns")?;
        let (mut batches, mut left) = (vec![RecordBatch::new_empty(schema)], self.rows);
        let mut is_cut = false;
        while let Some(batch) = answer.next().await? {
            if batch.num_rows() > left {
                batches.push(batch.slice(0, left));
                is_cut = true;
                break;
            }
            left -= batch.num_rows();
            batches.push(batch);
        }
        writeln!(io::stdout().lock(), "{}", pretty_format_batches(&batches)?)?;
        if is_cut {
            eprintln!(
                "these are the first {} rows; more with --rows, all with --format csv",
                self.rows
            );
        }
        Ok(())
    }
}

/// Writes all rows as they come.
async fn write(answer: &mut Answer<'_>, format: Written) -> anyhow::Result<()> {
    let schema = answer.schema().context("the answer has no columns")?;
    let mut out = io::stdout().lock();
    anyhow::ensure!(
        !(out.is_terminal() && matches!(format, Written::Arrow | Written::Parquet)),
        "this format is no text: send it into a file, `> rows.parquet`"
    );
    let mut rendering = Rendering::new(format, &schema)?;
    out.write_all(&rendering.begin()?)?;
    while let Some(batch) = answer.next().await? {
        out.write_all(&rendering.write(&batch)?)?;
    }
    out.write_all(&rendering.end()?)?;
    if format == Written::Json {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == ErrorKind::BrokenPipe)
}
