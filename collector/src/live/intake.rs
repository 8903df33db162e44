//! From what watches tell to committed facts.
//!
//! ```text
//! messages -> index -> facts ─┐
//!        positions ───────────┼─> one transaction of intake.duckdb -> seal -> lake
//!        what the index knows ┘
//! ```
//!
//! What fails to commit leaves the index ahead of the file: the intake is then of no use, and a new one takes back what the
//! file holds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use podledger_sql::Error as SqlError;
use podledger_sql::facts::{FACTS, Fact as Table};
use podledger_sql::intake::{ClusterIntake, KeptEntry, KeptPosition};
use podledger_sql::lake::Lake;
use podledger_sql::validate::validate;

use super::measured::{self, Measured};
use super::message::{Blind, Change, Message, Told};
use super::metrics::Metrics;
use super::primed::prime;
use super::scrape::Targets;
use super::watch::Position;
use crate::error::{Error, Result};
use crate::facts::{CollectionGap, CollectionWatermark, Fact, batch};
use crate::import::kubernetes::{Contents, catalogue_of};
use crate::index::{Entry, Index, Settings};
use crate::object::Object;
use crate::occupancy::Sight;

/// Kinds that decide how far a cluster is observed: what pods and nodes did until then is known.
const METERED: &[&str] = &["pods", "nodes"];

/// The intake of one cluster.
pub struct Intake {
    store: ClusterIntake,
    index: Index,
    cluster: String,
    positions: BTreeMap<String, Position>,
    /// Until when the cluster is observed, as the last fact says.
    observed_through: Option<Timestamp>,
    /// Machines whose prices the lake may not have yet.
    unpriced: Vec<Fact>,
    /// Types of machines whose prices were written.
    priced: BTreeSet<(Option<String>, Option<String>, Option<String>)>,
    measured: Option<Measured>,
    metrics: Metrics,
}

/// How usage is measured, if it is: how often, and since when.
pub struct Measuring {
    pub every: SignedDuration,
    pub now: Timestamp,
}

impl Intake {
    /// The intake of a cluster, knowing again what it knew when the file was last written; where the file knows nothing, what
    /// the lake knows.
    ///
    /// # Errors
    /// Where the file cannot be read, or was written by another version.
    pub fn open(
        store: ClusterIntake,
        settings: Settings,
        measuring: Option<&Measuring>,
        metrics: Metrics,
        lake: &Lake,
    ) -> Result<Self> {
        let cluster = settings.cluster.clone();
        let mut index = Index::new(settings);
        let mut measured = measuring.map(|measuring| Measured::new(&cluster, measuring.every));
        store.entries(|entry| {
            let entry = Entry {
                kind: entry.kind,
                key: entry.key,
                state: entry.state,
            };
            if entry.kind != measured::KIND {
                index.restore(&entry)?;
            } else if let (Some(measured), Some(measuring)) = (&mut measured, measuring) {
                measured.restore(&entry, measuring.now)?;
            }
            Ok::<_, Error>(())
        })?;
        let mut positions = BTreeMap::new();
        for position in store.positions()? {
            let KeptPosition {
                resource,
                version,
                through,
            } = position;
            let version = Some(version);
            positions.insert(resource, Position { version, through });
        }
        if positions.is_empty()
            && let Some(through) = prime(&mut index, lake, &cluster)?
        {
            tracing::warn!(
                cluster,
                %through,
                open_pods = index.pod_count(),
                "the intake knows nothing of the cluster: going on from what the lake knows"
            );
            for name in METERED {
                let version = None;
                positions.insert((*name).to_owned(), Position { version, through });
            }
        }
        let unpriced = index.machines().map(Fact::from).collect();
        Ok(Self {
            observed_through: observed_through(&positions),
            store,
            index,
            cluster,
            positions,
            unpriced,
            priced: BTreeSet::new(),
            measured,
            metrics,
        })
    }

