//! Which clusters a command is about, and how they are reached.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

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
    config: Config,
}

impl Cluster {
    /// A client that sends requests to kubelets at whatever address they name, as the cluster's own identity; `None` where the
    /// API server is asked without TLS, which is through a proxy that leads to no kubelet.
    ///
    /// # Errors
    /// Where the cluster's certificates cannot be used.
    pub fn kubelets(&self, accept_any_certificate: bool) -> anyhow::Result<Option<Client>> {
        if self.config.cluster_url.scheme_str() != Some("https") {
            return Ok(None);
        }
        let mut config = self.config.clone();
        config.accept_invalid_certs |= accept_any_certificate;
        config.connect_timeout = Some(KUBELET_CONNECTS);
        let context = || format!("cannot use the certificates of {}", self.name);
        let connector = config.rustls_https_connector().with_context(context)?;
        let service = ServiceBuilder::new()
            .option_layer(config.auth_layer().with_context(context)?)
            .map_err(BoxError::from)
            .service(HyperClient::builder(TokioExecutor::new()).build(connector));
        Ok(Some(Client::new(service, config.default_namespace)))
    }
}

/// How long connecting to a kubelet may take.
const KUBELET_CONNECTS: Duration = Duration::from_secs(5);

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
    let client = Client::try_from(config.clone()).with_context(|| format!("cannot reach {name}"))?;
    Ok(Cluster { name, client, config })
}
