//! The PostgreSQL wire: what psql, drivers and dashboards speak, before the door.
//!
//! ```text
//! client -> pgwire (frames, SCRAM, TLS) -> Statement -> Session -> Door -> Worker (a process)
//!        <- DataRow, text or binary <- Rows <- Arrow, piece by piece <-
//! ```
//!
//! Architecture invariant: a session has no way to the marts but the door; what it says around queries (`set`, `begin`, `declare`) it answers itself.
//! Architecture invariant: rows are never gathered: as many are in memory as one piece of an answer has.

mod access;
mod copy;
mod handlers;
mod parameter;
mod rows;
mod session;
mod settings;
mod startup;
mod statement;
mod types;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use pgwire::api::{ClientInfo as _, NoopHandler, PgWireConnectionState};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::tokio::server::{
    MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Framed, FramedParts};

use crate::door::Door;
use crate::http::{Access, AccessError, ListenError, Tls};
use access::Users;
use handlers::Handlers;
use session::{SPARE_FOR, Session, fatal};
use startup::{Cancelling, Startup};

pub use statement::{is_ended, split};

/// The version of PostgreSQL whose protocol and catalogue are spoken (`sql/src/catalogue.sql`).
const SERVER_VERSION: &str = concat!("15.0 (podledger ", env!("CARGO_PKG_VERSION"), ")");

/// How long a client may take until it is known who it is.
const STARTING: Duration = Duration::from_secs(10);

/// Bytes of a message before and after it is known who a client is: a question has at most 1 MiB.
const LARGEST_BEFORE: usize = 16 << 10;
const LARGEST: usize = 2 << 20;

/// How long answers that are on their way have when the server ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// What can go wrong while listening begins.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(
        "{address} can be reached from elsewhere, and there is no token: make one with `podledger token create`, or listen on 127.0.0.1"
    )]
    Open { address: SocketAddr },
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// How clients are served.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// The file of tokens.
    pub tokens: PathBuf,
    /// With TLS, nobody is answered without it.
    pub tls: Option<Tls>,
    /// Clients at once.
    pub connections: usize,
    /// How long a client may say nothing.
    pub idle: Duration,
}

/// Who can cancel what, by the numbers that a session was given.
type Keys = Mutex<HashMap<(i32, Vec<u8>), watch::Sender<u64>>>;

/// What all sessions share.
struct Shared {
    door: Arc<Door>,
    access: Arc<Access>,
    users: Arc<Users>,
    keys: Keys,
    next_pid: AtomicI32,
    needs_tls: bool,
}

