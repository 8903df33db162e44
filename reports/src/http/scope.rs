//! What a request asks about: a range of days in a zone, and filters. It is all in the URL.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::problem::Problem;
use crate::display;
use crate::weekly::{self, Week};

/// Longest value of a parameter, in bytes: names of Kubernetes are at most 253, labels and annotations can be longer.
const LONGEST_VALUE: usize = 1_024;

/// Longest range, in days.
const LONGEST_RANGE_DAYS: i32 = 400;

/// Rows of a page or an answer at most, and unless the request says otherwise.
pub const MOST_ROWS: u64 = 5_000;
pub const USUAL_ROWS: u64 = 100;

/// Filters that hold from page to page.
pub const STICKY: &[&str] = &["cluster", "team", "pipeline", "namespace"];

/// Filters that name one thing.
pub const NAMES: &[&str] = &[
    "attempt",
    "category",
    "finding",
    "installation",
    "job",
    "machine",
    "pod",
    "pool",
    "run",
    "run_epoch",
    "service",
    "status",
    "system",
];

/// Parameters that say which days, and how answers are cut.
const OTHERS: &[&str] = &["format", "from", "limit", "offset", "sort", "to", "week", "zone"];

/// What a request asks about.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The week that the range is, if it is one.
    pub week: Option<Week>,
    pub first_date: Date,
    pub last_date: Date,
    zone: TimeZone,
    zone_name: String,
    names: BTreeMap<&'static str, String>,
    /// Column by which rows are sorted, and whether the largest comes first.
    pub sort: Option<(String, bool)>,
    pub offset: u64,
    pub limit: Option<u64>,
    pub format: Option<String>,
    is_default_range: bool,
}

