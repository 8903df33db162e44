//! `podledger config`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use podledger_analyzer::config::Config;

use super::Cli;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a configuration with every default.
    #[command(after_help = "Example: podledger config init")]
    Init,
    /// Read the configuration and say whether it is right.
    #[command(after_help = "Example: podledger --config podledger.toml config check")]
    Check,
}

impl ConfigCommand {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let path = cli
            .config
            .clone()
            .unwrap_or_else(|| PathBuf::from("podledger.toml"));
        match self {
            Self::Init => {
                if path.exists() {
                    anyhow::bail!("{} is there already; move it away first", path.display());
                }
                std::fs::write(&path, toml::to_string_pretty(&Config::default())?)?;
                println!("wrote {}", path.display());
            }
            Self::Check => {
                let config = cli.configuration()?;
                println!(
                    "{} is right",
                    if path.exists() {
                        path.display().to_string()
                    } else {
                        "the default configuration".to_owned()
                    }
                );
                println!("{}", toml::to_string_pretty(&config)?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
