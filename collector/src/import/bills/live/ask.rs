//! Asking Cost Explorer: every attempt is counted before it is sent, and an answer is all of its pages or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_costexplorer::Client;
use aws_sdk_costexplorer::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_costexplorer::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_costexplorer::error::BoxError;
use aws_sdk_costexplorer::types::{
    DateInterval, Dimension, DimensionValues, Expression, Granularity, GroupDefinition, GroupDefinitionType,
    MetricValue, ResultByTime, TagValues,
};
use jiff::ToSpan;
use jiff::civil::Date;

use super::super::cost_explorer::{Definition, Group, Metric, Of, Time};
use super::Question;
use super::kept::{Book, dollars};
use crate::aws::Aws;
use crate::error::Result;

/// What a policy has to allow.
const ACTION: &str = "ce:GetCostAndUsage";

/// What is asked for: what was paid, and what that is when fees are spread over what they are for.
const METRICS: [&str; 2] = ["UnblendedCost", "AmortizedCost"];

/// How much the use is worth asking for: quantities of several usage types have no unit.
const QUANTITY: &str = "UsageQuantity";

/// How many requests a month may have.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// UTC month, `2026-11`, and the first day after it.
    pub month: String,
    pub next_month: Date,
    pub requests: u32,
}

/// Counts attempts, and lets none through that the month has no money for.
#[derive(Debug)]
struct Count {
    book: Arc<Mutex<Book>>,
    budget: Budget,
    /// Why the last attempt was not let through.
    refused: Arc<Mutex<Option<String>>>,
}

impl Count {
    fn pay(&self) -> Result<(), String> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Budget {
            month,
            next_month,
            requests,
        } = &self.budget;
        let used = book.requests(month);
        if used >= *requests {
            return Err(format!(
                "{used} requests of {month} are used ({}), of {requests} that it may have; allow more (--monthly-requests), or ask again from \
                 {next_month} on",
                dollars(used)
            ));
        }
        book.count(month)
            .map_err(|error| format!("a request cannot be counted: {}", crate::error::chain(&error)))
    }
}

impl Intercept for Count {
    fn name(&self) -> &'static str {
        "Count"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.pay().map_err(|reason| {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(reason.clone());
            reason.into()
        })
    }
}

/// Cost Explorer, which costs money.
pub(super) struct Asker<'a> {
    aws: &'a Aws,
    client: Client,
    refused: Arc<Mutex<Option<String>>>,
}

impl<'a> Asker<'a> {
    pub fn new(aws: &'a Aws, book: &Arc<Mutex<Book>>, budget: Budget) -> Self {
        let refused = Arc::new(Mutex::new(None));
        let count = Count {
            book: Arc::clone(book),
            budget,
            refused: Arc::clone(&refused),
        };
        let config = aws_sdk_costexplorer::config::Builder::from(&aws.config)
            .interceptor(count)
            .build();
        Self {
            aws,
            client: Client::from_conf(config),
            refused,
        }
    }

