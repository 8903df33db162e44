//! `import openb`: the GPU cluster trace "openb" of Alibaba's cluster data (v2023): nodes with their GPUs, pods with GPU
//! shares and life times, but not on which node a pod was. Pods are placed by the rule of [`Cluster::place`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use podledger_sql::lake::Lake;
use podledger_sql::units::NanoUsd;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::facts::{CollectionWatermark, Fact, Machine, NodeState, PodIdentity, PodState, Texts};
use crate::import::{Imported, digest, write_facts, write_rows};

const NODES: &str = "openb_node_list_all_node.csv";
const PODS: &str = "openb_pod_list_default.csv";

const MIB: i64 = 1 << 20;
/// Milli-GPUs of a whole GPU.
const WHOLE: i64 = 1000;

/// On-demand prices of parts in Google's us-central1 as of 2026-06-23, which the machines are priced by: a vCPU and a GB of
/// `n1` machines, and GPUs that Google rents out too. Others have no price unless one is declared.
/// Source: kubernetes/autoscaler@e72c7c6832, cluster-autoscaler/cloudprovider/gce/gce_price_info.go.
const VCPU_HOUR_NANO: i64 = 31_611_000;
const GIB_HOUR_NANO: i64 = 4_237_000;
const GPU_HOUR_NANO: &[(&str, i64)] = &[
    ("T4", 350_000_000),
    ("P100", 1_460_000_000),
    ("V100M16", 2_480_000_000),
];
const PRICE_SOURCE: &str = "parts, kubernetes/autoscaler@e72c7c6832";

/// What to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the trace.
    pub folder: PathBuf,
    /// The list of pods in it, if it is not the default one.
    pub pods: Option<PathBuf>,
    /// The instant that the trace counts its seconds from, which it does not tell.
    pub starts_at: Timestamp,
    /// Prices of a GPU's hour by model, beside the built-in ones.
    pub gpu_prices: BTreeMap<String, NanoUsd>,
    /// Name of the cluster.
    pub cluster: String,
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// What the trace held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub pods: u64,
    /// Pods that were never scheduled.
    pub pending: u64,
    /// Pods that no node had room for when they were scheduled.
    pub unplaced: u64,
    pub nodes: u64,
    /// Nodes with GPUs of a model without a price.
    pub unpriced_nodes: u64,
    /// Models without a price.
    pub unpriced_models: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct NodeRow {
    sn: String,
    cpu_milli: i64,
    memory_mib: i64,
    gpu: i64,
    model: String,
}

#[derive(Debug, Clone, Deserialize)]
struct PodRow {
    name: String,
    cpu_milli: i64,
    memory_mib: i64,
    num_gpu: i64,
    gpu_milli: i64,
    #[serde(default)]
    gpu_spec: String,
    #[serde(default)]
    qos: String,
    pod_phase: String,
    creation_time: i64,
    deletion_time: Option<i64>,
    scheduled_time: Option<i64>,
}

impl PodRow {
    fn milligpus(&self) -> i64 {
        self.num_gpu * self.gpu_milli
    }
}

/// Reads the trace and writes its facts; the same trace is written once.
///
/// # Errors
/// [`Error::Io`] and [`Error::Input`] with file, line and reason; [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, options: &Options) -> Result<(Imported, Totals)> {
    let node_path = options.folder.join(NODES);
    let pod_path = options.pods.clone().unwrap_or_else(|| options.folder.join(PODS));
    let (node_bytes, nodes) = rows::<NodeRow>(&node_path, &|node| {
        let wrong = node.cpu_milli < 0 || node.memory_mib < 0 || node.gpu < 0;
        wrong.then(|| format!("node `{}` has a negative capacity", node.sn))
    })?;
    let (pod_bytes, pods) = rows::<PodRow>(&pod_path, &check_pod)?;
    let (facts, prices, totals) = facts(options, &nodes, &pods);

    let text = format!(
        "{} {:?} {}",
        options.starts_at, options.gpu_prices, options.cluster
    );
    let id = digest([node_bytes.as_slice(), pod_bytes.as_slice(), text.as_bytes()]);
    let origin = format!("openb-{}", options.cluster);
    if lake.is_committed(&origin, &id) {
        return Ok((Imported::Already, totals));
    }
    let mut commit = lake.begin(&origin, &id, "import openb", options.recorded_date)?;
    let mut written = write_facts(&mut commit, &facts)?;
    if !prices.is_empty() {
        written.push(write_rows(&mut commit, "prices", &prices)?);
    }
    commit.publish()?;
    Ok((Imported::Written(written), totals))
}