/// A place where clients arrive.
pub struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    connections: usize,
    idle: Duration,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`PostgresError`]: an address that can be reached from elsewhere needs a token first.
    pub async fn bind(settings: &Settings, door: Arc<Door>) -> Result<Self, PostgresError> {
        let is_local = settings.listen.ip().is_loopback();
        let access = Arc::new(Access::of(&settings.tokens, !is_local)?);
        if !is_local && !access.has_tokens() {
            return Err(PostgresError::Open {
                address: settings.listen,
            });
        }
        let tls = settings.tls.as_ref().map(|tls| tls.acceptor(b"postgresql"));
        let tls = tls.transpose()?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|source| ListenError::Bind {
                address: settings.listen,
                source,
            })?;
        let users = Users::new(Arc::clone(&access)).map_err(PostgresError::Random)?;
        Ok(Self {
            listener,
            shared: Arc::new(Shared {
                door,
                access,
                users: Arc::new(users),
                keys: Mutex::default(),
                next_pid: AtomicI32::new(1),
                needs_tls: tls.is_some(),
            }),
            tls,
            places: Arc::new(Semaphore::new(settings.connections)),
            connections: settings.connections,
            idle: settings.idle,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` says true.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let place = Arc::clone(&self.places).try_acquire_owned().ok();
            let client = Client {
                shared: Arc::clone(&self.shared),
                tls: self.tls.clone(),
                idle: self.idle,
                has_place: place.is_some(),
            };
            let mut stop = stop.clone();
            tokio::spawn(async move {
                let _place = place;
                let ended = tokio::select! {
                    ended = client.serve(stream) => ended,
                    _ = stop.wait_for(|stop| *stop) => Ok(()),
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a client's connection ended early");
                }
            });
        }
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(FAREWELL, self.places.acquire_many(all)).await;
    }
}

/// One client.
struct Client {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    idle: Duration,
    /// Whether there was a place; who has none is told so, and may cancel.
    has_place: bool,
}

type Socket<S> = Framed<Budgeted<MaybeTls>, PgWireMessageServerCodec<S>>;

impl Client {
    async fn serve(self, stream: TcpStream) -> io::Result<()> {
        let until = Instant::now() + STARTING;
        let Ok(negotiated) = timeout_at(until, negotiate_tls(stream, self.tls)).await else {
            return Ok(());
        };
        let Some(socket) = negotiated? else { return Ok(()) };
        let parts = socket.into_parts();
        if parts.codec.client_info.is_secure() && !parts.read_buf.is_empty() {
            // What came in the clear before the handshake was not said by who shook hands.
            return Ok(());
        }
        let budget = Arc::new(AtomicUsize::new(LARGEST_BEFORE));
        let budgeted = Budgeted {
            inner: parts.io,
            left: Arc::clone(&budget),
        };
        let mut rebuilt = FramedParts::new::<pgwire::messages::PgWireBackendMessage>(budgeted, parts.codec);
        rebuilt.read_buf = parts.read_buf;
        rebuilt.write_buf = parts.write_buf;
        let mut socket: Socket<_> = Framed::from_parts(rebuilt);

        let session = Arc::new(Session::new(Arc::clone(&self.shared.door)));
        let key = Key::default();
        let startup = Arc::new(Startup::new(
            Arc::clone(&self.shared),
            key.clone(),
            session.cancels(),
            self.has_place,
        ));
        let handlers = Arc::new(Handlers::new(Arc::clone(&session)));
        let cancelling = Arc::new(Cancelling(Arc::clone(&self.shared)));
        let _forget = Forget {
            shared: Arc::clone(&self.shared),
            key,
        };
        loop {
            let is_known = !matches!(
                socket.state(),
                PgWireConnectionState::AwaitingSslRequest
                    | PgWireConnectionState::AwaitingStartup
                    | PgWireConnectionState::AuthenticationInProgress
            );
            budget.store(if is_known { LARGEST } else { LARGEST_BEFORE }, Ordering::Relaxed);
            let until = if is_known {
                Instant::now() + self.idle
            } else {
                until
            };
            let rest = (Instant::now() + SPARE_FOR).min(until);
            let mut next = timeout_at(rest, socket.next()).await;
            if next.is_err() && is_known {
                session.rest();
                next = timeout_at(until, socket.next()).await;
            }
            let message = match next {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(PgWireError::IoError(error)))) => return Err(error),
                Ok(Some(Err(error))) => {
                    let error = fatal("08P01", error.to_string());
                    return process_error(&mut socket, error, false).await;
                }
                Ok(None) => return Ok(()),
                Err(_) if is_known => {
                    let error = fatal("57P05", "the session said nothing for too long and was ended");
                    return process_error(&mut socket, error, false).await;
                }
                Err(_) => return Ok(()),
            };
            if matches!(message, PgWireFrontendMessage::Terminate(_)) {
                return Ok(());
            }
            let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
            let is_extended = message.is_extended_query();
            let done = process_message(
                message,
                &mut socket,
                Arc::clone(&startup),
                Arc::clone(&handlers),
                Arc::clone(&handlers),
                Arc::new(NoopHandler),
                Arc::clone(&cancelling),
            )
            .await;
            if let Err(error) = done {
                // pgwire lets a client go on whose start failed, unless that was fatal.
                let is_fatal = !is_known || error.is_fatal();
                let error = if is_known { error } else { startup.refused(error) };
                process_error(&mut socket, error, is_extended).await?;
                if is_fatal {
                    return Ok(());
                }
            }
            if is_cancel {
                return Ok(());
            }
        }
    }
}

/// What lets another connection cancel what a session runs; told when the client is known.
type Key = Arc<Mutex<Option<(i32, Vec<u8>)>>>;

/// A session that has ended cannot be cancelled.
struct Forget {
    shared: Arc<Shared>,
    key: Key,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(key) = key {
            let mut keys = self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.remove(&key);
        }
    }
}

/// A stream of which only so much is read until somebody allows more: pgwire gathers a message of any length.
struct Budgeted<T> {
    inner: T,
    left: Arc<AtomicUsize>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Budgeted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message is longer than it may be",
            )));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.left.store(left.saturating_sub(read), Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Budgeted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
