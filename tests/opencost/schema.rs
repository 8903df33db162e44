//! What OpenCost's clients decode, as its JSON is described (`core/pkg/opencost` there): every field that they know, and none that they do not.

use std::collections::BTreeMap;

use axum::http::header;
use serde::Deserialize;

use super::Server;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<T> {
    pub code: u16,
    pub status: String,
    pub data: T,
    pub message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub start: String,
    pub end: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Properties {
    pub cluster: String,
    pub node: String,
    pub container: String,
    pub controller: String,
    pub controller_kind: String,
    pub namespace: String,
    pub pod: String,
    pub services: Vec<String>,
    #[serde(rename = "providerID")]
    pub provider_id: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub namespace_labels: BTreeMap<String, String>,
    pub namespace_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Volume {
    pub byte_hours: f64,
    pub cost: f64,
    #[serde(rename = "providerID")]
    pub _provider_id: String,
    pub adjustment: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Proportion {
    pub cluster: String,
    pub node: String,
    #[serde(rename = "providerID")]
    pub _provider_id: String,
    pub cpu_percentage: f64,
    pub gpu_percentage: f64,
    pub ram_percentage: f64,
    pub node_resource_cost_percentage: f64,
}

/// `Allocation` of OpenCost's JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Allocation {
    pub name: String,
    pub properties: Properties,
    pub window: Window,
    pub start: String,
    pub end: String,
    pub minutes: f64,
    pub cpu_cores: f64,
    pub cpu_core_request_average: f64,
    pub cpu_core_usage_average: f64,
    pub cpu_core_hours: f64,
    pub cpu_cost: f64,
    pub cpu_cost_adjustment: f64,
    pub cpu_cost_idle: f64,
    pub cpu_efficiency: f64,
    pub gpu_count: f64,
    pub gpu_request_average: f64,
    pub gpu_usage_average: f64,
    pub gpu_hours: f64,
    pub gpu_cost: f64,
    pub gpu_cost_adjustment: f64,
    pub gpu_cost_idle: f64,
    pub gpu_efficiency: f64,
    pub network_transfer_bytes: f64,
    pub network_receive_bytes: f64,
    pub network_cost: f64,
    pub network_cross_zone_cost: f64,
    pub network_cross_region_cost: f64,
    pub network_internet_cost: f64,
    pub network_cost_adjustment: f64,
    pub load_balancer_cost: f64,
    pub load_balancer_cost_adjustment: f64,
    pub pv_bytes: f64,
    pub pv_byte_hours: f64,
    pub pv_cost: f64,
    pub pvs: Option<BTreeMap<String, Volume>>,
    pub pv_cost_adjustment: f64,
    pub ram_bytes: f64,
    pub ram_byte_request_average: f64,
    pub ram_byte_usage_average: f64,
    pub ram_byte_hours: f64,
    pub ram_cost: f64,
    pub ram_cost_adjustment: f64,
    pub ram_cost_idle: f64,
    pub ram_efficiency: f64,
    pub external_cost: f64,
    pub shared_cost: f64,
    pub total_cost: f64,
    pub total_efficiency: f64,
    pub raw_allocation_only: Option<serde_json::Value>,
    #[serde(default)]
    pub proportional_asset_resource_costs: Option<BTreeMap<String, Proportion>>,
    pub lb_allocations: Option<serde_json::Value>,
    #[serde(default)]
    pub shared_cost_breakdown: Option<serde_json::Value>,
}

impl Allocation {
    /// What is nothing here, whatever happened.
    pub fn nothing(&self) -> [f64; 16] {
        [
            self.cpu_cost_adjustment,
            self.gpu_usage_average,
            self.gpu_cost_adjustment,
            self.gpu_efficiency,
            self.network_transfer_bytes,
            self.network_receive_bytes,
            self.network_cost,
            self.network_cross_zone_cost,
            self.network_cross_region_cost,
            self.network_internet_cost,
            self.network_cost_adjustment,
            self.load_balancer_cost_adjustment,
            self.pv_cost_adjustment,
            self.ram_cost_adjustment,
            f64::from(u8::from(self.raw_allocation_only.is_some())),
            f64::from(u8::from(
                self.lb_allocations.is_some() || self.shared_cost_breakdown.is_some(),
            )),
        ]
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SummaryAllocation {
    pub name: String,
    pub start: String,
    pub end: String,
    pub cpu_core_request_average: f64,
    pub cpu_core_usage_average: f64,
    pub cpu_cost: f64,
    pub gpu_cost: f64,
    pub network_cost: f64,
    pub load_balancer_cost: f64,
    pub pv_cost: f64,
    pub ram_byte_request_average: f64,
    pub ram_byte_usage_average: f64,
    pub ram_cost: f64,
    pub shared_cost: f64,
    pub external_cost: f64,
    pub total_efficiency: f64,
    pub total_cost: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummarySet {
    pub allocations: BTreeMap<String, SummaryAllocation>,
    pub window: Window,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub step: i64,
    pub sets: Vec<SummarySet>,
    pub window: Window,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AssetProperties {
    pub category: String,
    #[serde(default)]
    pub provider: String,
    pub service: String,
    pub cluster: String,
    pub name: String,
    #[serde(rename = "providerID", default)]
    pub provider_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakdown {
    pub idle: f64,
    pub other: f64,
    pub system: f64,
    pub user: f64,
}

/// Assets by type; serde's `deny_unknown_fields` holds within each.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Asset {
    #[serde(rename_all = "camelCase")]
    Node {
        properties: AssetProperties,
        labels: BTreeMap<String, String>,
        window: Window,
        start: String,
        end: String,
        minutes: f64,
        node_type: String,
        #[serde(default)]
        pool: String,
        cpu_cores: f64,
        ram_bytes: f64,
        cpu_core_hours: f64,
        ram_byte_hours: f64,
        #[serde(rename = "GPUHours")]
        gpu_hours: f64,
        cpu_breakdown: Breakdown,
        ram_breakdown: Breakdown,
        preemptible: f64,
        discount: f64,
        cpu_cost: f64,
        gpu_cost: f64,
        gpu_count: f64,
        ram_cost: f64,
        adjustment: f64,
        total_cost: f64,
    },
    #[serde(rename_all = "camelCase")]
    Disk {
        properties: AssetProperties,
        labels: BTreeMap<String, String>,
        window: Window,
        start: String,
        end: String,
        minutes: f64,
        byte_hours: f64,
        bytes: f64,
        byte_hours_used: Option<f64>,
        byte_usage_max: Option<f64>,
        breakdown: Breakdown,
        adjustment: f64,
        total_cost: f64,
        storage_class: String,
        volume_name: String,
        claim_name: String,
        claim_namespace: String,
    },
    #[serde(rename_all = "camelCase")]
    LoadBalancer {
        properties: AssetProperties,
        labels: BTreeMap<String, String>,
        window: Window,
        start: String,
        end: String,
        minutes: f64,
        adjustment: f64,
        private: bool,
        ip: String,
        total_cost: f64,
    },
    #[serde(rename_all = "camelCase")]
    ClusterManagement {
        properties: AssetProperties,
        labels: BTreeMap<String, String>,
        window: Window,
        start: String,
        end: String,
        minutes: f64,
        total_cost: f64,
    },
}

/// The data of an answer, in its envelope.
pub fn read<T: for<'a> Deserialize<'a>>(server: &Server, url: &str) -> T {
    let answer = server.get(url);
    assert_eq!(answer.status.as_u16(), 200, "{url}: {}", answer.body);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let envelope: Result<Envelope<T>, _> = serde_json::from_str(&answer.body);
    assert!(
        envelope.is_ok(),
        "{url}: {:?}: {:.300}",
        envelope.err(),
        answer.body
    );
    let envelope = envelope.unwrap();
    assert_eq!(
        (envelope.code, envelope.status.as_str(), envelope.message.as_str()),
        (200, "success", "")
    );
    envelope.data
}
