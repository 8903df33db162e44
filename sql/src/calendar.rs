//! Which local date and ISO week an hour belongs to, in every zone that reports are made for.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::units::MS_PER_HOUR;

/// One hour in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarHour {
    /// Start of the hour, UTC, in milliseconds since 1970.
    pub hour_start_ms: i64,
    /// IANA name of the zone.
    pub zone: String,
    /// Local date on which the hour starts, `YYYY-MM-DD`.
    pub local_date: String,
    /// ISO 8601 week of that date, `2026-W46`.
    pub iso_week: String,
}

/// The hours that touch `[start_ms, end_ms)`, in the zones of these IANA names.
///
/// # Errors
/// [`Error::Unit`] for a name that is no zone and for instants beyond the years that dates can have.
pub fn calendar(start_ms: i64, end_ms: i64, zones: &[String]) -> Result<Vec<CalendarHour>> {
    let mut hours = Vec::new();
    for zone in zones {
        let unit = |reason: String| Error::Unit {
            text: zone.clone(),
            expected: "a time zone",
            reason,
        };
        let time_zone = TimeZone::get(zone)
            .map_err(|error| unit(format!("{error}; use an IANA name such as Europe/Berlin")))?;
        let mut hour_start_ms = start_ms - start_ms.rem_euclid(MS_PER_HOUR);
        while hour_start_ms < end_ms {
            let instant =
                Timestamp::from_millisecond(hour_start_ms).map_err(|error| unit(error.to_string()))?;
            let date = instant.to_zoned(time_zone.clone()).date();
            let week = date.iso_week_date();
            hours.push(CalendarHour {
                hour_start_ms,
                zone: zone.clone(),
                local_date: date.to_string(),
                iso_week: format!("{:04}-W{:02}", week.year(), week.week()),
            });
            hour_start_ms += MS_PER_HOUR;
        }
    }
    Ok(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(start: &str, hours: i64, zone: &str) -> Vec<CalendarHour> {
        let start = start.parse::<Timestamp>().unwrap().as_millisecond();
        calendar(start, start + hours * MS_PER_HOUR, &[zone.to_owned()]).unwrap()
    }

    #[test]
    fn an_hour_belongs_to_the_local_date_of_its_start() {
        let hours = hours("2026-11-15T22:00:00Z", 3, "Europe/Berlin");
        let dates: Vec<(&str, &str)> = hours
            .iter()
            .map(|hour| (hour.local_date.as_str(), hour.iso_week.as_str()))
            .collect();
        assert_eq!(
            dates,
            [
                ("2026-11-15", "2026-W46"),
                ("2026-11-16", "2026-W47"),
                ("2026-11-16", "2026-W47")
            ]
        );
    }

    #[test]
    fn the_day_of_a_clock_change_has_25_hours_and_the_iso_year_may_differ() {
        let local = hours("2026-10-24T00:00:00Z", 72, "Europe/Berlin");
        assert_eq!(
            local
                .iter()
                .filter(|hour| hour.local_date == "2026-10-25")
                .count(),
            25
        );
        assert_eq!(hours("2027-01-01T00:00:00Z", 1, "UTC")[0].iso_week, "2026-W53");
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let error = calendar(0, 1, &["Europe/Berln".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("Europe/Berln"), "{error}");
    }
}
