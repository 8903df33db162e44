//! The schedule of a ledger.

use std::collections::HashMap;

use duckdb::{Connection, Row};
use podledger_sql::units::NanoUsd;

use super::price::Prices;
use super::{Amounts, Asked, Machine, NotReplayed, Pod, Pool, PoolName, Schedule, rules};
use crate::error::{Error, Result};
use crate::rightsizing::{ContainerKind, Filter, Template};

/// What of a machine says to which pool it belongs.
const POOL: &str = "machines.cluster, coalesce(machines.pool, 'unattributed'), coalesce(machines.instance_type, 'unknown'), \
                    machines.capacity_type";

/// What a pool's machines have and what is held of them beside workloads.
#[derive(Default)]
struct Sums {
    shapes: Vec<Amounts>,
    own: [i128; 3],
    machine_ms: i128,
}

#[derive(Default)]
struct Reader {
    pools: Vec<Pool>,
    sums: Vec<Sums>,
    by_name: HashMap<PoolName, usize>,
    by_machine: HashMap<(String, String), usize>,
    templates: Vec<Template>,
    numbers: HashMap<Template, u32>,
    containers: HashMap<(String, String), Vec<Asked>>,
}

impl Schedule {
    /// What machines and pods of a ledger did in a window, from the first hour to the watermark unless the filter says otherwise.
    ///
    /// # Errors
    /// [`Error::Observations`].
    pub fn read(connection: &Connection, filter: &Filter) -> Result<Self> {
        let wrong = |source| Error::Observations { source };
        let mut reader = Reader::default();
        reader.machines(connection, filter).map_err(wrong)?;
        reader.costs(connection).map_err(wrong)?;
        reader.containers(connection, filter).map_err(wrong)?;
        reader.pods(connection).map_err(wrong)?;
        Ok(reader.schedule())
    }
}

fn pool_name(row: &Row<'_>) -> duckdb::Result<PoolName> {
    Ok(PoolName {
        cluster: row.get(0)?,
        pool: row.get(1)?,
        instance_type: row.get(2)?,
        capacity_type: row.get(3)?,
    })
}

fn number(row: &Row<'_>, cell: usize) -> duckdb::Result<i64> {
    Ok(row.get::<_, Option<i64>>(cell)?.unwrap_or(0))
}

