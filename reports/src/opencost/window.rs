//! Stretches of time as OpenCost's parameters name them (`core/pkg/opencost/window.go` there), and steps through them. Days are UTC's, and the
//! clock is told, never asked.

use jiff::Timestamp;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// The first instant that is no part of any window: 2200-01-01, ms since 1970.
const LAST: i64 = 7_258_118_400_000;

/// Why a text is no window or no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WindowError {
    #[error(
        "`{text}` is no window: write today, yesterday, week, month, lastweek, lastmonth, a duration such as 30m, 12h, 7d or 2w, or two instants with a \
         comma between them (RFC 3339 or seconds since 1970)"
    )]
    Unknown { text: String },
    #[error("window `{text}` does not end after it begins, between 1970 and 2200")]
    Empty { text: String },
    #[error("`{text}` is no duration: write a whole number with a unit (s, m, h, d, w), such as 1h or 1d")]
    Step { text: String },
}

/// A stretch `[start_ms, end_ms)`, ms since 1970; it is never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Window {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Window {
    fn new(start_ms: i64, end_ms: i64) -> Option<Self> {
        (0 <= start_ms && start_ms < end_ms && end_ms <= LAST).then_some(Self { start_ms, end_ms })
    }

    /// Reads a window, at a moment. `week` begins on Sunday; `week` and `month` end now, to the second; `7d` is today and the six days before.
    pub fn parse(text: &str, now_ms: i64) -> Result<Self, WindowError> {
        let unknown = || WindowError::Unknown {
            text: crate::display::short(text),
        };
        let now = now_ms - now_ms.rem_euclid(SECOND);
        let today = now - now.rem_euclid(DAY);
        // 1970-01-01 was a Thursday.
        let sunday = today - ((today / DAY + 4) % 7) * DAY;
        let (start, end) = match text {
            "today" => (today, today + DAY),
            "yesterday" => (today - DAY, today),
            "week" => (sunday, now.max(sunday + SECOND)),
            "lastweek" => (sunday - WEEK, sunday),
            "month" => {
                let first = month_start(today, 0).ok_or_else(unknown)?;
                (first, now.max(first + SECOND))
            }
            "lastmonth" => (
                month_start(today, 1).ok_or_else(unknown)?,
                month_start(today, 0).ok_or_else(unknown)?,
            ),
            _ => duration_window(text, now)
                .or_else(|| seconds(text))
                .or_else(|| instants(text))
                .ok_or_else(unknown)?,
        };
        Self::new(start, end).ok_or_else(|| WindowError::Empty {
            text: crate::display::short(text),
        })
    }

    /// How long it is, ms.
    pub fn duration_ms(self) -> i64 {
        self.end_ms - self.start_ms
    }

    /// What both have in common.
    pub fn overlap(self, other: Self) -> Option<Self> {
        Self::new(self.start_ms.max(other.start_ms), self.end_ms.min(other.end_ms))
    }
}

/// The first instant of the month of a day, or of the one so many months before.
fn month_start(day_ms: i64, before: i32) -> Option<i64> {
    let date = Timestamp::from_millisecond(day_ms)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .first_of_month();
    let date = date.checked_sub(jiff::Span::new().months(before)).ok()?;
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// A number with a unit of minutes, hours, days or weeks, as both.
fn amount(text: &str) -> Option<(i64, i64)> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        "w" => WEEK,
        _ => return None,
    };
    Some((digits(number)?, unit))
}

/// A number of at most twelve digits and nothing else.
fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// `7d`, `45m offset 15m`.
fn duration_window(text: &str, now: i64) -> Option<(i64, i64)> {
    if let Some((length, offset)) = text.split_once(" offset ") {
        let ((number, unit), (before, before_unit)) = (amount(length)?, amount(offset)?);
        let end = now.checked_sub(before.checked_mul(before_unit)?)?;
        return Some((end.checked_sub(number.checked_mul(unit)?)?, end));
    }
    let (number, unit) = amount(text)?;
    // Weeks end with today; anything else with the minute, hour or day that has begun.
    let rounding = unit.min(DAY);
    let end = now - now.rem_euclid(rounding) + rounding;
    Some((end.checked_sub(number.checked_mul(unit)?)?, end))
}

/// `1586822400,1586908800`, also with a dash.
fn seconds(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once([',', '-'])?;
    Some((
        digits(start)?.checked_mul(SECOND)?,
        digits(end)?.checked_mul(SECOND)?,
    ))
}

/// Two instants of RFC 3339.
fn instants(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once(',')?;
    let instant = |text: &str| {
        let whole = text.parse::<Timestamp>().ok()?.as_millisecond();
        Some(whole - whole.rem_euclid(SECOND))
    };
    let (start, end) = (instant(start)?, instant(end)?);
    // Who writes the last second of a day or an hour means all of it: OpenCost's pages and its exporter do.
    let is_last_second = end.rem_euclid(MINUTE) == MINUTE - SECOND;
    Some((start, if is_last_second { end + SECOND } else { end }))
}

