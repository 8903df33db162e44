//! Why a month cannot be closed.

use duckdb::{Connection, Params};
use podledger_sql::lake::Lake;
use podledger_sql::ledger::Ledger;
use podledger_sql::project::Project;
use podledger_sql::{Doing, Result as SqlResult};

use super::{Month, Request};
use crate::build::fingerprint;
use crate::config::Config;
use crate::error::Result;

/// An instant as people read it.
const SHOWN: &str = "'%Y-%m-%d %H:%M'";

/// What the month rests on, as `closed_months` says it.
///
/// # Errors
/// [`Error::NotClosed`](crate::Error::NotClosed) with everything that is in the way.
pub(super) fn basis(
    ledger: &Ledger,
    lake: &Lake,
    config: &Config,
    month: Month,
    request: &Request,
) -> Result<&'static str> {
    if request.closed_at.as_millisecond() < month.end_ms {
        return Err(month.refused(format!(
            "it is not over: it ends at {}, and it is {} now",
            month.end(),
            request.closed_at.strftime("%Y-%m-%d %H:%M UTC")
        )));
    }
    let connection = ledger.connection();
    let project = config.apply(Project::embedded()?)?;
    let is_current: bool = connection
        .query_row(
            "select coalesce(max_by(fingerprint, build_id) = ? and max_by(configuration, build_id) = ?, false) from build.builds",
            [fingerprint(&project, config), config.views_fingerprint()],
            |row| row.get(0),
        )
        .doing("read the last build")?;
    if !is_current {
        return Err(month.refused(
            "the ledger was not built with this configuration and version: run `podledger build` and look at what it says first",
        ));
    }
    if ledger.is_behind(lake)? {
        return Err(
            month.refused("the lake has facts that no build has taken in: run `podledger build` first")
        );
    }
    if let Some(closed) = texts(
        connection,
        &format!(
            "select strftime(make_timestamp(closed_ms * 1000), {SHOWN}) || ' UTC with the hash ' || content_hash \
             from staging.stg_closed_months where month_start_ms = ?"
        ),
        [month.start_ms],
    )?
    .first()
    {
        return Err(month.refused(format!(
            "it was closed on {closed}; what comes later becomes an adjustment"
        )));
    }
    let mut reasons = provisional(connection, month, &request.ended_clusters)?;
    let (has_bill, open) = bills(connection, month)?;
    reasons.extend(open);
    if !has_bill && !request.at_list_price {
        reasons.push(
            "there is no bill of it: import it (`podledger import --help` names the kinds) and run `podledger build`, or close it at the prices that are \
             known with --at-list-price"
                .to_owned(),
        );
    }
    if !reasons.is_empty() {
        return Err(month.refused(reasons.join("; ")));
    }
    Ok(if has_bill { "bill" } else { "list_price" })
}

/// Clusters of which hours of the month may still change.
fn provisional(connection: &Connection, month: Month, ended: &[String]) -> SqlResult<Vec<String>> {
    let known = texts(
        connection,
        "select cluster from intermediate.int_clusters order by 1",
        [],
    )?;
    let mut reasons: Vec<String> = ended
        .iter()
        .filter(|cluster| !known.contains(cluster))
        .map(|cluster| {
            format!(
                "no cluster `{cluster}` is known; those that are: {}",
                known.join(", ")
            )
        })
        .collect();
    let behind = format!(
        "select clusters.cluster, coalesce(strftime(make_timestamp(watermarks.watermark_ms * 1000), {SHOWN}) || ' UTC', 'no time that is told') \
         from intermediate.int_clusters as clusters left join staging.stg_watermarks as watermarks using (cluster) \
         where clusters.from_ms < $1 and coalesce(watermarks.watermark_ms < $1, true) order by 1"
    );
    let mut statement = connection
        .prepare(&behind)
        .doing("read how far clusters were observed")?;
    let rows = statement
        .query_map([month.end_ms], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .doing("read how far clusters were observed")?;
    for row in rows {
        let (cluster, through) = row.doing("read how far clusters were observed")?;
        if !ended.contains(&cluster) {
            reasons.push(format!(
                "cluster {cluster} is observed through {through}, so hours of the month are provisional: collect or import the rest of it, or say with \
                 `--ended {cluster}` that nothing will come"
            ));
        }
    }
    Ok(reasons)
}

/// Whether there is a bill of the month, and which are not final.
fn bills(connection: &Connection, month: Month) -> SqlResult<(bool, Vec<String>)> {
    let bounds = [month.start_ms, month.end_ms];
    let name = "provider || ' ' || billing_account_id";
    let all = texts(
        connection,
        &format!(
            "select distinct trim({name}) from staging.stg_billed_charges where charge_start_ms >= ? and charge_start_ms < ? order by 1"
        ),
        bounds,
    )?;
    let estimated = texts(
        connection,
        &format!(
            "select trim({name}) || ': ' || count(*) || ' charges are estimates' from staging.stg_billed_charges \
             where charge_start_ms >= ? and charge_start_ms < ? and bill_status = 'estimated' group by {name} order by 1"
        ),
        bounds,
    )?;
    // Cost Explorer settles each day for itself, and says which are estimates.
    let early = texts(
        connection,
        &format!(
            "select trim({name}) || ': delivered on ' || strftime(make_timestamp(delivered_ms * 1000), {SHOWN}) || ' UTC, before the month had ended' \
             from staging.stg_bill_deliveries where is_counted and bill_format <> 'cost-explorer' \
             and billing_period_start_ms = $1 and delivered_ms < $2 order by 1"
        ),
        bounds,
    )?;
    let reasons = estimated
        .into_iter()
        .chain(early)
        .map(|open| format!("its bill is not final ({open}): import the final one and run `podledger build`"))
        .collect();
    Ok((!all.is_empty(), reasons))
}

fn texts(connection: &Connection, query: &str, parameters: impl Params) -> SqlResult<Vec<String>> {
    let doing = "read whether a month can be closed";
    let mut statement = connection.prepare(query).doing(doing)?;
    let rows = statement.query_map(parameters, |row| row.get(0)).doing(doing)?;
    rows.collect::<duckdb::Result<_>>().doing(doing)
}
