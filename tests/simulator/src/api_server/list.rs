//! Lists, whole or page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::failure::Failure;
use super::request::{Form, Parameters};
use super::resources::Resource;
use super::selector::Selector;
use super::store::Store;
use super::table;
use super::version::{Key, Version};

/// How long etcd keeps what was overwritten, as Kubernetes sets it.
const SNAPSHOT_MS: i64 = 5 * 60 * 1000;

/// What the next pages of a list hold.
#[derive(Debug)]
struct Snapshot {
    taken_ms: i64,
    revision: u64,
    items: Vec<Arc<Version>>,
}

/// Lists that somebody is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    taken: BTreeMap<u64, Snapshot>,
    count: u64,
}

impl Snapshots {
    pub(super) fn age(&mut self, now_ms: i64) {
        self.taken
            .retain(|_, snapshot| now_ms - snapshot.taken_ms < SNAPSHOT_MS);
    }

    pub(super) fn clear(&mut self) {
        self.taken.clear();
    }

    fn keep(&mut self, snapshot: Snapshot) -> u64 {
        self.count += 1;
        self.taken.insert(self.count, snapshot);
        self.count
    }
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    revision: u64,
    items: Vec<Arc<Version>>,
    next: Option<String>,
    remaining: Option<usize>,
}

impl Page {
    /// The list as an object, in the form that was asked for.
    pub(super) fn body(
        &self,
        resource: &Resource,
        form: Form,
        parameters: &Parameters,
        now_ms: i64,
    ) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), self.revision.to_string().into());
        if let Some(next) = &self.next {
            metadata.insert("continue".to_owned(), next.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
        let metadata = Value::Object(metadata);
        if form == Form::Table {
            return table::of_list(resource, &self.items, &metadata, parameters, now_ms);
        }
        let (kind, api_version) = match form {
            Form::MetadataOnly => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            ),
            _ => (format!("{}List", resource.kind), resource.api_version()),
        };
        let mut body = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
        )
        .into_bytes();
        for (number, item) in self.items.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            match form {
                Form::MetadataOnly => body.extend_from_slice(item.metadata_only()),
                _ if resource.is_built_in => {
                    body.push(b'{');
                    body.extend_from_slice(item.rest());
                }
                _ => body.extend_from_slice(&item.whole),
            }
        }
        body.extend_from_slice(b"]}\n");
        body
    }
}

/// What a token says: where a list goes on.
enum Token {
    Snapshot {
        number: u64,
        from: usize,
        after: Key,
    },
    /// In what is there now.
    After(Key),
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let object: Value = serde_json::from_str(text).ok()?;
        let after = Key {
            namespace: object.get("namespace")?.as_str()?.to_owned(),
            name: object.get("name")?.as_str()?.to_owned(),
        };
        let Some(number) = object.get("snapshot").and_then(Value::as_u64) else {
            return Some(Self::After(after));
        };
        let from = usize::try_from(object.get("from")?.as_u64()?).ok()?;
        Some(Self::Snapshot { number, from, after })
    }

    fn after(key: &Key) -> String {
        serde_json::json!({"namespace": key.namespace, "name": key.name}).to_string()
    }

    fn snapshot(number: u64, from: usize, key: &Key) -> String {
        let (namespace, name) = (&key.namespace, &key.name);
        serde_json::json!({"snapshot": number, "from": from, "namespace": namespace, "name": name})
            .to_string()
    }
}

