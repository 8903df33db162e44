//! A bucket: what lakes in several places share, and where snapshots are published, in an object store.
//!
//! ```text
//! lake/<origin>.<lake>/log/000000000042.json          an entry: what a push added and removed
//! lake/<origin>.<lake>/log/000000000042.state.json    all that the origin has after so many entries
//! lake/<origin>.<lake>/<table>/recorded_date=2026-11-16/000000000017-5f3a9c21b0de0a11.parquet
//! published/00000042-5f3a9c21b0de/<mart>.parquet      a snapshot, with its snapshot.json
//! published/current.json                              names the newest one
//! ```
//!
//! DuckDB reads the lake on the disk; the bucket is what is told to others. A push is there with one object: the next entry of a log,
//! put where no object may be. Its segments are put before, under names that hold their hash, so whatever fails leaves objects that
//! nobody reads, and putting them again changes nothing. A listing says how far a log goes and which state is the newest, never which
//! segments there are: a stale one only means later, or at worst that everything is put again. A bucket that was emptied is filled again by a state whose
//! number is the next, which whoever knows the log goes on with.
//!
//! A log has one writer: the lake whose identifier is in its name. So nobody has to wait for a bucket in order to go on, and two
//! lakes with facts of one cluster tell the same facts twice, which changes nothing.

mod address;
mod kept;
mod log;
mod pull;
mod push;
mod snapshots;
mod sweep;

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    WriteMultipart,
};
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, Runtime};

pub use self::pull::Pulled;
pub use self::push::Pushed;
pub use self::snapshots::Upload;

use self::log::Object;
use crate::durable::{hex, private_file, sync};
use crate::error::{Error, Result};

/// How many objects are put or read at a time.
const AT_ONCE: usize = 8;

/// How much of a file is put at a time; what is no larger is one request.
const PART_BYTES: usize = 8 << 20;

/// How many parts of one file are on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// A place in an object store.
#[derive(Clone)]
pub struct Bucket {
    /// Its address, in which no secret can stand.
    url: String,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl fmt::Debug for Bucket {
    /// Its address alone: what the store would tell of itself may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Bucket").field(&self.url).finish()
    }
}

impl Bucket {
    /// The bucket at `url`: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`,
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX` or `file:///FOLDER`. Credentials and endpoints are those of the
    /// environment. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::BucketUrl`] for an address that is none, or one that holds more than an address.
    pub fn open(url: &str) -> Result<Self> {
        address::open(url, std::env::vars_os())
    }

    /// A bucket in a store of the caller's; `url` is what messages call it.
    #[must_use]
    pub fn over(url: &str, objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            url: url.to_owned(),
            objects,
            prefix,
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An object's place in the store. `path` is made of names that [`encode`](crate::lake::encode) made, or that were checked.
    fn place(&self, path: &str) -> Path {
        let whole = format!("{}/{path}", self.prefix);
        // Only a name with a control character or `..` is none, and there are none.
        Path::parse(&whole).unwrap_or_else(|_| Path::from(whole.as_str()))
    }

    /// What messages call an object.
    fn title(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// A name below the prefix.
    fn name(&self, of: &Path) -> String {
        let prefix = self.prefix.as_ref();
        let whole = of.as_ref();
        let below = whole.strip_prefix(prefix).unwrap_or(whole);
        below.trim_start_matches('/').to_owned()
    }

    fn failed(&self, doing: &'static str, path: &str, source: StoreError) -> Error {
        // What it says of itself has its causes in it already.
        let told = source.to_string();
        let is_nowhere = [
            "NoSuchBucket",
            "ContainerNotFound",
            "The specified bucket does not exist",
        ]
        .iter()
        .any(|words| told.contains(words));
        let mend = match &source {
            _ if is_nowhere => "is the name of the bucket right?",
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                "see docs/object-stores.md for the permissions that it takes, and where credentials are read from"
            }
            StoreError::NotFound { .. } => "is the name of the bucket right?",
            StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
                "an object store has to know conditional puts (If-None-Match)"
            }
            _ => "it can be tried again",
        };
        Error::Bucket {
            doing,
            object: self.title(path),
            mend,
            source: told.trim().replace('\n', " ").into(),
        }
    }

