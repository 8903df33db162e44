//! What containers used, from what was measured: the part of the intake that folds samples.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::message::Samples;
use super::metrics::Metrics;
use crate::error::{Error, Result};
use crate::facts::Fact;
use crate::index::{Entry, Index};
use crate::usage::fact;
use crate::usage::fold::{Counts, Fold, Hour, Key, Mark};
use crate::usage::resource_metrics::Named;
use crate::words::Word;

const KUBELET: Word = "kubelet";
const METRICS_API: Word = "metrics_api";

/// What the intake calls the marks that it keeps.
pub(super) const KIND: &str = "usage";

/// A container that is not heard of for so many times the interval is gone.
const SILENCES: i32 = 10;

/// So many containers are told of at a time at the end.
const AT_THE_END: usize = 10_000;

/// How often it is looked for containers that are gone.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The containers of one cluster.
#[derive(Debug)]
pub(super) struct Measured {
    cluster: String,
    kubelet: Fold,
    metrics_api: Fold,
    look_at: Timestamp,
    counted: Counts,
}

impl Measured {
    /// Nothing is measured yet; samples will be taken once in `every`.
    pub(super) fn new(cluster: &str, every: SignedDuration) -> Self {
        Self {
            cluster: cluster.to_owned(),
            kubelet: Fold::new(every),
            metrics_api: Fold::new(every.max(super::scrape::METRICS_API_EVERY)),
            look_at: Timestamp::MIN,
            counted: Counts::default(),
        }
    }

    /// Takes back where a container's counter stood.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn restore(&mut self, entry: &Entry, now: Timestamp) -> Result<()> {
        let wrong = |source| Error::Entry {
            kind: entry.kind.clone(),
            key: entry.key.clone(),
            source,
        };
        let (pod_uid, container_name) = entry.key.rsplit_once('/').ok_or_else(|| wrong(None))?;
        if let Some(state) = &entry.state {
            let mark: Mark = serde_json::from_str(state).map_err(|source| wrong(Some(source)))?;
            let key = Key {
                pod_uid: pod_uid.to_owned(),
                container_name: container_name.to_owned(),
            };
            self.kubelet.restore(key, mark, now);
        }
        Ok(())
    }

    /// Takes in what was measured. What has names only is left out where no such pod is known.
    pub(super) fn take(&mut self, samples: Samples, index: &Index) {
        match samples {
            Samples::Kubelet(samples) => {
                for (key, sample) in samples {
                    self.kubelet.sample(&key, sample);
                }
            }
            Samples::KubeletByName { node, named } => {
                for named in named {
                    let Named {
                        namespace,
                        pod_name,
                        container_name,
                        sample,
                    } = named;
                    if let Some(pod_uid) = index.pod_on(&node, &namespace, &pod_name, sample.at) {
                        let key = Key {
                            pod_uid,
                            container_name,
                        };
                        self.kubelet.sample(&key, sample);
                    }
                }
            }
            Samples::MetricsApi(averages) => {
                let uids = index.pods_by_name();
                for average in averages {
                    let Some(pod_uid) = uids.get(&(average.namespace, average.pod_name)) else {
                        continue;
                    };
                    let key = Key {
                        pod_uid: pod_uid.clone(),
                        container_name: average.container_name,
                    };
                    self.metrics_api.average(
                        &key,
                        average.at,
                        average.window,
                        average.cpu_nanocores,
                        average.memory_working_set_bytes,
                    );
                }
            }
        }
    }

    /// Hours that are over.
    pub(super) fn facts(&mut self, now: Timestamp) -> Vec<Fact> {
        if now >= self.look_at {
            self.look_at = now.saturating_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
            for fold in [&mut self.kubelet, &mut self.metrics_api] {
                let silence = fold.every().saturating_mul(SILENCES);
                fold.forget_silent(now.saturating_sub(silence).unwrap_or(Timestamp::MIN));
            }
        }
        self.told(Fold::take)
    }

    /// Whether no container is followed.
    pub(super) fn is_empty(&self) -> bool {
        self.kubelet.is_empty() && self.metrics_api.is_empty()
    }

    /// What is known of some of the containers, also of hours that are not over; they are not followed any more.
    pub(super) fn last_facts(&mut self) -> Vec<Fact> {
        self.told(|fold| fold.finish(AT_THE_END))
    }

    fn told(&mut self, take: impl Fn(&mut Fold) -> Vec<Hour>) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (source, fold) in [(KUBELET, &mut self.kubelet), (METRICS_API, &mut self.metrics_api)] {
            let hours = take(fold).into_iter();
            facts.extend(hours.map(|hour| Fact::from(fact(&self.cluster, source, hour))));
        }
        facts
    }

    /// Marks that changed since this was last asked. Averages have no counters to go on from.
    ///
    /// # Errors
    /// Where one cannot be written as text, which is a mistake in this crate.
    pub(super) fn changed(&mut self) -> Result<Vec<Entry>> {
        drop(self.metrics_api.take_marks());
        let marks: BTreeMap<Key, Option<Mark>> = self.kubelet.take_marks();
        let entries = marks.into_iter().map(|(key, mark)| {
            let key = format!("{}/{}", key.pod_uid, key.container_name);
            let state = mark.map(|mark| serde_json::to_string(&mark)).transpose();
            match state {
                Ok(state) => Ok(Entry {
                    kind: KIND.to_owned(),
                    key,
                    state,
                }),
                Err(source) => Err(Error::Entry {
                    kind: KIND.to_owned(),
                    key,
                    source: Some(source),
                }),
            }
        });
        entries.collect()
    }

    /// Tells figures what was counted since the last time.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        let (one, other) = (self.kubelet.counts(), self.metrics_api.counts());
        let now = Counts {
            samples: one.samples + other.samples,
            repeated: one.repeated + other.repeated,
            implausible: one.implausible + other.implausible,
            resets: one.resets + other.resets,
        };
        metrics.measured(
            self.kubelet.len() + self.metrics_api.len(),
            now.samples - self.counted.samples,
            now.implausible - self.counted.implausible,
        );
        self.counted = now;
    }
}
