//! Advice on what containers should ask for, beside what is served: computed once of each build, when somebody first asks for it, by
//! who knows how. It becomes tables of a catalogue of its own, so that questions ask it as they ask marts. That on a week becomes a part of
//! the week's report.

use axum::http::StatusCode;
use duckdb::types::Value;
use duckdb::{Connection, params_from_iter};
use podledger_sql::units::NanoUsd;

use super::problem::Problem;
use crate::weekly::{self, Judged, Proof, Request, Sizing, Weekly};

/// One amount of a template: as it is, as it should be, and what peers would say.
#[derive(Debug, Clone, Default)]
pub struct Amount {
    pub request: u64,
    /// `None` where it is withheld.
    pub advised: Option<u64>,
    pub withheld: Option<String>,
    pub severity: String,
    pub krr: Option<u64>,
    pub vpa: Option<u64>,
}

/// Advice on one template: a container of a job of a pipeline.
#[derive(Debug, Clone)]
pub struct Template {
    pub cluster: String,
    pub system: Option<String>,
    pub namespace: Option<String>,
    pub team: String,
    pub pipeline: String,
    pub job: String,
    pub container: String,
    pub container_kind: String,
    pub image: Option<String>,
    /// Who measured.
    pub source: Option<String>,
    pub cpu_millicores: Amount,
    pub memory_bytes: Amount,
    /// The most that an attempt needed.
    pub memory_seen_bytes: u64,
    /// In how many of a million runs it is expected to need more memory, at most.
    pub bound_ppm: Option<u64>,
    pub confidence: String,
    /// What may make the advice wrong, in words.
    pub risks: String,
    pub runs: u64,
    pub attempts: u64,
    pub attempts_measured: u64,
    pub oom_kills: u64,
    pub from_ms: i64,
    pub until_ms: i64,
    pub nominal_saving: NanoUsd,
    pub realisable: Saving,
    /// The patch of a pod template, and what takes it back; `None` where there is nothing to change.
    pub patch: Option<String>,
    pub inverse_patch: Option<String>,
    /// The same in the words of Airflow and of Spark, where it is theirs.
    pub airflow: Option<String>,
    pub spark: Option<String>,
}

/// What machines would have cost less, by replay.
#[derive(Debug, Clone, Default)]
pub struct Saving {
    /// `None` where it is withheld.
    pub saving: Option<NanoUsd>,
    /// Of the replays that it is the mean of, the one that saves least, and the one that saves most.
    pub least: Option<NanoUsd>,
    pub most: Option<NanoUsd>,
    pub withheld: Option<String>,
}

impl Saving {
    /// None, for a reason.
    #[must_use]
    pub fn withheld(why: &str) -> Self {
        Self {
            withheld: Some(why.to_owned()),
            ..Self::default()
        }
    }
}

/// How well the machines of a pool and a shape can be replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub cluster: String,
    pub pool: String,
    pub instance_type: String,
    pub capacity_type: String,
    pub machines: u64,
    pub pods: u64,
    pub cost: NanoUsd,
    /// What the replay with recorded requests costs; `None` where nothing is replayed.
    pub replayed_cost: Option<NanoUsd>,
    /// How far that is from the ledger, in millionths of it.
    pub deviation_ppm: Option<i64>,
    /// The rules of its autoscaler that reproduce it best, in words.
    pub rules: String,
    /// Why no realisable saving is told of it.
    pub withheld: Option<String>,
}

/// Advice on everything that was seen, and its proof.
#[derive(Debug, Clone, Default)]
pub struct Advice {
    pub templates: Vec<Template>,
    /// What all of it together would have spared.
    pub together: Saving,
    pub pools: Vec<Replayed>,
    pub judged: Vec<Judged>,
}

/// Why there is no advice.
#[derive(Debug, Clone)]
pub enum NoAdvice {
    /// There is more to learn from than a server should hold in memory: says what to do instead.
    TooMuch(String),
    /// What failed; for the log.
    Failed(String),
}