/// The bytes of a CSV file and its rows; `wrong` says what is wrong with one.
fn rows<T: DeserializeOwned>(path: &Path, wrong: &dyn Fn(&T) -> Option<String>) -> Result<(Vec<u8>, Vec<T>)> {
    let bytes = super::kubernetes::bytes_of(path)?;
    let bytes = super::kubernetes::inflated(path, &bytes)?.into_owned();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes.as_slice());
    let input = |reason: String| Error::Input {
        path: path.to_path_buf(),
        reason,
    };
    let mut rows = Vec::new();
    for (line, row) in (2_u64..).zip(reader.deserialize()) {
        let row: T = row.map_err(|error| input(error.to_string()))?;
        if let Some(reason) = wrong(&row) {
            return Err(input(format!("line {line}: {reason}")));
        }
        rows.push(row);
    }
    Ok((bytes, rows))
}

fn check_pod(pod: &PodRow) -> Option<String> {
    let name = &pod.name;
    if pod.cpu_milli < 0 || pod.memory_mib < 0 || pod.num_gpu < 0 || pod.gpu_milli < 0 {
        return Some(format!("pod `{name}` asks for less than nothing"));
    }
    if pod.gpu_milli > WHOLE || pod.num_gpu > 1 && pod.gpu_milli != WHOLE {
        return Some(format!("pod `{name}`: a share is of one GPU, at most 1000"));
    }
    match (pod.scheduled_time, pod.deletion_time) {
        (Some(scheduled), _) if scheduled < pod.creation_time => {
            Some(format!("pod `{name}` is scheduled before it is created"))
        }
        (Some(scheduled), Some(deleted)) if deleted < scheduled => {
            Some(format!("pod `{name}` is deleted before it is scheduled"))
        }
        _ => None,
    }
}

/// Free room on every node, GPU by GPU.
struct Cluster<'a> {
    nodes: Vec<Room<'a>>,
}

struct Room<'a> {
    node: &'a NodeRow,
    millicores: i64,
    mib: i64,
    /// Free milli-GPUs of each GPU.
    gpus: Vec<i64>,
}

/// Where a pod is, and which GPUs it holds how much of.
struct Place {
    node: usize,
    gpus: Vec<(usize, i64)>,
}

impl<'a> Cluster<'a> {
    fn new(nodes: &'a [NodeRow]) -> Self {
        let room = |node: &'a NodeRow| Room {
            node,
            millicores: node.cpu_milli,
            mib: node.memory_mib,
            gpus: vec![WHOLE; usize::try_from(node.gpu).unwrap_or(0)],
        };
        Self {
            nodes: nodes.iter().map(room).collect(),
        }
    }

    /// Places a pod on the node that it leaves least room on: of the nodes that have room for its cores, memory and GPUs
    /// (a share lies on one GPU; `gpu_spec` names the models allowed) the one with the fewest GPUs free, then the fewest
    /// cores, then the first by name. So pods without GPUs go to nodes without GPUs while these have room.
    fn place(&mut self, pod: &PodRow) -> Option<Place> {
        let (node, gpus) = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(number, room)| Some((number, room, room.fit(pod)?)))
            .min_by_key(|(_, room, _)| (room.gpus.iter().sum::<i64>(), room.millicores, &room.node.sn))
            .map(|(number, _, gpus)| (number, gpus))?;
        let place = Place { node, gpus };
        self.take(&place, pod, 1);
        Some(place)
    }

    fn take(&mut self, place: &Place, pod: &PodRow, sign: i64) {
        let Some(room) = self.nodes.get_mut(place.node) else {
            return;
        };
        room.millicores -= sign * pod.cpu_milli;
        room.mib -= sign * pod.memory_mib;
        for (gpu, share) in &place.gpus {
            if let Some(free) = room.gpus.get_mut(*gpu) {
                *free -= sign * share;
            }
        }
    }
}

