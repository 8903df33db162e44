//! What the ledger knows as FOCUS: cost and usage with split cost allocation, for whoever reads bills of many providers.
//!
//! The rows are those of the project's analysis `focus_cost_and_usage`, day by day: memory does not grow with the time that is exported.
//!
//! <https://focus.finops.org/focus-specification/v1-2/>

use std::io::Write;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Schema};
use duckdb::Connection;
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_sql::project::Project;
use podledger_sql::runner::Runner;
use podledger_sql::units::NanoUsd;

use crate::door::{Format, Rendering};
use crate::{Error, Result};

/// The columns that FOCUS has had since 1.3: a checker of 1.2 takes them for mistakes.
const ALLOCATION: &str =
    "AllocatedMethodId, AllocatedMethodDetails, AllocatedResourceId, AllocatedResourceName, AllocatedTags";

/// Columns that hold instants.
const INSTANTS: &[&str] = &[
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
];

/// In which rows of a day come, so that the same ledger gives the same file.
const ORDER: &str = "x_Cluster, ServiceName, ResourceId, x_ConsumerKind, x_PodUid, x_CostCategory, x_Team, x_Pipeline, x_Run, x_Job, x_Namespace, \
                     x_AdjustsMonth, EffectiveCost";

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// First day, UTC.
    pub from: Date,
    /// The day after the last one.
    pub to: Date,
    /// What the charges' BillingAccountId is: a ledger knows of none.
    pub billing_account: String,
    /// Whether the columns of split cost allocation are written.
    pub has_allocation: bool,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    pub rows: u64,
    /// The sum of EffectiveCost.
    pub cost: NanoUsd,
    /// Days of machines that were left out, because nobody knows a price.
    pub unpriced_machine_days: i64,
}

/// First and last day on which something was booked, UTC; `None` where nothing has been built.
///
/// # Errors
/// [`Error::DuckDb`] where the ledger cannot be read.
pub fn days(connection: &Connection) -> Result<Option<(Date, Date)>> {
    let doing = "read the days of the ledger";
    let (first, last): (Option<String>, Option<String>) = connection
        .query_row(
            "select cast(min(charge_date) as varchar), cast(max(charge_date) as varchar) from marts.costs_daily",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(|source| Error::DuckDb { doing, source })?;
    let date = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Ok(date(first).zip(date(last)))
}

/// Writes what was asked for, as it is read. `project` is the one that the ledger was built by, with its configuration.
///
/// # Errors
/// [`Error::Model`] where the analysis does not render, [`Error::DuckDb`] where nothing has been built, [`Error::Rendering`], [`Error::Output`].
pub fn export(
    connection: &Connection,
    project: &Project,
    request: &Request,
    format: Format,
    out: &mut impl Write,
) -> Result<Exported> {
    let doing = "read charges";
    let failed = |source| Error::DuckDb { doing, source };
    let mut statement = connection
        .prepare(&query(project, request, format)?)
        .map_err(failed)?;
    let mut rendering: Option<Rendering> = None;
    let mut nano: i128 = 0;
    let mut day = request.from;
    while day < request.to {
        let next = day.saturating_add(1.day());
        let stream = statement
            .stream_arrow([start_ms(day), start_ms(next)])
            .map_err(failed)?;
        let schema = stream.get_schema();
        if rendering.is_none() {
            let begun = begin(format, &schema, out)?;
            rendering = Some(begun);
        }
        for batch in stream {
            let batch = batch.map_err(failed)?;
            nano += cost(&batch);
            if let Some(rendering) = &mut rendering {
                let bytes = rendering.write(&batch).map_err(Error::Rendering)?;
                out.write_all(&bytes).map_err(Error::Output)?;
            }
        }
        day = next;
    }
    let mut rows = 0;
    if let Some(rendering) = rendering {
        rows = rendering.rows();
        let bytes = rendering.end().map_err(Error::Rendering)?;
        out.write_all(&bytes).map_err(Error::Output)?;
    }
    let unpriced_machine_days = connection
        .query_row(
            "select count(*) from marts.machines_daily where cost is null and charge_date >= cast(? as date) and charge_date < cast(? as date)",
            [request.from.to_string(), request.to.to_string()],
            |row| row.get(0),
        )
        .map_err(failed)?;
    Ok(Exported {
        rows,
        cost: NanoUsd::from_nano(i64::try_from(nano).unwrap_or(i64::MAX)),
        unpriced_machine_days,
    })
}

fn begin(format: Format, schema: &Schema, out: &mut impl Write) -> Result<Rendering> {
    let mut rendering = Rendering::new(format, schema).map_err(Error::Rendering)?;
    let bytes = rendering.begin().map_err(Error::Rendering)?;
    out.write_all(&bytes).map_err(Error::Output)?;
    Ok(rendering)
}

/// The analysis for the hours from `$1` to `$2`, with the columns as they are written.
fn query(project: &Project, request: &Request, format: Format) -> Result<String> {
    let project = project
        .clone()
        .with_var("focus_from_ms", "$1".into())
        .with_var("focus_to_ms", "$2".into())
        .with_var("focus_billing_account", request.billing_account.clone().into());
    let analysis = Runner::new(&project)?.analysis("focus_cost_and_usage")?;
    let mut columns = "*".to_owned();
    if !request.has_allocation {
        columns += &format!(" exclude ({ALLOCATION})");
    }
    // Of text, an instant's zone can be told; FOCUS wants UTC's `Z`.
    if matches!(format, Format::Csv | Format::CsvForPeople) {
        let texts: Vec<String> = INSTANTS
            .iter()
            .map(|column| format!("strftime({column}, '%Y-%m-%dT%H:%M:%SZ') as {column}"))
            .collect();
        columns += &format!(" replace ({})", texts.join(", "));
    }
    Ok(format!(
        "select {columns} from ({analysis}) order by ChargePeriodStart, {ORDER}"
    ))
}

fn start_ms(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC)
        .map_or(i64::MAX, |start| start.timestamp().as_millisecond())
}

/// Nano-dollars of a batch's rows.
fn cost(batch: &RecordBatch) -> i128 {
    let costs = batch
        .column_by_name("EffectiveCost")
        .and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    costs.into_iter().flatten().flatten().sum()
}
