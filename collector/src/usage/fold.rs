//! From samples to hours: counters become integrals, gauges become averages and peaks, rates become shares of time.
//!
//! What a container has between two samples is exact for its counters and interpolated for its gauges. Memory is bounded by
//! the number of containers, not of samples.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rates::Rates;

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// More cores than any node has: a counter that says so is wrong.
pub const MOST_CORES: i64 = 4_096;

/// A container that began so long before it was first sampled is measured from then on: how what it had used before is
/// spread over the hours is not known.
const OLD: SignedDuration = SignedDuration::from_mins(10);
const OLD_MS: i64 = 600_000;

/// What a kubelet measured of a container at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub at: Timestamp,
    /// When the container started: its counter then was zero.
    pub started_at: Option<Timestamp>,
    /// Processor time since then.
    pub cpu_core_nanoseconds: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
}

/// Which container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub pod_uid: String,
    pub container_name: String,
}

/// What a container used in an hour, as far as it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hour {
    pub key: Key,
    pub hour_start_at: Timestamp,
    /// The first and the last instant of which something is known.
    pub measured_from_at: Timestamp,
    pub measured_to_at: Timestamp,
    pub cpu_usage_millicore_ms: i64,
    pub memory_usage_byte_ms: i128,
    /// The largest sample: a lower bound of the true peak.
    pub memory_peak_bytes: Option<i64>,
    /// How long the counter, and the gauge, are known.
    pub cpu_measured_ms: i64,
    pub memory_measured_ms: i64,
    pub samples: i64,
    /// As many as there would be if none had been missed.
    pub samples_expected: i64,
    /// Time at each rate, between samples that are near each other.
    pub rates: Rates,
    /// The largest of these rates.
    pub cpu_max_millicores: Option<i64>,
}

/// Where a container's counter stood when its last hour was told: whoever begins anew goes on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub cpu_core_nanoseconds: u64,
}

/// What has been counted besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Samples that told something new.
    pub samples: u64,
    /// Samples that tell of an instant that was told already, as kubelets do between two measurements.
    pub repeated: u64,
    /// Samples that go back in time, or show more than any node has.
    pub implausible: u64,
    /// Counters that began anew.
    pub resets: u64,
}

/// Folds samples of many containers.
#[derive(Debug)]
pub struct Fold {
    every: SignedDuration,
    /// How far samples may be apart for a gauge to be taken as known between them.
    longest_gap: SignedDuration,
    series: HashMap<Key, Series>,
    counts: Counts,
    told: Told,
}

/// What is done, and not yet taken.
#[derive(Debug, Default)]
struct Told {
    hours: Vec<Hour>,
    /// `None`: the container is gone.
    marks: BTreeMap<Key, Option<Mark>>,
    every_ms: i64,
}

#[derive(Debug)]
struct Series {
    last: Sample,
    heard_at: Timestamp,
    /// The last instant at which the counter is known.
    known: Option<Mark>,
    hour: Open,
    /// Until a second sample tells how memory went before the first.
    beginning: Option<Box<Beginning>>,
}

/// The time from a container's start to its first sample: memory is taken to have been what it was then, until it is known how it
/// grows.
#[derive(Debug)]
struct Beginning {
    started_ms: i64,
    /// The hour in which it started, where that is over, and where the counter stood at its end.
    earlier: Option<(Open, Option<Mark>)>,
}

/// The hour that is not over yet.
#[derive(Debug, Default)]
struct Open {
    /// In milliseconds since 1970, as all times here.
    start_ms: i64,
    /// Nothing is known yet where it lies after `to_ms`.
    from_ms: i64,
    to_ms: i64,
    cpu_nanoseconds: u128,
    memory_byte_ms: i128,
    memory_peak: Option<u64>,
    cpu_measured_ms: i64,
    memory_measured_ms: i64,
    samples: i64,
    rates: Rates,
    most_millicores: Option<u64>,
}

