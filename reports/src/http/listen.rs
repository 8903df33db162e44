//! Listens: plain on loopback, TLS where certificate and key are given, with bounds on connections and on how long they may dawdle.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::guard::network;

/// Connections at once.
const MOST_CONNECTIONS: usize = 1_024;

/// How long a connection may last, whatever is done with it: a client that reads nothing would keep it for ever.
const LONGEST: Duration = Duration::from_secs(300);

/// How long a client may take to say what it wants, and to shake hands.
const SLOWEST: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 32 * 1024;

/// How long answers that are on their way have when the server ends, or their connection has lasted too long.
const FAREWELL: Duration = Duration::from_secs(5);

/// What can go wrong while listening begins.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}; name another address with --listen")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use {path} for TLS: {reason}")]
    Tls { path: PathBuf, reason: String },
}

/// What TLS needs: PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Tls {
    /// What shakes hands for a protocol.
    pub(crate) fn acceptor(&self, protocol: &[u8]) -> Result<TlsAcceptor, ListenError> {
        let wrong = |path: &Path, reason: String| ListenError::Tls {
            path: path.to_path_buf(),
            reason,
        };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A place where requests arrive.
pub struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// Connections of one client at once: one cannot take all places.
    most_of_one: usize,
}

impl Listener {
    /// Begins to listen, to at most so many connections of each client at once.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(
        address: SocketAddr,
        tls: Option<&Tls>,
        most_of_one: usize,
    ) -> Result<Self, ListenError> {
        let tls = tls.map(|tls| tls.acceptor(b"http/1.1")).transpose()?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError::Bind { address, source })?;
        Ok(Self {
            listener,
            tls,
            most_of_one,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`ListenError::Bind`] where the system does not tell.
    pub fn address(&self) -> Result<SocketAddr, ListenError> {
        self.listener.local_addr().map_err(|source| ListenError::Bind {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source,
        })
    }

    /// Serves until `stop` says true.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let clients = Arc::new(Mutex::default());
        let all = u32::try_from(MOST_CONNECTIONS).unwrap_or(u32::MAX);
        loop {
            let accepted = tokio::select! {
                () = told(&mut stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let Some(of_one) = Share::of(&clients, peer.ip(), self.most_of_one) else {
                continue;
            };
            let (router, tls, stop) = (router.clone(), self.tls.clone(), stop.clone());
            tokio::spawn(async move {
                let (_place, _of_one) = (place, of_one);
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection(stream, peer, router, stop).await,
                    Some(tls) => {
                        if let Ok(Ok(stream)) = tokio::time::timeout(SLOWEST, tls.accept(stream)).await {
                            connection(stream, peer, router, stop).await;
                        }
                    }
                }
            });
        }
        // Connections end after the answer that they are giving.
        let _ = tokio::time::timeout(FAREWELL, places.acquire_many(all)).await;
    }
}

type Clients = Mutex<HashMap<IpAddr, usize>>;

/// One of a client's connections, for as long as it is open.
struct Share {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Share {
    fn of(clients: &Arc<Clients>, address: IpAddr, most: usize) -> Option<Self> {
        let client = network(address);
        let mut open = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self {
            clients: Arc::clone(clients),
            client,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// Waits until the server is told to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = told(&mut stop) => None,
        () = tokio::time::sleep(LONGEST) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                // A client that does not take its answer is not waited for.
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn one_client_cannot_take_all_places() {
        const MOST_OF_ONE: usize = 8;
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None, MOST_OF_ONE)
            .await
            .unwrap();
        let address = listener.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| async { "here" }));
        let serving = tokio::spawn(listener.serve(router, stopped));
        let mut open = Vec::new();
        for _ in 0..MOST_OF_ONE {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        let ask = async |stream: &mut TcpStream| {
            let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let mut answer = Vec::new();
            // One that is closed at once may say so in either way.
            if stream.write_all(request).await.is_ok() {
                let _ = stream.read_to_end(&mut answer).await;
            }
            String::from_utf8_lossy(&answer).contains("here")
        };
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(!ask(&mut refused).await);
        // A place that is given back is another's.
        let mut first = open.remove(0);
        assert!(ask(&mut first).await);
        drop(first);
        let mut is_let_in = false;
        for _ in 0..200 {
            let mut next = TcpStream::connect(address).await.unwrap();
            is_let_in = ask(&mut next).await;
            if is_let_in {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(is_let_in);
        stop.send(true).unwrap();
        drop(open);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_not_served_for_ever() {
        let (client, server) = tokio::io::duplex(1024);
        let router = Router::new().route("/", get(|| async { vec![0_u8; 1024 * 1024] }));
        let (_stop, stopped) = watch::channel(false);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let (mut reading, mut writing) = tokio::io::split(client);
        writing
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 4];
        let answered = async {
            reading.read_exact(&mut first).await.unwrap();
        };
        let begun = tokio::time::Instant::now();
        tokio::join!(connection(server, peer, router, stopped), answered);
        assert_eq!(&first, b"HTTP");
        assert_eq!(begun.elapsed().as_secs(), (LONGEST + FAREWELL).as_secs());
    }
}
