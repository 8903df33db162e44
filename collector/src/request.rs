//! What a pod asks of its machine: the effective request, as the scheduler and the kubelet compute it.
//!
//! Source: `k8s.io/component-helpers/resource/helpers.go` of Kubernetes 1.37, where a resize in progress holds the
//! largest of what is wanted, allocated and actuated. (Up to 1.36 that maximum was taken per container.)

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use podledger_sql::units::Quantity;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Nano-units by the name of the resource.
type Amounts = BTreeMap<String, i128>;

/// Nano-units in a unit.
const NANO: i128 = 1_000_000_000;

/// Milli-GPUs of one whole device.
const WHOLE: i64 = 1000;

/// Compute slices of a GPU that MIG profiles are fractions of (NVIDIA MIG user guide, "Supported MIG profiles").
const MIG_SLICES: i64 = 7;

/// An extended resource that counts as accelerators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceleratorKind {
    /// Name of the extended resource: `nvidia.com/gpu`.
    pub resource: String,
    /// Thousandths of a device that one unit of it is.
    pub milligpus: i64,
}

/// The extended resources that count as accelerators where the configuration names no others; MIG profiles
/// (`nvidia.com/mig-2g.10gb`) count by their compute slices without being listed.
#[must_use]
pub fn builtin_accelerator_kinds() -> Vec<AcceleratorKind> {
    [
        "nvidia.com/gpu",
        "amd.com/gpu",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "habana.ai/gaudi",
        "google.com/tpu",
        "aws.amazon.com/neuron",
        "aws.amazon.com/neurondevice",
        "microsoft.com/dxgpu",
        "alibabacloud.com/gpu",
    ]
    .into_iter()
    .map(|resource| AcceleratorKind {
        resource: resource.to_owned(),
        milligpus: WHOLE,
    })
    .collect()
}

/// What is asked for or offered: millicores, bytes (huge pages included) and milli-GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub cpu_millicores: i64,
    pub memory_bytes: i64,
    pub gpu_milligpus: i64,
}

/// How containers differ in what their request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// Runs as long as the pod does.
    Container,
    /// An init container that keeps running: `restartPolicy: Always`.
    Sidecar,
    /// Runs to its end before the next one starts.
    Init,
}

impl ContainerKind {
    /// The word that facts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Sidecar => "sidecar",
            Self::Init => "init",
        }
    }
}

/// The effective request of a pod.
///
/// # Errors
/// [`Error::Object`] for a quantity that is none or too large, with the field it stands in.
pub fn effective_request(pod: &Pod, accelerators: &[AcceleratorKind]) -> Result<Resources> {
    let Some(spec) = &pod.spec else {
        return Ok(Resources::default());
    };
    let status = pod.status.as_ref();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let init_statuses = status.and_then(|status| status.init_container_statuses.as_deref());
    let statuses = status.and_then(|status| status.container_statuses.as_deref());

    let wanted = aggregate(&spec.containers, inits, |container| {
        requested(container.resources.as_ref())
    })?;
    let held = |part: fn(&ContainerStatus) -> Option<&BTreeMap<String, Text>>| {
        aggregate(&spec.containers, inits, |container| {
            let of = |statuses: Option<&'_ [ContainerStatus]>| {
                statuses
                    .into_iter()
                    .flatten()
                    .find(|status| status.name == container.name)
                    .and_then(part)
                    .map(amounts)
            };
            of(statuses)
                .or_else(|| of(init_statuses))
                .unwrap_or_else(|| requested(container.resources.as_ref()))
        })
    };
    let is_resized = statuses
        .into_iter()
        .chain(init_statuses)
        .flatten()
        .any(|status| status.allocated_resources.is_some() || status.resources.is_some());
    let mut total = if is_resized {
        let allocated = held(|status| status.allocated_resources.as_ref())?;
        let actuated = held(|status| {
            status
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.as_ref())
        })?;
        let mut total = largest(allocated, actuated);
        if !is_infeasible(pod) {
            total = largest(total, wanted);
        }
        total
    } else {
        wanted
    };

    if let Some(of_pod) = &spec.resources {
        let mut replacing = requested(Some(of_pod))?;
        if let Some(status) = status {
            let allocated = status.allocated_resources.as_ref().map(amounts).transpose()?;
            let actuated = status
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.as_ref())
                .map(amounts)
                .transpose()?;
            if let Some(held) = [allocated, actuated].into_iter().flatten().reduce(largest) {
                replacing = if is_infeasible(pod) {
                    held
                } else {
                    largest(replacing, held)
                };
            }
        }
        for (name, amount) in replacing {
            if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
                total.insert(name, amount);
            }
        }
    }
    if let Some(overhead) = &spec.overhead {
        add(&mut total, &amounts(overhead)?);
    }
    resources(&total, accelerators)
}

