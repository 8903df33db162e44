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

use super::item::{Item, Labels, UNALLOCATED, sanitised};

/// Scopes within each other, at most.
const DEEPEST: usize = 16;

/// Comparisons of a filter, at most.
const MOST: usize = 1_000;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    #[error("expected {wanted} at position {at}")]
    Expected { wanted: &'static str, at: usize },
    #[error("there is no field `{field}` at position {at}; there are {}", FIELDS.map(|(name, _)| name).join(", "))]
    Field { field: String, at: usize },
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

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Cluster,
    Node,
    Namespace,
    ControllerKind,
    Controller,
    Pod,
    Container,
    Service,
    Team,
    Pipeline,
    Run,
    Department,
    Environment,
    Owner,
    Product,
    Label,
    Annotation,
    NamespaceLabel,
}

/// Names of fields in a filter.
const FIELDS: [(&str, Field); 18] = [
    ("cluster", Field::Cluster),
    ("node", Field::Node),
    ("namespace", Field::Namespace),
    ("controllerKind", Field::ControllerKind),
    ("controllerName", Field::Controller),
    ("pod", Field::Pod),
    ("container", Field::Container),
    ("services", Field::Service),
    ("team", Field::Team),
    ("pipeline", Field::Pipeline),
    ("run", Field::Run),
    ("department", Field::Department),
    ("environment", Field::Environment),
    ("owner", Field::Owner),
    ("product", Field::Product),
    ("label", Field::Label),
    ("annotation", Field::Annotation),
    ("namespaceLabel", Field::NamespaceLabel),
];

impl Field {
    fn is_map(self) -> bool {
        matches!(self, Self::Label | Self::Annotation | Self::NamespaceLabel)
    }

    /// What an item has of it; empty where nothing is known.
    pub fn of(self, item: &Item) -> &str {
        let label = |key: &str| item.labels.get(key).map_or("", String::as_str);
        match self {
            Self::Cluster => &item.cluster,
            Self::Node => &item.node,
            Self::Namespace => &item.namespace,
            Self::ControllerKind => &item.controller_kind,
            Self::Controller => &item.controller,
            Self::Pod => &item.pod,
            Self::Container => &item.container,
            Self::Service => &item.service,
            Self::Team => &item.team,
            Self::Pipeline => &item.pipeline,
            Self::Run => &item.run,
            // The labels that OpenCost takes for these unless it is configured otherwise.
            Self::Department => label("department"),
            Self::Environment => label("env"),
            Self::Owner => label("owner"),
            Self::Product => label("app"),
            Self::Label | Self::Annotation | Self::NamespaceLabel => "",
        }
    }

    fn map_of(self, item: &Item) -> &Labels {
        match self {
            Self::Annotation => &item.annotations,
            Self::NamespaceLabel => &item.namespace_labels,
            _ => &item.labels,
        }
    }

    fn needs(self) -> Needs {
        match self {
            Self::ControllerKind
            | Self::Controller
            | Self::Department
            | Self::Environment
            | Self::Owner
            | Self::Product
            | Self::Label
            | Self::Annotation
            | Self::NamespaceLabel => Needs {
                descriptions: true,
                containers: false,
            },
            Self::Container => Needs {
                descriptions: false,
                containers: true,
            },
            _ => Needs::default(),
        }
    }
}

/// What has to be read of pods beside their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub descriptions: bool,
    pub containers: bool,
}

impl Needs {
    pub fn and(self, other: Self) -> Self {
        Self {
            descriptions: self.descriptions || other.descriptions,
            containers: self.containers || other.containers,
        }
    }
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
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser {
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

    pub fn lets_through(&self, item: &Item) -> bool {
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
                    let found = field.map_of(item).get(key);
                    // A label that is not there equals nothing but the lack of it.
                    if *how == How::Equals && value == UNALLOCATED {
                        found.is_none_or(String::is_empty)
                    } else {
                        found.is_some_and(|found| how.holds(found, value))
                    }
                }
                (true, None) => field.map_of(item).keys().any(|found| how.holds(found, value)),
                (false, _) => {
                    let found = field.of(item);
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
        let field = FIELDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, field)| *field)
            .ok_or_else(|| FilterError::Field {
                field: crate::display::short(&name),
                at,
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
                value: if is_of_keys { sanitised(&value) } else { value },
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

/// Parameters of the first version.
pub(super) const LISTS: [(&str, Field); 17] = [
    ("filterClusters", Field::Cluster),
    ("filterNodes", Field::Node),
    ("filterNamespaces", Field::Namespace),
    ("filterControllerKinds", Field::ControllerKind),
    ("filterControllers", Field::Controller),
    ("filterPods", Field::Pod),
    ("filterContainers", Field::Container),
    ("filterServices", Field::Service),
    ("filterTeams", Field::Team),
    ("filterPipelines", Field::Pipeline),
    ("filterRuns", Field::Run),
    ("filterDepartments", Field::Department),
    ("filterEnvironments", Field::Environment),
    ("filterOwners", Field::Owner),
    ("filterProducts", Field::Product),
    ("filterLabels", Field::Label),
    ("filterAnnotations", Field::Annotation),
];

/// Reads a list of the first version: any of its values does, a `*` at the end stands for the rest of a name, labels are `name:value`,
/// and a controller may be `kind:name`.
pub(super) fn list(field: Field, text: &str) -> Result<Filter, FilterError> {
    let is = |field, key, text: &str| match text.strip_suffix('*') {
        Some(start) => Filter::Is {
            field,
            key,
            how: How::Begins,
            value: start.to_owned(),
        },
        None => Filter::Is {
            field,
            key,
            how: How::Equals,
            value: text.to_owned(),
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
