//! The dashboard over TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use podledger_reports::http::{Role, create_token};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring};

use super::safety::one_pod;
use super::served::{Served, request, serve};
use crate::sql_door::runtime;

/// PEM files of a server's certificate and its key.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    certified: CertifiedKey<KeyPair>,
}

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        let certified = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = folder.join(format!("{name}.crt"));
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&certificate, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        Self {
            certificate,
            key,
            certified,
        }
    }

    /// A client that believes this server alone, and speaks one version.
    fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let certificate: &CertificateDer<'static> = self.certified.cert.der();
        roots.add(certificate.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// What a server answers to a client; where no hands are shaken, why.
async fn ask(address: &str, client: ClientConfig, request: &str) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connected = TlsConnector::from(Arc::new(client)).connect(name, stream).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    Ok(answer)
}

#[test]
fn a_server_with_a_certificate_speaks_tls_alone() {
    let world = one_pod();
    let folder = world.folder.path();
    let token = create_token(
        &folder.join("tokens.toml"),
        "somebody",
        Role::Viewer,
        String::new(),
    )
    .unwrap();
    let (files, others) = (Files::new(folder, "own"), Files::new(folder, "other"));
    let served = Served::begin(
        serve(folder)
            .arg("--tls-cert")
            .arg(&files.certificate)
            .arg("--tls-key")
            .arg(&files.key),
    );
    assert!(served.url.starts_with("https://127.0.0.1:"), "{}", served.url);
    let address = served.address();
    let host = address.replace("127.0.0.1", "localhost");
    let runtime = runtime();
    let look = request(&host, "GET", "/sign-in", &[], "");
    for version in [&TLS12, &TLS13] {
        let answer = runtime
            .block_on(ask(address, files.client(version), &look))
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("strict-transport-security: max-age=31536000\r\n"),
            "{answer}"
        );
    }
    let refused = runtime.block_on(ask(address, others.client(&TLS13), &look));
    assert!(refused.unwrap_err().contains("invalid peer certificate"));

    // What lets a browser in is never sent in the open.
    let origin = format!("https://{host}");
    let sign_in = request(
        &host,
        "POST",
        "/sign-in",
        &[("Origin", &origin)],
        &format!("token={token}"),
    );
    let answer = runtime
        .block_on(ask(address, files.client(&TLS13), &sign_in))
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(
        cookie.ends_with("; Secure") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let session = cookie.split(';').next().unwrap();
    let teams = request(&host, "GET", "/teams", &[("Cookie", session)], "");
    let answer = runtime
        .block_on(ask(address, files.client(&TLS13), &teams))
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Who speaks plainly is told nothing.
    let told = runtime.block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(look.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        // The connection may be ended in either way.
        let _ = stream.read_to_end(&mut told).await;
        String::from_utf8_lossy(&told).into_owned()
    });
    assert!(!told.contains("HTTP") && told.len() < 64, "{told}");
}

#[test]
fn a_server_without_tls_sends_nothing_that_is_only_true_with_it() {
    let world = one_pod();
    let folder = world.folder.path();
    let token = create_token(
        &folder.join("tokens.toml"),
        "somebody",
        Role::Viewer,
        String::new(),
    )
    .unwrap();
    let served = Served::of(folder);
    let origin = served.url.clone();
    let (head, _) = served.ask(
        "POST",
        "/sign-in",
        &[("Origin", &origin)],
        &format!("token={token}"),
    );
    assert!(head.starts_with("HTTP/1.1 303"), "{head}");
    assert!(
        !head.contains("Secure") && !head.contains("strict-transport-security"),
        "{head}"
    );
}

#[test]
fn files_that_are_of_no_use_for_tls_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (
        Files::new(folder.path(), "own"),
        Files::new(folder.path(), "other"),
    );
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let broken = write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n",
    );
    let empty = write("empty.pem", "");
    let missing = folder.path().join("missing.pem");
    for (certificate, key, named) in [
        (&broken, &own.key, &broken),
        (&empty, &own.key, &empty),
        (&missing, &own.key, &missing),
        (&own.certificate, &broken, &broken),
        (&own.certificate, &empty, &empty),
        (&own.certificate, &own.certificate, &own.certificate),
        // The key of another certificate.
        (&own.certificate, &other.key, &own.certificate),
    ] {
        let mut command = serve(folder.path());
        let output = command
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{certificate:?} {key:?}: {said}");
        assert!(
            said.contains(&format!("cannot use {} for TLS: ", named.display())),
            "{certificate:?} {key:?}: {said}"
        );
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}
