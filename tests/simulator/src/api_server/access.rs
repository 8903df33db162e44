//! Who may do what: service accounts, roles and bindings (RBAC).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use yaml_serde::Deserializer;

use super::Use;
use super::failure::Failure;
use super::resources::qualified;
use super::version::text;

/// What may be done.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    paths: Vec<String>,
}

/// Rules for one account, in one namespace or in all.
#[derive(Debug, Clone)]
struct Grant {
    user: String,
    namespace: Option<String>,
    rules: Vec<Rule>,
}

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub struct Access {
    users: BTreeSet<String>,
    grants: Vec<Grant>,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    used: &'a Use,
    /// With its subresource: `pods/status`.
    resource: String,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(used: &'a Use) -> Self {
        let resource = match &used.subresource {
            Some(subresource) => format!("{}/{subresource}", used.resource),
            None => used.resource.clone(),
        };
        Self { used, resource }
    }
}

impl Access {
    /// What a manifest grants: its ServiceAccounts, Roles, ClusterRoles and the bindings of both. Other documents do not matter.
    ///
    /// # Errors
    /// What cannot be read, and a binding of a role or an account that is not in the manifest.
    pub fn from_yaml(manifest: &str) -> Result<Self, String> {
        let mut documents: Vec<Value> = Vec::new();
        for document in Deserializer::from_str(manifest) {
            let document =
                Value::deserialize(document).map_err(|error| format!("cannot read the manifest: {error}"))?;
            match document.get("items").and_then(Value::as_array) {
                Some(items) if text(&document, "/kind") == "List" => documents.extend(items.iter().cloned()),
                _ => documents.push(document),
            }
        }
        let mut access = Self::default();
        for document in documents
            .iter()
            .filter(|document| text(document, "/kind") == "ServiceAccount")
        {
            access.users.insert(user(
                text(document, "/metadata/namespace"),
                text(document, "/metadata/name"),
            ));
        }
        for binding in &documents {
            let is_of_cluster = match text(binding, "/kind") {
                "ClusterRoleBinding" => true,
                "RoleBinding" => false,
                _ => continue,
            };
            access.bind(binding, is_of_cluster, &documents)?;
        }
        Ok(access)
    }

    fn bind(&mut self, binding: &Value, is_of_cluster: bool, documents: &[Value]) -> Result<(), String> {
        let name = text(binding, "/metadata/name");
        let namespace = text(binding, "/metadata/namespace");
        let (role_kind, role_name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let role = documents
            .iter()
            .find(|document| {
                text(document, "/kind") == role_kind
                    && text(document, "/metadata/name") == role_name
                    && (role_kind == "ClusterRole" || text(document, "/metadata/namespace") == namespace)
            })
            .ok_or_else(|| {
                format!("binding {name} is of {role_kind} {role_name}, which is not in the manifest")
            })?;
        let rules: Vec<Rule> = match role.get("rules") {
            None | Some(Value::Null) => Vec::new(),
            Some(rules) => Vec::deserialize(rules)
                .map_err(|error| format!("cannot read the rules of {role_kind} {role_name}: {error}"))?,
        };
        for subject in binding
            .get("subjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if text(subject, "/kind") != "ServiceAccount" {
                continue;
            }
            let user = user(text(subject, "/namespace"), text(subject, "/name"));
            if !self.users.contains(&user) {
                return Err(format!(
                    "binding {name} is for {user}, which is not in the manifest"
                ));
            }
            self.grants.push(Grant {
                user,
                namespace: (!is_of_cluster).then(|| namespace.to_owned()),
                rules: rules.clone(),
            });
        }
        Ok(())
    }

    /// Whether somebody is known at all.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.users.contains(user)
    }

    pub(super) fn check(&self, user: &str, asked: &Attributes<'_>) -> Result<(), Failure> {
        let used = asked.used;
        let is_granted = self.grants.iter().any(|grant| {
            grant.user == user
                && grant
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| used.namespace.as_ref() == Some(namespace))
                && grant.rules.iter().any(|rule| rule.grants(asked))
        });
        if is_granted {
            return Ok(());
        }
        let object = match &used.name {
            Some(name) => format!("{} \"{name}\"", qualified(&used.group, &used.resource)),
            None => qualified(&used.group, &used.resource),
        };
        let place = match &used.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{object} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            used.verb, asked.resource, used.group
        );
        let name = used.name.as_deref().unwrap_or_default();
        Err(Failure::forbidden(message, &used.group, &used.resource, name))
    }

    /// Discovery and health are open to all who are known (`system:discovery`, `system:public-info-viewer`).
    pub(super) fn check_path(&self, user: &str, path: &str, verb: &str) -> Result<(), Failure> {
        const OPEN: [&str; 9] = [
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/readyz",
            "/version",
            "/openapi/*",
        ];
        let is_open = verb == "get" && OPEN.iter().any(|open| covers(open, path));
        let is_granted = self
            .grants
            .iter()
            .filter(|grant| grant.user == user && grant.namespace.is_none())
            .any(|grant| {
                grant.rules.iter().any(|rule| {
                    has(&rule.verbs, &[verb]) && rule.paths.iter().any(|granted| covers(granted, path))
                })
            });
        if is_open || is_granted {
            return Ok(());
        }
        let message = format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\"");
        Err(Failure::forbidden(message, "", "", ""))
    }
}

impl Rule {
    fn grants(&self, asked: &Attributes<'_>) -> bool {
        let used = asked.used;
        let every_subresource = used
            .subresource
            .as_ref()
            .map(|subresource| format!("*/{subresource}"));
        let mut resources = vec![asked.resource.as_str()];
        resources.extend(every_subresource.as_deref());
        has(&self.verbs, &[used.verb])
            && has(&self.api_groups, &[&used.group])
            && has(&self.resources, &resources)
            && (self.resource_names.is_empty()
                || used
                    .name
                    .as_ref()
                    .is_some_and(|name| self.resource_names.contains(name)))
    }
}

fn has(granted: &[String], asked: &[&str]) -> bool {
    granted
        .iter()
        .any(|granted| granted == "*" || asked.contains(&granted.as_str()))
}

fn covers(granted: &str, path: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => granted == path,
    }
}

fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
