//! Recordings of a watch: one change per line, with the time at which it was received.
//!
//! ```text
//! {"at": "2026-11-02T00:00:03.120Z", "type": "MODIFIED", "object": {"kind": "Pod", ...}}
//! ```
//!
//! `type` is `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK` (nothing changed until then). Lines of a folder's files follow each other by
//! the files' names; files may be gzip. They are read line by line, so a recording may be larger than memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use podledger_sql::lake::Lake;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::facts::{CollectionWatermark, Fact};
use crate::import::kubernetes::{Contents, Options, UNNAMED_CLUSTER, catalogue_of};
use crate::import::{Imported, write_facts};
use crate::index::{Index, Settings};
use crate::object::Object;
use crate::occupancy::Sight;

/// How many facts are held before they are written.
const HELD: usize = 200_000;

/// Among how many lines the namespace that names the cluster is looked for.
const HEAD: usize = 10_000;

#[derive(Deserialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(rename = "type", borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    kind: Cow<'a, str>,
}

/// Whether `path` is a recording: a folder, or a file whose first line has a time.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    if path.is_dir() {
        return true;
    }
    let Ok(mut reader) = open(path) else { return false };
    let mut line = String::new();
    reader.read_line(&mut line).is_ok() && serde_json::from_str::<Line<'_>>(&line).is_ok()
}

/// Reads a recording and writes its facts to the lake; the same recording is written once.
///
/// # Errors
/// [`Error::Input`] with file and line where a line is no change; [`Error::Io`], [`Error::Sql`]. Nothing is written then. An
/// object that cannot be read is left out and named in [`Contents::rejected`].
pub fn import(lake: &Lake, path: &Path, options: &Options) -> Result<(Imported, Contents)> {
    let files = files(path)?;
    let id = fingerprint(&files, options)?;
    let mut contents = Contents {
        cluster: match &options.cluster {
            Some(cluster) => cluster.clone(),
            None => cluster(&files)?.unwrap_or_else(|| UNNAMED_CLUSTER.to_owned()),
        },
        ..Contents::default()
    };
    if lake.is_committed("kubernetes", &id) {
        return Ok((Imported::Already, contents));
    }
    let note = format!("import kubernetes {}", path.display());
    let mut commit = lake.begin("kubernetes", &id, &note, options.recorded_date)?;
    let mut index = Index::new(Settings {
        annotations: options.annotations.clone(),
        ..Settings::new(contents.cluster.clone())
    });
    let mut written: Vec<(&'static str, u64)> = Vec::new();
    let mut facts: Vec<Fact> = Vec::new();
    let mut machines: Vec<Fact> = Vec::new();
    let mut observed_at = None;
    let mut write = |facts: &mut Vec<Fact>| -> Result<()> {
        for (table, rows) in write_facts(&mut commit, facts)? {
            match written.iter_mut().find(|(known, _)| *known == table) {
                Some((_, sum)) => *sum += rows,
                None => written.push((table, rows)),
            }
        }
        facts.clear();
        Ok(())
    };
    for file in &files {
        each_line(file, &mut |number, text| {
            let wrong = |reason: String| Error::Input {
                path: file.clone(),
                reason: format!("line {number}: {reason}"),
            };
            let line: Line<'_> = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if observed_at.is_some_and(|last| line.at < last) {
                return Err(wrong(format!("{} is before the line above it", line.at)));
            }
            observed_at = Some(line.at);
            if line.change == "BOOKMARK" {
                return Ok(true);
            }
            let head: Head<'_> =
                serde_json::from_str(line.object.get()).map_err(|error| wrong(error.to_string()))?;
            let seen = Sight {
                at: line.at,
                is_prompt: true,
            };
            let made = Object::from_json(&head.kind, line.object.get()).and_then(|object| {
                if line.change == "DELETED" {
                    index.delete(&object, seen)
                } else {
                    index.apply(&object, seen)
                }
            });
            match made {
                Ok(made) => {
                    *contents.objects.entry(head.kind.into_owned()).or_default() += 1;
                    machines.extend(
                        made.iter()
                            .filter(|fact| matches!(fact, Fact::Machine(_)))
                            .cloned(),
                    );
                    facts.extend(made);
                }
                Err(error) => contents.rejected.push(format!(
                    "{}, line {number} ({}): {error}",
                    file.display(),
                    head.kind
                )),
            }
            if facts.len() >= HELD {
                write(&mut facts)?;
            }
            Ok(true)
        })?;
    }
    let Some(observed_at) = observed_at else {
        return Err(Error::Input {
            path: path.to_path_buf(),
            reason: "records no change".to_owned(),
        });
    };
    contents.observed_at = Some(observed_at);
    facts.extend(index.tell_kept(observed_at));
    facts.push(
        CollectionWatermark {
            cluster: contents.cluster.clone(),
            observed_through_at: observed_at,
            observed_from_at: None,
        }
        .into(),
    );
    write(&mut facts)?;
    written.extend(catalogue_of(&mut commit, &machines, &mut contents)?);
    commit.publish()?;
    Ok((Imported::Written(written), contents))
}

/// The files of a recording in order.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) {
            files.push(file);
        }
    }
    files.sort_unstable();
    if files.is_empty() {
        return Err(Error::Input {
            path: path.to_path_buf(),
            reason: "has no file whose name ends in .jsonl or .jsonl.gz".to_owned(),
        });
    }
    Ok(files)
}

/// Identifies what is in the files and how it is read.
fn fingerprint(files: &[PathBuf], options: &Options) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        let io = |source| Error::Io {
            path: file.clone(),
            source,
        };
        let mut reader = BufReader::with_capacity(1 << 20, File::open(file).map_err(io)?);
        loop {
            let bytes = reader.fill_buf().map_err(io)?;
            let read = bytes.len();
            if read == 0 {
                break;
            }
            hash.update(bytes);
            reader.consume(read);
        }
    }
    hash.update(format!("{:?} {:?}", options.cluster, options.annotations));
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The UID of the namespace `kube-system`, if it is shown at the beginning.
fn cluster(files: &[PathBuf]) -> Result<Option<String>> {
    let (mut found, mut seen) = (None, 0);
    for file in files {
        each_line(file, &mut |_, text| {
            seen += 1;
            if text.contains("\"kube-system\"")
                && let Ok(line) = serde_json::from_str::<Line<'_>>(text)
                && let Ok(Object::Namespace(namespace)) = Object::from_json("Namespace", line.object.get())
                && namespace.metadata.name.as_deref() == Some("kube-system")
            {
                found = namespace.metadata.uid;
            }
            Ok(found.is_none() && seen < HEAD)
        })?;
        if found.is_some() || seen >= HEAD {
            break;
        }
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(io)?;
    let file = std::io::Cursor::new(magic.clone()).chain(file);
    Ok(if magic == [0x1f, 0x8b] {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::with_capacity(1 << 20, file))
    })
}

/// Hands out the lines of a file that are not empty, with their numbers, until `line` wants no more.
fn each_line(path: &Path, line: &mut dyn FnMut(u64, &str) -> Result<bool>) -> Result<()> {
    let mut reader = open(path)?;
    let mut text = String::new();
    let mut number = 0;
    loop {
        text.clear();
        number += 1;
        let read = reader.read_line(&mut text).map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        if read == 0 {
            return Ok(());
        }
        let trimmed = text.trim();
        if !trimmed.is_empty() && !line(number, trimmed)? {
            return Ok(());
        }
    }
}
