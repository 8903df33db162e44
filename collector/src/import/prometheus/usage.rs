//! What containers used, from cAdvisor's and DCGM's series: samples for the fold, and what is told by the hour.

use std::collections::HashMap;

use jiff::Timestamp;

use super::objects::instant_ms;
use super::server::{Series, Server};
use crate::error::Result;
use crate::usage::fold::{Fold, Key, Sample};

/// Of cAdvisor's cgroups only containers: not pods as a whole, nor their sandboxes.
const CONTAINERS: &str = "container!=\"\",container!=\"POD\"";

/// So much is read at once.
const PIECE_MS: i64 = 600_000;

/// Which pod a name meant at an instant.
#[derive(Debug, Default)]
pub struct PodNames {
    /// UIDs with when they were made and when they were last there, the youngest last.
    of: HashMap<(String, String), Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    created_ms: i64,
    last_ms: i64,
    uid: String,
}

impl PodNames {
    /// Notes that a pod has a name.
    pub fn add(&mut self, namespace: &str, pod: &str, uid: &str, created_ms: i64, last_ms: i64) {
        let named = self.of.entry((namespace.to_owned(), pod.to_owned())).or_default();
        match named.iter_mut().find(|known| known.uid == uid) {
            Some(known) => known.last_ms = known.last_ms.max(last_ms),
            None => {
                named.push(Named {
                    created_ms,
                    last_ms,
                    uid: uid.to_owned(),
                });
                named.sort_by(|one, other| (one.created_ms, &one.uid).cmp(&(other.created_ms, &other.uid)));
            }
        }
    }

    /// The UID of the youngest pod of a name that was made by then.
    #[must_use]
    pub fn uid(&self, namespace: &str, pod: &str, at_ms: i64) -> Option<&str> {
        let named = self.of.get(&(namespace.to_owned(), pod.to_owned()))?;
        let made = named.iter().rev().find(|known| known.created_ms <= at_ms);
        made.map(|known| known.uid.as_str())
    }

    /// Forgets pods that were last there before an instant.
    pub fn forget_before(&mut self, at_ms: i64) {
        self.of.retain(|_, named| {
            named.retain(|known| known.last_ms >= at_ms);
            !named.is_empty()
        });
    }
}

/// What is told of a container by the hour, and not by the sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extra {
    pub cpu_periods: Option<i64>,
    pub cpu_throttled_periods: Option<i64>,
    pub gpu_usage_milligpu_ms: Option<i64>,
    pub gpu_measured_ms: Option<i64>,
    pub gpu_memory_peak_bytes: Option<i64>,
}

/// One container of several that bore its name one after the other: each has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    began_ms: i64,
    id: String,
}

/// What is kept from one window to the next.
#[derive(Debug, Default)]
pub struct Usage {
    /// Of each container of a pod those that bore its name, the newest last.
    instances: HashMap<Key, Vec<Instance>>,
    /// Samples of pods that nobody else told of.
    pub of_unknown_pods: u64,
}

