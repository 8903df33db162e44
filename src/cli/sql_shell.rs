//! The interactive shell of `podledger sql`: history, completion, pages.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow::array::AsArray as _;
use podledger_reports::door::DoorError;
use podledger_reports::postgres::{is_ended, split};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::sync::watch;
use tokio::time::timeout;

use super::sql::{Format, table, write};
use super::sql_source::{Source, history_path};

/// What is offered beside names of marts and columns.
const KEYWORDS: &str = "all and as asc between by case cast count cross date desc distinct else end exists extract false filter from full group having in inner \
    interval is join left like limit max min not null on or order outer over partition pivot qualify right select sum then true union using values when \
    where window with";

const HELP: &str = "\
A question ends with a semicolon.
  \\d              all marts
  \\d MART         a mart's columns and what they mean
  \\format NAME    table, csv or json
  \\rows NUMBER    how many rows a table shows at most
  \\timing         say how long each answer takes, or no longer
  \\?              this
  \\q              leave (also Ctrl-D)
";

/// Marts with their columns.
type Names = BTreeMap<String, Vec<String>>;

/// What helps while a question is typed.
struct Typing {
    names: Names,
}

impl Helper for Typing {}
impl Highlighter for Typing {}

impl Hinter for Typing {
    type Hint = String;
}

impl Validator for Typing {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether what was typed is a command, or questions with their semicolons.
fn is_whole(input: &str) -> bool {
    input.trim_start().starts_with('\\') || is_ended(input)
}

impl Completer for Typing {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completed(&self.names, line, at))
    }
}

/// Where the word before the cursor begins, and what it may be: after a mart's name and a point its columns, else marts, columns of marts that the line
/// names, and keywords.
fn completed(names: &Names, line: &str, at: usize) -> (usize, Vec<String>) {
    let before = line.get(..at).unwrap_or(line);
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let start = before.rfind(|letter| !is_of_word(letter)).map_or(0, |end| {
        end + before[end..].chars().next().map_or(1, char::len_utf8)
    });
    let word = before[start..].to_lowercase();
    let fits = |name: &&str| name.to_lowercase().starts_with(&word);
    let owner = before[..start].strip_suffix('.').map(|rest| {
        rest.rsplit(|letter| !is_of_word(letter))
            .next()
            .unwrap_or_default()
    });
    let mut found: Vec<String> = match owner.and_then(|owner| names.get(owner)) {
        Some(columns) => columns
            .iter()
            .map(String::as_str)
            .filter(fits)
            .map(str::to_owned)
            .collect(),
        None => {
            let of_line = names
                .iter()
                .filter(|(mart, _)| line.split(|letter| !is_of_word(letter)).any(|word| word == *mart));
            let columns = of_line.flat_map(|(_, columns)| columns).map(String::as_str);
            let all = names
                .keys()
                .map(String::as_str)
                .chain(columns)
                .chain(KEYWORDS.split_ascii_whitespace());
            all.filter(fits).map(str::to_owned).collect()
        }
    };
    found.sort();
    found.dedup();
    (start, found)
}

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
struct Showing {
    format: Format,
    rows: usize,
    is_timed: bool,
}

