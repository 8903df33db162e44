//! What is remembered of asking Cost Explorer, in `cost-explorer.json`: how many requests each month has cost, and which days were told.
//!
//! Requests are money, so each is counted on the disk before it is sent: a process that is killed may have counted one too many, and never
//! one too few.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Its name among the data.
const FILE: &str = "cost-explorer.json";

/// What a request costs, in hundredths of a dollar: <https://aws.amazon.com/aws-cost-management/aws-cost-explorer/pricing/>.
const REQUEST_CENTS: u32 = 1;

/// A number of requests in dollars.
#[must_use]
pub fn dollars(requests: u32) -> String {
    let cents = u64::from(requests) * u64::from(REQUEST_CENTS);
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// What was told of a UTC day, as far as that decides whether it is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Day {
    /// What was asked: groups, scope, billing account.
    pub question: String,
    /// What was told.
    pub answer: String,
    /// Whether AWS calls it final, not estimated.
    pub is_final: bool,
    /// The commit of the lake that has it.
    pub commit: String,
    pub told_at: Timestamp,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Kept {
    /// Requests by UTC month, `2026-11`.
    requests: BTreeMap<String, u32>,
    /// Days by source of the bill.
    days: BTreeMap<String, BTreeMap<Date, Day>>,
}

/// The file, held by this process alone.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    kept: Kept,
    _lock: File,
}

impl Book {
    /// Reads the book of the data in `folder`; an empty one where there is none.
    ///
    /// # Errors
    /// [`Error::Aws`] while another process asks; [`Error::Input`] for a damaged file; [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let lock_path = folder.join("cost-explorer.lock");
        let lock = File::create(&lock_path).map_err(|source| Error::Write {
            path: lock_path.clone(),
            source,
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::Aws {
                    asked: "Cost Explorer".to_owned(),
                    reason: format!(
                        "another process is asking for {}; wait until it is done",
                        folder.display()
                    ),
                });
            }
            Err(fs::TryLockError::Error(source)) => {
                return Err(Error::Write {
                    path: lock_path,
                    source,
                });
            }
        }
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::Input {
                path: path.clone(),
                reason: format!(
                    "is damaged, or of another version: {error}; move it away, and the count of this month's requests begins anew"
                ),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(source) => return Err(Error::Io { path, source }),
        };
        Ok(Self {
            path,
            kept,
            _lock: lock,
        })
    }

    /// Requests that a month has cost so far.
    pub fn requests(&self, month: &str) -> u32 {
        self.kept.requests.get(month).copied().unwrap_or(0)
    }

    /// Counts a request that is about to be sent.
    ///
    /// # Errors
    /// [`Error::Write`]: it must not be sent then.
    pub fn count(&mut self, month: &str) -> Result<()> {
        let count = self.kept.requests.entry(month.to_owned()).or_default();
        *count = count.saturating_add(1);
        self.save()
    }

    pub fn day(&self, source: &str, day: Date) -> Option<&Day> {
        self.kept.days.get(source)?.get(&day)
    }

    /// Remembers days.
    ///
    /// # Errors
    /// [`Error::Write`]: they will be asked for again.
    pub fn remember(&mut self, source: &str, days: impl IntoIterator<Item = (Date, Day)>) -> Result<()> {
        let of = self.kept.days.entry(source.to_owned()).or_default();
        of.extend(days);
        self.save()
    }

    fn save(&self) -> Result<()> {
        let write = |path: &Path, source| Error::Write {
            path: path.to_path_buf(),
            source,
        };
        let partial = self.path.with_extension("json.partial");
        let text = serde_json::to_vec_pretty(&self.kept)
            .map_err(|error| write(&self.path, std::io::Error::other(error)))?;
        let mut file = File::create(&partial).map_err(|source| write(&partial, source))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(|source| write(&partial, source))?;
        fs::rename(&partial, &self.path).map_err(|source| write(&self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_outlives_its_process_and_has_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        book.count("2026-11").unwrap();
        book.count("2026-11").unwrap();
        let held = Book::open(folder.path()).unwrap_err().to_string();
        assert!(held.contains("another process is asking"), "{held}");
        drop(book);
        let book = Book::open(folder.path()).unwrap();
        assert_eq!((book.requests("2026-11"), book.requests("2026-12")), (2, 0));
        drop(book);
        fs::write(folder.path().join(FILE), "{\"requests\": {").unwrap();
        let damaged = Book::open(folder.path()).unwrap_err().to_string();
        assert!(damaged.contains("move it away"), "{damaged}");
    }

    #[test]
    fn requests_are_told_in_dollars() {
        assert_eq!(dollars(7), "$0.07");
        assert_eq!(dollars(1234), "$12.34");
    }
}
