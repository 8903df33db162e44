//! Disks that are full, or may not be written: what cannot be kept is not taken for kept, and told again later.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::Life;
use super::building::{assert_done_by_the_next, built, given_pods, published, undisturbed};
use crate::harness::World;
use crate::live::costs::assert_costs;
use crate::live::known::assert_all_known_once;
use crate::live::start;

/// What goes wrong with a disk in the middle of a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    kind: Kind,
    /// Which folder the disk is, in that of the life.
    folder: String,
    from_minute: u64,
    to_minute: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// All but so much is taken by something else.
    Full {
        room_kibibytes: u64,
    },
    ReadOnly,
}

impl Trouble {
    /// Strikes while the process lives, between two of its steps, and passes.
    pub async fn strike(self, life: PathBuf, begun: Instant) {
        let folder = life.join(self.folder);
        // Commits and seals are due in whole minutes.
        let at = |minute: u64| begun + Duration::from_secs(60 * minute + 30);
        sleep_until(at(self.from_minute)).await;
        match self.kind {
            Kind::Full { room_kibibytes } => fill(&folder, room_kibibytes),
            Kind::ReadOnly => remount(&folder, "ro"),
        }
        sleep_until(at(self.to_minute)).await;
        match self.kind {
            Kind::Full { .. } => std::fs::remove_file(folder.join(BALLAST)).unwrap(),
            Kind::ReadOnly => remount(&folder, "rw"),
        }
    }
}

const BALLAST: &str = "ballast";

fn fill(folder: &Path, room_kibibytes: u64) {
    let mut ballast = File::create(folder.join(BALLAST)).unwrap();
    let full = loop {
        if let Err(error) = ballast.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let length = ballast.metadata().unwrap().len();
    ballast
        .set_len(length.saturating_sub(room_kibibytes << 10))
        .unwrap();
}

fn remount(folder: &Path, how: &str) {
    let mut command = Command::new("mount");
    command.arg("-o").arg(format!("remount,{how}")).arg(folder);
    assert!(command.status().unwrap().success());
}

/// A shell that has a small disk of its own in the place of a folder, and runs some commands.
pub fn on_small_disk(folder: &Path, mebibytes: u32, then: &str) -> Command {
    let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$FOLDER\" || exit 99; {then}");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .env("FOLDER", folder);
    command
}

/// Whether a folder can be given a small disk of its own here; said loudly where it cannot.
fn has_small_disks() -> bool {
    let folder = tempfile::tempdir().unwrap();
    if on_small_disk(folder.path(), 1, "true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return true;
    }
    assert!(
        std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
        "a small disk cannot be made: `unshare` (util-linux) with user namespaces is needed"
    );
    eprintln!("SKIPPED: a small disk cannot be made here");
    false
}

fn is_soak() -> bool {
    std::env::var_os("PODLEDGER_SOAK").is_some()
}

/// The same life on a disk that is large enough.
fn undisturbed_life(seed: u64) -> World {
    let whole = World::new();
    let ended = Life::new(whole.folder.path(), seed).run(None);
    assert!(ended.status.success(), "{}", ended.said);
    whole
}

/// Lives on a disk of its own that fails in some way; what it left is taken out of the disk.
fn lives_through(whole: &World, seed: u64, trouble: Option<Trouble>, script: &str, says: &[&str]) -> World {
    let (world, kept) = (World::new(), World::new());
    let script = format!(
        "{script} && cp -r \"$FOLDER/.\" \"{}\"",
        kept.folder.path().display()
    );
    let after = format!("{trouble:?}: {script}");
    let life = Life {
        trouble,
        ..Life::new(world.folder.path(), seed)
    };
    let ended = life.run_on_small_disk(64, &script);
    assert!(ended.status.success(), "{}", ended.said);
    for says in says {
        assert!(ended.said.contains(says), "{after}: {}", ended.said);
    }
    assert_all_known_once(&kept, whole, &after);
    kept
}

