//! Prices and what is held, as OpenCost's exporter tells Prometheus: as of the moment up to which each cluster was observed. What has no price is left out.

use std::fmt::Write as _;

use duckdb::{Connection, Row};

use super::read::{Reader, failed};
use super::window::{Steps, Window};
use crate::http::problem::Problem;
use crate::http::work::Over;

/// The kind of the text.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The hours before that moment of which prices are taken.
const HOURS: &str = "hour_start_at <= through_at and hour_start_at > through_at - interval 2 hours";

const CLUSTERS: &str = "(select cluster, observed_through_at as through_at from marts.clusters) as clusters";

/// A metric: its name, help, and the names of its labels.
struct Metric {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Vec<(Vec<String>, String)>,
}

impl Metric {
    const fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self {
            name,
            help,
            labels,
            samples: Vec::new(),
        }
    }

    fn tell(&mut self, labels: &[&str], value: String) {
        self.samples
            .push((labels.iter().map(|label| escaped(label)).collect(), value));
    }

    fn write(mut self, text: &mut String) -> std::fmt::Result {
        self.samples.sort();
        self.samples.dedup_by(|one, other| one.0 == other.0);
        writeln!(
            text,
            "# HELP {} {}\n# TYPE {} gauge",
            self.name, self.help, self.name
        )?;
        for (values, sample) in &self.samples {
            let labels: Vec<String> = self
                .labels
                .iter()
                .zip(values)
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            writeln!(text, "{}{{{}}} {sample}", self.name, labels.join(","))?;
        }
        Ok(())
    }
}

/// A label's value, in quotes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text
}

/// Dollars of nano-dollars.
fn dollars(nano: i128) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    format!("{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// Whole ones of thousandths.
fn thousandths(milli: i128) -> String {
    format!("{}.{:03}", milli / 1_000, (milli % 1_000).abs())
}

const OF_NODE: &[&str] = &[
    "cluster_id",
    "instance",
    "node",
    "instance_type",
    "region",
    "provider_id",
    "arch",
];
const OF_CONTAINER: &[&str] = &["cluster_id", "namespace", "pod", "container", "instance", "node"];

fn text(row: &Row<'_>, at: usize) -> duckdb::Result<String> {
    Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default())
}

/// The labels of [`OF_NODE`], of columns cluster, node, instance type, region, provider id and architecture.
fn node_labels(row: &Row<'_>) -> duckdb::Result<[String; 7]> {
    Ok([
        text(row, 0)?,
        text(row, 1)?,
        text(row, 1)?,
        text(row, 2)?,
        text(row, 3)?,
        text(row, 4)?,
        text(row, 5)?,
    ])
}

/// The text that Prometheus reads.
///
/// # Errors
/// A [`Problem`] where a query fails.
pub(super) fn metrics(connection: &Connection, over: &Over) -> Result<String, Problem> {
    let reader = Reader {
        connection,
        over,
        // Nothing here is asked of a window.
        steps: Steps::new(
            Window {
                start_ms: 0,
                end_ms: 1,
            },
            None,
        ),
    };
    let mut told = String::new();
    for metric in [build_info()]
        .into_iter()
        .chain(nodes(&reader)?)
        .chain(containers(&reader)?)
        .chain(volumes(&reader)?)
        .chain(services(&reader)?)
    {
        metric.write(&mut told).map_err(|error| Problem::failed(&error))?;
    }
    Ok(told)
}

/// What dashboards find their job by.
fn build_info() -> Metric {
    let mut info = Metric::new("opencost_build_info", "The program that tells this", &["version"]);
    info.tell(&[env!("CARGO_PKG_VERSION")], "1".to_owned());
    info
}

