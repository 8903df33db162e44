//! By what allocations are grouped, and how groups are named.

use super::field::{Field, Needs, Subject};
use super::item::{Item, UNALLOCATED, sanitised};

/// One part of a group's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Property {
    /// A name that an item has.
    Field(Field),
    /// `kind:name`.
    Controller,
    /// The controller, if it is of this kind.
    ControllerOf(&'static str),
    Label(String),
    Annotation(String),
}

impl Property {
    /// Reads a name of `aggregate`; `None` for one that is not known, which OpenCost drops.
    fn parse(text: &str) -> Option<Self> {
        if let Some(key) = text.strip_prefix("label:") {
            return Some(Self::Label(sanitised(key.trim())));
        }
        if let Some(key) = text.strip_prefix("annotation:") {
            return Some(Self::Annotation(sanitised(key.trim())));
        }
        Some(match text.to_ascii_lowercase().as_str() {
            "cluster" => Self::Field(Field::Cluster),
            "node" => Self::Field(Field::Node),
            "namespace" => Self::Field(Field::Namespace),
            "controllerkind" => Self::Field(Field::ControllerKind),
            "controller" => Self::Controller,
            "service" => Self::Field(Field::Service),
            "pod" => Self::Field(Field::Pod),
            "container" => Self::Field(Field::Container),
            "deployment" => Self::ControllerOf("deployment"),
            "statefulset" => Self::ControllerOf("statefulset"),
            "daemonset" => Self::ControllerOf("daemonset"),
            "job" => Self::ControllerOf("job"),
            "department" => Self::Field(Field::Department),
            "environment" => Self::Field(Field::Environment),
            "owner" => Self::Field(Field::Owner),
            "product" => Self::Field(Field::Product),
            "team" => Self::Field(Field::Team),
            "pipeline" => Self::Field(Field::Pipeline),
            "run" => Self::Field(Field::Run),
            _ => return None,
        })
    }

    fn of(&self, item: &Item) -> String {
        match self {
            Self::Field(field) => item.text(*field).to_owned(),
            Self::Controller if item.controller.is_empty() || item.controller_kind.is_empty() => {
                item.controller.clone()
            }
            Self::Controller => format!("{}:{}", item.controller_kind, item.controller),
            Self::ControllerOf(kind) if item.controller_kind == *kind => item.controller.clone(),
            Self::ControllerOf(_) => String::new(),
            Self::Label(key) => item.labels.get(key).cloned().unwrap_or_default(),
            Self::Annotation(key) => item.annotations.get(key).cloned().unwrap_or_default(),
        }
    }

    fn needs(&self) -> Needs {
        Needs {
            descriptions: !matches!(
                self,
                Self::Field(
                    Field::Cluster
                        | Field::Node
                        | Field::Namespace
                        | Field::Service
                        | Field::Pod
                        | Field::Container
                        | Field::Team
                        | Field::Pipeline
                        | Field::Run
                )
            ),
            containers: *self == Self::Field(Field::Container),
        }
    }
}

/// By what allocations are grouped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Aggregate {
    properties: Vec<Property>,
    /// Whether groups are containers, as nothing else was asked for; then they have labels.
    pub is_whole: bool,
}

impl Aggregate {
    /// Reads `aggregate`: down to the container without one, all in one group for `all` and where no name is known.
    pub fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            let fields = [
                Field::Cluster,
                Field::Node,
                Field::Namespace,
                Field::Pod,
                Field::Container,
            ];
            return Self {
                properties: fields.map(Property::Field).to_vec(),
                is_whole: true,
            };
        };
        Self {
            properties: text
                .split(',')
                .filter_map(|name| Property::parse(name.trim()))
                .collect(),
            is_whole: false,
        }
    }

    /// The name of the group that an item belongs to.
    pub fn name(&self, item: &Item) -> String {
        if self.properties.is_empty() {
            return "all".to_owned();
        }
        let names = self.properties.iter().map(|property| property.of(item));
        let names: Vec<String> = names
            .map(|name| {
                if name.is_empty() {
                    UNALLOCATED.to_owned()
                } else {
                    name
                }
            })
            .collect();
        names.join("/")
    }

    pub fn needs(&self) -> Needs {
        let whole = Needs {
            descriptions: self.is_whole,
            containers: false,
        };
        self.properties
            .iter()
            .fold(whole, |needs, property| needs.and(property.needs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opencost::item::labels;

    #[test]
    fn groups_are_named_as_opencost_names_them() {
        let pod = Item {
            cluster: "one".to_owned(),
            node: "n".to_owned(),
            namespace: "ml".to_owned(),
            pod: "train-0".to_owned(),
            container: "main".to_owned(),
            controller_kind: "job".to_owned(),
            controller: "train".to_owned(),
            pipeline: "daily".to_owned(),
            run: "r1".to_owned(),
            labels: labels(Some(
                r#"{"app.kubernetes.io/name": "web", "env": "prod", "app": "shop"}"#,
            )),
            annotations: labels(Some(r#"{"note": "x"}"#)),
            ..Item::default()
        };
        let reserved = Item {
            cluster: "one".to_owned(),
            node: "n".to_owned(),
            ..Item::default()
        };
        for (aggregate, of_pod, of_reserved) in [
            (
                None,
                "one/n/ml/train-0/main",
                "one/n/__unallocated__/__unallocated__/__unallocated__",
            ),
            (Some("cluster"), "one", "one"),
            (Some("namespace"), "ml", "__unallocated__"),
            (
                Some(" namespace , pod "),
                "ml/train-0",
                "__unallocated__/__unallocated__",
            ),
            (Some("controllerKind"), "job", "__unallocated__"),
            (Some("controller"), "job:train", "__unallocated__"),
            (Some("job"), "train", "__unallocated__"),
            (Some("deployment"), "__unallocated__", "__unallocated__"),
            (Some("label:app.kubernetes.io/name"), "web", "__unallocated__"),
            (Some("label:app_kubernetes_io_name"), "web", "__unallocated__"),
            (Some("annotation:note"), "x", "__unallocated__"),
            (
                Some("environment,product"),
                "prod/shop",
                "__unallocated__/__unallocated__",
            ),
            (
                Some("pipeline,run"),
                "daily/r1",
                "__unallocated__/__unallocated__",
            ),
            (Some("team"), "__unallocated__", "__unallocated__"),
            (Some("namespace,unheard-of"), "ml", "__unallocated__"),
            (Some("unheard-of"), "all", "all"),
            (Some("all"), "all", "all"),
        ] {
            let aggregate = Aggregate::parse(aggregate);
            assert_eq!(
                (aggregate.name(&pod).as_str(), aggregate.name(&reserved).as_str()),
                (of_pod, of_reserved)
            );
        }
        let needs = |text| Aggregate::parse(text).needs();
        assert!(needs(None).containers && needs(None).descriptions);
        assert_eq!(needs(Some("namespace,pod,team,run")), Needs::default());
        assert!(needs(Some("label:x")).descriptions && !needs(Some("label:x")).containers);
    }
}
