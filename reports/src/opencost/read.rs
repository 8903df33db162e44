//! Reads a snapshot: pods, machines and services of some hours, and what each of them cost and held in each step.

use std::collections::HashMap;

use duckdb::{Connection, Row};

use super::field::Needs;
use super::item::{Item, labels};
use super::sums::{Amounts, Money, Time};
use super::window::{HOUR, Steps, Window};
use crate::http::problem::Problem;
use crate::http::work::Over;

/// Rows between two looks at whether anybody still waits.
const BATCH: usize = 2_048;

/// A container that is not an init container.
pub(super) struct Container {
    pub name: String,
    /// CPU in millicores, memory in bytes, accelerators in thousandths.
    pub requests: [i128; 3],
}

/// A pod that held a machine.
pub(super) struct Pod {
    pub item: Item,
    pub machine: String,
    pub start_ms: i64,
    pub end_ms: i64,
    pub requests: [i128; 3],
    pub containers: Vec<Container>,
}

/// A machine.
#[derive(Default)]
pub(super) struct Machine {
    pub node: String,
    pub provider: String,
    pub provider_id: String,
    pub start_ms: i64,
    pub end_ms: i64,
}

/// A volume, load balancer or control plane.
pub(super) struct Service {
    pub name: String,
    pub kind: String,
    /// Storage class of a volume, kind of a control plane.
    pub class: String,
    pub bytes: i128,
    pub hourly_nano: i128,
    pub start_ms: i64,
    pub end_ms: i64,
}

/// A cluster and an identifier in it.
pub(super) type Key = (String, String);

/// What is known of the things that cost something.
#[derive(Default)]
pub(super) struct Things {
    pub pods: HashMap<Key, Pod>,
    pub machines: HashMap<Key, Machine>,
    pub services: HashMap<Key, Service>,
}

/// Who holds what a row tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Pod,
    Idle,
    /// A node's reservation, or nobody knows who.
    Node,
}

/// What one holder on a machine cost or held in a step, or in an hour that several steps, or the window's ends, divide.
pub(super) struct MachineRow {
    pub cluster: String,
    pub machine: String,
    pub holder: Holder,
    pub pod_uid: Option<String>,
    pub time: When,
    pub amounts: Amounts,
}

/// What a volume, load balancer or control plane cost in the same.
pub(super) struct ServiceRow {
    pub cluster: String,
    pub id: String,
    pub kind: String,
    pub pod_uid: Option<String>,
    pub namespace: String,
    pub team: String,
    pub pipeline: String,
    pub time: When,
    pub nano: i128,
}

/// A step, or an hour that has to be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Step(i64),
    Hour(i64),
}

impl When {
    /// Divides what something has among steps.
    ///
    /// # Errors
    /// As [`Amounts::by_step`].
    pub fn divide(
        self,
        amounts: Amounts,
        holder: Window,
        steps: Steps,
    ) -> Result<Vec<(i64, Amounts)>, Problem> {
        match self {
            Self::Step(number) => Ok(vec![(number, amounts)]),
            Self::Hour(start_ms) => {
                let hour = Window {
                    start_ms,
                    end_ms: start_ms + HOUR,
                };
                amounts.by_step(hour, holder, steps)
            }
        }
    }
}

/// Reads a snapshot, as long as somebody waits.
pub(super) struct Reader<'a> {
    pub connection: &'a Connection,
    pub over: &'a Over,
    pub steps: Steps,
}

/// Nano-dollars of a sum of dollars; 0 where no price is known.
pub(super) fn nano(sum: &str) -> String {
    format!("coalesce(cast(cast(sum({sum}) as decimal(38,9)) * 1000000000 as hugeint), 0)")
}

/// A sum of whole numbers; 0 where none is known.
fn whole(sum: &str) -> String {
    format!("coalesce(cast(sum({sum}) as hugeint), 0)")
}

/// What is not told is empty here.
fn text(row: &Row<'_>, at: usize) -> duckdb::Result<String> {
    Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default())
}

/// The same of a name that marts call `unattributed`.
fn name(row: &Row<'_>, at: usize) -> duckdb::Result<String> {
    let name = text(row, at)?;
    Ok(if name == "unattributed" {
        String::new()
    } else {
        name
    })
}

