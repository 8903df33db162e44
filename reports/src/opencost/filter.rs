//! Filters: the language of `filter` (`core/pkg/filter/ast` of OpenCost), and the lists of its first version (`filterNamespaces` and the like).
//!
//! ```text
//! filter     = element, { "+", element } | element, { "|", element }      within one scope only one of the two
//! element    = comparison | "(", filter, ")"
//! comparison = field, [ "[", key, "]" ], operator, string, { ",", string }
//! operator   = ":" | "!:" | "~:" | "!~:" | "<~:" | "!<~:" | "~>:" | "!~>:"
//! ```

use std::iter::Peekable;
use std::str::CharIndices;

use super::field::{Field, Needs, Subject, Vocabulary};
use super::item::{UNALLOCATED, sanitised};

/// Scopes within each other, at most.
const DEEPEST: usize = 16;

/// Comparisons of a filter, at most.
const MOST: usize = 1_000;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    #[error("expected {wanted} at position {at}")]
    Expected { wanted: &'static str, at: usize },
    #[error("there is no field `{field}` at position {at}; there are {known}")]
    Field { field: String, at: usize, known: String },
    #[error("`{field}` has no keys: leave `[...]` away, at position {at}")]
    Key { field: String, at: usize },
    #[error("`+` and `|` stand beside each other at position {at}: put one of them into parentheses")]
    Mixed { at: usize },
    #[error("the parentheses are deeper than {DEEPEST}")]
    Deep,
    #[error("there are more than {MOST} comparisons")]
    Long,
    #[error("`{text}` has no `:` between a label and its value")]
    Pair { text: String },
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum How {
    Equals,
    Contains,
    Begins,
    Ends,
}

impl How {
    fn holds(self, text: &str, value: &str) -> bool {
        match self {
            Self::Equals => text == value,
            Self::Contains => text.contains(value),
            Self::Begins => text.starts_with(value),
            Self::Ends => text.ends_with(value),
        }
    }
}

/// A condition on an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Is {
        field: Field,
        /// Of a map: the value of this key; without it keys are compared.
        key: Option<String>,
        how: How,
        value: String,
    },
}

impl Filter {
    /// Reads the filter language; nothing is a filter that lets all through.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, FilterError> {
        let mut parser = Parser {
            vocabulary,
            letters: text.char_indices().peekable(),
            text,
            comparisons: 0,
        };
        parser.skip_spaces();
        if parser.letters.peek().is_none() {
            return Ok(Self::All(Vec::new()));
        }
        let filter = parser.filter(0)?;
        match parser.letters.peek() {
            None => Ok(filter),
            Some(_) => Err(parser.expected("the end, `+` or `|`")),
        }
    }

    pub fn lets_through(&self, item: &impl Subject) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.lets_through(item)),
            Self::Any(filters) => filters.iter().any(|filter| filter.lets_through(item)),
            Self::Not(filter) => !filter.lets_through(item),
            Self::Is {
                field,
                key,
                how,
                value,
            } => match (field.is_map(), key) {
                (true, Some(key)) => {
                    let found = item.map(*field).get(key);
                    // A label that is not there equals nothing but the lack of it.
                    if *how == How::Equals && value == UNALLOCATED {
                        found.is_none_or(String::is_empty)
                    } else {
                        found.is_some_and(|found| how.holds(found, value))
                    }
                }
                (true, None) => item.map(*field).keys().any(|found| how.holds(found, value)),
                (false, _) => {
                    let found = item.text(*field);
                    if *how == How::Equals && value == UNALLOCATED {
                        found.is_empty() || found == UNALLOCATED
                    } else {
                        how.holds(found, value)
                    }
                }
            },
        }
    }

    /// What has to be known of pods to tell.
    pub fn needs(&self) -> Needs {
        match self {
            Self::All(filters) | Self::Any(filters) => filters
                .iter()
                .fold(Needs::default(), |needs, filter| needs.and(filter.needs())),
            Self::Not(filter) => filter.needs(),
            Self::Is { field, .. } => field.needs(),
        }
    }
}

struct Parser<'a> {
    vocabulary: &'a Vocabulary,
    letters: Peekable<CharIndices<'a>>,
    text: &'a str,
    comparisons: usize,
}

