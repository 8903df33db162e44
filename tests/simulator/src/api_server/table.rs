//! Objects as rows, as `kubectl get` shows them (`pkg/printers/internalversion/printers.go`).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::request::Parameters;
use super::resources::Resource;
use super::table_pods::pod_cells;
use super::version::{Version, text};

/// Name, and whether it is shown only where there is room (`-o wide`).
type Column = (&'static str, bool);

const NONE: &str = "<none>";

fn columns(resource: &Resource) -> &'static [Column] {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            ("Name", false),
            ("Ready", false),
            ("Status", false),
            ("Restarts", false),
            ("Age", false),
            ("IP", true),
            ("Node", true),
            ("Nominated Node", true),
            ("Readiness Gates", true),
        ],
        ("", "Node") => &[
            ("Name", false),
            ("Status", false),
            ("Roles", false),
            ("Age", false),
            ("Version", false),
            ("Internal-IP", true),
            ("External-IP", true),
            ("OS-Image", true),
            ("Kernel-Version", true),
            ("Container-Runtime", true),
        ],
        ("", "Namespace") => &[("Name", false), ("Status", false), ("Age", false)],
        ("", "Event") => &[
            ("Last Seen", false),
            ("Type", false),
            ("Reason", false),
            ("Object", false),
            ("Subobject", true),
            ("Source", true),
            ("Message", false),
            ("First Seen", true),
            ("Count", true),
            ("Name", true),
        ],
        ("batch", "Job") => &[
            ("Name", false),
            ("Status", false),
            ("Completions", false),
            ("Duration", false),
            ("Age", false),
        ],
        ("batch", "CronJob") => &[
            ("Name", false),
            ("Schedule", false),
            ("Suspend", false),
            ("Active", false),
            ("Last Schedule", false),
            ("Age", false),
        ],
        ("", "PersistentVolumeClaim") => &[
            ("Name", false),
            ("Status", false),
            ("Volume", false),
            ("Capacity", false),
            ("StorageClass", false),
            ("Age", false),
        ],
        ("", "PersistentVolume") => &[
            ("Name", false),
            ("Capacity", false),
            ("Reclaim Policy", false),
            ("Status", false),
            ("Claim", false),
            ("StorageClass", false),
            ("Age", false),
        ],
        ("coordination.k8s.io", "Lease") => &[("Name", false), ("Holder", false), ("Age", false)],
        _ => &[("Name", false), ("Age", false)],
    }
}

fn cells(resource: &Resource, object: &Value, now_ms: i64) -> Vec<Value> {
    let get = |pointer: &str| or_none(text(object, pointer));
    let (name, age) = (
        get("/metadata/name"),
        since(object, "/metadata/creationTimestamp", now_ms),
    );
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod_cells(object, now_ms),
        ("", "Node") => node_cells(object, name, age),
        ("", "Namespace") => vec![name, phase_or(object, "Active"), age],
        ("", "Event") => event_cells(object, now_ms),
        ("batch", "Job") => job_cells(object, name, age, now_ms),
        ("batch", "CronJob") => {
            let is_suspended = object
                .pointer("/spec/suspend")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            let active = object
                .pointer("/status/active")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let suspended = if is_suspended { "True" } else { "False" };
            let last = since(object, "/status/lastScheduleTime", now_ms);
            let last = if last == "<unknown>" { NONE.into() } else { last };
            vec![
                name,
                get("/spec/schedule"),
                suspended.into(),
                active.into(),
                last,
                age,
            ]
        }
        ("", "PersistentVolumeClaim") => vec![
            name,
            get("/status/phase"),
            text(object, "/spec/volumeName").into(),
            text(object, "/status/capacity/storage").into(),
            text(object, "/spec/storageClassName").into(),
            age,
        ],
        ("", "PersistentVolume") => vec![
            name,
            text(object, "/spec/capacity/storage").into(),
            text(object, "/spec/persistentVolumeReclaimPolicy").into(),
            get("/status/phase"),
            format!(
                "{}/{}",
                text(object, "/spec/claimRef/namespace"),
                text(object, "/spec/claimRef/name")
            )
            .into(),
            text(object, "/spec/storageClassName").into(),
            age,
        ],
        ("coordination.k8s.io", "Lease") => vec![name, text(object, "/spec/holderIdentity").into(), age],
        _ => vec![name, age],
    }
}

fn phase_or(object: &Value, otherwise: &str) -> Value {
    match text(object, "/status/phase") {
        "" => otherwise.into(),
        phase => phase.into(),
    }
}

