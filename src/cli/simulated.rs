//! Simulated clusters as clients see them: without sockets, or as a server for `kubectl` and others.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use kube::Client;
use podledger_simulator::{ApiServer, Change, Object, Settings};
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::collect::{runtime, stopped_by_signal};

/// A client of a simulated API server.
pub fn client(server: &ApiServer) -> Client {
    let service = server
        .router()
        .map_request(|request: axum::http::Request<kube::client::Body>| request.map(axum::body::Body::new));
    Client::new(service, "default")
}

/// Options of commands that serve a simulated cluster over HTTP.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Serve it as a Kubernetes API server on this address, over plain HTTP.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Simulated seconds per second.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "listen")]
    pub speed: u32,
    /// The identifier of the cluster: the UID of its namespace kube-system. Clusters with one identifier are one cluster.
    #[arg(long, value_name = "UID", requires = "listen")]
    pub cluster: Option<String>,
    /// Write a kubeconfig for it.
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub kubeconfig_out: Option<PathBuf>,
}

impl Listen {
    /// Serves changes as they are due, until the process is asked to end.
    ///
    /// # Errors
    /// Where the address cannot be had or the kubeconfig cannot be written.
    pub fn serve(
        &self,
        address: SocketAddr,
        settings: Settings,
        changes: impl Iterator<Item = Change>,
    ) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))?;
            let address = listener.local_addr()?;
            if let Some(path) = &self.kubeconfig_out {
                std::fs::write(path, kubeconfig(address))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            let mut changes = changes.map(|change| self.identified(change)).peekable();
            let server = ApiServer::new(Settings {
                speed: self.speed,
                ..settings
            });
            // What is there at first is there before anybody can ask.
            let start_ms = server.now().as_millisecond();
            while let Some(change) = changes.next_if(|change| change.at_ms <= start_ms) {
                server.feed(&change);
            }
            println!(
                "simulated API server on http://{address} at {} s per second; Ctrl-C ends it",
                self.speed
            );
            println!("  kubectl --server http://{address} get pods -A");
            let mut stop = stopped_by_signal();
            let serve = axum::serve(listener, server.router());
            tokio::select! {
                served = serve.into_future() => served?,
                // After the last change the cluster stays as it is.
                () = async { server.run(changes).await; std::future::pending().await } => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            Ok(())
        })
    }

    /// The cluster gets the identifier that it is given.
    fn identified(&self, mut change: Change) -> Change {
        if let (Some(cluster), Object::Namespace(namespace)) = (&self.cluster, &mut change.object)
            && namespace.metadata.name.as_deref() == Some("kube-system")
        {
            namespace.metadata.uid = Some(cluster.clone());
        }
        change
    }
}

fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: simulated\n\
         clusters:\n- name: simulated\n  cluster:\n    server: http://{address}\n\
         users:\n- name: simulated\n  user: {{}}\n\
         contexts:\n- name: simulated\n  context:\n    cluster: simulated\n    user: simulated\n"
    )
}
