//! What volumes and the control plane of a simulated platform really cost, and who pays: computed plainly, hour by hour.

use std::collections::BTreeMap;

use podledger_simulator::truth::{PodTruth, VOLUME_NANO, VolumeTruth};

const HOUR: i64 = 3_600_000;

/// Storage that no pod pays for, as it is told: nobody mounts it, or nobody needs it.
#[derive(Debug, Default)]
pub struct Unmounted {
    /// Nano-dollars by team and pipeline.
    pub storage: BTreeMap<String, i128>,
    pub orphaned: BTreeMap<String, i128>,
}

/// The hours that [`from`, `to`) touches, each with the part of it within.
fn hours(from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
    (from.div_euclid(HOUR)..=(to - 1).div_euclid(HOUR))
        .map(move |hour| ((hour * HOUR).max(from), (hour * HOUR + HOUR).min(to)))
        .filter(|(from, to)| from < to)
}

/// What an hour of so many bytes costs, for a part of the hour.
fn cost(bytes: i64, ms: i64) -> i128 {
    i128::from(bytes) * i128::from(ms) * VOLUME_NANO / ((1 << 30) * 730 * i128::from(HOUR))
}

/// Lets pods pay for the volumes that they mount; says what they do not pay.
pub fn charge(pods: &mut [PodTruth], volumes: &[VolumeTruth], end_ms: i64) -> Unmounted {
    let mut unmounted = Unmounted::default();
    let mut mounting: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, pod) in pods.iter().enumerate() {
        if let Some(volume) = &pod.volume {
            mounting.entry(volume.clone()).or_default().push(number);
        }
    }
    for volume in volumes {
        let until = volume.deleted_ms.unwrap_or(end_ms);
        // What nobody has needed for less than an hour may be needed again.
        let over = volume
            .orphaned_ms
            .filter(|at| until - at >= HOUR)
            .unwrap_or(until);
        let owner = format!("{}|{}", volume.team, volume.pipeline);
        let of_pods = mounting.get(&volume.uid).cloned().unwrap_or_default();
        for (from, to) in hours(volume.created_ms, over) {
            let held: Vec<(usize, i64)> = of_pods
                .iter()
                .filter_map(|number| {
                    let pod = &pods[*number];
                    let ms = pod.released_ms.unwrap_or(end_ms).min(to) - pod.bound_ms?.max(from);
                    (ms > 0).then_some((*number, ms))
                })
                .collect();
            let all: i64 = held.iter().map(|(_, ms)| ms).sum();
            let (whole, of_hour) = (i128::from(all.max(to - from)), cost(volume.bytes, to - from));
            let mut left = of_hour;
            for (number, ms) in held {
                let part = of_hour * i128::from(ms) / whole;
                *pods[number].costs.entry("storage").or_default() += part;
                left -= part;
            }
            *unmounted.storage.entry(owner.clone()).or_default() += left;
        }
        for (from, to) in hours(over, until) {
            *unmounted.orphaned.entry(owner.clone()).or_default() += cost(volume.bytes, to - from);
        }
    }
    unmounted
}

/// What a managed control plane of 0.10 USD an hour costs, in nano-dollars.
pub fn control_plane(from_ms: i64, to_ms: i64) -> i128 {
    hours(from_ms, to_ms)
        .map(|(from, to)| i128::from(to - from) * 100_000_000 / i128::from(HOUR))
        .sum()
}