    /// What each of the days cost. Days that Cost Explorer says nothing of are not there.
    ///
    /// # Errors
    /// [`crate::Error::Aws`]: for any page that does not come, or does not fit the others.
    pub async fn days(&self, question: &Question, days: Range<Date>) -> Result<BTreeMap<Date, Of>> {
        let mut found: BTreeMap<Date, Of> = BTreeMap::new();
        let mut seen: BTreeMap<Date, BTreeSet<Vec<String>>> = BTreeMap::new();
        let mut tokens = BTreeSet::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.page(question, &days, token.take()).await?;
            for result in page.results_by_time.unwrap_or_default() {
                let (day, of) = self.day(question, &days, result)?;
                let keys = seen.entry(day).or_default();
                for group in &of.groups {
                    if !keys.insert(group.keys.clone()) {
                        return Err(self.aws.wrong(format!(
                            "{day}: the group {} is told twice; ask again",
                            group.keys.join(", ")
                        )));
                    }
                }
                match found.get_mut(&day) {
                    None => drop(found.insert(day, of)),
                    // A day goes on on the next page.
                    Some(known) => {
                        known.estimated |= of.estimated;
                        known.groups.extend(of.groups);
                        known.total.extend(of.total);
                    }
                }
            }
            match page.next_page_token.filter(|token| !token.is_empty()) {
                None => break,
                Some(next) if !tokens.insert(next.clone()) => {
                    return Err(self
                        .aws
                        .wrong("the pages of the answer have no end: one names itself as the next"));
                }
                next => token = next,
            }
        }
        for of in found.values_mut() {
            question.complete(of);
        }
        Ok(found)
    }

    async fn page(
        &self,
        question: &Question,
        days: &Range<Date>,
        token: Option<String>,
    ) -> Result<aws_sdk_costexplorer::operation::get_cost_and_usage::GetCostAndUsageOutput> {
        let interval = DateInterval::builder()
            .start(days.start.to_string())
            .end(days.end.to_string())
            .build()
            .map_err(|error| self.aws.wrong(error.to_string()))?;
        let has_unit = question
            .groups
            .iter()
            .any(|group| group.r#type == "DIMENSION" && group.key == "USAGE_TYPE");
        let mut request = self
            .client
            .get_cost_and_usage()
            .time_period(interval)
            .granularity(Granularity::Daily)
            .set_metrics(Some(METRICS.map(str::to_owned).to_vec()))
            .set_filter(filter(question))
            .set_next_page_token(token);
        if has_unit {
            request = request.metrics(QUANTITY);
        }
        for group in &question.groups {
            request = request.group_by(
                GroupDefinition::builder()
                    .r#type(GroupDefinitionType::from(group.r#type.as_str()))
                    .key(&group.key)
                    .build(),
            );
        }
        request.send().await.map_err(|error| {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            match refused.take() {
                Some(reason) => self.aws.wrong(reason),
                None => self.aws.failed(ACTION, &error),
            }
        })
    }

    /// One day of an answer, in the words that files have.
    fn day(&self, question: &Question, days: &Range<Date>, result: ResultByTime) -> Result<(Date, Of)> {
        let wrong = |reason: String| self.aws.wrong(reason);
        let period = result
            .time_period
            .ok_or_else(|| wrong("a result has no time".to_owned()))?;
        let start: Date = period
            .start
            .parse()
            .map_err(|_| wrong(format!("`{}` is no day", period.start)))?;
        let is_day = start
            .checked_add(1.day())
            .is_ok_and(|next| next.to_string() == period.end);
        if !is_day || !days.contains(&start) {
            return Err(wrong(format!(
                "was asked for the days from {} until {}, and tells of {} until {}",
                days.start, days.end, period.start, period.end
            )));
        }
        let mut groups = Vec::new();
        for group in result.groups.unwrap_or_default() {
            let keys = group.keys.unwrap_or_default();
            if keys.len() != question.groups.len() {
                return Err(wrong(format!(
                    "{start}: a group has {} keys, and {} were asked for",
                    keys.len(),
                    question.groups.len()
                )));
            }
            groups.push(Group {
                keys,
                metrics: metrics(group.metrics.unwrap_or_default()),
            });
        }
        Ok((
            start,
            Of {
                time_period: Time {
                    start: period.start,
                    end: period.end,
                },
                estimated: result.estimated,
                groups,
                total: metrics(result.total.unwrap_or_default()),
            },
        ))
    }
}

fn metrics(told: impl IntoIterator<Item = (String, MetricValue)>) -> BTreeMap<String, Metric> {
    told.into_iter()
        .map(|(name, value)| {
            let metric = Metric {
                amount: value.amount.unwrap_or_default(),
                unit: value.unit,
            };
            (name, metric)
        })
        .collect()
}

/// The scope in the words of Cost Explorer.
fn filter(question: &Question) -> Option<Expression> {
    let mut parts = Vec::new();
    if !question.accounts.is_empty() {
        let accounts = DimensionValues::builder()
            .key(Dimension::LinkedAccount)
            .set_values(Some(question.accounts.clone()))
            .build();
        parts.push(Expression::builder().dimensions(accounts).build());
    }
    for (key, value) in &question.tags {
        let tag = TagValues::builder().key(key).values(value).build();
        parts.push(Expression::builder().tags(tag).build());
    }
    // `And` is refused with less than two parts.
    if parts.len() > 1 {
        return Some(Expression::builder().set_and(Some(parts)).build());
    }
    parts.pop()
}

/// What is added to an answer because it was asked for nothing else.
impl Question {
    fn complete(&self, of: &mut Of) {
        let fixed = self.fixed();
        for group in &mut of.groups {
            group.keys.extend(
                fixed
                    .iter()
                    .map(|(definition, value)| match definition.r#type.as_str() {
                        "TAG" => format!("{}${value}", definition.key),
                        _ => value.clone(),
                    }),
            );
        }
        of.groups.sort_by(|a, b| a.keys.cmp(&b.keys));
        // Of a day on which nothing was used that is told too, so that it stands instead of what was told before.
        if of.groups.is_empty() && of.total.is_empty() {
            let nothing = |metric: &str| {
                let zero = Metric {
                    amount: "0".to_owned(),
                    unit: Some("USD".to_owned()),
                };
                (metric.to_owned(), zero)
            };
            of.total = METRICS.iter().map(|metric| nothing(metric)).collect();
        }
    }

    /// All definitions of the keys of a group: what was grouped by, and what the scope says.
    pub(super) fn definitions(&self) -> Vec<Definition> {
        let fixed = self.fixed().into_iter().map(|(definition, _)| definition);
        self.groups.iter().cloned().chain(fixed).collect()
    }

    /// What every charge of the scope has, and is not grouped by: the account if it is one, the tags.
    fn fixed(&self) -> Vec<(Definition, String)> {
        let definition = |kind: &str, key: &str| Definition {
            r#type: kind.to_owned(),
            key: key.to_owned(),
        };
        let account = match self.accounts.as_slice() {
            [account] => Some((definition("DIMENSION", "LINKED_ACCOUNT"), account.clone())),
            _ => None,
        };
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| (definition("TAG", key), value.clone()));
        account
            .into_iter()
            .chain(tags)
            .filter(|(definition, _)| !self.groups.contains(definition))
            .collect()
    }
}