fn nodes(reader: &Reader<'_>) -> Result<[Metric; 6], Problem> {
    let mut cpu = Metric::new(
        "node_cpu_hourly_cost",
        "Hourly cost of a core of the node, USD",
        OF_NODE,
    );
    let mut ram = Metric::new(
        "node_ram_hourly_cost",
        "Hourly cost of a GiB of the node's memory, USD",
        OF_NODE,
    );
    let mut gpu = Metric::new(
        "node_gpu_hourly_cost",
        "Hourly cost of a GPU of the node, USD",
        OF_NODE,
    );
    let mut total = Metric::new("node_total_hourly_cost", "Hourly cost of the node, USD", OF_NODE);
    let mut count = Metric::new("node_gpu_count", "GPUs of the node", OF_NODE);
    let mut spot = Metric::new(
        "kubecost_node_is_spot",
        "Whether the node is a spot instance",
        OF_NODE,
    );
    let query = format!(
        "with alive as (select machine_prices.*, through_at from marts.machine_prices inner join {CLUSTERS} using (cluster) \
             where start_at <= through_at and end_at >= through_at), \
         newest as (select cluster, machine, max_by(node_name, start_at) as node_name, max_by(instance_type, start_at) as instance_type, \
             max_by(region, start_at) as region, max_by(provider_id, start_at) as provider_id, max_by(architecture, start_at) as architecture, \
             max_by(capacity_type, start_at) as capacity_type, max_by(hourly_price, start_at) as hourly_price from alive group by cluster, machine), \
         costs as (select cluster, machine, sum(cpu_cost) as cpu, sum(memory_cost) as memory, sum(gpu_cost) as gpu \
             from marts.allocations_hourly inner join {CLUSTERS} using (cluster) where machine is not null and {HOURS} group by cluster, machine), \
         held as (select cluster, machine, sum(cpu_millicore_ms) as cpu_ms, sum(memory_byte_ms) as memory_ms, sum(gpu_milligpu_ms) as gpu_ms \
             from marts.resources_hourly inner join {CLUSTERS} using (cluster) where {HOURS} group by cluster, machine) \
         select newest.cluster, node_name, instance_type, region, provider_id, architecture, coalesce(capacity_type = 'spot', false), \
             cast(cast(hourly_price as decimal(38,9)) * 1000000000 as hugeint), cast(cast(cpu as decimal(38,9)) * 1000000000 as hugeint), \
             cast(cast(memory as decimal(38,9)) * 1000000000 as hugeint), cast(cast(gpu as decimal(38,9)) * 1000000000 as hugeint), \
             cast(cpu_ms as hugeint), cast(memory_ms as hugeint), cast(gpu_ms as hugeint) \
         from newest left join costs using (cluster, machine) left join held using (cluster, machine)"
    );
    reader.each(&query, |row| {
        let read = || {
            let labels = node_labels(row)?;
            let amount = |at| row.get::<_, Option<i128>>(at);
            Ok((
                labels,
                row.get::<_, bool>(6)?,
                amount(7)?,
                [amount(8)?, amount(9)?, amount(10)?],
                [amount(11)?, amount(12)?, amount(13)?].map(|time| time.unwrap_or(0)),
            ))
        };
        let (labels, is_spot, price, costs, times) = read().map_err(failed)?;
        let labels = labels.each_ref().map(String::as_str);
        // What an hour of one unit costs: a core, a GiB, an accelerator.
        let units = [1_000, 1 << 30, 1_000].map(|unit: i128| unit * 3_600_000);
        // Sums over CPU, memory and GPUs need all three of each node.
        if times[2] == 0 && times[0] > 0 {
            gpu.tell(&labels, "0".to_owned());
            count.tell(&labels, "0".to_owned());
        }
        for (metric, ((nano, time), unit)) in [&mut cpu, &mut ram, &mut gpu]
            .into_iter()
            .zip(costs.into_iter().zip(times).zip(units))
        {
            if let Some(nano) = nano
                && time > 0
            {
                metric.tell(&labels, dollars(nano * unit / time));
            }
        }
        if let Some(price) = price {
            total.tell(&labels, dollars(price));
        }
        spot.tell(&labels, u8::from(is_spot).to_string());
        Ok(())
    })?;
    let query = format!(
        "with lives as (select cluster, machine, max_by(node_name, start_at) as node_name, max_by(instance_type, start_at) as instance_type, \
             max_by(region, start_at) as region, max_by(provider_id, start_at) as provider_id, max_by(architecture, start_at) as architecture, \
             min(start_at) as from_at, max(end_at) as to_at from marts.machine_prices group by cluster, machine), \
         hours as (select cluster, machine, hour_start_at, cast(sum(gpu_milligpu_ms) as hugeint) as gpu_ms, max(through_at) as through_at \
             from marts.resources_hourly inner join {CLUSTERS} using (cluster) where {HOURS} group by cluster, machine, hour_start_at), \
         newest as (select cluster, machine, max(hour_start_at) as hour_start_at from hours where gpu_ms > 0 group by cluster, machine) \
         select lives.cluster, node_name, instance_type, region, provider_id, architecture, \
             cast(gpu_ms // greatest(epoch_ms(least(to_at, hour_start_at + interval 1 hour)) - epoch_ms(greatest(from_at, hour_start_at)), 1) as hugeint) \
         from newest inner join hours using (cluster, machine, hour_start_at) inner join lives using (cluster, machine) where to_at >= through_at"
    );
    reader.each(&query, |row| {
        let read = || {
            let labels = node_labels(row)?;
            Ok((labels, row.get::<_, i128>(6)?))
        };
        let (labels, milli) = read().map_err(failed)?;
        count.tell(&labels.each_ref().map(String::as_str), thousandths(milli));
        Ok(())
    })?;
    Ok([cpu, ram, gpu, total, count, spot])
}

