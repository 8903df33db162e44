//! What a lake knows of things that are there for a while and are told again when they change: objects of the cluster that are no pods.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{Spans, facts};
use crate::harness::World;

/// Facts of one kind of things.
struct Kind {
    table: &'static str,
    /// Where its facts are, with when a thing was first there (`made_at`) and when it was gone (`gone_at`).
    from: &'static str,
    /// What identifies a thing.
    key: &'static str,
    /// What orders what is told of it.
    order: &'static str,
    /// What else is told, and does not depend on when it was seen.
    columns: &'static str,
    /// Whether what was told before the last does not depend on it either.
    is_order_free: bool,
}

const KINDS: &[Kind] = &[
    Kind {
        table: "owner_objects",
        from: "(select *, created_at as made_at, deleted_at as gone_at from {owner_objects})",
        key: "owner_uid",
        order: "valid_from_at",
        columns: "kind, name, namespace, labels, annotations, outcome, reason, finished_at, active_deadline_ms",
        is_order_free: true,
    },
    Kind {
        table: "namespace_states",
        from: "(select *, valid_from_at as made_at, deleted_at as gone_at from {namespace_states})",
        key: "namespace",
        order: "valid_from_at",
        columns: "labels, annotations",
        is_order_free: true,
    },
    Kind {
        table: "volume_states",
        from: "(select *, created_at as made_at, deleted_at as gone_at from {volume_states})",
        key: "volume_uid",
        order: "observed_at",
        columns: "volume, phase, storage_class, driver, volume_handle, zone, reclaim_policy, capacity_bytes, claim_namespace, \
            claim_name, claim_uid",
        is_order_free: true,
    },
    Kind {
        table: "volume_claims",
        from: "(select *, created_at as made_at, deleted_at as gone_at from {volume_claims})",
        key: "claim_uid",
        order: "observed_at",
        columns: "claim_name, namespace, phase, storage_class, volume, requested_bytes, labels",
        is_order_free: true,
    },
    Kind {
        table: "service_states",
        from: "(select *, created_at as made_at, deleted_at as gone_at from {service_states})",
        key: "service_uid",
        order: "observed_at",
        columns: "service_name, namespace, load_balancer, labels, created_at",
        is_order_free: true,
    },
    Kind {
        table: "node_claims",
        from: "(select *, created_at as made_at, deleted_at as gone_at from {node_claims})",
        key: "node_claim_uid",
        order: "observed_at",
        columns: "node_claim, node_name, provider_id, pool, instance_type, capacity_type, zone, launched_at, registered_at, \
            initialized_at, disruption_reason",
        is_order_free: true,
    },
    Kind {
        table: "node_states",
        from: "(select *, min(observed_at) over (partition by machine) as made_at from {node_states}) \
            join (select machine, ended_at as gone_at from {machines} \
                qualify row_number() over (partition by machine order by observed_at desc) = 1) using (machine)",
        key: "machine",
        order: "observed_at",
        columns: "cpu_capacity_millicores, cpu_allocatable_millicores, memory_capacity_bytes, memory_allocatable_bytes, \
            gpu_capacity_milligpus, gpu_allocatable_milligpus, readiness, disruption",
        is_order_free: true,
    },
    Kind {
        table: "machines",
        from: "(select *, min(observed_at) over (partition by machine) as made_at, ended_at as gone_at from {machines})",
        key: "machine",
        order: "observed_at",
        columns: "node_name, provider, region, zone, instance_type, capacity_type, pool, provider_id, boot_id, billing_model, \
            launched_at, launch_source, end_reason, labels, gpu_model",
        // A node may be seen before the claim that ordered it, and its end before what explains it.
        is_order_free: false,
    },
    Kind {
        table: "kept_pods",
        from: "(select *, observed_at as made_at, removed_at as gone_at from {kept_pods})",
        key: "pod_uid",
        order: "observed_at",
        columns: "'kept'",
        is_order_free: true,
    },
];

/// A thing as it is known at last; instants are microseconds since 1970.
struct Thing {
    made_at: i64,
    gone_at: Option<i64>,
    told: String,
}

impl Kind {
    fn last(&self, world: &World) -> BTreeMap<String, Thing> {
        let query = format!(
            "select {key}, coalesce(epoch_us(made_at), 0), coalesce(epoch_us(gone_at), -1), row({columns})::varchar from {from} \
             qualify row_number() over (partition by {key} order by {order} desc) = 1",
            key = self.key,
            columns = self.columns,
            from = self.from,
            order = self.order,
        );
        let rows = facts(world, &query);
        rows.iter()
            .map(|row| {
                let cells: Vec<&str> = row.splitn(4, '|').collect();
                let thing = Thing {
                    made_at: cells[1].parse().unwrap(),
                    gone_at: cells[2].parse().ok().filter(|at| *at >= 0),
                    told: cells[3].to_owned(),
                };
                (cells[0].to_owned(), thing)
            })
            .collect()
    }

    /// Everything that was ever told of each, whenever it was learnt.
    fn versions(&self, world: &World) -> BTreeSet<String> {
        let query = format!(
            "select distinct {}, row({})::varchar from {}",
            self.key, self.columns, self.from
        );
        facts(world, &query).into_iter().collect()
    }
}

/// Nothing is told of things that never was; what was told last is known, and that they are gone; but for what became of those that
/// went while nobody watched, and those that came and went meanwhile.
pub fn assert_things(found: &World, whole: &World, unseen: &Spans, after: &str) {
    for kind in KINDS {
        let (some, all) = (kind.last(found), kind.last(whole));
        for key in some.keys() {
            assert!(all.contains_key(key), "{after}: {} {key} never was", kind.table);
        }
        if kind.is_order_free {
            let (some, all) = (kind.versions(found), kind.versions(whole));
            let invented: Vec<&String> = some.difference(&all).collect();
            assert!(
                invented.is_empty(),
                "{after}: {} never were {invented:#?}",
                kind.table
            );
        }
        for (key, truth) in &all {
            let name = format!("{after}: {} {key}", kind.table);
            let went_unseen = truth.gone_at.is_some_and(|at| unseen.holds(at));
            let Some(thing) = some.get(key) else {
                assert!(
                    went_unseen && unseen.holds(truth.made_at),
                    "{name} is not known: {}",
                    truth.told
                );
                continue;
            };
            assert_eq!(
                thing.gone_at.is_some(),
                truth.gone_at.is_some(),
                "{name}: whether it is gone"
            );
            if !went_unseen {
                assert_eq!(thing.told, truth.told, "{name}");
            }
        }
    }
}