#[test]
fn a_full_disk_stops_collecting_and_with_room_it_goes_on() {
    // What fills the disk comes while nobody collects, and goes again.
    if has_small_disks() {
        lives_through(
            &undisturbed_life(41),
            41,
            None,
            "env PODLEDGER_CRASH_AT=committed:40 \"$0\" \"$@\"; head -c 100000000 /dev/zero > \"$FOLDER/ballast\"; \
             \"$0\" \"$@\" && exit 98; rm \"$FOLDER/ballast\"; \"$0\" \"$@\"",
            &["No space left on device"],
        );
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_with_leave_it_goes_on() {
    if has_small_disks() {
        lives_through(
            &undisturbed_life(42),
            42,
            None,
            "env PODLEDGER_CRASH_AT=committed:40 \"$0\" \"$@\"; mount -o remount,ro \"$FOLDER\"; \
             \"$0\" \"$@\" && exit 98; mount -o remount,rw \"$FOLDER\"; \"$0\" \"$@\"",
            &["intake.duckdb"],
        );
    }
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_life_is_tried_again_until_it_does_not() {
    if !has_small_disks() {
        return;
    }
    let whole = undisturbed_life(43);
    let trouble = |kind, folder: &str| {
        Some(Trouble {
            kind,
            folder: folder.to_owned(),
            from_minute: 183,
            to_minute: 263,
        })
    };
    let full = |room_kibibytes| Kind::Full { room_kibibytes };
    // Facts and what is known are committed every five minutes.
    let rooms: &[u64] = if is_soak() {
        &[0, 8, 16, 32, 64, 128, 256, 512]
    } else {
        &[0, 64]
    };
    for room in rooms {
        let kept = lives_through(
            &whole,
            43,
            trouble(full(*room), ""),
            "\"$0\" \"$@\"",
            &["collecting failed; trying again", "No space left on device"],
        );
        if is_soak() || *room == 0 {
            let until = start() + SignedDuration::from_hours(7);
            let costs = assert_costs(&kept, &whole, until, SignedDuration::ZERO, "a full disk");
            eprintln!("a full disk: {costs}");
        }
    }
    // Facts are sealed every hour, here into a disk of the lake's own.
    for (kind, says) in [
        (full(0), "No space left on device"),
        (full(24), "No space left on device"),
        (Kind::ReadOnly, "Read-only file system"),
    ] {
        lives_through(
            &whole,
            43,
            trouble(kind, "lake"),
            "mkdir \"$FOLDER/lake\" && mount -t tmpfs -o size=64m tmpfs \"$FOLDER/lake\" && \"$0\" \"$@\"",
            &["cannot seal facts into the lake; trying again", says],
        );
    }
}

/// Builds on a disk of its own, with the trouble that a shell makes before; what it left is taken out of the disk, without what
/// filled it.
fn builds_in_trouble(begun: &World, trouble: &str) -> (World, Output) {
    let (world, kept) = (World::new(), World::new());
    let script = format!(
        "mkdir \"$FOLDER/published\" && mount -t tmpfs -o size=16m tmpfs \"$FOLDER/published\" && cp -a \"$BEGUN/.\" \"$FOLDER\" || exit 97; \
         {trouble}; \"$PODLEDGER\" --data \"$FOLDER\" build; ended=$?; \
         rm -f \"$FOLDER/{BALLAST}\" \"$FOLDER/published/{BALLAST}\"; cp -a \"$FOLDER/.\" \"$KEPT\" || exit 96; exit $ended"
    );
    let output = on_small_disk(world.folder.path(), 64, &script)
        .env("BEGUN", begun.folder.path())
        .env("KEPT", kept.folder.path())
        .env("PODLEDGER", env!("CARGO_BIN_EXE_podledger"))
        .output()
        .unwrap();
    (kept, output)
}

/// Fills a disk but for so many KiB.
fn filled(folder: &str, room_kibibytes: u32) -> String {
    format!(
        "cat /dev/zero > \"$FOLDER/{folder}{BALLAST}\" 2> /dev/null; truncate -s -{room_kibibytes}K \"$FOLDER/{folder}{BALLAST}\""
    )
}

#[test]
fn a_disk_that_fails_while_it_is_built_or_published_is_named_and_the_next_build_does_it() {
    if !has_small_disks() {
        return;
    }
    let begun = built();
    let before = published(&begun);
    given_pods(&begun, 1, 5);
    let (whole, shown) = undisturbed(&begun);
    let rooms = |few: &[u32], many: &[u32]| if is_soak() { many.to_vec() } else { few.to_vec() };
    let mut cases = Vec::new();
    for room in rooms(&[0, 1024], &[0, 4, 64, 256, 512, 1024, 2048, 3072, 4096, 6144]) {
        cases.push((filled("", room), "ledger"));
    }
    for room in rooms(&[0, 96], &[0, 4, 16, 32, 64, 96, 128]) {
        cases.push((filled("published/", room), "published"));
    }
    cases.push((
        "mount -o remount,ro \"$FOLDER/published\"".to_owned(),
        "published",
    ));
    let mut failed = 0;
    for (trouble, names) in cases {
        let (kept, output) = builds_in_trouble(&begun, &trouble);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("{trouble}: {:?}: {said}", output.status.code());
        if output.status.success() {
            continue;
        }
        failed += 1;
        assert_eq!(output.status.code(), Some(1), "{trouble}: {said}");
        assert!(said.contains(names), "{trouble}: {said}");
        assert_eq!(published(&kept), before, "{trouble}");
        assert_done_by_the_next(&kept, &whole, &shown, &trouble);
    }
    assert!(failed >= 5, "{failed} builds failed");
}
