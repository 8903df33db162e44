//! What the recommender of the Vertical Pod Autoscaler would advise.
//!
//! Source: github.com/kubernetes/autoscaler, `vertical-pod-autoscaler/pkg/recommender`: `util/histogram.go`, `util/decaying_histogram.go`,
//! `util/histogram_options.go` (buckets), `model/aggregations_config.go` (1.05, 0.01 cores, 1e7 bytes, 24 h, 1.2, 100 MiB),
//! `model/container.go` (one memory peak per 24 h, `RecordOOM`), `model/aggregate_container_state.go` (weights of CPU samples),
//! `logic/estimator.go` and `logic/recommender.go` (90th percentile and 15%, bounds, confidence, floors).
//!
//! It is given more than it would see: it asks once a minute, and a container that lives for less may never be seen. Here every attempt gives its
//! true peak, and its minutes, however few, of CPU.

use super::history::History;
use super::{Decision, MIB, Withheld};

const DAY_MS: i64 = 86_400_000;
/// `epsilon`: a bucket of less weight is empty.
const EPSILON: f64 = 0.0001;
/// `maxDecayExponent`.
const MOST_HALVINGS: f64 = 100.0;
const LEAST_CPU_MILLICORES: u64 = 25;
const LEAST_MEMORY_BYTES: u64 = 250 * MIB;
const OOM_BUMP: f64 = 1.2;
const OOM_LEAST_BUMP_BYTES: u64 = 100 * MIB;

/// `exponentialHistogramOptions` with a ratio of 1.05.
#[derive(Debug, Clone, Copy)]
struct Buckets {
    first: f64,
    count: usize,
}

const RATIO: f64 = 1.05;

impl Buckets {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    fn new(most: f64, first: f64) -> Self {
        let count = ((most * (RATIO - 1.0) / first + 1.0).ln() / RATIO.ln()).ceil() as usize + 1;
        Self { first, count }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    fn find(self, value: f64) -> usize {
        if value < self.first {
            return 0;
        }
        let bucket = ((value * (RATIO - 1.0) / self.first + 1.0).ln() / RATIO.ln()) as usize;
        bucket.min(self.count - 1)
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred buckets")]
    fn start(self, bucket: usize) -> f64 {
        if bucket == 0 {
            return 0.0;
        }
        self.first * (RATIO.powf(bucket as f64) - 1.0) / (RATIO - 1.0)
    }
}

/// `decayingHistogram` with a half-life of a day.
struct Histogram {
    buckets: Buckets,
    weights: Vec<f64>,
    total: f64,
    lowest: usize,
    highest: usize,
    reference_ms: Option<i64>,
}

impl Histogram {
    fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            weights: vec![0.0; buckets.count],
            total: 0.0,
            lowest: buckets.count - 1,
            highest: 0,
            reference_ms: None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as the original computes")]
    fn decay(&mut self, at_ms: i64) -> f64 {
        let halvings = |reference: i64| (at_ms - reference) as f64 / DAY_MS as f64;
        let reference = match self.reference_ms {
            Some(reference) if halvings(reference) <= MOST_HALVINGS => reference,
            old => {
                // `Round` to a multiple of the half-life.
                let moved = (at_ms + DAY_MS / 2).div_euclid(DAY_MS) * DAY_MS;
                if let Some(old) = old {
                    self.scale(((old - moved) as f64 / DAY_MS as f64).exp2());
                }
                self.reference_ms = Some(moved);
                moved
            }
        };
        halvings(reference).exp2()
    }

    fn scale(&mut self, factor: f64) {
        for weight in &mut self.weights {
            *weight *= factor;
        }
        self.total *= factor;
        while self.weights[self.lowest] < EPSILON && self.lowest + 1 < self.buckets.count {
            self.lowest += 1;
        }
        while self.weights[self.highest] < EPSILON && self.highest > 0 {
            self.highest -= 1;
        }
    }

    fn add(&mut self, value: f64, weight: f64, at_ms: i64) {
        let weight = weight * self.decay(at_ms);
        let bucket = self.buckets.find(value);
        self.weights[bucket] += weight;
        self.total += weight;
        if self.weights[bucket] >= EPSILON {
            self.lowest = self.lowest.min(bucket);
            self.highest = self.highest.max(bucket);
        }
    }

