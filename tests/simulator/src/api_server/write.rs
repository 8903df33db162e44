//! Writes: objects are made, replaced, patched and deleted, and pods are bound to nodes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::key;
use super::clock::rfc3339;
use super::failure::Failure;
use super::patch;
use super::request::{Asked, Parameters};
use super::resources::Resource;
use super::selector::Selector;
use super::sent::Sent;
use super::store::Store;
use super::version::{Key, Version, text};
use crate::world::Object;

/// How long a pod has to end that does not say so.
const GRACE_SECONDS: i64 = 30;

/// What a write is answered with.
#[derive(Debug)]
pub(super) enum Written {
    Object(Arc<Version>),
    /// A Status, or the list of what was deleted.
    Other(Value),
}

/// A write of one resource.
struct Write<'a> {
    store: &'a mut Store,
    number: usize,
    resource: Resource,
    key: Key,
    subresource: Option<&'a str>,
    is_trial: bool,
    now_ms: i64,
}

/// Does what a verb says; returns the code of the answer and what is shown.
pub(super) fn write(
    store: &mut Store,
    number: usize,
    verb: &str,
    asked: &Asked,
    parameters: &Parameters,
    sent: Sent,
    now_ms: i64,
) -> Result<(u16, Written), Failure> {
    let (resource, _) = store.of(number).ok_or_else(Failure::no_such_path)?;
    let resource = resource.clone();
    if verb == "deletecollection" {
        let namespace = asked.namespace.as_deref();
        return delete_all(store, number, &resource, namespace, parameters, &sent, now_ms);
    }
    let mut write = Write {
        key: key(&resource, asked)?,
        store,
        number,
        resource,
        subresource: asked.subresource.as_deref(),
        is_trial: parameters.text("dryRun") == "All",
        now_ms,
    };
    match (verb, write.subresource, sent) {
        ("create", None, Sent::Object(object)) if asked.name.is_none() => write.create(object),
        ("create", Some("binding"), Sent::Object(binding)) if write.resource.kind == "Pod" => {
            write.bind(&binding)
        }
        ("update", None | Some("status"), Sent::Object(object)) => write.replace(object, false),
        ("patch", None | Some("status"), sent) => write.patch(sent),
        ("delete", None, sent) => write.delete(parameters, &sent),
        ("create", None, _) => Err(Failure::method_not_allowed()),
        _ => Err(Failure::no_such_path()),
    }
}

