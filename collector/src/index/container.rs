//! The containers of a pod: what each asks for and may take at most, and how each ended.

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};

use super::{Index, micros};
use crate::error::Result;
use crate::facts::{ContainerEnd, ContainerRequest, Fact};
use crate::occupancy::{self, Sight};
use crate::request::{ContainerKind, container_limits, container_request, init_kind};

impl Index {
    pub(super) fn container_requests(
        &self,
        pod: &Pod,
        key: &str,
        seen: Sight,
    ) -> Result<Vec<ContainerRequest>> {
        containers(pod)
            .map(|(container, kind)| {
                let request = container_request(container, &self.settings.accelerators)?;
                let limits = container_limits(pod, container)?;
                Ok(ContainerRequest {
                    cluster: self.settings.cluster.clone(),
                    pod_uid: key.to_owned(),
                    container_name: container.name.clone(),
                    observed_at: micros(seen.at),
                    container_kind: kind.name(),
                    image: container.image.clone(),
                    cpu_request_millicores: request.cpu_millicores,
                    memory_request_bytes: request.memory_bytes,
                    gpu_request_milligpus: request.gpu_milligpus,
                    cpu_limit_millicores: limits.cpu_millicores,
                    memory_limit_bytes: limits.memory_bytes,
                })
            })
            .collect()
    }

    pub(super) fn container_ends(&mut self, pod: &Pod, key: &str, seen: Sight, facts: &mut Vec<Fact>) {
        let (Some(status), Some(known)) = (&pod.status, self.pods.by_uid.get_mut(key)) else {
            return;
        };
        let created_at = occupancy::created_at(pod);
        let inits = status.init_container_statuses.iter().flatten();
        for container in inits.chain(status.container_statuses.iter().flatten()) {
            let kind = kind_of(pod, &container.name);
            for (restarts, end) in ends(container) {
                let is_told = |(name, before): &(String, i64)| *name == container.name && *before == restarts;
                if known.ends.iter().any(is_told) {
                    continue;
                }
                known.ends.push((container.name.clone(), restarts));
                let started_at = occupancy::valid(end.started_at.as_ref(), created_at).map(micros);
                let finished_at = occupancy::valid(end.finished_at.as_ref(), created_at)
                    .map(|at| micros(started_at.map_or(at, |started| at.max(started))));
                facts.push(
                    ContainerEnd {
                        cluster: self.settings.cluster.clone(),
                        pod_uid: key.to_owned(),
                        container_name: container.name.clone(),
                        container_kind: kind.name(),
                        restart_count: restarts,
                        observed_at: micros(seen.at),
                        started_at,
                        finished_at,
                        exit_code: Some(i64::from(end.exit_code)),
                        reason: end.reason.clone(),
                    }
                    .into(),
                );
            }
        }
    }
}

/// The ends that a status shows: the current one, and the one before the last restart.
fn ends(status: &ContainerStatus) -> impl Iterator<Item = (i64, &ContainerStateTerminated)> {
    let restarts = i64::from(status.restart_count.max(0));
    let current = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let before = before.filter(|_| restarts > 0).map(|end| (restarts - 1, end));
    before.into_iter().chain(current.map(|end| (restarts, end)))
}

fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, ContainerKind)> {
    let spec = pod.spec.as_ref();
    let inits = spec
        .into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let regular = spec.into_iter().flat_map(|spec| spec.containers.iter());
    inits
        .map(|container| (container, init_kind(container)))
        .chain(regular.map(|container| (container, ContainerKind::Container)))
}

fn kind_of(pod: &Pod, container: &str) -> ContainerKind {
    containers(pod)
        .find(|(each, _)| each.name == container)
        .map_or(ContainerKind::Container, |(_, kind)| kind)
}
