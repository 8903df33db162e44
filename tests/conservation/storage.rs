//! Random facts of volumes, of who mounts them, of load balancers, and of what all that costs.

use proptest::prelude::*;

use super::at;

/// Half of the facts mount a claim; times are in minutes since 10:00, with `second` to tell any two facts apart.
fn text(
    namespace: &str,
    kind: u8,
    (pod, thing): (u8, u8),
    (minute, second): (u16, u16),
    size: u32,
) -> (&'static str, String) {
    let observed = format!("({} + interval {second} second)", at(minute));
    match kind {
        0..=3 => (
            "pod_claims",
            format!(
                "select 'c' as cluster, 'p{pod}' as pod_uid, 'c{thing}' as claim_name, '{namespace}' as namespace, \
                 {observed} as observed_at"
            ),
        ),
        4 => (
            "volume_claims",
            format!(
                "select 'c' as cluster, 'u{thing}' as claim_uid, {observed} as observed_at, 'c{thing}' as claim_name, \
                 '{namespace}' as namespace, 'gp3' as storage_class, {size}::bigint * 1000 as requested_bytes, \
                 timestamp '2026-11-16 09:30:00' as created_at, {}::timestamp as deleted_at",
                if size.is_multiple_of(3) {
                    observed.as_str()
                } else {
                    "null"
                }
            ),
        ),
        5 => (
            "volume_states",
            format!(
                "select 'c' as cluster, 'v{thing}' as volume_uid, {observed} as observed_at, 'v{thing}' as volume, \
                 'gp3' as storage_class, '{}' as phase, {size}::bigint * 1048576 as capacity_bytes, 'u{thing}' as claim_uid, \
                 timestamp '2026-11-16 09:40:00' as created_at, {}::timestamp as deleted_at",
                if size.is_multiple_of(4) {
                    "Released"
                } else {
                    "Bound"
                },
                if size.is_multiple_of(5) {
                    observed.as_str()
                } else {
                    "null"
                }
            ),
        ),
        6 => (
            "service_states",
            format!(
                "select 'c' as cluster, 's{thing}' as service_uid, {observed} as observed_at, 's{thing}' as service_name, \
                 '{namespace}' as namespace, {observed} as created_at, {}::timestamp as deleted_at",
                if size.is_multiple_of(3) {
                    observed.as_str()
                } else {
                    "null"
                }
            ),
        ),
        7 => (
            "service_prices",
            format!(
                "select 'aws' as provider, 'us-east-1' as region, 'EBS' as service, 'gp3 storage' as item, 'GB-month' as unit, \
                 {observed} as valid_from_at, ({size}::decimal(18,9) / 1000)::decimal(18,9) as price_usd, 'test' as source"
            ),
        ),
        _ => (
            "price_overrides",
            format!(
                "select '{}' as selector, '' as selector_key, '*' as selector_value, '' as region, {observed} as valid_from_at, \
                 ({size}::decimal(18,9) / 100000000)::decimal(18,9) as hourly_usd, 'test' as source",
                if size.is_multiple_of(2) {
                    "control_plane"
                } else {
                    "load_balancer"
                }
            ),
        ),
    }
}

/// One fact of pods and claims in this namespace, at a second of its own as far as chance goes.
pub fn fact(namespace: &'static str) -> impl Strategy<Value = (&'static str, String)> {
    (
        0..9_u8,
        (0..6_u8, 0..3_u8),
        (0..400_u16, 0..60_u16),
        0..100_000_000_u32,
    )
        .prop_map(move |(kind, which, when, size)| text(namespace, kind, which, when, size))
}

/// Facts of which no two were observed in the same second.
pub fn facts(namespace: &'static str) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let one = (0..9_u8, (0..6_u8, 0..3_u8), 0..400_u16, 0..100_000_000_u32);
    prop::collection::vec(one, 0..14).prop_map(move |facts| {
        (0..)
            .zip(facts)
            .map(|(second, (kind, which, minute, size))| text(namespace, kind, which, (minute, second), size))
            .collect()
    })
}
