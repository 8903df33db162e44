//! Who may connect: the users are the tokens of `podledger token`, by name, and a token is its user's password (SCRAM-SHA-256).

use std::sync::Arc;

use async_trait::async_trait;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, ScramSecret};
use pgwire::api::auth::{AuthSource, LoginInfo, Password};
use pgwire::error::PgWireResult;
use sha2::{Digest as _, Sha256};

use super::session::fatal;
use crate::http::{Access, Role};

/// Users, by the file of tokens.
pub struct Users {
    access: Arc<Access>,
    /// What the salts of users who are not there are made of: they are always the same for a name, as those of others are.
    secret: [u8; 32],
}

impl std::fmt::Debug for Users {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Users")
    }
}

impl Users {
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn new(access: Arc<Access>) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self { access, secret })
    }

    pub fn scram(self: &Arc<Self>) -> ScramAuth<Role> {
        let source: Arc<dyn AuthSource<Role>> = Arc::<Self>::clone(self);
        ScramAuth::new(source)
    }
}

#[async_trait]
impl AuthSource<Role> for Users {
    async fn get_password(&self, _: &LoginInfo) -> PgWireResult<Password> {
        Err(fatal("28000", "passwords are not sent here"))
    }

    async fn get_scram_secret(&self, login: &LoginInfo) -> PgWireResult<(ScramSecret, Option<Role>)> {
        let name = login.user().unwrap_or_default();
        if let Some((role, verifier)) = self.access.verifier_of(name) {
            return Ok((
                ScramSecret::Verifier {
                    salt: verifier.salt,
                    iterations: SCRAM_ITERATIONS,
                    stored_key: verifier.stored_key,
                    server_key: verifier.server_key,
                },
                Some(role),
            ));
        }
        // Whether there is such a user shows at the end only, as a wrong password.
        let made_up = |what: &str| {
            let digest = Sha256::new()
                .chain_update(self.secret)
                .chain_update(what)
                .chain_update(name);
            digest.finalize().to_vec()
        };
        let mut salt = made_up("salt");
        salt.truncate(crate::http::SALT_BYTES);
        Ok((
            ScramSecret::Verifier {
                salt,
                iterations: SCRAM_ITERATIONS,
                stored_key: made_up("stored"),
                server_key: made_up("server"),
            },
            None,
        ))
    }
}
