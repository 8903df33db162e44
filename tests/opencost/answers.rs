//! Answers as OpenCost's clients decode them.

use std::collections::BTreeMap;

use axum::http::header;

use super::schema::{Allocation, Asset, Envelope, Proportion, Summary, read};
use super::{Server, asked, platform, window};
use crate::simulated::{ledger_of, scenario};

/// Whether it has at most five decimals.
fn is_rounded(value: f64) -> bool {
    (value * 100_000.0 - (value * 100_000.0).round()).abs() < 1e-3 || value.abs() > 1e6
}

#[test]
fn every_envelope_is_what_clients_decode() {
    let world = platform();
    let server = Server::of(world.folder.path());
    let hours = window(6 * 3_600, 18 * 3_600);

    let sets: Vec<BTreeMap<String, Allocation>> =
        read(&server, &format!("/allocation/compute?{hours}&includeIdle=true"));
    assert_eq!(sets.len(), 1);
    let nano = asked(world.ledger().connection(), &format!("{hours}&includeIdle=true"))
        .remove(0)
        .2;
    assert_eq!(
        sets[0].keys().collect::<Vec<_>>(),
        nano.keys().collect::<Vec<_>>()
    );
    let mut seen = BTreeMap::new();
    for (name, told) in &sets[0] {
        assert_eq!(*name, told.name);
        assert_eq!(
            (told.window.start.as_str(), told.window.end.as_str()),
            ("2026-11-02T06:00:00Z", "2026-11-02T18:00:00Z")
        );
        assert!(
            told.start >= told.window.start && told.end <= told.window.end && told.start <= told.end,
            "{told:?}"
        );
        assert_eq!(told.nothing(), [0.0; 16], "{name}");
        for (found, field) in [
            (told.cpu_cost, "cpuCost"),
            (told.ram_cost, "ramCost"),
            (told.gpu_cost, "gpuCost"),
            (told.pv_cost, "pvCost"),
            (told.load_balancer_cost, "loadBalancerCost"),
            (told.external_cost, "externalCost"),
            (told.shared_cost, "sharedCost"),
        ] {
            let dollars = nano[name][field] as f64 / 1e9;
            assert!(
                (found - dollars).abs() <= 0.000_005_001 && is_rounded(found),
                "{name} {field}: {found} {dollars}"
            );
        }
        let sum = nano[name].values().sum::<i128>() as f64 / 1e9;
        assert!((told.total_cost - sum).abs() <= 0.000_005_001, "{name}");
        for figure in [
            told.minutes,
            told.cpu_cores,
            told.cpu_core_request_average,
            told.cpu_core_usage_average,
            told.cpu_core_hours,
            told.cpu_efficiency,
            told.ram_efficiency,
            told.total_efficiency,
            told.gpu_count,
            told.gpu_request_average,
            told.gpu_hours,
            told.cpu_cost_idle,
            told.ram_cost_idle,
            told.gpu_cost_idle,
            told.pv_bytes,
            told.pv_byte_hours,
            told.ram_bytes,
            told.ram_byte_request_average,
            told.ram_byte_usage_average,
            told.ram_byte_hours,
        ] {
            assert!(figure >= 0.0 && is_rounded(figure), "{name}: {told:?}");
        }
        if told.minutes > 0.0 {
            assert!(
                (told.cpu_cores - told.cpu_core_hours * 60.0 / told.minutes).abs()
                    < 0.05 + told.cpu_cores * 0.01,
                "{told:?}"
            );
        }
        let of_volumes: f64 = told.pvs.iter().flatten().map(|(_, volume)| volume.cost).sum();
        assert!((of_volumes - told.pv_cost).abs() < 0.001, "{name}");
        for (key, volume) in told.pvs.iter().flatten() {
            assert!(key.starts_with("cluster=") && key.contains(":name="), "{key}");
            assert!(volume.byte_hours >= 0.0 && volume.adjustment == 0.0);
        }
        let properties = &told.properties;
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() == 5 && !parts[3].starts_with("__") {
            assert_eq!(
                [
                    &properties.cluster,
                    &properties.node,
                    &properties.namespace,
                    &properties.pod,
                    &properties.container
                ],
                [parts[0], parts[1], parts[2], parts[3], parts[4]]
            );
            assert!(
                properties
                    .controller_kind
                    .chars()
                    .all(|letter| !letter.is_uppercase())
            );
            for key in properties.labels.keys() {
                assert!(
                    key.chars()
                        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_'),
                    "{key}"
                );
            }
            *seen.entry("labels").or_insert(0) += properties.labels.len();
            *seen.entry("controllers").or_insert(0) += usize::from(!properties.controller.is_empty());
            *seen.entry("providers").or_insert(0) += usize::from(!properties.provider_id.is_empty());
            *seen.entry("used").or_insert(0) +=
                usize::from(told.cpu_core_usage_average > 0.0 && told.cpu_efficiency > 0.0);
        }
        *seen.entry("volumes").or_insert(0) += told.pvs.iter().len();
        let rest = [
            &properties.services.join(""),
            &format!("{:?}", properties.annotations),
            &format!("{:?}", properties.namespace_labels),
        ];
        assert_eq!(rest.len(), 3);
        assert!(properties.namespace_annotations.is_empty());
    }
    for what in ["labels", "controllers", "used", "volumes"] {
        assert!(seen[what] > 0, "{what}: {seen:?}");
    }
    assert!(sets[0].contains_key("__idle__"));

    let days: Vec<BTreeMap<String, Allocation>> = read(
        &server,
        "/model/allocation?window=7d&aggregate=namespace&step=1d&includeAggregatedMetadata=true&includeProportionalAssetResourceCosts=true",
    );
    assert_eq!(days.len(), 7);
    // Today is the second day of the platform, and the six before it end with the first.
    assert_eq!(
        days.iter()
            .map(|day| usize::from(!day.is_empty()))
            .collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 1, 1]
    );
    let proportions: Vec<&Proportion> = days[5]
        .values()
        .flat_map(|told| told.proportional_asset_resource_costs.as_ref().unwrap().values())
        .collect();
    assert!(!proportions.is_empty());
    for told in &proportions {
        assert!(!told.cluster.is_empty() && !told.node.is_empty());
        for part in [
            told.cpu_percentage,
            told.ram_percentage,
            told.gpu_percentage,
            told.node_resource_cost_percentage,
        ] {
            assert!((0.0..=1.0).contains(&part), "{told:?}");
        }
    }

    let summary: Summary = read(
        &server,
        &format!("/allocation/summary?{hours}&step=6h&aggregate=team"),
    );
    assert_eq!((summary.step, summary.sets.len()), (6 * 3_600 * 1_000_000_000, 2));
    assert_eq!(
        (summary.window.start.as_str(), summary.window.end.as_str()),
        ("2026-11-02T06:00:00Z", "2026-11-02T18:00:00Z")
    );
    assert_eq!(summary.sets[1].window.start, "2026-11-02T12:00:00Z");
    assert_eq!(summary.sets[0].window.end, "2026-11-02T12:00:00Z");
    for (name, told) in &summary.sets[0].allocations {
        assert!(*name == told.name && told.start <= told.end);
        let parts = told.cpu_cost
            + told.ram_cost
            + told.gpu_cost
            + told.pv_cost
            + told.load_balancer_cost
            + told.shared_cost
            + told.external_cost
            + told.network_cost;
        assert!((parts - told.total_cost).abs() < 0.0001, "{told:?}");
        assert!(
            told.total_efficiency >= 0.0
                && told.cpu_core_request_average >= 0.0
                && told.cpu_core_usage_average >= 0.0
        );
        assert!(told.ram_byte_request_average >= 0.0 && told.ram_byte_usage_average >= 0.0);
    }

    let assets: BTreeMap<String, Asset> = read(
        &server,
        &format!("/assets?{hours}&aggregate=type&accumulate=true"),
    );
    let mut of_assets = 0.0;
    let mut kinds = BTreeMap::new();
    for (key, asset) in &assets {
        let (kind, properties, total) = match asset {
            Asset::Node {
                properties,
                labels,
                window,
                start,
                end,
                minutes,
                node_type,
                pool,
                cpu_cores,
                ram_bytes,
                cpu_core_hours,
                ram_byte_hours,
                gpu_hours,
                cpu_breakdown,
                ram_breakdown,
                preemptible,
                discount,
                cpu_cost,
                gpu_cost,
                gpu_count,
                ram_cost,
                adjustment,
                total_cost,
            } => {
                assert!(start >= &window.start && end <= &window.end && *minutes > 0.0);
                assert_eq!(&labels["node_kubernetes_io_instance_type"], node_type);
                assert!(labels.contains_key("topology_kubernetes_io_region") && labels.len() == 2);
                assert!(!node_type.is_empty() && !pool.is_empty() && *cpu_cores > 0.0 && *ram_bytes > 0.0);
                assert!(
                    *cpu_core_hours > 0.0 && *ram_byte_hours > 0.0 && *gpu_hours >= 0.0 && *gpu_count >= 0.0
                );
                assert!([0.0, 1.0].contains(preemptible) && *discount == 0.0 && *adjustment == 0.0);
                assert!((cpu_cost + gpu_cost + ram_cost - total_cost).abs() < 0.0001);
                for breakdown in [cpu_breakdown, ram_breakdown] {
                    let sum = breakdown.idle + breakdown.other + breakdown.system + breakdown.user;
                    assert!((sum - 1.0).abs() < 0.0001, "{key}: {breakdown:?}");
                }
                ("Node", properties, total_cost)
            }
            Asset::Disk {
                properties,
                labels,
                window,
                start,
                end,
                minutes,
                byte_hours,
                bytes,
                byte_hours_used,
                byte_usage_max,
                breakdown,
                adjustment,
                total_cost,
                storage_class,
                volume_name,
                claim_name,
                claim_namespace,
            } => {
                assert!(labels.is_empty() && start >= &window.start && end <= &window.end && *minutes > 0.0);
                assert!(
                    *bytes > 0.0
                        && *byte_hours > 0.0
                        && byte_hours_used.is_none()
                        && byte_usage_max.is_none()
                );
                assert!(breakdown.idle == 0.0 && *adjustment == 0.0 && claim_name.is_empty());
                assert!(
                    !volume_name.is_empty() && !storage_class.is_empty(),
                    "{key} {claim_namespace}"
                );
                ("Disk", properties, total_cost)
            }
            Asset::LoadBalancer {
                properties,
                labels,
                window,
                start,
                end,
                minutes,
                adjustment,
                private,
                ip,
                total_cost,
            } => {
                assert!(labels.is_empty() && start >= &window.start && end <= &window.end && *minutes > 0.0);
                assert!(*adjustment == 0.0 && !private && ip.is_empty());
                ("LoadBalancer", properties, total_cost)
            }
            Asset::ClusterManagement {
                properties,
                labels,
                window,
                start,
                end,
                minutes,
                total_cost,
            } => {
                assert!(labels.is_empty() && start >= &window.start && end <= &window.end && *minutes > 0.0);
                ("ClusterManagement", properties, total_cost)
            }
        };
        assert!(
            key.contains(&format!("/{kind}/"))
                && key.contains(&properties.cluster)
                && !properties.category.is_empty()
        );
        assert_eq!(properties.service, "Kubernetes");
        assert!(
            key.ends_with(properties.name.as_str()) || properties.name.is_empty(),
            "{key}"
        );
        assert!(!properties.provider_id.is_empty() || !properties.provider.is_empty());
        *kinds.entry(kind).or_insert(0) += 1;
        of_assets += total;
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let all: f64 = nano.values().flatten().map(|(_, nano)| *nano as f64 / 1e9).sum();
    assert!(
        (of_assets - all).abs() < 0.000_01 * assets.len() as f64,
        "{of_assets} {all}"
    );
    let filtered = |parameter: &str| {
        let url = format!("/assets?{hours}&{parameter}").replace('"', "%22");
        read::<BTreeMap<String, Asset>>(&server, &url)
    };
    assert!(filtered("filter=cluster:\"nowhere\"").is_empty());
    // Each asset is of one type and one category.
    for (field, list, values) in [
        (
            "assetType",
            "filterTypes",
            [
                ("node", "/Node/"),
                ("disk", "/Disk/"),
                ("loadbalancer", "/LoadBalancer/"),
                ("clustermanagement", "/ClusterManagement/"),
            ],
        ),
        (
            "category",
            "filterCategories",
            [
                ("compute", "/Compute/"),
                ("Storage", "/Storage/"),
                ("network", "/Network/"),
                ("Management", "/Management/"),
            ],
        ),
    ] {
        for (value, part) in values {
            let expected: Vec<&String> = assets.keys().filter(|key| key.contains(part)).collect();
            assert!(!expected.is_empty());
            for parameter in [format!("filter={field}:\"{value}\""), format!("{list}={value}")] {
                let found = filtered(&parameter);
                assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{parameter}");
            }
        }
    }
    let (key, node) = assets.iter().find(|(key, _)| key.contains("/Node/")).unwrap();
    let Asset::Node {
        properties, labels, ..
    } = node
    else {
        panic!("{key}")
    };
    for parameter in [
        format!("filter=providerID:\"{}\"", properties.provider_id),
        format!(
            "filter=name:\"{}\"%2Bprovider:\"{}\"%2Blabel[topology.kubernetes.io/region]:\"{}\"",
            properties.name, properties.provider, labels["topology_kubernetes_io_region"]
        ),
    ] {
        let found = filtered(&parameter);
        assert!(
            found.contains_key(key) && found.len() < assets.len(),
            "{parameter}"
        );
        let are_meant = found
            .keys()
            .all(|found| found.ends_with(properties.name.as_str()));
        assert!(are_meant, "{parameter}: {:?}", found.keys());
    }

    let clusters: BTreeMap<String, BTreeMap<String, String>> = read(&server, "/clusterInfoMap");
    assert_eq!(clusters.len(), 1);
    let cluster: BTreeMap<String, String> = read(&server, "/clusterInfo");
    assert_eq!(clusters[&cluster["id"]], cluster);
    for path in [
        "/cloudCost",
        "/cloudCost/autocomplete",
        "/cloudCost/view/table",
        "/cloudCost/view/graph",
        "/cloudCost/view/totals",
        "/cloudCost/status",
        "/customCost/total",
        "/customCost/timeseries",
    ] {
        let _: serde_json::Value = read(&server, path);
    }
}

