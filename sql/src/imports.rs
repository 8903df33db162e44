//! The queries that turn known files into facts; the collector runs them in a scratch DuckDB.

/// A query whose rows are facts of a table.
#[derive(Debug, Clone, Copy)]
pub struct FactQuery {
    /// Table of the lake.
    pub table: &'static str,
    /// The query.
    pub text: &'static str,
}

macro_rules! nextflow_cws {
    ($($table:literal),* $(,)?) => {
        &[$(FactQuery { table: $table, text: include_str!(concat!("../imports/nextflow_cws/", $table, ".sql")) }),*]
    };
}

/// Views over the files of a Nextflow trace of the Common Workflow Scheduler experiments, to be made first.
pub const NEXTFLOW_CWS_INPUTS: &str = include_str!("../imports/nextflow_cws/inputs.sql");

/// The occupancy of such a trace's pods and the bounds of the trace: tables to be made once the views are checked.
pub const NEXTFLOW_CWS_OCCUPANCY: &str = include_str!("../imports/nextflow_cws/occupancy.sql");

/// The totals of such a trace: pods, core-milliseconds of containers, core-milliseconds of occupancy.
pub const NEXTFLOW_CWS_TOTALS: &str = include_str!("../imports/nextflow_cws/totals.sql");

/// The facts of such a trace.
pub const NEXTFLOW_CWS_FACTS: &[FactQuery] = nextflow_cws![
    "machines",
    "node_states",
    "pod_states",
    "pod_identities",
    "container_requests",
    "usage_hours",
    "engine_outcomes",
    "collection_watermarks",
];

/// Charges of a FOCUS export, of the table `bill` that the collector makes of its file.
pub const BILL_FOCUS: &str = include_str!("../imports/bills/focus.sql");

/// Charges of AWS's Cost and Usage Report.
pub const BILL_CUR: &str = include_str!("../imports/bills/cur.sql");

/// Charges of Google's usage cost export.
pub const BILL_GCP: &str = include_str!("../imports/bills/gcp.sql");

/// Charges of Azure's cost details.
pub const BILL_AZURE: &str = include_str!("../imports/bills/azure.sql");

/// Charges of Cost Explorer's answers.
pub const BILL_COST_EXPLORER: &str = include_str!("../imports/bills/cost_explorer.sql");
