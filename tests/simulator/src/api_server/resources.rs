//! What kinds there are, and how they are called.

use std::collections::BTreeMap;

/// A kind of objects that is served under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub is_namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub has_status: bool,
    /// Whether it is one of Kubernetes' own: their lists do not repeat the kind in every item.
    pub is_built_in: bool,
}

impl Resource {
    pub(super) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// As error messages name it: `jobs.batch`.
    pub(super) fn qualified(&self) -> String {
        qualified(&self.group, &self.plural)
    }

    pub(super) fn verbs(&self) -> [&'static str; 8] {
        [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]
    }
}

pub(super) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

pub(super) fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

/// apiVersion, plural, kind, whether it is namespaced, short names, whether `all` has it.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
    bool,
);

const KNOWN: &[Row] = &[
    ("v1", "events", "Event", true, &["ev"], false),
    ("v1", "namespaces", "Namespace", false, &["ns"], false),
    ("v1", "nodes", "Node", false, &["no"], false),
    (
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        true,
        &["pvc"],
        false,
    ),
    (
        "v1",
        "persistentvolumes",
        "PersistentVolume",
        false,
        &["pv"],
        false,
    ),
    ("v1", "pods", "Pod", true, &["po"], true),
    ("v1", "services", "Service", true, &["svc"], true),
    ("apps/v1", "daemonsets", "DaemonSet", true, &["ds"], true),
    ("apps/v1", "deployments", "Deployment", true, &["deploy"], true),
    ("apps/v1", "replicasets", "ReplicaSet", true, &["rs"], true),
    ("apps/v1", "statefulsets", "StatefulSet", true, &["sts"], true),
    ("batch/v1", "cronjobs", "CronJob", true, &["cj"], true),
    ("batch/v1", "jobs", "Job", true, &[], true),
    ("coordination.k8s.io/v1", "leases", "Lease", true, &[], false),
    (
        "argoproj.io/v1alpha1",
        "workflows",
        "Workflow",
        true,
        &["wf"],
        false,
    ),
    ("karpenter.sh/v1", "nodeclaims", "NodeClaim", false, &[], false),
    (
        "kubernetes.dask.org/v1",
        "daskclusters",
        "DaskCluster",
        true,
        &["daskcluster"],
        false,
    ),
    (
        "sparkoperator.k8s.io/v1beta2",
        "sparkapplications",
        "SparkApplication",
        true,
        &["sparkapp"],
        false,
    ),
];

/// Groups of Kubernetes' own that are served.
const BUILT_IN_GROUPS: &[&str] = &["", "apps", "batch", "coordination.k8s.io"];

/// All that is served, numbered in the order in which it came.
#[derive(Debug)]
pub(super) struct Resources {
    known: Vec<Resource>,
    by_kind: BTreeMap<(String, String), usize>,
}

impl Resources {
    pub(super) fn new() -> Self {
        let mut resources = Self {
            known: Vec::new(),
            by_kind: BTreeMap::new(),
        };
        for (api_version, plural, kind, is_namespaced, short_names, is_in_all) in KNOWN {
            let (group, version) = split(api_version);
            resources.push(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: (*plural).to_owned(),
                singular: kind.to_lowercase(),
                kind: (*kind).to_owned(),
                is_namespaced: *is_namespaced,
                short_names: short_names.iter().map(|name| (*name).to_owned()).collect(),
                categories: is_in_all.then(|| "all".to_owned()).into_iter().collect(),
                has_status: !matches!(*kind, "Event" | "Lease"),
                is_built_in: BUILT_IN_GROUPS.contains(&group),
            });
        }
        resources
    }

    fn push(&mut self, resource: Resource) -> usize {
        let key = (resource.api_version(), resource.kind.clone());
        self.known.push(resource);
        let number = self.known.len() - 1;
        self.by_kind.insert(key, number);
        number
    }

    pub(super) fn get(&self, number: usize) -> Option<&Resource> {
        self.known.get(number)
    }

    pub(super) fn all(&self) -> &[Resource] {
        &self.known
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<usize> {
        self.known.iter().position(|resource| {
            resource.group == group && resource.version == version && resource.plural == plural
        })
    }

    /// The number of a kind; one that is not known is registered.
    pub(super) fn of_kind(&mut self, api_version: &str, kind: &str, is_namespaced: bool) -> usize {
        if let Some(number) = self.by_kind.get(&(api_version.to_owned(), kind.to_owned())) {
            return *number;
        }
        let (group, version) = split(api_version);
        let singular = kind.to_lowercase();
        self.push(Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural(&singular),
            singular,
            kind: kind.to_owned(),
            is_namespaced,
            short_names: Vec::new(),
            categories: Vec::new(),
            has_status: true,
            is_built_in: BUILT_IN_GROUPS.contains(&group),
        })
    }
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// As Kubernetes guesses it (`meta.UnsafeGuessKindToResource`).
fn plural(singular: &str) -> String {
    if singular.ends_with('s') {
        format!("{singular}es")
    } else if let Some(stem) = singular.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        format!("{singular}s")
    }
}