/// Reads a duration, ms: numbers with units one after another, such as `1d` or `1h30m`.
pub(super) fn duration(text: &str) -> Result<i64, WindowError> {
    let wrong = || WindowError::Step {
        text: crate::display::short(text),
    };
    let mut sum = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let mut letters = after.chars();
        let unit = match letters.next() {
            Some('s') => SECOND,
            Some('m') => MINUTE,
            Some('h') => HOUR,
            Some('d') => DAY,
            Some('w') => WEEK,
            _ => return Err(wrong()),
        };
        let part = digits(number).and_then(|number| number.checked_mul(unit));
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
        rest = letters.as_str();
    }
    if sum <= 0 || sum > LAST {
        return Err(wrong());
    }
    Ok(sum)
}

/// What sets are added up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    All,
}

impl Unit {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "all" => Self::All,
            _ => return None,
        })
    }

    /// The first instant of the unit in which an instant lies.
    fn start_of(self, at_ms: i64) -> i64 {
        let day = at_ms - at_ms.rem_euclid(DAY);
        let month = || month_start(day, 0).unwrap_or(day);
        match self {
            Self::Hour => at_ms - at_ms.rem_euclid(HOUR),
            Self::Day => day,
            Self::Week => day - ((day / DAY + 4) % 7) * DAY,
            Self::Month => month(),
            Self::Quarter => {
                let number = Timestamp::from_millisecond(day)
                    .map_or(1, |at| i32::from(at.to_zoned(jiff::tz::TimeZone::UTC).month()));
                month_start(day, (number - 1) % 3).unwrap_or(day)
            }
            Self::All => 0,
        }
    }

    /// Whether two instants lie in the same.
    pub fn has_both(self, one_ms: i64, other_ms: i64) -> bool {
        self.start_of(one_ms) == self.start_of(other_ms)
    }
}

/// Equal steps through a window; the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Steps {
    pub window: Window,
    pub step_ms: i64,
}

impl Steps {
    pub fn new(window: Window, step_ms: Option<i64>) -> Self {
        let whole = window.duration_ms();
        Self {
            window,
            step_ms: step_ms.unwrap_or(whole).clamp(1, whole),
        }
    }

    /// How many there are.
    pub fn count(self) -> i64 {
        (self.window.duration_ms() + self.step_ms - 1) / self.step_ms
    }

    /// The step with a number, from 0.
    pub fn at(self, number: i64) -> Window {
        let start_ms = self.window.start_ms + number * self.step_ms;
        Window {
            start_ms,
            end_ms: (start_ms + self.step_ms).min(self.window.end_ms),
        }
    }

    /// The steps that an hour touches.
    pub fn of_hour(self, hour_ms: i64) -> impl Iterator<Item = (i64, Window)> {
        let first = (hour_ms.max(self.window.start_ms) - self.window.start_ms) / self.step_ms;
        let last = ((hour_ms + HOUR).min(self.window.end_ms) - 1 - self.window.start_ms) / self.step_ms;
        (first..=last).map(move |number| (number, self.at(number)))
    }

    /// The whole hours around the window, ms since 1970.
    pub fn hours(self) -> (i64, i64) {
        let (start, end) = (self.window.start_ms, self.window.end_ms);
        (start - start.rem_euclid(HOUR), end + (-end).rem_euclid(HOUR))
    }
}