impl Room<'_> {
    /// The GPUs that a pod would hold here, the fullest that has room first; `None` if it does not fit.
    fn fit(&self, pod: &PodRow) -> Option<Vec<(usize, i64)>> {
        let model_allowed =
            pod.gpu_spec.is_empty() || pod.gpu_spec.split('|').any(|model| model == self.node.model);
        if self.millicores < pod.cpu_milli || self.mib < pod.memory_mib || pod.num_gpu > 0 && !model_allowed {
            return None;
        }
        let wanted = usize::try_from(pod.num_gpu).ok()?;
        let mut gpus: Vec<(usize, i64)> = self
            .gpus
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, free)| *free >= pod.gpu_milli)
            .collect();
        gpus.sort_by_key(|(number, free)| (*free, *number));
        (gpus.len() >= wanted).then(|| {
            gpus.truncate(wanted);
            gpus.into_iter()
                .map(|(number, _)| (number, pod.gpu_milli))
                .collect()
        })
    }
}

/// The node of every pod that was scheduled, by its number: pods in the order in which they were scheduled, each after
/// those have left that were deleted until then.
fn placements(nodes: &[NodeRow], pods: &[PodRow]) -> Vec<Option<usize>> {
    let mut cluster = Cluster::new(nodes);
    let mut order: Vec<(i64, usize)> = pods
        .iter()
        .enumerate()
        .filter_map(|(number, pod)| Some((pod.scheduled_time?, number)))
        .collect();
    order.sort_unstable_by_key(|(at, number)| (*at, pods.get(*number).map(|pod| &pod.name)));
    let mut placed = vec![None; pods.len()];
    let mut leaving: BTreeMap<(i64, usize), Place> = BTreeMap::new();
    for (at, number) in order {
        while let Some(first) = leaving.first_entry() {
            if first.key().0 > at {
                break;
            }
            let ((_, gone), place) = first.remove_entry();
            if let Some(pod) = pods.get(gone) {
                cluster.take(&place, pod, -1);
            }
        }
        let Some(pod) = pods.get(number) else { continue };
        if let Some(place) = cluster.place(pod) {
            if let Some(node) = placed.get_mut(number) {
                *node = Some(place.node);
            }
            leaving.insert((pod.deletion_time.unwrap_or(i64::MAX), number), place);
        }
    }
    placed
}

#[derive(Debug, Serialize)]
struct PriceRow {
    provider: &'static str,
    region: &'static str,
    instance_type: String,
    capacity_type: &'static str,
    valid_from_at: Timestamp,
    hourly_usd: String,
    source: &'static str,
}

fn facts(options: &Options, nodes: &[NodeRow], pods: &[PodRow]) -> (Vec<Fact>, Vec<PriceRow>, Totals) {
    let at = |seconds: i64| options.starts_at + SignedDuration::from_secs(seconds);
    let ends_at = pods
        .iter()
        .flat_map(|pod| [Some(pod.creation_time), pod.scheduled_time, pod.deletion_time])
        .flatten()
        .max()
        .map_or(options.starts_at, at);
    let mut totals = Totals {
        pods: pods.len() as u64,
        nodes: nodes.len() as u64,
        ..Totals::default()
    };
    let mut facts = Vec::new();
    let mut prices = BTreeMap::new();
    for node in nodes {
        let shape = shape_name(node);
        match hourly(node, &options.gpu_prices) {
            Some(price) => {
                prices.insert(shape.clone(), price);
            }
            None => {
                totals.unpriced_nodes += 1;
                totals.unpriced_models.push(node.model.clone());
            }
        }
        facts.push(machine(options, node, shape).into());
        facts.push(node_state(options, node).into());
    }
    totals.unpriced_models.sort_unstable();
    totals.unpriced_models.dedup();
    for (pod, node) in pods.iter().zip(placements(nodes, pods)) {
        let node = node.and_then(|number| nodes.get(number));
        totals.pending += u64::from(pod.scheduled_time.is_none());
        totals.unplaced += u64::from(pod.scheduled_time.is_some() && node.is_none());
        let created_at = at(pod.creation_time);
        let bound_at = pod.scheduled_time.map(at);
        let released_at = bound_at.and(pod.deletion_time).map(at);
        facts.push(pod_state(options, pod, node, created_at, bound_at, released_at, ends_at).into());
        facts.push(
            PodIdentity {
                cluster: options.cluster.clone(),
                pod_uid: pod.name.clone(),
                valid_from_at: created_at,
                labels: Texts::from([
                    ("qos".to_owned(), pod.qos.clone()),
                    ("gpu_spec".to_owned(), pod.gpu_spec.clone()),
                ]),
                annotations: Texts::new(),
                owners: Vec::new(),
            }
            .into(),
        );
    }
    facts.push(
        CollectionWatermark {
            cluster: options.cluster.clone(),
            observed_through_at: ends_at,
            observed_from_at: None,
        }
        .into(),
    );
    let prices = prices
        .into_iter()
        .map(|(instance_type, price)| PriceRow {
            provider: "openb",
            region: "openb",
            instance_type,
            capacity_type: "on-demand",
            valid_from_at: options.starts_at,
            hourly_usd: price.to_string(),
            source: PRICE_SOURCE,
        })
        .collect();
    (facts, prices, totals)
}

