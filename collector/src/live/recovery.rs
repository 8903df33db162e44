//! What is read after a time of which no watch tells: Events live an hour, and Jobs tell when their work was done.

use kube::Client;
use serde_json::value::RawValue;

use super::api::{self, Failure};
use super::clock::Clock;
use super::message::Evidence;
use super::resources::Resource;
use crate::object::Object;

/// Reads Events of pods, and Jobs. What cannot be read is missing: the time stays unobserved then.
pub(super) async fn evidence(client: &Client, clock: &Clock) -> Evidence {
    let mut evidence = Evidence::default();
    let of_pods = Some("involvedObject.kind=Pod");
    for item in all(client, clock, "Event", of_pods).await {
        if let Ok(Object::Event(event)) = Object::from_json("Event", item.get()) {
            evidence.events.push(*event);
        }
    }
    for item in all(client, clock, "Job", None).await {
        if let Ok(job) = Object::from_json("Job", item.get()) {
            evidence.jobs.push(job);
        }
    }
    evidence
}

/// Objects per page.
const PAGE: u32 = 500;

async fn all(client: &Client, clock: &Clock, kind: &str, fields: Option<&str>) -> Vec<Box<RawValue>> {
    match pages(client, clock, kind, fields).await {
        Ok(items) => items,
        Err(failure) => {
            tracing::warn!(kind, %failure, "cannot read what happened meanwhile");
            Vec::new()
        }
    }
}

async fn pages(
    client: &Client,
    clock: &Clock,
    kind: &str,
    fields: Option<&str>,
) -> Result<Vec<Box<RawValue>>, Failure> {
    let Some(resource) = Resource::built_in(kind) else {
        return Ok(Vec::new());
    };
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let page = api::page(client, clock, &resource, next.as_deref(), PAGE, fields).await?;
        items.extend(page.items);
        next = page.next;
        if next.is_none() {
            return Ok(items);
        }
    }
}