impl<'a> Reader<'a> {
    /// Of a window as one step.
    pub fn whole(window: Window, connection: &'a Connection, over: &'a Over) -> Self {
        Self {
            connection,
            over,
            steps: Steps::new(window, None),
        }
    }

    /// Gives each row of a query away.
    ///
    /// # Errors
    /// A [`Problem`] where the query fails or nobody waits, and what is said of a row.
    pub fn each(
        &self,
        query: &str,
        mut take: impl FnMut(&Row<'_>) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let failed = |source| failed(source);
        self.over.check()?;
        let mut statement = self.connection.prepare(query).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            take(row)?;
            count += 1;
            if count % BATCH == 0 {
                self.over.check()?;
            }
        }
        Ok(())
    }

    /// Where an hour touches the window.
    pub fn within(&self) -> String {
        let (start, end) = self.steps.hours();
        format!("hour_start_at >= make_timestamp_ms({start}) and hour_start_at < make_timestamp_ms({end})")
    }

    /// Columns that tell the step of an hour: its number, or the hour itself where it has to be divided.
    pub fn when(&self) -> String {
        let (start, end, step) = (
            self.steps.window.start_ms,
            self.steps.window.end_ms,
            self.steps.step_ms,
        );
        let hour = "epoch_ms(hour_start_at)";
        let first = format!("(greatest({hour}, {start}) - {start}) // {step}");
        let last = format!("({hour} + 3599999 - {start}) // {step}");
        let is_whole = format!("{hour} >= {start} and {hour} + 3600000 <= {end} and {first} = {last}");
        format!(
            "case when {is_whole} then cast({first} as bigint) end as step, case when not ({is_whole}) then {hour} end as cut_hour_ms"
        )
    }

    /// All that is known of what may have cost something in the window.
    ///
    /// # Errors
    /// A [`Problem`] where a query fails.
    pub fn things(&self, needs: Needs) -> Result<Things, Problem> {
        let mut things = self.machines_and_services()?;
        self.pods(needs, &mut things)?;
        Ok(things)
    }

    /// The same without pods.
    ///
    /// # Errors
    /// A [`Problem`] where a query fails.
    pub fn machines_and_services(&self) -> Result<Things, Problem> {
        let mut things = Things::default();
        let machines = "select cluster, machine, max(node_name), max(provider), max(provider_id), \
             epoch_ms(min(start_at)), epoch_ms(max(end_at)) from marts.machine_prices group by cluster, machine";
        self.each(machines, |row| {
            let read = || {
                let machine = Machine {
                    node: text(row, 2)?,
                    provider: text(row, 3)?,
                    provider_id: text(row, 4)?,
                    start_ms: row.get(5)?,
                    end_ms: row.get(6)?,
                };
                Ok(((text(row, 0)?, text(row, 1)?), machine))
            };
            let (key, machine) = read().map_err(failed)?;
            things.machines.insert(key, machine);
            Ok(())
        })?;
        let services = "select cluster, service_id, max(service_name), max(service_kind), max(service_type), max_by(quantity, start_at), \
             coalesce(cast(cast(max_by(hourly_price, start_at) as decimal(38,9)) * 1000000000 as hugeint), 0), \
             epoch_ms(min(start_at)), epoch_ms(max(end_at)) from marts.service_prices group by cluster, service_id";
        self.each(services, |row| {
            let read = || {
                let service = Service {
                    name: text(row, 2)?,
                    kind: text(row, 3)?,
                    class: text(row, 4)?,
                    bytes: row.get::<_, Option<i64>>(5)?.unwrap_or(0).into(),
                    hourly_nano: row.get(6)?,
                    start_ms: row.get(7)?,
                    end_ms: row.get(8)?,
                };
                Ok(((text(row, 0)?, text(row, 1)?), service))
            };
            let (key, service) = read().map_err(failed)?;
            things.services.insert(key, service);
            Ok(())
        })?;
        Ok(things)
    }

