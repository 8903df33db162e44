//! What the server serves: its version, its groups and their resources.

use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::answer::json_of;
use super::failure::Failure;
use super::resources::{Resource, Resources, api_version};

/// The version of Kubernetes that nodes of the simulation run.
const VERSION: (&str, &str, &str) = ("1", "37", "v1.37.0");

/// Answers a path that names no objects.
pub(super) fn answer(
    resources: &Resources,
    segments: &[String],
    is_aggregated: bool,
) -> Result<Response, Failure> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let body = match names.as_slice() {
        [] => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
        ["version"] => version(),
        ["api"] if is_aggregated => return Ok(aggregated(resources, true)),
        ["apis"] if is_aggregated => return Ok(aggregated(resources, false)),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
        }),
        ["apis"] => {
            let groups: Vec<Value> = group_names(resources)
                .iter()
                .map(|name| group(resources, name))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", name] if group_names(resources).contains(name) => {
            let mut group = group(resources, name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        ["api", version] => served(resources, "", version)?,
        ["apis", group, version] => served(resources, group, version)?,
        _ => return Err(Failure::no_such_path()),
    };
    Ok(json_of(200, &body))
}

fn version() -> Value {
    let (major, minor, version) = VERSION;
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": "36",
        "gitVersion": version,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-08-26T00:00:00Z",
        "goVersion": "go1.26.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// Groups other than the core, in the order in which they came.
fn group_names(resources: &Resources) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for resource in resources.all() {
        if !resource.group.is_empty() && !names.contains(&resource.group.as_str()) {
            names.push(&resource.group);
        }
    }
    names
}

fn versions<'a>(resources: &'a Resources, group: &str) -> Vec<&'a str> {
    let mut versions: Vec<&str> = Vec::new();
    for resource in resources.all().iter().filter(|resource| resource.group == group) {
        if !versions.contains(&resource.version.as_str()) {
            versions.push(&resource.version);
        }
    }
    versions
}

fn group(resources: &Resources, name: &str) -> Value {
    let versions: Vec<Value> = versions(resources, name)
        .into_iter()
        .map(|version| json!({"groupVersion": api_version(name, version), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

/// Subresources of a resource, with the kind and the verbs of each.
fn subresources(resource: &Resource) -> Vec<(&'static str, Value, &'static [&'static str])> {
    let mut subresources = Vec::new();
    if resource.has_status {
        let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        subresources.push(("status", kind, ["get", "patch", "update"].as_slice()));
    }
    if resource.kind == "Pod" && resource.group.is_empty() {
        let kind = json!({"group": "", "version": "v1", "kind": "Binding"});
        subresources.push(("binding", kind, ["create"].as_slice()));
    }
    subresources
}

fn served(resources: &Resources, group: &str, version: &str) -> Result<Value, Failure> {
    let mut list = Vec::new();
    for resource in resources.all() {
        if resource.group != group || resource.version != version {
            continue;
        }
        let mut described = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.is_namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs(),
        });
        if !resource.short_names.is_empty() {
            described["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            described["categories"] = json!(resource.categories);
        }
        list.push(described);
        for (name, kind, verbs) in subresources(resource) {
            list.push(json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.is_namespaced,
                "kind": kind["kind"],
                "verbs": verbs,
            }));
        }
    }
    if list.is_empty() {
        return Err(Failure::no_such_path());
    }
    let group_version = api_version(group, version);
    Ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}),
    )
}

fn aggregated(resources: &Resources, is_core: bool) -> Response {
    let names = if is_core { vec![""] } else { group_names(resources) };
    let items: Vec<Value> = names
        .into_iter()
        .map(|name| {
            let versions: Vec<Value> = versions(resources, name)
                .into_iter()
                .map(|version| {
                    let served: Vec<Value> = resources
                        .all()
                        .iter()
                        .filter(|resource| resource.group == name && resource.version == version)
                        .map(described)
                        .collect();
                    json!({"version": version, "resources": served, "freshness": "Current"})
                })
                .collect();
            let metadata = if is_core { json!({}) } else { json!({"name": name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let mut response = json_of(200, &body);
    // Clients look here whether they got what they asked for.
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    );
    response
}

fn described(resource: &Resource) -> Value {
    let mut described = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        described["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        described["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, kind, verbs)| json!({"subresource": name, "responseKind": kind, "verbs": verbs}))
        .collect();
    if !subresources.is_empty() {
        described["subresources"] = json!(subresources);
    }
    described
}
