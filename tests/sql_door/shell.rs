//! The shell, in a terminal of its own; and the command line against a server.

use std::process::Command;

use super::world;
use crate::harness::tool;

#[test]
fn the_shell_completes_remembers_and_pages() {
    let world = world();
    let Some(python) = tool("python3") else { return };
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql_door/shell.py"))
        .arg(env!("CARGO_BIN_EXE_podledger"))
        .arg(world.folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
