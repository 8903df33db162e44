//! What a build left, for whoever reads Parquet: all marts of one build in one folder.
//!
//! ```text
//! published/current -> 00000042-5f3a9c21b0de/    the newest snapshot
//! published/00000042-5f3a9c21b0de/<mart>.parquet
//! published/00000042-5f3a9c21b0de/snapshot.json  which build it is of, and what is in it
//! ```
//!
//! A snapshot becomes current by one rename of a link, and is never changed after. Its files are a function of the ledger: rows are in
//! the order of their columns, so the same marts are the same bytes. The snapshot before is kept, for those who are still reading it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use duckdb::Connection;
use serde::{Deserialize, Serialize};

use crate::crash::{Point, point};
use crate::durable::{create_folder, folder_names, hash, private_file, rename, sync, write_parquet};
use crate::error::{Doing, Error, Result};
use crate::project::{Mart, Project};

/// The link to the newest snapshot.
const CURRENT: &str = "current";

/// What says what a snapshot is.
pub(crate) const MANIFEST: &str = "snapshot.json";

/// How folders end that are not snapshots yet.
const PARTIAL: &str = ".partial";

/// A folder of snapshots.
#[derive(Debug, Clone)]
pub struct Published {
    root: PathBuf,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of podledger that wrote it.
    pub podledger: String,
    /// Number of the build in its ledger.
    pub build_id: i64,
    /// SHA-256 of what the build was made of: facts, models and configuration.
    pub made_of: String,
    /// The contract of its marts, [`CONTRACT`]; 0 where it was published before there was one.
    #[serde(default)]
    pub contract: u32,
    /// Its marts, by name.
    pub marts: Vec<PublishedMart>,
}

/// The version of the marts' contract (`sql/contract.csv`): of one version no mart and no column goes away or changes its name, its type or its meaning;
/// new ones may come.
pub const CONTRACT: u32 = 1;

/// One mart of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedMart {
    pub name: String,
    pub description: String,
    /// The file's name, beside the manifest.
    pub file: String,
    pub rows: u64,
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    pub columns: Vec<PublishedColumn>,
}

/// One column of a mart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedColumn {
    pub name: String,
    /// The type in DuckDB.
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
}

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    /// A new snapshot is current.
    Done { folder: PathBuf, bytes: u64 },
    /// The current snapshot is of this build already.
    Unchanged { folder: PathBuf },
    /// Another process publishes just now.
    Busy,
}

impl Published {
    /// The snapshots in `root`, which need not be there yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Where the snapshots are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the newest snapshot, by its own name; `None` until something was published.
    ///
    /// # Errors
    /// [`Error::Io`] where the link cannot be read.
    pub fn current(&self) -> Result<Option<PathBuf>> {
        let link = self.root.join(CURRENT);
        match fs::read_link(&link) {
            Ok(name) => Ok(Some(self.root.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io {
                doing: "read the link",
                path: link,
                source,
            }),
        }
    }

    /// Makes the marts that `connection` shows the current snapshot. It must show one state for as long as this takes: that of a
    /// ledger that nobody builds.
    ///
    /// # Errors
    /// [`Error::DuckDb`] where nothing was built or a mart cannot be read, [`Error::Parquet`], [`Error::Io`]; the newest snapshot is
    /// then still current.
    pub fn publish(&self, connection: &Connection) -> Result<Publishing> {
        create_folder(&self.root)?;
        only_for_owner(&self.root)?;
        let Some(_lock) = self.try_lock()? else {
            return Ok(Publishing::Busy);
        };
        for name in folder_names(&self.root)? {
            if name.ends_with(PARTIAL) {
                remove_folder(&self.root.join(name))?;
            }
        }
        let (build_id, made_of) = made_of(connection)?;
        let before = self.current()?;
        if let Some(folder) = &before
            && manifest(folder)?.is_some_and(|manifest| manifest.made_of == made_of)
        {
            return Ok(Publishing::Unchanged {
                folder: folder.clone(),
            });
        }
        let short = made_of.get(..12).unwrap_or(&made_of);
        let folder = self.root.join(format!("{build_id:08}-{short}"));
        let bytes = if let Some(manifest) = manifest(&folder)? {
            // It was written, and the link was not set.
            manifest.marts.iter().map(|mart| mart.bytes).sum()
        } else {
            self.write(connection, &folder, build_id, made_of)?
        };
        point(Point::SnapshotRenamed);
        self.point_to(&folder)?;
        point(Point::SnapshotCurrent);
        for name in folder_names(&self.root)? {
            let old = self.root.join(name);
            if old != folder && Some(&old) != before.as_ref() {
                remove_folder(&old)?;
            }
        }
        Ok(Publishing::Done { folder, bytes })
    }

    fn write(&self, connection: &Connection, folder: &Path, build_id: i64, made_of: String) -> Result<u64> {
        let partial = folder.with_extension("partial");
        create_folder(&partial)?;
        only_for_owner(&partial)?;
        let project = Project::embedded()?;
        let mut marts = Vec::new();
        for mart in project.marts() {
            marts.push(write_mart(connection, mart, &partial)?);
        }
        let bytes = marts.iter().map(|mart| mart.bytes).sum();
        let manifest = Manifest {
            podledger: env!("CARGO_PKG_VERSION").to_owned(),
            build_id,
            made_of,
            contract: CONTRACT,
            marts,
        };
        let path = partial.join(MANIFEST);
        let doing = |source| Error::Io {
            doing: "write",
            path: path.clone(),
            source,
        };
        serde_json::to_writer_pretty(private_file(&path)?, &manifest)
            .map_err(io::Error::from)
            .map_err(doing)?;
        sync(&path)?;
        sync(&partial)?;
        point(Point::SnapshotWritten);
        rename(&partial, folder)?;
        Ok(bytes)
    }

    fn point_to(&self, folder: &Path) -> Result<()> {
        let new = self.root.join(format!("{CURRENT}{PARTIAL}"));
        let doing = |source| Error::Io {
            doing: "link the newest snapshot by",
            path: new.clone(),
            source,
        };
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(doing(error)),
            _ => {}
        }
        link(Path::new(folder.file_name().unwrap_or_default()), &new).map_err(doing)?;
        rename(&new, &self.root.join(CURRENT))
    }