#[test]
fn what_pages_exporters_and_plugins_ask_is_answered() {
    let (world, _) = ledger_of(scenario(31, 1, 4));
    let server = Server::of(world.folder.path());
    for url in [
        // OpenCost's pages, by their proxy.
        "/model/allocation/compute?window=7d&aggregate=namespace&includeIdle=true&step=1d&accumulate=false",
        "/allocation/compute?window=today&aggregate=controllerKind&includeIdle=true&step=1d&accumulate=true&filter=namespace:%22ml%22",
        "/model/assets?window=7d&aggregate=type&accumulate=true",
        "/model/assets?window=7d&aggregate=type&includeIdle=true&accumulate=true&step=1d",
        // The Parquet exporter.
        "/allocation/compute?window=2026-11-02T00:00:00Z,2026-11-02T23:59:59Z&includeIdle=false&shareIdle=false&idleByNode=false&includeProportionalAssetResourceCosts=false&format=json&step=1d&aggregate=namespace,pod,container",
        // kubectl cost.
        "/model/allocation?accumulate=true&window=2d&aggregate=cluster,namespace,controllerKind,controller",
        // MCP servers of Kubecost.
        "/model/allocation?window=2d&aggregate=namespace&external=false&reconcile=true&shareCost=0&shareSplit=weighted&shareTenancyCosts=false",
    ] {
        let answer: Envelope<serde_json::Value> = serde_json::from_str(&server.text(url)).unwrap();
        assert_eq!(answer.code, 200, "{url}");
    }
    // The exporter's day is all of it, though it ends a second early.
    let day = |end: &str| -> Vec<BTreeMap<String, Allocation>> {
        let url =
            format!("/allocation/compute?window=2026-11-02T00:00:00Z,{end}&step=1h&aggregate=namespace");
        read(&server, &url)
    };
    let sets = day("2026-11-02T23:59:59Z");
    assert_eq!(sets.len(), 24);
    let sum = |sets: &[BTreeMap<String, Allocation>]| -> f64 {
        sets.iter()
            .flat_map(BTreeMap::values)
            .map(|told| told.total_cost)
            .sum()
    };
    assert!(sum(&sets) > 0.0 && (sum(&sets) - sum(&day("2026-11-03T00:00:00Z"))).abs() < 1e-9);
    // A pod is in few of the hours: 100,000 allocations are more than that of any day here.
    let hours = "/allocation/compute?window=2026-11-02T00:00:00Z,2026-11-03T00:00:00Z&step=2m";
    let sets: Vec<BTreeMap<String, Allocation>> = read(&server, hours);
    let names: std::collections::BTreeSet<&String> = sets.iter().flat_map(BTreeMap::keys).collect();
    assert!(
        names.len() * sets.len() > 100_000,
        "{} names in {} sets",
        names.len(),
        sets.len()
    );
    let answer = server.ask("HEAD", "/healthz", &[("host", "127.0.0.1:9003")]);
    let length = server.get("/healthz").body.len().to_string();
    assert!(answer.body.is_empty() && answer.headers[header::CONTENT_LENGTH] == length.as_str());
}