impl Parser<'_> {
    fn at(&mut self) -> usize {
        self.letters.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn expected(&mut self, wanted: &'static str) -> FilterError {
        FilterError::Expected {
            wanted,
            at: self.at(),
        }
    }

    fn skip_spaces(&mut self) {
        while self
            .letters
            .next_if(|(_, letter)| matches!(letter, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.letters.next_if(|(_, letter)| *letter == wanted).is_some()
    }

    fn peeks(&mut self) -> Option<char> {
        self.letters.peek().map(|(_, letter)| *letter)
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > DEEPEST {
            return Err(FilterError::Deep);
        }
        let first = self.element(depth)?;
        let Some(operator @ ('+' | '|')) = self.peeks() else {
            return Ok(first);
        };
        let mut all = vec![first];
        while self.takes(operator) {
            self.skip_spaces();
            all.push(self.element(depth)?);
        }
        if matches!(self.peeks(), Some('+' | '|')) {
            return Err(FilterError::Mixed { at: self.at() });
        }
        Ok(if operator == '+' {
            Filter::All(all)
        } else {
            Filter::Any(all)
        })
    }

    fn element(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let element = if self.takes('(') {
            self.skip_spaces();
            let inner = self.filter(depth + 1)?;
            if !self.takes(')') {
                return Err(self.expected("`)`, `+` or `|`"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.skip_spaces();
        Ok(element)
    }

    fn comparison(&mut self) -> Result<Filter, FilterError> {
        self.comparisons += 1;
        if self.comparisons > MOST {
            return Err(FilterError::Long);
        }
        let at = self.at();
        let mut name = String::new();
        while let Some((_, letter)) = self
            .letters
            .next_if(|(_, letter)| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
        {
            name.push(letter);
        }
        if name.is_empty() {
            return Err(self.expected("a field or `(`"));
        }
        let field = self.vocabulary.field(&name).ok_or_else(|| FilterError::Field {
            field: crate::display::short(&name),
            at,
            known: self.vocabulary.names(),
        })?;
        self.skip_spaces();
        let key = if self.peeks() == Some('[') {
            let key = self.until('[', ']', "`]`")?;
            if !field.is_map() {
                return Err(FilterError::Key { field: name, at });
            }
            Some(sanitised(&key))
        } else {
            None
        };
        self.skip_spaces();
        let (is_not, how) = self.operator()?;
        let mut alternatives = Vec::new();
        loop {
            self.skip_spaces();
            let value = self.until('"', '"', "`\"`")?;
            let is_of_keys = field.is_map() && key.is_none();
            alternatives.push(Filter::Is {
                field,
                key: key.clone(),
                // Keys of a map are equal or not: it contains them.
                how: if is_of_keys && how == How::Contains {
                    How::Equals
                } else {
                    how
                },
                value: if is_of_keys {
                    sanitised(&value)
                } else {
                    field.value(value)
                },
            });
            self.skip_spaces();
            if !self.takes(',') {
                break;
            }
        }
        let any = match alternatives.len() {
            1 => alternatives.remove(0),
            _ => Filter::Any(alternatives),
        };
        Ok(if is_not { Filter::Not(Box::new(any)) } else { any })
    }

    fn operator(&mut self) -> Result<(bool, How), FilterError> {
        let is_not = self.takes('!');
        let begins = self.takes('<');
        let contains = self.takes('~');
        let ends = contains && !begins && self.takes('>');
        if (begins && !contains) || !self.takes(':') {
            return Err(self.expected("an operator: `:`, `!:`, `~:`, `!~:`, `<~:`, `!<~:`, `~>:` or `!~>:`"));
        }
        let how = match (begins, ends, contains) {
            (true, ..) => How::Begins,
            (_, true, _) => How::Ends,
            (_, _, true) => How::Contains,
            _ => How::Equals,
        };
        Ok((is_not, how))
    }

    /// What stands between two letters.
    fn until(&mut self, from: char, to: char, wanted: &'static str) -> Result<String, FilterError> {
        if !self.takes(from) {
            return Err(self.expected("a value in double quotes"));
        }
        let mut text = String::new();
        loop {
            match self.letters.next() {
                Some((_, letter)) if letter == to => return Ok(text),
                Some((_, letter)) => text.push(letter),
                None => return Err(self.expected(wanted)),
            }
        }
    }
}

/// Reads a list of the first version: any of its values does, a `*` at the end stands for the rest of a name, labels are `name:value`,
/// and a controller may be `kind:name`.
pub(super) fn list(field: Field, text: &str) -> Result<Filter, FilterError> {
    let is = |field: Field, key, text: &str| match text.strip_suffix('*') {
        Some(start) => Filter::Is {
            field,
            key,
            how: How::Begins,
            value: field.value(start.to_owned()),
        },
        None => Filter::Is {
            field,
            key,
            how: How::Equals,
            value: field.value(text.to_owned()),
        },
    };
    let mut any = Vec::new();
    for value in text.split(',').map(str::trim).filter(|value| !value.is_empty()) {
        if any.len() == MOST {
            return Err(FilterError::Long);
        }
        any.push(match (field, value.split_once(':')) {
            (Field::Label | Field::Annotation, Some((key, value))) => {
                is(field, Some(sanitised(key.trim())), value.trim())
            }
            (Field::Label | Field::Annotation, None) => {
                return Err(FilterError::Pair {
                    text: crate::display::short(value),
                });
            }
            (Field::Controller, Some((kind, name))) => Filter::All(vec![
                is(Field::ControllerKind, None, kind),
                is(Field::Controller, None, name),
            ]),
            _ => is(field, None, value),
        });
    }
    if any.is_empty() {
        return Ok(Filter::All(Vec::new()));
    }
    Ok(Filter::Any(any))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
