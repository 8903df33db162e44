//! `podledger findings`.

use std::process::ExitCode;

use clap::Args;
use podledger_reports::basis::basis_between;
use podledger_reports::display::{change, cut, dollars, percent_change, plain, short};
use podledger_reports::findings::{Finding, KINDS, findings, worth_telling};
use podledger_reports::weekly::Week;
use podledger_sql::units::NanoUsd;

use super::Cli;
use super::report::last_week;

/// Say what was wasted in a week, since when, and what mends it.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger --data podledger-demo findings --team team-6")]
pub struct Findings {
    /// ISO week [default: the last one that was observed whole, else the last].
    #[arg(long, value_name = "YYYY-Www")]
    week: Option<String>,
    /// IANA name of the zone in which weeks begin at Monday's midnight; one of `report_zones`.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// One team instead of all.
    #[arg(long)]
    team: Option<String>,
    /// Only this kind, such as `oom_kills`.
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    kind: Option<String>,
    /// How many are shown; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    /// All of them as JSON: money as text of dollars with nine decimals.
    #[arg(long)]
    json: bool,
}

impl Findings {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let ledger = cli.ledger_read_only()?;
        let week = match &self.week {
            Some(week) => Week::parse(week, &self.zone)?,
            None => last_week(ledger.connection(), &self.zone)?,
        };
        let Some(mut found) = findings(ledger.connection(), &week, self.team.as_deref())? else {
            anyhow::bail!(
                "{week} is not built in `{}`: nothing was observed in it, or the zone is not among `report_zones` of podledger.toml",
                plain(&self.zone)
            );
        };
        if let Some(kind) = &self.kind {
            found.retain(|finding| finding.finding == *kind);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
            return Ok(ExitCode::SUCCESS);
        }
        let (from_ms, to_ms) = week.bounds_ms();
        let basis = basis_between(ledger.connection(), from_ms, to_ms)?;
        println!("FINDINGS of {week} ({})   {basis}\n", week.zone());
        let told = worth_telling(&found);
        let shown = if self.limit == 0 { told.len() } else { self.limit };
        for finding in told.iter().take(shown) {
            print(finding);
        }
        if told.is_empty() {
            println!("nothing was found that costs a cent");
        } else if told.len() > shown {
            println!("{} more: --limit 0 shows all", told.len() - shown);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(finding: &Finding) {
    let cost = finding.cost.map_or_else(|| "unknown".to_owned(), dollars);
    let trend = match (finding.cost, finding.previous) {
        (Some(cost), Some(previous)) if cost != previous => {
            let difference = NanoUsd::from_nano(cost.get() - previous.get());
            format!(
                "   {}{}",
                change(difference),
                percent_change(difference, previous)
            )
        }
        _ => String::new(),
    };
    println!(
        "{cost:>12}  {}: {}{trend}",
        plain(&finding.title()),
        short(&finding.subject)
    );
    let since = finding
        .since
        .as_ref()
        .map_or_else(String::new, |since| format!(", since {}", cut(since, 20)));
    let owner = if finding.team == "unattributed" {
        finding.subject_kind.clone()
    } else {
        short(&finding.team)
    };
    println!(
        "{:>14}{owner}{since}: {}",
        "",
        cut(&plain(&finding.evidence), 320)
    );
    println!("{:>14}-> {}", "", plain(&finding.mend));
    if let Some(command) = &finding.command {
        println!("{:>17}{}", "", plain(command));
    }
}
