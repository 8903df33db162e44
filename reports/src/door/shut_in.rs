//! What a worker gives up before it reads the first query.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use rlimit::{INFINITY, Resource};

use super::wire::Kernel;

/// Files that may be open at once: those of a snapshot are, while a query reads them all.
const OPEN_FILES: u64 = 256;

/// Ticks of `/proc/self/stat` in a second: `USER_HZ`, which is 100 for programs on all machines that Linux is built for.
const TICKS_PER_SECOND: u64 = 100;

/// A process that has shut itself in.
#[derive(Debug)]
pub struct ShutIn {
    /// What the kernel holds it to, beside limits.
    pub kernel: Kernel,
    /// Where the kernel says how much processor time was taken; it was opened before nothing could be any more.
    taken: Option<File>,
}

/// Limits this process for good: its address space, its open files, no files that grow, no core dumps; and, where the kernel can (Landlock,
/// Linux 5.13), no files but those below `published`, for reading, nothing to run, and no connections.
///
/// # Errors
/// Where a limit is refused, the folder cannot be opened, or there are more threads than this one: those would have given up nothing. A kernel without
/// Landlock is none: DuckDB itself opens nothing else.
pub fn shut_in(published: &Path, process_bytes: u64) -> io::Result<ShutIn> {
    let mut taken = File::open("/proc/self/stat").ok();
    if let Some(taken) = &mut taken
        && threads_of(&read(taken)?) != Some(1)
    {
        return Err(io::Error::other("the process has more threads than one"));
    }
    // What is mapped by now (the allocator keeps a GiB for later) is not the query's.
    let process_bytes = process_bytes.saturating_add(mapped_bytes().unwrap_or(0));
    Resource::AS.set(process_bytes, process_bytes)?;
    Resource::NOFILE.set(OPEN_FILES, OPEN_FILES)?;
    Resource::FSIZE.set(0, 0)?;
    Resource::CORE.set(0, 0)?;
    Ok(ShutIn {
        kernel: confine(published)?,
        taken,
    })
}

impl ShutIn {
    /// Lets the process take so much more processor time, and end when it has: for the case that nobody is left who would end it.
    ///
    /// # Errors
    /// Where the limit is refused.
    pub fn allow_seconds(&mut self, seconds: u64) -> io::Result<()> {
        let Some(taken) = &mut self.taken else {
            return Ok(());
        };
        let ticks = ticks_of(&read(taken)?).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let soft = ticks.div_ceil(TICKS_PER_SECOND).saturating_add(seconds);
        let (_, hard) = Resource::CPU.get()?;
        Resource::CPU.set(if hard == INFINITY { soft } else { soft.min(hard) }, hard)
    }

    /// Lets the process start no other, and no thread beside those that it has. The system holds nobody to this who may do everything (`root`).
    ///
    /// # Errors
    /// Where the limit is refused.
    pub fn start_nothing_more(&self) -> io::Result<()> {
        Resource::NPROC.set(0, 0)
    }
}

fn read(stat: &mut File) -> io::Result<String> {
    let mut text = String::new();
    stat.rewind()?;
    stat.read_to_string(&mut text)?;
    Ok(text)
}

/// Bytes of address space that this process has: the first number of `/proc/self/statm`, in pages of 4 KiB (larger pages are told as fewer, which allows less).
fn mapped_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    pages.checked_mul(4_096)
}

/// Threads of a process, of `/proc/PID/stat`: the 20th field.
fn threads_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// Processor time of a process in ticks, of `/proc/PID/stat`: `utime` and `stime`, the 14th and 15th field (`proc_pid_stat(5)`). The second is a
/// name in brackets, in which anything may stand.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

#[cfg(target_os = "linux")]
fn confine(published: &Path) -> io::Result<Kernel> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    };
    let abi = ABI::V6;
    let folder = PathFd::new(published).map_err(io::Error::other)?;
    let confined = || -> Result<RulesetStatus, RulesetError> {
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rule(PathBeneath::new(folder, AccessFs::ReadFile | AccessFs::ReadDir))?
            .restrict_self()?;
        Ok(status.ruleset)
    };
    Ok(match confined().map_err(io::Error::other)? {
        RulesetStatus::FullyEnforced => Kernel::Confines,
        RulesetStatus::PartiallyEnforced => Kernel::ConfinesInPart,
        RulesetStatus::NotEnforced => Kernel::CannotConfine,
    })
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Path) -> io::Result<Kernel> {
    Ok(Kernel::CannotConfine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_how_much_was_taken() {
        let stat = "7 (a) b) c (d) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(threads_of(stat), Some(3));
        assert_eq!(ticks_of("7 (a) R 1 2"), None);
        assert_eq!(ticks_of(""), None);
    }
}
