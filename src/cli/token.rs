//! `podledger token`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use jiff::Timestamp;
use podledger_reports::http::{Role, create_token, read_tokens, revoke_token};

use super::Cli;

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and show it, this once; from then on nobody reads the dashboard without one.
    #[command(after_help = "Example: podledger token create grafana --role viewer")]
    Create {
        /// Who or what uses it.
        name: String,
        /// viewer reads pages and the API; analyst may also ask in SQL; admin also
        /// reads /metrics.
        #[arg(long, default_value = "viewer")]
        role: Role,
    },
    /// List tokens: names, roles, and when they were made.
    #[command(after_help = "Example: podledger token list")]
    List,
    /// End a token, at once.
    #[command(after_help = "Example: podledger token revoke grafana")]
    Revoke {
        /// Its name.
        name: String,
    },
}

impl Token {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let path = cli.tokens_path();
        match self {
            Self::Create { name, role } => {
                std::fs::create_dir_all(&cli.data)
                    .with_context(|| format!("cannot create {}", cli.data.display()))?;
                println!(
                    "{}",
                    create_token(&path, name, *role, Timestamp::now().to_string())?
                );
                eprintln!("kept as a hash in {}; it is not shown again", path.display());
            }
            Self::List => {
                for token in read_tokens(&path)? {
                    let role = format!("{:?}", token.role).to_lowercase();
                    println!("{:<32} {role:<8} {}", token.name, token.created_at);
                }
            }
            Self::Revoke { name } => revoke_token(&path, name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Cli {
    /// Where hashes of tokens are.
    pub(super) fn tokens_path(&self) -> PathBuf {
        self.data.join("tokens.toml")
    }
}
