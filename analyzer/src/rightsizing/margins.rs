//! How much more than ever before the next run needs, told by all templates together.
//!
//! Every run of every template but its first is a trial of "ask for the most that was seen": it needed so many times as much. Grouped by how many
//! runs had been seen before, these excesses are what a template with as many runs has to expect, and their upper quantile is the
//! factor that keeps a promise: if a template's next run is exchangeable with those of the others, it exceeds the t-th
//! largest of N excesses with a probability of t / (N + 1) at most. No shape of a distribution is assumed and nothing is
//! extrapolated: this is split conformal prediction (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005).
//!
//! A template's own runs are left out of its factor: what it needed can then only raise what is advised for it. And a further run lowers its factor
//! by a twentieth at most, so that one which needs a twentieth more than all before does not lower what is advised by being one more.

use super::history::Observed;

/// Below this many bytes, excesses are about the same in bytes (libraries, buffers, how often was sampled); above, in proportion. An
/// excess is the ratio of both amounts with this added.
pub const SCALE_BYTES: u64 = 1 << 30;

/// A million: factors are counted in its parts.
pub const WHOLE_PPM: u64 = 1_000_000;

/// The larger amount over the smaller, each with [`SCALE_BYTES`] added, in millionths, rounded up.
fn excess_ppm(need: u64, before: u64) -> u64 {
    let ratio = u128::from(need) + u128::from(SCALE_BYTES);
    let whole = u128::from(before) + u128::from(SCALE_BYTES);
    u64::try_from((ratio * u128::from(WHOLE_PPM)).div_ceil(whole)).unwrap_or(u64::MAX)
}

/// `bytes` times a factor that was told of excesses, rounded up.
#[must_use]
pub fn times(bytes: u64, factor_ppm: u64) -> u64 {
    let whole = (u128::from(bytes) + u128::from(SCALE_BYTES)) * u128::from(factor_ppm);
    let scaled = whole.div_ceil(u128::from(WHOLE_PPM));
    u64::try_from(scaled.saturating_sub(u128::from(SCALE_BYTES))).unwrap_or(u64::MAX)
}

/// The class of a trial that so many runs came before: 1, 2 to 3, 4 to 7, ...
fn class(before: usize) -> usize {
    usize::try_from(before.max(1).ilog2()).unwrap_or(0)
}

/// What a factor falls to at most with one more run: a twentieth of what is left was taken off, rounded up.
fn fallen(factor_ppm: u64) -> u64 {
    (u128::from(factor_ppm) * 20)
        .div_ceil(21)
        .try_into()
        .unwrap_or(factor_ppm)
}

/// A factor and what it promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    pub factor_ppm: u64,
    /// How often in a million runs it is exceeded, at most.
    pub bound_ppm: u64,
    /// Whether that is what was asked for.
    pub is_calibrated: bool,
}

/// The excesses of all templates, by class, the largest first.
pub struct Margins {
    classes: Vec<Vec<(u64, usize)>>,
}

impl Margins {
    /// Of histories, each with what its runs needed.
    #[must_use]
    pub fn of(needs: &[Vec<u64>]) -> Self {
        let mut classes: Vec<Vec<(u64, usize)>> = Vec::new();
        for (number, runs) in needs.iter().enumerate() {
            let mut most = 0;
            for (before, need) in runs.iter().enumerate() {
                if before > 0 {
                    let class = class(before);
                    if classes.len() <= class {
                        classes.resize_with(class + 1, Vec::new);
                    }
                    classes[class].push((excess_ppm((*need).max(most), most), number));
                }
                most = most.max(*need);
            }
        }
        for excesses in &mut classes {
            excesses.sort_unstable_by(|a, b| b.cmp(a));
        }
        Self { classes }
    }

    /// The factor for a history that has so many runs, of which at most `part` in `whole` runs may need more: that of its class, or what that of
    /// fewer runs, from the `least` on that get any advice, has fallen to since.
    #[must_use]
    pub fn factor(&self, number: usize, runs: usize, least: usize, part: u64, whole: u64) -> Factor {
        let now = self.of_class(number, runs, class(runs), part, whole);
        let mut of_class = None;
        let mut factor_ppm = 0;
        for seen in least.min(runs)..=runs {
            let class = class(seen);
            let current = match of_class {
                Some((of, factor)) if of == class => factor,
                _ => self.of_class(number, runs, class, part, whole).factor_ppm,
            };
            of_class = Some((class, current));
            factor_ppm = current.max(fallen(factor_ppm));
        }
        Factor { factor_ppm, ..now }
    }