/// The request of one container.
///
/// # Errors
/// As [`effective_request`].
pub fn container_request(container: &Container, accelerators: &[AcceleratorKind]) -> Result<Resources> {
    resources(&requested(container.resources.as_ref())?, accelerators)
}

/// What a container may take at most; `None`: as much as its node has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_millicores: Option<i64>,
    pub memory_bytes: Option<i64>,
}

/// The limits of one container of a pod: the lower of its own and the pod's. Of a resize, the higher of what is wanted and what the
/// kubelet says is in force: nothing is taken above it. Huge pages are not counted: the limit of memory is not theirs.
///
/// # Errors
/// As [`effective_request`].
pub fn container_limits(pod: &Pod, container: &Container) -> Result<Limits> {
    let status = pod.status.as_ref();
    let inits = status.and_then(|status| status.init_container_statuses.as_ref());
    let regular = status.and_then(|status| status.container_statuses.as_ref());
    let of_container = inits
        .into_iter()
        .chain(regular)
        .flatten()
        .find(|status| status.name == container.name)
        .and_then(|status| status.resources.as_ref());
    let own = limits(container.resources.as_ref(), of_container)?;
    let wanted_of_pod = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let of_pod = limits(wanted_of_pod, status.and_then(|status| status.resources.as_ref()))?;
    let lower = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
    Ok(Limits {
        cpu_millicores: lower(own.cpu_millicores, of_pod.cpu_millicores),
        memory_bytes: lower(own.memory_bytes, of_pod.memory_bytes),
    })
}

/// Limits as they are wanted and as they are in force, where that is told.
fn limits(wanted: Option<&ResourceRequirements>, in_force: Option<&ResourceRequirements>) -> Result<Limits> {
    let of = |resources: &ResourceRequirements| -> Result<Limits> {
        let found = resources.limits.as_ref().map(amounts).transpose()?;
        let found = found.unwrap_or_default();
        let whole = |name: &str, unit: i128| {
            found
                .get(name)
                .map(|amount| fits(ceiling(*amount, unit), name))
                .transpose()
        };
        Ok(Limits {
            cpu_millicores: whole("cpu", NANO / 1000)?,
            memory_bytes: whole("memory", NANO)?,
        })
    };
    let wanted = wanted.map(of).transpose()?.unwrap_or_default();
    let Some(in_force) = in_force.map(of).transpose()? else {
        return Ok(wanted);
    };
    let higher = |one: Option<i64>, other: Option<i64>| one.zip(other).map(|(one, other)| one.max(other));
    Ok(Limits {
        cpu_millicores: higher(wanted.cpu_millicores, in_force.cpu_millicores),
        memory_bytes: higher(wanted.memory_bytes, in_force.memory_bytes),
    })
}

/// What a node has or offers: `capacity` or `allocatable`. Huge pages count as memory only where the node has set them
/// apart from it, as it does in `allocatable`.
///
/// # Errors
/// As [`effective_request`].
pub fn node_resources(
    list: Option<&BTreeMap<String, Text>>,
    with_huge_pages: bool,
    accelerators: &[AcceleratorKind],
) -> Result<Resources> {
    let mut amounts = list.map(amounts).transpose()?.unwrap_or_default();
    if !with_huge_pages {
        amounts.retain(|name, _| !name.starts_with("hugepages-"));
    }
    resources(&amounts, accelerators)
}

/// The kind of an init container.
#[must_use]
pub fn init_kind(container: &Container) -> ContainerKind {
    if container.restart_policy.as_deref() == Some("Always") {
        ContainerKind::Sidecar
    } else {
        ContainerKind::Init
    }
}

/// Whether the kubelet has said that the wanted size will never fit.
fn is_infeasible(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    status.resize.as_deref() == Some("Infeasible")
        || status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodResizePending"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("Infeasible")
        })
}

