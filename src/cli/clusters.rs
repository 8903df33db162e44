//! Which clusters a command is about, and how they are reached.

use anyhow::Context;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;

/// Options of every command that talks to clusters.
#[derive(Debug, Clone, Args)]
pub struct Clusters {
    /// Context of the kubeconfig, once for each cluster [default: the cluster that this runs in, else the current context].
    #[arg(long = "context", value_name = "NAME")]
    contexts: Vec<String>,
    /// Kubeconfig to read [default: $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster that can be talked to.
#[derive(Clone)]
pub struct Cluster {
    /// Its context, or `in-cluster`.
    pub name: String,
    pub client: Client,
}

impl Clusters {
    /// A client for each cluster that was named.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read or has no such context.
    pub async fn connect(&self) -> anyhow::Result<Vec<Cluster>> {
        if self.contexts.is_empty()
            && self.kubeconfig.is_none()
            && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        {
            let config =
                Config::incluster().context("cannot read the service account that this pod runs as")?;
            return Ok(vec![cluster("in-cluster".to_owned(), config)?]);
        }
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig
            .context("cannot read a kubeconfig; name one with --kubeconfig, or run inside of the cluster")?;
        let current = kubeconfig.current_context.clone();
        let contexts = match (self.contexts.as_slice(), current) {
            ([], Some(current)) => vec![current],
            ([], None) => anyhow::bail!("the kubeconfig has no current context; name one with --context"),
            (contexts, _) => contexts.to_vec(),
        };
        let mut clusters = Vec::new();
        for context in contexts {
            let options = KubeConfigOptions {
                context: Some(context.clone()),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
                .await
                .with_context(|| format!("cannot use the context {context} of the kubeconfig"))?;
            clusters.push(cluster(context, config)?);
        }
        Ok(clusters)
    }
}

fn cluster(name: String, config: Config) -> anyhow::Result<Cluster> {
    let client = Client::try_from(config).with_context(|| format!("cannot reach {name}"))?;
    Ok(Cluster { name, client })
}
