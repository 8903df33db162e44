//! Every figure as tables: CSV and XLSX lay them out, JSON carries the structs themselves.

use podledger_sql::units::NanoUsd;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, XlsxError};

use super::Weekly;
use crate::display;
use crate::error::{Error, Result};

/// Characters that a cell of a workbook is given at most; it can hold 32,767 units.
const LONGEST: usize = 8_000;

/// A value in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Usd(NanoUsd),
    Whole(i64),
    /// Unknown, which is not zero.
    Unknown,
}

/// A table of the report.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn optional(value: Option<&String>) -> Cell {
    value.map_or(Cell::Unknown, |value| text(value))
}

fn usd(value: Option<NanoUsd>) -> Cell {
    value.map_or(Cell::Unknown, Cell::Usd)
}

fn whole(value: Option<i64>) -> Cell {
    value.map_or(Cell::Unknown, Cell::Whole)
}

fn index(value: usize) -> Cell {
    Cell::Whole(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The report as tables. Columns end in their unit; `_usd` are US dollars, `_permille` tenths of a percent.
#[must_use]
pub fn tables(report: &Weekly) -> Vec<Table> {
    let trust = &report.trust;
    let mut tables = vec![Table {
        name: "summary",
        columns: vec![
            "week",
            "zone",
            "first_date",
            "last_date",
            "team",
            "week_ms",
            "covered_ms",
            "basis",
            "total_usd",
            "previous_usd",
            "billed_usd",
            "estimated_usd",
            "provisional_usd",
            "unobserved_usd",
            "unpriced_ms",
            "uncertain_ends_usd",
            "unmetered_usd",
            "runs",
            "failed_runs",
        ],
        rows: vec![vec![
            text(&report.week),
            text(&report.zone),
            text(&report.first_date),
            text(&report.last_date),
            optional(report.team.as_ref()),
            Cell::Whole(report.week_ms),
            Cell::Whole(report.covered_ms),
            text(&report.basis),
            Cell::Usd(report.total),
            usd(report.previous),
            Cell::Usd(trust.billed),
            Cell::Usd(trust.estimated),
            Cell::Usd(trust.provisional),
            Cell::Usd(trust.unobserved),
            whole(trust.unpriced_ms),
            Cell::Usd(trust.uncertain_ends),
            Cell::Usd(trust.unmetered),
            Cell::Whole(report.runs.count),
            Cell::Whole(report.runs.failed),
        ]],
    }];
    tables.push(Table {
        name: "waterfall",
        columns: vec!["bar", "category", "cost_usd"],
        rows: report
            .waterfall
            .iter()
            .flat_map(|bar| {
                bar.categories
                    .iter()
                    .map(|part| vec![text(bar.key), text(&part.category), Cell::Usd(part.cost)])
            })
            .collect(),
    });
    tables.push(Table {
        name: "bridge",
        columns: vec!["effect", "label", "amount_usd"],
        rows: report
            .bridge
            .iter()
            .map(|effect| vec![text(effect.key), text(&effect.label), Cell::Usd(effect.amount)])
            .collect(),
    });
    tables.push(Table {
        name: "hours",
        columns: vec![
            "day",
            "hour",
            "cpu_capacity_millicores",
            "cpu_request_millicores",
            "cpu_usage_millicores",
            "cost_usd",
        ],
        rows: report
            .hours
            .iter()
            .map(|hour| {
                vec![
                    index(hour.day),
                    index(hour.hour),
                    whole(hour.cpu_capacity_millicores),
                    whole(hour.cpu_request_millicores),
                    whole(hour.cpu_usage_millicores),
                    Cell::Usd(hour.cost),
                ]
            })
            .collect(),
    });
    tables.extend(who_pays(report));
    tables.extend(what_happened(report));
    tables
}

fn who_pays(report: &Weekly) -> [Table; 3] {
    [
        Table {
            name: "teams",
            columns: vec![
                "team",
                "direct_usd",
                "fully_loaded_usd",
                "previous_direct_usd",
                "failed_usd",
                "unused_request_usd",
            ],
            rows: report
                .teams
                .iter()
                .map(|row| {
                    vec![
                        text(&row.team),
                        Cell::Usd(row.direct),
                        Cell::Usd(row.fully_loaded),
                        usd(row.previous_direct),
                        Cell::Usd(row.failed),
                        Cell::Usd(row.unused_request),
                    ]
                })
                .collect(),
        },
        Table {
            name: "pipelines",
            columns: vec![
                "team",
                "pipeline",
                "cost_usd",
                "previous_usd",
                "failed_usd",
                "unused_request_usd",
                "runs",
                "failed_runs",
            ],
            rows: report
                .pipelines
                .iter()
                .map(|row| {
                    vec![
                        text(&row.team),
                        text(&row.pipeline),
                        Cell::Usd(row.cost),
                        usd(row.previous),
                        Cell::Usd(row.failed),
                        Cell::Usd(row.unused_request),
                        Cell::Whole(row.runs),
                        Cell::Whole(row.failed_runs),
                    ]
                })
                .collect(),
        },
        Table {
            name: "pools",
            columns: vec![
                "pool",
                "instance_types",
                "cost_usd",
                "idle_boot_usd",
                "idle_startup_usd",
                "idle_gap_usd",
                "idle_tail_usd",
                "idle_unpacked_usd",
                "cpu_request_permille",
                "memory_request_permille",
                "gpu_request_permille",
                "tail_ms",
            ],
            rows: report
                .pools
                .iter()
                .map(|row| {
                    vec![
                        text(&row.pool),
                        text(&row.instance_types),
                        Cell::Usd(row.cost),
                        Cell::Usd(row.idle_boot),
                        Cell::Usd(row.idle_startup),
                        Cell::Usd(row.idle_gap),
                        Cell::Usd(row.idle_tail),
                        Cell::Usd(row.idle_unpacked),
                        Cell::Whole(row.cpu_request_permille),
                        Cell::Whole(row.memory_request_permille),
                        whole(row.gpu_request_permille),
                        whole(row.tail_ms),
                    ]
                })
                .collect(),
        },
    ]
}

fn what_happened(report: &Weekly) -> [Table; 7] {
    let runs = &report.runs;
    [
        Table {
            name: "pool_hours",
            columns: vec!["pool", "day", "hour", "request_permille"],
            rows: report
                .pools
                .iter()
                .flat_map(|row| {
                    row.heat.iter().enumerate().map(|(place, share)| {
                        vec![
                            text(&row.pool),
                            index(place / 24),
                            index(place % 24),
                            whole(*share),
                        ]
                    })
                })
                .collect(),
        },
        Table {
            name: "runs",
            columns: vec![
                "list",
                "pipeline",
                "run",
                "status",
                "started",
                "duration_ms",
                "pods",
                "cost_usd",
                "wasted_usd",
            ],
            rows: [
                ("most_expensive", &runs.most_expensive),
                ("most_wasteful", &runs.most_wasteful),
                ("slowest", &runs.slowest),
            ]
            .into_iter()
            .flat_map(|(list, rows)| rows.iter().map(move |row| (list, row)))
            .map(|(list, row)| {
                vec![
                    text(list),
                    text(&row.pipeline),
                    text(&row.run),
                    text(&row.status),
                    text(&row.started),
                    whole(row.duration_ms),
                    Cell::Whole(row.pods),
                    usd(row.cost),
                    usd(row.wasted),
                ]
            })
            .collect(),
        },
        Table {
            name: "failures",
            columns: vec![
                "team", "pipeline", "job", "attempts", "failed", "lost", "retries", "reason", "cost_usd",
            ],
            rows: report
                .failures
                .iter()
                .map(|row| {
                    vec![
                        text(&row.team),
                        text(&row.pipeline),
                        text(&row.job),
                        Cell::Whole(row.attempts),
                        Cell::Whole(row.failed),
                        Cell::Whole(row.lost),
                        Cell::Whole(row.retries),
                        optional(row.reason.as_ref()),
                        Cell::Usd(row.cost),
                    ]
                })
                .collect(),
        },
        Table {
            name: "queues",
            columns: vec![
                "team", "pipeline", "pods", "unbound", "p50_ms", "p95_ms", "max_ms",
            ],
            rows: report
                .queues
                .iter()
                .map(|row| {
                    vec![
                        text(&row.team),
                        text(&row.pipeline),
                        Cell::Whole(row.pods),
                        Cell::Whole(row.unbound),
                        whole(row.p50_ms),
                        whole(row.p95_ms),
                        whole(row.max_ms),
                    ]
                })
                .collect(),
        },
        Table {
            name: "findings",
            columns: vec![
                "finding",
                "subject_kind",
                "subject",
                "team",
                "namespace",
                "cost_usd",
                "previous_cost_usd",
                "since",
                "evidence",
                "mend",
                "command",
                "counted_in",
                "cluster",
            ],
            rows: report
                .findings
                .iter()
                .flatten()
                .map(|row| {
                    let usd = |cost: Option<NanoUsd>| cost.map_or(Cell::Unknown, Cell::Usd);
                    vec![
                        text(&row.finding),
                        text(&row.subject_kind),
                        text(&row.subject),
                        text(&row.team),
                        optional(row.namespace.as_ref()),
                        usd(row.cost),
                        usd(row.previous),
                        optional(row.since.as_ref()),
                        text(&row.evidence),
                        text(&row.mend),
                        optional(row.command.as_ref()),
                        optional(row.counted_in.as_ref()),
                        text(&row.cluster),
                    ]
                })
                .collect(),
        },
        Table {
            name: "actions",
            columns: vec!["kind", "subject", "finding", "remedy", "cost_usd", "saving"],
            rows: report
                .actions
                .iter()
                .map(|row| {
                    vec![
                        text(row.kind),
                        text(&row.subject),
                        text(&row.finding),
                        text(row.remedy),
                        Cell::Usd(row.cost),
                        text(row.saving.name()),
                    ]
                })
                .collect(),
        },
        proof(report),
    ]
}

fn proof(report: &Weekly) -> Table {
    let count = |number: u64| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
    // Time of a mebibyte: that of a byte does not fit into 64 bits.
    let large = |number: u128| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
    Table {
        name: "advice_judged",
        columns: vec![
            "strategy",
            "templates",
            "templates_advised",
            "attempts",
            "runs",
            "failed_attempts",
            "failed_runs",
            "requested_mib_ms",
            "wasted_mib_ms",
            "requested_millicore_ms",
            "wasted_millicore_ms",
            "short_millicore_ms",
            "retry_cost_usd",
            "total_cost_usd",
        ],
        rows: report
            .proof
            .iter()
            .flat_map(|proof| &proof.outcomes)
            .map(|row| {
                vec![
                    text(&row.strategy),
                    count(row.templates),
                    count(row.templates_advised),
                    count(row.attempts),
                    count(row.runs),
                    count(row.failed_attempts),
                    count(row.failed_runs),
                    large(row.requested_byte_ms >> 20),
                    large(row.wasted_byte_ms >> 20),
                    large(row.requested_millicore_ms),
                    large(row.wasted_millicore_ms),
                    large(row.short_millicore_ms),
                    Cell::Usd(row.retry_cost),
                    Cell::Usd(row.total_cost),
                ]
            })
            .collect(),
    }
}

/// The report as JSON: money as text of dollars with nine decimals, names as they are.
///
/// # Errors
/// [`Error::Write`], which does not happen.
pub fn json(report: &Weekly) -> Result<String> {
    serde_json::to_string_pretty(report).map_err(|error| Error::Write {
        path: "json".into(),
        reason: error.to_string(),
    })
}

/// A table as CSV. Names that a spreadsheet would take for formulas begin with an apostrophe.
///
/// # Errors
/// [`Error::Write`], which does not happen.
pub fn csv(table: &Table) -> Result<String> {
    let wrong = |reason: String| Error::Write {
        path: format!("{}.csv", table.name).into(),
        reason,
    };
    // Whatever separates cells where the file is opened, a text is one cell.
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::NonNumeric)
        .from_writer(Vec::new());
    let written = (|| {
        writer.write_record(&table.columns)?;
        for row in &table.rows {
            writer.write_record(row.iter().map(|cell| match cell {
                Cell::Text(value) => display::csv(value),
                Cell::Usd(cost) => cost.to_string(),
                Cell::Whole(number) => number.to_string(),
                Cell::Unknown => String::new(),
            }))?;
        }
        writer.flush()?;
        Ok::<(), csv::Error>(())
    })();
    written.map_err(|error| wrong(error.to_string()))?;
    let bytes = writer.into_inner().map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
}

/// The report as a workbook, one sheet for each table. Spreadsheets count in floating point: amounts are exact to the 15th digit.
///
/// # Errors
/// [`Error::Write`] for tables that a workbook cannot hold.
pub fn xlsx(report: &Weekly) -> Result<Vec<u8>> {
    workbook(report).map_err(|error| Error::Write {
        path: "xlsx".into(),
        reason: error.to_string(),
    })
}

fn workbook(report: &Weekly) -> std::result::Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    // The same figures give the same bytes.
    let made = ExcelDateTime::from_ymd(2026, 1, 1)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
    let head = Format::new().set_bold();
    let money = Format::new().set_num_format("$#,##0.00");
    for table in tables(report) {
        let sheet = workbook.add_worksheet();
        sheet.set_name(table.name)?;
        for (column, name) in (0..).zip(&table.columns) {
            sheet.write_string_with_format(0, column, *name, &head)?;
        }
        for (number, row) in (1..).zip(&table.rows) {
            for (column, cell) in (0..).zip(row) {
                match cell {
                    // A string is written as one, so that nothing in it is a formula or a link.
                    Cell::Text(value) => {
                        sheet.write_string(number, column, display::cut(&display::plain(value), LONGEST))?
                    }
                    Cell::Usd(cost) => {
                        // The cell of a workbook is a double whatever is written: nothing is computed from it here.
                        let dollars: f64 = cost.to_string().parse().unwrap_or(f64::NAN);
                        sheet.write_number_with_format(number, column, dollars, &money)?
                    }
                    Cell::Whole(value) => sheet.write_number(number, column, *value as f64)?,
                    Cell::Unknown => sheet,
                };
            }
        }
        sheet.set_freeze_panes(1, 0)?;
        sheet.autofit();
    }
    workbook.save_to_buffer()
}
