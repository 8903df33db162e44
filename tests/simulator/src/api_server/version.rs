//! A version of an object, serialised once for all who read it.

use std::sync::OnceLock;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::resources::Resource;
use crate::world::Object;

/// What an object is found by. The order is that of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Empty where objects belong to the cluster.
    pub namespace: String,
    pub name: String,
}

/// The text at a place of an object, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Objects are seldom larger.
const USUAL_BYTES: usize = 4096;

/// What an object says it is.
pub(super) struct Identity<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
}

impl Identity<'_> {
    pub(super) fn of(object: &Object) -> Identity<'_> {
        match object {
            Object::Pod(pod) => typed("Pod", &pod.metadata),
            Object::Node(node) => typed("Node", &node.metadata),
            Object::Namespace(namespace) => typed("Namespace", &namespace.metadata),
            Object::Event(event) => typed("Event", &event.metadata),
            Object::Other(value) => Identity {
                api_version: text(value, "/apiVersion"),
                kind: text(value, "/kind"),
                namespace: text(value, "/metadata/namespace"),
                name: text(value, "/metadata/name"),
                uid: text(value, "/metadata/uid"),
            },
        }
    }

    pub(super) fn key(&self) -> Key {
        Key {
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
        }
    }
}

/// An object of the first version of the core group.
fn typed<'a>(kind: &'a str, metadata: &'a ObjectMeta) -> Identity<'a> {
    Identity {
        api_version: "v1",
        kind,
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
        uid: metadata.uid.as_deref().unwrap_or_default(),
    }
}

/// What an object was from one write to the next.
#[derive(Debug)]
pub(super) struct Version {
    pub key: Key,
    pub uid: String,
    pub revision: u64,
    /// The object as JSON.
    pub whole: Bytes,
    /// Where in it that begins which follows apiVersion and kind.
    rest_at: usize,
    value: OnceLock<Value>,
    metadata_only: OnceLock<Bytes>,
}

impl Version {
    pub(super) fn new(resource: &Resource, mut object: Object, revision: u64) -> Self {
        let version = Some(revision.to_string());
        match &mut object {
            Object::Pod(pod) => pod.metadata.resource_version = version,
            Object::Node(node) => node.metadata.resource_version = version,
            Object::Namespace(namespace) => namespace.metadata.resource_version = version,
            Object::Event(event) => event.metadata.resource_version = version,
            Object::Other(value) => return Self::of_value(resource, std::mem::take(value), revision),
        }
        let mut whole = Vec::with_capacity(USUAL_BYTES);
        let is_written = serde_json::to_writer(&mut whole, &object).is_ok();
        let head = head(resource);
        if !is_written || !whole.starts_with(head.as_bytes()) {
            let value = serde_json::to_value(&object).unwrap_or_default();
            return Self::of_value(resource, value, revision);
        }
        let identity = Identity::of(&object);
        Self {
            key: identity.key(),
            uid: identity.uid.to_owned(),
            revision,
            whole: Bytes::copy_from_slice(&whole),
            rest_at: head.len(),
            value: OnceLock::new(),
            metadata_only: OnceLock::new(),
        }
    }

    pub(super) fn of_value(resource: &Resource, mut value: Value, revision: u64) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
            if !resource.is_namespaced {
                metadata.remove("namespace");
            }
        }
        if let Value::Object(fields) = &mut value {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        let head = head(resource);
        let rest = value.to_string();
        let mut whole = Vec::with_capacity(head.len() + rest.len());
        whole.extend_from_slice(head.as_bytes());
        whole.extend_from_slice(rest.get(1..).unwrap_or("}").as_bytes());
        Self {
            key: Key {
                namespace: text(&value, "/metadata/namespace").to_owned(),
                name: text(&value, "/metadata/name").to_owned(),
            },
            uid: text(&value, "/metadata/uid").to_owned(),
            revision,
            whole: whole.into(),
            rest_at: head.len(),
            value: OnceLock::new(),
            metadata_only: OnceLock::new(),
        }
    }

    /// The same under another version.
    pub(super) fn renumbered(&self, resource: &Resource, revision: u64) -> Self {
        // The version stands once in what was written: put in another without a look at the rest.
        let (old, new) = (self.revision.to_string(), revision.to_string());
        let (from, to) = (
            format!("\"resourceVersion\":\"{old}\""),
            format!("\"resourceVersion\":\"{new}\""),
        );
        let Some(whole) = std::str::from_utf8(&self.whole)
            .ok()
            .filter(|whole| whole.matches(&from).count() == 1)
            .map(|whole| whole.replacen(&from, &to, 1))
        else {
            return Self::of_value(resource, self.value().clone(), revision);
        };
        Self {
            key: self.key.clone(),
            uid: self.uid.clone(),
            revision,
            whole: whole.into(),
            rest_at: self.rest_at,
            value: OnceLock::new(),
            metadata_only: OnceLock::new(),
        }
    }

    /// The same for the server, but readers find a number where labels should be.
    pub(super) fn malformed(self, resource: &Resource) -> Self {
        let value = self.value().clone();
        let mut shown = value.clone();
        shown["metadata"]["labels"] = 7.into();
        Self {
            value: OnceLock::from(value),
            ..Self::of_value(resource, shown, self.revision)
        }
    }

    /// The object. Most versions are never looked into, so it is made when it is asked for.
    pub(super) fn value(&self) -> &Value {
        self.value
            .get_or_init(|| serde_json::from_slice(&self.whole).unwrap_or_default())
    }

    /// The object without its opening brace, apiVersion and kind.
    pub(super) fn rest(&self) -> &[u8] {
        self.whole.get(self.rest_at..).unwrap_or_default()
    }

    /// The object as clients see it that ask for metadata only.
    pub(super) fn metadata_only(&self) -> &Bytes {
        self.metadata_only.get_or_init(|| {
            json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": self.value().get("metadata"),
            })
            .to_string()
            .into()
        })
    }
}

/// How an object begins. Something always follows: metadata.
fn head(resource: &Resource) -> String {
    format!(
        "{{\"apiVersion\":\"{}\",\"kind\":\"{}\",",
        resource.api_version(),
        resource.kind
    )
}
