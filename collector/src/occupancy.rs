//! When a pod held resources: read from what Kubernetes says, with the source of both ends and the bounds of the end.
//!
//! Kubernetes stores no time at which a pod let go of its resources. `finishedAt` is too early (volumes, sandbox and
//! network are still held), `deletionTimestamp` lies in the future (request plus grace period), a DELETED event has no
//! time at all, and containers that never started carry null or 1970. Hence an order of trust.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// Kubernetes writes whole seconds: an event lies up to this much after the time that is written.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// When and how an object came to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Cluster time of the sight.
    pub at: Timestamp,
    /// Whether the change happened just before: a watch event that came without lag. An object of a list (or of a file)
    /// may have changed long ago.
    pub is_prompt: bool,
}

/// How an occupancy began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub at: Timestamp,
    pub source: &'static str,
}

/// How an occupancy ended: the best guess and the bounds in which the end must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub at: Timestamp,
    pub source: &'static str,
    pub earliest_at: Timestamp,
    pub latest_at: Timestamp,
}

/// Why an occupancy is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its phase is `Succeeded` or `Failed`: the scheduler counts it no longer.
    Terminal,
    /// It was deleted, and this is its last state.
    Deleted,
    /// It was there at the first instant and is missing in a later list.
    Vanished { last_seen_at: Timestamp },
}

/// The start: the `PodScheduled` transition, else `startTime`, else the first sight of the pod on a node. `None` while it
/// is on none.
#[must_use]
pub fn start(pod: &Pod, first_bound_at: Option<Timestamp>) -> Option<Start> {
    pod.spec
        .as_ref()?
        .node_name
        .as_ref()
        .filter(|name| !name.is_empty())?;
    let created = created_at(pod);
    let scheduled = condition(pod, "PodScheduled")
        .filter(|condition| condition.status == "True")
        .and_then(|condition| valid(condition.last_transition_time.as_ref(), created));
    let started = pod
        .status
        .as_ref()
        .and_then(|status| valid(status.start_time.as_ref(), created));
    [
        (scheduled, "scheduled"),
        (started, "status"),
        (first_bound_at, "first_seen"),
    ]
    .into_iter()
    .find_map(|(at, source)| at.map(|at| Start { at, source }))
}

/// When the first regular container started, as far as its current and last state tell.
#[must_use]
pub fn running_at(pod: &Pod) -> Option<Timestamp> {
    let created = created_at(pod);
    statuses(pod)
        .flat_map(|status| [status.state.as_ref(), status.last_state.as_ref()])
        .flatten()
        .filter_map(|state| {
            let running = state
                .running
                .as_ref()
                .and_then(|running| running.started_at.as_ref());
            let ended = state
                .terminated
                .as_ref()
                .and_then(|ended| ended.started_at.as_ref());
            let at = running.or(ended)?.0;
            // The containers of a static pod start before the object that mirrors it is made.
            (at > Timestamp::UNIX_EPOCH).then(|| created.map_or(at, |created| at.max(created)))
        })
        .min()
}

/// When the last regular container finished; `None` while one of them runs or may run again.
#[must_use]
pub fn finished_at(pod: &Pod) -> Option<Timestamp> {
    if !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none() {
        return None;
    }
    let all_ended = statuses(pod).all(|status| terminated(status.state.as_ref()).is_some());
    if !all_ended && !is_terminal(pod) {
        return None;
    }
    last_finish(pod)
}

/// What a state of a pod tells about its end: enough to date it later, should the pod vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clues {
    running_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    written_at: Option<Timestamp>,
    is_over: bool,
}