    fn pods(&self, needs: Needs, things: &mut Things) -> Result<(), Problem> {
        let (start, end) = self.steps.hours();
        let (described, join) = if needs.descriptions {
            (
                "told.controller_kind, told.controller_name, told.labels, told.annotations, told.namespace_labels",
                "left join marts.pod_descriptions as told on pods.cluster = told.cluster and pods.pod_uid = told.pod_uid",
            )
        } else {
            (
                "cast(null as varchar), cast(null as varchar), cast(null as varchar), cast(null as varchar), cast(null as varchar)",
                "",
            )
        };
        let there =
            format!("pods.bound_ms < {end} and (pods.released_ms is null or pods.released_ms > {start})");
        let query = format!(
            "select pods.cluster, pods.pod_uid, pods.pod_name, pods.namespace, pods.team, pods.pipeline, pods.run, pods.bound_ms, \
             greatest(least(coalesce(pods.released_ms, through_ms, pods.bound_ms), coalesce(through_ms, pods.released_ms, pods.bound_ms)), pods.bound_ms), \
             pods.cpu_request_millicores, pods.memory_request_bytes, pods.gpu_request_milligpus, {described}, pods.machine \
             from marts.pods as pods \
             left join (select cluster, epoch_ms(observed_through_at) as through_ms from marts.clusters) as clusters on pods.cluster = clusters.cluster \
             {join} where {there}"
        );
        self.each(&query, |row| {
            let read = || {
                let amount = |at| Ok::<_, duckdb::Error>(row.get::<_, Option<i64>>(at)?.unwrap_or(0).into());
                let json = |at| Ok::<_, duckdb::Error>(labels(row.get::<_, Option<String>>(at)?.as_deref()));
                let cluster = text(row, 0)?;
                let item = Item {
                    cluster: cluster.clone(),
                    pod: text(row, 2)?,
                    namespace: name(row, 3)?,
                    team: name(row, 4)?,
                    pipeline: name(row, 5)?,
                    run: name(row, 6)?,
                    controller_kind: text(row, 12)?.to_lowercase(),
                    controller: text(row, 13)?,
                    labels: json(14)?,
                    annotations: json(15)?,
                    namespace_labels: json(16)?,
                    ..Item::default()
                };
                let pod = Pod {
                    item,
                    machine: text(row, 17)?,
                    start_ms: row.get(7)?,
                    end_ms: row.get(8)?,
                    requests: [amount(9)?, amount(10)?, amount(11)?],
                    containers: Vec::new(),
                };
                Ok(((cluster, text(row, 1)?), pod))
            };
            let (key, pod) = read().map_err(failed)?;
            things.pods.insert(key, pod);
            Ok(())
        })?;
        if !needs.containers {
            return Ok(());
        }
        let query = format!(
            "select pods.cluster, pods.pod_uid, container_name, containers.cpu_request_millicores, containers.memory_request_bytes, \
             containers.gpu_request_milligpus from marts.pods as pods \
             inner join marts.pod_containers as containers on pods.cluster = containers.cluster and pods.pod_uid = containers.pod_uid \
             where {there} and container_kind <> 'init' order by pods.cluster, pods.pod_uid, container_name"
        );
        self.each(&query, |row| {
            let read = || {
                let amount = |at| Ok::<_, duckdb::Error>(row.get::<_, Option<i64>>(at)?.unwrap_or(0).into());
                let container = Container {
                    name: text(row, 2)?,
                    requests: [amount(3)?, amount(4)?, amount(5)?],
                };
                Ok(((text(row, 0)?, text(row, 1)?), container))
            };
            let (key, container) = read().map_err(failed)?;
            if let Some(pod) = things.pods.get_mut(&key) {
                pod.containers.push(container);
            }
            Ok(())
        })
    }

    /// Gives away what each holder on a machine cost, and then what it held.
    ///
    /// # Errors
    /// A [`Problem`] where a query fails, and what is said of a row.
    pub fn machine_rows(
        &self,
        pods: &HashMap<Key, Pod>,
        mut take: impl FnMut(MachineRow) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let costs = format!(
            "select cluster, machine, consumer_kind, pod_uid, {}, {}, {}, {} from marts.allocations_hourly \
             where machine is not null and {} group by all",
            self.when(),
            nano("cpu_cost"),
            nano("memory_cost"),
            nano("gpu_cost"),
            self.within()
        );
        self.each(&costs, |row| {
            let read = || {
                let amounts = Amounts::with(
                    &[
                        (Money::Cpu, row.get(6)?),
                        (Money::Memory, row.get(7)?),
                        (Money::Gpu, row.get(8)?),
                    ],
                    &[],
                );
                machine_row(row, amounts)
            };
            take(read().map_err(failed)?)
        })?;
        self.held_rows(pods, take)
    }

