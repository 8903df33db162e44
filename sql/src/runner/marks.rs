//! Which line of a template made which part of the SQL.

use crate::error::Error;
use crate::project::{fault, tags};

/// Which line of a template every part of its output came from.
#[derive(Debug, Clone)]
pub(super) struct Marks(pub(super) Vec<(usize, usize)>);

impl Marks {
    pub(super) fn at(line: usize) -> Self {
        Self(vec![(0, line)])
    }

    /// Writes a mark before the first letter of each line that a tag does not cover. It stands after the indentation, so
    /// that whitespace control (`-%}`) works as without it.
    pub(super) fn insert(text: &str) -> String {
        let tags = tags(text);
        let (mut marked, mut start) = (String::with_capacity(text.len() * 2), 0);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let first = start + line.len() - line.trim_start().len();
            let after = tags.partition_point(|tag| tag.end <= first);
            let covered = tags.get(after).is_some_and(|tag| {
                tag.start < first || (tag.start == first && text[first + 2..].starts_with('-'))
            });
            // Behind a tag of several lines, text goes on in a line of its own number.
            let inner = tags
                .get(after)
                .filter(|tag| tag.start < first && tag.end < start + line.len());
            let at = if covered {
                inner
                    .filter(|tag| !text[..tag.end - 2].ends_with('-'))
                    .map(|tag| tag.end)
            } else {
                Some(first)
            };
            match at.filter(|at| !text[*at..start + line.len()].trim().is_empty()) {
                Some(at) => {
                    marked.push_str(&text[start..at]);
                    marked.push_str(&format!("\u{1}{}\u{2}", index + 1));
                    marked.push_str(&text[at..start + line.len()]);
                }
                None => marked.push_str(line),
            }
            start += line.len();
        }
        marked
    }

    /// Output without its marks, and what they said.
    pub(super) fn take(rendered: &str) -> (String, Self) {
        let mut pieces = rendered.split('\u{1}');
        let mut sql = pieces.next().unwrap_or_default().to_owned();
        let mut marks = Vec::new();
        for (line, text) in pieces.filter_map(|piece| piece.split_once('\u{2}')) {
            marks.push((sql.len(), line.parse().unwrap_or(1)));
            sql.push_str(text);
        }
        (sql, Self(marks))
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        let after = self.0.partition_point(|(start, _)| *start <= offset);
        self.0.get(after.saturating_sub(1)).map_or(1, |(_, line)| *line)
    }

    /// What DuckDB said, at the line it came from. It ends in `LINE n: text` and a caret below, or names no line.
    pub(super) fn explain(&self, file: &str, statement: &str, prefix: usize, error: &duckdb::Error) -> Error {
        let text = error.to_string();
        let place = text
            .rsplit_once("\nLINE ")
            .and_then(|(head, place)| Some((head, place.split_once(": ")?)));
        let Some((head, (number, place))) = place else {
            return fault(file, if self.0.len() == 1 { self.line(0) } else { 1 }, text);
        };
        let (shown, caret) = place.split_once('\n').unwrap_or((place, ""));
        let column = caret
            .chars()
            .count()
            .saturating_sub(caret.trim_start().chars().count());
        let column = column.saturating_sub("LINE : ".len() + number.len());
        let before: usize = statement
            .split_inclusive('\n')
            .take(number.parse().unwrap_or(1_usize).saturating_sub(1))
            .map(str::len)
            .sum();
        let line = statement
            .get(before..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let cut = shown.starts_with("...") && !line.starts_with("...");
        let kept = shown.trim_start_matches("...").trim_end_matches("...");
        let within = kept
            .char_indices()
            .nth(column.saturating_sub(if cut { 3 } else { 0 }))
            .map_or(kept.len(), |(at, _)| at);
        let offset = before + line.find(kept).unwrap_or(0) + within;
        let message = format!(
            "{}\n  {shown}\n  {}{}",
            head.trim_end(),
            " ".repeat(column),
            caret.trim()
        );
        fault(file, self.line(offset.saturating_sub(prefix)), message.trim_end())
    }
}