impl Clues {
    /// The clues in a state of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let finished_at = last_finish(pod);
        Self {
            running_at: running_at(pod),
            finished_at,
            written_at: status_written_at(pod),
            is_over: is_over(pod),
        }
    }

    /// The clues in what was told of a pod before, when its status is not at hand.
    #[must_use]
    pub fn of_times(running_at: Option<Timestamp>, finished_at: Option<Timestamp>) -> Self {
        Self {
            running_at,
            finished_at,
            written_at: None,
            is_over: false,
        }
    }

    /// The end, by the order of trust: a prompt event, the kubelet's status entry in `managedFields`, the latest valid
    /// `finishedAt`, and failing all of them the sight itself.
    #[must_use]
    pub fn end(&self, ending: Ending, seen: Sight, bound_at: Timestamp) -> End {
        let finished = self.finished_at.map(|at| at.max(bound_at));
        let told = finished.or(self.running_at).unwrap_or(bound_at);
        // A kubelet whose clock is ahead reports a finish later than the API server took the report.
        let written = self.written_at.filter(|_| self.is_over);
        let floor = written.map_or(told, |written| told.min(written)).max(bound_at);
        let seen_at = seen.at.max(bound_at);
        let bounded = |at: Timestamp, source: &'static str, latest_at: Timestamp| End {
            at,
            source,
            earliest_at: floor.min(at),
            latest_at: latest_at.max(at),
        };
        if seen.is_prompt && !matches!(ending, Ending::Vanished { .. }) {
            return bounded(seen_at, "watch", seen_at);
        }
        if self.is_over
            && let Some(written) = self.written_at.map(|at| at.max(floor))
            && written <= seen_at
        {
            return bounded(written, "kubelet_status", (written + RESOLUTION).min(seen_at));
        }
        if self.is_over
            && let Some(finished) = finished
        {
            return bounded(finished.min(seen_at), "container", seen_at);
        }
        let earliest_at = match ending {
            Ending::Vanished { last_seen_at } => floor.max(last_seen_at),
            _ => floor,
        };
        End {
            at: seen_at,
            source: "sampled",
            earliest_at: earliest_at.min(seen_at),
            latest_at: seen_at,
        }
    }
}

/// When deletion was asked for: `deletionTimestamp` less the grace period.
#[must_use]
pub fn deletion_requested_at(pod: &Pod) -> Option<Timestamp> {
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0);
    let requested = pod
        .metadata
        .deletion_timestamp
        .as_ref()?
        .0
        .checked_sub(SignedDuration::from_secs(grace))
        .ok()?;
    Some(requested.max(created_at(pod).unwrap_or(requested)))
}

/// Whether the pod's phase is final.
#[must_use]
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), Some("Succeeded" | "Failed"))
}

/// The pod's phase.
#[must_use]
pub fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// What keeps the pod from running although it is bound: the reason for which a container waits, while no regular
/// container runs.
#[must_use]
pub fn waiting_reason(pod: &Pod) -> Option<&str> {
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    if is_terminal(pod) || statuses(pod).any(runs) {
        return None;
    }
    let inits = pod
        .status
        .iter()
        .flat_map(|status| status.init_container_statuses.iter().flatten());
    inits.chain(statuses(pod)).find_map(|status| {
        let reason = status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        // These say only that it is not its turn yet.
        (!matches!(reason, "PodInitializing" | "ContainerCreating")).then_some(reason)
    })
}

/// Why the pod ended, in Kubernetes' words: what disrupted it, else the pod's own reason, else that of the container that
/// was killed or failed. `None` while it goes on, and where all went well.
#[must_use]
pub fn end_reason(pod: &Pod) -> Option<&str> {
    let disrupted = condition(pod, "DisruptionTarget")
        .filter(|condition| condition.status == "True")
        .and_then(|condition| condition.reason.as_deref());
    let own = pod
        .status
        .as_ref()
        .and_then(|status| status.reason.as_deref())
        .filter(|reason| !reason.is_empty());
    if let Some(reason) = disrupted.or(own) {
        return Some(reason);
    }
    if !is_over(pod) {
        return None;
    }
    let ends = || statuses(pod).filter_map(|status| terminated(status.state.as_ref()));
    ends()
        .find(|end| end.reason.as_deref() == Some("OOMKilled"))
        .or_else(|| ends().find(|end| end.exit_code != 0))
        .and_then(|end| end.reason.as_deref())
}

