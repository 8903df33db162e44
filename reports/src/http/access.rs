//! Who may ask: bearer tokens, and sessions of browsers that showed one.
//!
//! Tokens are 256 random bits, so one round of SHA-256 hides them: there is nothing to guess. The file has hashes alone, is
//! readable by its owner alone, and is read again when it changes, so a revoked token ends at once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, gen_salted_password};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::snapshot::{Stamp, stamp};
use crate::display::hex;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read pages, tables and the API.
    Viewer,
    /// The same; ask questions of one's own, where that is served.
    Analyst,
    /// The same; read the server's own figures.
    Admin,
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "analyst" => Ok(Self::Analyst),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("`{text}` is no role: use viewer, analyst or admin")),
        }
    }
}

/// What can go wrong with tokens.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} can be read by others: `chmod 600 {path}`")]
    Mode { path: PathBuf },
    #[error("cannot read tokens of {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("there is a token `{name}` already; revoke it first")]
    Twice { name: String },
    #[error("there is no token `{name}`")]
    Unknown { name: String },
    #[error("`{name}` is no name of a token: use letters, digits, `-`, `_` and `.`, at most 64")]
    Name { name: String },
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// A token, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who or what uses it.
    pub name: String,
    pub role: Role,
    /// SHA-256 of the token, hexadecimal.
    pub sha256: String,
    /// What lets its user in by SCRAM-SHA-256, with the token as password; tokens of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    tokens: Vec<Token>,
}

/// Reads the tokens of a file; none where there is no file.
///
/// # Errors
/// [`AccessError`]; a file that others can read is refused.
pub fn read(path: &Path) -> Result<Vec<Token>, AccessError> {
    let failed = |source| AccessError::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        return Err(AccessError::Mode {
            path: path.to_path_buf(),
        });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let file: TokenFile = toml::from_str(&text).map_err(|error: toml::de::Error| AccessError::File {
        path: path.to_path_buf(),
        reason: error.message().to_owned(),
    })?;
    Ok(file.tokens)
}

/// Makes a token, adds its hash to the file, and returns it: it is told this once.
///
/// # Errors
/// [`AccessError`]; the file is then as it was.
pub fn create(path: &Path, name: &str, role: Role, created_at: String) -> Result<String, AccessError> {
    let is_name = (1..=64).contains(&name.len())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if !is_name {
        return Err(AccessError::Name {
            name: crate::display::short(name),
        });
    }
    let _lock = lock(path)?;
    let mut tokens = read(path)?;
    if tokens.iter().any(|token| token.name == name) {
        return Err(AccessError::Twice {
            name: name.to_owned(),
        });
    }
    let secret = format!("pl_{}", random()?);
    tokens.push(Token {
        name: name.to_owned(),
        role,
        sha256: hash(&secret),
        scram: Some(Verifier::of(&secret)?.to_string()),
        created_at,
    });
    write(path, tokens)?;
    Ok(secret)
}

/// Takes a token out of the file.
///
/// # Errors
/// [`AccessError`]; the file is then as it was.
pub fn revoke(path: &Path, name: &str) -> Result<(), AccessError> {
    let _lock = lock(path)?;
    let mut tokens = read(path)?;
    let many = tokens.len();
    tokens.retain(|token| token.name != name);
    if tokens.len() == many {
        return Err(AccessError::Unknown {
            name: crate::display::short(name),
        });
    }
    write(path, tokens)
}

/// Waits until nobody else changes the file: two that read it before either has written would lose a token, or keep one that was revoked.
fn lock(path: &Path) -> Result<File, AccessError> {
    let path = path.with_extension("toml.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let locked = private(&mut options).open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|source| AccessError::Io {
        doing: "lock",
        path,
        source,
    })
}

