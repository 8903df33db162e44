//! `import cost-explorer --live`: AWS's Cost Explorer, asked by the UTC day.
//!
//! A day that AWS called final, told to the same question, is not asked for again; days that are estimates are, and those that changed
//! are one more delivery. Every request costs money, so a month has a number of them.

mod ask;
mod kept;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use podledger_sql::lake::Lake;
use sha2::{Digest, Sha256};

use super::cost_explorer::{self, Answer, Definition, Of};
use super::{Format, Piece, Totals, commit_id, deliver, hex, origin};
use crate::aws::Aws;
use crate::error::{Error, Result};
use crate::import::Imported;
use ask::{Asker, Budget};
use kept::{Book, Day};

pub use kept::dollars;

/// How many groups an answer may be split by, at most.
const GROUPS: usize = 2;

/// What is asked for, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the answers are filed; they are delivered when they are asked for.
    pub bill: super::Options,
    /// UTC days.
    pub since: Date,
    pub until: Date,
    /// By what costs are split: dimensions (`SERVICE`), and tags (`TAG:team`).
    pub group_by: Vec<String>,
    /// Only what these accounts use; all where there are none.
    pub accounts: Vec<String>,
    /// Only what has all of these tags.
    pub tags: BTreeMap<String, String>,
    /// How many requests a UTC month may have.
    pub monthly_requests: u32,
    /// Ask for final days too.
    pub refresh: bool,
}

/// What is asked of each day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    groups: Vec<Definition>,
    accounts: Vec<String>,
    tags: BTreeMap<String, String>,
}

/// What asking did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Days that were asked for, and those of them that say something new.
    pub days: usize,
    pub changed_days: usize,
    /// Days that are final, and were not asked for again.
    pub final_days: usize,
    /// Days of which Cost Explorer said nothing.
    pub untold_days: Vec<Date>,
    /// Requests that were sent now, and in all of the month.
    pub requests: u32,
    pub month_requests: u32,
    /// The UTC month that they count for, `2026-11`.
    pub month: String,
    /// Accounts and tags that were asked for alone.
    pub scope: String,
}

/// Asks for days, and files what is new as one delivery; what is remembered of them lies in `folder`.
///
/// # Errors
/// [`Error::Aws`] for what cannot be asked, is not answered, or would cost more than the month may; [`Error::Input`] for answers that
/// cannot be charges, such as those in another currency; [`Error::Io`], [`Error::Write`], [`Error::Sql`]. Nothing is stored then.
pub async fn import(
    lake: &Lake,
    folder: &Path,
    aws: &Aws,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Option<Totals>, Asked)> {
    let now = options.bill.delivered_at.to_zoned(TimeZone::UTC).date();
    let question = Question::new(options).map_err(|reason| aws.wrong(reason))?;
    check_days(options, now).map_err(|reason| aws.wrong(reason))?;
    let month = format!("{:04}-{:02}", now.year(), now.month());
    let book = Arc::new(Mutex::new(Book::open(folder)?));
    let used = |book: &Arc<Mutex<Book>>| {
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.requests(&month)
    };
    let before = used(&book);
    let key = question.key(options);
    let (ranges, final_days) = {
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        to_ask(lake, &book, &key, options)
    };
    let asker = Asker::new(
        aws,
        &book,
        Budget {
            month: month.clone(),
            next_month: now.first_of_month().checked_add(1.month()).unwrap_or(Date::MAX),
            requests: options.monthly_requests,
        },
    );
    let mut told: BTreeMap<Date, Of> = BTreeMap::new();
    let mut asked = Asked {
        final_days,
        scope: question.scope(),
        ..Asked::default()
    };
    for range in ranges {
        progress(&format!("{} until {}", range.start, range.end));
        let days = asker
            .days(&question, range.clone())
            .await
            .map_err(|error| after(error, used(&book) - before, used(&book), &month))?;
        let all = days_of(&range);
        asked.days += all.len();
        asked
            .untold_days
            .extend(all.into_iter().filter(|day| !days.contains_key(day)));
        told.extend(days);
    }
    asked.requests = used(&book) - before;
    asked.month_requests = used(&book);
    asked.month = month;
    if told.is_empty() {
        return Ok((Imported::Already, None, asked));
    }
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    let (imported, totals) = store(
        lake, &mut book, &question, &key, told, options, &mut asked, progress,
    )?;
    Ok((imported, totals, asked))
}