/// Exit code of the first regular container that failed; 0 where all that ended succeeded.
#[must_use]
pub fn exit_code(pod: &Pod) -> Option<i64> {
    if !is_over(pod) {
        return None;
    }
    let codes = || {
        statuses(pod)
            .filter_map(|status| terminated(status.state.as_ref()))
            .map(|end| i64::from(end.exit_code))
    };
    codes().find(|code| *code != 0).or_else(|| codes().next())
}

/// Creation of the pod, if it is told.
#[must_use]
pub fn created_at(pod: &Pod) -> Option<Timestamp> {
    pod.metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0)
        .filter(|at| *at > Timestamp::UNIX_EPOCH)
}

/// A time that can be true: not null, not 1970, not before the pod was created.
#[must_use]
pub fn valid(time: Option<&Time>, created: Option<Timestamp>) -> Option<Timestamp> {
    let at = time?.0;
    (at > Timestamp::UNIX_EPOCH && created.is_none_or(|created| at >= created)).then_some(at)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
}

/// Whether its containers have ended for good: in a final phase, or all ended and none to be restarted.
fn is_over(pod: &Pod) -> bool {
    let restarts = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("Never");
    is_terminal(pod) || all_ended(pod) && (pod.metadata.deletion_timestamp.is_some() || !restarts)
}

fn all_ended(pod: &Pod) -> bool {
    statuses(pod).next().is_some() && statuses(pod).all(|status| terminated(status.state.as_ref()).is_some())
}