    fn try_lock(&self) -> Result<Option<File>> {
        let path = self.root.join(".lock");
        let file = private_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(Error::Io {
                doing: "lock",
                path,
                source,
            }),
        }
    }
}

/// What a snapshot's folder says that it is; `None` where it is no snapshot.
///
/// # Errors
/// [`Error::Io`] where the manifest cannot be read, or is none.
pub fn manifest(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
    };
    text.map(Some).map_err(|source| Error::Io {
        doing: "read",
        path,
        source,
    })
}

/// Number of the last build, and a hash of what it was made of.
pub(crate) fn made_of(connection: &Connection) -> Result<(i64, String)> {
    connection
        .query_row(
            "select max(build_id), sha256(concat_ws(' ', ?, max_by(fingerprint, build_id), max_by(configuration, build_id), \
                 (select string_agg(concat_ws(' ', table_name, origin, last_seq), ', ' order by table_name, origin) from build.ingested))) \
             from build.builds having count(*) > 0",
            [env!("CARGO_PKG_VERSION")],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .doing("read the last build: run `podledger build` first")
}

fn write_mart(connection: &Connection, mart: Mart<'_>, folder: &Path) -> Result<PublishedMart> {
    let doing = || format!("publish {}", mart.name);
    let file = format!("{}.parquet", mart.name);
    let path = folder.join(&file);
    let columns = columns(connection, mart)?;
    let mut statement = connection
        .prepare(&format!("select * from marts.{} order by all", mart.name))
        .doing(doing())?;
    let stream = statement.stream_arrow([]).doing(doing())?;
    let schema = stream.get_schema();
    let batches = stream.map(|batch| batch.doing(doing()));
    let rows = write_parquet(&path, &schema, batches, Point::MartHalfWritten)?;
    let (sha256, bytes) = hash(&path)?;
    Ok(PublishedMart {
        name: mart.name.to_owned(),
        description: mart.description.to_owned(),
        file,
        rows,
        bytes,
        sha256,
        columns,
    })
}

fn columns(connection: &Connection, mart: Mart<'_>) -> Result<Vec<PublishedColumn>> {
    let doing = || format!("read the columns of {}", mart.name);
    let mut statement = connection
        .prepare(
            "select column_name, data_type from information_schema.columns \
             where table_catalog = current_database() and table_schema = 'marts' and table_name = ? order by ordinal_position",
        )
        .doing(doing())?;
    let rows = statement
        .query_map([mart.name], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .doing(doing())?;
    let mut columns = Vec::new();
    for row in rows {
        let (name, kind) = row.doing(doing())?;
        let described = mart.columns.iter().find(|column| column.name == name);
        columns.push(PublishedColumn {
            description: described.map_or_else(String::new, |column| column.description.clone()),
            name,
            kind,
        });
    }
    Ok(columns)
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|source| Error::Io {
        doing: "remove",
        path: path.to_path_buf(),
        source,
    })
}

pub(crate) fn only_for_owner(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(|source| {
        Error::Io {
            doing: "restrict access to",
            path: folder.to_path_buf(),
            source,
        }
    })?;
    Ok(())
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(to, at)
}
