//! What is asked: the parameters of a URL, read once and checked.

use std::collections::BTreeMap;

use super::aggregate::Aggregate;
use super::autocomplete::{OF_ALLOCATIONS, OF_ASSETS, Wanted};
use super::field::{ALLOCATIONS, ASSETS, Field, Needs, Vocabulary};
use super::filter::{self, Filter};
use super::window::{self, Steps, Unit, Window};
use crate::display::short;
use crate::http::problem::Problem;

/// Allocations of an answer before they are added up, at most; sets alone are bounded by it before anything is read.
pub(super) const MOST_CELLS: usize = 100_000;

/// Longest value of a parameter, in bytes.
const LONGEST: usize = 4_096;

/// Parameters that change nothing here: what OpenCost needs them for, podledger has no need of.
const IGNORED: [&str; 3] = ["resolution", "format", "costUnit"];

/// Parameters of Kubecost that its clients send, and the values of which say nothing else than what is answered anyway.
const NEUTRAL: [(&str, &[&str]); 6] = [
    ("external", &["false"]),
    ("reconcile", &["true"]),
    ("shareCost", &["0"]),
    ("shareSplit", &["weighted", "even"]),
    ("shareTenancyCosts", &["false"]),
    ("includeSharedCostBreakdown", &["true", "false"]),
];

/// A question for allocations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub steps: Steps,
    pub accumulate: Option<Unit>,
    pub aggregate: Aggregate,
    pub filter: Filter,
    pub has_idle: bool,
    pub is_idle_shared: bool,
    /// Whether idle capacity of a node is shared by those on it alone.
    pub is_idle_by_node: bool,
    pub are_load_balancers_shared: bool,
    pub has_metadata: bool,
    pub has_proportions: bool,
    pub offset: usize,
    pub limit: Option<usize>,
}

/// Parameters as they are given.
struct Given(BTreeMap<String, String>);

impl Given {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.len() > LONGEST {
                return Err(Problem::bad(format!(
                    "the value of `{}` is longer than {LONGEST} bytes",
                    short(&key)
                )));
            }
            if value.is_empty() {
                continue;
            }
            if given.insert(key.to_string(), value.into_owned()).is_some() {
                return Err(Problem::bad(format!("`{}` is given twice", short(&key))));
            }
        }
        Ok(Self(given))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Yes or no, in the words of Go's `strconv.ParseBool`.
    fn flag(&mut self, key: &str) -> Result<Option<bool>, Problem> {
        self.take(key)
            .map(|text| {
                truth(&text).ok_or_else(|| {
                    Problem::bad(format!("`{key}` is neither true nor false: `{}`", short(&text)))
                })
            })
            .transpose()
    }

    fn number(&mut self, key: &str) -> Result<Option<usize>, Problem> {
        self.take(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Problem::bad(format!("`{key}` is no whole number from 0: `{}`", short(&text)))
                })
            })
            .transpose()
    }

    fn window(&mut self, now_ms: i64) -> Result<Window, Problem> {
        let text = self
            .take("window")
            .ok_or_else(|| Problem::bad("`window` is missing: say which time, such as `window=7d`"))?;
        Window::parse(&text, now_ms).map_err(|error| of("window", &error))
    }

    fn filter(&mut self, vocabulary: &Vocabulary) -> Result<Filter, Problem> {
        let mut all = Vec::new();
        if let Some(text) = self.take("filter") {
            all.push(Filter::parse(&text, vocabulary).map_err(|error| of("filter", &error))?);
        }
        for (key, field) in vocabulary.lists {
            if let Some(text) = self.take(key) {
                all.push(filter::list(*field, &text).map_err(|error| of(key, &error))?);
            }
        }
        Ok(match all.len() {
            1 => all.remove(0),
            _ => Filter::All(all),
        })
    }

    /// That there is nothing left which nobody understands.
    fn end(mut self) -> Result<(), Problem> {
        for key in IGNORED {
            self.take(key);
        }
        for (key, values) in NEUTRAL {
            if self
                .0
                .get(key)
                .is_some_and(|value| values.contains(&value.as_str()))
            {
                self.take(key);
            }
        }
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(Problem::bad(format!("there is no parameter `{}`", short(key)))),
        }
    }
}