    /// Does work on the thread of all buckets, and waits for it: also where the caller is asynchronous itself.
    fn wait<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &str,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = mpsc::channel();
        runtime()?.spawn(async move {
            // Nobody waits any more: nothing is left to tell.
            let _ = sender.send(work.await);
        });
        let done = receiver.recv().unwrap_or_else(|_| {
            Err(StoreError::Generic {
                store: "bucket",
                source: "the request was interrupted".into(),
            })
        });
        done.map_err(|source| self.failed(doing, path, source))
    }

    /// Puts an object, whatever is there.
    fn put(&self, path: &str, contents: Vec<u8>) -> Result<()> {
        let (objects, place) = (Arc::clone(&self.objects), self.place(path));
        self.wait("put", path, async move {
            objects.put(&place, PutPayload::from(contents)).await.map(drop)
        })
    }

    /// Puts an object where there is none; whether there was none.
    fn create(&self, path: &str, contents: Vec<u8>) -> Result<bool> {
        let (objects, place) = (Arc::clone(&self.objects), self.place(path));
        self.wait("put", path, async move {
            let options = PutOptions::from(PutMode::Create);
            match objects
                .put_opts(&place, PutPayload::from(contents), options)
                .await
            {
                Ok(_) => Ok(true),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// An object's contents; `None` where there is none.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let (objects, place) = (Arc::clone(&self.objects), self.place(path));
        self.wait("read", path, async move { read(objects.as_ref(), &place).await })
    }

    /// The contents of several objects, in their order.
    fn get_all(&self, folder: &str, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let objects = Arc::clone(&self.objects);
        let places: Vec<Path> = paths.iter().map(|path| self.place(path)).collect();
        self.wait("read", folder, async move {
            futures::stream::iter(places)
                .map(|place| {
                    let objects = Arc::clone(&objects);
                    async move { read(objects.as_ref(), &place).await }
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await
        })
    }

    /// The objects of a folder, with their names below the prefix; those whose names come after `after`, if it is given.
    fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<(String, ObjectMeta)>> {
        let (objects, place) = (Arc::clone(&self.objects), self.place(folder));
        let after = after.map(|after| self.place(after));
        let found: Vec<ObjectMeta> = self.wait("list", folder, async move {
            let found = match after {
                Some(after) => objects.list_with_offset(Some(&place), &after),
                None => objects.list(Some(&place)),
            };
            found.try_collect().await
        })?;
        let mut found: Vec<(String, ObjectMeta)> = found
            .into_iter()
            .map(|object| (self.name(&object.location), object))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// Names of the folders in a folder.
    fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let (objects, place) = (Arc::clone(&self.objects), self.place(folder));
        let found = self.wait("list", folder, async move {
            objects.list_with_delimiter(Some(&place)).await
        })?;
        let mut names: Vec<String> = found
            .common_prefixes
            .iter()
            .filter_map(|place| Some(self.name(place).rsplit('/').next()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes objects; one that is gone already is as good.
    fn delete(&self, folder: &str, paths: &[String], removed: fn()) -> Result<()> {
        let objects = Arc::clone(&self.objects);
        let places: Vec<_> = paths.iter().map(|path| Ok(self.place(path))).collect();
        self.wait("remove objects of", folder, async move {
            let mut done = objects.delete_stream(futures::stream::iter(places).boxed());
            while let Some(gone) = done.next().await {
                match gone {
                    Ok(_) | Err(StoreError::NotFound { .. }) => removed(),
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    /// Puts files, whatever is there; `put` is called after each.
    fn upload(&self, folder: &str, files: Vec<(PathBuf, String)>, put: fn()) -> Result<()> {
        let objects = Arc::clone(&self.objects);
        let files: Vec<(PathBuf, Path)> = files
            .into_iter()
            .map(|(file, path)| (file, self.place(&path)))
            .collect();
        self.wait("put segments or marts into", folder, async move {
            futures::stream::iter(files)
                .map(|(file, place)| {
                    let objects = Arc::clone(&objects);
                    async move { upload(objects.as_ref(), &file, &place).await }
                })
                .buffer_unordered(AT_ONCE)
                .try_for_each(|()| async move {
                    put();
                    Ok(())
                })
                .await
        })
    }

    /// Brings objects into files, if they are what they are said to be; whether all were there. `taken` is called after each.
    fn download(&self, files: Vec<(String, PathBuf, Object)>, folder: &str, taken: fn()) -> Result<bool> {
        let objects = Arc::clone(&self.objects);
        let files: Vec<(Path, PathBuf, Object)> = files
            .into_iter()
            .map(|(path, file, object)| (self.place(&path), file, object))
            .collect();
        self.wait("read segments of", folder, async move {
            let all = futures::stream::iter(files)
                .map(|(place, file, object)| {
                    let objects = Arc::clone(&objects);
                    async move { download(objects.as_ref(), &place, &file, &object).await }
                })
                .buffer_unordered(AT_ONCE)
                .try_for_each(|()| async move {
                    taken();
                    Ok(())
                })
                .await;
            match all {
                Ok(()) => Ok(true),
                Err(StoreError::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}

/// The one thread on which buckets are asked.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("bucket")
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            doing: "start a thread for",
            path: PathBuf::from("the bucket"),
            source,
        })?;
    Ok(RUNTIME.get_or_init(|| made))
}

async fn read(objects: &dyn ObjectStore, place: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match objects.get(place).await {
        Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file's error in the words of the store.
fn of_file(file: &FilePath, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Generic {
        store: "file",
        source: format!("{}: {}", file.display(), source.into()).into(),
    }
}

async fn upload(objects: &dyn ObjectStore, file: &FilePath, place: &Path) -> Result<(), StoreError> {
    let failed = |source: std::io::Error| of_file(file, source);
    let mut from = File::open(file).map_err(failed)?;
    let mut next = move || {
        let mut part = Vec::new();
        let read = std::io::Read::by_ref(&mut from)
            .take(PART_BYTES as u64)
            .read_to_end(&mut part);
        read.map(|_| part)
    };
    let first = next().map_err(failed)?;
    if first.len() < PART_BYTES {
        return objects.put(place, PutPayload::from(first)).await.map(drop);
    }
    let upload = objects.put_multipart(place).await?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    let mut part = first;
    while !part.is_empty() {
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        upload.put(part.into());
        part = match next() {
            Ok(part) => part,
            Err(error) => {
                // Why it could not be read is what is told.
                let _ = upload.abort().await;
                return Err(failed(error));
            }
        };
    }
    upload.finish().await.map(drop)
}

/// A file that is there already has been checked: it has its name only since.
async fn download(
    objects: &dyn ObjectStore,
    place: &Path,
    file: &FilePath,
    expected: &Object,
) -> Result<(), StoreError> {
    if file.exists() {
        return Ok(());
    }
    let failed = |source: std::io::Error| of_file(file, source);
    let partial = file.with_extension("partial");
    let mut into = private_file(&partial).map_err(|error| of_file(&partial, error))?;
    let mut from = objects.get(place).await?.into_stream();
    let (mut hasher, mut bytes) = (Sha256::new(), 0_u64);
    while let Some(part) = from.try_next().await? {
        hasher.update(&part);
        bytes += part.len() as u64;
        into.write_all(&part).map_err(failed)?;
    }
    let sha256 = hex(&hasher.finalize());
    if (bytes, &sha256) != (expected.bytes, &expected.sha256) {
        return Err(StoreError::Generic {
            store: "bucket",
            source: format!(
                "{place} is not what its log says: {bytes} bytes with SHA-256 {sha256} for {} with {}",
                expected.bytes, expected.sha256
            )
            .into(),
        });
    }
    sync(&partial).map_err(|error| of_file(&partial, error))?;
    std::fs::rename(&partial, file).map_err(failed)
}
