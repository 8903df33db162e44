//! Which hours a week has: ISO 8601 weeks in a time zone. An hour belongs to the local date on which it starts.

use std::fmt;

use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::error::{Error, Result};

/// A cluster that was not observed for so long is not waited for any more, ms.
const GONE_MS: i64 = 14 * 24 * 3_600_000;

/// From when and through when clusters were observed together, of each one's beginning and end (ms since 1970): through the least of
/// those that are still observed. One that was given up a fortnight before the newest word of any other does not hold up weeks for good.
pub fn observed(clusters: &[(i64, i64)]) -> Option<(i64, i64)> {
    let from = clusters.iter().map(|(from, _)| *from).min()?;
    let latest = clusters.iter().map(|(_, through)| *through).max()?;
    let through = clusters
        .iter()
        .map(|(_, through)| *through)
        .filter(|through| *through > latest.saturating_sub(GONE_MS))
        .min()?;
    Some((from, through))
}

/// An ISO week in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    monday: Date,
    zone: TimeZone,
    zone_name: String,
}

impl Week {
    /// The week that a text such as `2026-W46` names, in a zone by its IANA name.
    ///
    /// # Errors
    /// [`Error::Week`], [`Error::Zone`].
    pub fn parse(text: &str, zone: &str) -> Result<Self> {
        let wrong = || Error::Week {
            text: text.to_owned(),
        };
        let (year, week) = text.trim().split_once("-W").ok_or_else(wrong)?;
        let year: i16 = year.parse().map_err(|_| wrong())?;
        let week: i8 = week.parse().map_err(|_| wrong())?;
        let monday = ISOWeekDate::new(year, week, Weekday::Monday)
            .map_err(|_| wrong())?
            .date();
        Self::of(monday, zone)
    }

    /// The week in which an instant lies.
    ///
    /// # Errors
    /// [`Error::Zone`].
    pub fn containing(at: Timestamp, zone: &str) -> Result<Self> {
        let date = at.to_zoned(time_zone(zone)?).date();
        let days = i64::from(date.weekday().to_monday_zero_offset());
        let monday = date.checked_sub(Span::new().days(days)).unwrap_or(date);
        Self::of(monday, zone)
    }

    /// The last week of a stretch of time (ms since 1970) that lies in it whole, or else the last that touches it.
    ///
    /// # Errors
    /// [`Error::Zone`].
    pub fn last_whole(from_ms: i64, through_ms: i64, zone: &str) -> Result<Self> {
        let at = Timestamp::from_millisecond(through_ms - 1).unwrap_or(Timestamp::UNIX_EPOCH);
        let last = Self::containing(at, zone)?;
        let whole = if last.bounds_ms().1 <= through_ms {
            last.clone()
        } else {
            last.plus(-1)
        };
        Ok(if whole.bounds_ms().0 >= from_ms {
            whole
        } else {
            last
        })
    }

    /// The last week in which all clusters that are still observed were observed whole, or else the last that was observed at all;
    /// `None` where no cluster was.
    ///
    /// # Errors
    /// [`Error::Zone`].
    pub fn last_observed(clusters: &[(i64, i64)], zone: &str) -> Result<Option<Self>> {
        observed(clusters)
            .map(|(from, through)| Self::last_whole(from, through, zone))
            .transpose()
    }

    fn of(monday: Date, zone: &str) -> Result<Self> {
        Ok(Self {
            monday,
            zone: time_zone(zone)?,
            zone_name: zone.to_owned(),
        })
    }

    /// The week before, or the one so many weeks later.
    #[must_use]
    pub fn plus(&self, weeks: i64) -> Self {
        let monday = self
            .monday
            .checked_add(Span::new().weeks(weeks))
            .unwrap_or(self.monday);
        Self {
            monday,
            ..self.clone()
        }
    }

    /// Its first and last date.
    #[must_use]
    pub fn dates(&self) -> (Date, Date) {
        let sunday = self.monday.checked_add(Span::new().days(6));
        (self.monday, sunday.unwrap_or(self.monday))
    }

