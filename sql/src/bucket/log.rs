//! What a log says of an origin: which segments it has, entry by entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Fact;
use crate::lake::Segment;

/// The version of logs that this podledger writes and understands.
pub(super) const FORMAT: u32 = 1;

/// A segment as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub bytes: u64,
    pub sha256: String,
}

/// Segments by their names: `pod_states/recorded_date=2026-11-16/000000000001-000000000017`.
pub(super) type Objects = BTreeMap<String, Object>;

/// What one push added and removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub format: u32,
    /// Of an origin the first is 1; there are no holes.
    pub number: u64,
    pub adds: Objects,
    pub removes: Vec<String>,
}

/// All that an origin has after so many entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub format: u32,
    pub number: u64,
    pub segments: Objects,
}

impl State {
    /// Goes on by the next entry; those before it have no effect.
    pub fn apply(&mut self, entry: &Entry) {
        if entry.number != self.number + 1 {
            return;
        }
        self.number = entry.number;
        for name in &entry.removes {
            self.segments.remove(name);
        }
        let adds = entry.adds.iter();
        self.segments
            .extend(adds.map(|(name, object)| (name.clone(), object.clone())));
    }
}

/// The name of a segment, whoever has it.
pub(super) fn name_of(segment: &Segment) -> String {
    let numbers = if segment.first_seq == segment.last_seq {
        format!("{:012}", segment.first_seq)
    } else {
        format!("{:012}-{:012}", segment.first_seq, segment.last_seq)
    };
    format!(
        "{}/recorded_date={}/{numbers}",
        segment.table, segment.recorded_date
    )
}

/// Where a lake has the segment of that name of an origin; `None` for a table that this version does not know, and for what is no name
/// of a segment.
pub(super) fn file_of(origin: &str, name: &str) -> Option<String> {
    let mut parts = name.split('/');
    let (table, folder, numbers) = (parts.next()?, parts.next()?, parts.next()?);
    let date: jiff::civil::Date = folder.strip_prefix("recorded_date=")?.parse().ok()?;
    let are_numbers = numbers.split('-').count() <= 2
        && numbers
            .split('-')
            .all(|number| number.len() == 12 && number.bytes().all(|byte| byte.is_ascii_digit()));
    let is_one = Fact::named(table).is_some() && are_numbers && parts.next().is_none();
    is_one.then(|| format!("{table}/recorded_date={date}/{origin}.{numbers}.parquet"))
}

/// Whether the segment of one name holds all of another's.
pub(super) fn contains(wide: &str, name: &str) -> bool {
    let parts = |name: &str| -> Option<(String, u64, u64)> {
        let (table, rest) = name.split_once('/')?;
        let numbers = rest.rsplit('/').next()?;
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Some((table.to_owned(), first.parse().ok()?, last.parse().ok()?))
    };
    match (parts(wide), parts(name)) {
        (Some(wide), Some(name)) => wide.0 == name.0 && wide.1 <= name.1 && name.2 <= wide.2,
        _ => false,
    }
}

/// Where a bucket has a segment.
pub(super) fn place_of(folder: &str, name: &str, object: &Object) -> String {
    let hash = object.sha256.get(..16).unwrap_or(&object.sha256);
    format!("lake/{folder}/{name}-{hash}.parquet")
}

/// Where the entries of an origin are.
pub(super) fn entries(folder: &str) -> String {
    format!("lake/{folder}/log")
}

pub(super) fn entry_place(folder: &str, number: u64) -> String {
    format!("{}/{number:012}.json", entries(folder))
}

pub(super) fn state_place(folder: &str, number: u64) -> String {
    format!("{}/{number:012}.state.json", entries(folder))
}

/// What an object of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Entry(u64),
    State(u64),
}

/// What an object of a log is, by its place; `None` for what podledger did not put there.
pub(super) fn told(place: &str) -> Option<Told> {
    let name = place.rsplit('/').next()?.strip_suffix(".json")?;
    match name.strip_suffix(".state") {
        Some(number) => Some(Told::State(number.parse().ok()?)),
        None => Some(Told::Entry(name.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        let day = "pod_states/recorded_date=2026-11-16";
        let good = format!("{day}/000000000001-000000000017");
        assert_eq!(
            file_of("c.a", &good),
            Some(format!("{day}/c.a.000000000001-000000000017.parquet"))
        );
        for bad in [
            format!("{day}/../../000000000001"),
            format!("{day}/17"),
            format!("{day}/000000000001-000000000002-000000000003"),
            "pod_states/recorded_date=../000000000001".to_owned(),
            "nothing/recorded_date=2026-11-16/000000000001".to_owned(),
            "/etc/passwd".to_owned(),
            String::new(),
        ] {
            assert_eq!(file_of("c.a", &bad), None, "{bad}");
        }
    }

    #[test]
    fn a_merged_segment_holds_what_it_was_made_of() {
        let of = |table: &str, numbers: &str| format!("{table}/recorded_date=2026-11-16/{numbers}");
        let wide = of("prices", "000000000003-000000000017");
        for (name, is_held) in [
            (of("prices", "000000000003"), true),
            (of("prices", "000000000004-000000000017"), true),
            (of("prices", "000000000018"), false),
            (of("prices", "000000000001-000000000005"), false),
            (of("machines", "000000000004"), false),
            ("else".to_owned(), false),
        ] {
            assert_eq!(contains(&wide, &name), is_held, "{name}");
        }
    }

    #[test]
    fn entries_are_taken_in_their_order_and_once() {
        let object = Object {
            bytes: 1,
            sha256: "0".repeat(64),
        };
        let entry = |number: u64, adds: &str, removes: &[&str]| Entry {
            format: FORMAT,
            number,
            adds: Objects::from([(adds.to_owned(), object.clone())]),
            removes: removes.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut state = State::default();
        for entry in [
            entry(2, "b", &[]),
            entry(1, "a", &[]),
            entry(2, "c", &["a"]),
            entry(2, "d", &["c"]),
        ] {
            state.apply(&entry);
        }
        assert_eq!(state.number, 2);
        assert_eq!(state.segments.into_keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!(told("lake/c.a/log/000000000042.json"), Some(Told::Entry(42)));
        assert_eq!(
            told("lake/c.a/log/000000000042.state.json"),
            Some(Told::State(42))
        );
        assert_eq!(told("lake/c.a/log/else.json"), None);
    }
}
