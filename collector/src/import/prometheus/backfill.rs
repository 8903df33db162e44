//! What goes on from one hour of a server's memory to the next: what is there, what was told of it, what follows.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use super::elsewhere::Elsewhere;
use super::moments::OnePod;
use super::names::Names;
use super::objects::{self, Pods, UNKNOWN_EXIT, instant_ms};
use super::presence::{Scrapes, Seen};
use super::server::{Series, Server};
use super::told::Told;
use super::usage::{self, Extra, PodNames, Usage};
use super::{DAY_MS, Every, HOUR_MS, Options, Totals, label};
use crate::error::Result;
use crate::facts::{CollectionGap, CollectionWatermark, Fact, UsageHour};
use crate::index::{Index, Settings as IndexSettings};
use crate::object::{Kind, Object};
use crate::occupancy::Sight;
use crate::usage::fact;
use crate::usage::fold::{Fold, Key};

/// Where nobody scraped for longer, nothing was seen: as long as Prometheus itself takes a value to hold.
const BLIND_MS: i64 = 300_000;

/// What a day came to.
#[derive(Debug, Default)]
pub struct Day {
    pub facts: Vec<Fact>,
    pub usage: Vec<UsageHour>,
}

/// A pod or node that was there when it was last looked.
#[derive(Debug)]
struct There {
    seen: Seen,
    /// What was told of it last.
    told: u64,
    node: String,
    asked_to_go_ms: Option<i64>,
}

/// What goes on from one hour to the next.
pub struct Backfill<'a> {
    options: &'a Options,
    elsewhere: &'a Elsewhere,
    every: Every,
    names: Names,
    index: Index,
    scrapes: Scrapes,
    pods: HashMap<String, There>,
    nodes: HashMap<String, There>,
    /// What was told last of owners and namespaces, by UID.
    others: HashMap<String, u64>,
    job_times: HashMap<(String, String), i64>,
    pod_names: PodNames,
    usage: Usage,
    fold: Fold,
    extras: HashMap<(Key, i64), Extra>,
    day: Day,
    /// The first look of the day.
    first_look_ms: Option<i64>,
    pods_seen: HashSet<String>,
    nodes_seen: HashSet<String>,
    untyped: HashSet<String>,
    gaps: u64,
    rejected: Vec<String>,
}

/// A change of an object, in the order in which changes of one instant are told.
enum Change {
    Object(&'static str, serde_json::Value),
    PodMissed { uid: String, since_ms: i64 },
    NodeMissed { name: String },
}

impl<'a> Backfill<'a> {
    pub fn new(options: &'a Options, elsewhere: &'a Elsewhere, every: Every) -> Self {
        let settings = IndexSettings {
            annotations: options.annotations.clone(),
            ..IndexSettings::new(options.cluster.clone())
        };
        let resources = settings.accelerators.iter().map(|kind| kind.resource.clone());
        let labels = options.labels.iter().chain(&options.annotations).cloned();
        let of_nodes = crate::index::node_labels().map(str::to_owned);
        let names = Names::new(labels.chain(resources).chain(of_nodes));
        Self {
            names,
            index: Index::new(settings),
            options,
            elsewhere,
            every,
            scrapes: Scrapes::default(),
            pods: HashMap::new(),
            nodes: HashMap::new(),
            others: HashMap::new(),
            job_times: HashMap::new(),
            pod_names: PodNames::default(),
            usage: Usage::default(),
            fold: Fold::new(SignedDuration::from_millis(every.usage_ms)),
            extras: HashMap::new(),
            day: Day::default(),
            first_look_ms: None,
            pods_seen: HashSet::new(),
            nodes_seen: HashSet::new(),
            untyped: HashSet::new(),
            gaps: 0,
            rejected: Vec::new(),
        }
    }

