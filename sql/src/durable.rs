//! Files that outlive a power cut: written for their owner alone, flushed before they are named.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest as _, Sha256};

use crate::crash::{Point, point};
use crate::error::{Error, Result};

/// Rows per Parquet row group: DuckDB reads row groups in parallel and prefers about this many.
const ROW_GROUP_ROWS: usize = 122_880;

/// A new, empty file. What is stored carries names that may be secret, so files are for their owner only.
pub(crate) fn private_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| Error::Io {
        doing: "create",
        path: path.to_path_buf(),
        source,
    })
}

/// Makes a folder with all that it stands in.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io {
        doing: "create",
        path: path.to_path_buf(),
        source,
    })
}

/// Gives a file or folder another name, for good: the folder that holds it is flushed.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| Error::Io {
        doing: "rename",
        path: from.to_path_buf(),
        source,
    })?;
    match to.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// Flushes a file, or the entries of a folder, to the disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::Io {
            doing: "flush",
            path: path.to_path_buf(),
            source,
        })
}

/// Names of the folders in a folder, in order; none where there is no such folder.
pub(crate) fn folder_names(path: &Path) -> Result<Vec<String>> {
    names(path, true)
}

/// Names of the files in a folder, in order; none where there is no such folder.
pub(crate) fn file_names(path: &Path) -> Result<Vec<String>> {
    names(path, false)
}

fn names(path: &Path, folders: bool) -> Result<Vec<String>> {
    let doing = |source| Error::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    };
    let mut names = Vec::new();
    if !path.exists() {
        return Ok(names);
    }
    for entry in fs::read_dir(path).map_err(doing)? {
        let entry = entry.map_err(doing)?;
        if entry.file_type().map_err(doing)?.is_dir() == folders {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// SHA-256 and length of a file.
pub(crate) fn hash(path: &Path) -> Result<(String, u64)> {
    let doing = |source| Error::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(doing)?);
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        let read = file.fill_buf().map_err(doing)?;
        if read.is_empty() {
            break;
        }
        hasher.update(read);
        let length = read.len();
        bytes += length as u64;
        file.consume(length);
    }
    Ok((hex(&hasher.finalize()), bytes))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file of the owner's for good, in one step: there is the old one or the new one.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    private_file(&partial)?
        .write_all(contents)
        .map_err(|source| Error::Io {
            doing: "write",
            path: partial.clone(),
            source,
        })?;
    sync(&partial)?;
    rename(&partial, path)
}

/// Writes a Parquet file for good; passes `half_written` after every batch; returns the rows.
pub(crate) fn write_parquet(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    half_written: Point,
) -> Result<u64> {
    let doing = |source| Error::Parquet {
        doing: "write",
        path: path.to_path_buf(),
        source,
    };
    let file = private_file(path)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties)).map_err(doing)?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(doing)?;
        point(half_written);
    }
    writer.close().map_err(doing)?;
    sync(path)?;
    Ok(rows)
}
