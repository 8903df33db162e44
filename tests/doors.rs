//! Servers behind TLS, tokens and headers: kubelets that are asked what containers use, and a Prometheus that remembers it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::serve::Listener;
use jiff::Timestamp;
use podledger_collector::import::prometheus::{Server, Settings};
use podledger_simulator::{ApiServer, Change, ChangeKind, Object};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    /// What a server of that name (or address) needs to be believed by those who trust this authority.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        // Whoever was first has chosen; there is one to choose.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let chain = vec![CertificateDer::from(certificate)];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key.into()).unwrap()))
    }
}

/// Connections after their handshake; those that fail at it are dropped.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Serves a router over TLS for as long as the runtime lives; returns its port.
async fn serve(router: Router, authority: &Authority, name: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor(name);
    tokio::spawn(async move { axum::serve(Tls { listener, acceptor }, router).await });
    port
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A kubelet in front of the simulated cluster that knows what it has measured; it keeps what it is given to let somebody in.
fn kubelet(server: &ApiServer, tokens: Arc<Mutex<Vec<String>>>) -> Router {
    let router = server.router();
    Router::new().fallback(move |mut request: Request| {
        let (router, tokens) = (router.clone(), Arc::clone(&tokens));
        async move {
            let headers = request.headers();
            let text = |name| headers.get(name).unwrap().to_str().unwrap().to_owned();
            let host = text(header::HOST);
            tokens.lock().unwrap().push(text(header::AUTHORIZATION));
            let uri = format!("https://{host}{}", request.uri().path());
            *request.uri_mut() = uri.parse::<Uri>().unwrap();
            router.oneshot(request).await.unwrap()
        }
    })
}

/// A node whose kubelet answers on a port of the loopback, and a pod that runs there.
fn cluster(server: &ApiServer, port: u16) {
    let now = Timestamp::now();
    let started = now - jiff::SignedDuration::from_secs(100);
    let namespace = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "uid": format!("uid-of-{name}"), "creationTimestamp": started}})
    };
    for object in [
        namespace("kube-system"),
        namespace("data"),
        json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "r", "uid": "r", "creationTimestamp": started},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "capacity": {"cpu": "4", "memory": "16Gi"}, "allocatable": {"cpu": "4", "memory": "16Gi"},
        }}),
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "data", "uid": "p", "creationTimestamp": started},
            "spec": {"nodeName": "r", "containers": [{"name": "main"}]},
            "status": {"phase": "Running", "startTime": started, "containerStatuses": [{"name": "main", "image": "", "imageID": "",
                "ready": true, "restartCount": 0, "state": {"running": {"startedAt": started}}}]}}),
    ] {
        server.feed(&Change {
            at_ms: now.as_millisecond(),
            kind: ChangeKind::Added,
            object: Object::Other(Box::new(object)),
        });
    }
}

/// `podledger collect`, and what it says.
struct Collect {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Drop for Collect {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Collect {
    fn new(folder: &Path, kubeconfig: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_podledger"))
            .arg("--data")
            .arg(folder)
            .args([
                "collect",
                "--no-lease",
                "--listen",
                "127.0.0.1:0",
                "--usage",
                "kubelet",
            ])
            .args(["--usage-every", "10", "--seal-every", "1", "--kubeconfig"])
            .arg(kubeconfig)
            .args(options)
            .env("RUST_LOG", "info,podledger_collector=debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            said,
            heard: Vec::new(),
        }
    }

    /// Waits for a line with these words.
    fn says(&mut self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            assert!(line.is_ok(), "it never said `{words}`: {:#?}", self.heard);
            let line = line.unwrap();
            if line.contains(words) {
                return line;
            }
            self.heard.push(line);
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_kubelet_is_believed_by_the_cluster_s_authority_by_another_that_is_named_or_not_at_all() {
    let (of_cluster, of_kubelets) = (Authority::new("cluster"), Authority::new("kubelets"));
    let folder = tempfile::tempdir().unwrap();
    let other = write(folder.path(), "kubelets.pem", &of_kubelets.pem);
    let broken = write(folder.path(), "broken.pem", "no certificate");
    let [other, broken] = [&other, &broken].map(|path| path.to_str().unwrap());
    let runtime = runtime();
    // A cluster whose kubelets have certificates of its authority, and one where they have others.
    let mut clusters = Vec::new();
    for (name, authority) in [("signed", &of_cluster), ("others", &of_kubelets)] {
        let server = ApiServer::new(podledger_simulator::Settings::new(Timestamp::now()));
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let (kubelet_port, port) = runtime.block_on(async {
            let kubelet = kubelet(&server, Arc::clone(&tokens));
            (
                serve(kubelet, authority, "127.0.0.1").await,
                serve(server.router(), &of_cluster, "api.example").await,
            )
        });
        cluster(&server, kubelet_port);
        let authority = write(folder.path(), "cluster.pem", &of_cluster.pem);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "let-me-in"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": authority,
                "tls-server-name": "api.example",
            }}],
        });
        clusters.push((write(folder.path(), name, &kubeconfig.to_string()), tokens));
    }
    let collect = |name: &str, cluster: usize, options: &[&str]| {
        Collect::new(&folder.path().join(name), &clusters[cluster].0, options)
    };
    let measured = "a kubelet told what containers use";
    let mut refusing = collect("refused", 1, &[]);
    // One that is named takes the place of the cluster's.
    let mut strict = collect("strict", 0, &["--kubelet-ca-file", other]);
    collect("trusted", 0, &[]).says(measured);
    assert_eq!(clusters[0].1.lock().unwrap()[0], "Bearer let-me-in");
    strict.says("UnknownIssuer");
    let said = refusing.says("cannot measure all usage");
    for words in [
        "r: ",
        "UnknownIssuer",
        "--kubelet-ca-file",
        "--kubelet-insecure-tls",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(
        *clusters[1].1.lock().unwrap(),
        Vec::<String>::new(),
        "nobody else is given the token"
    );
    drop(refusing);
    let mut any = collect("any", 1, &["--kubelet-insecure-tls"]);
    collect("named", 1, &["--kubelet-ca-file", other]).says(measured);
    any.says(measured);
    let mut wrong = collect("wrong", 0, &["--kubelet-ca-file", broken]);
    let said = wrong.says("broken.pem");
    assert!(said.contains("no certificate"), "{said}");
}

