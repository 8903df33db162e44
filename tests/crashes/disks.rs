//! Disks that are full, or may not be written: what cannot be kept is not taken for kept, and told again later.

use std::path::Path;

use super::Life;
use crate::harness::World;
use crate::live::known::assert_all_known_once;

/// Whether a folder can be given a small disk of its own here; said loudly where it cannot.
fn has_small_disks(folder: &Path) -> bool {
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=1m tmpfs \"$FOLDER\"")
        .env("FOLDER", folder);
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(
        std::env::var_os("PODLEDGER_REQUIRE_TOOLS").is_none(),
        "a small disk cannot be made: `unshare` (util-linux) with user namespaces is needed"
    );
    eprintln!("SKIPPED: a small disk cannot be made here");
    false
}

/// Lives first on a disk of its own that fails in some way, and then well; what it left is taken out of the disk.
fn lives_through(seed: u64, mebibytes: u32, trouble: &str, says: &str) {
    let (world, whole) = (World::new(), World::new());
    if !has_small_disks(world.folder.path()) {
        return;
    }
    let ended = Life::new(whole.folder.path(), seed).run(None);
    assert!(ended.status.success(), "{}", ended.said);

    let kept = World::new();
    let script = format!(
        "{trouble} && cp -r \"$FOLDER/.\" \"{}\"",
        kept.folder.path().display()
    );
    let ended = Life::new(world.folder.path(), seed).run_on_small_disk(mebibytes, &script);
    assert!(ended.status.success(), "{}", ended.said);
    assert!(ended.said.contains(says), "{}", ended.said);
    assert_all_known_once(&kept, &whole, trouble);
}

#[test]
fn a_full_disk_stops_collecting_and_with_room_it_goes_on() {
    // What fills the disk comes while nobody collects, and goes again.
    lives_through(
        41,
        64,
        "env PODLEDGER_CRASH_AT=committed:40 \"$0\" \"$@\"; head -c 100000000 /dev/zero > \"$FOLDER/ballast\"; \
         \"$0\" \"$@\" && exit 98; rm \"$FOLDER/ballast\"; \"$0\" \"$@\"",
        "No space left on device",
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_with_leave_it_goes_on() {
    lives_through(
        42,
        64,
        "env PODLEDGER_CRASH_AT=committed:40 \"$0\" \"$@\"; mount -o remount,ro \"$FOLDER\"; \
         \"$0\" \"$@\" && exit 98; mount -o remount,rw \"$FOLDER\"; \"$0\" \"$@\"",
        "intake.duckdb",
    );
}
