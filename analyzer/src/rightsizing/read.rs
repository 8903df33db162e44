//! The observations of a ledger.

use std::collections::HashMap;

use duckdb::{Connection, Row};

use super::history::{ContainerKind, History, Observation, Observed, Run, Template};
use crate::error::{Error, Result};

/// What of a ledger is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
}

/// All templates of workloads that a rule names, with their attempts in the order of their runs.
///
/// # Errors
/// [`Error::Observations`].
pub fn read(connection: &Connection, filter: &Filter) -> Result<Observed> {
    let wrong = |source| Error::Observations { source };
    // What has no run of its own is sized by day.
    let text = "
        with attempts as (
            select
                *,
                case
                    when is_day then strftime(started_at, '%Y-%m-%d')
                    when run is null or run = 'unattributed' then case
                        when attempt is null or attempt = 'unattributed' then strftime(started_at, '%Y-%m-%d')
                        else pod_uid
                    end
                    else run || '/' || coalesce(run_epoch, '')
                end as run_key,
                epoch_ms(started_at) as started_ms,
                coalesce(epoch_ms(ended_at), epoch_ms(started_at) + coalesce(cpu_measured_ms, 0)) as ended_ms,
                case when container_name = pod_name or container_name = pod_uid then '(main)' else container_name end as container
            from marts.container_attempts
            where
                pipeline is not null and pipeline <> 'unattributed'
                and ($1 is null or started_at >= make_timestamp($1::bigint * 1000))
                and ($2 is null or started_at < make_timestamp($2::bigint * 1000))
        ),
        -- Numbers tell tries of one thing from other things of the same job.
        retried as (
            select distinct cluster, system, installation, pipeline, job
            from attempts
            where run <> 'unattributed'
            group by cluster, system, installation, pipeline, job, run_key
            having count(distinct try_cast(attempt as bigint)) > 1
        ),
        runs as (
            select *, dense_rank() over (order by cluster, coalesce(system, ''), coalesce(installation, ''), pipeline) - 1 as pipeline_number
            from (
                select cluster, system, installation, pipeline, run_key, min(started_ms) as run_started_ms
                from attempts
                group by all
            )
        ),
        numbered as (
            select *, row_number() over (order by run_started_ms, pipeline_number, run_key) - 1 as run_number from runs
        )
        select
            attempts.cluster, attempts.system, attempts.namespace, attempts.pipeline, attempts.job, attempts.container,
            attempts.container_kind, attempts.team, attempts.image, attempts.source, attempts.pod_containers,
            numbered.run_number, numbered.pipeline_number, numbered.run_started_ms, attempts.started_ms, attempts.ended_ms,
            attempts.cpu_request_millicores, attempts.cpu_measured_ms, attempts.cpu_usage_millicore_ms,
            attempts.cpu_p50_millicores, attempts.cpu_p90_millicores, attempts.cpu_p95_millicores, attempts.cpu_max_millicores,
            attempts.memory_request_bytes, attempts.memory_limit_bytes, attempts.memory_peak_bytes, attempts.oom_kills > 0,
            coalesce(attempts.cpu_throttled_periods * 10 > attempts.cpu_periods, false), retried.pipeline is not null,
            attempts.heap_peak_bytes, attempts.heap_limit_bytes
        from attempts
        inner join numbered
            on attempts.cluster = numbered.cluster
            and attempts.system is not distinct from numbered.system
            and attempts.installation is not distinct from numbered.installation
            and attempts.pipeline = numbered.pipeline
            and attempts.run_key = numbered.run_key
        left join retried
            on attempts.cluster = retried.cluster
            and attempts.system is not distinct from retried.system
            and attempts.installation is not distinct from retried.installation
            and attempts.pipeline = retried.pipeline
            and attempts.job is not distinct from retried.job
        order by
            attempts.cluster, attempts.system nulls first, attempts.namespace nulls first, attempts.pipeline, attempts.job,
            attempts.container, attempts.container_kind, numbered.run_number, attempts.started_ms, attempts.pod_uid";
    let mut statement = connection.prepare(text).map_err(wrong)?;
    let parameters = duckdb::params![filter.since_ms, filter.until_ms];
    let mut rows = statement.query(parameters).map_err(wrong)?;
    let mut reader = Reader::default();
    while let Some(row) = rows.next().map_err(wrong)? {
        reader.take(row).map_err(wrong)?;
    }
    Ok(reader.observed)
}

