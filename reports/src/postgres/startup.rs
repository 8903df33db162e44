//! Who is let in, and who may cancel what.

use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::driver::AuthOutcome;
use pgwire::api::auth::mechanism::AuthMechanismFactory as _;
use pgwire::api::auth::{
    AuthDriver, DefaultServerParameterProvider, StartupHandler, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::{ClientInfo, METADATA_USER, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{Authentication, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::watch;

use super::session::fatal;
use super::{Key, SERVER_VERSION, Shared};
use crate::http::Role;

/// Lets clients in.
pub struct Startup {
    shared: Arc<Shared>,
    driver: AuthDriver<DefaultServerParameterProvider, Role>,
    key: Key,
    cancels: watch::Sender<u64>,
    has_place: bool,
}

impl Startup {
    pub fn new(shared: Arc<Shared>, key: Key, cancels: watch::Sender<u64>, has_place: bool) -> Self {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = SERVER_VERSION.to_owned();
        parameters.search_path = "marts".to_owned();
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        parameters.time_zone = "UTC".to_owned();
        parameters.date_style = "ISO, MDY".to_owned();
        let keys = Numbered {
            shared: Arc::clone(&shared),
            random: RandomPidSecretKeyGenerator::default(),
        };
        Self {
            driver: AuthDriver::new(parameters).with_pid_secret_key_generator(Arc::new(keys)),
            shared,
            key,
            cancels,
            has_place,
        }
    }

    /// What a client is told that was not let in.
    pub fn refused(&self, failure: PgWireError) -> PgWireError {
        match failure {
            PgWireError::InvalidPassword(_) => {
                fatal("28P01", "the user is not known, or the password is wrong")
            }
            failure if failure.is_fatal() => failure,
            failure => fatal("08P01", failure.to_string()),
        }
    }

    /// Says that the client is in, and lets it cancel from then on.
    async fn let_in<C>(&self, client: &mut C, last: Option<Authentication>) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.driver.complete_authentication(client, last).await?;
        let (pid, secret) = client.pid_and_secret_key();
        let key = (pid, secret.to_bytes().to_vec());
        let mut keys = self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone(), self.cancels.clone());
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(())
    }
}

/// Numbers of sessions, and secrets that are random.
struct Numbered {
    shared: Arc<Shared>,
    random: RandomPidSecretKeyGenerator,
}

impl PidSecretKeyGenerator for Numbered {
    fn generate(&self, client: &dyn ClientInfo) -> (i32, SecretKey) {
        let (_, secret) = self.random.generate(client);
        (self.shared.next_pid.fetch_add(1, Ordering::Relaxed), secret)
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let outcome = match message {
            PgWireFrontendMessage::Startup(startup) => {
                if !self.has_place {
                    return Err(fatal("53300", "there are as many clients as there may be"));
                }
                if self.shared.needs_tls && !client.is_secure() {
                    return Err(fatal(
                        "28000",
                        "the server asks for TLS: connect with sslmode=require",
                    ));
                }
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if !client.metadata().contains_key(METADATA_USER) {
                    return Err(fatal("28000", "no user was named"));
                }
                if !self.shared.access.is_required() {
                    return self.let_in(client, None).await;
                }
                let scram = self.shared.users.scram();
                self.driver.begin_authentication(client, scram.create()).await?
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                self.driver.advance_authentication(client, message).await?
            }
            _ => return Ok(()),
        };
        match outcome {
            AuthOutcome::InProgress => Ok(()),
            AuthOutcome::Authenticated {
                identity: Some(role),
                final_message,
            } if role >= Role::Analyst => self.let_in(client, final_message).await,
            AuthOutcome::Authenticated {
                identity: Some(_), ..
            } => Err(fatal(
                "42501",
                "SQL needs the role analyst, which this token has not",
            )),
            AuthOutcome::Authenticated { .. } => Err(PgWireError::InvalidPassword(String::new())),
        }
    }
}

/// Cancels what a session runs, if the request has its numbers.
pub struct Cancelling(pub Arc<Shared>);

#[async_trait]
impl CancelHandler for Cancelling {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let key = (request.pid, request.secret_key.to_bytes().to_vec());
        let keys = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancels) = keys.get(&key) {
            cancels.send_modify(|count| *count += 1);
        }
    }
}
