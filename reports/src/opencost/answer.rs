//! Allocations as OpenCost's clients read them (`core/pkg/opencost/allocation_json.go` and `summaryallocation_json.go` there). Here integers end: what
//! is told has five decimals.

use std::collections::BTreeMap;

use serde::Serialize;

use super::item::{Item, Labels};
use super::sets::{Allocation, Set, Volumes};
use super::sums::{Money, Time, dollars, rounded};
use super::window::{HOUR, Steps, Window, rfc3339};

/// Millicores, or thousandths of an accelerator, of a whole one.
const MILLI: i128 = 1_000;

/// Minutes in which an hour's milliseconds are told.
const MINUTE: i128 = 60_000;

/// What every answer is wrapped into.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<T> {
    pub code: u16,
    pub status: &'static str,
    pub data: T,
    pub message: String,
}

impl<T: Serialize> Envelope<T> {
    pub fn of(data: T) -> Self {
        Self {
            code: 200,
            status: "success",
            data,
            message: String::new(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct WindowAnswer {
    start: String,
    end: String,
}

impl From<Window> for WindowAnswer {
    fn from(window: Window) -> Self {
        Self {
            start: rfc3339(window.start_ms),
            end: rfc3339(window.end_ms),
        }
    }
}

/// What is not known is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(skip_serializing_if = "String::is_empty")]
    cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    container: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    controller: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    controller_kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pod: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
    #[serde(rename = "providerID", skip_serializing_if = "String::is_empty")]
    provider_id: String,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    annotations: Labels,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    namespace_labels: Labels,
}

impl From<Item> for Properties {
    fn from(item: Item) -> Self {
        Self {
            cluster: item.cluster,
            node: item.node,
            container: item.container,
            controller: item.controller,
            controller_kind: item.controller_kind,
            namespace: item.namespace,
            pod: item.pod,
            services: Some(item.service)
                .filter(|service| !service.is_empty())
                .into_iter()
                .collect(),
            provider_id: item.provider_id,
            labels: item.labels,
            annotations: item.annotations,
            namespace_labels: item.namespace_labels,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeAnswer {
    byte_hours: f64,
    cost: f64,
    #[serde(rename = "providerID")]
    provider_id: &'static str,
    adjustment: f64,
}

/// What of a node a group paid for, as parts of 1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proportion {
    cluster: String,
    node: String,
    #[serde(rename = "providerID")]
    provider_id: &'static str,
    cpu_percentage: f64,
    gpu_percentage: f64,
    ram_percentage: f64,
    node_resource_cost_percentage: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AllocationAnswer {
    name: String,
    properties: Properties,
    window: WindowAnswer,
    start: String,
    end: String,
    minutes: f64,
    cpu_cores: f64,
    cpu_core_request_average: f64,
    cpu_core_usage_average: f64,
    cpu_core_hours: f64,
    cpu_cost: f64,
    cpu_cost_adjustment: f64,
    cpu_cost_idle: f64,
    cpu_efficiency: f64,
    gpu_count: f64,
    gpu_request_average: f64,
    gpu_usage_average: f64,
    gpu_hours: f64,
    gpu_cost: f64,
    gpu_cost_adjustment: f64,
    gpu_cost_idle: f64,
    gpu_efficiency: f64,
    network_transfer_bytes: f64,
    network_receive_bytes: f64,
    network_cost: f64,
    network_cross_zone_cost: f64,
    network_cross_region_cost: f64,
    network_internet_cost: f64,
    network_cost_adjustment: f64,
    load_balancer_cost: f64,
    load_balancer_cost_adjustment: f64,
    pv_bytes: f64,
    pv_byte_hours: f64,
    pv_cost: f64,
    pvs: Option<BTreeMap<String, VolumeAnswer>>,
    pv_cost_adjustment: f64,
    ram_bytes: f64,
    ram_byte_request_average: f64,
    ram_byte_usage_average: f64,
    ram_byte_hours: f64,
    ram_cost: f64,
    ram_cost_adjustment: f64,
    ram_cost_idle: f64,
    ram_efficiency: f64,
    external_cost: f64,
    shared_cost: f64,
    total_cost: f64,
    total_efficiency: f64,
    raw_allocation_only: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proportional_asset_resource_costs: Option<BTreeMap<String, Proportion>>,
    lb_allocations: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_cost_breakdown: Option<()>,
}

/// Figures of an allocation, as both answers tell them.
struct Figures<'a> {
    allocation: &'a Allocation,
    span_ms: i128,
}

impl<'a> Figures<'a> {
    fn of(allocation: &'a Allocation) -> Self {
        Self {
            allocation,
            span_ms: i128::from(allocation.end_ms - allocation.start_ms),
        }
    }

    fn nano(&self, kinds: &[Money]) -> i128 {
        kinds
            .iter()
            .map(|kind| self.allocation.amounts.money(*kind))
            .sum()
    }

    fn money(&self, kinds: &[Money]) -> f64 {
        dollars(self.nano(kinds))
    }

    /// In the mean of its time, in the unit of which there are so many in one.
    fn average(&self, kind: Time, unit: i128) -> f64 {
        rounded(self.allocation.amounts.time(kind), self.span_ms * unit)
    }

    fn hours(&self, kind: Time, unit: i128) -> f64 {
        rounded(self.allocation.amounts.time(kind), i128::from(HOUR) * unit)
    }

    /// Used of what was asked for while it was measured; 1 where something was used of nothing.
    fn efficiency(&self, used: Time, asked: Time) -> f64 {
        let (used, asked) = (
            self.allocation.amounts.time(used),
            self.allocation.amounts.time(asked),
        );
        if asked == 0 && used > 0 {
            return 1.0;
        }
        rounded(used, asked)
    }

    fn cpu_efficiency(&self) -> f64 {
        self.efficiency(Time::CpuUsage, Time::CpuMeasured)
    }

    fn memory_efficiency(&self) -> f64 {
        self.efficiency(Time::MemoryUsage, Time::MemoryMeasured)
    }

    /// Of CPU and memory, by what they cost; a ratio, no money.
    fn total_efficiency(&self) -> f64 {
        let cpu = self.money(&[Money::Cpu, Money::CpuIdle]);
        let memory = self.money(&[Money::Memory, Money::MemoryIdle]);
        if cpu + memory <= 0.0 {
            return 0.0;
        }
        let mean = (self.cpu_efficiency() * cpu + self.memory_efficiency() * memory) / (cpu + memory);
        (mean * 100_000.0).round() / 100_000.0
    }
}

impl AllocationAnswer {
    pub fn of(name: &str, window: Window, allocation: &Allocation, has_proportions: bool) -> Self {
        let figures = Figures::of(allocation);
        Self {
            name: name.to_owned(),
            properties: allocation.item.clone().into(),
            window: window.into(),
            start: rfc3339(allocation.start_ms),
            end: rfc3339(allocation.end_ms),
            minutes: rounded(figures.span_ms, MINUTE),
            cpu_cores: figures.average(Time::Cpu, MILLI),
            cpu_core_request_average: figures.average(Time::CpuRequest, MILLI),
            cpu_core_usage_average: figures.average(Time::CpuUsage, MILLI),
            cpu_core_hours: figures.hours(Time::Cpu, MILLI),
            cpu_cost: figures.money(&[Money::Cpu, Money::CpuIdle]),
            cpu_cost_adjustment: 0.0,
            cpu_cost_idle: figures.money(&[Money::CpuIdle]),
            cpu_efficiency: figures.cpu_efficiency(),
            gpu_count: figures.average(Time::Gpu, MILLI),
            gpu_request_average: figures.average(Time::Gpu, MILLI),
            gpu_usage_average: 0.0,
            gpu_hours: figures.hours(Time::Gpu, MILLI),
            gpu_cost: figures.money(&[Money::Gpu, Money::GpuIdle]),
            gpu_cost_adjustment: 0.0,
            gpu_cost_idle: figures.money(&[Money::GpuIdle]),
            gpu_efficiency: 0.0,
            network_transfer_bytes: 0.0,
            network_receive_bytes: 0.0,
            network_cost: 0.0,
            network_cross_zone_cost: 0.0,
            network_cross_region_cost: 0.0,
            network_internet_cost: 0.0,
            network_cost_adjustment: 0.0,
            load_balancer_cost: figures.money(&[Money::LoadBalancer]),
            load_balancer_cost_adjustment: 0.0,
            pv_bytes: figures.average(Time::Volume, 1),
            pv_byte_hours: figures.hours(Time::Volume, 1),
            pv_cost: figures.money(&[Money::Volume]),
            pvs: volumes(&allocation.volumes),
            pv_cost_adjustment: 0.0,
            ram_bytes: figures.average(Time::Memory, 1),
            ram_byte_request_average: figures.average(Time::MemoryRequest, 1),
            ram_byte_usage_average: figures.average(Time::MemoryUsage, 1),
            ram_byte_hours: figures.hours(Time::Memory, 1),
            ram_cost: figures.money(&[Money::Memory, Money::MemoryIdle]),
            ram_cost_adjustment: 0.0,
            ram_cost_idle: figures.money(&[Money::MemoryIdle]),
            ram_efficiency: figures.memory_efficiency(),
            external_cost: figures.money(&[Money::External]),
            shared_cost: figures.money(&[Money::Shared]),
            total_cost: dollars(allocation.amounts.total()),
            total_efficiency: figures.total_efficiency(),
            raw_allocation_only: None,
            proportional_asset_resource_costs: has_proportions.then(|| proportions(allocation)),
            lb_allocations: None,
            shared_cost_breakdown: None,
        }
    }
}

fn volumes(volumes: &Volumes) -> Option<BTreeMap<String, VolumeAnswer>> {
    let told = volumes.iter().map(|((cluster, name), (byte_ms, nano))| {
        let volume = VolumeAnswer {
            byte_hours: rounded(*byte_ms, HOUR.into()),
            cost: dollars(*nano),
            provider_id: "",
            adjustment: 0.0,
        };
        (format!("cluster={cluster}:name={name}"), volume)
    });
    Some(told.collect()).filter(|told: &BTreeMap<_, _>| !told.is_empty())
}

fn proportions(allocation: &Allocation) -> BTreeMap<String, Proportion> {
    let nodes = allocation.nodes.iter().filter(|((_, node), _)| !node.is_empty());
    nodes
        .map(|((cluster, node), (part, whole))| {
            let of = |resource: usize| rounded(part[resource], whole[resource]);
            let proportion = Proportion {
                cluster: cluster.clone(),
                node: node.clone(),
                provider_id: "",
                cpu_percentage: of(0),
                gpu_percentage: of(2),
                ram_percentage: of(1),
                node_resource_cost_percentage: rounded(part.iter().sum(), whole.iter().sum()),
            };
            (format!("{cluster}/{node}"), proportion)
        })
        .collect()
}

/// The answer of `/allocation`: allocations by name, one map for each set.
pub(super) fn allocations(sets: &[Set], has_proportions: bool) -> Vec<BTreeMap<&str, AllocationAnswer>> {
    sets.iter()
        .map(|set| {
            set.allocations
                .iter()
                .map(|(name, allocation)| {
                    let answer = AllocationAnswer::of(name, set.window, allocation, has_proportions);
                    (name.as_str(), answer)
                })
                .collect()
        })
        .collect()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryAllocation {
    name: String,
    start: String,
    end: String,
    cpu_core_request_average: f64,
    cpu_core_usage_average: f64,
    cpu_cost: f64,
    gpu_cost: f64,
    network_cost: f64,
    load_balancer_cost: f64,
    pv_cost: f64,
    ram_byte_request_average: f64,
    ram_byte_usage_average: f64,
    ram_cost: f64,
    shared_cost: f64,
    external_cost: f64,
    total_efficiency: f64,
    total_cost: f64,
}

#[derive(Debug, Serialize)]
struct SummarySet {
    allocations: BTreeMap<String, SummaryAllocation>,
    window: WindowAnswer,
}

/// The answer of `/allocation/summary`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Nanoseconds.
    step: i64,
    sets: Vec<SummarySet>,
    window: WindowAnswer,
}

impl Summary {
    pub fn of(sets: &[Set], steps: Steps) -> Self {
        let first = sets.first().map_or(steps.window, |set| set.window);
        Self {
            step: first.duration_ms() * 1_000_000,
            sets: sets.iter().map(summary).collect(),
            window: steps.window.into(),
        }
    }
}

fn summary(set: &Set) -> SummarySet {
    let allocations = set.allocations.iter().map(|(name, allocation)| {
        let figures = Figures::of(allocation);
        let told = SummaryAllocation {
            name: name.clone(),
            start: rfc3339(allocation.start_ms),
            end: rfc3339(allocation.end_ms),
            cpu_core_request_average: figures.average(Time::CpuRequest, MILLI),
            cpu_core_usage_average: figures.average(Time::CpuUsage, MILLI),
            cpu_cost: figures.money(&[Money::Cpu, Money::CpuIdle]),
            gpu_cost: figures.money(&[Money::Gpu, Money::GpuIdle]),
            network_cost: 0.0,
            load_balancer_cost: figures.money(&[Money::LoadBalancer]),
            pv_cost: figures.money(&[Money::Volume]),
            ram_byte_request_average: figures.average(Time::MemoryRequest, 1),
            ram_byte_usage_average: figures.average(Time::MemoryUsage, 1),
            ram_cost: figures.money(&[Money::Memory, Money::MemoryIdle]),
            shared_cost: figures.money(&[Money::Shared]),
            external_cost: figures.money(&[Money::External]),
            total_efficiency: figures.total_efficiency(),
            total_cost: dollars(allocation.amounts.total()),
        };
        (name.clone(), told)
    });
    SummarySet {
        allocations: allocations.collect(),
        window: set.window.into(),
    }
}