    /// Reads the day before once more, and days before that while nothing was seen in them: what was there at its end goes on.
    pub async fn go_on(
        &mut self,
        server: &Server,
        since_ms: i64,
        (mut from_ms, to_ms): (i64, i64),
        progress: &dyn Fn(&str),
    ) -> Result<()> {
        while from_ms > since_ms
            && server
                .over("count_over_time", "kube_pod_info", "", from_ms, to_ms, "")
                .await?
                .is_empty()
        {
            from_ms = since_ms.max(from_ms - DAY_MS);
        }
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let next_ms = to_ms.min((at_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS);
            progress(&format!("{} (once more)", label(at_ms)));
            self.window(server, at_ms, next_ms).await?;
            at_ms = next_ms;
        }
        drop(self.take());
        self.pods_seen.clear();
        self.nodes_seen.clear();
        self.rejected.clear();
        self.gaps = 0;
        self.usage.of_unknown_pods = 0;
        Ok(())
    }

    /// Takes in what a server knows of `[from_ms, to_ms)`, an hour at most.
    pub async fn window(&mut self, server: &Server, from_ms: i64, to_ms: i64) -> Result<()> {
        let told = Told::ask(server, from_ms, to_ms).await?;
        self.objects(&told);
        self.usage
            .read(server, &self.pod_names, &mut self.fold, from_ms, to_ms)
            .await?;
        let hour_ms = from_ms.div_euclid(HOUR_MS) * HOUR_MS;
        for (key, extra) in usage::extras(server, &self.pod_names, from_ms, to_ms).await? {
            self.extras.insert((key, hour_ms), extra);
        }
        let silent_ms = to_ms - 10 * self.every.usage_ms;
        if let Ok(silent) = Timestamp::from_millisecond(silent_ms) {
            self.fold.forget_silent(silent);
        }
        self.pod_names.forget_before(from_ms - DAY_MS);
        let pods = &self.pods;
        self.usage.forget(&|uid| pods.contains_key(uid));
        Ok(())
    }