fn of(key: &str, error: &dyn std::error::Error) -> Problem {
    Problem::bad(format!("`{key}`: {error}"))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Question {
    /// Reads the query of a URL, at a moment.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter at fault.
    pub fn parse(query: &str, now_ms: i64) -> Result<Self, Problem> {
        let mut given = Given::read(query)?;
        let window = given.window(now_ms)?;
        let step = given
            .take("step")
            .map(|text| window::duration(&text).map_err(|error| of("step", &error)))
            .transpose()?;
        let steps = Steps::new(window, step);
        if usize::try_from(steps.count()).is_ok_and(|count| count > MOST_CELLS) {
            return Err(Problem::bad(format!(
                "`step` makes {} sets, of which {MOST_CELLS} may be: take a longer step or a shorter window",
                steps.count()
            )));
        }
        let accumulate = accumulated(&mut given)?;
        let aggregate = Aggregate::parse(given.take("aggregate").as_deref());
        let filter = given.filter(&ALLOCATIONS)?;
        // The newer name decides where both are given.
        let idle = given.flag("idle")?;
        let has_idle = given.flag("includeIdle")?.or(idle).unwrap_or(false);
        let question = Self {
            steps,
            accumulate,
            aggregate,
            filter,
            has_idle,
            is_idle_shared: given.flag("shareIdle")?.unwrap_or(false),
            is_idle_by_node: given.flag("idleByNode")?.unwrap_or(false),
            are_load_balancers_shared: given.flag("sharelb")?.unwrap_or(false),
            has_metadata: given.flag("includeAggregatedMetadata")?.unwrap_or(false),
            has_proportions: given
                .flag("includeProportionalAssetResourceCosts")?
                .unwrap_or(false),
            offset: given.number("offset")?.unwrap_or(0),
            limit: given.number("limit")?,
        };
        given.end()?;
        if let Some(unit) = question.accumulate {
            question.check_units(unit)?;
        }
        Ok(question)
    }

    /// Sets are added up whole: none may lie in two units.
    fn check_units(&self, unit: Unit) -> Result<(), Problem> {
        for number in 0..self.steps.count() {
            let window = self.steps.at(number);
            if !unit.has_both(window.start_ms, window.end_ms - 1) {
                return Err(Problem::bad(
                    "`accumulateBy` is a unit that sets go beyond: take a `step` that divides it, such as `step=1h` or `step=1d`",
                ));
            }
        }
        Ok(())
    }

    pub fn needs(&self) -> Needs {
        let metadata = Needs {
            descriptions: self.has_metadata,
            containers: false,
        };
        self.aggregate.needs().and(self.filter.needs()).and(metadata)
    }

    /// Whether a group has the labels that its members have in common.
    pub fn has_labels(&self) -> bool {
        self.has_metadata || self.aggregate.is_whole
    }
}

fn accumulated(given: &mut Given) -> Result<Option<Unit>, Problem> {
    let unit = |key: &str, text: &str| {
        Unit::parse(text).ok_or_else(|| {
            Problem::bad(format!(
                "`{key}` is none of hour, day, week, month, quarter and all: `{}`",
                short(text)
            ))
        })
    };
    let all = match given.take("accumulate") {
        None => None,
        Some(text) => match truth(&text) {
            Some(true) => Some(Unit::All),
            Some(false) => None,
            None => Some(unit("accumulate", &text)?),
        },
    };
    match given.take("accumulateBy") {
        Some(text) => unit("accumulateBy", &text).map(Some),
        None => Ok(all),
    }
}

/// A question for assets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AssetQuestion {
    pub window: Window,
    pub filter: Filter,
}

impl AssetQuestion {
    /// Reads the query of a URL, at a moment. What OpenCost's pages send beside (`aggregate`, `accumulate`) changes nothing, there and here.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter at fault.
    pub fn parse(query: &str, now_ms: i64) -> Result<Self, Problem> {
        let mut given = Given::read(query)?;
        let window = given.window(now_ms)?;
        for key in [
            "aggregate",
            "accumulate",
            "step",
            "disableAdjustments",
            "includeIdle",
        ] {
            given.take(key);
        }
        let filter = given.filter(&ASSETS)?;
        given.end()?;
        Ok(Self { window, filter })
    }
}

/// Values that are proposed where nobody says how many, and at most.
const PROPOSED: (usize, usize) = (100, 1_000);