fn terminated(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

fn last_finish(pod: &Pod) -> Option<Timestamp> {
    let created = created_at(pod);
    statuses(pod)
        .filter_map(|status| {
            terminated(status.state.as_ref()).or_else(|| terminated(status.last_state.as_ref()))
        })
        .filter_map(|end| valid(end.finished_at.as_ref(), created))
        .max()
}

/// When the status was last written: by the kubelet, else by the controller that declared the pod dead.
fn status_written_at(pod: &Pod) -> Option<Timestamp> {
    let created = created_at(pod);
    let entries = || {
        pod.metadata
            .managed_fields
            .iter()
            .flatten()
            .filter(|entry| entry.subresource.as_deref() == Some("status"))
    };
    let newest = |by_kubelet: bool| {
        entries()
            .filter(|entry| (entry.manager.as_deref() == Some("kubelet")) == by_kubelet)
            .filter_map(|entry| valid(entry.time.as_ref(), created))
            .max()
    };
    newest(true).or_else(|| newest(false))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(clock: &str) -> Timestamp {
        format!("2026-11-16T{clock}Z").parse().unwrap()
    }

    fn sight(clock: &str, is_prompt: bool) -> Sight {
        Sight {
            at: at(clock),
            is_prompt,
        }
    }

    /// A pod created at 10:00:00, bound at 10:00:05, whose one container is in `state`.
    fn pod(phase: &str, state: Value, more: Value) -> Pod {
        let mut made = json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-11-16T10:00:00Z"},
            "spec": {"nodeName": "n", "containers": [{"name": "main"}]},
            "status": {
                "phase": phase,
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-16T10:00:05Z"}],
                "containerStatuses": [{"name": "main", "state": state}],
            },
        });
        merge(&mut made, more);
        serde_json::from_value(made).unwrap()
    }

    fn merge(target: &mut Value, more: Value) {
        match (target, more) {
            (Value::Object(target), Value::Object(more)) => {
                for (key, value) in more {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
            (target, more) => *target = more,
        }
    }

    fn ended(exit: i64, reason: &str) -> Value {
        json!({"terminated": {"exitCode": exit, "reason": reason, "startedAt": "2026-11-16T10:00:10Z",
            "finishedAt": "2026-11-16T10:01:00Z"}})
    }

    fn written_by(manager: &str, clock: &str) -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": manager, "subresource": "status", "time": format!("2026-11-16T{clock}Z")}]}})
    }

    struct Case {
        name: &'static str,
        pod: Pod,
        ending: Ending,
        seen: Sight,
        expected: (&'static str, &'static str, &'static str, &'static str),
        reason: Option<&'static str>,
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_way_to_end_has_its_source_and_bounds() {
        let running = json!({"running": {"startedAt": "2026-11-16T10:00:10Z"}});
        let cases = [
            Case {
                name: "completed, seen at once",
                pod: pod("Succeeded", ended(0, "Completed"), json!({})),
                ending: Ending::Terminal,
                seen: sight("10:01:01.5", true),
                expected: ("watch", "10:01:01.5", "10:01:00", "10:01:01.5"),
                reason: None,
            },
            Case {
                name: "completed, found in a list an hour later",
                pod: pod(
                    "Succeeded",
                    ended(0, "Completed"),
                    written_by("kubelet", "10:01:02"),
                ),
                ending: Ending::Terminal,
                seen: sight("11:00:00", false),
                expected: ("kubelet_status", "10:01:02", "10:01:00", "10:01:03"),
                reason: None,
            },
            Case {
                name: "the same without managed fields",
                pod: pod("Succeeded", ended(0, "Completed"), json!({})),
                ending: Ending::Terminal,
                seen: sight("11:00:00", false),
                expected: ("container", "10:01:00", "10:01:00", "11:00:00"),
                reason: None,
            },
            Case {
                name: "deleted gracefully: the deletion timestamp lies in the future and is no end",
                pod: pod(
                    "Running",
                    ended(143, "Error"),
                    json!({"metadata": {
                    "deletionTimestamp": "2026-11-16T10:01:20Z", "deletionGracePeriodSeconds": 30}}),
                ),
                ending: Ending::Deleted,
                seen: sight("10:01:03", true),
                expected: ("watch", "10:01:03", "10:01:00", "10:01:03"),
                reason: Some("Error"),
            },
            Case {
                name: "deleted by force while running",
                pod: pod(
                    "Running",
                    running.clone(),
                    json!({"metadata": {
                    "deletionTimestamp": "2026-11-16T10:00:40Z", "deletionGracePeriodSeconds": 0}}),
                ),
                ending: Ending::Deleted,
                seen: sight("10:00:40.2", true),
                expected: ("watch", "10:00:40.2", "10:00:10", "10:00:40.2"),
                reason: None,
            },
            Case {
                name: "evicted by the kubelet",
                pod: pod(
                    "Failed",
                    ended(137, "Error"),
                    json!({"status": {"reason": "Evicted"}}),
                ),
                ending: Ending::Terminal,
                seen: sight("10:01:01", true),
                expected: ("watch", "10:01:01", "10:01:00", "10:01:01"),
                reason: Some("Evicted"),
            },
            Case {
                name: "garbage-collected: the controller wrote the status, no container told an end",
                pod: {
                    let mut more = written_by("kube-controller-manager", "10:20:00");
                    merge(&mut more, json!({"status": {"reason": "NodeLost"}}));
                    pod("Failed", running.clone(), more)
                },
                ending: Ending::Terminal,
                seen: sight("11:00:00", false),
                expected: ("kubelet_status", "10:20:00", "10:00:10", "10:20:01"),
                reason: Some("NodeLost"),
            },
            Case {
                name: "gone between two lists after it had finished (a Job with a time to live)",
                pod: pod(
                    "Running",
                    ended(0, "Completed"),
                    json!({"spec": {"restartPolicy": "Never"}}),
                ),
                ending: Ending::Vanished {
                    last_seen_at: at("10:01:01"),
                },
                seen: sight("10:30:00", true),
                expected: ("container", "10:01:00", "10:01:00", "10:30:00"),
                reason: None,
            },
            Case {
                name: "gone between two lists while running",
                pod: pod("Running", running, json!({})),
                ending: Ending::Vanished {
                    last_seen_at: at("10:02:00"),
                },
                seen: sight("10:30:00", true),
                expected: ("sampled", "10:30:00", "10:02:00", "10:30:00"),
                reason: None,
            },
            Case {
                name: "StartError: started in 1970, finished for real",
                pod: pod(
                    "Failed",
                    json!({"terminated": {"exitCode": 128, "reason": "StartError",
                    "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-16T10:00:11Z"}}),
                    json!({}),
                ),
                ending: Ending::Terminal,
                seen: sight("10:30:00", false),
                expected: ("container", "10:00:11", "10:00:11", "10:30:00"),
                reason: Some("StartError"),
            },
            Case {
                name: "ContainerStatusUnknown: no times at all",
                pod: pod(
                    "Failed",
                    json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown",
                    "startedAt": null, "finishedAt": null}}),
                    json!({}),
                ),
                ending: Ending::Terminal,
                seen: sight("10:30:00", false),
                expected: ("sampled", "10:30:00", "10:00:05", "10:30:00"),
                reason: Some("ContainerStatusUnknown"),
            },
            Case {
                name: "disrupted",
                pod: pod(
                    "Failed",
                    ended(137, "OOMKilled"),
                    json!({"status": {"conditions": [
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}}),
                ),
                ending: Ending::Terminal,
                seen: sight("10:01:01", true),
                expected: ("watch", "10:01:01", "10:01:00", "10:01:01"),
                reason: Some("PreemptionByScheduler"),
            },
        ];
        for case in cases {
            let found = Clues::of(&case.pod).end(case.ending, case.seen, at("10:00:05"));
            let (source, end_at, earliest, latest) = case.expected;
            let expected = End {
                at: at(end_at),
                source,
                earliest_at: at(earliest),
                latest_at: at(latest),
            };
            assert_eq!(found, expected, "{}", case.name);
            assert_eq!(end_reason(&case.pod), case.reason, "{}", case.name);
        }
    }

    #[test]
    fn a_pod_starts_when_it_is_scheduled_not_when_it_was_first_seen() {
        let scheduled = pod("Pending", json!({}), json!({}));
        assert_eq!(
            start(&scheduled, Some(at("10:00:09"))),
            Some(Start {
                at: at("10:00:05"),
                source: "scheduled"
            })
        );
        let told = json!({"status": {"conditions": [], "startTime": "2026-11-16T10:00:07Z"}});
        assert_eq!(
            start(&pod("Pending", json!({}), told), Some(at("10:00:09"))),
            Some(Start {
                at: at("10:00:07"),
                source: "status"
            })
        );
        let silent = json!({"status": {"conditions": [], "startTime": "1970-01-01T00:00:00Z"}});
        assert_eq!(
            start(&pod("Pending", json!({}), silent), Some(at("10:00:09"))),
            Some(Start {
                at: at("10:00:09"),
                source: "first_seen"
            })
        );
        let nowhere = json!({"spec": {"nodeName": null}});
        assert_eq!(start(&pod("Pending", json!({}), nowhere), None), None);
    }

    #[test]
    fn deletion_was_asked_for_one_grace_period_before_its_timestamp() {
        let deleted = pod(
            "Running",
            json!({}),
            json!({"metadata": {
            "deletionTimestamp": "2026-11-16T10:01:20Z", "deletionGracePeriodSeconds": 30}}),
        );
        assert_eq!(deletion_requested_at(&deleted), Some(at("10:00:50")));
    }

    #[test]
    fn a_pod_is_stuck_only_while_none_of_its_containers_runs() {
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff"}});
        let stuck = pod("Pending", waiting.clone(), json!({}));
        assert_eq!(waiting_reason(&stuck), Some("ImagePullBackOff"));
        let beside = json!({"status": {"containerStatuses": [
            {"name": "main", "state": {"running": {"startedAt": "2026-11-16T10:00:10Z"}}},
            {"name": "sidecar", "state": waiting}]}});
        assert_eq!(waiting_reason(&pod("Running", json!({}), beside)), None);
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(waiting_reason(&pod("Pending", creating, json!({}))), None);
    }
}
