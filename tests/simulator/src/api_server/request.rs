//! What a request asks for: path, query and accepted forms.

use axum::extract::Query;
use http::{HeaderMap, Uri, header};

use super::failure::Failure;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Health, version, discovery.
    Path(Vec<String>),
    Resource(Asked),
}

/// Objects that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    pub(super) fn of(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decoded)
            .collect();
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match names.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Self::Path(segments),
        };
        let (namespace, plural, name, subresource) = match rest {
            ["namespaces", name] => (Some(*name), "namespaces", Some(*name), None),
            ["namespaces", name, subresource @ ("status" | "finalize")] => {
                (Some(*name), "namespaces", Some(*name), Some(*subresource))
            }
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name), None),
            ["namespaces", namespace, plural, name, subresource] => {
                (Some(*namespace), *plural, Some(*name), Some(*subresource))
            }
            [plural] => (None, *plural, None, None),
            [plural, name] => (None, *plural, Some(*name), None),
            [plural, name, subresource] => (None, *plural, Some(*name), Some(*subresource)),
            _ => return Self::Path(segments),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self::Resource(Asked {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: owned(namespace),
            name: owned(name),
            subresource: owned(subresource),
        })
    }
}

/// A segment of a path without its percent signs.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = tail
            .get(if escaped.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What stands behind the question mark.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Result<Self, Failure> {
        Query::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| Failure::bad_request(format!("cannot read the query: {error}")))
    }

    /// A parameter, or an empty text.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!(
                    "{name}: Invalid value: \"{text}\": must be a whole number"
                ))
            }),
        }
    }
}

/// The form in which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    MetadataOnly,
    Table,
    /// Groups with all their resources at once.
    Discovery,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
            return Ok(Self::Whole);
        };
        accept
            .split(',')
            .find_map(form)
            .ok_or_else(Failure::not_acceptable)
    }
}

fn form(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
        return None;
    }
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| *value)
    };
    match (parameter("as"), parameter("g"), parameter("v")) {
        ("", ..) => Some(Form::Whole),
        ("Table", "meta.k8s.io", "v1") => Some(Form::Table),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
            Some(Form::MetadataOnly)
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Form::Discovery),
        _ => None,
    }
}