/// What a command comes to.
#[derive(Debug, PartialEq, Eq)]
enum Obeyed {
    Left,
    Said(&'static str),
    Refused(String),
    /// It stands for a question, whose answer is shown as a whole.
    Asked(String),
}

impl Showing {
    /// Does what a command says, which begins with a backslash.
    fn obey(&mut self, command: &str) -> Obeyed {
        let (name, value) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let value = value.trim();
        match name {
            "\\q" => return Obeyed::Left,
            "\\?" => return Obeyed::Said(HELP),
            "\\d" => return Obeyed::Asked(described(value)),
            "\\timing" => self.is_timed = !self.is_timed,
            "\\rows" => match value.parse() {
                Ok(rows) => self.rows = rows,
                Err(_) => return Obeyed::Refused(format!("`{value}` is no number of rows")),
            },
            "\\format" => match value {
                "table" => self.format = Format::Table,
                "csv" => self.format = Format::Csv,
                "json" => self.format = Format::Json,
                other => {
                    return Obeyed::Refused(format!(
                        "there is no format `{other}` in the shell: table, csv or json"
                    ));
                }
            },
            _ => {
                return Obeyed::Refused(format!(
                    "there is no command `{name}`; \\? lists those that there are"
                ));
            }
        }
        Obeyed::Said("")
    }
}

/// The shell, until its user leaves.
///
/// # Errors
/// Where the terminal cannot be read or written; what a question comes to is told and is none.
pub fn run(
    runtime: &tokio::runtime::Runtime,
    source: &mut Source,
    format: Format,
    rows: usize,
) -> anyhow::Result<()> {
    let mut interrupts = interrupts(runtime);
    let names = runtime.block_on(names(source))?;
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .build();
    let mut editor: Editor<Typing, FileHistory> =
        Editor::with_config(config).context("cannot read the terminal")?;
    let count = names.len();
    editor.set_helper(Some(Typing { names }));
    let history = history_path();
    if let Some(path) = &history {
        // There may be none yet.
        let _ = editor.load_history(path);
    }
    println!("{count} marts; \\d lists them, \\? helps, Ctrl-D leaves.");
    let mut showing = Showing {
        format,
        rows,
        is_timed: false,
    };
    loop {
        // What was pressed too late for one question is not meant for the next.
        interrupts.mark_unchanged();
        let line = match editor.readline("podledger> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(line);
        if line.starts_with('\\') {
            match showing.obey(line.trim_end_matches(';')) {
                Obeyed::Left => break,
                Obeyed::Said(text) => print!("{text}"),
                Obeyed::Refused(reason) => eprintln!("{reason}"),
                Obeyed::Asked(question) => {
                    let whole = Showing {
                        format: Format::Table,
                        rows: usize::MAX,
                        ..showing
                    };
                    answer(runtime, &mut interrupts, source, &question, whole);
                }
            }
            continue;
        }
        for question in split(line) {
            if !answer(runtime, &mut interrupts, source, question, showing) {
                break;
            }
        }
    }
    if let Some(path) = &history {
        let kept = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(editor.save_history(path)?));
        kept.with_context(|| format!("cannot keep what was typed in {}", path.display()))?;
    }
    Ok(())
}

/// How long a process that answers may be gone before it is known that the user ended it: a terminal tells both of Ctrl-C.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(1);

/// How often Ctrl-C was pressed while nothing was typed. From here on it does not end the shell.
fn interrupts(runtime: &tokio::runtime::Runtime) -> watch::Receiver<u64> {
    let (counter, interrupts) = watch::channel(0);
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            counter.send_modify(|count| *count += 1);
        }
    });
    interrupts
}

/// Shows what a question comes to, or why nothing; says whether it was answered.
fn answer(
    runtime: &tokio::runtime::Runtime,
    interrupts: &mut watch::Receiver<u64>,
    source: &mut Source,
    question: &str,
    showing: Showing,
) -> bool {
    let started = Instant::now();
    let done = runtime.block_on(async {
        let done = tokio::select! {
            biased;
            Ok(()) = interrupts.changed() => anyhow::bail!("interrupted"),
            done = ask(source, question, showing) => done,
        };
        let has_gone = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(DoorError::Ended));
        if done.as_ref().is_err_and(has_gone)
            && let Ok(Ok(())) = timeout(INTERRUPTED_WITHIN, interrupts.changed()).await
        {
            anyhow::bail!("interrupted");
        }
        done
    });
    if let Err(error) = &done {
        eprintln!("error: {error:#}");
    } else if showing.is_timed {
        println!("{:.3} s", started.elapsed().as_secs_f64());
    }
    done.is_ok()
}

/// The question for marts, or for one's columns.
fn described(mart: &str) -> String {
    if mart.is_empty() {
        "select relname as mart, obj_description(oid, 'pg_class') as meaning from pg_class order by 1"
            .to_owned()
    } else {
        format!(
            "select a.attname as \"column\", format_type(a.atttypid, a.atttypmod) as type, col_description(a.attrelid, a.attnum) as meaning \
             from pg_attribute as a where a.attrelid = '{}'::regclass order by a.attnum",
            mart.replace('\'', "''")
        )
    }
}

async fn names(source: &mut Source) -> anyhow::Result<Names> {
    let mut answer = source
        .ask("select table_name, column_name from information_schema.columns order by table_name, ordinal_position")
        .await?;
    let mut names = Names::new();
    while let Some(batch) = answer.next().await? {
        let (tables, columns) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_string::<i32>(),
        );
        for at in 0..batch.num_rows() {
            names
                .entry(tables.value(at).to_owned())
                .or_default()
                .push(columns.value(at).to_owned());
        }
    }
    Ok(names)
}

async fn ask(source: &mut Source, text: &str, showing: Showing) -> anyhow::Result<()> {
    let mut answer = source.ask(text).await?;
    match showing.format.written() {
        None => {
            let (shown, is_cut, count) = table(&mut answer, showing.rows).await?;
            paged(&format!(
                "{shown}\n{count} {}{}\n",
                if count == 1 { "row" } else { "rows" },
                if is_cut { "; more with \\rows" } else { "" }
            ))
        }
        Some(format) => write(&mut answer, format).await,
    }
}

