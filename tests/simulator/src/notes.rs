//! Events: what schedulers, kubelets and controllers write about objects for people to read.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::objects::time;
use crate::world::{Instance, Object};

/// What an Event is about.
pub(crate) struct Involved {
    kind: &'static str,
    name: String,
    namespace: Option<String>,
    uid: String,
    /// Which part of it.
    field_path: Option<String>,
}

impl Involved {
    pub(crate) fn pod(instance: &Instance) -> Self {
        Self {
            kind: "Pod",
            name: instance.name.clone(),
            namespace: Some(instance.namespace.clone()),
            uid: instance.uid.clone(),
            field_path: None,
        }
    }

    /// The container of a pod.
    pub(crate) fn container(instance: &Instance) -> Self {
        Self {
            field_path: Some(format!("spec.containers{{{}}}", instance.container)),
            ..Self::pod(instance)
        }
    }

    pub(crate) fn node(name: &str, uid: &str) -> Self {
        Self {
            kind: "Node",
            name: name.to_owned(),
            namespace: None,
            uid: uid.to_owned(),
            field_path: None,
        }
    }
}

/// What an Event says.
pub(crate) struct Note<'a> {
    kind: &'static str,
    reason: &'static str,
    component: &'static str,
    involved: &'a Involved,
    message: &'a str,
    /// The node of the kubelet that says it, where that is told.
    host: Option<&'a str>,
}

impl<'a> Note<'a> {
    pub(crate) fn normal(
        reason: &'static str,
        component: &'static str,
        involved: &'a Involved,
        message: &'a str,
    ) -> Self {
        Self {
            kind: "Normal",
            reason,
            component,
            involved,
            message,
            host: None,
        }
    }

    pub(crate) fn at_host(self, host: Option<&'a str>) -> Self {
        Self { host, ..self }
    }

    pub(crate) fn warning(
        reason: &'static str,
        component: &'static str,
        involved: &'a Involved,
        message: &'a str,
    ) -> Self {
        Self {
            kind: "Warning",
            ..Self::normal(reason, component, involved, message)
        }
    }
}

pub(crate) fn event(uid: String, note: &Note<'_>, at: i64) -> Object {
    let involved = note.involved;
    Object::Event(Box::new(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", involved.name, uid.get(..8).unwrap_or(&uid))),
            namespace: Some(involved.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            uid: Some(uid),
            creation_timestamp: Some(time(at)),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(involved.kind.to_owned()),
            name: Some(involved.name.clone()),
            namespace: involved.namespace.clone(),
            uid: Some(involved.uid.clone()),
            field_path: involved.field_path.clone(),
            ..ObjectReference::default()
        },
        reason: Some(note.reason.to_owned()),
        message: Some(note.message.to_owned()),
        type_: Some(note.kind.to_owned()),
        first_timestamp: Some(time(at)),
        last_timestamp: Some(time(at)),
        count: Some(1),
        reporting_component: Some(note.component.to_owned()),
        reporting_instance: note.host.map(str::to_owned),
        source: Some(EventSource {
            component: Some(note.component.to_owned()),
            host: note.host.map(str::to_owned),
        }),
        ..Event::default()
    }))
}
