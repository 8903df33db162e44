//! What containers use, moment by moment: what kubelets measure, and the truth that measurements are held against.
//!
//! CPU goes up and down around a share of what was asked for; memory grows at first and then breathes a little. Both follow
//! from the pod's UID and from what it says of itself.

use serde::Deserialize;
use serde_json::Value;

/// The annotation that says how much of its CPU and memory a pod uses, in percent: `40,55`.
pub const ANNOTATION: &str = "simulation.podledger.io/usage-percent";

/// For so long CPU stays as it is.
const BLOCK_MS: i64 = 20_000;

/// For so long memory grows.
const GROWTH_MS: i64 = 600_000;

/// How long a breath of memory takes.
const BREATH_MS: i64 = 400_000;

/// How a container uses what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Around this it goes, in millicores.
    cpu_millicores: i64,
    /// The most that it ever has.
    memory_bytes: i64,
    seed: u64,
}

impl Profile {
    /// Of a container that asks for so much and uses so many percent of it. What asks for nothing uses a little.
    #[must_use]
    pub fn new(pod_uid: &str, request: [i64; 2], percent: [i64; 2]) -> Self {
        let or = |amount: i64, little: i64| if amount > 0 { amount } else { little };
        Self {
            cpu_millicores: or(request[0], 100) * percent[0] / 100,
            memory_bytes: or(request[1], 100 << 20) / 100 * percent[1].clamp(1, 100),
            seed: pod_uid
                .bytes()
                .fold(7, |seed: u64, byte| mixed(seed ^ u64::from(byte))),
        }
    }

    /// Of the container of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let percent = pod.metadata.annotations.get(ANNOTATION).and_then(|text| {
            let (cpu, memory) = text.split_once(',')?;
            Some([cpu.parse().ok()?, memory.parse().ok()?])
        });
        let requests = pod
            .spec
            .containers
            .first()
            .map(|container| &container.resources.requests);
        let amount = |name: &str, read: fn(&str) -> Option<i64>| {
            let text = requests
                .and_then(|requests| requests.get(name))
                .and_then(Value::as_str);
            text.and_then(read).unwrap_or(0)
        };
        Self::new(
            &pod.metadata.uid,
            [amount("cpu", millicores), amount("memory", bytes)],
            percent.unwrap_or([40, 55]),
        )
    }

    /// Processor time between two instants, in nanoseconds.
    #[must_use]
    pub fn cpu_nanoseconds(&self, from_ms: i64, to_ms: i64) -> u64 {
        let mut nanoseconds = 0;
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let block = at_ms.div_euclid(BLOCK_MS);
            let until_ms = to_ms.min((block + 1) * BLOCK_MS);
            let random = mixed(self.seed ^ block.cast_unsigned());
            // From half of it to one and a half.
            let permille = 500 + i64::try_from(random % 1001).unwrap_or(0);
            nanoseconds += self.cpu_millicores * permille * (until_ms - at_ms);
            at_ms = until_ms;
        }
        u64::try_from(nanoseconds).unwrap_or(0)
    }

    /// Memory at an instant of a container that started at another.
    #[must_use]
    pub fn memory_bytes(&self, started_ms: i64, at_ms: i64) -> u64 {
        let age = at_ms - started_ms;
        // In millionths: in coarser steps what is sampled at whole seconds would lie above what there is between them.
        let grown = 700_000 + 200_000 * age.clamp(0, GROWTH_MS) / GROWTH_MS;
        // Up by a tenth and down again.
        let phase = age.rem_euclid(BREATH_MS);
        let breath = 100_000 * phase.min(BREATH_MS - phase) / (BREATH_MS / 2);
        let bytes = i128::from(self.memory_bytes) * i128::from(grown + breath) / 1_000_000;
        u64::try_from(bytes).unwrap_or(0)
    }
}

/// SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Quantities as this simulator writes them.
fn millicores(text: &str) -> Option<i64> {
    match text.strip_suffix('m') {
        Some(text) => text.parse().ok(),
        None => Some(text.parse::<i64>().ok()? * 1000),
    }
}

fn bytes(text: &str) -> Option<i64> {
    for (suffix, shift) in [("Ki", 10), ("Mi", 20), ("Gi", 30)] {
        if let Some(text) = text.strip_suffix(suffix) {
            return Some(text.parse::<i64>().ok()? << shift);
        }
    }
    text.parse().ok()
}

/// A pod, as far as measuring it needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    pub uid: String,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub node_name: String,
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    pub name: String,
    pub resources: Resources,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub requests: std::collections::BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    pub name: String,
    pub state: State,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct State {
    pub running: Option<Running>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    pub started_at: jiff::Timestamp,
}
