//! From the lake to the bucket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Bucket;
use super::kept::{Kept, KeptLog};
use super::log::{
    Entry, FORMAT, Object, Objects, State, Told, contains, entries, entry_place, name_of, place_of,
    state_place, told,
};
use crate::crash::{Point, point};
use crate::durable::hash;
use crate::error::{Error, Result};
use crate::lake::{Lake, is_of_another_lake};

/// How often a push begins again because the lake merged what it was about to put.
const TRIES: u32 = 5;

/// What a push did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Origins that had something new.
    pub origins: usize,
    pub segments: usize,
    pub bytes: u64,
    /// Objects that nobody needs any more and that were removed.
    pub removed: usize,
}

impl Bucket {
    /// Puts what the lake's own origins have and the bucket has not, completes what an earlier push began, and once a day (of `now`)
    /// sweeps what nobody needs any more. An origin whose log is damaged is left alone, and told when the others are done; one of whose
    /// log nothing is there any more, for the bucket was emptied, is put again.
    ///
    /// # Errors
    /// [`Error::Bucket`] where the bucket does not do what it is asked: the next push goes on. [`Error::BucketDamaged`] where another lake
    /// writes under the same name; [`Error::Io`].
    pub fn push(&self, lake: &Lake, now: Timestamp) -> Result<Pushed> {
        let kept = Kept::of(lake, &self.url)?;
        let _lock = kept.lock("push")?;
        let id = kept.lake_id()?;
        let mut pushed = Pushed::default();
        let mut damaged = None;
        for origin in own_origins(lake)? {
            match self.push_origin(lake, &kept, &format!("{origin}.{id}"), now, &mut pushed) {
                Ok(()) => {}
                Err(error @ Error::BucketDamaged { .. }) => damaged = damaged.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match damaged {
            Some(error) => Err(error),
            None => Ok(pushed),
        }
    }

    fn push_origin(
        &self,
        lake: &Lake,
        kept: &Kept,
        folder: &str,
        now: Timestamp,
        pushed: &mut Pushed,
    ) -> Result<()> {
        let mut log = kept.log(folder)?;
        let is_emptied = self.is_emptied(lake, folder, &log)?;
        if let Some(entry) = log.putting().cloned().filter(|_| !is_emptied) {
            self.finish(lake, folder, &mut log, &entry)?;
        }
        if log.state().number == 0 {
            // What was known of the bucket is lost, or it has another address now.
            self.read_log(folder, &mut log)?;
        }
        let mut tries = 1;
        loop {
            let put = if is_emptied {
                self.put_again(lake, folder, &mut log, pushed)
            } else {
                self.push_difference(lake, folder, &mut log, pushed)
            };
            match put {
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound && tries < TRIES => {
                    // It was merged with others meanwhile.
                    tries += 1;
                }
                done => break done?,
            }
        }
        let day: Date = now.to_zoned(TimeZone::UTC).date();
        if log.swept_on() != Some(day) && log.state().number > 0 {
            pushed.removed += self.sweep(folder, &mut log, now, day)?;
        }
        Ok(())
    }

    /// Whether nothing is left of a log of which something was put, or was about to be.
    ///
    /// # Errors
    /// [`Error::BucketDamaged`] where the log goes on beyond what this lake wrote: it is an older state of what did, or a copy.
    fn is_emptied(&self, lake: &Lake, folder: &str, log: &KeptLog) -> Result<bool> {
        let known = log.state().number;
        let reached = log.putting().map_or(known, |entry| entry.number);
        if reached == 0 {
            return Ok(false);
        }
        let mut is_there = false;
        let before = entry_place(folder, known.saturating_sub(1));
        for (place, _) in self.list(&entries(folder), Some(&before))? {
            if let Some(Told::Entry(number) | Told::State(number)) = told(&place) {
                if number > reached {
                    return Err(self.written_by_another(lake, &place));
                }
                is_there |= number == known;
            }
        }
        if known == 0 {
            // Of what was about to be put the segments are there, unless everything is gone.
            return Ok(self.list(&format!("lake/{folder}"), None)?.is_empty());
        }
        // A listing may lag behind.
        if is_there || self.get(&entry_place(folder, known))?.is_some() {
            return Ok(false);
        }
        Ok(self.list(&entries(folder), None)?.is_empty())
    }

    /// Puts all segments that the lake has now into a bucket that was emptied, and a state that stands for everything that was put before: who reads for the
    /// first time begins with it, and who knows what was there goes on with it.
    fn put_again(&self, lake: &Lake, folder: &str, log: &mut KeptLog, pushed: &mut Pushed) -> Result<()> {
        let known = log.state().number;
        let mut state = State {
            format: FORMAT,
            number: log.putting().map_or(known, |entry| entry.number) + 1,
            segments: Objects::new(),
        };
        let mut files = Vec::new();
        for segment in lake.settled(origin_of(folder))? {
            let (name, object) = (name_of(&segment), object_of(&segment.path)?);
            files.push((segment.path, place_of(folder, &name, &object)));
            state.segments.insert(name, object);
        }
        let held: Vec<&String> = state.segments.keys().collect();
        let before = log.state().segments.keys();
        let gone = before.filter(|name| !state.segments.contains_key(*name));
        self.check_held(lake, folder, gone, &held)?;
        self.upload_from_lake(folder, files)?;
        pushed.origins += 1;
        pushed.segments += state.segments.len();
        pushed.bytes += state.segments.values().map(|object| object.bytes).sum::<u64>();
        // Kept first: should it not be put, the bucket is still empty, and the next push begins again, under the next number.
        let place = state_place(folder, state.number);
        let text = self.written(&place, &state)?;
        log.replace(state, None)?;
        log.done()?;
        self.put(&place, text)?;
        tracing::warn!(
            bucket = self.url,
            folder,
            "the bucket was emptied; everything was put again"
        );
        Ok(())
    }

    /// That each segment which is gone is a part of one that the lake has.
    fn check_held<'a>(
        &self,
        lake: &Lake,
        folder: &str,
        mut gone: impl Iterator<Item = &'a String>,
        held: &[&String],
    ) -> Result<()> {
        let lost = gone.find(|name| !held.iter().any(|wide| contains(wide, name)));
        lost.map_or(Ok(()), |lost| {
            Err(Error::BucketDamaged {
                object: self.title(&format!("lake/{folder}/{lost}")),
                reason: format!(
                    "is not in this lake any more, and nothing was removed: restore the lake, or remove {}: what the bucket has is then \
                     taken as another lake's",
                    lake.root().join(".bucket").display()
                ),
            })
        })
    }

    fn push_difference(
        &self,
        lake: &Lake,
        folder: &str,
        log: &mut KeptLog,
        pushed: &mut Pushed,
    ) -> Result<()> {
        let known = &log.state().segments;
        let (mut adds, mut files) = (Objects::new(), Vec::new());
        let mut held = Vec::new();
        for segment in lake.settled(origin_of(folder))? {
            let name = name_of(&segment);
            if !known.contains_key(&name) {
                let object = object_of(&segment.path)?;
                files.push((segment.path.clone(), place_of(folder, &name, &object)));
                adds.insert(name.clone(), object);
            }
            held.push(name);
        }
        held.sort();
        let removes: Vec<String> = known
            .keys()
            .filter(|name| held.binary_search(name).is_err())
            .cloned()
            .collect();
        if adds.is_empty() && removes.is_empty() {
            return Ok(());
        }
        let held: Vec<&String> = held.iter().collect();
        self.check_held(lake, folder, removes.iter(), &held)?;
        let (segments, bytes) = (adds.len(), adds.values().map(|object| object.bytes).sum::<u64>());
        self.upload_from_lake(folder, files)?;
        let entry = Entry {
            format: FORMAT,
            number: log.state().number + 1,
            adds,
            removes,
        };
        log.note(entry.clone())?;
        point(Point::BucketPushNoted);
        self.finish(lake, folder, log, &entry)?;
        pushed.origins += 1;
        pushed.segments += segments;
        pushed.bytes += bytes;
        Ok(())
    }

    fn upload_from_lake(&self, folder: &str, files: Vec<(PathBuf, String)>) -> Result<()> {
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        if let Err(error) = self.upload(folder, files, || point(Point::BucketSegmentPut)) {
            // The store tells in its own words that a file is gone.
            paths.iter().try_for_each(|path| found(path))?;
            return Err(error);
        }
        Ok(())
    }

    /// Puts an entry whose segments are there. Done before, it changes nothing.
    fn finish(&self, lake: &Lake, folder: &str, log: &mut KeptLog, entry: &Entry) -> Result<()> {
        let place = entry_place(folder, entry.number);
        let text = self.written(&place, entry)?;
        if !self.create(&place, text.clone())? && self.get(&place)?.as_ref() != Some(&text) {
            return Err(self.written_by_another(lake, &place));
        }
        point(Point::BucketEntryPut);
        log.append(entry)?;
        point(Point::BucketEntryKept);
        log.done()
    }

    fn written_by_another(&self, lake: &Lake, place: &str) -> Error {
        Error::BucketDamaged {
            object: self.title(place),
            reason: format!(
                "is not what this lake wrote, and nothing was written over: a copy of this data directory writes to the bucket, or an \
                 older state of it was restored; let only one write, and remove {}: its facts are then pushed under a name of \
                 their own",
                lake.root().join(".bucket").display()
            ),
        }
    }
}

/// The origin of which a folder is.
fn origin_of(folder: &str) -> &str {
    folder.split_once('.').map_or(folder, |(origin, _)| origin)
}

fn object_of(path: &Path) -> Result<Object> {
    let (sha256, bytes) = hash(path)?;
    Ok(Object { bytes, sha256 })
}

/// Origins that this lake writes.
fn own_origins(lake: &Lake) -> Result<Vec<String>> {
    let mut origins: Vec<String> = lake
        .segments()?
        .into_iter()
        .map(|segment| segment.origin)
        .filter(|origin| !is_of_another_lake(origin))
        .collect();
    origins.sort();
    origins.dedup();
    Ok(origins)
}

fn found(path: &Path) -> Result<()> {
    std::fs::metadata(path).map(drop).map_err(|source| Error::Io {
        doing: "read",
        path: path.to_path_buf(),
        source,
    })
}
