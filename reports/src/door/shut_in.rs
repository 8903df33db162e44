//! What a worker gives up before it reads the first query.

use std::io;
use std::path::Path;

use rlimit::Resource;

/// Limits this process for good: its address space, no files that grow, no core dumps; and, where the kernel can (Landlock, Linux 5.13), no files
/// but those below `published`, for reading, and no connections.
///
/// # Errors
/// Where a limit is refused. A kernel without Landlock is none: DuckDB itself opens nothing else.
pub fn shut_in(published: &Path, process_bytes: u64) -> io::Result<()> {
    Resource::AS.set(process_bytes, process_bytes)?;
    Resource::FSIZE.set(0, 0)?;
    Resource::CORE.set(0, 0)?;
    confine(published)
}

#[cfg(target_os = "linux")]
fn confine(published: &Path) -> io::Result<()> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _,
    };
    let abi = ABI::V5;
    let confined = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .create()?;
        let folder = PathFd::new(published)?;
        rules
            .add_rule(PathBeneath::new(folder, AccessFs::from_read(abi)))?
            .restrict_self()?;
        Ok(())
    };
    confined().map_err(io::Error::other)
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Path) -> io::Result<()> {
    Ok(())
}