fn node_cells(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == "Ready")
        .map_or("Unknown", |condition| match text(condition, "/status") {
            "True" => "Ready",
            _ => "NotReady",
        });
    let is_unschedulable = object.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let status = if is_unschedulable {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    };
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let addresses = object.pointer("/status/addresses").and_then(Value::as_array);
    let address = |kind: &str| {
        let found = addresses
            .into_iter()
            .flatten()
            .find(|address| text(address, "/type") == kind);
        or_none(found.map_or("", |address| text(address, "/address")))
    };
    let about = |field: &str| match text(object, &format!("/status/nodeInfo/{field}")) {
        "" => Value::from("<unknown>"),
        known => known.into(),
    };
    vec![
        name,
        status.into(),
        or_none(&roles.join(",")),
        age,
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        about("osImage"),
        about("kernelVersion"),
        about("containerRuntimeVersion"),
    ]
}

fn event_cells(object: &Value, now_ms: i64) -> Vec<Value> {
    let get = |pointer: &str| Value::from(text(object, pointer));
    let kind = text(object, "/involvedObject/kind").to_lowercase();
    let source = match (text(object, "/source/component"), text(object, "/source/host")) {
        ("", _) => text(object, "/reportingComponent").to_owned(),
        (component, "") => component.to_owned(),
        (component, host) => format!("{component}, {host}"),
    };
    vec![
        since(object, "/lastTimestamp", now_ms),
        get("/type"),
        get("/reason"),
        format!("{kind}/{}", text(object, "/involvedObject/name")).into(),
        get("/involvedObject/fieldPath"),
        source.into(),
        text(object, "/message").trim().into(),
        since(object, "/firstTimestamp", now_ms),
        object.get("count").and_then(Value::as_i64).unwrap_or(1).into(),
        get("/metadata/name"),
    ]
}

fn job_cells(object: &Value, name: Value, age: Value, now_ms: i64) -> Vec<Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let has = |kind: &str| {
        conditions
            .into_iter()
            .flatten()
            .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
    };
    let states = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    let is_deleted = !text(object, "/metadata/deletionTimestamp").is_empty();
    let status = states.into_iter().find(|(kind, _)| has(kind)).map_or(
        if is_deleted { "Terminating" } else { "Running" },
        |(_, status)| status,
    );
    let succeeded = object
        .pointer("/status/succeeded")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let completions = object
        .pointer("/spec/completions")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let started = instant(object, "/status/startTime");
    let ended = instant(object, "/status/completionTime").unwrap_or(now_ms);
    let duration = started.map_or_else(String::new, |started| human(ended - started));
    vec![
        name,
        status.into(),
        format!("{succeeded}/{completions}").into(),
        duration.into(),
        age,
    ]
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

fn instant(object: &Value, pointer: &str) -> Option<i64> {
    text(object, pointer)
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// How long ago something was.
pub(super) fn since(object: &Value, pointer: &str, now_ms: i64) -> Value {
    instant(object, pointer).map_or("<unknown>".into(), |at_ms| human(now_ms - at_ms).into())
}

/// A span as kubectl writes it (`duration.HumanDuration`).
pub(super) fn human(ms: i64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{part}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

fn described(resource: &Resource) -> Value {
    columns(resource)
        .iter()
        .map(|(name, is_wide)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": i32::from(*is_wide)})
        })
        .collect()
}

fn row(resource: &Resource, version: &Version, parameters: &Parameters, now_ms: i64) -> Value {
    let mut row = json!({"cells": cells(resource, version.value(), now_ms)});
    row["object"] = match parameters.text("includeObject") {
        "None" => Value::Null,
        "Object" => version.value().clone(),
        _ => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": version.value().get("metadata"),
        }),
    };
    row
}

fn table(metadata: &Value, columns: &Value, rows: &[Value]) -> Vec<u8> {
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
    .to_string()
    .into_bytes()
}

/// A list as a table.
pub(super) fn of_list(
    resource: &Resource,
    items: &[Arc<Version>],
    metadata: &Value,
    parameters: &Parameters,
    now_ms: i64,
) -> Vec<u8> {
    let rows: Vec<Value> = items
        .iter()
        .map(|item| row(resource, item, parameters, now_ms))
        .collect();
    table(metadata, &described(resource), &rows)
}

/// One object as a table. Watches describe the columns once.
pub(super) fn of_one(
    resource: &Resource,
    version: &Version,
    parameters: &Parameters,
    has_columns: bool,
    now_ms: i64,
) -> Vec<u8> {
    let columns = if has_columns {
        described(resource)
    } else {
        Value::Null
    };
    let metadata = json!({"resourceVersion": version.revision.to_string()});
    table(&metadata, &columns, &[row(resource, version, parameters, now_ms)])
}