/// An instant as answers have it: RFC 3339, UTC, to the second.
pub(super) fn rfc3339(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_are_what_opencost_means_by_them() {
        // A Wednesday.
        let now = ms("2026-11-18T13:47:21.5Z");
        for (text, start, end) in [
            ("today", "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"),
            ("yesterday", "2026-11-17T00:00:00Z", "2026-11-18T00:00:00Z"),
            ("week", "2026-11-15T00:00:00Z", "2026-11-18T13:47:21Z"),
            ("lastweek", "2026-11-08T00:00:00Z", "2026-11-15T00:00:00Z"),
            ("month", "2026-11-01T00:00:00Z", "2026-11-18T13:47:21Z"),
            ("lastmonth", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("30m", "2026-11-18T13:18:00Z", "2026-11-18T13:48:00Z"),
            ("12h", "2026-11-18T02:00:00Z", "2026-11-18T14:00:00Z"),
            ("1d", "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"),
            ("7d", "2026-11-12T00:00:00Z", "2026-11-19T00:00:00Z"),
            ("2w", "2026-11-05T00:00:00Z", "2026-11-19T00:00:00Z"),
            ("45m offset 15m", "2026-11-18T12:47:21Z", "2026-11-18T13:32:21Z"),
            (
                "1586822400,1586908800",
                "2020-04-14T00:00:00Z",
                "2020-04-15T00:00:00Z",
            ),
            (
                "1586822400-1586908800",
                "2020-04-14T00:00:00Z",
                "2020-04-15T00:00:00Z",
            ),
            (
                "2020-04-01T00:00:00Z,2020-04-03T12:30:15Z",
                "2020-04-01T00:00:00Z",
                "2020-04-03T12:30:15Z",
            ),
            (
                "2020-04-01T00:00:00Z,2020-04-03T23:59:59Z",
                "2020-04-01T00:00:00Z",
                "2020-04-04T00:00:00Z",
            ),
        ] {
            let window = Window::parse(text, now).unwrap();
            assert_eq!(
                (rfc3339(window.start_ms), rfc3339(window.end_ms)),
                (start.to_owned(), end.to_owned()),
                "{text}"
            );
        }
        // On a Sunday and on the first of a month a week and a month have just begun.
        let sunday = Window::parse("week", ms("2026-11-01T00:00:00Z")).unwrap();
        assert_eq!(sunday.start_ms, ms("2026-11-01T00:00:00Z"));
        let january = Window::parse("lastmonth", ms("2027-01-05T00:00:00Z")).unwrap();
        assert_eq!(
            (rfc3339(january.start_ms), rfc3339(january.end_ms)),
            (
                "2026-12-01T00:00:00Z".to_owned(),
                "2027-01-01T00:00:00Z".to_owned()
            )
        );
    }

    #[test]
    fn what_is_no_window_is_refused() {
        let now = ms("2026-11-18T13:47:21Z");
        for text in [
            "",
            "d",
            "-7d",
            "7",
            "7y",
            "1.5h",
            "tomorrow",
            "9999999999999d",
            "2020-04-01,2020-04-02",
            "1586822400",
            "1586822400,",
            "é",
            "7é",
        ] {
            let error = Window::parse(text, now).unwrap_err();
            assert!(matches!(error, WindowError::Unknown { .. }), "{text}: {error}");
        }
        for text in [
            "0d",
            "999999d",
            "1586908800,1586822400",
            "1586822400,1586822400",
            "2020-04-03T00:00:00Z,2020-04-01T00:00:00Z",
            "2020-04-03T00:00:00Z,2400-04-01T00:00:00Z",
        ] {
            let error = Window::parse(text, now).unwrap_err();
            assert!(matches!(error, WindowError::Empty { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn steps_are_durations() {
        for (text, wanted) in [
            ("1h", HOUR),
            ("90s", 90 * SECOND),
            ("1h30m", 90 * MINUTE),
            ("1d", DAY),
            ("1w", WEEK),
            ("24h0m0s", DAY),
        ] {
            assert_eq!(duration(text).unwrap(), wanted, "{text}");
        }
        for text in [
            "",
            "0s",
            "1",
            "h",
            "-1h",
            "1 h",
            "1y",
            "1h2",
            "99999999999999w",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        let window = Window::new(ms("2026-11-18T00:10:00Z"), ms("2026-11-18T02:30:00Z")).unwrap();
        let steps = Steps::new(window, Some(HOUR));
        assert_eq!(steps.count(), 3);
        assert_eq!(steps.at(2).duration_ms(), 20 * MINUTE);
        assert_eq!(
            steps.hours(),
            (ms("2026-11-18T00:00:00Z"), ms("2026-11-18T03:00:00Z"))
        );
        let touched: Vec<i64> = steps
            .of_hour(ms("2026-11-18T01:00:00Z"))
            .map(|(number, _)| number)
            .collect();
        assert_eq!(touched, [0, 1]);
        assert_eq!(Steps::new(window, Some(DAY)).count(), 1);
        assert_eq!(Steps::new(window, None).count(), 1);
    }

    #[test]
    fn units_are_the_calendars() {
        for (unit, one, other, is_same) in [
            (Unit::Hour, "2026-11-18T00:00:00Z", "2026-11-18T00:59:00Z", true),
            (Unit::Day, "2026-11-18T00:00:00Z", "2026-11-18T23:00:00Z", true),
            (Unit::Day, "2026-11-18T23:00:00Z", "2026-11-19T00:00:00Z", false),
            // Saturday and Sunday.
            (Unit::Week, "2026-11-14T23:00:00Z", "2026-11-15T00:00:00Z", false),
            (Unit::Week, "2026-11-15T00:00:00Z", "2026-11-21T00:00:00Z", true),
            (Unit::Month, "2026-11-01T00:00:00Z", "2026-11-30T00:00:00Z", true),
            (Unit::Month, "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z", false),
            (
                Unit::Quarter,
                "2026-10-01T00:00:00Z",
                "2026-12-31T00:00:00Z",
                true,
            ),
            (
                Unit::Quarter,
                "2026-09-30T00:00:00Z",
                "2026-10-01T00:00:00Z",
                false,
            ),
            (Unit::All, "1980-01-01T00:00:00Z", "2026-10-01T00:00:00Z", true),
        ] {
            assert_eq!(
                unit.has_both(ms(one), ms(other)),
                is_same,
                "{unit:?} {one} {other}"
            );
        }
    }
}
