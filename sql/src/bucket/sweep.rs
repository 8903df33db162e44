//! What nobody needs any more is removed from a bucket, a day after it was replaced: so long has who reads it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;

use super::Bucket;
use super::kept::KeptLog;
use super::log::{FORMAT, State, Told, entries, place_of, state_place, told};
use crate::crash::{Point, point};
use crate::error::Result;

/// How long what was replaced is kept, in seconds: a pull takes minutes.
const KEPT_SECONDS: i64 = 24 * 3600;

impl Bucket {
    /// Writes down all that an origin has, and removes what was replaced before the newest state that is a day old; returns how many
    /// objects went. The caller is the origin's writer, so nothing of it is on its way.
    ///
    /// Segments that were put since that state may be named by entries after it, and are left alone, as is what a push that failed
    /// left behind since.
    pub(super) fn sweep(&self, folder: &str, log: &mut KeptLog, now: Timestamp, day: Date) -> Result<usize> {
        let state = State {
            format: FORMAT,
            ..log.state().clone()
        };
        let there = self.list(&format!("lake/{folder}"), None)?;
        let place = state_place(folder, state.number);
        // One that is there is as old as it is.
        if !there.iter().any(|(name, _)| *name == place) {
            self.put(&place, self.written(&place, &state)?)?;
        }
        point(Point::BucketStatePut);
        let old = there.iter().rev().find_map(|(name, object)| {
            let Some(Told::State(number)) = told(name) else {
                return None;
            };
            let is_old = object.last_modified.timestamp() <= now.as_second() - KEPT_SECONDS;
            is_old.then_some((number, name, object.last_modified))
        });
        let mut removes = Vec::new();
        if let Some((number, name, put_at)) = old {
            let text = self.get(name)?.unwrap_or_default();
            let old: State = self.parse(name, &text)?;
            let needed: BTreeSet<String> = old
                .segments
                .iter()
                .chain(&state.segments)
                .map(|(name, object)| place_of(folder, name, object))
                .collect();
            let logs = format!("{}/", entries(folder));
            for (name, object) in &there {
                let is_past = match told(name).filter(|_| name.starts_with(&logs)) {
                    Some(Told::Entry(of)) => of <= number,
                    Some(Told::State(of)) => of < number,
                    None => {
                        name.ends_with(".parquet") && object.last_modified < put_at && !needed.contains(name)
                    }
                };
                if is_past {
                    removes.push(name.clone());
                }
            }
            self.delete(folder, &removes, || point(Point::BucketHalfSwept))?;
        }
        log.replace(state, Some(day))?;
        Ok(removes.len())
    }
}
