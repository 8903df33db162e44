//! A version of an object, serialised once for all who read it.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Value, json};

use super::resources::Resource;

/// What an object is found by. The order is that of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Empty where objects belong to the cluster.
    pub namespace: String,
    pub name: String,
}

pub(super) fn key_of(object: &Value) -> Key {
    Key {
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
}

/// The text at a place of an object, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What an object was from one write to the next.
#[derive(Debug)]
pub(super) struct Version {
    pub key: Key,
    pub revision: u64,
    pub value: Value,
    /// The object as JSON.
    pub whole: Bytes,
    /// Where in it that begins which follows kind and apiVersion.
    rest_at: usize,
    metadata_only: OnceLock<Bytes>,
}

impl Version {
    /// `is_malformed`: readers find a number where a map should be.
    pub(super) fn new(resource: &Resource, mut value: Value, revision: u64, is_malformed: bool) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
            if !resource.is_namespaced {
                metadata.remove("namespace");
            }
        }
        let key = key_of(&value);
        let mut shown = match &mut value {
            Value::Object(fields) => {
                fields.remove("kind");
                fields.remove("apiVersion");
                std::mem::take(fields)
            }
            _ => serde_json::Map::new(),
        };
        let labels = is_malformed.then(|| {
            let metadata = shown.get_mut("metadata").and_then(Value::as_object_mut);
            metadata.and_then(|metadata| metadata.insert("labels".to_owned(), 7.into()))
        });
        let head = head(&resource.kind, &resource.api_version());
        let shown = Value::Object(shown);
        let mut whole = head.clone().into_bytes();
        let tail = shown.to_string();
        whole.extend_from_slice(tail.get(1..).unwrap_or("}").as_bytes());
        let mut value = shown;
        if let (Some(labels), Some(metadata)) =
            (labels, value.get_mut("metadata").and_then(Value::as_object_mut))
        {
            match labels {
                Some(labels) => metadata.insert("labels".to_owned(), labels),
                None => metadata.remove("labels"),
            };
        }
        if let Value::Object(fields) = &mut value {
            fields.insert("kind".to_owned(), resource.kind.clone().into());
            fields.insert("apiVersion".to_owned(), resource.api_version().into());
        }
        Self {
            key,
            revision,
            value,
            whole: whole.into(),
            rest_at: head.len(),
            metadata_only: OnceLock::new(),
        }
    }

    pub(super) fn uid(&self) -> &str {
        text(&self.value, "/metadata/uid")
    }

    /// The object without its opening brace, kind and apiVersion.
    pub(super) fn rest(&self) -> &[u8] {
        self.whole.get(self.rest_at..).unwrap_or_default()
    }

    /// The object as clients see it that ask for metadata only.
    pub(super) fn metadata_only(&self) -> &Bytes {
        self.metadata_only.get_or_init(|| {
            json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": self.value.get("metadata"),
            })
            .to_string()
            .into()
        })
    }
}

/// How an object begins. Something always follows: metadata.
fn head(kind: &str, api_version: &str) -> String {
    format!(
        "{{\"kind\":{},\"apiVersion\":{},",
        Value::from(kind),
        Value::from(api_version)
    )
}