    /// IANA name of the zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// From when to when, in milliseconds since 1970: 167 to 169 hours where clocks change.
    #[must_use]
    pub fn bounds_ms(&self) -> (i64, i64) {
        (self.midnight(self.monday), self.midnight(self.plus(1).monday))
    }

    fn midnight(&self, date: Date) -> i64 {
        midnight(&self.zone, date)
    }

    /// Day (0 is Monday) and hour of the local clock at the start of an hour.
    #[must_use]
    pub fn slot(&self, hour_start_ms: i64) -> (usize, usize) {
        slot(&self.zone, hour_start_ms)
    }

    /// An instant by the local clock, to the minute.
    #[must_use]
    pub fn clock(&self, at_ms: i64) -> String {
        Timestamp::from_millisecond(at_ms).map_or_else(
            |_| String::new(),
            |at| at.to_zoned(self.zone.clone()).strftime("%a %H:%M").to_string(),
        )
    }
}

impl fmt::Display for Week {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let week = self.monday.iso_week_date();
        write!(formatter, "{:04}-W{:02}", week.year(), week.week())
    }
}

/// When a date begins in a zone, ms since 1970.
pub(crate) fn midnight(zone: &TimeZone, date: Date) -> i64 {
    date.to_zoned(zone.clone())
        .map_or(0, |zoned| zoned.timestamp().as_millisecond())
}

/// Day (0 is Monday) and hour of the local clock at an instant.
pub(crate) fn slot(zone: &TimeZone, at_ms: i64) -> (usize, usize) {
    let Ok(at) = Timestamp::from_millisecond(at_ms) else {
        return (0, 0);
    };
    let local = at.to_zoned(zone.clone());
    (
        usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0),
        usize::try_from(local.hour()).unwrap_or(0),
    )
}

fn time_zone(zone: &str) -> Result<TimeZone> {
    TimeZone::get(zone).map_err(|_| Error::Zone {
        zone: zone.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn hours(text: &str, zone: &str) -> i64 {
        let (start, end) = Week::parse(text, zone).unwrap().bounds_ms();
        (end - start) / HOUR
    }

    #[test]
    fn a_week_has_as_many_hours_as_its_clock_shows() {
        assert_eq!(hours("2026-W46", "UTC"), 168);
        assert_eq!(hours("2026-W43", "Europe/Berlin"), 169);
        assert_eq!(hours("2026-W13", "Europe/Berlin"), 167);
    }

    #[test]
    fn a_cluster_that_is_gone_holds_up_no_week() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let last = |clusters: &[(&str, &str)]| {
            let clusters: Vec<(i64, i64)> = clusters
                .iter()
                .map(|(from, through)| (at(from), at(through)))
                .collect();
            Week::last_observed(&clusters, "UTC")
                .unwrap()
                .map(|week| week.to_string())
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-11-18T12:00:00Z");
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[(old, new)]).as_deref(), Some("2026-W46"));
        // One that is late is waited for, one that is gone is not.
        assert_eq!(
            last(&[(old, new), (old, "2026-11-14T00:00:00Z")]).as_deref(),
            Some("2026-W45")
        );
        assert_eq!(
            last(&[(old, new), (old, "2026-03-01T00:00:00Z")]).as_deref(),
            Some("2026-W46")
        );
    }

    #[test]
    fn weeks_of_half_hour_zones_begin_at_half_past() {
        let (start, _) = Week::parse("2026-W46", "Asia/Kolkata").unwrap().bounds_ms();
        assert_eq!(start % HOUR, HOUR / 2);
    }

    #[test]
    fn years_begin_and_end_as_iso_says() {
        let week = Week::parse("2026-W53", "UTC").unwrap();
        assert_eq!(week.plus(1).to_string(), "2027-W01");
        assert!(Week::parse("2025-W53", "UTC").is_err());
        for wrong in ["2026W46", "2026-46", "W46", "2026-W00", "", "2026-Wx"] {
            assert!(Week::parse(wrong, "UTC").is_err(), "{wrong}");
        }
        assert!(Week::parse("2026-W46", "Mars/Olympus").is_err());
    }
}
