//! What there was to pay for: nodes, disks, load balancers and control planes (`core/pkg/opencost/asset_json.go` of OpenCost).

use std::collections::{BTreeMap, HashMap};

use duckdb::Connection;
use serde::Serialize;

use super::answer::WindowAnswer;
use super::field::{Field, Subject};
use super::item::Labels;
use super::question::AssetQuestion;
use super::read::{Key, Machine, Reader, Service, Things, failed, nano};
use super::sums::{Amounts, Money, Time, dollars, rounded};
use super::window::{HOUR, Window, rfc3339};
use crate::http::problem::Problem;
use crate::http::work::Over;

/// A name that is not known, in an asset's key.
const UNDEFINED: &str = "__undefined__";

/// What all assets are of.
const SERVICE: &str = "Kubernetes";

#[derive(Debug, Serialize)]
struct Properties {
    category: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    service: &'static str,
    cluster: String,
    name: String,
    #[serde(rename = "providerID", skip_serializing_if = "String::is_empty")]
    provider_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Type {
    Node,
    Disk,
    LoadBalancer,
    ClusterManagement,
}

impl Type {
    /// As keys have it.
    fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Disk => "Disk",
            Self::LoadBalancer => "LoadBalancer",
            Self::ClusterManagement => "ClusterManagement",
        }
    }

    /// As it is compared.
    fn lower_case(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Disk => "disk",
            Self::LoadBalancer => "loadbalancer",
            Self::ClusterManagement => "clustermanagement",
        }
    }

    /// Its category, as it is told and as it is compared.
    fn category(self) -> [&'static str; 2] {
        match self {
            Self::Node => ["Compute", "compute"],
            Self::Disk => ["Storage", "storage"],
            Self::LoadBalancer => ["Network", "network"],
            Self::ClusterManagement => ["Management", "management"],
        }
    }
}

/// What an asset is.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    r#type: Type,
    properties: Properties,
    labels: Labels,
}

impl Subject for Identity {
    fn text(&self, field: Field) -> &str {
        let properties = &self.properties;
        match field {
            Field::Name => &properties.name,
            Field::AssetType => self.r#type.lower_case(),
            Field::Category => self.r#type.category()[1],
            Field::Cluster => &properties.cluster,
            Field::Provider => &properties.provider,
            Field::ProviderId => &properties.provider_id,
            Field::Service => properties.service,
            _ => "",
        }
    }

    fn map(&self, _: Field) -> &Labels {
        &self.labels
    }
}

/// Parts of 1: by whom it was held.
#[derive(Debug, Default, Serialize)]
struct Breakdown {
    idle: f64,
    other: f64,
    system: f64,
    user: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    node_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
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
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    byte_hours: f64,
    bytes: f64,
    byte_hours_used: Option<f64>,
    byte_usage_max: Option<f64>,
    breakdown: Breakdown,
    adjustment: f64,
    storage_class: String,
    volume_name: String,
    claim_name: &'static str,
    claim_namespace: String,
}

#[derive(Debug, Serialize)]
struct LoadBalancer {
    adjustment: f64,
    private: bool,
    ip: &'static str,
}

/// What an asset of a type has beside what all have.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Own {
    Node(Box<Node>),
    Disk(Disk),
    LoadBalancer(LoadBalancer),
    ClusterManagement {},
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asset {
    #[serde(flatten)]
    identity: Identity,
    window: WindowAnswer,
    start: String,
    end: String,
    minutes: f64,
    #[serde(flatten)]
    own: Own,
    total_cost: f64,
}

/// What a machine cost, by whom it was held.
#[derive(Default)]
struct Paid {
    all: Amounts,
    /// CPU and memory: idle, system, other.
    of: [[i128; 2]; 3],
}

/// What else is known of a machine.
#[derive(Default)]
struct Kind {
    instance_type: String,
    region: String,
    pool: String,
    is_spot: bool,
}

