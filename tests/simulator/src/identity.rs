//! Who a pod is: the names, labels, annotations and owners that each system writes.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use crate::objects::texts;
use crate::workload::{Job, Pipeline, System};
use crate::world::{Role, Run};

/// What Airflow makes of a text that is to be a label's value (`make_safe_label_value`): characters that labels may not have are
/// left out, and where that changed anything, or the text is too long, a part of its MD5 sum tells it from others.
fn airflow_label(text: &str) -> String {
    let safe: String = text
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
        .collect();
    let safe = safe.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    if safe == text && text.len() <= 63 {
        return text.to_owned();
    }
    let sum: String = Md5::digest(text)
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let head: String = safe.chars().take(53).collect();
    format!("{head}-{}", &sum[..9])
}

/// Who a pod is: names, labels, annotations and owner as its system writes them, and what these mean.
pub(crate) struct Identity {
    pub pod_name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Kind, name, UID.
    pub owner: Option<(String, String, String)>,
    pub container: &'static str,
    pub pipeline: String,
    pub run: String,
    pub job: String,
}

pub(crate) fn identity(
    pipeline: &Pipeline,
    job: &Job,
    run: &Run,
    role: Role,
    attempt: u32,
    suffix: &str,
    number: usize,
) -> Identity {
    let (id, name) = (run.id.as_str(), pipeline.name.as_str());
    let try_number = (attempt + 1).to_string();
    let plain = Identity {
        pod_name: format!("{}-{}-{suffix}", name.get(..40).unwrap_or(name), job.name),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        owner: None,
        container: "main",
        pipeline: name.to_owned(),
        run: id.to_owned(),
        job: job.name.clone(),
    };
    match pipeline.system {
        // The operator writes labels alone: where they were cut, nothing says what they were cut from.
        System::AirflowOperator => Identity {
            labels: texts([
                ("dag_id", &airflow_label(name)),
                ("task_id", &job.name),
                ("run_id", &airflow_label(id)),
                ("try_number", &try_number),
                ("kubernetes_pod_operator", "True"),
            ]),
            container: "base",
            pipeline: airflow_label(name),
            run: airflow_label(id),
            ..plain
        },
        System::AirflowExecutor => {
            let texts = texts([
                ("dag_id", name),
                ("task_id", &job.name),
                ("run_id", id),
                ("try_number", &try_number),
            ]);
            let mut labels: BTreeMap<String, String> = texts
                .iter()
                .map(|(key, text)| (key.clone(), airflow_label(text)))
                .collect();
            labels.insert("kubernetes_executor".to_owned(), "True".to_owned());
            labels.insert("airflow-worker".to_owned(), "23".to_owned());
            Identity {
                labels,
                annotations: texts,
                container: "base",
                ..plain
            }
        }
        System::Spark | System::SparkOperator => {
            let (role, exec_id, container) = match role {
                Role::SparkExecutor(number) => ("executor", number.to_string(), "spark-kubernetes-executor"),
                _ => ("driver", String::new(), "spark-kubernetes-driver"),
            };
            let mut labels = texts([
                ("spark-app-name", name),
                ("spark-app-selector", id),
                ("spark-role", role),
            ]);
            if pipeline.system == System::SparkOperator {
                labels.extend(texts([
                    ("sparkoperator.k8s.io/app-name", id),
                    ("sparkoperator.k8s.io/scheduled-app-name", name),
                    (
                        "sparkoperator.k8s.io/submission-id",
                        &format!("{}-{attempt}", run.uid),
                    ),
                ]));
            }
            if !exec_id.is_empty() {
                labels.insert("spark-exec-id".to_owned(), exec_id);
            }
            Identity {
                pod_name: format!("{name}-{suffix}-{role}"),
                labels,
                container,
                job: role.to_owned(),
                ..plain
            }
        }
        System::Argo => Identity {
            pod_name: format!("{id}-{}-{suffix}", job.name),
            labels: texts([
                ("workflows.argoproj.io/workflow", id),
                ("workflows.argoproj.io/completed", "false"),
            ]),
            annotations: texts([(
                "workflows.argoproj.io/node-name",
                &format!("{id}.{}({attempt})", job.name),
            )]),
            owner: Some(("Workflow".to_owned(), id.to_owned(), run.uid.clone())),
            ..plain
        },
        System::GitLab => {
            let project = (pipeline.first_ms / 1000 % 10_000).to_string();
            Identity {
                pod_name: format!("runner-{suffix}-project-{project}-concurrent-{}", number % 10),
                labels: texts([
                    ("project.runner.gitlab.com/id", &project),
                    ("project.runner.gitlab.com/name", name),
                    (
                        "project.runner.gitlab.com/root-namespace",
                        &format!("team-{}", pipeline.team),
                    ),
                ]),
                annotations: texts([
                    ("job.runner.gitlab.com/id", &(100_000 + number).to_string()),
                    ("job.runner.gitlab.com/name", &job.name),
                    ("job.runner.gitlab.com/ref", "main"),
                ]),
                container: "build",
                pipeline: format!("{name}@main"),
                run: "unattributed".to_owned(),
                ..plain
            }
        }
        System::CronJob => Identity {
            pod_name: format!("{id}-{suffix}"),
            labels: texts([("batch.kubernetes.io/job-name", id), ("job-name", id)]),
            owner: Some(("Job".to_owned(), id.to_owned(), run.uid.clone())),
            job: name.to_owned(),
            ..plain
        },
        System::Dask => {
            let component = if role == Role::DaskScheduler {
                "scheduler"
            } else {
                "worker"
            };
            Identity {
                pod_name: format!("{id}-{component}-{suffix}"),
                labels: texts([("dask.org/cluster-name", id), ("dask.org/component", component)]),
                container: component,
                pipeline: id.to_owned(),
                job: component.to_owned(),
                ..plain
            }
        }
        System::Nextflow => Identity {
            pod_name: format!("nf-{number:08x}{suffix}"),
            labels: texts([
                ("nextflow.io/app", name),
                ("nextflow.io/runName", id),
                ("nextflow.io/processName", &job.name),
                ("nextflow.io/taskName", &format!("{}_{number}", job.name)),
            ]),
            ..plain
        },
        System::Service => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example of Airflow's rule.
    #[test]
    fn a_run_becomes_a_label_as_airflow_makes_it() {
        assert_eq!(
            airflow_label("scheduled__2024-01-01T00:00:00+00:00"),
            "scheduled__2024-01-01T0000000000-654f198ec"
        );
        assert_eq!(airflow_label("features-3"), "features-3");
    }
}