fn containers(reader: &Reader<'_>) -> Result<[Metric; 3], Problem> {
    let mut cpu = Metric::new(
        "container_cpu_allocation",
        "Cores that the container asks for",
        OF_CONTAINER,
    );
    let mut ram = Metric::new(
        "container_memory_allocation_bytes",
        "Bytes of memory that the container asks for",
        OF_CONTAINER,
    );
    let mut gpu = Metric::new(
        "container_gpu_allocation",
        "GPUs that the container asks for",
        OF_CONTAINER,
    );
    let query = format!(
        "select pods.cluster, pods.namespace, pods.pod_name, containers.container_name, pods.node_name, containers.cpu_request_millicores, \
             containers.memory_request_bytes, containers.gpu_request_milligpus \
         from marts.pods as pods inner join {CLUSTERS} using (cluster) \
         inner join marts.pod_containers as containers on pods.cluster = containers.cluster and pods.pod_uid = containers.pod_uid \
         where containers.container_kind <> 'init' and pods.bound_ms <= epoch_ms(through_at) \
             and (pods.released_ms is null or pods.released_ms > epoch_ms(through_at))"
    );
    reader.each(&query, |row| {
        let read = || {
            let labels = [
                text(row, 0)?,
                text(row, 1)?,
                text(row, 2)?,
                text(row, 3)?,
                text(row, 4)?,
                text(row, 4)?,
            ];
            let amount = |at| {
                row.get::<_, Option<i64>>(at)
                    .map(|amount| i128::from(amount.unwrap_or(0)))
            };
            Ok((labels, [amount(5)?, amount(6)?, amount(7)?]))
        };
        let (labels, [cores, bytes, gpus]) = read().map_err(failed)?;
        let labels = labels.each_ref().map(String::as_str);
        cpu.tell(&labels, thousandths(cores));
        ram.tell(&labels, bytes.to_string());
        gpu.tell(&labels, thousandths(gpus));
        Ok(())
    })?;
    Ok([cpu, ram, gpu])
}