/// Answers a question for assets: by key, as OpenCost writes it.
///
/// # Errors
/// A [`Problem`] where a query fails.
pub(super) fn assets(
    question: &AssetQuestion,
    connection: &Connection,
    over: &Over,
) -> Result<BTreeMap<String, Asset>, Problem> {
    let reader = Reader::whole(question.window, connection, over);
    let steps = reader.steps;
    let things = reader.machines_and_services()?;
    let mut assets = BTreeMap::new();
    let mut told = |asset: Asset, id: &str| {
        let mut key = key(&asset.identity);
        if assets.contains_key(&key) {
            // Another boot of the same instance.
            key = format!("{key}/{id}");
        }
        assets.insert(key, asset);
    };
    let kinds = kinds(&reader)?;
    for (key, paid) in machines(&reader, &things.machines)? {
        let Some(machine) = things.machines.get(&key) else {
            continue;
        };
        let identity = of_machine(&key, machine, kinds.get(&key));
        let life = life(machine.start_ms, machine.end_ms, question.window);
        let Some(life) = life.filter(|_| question.filter.lets_through(&identity)) else {
            continue;
        };
        told(
            node(identity, kinds.get(&key), &paid, life, question.window),
            &key.1,
        );
    }
    let providers = providers(&things);
    let mut services: BTreeMap<Key, (String, i128)> = BTreeMap::new();
    reader.service_rows(|row| {
        let key = (row.cluster.clone(), row.id.clone());
        let service = things.services.get(&key);
        let holder = service.map_or(question.window, |service| Window {
            start_ms: service.start_ms,
            end_ms: service.end_ms,
        });
        let amounts = Amounts::with(&[(Money::Volume, row.nano)], &[]);
        let sum = services.entry(key).or_default();
        if sum.0.is_empty() {
            sum.0 = row.namespace;
        }
        for (_, part) in row.time.divide(amounts, holder, steps)? {
            sum.1 += part.total();
        }
        Ok(())
    })?;
    for (key, (namespace, nano)) in services {
        let Some(service) = things.services.get(&key) else {
            continue;
        };
        let identity = of_service(&key, service, &providers);
        let life = life(service.start_ms, service.end_ms, question.window);
        let Some(life) = life.filter(|_| question.filter.lets_through(&identity)) else {
            continue;
        };
        told(
            thing(identity, service, namespace, nano, life, question.window),
            &key.1,
        );
    }
    Ok(assets)
}

/// What assets there are in a window, without what they cost.
///
/// # Errors
/// A [`Problem`] where a query fails.
pub(super) fn identities(reader: &Reader<'_>, window: Window) -> Result<Vec<Identity>, Problem> {
    let things = reader.machines_and_services()?;
    let kinds = kinds(reader)?;
    let providers = providers(&things);
    let machines = things
        .machines
        .iter()
        .filter(|(_, machine)| life(machine.start_ms, machine.end_ms, window).is_some())
        .map(|(key, machine)| of_machine(key, machine, kinds.get(key)));
    let services = things
        .services
        .iter()
        .filter(|(_, service)| life(service.start_ms, service.end_ms, window).is_some())
        .map(|(key, service)| of_service(key, service, &providers));
    Ok(machines.chain(services).collect())
}

/// Who sells the machines of each cluster; of several the first by name.
fn providers(things: &Things) -> HashMap<&str, &str> {
    let mut providers = HashMap::new();
    for ((cluster, _), machine) in &things.machines {
        let provider = machine.provider.as_str();
        if !provider.is_empty() {
            let first = providers.entry(cluster.as_str()).or_insert(provider);
            *first = provider.min(*first);
        }
    }
    providers
}

fn of_machine(key: &Key, machine: &Machine, kind: Option<&Kind>) -> Identity {
    Identity {
        r#type: Type::Node,
        properties: Properties {
            category: Type::Node.category()[0],
            provider: machine.provider.clone(),
            service: SERVICE,
            cluster: key.0.clone(),
            name: machine.node.clone(),
            // Two boots of one instance are two machines.
            provider_id: if machine.provider_id.is_empty() {
                key.1.clone()
            } else {
                machine.provider_id.clone()
            },
        },
        labels: kind.map(labels).unwrap_or_default(),
    }
}

