//! What Fargate bills a pod for: the configuration that it provisioned, told by the pod or worked out as AWS does.
//!
//! Source: Amazon EKS user guide, "Fargate Pod configuration": 256 MB are added to the memory that the pod asks for, and
//! the sum is rounded up to the smallest of the combinations below; the annotation `CapacityProvisioned` tells which.

use k8s_openapi::api::core::v1::Pod;

use crate::request::Resources;

const PROFILE_LABEL: &str = "eks.amazonaws.com/fargate-profile";
const PROVISIONED_ANNOTATION: &str = "CapacityProvisioned";

const GIB: i64 = 1 << 30;
/// What the Kubernetes components on the machine take.
const COMPONENTS: i64 = 256 << 20;

/// Millicores; smallest and largest memory in MiB, and the step between.
const COMBINATIONS: &[(i64, i64, i64, i64)] = &[
    (250, 512, 2_048, 512),
    (500, 1_024, 4_096, 1_024),
    (1_000, 2_048, 8_192, 1_024),
    (2_000, 4_096, 16_384, 1_024),
    (4_000, 8_192, 30_720, 1_024),
    (8_000, 16_384, 61_440, 4_096),
    (16_000, 32_768, 122_880, 8_192),
];

/// What a pod on Fargate is billed for, in millicores and bytes; `None` for a pod that does not run there, and for one that
/// asks for more than there is.
#[must_use]
pub fn billed_shape(pod: &Pod, request: &Resources) -> Option<(i64, i64)> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get(PROFILE_LABEL)?;
    let annotations = pod.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| told(annotations.get(PROVISIONED_ANNOTATION)?))
        .or_else(|| smallest(request.cpu_millicores, request.memory_bytes))
}

/// `0.25vCPU 0.5GB`: a GB is a GiB here.
fn told(text: &str) -> Option<(i64, i64)> {
    let (cpu, memory) = text.trim().split_once(' ')?;
    let cpu = thousandths(cpu.trim().strip_suffix("vCPU")?)?;
    let memory = thousandths(memory.trim().strip_suffix("GB")?)?;
    Some((cpu, memory.checked_mul(GIB)? / 1000))
}

/// A decimal number with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: i64 = format!("{decimals:0<3}").parse().ok()?;
    let whole: i64 = whole.parse().ok().filter(|whole| *whole >= 0)?;
    whole.checked_mul(1000)?.checked_add(decimals)
}

fn smallest(cpu_millicores: i64, memory_bytes: i64) -> Option<(i64, i64)> {
    let wanted = memory_bytes.checked_add(COMPONENTS)?;
    COMBINATIONS
        .iter()
        .filter(|(millicores, ..)| *millicores >= cpu_millicores)
        .find_map(|(millicores, least, most, step)| {
            let mib = (wanted + (1 << 20) - 1) >> 20;
            let steps = (mib - least).max(0) + step - 1;
            let provisioned = least + steps / step * step;
            (provisioned <= *most).then_some((*millicores, provisioned << 20))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(cpu: &str, memory: &str, provisioned: Option<&str>) -> Option<(i64, i64)> {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {
                "labels": {PROFILE_LABEL: "p"},
                "annotations": provisioned.map(|text| serde_json::json!({PROVISIONED_ANNOTATION: text})),
            },
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
        }))
        .unwrap();
        billed_shape(&pod, &crate::request::effective_request(&pod, &[]).unwrap())
    }

    #[test]
    fn the_smallest_combination_that_holds_pod_and_components_is_billed() {
        let gib = |tenths: i64| tenths * GIB / 10;
        for (cpu, memory, expected) in [
            ("0", "0", Some((250, gib(5)))),
            // The guide's own example: with the components 8 GB do not fit into 1 vCPU.
            ("1", "8Gi", Some((2_000, gib(90)))),
            ("250m", "256Mi", Some((250, gib(5)))),
            ("250m", "257Mi", Some((250, gib(10)))),
            ("300m", "1Gi", Some((500, gib(20)))),
            ("16", "119Gi", Some((16_000, gib(1200)))),
            ("17", "1Gi", None),
            ("1", "200Gi", None),
        ] {
            assert_eq!(shape(cpu, memory, None), expected, "{cpu} {memory}");
        }
    }

    #[test]
    fn what_the_pod_tells_is_believed_if_it_can_be_read() {
        assert_eq!(shape("4", "1Gi", Some("0.25vCPU 0.5GB")), Some((250, GIB / 2)));
        assert_eq!(shape("1", "1Gi", Some("lots")), Some((1_000, 2 * GIB)));
        let elsewhere = serde_json::from_value(serde_json::json!({"metadata": {}})).unwrap();
        assert_eq!(billed_shape(&elsewhere, &Resources::default()), None);
    }
}