impl Usage {
    /// Folds the samples of `[from_ms, to_ms)`.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn read(
        &mut self,
        server: &Server,
        names: &PodNames,
        fold: &mut Fold,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<()> {
        let started = server
            .newest("container_start_time_seconds", CONTAINERS, from_ms, to_ms)
            .await?;
        let started: HashMap<String, i64> = started
            .iter()
            .filter_map(|series| Some((id(series), instant_ms(series)?)))
            .collect();
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let until_ms = to_ms.min(at_ms + PIECE_MS);
            let cpu = server
                .samples("container_cpu_usage_seconds_total", CONTAINERS, at_ms, until_ms)
                .await?;
            let memory = server
                .samples("container_memory_working_set_bytes", CONTAINERS, at_ms, until_ms)
                .await?;
            self.piece(&cpu, &memory, &started, names, fold);
            at_ms = until_ms;
        }
        Ok(())
    }

    /// Folds what is told of some minutes.
    fn piece(
        &mut self,
        cpu: &[Series],
        memory: &[Series],
        started: &HashMap<String, i64>,
        names: &PodNames,
        fold: &mut Fold,
    ) {
        let memory: HashMap<String, &Series> = memory.iter().map(|series| (id(series), series)).collect();
        // The containers of a name, the oldest first.
        let mut found: HashMap<Key, Vec<(Instance, &Series)>> = HashMap::new();
        for series in cpu {
            let of_a_core = !matches!(series.label("cpu"), "" | "total");
            let Some((first_ms, _)) = series.samples.first().filter(|_| !of_a_core) else {
                continue;
            };
            let Some(key) = key(series, names, *first_ms) else {
                self.of_unknown_pods += series.samples.len() as u64;
                continue;
            };
            let id = id(series);
            let known = self.instances.get(&key).into_iter().flatten();
            let known = known
                .filter(|known| known.id == id)
                .map(|known| known.began_ms)
                .next();
            let began_ms = known.or_else(|| started.get(&id).copied()).unwrap_or(*first_ms);
            found
                .entry(key)
                .or_default()
                .push((Instance { began_ms, id }, series));
        }
        let mut keys: Vec<Key> = found.keys().cloned().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(mut instances) = found.remove(&key) else {
                continue;
            };
            instances
                .sort_by(|(one, _), (other, _)| (one.began_ms, &one.id).cmp(&(other.began_ms, &other.id)));
            for number in 0..instances.len() {
                // What an older one is still said to use, when a younger one is there, is an echo.
                let next_ms = instances
                    .get(number + 1)
                    .and_then(|(_, series)| series.samples.first())
                    .map_or(i64::MAX, |(ms, _)| *ms);
                let Some((instance, series)) = instances.get(number) else {
                    break;
                };
                let known = self.instances.entry(key.clone()).or_default();
                if known
                    .last()
                    .is_some_and(|last| last.id != instance.id && last.began_ms > instance.began_ms)
                {
                    continue;
                }
                if known.last() != Some(instance) {
                    known.push(instance.clone());
                }
                let memory = memory.get(&instance.id).map(|series| series.samples.as_slice());
                let memory: HashMap<i64, f64> = memory.unwrap_or_default().iter().copied().collect();
                let started_at = started
                    .get(&instance.id)
                    .and_then(|ms| Timestamp::from_millisecond(*ms).ok());
                for (ms, seconds) in series.samples.iter().filter(|(ms, _)| *ms < next_ms) {
                    let Ok(at) = Timestamp::from_millisecond(*ms) else {
                        continue;
                    };
                    let sample = Sample {
                        at,
                        started_at,
                        cpu_core_nanoseconds: whole(seconds * 1e9),
                        memory_working_set_bytes: memory.get(ms).and_then(|bytes| whole(*bytes)),
                    };
                    fold.sample(&key, sample);
                }
            }
        }
    }

    /// Forgets containers of pods that are gone.
    pub fn forget(&mut self, is_there: &dyn Fn(&str) -> bool) {
        self.instances.retain(|key, _| is_there(&key.pod_uid));
    }
}

/// What is told by the hour, of `[from_ms, to_ms)`.
///
/// # Errors
/// Those of the server.
pub async fn extras(
    server: &Server,
    names: &PodNames,
    from_ms: i64,
    to_ms: i64,
) -> Result<HashMap<Key, Extra>> {
    let mut extras: HashMap<Key, Extra> = HashMap::new();
    let mut add = |series: Vec<Series>, of: &dyn Fn(&mut Extra) -> &mut Option<i64>, scale: f64| {
        for series in series {
            // The youngest pod that bore the name then.
            let (Some(key), Some(amount)) = (key(&series, names, to_ms), series.last()) else {
                continue;
            };
            if let Some(amount) = whole(amount * scale).and_then(|amount| i64::try_from(amount).ok()) {
                let sum = of(extras.entry(key).or_default());
                *sum = Some(sum.unwrap_or(0) + amount);
            }
        }
    };
    let increase = async |metric: &str| {
        server
            .over("increase", metric, CONTAINERS, from_ms, to_ms, "")
            .await
    };
    add(
        increase("container_cpu_cfs_periods_total").await?,
        &|extra| &mut extra.cpu_periods,
        1.0,
    );
    let throttled = increase("container_cpu_cfs_throttled_periods_total").await?;
    add(throttled, &|extra| &mut extra.cpu_throttled_periods, 1.0);
    // How busy a GPU was, from 0 to 1, or where that is not told in percent.
    let mut gpu = ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1000.0);
    let mut busy = server.samples(gpu.0, "", from_ms, to_ms).await?;
    if busy.is_empty() {
        gpu = ("DCGM_FI_DEV_GPU_UTIL", 10.0);
        busy = server.samples(gpu.0, "", from_ms, to_ms).await?;
    }
    let interval_ms = super::presence::interval(busy.iter().map(|series| series.samples.as_slice()));
    if let Some(interval_ms) = interval_ms {
        #[expect(clippy::cast_precision_loss, reason = "an hour of milliseconds")]
        let interval = interval_ms as f64;
        let sums = |value: &dyn Fn(f64) -> f64| -> Vec<Series> {
            let series = busy.iter().map(|series| Series {
                labels: series.labels.clone(),
                samples: vec![(to_ms, series.samples.iter().map(|(_, found)| value(*found)).sum())],
            });
            series.collect()
        };
        // Each sample stands for the time until the next.
        add(
            sums(&|found| found * gpu.1),
            &|extra| &mut extra.gpu_usage_milligpu_ms,
            interval,
        );
        add(sums(&|_| 1.0), &|extra| &mut extra.gpu_measured_ms, interval);
        let held = server
            .over("max_over_time", "DCGM_FI_DEV_FB_USED", "", from_ms, to_ms, "")
            .await?;
        // In MiB.
        add(
            held,
            &|extra| &mut extra.gpu_memory_peak_bytes,
            f64::from(1 << 20),
        );
    }
    Ok(extras)
}