/// Files the days that say something new, and remembers all of them.
#[expect(clippy::too_many_arguments, reason = "it ends one function")]
fn store(
    lake: &Lake,
    book: &mut Book,
    question: &Question,
    key: &str,
    told: BTreeMap<Date, Of>,
    options: &Options,
    asked: &mut Asked,
    progress: &dyn Fn(&str),
) -> Result<(Imported, Option<Totals>)> {
    let source = &options.bill.source;
    let mut days = BTreeMap::new();
    let mut changed = Vec::new();
    for (day, of) in told {
        let answer = digest(&of)?;
        let known = book.day(source, day).filter(|known| {
            known.question == key
                && known.answer == answer
                && lake.is_committed(&origin(source), &known.commit)
        });
        let commit = known.map(|known| known.commit.clone());
        let is_final = !of.estimated;
        if commit.is_none() {
            changed.push(of);
        }
        days.insert(
            day,
            Day {
                question: key.to_owned(),
                answer,
                is_final,
                commit: commit.unwrap_or_default(),
                told_at: options.bill.delivered_at,
            },
        );
    }
    asked.changed_days = changed.len();
    if changed.is_empty() {
        book.remember(source, days)?;
        return Ok((Imported::Already, None));
    }
    let answer = Answer {
        group_definitions: question.definitions(),
        results_by_time: changed,
    };
    let name = format!("GetCostAndUsage of {}", options.bill.delivered_at);
    let text = serde_json::to_vec(&answer).map_err(|error| unwritable(&error))?;
    let mut hash = Sha256::new();
    hash.update(format!("{name}\n{key}\n"));
    hash.update(&text);
    let delivery = hex(hash);
    let piece = Piece {
        path: PathBuf::from("Cost Explorer"),
        name,
        text: Some(text),
    };
    let stored = deliver(
        lake,
        Path::new("Cost Explorer"),
        &[piece],
        &delivery,
        Format::CostExplorer,
        &options.bill,
        progress,
    );
    let (imported, totals) = stored?;
    let commit = commit_id(&delivery, &options.bill);
    for day in days.values_mut().filter(|day| day.commit.is_empty()) {
        day.commit.clone_from(&commit);
    }
    book.remember(source, days)?;
    Ok((imported, Some(totals)))
}

/// An error, and what asking has cost nevertheless.
fn after(error: Error, requests: u32, used: u32, month: &str) -> Error {
    match error {
        Error::Aws { asked, reason } if requests > 0 => Error::Aws {
            asked,
            reason: format!("{reason} (of {used} requests of {month}, {requests} were sent now)"),
        },
        other => other,
    }
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::Aws {
        asked: "Cost Explorer".to_owned(),
        reason: error.to_string(),
    }
}

fn digest(of: &Of) -> Result<String> {
    let text = serde_json::to_vec(of).map_err(|error| unwritable(&error))?;
    Ok(hex(Sha256::new().chain_update(text)))
}

fn check_days(options: &Options, today: Date) -> Result<(), String> {
    if options.since >= options.until {
        return Err(format!(
            "asking for the days from {} until {} (which is not among them) is asking for none",
            options.since, options.until
        ));
    }
    if options.since > today || options.until > today.saturating_add(1.day()) {
        return Err(format!(
            "{} has not begun (UTC); ask until {today} at most, or until {} to have what today cost so far",
            options.until,
            today.saturating_add(1.day())
        ));
    }
    Ok(())
}

