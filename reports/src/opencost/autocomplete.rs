//! What a field has in a window: proposals for who types a filter (`core/pkg/autocomplete` of OpenCost).

use std::collections::BTreeSet;

use duckdb::Connection;
use serde::Serialize;

use super::assets::identities;
use super::field::{Field, Needs, Subject};
use super::groups::of_nobody;
use super::item::{Item, sanitised};
use super::question::FieldQuestion;
use super::read::{Machine, Reader};
use super::window::Window;
use crate::display::short;
use crate::http::problem::Problem;
use crate::http::work::Over;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Field(Field),
    /// Names of labels.
    Keys(Field),
    /// Values of a label.
    Values(Field, String),
}

/// Fields of allocations; of a map the names, and with `label:x` the values.
pub(super) const OF_ALLOCATIONS: &[(&str, Field)] = &[
    ("cluster", Field::Cluster),
    ("node", Field::Node),
    ("namespace", Field::Namespace),
    ("controllerkind", Field::ControllerKind),
    ("controllername", Field::Controller),
    ("pod", Field::Pod),
    ("container", Field::Container),
    ("service", Field::Service),
    ("team", Field::Team),
    ("pipeline", Field::Pipeline),
    ("run", Field::Run),
    ("department", Field::Department),
    ("environment", Field::Environment),
    ("owner", Field::Owner),
    ("product", Field::Product),
    ("account", Field::Account),
    ("label", Field::Label),
    ("annotation", Field::Annotation),
    ("namespacelabel", Field::NamespaceLabel),
];

/// Fields of assets.
pub(super) const OF_ASSETS: &[(&str, Field)] = &[
    ("name", Field::Name),
    ("type", Field::AssetType),
    ("category", Field::Category),
    ("cluster", Field::Cluster),
    ("provider", Field::Provider),
    ("providerid", Field::ProviderId),
    ("service", Field::Service),
    ("account", Field::Account),
    ("project", Field::Project),
    ("label", Field::Label),
];

impl Wanted {
    /// Reads `field`, whatever its case.
    ///
    /// # Errors
    /// A [`Problem`] that names the fields that there are.
    pub fn parse(text: &str, fields: &[(&str, Field)]) -> Result<Self, Problem> {
        let (name, key) = match text.split_once(':') {
            Some((name, key)) => (name, Some(key.trim())),
            None => (text, None),
        };
        let name = name.trim().to_ascii_lowercase();
        let found = fields.iter().find(|(known, _)| *known == name);
        match (found.map(|(_, field)| *field), key) {
            (Some(field), Some(key)) if field.is_map() && !key.is_empty() => {
                Ok(Self::Values(field, sanitised(key)))
            }
            (Some(field), None) if field.is_map() => Ok(Self::Keys(field)),
            (Some(field), None) => Ok(Self::Field(field)),
            _ => {
                let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                Err(Problem::bad(format!(
                    "`field`: `{}` is none of {}, and of labels `label:name`",
                    short(text),
                    known.join(", ")
                )))
            }
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Field(field) | Self::Keys(field) | Self::Values(field, _) => field.needs(),
        }
    }
}

/// Values in the shape that OpenCost's pages expect.
#[derive(Debug, Serialize)]
pub(super) struct Proposals {
    pub data: Vec<String>,
}

/// Gathers what is proposed.
struct Gathering<'a> {
    question: &'a FieldQuestion,
    found: BTreeSet<String>,
}

impl<'a> Gathering<'a> {
    fn of(question: &'a FieldQuestion) -> Self {
        Self {
            question,
            found: BTreeSet::new(),
        }
    }

    fn offer(&mut self, subject: &impl Subject) {
        if !self.question.filter.lets_through(subject) {
            return;
        }
        match &self.question.wanted {
            Wanted::Field(field) => self.note(subject.text(*field)),
            Wanted::Keys(field) => {
                for key in subject.map(*field).keys() {
                    self.note(key);
                }
            }
            Wanted::Values(field, key) => {
                if let Some(value) = subject.map(*field).get(key) {
                    self.note(value);
                }
            }
        }
    }

    fn note(&mut self, value: &str) {
        let is_meant = !value.is_empty()
            && !self.found.contains(value)
            && value.to_lowercase().contains(&self.question.search);
        if is_meant {
            self.found.insert(value.to_owned());
        }
    }

    fn proposals(self) -> Proposals {
        Proposals {
            data: self.found.into_iter().take(self.question.limit).collect(),
        }
    }
}

/// What fields of allocations have: of pods, containers, nodes, and volumes and load balancers of no pod.
///
/// # Errors
/// A [`Problem`] where a query fails.
pub(super) fn of_allocations(
    question: &FieldQuestion,
    connection: &Connection,
    over: &Over,
) -> Result<Proposals, Problem> {
    let reader = Reader::whole(question.window, connection, over);
    let things = reader.things(question.wanted.needs().and(question.filter.needs()))?;
    let is_there = |start_ms, end_ms| question.window.overlap(Window { start_ms, end_ms }).is_some();
    let mut gathering = Gathering::of(question);
    let on = |item: &mut Item, machine: &Machine| {
        item.node.clone_from(&machine.node);
        item.provider_id.clone_from(&machine.provider_id);
    };
    for ((cluster, _), machine) in &things.machines {
        if is_there(machine.start_ms, machine.end_ms) {
            let mut item = Item {
                cluster: cluster.clone(),
                ..Item::default()
            };
            on(&mut item, machine);
            gathering.offer(&item);
        }
    }
    for pod in things.pods.values() {
        if !is_there(pod.start_ms, pod.end_ms) {
            continue;
        }
        let mut item = pod.item.clone();
        if let Some(machine) = things.machines.get(&(item.cluster.clone(), pod.machine.clone())) {
            on(&mut item, machine);
        }
        if pod.containers.is_empty() {
            gathering.offer(&item);
        }
        for container in &pod.containers {
            item.container.clone_from(&container.name);
            gathering.offer(&item);
        }
    }
    reader.service_rows(|row| {
        if row.pod_uid.is_none() {
            let service = things.services.get(&(row.cluster.clone(), row.id.clone()));
            let named = service.map_or(row.id.as_str(), |service| &service.name);
            gathering.offer(&of_nobody(&row, named));
        }
        Ok(())
    })?;
    Ok(gathering.proposals())
}

/// What fields of assets have.
///
/// # Errors
/// A [`Problem`] where a query fails.
pub(super) fn of_assets(
    question: &FieldQuestion,
    connection: &Connection,
    over: &Over,
) -> Result<Proposals, Problem> {
    let reader = Reader::whole(question.window, connection, over);
    let mut gathering = Gathering::of(question);
    for identity in identities(&reader, question.window)? {
        gathering.offer(&identity);
    }
    Ok(gathering.proposals())
}
