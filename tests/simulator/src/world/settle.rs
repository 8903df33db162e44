//! What a machine cost is reckoned when it is gone, and the truth of a pod is told once nothing can change it.

use super::*;
use crate::truth::{HOUR, WasteKey};

/// Pods that run for less are not measured: a kubelet looks every ten seconds or so.
const MEASURED_MS: i64 = 15 * SECOND;

impl World {
    /// Reckons what a machine cost.
    pub(super) fn settle(&mut self, number: usize, end_ms: i64, is_ended: bool) {
        let server = &mut self.servers[number];
        let kind = &POOLS[server.pool];
        let mut holds = std::mem::take(&mut server.holds);
        let provider_id = server.provider_id.clone();
        let mut machine = Machine {
            node: server.node.clone(),
            launched_ms: server.launched_ms,
            registered_ms: server.registered_ms.unwrap_or(end_ms),
            end_ms,
            is_ended,
            capacity: kind.capacity,
            reserved: kind.reserved,
            prices: Vec::new(),
        };
        machine.prices = self.prices_of(kind);
        for hold in &mut holds {
            if hold.released_ms > end_ms {
                // Its last status was not written in time: all that is known is that it runs.
                hold.finished_ms = i64::MAX;
            }
            hold.released_ms = hold.released_ms.min(end_ms);
            // What never ran was starting all along.
            let has_run = hold.running_ms < hold.released_ms;
            hold.finished_ms = if has_run {
                hold.finished_ms.min(hold.released_ms)
            } else {
                hold.released_ms
            };
            hold.running_ms = hold.running_ms.min(hold.finished_ms);
            self.measure(hold);
        }
        let costs = truth::costs(&machine, &holds);
        self.sums.total += costs.total;
        self.sums.pay(&costs.machine);
        for (category, cost) in &costs.machine {
            if category.starts_with("idle") && *cost > 0 {
                self.sums.waste(waste(category, kind.name), *cost);
            }
        }
        self.told.push_back(Told::Machine(MachineTruth {
            node: machine.node,
            pool: kind.name,
            provider_id,
            instance_type: kind.instance_type,
            capacity_type: kind.capacity_type,
            launched_ms: machine.launched_ms,
            end_ms,
            prices: machine.prices,
            costs: costs.machine,
            hours: costs.hours,
            total: costs.total,
        }));
        for ((pod, paid), cost) in costs.pods {
            let truth = &mut self.open_of(pod).truth;
            let category = match truth.namespace.as_str() {
                "kube-system" => "system",
                _ => paid.category(truth.outcome),
            };
            *truth.costs.entry(category).or_default() += cost;
        }
        for hold in &holds {
            let open = self.open_of(hold.pod);
            if hold.released_ms < end_ms || is_ended {
                open.truth.released_ms = Some(hold.released_ms);
            }
            open.is_settled = true;
            self.close(hold.pod);
        }
    }

    /// What a pod used of what it held, hour by hour of the time in which it ran.
    fn measure(&mut self, hold: &mut Hold) {
        let length = hold.finished_ms - hold.running_ms;
        let missed = self.scenario.has_noise && self.draw.permille(30);
        if length < MEASURED_MS || missed {
            return;
        }
        let open = self.open_of(hold.pod);
        let (percent, uid) = (open.usage_percent, open.truth.uid.clone());
        let mut hour = hold.running_ms - hold.running_ms % HOUR;
        while hour < hold.finished_ms {
            let ran = hold.finished_ms.min(hour + HOUR) - hold.running_ms.max(hour);
            let at_most = if hold.is_system { 100 } else { 400 };
            let cpu = (percent[0] + self.draw.between(-12, 12)).clamp(0, at_most);
            // Memory grows at first, and never beyond its limit.
            let warm = if hour < hold.running_ms { 70 } else { 100 };
            let memory = (percent[1] * warm / 100 + self.draw.between(-4, 4)).clamp(1, 100);
            let used = |resource: usize, percent: i64| {
                i128::from(hold.request[resource]) * i128::from(ran) * i128::from(percent) / 100
            };
            let usage = [used(0, cpu), used(1, memory)];
            self.told.push_back(Told::Usage(UsageHour {
                pod_uid: uid.clone(),
                hour_start_ms: hour,
                cpu_millicore_ms: usage[0],
                memory_byte_ms: usage[1],
                memory_peak_bytes: hold.request[1] / 100 * (memory * 115 / 100).min(100),
            }));
            hold.usage.insert(hour, usage);
            hour += HOUR;
        }
    }

    /// The truth of a pod, as far as it is known.
    pub(super) fn open_of(&mut self, pod: usize) -> &mut Open {
        let instance = self.pods[pod].as_deref();
        self.open.entry(pod).or_insert_with(|| Open::of(instance, pod))
    }

    /// Notes that a pod's object is gone. What it was is known now.
    pub(super) fn forget(&mut self, pod: usize) {
        let Some(instance) = self.pods[pod].take() else {
            return;
        };
        let is_bound = instance.bound_ms.is_some();
        let waited_to_ms = instance.deletion_ms.unwrap_or(self.end_ms);
        let was_open = self.open.remove(&pod);
        let mut open = Open::of(Some(&instance), pod);
        if let Some(was) = was_open {
            open.truth.costs = was.truth.costs;
            open.truth.released_ms = was.truth.released_ms;
            open.is_settled = was.is_settled;
        }
        if !is_bound {
            let waited = (instance.created_ms, waited_to_ms);
            open.truth.waits = causes::waits(waited, instance.refused_ms, None);
            open.is_settled = true;
        }
        open.is_gone = true;
        let is_doubtful = instance.outcome == "retired" && instance.system.numbers_tries();
        let is_executor = matches!(instance.role, Role::SparkExecutor(_));
        open.is_held =
            (is_doubtful || is_executor) && instance.run.is_some_and(|run| self.runs.contains_key(&run));
        self.open.insert(pod, open);
        self.close(pod);
    }