impl From<&NoAdvice> for Problem {
    fn from(why: &NoAdvice) -> Self {
        match why {
            NoAdvice::TooMuch(detail) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            NoAdvice::Failed(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the advice could not be computed; the server's log says why",
            ),
        }
    }
}

/// Advises on what a ledger has seen.
pub type Advise = dyn Fn(&Connection) -> Result<Advice, NoAdvice> + Send + Sync;

/// Advises on what was asked for in the week of a report, and says what the advice of the time before would have come to in it.
pub type AdviseWeek = dyn Fn(&Connection, &Request) -> Result<(Vec<Sizing>, Proof), NoAdvice> + Send + Sync;

/// The report of a week, as `podledger report weekly` makes it. Where there is no advice, the report says why.
///
/// # Errors
/// As [`weekly::weekly`].
pub(super) fn report(
    connection: &Connection,
    request: &Request,
    advise: Option<&AdviseWeek>,
) -> crate::Result<Weekly> {
    let mut report = weekly::weekly(connection, request)?;
    match advise.map(|advise| advise(connection, request)) {
        None => {}
        Some(Ok((sizings, proof))) => {
            report.advise(&sizings);
            report.proof = Some(proof);
        }
        Some(Err(NoAdvice::TooMuch(why))) => report.advice_withheld = Some(why),
        Some(Err(NoAdvice::Failed(error))) => {
            tracing::error!(error, "the advice on a week could not be computed");
            report.advice_withheld = Some("it could not be computed; the server's log says why".to_owned());
        }
    }
    Ok(report)
}

const TABLES: &str = "
attach ':memory:' as advice (read_write);
create table advice.main.templates (
    cluster varchar, system varchar, namespace varchar, team varchar, pipeline varchar, job varchar, container varchar,
    container_kind varchar, image varchar, source varchar,
    cpu_request_millicores bigint, cpu_advised_millicores bigint, cpu_withheld varchar, cpu_severity varchar,
    cpu_krr_millicores bigint, cpu_vpa_millicores bigint,
    memory_request_bytes bigint, memory_advised_bytes bigint, memory_withheld varchar, memory_severity varchar,
    memory_krr_bytes bigint, memory_vpa_bytes bigint,
    memory_seen_bytes bigint, bound_ppm bigint, confidence varchar, risks varchar,
    runs bigint, attempts bigint, attempts_measured bigint, oom_kills bigint, from_ms bigint, until_ms bigint,
    nominal_saving_nano bigint, realisable_saving_nano bigint, realisable_least_nano bigint, realisable_most_nano bigint,
    realisable_withheld varchar, patch varchar, inverse_patch varchar, airflow varchar, spark varchar
);
create table advice.main.together (
    realisable_saving_nano bigint, realisable_least_nano bigint, realisable_most_nano bigint, realisable_withheld varchar
);
create table advice.main.replayed (
    cluster varchar, pool varchar, instance_type varchar, capacity_type varchar, machines bigint, pods bigint, cost_nano bigint,
    replayed_cost_nano bigint, deviation_ppm bigint, rules varchar, withheld varchar
);
create table advice.main.judged (
    place bigint, learned_from varchar, strategy varchar, templates bigint, templates_advised bigint, attempts bigint, runs bigint,
    failed_attempts bigint, failed_runs bigint, requested_mib_ms bigint, wasted_mib_ms bigint, requested_millicore_ms bigint,
    wasted_millicore_ms bigint, short_millicore_ms bigint, retry_cost_nano bigint, total_cost_nano bigint
);";