/// For the owner alone, where a file is made.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Writes the file whole or not at all; the caller holds its lock.
fn write(path: &Path, tokens: Vec<Token>) -> Result<(), AccessError> {
    let failed = |source| AccessError::Io {
        doing: "write",
        path: path.to_path_buf(),
        source,
    };
    let text = toml::to_string(&TokenFile { tokens }).map_err(|error| AccessError::File {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    let fresh = path.with_extension("toml.new");
    // One that was left behind may be readable by others, and opening it would not change that.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = private(&mut options).open(&fresh).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// 256 random bits, hexadecimal.
fn random() -> Result<String, AccessError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| AccessError::Random(error.to_string()))?;
    Ok(hex(&bytes))
}

/// Bytes of a verifier's salt: what PostgreSQL itself makes (`SCRAM_DEFAULT_SALT_LEN`).
pub(crate) const SALT_BYTES: usize = 16;

/// What is kept of a token to let its user in by SCRAM-SHA-256 (RFC 5802): the token does not follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    pub salt: Vec<u8>,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

/// As PostgreSQL writes it (`pg_authid.rolpassword`).
const VERIFIER: &str = "SCRAM-SHA-256$4096:";

impl Verifier {
    fn of(secret: &str) -> Result<Self, AccessError> {
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| AccessError::Random(error.to_string()))?;
        let salted = gen_salted_password(secret, &salt, SCRAM_ITERATIONS);
        match ScramSecret::verifier_from_salted_password(salt, salted, SCRAM_ITERATIONS) {
            ScramSecret::Verifier {
                salt,
                stored_key,
                server_key,
                ..
            } => Ok(Self {
                salt,
                stored_key,
                server_key,
            }),
            ScramSecret::SaltedPassword { .. } => Err(AccessError::Random("no verifier was made".to_owned())),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (salt, keys) = text.strip_prefix(VERIFIER)?.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            salt: STANDARD.decode(salt).ok()?,
            stored_key: STANDARD.decode(stored_key).ok()?,
            server_key: STANDARD.decode(server_key).ok()?,
        })
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(formatter, "{VERIFIER}{salt}${stored_key}:{server_key}")
    }
}

/// How long a browser stays signed in.
pub const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Sessions at most; the one that ends first makes room.
const MOST_SESSIONS: usize = 10_000;

struct Session {
    /// Hash of the token that it was begun with.
    token: String,
    until: Instant,
}

/// The file, as it was when it was last read.
#[derive(Default)]
struct Known {
    /// `None` if it was not there, or could not be read.
    stamp: Option<Stamp>,
    is_unreadable: bool,
    /// Roles by hash of the token: a hash tells nothing of others near it, so looking it up tells nothing either.
    roles: HashMap<String, Role>,
    /// Roles and verifiers by name.
    verifiers: HashMap<String, (Role, Verifier)>,
}

impl Known {
    /// Reads the file again, if it is not as it was.
    fn refresh(&mut self, path: &Path) {
        let now = stamp(path);
        if now.is_some() && self.stamp == now {
            return;
        }
        match read(path) {
            Ok(tokens) => {
                self.verifiers = tokens
                    .iter()
                    .filter_map(|token| {
                        let verifier = Verifier::read(token.scram.as_deref()?)?;
                        Some((token.name.clone(), (token.role, verifier)))
                    })
                    .collect();
                self.roles = tokens
                    .into_iter()
                    .map(|token| (token.sha256, token.role))
                    .collect();
                self.stamp = now;
                self.is_unreadable = false;
            }
            Err(error) => {
                // What cannot be read lets nobody in. It is tried again, and told once.
                if !self.is_unreadable {
                    tracing::error!(%error, "tokens cannot be read; nobody is let in");
                }
                self.roles = HashMap::new();
                self.verifiers = HashMap::new();
                self.stamp = None;
                self.is_unreadable = true;
            }
        }
    }
}

/// Who may ask, now.
pub struct Access {
    path: PathBuf,
    /// Once nobody is answered without a token, that stays so.
    is_closed: AtomicBool,
    known: Mutex<Known>,
    sessions: Mutex<HashMap<String, Session>>,
}

impl Access {
    /// By the tokens of a file. From the moment on when it has one, or if `is_closed`, nobody is answered without one, whatever becomes
    /// of the file.
    ///
    /// # Errors
    /// As [`read`].
    pub fn of(path: &Path, is_closed: bool) -> Result<Self, AccessError> {
        let is_used = !read(path)?.is_empty();
        Ok(Self {
            path: path.to_path_buf(),
            is_closed: AtomicBool::new(is_closed || is_used),
            known: Mutex::default(),
            sessions: Mutex::default(),
        })
    }

