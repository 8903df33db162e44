//! What a machine cost is reckoned when it is gone, and what a pod was is told.

use super::*;

impl World {
    /// Reckons what a machine cost.
    pub(super) fn settle(&mut self, number: usize, end_ms: i64, is_ended: bool) {
        let server = &self.servers[number];
        let kind = &POOLS[server.pool];
        let mut holds = server.holds.clone();
        for hold in &mut holds {
            hold.released_ms = hold.released_ms.min(end_ms);
            // What never ran was starting all along.
            let has_run = hold.running_ms < hold.released_ms;
            hold.finished_ms = if has_run {
                hold.finished_ms.min(hold.released_ms)
            } else {
                hold.released_ms
            };
            hold.running_ms = hold.running_ms.min(hold.finished_ms);
        }
        let machine = Machine {
            node: server.node.clone(),
            launched_ms: server.launched_ms,
            registered_ms: server.registered_ms.unwrap_or(end_ms),
            end_ms,
            is_ended,
            capacity: kind.capacity,
            reserved: kind.reserved,
            prices: self.prices_of(kind),
        };
        let costs = truth::costs(&machine, &holds);
        self.truth.total += costs.total;
        let of_node = self.truth.nodes.entry(machine.node).or_default();
        for (category, cost) in costs.machine {
            *of_node.entry(category).or_default() += cost;
        }
        for hold in holds.iter().filter(|hold| hold.released_ms < end_ms || is_ended) {
            let told = self.tell(hold.pod);
            self.truth.pods[told].released_ms = Some(hold.released_ms);
        }
        for ((pod, stage), cost) in costs.pods {
            let told = self.tell(pod);
            let pod = &mut self.truth.pods[told];
            let category = match (pod.namespace.as_str(), stage.category(), pod.outcome) {
                ("kube-system", _, _) => "system",
                (_, Some(stage), _) => stage,
                (_, None, "failed") => "failed",
                (_, None, "lost") => "lost",
                _ => "unmetered",
            };
            *pod.costs.entry(category).or_default() += cost;
        }
        self.servers[number].holds.clear();
    }

    /// Notes what a pod was.
    pub(super) fn tell(&mut self, pod: usize) -> usize {
        if let Some(told) = self.told.get(&pod) {
            return *told;
        }
        let instance = self.pods[pod].as_deref();
        self.truth.pods.push(instance.map_or_else(
            // Every pod is told once, and kept until then.
            || PodTruth::nobody(pod),
            |instance| {
                let [team, pipeline, run, job] = instance.names.clone();
                PodTruth {
                    uid: instance.uid.clone(),
                    namespace: instance.namespace.clone(),
                    team,
                    system: format!("{:?}", instance.system),
                    pipeline,
                    run,
                    job,
                    outcome: instance.outcome,
                    is_untold: instance.is_forced,
                    bound_ms: instance.bound_ms,
                    released_ms: None,
                    costs: BTreeMap::new(),
                }
            },
        ));
        self.told.insert(pod, self.truth.pods.len() - 1);
        self.truth.pods.len() - 1
    }

    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        for number in 0..self.servers.len() {
            // A machine that has not registered yet has no Node: nobody can know what it is.
            let is_seen = self.servers[number].registered_ms.is_some();
            if is_seen && !self.servers[number].is_gone {
                self.settle(number, self.end_ms, false);
            }
        }
        for pod in 0..self.pods.len() {
            if self.pods[pod].is_some() {
                self.tell(pod);
            }
        }
        for pod in std::mem::take(&mut self.failed_executors) {
            let told = self.tell(pod);
            let truth = &mut self.truth.pods[told];
            if truth.outcome == "retired" {
                truth.outcome = "failed";
                if let Some(cost) = truth.costs.remove("unmetered") {
                    *truth.costs.entry("failed").or_default() += cost;
                }
            }
        }
        let end = self.end_ms;
        self.change(end, ChangeKind::Bookmark, objects::bookmark());
    }
}