/// Computes the advice on what is served, and keeps it beside it. Without `advise` there is none.
///
/// # Errors
/// [`NoAdvice`]; it is the same whenever it is asked for again.
pub(super) fn keep(connection: &Connection, advise: Option<&Advise>) -> Result<(), NoAdvice> {
    let failed = |error: duckdb::Error| NoAdvice::Failed(error.to_string());
    connection.execute_batch(TABLES).map_err(failed)?;
    let Some(advise) = advise else { return Ok(()) };
    let advice = advise(connection)?;
    connection.execute_batch("begin").map_err(failed)?;
    let insert = |table: &str, rows: Vec<Vec<Value>>| -> duckdb::Result<()> {
        let Some(width) = rows.first().map(Vec::len) else {
            return Ok(());
        };
        let places = vec!["?"; width].join(", ");
        let mut statement =
            connection.prepare(&format!("insert into advice.main.{table} values ({places})"))?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    };
    insert("templates", advice.templates.iter().map(template).collect()).map_err(failed)?;
    insert("together", vec![saving(&advice.together).to_vec()]).map_err(failed)?;
    insert("replayed", advice.pools.iter().map(replayed).collect()).map_err(failed)?;
    let judged = advice.judged.iter().enumerate();
    insert("judged", judged.map(|(place, row)| outcome(place, row)).collect()).map_err(failed)?;
    connection.execute_batch("commit").map_err(failed)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn known(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.clone()))
}

fn number(number: u64) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

fn large(number: u128) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

fn maybe(found: Option<u64>) -> Value {
    found.map_or(Value::Null, number)
}

fn amount(amount: &Amount) -> [Value; 6] {
    [
        number(amount.request),
        maybe(amount.advised),
        known(amount.withheld.as_ref()),
        text(&amount.severity),
        maybe(amount.krr),
        maybe(amount.vpa),
    ]
}

fn nano(found: Option<NanoUsd>) -> Value {
    found.map_or(Value::Null, |cost| Value::BigInt(cost.get()))
}

fn saving(found: &Saving) -> [Value; 4] {
    [
        nano(found.saving),
        nano(found.least),
        nano(found.most),
        known(found.withheld.as_ref()),
    ]
}

fn replayed(row: &Replayed) -> Vec<Value> {
    vec![
        text(&row.cluster),
        text(&row.pool),
        text(&row.instance_type),
        text(&row.capacity_type),
        number(row.machines),
        number(row.pods),
        Value::BigInt(row.cost.get()),
        row.replayed_cost
            .map_or(Value::Null, |cost| Value::BigInt(cost.get())),
        row.deviation_ppm.map_or(Value::Null, Value::BigInt),
        text(&row.rules),
        known(row.withheld.as_ref()),
    ]
}

fn template(row: &Template) -> Vec<Value> {
    let mut values = vec![
        text(&row.cluster),
        known(row.system.as_ref()),
        known(row.namespace.as_ref()),
        text(&row.team),
        text(&row.pipeline),
        text(&row.job),
        text(&row.container),
        text(&row.container_kind),
        known(row.image.as_ref()),
        known(row.source.as_ref()),
    ];
    values.extend(amount(&row.cpu_millicores));
    values.extend(amount(&row.memory_bytes));
    values.extend([
        number(row.memory_seen_bytes),
        maybe(row.bound_ppm),
        text(&row.confidence),
        text(&row.risks),
        number(row.runs),
        number(row.attempts),
        number(row.attempts_measured),
        number(row.oom_kills),
        Value::BigInt(row.from_ms),
        Value::BigInt(row.until_ms),
        Value::BigInt(row.nominal_saving.get()),
    ]);
    values.extend(saving(&row.realisable));
    values.extend([
        known(row.patch.as_ref()),
        known(row.inverse_patch.as_ref()),
        known(row.airflow.as_ref()),
        known(row.spark.as_ref()),
    ]);
    values
}

/// A mebibyte: byte-milliseconds of a year of a fleet do not fit into 64 bits.
const MIB: u128 = 1 << 20;

fn outcome(place: usize, row: &Judged) -> Vec<Value> {
    vec![
        number(place as u64),
        known(row.learned_from.as_ref()),
        text(&row.strategy),
        number(row.templates),
        number(row.templates_advised),
        number(row.attempts),
        number(row.runs),
        number(row.failed_attempts),
        number(row.failed_runs),
        large(row.requested_byte_ms / MIB),
        large(row.wasted_byte_ms / MIB),
        large(row.requested_millicore_ms),
        large(row.wasted_millicore_ms),
        large(row.short_millicore_ms),
        Value::BigInt(row.retry_cost.get()),
        Value::BigInt(row.total_cost.get()),
    ]
}
