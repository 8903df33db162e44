//! The tags of a template, and what none may hold.

use super::fault;
use crate::error::Result;

/// A `{{ }}`, `{% %}` or `{# #}` of a template.
pub(crate) struct Tag<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

impl<'a> Tag<'a> {
    /// What a `{% %}` says, with single spaces; empty for other tags.
    pub(crate) fn words(&self) -> String {
        let inner = self
            .text
            .strip_prefix("{%")
            .and_then(|text| text.strip_suffix("%}"))
            .unwrap_or_default();
        let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
        let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
        inner.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The name of the macro that this tag opens, and the tag's text from the parenthesis on.
    pub(super) fn signature(&self) -> Option<(&'a str, &'a str)> {
        let (head, signature) = self.text.split_at(self.text.find('(')?);
        Some((head.split_whitespace().next_back()?, signature))
    }
}

/// The tags of a template in their order, ending before one that is not closed.
pub(crate) fn tags(text: &str) -> Vec<Tag<'_>> {
    let (mut found, mut at, mut line, mut counted) = (Vec::new(), 0, 1, 0);
    while let Some(start) = text[at..].find('{').map(|offset| at + offset) {
        let end = match text.as_bytes().get(start + 1) {
            Some(b'#') => text[start + 2..].find("#}").map(|offset| start + 2 + offset + 2),
            Some(b'{') => closing(text.as_bytes(), start + 2, b'}'),
            Some(b'%') => closing(text.as_bytes(), start + 2, b'%'),
            _ => {
                at = start + 1;
                continue;
            }
        };
        let Some(end) = end else { break };
        line += text[counted..start].matches('\n').count();
        found.push(Tag {
            start,
            end,
            line,
            text: &text[start..end],
        });
        (at, counted) = (end, start);
    }
    found
}

/// The end of a tag that closes with `delimiter` and `}`, outside of quotes and braces.
pub(super) fn closing(bytes: &[u8], from: usize, delimiter: u8) -> Option<usize> {
    let (mut quote, mut depth, mut at) = (None, 0_usize, from);
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, _) if depth == 0 && byte == delimiter && bytes.get(at + 1) == Some(&b'}') => {
                return Some(at + 2);
            }
            (None, b'{') => depth += 1,
            (None, b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Refuses what dbt would do and the embedded runner would silently not.
pub(super) fn refuse_banned(file: &str, text: &str, tags: &[Tag<'_>]) -> Result<()> {
    if let Some(offset) = text.find(['\u{1}', '\u{2}']) {
        return Err(fault(
            file,
            1 + text[..offset].matches('\n').count(),
            "control characters are not allowed",
        ));
    }
    for tag in tags.iter().filter(|tag| !tag.text.starts_with("{#")) {
        let words = tag.words();
        let banned = [
            ("run_query", tag.text.contains("run_query")),
            ("call statement", words.starts_with("call statement")),
            ("do return", words.starts_with("do return")),
            ("raw", words == "raw"),
        ];
        if let Some((name, _)) = banned.iter().find(|(_, present)| *present) {
            return Err(fault(
                file,
                tag.line,
                format!("`{name}` has no effect in the embedded runner; remove it"),
            ));
        }
    }
    Ok(())
}