    /// Gives away what each holder on a machine held.
    ///
    /// # Errors
    /// As [`Reader::machine_rows`].
    pub fn held_rows(
        &self,
        pods: &HashMap<Key, Pod>,
        mut take: impl FnMut(MachineRow) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let held = format!(
            "select cluster, machine, consumer_kind, pod_uid, {}, {}, {}, {}, {}, {}, {}, {}, {} from marts.resources_hourly \
             where {} group by all",
            self.when(),
            whole("cpu_millicore_ms"),
            whole("memory_byte_ms"),
            whole("gpu_milligpu_ms"),
            whole("held_ms"),
            whole("cpu_usage_millicore_ms"),
            whole("memory_usage_byte_ms"),
            whole("case when cpu_measured_ms is not null then least(cpu_measured_ms, held_ms) end"),
            whole("case when memory_measured_ms is not null then least(memory_measured_ms, held_ms) end"),
            self.within()
        );
        self.each(&held, |row| {
            let read = || {
                let key = (text(row, 0)?, text(row, 3)?);
                let [cpu, memory, _] = pods.get(&key).map_or([0; 3], |pod| pod.requests);
                let held: i128 = row.get(9)?;
                let amounts = Amounts::with(
                    &[],
                    &[
                        (Time::Cpu, row.get(6)?),
                        (Time::Memory, row.get(7)?),
                        (Time::Gpu, row.get(8)?),
                        (Time::CpuRequest, cpu * held),
                        (Time::MemoryRequest, memory * held),
                        (Time::CpuUsage, row.get(10)?),
                        (Time::MemoryUsage, row.get(11)?),
                        (Time::CpuMeasured, cpu * row.get::<_, i128>(12)?),
                        (Time::MemoryMeasured, memory * row.get::<_, i128>(13)?),
                    ],
                );
                machine_row(row, amounts)
            };
            take(read().map_err(failed)?)
        })
    }

    /// Gives away what volumes, load balancers and control planes cost.
    ///
    /// # Errors
    /// A [`Problem`] where the query fails, and what is said of a row.
    pub fn service_rows(
        &self,
        mut take: impl FnMut(ServiceRow) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let query = format!(
            "select cluster, service_id, service_kind, pod_uid, namespace, team, pipeline, {}, {} from marts.services_hourly \
             where {} group by all",
            self.when(),
            nano("cost"),
            self.within()
        );
        self.each(&query, |row| {
            let read = || {
                Ok(ServiceRow {
                    cluster: text(row, 0)?,
                    id: text(row, 1)?,
                    kind: text(row, 2)?,
                    pod_uid: row.get(3)?,
                    namespace: name(row, 4)?,
                    team: name(row, 5)?,
                    pipeline: name(row, 6)?,
                    time: when(row, 7)?,
                    nano: row.get(9)?,
                })
            };
            take(read().map_err(failed)?)
        })
    }
}

pub(super) fn failed(source: duckdb::Error) -> Problem {
    Problem::failed(&crate::Error::DuckDb {
        doing: "read allocations",
        source,
    })
}

pub(super) fn when(row: &Row<'_>, at: usize) -> duckdb::Result<When> {
    Ok(match row.get::<_, Option<i64>>(at)? {
        Some(step) => When::Step(step),
        None => When::Hour(row.get(at + 1)?),
    })
}

fn machine_row(row: &Row<'_>, amounts: Amounts) -> duckdb::Result<MachineRow> {
    let kind = text(row, 2)?;
    Ok(MachineRow {
        cluster: text(row, 0)?,
        machine: text(row, 1)?,
        holder: match kind.as_str() {
            "pod" => Holder::Pod,
            "idle" => Holder::Idle,
            _ => Holder::Node,
        },
        pod_uid: row.get(3)?,
        time: when(row, 4)?,
        amounts,
    })
}
