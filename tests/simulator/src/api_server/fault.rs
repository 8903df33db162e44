//! What can be made to go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Failure;

/// Something that goes wrong with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing that happened until now can be asked for any more: watches cannot resume, pages of lists are gone.
    ForgetHistory,
    /// So many requests are answered with 429 and the header `Retry-After`.
    Throttle { requests: u32, retry_after_secs: u32 },
    /// So many requests are answered with 503.
    Unavailable { requests: u32 },
    /// So many requests are answered with 500.
    Broken { requests: u32 },
    /// So many requests for the next page of a list come too late: the rest can only be had as it is now.
    ForgetPages { requests: u32 },
    /// All watches end, as when the server restarts.
    CloseWatches,
    /// It starts anew: all watches end, it does not remember what happened, and is too busy for the first requests.
    Restart,
    /// Versions count on from half of what they had reached, as after the restore of an old backup; all watches end.
    RunBackwards,
    /// The next object that is written of a resource (`pods`) has a number where its labels should be, for all who read it,
    /// until it is written again.
    Malformed { resource: String },
    /// The next watch that has something to say breaks in the middle of its last line.
    CutLine,
    /// Watches tell at most so many bytes at a time, and then wait, until [`ApiServer::lift`](super::ApiServer::lift).
    Trickle { bytes: usize, every: Duration },
    /// Every open watch tells so many of the changes that it told last once more.
    Repeat { changes: usize },
    /// Watches stay open and say nothing until [`ApiServer::lift`](super::ApiServer::lift).
    Silence,
}

/// What is to go wrong yet.
#[derive(Debug, Default)]
pub(super) struct Faults {
    throttled: (u32, u32),
    unavailable: u32,
    broken: u32,
    forgotten_pages: u32,
    malformed: BTreeMap<String, u32>,
    pub is_line_cut: bool,
    pub is_silent: bool,
    pub trickle: Option<(usize, Duration)>,
    /// How often watches were to repeat themselves, and how many changes then.
    pub repeats: (u64, usize),
    /// How often all watches were closed.
    pub closings: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        match fault {
            Fault::Throttle {
                requests,
                retry_after_secs,
            } => self.throttled = (requests, retry_after_secs),
            Fault::Unavailable { requests } => self.unavailable = requests,
            Fault::Broken { requests } => self.broken = requests,
            Fault::Malformed { resource } => *self.malformed.entry(resource).or_default() += 1,
            Fault::CutLine => self.is_line_cut = true,
            Fault::Silence => self.is_silent = true,
            Fault::Trickle { bytes, every } => self.trickle = Some((bytes.max(1), every)),
            Fault::Repeat { changes } => self.repeats = (self.repeats.0 + 1, changes),
            Fault::Restart => {
                self.closings += 1;
                // As Kubernetes answers while its watch cache is empty.
                self.throttled = (3, 1);
            }
            Fault::CloseWatches | Fault::RunBackwards => self.closings += 1,
            Fault::ForgetPages { requests } => self.forgotten_pages = requests,
            Fault::ForgetHistory => {}
        }
    }

    /// Everything goes well again.
    pub(super) fn lift(&mut self) {
        *self = Self {
            closings: self.closings,
            repeats: self.repeats,
            ..Self::default()
        };
    }

    /// Whether this request is refused, whatever it asks.
    pub(super) fn refuse(&mut self) -> Option<Failure> {
        if self.unavailable > 0 {
            self.unavailable -= 1;
            return Some(Failure::unavailable());
        }
        if self.broken > 0 {
            self.broken -= 1;
            return Some(Failure::broken());
        }
        let (requests, retry_after_secs) = &mut self.throttled;
        if *requests > 0 {
            *requests -= 1;
            return Some(Failure::throttled(*retry_after_secs));
        }
        None
    }

    /// Whether this page comes too late.
    pub(super) fn take_forgotten_page(&mut self) -> bool {
        let is_forgotten = self.forgotten_pages > 0;
        self.forgotten_pages = self.forgotten_pages.saturating_sub(1);
        is_forgotten
    }

    pub(super) fn take_malformed(&mut self, plural: &str) -> bool {
        let Some(left) = self.malformed.get_mut(plural) else {
            return false;
        };
        *left -= 1;
        if *left == 0 {
            self.malformed.remove(plural);
        }
        true
    }
}
