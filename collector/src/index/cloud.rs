//! What labels and identifiers of clouds say of a machine.

use std::collections::BTreeMap;

pub(super) const INSTANCE_TYPE: &[&str] = &[
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
];
pub(super) const REGION: &[&str] = &[
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
];
pub(super) const ZONE: &[&str] = &[
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
pub(super) const POOL: &[&str] = &[
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "doks.digitalocean.com/node-pool",
    "karpenter.sh/provisioner-name",
];

pub(super) const GPU_MODEL: &[&str] = &[
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "k8s.amazonaws.com/accelerator",
    "amd.com/gpu.product-name",
];

/// Labels that tell how capacity is bought, with the values that mean spot and reserved; any other value is on demand.
const CAPACITY_TYPE: &[(&str, &[&str], &[&str])] = &[
    ("karpenter.sh/capacity-type", &["spot"], &["reserved"]),
    ("eks.amazonaws.com/capacityType", &["SPOT"], &["CAPACITY_BLOCK"]),
    ("cloud.google.com/gke-spot", &["true"], &[]),
    ("cloud.google.com/gke-preemptible", &["true"], &[]),
    (
        "cloud.google.com/gke-provisioning",
        &["spot", "preemptible"],
        &["reservation"],
    ),
    ("kubernetes.azure.com/scalesetpriority", &["spot"], &[]),
    ("lifecycle", &["EC2Spot", "Ec2Spot", "spot"], &[]),
    ("node.kubernetes.io/lifecycle", &["spot"], &[]),
];

/// Labels of nodes that tell of their machines.
pub fn node_labels() -> impl Iterator<Item = &'static str> {
    let capacity = CAPACITY_TYPE.iter().map(|(key, _, _)| *key);
    let others = [INSTANCE_TYPE, REGION, ZONE, POOL, GPU_MODEL, &BILLED_BY_POD];
    others.into_iter().flatten().copied().chain(capacity)
}

/// Labels of nodes whose pods are billed, and not they themselves.
const BILLED_BY_POD: [&str; 2] = ["eks.amazonaws.com/compute-type", "type"];

/// How a machine with these labels is bought; `None` where no label tells.
pub(super) fn capacity_type(labels: &BTreeMap<String, String>) -> Option<&'static str> {
    let told = CAPACITY_TYPE.iter().filter_map(|(key, spot, reserved)| {
        let value = labels.get(*key)?.as_str();
        Some(if spot.contains(&value) {
            "spot"
        } else if reserved.contains(&value) {
            "reserved"
        } else {
            "on-demand"
        })
    });
    // Several labels may stand beside each other; the one that says something special is right.
    told.reduce(|one, other| if one == "on-demand" { other } else { one })
}

/// The provider in a `spec.providerID`, by the name that prices use.
pub(super) fn provider(provider_id: &str) -> Option<&'static str> {
    match provider_id.split_once("://")?.0 {
        "aws" => Some("aws"),
        "gce" => Some("gcp"),
        "azure" => Some("azure"),
        "digitalocean" => Some("digitalocean"),
        "openstack" => Some("openstack"),
        "hcloud" => Some("hetzner"),
        "oci" | "ocid1" => Some("oracle"),
        "linode" => Some("linode"),
        "scaleway" => Some("scaleway"),
        "alicloud" => Some("alibaba"),
        "ibm" | "ibmpowervs" => Some("ibm"),
        _ => None,
    }
}

/// How a machine is paid for.
pub(super) fn billing_model(
    node_name: &str,
    labels: &BTreeMap<String, String>,
    provider: Option<&str>,
    instance_type: Option<&str>,
) -> &'static str {
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let [compute_type, node_type] = BILLED_BY_POD;
    let by_pod = is(compute_type, "fargate")
        || is(node_type, "virtual-kubelet")
        // Autopilot names its nodes so; Google bills their pods.
        || provider == Some("gcp") && node_name.starts_with("gk3-");
    match (by_pod, provider, instance_type) {
        (true, _, _) => "pod_request",
        (false, Some(_), Some(_)) => "instance",
        _ => "declared",
    }
}