impl Fold {
    /// Samples are taken once in `every`; gauges are known between two that are at most three times as far apart.
    #[must_use]
    pub fn new(every: SignedDuration) -> Self {
        Self {
            every,
            longest_gap: every.saturating_mul(3),
            series: HashMap::new(),
            counts: Counts::default(),
            told: Told {
                every_ms: i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1),
                ..Told::default()
            },
        }
    }

    /// Goes on with a container where it was left; `now` is when.
    pub fn restore(&mut self, key: Key, mark: Mark, now: Timestamp) {
        let last = Sample {
            at: mark.at,
            started_at: mark.started_at,
            cpu_core_nanoseconds: Some(mark.cpu_core_nanoseconds),
            memory_working_set_bytes: None,
        };
        let series = Series {
            last,
            heard_at: now,
            known: Some(mark),
            hour: Open::at(mark.at),
            beginning: None,
        };
        self.series.insert(key, series);
    }

    /// Takes a sample in.
    pub fn sample(&mut self, key: &Key, sample: Sample) {
        let Some(series) = self.series.get_mut(key) else {
            let series = Series::new(sample);
            let from = series.last;
            let series = self.series.entry(key.clone()).or_insert(series);
            series.advance(
                key,
                from,
                sample,
                self.longest_gap,
                &mut self.counts,
                &mut self.told,
            );
            return;
        };
        series.heard_at = series.heard_at.max(sample.at);
        let last = series.last;
        if sample.at == last.at {
            self.counts.repeated += 1;
            return;
        }
        if sample.at < last.at {
            self.counts.implausible += 1;
            return;
        }
        let began_anew = match (sample.started_at, last.started_at) {
            (Some(now), Some(before)) => now > before,
            _ => false,
        } || matches!(
            (sample.cpu_core_nanoseconds, last.cpu_core_nanoseconds),
            (Some(now), Some(before)) if now < before
        );
        let from = if began_anew {
            self.counts.resets += 1;
            // The counter is that of another container; what the last one used after its last sample is not known.
            let started_at = sample.started_at.unwrap_or(last.at).clamp(last.at, sample.at);
            Sample {
                at: started_at,
                started_at: sample.started_at,
                cpu_core_nanoseconds: Some(0),
                memory_working_set_bytes: None,
            }
        } else {
            last
        };
        series.advance(
            key,
            from,
            sample,
            self.longest_gap,
            &mut self.counts,
            &mut self.told,
        );
    }

    /// Takes in what was measured as an average over the `window` before an instant. Until the next one, and back to the last
    /// one, the average is taken to hold.
    pub fn average(
        &mut self,
        key: &Key,
        at: Timestamp,
        window: SignedDuration,
        cpu_nanocores: Option<u64>,
        memory_working_set_bytes: Option<u64>,
    ) {
        let last = self.series.get(key).map(|series| series.last);
        let near = last.filter(|last| last.at <= at && at.duration_since(last.at) <= self.longest_gap);
        let from = near.unwrap_or(Sample {
            at: at.saturating_sub(window).unwrap_or(at),
            started_at: None,
            cpu_core_nanoseconds: Some(0),
            memory_working_set_bytes: None,
        });
        if last.is_none_or(|last| near.is_none() && last.at < from.at) {
            match self.series.get_mut(key) {
                Some(series) => series.last = from,
                None => drop(self.series.insert(key.clone(), Series::at(from))),
            }
        }
        let span = u128::try_from(at.duration_since(from.at).as_nanos()).unwrap_or(0);
        let counter = cpu_nanocores
            .zip(from.cpu_core_nanoseconds)
            .map(|(rate, before)| {
                let used = u128::from(rate) * span / 1_000_000_000;
                before.saturating_add(u64::try_from(used).unwrap_or(u64::MAX))
            });
        self.sample(
            key,
            Sample {
                at,
                started_at: None,
                cpu_core_nanoseconds: counter,
                memory_working_set_bytes,
            },
        );
    }

    /// Containers that were not heard of since then are gone: their hours are over as they are.
    pub fn forget_silent(&mut self, since: Timestamp) {
        let told = &mut self.told;
        self.series.retain(|key, series| {
            let is_over = series.heard_at < since;
            if is_over {
                series.settle(key, None, told);
                told.close(key, &mut series.hour, None);
                told.marks.insert(key.clone(), None);
            }
            !is_over
        });
    }

    /// The hours that are over, by container and time.
    pub fn take(&mut self) -> Vec<Hour> {
        let mut hours = std::mem::take(&mut self.told.hours);
        hours.sort_by(|one, other| {
            (&one.key, one.measured_from_at).cmp(&(&other.key, other.measured_from_at))
        });
        hours
    }

    /// What is known of so many containers, also of hours that are not over, which are then not followed any more: whoever takes
    /// it goes on from the marks.
    pub fn finish(&mut self, containers: usize) -> Vec<Hour> {
        let mut keys: Vec<Key> = self.series.keys().cloned().collect();
        keys.sort_unstable();
        for key in keys.into_iter().take(containers) {
            if let Some(mut series) = self.series.remove(&key) {
                series.settle(&key, None, &mut self.told);
                self.told.close(&key, &mut series.hour, series.known);
            }
        }
        self.take()
    }

    /// Where counters stood at the end of the hours that were taken, of those for whom it has changed.
    pub fn take_marks(&mut self) -> BTreeMap<Key, Option<Mark>> {
        std::mem::take(&mut self.told.marks)
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How often samples are taken.
    #[must_use]
    pub fn every(&self) -> SignedDuration {
        self.every
    }

    /// How many containers are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

impl Series {
    /// A container that is sampled for the first time.
    fn new(sample: Sample) -> Self {
        // All that it has used since it started is known, if that is not long ago.
        let started_at = sample
            .started_at
            .filter(|started_at| *started_at < sample.at && sample.at.duration_since(*started_at) <= OLD);
        Self::at(match started_at {
            Some(started_at) => Sample {
                at: started_at,
                started_at: Some(started_at),
                cpu_core_nanoseconds: Some(0),
                memory_working_set_bytes: None,
            },
            None => Sample {
                cpu_core_nanoseconds: None,
                memory_working_set_bytes: None,
                ..sample
            },
        })
    }

    fn at(from: Sample) -> Self {
        Self {
            last: from,
            heard_at: from.at,
            known: None,
            hour: Open::at(from.at),
            beginning: None,
        }
    }

    /// What happened from one instant until a sample.
    fn advance(
        &mut self,
        key: &Key,
        from: Sample,
        to: Sample,
        longest_gap: SignedDuration,
        counts: &mut Counts,
        told: &mut Told,
    ) {
        let (from_ms, to_ms) = (from.at.as_millisecond(), to.at.as_millisecond());
        let span_ms = to_ms - from_ms;
        self.heard_at = self.heard_at.max(to.at);
        let used = match (from.cpu_core_nanoseconds, to.cpu_core_nanoseconds) {
            (Some(before), Some(now)) if span_ms > 0 => {
                Some((before, u128::from(now.saturating_sub(before))))
            }
            _ => None,
        };
        let most = u128::try_from(MOST_CORES * span_ms.max(0)).unwrap_or(0) * 1_000_000;
        if used.is_some_and(|(_, used)| used > most) {
            counts.implausible += 1;
            // The next one is compared with this one, not with what was before.
            self.settle(key, None, told);
            self.last = to;
            return;
        }
        let is_near = to.at.duration_since(from.at) <= longest_gap;
        let bytes = match (from.memory_working_set_bytes, to.memory_working_set_bytes) {
            (Some(before), Some(now)) if is_near => Some((before, now)),
            // From its start until its first sample, a container is taken to have what it has then.
            (None, Some(now)) if is_near && span_ms > 0 => Some((now, now)),
            _ => None,
        };
        let growth = bytes.filter(|_| from.memory_working_set_bytes.is_some());
        self.settle(key, growth.map(|(before, now)| (before, now, span_ms)), told);
        let is_beginning = growth.is_none() && bytes.is_some() && from.started_at == Some(from.at);
        if is_beginning && span_ms <= OLD_MS {
            self.beginning = Some(Box::new(Beginning {
                started_ms: from_ms,
                earlier: None,
            }));
        }
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let until_ms = to_ms.min(self.move_to(key, at_ms, told) + HOUR_MS);
            let (begin, end) = (at_ms - from_ms, until_ms - from_ms);
            if let Some((before, used)) = used {
                let share = |part: i64| {
                    used * u128::try_from(part).unwrap_or(0) / u128::try_from(span_ms).unwrap_or(1)
                };
                self.hour.cpu_nanoseconds += share(end) - share(begin);
                self.hour.cpu_measured_ms += end - begin;
                let counter = before.saturating_add(u64::try_from(share(end)).unwrap_or(u64::MAX));
                self.known = Timestamp::from_millisecond(until_ms).ok().map(|at| Mark {
                    at,
                    started_at: to.started_at,
                    cpu_core_nanoseconds: counter,
                });
                if is_near {
                    let millicores = used / (u128::try_from(span_ms).unwrap_or(1) * 1_000);
                    let millicores = u64::try_from(millicores).unwrap_or(u64::MAX);
                    self.hour.rates.add(millicores, end - begin);
                    self.hour.most_millicores = self.hour.most_millicores.max(Some(millicores));
                }
            }
            if let Some((before, now)) = bytes {
                // Twice the area under the straight line between the samples, from the first one on.
                let (before, slope) = (i128::from(before), i128::from(now) - i128::from(before));
                let twice = |part: i64| {
                    let part = i128::from(part);
                    2 * before * part + slope * part * part / i128::from(span_ms)
                };
                self.hour.memory_byte_ms += (twice(end) - twice(begin)) / 2;
                self.hour.memory_measured_ms += end - begin;
            }
            if used.is_some() || bytes.is_some() {
                self.hour.knows(at_ms, until_ms);
            }
            at_ms = until_ms;
        }
        counts.samples += 1;
        self.move_to(key, to_ms, told);
        self.hour.knows(to_ms, to_ms);
        self.hour.samples += 1;
        self.hour.memory_peak = self.hour.memory_peak.max(to.memory_working_set_bytes);
        self.last = to;
    }

    /// Goes on to the hour of an instant; returns when that hour begins.
    fn move_to(&mut self, key: &Key, at_ms: i64, told: &mut Told) -> i64 {
        let start_ms = at_ms - at_ms.rem_euclid(HOUR_MS);
        if start_ms > self.hour.start_ms {
            match &mut self.beginning {
                Some(beginning) if beginning.started_ms < at_ms => {
                    let over = std::mem::replace(&mut self.hour, Open::starting(start_ms));
                    beginning.earlier = Some((over, self.known));
                }
                _ => {
                    told.close(key, &mut self.hour, self.known);
                    self.hour = Open::starting(start_ms);
                }
            }
        }
        self.hour.start_ms
    }

    /// Ends a container's beginning. Where the samples after it show that memory grows, it is taken to have grown alike before, at
    /// the most from nothing: what falls was loaded at some time that is not known.
    fn settle(&mut self, key: &Key, growth: Option<(u64, u64, i64)>, told: &mut Told) {
        let Some(beginning) = self.beginning.take() else {
            return;
        };
        let Beginning {
            started_ms,
            mut earlier,
        } = *beginning;
        let first_ms = self.last.at.as_millisecond();
        if let Some((before, now, span_ms)) = growth
            && now > before
            && first_ms > started_ms
        {
            // Bytes by milliseconds, as a fraction.
            let (grown, before) = (i128::from(now - before), i128::from(before));
            let (span_ms, unsampled_ms) = (i128::from(span_ms), i128::from(first_ms - started_ms));
            let slope = if grown * unsampled_ms <= before * span_ms {
                (grown, span_ms)
            } else {
                (before, unsampled_ms)
            };
            // What is not below the line that was assumed, from so long before the first sample on.
            let less = |ms: i64| slope.0 * i128::from(ms) * i128::from(ms) / (2 * slope.1);
            let hour_ms = self.hour.start_ms.max(started_ms);
            self.hour.memory_byte_ms -= less(first_ms - hour_ms);
            if let Some((over, _)) = &mut earlier {
                over.memory_byte_ms -= less(first_ms - started_ms) - less(first_ms - hour_ms);
            }
        }
        if let Some((mut over, mark)) = earlier {
            told.close(key, &mut over, mark);
        }
    }
}