impl Write<'_> {
    fn there(&self) -> Option<Arc<Version>> {
        let (_, kept) = self.store.of(self.number)?;
        kept.objects.get(&self.key).map(Arc::clone)
    }

    fn needed(&self) -> Result<Arc<Version>, Failure> {
        self.there()
            .ok_or_else(|| Failure::not_found(&self.resource, &self.key.name))
    }

    /// Writes, unless it is only a trial.
    fn put(&mut self, object: Value) -> Result<Arc<Version>, Failure> {
        if self.is_trial {
            let revision = self.store.revision;
            return Ok(Arc::new(Version::of_value(&self.resource, object, revision)));
        }
        let written = self
            .store
            .put(self.number, Object::Other(Box::new(object)), self.now_ms);
        written.ok_or_else(Failure::no_such_path)
    }

    fn remove(&mut self, last: Option<Value>) -> Result<Arc<Version>, Failure> {
        let there = self.needed()?;
        if self.is_trial {
            return Ok(there);
        }
        let removed = self.store.remove(
            self.number,
            &self.key,
            last.map(|last| Object::Other(Box::new(last))),
            self.now_ms,
        );
        removed.ok_or_else(|| Failure::not_found(&self.resource, &self.key.name))
    }

    /// Gives what was sent the kind, the namespace and, unless it is to be made up, the name of the path.
    fn addressed(&self, mut object: Value) -> Result<Value, Failure> {
        let (kind, api_version) = (text(&object, "/kind"), text(&object, "/apiVersion"));
        let is_other_kind = !kind.is_empty() && kind != self.resource.kind
            || !api_version.is_empty() && api_version != self.resource.api_version();
        if is_other_kind {
            return Err(Failure::bad_request(format!(
                "the object provided is a {kind} of {api_version}, not a {} of {}",
                self.resource.kind,
                self.resource.api_version()
            )));
        }
        object["kind"] = self.resource.kind.as_str().into();
        object["apiVersion"] = self.resource.api_version().into();
        if object
            .get("metadata")
            .is_none_or(|metadata| !metadata.is_object())
        {
            object["metadata"] = json!({});
        }
        for (field, wanted) in [("namespace", &self.key.namespace), ("name", &self.key.name)] {
            let given = text(&object, &format!("/metadata/{field}"));
            if !given.is_empty() && !wanted.is_empty() && given != wanted {
                return Err(Failure::bad_request(format!(
                    "the {field} of the provided object does not match the {field} sent on the request"
                )));
            }
            if !wanted.is_empty() {
                object["metadata"][field] = wanted.as_str().into();
            }
        }
        Ok(object)
    }

    fn create(&mut self, object: Value) -> Result<(u16, Written), Failure> {
        let mut object = self.addressed(object)?;
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Failure::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let (name, base) = (
            text(&object, "/metadata/name").to_owned(),
            text(&object, "/metadata/generateName").to_owned(),
        );
        self.key.name = match (name.as_str(), base.as_str()) {
            ("", "") => {
                let what = "Required value: name or generateName is required";
                return Err(Failure::invalid(&self.resource, "", "metadata.name", what));
            }
            ("", base) => format!("{base}{}", self.store.draw.suffix(5)),
            (name, _) => name.to_owned(),
        };
        if self.there().is_some() {
            return Err(Failure::already_exists(&self.resource, &self.key.name));
        }
        object["metadata"]["name"] = self.key.name.as_str().into();
        object["metadata"]["uid"] = self.store.draw.uid().into();
        object["metadata"]["creationTimestamp"] = rfc3339(self.now_ms).into();
        if let Value::Object(metadata) = &mut object["metadata"] {
            metadata.remove("deletionTimestamp");
            metadata.remove("deletionGracePeriodSeconds");
        }
        if self.resource.has_status
            && let Value::Object(fields) = &mut object
        {
            fields.remove("status");
        }
        match self.resource.kind.as_str() {
            "Pod" => object["status"] = json!({"phase": "Pending"}),
            "Namespace" => object["status"] = json!({"phase": "Active"}),
            _ => {}
        }
        Ok((201, Written::Object(self.put(object)?)))
    }

    /// Replaces what is there. `is_read`: the object was made of what is there, and need not say so.
    fn replace(&mut self, object: Value, is_read: bool) -> Result<(u16, Written), Failure> {
        let object = self.addressed(object)?;
        let Some(there) = self.there() else {
            // The only kind of these that a PUT may make.
            if self.resource.kind == "Lease" && self.subresource.is_none() {
                return self.create(object);
            }
            return Err(Failure::not_found(&self.resource, &self.key.name));
        };
        let name = self.key.name.clone();
        let version = text(&object, "/metadata/resourceVersion");
        if version.is_empty() && !is_read && !(self.resource.is_built_in && self.resource.kind != "Lease") {
            let what = "Invalid value: 0x0: must be specified for an update";
            return Err(Failure::invalid(
                &self.resource,
                &name,
                "metadata.resourceVersion",
                what,
            ));
        }
        if !version.is_empty() && version != there.revision.to_string() {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Failure::conflict(&self.resource, &name, why));
        }
        self.check_uid(&there, text(&object, "/metadata/uid"))?;
        let new = self.combined(there.value(), object);
        if new == *there.value() {
            return Ok((200, Written::Object(there)));
        }
        let is_let_go = !text(&new, "/metadata/deletionTimestamp").is_empty()
            && has_finalizers(there.value())
            && !has_finalizers(&new)
            && new
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or(0)
                == 0;
        let written = if is_let_go {
            self.remove(Some(new))?
        } else {
            self.put(new)?
        };
        Ok((200, Written::Object(written)))
    }

    fn check_uid(&self, there: &Version, uid: &str) -> Result<(), Failure> {
        if uid.is_empty() || uid == there.uid {
            return Ok(());
        }
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            there.uid
        );
        Err(Failure::conflict(&self.resource, &self.key.name, &why))
    }

    /// What becomes of an object by what was sent: status and the rest are written apart, and some is the server's.
    fn combined(&self, old: &Value, sent: Value) -> Value {
        let mut new = if self.subresource.is_some() {
            let mut new = old.clone();
            set(&mut new, "status", sent.get("status"));
            return new;
        } else {
            sent
        };
        if self.resource.has_status {
            set(&mut new, "status", old.get("status"));
        }
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ] {
            set(&mut new["metadata"], field, old["metadata"].get(field));
        }
        if let Some(generation) = old["metadata"].get("generation").and_then(Value::as_i64)
            && old.get("spec") != new.get("spec")
        {
            new["metadata"]["generation"] = (generation + 1).into();
        }
        new
    }

    fn patch(&mut self, sent: Sent) -> Result<(u16, Written), Failure> {
        let there = match (self.there(), &sent) {
            (None, Sent::Applied(object)) if self.subresource.is_none() => {
                return self.create_named(object.clone());
            }
            (None, _) => return Err(Failure::not_found(&self.resource, &self.key.name)),
            (Some(there), _) => there,
        };
        let mut object = there.value().clone();
        match &sent {
            Sent::Merged(patch) | Sent::Applied(patch) => patch::merge(&mut object, patch),
            Sent::Steps(steps) => patch::steps(&mut object, steps)
                .map_err(|why| Failure::invalid(&self.resource, &self.key.name, "patch", &why))?,
            Sent::Object(_) | Sent::Nothing => return Err(Failure::bad_request("a patch needs a body")),
        }
        self.replace(object, true)
    }

    fn create_named(&mut self, mut object: Value) -> Result<(u16, Written), Failure> {
        object["metadata"]["name"] = self.key.name.as_str().into();
        self.create(object)
    }

    fn delete(&mut self, parameters: &Parameters, sent: &Sent) -> Result<(u16, Written), Failure> {
        let there = self.needed()?;
        let options = match sent {
            Sent::Object(options) => options.clone(),
            _ => Value::Null,
        };
        self.check_uid(&there, text(&options, "/preconditions/uid"))?;
        let version = text(&options, "/preconditions/resourceVersion");
        if !version.is_empty() && version != there.revision.to_string() {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                there.revision
            );
            return Err(Failure::conflict(&self.resource, &self.key.name, &why));
        }
        let asked = match parameters.number("gracePeriodSeconds")? {
            Some(seconds) => i64::try_from(seconds).ok(),
            None => options.get("gracePeriodSeconds").and_then(Value::as_i64),
        };
        let grace_seconds = self.grace_seconds(there.value(), asked);
        if grace_seconds == 0 && !has_finalizers(there.value()) {
            let removed = self.remove(None)?;
            return Ok((200, self.deleted(removed)));
        }
        let mut object = there.value().clone();
        let is_asked_before = !text(&object, "/metadata/deletionTimestamp").is_empty();
        let before = object
            .pointer("/metadata/deletionGracePeriodSeconds")
            .and_then(Value::as_i64);
        // Once asked for, an end can only come sooner.
        if !is_asked_before || before.is_some_and(|before| before > grace_seconds) {
            let ends_ms = self.now_ms + grace_seconds * 1000;
            object["metadata"]["deletionTimestamp"] = rfc3339(ends_ms).into();
            object["metadata"]["deletionGracePeriodSeconds"] = grace_seconds.into();
            let written = self.put(object)?;
            return Ok((200, Written::Object(written)));
        }
        Ok((200, Written::Object(there)))
    }

    /// How long an object stays after it was asked to go: only a pod on a node has something to end.
    fn grace_seconds(&self, object: &Value, asked: Option<i64>) -> i64 {
        let is_at_work = self.resource.kind == "Pod"
            && self.resource.group.is_empty()
            && !text(object, "/spec/nodeName").is_empty()
            && !matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
        if !is_at_work {
            return 0;
        }
        let usual = object
            .pointer("/spec/terminationGracePeriodSeconds")
            .and_then(Value::as_i64);
        asked.or(usual).unwrap_or(GRACE_SECONDS).max(0)
    }

    fn deleted(&self, removed: Arc<Version>) -> Written {
        if self.resource.kind == "Pod" {
            return Written::Object(removed);
        }
        Written::Other(success(&json!({
            "name": self.key.name,
            "group": self.resource.group,
            "kind": self.resource.plural,
            "uid": removed.uid,
        })))
    }

    /// Puts a pod on a node, as a scheduler asks for.
    fn bind(&mut self, binding: &Value) -> Result<(u16, Written), Failure> {
        let there = self.needed()?;
        let node = text(binding, "/target/name");
        let bound = text(there.value(), "/spec/nodeName");
        let name = self.key.name.clone();
        if node.is_empty() {
            let what = "Required value";
            return Err(Failure::invalid(&self.resource, &name, "target.name", what));
        }
        if !bound.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{bound}\"");
            return Err(Failure::conflict(&self.resource, &name, &why));
        }
        if !text(there.value(), "/metadata/deletionTimestamp").is_empty() {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(Failure::conflict(&self.resource, &name, &why));
        }
        let mut pod = there.value().clone();
        pod["spec"]["nodeName"] = node.into();
        let scheduled = json!({
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": rfc3339(self.now_ms),
        });
        let mut conditions = vec![scheduled];
        let known = there
            .value()
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let others = known
            .into_iter()
            .flatten()
            .filter(|known| text(known, "/type") != "PodScheduled");
        conditions.extend(others.cloned());
        pod["status"]["conditions"] = conditions.into();
        self.put(pod)?;
        Ok((201, Written::Other(success(&Value::Null))))
    }
}

