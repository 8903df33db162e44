//! Recording of a cluster's watches: what is read is written, trimmed, one change per line, as `import kubernetes` reads it.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, watch as signal};
use tokio::task::JoinSet;

use super::batches::Batches;
use super::clock::Clock;
use super::message::{Change, Message, Told};
use super::metrics::Figures;
use super::watch::Watch;
use super::{Settings, resources};
use crate::error::{Error, Result};
use crate::object::Object;

/// A change as a recording has it.
#[derive(Serialize)]
struct Line {
    at: Timestamp,
    #[serde(rename = "type")]
    change: &'static str,
    object: Value,
}

/// Writes what the watches of a cluster tell to `out` until `stop` says true; returns how many changes that were.
///
/// Objects are written without what no fact is made of: environments, arguments, annotations that no rule reads.
///
/// # Errors
/// [`Error::Cluster`] where the cluster cannot be asked, [`Error::Recording`] where nothing can be written.
pub async fn record(
    client: Client,
    settings: Settings,
    clock: Clock,
    mut out: impl Write,
    mut stop: signal::Receiver<bool>,
) -> Result<u64> {
    let metrics = Figures::default().of("recording");
    let settings = Arc::new(settings);
    let (sender, receiver) = mpsc::channel::<Message>(settings.queue.max(1));
    let mut running = JoinSet::new();
    for resource in resources(&client).await? {
        let watch = Watch::new(
            client.clone(),
            resource,
            Arc::clone(&settings),
            clock.clone(),
            sender.clone(),
            metrics.clone(),
            None,
        );
        running.spawn(watch.run());
    }
    drop(sender);
    let mut changes = 0;
    let mut last = Timestamp::MIN;
    let mut batches = Batches::new(receiver);
    let mut is_stopped = false;
    while !is_stopped {
        let stopped = std::pin::pin!(async {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let batch = batches.next(&settings, &clock, stopped).await;
        is_stopped = batch.is_last;
        // Watches arrive one beside the other; a recording goes forward only.
        for message in batch.messages {
            if let Some(line) = line_of(message)? {
                last = last.max(line.at);
                write(&mut out, &Line { at: last, ..line })?;
                changes += 1;
            }
        }
    }
    running.shutdown().await;
    // Nothing else was told until now.
    let end = Line {
        at: last.max(clock.now()),
        change: "BOOKMARK",
        object: serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {}}),
    };
    write(&mut out, &end)?;
    out.flush().map_err(|source| Error::Recording { source })?;
    Ok(changes)
}

fn line_of(message: Message) -> Result<Option<Line>> {
    let Told::Object {
        object, change, seen, ..
    } = message.told
    else {
        return Ok(None);
    };
    let object = value_of(&object).map_err(|error| Error::Recording { source: error.into() })?;
    Ok(Some(Line {
        at: seen.at,
        change: match change {
            Change::Listed => "ADDED",
            Change::Applied => "MODIFIED",
            Change::Deleted => "DELETED",
        },
        object,
    }))
}

fn value_of(object: &Object) -> serde_json::Result<Value> {
    match object {
        Object::Pod(object) => serde_json::to_value(object),
        Object::Node(object) => serde_json::to_value(object),
        Object::Namespace(object) => serde_json::to_value(object),
        Object::PersistentVolume(object) => serde_json::to_value(object),
        Object::PersistentVolumeClaim(object) => serde_json::to_value(object),
        Object::Service(object) => serde_json::to_value(object),
        Object::Event(object) => serde_json::to_value(object),
        Object::NodeClaim(object) | Object::Owner(object) => serde_json::to_value(object),
    }
}

fn write(out: &mut impl Write, line: &Line) -> Result<()> {
    let written = serde_json::to_writer(&mut *out, line)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"));
    written.map_err(|source| Error::Recording { source })
}
