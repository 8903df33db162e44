//! What goes wrong: images that are not there, machines that are taken away, pods that are evicted.

use super::*;

impl World {
    /// The registry does not have the image: the kubelet says so, and tries again.
    pub(super) fn miss_image(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.deletion_ms.is_some() {
            return;
        }
        instance.waiting = Some("ImagePullBackOff");
        let (server, hold, object) = (instance.server, instance.hold, objects::pod(instance));
        let involved = notes::Involved::pod(instance);
        if let Some(server) = server {
            self.servers[server].holds[hold].stuck_ms = (at, i64::MAX);
        }
        let message = format!("Back-off pulling image \"{}\"", objects::IMAGE);
        self.change(at, ChangeKind::Modified, object);
        self.note(
            at,
            &notes::Note::warning("BackOff", "kubelet", &involved, &message),
        );
    }

    /// Somebody writes another label on a pod.
    pub(super) fn patch(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        instance
            .labels
            .insert("example.com/reviewed".to_owned(), "yes".to_owned());
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Modified, object);
    }

    /// The node is short of memory: the kubelet ends a pod to save the others.
    pub(super) fn evict_by_kubelet(&mut self, pod: usize, at: i64) {
        let lag = self.status_lag();
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        let is_running = instance.running_ms.is_some_and(|running| running < at)
            && instance.finished_ms.is_none()
            && instance.deletion_ms.is_none()
            && !instance.is_released;
        if !is_running {
            return;
        }
        instance.disruption = Some("TerminationByKubelet");
        instance.planted = Some("eviction");
        instance.finished_ms = Some(at);
        instance.exit_code = 137;
        let involved = notes::Involved::pod(instance);
        let (server, hold, executors) = (
            instance.server,
            instance.hold,
            std::mem::take(&mut instance.executors),
        );
        if let Some(server) = server {
            self.servers[server].holds[hold].finished_ms = at;
        }
        let message = "The node was low on resource: memory.";
        self.note(
            at,
            &notes::Note::warning("Evicted", "kubelet", &involved, message),
        );
        self.push(at + lag, Event::Released(pod));
        for executor in executors {
            self.ask_to_delete(executor, at);
        }
    }

    /// Where the pods of a machine would fit beside others, they are evicted and it goes.
    pub(super) fn consolidate(&mut self, pool: usize, at: i64) {
        self.push(at + 10 * MINUTE, Event::Consolidate(pool));
        let found = self.live[pool].iter().copied().find(|number| {
            let server = &self.servers[*number];
            server.registered_ms.is_some() && !server.is_cordoned && (1..=2).contains(&server.workloads) && {
                let mut needed = [0_i64; 3];
                for pod in &server.on_it {
                    if let Some(instance) = self.pods[*pod].as_deref().filter(|pod| !pod.role.is_of_machine())
                    {
                        for (needed, request) in needed.iter_mut().zip(instance.request) {
                            *needed += request;
                        }
                    }
                }
                self.live[pool].iter().any(|other| {
                    let room = &self.servers[*other];
                    other != number
                        && room.registered_ms.is_some()
                        && !room.is_cordoned
                        && (0..3).all(|resource| room.free[resource] >= needed[resource])
                })
            }
        });
        // Most pods of data platforms ask not to be disturbed.
        let Some(number) = found.filter(|_| self.draw.flaw(CONSOLIDATED_PERMILLE)) else {
            return;
        };
        self.servers[number].is_cordoned = true;
        let server = &self.servers[number];
        let involved = notes::Involved::node(&server.node, &server.uid);
        let object = objects::node(server, &POOLS[pool]);
        let pods = server.on_it.clone();
        self.change(at, ChangeKind::Modified, object);
        self.note(
            at,
            &notes::Note::normal(
                "DisruptionTerminating",
                "karpenter",
                &involved,
                "Disrupting Node: Underutilized",
            ),
        );
        for pod in pods {
            let Some(instance) = self.pods[pod].as_deref_mut() else {
                continue;
            };
            let is_ending = instance.deletion_ms.is_some() || instance.finished_ms.is_some();
            if instance.role.is_of_machine() || is_ending {
                continue;
            }
            instance.disruption = Some("EvictionByEvictionAPI");
            instance.planted = Some("consolidation");
            let involved = notes::Involved::pod(instance);
            self.ask_to_delete(pod, at);
            // Its UID is drawn aside, so that telling it changes nothing that happens.
            let uid = Draw::new(1 << 63 | pod as u64).uid();
            let note = notes::Note::normal("Evicted", "karpenter", &involved, "Evicted pod: Underutilized");
            self.tell(at, ChangeKind::Added, notes::event(uid, &note, at));
        }
    }

    pub(super) fn interrupt(&mut self, server: usize, at: i64) {
        if self.servers[server].is_gone {
            return;
        }
        let node = self.servers[server].node.clone();
        let involved = notes::Involved::node(&node, &self.servers[server].uid);
        self.note(
            at,
            &notes::Note::warning(
                "SpotInterrupted",
                "karpenter",
                &involved,
                "Spot interruption warning was triggered",
            ),
        );
        for pod in self.servers[server].on_it.clone() {
            let Some(instance) = self.pods[pod].as_deref_mut() else {
                continue;
            };
            if instance.role.is_of_machine() || instance.is_released {
                continue;
            }
            instance.disruption = instance.disruption.or(Some("DeletionByTaintManager"));
            instance.planted = Some("spot_interruption");
            instance.finished_ms = instance.finished_ms.or(instance.running_ms.map(|_| at));
            instance.exit_code = 137;
            let (hold, finished, executors) = (
                instance.hold,
                instance.finished_ms,
                std::mem::take(&mut instance.executors),
            );
            if let Some(finished) = finished {
                self.servers[server].holds[hold].finished_ms = finished;
            }
            self.release_pod(pod, at);
            for executor in executors {
                self.ask_to_delete(executor, at);
            }
        }
        self.remove(server, at);
    }

    /// Who adds machines says so on a pod that waits.
    pub(super) fn note_launch(&mut self, pool: usize, machine: &str, at: i64) {
        let Some(instance) = self.waiting[pool]
            .front()
            .and_then(|pod| self.pods[*pod].as_deref())
        else {
            return;
        };
        let involved = notes::Involved::pod(instance);
        let kind = &POOLS[pool];
        if kind.has_claims {
            let message = format!("Pod should schedule on: nodeclaim/{machine}");
            self.note(
                at,
                &notes::Note::normal("Nominated", "karpenter", &involved, &message),
            );
        } else {
            let message = format!("pod triggered scale-up: [{{{} 0->1}}]", kind.name);
            self.note(
                at,
                &notes::Note::normal("TriggeredScaleUp", "cluster-autoscaler", &involved, &message),
            );
        }
    }
}