/// What a machine of this shape is called: `96c-786432Mi-8xT4`.
fn shape_name(node: &NodeRow) -> String {
    let gpus = if node.gpu == 0 {
        String::new()
    } else {
        format!("-{}x{}", node.gpu, node.model)
    };
    format!("{}c-{}Mi{gpus}", node.cpu_milli / 1000, node.memory_mib)
}

/// The sum of the prices of a node's parts; `None` where a part has none.
fn hourly(node: &NodeRow, declared: &BTreeMap<String, NanoUsd>) -> Option<NanoUsd> {
    let gpu = match (node.gpu, declared.get(&node.model)) {
        (0, _) => 0,
        (_, Some(price)) => price.get(),
        (_, None) => GPU_HOUR_NANO.iter().find(|(model, _)| *model == node.model)?.1,
    };
    let total = i128::from(node.cpu_milli) * i128::from(VCPU_HOUR_NANO) / 1000
        + i128::from(node.memory_mib) * i128::from(GIB_HOUR_NANO) / 1024
        + i128::from(node.gpu) * i128::from(gpu);
    i64::try_from(total).ok().map(NanoUsd::from_nano)
}

fn machine(options: &Options, node: &NodeRow, shape: String) -> Machine {
    Machine {
        cluster: options.cluster.clone(),
        machine: node.sn.clone(),
        observed_at: options.starts_at,
        node_name: Some(node.sn.clone()),
        provider: Some("openb".to_owned()),
        region: Some("openb".to_owned()),
        zone: None,
        instance_type: Some(shape),
        capacity_type: Some("on-demand"),
        pool: Some(node.model.clone()).filter(|model| !model.is_empty()),
        provider_id: None,
        boot_id: None,
        billing_model: "declared",
        launched_at: options.starts_at,
        launch_source: "trace_start",
        ended_at: None,
        end_source: None,
        end_reason: None,
        labels: Texts::new(),
        gpu_model: Some(node.model.clone()).filter(|model| !model.is_empty()),
    }
}

fn node_state(options: &Options, node: &NodeRow) -> NodeState {
    NodeState {
        cluster: options.cluster.clone(),
        machine: node.sn.clone(),
        observed_at: options.starts_at,
        cpu_capacity_millicores: node.cpu_milli,
        cpu_allocatable_millicores: node.cpu_milli,
        memory_capacity_bytes: node.memory_mib * MIB,
        memory_allocatable_bytes: node.memory_mib * MIB,
        gpu_capacity_milligpus: node.gpu * WHOLE,
        gpu_allocatable_milligpus: node.gpu * WHOLE,
        readiness: None,
        disruption: None,
    }
}