/// Shows a text, page by page if it is longer or wider than the terminal.
fn paged(text: &str) -> anyhow::Result<()> {
    let size = io::stdout()
        .is_terminal()
        .then(terminal_size::terminal_size)
        .flatten();
    if size.is_some_and(|(width, height)| is_larger(text, width.0, height.0)) {
        let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -SRFX".to_owned());
        let mut words = pager.split_ascii_whitespace();
        let child = words.next().and_then(|program| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::piped()).spawn().ok()
        });
        if let Some(mut child) = child {
            if let Some(mut to) = child.stdin.take() {
                // Who has seen enough leaves before the end.
                let _ = to.write_all(text.as_bytes());
            }
            child.wait().context("the pager was lost")?;
            return Ok(());
        }
    }
    print!("{text}");
    io::stdout().flush()?;
    Ok(())
}

/// Whether a text is longer or wider than a terminal. One that does not say how large it is shows everything.
fn is_larger(text: &str, width: u16, height: u16) -> bool {
    let (width, height) = (usize::from(width), usize::from(height));
    (height > 0 && text.lines().count() >= height)
        || (width > 0 && text.lines().any(|line| line.chars().count() > width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_goes_on_until_its_semicolon() {
        for (typed, whole) in [
            ("", true),
            ("\\d pods", true),
            ("select 1", false),
            ("select 1\n+ 1;", true),
            ("select 1; -- one", true),
            ("select ';", false),
            ("select 1; select 2", false),
        ] {
            assert_eq!(is_whole(typed), whole, "{typed}");
        }
    }

    #[test]
    fn commands_are_obeyed() {
        let mut showing = Showing {
            format: Format::Table,
            rows: 1000,
            is_timed: false,
        };
        assert_eq!(showing.obey("\\rows 7"), Obeyed::Said(""));
        assert_eq!(showing.obey("\\format  csv "), Obeyed::Said(""));
        assert_eq!(showing.obey("\\timing"), Obeyed::Said(""));
        assert!(matches!(
            showing,
            Showing {
                format: Format::Csv,
                rows: 7,
                is_timed: true
            }
        ));
        assert_eq!(showing.obey("\\q"), Obeyed::Left);
        assert_eq!(showing.obey("\\?"), Obeyed::Said(HELP));
        for (command, about) in [("\\d", "pg_class"), ("\\d it's", "'it''s'::regclass")] {
            let asked = showing.obey(command);
            assert!(
                matches!(&asked, Obeyed::Asked(text) if text.contains(about)),
                "{asked:?}"
            );
        }
        for (command, reason) in [
            ("\\rows many", "`many` is no number of rows"),
            ("\\format parquet", "no format `parquet`"),
            ("\\x", "no command `\\x`"),
        ] {
            let refused = showing.obey(command);
            assert!(
                matches!(&refused, Obeyed::Refused(text) if text.contains(reason)),
                "{refused:?}"
            );
        }
        // What was refused has changed nothing.
        assert!(matches!(
            showing,
            Showing {
                format: Format::Csv,
                rows: 7,
                ..
            }
        ));
    }

    #[test]
    fn what_is_larger_than_the_terminal_is_shown_in_pages() {
        for (text, width, height, larger) in [
            ("one\ntwo\n", 3, 3, false),
            ("one\ntwo\nthree\n", 5, 3, true),
            ("three\n", 4, 3, true),
            ("thrée\n", 5, 3, false),
            ("one\ntwo\nthree\n", 0, 0, false),
        ] {
            assert_eq!(is_larger(text, width, height), larger, "{text} {width} {height}");
        }
    }

    #[test]
    fn words_are_completed_with_what_may_stand_there() {
        let names = Names::from([
            ("runs".to_owned(), vec!["run".to_owned(), "cost".to_owned()]),
            ("pods".to_owned(), vec!["pod_uid".to_owned(), "cpu".to_owned()]),
        ]);
        for (line, start, found) in [
            ("select * from ru", 14, &["runs"][..]),
            ("select runs.co", 12, &["cost"]),
            ("select co", 7, &["count"]),
            ("from runs select co", 17, &["cost", "count"]),
            ("from pods where PO", 16, &["pod_uid", "pods"]),
            ("äö ru", 5, &["runs"]),
            ("select nothing_", 7, &[]),
        ] {
            assert_eq!(
                completed(&names, line, line.len()),
                (start, found.iter().map(|name| (*name).to_owned()).collect()),
                "{line}"
            );
        }
    }
}
