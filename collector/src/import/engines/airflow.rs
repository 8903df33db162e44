//! `import airflow`: how Airflow's tasks ended and how long they ran, as its REST API tells.

use std::path::Path;

use duckdb::params;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_sql::Doing;
use podledger_sql::lake::Lake;
use serde::Deserialize;

use super::{Within, known_pods};
use crate::error::{Error, Result};
use crate::import::{Imported, digest, kubernetes, write_query};

/// What to import.
#[derive(Debug, Clone)]
pub struct Options {
    pub within: Within,
    /// UTC date under which the facts are filed.
    pub recorded_date: Date,
}

/// What became of tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All task instances in the file: tries of tasks.
    pub tries: u64,
    /// As many as the API said it has: it gives them page by page.
    pub announced: u64,
    /// Tries that have not ended, or that never ran (`skipped`, `upstream_failed`, ...).
    pub without_end: u64,
    /// Tries of which the lake knows no pod.
    pub without_pod: u64,
    /// Tries whose names fit pods of several clusters or namespaces.
    pub ambiguous: u64,
    /// Pods of the others.
    pub pods: u64,
}

/// A page of the API, or what a program made of several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Document {
    Page {
        task_instances: Vec<TaskInstance>,
        #[serde(default)]
        total_entries: u64,
    },
    List(Vec<TaskInstance>),
    One(TaskInstance),
}

/// A try of a task. Times may be missing; a number that is missing is of a task that is not mapped, or was tried once.
#[derive(Debug, Deserialize)]
struct TaskInstance {
    dag_id: String,
    #[serde(alias = "run_id")]
    dag_run_id: String,
    task_id: String,
    #[serde(default = "first")]
    try_number: i64,
    #[serde(default = "unmapped")]
    map_index: i64,
    state: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
}

fn first() -> i64 {
    1
}

/// Airflow's number of a task that is not mapped.
fn unmapped() -> i64 {
    -1
}

impl TaskInstance {
    /// How a try ended whose pods held resources; `None` while it goes on, or where it never ran.
    fn outcome(&self) -> Option<&'static str> {
        match self.state.as_deref()? {
            "success" => Some("succeeded"),
            // What waits for its next try failed at this one.
            "failed" | "up_for_retry" => Some("failed"),
            "skipped" | "removed" | "shutdown" | "restarting" if self.start_date.is_some() => {
                Some("cancelled")
            }
            _ => None,
        }
    }
}

/// What Airflow makes of a text where it writes it into a label: it takes out what labels may not hold, and marks what it changed
/// or cut by its hash.
const LABELS: &str = r"
    create temp macro airflow_safe(text) as
        regexp_replace(regexp_replace(text, '[^a-zA-Z0-9_.-]', '', 'g'), '^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$', '', 'g');
    create temp macro airflow_label(text) as
        case when airflow_safe(text) <> text or length(text) > 63
            then substring(airflow_safe(text), 1, 53) || '-' || substring(md5(text), 1, 9) else text end;
";

/// Pods of tries: names as labels would show them, alive while the try was.
const FITTING: &str = r"
    create temp table fitting as
    with pods as (
        select *,
            airflow_label(coalesce(annotations['dag_id'], labels['dag_id'])) as dag,
            airflow_label(coalesce(annotations['run_id'], labels['run_id'])) as run,
            airflow_label(coalesce(annotations['task_id'], labels['task_id'])) as task,
            coalesce(annotations['try_number'], labels['try_number']) as try,
            coalesce(annotations['map_index'], labels['map_index'], '-1') as map_index
        from known_pods
    )
    select tries.n, pods.cluster, pods.namespace, pods.pod_uid
    from tries join pods
        on pods.dag = airflow_label(tries.dag_id) and pods.run = airflow_label(tries.run_id)
        and pods.task = airflow_label(tries.task_id) and pods.try = tries.try_number::varchar
        and pods.map_index = tries.map_index::varchar
    where pods.created_at <= tries.ended_at
        and (tries.started_at is null or pods.released_at is null or pods.released_at >= tries.started_at);
    create temp table places as
    select n, count(distinct (cluster, namespace)) as places, count(distinct (cluster, pod_uid)) as pods
    from fitting group by n;
";

const FACTS: &str = "
    select distinct on (fitting.cluster, fitting.pod_uid, tries.ended_at)
        fitting.cluster, fitting.pod_uid, tries.ended_at as observed_at, 'airflow' as source, tries.outcome,
        case when tries.outcome <> 'succeeded' then tries.state end as reason,
        tries.started_at, tries.ended_at as finished_at,
        null::bigint as cpu_request_millicore_ms, null::decimal(38, 0) as memory_request_byte_ms
    from fitting join places using (n) join tries using (n)
    where places.places = 1
    order by fitting.cluster, fitting.pod_uid, tries.ended_at, tries.n";

