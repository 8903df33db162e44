//! Load balancers, volumes and namespaces.

use super::*;

#[test]
fn only_load_balancers_volumes_and_namespaces_are_plain_costs_and_each_is_told_once() {
    let mut index = index();
    let mut service = json!({"kind": "Service", "metadata": {"name": "s", "namespace": "ns", "uid": "s",
        "creationTimestamp": "2026-11-16T09:00:00Z"}, "spec": {"type": "ClusterIP"}});
    assert_eq!(index.apply(&object(&service), watched("10:00:00")).unwrap(), []);
    // It costs from when it becomes one, and not while it is none.
    let mut told = |kind: &str, clock: &str| {
        service["spec"]["type"] = json!(kind);
        let facts = index.apply(&object(&service), watched(clock)).unwrap();
        match &facts[..] {
            [] => None,
            [Fact::ServiceState(state)] => Some((state.created_at, state.deleted_at)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told("LoadBalancer", "10:01:00"), Some((None, None)));
    assert_eq!(told("LoadBalancer", "10:02:00"), None);
    assert_eq!(told("ClusterIP", "10:03:00"), Some((None, Some(at("10:03:00")))));
    assert_eq!(told("ClusterIP", "10:04:00"), None);
    assert_eq!(told("LoadBalancer", "10:05:00"), Some((None, None)));
    let gone = index.delete(&object(&service), watched("10:06:00")).unwrap();
    let [Fact::ServiceState(gone)] = &gone[..] else {
        panic!("{gone:?}")
    };
    assert_eq!(gone.deleted_at, Some(at("10:06:00")));
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "v", "uid": "v"},
        "spec": {"capacity": {"storage": "10Gi"}, "storageClassName": "gp3", "claimRef": {"namespace": "ns", "name": "c"},
            "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}}, "status": {"phase": "Bound"}});
    let facts = index.apply(&object(&volume), watched("10:00:00")).unwrap();
    let [Fact::VolumeState(state)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (state.capacity_bytes, state.volume_handle.as_deref()),
        (10 << 30, Some("vol-1"))
    );
}

#[test]
fn a_service_that_becomes_a_load_balancer_after_a_restart_does_not_cost_from_when_it_was_made() {
    let service = |kind: &str| {
        object(
            &json!({"kind": "Service", "metadata": {"name": "s", "namespace": "ns", "uid": "s",
            "creationTimestamp": "2026-11-16T09:00:00Z"}, "spec": {"type": kind}}),
        )
    };
    let (mut index, mut kept) = (index(), Vec::new());
    index.apply(&service("ClusterIP"), watched("10:00:00")).unwrap();
    let mut index = restored(&mut index, &mut kept);
    let facts = index
        .apply(&service("LoadBalancer"), watched("10:01:00"))
        .unwrap();
    let [Fact::ServiceState(state)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!((state.created_at, state.observed_at), (None, at("10:01:00")));
    // What is kept of it is that it is one now.
    restored(&mut index, &mut kept);
    let kept: Vec<&str> = kept
        .iter()
        .filter(|entry| entry.state.is_some())
        .map(|entry| entry.kind.as_str())
        .collect();
    assert_eq!(kept, ["service"]);
}
