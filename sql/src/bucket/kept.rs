//! What a lake knows of a bucket, so that it need not ask again. All but what is about to be put can be asked again.
//!
//! ```text
//! .bucket/id                                 this lake's identifier
//! .bucket/<bucket>/<origin>.<lake>/state.json, log.jsonl    how far its log was read, or written
//! .bucket/<bucket>/<origin>.<lake>/putting.json             the entry that is about to be put
//! .bucket/<bucket>/downloads/                what is here and not yet in place
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::log::{Entry, State};
use crate::durable::{create_folder, hex, private_file, replace_file};
use crate::error::{Error, Result};
use crate::lake::Lake;

/// What a lake keeps of one bucket.
pub(super) struct Kept {
    all: PathBuf,
    of_bucket: PathBuf,
}

/// What it keeps of one log.
pub(super) struct KeptLog {
    folder: PathBuf,
    state: State,
    /// The entry that is about to be put.
    putting: Option<Entry>,
    /// The day on which the log was last swept.
    swept_on: Option<Date>,
}

#[derive(Default, Serialize, Deserialize)]
struct Written {
    state: State,
    swept_on: Option<Date>,
}

impl Kept {
    pub fn of(lake: &Lake, url: &str) -> Result<Self> {
        let all = lake.root().join(".bucket");
        let short: String = hex(&Sha256::digest(url)).chars().take(12).collect();
        let of_bucket = all.join(short);
        create_folder(&of_bucket.join("downloads"))?;
        Ok(Self { all, of_bucket })
    }

    /// The lock of those who push, or of those who pull, waited for: what they do is repeated by nobody.
    pub fn lock(&self, of: &str) -> Result<File> {
        let path = self.all.join(format!("{of}.lock"));
        let file = private_file(&path)?;
        file.lock().map_err(|source| Error::Io {
            doing: "lock",
            path,
            source,
        })?;
        Ok(file)
    }

    /// The lake's identifier, drawn when it is first asked for.
    pub fn lake_id(&self) -> Result<String> {
        let _lock = self.lock("id")?;
        let path = self.all.join("id");
        if let Some(id) = text(&path)? {
            return Ok(id);
        }
        let mut drawn = [0; 6];
        getrandom::fill(&mut drawn).map_err(|error| Error::Io {
            doing: "draw an identifier for",
            path: path.clone(),
            source: std::io::Error::other(error.to_string()),
        })?;
        let id = hex(&drawn);
        replace_file(&path, id.as_bytes())?;
        Ok(id)
    }

    pub fn downloads(&self) -> PathBuf {
        self.of_bucket.join("downloads")
    }

    pub fn log(&self, folder: &str) -> Result<KeptLog> {
        let folder = self.of_bucket.join(folder);
        create_folder(&folder)?;
        let Written { mut state, swept_on } = json(&folder.join("state.json"))?.unwrap_or_default();
        for line in text(&folder.join("log.jsonl"))?.unwrap_or_default().lines() {
            // A last line that is torn was never known to be written.
            if let Ok(entry) = serde_json::from_str(line) {
                state.apply(&entry);
            }
        }
        let putting: Option<Entry> = json(&folder.join("putting.json"))?;
        Ok(KeptLog {
            putting: putting.filter(|entry| entry.number > state.number),
            folder,
            state,
            swept_on,
        })
    }
}

impl KeptLog {
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn putting(&self) -> Option<&Entry> {
        self.putting.as_ref()
    }

    pub fn swept_on(&self) -> Option<Date> {
        self.swept_on
    }

    /// Notes what is about to be put.
    pub fn note(&mut self, entry: Entry) -> Result<()> {
        replace_file(&self.folder.join("putting.json"), &bytes(&entry)?)?;
        self.putting = Some(entry);
        Ok(())
    }

    /// Goes on by an entry that is in the bucket.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        let path = self.folder.join("log.jsonl");
        let doing = |source| Error::Io {
            doing: "write",
            path: path.clone(),
            source,
        };
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(doing)?;
        // A torn line before it ends here.
        let line = [b"\n".as_slice(), &bytes(entry)?, b"\n"].concat();
        file.write_all(&line).map_err(doing)?;
        file.sync_all().map_err(doing)?;
        self.state.apply(entry);
        Ok(())
    }

    /// What was noted is done.
    pub fn done(&mut self) -> Result<()> {
        self.putting = None;
        remove(&self.folder.join("putting.json"))
    }

    /// Takes a state as it is; the entries up to it are not needed any more.
    pub fn replace(&mut self, state: State, swept_on: Option<Date>) -> Result<()> {
        let written = Written { state, swept_on };
        replace_file(&self.folder.join("state.json"), &bytes(&written)?)?;
        remove(&self.folder.join("log.jsonl"))?;
        (self.state, self.swept_on) = (written.state, written.swept_on);
        Ok(())
    }
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Io {
        doing: "write",
        path: PathBuf::from("what a lake knows of a bucket"),
        source: error.into(),
    })
}

fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io {
            doing: "read",
            path: path.to_path_buf(),
            source,
        }),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::Io {
        doing: "read",
        path: path.to_path_buf(),
        source: error.into(),
    })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io {
            doing: "remove",
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}