impl Reader {
    fn machines(&mut self, connection: &Connection, filter: &Filter) -> duckdb::Result<()> {
        let text = format!(
            "with shapes as (
                select
                    cluster,
                    machine,
                    max_by(cpu_capacity_millicores - coalesce(cpu_reserved_millicores, 0), from_ms) as cpu_millicores,
                    max_by(memory_capacity_bytes - coalesce(memory_reserved_bytes, 0), from_ms) as memory_bytes,
                    max_by(gpu_capacity_milligpus - coalesce(gpu_reserved_milligpus, 0), from_ms) as gpu_milligpus
                from intermediate.int_machine_shapes
                group by cluster, machine
            )
            select
                {POOL}, machines.machine,
                greatest(clusters.from_ms, coalesce($1::bigint, clusters.from_ms)) as from_ms,
                least(clusters.to_ms, coalesce($2::bigint, clusters.to_ms)) as to_ms,
                least(clusters.billed_to_ms, coalesce($2::bigint, clusters.billed_to_ms)) as billed_to_ms,
                machines.start_ms, machines.registered_ms, machines.up_to_ms, rules.minimum_ms, rules.rounding_ms, machines.is_ended,
                case when machines.last_workload_ms > machines.first_workload_ms then machines.last_workload_ms end,
                machines.billing_model = 'pod_request',
                shapes.cpu_millicores, shapes.memory_bytes, shapes.gpu_milligpus
            from intermediate.int_machine_lives as machines
            inner join (
                select
                    lives.cluster,
                    min(lives.start_ms) as from_ms,
                    greatest(max(lives.up_to_ms), coalesce(max(watermarks.watermark_ms), 0)) as to_ms,
                    greatest(max(lives.end_ms), coalesce(max(watermarks.watermark_ms), 0)) as billed_to_ms
                from intermediate.int_machine_lives as lives
                left join staging.stg_watermarks as watermarks on lives.cluster = watermarks.cluster
                group by lives.cluster
            ) as clusters on machines.cluster = clusters.cluster
            left join shapes on machines.cluster = shapes.cluster and machines.machine = shapes.machine
            left join staging.stg_billing_rules as rules
                on machines.provider = rules.provider
                and machines.capacity_type = rules.capacity_type
                and machines.start_ms >= rules.valid_from_ms
                and machines.start_ms < rules.valid_to_ms
            where
                ($1 is null or machines.end_ms > $1::bigint)
                and ($2 is null or machines.start_ms < $2::bigint)
            order by all"
        );
        let mut statement = connection.prepare(&text)?;
        let mut rows = statement.query(duckdb::params![filter.since_ms, filter.until_ms])?;
        while let Some(row) = rows.next()? {
            let name = pool_name(row)?;
            let machine_name: String = row.get(4)?;
            let (from_ms, to_ms, billed_to_ms) = (number(row, 5)?, number(row, 6)?, number(row, 7)?);
            let machine = Machine {
                start_ms: number(row, 8)?,
                registered_ms: number(row, 9)?,
                up_to_ms: number(row, 10)?,
                minimum_ms: number(row, 11)?,
                rounding_ms: number(row, 12)?,
                is_ended: row.get(13)?,
                last_workload_ms: row.get(14)?,
            };
            let next = self.pools.len();
            let place = *self.by_name.entry(name.clone()).or_insert(next);
            if place == next {
                self.pools.push(Pool {
                    name: name.clone(),
                    from_ms,
                    to_ms,
                    billed_to_ms,
                    machines: Vec::new(),
                    pods: Vec::new(),
                    room: Amounts::default(),
                    prices: Prices::default(),
                    cost: NanoUsd::from_nano(0),
                    unusable: None,
                });
                self.sums.push(Sums::default());
            }
            if row.get::<_, Option<bool>>(15)? == Some(true) {
                self.pools[place].unusable = Some(NotReplayed::BilledByRequest);
            }
            if row.get::<_, Option<i64>>(16)?.is_some() {
                self.sums[place]
                    .shapes
                    .push([number(row, 16)?, number(row, 17)?, number(row, 18)?]);
            }
            let up = machine.up_to_ms.min(to_ms) - machine.registered_ms.max(from_ms);
            self.sums[place].machine_ms += i128::from(up.max(0));
            self.pools[place].machines.push(machine);
            self.by_machine.insert((name.cluster, machine_name), place);
        }
        Ok(())
    }

    fn costs(&mut self, connection: &Connection) -> duckdb::Result<()> {
        let text = format!(
            "select
                {POOL}, hours.hour_start_ms, cast(sum(hours.cost_nano) as bigint), cast(sum(hours.up_ms) as bigint),
                cast(sum(hours.unpriced_ms) as bigint)
            from intermediate.int_machine_hours as hours
            inner join intermediate.int_machines as machines
                on hours.cluster = machines.cluster and hours.machine = machines.machine
            group by all
            order by all"
        );
        let mut statement = connection.prepare(&text)?;
        let mut rows = statement.query([])?;
        let mut hours: Vec<Vec<(i64, i64, i64)>> = vec![Vec::new(); self.pools.len()];
        while let Some(row) = rows.next()? {
            let Some(place) = self.by_name.get(&pool_name(row)?).copied() else {
                continue;
            };
            let pool = &mut self.pools[place];
            let (hour, cost, up, unpriced) =
                (number(row, 4)?, number(row, 5)?, number(row, 6)?, number(row, 7)?);
            if hour + 3_600_000 <= pool.from_ms || hour >= pool.billed_to_ms {
                continue;
            }
            if unpriced > 0 && pool.unusable.is_none() {
                pool.unusable = Some(NotReplayed::Unpriced);
            }
            pool.cost = NanoUsd::from_nano(pool.cost.get().saturating_add(cost));
            hours[place].push((hour, cost, up));
        }
        for (pool, hours) in self.pools.iter_mut().zip(hours) {
            pool.prices = Prices::new(&hours);
        }
        Ok(())
    }

    /// What the containers of templates asked for, by pod.
    fn containers(&mut self, connection: &Connection, filter: &Filter) -> duckdb::Result<()> {
        let text = "
            select
                cluster, pod_uid, system, namespace, pipeline, job,
                case when container_name = pod_name or container_name = pod_uid then '(main)' else container_name end,
                container_kind, max(cpu_request_millicores), max(memory_request_bytes)
            from marts.container_attempts
            where
                pipeline is not null and pipeline <> 'unattributed'
                and ($1 is null or ended_at is null or ended_at > make_timestamp($1::bigint * 1000))
                and ($2 is null or started_at < make_timestamp($2::bigint * 1000))
            group by all
            order by all";
        let mut statement = connection.prepare(text)?;
        let mut rows = statement.query(duckdb::params![filter.since_ms, filter.until_ms])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(7)?;
            let template = Template {
                cluster: row.get(0)?,
                system: row.get(2)?,
                namespace: row.get(3)?,
                pipeline: row.get(4)?,
                job: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                container: row.get(6)?,
                kind: match kind.as_str() {
                    "init" => ContainerKind::Init,
                    "sidecar" => ContainerKind::Sidecar,
                    _ => ContainerKind::Container,
                },
            };
            let pod = (template.cluster.clone(), row.get(1)?);
            let kind = template.kind;
            let next = u32::try_from(self.templates.len()).unwrap_or(u32::MAX);
            let known = self.numbers.get(&template).copied();
            let template = known.unwrap_or_else(|| {
                self.numbers.insert(template.clone(), next);
                self.templates.push(template);
                next
            });
            self.containers.entry(pod).or_default().push(Asked {
                template,
                kind,
                cpu_millicores: number(row, 8)?,
                memory_bytes: number(row, 9)?,
            });
        }
        Ok(())
    }

    fn pods(&mut self, connection: &Connection) -> duckdb::Result<()> {
        let text = "
            select
                spans.cluster, spans.machine, spans.pod_uid, min(spans.start_ms), max(spans.end_ms),
                max(spans.cpu_request_millicores), max(spans.memory_request_bytes), max(spans.gpu_request_milligpus),
                any_value(pods.created_ms), bool_or(pods.is_system)
            from intermediate.int_pod_spans as spans
            inner join intermediate.int_pods as pods on spans.cluster = pods.cluster and spans.pod_uid = pods.pod_uid
            where spans.machine is not null
            group by spans.cluster, spans.machine, spans.pod_uid
            order by all";
        let mut statement = connection.prepare(text)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let cluster: String = row.get(0)?;
            let machine = (cluster, row.get(1)?);
            let Some(place) = self.by_machine.get(&machine).copied() else {
                continue;
            };
            let pool = &mut self.pools[place];
            let (start_ms, end_ms) = (number(row, 3)?, number(row, 4)?);
            let held = end_ms.min(pool.to_ms) - start_ms.max(pool.from_ms);
            if held <= 0 {
                continue;
            }
            let request = [number(row, 5)?, number(row, 6)?, number(row, 7)?];
            if row.get::<_, Option<bool>>(9)? == Some(true) {
                for (own, request) in self.sums[place].own.iter_mut().zip(request) {
                    *own += i128::from(request) * i128::from(held);
                }
                continue;
            }
            let created_ms = row.get::<_, Option<i64>>(8)?.unwrap_or(start_ms).min(start_ms);
            let arrives_ms = if start_ms <= pool.from_ms {
                pool.from_ms
            } else {
                created_ms.max(pool.from_ms + 1)
            };
            let pod = (machine.0, row.get(2)?);
            pool.pods.push(Pod {
                arrives_ms,
                bound_ms: start_ms,
                // What outlives the window does so in a replay too.
                holds_ms: if end_ms >= pool.to_ms {
                    pool.to_ms - arrives_ms
                } else {
                    held
                },
                request,
                containers: self.containers.remove(&pod).unwrap_or_default(),
            });
        }
        Ok(())
    }

    fn schedule(mut self) -> Schedule {
        for (pool, sums) in self.pools.iter_mut().zip(&mut self.sums) {
            pool.room = rules::room(&mut sums.shapes, sums.own, sums.machine_ms);
            // The scheduler's queue has an order of its own among pods that came together.
            pool.pods.sort_by_key(|pod| (pod.arrives_ms, pod.bound_ms));
            if sums.shapes.is_empty() && pool.unusable.is_none() {
                pool.unusable = Some(NotReplayed::NoMachine);
            }
        }
        Schedule {
            pools: self.pools,
            templates: self.templates,
        }
    }
}