    /// No later try tells of these pods any more.
    pub(super) fn let_go(&mut self, pods: &[usize]) {
        for pod in pods {
            if let Some(open) = self.open.get_mut(pod) {
                open.is_held = false;
            }
            self.close(*pod);
        }
    }

    /// Tells the truth of a pod if it is whole.
    fn close(&mut self, pod: usize) {
        let is_whole = self
            .open
            .get(&pod)
            .is_some_and(|open| open.is_gone && open.is_settled && !open.is_held);
        let Some(open) = (if is_whole { self.open.remove(&pod) } else { None }) else {
            return;
        };
        let mut truth = open.truth;
        if self.retried.remove(&pod) && truth.outcome == "retired" {
            truth.outcome = "failed";
        }
        let driver = self.drivers.remove(&pod);
        // What never had a machine tells nothing of itself: it was let go if its driver succeeded.
        let is_let_go = driver.is_some_and(|(outcome, _)| outcome == "succeeded");
        if truth.bound_ms.is_none() && truth.outcome == "retired" && !is_let_go {
            truth.outcome = "unknown";
        }
        let driver = driver.filter(|(outcome, _)| matches!(*outcome, "failed" | "lost"));
        let spoken = if truth.outcome == "failed" {
            Some("failed")
        } else {
            driver.map(|(outcome, _)| outcome)
        };
        // Why a driver failed is why its executors did, unless they were lost for themselves.
        let own = Some(truth.outcome).filter(|outcome| matches!(*outcome, "failed" | "lost"));
        truth.cause = match driver {
            Some((outcome, cause)) if own.is_none_or(|own| own == outcome) => cause,
            _ => truth.planted.filter(|_| own.is_some()),
        };
        if let Some(outcome) = spoken {
            for category in ["used", "unused_request", "unmetered"] {
                if let Some(cost) = truth.costs.remove(category) {
                    *truth.costs.entry(outcome).or_default() += cost;
                }
            }
        }
        self.sums.pods += 1;
        self.sums.pay(&truth.costs);
        let mut note = |kind: &'static str, cost: i128| {
            let key = WasteKey {
                kind,
                team: truth.team.clone(),
                pipeline: truth.pipeline.clone(),
                job: truth.job.clone(),
                pool: truth.pool,
            };
            self.sums.waste(key, cost);
        };
        for (category, cost) in &truth.costs {
            match (*category, truth.cause) {
                ("stuck", _) if *cost > 0 => note("image_pull", *cost),
                ("failed", Some(planted @ ("failure" | "out_of_memory")))
                | ("lost", Some(planted @ ("spot_interruption" | "eviction" | "consolidation"))) => {
                    note(planted, *cost);
                }
                ("failed" | "lost", _) => note(category, *cost),
                ("unused_request", _) if *cost > 0 => note("unused_request", *cost),
                _ => {}
            }
        }
        match truth.planted {
            Some("runaway") => note("runaway", truth.costs.values().sum()),
            Some("impossible_request") => note("impossible_request", 0),
            _ => {}
        }
        self.told.push_back(Told::Pod(truth));
    }

    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let end = self.end_ms;
        for number in 0..self.servers.len() {
            // A machine that has not registered yet has no Node: nobody can know what it is.
            let is_seen = self.servers[number].registered_ms.is_some();
            if is_seen && !self.servers[number].is_gone {
                self.settle(number, end, false);
            }
        }
        let runs: Vec<usize> = self.runs.keys().copied().collect();
        for run in runs {
            self.tell_waiting_run(run);
            self.finish_volume(run, end);
        }
        self.runs.clear();
        for pod in 0..self.pods.len() {
            self.forget(pod);
        }
        let left: Vec<usize> = self.open.keys().copied().collect();
        self.let_go(&left);
        self.change(end, ChangeKind::Bookmark, objects::bookmark());
    }
}

/// Waste of machines.
fn waste(kind: &'static str, pool: &'static str) -> WasteKey {
    WasteKey {
        kind,
        team: String::new(),
        pipeline: String::new(),
        job: String::new(),
        pool,
    }
}

impl Open {
    fn of(instance: Option<&Instance>, pod: usize) -> Self {
        let nobody = Instance::unbound(0);
        let instance = instance.unwrap_or(&nobody);
        let [team, pipeline, run, job] = instance.names.clone();
        Self {
            truth: PodTruth {
                uid: if instance.uid.is_empty() {
                    format!("nobody-{pod}")
                } else {
                    instance.uid.clone()
                },
                namespace: instance.namespace.clone(),
                team,
                system: format!("{:?}", instance.system),
                pipeline,
                run,
                job,
                pool: POOLS[instance.pool].name,
                outcome: instance.outcome,
                is_untold: instance.is_forced,
                planted: instance.planted,
                cause: None,
                is_executor: matches!(instance.role, Role::SparkExecutor(_)),
                created_ms: instance.created_ms,
                bound_ms: instance.bound_ms,
                running_ms: instance.running_ms,
                finished_ms: instance.finished_ms.filter(|_| instance.is_released),
                released_ms: None,
                waits: instance.waits.clone(),
                volume: instance.volume.clone(),
                costs: BTreeMap::new(),
            },
            usage_percent: instance.usage_percent,
            is_gone: false,
            is_settled: false,
            is_held: false,
        }
    }
}
