//! What a collector tells of itself, in Prometheus' words. Never labelled by pod.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::clock::Clock;
use crate::occupancy::Sight;

/// Labels of a figure about one resource of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    cluster: String,
    resource: String,
}

/// Labels of a figure about one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
}

/// Labels of a figure about one table of facts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    cluster: String,
    table: &'static str,
}

/// The figures of all clusters of one process.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    changes: Family<OfResource, Counter>,
    late: Family<OfResource, Counter>,
    skipped: Family<OfResource, Counter>,
    relists: Family<OfResource, Counter>,
    failures: Family<OfResource, Counter>,
    facts: Family<OfTable, Counter>,
    recovered: Family<OfCluster, Counter>,
    sealed: Family<OfCluster, Counter>,
    queued: Family<OfCluster, Gauge>,
    open_pods: Family<OfCluster, Gauge>,
    unsealed: Family<OfCluster, Gauge>,
    is_leader: Family<OfCluster, Gauge>,
    skew_milliseconds: Family<OfCluster, Gauge>,
    resource_through: Family<OfResource, Gauge<f64, AtomicU64>>,
    through: Family<OfCluster, Gauge<f64, AtomicU64>>,
    lag: Family<OfCluster, Gauge<f64, AtomicU64>>,
    measured: Family<OfCluster, Gauge>,
    samples: Family<OfCluster, Counter>,
    implausible: Family<OfCluster, Counter>,
    scrape_failures: Family<OfCluster, Counter>,
}

impl Figures {
    /// Registers all figures under `podledger_collector_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("podledger_collector");
        registry.register(
            "changes",
            "Objects that watches and lists told of",
            self.changes.clone(),
        );
        registry.register(
            "late_changes",
            "Changes that were read later than they happened",
            self.late.clone(),
        );
        registry.register(
            "skipped_objects",
            "Objects that could not be read",
            self.skipped.clone(),
        );
        registry.register(
            "relists",
            "Lists that were read because a watch could not go on",
            self.relists.clone(),
        );
        registry.register(
            "watch_failures",
            "Requests that failed and are tried again",
            self.failures.clone(),
        );
        registry.register("facts", "Facts that were committed", self.facts.clone());
        registry.register(
            "recovered_pods",
            "Pods that only Events told of",
            self.recovered.clone(),
        );
        registry.register(
            "sealed_facts",
            "Facts that were sealed into the lake",
            self.sealed.clone(),
        );
        registry.register(
            "queued_changes",
            "Changes that wait for their commit",
            self.queued.clone(),
        );
        registry.register("open_pods", "Pods that are there", self.open_pods.clone());
        registry.register(
            "unsealed_facts",
            "Facts that are committed and not yet in the lake",
            self.unsealed.clone(),
        );
        registry.register(
            "leader",
            "Whether this process collects the cluster",
            self.is_leader.clone(),
        );
        registry.register(
            "clock_skew_milliseconds",
            "By how much the API server's clock is ahead of the collector's, which is set right by so much",
            self.skew_milliseconds.clone(),
        );
        registry.register(
            "observed_through_timestamp_seconds",
            "Until when the cluster is observed",
            self.through.clone(),
        );
        registry.register(
            "resource_observed_through_timestamp_seconds",
            "Until when the objects of a resource are observed: a quiet one until its last bookmark",
            self.resource_through.clone(),
        );
        registry.register(
            "lag_seconds",
            "How far the observed time is behind the clock",
            self.lag.clone(),
        );
        registry.register(
            "measured_containers",
            "Containers whose usage is measured",
            self.measured.clone(),
        );
        registry.register(
            "usage_samples",
            "Samples of containers that told something new",
            self.samples.clone(),
        );
        registry.register(
            "implausible_usage_samples",
            "Samples of containers that go back in time, or show more than any node has",
            self.implausible.clone(),
        );
        registry.register(
            "usage_failures",
            "Requests for usage that failed",
            self.scrape_failures.clone(),
        );
    }

    /// Whether a cluster has been observed up to some instant: its first lists are read.
    #[must_use]
    pub fn is_observed(&self, cluster: &str) -> bool {
        let cluster = OfCluster {
            cluster: cluster.to_owned(),
        };
        self.through.get(&cluster).is_some()
    }

    /// Until when a cluster has been observed, in whole microseconds.
    #[must_use]
    pub fn observed_through(&self, cluster: &str) -> Option<Timestamp> {
        let cluster = OfCluster {
            cluster: cluster.to_owned(),
        };
        instant(self.through.get(&cluster)?.get())
    }

    /// Until when a resource has been observed, in whole microseconds.
    #[must_use]
    pub fn resource_observed_through(&self, cluster: &str, resource: &str) -> Option<Timestamp> {
        let of = OfResource {
            cluster: cluster.to_owned(),
            resource: resource.to_owned(),
        };
        instant(self.resource_through.get(&of)?.get())
    }

    /// How many changes of a resource were read so far.
    #[must_use]
    pub fn changes(&self, cluster: &str, resource: &str) -> u64 {
        let of = OfResource {
            cluster: cluster.to_owned(),
            resource: resource.to_owned(),
        };
        self.changes.get(&of).map_or(0, |changes| changes.get())
    }

    /// How many containers are measured.
    #[must_use]
    pub fn measured_containers(&self, cluster: &str) -> u64 {
        let cluster = OfCluster {
            cluster: cluster.to_owned(),
        };
        let measured = self.measured.get(&cluster).map_or(0, |measured| measured.get());
        u64::try_from(measured).unwrap_or(0)
    }

    /// The figures of one cluster.
    #[must_use]
    pub fn of(&self, cluster: &str) -> Metrics {
        Metrics {
            figures: self.clone(),
            cluster: Arc::from(cluster),
        }
    }
}