/// Imports what `GET .../taskInstances` or `.../tries` printed: pages, lists or single task instances, as JSON; `-` is standard
/// input.
///
/// # Errors
/// [`Error::Io`] and [`Error::Input`] for a file that cannot be read; [`Error::Sql`]. Nothing is written then.
pub fn import(lake: &Lake, path: &Path, options: &Options) -> Result<(Imported, Totals)> {
    let (tries, announced) = read(path)?;
    let condition = "coalesce(annotations['dag_id'], labels['dag_id']) is not null";
    let connection = known_pods(lake, &options.within, condition)?;
    let doing = "find the pods of Airflow's tasks";
    connection
        .execute_batch(
            "create temp table tries (n bigint, dag_id varchar, run_id varchar, task_id varchar, try_number bigint, \
             map_index bigint, state varchar, outcome varchar, started_at timestamp, ended_at timestamp)",
        )
        .doing(doing)?;
    let mut totals = Totals {
        tries: tries.len() as u64,
        announced,
        ..Totals::default()
    };
    {
        let mut rows = connection.appender("tries").doing(doing)?;
        for (n, task) in tries.iter().enumerate() {
            let (Some(outcome), Some(ended_at)) = (task.outcome(), task.end_date) else {
                totals.without_end += 1;
                continue;
            };
            // An end before the beginning is a beginning that is not known.
            let started_at = task.start_date.filter(|at| *at <= ended_at);
            rows.append_row(params![
                n as i64,
                task.dag_id,
                task.dag_run_id,
                task.task_id,
                task.try_number,
                task.map_index,
                task.state,
                outcome,
                started_at.map(micros),
                micros(ended_at),
            ])
            .doing(doing)?;
        }
    }
    connection.execute_batch(LABELS).doing(doing)?;
    connection.execute_batch(FITTING).doing(doing)?;
    let count = |text: &str| -> Result<u64> {
        let count: i64 = connection.query_row(text, [], |row| row.get(0)).doing(doing)?;
        Ok(count.unsigned_abs())
    };
    totals.without_pod = count("select count(*) from tries anti join places using (n)")?;
    totals.ambiguous = count("select count(*) from places where places > 1")?;
    totals.pods = count("select coalesce(sum(pods), 0)::bigint from places where places = 1")?;
    let id: String = connection
        .query_row(
            &format!("select coalesce(string_agg(facts::varchar, '|'), '') from ({FACTS}) as facts"),
            [],
            |row| row.get(0),
        )
        .doing(doing)?;
    let id = digest([id.as_bytes()]);
    if totals.pods == 0 {
        return Ok((Imported::Nothing, totals));
    }
    if lake.is_committed("airflow", &id) {
        return Ok((Imported::Already, totals));
    }
    let note = format!("import airflow {}", path.display());
    let mut commit = lake.begin("airflow", &id, &note, options.recorded_date)?;
    let written = write_query(&connection, &mut commit, "engine_outcomes", FACTS)?;
    commit.publish()?;
    Ok((Imported::Written(vec![written]), totals))
}

fn read(path: &Path) -> Result<(Vec<TaskInstance>, u64)> {
    let bytes = kubernetes::bytes_of(path)?;
    let bytes = kubernetes::inflated(path, &bytes)?;
    let (mut tries, mut announced) = (Vec::new(), 0);
    for document in serde_json::Deserializer::from_slice(&bytes).into_iter() {
        match document.map_err(|source| wrong(path, &source))? {
            Document::Page {
                task_instances,
                total_entries,
            } => {
                announced = announced.max(total_entries);
                tries.extend(task_instances);
            }
            Document::List(task_instances) => tries.extend(task_instances),
            Document::One(task) => tries.push(task),
        }
    }
    Ok((tries, announced))
}

fn wrong(path: &Path, source: &serde_json::Error) -> Error {
    Error::Input {
        path: path.to_path_buf(),
        reason: format!(
            "is not what Airflow's API prints of task instances (an object with `task_instances`, or a list of objects with \
             `dag_id`, `dag_run_id`, `task_id`, `state`): {source}"
        ),
    }
}

fn micros(at: Timestamp) -> duckdb::types::Value {
    duckdb::types::Value::Timestamp(duckdb::types::TimeUnit::Microsecond, at.as_microsecond())
}
