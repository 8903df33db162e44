//! `podledger sql`.

use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use podledger_reports::display::plain;
use podledger_reports::door::{self, Door, Format as Written, Rendering, Settings};

use super::Cli;
use super::collect::runtime;
use super::sql_shell;
use super::sql_source::{Answered, Server, Source};

/// Ask read-only questions over the marts that were published last: one, or one after the other in a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: podledger sql \"select pipeline, sum(cost) from costs_daily group by all order by 2 desc\"\n          \
                  podledger sql --format parquet \"from runs\" > runs.parquet\n          podledger sql - < question.sql\n          \
                  podledger sql\n          podledger sql --server https://podledger.example.com --token-file token"
)]
pub struct Sql {
    /// The query, or `-` to read it from standard input; tables are those of `marts`. Without one a shell begins.
    query: Option<String>,
    /// Ask a server instead of the data directory. Its token is that of `--token-file`, or of PODLEDGER_TOKEN.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// File with the token for the server.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
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

/// How rows are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
    Arrow,
    Parquet,
}

impl Format {
    /// How a door's rows are written; none for a table.
    pub fn written(self) -> Option<Written> {
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
        let mut source = match &self.server {
            Some(url) => Source::Server(Server::new(url, self.token_file.as_ref())?),
            None => Source::Data {
                door: Box::new(Door::new(self.limits.settings(&cli.data)?)),
                worker: None,
            },
        };
        let runtime = runtime()?;
        let query = match self.query.as_deref() {
            None if io::stdin().is_terminal() => {
                sql_shell::run(&runtime, &mut source, self.format, self.rows)?;
                return Ok(ExitCode::SUCCESS);
            }
            None | Some("-") => {
                let mut text = String::new();
                io::stdin()
                    .read_to_string(&mut text)
                    .context("cannot read the query from standard input")?;
                text
            }
            Some(query) => query.to_owned(),
        };
        let done = runtime.block_on(async {
            let mut answer = source.ask(&query).await?;
            match self.format.written() {
                Some(format) => write(&mut answer, format).await,
                None => {
                    let (shown, is_cut, _) = table(&mut answer, self.rows).await?;
                    writeln!(io::stdout().lock(), "{shown}")?;
                    if is_cut {
                        eprintln!(
                            "these are the first {} rows; more with --rows, all with --format csv",
                            self.rows
                        );
                    }
                    Ok(())
                }
            }
        });
        match done {
            // Who has seen enough (`| head`) is told nothing more.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            done => done.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// The first rows of an answer as a table, whether there are more, and how many they are.
///
/// # Errors
/// Where the answer breaks off.
pub async fn table(answer: &mut Answered<'_>, rows: usize) -> anyhow::Result<(String, bool, usize)> {
    let (mut batches, mut left) = (vec![shown(&RecordBatch::new_empty(answer.schema()?))?], rows);
    let mut is_cut = false;
    while let Some(batch) = answer.next().await? {
        if batch.num_rows() > left {
            batches.push(shown(&batch.slice(0, left))?);
            left = 0;
            is_cut = true;
            break;
        }
        left -= batch.num_rows();
        batches.push(shown(&batch)?);
    }
    Ok((pretty_format_batches(&batches)?.to_string(), is_cut, rows - left))
}

/// Rows as a terminal can show them: names from outside may hold what would move its cursor, or more.
fn shown(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let texts = door::shown(column)?;
        let texts: StringArray = texts
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(plain))
            .collect();
        columns.push(Arc::new(texts));
        fields.push(Field::new(plain(field.name()), DataType::Utf8, true));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Writes all rows as they come.
///
/// # Errors
/// Where the answer breaks off, or cannot be written so.
pub async fn write(answer: &mut Answered<'_>, format: Written) -> anyhow::Result<()> {
    let schema = answer.schema()?;
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