impl Scope {
    /// Reads the query of a URL. `default_week` knows the week that is shown if none is named.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter at fault.
    pub fn parse(query: &str, default_week: impl Fn(&str) -> Result<Week, Problem>) -> Result<Self, Problem> {
        let mut given: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_known = [STICKY, NAMES, OTHERS]
                .iter()
                .any(|keys| keys.contains(&key.as_ref()));
            if !is_known {
                return Err(Problem::bad(format!(
                    "there is no parameter `{}`",
                    display::short(&key)
                )));
            }
            if value.len() > LONGEST_VALUE {
                return Err(Problem::bad(format!(
                    "the value of `{key}` is longer than {LONGEST_VALUE} bytes"
                )));
            }
            // Forms send fields that nobody filled in.
            if value.is_empty() {
                continue;
            }
            if given.insert(key.to_string(), value.into_owned()).is_some() {
                return Err(Problem::bad(format!("`{key}` is given twice")));
            }
        }
        let zone_name = given.remove("zone").unwrap_or_else(|| "UTC".to_owned());
        // Names of zones are few and short: what else is given is not looked for among files.
        let is_name = zone_name.len() <= 64
            && !zone_name.starts_with('/')
            && !zone_name.contains("..")
            && zone_name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "_+-/".contains(letter));
        let zone = is_name
            .then(|| TimeZone::get(&zone_name).ok())
            .flatten()
            .ok_or_else(|| {
                Problem::bad(format!(
                    "`{}` is no time zone: use an IANA name such as Europe/Berlin",
                    display::short(&zone_name)
                ))
            })?;
        let is_default_range = !["week", "from", "to"].iter().any(|key| given.contains_key(*key));
        let (week, first_date, last_date) = range(&mut given, &zone_name, default_week)?;
        let sort = given.remove("sort").map(|text| match text.strip_prefix('-') {
            Some(column) => (column.to_owned(), true),
            None => (text, false),
        });
        let offset = number(&mut given, "offset", 10_000_000)?.unwrap_or(0);
        let limit = number(&mut given, "limit", MOST_ROWS)?;
        let format = given.remove("format");
        let names = STICKY
            .iter()
            .chain(NAMES)
            .filter_map(|key| given.remove(*key).map(|value| (*key, value)))
            .collect();
        Ok(Self {
            week,
            first_date,
            last_date,
            zone,
            zone_name,
            names,
            sort,
            offset,
            limit,
            format,
            is_default_range,
        })
    }

    /// How rows are sorted, as a URL says it.
    pub fn sort_text(&self) -> Option<String> {
        self.sort
            .as_ref()
            .map(|(name, is_descending)| format!("{}{name}", if *is_descending { "-" } else { "" }))
    }

    /// IANA name of the zone in which days begin at midnight.
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// The value of a filter.
    pub fn name(&self, key: &str) -> Option<&str> {
        self.names.get(key).map(String::as_str)
    }

    /// The value of a filter without which there is nothing to show.
    ///
    /// # Errors
    /// A [`Problem`] that names it.
    pub fn required(&self, key: &str) -> Result<&str, Problem> {
        self.name(key)
            .ok_or_else(|| Problem::bad(format!("say which {key}: `?{key}=...` is missing")))
    }

    /// Filters that are set, with their values.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.names.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// This scope with other filters: a value of `None` takes one away.
    #[must_use]
    pub fn with(&self, names: &[(&'static str, Option<&str>)]) -> Self {
        let mut other = self.clone();
        for (key, value) in names {
            match value {
                Some(value) => other.names.insert(key, (*value).to_owned()),
                None => other.names.remove(key),
            };
        }
        other
    }

    /// The same with rows in their usual order, from the first on.
    #[must_use]
    pub fn first_rows(&self) -> Self {
        Self {
            sort: None,
            offset: 0,
            limit: None,
            ..self.clone()
        }
    }

    /// The same of one day.
    #[must_use]
    pub fn of_day(&self, date: Date) -> Self {
        self.of_days(date, date)
    }

    /// The same of other days.
    #[must_use]
    pub fn of_days(&self, first_date: Date, last_date: Date) -> Self {
        Self {
            week: None,
            first_date,
            last_date,
            is_default_range: false,
            ..self.clone()
        }
    }

    /// From when to when, in ms since 1970.
    pub fn bounds_ms(&self) -> (i64, i64) {
        (
            self.midnight(self.first_date),
            self.midnight(plus(self.last_date, 1)),
        )
    }

    /// When the same number of days before it begin, in ms since 1970.
    pub fn before_ms(&self) -> i64 {
        self.midnight(plus(self.first_date, -self.days()))
    }

    /// Number of days.
    pub fn days(&self) -> i32 {
        (self.last_date - self.first_date).get_days() + 1
    }

    /// Each day: its date, from when to when in ms since 1970.
    pub fn each_day(&self) -> Vec<(Date, i64, i64)> {
        (0..self.days())
            .map(|day| {
                let date = plus(self.first_date, day);
                (date, self.midnight(date), self.midnight(plus(date, 1)))
            })
            .collect()
    }

    fn midnight(&self, date: Date) -> i64 {
        weekly::midnight(&self.zone, date)
    }

    /// An instant by the local clock: `Mon 2026-11-09 14:05:09`.
    pub fn clock(&self, at_ms: i64) -> String {
        Timestamp::from_millisecond(at_ms).map_or_else(
            |_| "unknown".to_owned(),
            |at| {
                at.to_zoned(self.zone.clone())
                    .strftime("%a %Y-%m-%d %H:%M:%S")
                    .to_string()
            },
        )
    }

    /// Day (0 is Monday) and hour of the local clock at an instant.
    pub fn slot(&self, at_ms: i64) -> (usize, usize) {
        weekly::slot(&self.zone, at_ms)
    }

    /// What the range is called.
    pub fn title(&self) -> String {
        match &self.week {
            Some(week) => format!("Week {week} · {} to {}", self.first_date, self.last_date),
            None if self.first_date == self.last_date => self.first_date.to_string(),
            None => format!("{} to {}", self.first_date, self.last_date),
        }
    }

    /// The same number of days so many such ranges later; weeks stay weeks.
    #[must_use]
    pub fn moved(&self, by: i32) -> Self {
        Self {
            week: self.week.as_ref().map(|week| week.plus(i64::from(by))),
            first_date: plus(self.first_date, self.days() * by),
            last_date: plus(self.last_date, self.days() * by),
            is_default_range: false,
            ..self.clone()
        }
    }

    /// A link to a page of the same range and zone that keeps the filters which hold from page to page.
    pub fn link(&self, path: &str, names: &[(&str, &str)]) -> String {
        self.link_with(path, STICKY, names)
    }

    /// A link to a page about one thing: of the same range and zone, with no filter but those named (and the cluster).
    pub fn link_one(&self, path: &str, names: &[(&str, &str)]) -> String {
        self.link_with(path, &["cluster"], names)
    }

    /// This page with other ways to cut rows.
    pub fn link_same(&self, path: &str, names: &[(&str, &str)]) -> String {
        let kept: Vec<&str> = self.names.keys().copied().collect();
        self.link_with(path, &kept, names)
    }

    fn link_with(&self, path: &str, kept: &[&str], names: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let names_range = names.iter().any(|(named, _)| ["week", "from"].contains(named));
        if !self.is_default_range && !names_range {
            match &self.week {
                Some(week) => {
                    query.append_pair("week", &week.to_string());
                }
                None => {
                    query.append_pair("from", &self.first_date.to_string());
                    query.append_pair("to", &self.last_date.to_string());
                }
            }
        }
        if self.zone_name != "UTC" {
            query.append_pair("zone", &self.zone_name);
        }
        for key in kept {
            if names.iter().all(|(named, _)| named != key)
                && let Some(value) = self.names.get(key)
            {
                query.append_pair(key, value);
            }
        }
        for (key, value) in names.iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(key, value);
        }
        let query = query.finish();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    }
}

type Range = (Option<Week>, Date, Date);