    /// The end of the bucket in which the percentile lies; 0 if there is nothing.
    fn percentile(&self, percentile: f64) -> f64 {
        if self.weights[self.lowest] < EPSILON {
            return 0.0;
        }
        let threshold = percentile * self.total;
        let mut sum = 0.0;
        let mut bucket = self.lowest;
        while bucket < self.highest {
            sum += self.weights[bucket];
            if sum >= threshold {
                break;
            }
            bucket += 1;
        }
        self.buckets.start(if bucket + 1 < self.buckets.count {
            bucket + 1
        } else {
            bucket
        })
    }
}

/// What is told of a container: `AggregateContainerState`.
struct State {
    cpu: Histogram,
    memory: Histogram,
    first_ms: Option<i64>,
    last_ms: i64,
    samples: f64,
}

/// A target and the bounds within which the original leaves pods alone, in millicores or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub lower: u64,
    pub target: u64,
    pub upper: u64,
}

#[expect(clippy::cast_precision_loss, reason = "as the original computes")]
fn state(history: &History) -> State {
    let mut state = State {
        cpu: Histogram::new(Buckets::new(1000.0, 0.01)),
        memory: Histogram::new(Buckets::new(1e12, 1e7)),
        first_ms: None,
        last_ms: 0,
        samples: 0.0,
    };
    let mut seen: Vec<_> = history.observations.iter().collect();
    seen.sort_by_key(|seen| (seen.started_ms, seen.run));
    for seen in seen {
        for (rate, ms) in seen.cpu_rates() {
            // `minSampleWeight`; one sample a minute.
            let weight = (f64::from(seen.cpu_request_millicores) / 1000.0).max(0.1);
            let samples = ms as f64 / 60_000.0;
            state
                .cpu
                .add(rate as f64 / 1000.0, weight * samples, seen.started_ms);
            state.samples += samples;
        }
        if seen.cpu_measured_ms > 0 {
            state.first_ms.get_or_insert(seen.started_ms);
            state.last_ms = state.last_ms.max(seen.ended_ms);
        }
        // The peak of a window of 24 h that began with the container.
        let killed = if seen.is_oom_killed {
            let used = seen.memory_request_bytes.max(seen.memory_peak_bytes);
            used.saturating_add(OOM_LEAST_BUMP_BYTES)
                .max(truncated(used as f64 * OOM_BUMP))
        } else {
            0
        };
        let peak = seen.memory_peak_bytes.max(killed);
        if peak > 0 {
            state.memory.add(peak as f64, 1.0, seen.started_ms + DAY_MS);
        }
    }
    state
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as the original: amounts are whole"
)]
fn truncated(amount: f64) -> u64 {
    amount as u64
}

#[expect(clippy::cast_precision_loss, reason = "as the original computes")]
fn with_margin(amount: f64) -> f64 {
    let base = truncated(amount);
    (base + truncated(base as f64 * 0.15)) as f64
}

/// `getConfidence`: days, by the span or by samples at one a minute, whichever are fewer.
#[expect(clippy::cast_precision_loss, reason = "as the original computes")]
fn confidence(state: &State) -> f64 {
    let span = state.first_ms.map_or(0, |first| state.last_ms - first) as f64 / DAY_MS as f64;
    span.min(state.samples / (60.0 * 24.0))
}

fn bounds(of: impl Fn(f64) -> f64, confidence: f64, least: u64) -> Bounds {
    let lower = with_margin(of(0.5)) * (1.0 + 0.001 / confidence).powf(-2.0);
    let upper = with_margin(of(0.95)) * (1.0 + 1.0 / confidence);
    Bounds {
        lower: truncated(lower).max(least),
        target: truncated(with_margin(of(0.9))).max(least),
        upper: truncated(upper).max(least),
    }
}

/// Bounds of CPU in millicores and of memory in bytes.
pub(super) fn estimate(history: &History) -> (Bounds, Bounds) {
    let state = state(history);
    let share = u64::from(history.pod_containers.max(1));
    let confidence = confidence(&state);
    (
        bounds(
            |percentile| state.cpu.percentile(percentile) * 1000.0,
            confidence,
            LEAST_CPU_MILLICORES / share,
        ),
        bounds(
            |percentile| state.memory.percentile(percentile),
            confidence,
            LEAST_MEMORY_BYTES / share,
        ),
    )
}