    /// Takes in what was told of objects.
    fn objects(&mut self, told: &Told) {
        let before_ms = self.scrapes.last();
        for series in told.pods.iter().chain(&told.nodes) {
            for (at_ms, _) in &series.samples {
                self.first_look_ms = Some(self.first_look_ms.map_or(*at_ms, |first_ms| first_ms.min(*at_ms)));
                self.scrapes
                    .add(series.labels.get("instance").map_or("", String::as_str), *at_ms);
            }
        }
        // Before the first look of all nobody is said to have looked.
        if let Some(since_ms) = before_ms.or(self.first_look_ms) {
            self.note_gaps(since_ms);
        }
        for series in told.of("kube_job_created") {
            if let Some(ms) = instant_ms(series) {
                let key = (
                    series.label("namespace").to_owned(),
                    series.label("job_name").to_owned(),
                );
                self.job_times.insert(key, ms);
            }
        }
        let mut changes: Vec<(i64, u8, String, Change)> = Vec::new();
        self.nodes_of(told, &mut changes);
        self.others_of(told, &mut changes);
        self.pods_of(told, &mut changes);
        changes.sort_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)));
        // What vanished is remembered for those who recover it; nobody does here.
        self.index.relisting("Pod");
        for (at_ms, _, name, change) in changes {
            let Ok(at) = Timestamp::from_millisecond(at_ms) else {
                continue;
            };
            let seen = Sight { at, is_prompt: false };
            let made = match change {
                Change::Object(kind, object) => Object::from_json(kind, &object.to_string())
                    .and_then(|object| self.index.apply(&object, seen)),
                Change::PodMissed { uid, since_ms } => {
                    let since = Timestamp::from_millisecond(since_ms).ok();
                    Ok(self.index.missed(Kind::Pod, &uid, seen, since))
                }
                Change::NodeMissed { name } => Ok(self.index.missed(Kind::Node, &name, seen, None)),
            };
            match made {
                Ok(made) => self.day.facts.extend(made.into_iter().map(without_invented)),
                Err(error) => self.rejected.push(format!("{name}: {error}")),
            }
        }
        if let Some(last_ms) = self.scrapes.last() {
            self.scrapes.forget_before(last_ms.min(told.to_ms) - HOUR_MS);
        }
    }

    /// Where nobody scraped, nothing was seen.
    fn note_gaps(&mut self, since_ms: i64) {
        for (from_ms, to_ms) in self
            .scrapes
            .holes(since_ms, BLIND_MS.max(3 * self.every.objects_ms))
        {
            let (Ok(gap_start_at), Ok(gap_end_at)) = (
                Timestamp::from_millisecond(from_ms),
                Timestamp::from_millisecond(to_ms),
            ) else {
                continue;
            };
            self.gaps += 1;
            self.day.facts.push(
                CollectionGap {
                    cluster: self.options.cluster.clone(),
                    resource: "pods".to_owned(),
                    gap_start_at,
                    gap_end_at,
                    reason: "outage",
                    recovered_pods: None,
                }
                .into(),
            );
        }
    }

    fn nodes_of(&mut self, told: &Told, changes: &mut Vec<(i64, u8, String, Change)>) {
        for series in &told.nodes {
            let name = series.label("node");
            let (Some((first_ms, _)), Some((last_ms, _))) = (series.samples.first(), series.samples.last())
            else {
                continue;
            };
            let elsewhere = self.elsewhere;
            let object = objects::node(told, series, &self.names, |created_ms| {
                elsewhere.machine(name, series.label("provider_id"), created_ms)
            });
            if object["metadata"]["labels"]["node.kubernetes.io/instance-type"].is_null() {
                self.untyped.insert(name.to_owned());
            }
            self.nodes_seen.insert(name.to_owned());
            let digest = hash(&object);
            let known = self.nodes.get(name);
            let is_same = known.is_some_and(|known| known.told == digest);
            let seen_before_ms = known.map_or(i64::MIN, |known| known.seen.at_ms);
            if !is_same {
                changes.push((*first_ms, 1, name.to_owned(), Change::Object("Node", object)));
            }
            if *last_ms >= seen_before_ms {
                let there = There {
                    seen: Seen {
                        at_ms: *last_ms,
                        by: series.labels.get("instance").cloned().unwrap_or_default(),
                    },
                    told: digest,
                    node: String::new(),
                    asked_to_go_ms: None,
                };
                self.nodes.insert(name.to_owned(), there);
            }
        }
        let missed: Vec<(String, i64)> = self
            .nodes
            .iter()
            .filter_map(|(name, there)| Some((name.clone(), self.scrapes.missed(&there.seen)?)))
            .collect();
        for (name, at_ms) in missed {
            self.nodes.remove(&name);
            changes.push((at_ms, 5, name.clone(), Change::NodeMissed { name }));
        }
    }

    /// Owners and namespaces.
    fn others_of(&mut self, told: &Told, changes: &mut Vec<(i64, u8, String, Change)>) {
        let owner_uid =
            |kind: &str, namespace: &str, name: &str| self.owner_uid(kind, namespace, name, told.to_ms);
        let mut objects: Vec<(u8, &'static str, serde_json::Value)> = objects::namespaces(told, &self.names)
            .into_iter()
            .map(|object| (0, "Namespace", object))
            .collect();
        objects.extend(
            objects::owners(told, &self.names, &owner_uid)
                .into_iter()
                .map(|(kind, object)| (2, kind, object)),
        );
        for (rank, kind, object) in objects {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let digest = hash(&object);
            if self.others.insert(uid.clone(), digest) != Some(digest) {
                changes.push((told.from_ms, rank, uid, Change::Object(kind, object)));
            }
        }
    }

    fn pods_of(&mut self, told: &Told, changes: &mut Vec<(i64, u8, String, Change)>) {
        let pods = Pods::new(told, &self.names);
        let waits = pods.waits();
        let mut series_of: HashMap<&str, Vec<&Series>> = HashMap::new();
        for series in &told.pods {
            if !series.label("uid").is_empty() && !series.samples.is_empty() {
                series_of.entry(series.label("uid")).or_default().push(series);
            }
        }
        // Names first: an owner may be a pod that is told later.
        for (uid, series) in &series_of {
            for series in series {
                let (Some((first_ms, _)), Some((last_ms, _))) =
                    (series.samples.first(), series.samples.last())
                else {
                    continue;
                };
                let created_ms = pods.created_ms(uid).unwrap_or(*first_ms).min(*first_ms);
                self.pod_names.add(
                    series.label("namespace"),
                    series.label("pod"),
                    uid,
                    created_ms,
                    *last_ms,
                );
            }
        }
        let (mut phases, mut deletions) = (HashMap::new(), HashMap::new());
        for series in &told.phases {
            phases
                .entry(series.label("uid"))
                .or_insert_with(Vec::new)
                .push(series);
        }
        for series in &told.deletions {
            deletions
                .entry(series.label("uid"))
                .or_insert_with(Vec::new)
                .push(series);
        }
        let mut uids: Vec<&str> = series_of.keys().copied().collect();
        uids.sort_unstable();
        for uid in uids {
            let series = &series_of[uid];
            let pod = OnePod {
                series,
                phases: phases.get(uid).map_or(&[], Vec::as_slice),
                deletions: deletions.get(uid).map_or(&[], Vec::as_slice),
                waits: waits.get(uid).map_or(&[], Vec::as_slice),
            };
            let known = self.pods.get(uid);
            let mut digest = known.map_or(0, |known| known.told);
            let node = known.map_or(String::new(), |known| known.node.clone());
            let asked_to_go_ms = known.and_then(|known| known.asked_to_go_ms);
            let moments = pod.moments(node, asked_to_go_ms);
            for moment in &moments {
                let owner_uid = |kind: &str, namespace: &str, name: &str| {
                    self.owner_uid(kind, namespace, name, moment.at_ms)
                };
                let object = pods.object(series[0], moment, &owner_uid);
                let new = hash(&object);
                if new != digest {
                    digest = new;
                    changes.push((moment.at_ms, 3, uid.to_owned(), Change::Object("Pod", object)));
                }
            }
            let last = series.iter().filter_map(|series| {
                let (at_ms, _) = series.samples.last()?;
                let by = series.labels.get("instance").cloned().unwrap_or_default();
                Some(Seen { at_ms: *at_ms, by })
            });
            let (Some(seen), Some(moment)) = (
                last.max_by(|a, b| (a.at_ms, &a.by).cmp(&(b.at_ms, &b.by))),
                moments.last(),
            ) else {
                continue;
            };
            self.pods_seen.insert(uid.to_owned());
            let there = There {
                seen,
                told: digest,
                node: moment.node.clone(),
                asked_to_go_ms: moment.asked_to_go_ms,
            };
            self.pods.insert(uid.to_owned(), there);
        }
        let missed: Vec<(String, i64, i64)> = self
            .pods
            .iter()
            .filter_map(|(uid, there)| {
                Some((uid.clone(), there.seen.at_ms, self.scrapes.missed(&there.seen)?))
            })
            .collect();
        for (uid, since_ms, at_ms) in missed {
            self.pods.remove(&uid);
            changes.push((at_ms, 4, uid.clone(), Change::PodMissed { uid, since_ms }));
        }
    }

    /// What stands for the UID of an owner, which kube-state-metrics does not tell: a pod's own, else its kind and name, and
    /// of a Job when it was made, as names of Jobs are used again.
    fn owner_uid(&self, kind: &str, namespace: &str, name: &str, at_ms: i64) -> String {
        if kind == "Pod"
            && let Some(uid) = self.pod_names.uid(namespace, name, at_ms)
        {
            return uid.to_owned();
        }
        let made = self.job_times.get(&(namespace.to_owned(), name.to_owned()));
        match made.filter(|_| kind == "Job") {
            Some(made_ms) => format!("{kind}/{namespace}/{name}@{}", made_ms / 1000),
            None => format!("{kind}/{namespace}/{name}"),
        }
    }

    /// What is there at the end goes on, unless somebody who looked afterwards did not see it.
    pub fn end(&mut self, until_ms: i64) {
        let elsewhere = self.elsewhere;
        let Ok(at) = Timestamp::from_millisecond(until_ms) else {
            return;
        };
        let seen = Sight { at, is_prompt: false };
        let (mut pods, mut nodes): (Vec<_>, Vec<_>) = (
            self.pods
                .iter()
                .map(|(uid, there)| (uid.clone(), there.seen.at_ms))
                .collect(),
            self.nodes.keys().cloned().collect(),
        );
        pods.sort_unstable();
        nodes.sort_unstable();
        if elsewhere.since.is_some() {
            for (uid, since_ms) in pods.into_iter().filter(|(uid, _)| !elsewhere.pods.contains(uid)) {
                let since = Timestamp::from_millisecond(since_ms).ok();
                let made = self.index.missed(Kind::Pod, &uid, seen, since);
                self.day.facts.extend(made.into_iter().map(without_invented));
            }
            for name in nodes.into_iter().filter(|name| !elsewhere.nodes.contains(name)) {
                let made = self.index.missed(Kind::Node, &name, seen, None);
                self.day.facts.extend(made);
            }
        }
        let hours = self.fold.finish(usize::MAX);
        self.note_hours(hours);
    }

    /// The day that follows was imported before: of it only what is missing in it is told.
    pub async fn meet(&mut self, server: &Server, from_ms: i64, to_ms: i64) -> Result<()> {
        let pods: HashSet<String> = self.pods.keys().cloned().collect();
        let nodes: HashSet<String> = self.nodes.keys().cloned().collect();
        let told = Told::ask(server, from_ms, to_ms).await?;
        let begun = self.day.facts.len();
        self.objects(&told);
        let is_shown = |series: &[Series], label: &str, name: &str| {
            series.iter().any(|series| series.label(label) == name)
        };
        let mut number = 0;
        self.day.facts.retain(|fact| {
            number += 1;
            number <= begun
                || match fact {
                    Fact::PodState(state) => {
                        pods.contains(&state.pod_uid) && !is_shown(&told.pods, "uid", &state.pod_uid)
                    }
                    Fact::Machine(machine) => machine
                        .node_name
                        .as_ref()
                        .is_some_and(|name| nodes.contains(name) && !is_shown(&told.nodes, "node", name)),
                    Fact::CollectionGap(_) => true,
                    _ => false,
                }
        });
        Ok(())
    }

    /// The facts of the day that is over.
    pub fn take(&mut self) -> Day {
        let hours = self.fold.take();
        self.note_hours(hours);
        drop(self.fold.take_marks());
        // Hours that are not over yet are the newest that there are.
        let open_ms = self.extras.keys().map(|(_, hour_ms)| *hour_ms).max();
        self.extras.retain(|(_, hour_ms), _| Some(*hour_ms) == open_ms);
        let mut day = std::mem::take(&mut self.day);
        let instant = |ms: i64| Timestamp::from_millisecond(ms).ok();
        if let Some(observed_through_at) = self.scrapes.last().and_then(instant) {
            let cluster = self.options.cluster.clone();
            let observed_from_at = self.first_look_ms.take().and_then(instant);
            day.facts.push(
                CollectionWatermark {
                    cluster,
                    observed_through_at,
                    observed_from_at,
                }
                .into(),
            );
        }
        day
    }

    fn note_hours(&mut self, hours: Vec<crate::usage::fold::Hour>) {
        for hour in hours {
            let place = (hour.key.clone(), hour.hour_start_at.as_millisecond());
            let extra = self.extras.remove(&place).unwrap_or_default();
            let told = fact(&self.options.cluster, "prometheus", hour);
            self.day.usage.push(UsageHour {
                cpu_periods: extra.cpu_periods,
                cpu_throttled_periods: extra.cpu_throttled_periods,
                gpu_usage_milligpu_ms: extra.gpu_usage_milligpu_ms,
                gpu_measured_ms: extra.gpu_measured_ms,
                gpu_memory_peak_bytes: extra.gpu_memory_peak_bytes,
                ..told
            });
        }
    }

    pub fn count(self, totals: &mut Totals) {
        totals.pods = self.pods_seen.len() as u64;
        totals.nodes = self.nodes_seen.len() as u64;
        totals.untyped_nodes = self.untyped.len() as u64;
        totals.samples_of_unknown_pods = self.usage.of_unknown_pods;
        totals.gaps = self.gaps;
        totals.rejected = self.rejected;
    }
}

/// A fact without what stands where nothing is told.
fn without_invented(mut fact: Fact) -> Fact {
    match &mut fact {
        Fact::PodState(state) => state.exit_code = state.exit_code.filter(|code| *code != UNKNOWN_EXIT),
        Fact::ContainerEnd(end) => end.exit_code = end.exit_code.filter(|code| *code != UNKNOWN_EXIT),
        _ => {}
    }
    fact
}

fn hash(object: &serde_json::Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    hasher.finish()
}