fn set(object: &mut Value, field: &str, value: Option<&Value>) {
    if let Value::Object(fields) = object {
        match value {
            Some(value) => fields.insert(field.to_owned(), value.clone()),
            None => fields.remove(field),
        };
    }
}

fn has_finalizers(object: &Value) -> bool {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|finalizers| !finalizers.is_empty())
}

fn success(details: &Value) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    set(
        &mut status,
        "details",
        Some(details).filter(|details| !details.is_null()),
    );
    status
}

/// Deletes all that is selected, one after the other; returns it as a list.
fn delete_all(
    store: &mut Store,
    number: usize,
    resource: &Resource,
    namespace: Option<&str>,
    parameters: &Parameters,
    sent: &Sent,
    now_ms: i64,
) -> Result<(u16, Written), Failure> {
    let (labels, fields) = (parameters.text("labelSelector"), parameters.text("fieldSelector"));
    let selector = Selector::new(resource, namespace, labels, fields).map_err(Failure::bad_request)?;
    let (_, kept) = store.of(number).ok_or_else(Failure::no_such_path)?;
    let selected: Vec<Arc<Version>> = kept
        .objects
        .values()
        .filter(|version| selector.matches(version))
        .map(Arc::clone)
        .collect();
    for version in &selected {
        let mut write = Write {
            store: &mut *store,
            number,
            resource: resource.clone(),
            key: version.key.clone(),
            subresource: None,
            is_trial: parameters.text("dryRun") == "All",
            now_ms,
        };
        write.delete(parameters, sent)?;
    }
    let items: Vec<&Value> = selected.iter().map(|version| version.value()).collect();
    let list = json!({
        "kind": format!("{}List", resource.kind),
        "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": store.revision.to_string()},
        "items": items,
    });
    Ok((200, Written::Other(list)))
}
