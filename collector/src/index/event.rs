//! Events whose reason bears on cost, from a fixed list; all others are none of our business.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::{Index, micros, time, uid};
use crate::error::{Error, Result};
use crate::facts::{ClusterEvent, Fact};

/// Reasons that are kept: what happened to pods, to nodes, and why capacity came and went.
const REASONS: &[&str] = &[
    // Pods, by scheduler and kubelet.
    "Scheduled",
    "FailedScheduling",
    "Preempted",
    "Preempting",
    "Pulling",
    "Pulled",
    "Started",
    "Killing",
    "BackOff",
    "Failed",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "Evicted",
    "TaintManagerEviction",
    "OOMKilling",
    "SystemOOM",
    "ResizeStarted",
    "ResizeCompleted",
    // Capacity, by cluster autoscaler and Karpenter.
    "TriggeredScaleUp",
    "NotTriggerScaleUp",
    "ScaleDown",
    "ScaleDownEmpty",
    "Nominated",
    "Launched",
    "Registered",
    "Initialized",
    "DisruptionTerminating",
    "DisruptionLaunching",
    "DisruptionBlocked",
    "Disrupted",
    "Unconsolidatable",
    "InsufficientCapacityError",
    // Nodes.
    "SpotInterrupted",
    "SpotRebalanceRecommendation",
    "RebalanceRecommendation",
    "TerminatingOnInterruption",
    "InstanceStopping",
    "InstanceTerminating",
    "InstanceUnhealthy",
    "NodeReady",
    "NodeNotReady",
    "RegisteredNode",
    "RemovingNode",
    "DeletingNode",
    "Rebooted",
    "Shutdown",
];

/// Reasons that tell why a node goes away.
const CAUSES: &[(&str, &str)] = &[
    ("SpotInterrupted", "SpotInterrupted"),
    ("TerminatingOnInterruption", "SpotInterrupted"),
    ("RebalanceRecommendation", "RebalanceRecommended"),
    ("SpotRebalanceRecommendation", "RebalanceRecommended"),
    ("ScaleDown", "ScaledDown"),
    ("ScaleDownEmpty", "ScaledDown"),
];

/// Longest message that is kept, in characters: the reason says what matters.
const MESSAGE_CHARACTERS: usize = 256;

/// Newest occurrence that was told, by the UID of the Event. Events live an hour in the cluster; here, the oldest half is
/// forgotten when there are too many.
#[derive(Debug, Default)]
pub(super) struct Events(HashMap<String, Timestamp>);

const REMEMBERED: usize = 100_000;

impl Index {
    pub(super) fn apply_event(&mut self, event: &Event, facts: &mut Vec<Fact>) -> Result<()> {
        let Some(reason) = event.reason.as_deref().filter(|reason| REASONS.contains(reason)) else {
            return Ok(());
        };
        let event_uid = uid(&event.metadata)?;
        let series = event.series.as_ref();
        let newest = [
            series
                .and_then(|series| series.last_observed_time.as_ref())
                .map(|time| time.0),
            event.event_time.as_ref().map(|time| time.0),
        ]
        .into_iter()
        .flatten()
        .chain(time(event.last_timestamp.as_ref()))
        .chain(time(event.first_timestamp.as_ref()))
        .chain(time(event.metadata.creation_timestamp.as_ref()))
        .filter(|at| *at > Timestamp::UNIX_EPOCH)
        .max();
        let last_at = micros(newest.ok_or_else(|| Error::Object {
            field: "lastTimestamp".to_owned(),
            reason: "the Event tells no time".to_owned(),
        })?);
        let involved = &event.involved_object;
        if let (Some((_, cause)), Some(name)) = (CAUSES.iter().find(|(of, _)| *of == reason), &involved.name)
            && matches!(involved.kind.as_deref(), Some("Node" | "NodeClaim" | "Machine"))
        {
            self.take_cause(name, cause, last_at, facts);
        }
        if self.events.0.get(&event_uid).is_some_and(|told| *told >= last_at) {
            return Ok(());
        }
        if self.events.0.len() >= REMEMBERED {
            let mut times: Vec<Timestamp> = self.events.0.values().copied().collect();
            times.sort_unstable();
            let median = times.get(REMEMBERED / 2).copied().unwrap_or(last_at);
            self.events.0.retain(|_, told| *told > median);
        }
        self.events.0.insert(event_uid.clone(), last_at);
        let component = event
            .reporting_component
            .clone()
            .filter(|component| !component.is_empty())
            .or_else(|| event.source.as_ref().and_then(|source| source.component.clone()));
        let count = series
            .and_then(|series| series.count)
            .or(event.count)
            .unwrap_or(1);
        facts.push(
            ClusterEvent {
                cluster: self.settings.cluster.clone(),
                event_uid,
                reason: reason.to_owned(),
                involved_kind: involved.kind.clone(),
                involved_name: involved.name.clone(),
                involved_uid: involved.uid.clone(),
                namespace: involved.namespace.clone(),
                component,
                message: event
                    .message
                    .as_ref()
                    .map(|message| message.chars().take(MESSAGE_CHARACTERS).collect()),
                // Who writes Events of events.k8s.io, as the scheduler does, tells the first time as `eventTime` alone.
                first_at: time(event.first_timestamp.as_ref())
                    .or(event.event_time.as_ref().map(|time| time.0))
                    .map(micros),
                last_at,
                occurrences: i64::from(count.max(1)),
            }
            .into(),
        );
        Ok(())
    }
}