fn pod_state(
    options: &Options,
    pod: &PodRow,
    node: Option<&NodeRow>,
    created_at: Timestamp,
    bound_at: Option<Timestamp>,
    released_at: Option<Timestamp>,
    ends_at: Timestamp,
) -> PodState {
    PodState {
        cluster: options.cluster.clone(),
        pod_uid: pod.name.clone(),
        observed_at: released_at.unwrap_or(ends_at),
        pod_name: Some(pod.name.clone()),
        namespace: Some("openb".to_owned()),
        machine: node.map(|node| node.sn.clone()),
        node_name: node.map(|node| node.sn.clone()),
        created_at,
        bound_at,
        start_source: bound_at.map(|_| "declared"),
        // The trace does not tell when containers ran: all of the time held counts as running.
        running_at: bound_at,
        finished_at: released_at,
        released_at,
        end_source: released_at.map(|_| "declared"),
        end_earliest_at: released_at,
        end_latest_at: released_at,
        phase: Some(pod.pod_phase.clone()),
        waiting_reason: None,
        end_reason: None,
        exit_code: None,
        deletion_requested_at: None,
        cpu_request_millicores: pod.cpu_milli,
        memory_request_bytes: pod.memory_mib * MIB,
        gpu_request_milligpus: pod.milligpus(),
        billed_cpu_millicores: None,
        billed_memory_bytes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(sn: &str, cpu_milli: i64, gpu: i64, model: &str) -> NodeRow {
        NodeRow {
            sn: sn.to_owned(),
            cpu_milli,
            memory_mib: 100_000,
            gpu,
            model: model.to_owned(),
        }
    }

    fn pod(name: &str, num_gpu: i64, gpu_milli: i64, scheduled: i64, deleted: i64) -> PodRow {
        PodRow {
            name: name.to_owned(),
            cpu_milli: 1000,
            memory_mib: 1000,
            num_gpu,
            gpu_milli,
            gpu_spec: String::new(),
            qos: "LS".to_owned(),
            pod_phase: "Running".to_owned(),
            creation_time: 0,
            deletion_time: Some(deleted),
            scheduled_time: Some(scheduled),
        }
    }

    #[test]
    fn pods_go_where_they_leave_least_room() {
        let nodes = [
            node("a", 4000, 2, "T4"),
            node("b", 4000, 0, ""),
            node("c", 2000, 1, "T4"),
        ];
        let pods = [
            pod("share", 1, 600, 0, 100),
            pod("cores", 0, 0, 1, 100),
            // Does not fit beside `share` on the one GPU of `c`.
            pod("more", 1, 500, 2, 100),
            pod("rest", 1, 400, 3, 100),
            pod("two", 2, 1000, 4, 100),
            pod("later", 2, 1000, 100, 200),
        ];
        assert_eq!(
            placements(&nodes, &pods),
            [Some(2), Some(1), Some(0), Some(2), None, Some(0)]
        );
    }

    #[test]
    fn a_model_that_is_asked_for_is_got_or_none() {
        let nodes = [node("a", 4000, 1, "T4"), node("b", 4000, 1, "P100")];
        let asking = |spec: &str| PodRow {
            gpu_spec: spec.to_owned(),
            ..pod(spec, 1, 1000, 0, 10)
        };
        let pods = [asking("P100|V100M16"), asking("V100M16")];
        assert_eq!(placements(&nodes, &pods), [Some(1), None]);
    }

    #[test]
    fn a_machine_is_priced_by_its_parts_or_not_at_all() {
        let none = BTreeMap::new();
        // 32 x 0.031611 + 100,000 / 1,024 x 0.004237 + 2 x 1.46
        assert_eq!(
            hourly(&node("n", 32_000, 2, "P100"), &none).unwrap().to_string(),
            "4.345321531"
        );
        assert_eq!(hourly(&node("n", 32_000, 8, "G2"), &none), None);
        let declared = BTreeMap::from([("G2".to_owned(), NanoUsd::from_nano(1_000_000_000))]);
        assert!(hourly(&node("n", 32_000, 8, "G2"), &declared).is_some());
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        for (row, expected) in [
            (pod("p", 2, 500, 0, 1), "a share is of one GPU"),
            (pod("p", 1, 1500, 0, 1), "a share is of one GPU"),
            (pod("p", 1, 500, 5, 1), "deleted before"),
            (pod("p", 1, 500, -1, 1), "scheduled before"),
            (pod("p", -1, 500, 0, 1), "less than nothing"),
        ] {
            let reason = check_pod(&row).unwrap();
            assert!(reason.contains(expected), "{reason}");
        }
        assert_eq!(check_pod(&pod("p", 1, 500, 0, 1)), None);
    }
}