/// Lists what a selector selects, as the parameters want it.
pub(super) fn list(
    store: &mut Store,
    number: usize,
    selector: &Selector,
    parameters: &Parameters,
    now_ms: i64,
) -> Result<Page, Failure> {
    check(parameters)?;
    let asked = parameters.number("resourceVersion")?;
    let limit = usize::try_from(parameters.number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let token = parameters.text("continue");
    if token.is_empty() {
        let at = version_wanted(store, asked, parameters)?;
        let items = match at {
            Some(revision) => items_at(store, number, selector, revision)?,
            None => items_now(store, number, selector, None),
        };
        let revision = at.unwrap_or(store.revision);
        // What comes from memory, as it does where any version will do, comes whole.
        let limit = if asked == Some(0) { 0 } else { limit };
        return Ok(cut(store, items, revision, limit, selector, now_ms));
    }
    if asked.is_some_and(|revision| revision > 0) {
        return Err(Failure::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    match Token::parse(token) {
        None => Err(Failure::bad_request("continue key is not valid")),
        Some(Token::After(after)) => {
            let items = items_now(store, number, selector, Some(&after));
            let revision = store.revision;
            Ok(cut(store, items, revision, limit, selector, now_ms))
        }
        Some(Token::Snapshot { number, from, after }) => {
            let is_forgotten = store.faults.take_forgotten_page();
            let snapshot = store.snapshots.taken.get(&number);
            let Some(snapshot) = snapshot.filter(|_| !is_forgotten) else {
                return Err(Failure::page_expired(&Token::after(&after)));
            };
            Ok(page(snapshot, number, from, limit, selector))
        }
    }
}

/// Refuses parameters that do not go together (`ValidateListOptions`).
fn check(parameters: &Parameters) -> Result<(), Failure> {
    let (matching, version) = (
        parameters.text("resourceVersionMatch"),
        parameters.text("resourceVersion"),
    );
    let refused = |field, rule| Err(Failure::invalid_option(field, rule));
    if !parameters.text("sendInitialEvents").is_empty() {
        return refused("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    match matching {
        "" => Ok(()),
        _ if version.is_empty() => refused(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        _ if !parameters.text("continue").is_empty() => refused(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        "Exact" if version == "0" => refused(
            "resourceVersionMatch",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        "Exact" | "NotOlderThan" => Ok(()),
        _ => refused(
            "resourceVersionMatch",
            "supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
    }
}

/// The past version that a list must show, if it must.
fn version_wanted(
    store: &Store,
    asked: Option<u64>,
    parameters: &Parameters,
) -> Result<Option<u64>, Failure> {
    let is_exact = parameters.text("resourceVersionMatch") == "Exact"
        || parameters.number("limit")?.is_some_and(|limit| limit > 0)
            && parameters.text("resourceVersionMatch").is_empty();
    match asked {
        Some(revision) if revision > store.revision => Err(Failure::too_large(revision, store.revision)),
        Some(revision) if is_exact && revision > 0 && revision < store.revision => Ok(Some(revision)),
        _ => Ok(None),
    }
}

fn items_now(store: &Store, number: usize, selector: &Selector, after: Option<&Key>) -> Vec<Arc<Version>> {
    let Some(kept) = store.kept.get(number) else {
        return Vec::new();
    };
    let from = Key {
        namespace: selector.namespace().to_owned(),
        name: String::new(),
    };
    kept.objects
        .range(from..)
        .take_while(|(key, _)| selector.namespace().is_empty() || key.namespace == selector.namespace())
        .filter(|(key, version)| after.is_none_or(|after| *key > after) && selector.matches(version))
        .map(|(_, version)| Arc::clone(version))
        .collect()
}

/// What was there at a version: what is there now, with all undone that has happened since.
fn items_at(
    store: &Store,
    number: usize,
    selector: &Selector,
    revision: u64,
) -> Result<Vec<Arc<Version>>, Failure> {
    let Some(kept) = store.kept.get(number) else {
        return Ok(Vec::new());
    };
    let forgotten = kept.history.forgotten();
    let since = kept
        .history
        .since(revision)
        .filter(|_| revision >= forgotten)
        .ok_or_else(|| Failure::expired(revision, forgotten))?;
    let mut objects = kept.objects.clone();
    for change in since.rev() {
        match &change.previous {
            Some(previous) => objects.insert(previous.key.clone(), Arc::clone(previous)),
            None => objects.remove(&change.version.key),
        };
    }
    Ok(objects
        .into_values()
        .filter(|version| selector.matches(version))
        .collect())
}

/// The first page, after which the rest is kept.
fn cut(
    store: &mut Store,
    items: Vec<Arc<Version>>,
    revision: u64,
    limit: usize,
    selector: &Selector,
    now_ms: i64,
) -> Page {
    let is_whole = limit == 0 || items.len() <= limit;
    let snapshot = Snapshot {
        taken_ms: now_ms,
        revision,
        items,
    };
    if is_whole {
        return page(&snapshot, 0, 0, 0, selector);
    }
    let number = store.snapshots.count + 1;
    let first = page(&snapshot, number, 0, limit, selector);
    store.snapshots.keep(snapshot);
    first
}

fn page(snapshot: &Snapshot, number: u64, from: usize, limit: usize, selector: &Selector) -> Page {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let items: Vec<_> = snapshot.items.iter().skip(from).take(limit).cloned().collect();
    let until = from + items.len();
    let remaining = snapshot.items.len().saturating_sub(until);
    let next = items
        .last()
        .filter(|_| remaining > 0)
        .map(|last| Token::snapshot(number, until, &last.key));
    Page {
        revision: snapshot.revision,
        items,
        next,
        // Kubernetes does not count what it would have to select.
        remaining: (remaining > 0 && !selector.is_narrow()).then_some(remaining),
    }
}
