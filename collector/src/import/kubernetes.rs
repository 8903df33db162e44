//! `import kubernetes`: what `kubectl get ... -o json` (or `-o yaml`) printed, once or while watching.
//!
//! ```text
//! text -> documents -> objects -> index -> facts -> one commit of the lake
//! ```
//!
//! Documents are lists, single objects, bare arrays of objects and watch events (`kubectl get --watch
//! --output-watch-events`), one after another; gzip is undone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use jiff::civil::Date;
use podledger_sql::lake::{Commit, Lake};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::facts::{CollectionWatermark, Fact};
use crate::import::{Imported, write_facts, write_rows};
use crate::index::{Index, Settings};
use crate::object::Object;
use crate::occupancy::Sight;
use crate::prices::{ListPrice, ServicePrice, list_prices, price_rows, service_prices, service_rows};
use crate::weights::{Weights, fitted_weights};

/// Name of a cluster that nothing identifies.
pub(super) const UNNAMED_CLUSTER: &str = "kubernetes";

/// Keys under which Kubernetes writes times at which something had happened. `deletionTimestamp` is not among them: it
/// lies in the future.
const PAST: &[&str] = &[
    "completionTime",
    "creationTimestamp",
    "eventTime",
    "finishedAt",
    "firstTimestamp",
    "lastHeartbeatTime",
    "lastObservedTime",
    "lastProbeTime",
    "lastTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "startedAt",
    "time",
];

/// How an import is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifier of the cluster; by default the UID of the `kube-system` namespace, if the input shows it.
    pub cluster: Option<String>,
    /// When the objects were as the input shows them; by default the newest time that they tell.
    pub observed_at: Option<Timestamp>,
    /// Annotations that a rule reads.
    pub annotations: Vec<String>,
    /// UTC day under which the facts are filed.
    pub recorded_date: Date,
}

/// What an input held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Identifier of the cluster.
    pub cluster: String,
    /// Objects by kind.
    pub objects: BTreeMap<String, u64>,
    /// Objects that were left out, each with its place and the reason.
    pub rejected: Vec<String>,
    /// Machine types without a built-in list price, as `provider/region/type`.
    pub unpriced: BTreeSet<String>,
    /// When the objects were as the input shows them; `None` for an input without objects.
    pub observed_at: Option<Timestamp>,
}

/// What is needed of a document to see what it is.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(default, borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(rename = "type", default, borrow)]
    event: Option<&'a RawValue>,
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// One object of the input.
struct Item<'a> {
    kind: String,
    text: &'a str,
    /// What a watch told of it; `None` in a list.
    change: Option<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Applied,
    Deleted,
}

/// Reads `bytes` (called `name` in messages) and writes what they show to the lake; the same bytes are written once.
///
/// # Errors
/// [`Error::Input`] with the document at fault where the text is none of Kubernetes; nothing is written then. An object
/// that cannot be read is left out and named in [`Contents::rejected`].
pub fn import(lake: &Lake, name: &Path, bytes: &[u8], options: &Options) -> Result<(Imported, Contents)> {
    let (facts, contents) = read(name, bytes, options)?;
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.update(format!("{} {:?}", contents.cluster, options.observed_at));
    for annotation in &options.annotations {
        hash.update(annotation);
    }
    let id: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if lake.is_committed("kubernetes", &id) {
        return Ok((Imported::Already, contents));
    }
    let note = format!("import kubernetes {}", name.display());
    let mut commit = lake.begin("kubernetes", &id, &note, options.recorded_date)?;
    let mut contents = contents;
    let mut written = write_facts(&mut commit, &facts)?;
    written.extend(catalogue_of(&mut commit, &facts, &mut contents)?);
    commit.publish()?;
    Ok((Imported::Written(written), contents))
}

