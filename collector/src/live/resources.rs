//! Which resources of a cluster are watched.

use kube::Client;
use kube::core::discovery::ApiResource;
use kube::discovery::Discovery;

use crate::error::{Error, Result};

/// A resource to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its kind: `Pod`.
    pub kind: String,
    /// Name under which its position is kept: `pods`, `jobs.batch`.
    pub name: String,
    /// Where the API server has it: `/apis/batch/v1/jobs`.
    pub path: String,
    /// Whether metadata is all that is asked for.
    pub is_metadata_only: bool,
    /// Whether nothing can be metered without it.
    pub is_required: bool,
}

/// How much of an object is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// All of it: how its work ended, or what it asks for, counts.
    All,
    /// Metadata: it is a link of a chain of owners.
    Metadata,
}

/// Group, version and plural of resources that every cluster has.
const BUILT_IN: &[(&str, &str, &str, &str, Shows)] = &[
    ("", "v1", "Namespace", "namespaces", Shows::All),
    ("", "v1", "Node", "nodes", Shows::All),
    ("", "v1", "Pod", "pods", Shows::All),
    ("", "v1", "Event", "events", Shows::All),
    ("", "v1", "PersistentVolume", "persistentvolumes", Shows::All),
    (
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        Shows::All,
    ),
    ("", "v1", "Service", "services", Shows::All),
    ("apps", "v1", "DaemonSet", "daemonsets", Shows::Metadata),
    ("apps", "v1", "Deployment", "deployments", Shows::Metadata),
    ("apps", "v1", "ReplicaSet", "replicasets", Shows::Metadata),
    ("apps", "v1", "StatefulSet", "statefulsets", Shows::Metadata),
    ("batch", "v1", "CronJob", "cronjobs", Shows::Metadata),
    ("batch", "v1", "Job", "jobs", Shows::All),
];

/// Group and kind of resources that a cluster may have.
const OPTIONAL: &[(&str, &str, Shows)] = &[
    ("argoproj.io", "CronWorkflow", Shows::Metadata),
    ("argoproj.io", "Workflow", Shows::All),
    ("jobset.x-k8s.io", "JobSet", Shows::All),
    ("karpenter.sh", "NodeClaim", Shows::All),
    ("kubeflow.org", "MPIJob", Shows::All),
    ("kubeflow.org", "PyTorchJob", Shows::All),
    ("kubeflow.org", "TFJob", Shows::All),
    ("kubeflow.org", "XGBoostJob", Shows::All),
    ("kubernetes.dask.org", "DaskCluster", Shows::Metadata),
    ("kubernetes.dask.org", "DaskJob", Shows::All),
    ("kubernetes.dask.org", "DaskWorkerGroup", Shows::Metadata),
    ("ray.io", "RayCluster", Shows::Metadata),
    ("ray.io", "RayJob", Shows::All),
    ("ray.io", "RayService", Shows::Metadata),
    (
        "sparkoperator.k8s.io",
        "ScheduledSparkApplication",
        Shows::Metadata,
    ),
    ("sparkoperator.k8s.io", "SparkApplication", Shows::All),
    ("tekton.dev", "PipelineRun", Shows::All),
    ("tekton.dev", "TaskRun", Shows::All),
    ("trainer.kubeflow.org", "TrainJob", Shows::All),
];

/// Kinds without which nothing can be metered.
const REQUIRED: &[&str] = &["Namespace", "Node", "Pod"];

impl Resource {
    fn new(found: &ApiResource, shows: Shows) -> Self {
        let (path, name) = if found.group.is_empty() {
            (
                format!("/api/{}/{}", found.version, found.plural),
                found.plural.clone(),
            )
        } else {
            (
                format!("/apis/{}/{}/{}", found.group, found.version, found.plural),
                format!("{}.{}", found.plural, found.group),
            )
        };
        Self {
            is_required: REQUIRED.contains(&found.kind.as_str()),
            kind: found.kind.clone(),
            name,
            path,
            is_metadata_only: shows == Shows::Metadata,
        }
    }

    /// What samples of usage are told under: nothing that is watched.
    pub(super) fn of_usage() -> Self {
        Self {
            kind: "ContainerUsage".to_owned(),
            name: "usage".to_owned(),
            path: String::new(),
            is_metadata_only: false,
            is_required: false,
        }
    }

    /// A resource that every cluster has.
    #[must_use]
    pub fn built_in(kind: &str) -> Option<Self> {
        built_in().find(|resource| resource.kind == kind)
    }
}

/// Resources that every cluster has.
fn built_in() -> impl Iterator<Item = Resource> {
    BUILT_IN.iter().map(|(group, version, kind, plural, shows)| {
        let found = ApiResource {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
            api_version: String::new(),
            kind: (*kind).to_owned(),
            plural: (*plural).to_owned(),
        };
        Resource::new(&found, *shows)
    })
}

/// The resources of this cluster that tell of cost: the built-in ones, and those of engines that are installed.
///
/// # Errors
/// [`Error::Cluster`] where the cluster cannot be asked.
pub async fn resources(client: &Client) -> Result<Vec<Resource>> {
    let mut groups: Vec<&str> = OPTIONAL.iter().map(|(group, _, _)| *group).collect();
    groups.dedup();
    let aggregated = Discovery::new(client.clone())
        .filter(&groups)
        .run_aggregated()
        .await;
    let found = match aggregated {
        Ok(found) if found.groups().next().is_some() => found,
        // Servers older than 1.26 answer group by group only, and take the question for another one.
        _ => Discovery::new(client.clone())
            .filter(&groups)
            .run()
            .await
            .map_err(|source| Error::cluster("cannot ask which resources the cluster has", source))?,
    };
    let optional = OPTIONAL.iter().filter_map(|(group, kind, shows)| {
        let (resource, _) = found.get(group)?.recommended_kind(kind)?;
        Some(Resource::new(&resource, *shows))
    });
    Ok(built_in().chain(optional).collect())
}