/// What a Prometheus answers to those whom it lets in, and when it was asked.
#[derive(Default)]
struct Asked {
    queries: Mutex<Vec<(Instant, Instant)>>,
}

/// How long it takes.
const TAKES: Duration = Duration::from_millis(40);

/// A Prometheus that lets in who has the token and names a tenant.
fn prometheus(asked: Arc<Asked>) -> Router {
    Router::new().fallback(move |headers: HeaderMap, _query: String| {
        let asked = Arc::clone(&asked);
        async move {
            let begun = Instant::now();
            let has = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
            if !has("authorization", "Bearer let-me-in") {
                return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
            }
            if !has("x-scope-orgid", "team") {
                return (StatusCode::FORBIDDEN, "whose series?").into_response();
            }
            tokio::time::sleep(TAKES).await;
            let mut queries = asked.queries.lock().unwrap();
            queries.push((begun, Instant::now()));
            let value: Value = json!([1_793_577_600, queries.len().to_string()]);
            let result = json!([{"metric": {"__name__": "up"}, "value": value}]);
            let answer = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
            ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
        }
    })
}

fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        matchers: String::new(),
        bearer_token: Some("let-me-in\n".to_owned()),
        headers: vec![("X-Scope-OrgID".to_owned(), "team".to_owned())],
        certificates: None,
        load_percent: 100,
    }
}

#[test]
fn a_prometheus_is_asked_with_what_opens_its_doors_and_refusals_are_told() {
    let authority = Authority::new("prometheus");
    let runtime = runtime();
    let asked = Arc::new(Asked::default());
    let port = runtime.block_on(serve(prometheus(Arc::clone(&asked)), &authority, "127.0.0.1"));
    let url = format!("https://127.0.0.1:{port}");
    let trusting = Settings {
        certificates: Some(authority.pem.clone().into_bytes()),
        ..settings(&url)
    };
    let ask = |settings: Settings| -> Result<Option<f64>, String> {
        let server = Server::new(settings).map_err(|error| error.to_string())?;
        let answered = runtime.block_on(server.instant("up", 1_793_577_600_000));
        let series = answered.map_err(|error| error.to_string())?;
        Ok(series
            .first()
            .and_then(podledger_collector::import::prometheus::Series::last))
    };
    assert_eq!(ask(trusting.clone()), Ok(Some(1.0)));
    let refused = |settings: Settings, words: &[&str]| {
        let said = ask(settings).unwrap_err();
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    refused(settings(&url), &[&url, "UnknownIssuer"]);
    let others = Settings {
        certificates: Some(Authority::new("another").pem.into_bytes()),
        ..settings(&url)
    };
    refused(others, &["invalid peer certificate"]);
    for (token, headers, words) in [
        (None, settings(&url).headers, "401"),
        (Some("another"), settings(&url).headers, "401"),
        (Some("let-me-in"), Vec::new(), "403"),
    ] {
        let closed = Settings {
            bearer_token: token.map(str::to_owned),
            headers,
            ..trusting.clone()
        };
        refused(closed, &[words]);
    }
    let broken = Settings {
        certificates: Some(b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n".to_vec()),
        ..settings(&url)
    };
    refused(broken, &[&url, "BadEncoding"]);
    assert_eq!(asked.queries.lock().unwrap().len(), 1, "nobody else is answered");
}

#[test]
fn a_prometheus_rests_for_as_long_as_its_share_of_time_says() {
    let runtime = runtime();
    let asked = Arc::new(Asked::default());
    let port = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = prometheus(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    });
    let server = Server::new(Settings {
        load_percent: 20,
        ..settings(&format!("http://127.0.0.1:{port}"))
    })
    .unwrap();
    for _ in 0..4 {
        runtime.block_on(server.instant("up", 1_793_577_600_000)).unwrap();
    }
    let queries = asked.queries.lock().unwrap();
    assert_eq!(queries.len(), 4);
    for pair in queries.windows(2) {
        let rested = pair[1].0.duration_since(pair[0].1);
        // Four parts of rest to one of work; the client has seen at least as much work as the server.
        assert!(rested >= 4 * TAKES, "{rested:?}");
    }
}
