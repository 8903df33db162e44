//! Published snapshots in the bucket.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Bucket;
use crate::crash::{Point, point};
use crate::error::{Error, Result};
use crate::published::{MANIFEST, manifest};

/// The one object that is written over: it names the newest snapshot.
const CURRENT: &str = "published/current.json";

/// How long snapshots are kept beside the newest and the one before, in seconds: reading several marts of one takes minutes.
const KEPT_SECONDS: i64 = 3600;

/// What [`Bucket::publish`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// The snapshot is current in the bucket.
    Done { bytes: u64 },
    /// It was before.
    Unchanged,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    /// The folder's name.
    snapshot: String,
}

impl Bucket {
    /// Makes the snapshot in `folder` the current one in the bucket, and removes those that were an hour old at `now`.
    ///
    /// # Errors
    /// [`Error::Bucket`], [`Error::Io`]: the snapshot before is then still current, or both are whole.
    pub fn publish(&self, folder: &Path, now: Timestamp) -> Result<Upload> {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let before: Option<Current> = match self.get(CURRENT)? {
            Some(text) => Some(self.parse(CURRENT, &text)?),
            None => None,
        };
        if before.as_ref().is_some_and(|before| before.snapshot == name) {
            return Ok(Upload::Unchanged);
        }
        let Some(manifest) = manifest(folder)? else {
            return Err(Error::Io {
                doing: "read",
                path: folder.join(MANIFEST),
                source: std::io::ErrorKind::NotFound.into(),
            });
        };
        let at = |file: &str| (folder.join(file), format!("published/{name}/{file}"));
        let marts = manifest.marts.iter().map(|mart| at(&mart.file)).collect();
        self.upload("published", marts, || point(Point::BucketMartPut))?;
        self.upload("published", vec![at(MANIFEST)], || {})?;
        point(Point::BucketSnapshotPut);
        let current = Current { snapshot: name };
        let text = serde_json::to_vec(&current).map_err(|error| Error::BucketDamaged {
            object: self.title(CURRENT),
            reason: format!("cannot be written: {error}"),
        })?;
        self.put(CURRENT, text)?;
        point(Point::BucketSnapshotCurrent);
        self.remove_old(&current, before.as_ref(), now)?;
        Ok(Upload::Done {
            bytes: manifest.marts.iter().map(|mart| mart.bytes).sum(),
        })
    }

    fn remove_old(&self, current: &Current, before: Option<&Current>, now: Timestamp) -> Result<()> {
        let there = self.list("published", None)?;
        let snapshot = |name: &str| Some(name.strip_prefix("published/")?.split_once('/')?.0.to_owned());
        let mut removes = Vec::new();
        for of_one in there.chunk_by(|a, b| snapshot(&a.0) == snapshot(&b.0)) {
            let Some(name) = of_one.first().and_then(|(name, _)| snapshot(name)) else {
                continue;
            };
            let newest = of_one
                .iter()
                .map(|(_, object)| object.last_modified.timestamp())
                .max();
            let is_old = newest.is_some_and(|newest| newest <= now.as_second() - KEPT_SECONDS);
            if is_old && name != current.snapshot && before.is_none_or(|before| before.snapshot != name) {
                removes.extend(of_one.iter().map(|(name, _)| name.clone()));
            }
        }
        self.delete("published", &removes, || {})
    }
}
