//! How fast Kubernetes objects become facts, beside what reading the same bytes takes alone.
//!
//! `make bench`; compare only figures of one run.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use podledger_collector::index::{Index, Settings};
use podledger_collector::object::Object;
use podledger_collector::occupancy::Sight;
use serde::de::IgnoredAny;
use serde_json::json;

const PODS: usize = 2000;

/// A pod as an API server shows it: three containers, managed fields, about 5 KB.
fn pod(number: usize, phase: &str) -> String {
    let container = |name: &str| {
        let settings: Vec<_> = (0..8)
            .map(|i| json!({"name": format!("SETTING_{i}"), "value": "a value of some length"}))
            .collect();
        json!({"name": name, "image": format!("registry.example.com/team/{name}:1.{number}"),
            "resources": {"requests": {"cpu": "500m", "memory": "1536Mi"}, "limits": {"memory": "2Gi"}},
            "env": settings,
            "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]})
    };
    let status = |name: &str| {
        json!({"name": name, "ready": true, "restartCount": 0, "image": "i", "imageID": "sha256:0123456789abcdef",
            "containerID": "containerd://0123456789abcdef", "started": true,
            "state": {"running": {"startedAt": "2026-11-16T10:00:10Z"}}})
    };
    let managers = ["airflow", "kube-scheduler", "kubelet"];
    let fields = managers.map(|manager| {
        json!({"manager": manager, "operation": "Update", "time": "2026-11-16T10:00:11Z", "subresource": "status",
            "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {"f:status": {}}}}}})
    });
    let names = ["base", "log-shipper", "metrics"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("load-orders-{number:08x}"), "namespace": "etl", "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "resourceVersion": number.to_string(), "creationTimestamp": "2026-11-16T10:00:00Z",
            "labels": {"dag_id": "daily_orders", "task_id": "load", "run_id": "manual-1", "try_number": "1", "team": "growth"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(400)},
            "managedFields": fields,
        },
        "spec": {"nodeName": format!("node-{}", number % 50), "containers": names.map(container),
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]},
        "status": {"phase": phase, "startTime": "2026-11-16T10:00:04Z",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-16T10:00:03Z"}],
            "containerStatuses": names.map(status)},
    })
    .to_string()
}

fn seen() -> Sight {
    Sight {
        at: "2026-11-16T10:00:12Z".parse::<Timestamp>().unwrap(),
        is_prompt: true,
    }
}

fn index(criterion: &mut Criterion) {
    let texts: Vec<String> = (0..PODS).map(|number| pod(number, "Running")).collect();
    let objects: Vec<Object> = texts
        .iter()
        .map(|text| Object::from_json("Pod", text).unwrap())
        .collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(10);
    group.bench_function("read and throw away", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(serde_json::from_str::<IgnoredAny>(text).unwrap());
            }
        });
    });
    group.bench_function("read as pods", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(Object::from_json("Pod", text).unwrap());
            }
        });
    });
    group.bench_function("read as pods and apply", |bencher| {
        bencher.iter(|| {
            let mut index = Index::new(Settings::new("c"));
            for text in &texts {
                black_box(
                    index
                        .apply(&Object::from_json("Pod", text).unwrap(), seen())
                        .unwrap(),
                );
            }
        });
    });
    group.bench_function("apply, new", |bencher| {
        bencher.iter_batched(
            || Index::new(Settings::new("c")),
            |mut index| {
                for object in &objects {
                    black_box(index.apply(object, seen()).unwrap());
                }
                index
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("apply, unchanged", |bencher| {
        let mut index = Index::new(Settings::new("c"));
        for object in &objects {
            index.apply(object, seen()).unwrap();
        }
        bencher.iter(|| {
            for object in &objects {
                black_box(index.apply(object, seen()).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