fn volumes(reader: &Reader<'_>) -> Result<[Metric; 2], Problem> {
    let mut mounted = Metric::new(
        "pod_pvc_allocation",
        "Bytes of a volume that the pod mounts",
        &[
            "cluster_id",
            "namespace",
            "pod",
            "persistentvolumeclaim",
            "persistentvolume",
        ],
    );
    let query = format!(
        "with newest as (select cluster, service_id, max_by(service_name, start_at) as service_name, max_by(quantity, start_at) as quantity \
             from marts.service_prices where service_kind = 'volume' group by cluster, service_id) \
         select hours.cluster, pods.namespace, pods.pod_name, newest.service_name, max(newest.quantity) \
         from marts.services_hourly as hours inner join {CLUSTERS} using (cluster) \
         inner join newest using (cluster, service_id) \
         inner join marts.pods as pods on hours.cluster = pods.cluster and hours.pod_uid = pods.pod_uid \
         where {HOURS} and pods.bound_ms <= epoch_ms(through_at) and (pods.released_ms is null or pods.released_ms > epoch_ms(through_at)) \
         group by all"
    );
    reader.each(&query, |row| {
        let read = || {
            let labels = [
                text(row, 0)?,
                text(row, 1)?,
                text(row, 2)?,
                String::new(),
                text(row, 3)?,
            ];
            Ok((labels, row.get::<_, i64>(4)?))
        };
        let (labels, bytes) = read().map_err(failed)?;
        mounted.tell(&labels.each_ref().map(String::as_str), bytes.to_string());
        Ok(())
    })?;
    let mut price = Metric::new(
        "pv_hourly_cost",
        "Hourly cost of a GiB of a volume, USD",
        &["cluster_id", "volumename", "persistentvolume", "provider_id"],
    );
    each_service(reader, "volume", |labels, quantity, nano| {
        if quantity > 0 {
            let per_gib = nano * (1 << 30) / quantity;
            price.tell(
                &[&labels[0], &labels[1], &labels[1], &labels[3]],
                dollars(per_gib),
            );
        }
    })?;
    Ok([mounted, price])
}

fn services(reader: &Reader<'_>) -> Result<[Metric; 2], Problem> {
    let mut balancers = Metric::new(
        "kubecost_load_balancer_cost",
        "Hourly cost of a load balancer, USD",
        &["cluster_id", "ingress_ip", "namespace", "service_name"],
    );
    each_service(reader, "load_balancer", |labels, _, nano| {
        balancers.tell(&[&labels[0], "", &labels[2], &labels[1]], dollars(nano));
    })?;
    let mut management = Metric::new(
        "kubecost_cluster_management_cost",
        "Hourly cost of a cluster's control plane, USD",
        &["cluster_id", "provisioner_name"],
    );
    each_service(reader, "control_plane", |labels, _, nano| {
        management.tell(&[&labels[0], &labels[4]], dollars(nano));
    })?;
    Ok([balancers, management])
}

/// Gives away services that are there: cluster, name, namespace, identifier and type; quantity; the price of an hour, nano-dollars.
fn each_service(
    reader: &Reader<'_>,
    kind: &'static str,
    mut take: impl FnMut(&[String; 5], i128, i128),
) -> Result<(), Problem> {
    let query = format!(
        "select cluster, service_name, namespace, service_id, service_type, quantity, cast(cast(hourly_price as decimal(38,9)) * 1000000000 as hugeint) \
         from marts.service_prices inner join {CLUSTERS} using (cluster) \
         where service_kind = '{kind}' and start_at <= through_at and end_at >= through_at and hourly_price is not null \
         qualify row_number() over (partition by cluster, service_id order by start_at desc) = 1"
    );
    reader.each(&query, |row| {
        let read = || {
            let labels = [
                text(row, 0)?,
                text(row, 1)?,
                text(row, 2)?,
                text(row, 3)?,
                text(row, 4)?,
            ];
            Ok((labels, row.get::<_, i64>(5)?, row.get::<_, i128>(6)?))
        };
        let (labels, quantity, nano) = read().map_err(failed)?;
        take(&labels, quantity.into(), nano);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_prometheus_text() {
        let mut metric = Metric::new("m", "help", &["a", "b"]);
        metric.tell(&["x\"\\\n", ""], dollars(-1_500_000_000));
        metric.tell(&["", "y"], thousandths(2_500));
        metric.tell(&["", "y"], thousandths(2_500));
        let mut text = String::new();
        metric.write(&mut text).unwrap();
        assert_eq!(
            text,
            "# HELP m help\n# TYPE m gauge\nm{a=\"\",b=\"y\"} 2.500\nm{a=\"x\\\"\\\\\\n\",b=\"\"} -1.500000000\n"
        );
    }
}
