//! From the bucket to the lake.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::Bucket;
use super::kept::{Kept, KeptLog};
use super::log::{
    Entry, FORMAT, State, Told, entries, entry_place, file_of, name_of, place_of, state_place, told,
};
use crate::crash::{Point, point};
use crate::durable::{create_folder, rename};
use crate::error::{Error, Result};
use crate::lake::Lake;

/// How often an origin is read anew because its writer removed what had just been named: that is a day after it was replaced.
const TRIES: u32 = 3;

/// What a pull did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Origins that had something new.
    pub origins: usize,
    pub segments: usize,
    pub bytes: u64,
}

impl Bucket {
    /// Takes into the lake what other lakes put into the bucket, each origin in one commit.
    ///
    /// # Errors
    /// [`Error::Bucket`] where the bucket does not do what it is asked, [`Error::BucketDamaged`] where a log is not whole; what was taken
    /// until then is whole, and the next pull goes on. [`Error::Io`].
    pub fn pull(&self, lake: &Lake) -> Result<Pulled> {
        self.pull_some(lake, |_| true)
    }

    /// The same of the facts that collectors told of one cluster.
    ///
    /// # Errors
    /// Those of [`pull`](Self::pull).
    pub fn pull_cluster(&self, lake: &Lake, cluster: &str) -> Result<Pulled> {
        let cluster = crate::lake::encode(cluster);
        self.pull_some(lake, |origin| origin == cluster)
    }

    fn pull_some(&self, lake: &Lake, wanted: impl Fn(&str) -> bool) -> Result<Pulled> {
        let kept = Kept::of(lake, &self.url)?;
        let _lock = kept.lock("pull")?;
        let id = kept.lake_id()?;
        let mut pulled = Pulled::default();
        // Nobody else writes what other lakes wrote.
        let mut here: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for segment in lake.segments()? {
            let name = name_of(&segment);
            here.entry(segment.origin).or_default().insert(name);
        }
        for folder in self.folders("lake")? {
            let Some((origin, lake_id)) = folder.split_once('.') else {
                continue;
            };
            if lake_id != id && is_name(origin) && is_name(lake_id) && wanted(origin) {
                let names = here.remove(&folder).unwrap_or_default();
                self.pull_origin(lake, &kept, &folder, &names, &mut pulled)?;
            }
        }
        Ok(pulled)
    }

    fn pull_origin(
        &self,
        lake: &Lake,
        kept: &Kept,
        folder: &str,
        names: &BTreeSet<String>,
        pulled: &mut Pulled,
    ) -> Result<()> {
        let mut log = kept.log(folder)?;
        for _ in 0..TRIES {
            if !self.read_log(folder, &mut log)? {
                continue;
            }
            if log.state().number == 0 {
                // Its writer has not put anything yet, or not again: what is here stays.
                return Ok(());
            }
            let Some(taken) = self.take(lake, kept, folder, log.state(), names)? else {
                continue;
            };
            pulled.origins += usize::from(taken != Pulled::default());
            pulled.segments += taken.segments;
            pulled.bytes += taken.bytes;
            return Ok(());
        }
        Err(Error::BucketDamaged {
            object: self.title(&entries(folder)),
            reason: "names objects that are not there: restore them, or remove the folder of this origin and push it again from the lake that \
                     wrote it"
                .to_owned(),
        })
    }

    /// Reads how a log goes on; false where an entry is gone.
    pub(super) fn read_log(&self, folder: &str, log: &mut KeptLog) -> Result<bool> {
        let known = log.state().number;
        let after = entry_place(folder, known);
        let listed = self.list(&entries(folder), Some(&after))?;
        let (mut last, mut newest) = (known, known);
        for (place, _) in &listed {
            match told(place) {
                Some(Told::Entry(number)) => last = last.max(number),
                Some(Told::State(number)) => newest = newest.max(number),
                None => {}
            }
        }
        // Until then there is one object instead of many, of which the oldest may be gone.
        if newest > known {
            let place = state_place(folder, newest);
            let Some(text) = self.get(&place)? else {
                return Ok(false);
            };
            let state: State = self.parse(&place, &text)?;
            self.understand(&place, state.format)?;
            log.replace(state, None)?;
        }
        let places: Vec<String> = (newest + 1..=last)
            .map(|number| entry_place(folder, number))
            .collect();
        let texts = self.get_all(folder, &places)?;
        for (place, text) in places.iter().zip(texts) {
            let Some(text) = text else { return Ok(false) };
            let entry: Entry = self.parse(place, &text)?;
            self.understand(place, entry.format)?;
            log.append(&entry)?;
        }
        Ok(true)
    }

    /// Makes the lake's segments of an origin, which are those of `names`, the ones of a state, in one commit; `None` where one is gone.
    fn take(
        &self,
        lake: &Lake,
        kept: &Kept,
        folder: &str,
        state: &State,
        names: &BTreeSet<String>,
    ) -> Result<Option<Pulled>> {
        let removes: Vec<&String> = names
            .iter()
            .filter(|name| !state.segments.contains_key(*name))
            .collect();
        let adds: Vec<_> = state
            .segments
            .iter()
            .filter(|(name, _)| !names.contains(*name))
            // A newer podledger has tables that this one does not know.
            .filter_map(|(name, object)| Some((file_of(folder, name)?, name, object)))
            .collect();
        if adds.is_empty() && removes.is_empty() {
            return Ok(Some(Pulled::default()));
        }
        let downloads = kept.downloads();
        create_folder(&downloads)?;
        let wanted = adds
            .iter()
            .map(|(_, name, object)| {
                let file = downloads.join(format!("{}.parquet", object.sha256));
                (place_of(folder, name, object), file, (*object).clone())
            })
            .collect();
        if !self.download(wanted, folder, || point(Point::BucketSegmentTaken))? {
            return Ok(None);
        }
        let mut commit = lake.begin_encoded(folder.to_owned(), "pull", "pull", Date::ZERO)?;
        for (path, _, object) in &adds {
            let file = format!("{}.parquet", object.sha256);
            rename(&downloads.join(&file), &commit.folder().join(&file))?;
            commit.add(file, path.clone());
        }
        for name in removes {
            if let Some(path) = file_of(folder, name) {
                commit.remove(path);
            }
        }
        commit.publish()?;
        point(Point::BucketPulled);
        Ok(Some(Pulled {
            origins: 1,
            segments: adds.len(),
            bytes: adds.iter().map(|(_, _, object)| object.bytes).sum(),
        }))
    }

    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self, place: &str, text: &[u8]) -> Result<T> {
        serde_json::from_slice(text).map_err(|error| Error::BucketDamaged {
            object: self.title(place),
            reason: format!("cannot be read: {error}"),
        })
    }

    pub(super) fn written(&self, place: &str, value: &impl serde::Serialize) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|error| Error::BucketDamaged {
            object: self.title(place),
            reason: format!("cannot be written: {error}"),
        })
    }

    fn understand(&self, place: &str, format: u32) -> Result<()> {
        if format <= FORMAT {
            return Ok(());
        }
        Err(Error::BucketDamaged {
            object: self.title(place),
            reason: format!(
                "has format {format}, this podledger understands up to {FORMAT}: upgrade podledger"
            ),
        })
    }
}

/// Whether a part of a folder's name is one that a lake gives: others are not ours, and become no name of a file here.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'%'))
}