fn days_of(range: &Range<Date>) -> Vec<Date> {
    let end = range.end;
    range.start.series(1.day()).take_while(|day| *day < end).collect()
}

/// The stretches of days that are not final yet, or were asked something else, and how many days are.
fn to_ask(lake: &Lake, book: &Book, key: &str, options: &Options) -> (Vec<Range<Date>>, usize) {
    let source = &options.bill.source;
    let is_known = |day: Date| {
        !options.refresh
            && book.day(source, day).is_some_and(|known| {
                known.is_final && known.question == key && lake.is_committed(&origin(source), &known.commit)
            })
    };
    let mut ranges: Vec<Range<Date>> = Vec::new();
    let mut known = 0;
    for day in days_of(&(options.since..options.until)) {
        if is_known(day) {
            known += 1;
            continue;
        }
        let next = day.saturating_add(1.day());
        match ranges.last_mut() {
            Some(last) if last.end == day => last.end = next,
            _ => ranges.push(day..next),
        }
    }
    (ranges, known)
}

/// Accounts of AWS have so many digits.
const ACCOUNT_DIGITS: usize = 12;

impl Question {
    fn new(options: &Options) -> Result<Self, String> {
        if options.group_by.len() > GROUPS {
            return Err(format!(
                "is asked to group by {}; it groups by {GROUPS} at most",
                options.group_by.join(", ")
            ));
        }
        let mut groups = Vec::new();
        for name in &options.group_by {
            let definition = |kind: &str, key: &str| Definition {
                r#type: kind.to_owned(),
                key: key.to_owned(),
            };
            let group = match name.strip_prefix("TAG:") {
                Some(tag) if !tag.is_empty() => definition("TAG", tag),
                None if cost_explorer::dimensions().any(|dimension| dimension == name) => {
                    definition("DIMENSION", name)
                }
                _ => {
                    return Err(format!(
                        "cannot be grouped by `{name}`; group by {}, or TAG:name",
                        cost_explorer::dimensions().collect::<Vec<_>>().join(", ")
                    ));
                }
            };
            if groups.contains(&group) {
                return Err(format!("is asked to group by {name} twice"));
            }
            groups.push(group);
        }
        let is_all = options
            .bill
            .billing_account
            .as_ref()
            .is_some_and(|account| options.accounts.contains(account));
        let accounts: Vec<String> = if is_all {
            Vec::new()
        } else {
            let accounts = options.accounts.iter();
            accounts
                .filter(|account| {
                    account.len() == ACCOUNT_DIGITS && account.bytes().all(|letter| letter.is_ascii_digit())
                })
                .cloned()
                .collect()
        };
        if accounts.is_empty() && !is_all && !options.accounts.is_empty() {
            return Err(format!(
                "the declared scope names no account of AWS ({ACCOUNT_DIGITS} digits), but {}; add one to `accounts` in [billing], or ask for \
                 the whole bill (--whole-bill)",
                options.accounts.join(", ")
            ));
        }
        let by_account = groups
            .iter()
            .any(|group| group.r#type == "DIMENSION" && group.key == "LINKED_ACCOUNT");
        if accounts.len() > 1 && !by_account {
            return Err(
                "the declared scope has several accounts, so charges have to tell theirs: group by LINKED_ACCOUNT too"
                    .to_owned(),
            );
        }
        Ok(Self {
            groups,
            accounts,
            tags: options.tags.clone(),
        })
    }

    /// What answers depend on.
    fn key(&self, options: &Options) -> String {
        let text = format!("{self:?} {:?}", options.bill.billing_account);
        hex(Sha256::new().chain_update(text))
    }

    fn scope(&self) -> String {
        let mut parts = Vec::new();
        if !self.accounts.is_empty() {
            parts.push(format!("accounts {}", self.accounts.join(", ")));
        }
        parts.extend(self.tags.iter().map(|(key, value)| format!("tag {key}={value}")));
        parts.join("; ")
    }
}