    /// The factor that excesses of a class tell. Where they are too few, those of fewer runs, which are no smaller, are taken too; where all
    /// are, the largest is.
    fn of_class(&self, number: usize, runs: usize, own: usize, part: u64, whole: u64) -> Factor {
        // How many excesses there are without the history's own.
        let mut trials = 0_u64;
        let mut lowest = own + 1;
        let mut rank = 0;
        for class in (0..=own).rev() {
            let all = self.classes.get(class).map_or(0, Vec::len);
            let mine = runs.min(1 << (class + 1)).saturating_sub(1 << class);
            trials += u64::try_from(all.saturating_sub(mine)).unwrap_or(0);
            lowest = class;
            rank = u64::try_from(u128::from(trials + 1) * u128::from(part) / u128::from(whole.max(1)))
                .unwrap_or(0);
            if rank > 0 {
                break;
            }
        }
        let is_calibrated = rank > 0;
        let rank = rank.max(1);
        let factor = self.largest(number, lowest..=own, rank);
        Factor {
            factor_ppm: factor.unwrap_or(WHOLE_PPM),
            bound_ppm: (rank * WHOLE_PPM).div_ceil(trials + 1),
            is_calibrated,
        }
    }

    /// The excess of a rank, from the largest on, in some classes and without a history's own.
    fn largest(&self, number: usize, classes: std::ops::RangeInclusive<usize>, rank: u64) -> Option<u64> {
        let mut heads: Vec<_> = classes
            .filter_map(|class| self.classes.get(class))
            .map(|excesses| {
                excesses
                    .iter()
                    .filter(move |(_, of)| *of != number)
                    .map(|(excess, _)| *excess)
                    .peekable()
            })
            .collect();
        let mut found = None;
        for _ in 0..rank {
            let mut next: Option<(u64, usize)> = None;
            for (place, head) in heads.iter_mut().enumerate() {
                if let Some(excess) = head.peek().copied() {
                    next = next.max(Some((excess, place)));
                }
            }
            let Some((excess, place)) = next else { break };
            heads[place].next();
            found = Some(excess);
        }
        found
    }
}

/// Which part of its pipeline's risk each history may take, in millionths: nine tenths by the time for which the attempts of a run held what they
/// asked for, since headroom costs most where it is held longest, and the last tenth in equal parts. Neither depends on what was
/// needed, and no further run of a template raises its time, so a template is never given a larger part for needing more. Failures of templates are added
/// up as if none fell together (Bonferroni).
#[must_use]
pub fn shares_ppm(observed: &Observed, needs: &[Vec<u64>], least_runs: usize) -> Vec<u64> {
    let most = observed.runs.iter().map(|run| run.pipeline).max().unwrap_or(0);
    let pipelines = usize::try_from(most).unwrap_or(0) + 1;
    let mut templates = vec![0_u128; pipelines];
    let mut held = vec![0_u128; pipelines];
    let each: Vec<Option<(usize, u128)>> = observed
        .histories
        .iter()
        .zip(needs)
        .map(|(history, runs)| {
            let pipeline = usize::try_from(observed.pipeline(history)?).ok()?;
            let ms = history.least_mean(least_runs, |run| {
                run.iter().map(|seen| u128::from(seen.held_ms())).sum()
            });
            if runs.is_empty() || pipeline >= pipelines {
                return None;
            }
            templates[pipeline] += 1;
            held[pipeline] += ms;
            Some((pipeline, ms))
        })
        .collect();
    each.into_iter()
        .map(|of| {
            of.map_or(0, |(pipeline, ms)| {
                let equal = 100_000 / templates[pipeline].max(1);
                let by_time = 900_000 * ms / held[pipeline].max(1);
                u64::try_from(equal + by_time).unwrap_or(0)
            })
        })
        .collect()
}
