//! Kubernetes objects as the index takes them.

use k8s_openapi::api::core::v1::{
    Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// An object of a kind that the index has no type for: metadata, and spec and status as they are.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Other {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub spec: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub status: Value,
}

/// A kind that the index treats in a way of its own; `Owner` is any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    Node,
    NodeClaim,
    Namespace,
    PersistentVolume,
    PersistentVolumeClaim,
    Service,
    Event,
    Owner,
}

impl Kind {
    /// How the index treats a Kubernetes kind.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        match kind {
            "Pod" => Self::Pod,
            "Node" => Self::Node,
            "NodeClaim" => Self::NodeClaim,
            "Namespace" => Self::Namespace,
            "PersistentVolume" => Self::PersistentVolume,
            "PersistentVolumeClaim" => Self::PersistentVolumeClaim,
            "Service" => Self::Service,
            "Event" => Self::Event,
            _ => Self::Owner,
        }
    }
}

/// A Kubernetes object.
#[derive(Debug, Clone)]
pub enum Object {
    Pod(Box<Pod>),
    Node(Box<Node>),
    NodeClaim(Box<Other>),
    Namespace(Box<Namespace>),
    PersistentVolume(Box<PersistentVolume>),
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
    Service(Box<Service>),
    Event(Box<Event>),
    Owner(Box<Other>),
}

impl Object {
    /// The object in a JSON text, read as `kind`.
    ///
    /// # Errors
    /// [`Error::Object`] where the text is no object of that kind, with what is wrong.
    pub fn from_json(kind: &str, text: &str) -> Result<Self> {
        fn read<'a, T: Deserialize<'a>>(kind: &str, text: &'a str) -> Result<Box<T>> {
            serde_json::from_str(text)
                .map(Box::new)
                .map_err(|error| Error::Object {
                    field: kind.to_owned(),
                    reason: error.to_string(),
                })
        }
        Ok(match kind {
            "Pod" => Self::Pod(read(kind, text)?),
            "Node" => Self::Node(read(kind, text)?),
            "NodeClaim" => Self::NodeClaim(read(kind, text)?),
            "Namespace" => Self::Namespace(read(kind, text)?),
            "PersistentVolume" => Self::PersistentVolume(read(kind, text)?),
            "PersistentVolumeClaim" => Self::PersistentVolumeClaim(read(kind, text)?),
            "Service" => Self::Service(read(kind, text)?),
            "Event" => Self::Event(read(kind, text)?),
            _ => {
                let mut other: Box<Other> = read(kind, text)?;
                kind.clone_into(&mut other.kind);
                Self::Owner(other)
            }
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::NodeClaim(_) => Kind::NodeClaim,
            Self::Namespace(_) => Kind::Namespace,
            Self::PersistentVolume(_) => Kind::PersistentVolume,
            Self::PersistentVolumeClaim(_) => Kind::PersistentVolumeClaim,
            Self::Service(_) => Kind::Service,
            Self::Event(_) => Kind::Event,
            Self::Owner(_) => Kind::Owner,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::NodeClaim(object) | Self::Owner(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::PersistentVolume(object) => &object.metadata,
            Self::PersistentVolumeClaim(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Event(object) => &object.metadata,
        }
    }

    /// `namespace/name`, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        let metadata = self.metadata();
        let name = metadata.name.as_deref().unwrap_or("(without a name)");
        match &metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}