impl Open {
    fn at(instant: Timestamp) -> Self {
        let ms = instant.as_millisecond();
        Self::starting(ms - ms.rem_euclid(HOUR_MS))
    }

    fn starting(start_ms: i64) -> Self {
        Self {
            start_ms,
            from_ms: i64::MAX,
            to_ms: i64::MIN,
            ..Self::default()
        }
    }

    fn knows(&mut self, from_ms: i64, to_ms: i64) {
        self.from_ms = self.from_ms.min(from_ms);
        self.to_ms = self.to_ms.max(to_ms);
    }
}

impl Told {
    /// Tells what an hour came to, if anything was measured in it, and begins it anew; `mark` is where the counter stands.
    fn close(&mut self, key: &Key, hour: &mut Open, mark: Option<Mark>) {
        let open = std::mem::replace(hour, Open::starting(hour.start_ms));
        if open.from_ms > open.to_ms {
            return;
        }
        let instant = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        self.hours.push(Hour {
            key: key.clone(),
            hour_start_at: instant(open.start_ms),
            measured_from_at: instant(open.from_ms),
            measured_to_at: instant(open.to_ms),
            // A thousandth of a core for a millisecond is a thousand nanoseconds of a core.
            cpu_usage_millicore_ms: i64::try_from(open.cpu_nanoseconds / 1_000).unwrap_or(i64::MAX),
            memory_usage_byte_ms: open.memory_byte_ms,
            memory_peak_bytes: open.memory_peak.map(whole),
            cpu_measured_ms: open.cpu_measured_ms,
            memory_measured_ms: open.memory_measured_ms,
            samples: open.samples,
            samples_expected: ((open.to_ms - open.from_ms) / self.every_ms).max(open.samples),
            cpu_max_millicores: open.most_millicores.map(whole),
            rates: open.rates,
        });
        self.marks.insert(key.clone(), mark);
    }
}
