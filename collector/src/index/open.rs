//! The pods that are there: those that something happened to lately as they are, all others packed.
//!
//! A pod that runs takes some four kilobytes as it is, and half of one packed: its facts say the same names and UIDs again and
//! again. Most pods of a large cluster just run.

use std::borrow::Cow;
use std::collections::HashMap;

use snap::raw::{Decoder, Encoder};

use super::pod::Known;

/// So many pods are held as they are, at most, before those are packed.
const UNPACKED: usize = 1024;

/// A pod at rest.
#[derive(Debug)]
struct Packed {
    /// The last list that showed it.
    list: u64,
    bytes: Box<[u8]>,
}

/// Pods by UID.
#[derive(Debug, Default)]
pub(super) struct OpenPods {
    unpacked: HashMap<String, Box<Known>>,
    packed: HashMap<String, Packed>,
}

impl OpenPods {
    pub(super) fn len(&self) -> usize {
        self.unpacked.len() + self.packed.len()
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.unpacked.contains_key(uid) || self.packed.contains_key(uid)
    }

    /// A pod, to read.
    pub(super) fn get(&self, uid: &str) -> Option<Cow<'_, Known>> {
        match self.unpacked.get(uid) {
            Some(known) => Some(Cow::Borrowed(known)),
            None => self
                .packed
                .get(uid)
                .and_then(unpack)
                .map(|known| Cow::Owned(*known)),
        }
    }

    /// A pod, to change or to read over and over.
    pub(super) fn get_mut(&mut self, uid: &str) -> Option<&mut Known> {
        if let Some(packed) = self.packed.remove(uid)
            && let Some(known) = unpack(&packed)
        {
            self.unpacked.insert(uid.to_owned(), known);
        }
        self.unpacked.get_mut(uid).map(AsMut::as_mut)
    }

    /// A pod; a new one if it is not there.
    pub(super) fn get_or_insert(&mut self, uid: &str, new: impl FnOnce() -> Known) -> &mut Known {
        if let Some(packed) = self.packed.remove(uid)
            && let Some(known) = unpack(&packed)
        {
            self.unpacked.insert(uid.to_owned(), known);
        }
        self.unpacked
            .entry(uid.to_owned())
            .or_insert_with(|| Box::new(new()))
    }

    pub(super) fn insert(&mut self, uid: &str, known: Box<Known>) {
        self.packed.remove(uid);
        self.unpacked.insert(uid.to_owned(), known);
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Box<Known>> {
        let packed = self.packed.remove(uid);
        self.unpacked
            .remove(uid)
            .or_else(|| packed.as_ref().and_then(unpack))
    }

    /// A list shows a pod, whatever it is like.
    pub(super) fn keep(&mut self, uid: &str, list: u64) {
        if let Some(known) = self.unpacked.get_mut(uid) {
            known.list = list;
        } else if let Some(packed) = self.packed.get_mut(uid) {
            packed.list = list;
        }
    }

    /// The UIDs of pods that were not shown since a list began, in order.
    pub(super) fn older_than(&self, list: u64) -> Vec<String> {
        let unpacked = self.unpacked.iter().map(|(uid, known)| (uid, known.list));
        let packed = self.packed.iter().map(|(uid, packed)| (uid, packed.list));
        let mut older: Vec<String> = unpacked
            .chain(packed)
            .filter(|(_, shown)| *shown < list)
            .map(|(uid, _)| uid.clone())
            .collect();
        older.sort_unstable();
        older
    }

    /// All pods, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = Cow<'_, Known>> {
        let packed = self.packed.values().filter_map(unpack);
        self.unpacked
            .values()
            .map(|known| Cow::Borrowed(known.as_ref()))
            .chain(packed.map(|known| Cow::Owned(*known)))
    }

    /// Packs what is not packed, if that is much.
    pub(super) fn pack(&mut self) {
        if self.unpacked.len() <= UNPACKED {
            return;
        }
        for (uid, known) in std::mem::take(&mut self.unpacked) {
            // What could not be unpacked again stays as it is, and takes more room.
            match pack(&known) {
                Some(packed) => drop(self.packed.insert(uid, packed)),
                None => drop(self.unpacked.insert(uid, known)),
            }
        }
    }
}

/// Packs a pod, if it can be unpacked again.
fn pack(known: &Known) -> Option<Packed> {
    let plain = postcard::to_allocvec(known).ok()?;
    let packed = Packed {
        list: known.list,
        bytes: Encoder::new().compress_vec(&plain).ok()?.into_boxed_slice(),
    };
    unpack(&packed).map(|_| packed)
}

/// What was packed here can be unpacked: [`pack`] has tried.
fn unpack(packed: &Packed) -> Option<Box<Known>> {
    match read(&packed.bytes) {
        Ok(mut known) => {
            known.list = packed.list;
            Some(Box::new(known))
        }
        Err(error) => {
            tracing::error!(%error, "a pod was lost when it was unpacked");
            None
        }
    }
}

fn read(bytes: &[u8]) -> Result<Known, Box<dyn std::error::Error>> {
    let plain = Decoder::new().decompress_vec(bytes)?;
    Ok(postcard::from_bytes(&plain)?)
}