/// What it decides of a history: its targets.
pub(super) fn decide(history: &History) -> Decision {
    let (cpu, memory) = estimate(history);
    let has_cpu = history.observations.iter().any(|seen| seen.cpu_measured_ms > 0);
    let has_memory = history
        .observations
        .iter()
        .any(|seen| seen.memory_peak_bytes > 0 || seen.is_oom_killed);
    Decision {
        memory: if has_memory {
            Ok(memory.target)
        } else {
            Err(Withheld::Unmetered)
        },
        cpu: if has_cpu {
            Ok(cpu.target)
        } else {
            Err(Withheld::Unmetered)
        },
        memory_seen_bytes: history.memory_seen_bytes(),
        bound_ppm: None,
        is_calibrated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{history, observation};
    use super::*;

    fn memory() -> Histogram {
        Histogram::new(Buckets::new(1e12, 1e7))
    }

    /// The n-th bucket begins at 1e7 (1.05^n - 1) / 0.05: 0, 1e7, 2.05e7, 3.1525e7, ...
    #[test]
    fn buckets_grow_by_a_twentieth() {
        let buckets = Buckets::new(1e12, 1e7);
        for (bucket, start) in [(0, 0.0), (1, 1e7), (2, 2.05e7), (3, 3.1525e7)] {
            assert!((buckets.start(bucket) - start).abs() < 1e-6, "{bucket}");
        }
        for (value, bucket) in [(0.0, 0), (9_999_999.0, 0), (1.01e7, 1), (2.06e7, 2), (3.1e7, 2)] {
            assert_eq!(buckets.find(value), bucket, "{value}");
        }
        // ceil(ln(1e12 * 0.05 / 1e7 + 1) / ln 1.05) + 1 = ceil(174.57) + 1 buckets.
        assert_eq!(buckets.count, 176);
        assert_eq!(buckets.find(1e15), 175);
        // ceil(ln(1000 * 0.05 / 0.01 + 1) / ln 1.05) + 1 as well.
        assert_eq!(Buckets::new(1000.0, 0.01).count, 176);
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let mut histogram = memory();
        assert!(histogram.percentile(0.9).abs() < f64::EPSILON);
        for _ in 0..9 {
            histogram.add(1.5e7, 1.0, 0);
        }
        histogram.add(2.5e7, 1.0, 0);
        // Nine tenths lie in the bucket from 1e7 to 2.05e7.
        assert!((histogram.percentile(0.9) - 2.05e7).abs() < 1e-6);
        assert!((histogram.percentile(0.91) - 3.1525e7).abs() < 1e-6);
    }

    #[test]
    fn a_sample_of_a_week_ago_weighs_a_hundred_and_twenty_eighth() {
        let mut histogram = memory();
        // A heavy run, and a week later ten light ones: 1 of 1 + 10 * 128, so even the 99th percentile has forgotten it.
        histogram.add(1e10, 1.0, 0);
        for _ in 0..10 {
            histogram.add(1.5e7, 1.0, 7 * DAY_MS);
        }
        assert!((histogram.total - (1.0 + 10.0 * 128.0)).abs() < 1e-9);
        assert!((histogram.percentile(0.99) - 2.05e7).abs() < 1e-6);
        // Beyond a hundred half-lives weights are told anew from a later instant, and what is nothing then is forgotten.
        histogram.add(1.5e7, 1.0, 101 * DAY_MS);
        assert_eq!(histogram.reference_ms, Some(101 * DAY_MS));
        assert_eq!((histogram.lowest, histogram.highest), (1, 1));
    }

    /// Fourteen runs of five minutes, once a day: 70 samples are 70 / 1440 days of confidence, so the upper bound is 21.6 times as much.
    #[test]
    fn few_samples_widen_the_bounds_and_leave_the_target() {
        let observations = (0..14)
            .map(|day| {
                let mut seen = observation(u32::try_from(day).unwrap(), day * DAY_MS, 300_000);
                seen.memory_peak_bytes = 400_000_000;
                seen.cpu_usage_millicore_ms = 500 * 300_000;
                seen.cpu_measured_ms = 300_000;
                seen
            })
            .collect();
        let (cpu, memory) = estimate(&history("job", observations));
        // 4e8 lies in bucket floor(ln(3) / ln(1.05)) = 22, which ends at 1e7 (1.05^23 - 1) / 0.05 = 414304751.
        assert_eq!(memory.target, 414_304_751 + 62_145_712);
        let share = 476_450_463.0 * (1.0 + 1440.0 / 70.0);
        assert!((memory.upper as f64 - share).abs() / share < 1e-6, "{memory:?}");
        // (1 + 0.001 * 1440 / 70)^-2 = 0.96006
        assert!(
            (memory.lower as f64 / 476_450_463.0 - 0.960_097).abs() < 1e-4,
            "{memory:?}"
        );
        // 0.5 cores lie in bucket floor(ln(3.5) / ln(1.05)) = 25, which ends at 0.01 (1.05^26 - 1) / 0.05 = 0.51113 cores.
        assert_eq!(cpu.target, 511 + 76);
    }

    #[test]
    fn a_kill_raises_the_request_by_a_fifth_or_a_hundred_mebibytes() {
        for (request, needed) in [(100 * MIB, 200 * MIB), (1000 * MIB, 1200 * MIB)] {
            let mut seen = observation(0, 0, 60_000);
            seen.memory_request_bytes = request;
            seen.memory_peak_bytes = request / 2;
            seen.is_oom_killed = true;
            let mut expected = observation(0, 0, 60_000);
            expected.memory_peak_bytes = needed;
            assert_eq!(
                decide(&history("job", vec![seen])).memory,
                decide(&history("job", vec![expected])).memory
            );
        }
    }

    #[test]
    fn the_least_pod_is_divided_among_its_containers() {
        let mut seen = observation(0, 0, 60_000);
        seen.memory_peak_bytes = 1;
        seen.cpu_measured_ms = 60_000;
        let mut alone = history("job", vec![seen]);
        assert_eq!(decide(&alone).memory, Ok(250 * MIB));
        assert_eq!(decide(&alone).cpu, Ok(25));
        alone.pod_containers = 2;
        assert_eq!(decide(&alone).memory, Ok(125 * MIB));
        assert_eq!(decide(&alone).cpu, Ok(12));
    }
}
