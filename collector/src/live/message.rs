//! What watches tell the intake.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::resources::Resource;
use crate::object::Object;
use crate::occupancy::Sight;
use crate::usage::fold::{Key, Sample};
use crate::usage::pod_metrics::Average;
use crate::usage::resource_metrics::Named;
use crate::words::Word;

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A list shows it.
    Listed,
    /// It is new or changed.
    Applied,
    /// This was its last state.
    Deleted,
}

/// What a watch tells.
#[derive(Debug)]
pub struct Message {
    pub resource: Arc<Resource>,
    pub told: Told,
}

/// What is told of a resource.
#[derive(Debug)]
pub enum Told {
    /// A list begins: what it does not show is gone.
    Listing,
    /// An object.
    Object {
        object: Box<Object>,
        change: Change,
        seen: Sight,
        version: String,
        /// Until when all is told.
        through: Timestamp,
    },
    /// A list shows an object that cannot be read: it is there, and that is all that is learnt of it.
    Unread { uid: String, name: String },
    /// The list is complete.
    Listed {
        version: String,
        at: Timestamp,
        blind: Option<Blind>,
    },
    /// Nothing else happened until then: a bookmark, or an object that could not be read.
    Reached { version: String, through: Timestamp },
    /// Containers were measured.
    Samples(Samples),
}

/// What was measured of containers.
#[derive(Debug)]
pub enum Samples {
    /// By a kubelet.
    Kubelet(Vec<(Key, Sample)>),
    /// By the kubelet of a node, which names pods and not their UIDs.
    KubeletByName { node: String, named: Vec<Named> },
    /// By whoever answers for the metrics API.
    MetricsApi(Vec<Average>),
}

/// A time of which no watch tells.
#[derive(Debug)]
pub struct Blind {
    pub since: Timestamp,
    /// `restart`, `expired` or `outage`.
    pub reason: Word,
    /// What there is to learn of it afterwards.
    pub evidence: Evidence,
}

/// Objects that tell what happened while nobody watched.
#[derive(Debug, Default)]
pub struct Evidence {
    pub events: Vec<Event>,
    pub jobs: Vec<Object>,
}
