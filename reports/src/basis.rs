//! What a sum of costs rests on: bills, or an estimate at the prices that are known.

use duckdb::Connection;
use podledger_sql::units::NanoUsd;

use crate::display::permille;
use crate::error::{Error, Result};

/// What to say beside `total`, of which `billed` rests on bills. Nothing is called billed that is not to the nano-dollar.
#[must_use]
pub fn basis(billed: NanoUsd, total: NanoUsd) -> String {
    if billed == total && total.get() != 0 {
        return "as billed".to_owned();
    }
    if billed.get() <= 0 || total.get() <= 0 {
        return "estimate at list price".to_owned();
    }
    let part = match permille(billed.get(), total.get()) {
        ..=0 => "under 0.1%".to_owned(),
        part => {
            let part = part.min(999);
            format!("{}.{}%", part / 10, part % 10)
        }
    };
    format!("{part} as billed, the rest estimated at list price")
}

/// [`basis`] of everything that hours from `from_ms` until `to_ms` cost, in milliseconds since 1970.
///
/// # Errors
/// [`Error::DuckDb`].
pub fn basis_between(connection: &Connection, from_ms: i64, to_ms: i64) -> Result<String> {
    let sum = |mart: &str| {
        let text = format!(
            "select coalesce(cast(cast(sum(cost) as decimal(38,9)) * 1000000000 as bigint), 0) from marts.{mart} \
             where hour_start_at >= make_timestamp_ms(?) and hour_start_at < make_timestamp_ms(?)"
        );
        connection
            .query_row(&text, [from_ms, to_ms], |row| row.get(0))
            .map(NanoUsd::from_nano)
            .map_err(|source| Error::DuckDb {
                doing: "read what costs rest on",
                source,
            })
    };
    Ok(basis(sum("billed_costs_hourly")?, sum("costs_hourly")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_called_billed_only_if_all_of_it_is() {
        let said = |billed, total| basis(NanoUsd::from_nano(billed), NanoUsd::from_nano(total));
        assert_eq!(said(0, 0), "estimate at list price");
        assert_eq!(said(0, 100), "estimate at list price");
        assert_eq!(said(100, 100), "as billed");
        assert_eq!(said(-100, -100), "as billed");
        assert_eq!(
            said(999_999, 1_000_000),
            "99.9% as billed, the rest estimated at list price"
        );
        assert_eq!(
            said(1, 1_000_000),
            "under 0.1% as billed, the rest estimated at list price"
        );
        assert_eq!(
            said(42_700, 100_000),
            "42.7% as billed, the rest estimated at list price"
        );
        // A credit that is larger than what is left to bill: no part can be told.
        assert_eq!(said(-5, 100), "estimate at list price");
    }
}
