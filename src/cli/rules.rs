//! `podledger rules`.

use std::process::ExitCode;

use clap::Subcommand;
use duckdb::Connection;
use podledger_analyzer::config::Config;
use podledger_analyzer::rules::{Rules, Share};
use podledger_reports::display::{dollars, plain};
use podledger_sql::units::NanoUsd;

use super::{Cli, WRONG_CONFIG};

/// Fields whose rules `coverage` reports.
const COVERED: &[&str] = &["pipeline", "team"];

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Show for pods which rule decided what.
    #[command(after_help = "Example: podledger --data real rules test --pod nf-4f6%")]
    Test {
        /// Name or UID of the pods, as an SQL pattern: `%` stands for anything.
        #[arg(long, default_value = "%", value_name = "PATTERN")]
        pod: String,
        /// How many pods to show.
        #[arg(long, default_value_t = 3)]
        limit: u32,
    },
    /// Show the share of cost that each rule attributes, the largest gaps, and labels that could close them.
    #[command(after_help = "Example: podledger --data real rules coverage")]
    Coverage,
    /// Check the rules of the configuration.
    #[command(after_help = "Example: podledger --config podledger.toml rules check")]
    Check,
}

impl RulesCommand {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let config = cli.configuration()?;
        if matches!(self, Self::Check) {
            return Ok(check(&config));
        }
        let ledger = cli.ledger_read_only()?;
        let rules = Rules::of(&config)?;
        match self {
            Self::Test { pod, limit } => test(ledger.connection(), &rules, pod, *limit),
            _ => coverage(ledger.connection(), &rules),
        }
    }
}

fn check(config: &Config) -> ExitCode {
    // Reading the configuration has checked each of them; what is left is what only shows side by side.
    let shadowed = podledger_analyzer::rules::shadowed(&config.identity_rules);
    for line in &shadowed {
        println!("  {line}");
    }
    if shadowed.is_empty() {
        println!("ok: {} rules of your own", config.identity_rules.len());
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WRONG_CONFIG)
    }
}

fn test(connection: &Connection, rules: &Rules, pod: &str, limit: u32) -> anyhow::Result<ExitCode> {
    let decided = rules.decisions(connection, pod, limit)?;
    if decided.is_empty() {
        println!("no pod has a name or UID like `{}`", plain(pod));
    }
    for pod in decided {
        println!(
            "{}/{}  {}",
            plain(&pod.namespace),
            plain(&pod.pod_name),
            plain(&pod.pod_uid)
        );
        for decision in pod.decisions {
            println!(
                "  {:<15} {:<40} {}",
                decision.field,
                decision.value.as_deref().map_or_else(|| "-".to_owned(), plain),
                decision.rule.as_deref().unwrap_or("no rule found anything"),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn coverage(connection: &Connection, rules: &Rules) -> anyhow::Result<ExitCode> {
    for field in COVERED {
        println!("{}", field.to_uppercase());
        for share in rules.shares(connection, field)? {
            print_share(&share);
        }
        println!();
    }
    println!("LARGEST GAPS (pods without a pipeline)");
    for share in rules.gaps(connection)? {
        print_share(&share);
    }
    let labels = rules.suggestions(connection)?;
    if !labels.is_empty() {
        println!("\nLABELS THAT THOSE PODS CARRY");
        for share in &labels {
            print_share(share);
        }
        if let Some(first) = labels.first() {
            println!(
                "\nto name pipelines by the first of them, put into podledger.toml:\n\n\
                 [[identity_rules]]\nsystem = \"generic\"\nfield = \"system\"\nsource = \"label\"\nkey = {key:?}\n\n\
                 [[identity_rules]]\nsystem = \"generic\"\nfield = \"pipeline\"\nsource = \"label\"\nkey = {key:?}",
                key = plain(&first.name)
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_share(share: &Share) {
    println!(
        "  {:>12} {:>5}.{}% {:>9} pods  {}",
        dollars(NanoUsd::from_nano(share.cost_nano)),
        share.permille / 10,
        share.permille % 10,
        share.pods,
        plain(&share.name)
    );
}