fn of_service(key: &Key, service: &Service, providers: &HashMap<&str, &str>) -> Identity {
    let kind = match service.kind.as_str() {
        "volume" => Type::Disk,
        "load_balancer" => Type::LoadBalancer,
        _ => Type::ClusterManagement,
    };
    let provider = providers.get(key.0.as_str()).copied().unwrap_or_default();
    Identity {
        r#type: kind,
        properties: Properties {
            category: kind.category()[0],
            provider: provider.to_owned(),
            service: SERVICE,
            cluster: key.0.clone(),
            name: service.name.clone(),
            provider_id: key.1.clone(),
        },
        labels: Labels::new(),
    }
}

fn life(start_ms: i64, end_ms: i64, window: Window) -> Option<Window> {
    window.overlap(Window { start_ms, end_ms })
}

fn kinds(reader: &Reader<'_>) -> Result<HashMap<Key, Kind>, Problem> {
    let mut kinds = HashMap::new();
    let query = "select cluster, machine, coalesce(max(instance_type), ''), coalesce(max(pool), ''), \
         coalesce(bool_or(capacity_type = 'spot'), false), coalesce(max(region), '') from marts.machine_prices group by cluster, machine";
    reader.each(query, |row| {
        let read = || {
            let kind = Kind {
                instance_type: row.get(2)?,
                pool: row.get(3)?,
                is_spot: row.get(4)?,
                region: row.get(5)?,
            };
            Ok(((row.get(0)?, row.get(1)?), kind))
        };
        let (key, kind) = read().map_err(failed)?;
        kinds.insert(key, kind);
        Ok(())
    })?;
    Ok(kinds)
}

/// What machines cost and had.
fn machines(reader: &Reader<'_>, machines: &HashMap<Key, Machine>) -> Result<BTreeMap<Key, Paid>, Problem> {
    let mut all: BTreeMap<Key, Paid> = BTreeMap::new();
    let life = |key: &Key| {
        machines.get(key).map_or(reader.steps.window, |machine| Window {
            start_ms: machine.start_ms,
            end_ms: machine.end_ms,
        })
    };
    let held = "case when cost_category like 'idle_%' then 0 when cost_category in ('system', 'platform', 'node_reserved') then 1 \
         when cost_category = 'unobserved' then 2 else 3 end";
    let costs = format!(
        "select cluster, machine, cast({held} as bigint) as held_by, {}, {}, {}, {} from marts.allocations_hourly \
         where machine is not null and {} group by all",
        reader.when(),
        nano("cpu_cost"),
        nano("memory_cost"),
        nano("gpu_cost"),
        reader.within()
    );
    reader.each(&costs, |row| {
        let read = || {
            let amounts = Amounts::with(
                &[
                    (Money::Cpu, row.get(5)?),
                    (Money::Memory, row.get(6)?),
                    (Money::Gpu, row.get(7)?),
                ],
                &[],
            );
            let key: Key = (row.get(0)?, row.get(1)?);
            Ok((key, row.get::<_, i64>(2)?, super::read::when(row, 3)?, amounts))
        };
        let (key, held_by, time, amounts) = read().map_err(failed)?;
        let holder = life(&key);
        let paid = all.entry(key).or_default();
        for (_, part) in time.divide(amounts, holder, reader.steps)? {
            paid.all.add(&part);
            let of = usize::try_from(held_by)
                .ok()
                .and_then(|held_by| paid.of.get_mut(held_by));
            if let Some([cpu, memory]) = of {
                *cpu += part.money(Money::Cpu);
                *memory += part.money(Money::Memory);
            }
        }
        Ok(())
    })?;
    reader.held_rows(&HashMap::new(), |row| {
        let key = (row.cluster, row.machine);
        let holder = life(&key);
        let paid = all.entry(key).or_default();
        for (_, part) in row.time.divide(row.amounts, holder, reader.steps)? {
            paid.all.add(&part);
        }
        Ok(())
    })?;
    Ok(all)
}

