//! What a kubelet answers on `/stats/summary`, as far as costs need it.

use jiff::Timestamp;
use serde::Deserialize;

use super::fold::{Key, Sample};

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct PodRef {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    time: Timestamp,
    working_set_bytes: Option<u64>,
}

/// The samples in an answer, in its order. A container that was not measured yet has none.
///
/// # Errors
/// Where the answer is no summary.
pub fn samples(text: &[u8]) -> Result<Vec<(Key, Sample)>, serde_json::Error> {
    let summary: Summary = serde_json::from_slice(text)?;
    let mut samples = Vec::new();
    for pod in summary.pods {
        for container in pod.containers {
            let times = [
                container.cpu.as_ref().map(|cpu| cpu.time),
                container.memory.as_ref().map(|memory| memory.time),
            ];
            let Some(at) = times.into_iter().flatten().max() else {
                continue;
            };
            let sample = Sample {
                at,
                started_at: container.start_time.filter(|at| *at > Timestamp::UNIX_EPOCH),
                cpu_core_nanoseconds: container.cpu.and_then(|cpu| cpu.usage_core_nano_seconds),
                memory_working_set_bytes: container.memory.and_then(|memory| memory.working_set_bytes),
            };
            if sample.cpu_core_nanoseconds.is_some() || sample.memory_working_set_bytes.is_some() {
                let key = Key {
                    pod_uid: pod.pod_ref.uid.clone(),
                    container_name: container.name,
                };
                samples.push((key, sample));
            }
        }
    }
    Ok(samples)
}
