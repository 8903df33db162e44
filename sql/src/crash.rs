//! Points between two steps that belong together. A test ends the process there, as a kill or a power cut would, and looks
//! at what the next process makes of it.
//!
//! `PODLEDGER_CRASH_AT=seal_noted` ends the process when it first comes there, `seal_noted:3` the third time, and `any:57`
//! at the 57th point of any kind. Nothing else reads the variable, and without it a point does nothing.

use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use strum::{EnumString, IntoStaticStr, VariantArray};

/// Where a process can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Point {
    /// Nothing of a batch is written to the intake.
    BeforeAppend,
    /// A batch is written and not committed.
    Appended,
    /// A batch is committed.
    Committed,
    /// The intake knows that it wants to seal, and the lake knows nothing.
    SealNoted,
    /// A segment is half written.
    SegmentHalfWritten,
    /// All of a commit to the lake is written, and nothing of it is visible.
    CommitWritten,
    /// A commit to the lake is there, and none of its files is in place.
    CommitRenamed,
    /// The first file of a commit to the lake is in place.
    CommitHalfMoved,
    /// All its files are in place, and it is not done.
    CommitMoved,
    /// It is done, and its folder is still there.
    CommitKept,
    /// The lake has what the intake has not forgotten yet.
    SealPublished,
    /// The intake has deleted what it sealed, and not committed that.
    SealHalfForgotten,
    /// The intake has forgotten what it sealed.
    SealForgotten,
    /// A merged segment is written.
    CompactionWritten,
    /// The merged segment is in place, and the first of those that it replaces is gone.
    CompactionHalfRemoved,
    /// The facts of a table are in the ledger, and not committed.
    Ingested,
    /// A build is done, and not committed.
    Built,
    /// A build is committed.
    BuildCommitted,
    /// A smaller copy of the ledger is written.
    LedgerCopied,
    /// The smaller copy has taken the ledger's place.
    LedgerReplaced,
    /// A mart of a snapshot is half written.
    MartHalfWritten,
    /// All of a snapshot is written, and it has no name.
    SnapshotWritten,
    /// A snapshot has its name, and the one before is current.
    SnapshotRenamed,
    /// A snapshot is current, and older ones are not removed.
    SnapshotCurrent,
    /// A segment of a push is in the bucket, and no entry names it.
    BucketSegmentPut,
    /// All segments of a push are in the bucket, and it is noted here which entry will name them.
    BucketPushNoted,
    /// The entry of a push is in the bucket, and not known here.
    BucketEntryPut,
    /// It is known here, and still noted as to be put.
    BucketEntryKept,
    /// The state of a log is in the bucket, and nothing older is removed.
    BucketStatePut,
    /// The first of what nobody needs is removed from a bucket.
    BucketHalfSwept,
    /// A segment of another lake is here, and not in place.
    BucketSegmentTaken,
    /// What another lake wrote is in place, and its log is not known here.
    BucketPulled,
    /// A mart of a snapshot is in the bucket.
    BucketMartPut,
    /// All of a snapshot is in the bucket, and the one before is current.
    BucketSnapshotPut,
    /// A snapshot in the bucket is current, and older ones are not removed.
    BucketSnapshotCurrent,
}

/// The variable that names a point.
pub const VARIABLE: &str = "PODLEDGER_CRASH_AT";

impl Point {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// How the variable calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What the variable asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// `None`: any.
    point: Option<Point>,
    pass: u64,
}

impl FromStr for Wanted {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
        let point = match name {
            "any" => None,
            name => Some(name.parse().map_err(|_| ())?),
        };
        let pass = pass.parse().map_err(|_| ())?;
        Ok(Self { point, pass })
    }
}

static WANTED: LazyLock<Option<Wanted>> = LazyLock::new(|| std::env::var(VARIABLE).ok()?.parse().ok());
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Ends the process here if it was asked to, without any of what a process does at its end.
pub fn point(at: Point) {
    let Some(wanted) = *WANTED else { return };
    if wanted.point.is_some_and(|point| point != at) {
        return;
    }
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == wanted.pass {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_found_by_its_name() {
        assert_eq!(Point::SegmentHalfWritten.name(), "segment_half_written");
        for point in Point::ALL {
            assert_eq!(
                format!("{}:7", point.name()).parse(),
                Ok(Wanted {
                    point: Some(*point),
                    pass: 7
                })
            );
        }
        assert_eq!("any:1".parse(), Ok(Wanted { point: None, pass: 1 }));
        assert_eq!("nowhere".parse::<Wanted>(), Err(()));
    }
}