fn node(identity: Identity, kind: Option<&Kind>, paid: &Paid, life: Window, window: Window) -> Asset {
    let span = i128::from(life.duration_ms());
    let hour = i128::from(HOUR);
    let time = |kind| paid.all.time(kind);
    let breakdown = |resource: usize, money| {
        let whole = paid.all.money(money);
        let [idle, system, other] = [0, 1, 2].map(|by: usize| paid.of[by][resource]);
        Breakdown {
            idle: rounded(idle, whole),
            other: rounded(other, whole),
            system: rounded(system, whole),
            user: rounded(whole - idle - system - other, whole),
        }
    };
    let own = Node {
        node_type: kind.map_or_else(String::new, |kind| kind.instance_type.clone()),
        pool: kind.map_or_else(String::new, |kind| kind.pool.clone()),
        cpu_cores: rounded(time(Time::Cpu), span * 1_000),
        ram_bytes: rounded(time(Time::Memory), span),
        cpu_core_hours: rounded(time(Time::Cpu), hour * 1_000),
        ram_byte_hours: rounded(time(Time::Memory), hour),
        gpu_hours: rounded(time(Time::Gpu), hour * 1_000),
        cpu_breakdown: breakdown(0, Money::Cpu),
        ram_breakdown: breakdown(1, Money::Memory),
        preemptible: if kind.is_some_and(|kind| kind.is_spot) {
            1.0
        } else {
            0.0
        },
        discount: 0.0,
        cpu_cost: dollars(paid.all.money(Money::Cpu)),
        gpu_cost: dollars(paid.all.money(Money::Gpu)),
        gpu_count: rounded(time(Time::Gpu), span * 1_000),
        ram_cost: dollars(paid.all.money(Money::Memory)),
        adjustment: 0.0,
    };
    Asset {
        identity,
        window: window.into(),
        start: rfc3339(life.start_ms),
        end: rfc3339(life.end_ms),
        minutes: rounded(span, 60_000),
        own: Own::Node(Box::new(own)),
        total_cost: dollars(paid.all.total()),
    }
}

/// The labels of a node that tell what it is, as OpenCost's pages look for them.
fn labels(kind: &Kind) -> Labels {
    [
        ("topology_kubernetes_io_region", &kind.region),
        ("node_kubernetes_io_instance_type", &kind.instance_type),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .collect()
}

/// A disk, a load balancer or a control plane.
fn thing(
    identity: Identity,
    service: &Service,
    namespace: String,
    nano: i128,
    life: Window,
    window: Window,
) -> Asset {
    let own = match identity.r#type {
        Type::Disk => Own::Disk(Disk {
            byte_hours: rounded(service.bytes * i128::from(life.duration_ms()), HOUR.into()),
            bytes: rounded(service.bytes, 1),
            byte_hours_used: None,
            byte_usage_max: None,
            breakdown: Breakdown::default(),
            adjustment: 0.0,
            storage_class: service.class.clone(),
            volume_name: service.name.clone(),
            claim_name: "",
            claim_namespace: namespace,
        }),
        Type::LoadBalancer => Own::LoadBalancer(LoadBalancer {
            adjustment: 0.0,
            private: false,
            ip: "",
        }),
        Type::ClusterManagement | Type::Node => Own::ClusterManagement {},
    };
    Asset {
        identity,
        window: window.into(),
        start: rfc3339(life.start_ms),
        end: rfc3339(life.end_ms),
        minutes: rounded(life.duration_ms().into(), 60_000),
        own,
        total_cost: dollars(nano),
    }
}

/// `provider/account/project/category/cluster/type/service/providerID/name`.
fn key(identity: &Identity) -> String {
    let properties = &identity.properties;
    let parts = [
        properties.provider.as_str(),
        "",
        "",
        properties.category,
        &properties.cluster,
        identity.r#type.name(),
        properties.service,
        &properties.provider_id,
        &properties.name,
    ];
    parts
        .map(|part| if part.is_empty() { UNDEFINED } else { part })
        .join("/")
}