/// `max(sum of containers and sidecars, the largest that any init container needs beside the sidecars before it)`.
fn aggregate(
    containers: &[Container],
    inits: &[Container],
    of: impl Fn(&Container) -> Result<Amounts>,
) -> Result<Amounts> {
    let mut running = Amounts::new();
    for container in containers {
        add(&mut running, &of(container)?);
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for init in inits {
        let mut needed = of(init)?;
        add(&mut needed, &sidecars);
        if init_kind(init) == ContainerKind::Sidecar {
            sidecars.clone_from(&needed);
        }
        peak = largest(peak, needed);
    }
    add(&mut running, &sidecars);
    Ok(largest(running, peak))
}

/// Requests; where a container has a limit alone, the limit is its request, as the API server defaults it.
fn requested(resources: Option<&ResourceRequirements>) -> Result<Amounts> {
    let Some(resources) = resources else {
        return Ok(Amounts::new());
    };
    let mut found = resources
        .limits
        .as_ref()
        .map(amounts)
        .transpose()?
        .unwrap_or_default();
    if let Some(requests) = &resources.requests {
        found.extend(amounts(requests)?);
    }
    Ok(found)
}

fn amounts(list: &BTreeMap<String, Text>) -> Result<Amounts> {
    list.iter()
        .map(|(name, text)| {
            let quantity = Quantity::parse(&text.0).map_err(|source| Error::Object {
                field: format!("resources.{name}"),
                reason: source.to_string(),
            })?;
            if quantity.nano() < 0 {
                return Err(Error::Object {
                    field: format!("resources.{name}"),
                    reason: format!("`{}` is negative", text.0),
                });
            }
            Ok((name.clone(), quantity.nano()))
        })
        .collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn largest(mut one: Amounts, other: Amounts) -> Amounts {
    for (name, amount) in other {
        let held = one.entry(name).or_default();
        *held = amount.max(*held);
    }
    one
}

fn resources(amounts: &Amounts, accelerators: &[AcceleratorKind]) -> Result<Resources> {
    let (mut cpu, mut memory, mut gpu) = (0_i128, 0_i128, 0_i128);
    for (name, amount) in amounts {
        if name == "cpu" {
            cpu = ceiling(*amount, NANO / 1000);
        } else if name == "memory" || name.starts_with("hugepages-") {
            memory = memory.saturating_add(ceiling(*amount, NANO));
        } else if let Some(each) = milligpus(name, accelerators) {
            gpu = gpu.saturating_add(ceiling(*amount, NANO).saturating_mul(i128::from(each)));
        }
    }
    Ok(Resources {
        cpu_millicores: fits(cpu, "cpu")?,
        memory_bytes: fits(memory, "memory")?,
        gpu_milligpus: fits(gpu, "accelerators")?,
    })
}

fn fits(amount: i128, name: &str) -> Result<i64> {
    i64::try_from(amount).map_err(|_| Error::Object {
        field: format!("resources.{name}"),
        reason: "the sum does not fit 64 bits".to_owned(),
    })
}

fn ceiling(amount: i128, divisor: i128) -> i128 {
    amount / divisor + i128::from(amount % divisor > 0)
}

/// Thousandths of a device that one unit of an extended resource is; `None` where it is no accelerator.
fn milligpus(resource: &str, accelerators: &[AcceleratorKind]) -> Option<i64> {
    if let Some(kind) = accelerators.iter().find(|kind| kind.resource == resource) {
        return Some(kind.milligpus);
    }
    let profile = resource.strip_prefix("nvidia.com/mig-")?;
    let slices: i64 = profile.split('g').next()?.parse().ok()?;
    (1..=MIG_SLICES)
        .contains(&slices)
        .then(|| slices * WHOLE / MIG_SLICES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(name: &str, cpu: i64) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu.to_string()}}})
    }

    fn sidecar(name: &str, cpu: i64) -> Value {
        let mut made = container(name, cpu);
        made["restartPolicy"] = json!("Always");
        made
    }

    fn request(pod: Value) -> Resources {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        effective_request(&pod, &builtin_accelerator_kinds()).unwrap()
    }

    fn cpu_of(spec: Value) -> i64 {
        request(json!({"spec": spec})).cpu_millicores
    }

    #[test]
    fn sidecars_count_with_containers_and_with_the_init_containers_after_them() {
        let cases = [
            (
                vec![
                    container("i", 5),
                    sidecar("a", 1),
                    sidecar("b", 2),
                    sidecar("c", 3),
                ],
                1,
                7,
            ),
            (
                vec![
                    container("i", 5),
                    sidecar("a", 1),
                    sidecar("b", 2),
                    container("j", 5),
                    sidecar("c", 3),
                ],
                1,
                8,
            ),
            (vec![sidecar("a", 10), container("i", 200)], 100, 210),
            (vec![container("i", 4), container("j", 3)], 1, 4),
            (vec![], 2, 2),
        ];
        for (inits, main, expected) in cases {
            let spec = json!({"initContainers": inits, "containers": [container("main", main)]});
            assert_eq!(cpu_of(spec.clone()), expected * 1000, "{spec}");
        }
    }

    #[test]
    fn the_request_of_the_pod_replaces_those_of_its_containers_and_overhead_comes_on_top() {
        let pod = json!({"spec": {
            "resources": {"requests": {"cpu": "18m", "memory": "15Mi"}},
            "overhead": {"cpu": "2m", "memory": "1Mi"},
            "containers": [{"name": "c", "resources": {"requests": {
                "cpu": "12m", "memory": "11Mi", "nvidia.com/gpu": "1"}}}],
        }});
        let expected = Resources {
            cpu_millicores: 20,
            memory_bytes: 16 << 20,
            gpu_milligpus: 1000,
        };
        assert_eq!(request(pod), expected);
    }

    fn resizing(condition: Value) -> Value {
        json!({
            "spec": {"containers": [container("c", 6)]},
            "status": {
                "conditions": [condition],
                "containerStatuses": [{
                    "name": "c", "allocatedResources": {"cpu": "4"}, "resources": {"requests": {"cpu": "2"}},
                }],
            },
        })
    }

    #[test]
    fn a_resize_holds_the_most_and_what_can_never_be_does_not_count() {
        let deferred = json!({"type": "PodResizePending", "status": "True", "reason": "Deferred"});
        let infeasible = json!({"type": "PodResizePending", "status": "True", "reason": "Infeasible"});
        assert_eq!(request(resizing(deferred)).cpu_millicores, 6000);
        assert_eq!(request(resizing(infeasible)).cpu_millicores, 4000);
        let mut shrinking = resizing(json!({"type": "PodResizeInProgress", "status": "True"}));
        shrinking["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("1");
        assert_eq!(request(shrinking).cpu_millicores, 4000);
        let mut older = resizing(json!({"type": "Ready", "status": "True"}));
        older["status"]["resize"] = json!("Infeasible");
        assert_eq!(request(older).cpu_millicores, 4000);
    }

    #[test]
    fn memory_includes_huge_pages_and_accelerators_count_by_their_fraction() {
        let of = |requests: Value| {
            request(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}))
        };
        assert_eq!(
            of(json!({"memory": "1Gi", "hugepages-2Mi": "512Mi"})).memory_bytes,
            1536 << 20
        );
        assert_eq!(of(json!({"nvidia.com/gpu": "2"})).gpu_milligpus, 2000);
        assert_eq!(of(json!({"nvidia.com/mig-3g.20gb": "2"})).gpu_milligpus, 856);
        assert_eq!(
            of(json!({"nvidia.com/mig-1g.10gb.me": 1.to_string()})).gpu_milligpus,
            142
        );
        assert_eq!(
            of(json!({"example.com/fpga": "2", "ephemeral-storage": "4Gi"})),
            Resources::default()
        );
    }

    #[test]
    fn a_limit_without_a_request_is_the_request() {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {
            "limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}});
        let expected = Resources {
            cpu_millicores: 500,
            memory_bytes: 1 << 30,
            gpu_milligpus: 0,
        };
        assert_eq!(request(pod), expected);
    }

    #[test]
    fn a_limit_is_the_lower_of_the_container_s_and_the_pod_s_and_the_higher_of_a_resize() {
        let of = |limits: Value, pod: Value, in_force: Value| {
            let pod: Pod = serde_json::from_value(json!({
                "spec": {"containers": [{"name": "c", "resources": {"limits": limits}}], "resources": {"limits": pod}},
                "status": {"containerStatuses": [
                    {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "resources": in_force},
                ]},
            }))
            .unwrap();
            let found = container_limits(&pod, &pod.spec.as_ref().unwrap().containers[0]).unwrap();
            (found.cpu_millicores, found.memory_bytes)
        };
        let none = || json!({});
        assert_eq!(of(none(), none(), Value::Null), (None, None));
        let limits = json!({"cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "1Gi"});
        assert_eq!(
            of(limits.clone(), none(), Value::Null),
            (Some(1500), Some(1 << 30))
        );
        let of_pod = json!({"cpu": "1", "memory": "4Gi"});
        assert_eq!(
            of(limits.clone(), of_pod.clone(), Value::Null),
            (Some(1000), Some(1 << 30))
        );
        assert_eq!(of(none(), of_pod, Value::Null), (Some(1000), Some(4 << 30)));
        // It shrinks, and has not yet; and what is in force has no limit of CPU.
        let in_force = json!({"limits": {"memory": "2Gi"}});
        assert_eq!(of(limits, none(), in_force), (None, Some(2 << 30)));
    }

    #[test]
    fn fractions_round_up_and_a_quantity_that_is_none_is_named() {
        let pod = |cpu: &str| {
            let pod =
                json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            effective_request(&pod, &[])
        };
        assert_eq!(pod("1u").unwrap().cpu_millicores, 1);
        assert_eq!(pod("1e-1").unwrap().cpu_millicores, 100);
        assert!(pod("much").unwrap_err().to_string().contains("resources.cpu"));
        assert!(pod("-1").unwrap_err().to_string().contains("negative"));
        assert!(pod("9E").unwrap_err().to_string().contains("64 bits"));
    }
}
