//! A pod as a row: what kubectl calls its status (`printPod`).

use serde_json::Value;

use super::table::since;
use super::version::text;

fn list<'a>(pod: &'a Value, pointer: &str) -> &'a [Value] {
    pod.pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

/// Why a container has ended, in a word.
fn ended(container: &Value) -> Option<String> {
    container.pointer("/state/terminated")?;
    let signal = number(container, "/state/terminated/signal");
    Some(match (text(container, "/state/terminated/reason"), signal) {
        ("", 0) => format!("ExitCode:{}", number(container, "/state/terminated/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    })
}

/// Why it is not through with its init containers, if it is not.
fn initializing(pod: &Value) -> Option<String> {
    let declared = list(pod, "/spec/initContainers");
    for (number_of_it, container) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let is_sidecar = declared.iter().any(|known| {
            text(known, "/name") == text(container, "/name") && text(known, "/restartPolicy") == "Always"
        });
        let is_started = container.get("started") == Some(&Value::Bool(true));
        let waiting = text(container, "/state/waiting/reason");
        match ended(container) {
            Some(_) if number(container, "/state/terminated/exitCode") == 0 => {}
            Some(reason) => return Some(format!("Init:{reason}")),
            None if is_sidecar && is_started => {}
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                return Some(format!("Init:{waiting}"));
            }
            None => return Some(format!("Init:{number_of_it}/{}", declared.len())),
        }
    }
    None
}

fn status(pod: &Value) -> String {
    let phase = text(pod, "/status/phase");
    let stated = text(pod, "/status/reason");
    let mut status = if stated.is_empty() { phase } else { stated }.to_owned();
    let is_gated = list(pod, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated"
    });
    if is_gated {
        "SchedulingGated".clone_into(&mut status);
    }
    let initializing = initializing(pod);
    if initializing.is_none() || has_condition(pod, "Initialized") {
        let mut is_running = false;
        // The first container has the last word.
        for container in list(pod, "/status/containerStatuses").iter().rev() {
            let waiting = text(container, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut status);
            } else if let Some(ended) = ended(container) {
                status = ended;
            } else if container.get("ready") == Some(&Value::Bool(true))
                && container.pointer("/state/running").is_some()
            {
                is_running = true;
            }
        }
        if status == "Completed" && is_running {
            status = if has_condition(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .to_owned();
        }
    } else if let Some(initializing) = initializing {
        status = initializing;
    }
    let is_deleted = !text(pod, "/metadata/deletionTimestamp").is_empty();
    if is_deleted && stated == "NodeLost" {
        status = "Unknown".to_owned();
    } else if is_deleted && !matches!(phase, "Succeeded" | "Failed") {
        status = "Terminating".to_owned();
    }
    status
}

pub(super) fn pod_cells(pod: &Value, now_ms: i64) -> Vec<Value> {
    let statuses = list(pod, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|container| {
            container.get("ready") == Some(&Value::Bool(true))
                && container.pointer("/state/running").is_some()
        })
        .count();
    let restarts: i64 = statuses
        .iter()
        .map(|container| number(container, "/restartCount"))
        .sum();
    let or_none = |pointer: &str| match text(pod, pointer) {
        "" => Value::from("<none>"),
        known => known.into(),
    };
    vec![
        text(pod, "/metadata/name").into(),
        format!("{ready}/{}", list(pod, "/spec/containers").len()).into(),
        status(pod).into(),
        restarts.to_string().into(),
        since(pod, "/metadata/creationTimestamp", now_ms),
        or_none("/status/podIP"),
        or_none("/spec/nodeName"),
        or_none("/status/nominatedNodeName"),
        "<none>".into(),
    ]
}