fn range(
    given: &mut BTreeMap<String, String>,
    zone: &str,
    default_week: impl Fn(&str) -> Result<Week, Problem>,
) -> Result<Range, Problem> {
    let of_week = |week: Week| {
        let (first, last) = week.dates();
        (Some(week), first, last)
    };
    match (given.remove("week"), given.remove("from"), given.remove("to")) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(Problem::bad("give `week`, or `from` and `to`, but not both"))
        }
        (Some(text), None, None) => Week::parse(&text, zone)
            .map(of_week)
            .map_err(|error| Problem::bad(error.to_string())),
        (None, Some(first), Some(last)) => {
            let (first, last) = (date("from", &first)?, date("to", &last)?);
            if last < first {
                return Err(Problem::bad("`to` is before `from`"));
            }
            if (last - first).get_days() >= LONGEST_RANGE_DAYS {
                return Err(Problem::bad(format!(
                    "`from` and `to` span more than {LONGEST_RANGE_DAYS} days"
                )));
            }
            let week = Week::parse(&iso_week(first), zone).ok();
            let week = week.filter(|week| week.dates() == (first, last));
            Ok((week, first, last))
        }
        (None, None, None) => default_week(zone).map(of_week),
        _ => Err(Problem::bad("`from` and `to` go together: give both")),
    }
}

fn iso_week(date: Date) -> String {
    let week = date.iso_week_date();
    format!("{:04}-W{:02}", week.year(), week.week())
}

fn date(key: &str, text: &str) -> Result<Date, Problem> {
    text.parse()
        .ok()
        .filter(|date: &Date| (1970..=9000).contains(&date.year()))
        .ok_or_else(|| {
            Problem::bad(format!(
                "`{key}` is no date such as 2026-11-09: {}",
                display::short(text)
            ))
        })
}

fn number(given: &mut BTreeMap<String, String>, key: &str, most: u64) -> Result<Option<u64>, Problem> {
    given
        .remove(key)
        .map(|text| {
            text.parse()
                .ok()
                .filter(|number| *number <= most)
                .ok_or_else(|| Problem::bad(format!("`{key}` is no whole number up to {most}")))
        })
        .transpose()
}

fn plus(date: Date, days: i32) -> Date {
    date.checked_add(Span::new().days(days)).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Scope, Problem> {
        Scope::parse(query, |zone| Ok(Week::parse("2026-W46", zone).unwrap()))
    }

    #[test]
    fn a_range_is_a_week_if_it_is_one() {
        for query in [
            "",
            "week=2026-W46",
            "from=2026-11-09&to=2026-11-15",
            "team=&week=",
        ] {
            let scope = parse(query).unwrap();
            assert_eq!(scope.week.as_ref().unwrap().to_string(), "2026-W46", "{query}");
            assert_eq!(scope.bounds_ms(), scope.week.as_ref().unwrap().bounds_ms());
        }
        let scope = parse("from=2026-10-24&to=2026-10-25&zone=Europe/Berlin").unwrap();
        assert!(scope.week.is_none());
        let (from, to) = scope.bounds_ms();
        assert_eq!(
            (to - from) / 3_600_000,
            49,
            "clocks are put back on the second day"
        );
        assert_eq!((from - scope.before_ms()) / 3_600_000, 48);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, named) in [
            ("weak=2026-W46", "`weak`"),
            ("week=2026-W99", "2026-W99"),
            ("week=2026-W46&from=2026-11-09", "`week`"),
            ("from=2026-11-09", "`from`"),
            ("from=2026-11-09&to=2026-11-08", "`to`"),
            ("from=2020-11-09&to=2026-11-08", "400 days"),
            ("from=yesterday&to=2026-11-08", "`from`"),
            ("zone=Mars/Olympus", "Mars/Olympus"),
            ("zone=../../etc/passwd", "no time zone"),
            ("limit=-1", "`limit`"),
            ("limit=999999", "`limit`"),
            ("team=a&team=b", "`team`"),
        ] {
            let problem = parse(query).unwrap_err();
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
        assert!(parse(&format!("team={}", "x".repeat(2_000))).is_err());
    }

    #[test]
    fn links_carry_any_name_and_come_back_as_they_were() {
        for name in crate::display::HOSTILE_NAMES {
            let scope = parse("team=growth&week=2026-W45").unwrap();
            let link = scope.link("/pipeline", &[("pipeline", name)]);
            assert!(
                link.chars()
                    .all(|letter| letter.is_ascii_graphic() && !"<>\"'`".contains(letter)),
                "{link}"
            );
            let (path, query) = link.split_once('?').unwrap();
            assert_eq!(path, "/pipeline");
            let again = parse(query).unwrap();
            assert_eq!(again.name("pipeline"), Some(*name));
            assert_eq!(again.name("team"), Some("growth"));
            assert_eq!(again.week, scope.week);
        }
    }
}