/// A question for what a field has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FieldQuestion {
    pub window: Window,
    pub wanted: Wanted,
    pub filter: Filter,
    /// What values contain, in lower case.
    pub search: String,
    pub limit: usize,
}

impl FieldQuestion {
    /// Of allocations.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter at fault.
    pub fn of_allocations(query: &str, now_ms: i64) -> Result<Self, Problem> {
        Self::parse(query, now_ms, OF_ALLOCATIONS, &ALLOCATIONS)
    }

    /// Of assets.
    ///
    /// # Errors
    /// A [`Problem`] that names the parameter at fault.
    pub fn of_assets(query: &str, now_ms: i64) -> Result<Self, Problem> {
        Self::parse(query, now_ms, OF_ASSETS, &ASSETS)
    }

    fn parse(
        query: &str,
        now_ms: i64,
        fields: &[(&str, Field)],
        vocabulary: &Vocabulary,
    ) -> Result<Self, Problem> {
        let mut given = Given::read(query)?;
        let window = given.window(now_ms)?;
        let field = given
            .take("field")
            .ok_or_else(|| Problem::bad("`field` is missing: say which, such as `field=namespace`"))?;
        let (usual, most) = PROPOSED;
        let limit = given.number("limit")?.filter(|limit| *limit > 0).unwrap_or(usual);
        if limit > most {
            return Err(Problem::bad(format!("`limit` is more than {most}")));
        }
        // Kubecost's: here is one tenant.
        given.take("tenantId");
        let question = Self {
            window,
            wanted: Wanted::parse(&field, fields)?,
            filter: given.filter(vocabulary)?,
            search: given.take("search").unwrap_or_default().trim().to_lowercase(),
            limit,
        };
        given.end()?;
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    #[test]
    fn what_is_wrong_is_named() {
        for (query, wanted) in [
            ("", "`window` is missing"),
            ("window=", "`window` is missing"),
            ("window=soon", "`window`: `soon` is no window"),
            ("window=1d&window=2d", "`window` is given twice"),
            ("window=1d&step=x", "`step`: `x` is no duration"),
            ("window=7d&step=1s", "`step` makes 604800 sets"),
            ("window=1d&filter=x", "`filter`: there is no field `x`"),
            ("window=1d&filterLabels=app", "`filterLabels`: `app` has no `:`"),
            (
                "window=1d&includeIdle=maybe",
                "`includeIdle` is neither true nor false",
            ),
            ("window=1d&accumulate=often", "`accumulate` is none of"),
            ("window=1d&accumulateBy=decade", "`accumulateBy` is none of"),
            (
                "window=7d&accumulateBy=day",
                "`accumulateBy` is a unit that sets go beyond",
            ),
            ("window=1d&limit=-1", "`limit` is no whole number"),
            ("window=1d&offset=a", "`offset` is no whole number"),
            (
                "window=1d&shareNamespaces=x",
                "there is no parameter `shareNamespaces`",
            ),
            ("window=1d&shareCost=100", "there is no parameter `shareCost`"),
        ] {
            let problem = Question::parse(query, NOW).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400);
            assert!(problem.detail.contains(wanted), "{query}: {}", problem.detail);
        }
        let long = format!("window=1d&aggregate={}", "x".repeat(LONGEST + 1));
        assert!(
            Question::parse(&long, NOW)
                .unwrap_err()
                .detail
                .contains("longer than")
        );
    }

    #[test]
    fn what_is_not_said_is_what_opencost_takes_for_granted() {
        let question = Question::parse("window=7d", NOW).unwrap();
        assert_eq!(question.steps.count(), 1);
        assert!(question.aggregate.is_whole && !question.has_idle && !question.is_idle_shared);
        assert_eq!((question.accumulate, question.limit), (None, None));
        let asked = Question::parse(
            "window=7d&step=1d&accumulate=true&idle=true&resolution=1m&filterNamespaces=a&external=false&shareSplit=weighted",
            NOW,
        )
        .unwrap();
        assert_eq!(asked.steps.count(), 7);
        assert_eq!(asked.accumulate, Some(Unit::All));
        assert!(asked.has_idle);
        let both = Question::parse("window=7d&step=1d&accumulate=true&accumulateBy=week", NOW).unwrap();
        assert_eq!(both.accumulate, Some(Unit::Week));
        let off = Question::parse("window=7d&idle=true&includeIdle=false", NOW).unwrap();
        assert!(!off.has_idle);
    }
}