#[derive(Default)]
struct Reader {
    observed: Observed,
    images: HashMap<String, u32>,
}

/// A number that is not negative; 0 where there is none.
fn amount(row: &Row<'_>, cell: usize) -> duckdb::Result<u64> {
    let found: Option<i64> = row.get(cell)?;
    Ok(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(0))
}

fn small(row: &Row<'_>, cell: usize) -> duckdb::Result<u32> {
    Ok(u32::try_from(amount(row, cell)?).unwrap_or(u32::MAX))
}

impl Reader {
    fn take(&mut self, row: &Row<'_>) -> duckdb::Result<()> {
        let text = |cell: usize| row.get::<_, Option<String>>(cell);
        let kind: String = row.get(6)?;
        let template = Template {
            cluster: row.get(0)?,
            system: text(1)?,
            namespace: text(2)?,
            pipeline: row.get(3)?,
            job: text(4)?.unwrap_or_default(),
            container: row.get(5)?,
            kind: match kind.as_str() {
                "init" => ContainerKind::Init,
                "sidecar" => ContainerKind::Sidecar,
                _ => ContainerKind::Container,
            },
        };
        let (run, pipeline) = (small(row, 11)?, small(row, 12)?);
        let place = usize::try_from(run).unwrap_or(usize::MAX);
        if self.observed.runs.len() <= place {
            let unknown = Run {
                pipeline: 0,
                started_ms: 0,
            };
            self.observed.runs.resize(place + 1, unknown);
        }
        self.observed.runs[place] = Run {
            pipeline,
            started_ms: row.get(13)?,
        };
        let image = text(8)?;
        let next = u32::try_from(self.images.len()).unwrap_or(u32::MAX);
        let number = *self
            .images
            .entry(image.clone().unwrap_or_default())
            .or_insert(next);
        let percentiles = match row.get::<_, Option<i64>>(21)? {
            Some(_) => Some(Box::new([
                small(row, 19)?,
                small(row, 20)?,
                small(row, 21)?,
                small(row, 22)?,
            ])),
            None => None,
        };
        let seen = Observation {
            run,
            image: number,
            started_ms: row.get(14)?,
            ended_ms: row.get(15)?,
            cpu_request_millicores: small(row, 16)?,
            cpu_measured_ms: small(row, 17)?,
            cpu_usage_millicore_ms: amount(row, 18)?,
            cpu_percentiles_millicores: percentiles,
            memory_request_bytes: amount(row, 23)?,
            memory_limit_bytes: amount(row, 24)?,
            memory_peak_bytes: amount(row, 25)?,
            heap_peak_bytes: amount(row, 29)?,
            heap_limit_bytes: amount(row, 30)?,
            is_oom_killed: row.get(26)?,
            is_throttled: row.get(27)?,
        };
        let histories = &mut self.observed.histories;
        if histories
            .last()
            .is_none_or(|history| history.template != template)
        {
            histories.push(History {
                template,
                team: String::new(),
                image: None,
                source: None,
                pod_containers: 1,
                is_retried: false,
                observations: Vec::new(),
            });
        }
        if let Some(history) = histories.last_mut() {
            history.team = row.get(7)?;
            history.image = image;
            history.source = text(9)?.or_else(|| history.source.take());
            history.pod_containers = small(row, 10)?.max(1);
            history.is_retried |= row.get::<_, bool>(28)?;
            history.observations.push(seen);
        }
        Ok(())
    }
}
