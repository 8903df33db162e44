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
    pub fn kubelets(&self, trust: &KubeletTrust) -> anyhow::Result<Option<Client>> {
        if self.config.cluster_url.scheme_str() != Some("https") {
            return Ok(None);
        }
        let mut config = self.config.clone();
        // That is the API server's name, whatever its address; kubelets have their own.
        config.tls_server_name = None;
        config.accept_invalid_certs |= trust.kubelet_insecure_tls;
        if let Some(path) = &trust.kubelet_ca_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}, given by --kubelet-ca-file", path.display()))?;
            anyhow::ensure!(
                text.contains("-----BEGIN CERTIFICATE-----"),
                "{}, given by --kubelet-ca-file, has no certificate in PEM",
                path.display()
            );
            config.root_cert_file = Some(path.clone());
        }
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

/// Which certificates are taken for a kubelet's.
#[derive(Debug, Clone, Default, Args)]
pub struct KubeletTrust {
    /// File with the certificates (PEM) of the authority that signs those of kubelets, where it is not the cluster's.
    #[arg(long, value_name = "FILE", conflicts_with = "kubelet_insecure_tls")]
    kubelet_ca_file: Option<PathBuf>,
    /// Take any certificate for a kubelet's: for clusters whose kubelets sign their own. Who can answer in a kubelet's place is
    /// then given the collector's token.
    #[arg(long)]
    kubelet_insecure_tls: bool,
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