    /// Where each watch goes on, by the name of the resource.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<String, Position> {
        &self.positions
    }

    /// Facts that are committed and not yet in the lake.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        self.store.unsealed()
    }

    /// Pods that are there.
    #[must_use]
    pub fn open_pods(&self) -> usize {
        self.index.pod_count()
    }

    /// What there is to measure.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let kubelets = self.index.kubelets();
        let mut nodes: Vec<(String, Option<String>)> = kubelets
            .map(|(node, address)| (node.to_owned(), address.map(str::to_owned)))
            .collect();
        nodes.sort_unstable();
        Targets {
            nodes,
            pods: self.open_pods(),
        }
    }

    /// Until when the cluster is observed.
    #[must_use]
    pub fn observed_through(&self) -> Option<Timestamp> {
        self.observed_through
    }

    /// Takes in what was told until `now`, in the order in which it happened: facts, positions and what the index knows are
    /// committed together.
    ///
    /// # Errors
    /// Where it cannot be committed; this intake must then be opened anew.
    pub fn take(&mut self, messages: Vec<Message>, now: Timestamp) -> Result<()> {
        let mut facts = Vec::new();
        let mut moved = BTreeSet::new();
        for message in messages {
            let name = message.resource.name.clone();
            if let Some(position) = self.apply(&message.resource.kind, &name, message.told, &mut facts) {
                self.positions.insert(name.clone(), position);
                moved.insert(name);
            }
        }
        if let Some(measured) = &mut self.measured {
            facts.extend(measured.facts(now));
            measured.count(&self.metrics);
        }
        let through = observed_through(&self.positions);
        if let Some(through) = through
            && through > self.observed_through.unwrap_or(Timestamp::MIN)
        {
            let is_first = self.observed_through.is_none();
            self.observed_through = Some(through);
            facts.extend(self.index.tell_kept(through));
            facts.push(
                CollectionWatermark {
                    cluster: self.cluster.clone(),
                    observed_through_at: through,
                    observed_from_at: is_first.then_some(through),
                }
                .into(),
            );
        }
        self.commit(facts, moved)
    }

    /// Tells what was measured of hours that are not over, some containers at a time: nothing is measured after it.
    ///
    /// # Errors
    /// Those of [`take`](Self::take).
    pub fn finish(&mut self) -> Result<()> {
        while let Some(measured) = &mut self.measured
            && !measured.is_empty()
        {
            let facts = measured.last_facts();
            self.commit(facts, BTreeSet::new())?;
        }
        Ok(())
    }

    /// Commits facts with the positions that have `moved` and all that has changed.
    fn commit(&mut self, facts: Vec<Fact>, moved: BTreeSet<String>) -> Result<()> {
        let positions: Vec<KeptPosition> = moved
            .into_iter()
            .filter_map(|resource| {
                let position = self.positions.get(&resource)?;
                Some(KeptPosition {
                    version: position.version.clone()?,
                    through: position.through,
                    resource,
                })
            })
            .collect();
        let mut changed = self.index.changed()?;
        if let Some(measured) = &mut self.measured {
            changed.extend(measured.changed()?);
        }
        let entries: Vec<KeptEntry> = changed
            .into_iter()
            .map(|entry| KeptEntry {
                kind: entry.kind,
                key: entry.key,
                state: entry.state,
            })
            .collect();
        let rows = self.rows(&facts)?;
        if rows.is_empty() && positions.is_empty() && entries.is_empty() {
            return Ok(());
        }
        self.store.commit(&rows, &positions, &entries)?;
        for (table, rows) in &rows {
            self.metrics.committed(table.table, rows.num_rows() as u64);
        }
        for fact in facts {
            if let Fact::Machine(machine) = &fact {
                let kind = (
                    machine.provider.clone(),
                    machine.region.clone(),
                    machine.instance_type.clone(),
                );
                if !self.priced.contains(&kind) {
                    self.unpriced.push(fact);
                }
            }
        }
        Ok(())
    }

    /// Seals what is committed into the lake, filed under the UTC day of `now`; returns the facts.
    ///
    /// # Errors
    /// Those of the lake; what is committed stays, and the next seal goes on.
    pub fn seal(&mut self, lake: &Lake, now: Timestamp) -> Result<u64> {
        self.index.forget_ended(now);
        let date = now.to_zoned(TimeZone::UTC).date();
        let machines = std::mem::take(&mut self.unpriced);
        let mut contents = Contents::default();
        let sealed = self.store.seal(lake, date, |commit| {
            if machines.is_empty() {
                return Ok(());
            }
            catalogue_of(commit, &machines, &mut contents).map(drop)
        });
        match sealed {
            Ok(facts) => {
                for machine in contents.unpriced {
                    tracing::info!(
                        machine,
                        "not in the built-in price list; `podledger import prices` takes other prices"
                    );
                }
                for fact in machines {
                    if let Fact::Machine(machine) = fact {
                        self.priced
                            .insert((machine.provider, machine.region, machine.instance_type));
                    }
                }
                self.metrics.sealed(facts);
                Ok(facts)
            }
            Err(error) => {
                self.unpriced = machines;
                Err(error)
            }
        }
    }

    /// What follows from one message; the new position of its watch, if it has one.
    fn apply(&mut self, kind: &str, name: &str, told: Told, facts: &mut Vec<Fact>) -> Option<Position> {
        match told {
            Told::Listing => {
                self.index.relisting(kind);
                None
            }
            Told::Object {
                object,
                change,
                seen,
                version,
                through,
            } => {
                let made = match change {
                    Change::Deleted => self.index.delete(&object, seen),
                    Change::Listed | Change::Applied => self.index.apply(&object, seen),
                };
                match made {
                    Ok(made) => facts.extend(made),
                    Err(error) => {
                        self.skip(name, &object, &error);
                        if change == Change::Listed {
                            let metadata = object.metadata();
                            let uid = metadata.uid.as_deref().unwrap_or_default();
                            self.index
                                .unread(kind, uid, metadata.name.as_deref().unwrap_or_default());
                        }
                    }
                }
                (change != Change::Listed).then_some(Position {
                    version: Some(version),
                    through,
                })
            }
            Told::Listed { version, at, blind } => {
                let seen = Sight { at, is_prompt: false };
                let since = blind.as_ref().map(|blind| blind.since);
                facts.extend(self.index.relisted(kind, seen, since));
                if let Some(blind) = blind {
                    self.gap(name, blind, at, facts);
                }
                Some(Position {
                    version: Some(version),
                    through: at,
                })
            }
            Told::Reached { version, through } => Some(Position {
                version: Some(version),
                through,
            }),
            Told::Samples(samples) => {
                if let Some(measured) = &mut self.measured {
                    measured.take(samples, &self.index);
                }
                None
            }
            Told::Unread { uid, name } => {
                self.index.unread(kind, &uid, &name);
                None
            }
        }
    }

    /// A time of which no watch tells is over.
    fn gap(&mut self, name: &str, blind: Blind, at: Timestamp, facts: &mut Vec<Fact>) {
        if !METERED.contains(&name) {
            return;
        }
        let seen = Sight { at, is_prompt: false };
        for job in &blind.evidence.jobs {
            if self.index.knows_less_of(job)
                && let Ok(made) = self.index.apply(job, seen)
            {
                facts.extend(made);
            }
        }
        for event in &blind.evidence.events {
            let event = Object::Event(Box::new(event.clone()));
            if let Ok(made) = self.index.apply(&event, seen) {
                facts.extend(made);
            }
        }
        let recovered = if name == "pods" {
            let recovered = self.index.recover(&blind.evidence.events, blind.since, at);
            facts.extend(recovered.facts);
            Some(recovered.pods)
        } else {
            None
        };
        self.metrics.recovered(recovered.unwrap_or(0));
        tracing::warn!(
            resource = name,
            since = %blind.since,
            until = %at,
            reason = blind.reason,
            recovered,
            "nothing was watched"
        );
        facts.push(
            CollectionGap {
                cluster: self.cluster.clone(),
                resource: name.to_owned(),
                gap_start_at: blind.since,
                gap_end_at: at,
                reason: blind.reason,
                recovered_pods: recovered.map(|pods| i64::try_from(pods).unwrap_or(i64::MAX)),
            }
            .into(),
        );
    }

    fn skip(&self, name: &str, object: &Object, error: &crate::error::Error) {
        self.metrics.skipped(name);
        tracing::warn!(resource = name, object = object.title(), %error, "an object that cannot be read is left out");
    }

    /// Facts by table, as the lake takes them. One that the lake would refuse is left out: it would block all others.
    fn rows(&self, facts: &[Fact]) -> Result<Vec<(&'static Table, arrow::record_batch::RecordBatch)>> {
        let mut rows = Vec::new();
        for table in FACTS {
            let of_table: Vec<&Fact> = facts.iter().filter(|fact| fact.table() == table.table).collect();
            if of_table.is_empty() {
                continue;
            }
            let whole = batch(table, &of_table)?;
            if validate(table, &whole, 1).is_ok() {
                rows.push((table, whole));
                continue;
            }
            let mut kept = Vec::new();
            for fact in of_table {
                match validate(table, &batch(table, &[fact])?, 1) {
                    Ok(_) => kept.push(fact),
                    Err(error) => self.refuse(table, fact, &error),
                }
            }
            if !kept.is_empty() {
                rows.push((table, batch(table, &kept)?));
            }
        }
        Ok(rows)
    }

    fn refuse(&self, table: &Table, fact: &Fact, error: &SqlError) {
        self.metrics.skipped(table.table);
        let told = serde_json::to_string(fact).unwrap_or_default();
        tracing::error!(table = table.table, %error, fact = told, "a fact that the lake does not take is left out");
    }
}

/// Until when all resources that decide it are known; `None` before the first list of each.
fn observed_through(positions: &BTreeMap<String, Position>) -> Option<Timestamp> {
    METERED
        .iter()
        .map(|name| positions.get(*name).map(|position| position.through))
        .min()
        .flatten()
}