fn key(series: &Series, names: &PodNames, at_ms: i64) -> Option<Key> {
    let (namespace, pod, container) = (
        series.label("namespace"),
        series.label("pod"),
        series.label("container"),
    );
    if pod.is_empty() || container.is_empty() {
        return None;
    }
    Some(Key {
        pod_uid: names.uid(namespace, pod, at_ms)?.to_owned(),
        container_name: container.to_owned(),
    })
}

/// What tells a container from the next of its name: its cgroup or its name at the runtime, and who measured it.
fn id(series: &Series) -> String {
    let text = |name: &str| series.labels.get(name).map_or("", String::as_str);
    ["namespace", "pod", "container", "id", "name", "instance"]
        .map(text)
        .join("\n")
}

/// A number that is not negative, as a whole one.
fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (0.0..1.8e19).contains(&number).then(|| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn series(id: &str, samples: &[(i64, f64)]) -> Series {
        let labels = [("namespace", "n"), ("pod", "p"), ("container", "c"), ("id", id)];
        Series {
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            samples: samples
                .iter()
                .map(|(second, value)| (second * 1000, *value))
                .collect(),
        }
    }

    #[test]
    fn a_name_means_the_youngest_pod_that_was_made_by_then() {
        let mut names = PodNames::default();
        names.add("n", "p", "second", 100, 200);
        names.add("n", "p", "first", 0, 90);
        assert_eq!(names.uid("n", "p", 99), Some("first"));
        assert_eq!(names.uid("n", "p", 100), Some("second"));
        assert_eq!(names.uid("n", "p", -1), None);
        names.forget_before(150);
        assert_eq!(names.uid("n", "p", 99), None);
    }

    #[test]
    fn the_counter_of_a_container_that_is_gone_is_not_taken_for_its_successors() {
        let mut names = PodNames::default();
        names.add("n", "p", "u", 0, i64::MAX);
        let mut fold = Fold::new(SignedDuration::from_secs(30));
        let mut usage = Usage::default();
        // The first used a core for a minute; it is told of for a minute more, although the second has begun to use two.
        let old = [(30, 0.0), (60, 30.0), (90, 60.0), (120, 60.0), (150, 60.0)];
        let new = [(120, 20.0), (150, 80.0), (180, 140.0)];
        let started = HashMap::from([(id(&series("/new", &[])), 110_000)]);
        usage.piece(
            &[series("/new", &new), series("/old", &old)],
            &[],
            &started,
            &names,
            &mut fold,
        );
        // And in the next piece still.
        usage.piece(
            &[series("/old", &[(180, 60.0), (210, 60.0)])],
            &[],
            &started,
            &names,
            &mut fold,
        );
        let hours = fold.finish(1);
        assert_eq!(hours.len(), 1);
        assert_eq!(hours[0].cpu_usage_millicore_ms, (60 + 140) * 1_000_000);
        assert_eq!(fold.counts().implausible, 0);
    }
}
