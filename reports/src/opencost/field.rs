//! Fields: what allocations and assets are filtered by, and by which names (`core/pkg/filter/allocation` and `asset` of OpenCost).

use super::item::{Item, Labels};

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
    Name,
    AssetType,
    Category,
    Provider,
    ProviderId,
    Account,
    Project,
}

impl Field {
    pub fn is_map(self) -> bool {
        matches!(self, Self::Label | Self::Annotation | Self::NamespaceLabel)
    }

    /// A value as it is compared: what assets are is told in lower case, however it is written.
    pub fn value(self, text: String) -> String {
        match self {
            Self::AssetType | Self::Category => text.to_lowercase(),
            _ => text,
        }
    }

    /// What has to be known of pods to tell it.
    pub fn needs(self) -> Needs {
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

/// What is filtered.
pub(super) trait Subject {
    /// What it has of a field; empty where nothing is known.
    fn text(&self, field: Field) -> &str;

    /// Names and values of a field that is a map.
    fn map(&self, field: Field) -> &Labels;
}

impl Subject for Item {
    fn text(&self, field: Field) -> &str {
        let label = |key: &str| self.labels.get(key).map_or("", String::as_str);
        match field {
            Field::Cluster => &self.cluster,
            Field::Node => &self.node,
            Field::Namespace => &self.namespace,
            Field::ControllerKind => &self.controller_kind,
            Field::Controller => &self.controller,
            Field::Pod => &self.pod,
            Field::Container => &self.container,
            Field::Service => &self.service,
            Field::Team => &self.team,
            Field::Pipeline => &self.pipeline,
            Field::Run => &self.run,
            Field::ProviderId => &self.provider_id,
            // The labels that OpenCost takes for these unless it is configured otherwise.
            Field::Department => label("department"),
            Field::Environment => label("env"),
            Field::Owner => label("owner"),
            Field::Product => label("app"),
            _ => "",
        }
    }

    fn map(&self, field: Field) -> &Labels {
        match field {
            Field::Annotation => &self.annotations,
            Field::NamespaceLabel => &self.namespace_labels,
            _ => &self.labels,
        }
    }
}

/// Names of fields.
pub(super) struct Vocabulary {
    /// In `filter`.
    fields: &'static [(&'static str, Field)],
    /// Parameters of the first version.
    pub lists: &'static [(&'static str, Field)],
}

impl Vocabulary {
    pub fn field(&self, name: &str) -> Option<Field> {
        let found = self.fields.iter().find(|(known, _)| *known == name);
        found.map(|(_, field)| *field)
    }

    pub fn names(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// Of allocations.
pub(super) const ALLOCATIONS: Vocabulary = Vocabulary {
    fields: &[
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
    ],
    lists: &[
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
    ],
};

/// Of assets.
pub(super) const ASSETS: Vocabulary = Vocabulary {
    fields: &[
        ("name", Field::Name),
        ("assetType", Field::AssetType),
        ("category", Field::Category),
        ("cluster", Field::Cluster),
        ("provider", Field::Provider),
        ("providerID", Field::ProviderId),
        ("service", Field::Service),
        ("account", Field::Account),
        ("project", Field::Project),
        ("label", Field::Label),
    ],
    lists: &[
        ("filterNames", Field::Name),
        ("filterTypes", Field::AssetType),
        ("filterCategories", Field::Category),
        ("filterClusters", Field::Cluster),
        ("filterProviders", Field::Provider),
        ("filterProviderIDs", Field::ProviderId),
        ("filterServices", Field::Service),
        ("filterAccounts", Field::Account),
        ("filterProjects", Field::Project),
        ("filterLabels", Field::Label),
    ],
};
