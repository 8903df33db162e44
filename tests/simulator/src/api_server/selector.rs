//! Which objects a request is about: `labelSelector` and `fieldSelector`.

use serde_json::Value;

use super::resources::Resource;
use super::version::Version;

/// What must hold of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    IsMissing(String),
}

/// What must hold of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    pointer: String,
    value: String,
    is_equal: bool,
}

/// What must hold of an object. The default holds of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    /// Empty: all.
    namespace: String,
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

impl Selector {
    pub(super) fn new(
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, String> {
        Ok(Self {
            namespace: namespace.unwrap_or_default().to_owned(),
            labels: requirements(labels)?,
            fields: self::fields(resource, fields)?,
        })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it is narrower than a namespace.
    pub(super) fn is_narrow(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    pub(super) fn matches(&self, version: &Version) -> bool {
        (self.namespace.is_empty() || self.namespace == version.key.namespace)
            && self
                .labels
                .iter()
                .all(|requirement| requirement.holds(version.value()))
            && self.fields.iter().all(|field| match field.pointer.as_str() {
                // Known without a look into the object.
                "/metadata/name" => (field.value == version.key.name) == field.is_equal,
                _ => field.holds(version.value()),
            })
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        match self {
            Self::In(key, values) => {
                label(key).is_some_and(|label| values.iter().any(|value| value == label))
            }
            // What has no such label is not in the set.
            Self::NotIn(key, values) => {
                label(key).is_none_or(|label| values.iter().all(|value| value != label))
            }
            Self::Exists(key) => label(key).is_some(),
            Self::IsMissing(key) => label(key).is_none(),
        }
    }
}

impl Field {
    fn holds(&self, object: &Value) -> bool {
        let is_equal = match object.pointer(&self.pointer) {
            Some(Value::String(text)) => *text == self.value,
            Some(Value::Bool(_) | Value::Number(_)) => {
                object.pointer(&self.pointer).map(Value::to_string).as_deref() == Some(&self.value)
            }
            _ => self.value.is_empty() || self.value == "false" && self.pointer == "/spec/unschedulable",
        };
        is_equal == self.is_equal
    }
}

/// Cuts at commas that are not within parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    parts(text).into_iter().map(requirement).collect()
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let bad = || format!("unable to parse requirement: {part}");
    let key = |key: &str| {
        let key = key.trim().to_owned();
        let is_name = !key.is_empty()
            && !key.contains(|letter: char| letter.is_whitespace() || "(),!=".contains(letter));
        if is_name { Ok(key) } else { Err(bad()) }
    };
    if let Some(name) = part.strip_prefix('!') {
        return Ok(Requirement::IsMissing(key(name)?));
    }
    if let Some((before, set)) = part.split_once('(') {
        let set = set.strip_suffix(')').ok_or_else(bad)?;
        let values = set.split(',').map(|value| value.trim().to_owned()).collect();
        return match before.split_whitespace().collect::<Vec<_>>()[..] {
            [name, "in"] => Ok(Requirement::In(key(name)?, values)),
            [name, "notin"] => Ok(Requirement::NotIn(key(name)?, values)),
            _ => Err(bad()),
        };
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        return Ok(Requirement::In(key(name)?, vec![value.to_owned()]));
    }
    Ok(Requirement::Exists(key(part)?))
}

/// Fields by which Kubernetes can select, beside name and namespace (`pkg/apis/*/v1/conversion.go`).
fn is_selectable(resource: &Resource, field: &str) -> bool {
    let names: &[&str] = match resource.kind.as_str() {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "Job" => &["status.successful"],
        "ReplicaSet" => &["status.replicas"],
        _ => &[],
    };
    matches!(field, "metadata.name" | "metadata.namespace") || names.contains(&field)
}

fn fields(resource: &Resource, text: &str) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for part in parts(text) {
        let (name, value, is_equal) = match (part.split_once("!="), part.split_once('=')) {
            (Some((name, value)), _) => (name, value, false),
            (None, Some((name, value))) => (name, value.strip_prefix('=').unwrap_or(value), true),
            _ => return Err(format!("invalid selector: '{part}'; can't understand '{part}'")),
        };
        let name = name.trim();
        if !is_selectable(resource, name) {
            let (api_version, plural) = (resource.api_version(), &resource.plural);
            return Err(format!(
                "Unable to find \"{api_version}, Resource={plural}\" that match label selector \"\", field selector \
                 \"{text}\": field label not supported: {name}"
            ));
        }
        let pointer = match name {
            "source" => "/source/component".to_owned(),
            "status.successful" => "/status/succeeded".to_owned(),
            _ => format!("/{}", name.replace('.', "/")),
        };
        fields.push(Field {
            pointer,
            value: value.to_owned(),
            is_equal,
        });
    }
    Ok(fields)
}

/// The only name that a selector of fields allows, if it names one.
pub(super) fn name_selected(fields: &str) -> Option<&str> {
    parts(fields).into_iter().find_map(|part| {
        let value = part.strip_prefix("metadata.name=")?;
        Some(value.strip_prefix('=').unwrap_or(value))
    })
}