/// The facts in `bytes`, in the order in which they became known, and what the input held.
///
/// # Errors
/// As [`import`].
pub fn read(name: &Path, bytes: &[u8], options: &Options) -> Result<(Vec<Fact>, Contents)> {
    let path = || name.to_path_buf();
    let text = text(name, bytes)?;
    let documents = documents(name, &text)?;
    let mut items = Vec::new();
    for (position, document) in documents.iter().enumerate() {
        unfold(document.get(), &mut items).map_err(|reason| Error::Input {
            path: path(),
            reason: format!("document {}: {reason}", position + 1),
        })?;
    }
    if items.is_empty() {
        return Err(Error::Input {
            path: path(),
            reason: "shows no Kubernetes object; try `kubectl get pods,nodes -A -o json`".to_owned(),
        });
    }
    let newest = items.iter().filter_map(|item| newest_time(item.text)).max();
    let observed_at = options.observed_at.or(newest).ok_or_else(|| Error::Input {
        path: path(),
        reason: "the objects tell no time; say with --observed-at when they were seen".to_owned(),
    })?;
    let mut contents = Contents {
        observed_at: Some(observed_at),
        ..Contents::default()
    };
    let mut objects = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        match Object::from_json(&item.kind, item.text) {
            Ok(object) => objects.push((position + 1, object, item)),
            Err(error) => contents
                .rejected
                .push(format!("object {} ({}): {error}", position + 1, item.kind)),
        }
    }
    let kube_system = objects.iter().find_map(|(_, object, _)| match object {
        Object::Namespace(namespace) if namespace.metadata.name.as_deref() == Some("kube-system") => {
            namespace.metadata.uid.clone()
        }
        _ => None,
    });
    contents.cluster = options
        .cluster
        .clone()
        .or(kube_system)
        .unwrap_or_else(|| UNNAMED_CLUSTER.to_owned());

    let mut index = Index::new(Settings {
        annotations: options.annotations.clone(),
        ..Settings::new(contents.cluster.clone())
    });
    let mut facts = Vec::new();
    for (position, object, item) in &objects {
        let seen = Sight {
            // Watch events follow each other: each was seen when it was new. A list shows all at once.
            at: match (options.observed_at, item.change) {
                (None, Some(_)) => newest_time(item.text).unwrap_or(observed_at).min(observed_at),
                _ => observed_at,
            },
            is_prompt: false,
        };
        let made = if item.change == Some(Change::Deleted) {
            index.delete(object, seen)
        } else {
            index.apply(object, seen)
        };
        match made {
            Ok(made) => {
                facts.extend(made);
                *contents.objects.entry(item.kind.clone()).or_default() += 1;
            }
            Err(error) => contents.rejected.push(format!(
                "object {position} ({} {}): {error}",
                item.kind,
                object.title()
            )),
        }
    }
    facts.extend(index.tell_kept(observed_at));
    facts.push(
        CollectionWatermark {
            cluster: contents.cluster.clone(),
            observed_through_at: observed_at,
            observed_from_at: None,
        }
        .into(),
    );
    Ok((facts, contents))
}

/// Writes the built-in prices of the machines and services that the facts show, and weights fitted to such prices.
pub(crate) fn catalogue_of(
    commit: &mut Commit<'_>,
    facts: &[Fact],
    contents: &mut Contents,
) -> Result<Vec<(&'static str, u64)>> {
    let mut written = Vec::new();
    let prices = prices_of(facts, contents);
    if !prices.is_empty() {
        written.push(write_rows(commit, "prices", &price_rows(&prices))?);
    }
    let services = services_of(facts)?;
    if !services.is_empty() {
        written.push(write_rows(commit, "service_prices", &service_rows(&services))?);
    }
    let weights = weights_of(facts)?;
    if !weights.is_empty() {
        written.push(write_rows(commit, "allocation_weights", &weights)?);
    }
    Ok(written)
}

/// Built-in prices of services (Fargate, control planes, storage, ...) in the regions that the facts show.
fn services_of(facts: &[Fact]) -> Result<Vec<ServicePrice>> {
    let mut places = BTreeSet::new();
    for fact in facts {
        if let Fact::Machine(machine) = fact
            && let (Some(provider), Some(region)) = (&machine.provider, &machine.region)
        {
            places.insert((provider.as_str(), region.as_str()));
        }
    }
    let mut services = service_prices()?;
    services.retain(|price| places.contains(&(price.provider.as_str(), price.region.as_str())));
    Ok(services)
}

/// Weights fitted to the list prices of the providers that the facts show.
fn weights_of(facts: &[Fact]) -> Result<Vec<Weights>> {
    let mut providers = BTreeSet::new();
    for fact in facts {
        if let Fact::Machine(machine) = fact
            && let Some(provider) = &machine.provider
        {
            providers.insert(provider.as_str());
        }
    }
    let mut weights = fitted_weights()?;
    weights.retain(|row| providers.contains(row.provider.as_str()));
    Ok(weights)
}

/// Built-in list prices of the machines that the facts show.
fn prices_of(facts: &[Fact], contents: &mut Contents) -> Vec<ListPrice> {
    let mut keys = BTreeSet::new();
    for fact in facts {
        if let Fact::Machine(machine) = fact
            && let (Some(provider), Some(region), Some(instance_type)) =
                (&machine.provider, &machine.region, &machine.instance_type)
        {
            keys.insert(format!("{provider}/{region}/{instance_type}"));
        }
    }
    let mut prices = Vec::new();
    for key in keys {
        match list_prices(&key) {
            Ok(found) => prices.extend(found),
            Err(_) => {
                contents.unpriced.insert(key);
            }
        }
    }
    prices
}