/// An instant that was told in seconds.
fn instant(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

/// The figures of one cluster.
#[derive(Debug, Clone)]
pub struct Metrics {
    figures: Figures,
    cluster: Arc<str>,
}

impl Metrics {
    fn resource(&self, resource: &str) -> OfResource {
        OfResource {
            cluster: self.cluster.to_string(),
            resource: resource.to_owned(),
        }
    }

    fn cluster(&self) -> OfCluster {
        OfCluster {
            cluster: self.cluster.to_string(),
        }
    }

    /// A resource is watched: its figures begin at nothing.
    pub(super) fn watches(&self, resource: &str) {
        let labels = self.resource(resource);
        let figures = &self.figures;
        for family in [
            &figures.changes,
            &figures.late,
            &figures.skipped,
            &figures.relists,
            &figures.failures,
        ] {
            drop(family.get_or_create(&labels));
        }
        drop(figures.recovered.get_or_create(&self.cluster()));
        drop(figures.sealed.get_or_create(&self.cluster()));
    }

    pub(super) fn heard(&self, resource: &str, seen: Sight) {
        self.figures.changes.get_or_create(&self.resource(resource)).inc();
        if !seen.is_prompt {
            self.figures.late.get_or_create(&self.resource(resource)).inc();
        }
    }

    pub(super) fn skipped(&self, resource: &str) {
        self.figures.skipped.get_or_create(&self.resource(resource)).inc();
    }

    pub(super) fn relisted(&self, resource: &str) {
        self.figures.relists.get_or_create(&self.resource(resource)).inc();
    }

    pub(super) fn failed(&self, resource: &str) {
        self.figures
            .failures
            .get_or_create(&self.resource(resource))
            .inc();
    }

    pub(super) fn committed(&self, table: &'static str, facts: u64) {
        let labels = OfTable {
            cluster: self.cluster.to_string(),
            table,
        };
        self.figures.facts.get_or_create(&labels).inc_by(facts);
    }

    pub(super) fn recovered(&self, pods: u64) {
        self.figures.recovered.get_or_create(&self.cluster()).inc_by(pods);
    }

    pub(super) fn sealed(&self, facts: u64) {
        self.figures.sealed.get_or_create(&self.cluster()).inc_by(facts);
    }

    pub(super) fn state(&self, queued: usize, open_pods: usize, unsealed: u64) {
        let cluster = self.cluster();
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.figures.queued.get_or_create(&cluster).set(whole(queued));
        self.figures
            .open_pods
            .get_or_create(&cluster)
            .set(whole(open_pods));
        let unsealed = i64::try_from(unsealed).unwrap_or(i64::MAX);
        self.figures.unsealed.get_or_create(&cluster).set(unsealed);
    }

    pub(super) fn measured(&self, containers: usize, samples: u64, implausible: u64) {
        let (cluster, figures) = (self.cluster(), &self.figures);
        let containers = i64::try_from(containers).unwrap_or(i64::MAX);
        figures.measured.get_or_create(&cluster).set(containers);
        figures.samples.get_or_create(&cluster).inc_by(samples);
        figures.implausible.get_or_create(&cluster).inc_by(implausible);
    }

    pub(super) fn scrape_failed(&self) {
        self.figures.scrape_failures.get_or_create(&self.cluster()).inc();
    }

    pub(super) fn leads(&self, is_leader: bool) {
        self.figures
            .is_leader
            .get_or_create(&self.cluster())
            .set(i64::from(is_leader));
    }

    pub(super) fn reached(&self, resource: &str, through: Timestamp) {
        let resource = self.resource(resource);
        let seconds = through.as_microsecond() as f64 / 1e6;
        self.figures
            .resource_through
            .get_or_create(&resource)
            .set(seconds);
    }

    pub(super) fn observed(&self, through: Timestamp, clock: &Clock) {
        let (cluster, now) = (self.cluster(), clock.now());
        let skew = i64::try_from(clock.skew().as_millis()).unwrap_or(0);
        self.figures.skew_milliseconds.get_or_create(&cluster).set(skew);
        let seconds = through.as_microsecond() as f64 / 1e6;
        self.figures.through.get_or_create(&cluster).set(seconds);
        let lag = now.duration_since(through).as_secs_f64().max(0.0);
        self.figures.lag.get_or_create(&cluster).set(lag);
    }
}
