//! What several watches tell, batch by batch, in the order in which it happened.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::clock::Clock;
use super::message::{Change, Message, Told};

/// Some messages, in order.
pub(super) struct Batch {
    pub messages: Vec<Message>,
    /// Nothing comes after it.
    pub is_last: bool,
}

/// What watches told and nobody has taken yet.
pub(super) struct Batches {
    receiver: Receiver<Message>,
    /// What was read at the instant at which the last batch was made.
    held: Vec<Message>,
}

impl Batches {
    pub(super) fn new(receiver: Receiver<Message>) -> Self {
        Self {
            receiver,
            held: Vec::new(),
        }
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.receiver.len() + self.held.len()
    }

    /// The next batch: as many changes as a commit takes, or as come until it is time for one. It is the last once
    /// `stopped` has ended, or no watch is left.
    pub(super) async fn next(
        &mut self,
        settings: &Settings,
        clock: &Clock,
        mut stopped: impl Future<Output = ()> + Unpin,
    ) -> Batch {
        let until = Instant::now() + settings.commit_every;
        let mut messages = std::mem::take(&mut self.held);
        let mut is_last = false;
        while messages.len() < settings.commit_changes && !is_last {
            tokio::select! {
                biased;
                () = &mut stopped => is_last = true,
                message = self.receiver.recv() => match message {
                    Some(message) => messages.push(message),
                    None => is_last = true,
                },
                () = sleep_until(until) => break,
            }
        }
        if is_last {
            // What was told before counts; watches that wait to tell more are told that nobody listens.
            self.receiver.close();
            while let Ok(message) = self.receiver.try_recv() {
                messages.push(message);
            }
        } else {
            self.held = held_back(&mut messages, clock.now());
        }
        in_order(&mut messages);
        Batch { messages, is_last }
    }
}

/// When a message was read, and the number of its version where it is a change. A list shows what is there when it is read,
/// and comes before the changes of that instant.
fn moment(message: &Message) -> Option<(Timestamp, u128)> {
    match &message.told {
        Told::Object {
            change: Change::Applied | Change::Deleted,
            seen,
            version,
            ..
        } => Some((seen.at, version.parse().unwrap_or(0))),
        Told::Object { seen, .. } => Some((seen.at, 0)),
        Told::Listed { at, .. } => Some((*at, 0)),
        _ => None,
    }
}

/// Puts changes of different resources into the order in which they happened, as far as versions tell it: the watches of
/// a cluster arrive one beside the other. What one watch tells stays in its order.
fn in_order(messages: &mut Vec<Message>) {
    let mut last: BTreeMap<String, (Timestamp, u128)> = BTreeMap::new();
    let mut keyed: Vec<((Timestamp, u128), Message)> = messages
        .drain(..)
        .map(|message| {
            let last = last
                .entry(message.resource.name.clone())
                .or_insert((Timestamp::MIN, 0));
            // Bookmarks stay behind what their watch told before.
            *last = moment(&message).map_or(*last, |moment| moment.max(*last));
            (*last, message)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    messages.extend(keyed.into_iter().map(|(_, message)| message));
}

/// Takes what was read at `now` out of a batch: other watches may be about to tell what happened before it.
fn held_back(batch: &mut Vec<Message>, now: Timestamp) -> Vec<Message> {
    let mut waiting = BTreeSet::new();
    let (held, kept): (Vec<Message>, Vec<Message>) = batch.drain(..).partition(|message| {
        let is_new = moment(message).is_some_and(|(at, _)| at >= now);
        if is_new {
            waiting.insert(message.resource.name.clone());
        }
        is_new || waiting.contains(&message.resource.name)
    });
    if kept.is_empty() {
        // More happened at one instant than a batch takes.
        *batch = held;
        return Vec::new();
    }
    *batch = kept;
    held
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::live::resources::Resource;
    use crate::object::Object;
    use crate::occupancy::Sight;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn message(kind: &str, told: Told) -> Message {
        Message {
            resource: Arc::new(Resource::built_in(kind).unwrap()),
            told,
        }
    }

    fn object(kind: &str, name: &str, change: Change, second: i64, version: u32) -> Message {
        let text = json!({"metadata": {"name": name, "uid": name}}).to_string();
        let told = Told::Object {
            object: Box::new(Object::from_json(kind, &text).unwrap()),
            change,
            seen: Sight {
                at: at(second),
                is_prompt: false,
            },
            version: version.to_string(),
            through: at(second),
        };
        message(kind, told)
    }

    fn names(messages: &[Message]) -> Vec<String> {
        let name = |message: &Message| match &message.told {
            Told::Object { object, .. } => object.metadata().name.clone().unwrap(),
            Told::Listing => "listing".to_owned(),
            Told::Listed { .. } => "listed".to_owned(),
            _ => "reached".to_owned(),
        };
        messages.iter().map(name).collect()
    }

    #[test]
    fn a_list_comes_after_what_other_watches_told_before_it_was_read() {
        let listed = Told::Listed {
            version: "8".to_owned(),
            at: at(61),
            blind: None,
        };
        let reached = Told::Reached {
            version: "12".to_owned(),
            through: at(70),
        };
        let mut messages = vec![
            object("Pod", "early", Change::Applied, 5, 3),
            // The server was set back, and with it the versions.
            message("Pod", Told::Listing),
            object("Pod", "shown", Change::Listed, 60, 7),
            message("Pod", listed),
            object("Pod", "started", Change::Applied, 61, 9),
            message("Pod", reached),
            object("Node", "gone", Change::Deleted, 10, 900),
            object("Node", "new", Change::Applied, 61, 10),
            object("Node", "late", Change::Applied, 62, 11),
        ];
        in_order(&mut messages);
        assert_eq!(
            names(&messages),
            [
                "early", "listing", "gone", "shown", "listed", "started", "reached", "new", "late"
            ]
        );
    }
}