fn text(name: &Path, bytes: &[u8]) -> Result<String> {
    let bytes = inflated(name, bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Error::Input {
        path: name.to_path_buf(),
        reason: format!("is no UTF-8 text: {error}"),
    })?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The bytes themselves, or what they hold if they are gzip.
pub(super) fn inflated<'a>(name: &Path, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .map_err(|error| Error::Input {
            path: name.to_path_buf(),
            reason: format!("is no whole gzip file: {error}"),
        })?;
    Ok(Cow::Owned(plain))
}

/// The documents of a text: JSON values one after another, or YAML documents.
fn documents(name: &Path, text: &str) -> Result<Vec<Box<RawValue>>> {
    let input = |reason: String| Error::Input {
        path: name.to_path_buf(),
        reason,
    };
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::Deserializer::from_str(text)
            .into_iter::<Box<RawValue>>()
            .collect::<Result<_, _>>()
            .map_err(|error| input(format!("is no whole JSON: {error}")));
    }
    yaml_serde::Deserializer::from_str(text)
        .map(|document| {
            let value = serde_json::Value::deserialize(document)
                .map_err(|error| input(format!("is no YAML: {error}")))?;
            serde_json::value::to_raw_value(&value).map_err(|error| input(error.to_string()))
        })
        .collect()
}

/// The objects of a document.
fn unfold<'a>(text: &'a str, items: &mut Vec<Item<'a>>) -> Result<(), String> {
    if text.starts_with('[') {
        let each: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for item in each {
            push(item.get(), None, None, items)?;
        }
        return Ok(());
    }
    if text == "null" {
        return Ok(());
    }
    let header: Header<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let event = header
        .event
        .and_then(|event| serde_json::from_str::<String>(event.get()).ok());
    if let (Some(event), Some(object)) = (event, header.object) {
        return match event.as_str() {
            "ADDED" | "MODIFIED" => push(object.get(), None, Some(Change::Applied), items),
            "DELETED" => push(object.get(), None, Some(Change::Deleted), items),
            "BOOKMARK" => Ok(()),
            other => Err(format!(
                "the watch ended with `{other}`: {}",
                excerpt(object.get())
            )),
        };
    }
    if let Some(list) = header.items {
        let kind = header.kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
        for item in list {
            push(item.get(), kind.filter(|kind| !kind.is_empty()), None, items)?;
        }
        return Ok(());
    }
    push(text, None, None, items)
}

fn push<'a>(
    text: &'a str,
    of_list: Option<&str>,
    change: Option<Change>,
    items: &mut Vec<Item<'a>>,
) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        kind: Option<String>,
        #[serde(default)]
        spec: Shape,
        #[serde(default)]
        metadata: Option<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Shape {
        containers: Option<serde::de::IgnoredAny>,
    }
    let kind = match of_list {
        Some(kind) => kind.to_owned(),
        None => {
            let head: Kind = serde_json::from_str(text).map_err(|error| error.to_string())?;
            match (
                head.kind.filter(|kind| !kind.is_empty()),
                head.metadata,
                head.spec.containers,
            ) {
                (Some(kind), Some(_), _) => kind,
                // Some tools print bare arrays of pods.
                (None, Some(_), Some(_)) => "Pod".to_owned(),
                _ => return Err(format!("is no Kubernetes object: {}", excerpt(text))),
            }
        }
    };
    items.push(Item { kind, text, change });
    Ok(())
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The newest time under a key of [`PAST`] in a JSON text.
fn newest_time(text: &str) -> Option<Timestamp> {
    let mut newest = None;
    for (position, _) in text.match_indices("\"20") {
        let value = text
            .get(position + 1..)
            .and_then(|rest| rest.get(..rest.find('"')?));
        let Some(value) = value.filter(|value| (20..=30).contains(&value.len()) && value.ends_with('Z'))
        else {
            continue;
        };
        let before = text[..position].trim_end();
        let key = before
            .strip_suffix(':')
            .map(str::trim_end)
            .and_then(|before| before.strip_suffix('"'));
        if key.is_some_and(|before| {
            PAST.iter()
                .any(|key| before.strip_suffix(key).is_some_and(|rest| rest.ends_with('"')))
        }) && let Ok(at) = value.parse::<Timestamp>()
        {
            newest = newest.max(Some(at));
        }
    }
    newest
}

/// The bytes of a file, or of standard input for `-`.
///
/// # Errors
/// [`Error::Io`].
pub fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(io)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(io)
}

/// A path as messages call it.
#[must_use]
pub fn title(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        PathBuf::from("standard input")
    } else {
        path.to_path_buf()
    }
}
