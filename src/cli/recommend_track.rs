//! `podledger recommend --save` and `--track`: advice that was given, and what became of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use podledger_analyzer::replay::Replay;
use podledger_analyzer::rightsizing::{Observed, Recommendation, Saved, Tracked, track};
use podledger_reports::display::{dollars, short};

/// In the folder of data: a line of JSON for each piece of advice that was kept, the oldest first.
const FILE: &str = "advice.jsonl";

fn kept(data: &Path) -> anyhow::Result<Vec<Saved>> {
    let path = data.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}:{number} is no advice: remove the line", path.display()))
        })
        .collect()
}

/// Keeps what is advised, beside what was kept before; what says the same as the last of its template is not kept again.
pub(super) fn save(data: &Path, rows: &[Recommendation], replay: Option<&Replay>) -> anyhow::Result<()> {
    let mut all = kept(data)?;
    let realisable = replay.map(|replay| replay.each(rows));
    let mut added = 0;
    for (number, row) in rows.iter().enumerate() {
        let saving = realisable
            .as_ref()
            .and_then(|found| found.get(number))
            .and_then(|found| found.saving);
        let Some(advice) = Saved::of(row, saving) else {
            continue;
        };
        let last = all.iter().rfind(|kept| kept.template == advice.template);
        if last.is_none_or(|last| !last.repeats(&advice)) {
            all.push(advice);
            added += 1;
        }
    }
    let mut text = String::new();
    for advice in &all {
        text.push_str(&serde_json::to_string(advice)?);
        text.push('\n');
    }
    let path = data.join(FILE);
    write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "kept {added} of {} rows: `podledger recommend --track` says what became of them",
        rows.len()
    );
    Ok(())
}

/// In place at once or not at all, and nobody else's to read.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("jsonl.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Tells what became of what was kept, as far as `keep` lets through.
pub(super) fn tell(
    data: &Path,
    observed: &Observed,
    keep: impl Fn(&Saved) -> bool,
    is_json: bool,
) -> anyhow::Result<()> {
    let saved: Vec<Saved> = kept(data)?.into_iter().filter(keep).collect();
    if saved.is_empty() {
        anyhow::bail!("no advice was kept: `podledger recommend --save` keeps what it advises");
    }
    let rows = track(&saved, observed);
    if is_json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("nominal savings, at reference prices, of the attempts since requests changed\n");
    for row in &rows {
        print_row(row);
    }
    let (predicted, realised) = rows.iter().fold((0_i64, 0_i64), |sum, row| {
        (
            sum.0.saturating_add(row.predicted_saving.get()),
            sum.1.saturating_add(row.realised_saving.get()),
        )
    });
    let money = podledger_sql::units::NanoUsd::from_nano;
    println!(
        "\nafter {} of {} pieces of advice requests changed: {} predicted, {} realised",
        rows.iter().filter(|row| row.changed_ms.is_some()).count(),
        rows.len(),
        dollars(money(predicted)),
        dollars(money(realised))
    );
    Ok(())
}

fn print_row(row: &Tracked) {
    let template = &row.saved.template;
    println!(
        "{:>12}  {} / {} / {}: {}",
        dollars(row.realised_saving),
        short(&template.pipeline),
        short(&template.job),
        short(&template.container),
        row.followed.words()
    );
    let advised = |amount: Option<u64>, size: u64, unit: &str| {
        amount.map_or_else(
            || "?".to_owned(),
            |amount| format!("{}{unit}", amount.div_ceil(size)),
        )
    };
    let now = if row.replaced_ms.is_some() { "then" } else { "now" };
    println!(
        "{:>14}cpu {}m, advised {}, {now} {}m; memory {}Mi, advised {}, {now} {}Mi",
        "",
        row.saved.cpu_current_millicores,
        advised(row.saved.cpu_recommended_millicores, 1, "m"),
        row.cpu_now_millicores,
        row.saved.memory_current_bytes.div_ceil(1 << 20),
        advised(row.saved.memory_recommended_bytes, 1 << 20, "Mi"),
        row.memory_now_bytes.div_ceil(1 << 20)
    );
    println!(
        "{:>14}{} predicted of the {} attempts since; killed for memory: {} of {} before, {} of {} since",
        "",
        dollars(row.predicted_saving),
        row.attempts_after,
        row.oom_kills_before,
        row.attempts_before,
        row.oom_kills_after,
        row.attempts_after
    );
}