#[test]
fn metrics_are_what_prometheus_reads_of_opencost() {
    let world = platform();
    let server = Server::of(world.folder.path());
    let answer = server.get("/metrics");
    assert_eq!(
        answer.headers[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let mut sums: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in answer.body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            sums.insert(help.split(' ').next().unwrap(), (0, 0.0));
            continue;
        }
        if line.starts_with("# TYPE ") {
            assert!(line.ends_with(" gauge"), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} twice");
        let name = series.split('{').next().unwrap();
        let sum = sums.get_mut(name).unwrap();
        sum.0 += 1;
        sum.1 += value.parse::<f64>().unwrap();
    }
    for name in [
        "opencost_build_info",
        "node_cpu_hourly_cost",
        "node_ram_hourly_cost",
        "node_gpu_hourly_cost",
        "node_total_hourly_cost",
        "node_gpu_count",
        "kubecost_node_is_spot",
        "container_cpu_allocation",
        "container_memory_allocation_bytes",
        "container_gpu_allocation",
        "pod_pvc_allocation",
        "pv_hourly_cost",
        "kubecost_load_balancer_cost",
        "kubecost_cluster_management_cost",
    ] {
        assert!(sums.contains_key(name), "{name}");
    }
    let ask = |query: &str| -> f64 { world.rows(query)[0].parse().unwrap() };
    let alive = "from marts.machine_prices inner join marts.clusters using (cluster) where start_at <= observed_through_at and end_at >= observed_through_at";
    assert!(sums["node_total_hourly_cost"].0 > 0);
    assert_eq!(
        sums["node_total_hourly_cost"].0 as f64,
        ask(&format!("select count(distinct machine) {alive}"))
    );
    assert!(
        (sums["node_total_hourly_cost"].1 - ask(&format!("select sum(hourly_price)::double {alive}"))).abs()
            < 1e-6
    );
    let running = "from marts.pods inner join marts.clusters using (cluster) where bound_ms <= epoch_ms(observed_through_at) \
         and (released_ms is null or released_ms > epoch_ms(observed_through_at))";
    assert!(sums["container_cpu_allocation"].0 > 0);
    let cores = ask(&format!(
        "select sum(containers.cpu_request_millicores)::double / 1000 from marts.pod_containers as containers \
         semi join (select pods.cluster, pods.pod_uid {running}) as pods on containers.cluster = pods.cluster and containers.pod_uid = pods.pod_uid \
         where container_kind <> 'init'"
    ));
    assert!((sums["container_cpu_allocation"].1 - cores).abs() < 1e-6);
    for name in [
        "node_cpu_hourly_cost",
        "node_ram_hourly_cost",
        "container_memory_allocation_bytes",
    ] {
        assert!(sums[name].1 > 0.0, "{name}");
    }
}