    /// Whether nobody is answered without a token: as soon as there is one, or the file cannot be read.
    pub fn is_required(&self) -> bool {
        if self.is_closed.load(Ordering::Acquire) {
            return true;
        }
        let known = self.known();
        let is_closed = known.is_unreadable || !known.roles.is_empty();
        if is_closed {
            self.is_closed.store(true, Ordering::Release);
        }
        is_closed
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh(&self.path);
        known
    }

    /// Whether there is a token.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.known().roles.is_empty()
    }

    /// Role and verifier of the token of that name.
    pub(crate) fn verifier_of(&self, name: &str) -> Option<(Role, Verifier)> {
        self.known().verifiers.get(name).cloned()
    }

    /// The role of a token.
    pub fn role_of(&self, secret: &str) -> Option<Role> {
        self.role_of_hash(&hash(secret))
    }

    fn role_of_hash(&self, hash: &str) -> Option<Role> {
        self.known().roles.get(hash).copied()
    }

    /// Begins a session with a token; returns what the browser shows from then on.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn sign_in(&self, secret: &str) -> Result<Option<String>, AccessError> {
        let token = hash(secret);
        if self.role_of_hash(&token).is_none() {
            return Ok(None);
        }
        let id = random()?;
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions
                .iter()
                .min_by_key(|(_, session)| session.until)
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                sessions.remove(&oldest);
            }
        }
        let session = Session {
            token,
            until: now + SESSION,
        };
        sessions.insert(hash(&id), session);
        Ok(Some(id))
    }

    /// The role of a session.
    pub fn role_of_session(&self, id: &str) -> Option<Role> {
        let token = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let session = sessions.get(&hash(id))?;
            (session.until > Instant::now()).then(|| session.token.clone())?
        };
        self.role_of_hash(&token)
    }

    /// Ends a session.
    pub fn sign_out(&self, id: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&hash(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_once_and_end_when_they_are_revoked() {
        let folder = std::env::temp_dir().join(format!("podledger-tokens-{}", random().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("tokens.toml");
        let access = Access::of(&path, true).unwrap();
        assert_eq!(access.role_of(""), None);
        let secret = create(&path, "ci", Role::Viewer, "2026-11-16T00:00:00Z".to_owned()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret) && text.contains(&hash(&secret)), "{text}");
        assert!(create(&path, "ci", Role::Admin, String::new()).is_err());
        assert!(create(&path, "../x", Role::Admin, String::new()).is_err());
        assert_eq!(access.role_of(&secret), Some(Role::Viewer));
        assert_eq!(access.role_of(&secret[..secret.len() - 1]), None);
        let session = access.sign_in(&secret).unwrap().unwrap();
        assert_eq!(access.role_of_session(&session), Some(Role::Viewer));
        assert_eq!(
            access.role_of_session(&secret),
            None,
            "a token is no session, nor the other way round"
        );
        assert_eq!(access.role_of(&session), None);
        revoke(&path, "ci").unwrap();
        assert_eq!(access.role_of(&secret), None);
        assert_eq!(access.role_of_session(&session), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(access.role_of(&secret), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_first_token_closes_what_was_open_for_good() {
        let folder = std::env::temp_dir().join(format!("podledger-tokens-{}", random().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("tokens.toml");
        let access = Access::of(&path, false).unwrap();
        assert!(!access.is_required());
        create(&path, "ci", Role::Viewer, String::new()).unwrap();
        assert!(access.is_required());
        revoke(&path, "ci").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(access.is_required(), "it stays closed");
        let other = Access::of(&path, false).unwrap();
        assert!(!other.is_required());
        std::fs::write(&path, "no tokens").unwrap();
        assert!(other.is_required(), "nobody knows who is let in");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn tokens_that_are_made_at_once_are_all_kept() {
        let folder = std::env::temp_dir().join(format!("podledger-tokens-{}", random().unwrap()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("tokens.toml");
        let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| create(&path, name, Role::Viewer, String::new()).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().len(), names.len());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_read_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("podledger-tokens-{}.toml", random().unwrap()));
        create(&path, "ci", Role::Viewer, String::new()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Of a write that was broken off, a file that anybody can read is left.
        let left = path.with_extension("toml.new");
        std::fs::write(&left, "").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        create(&path, "other", Role::Viewer, String::new()).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Access::of(&path, false), Err(AccessError::Mode { .. })));
        for made in [path.clone(), path.with_extension("toml.lock")] {
            std::fs::remove_file(&made).unwrap();
        }
    }
}
