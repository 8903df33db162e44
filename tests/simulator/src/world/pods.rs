//! Pods wait for room, run, end and go.

use super::*;

impl World {
    pub(super) fn schedule(&mut self, pool: usize, at: i64) {
        let waiting: Vec<usize> = self.waiting[pool].drain(..).collect();
        for pod in waiting {
            let Some(instance) = &self.pods[pod] else { continue };
            if instance.deletion_ms.is_some() {
                continue;
            }
            let request = instance.request;
            let server = (0..self.servers.len()).rev().take(400).filter(|number| {
                let server = &self.servers[*number];
                server.pool == pool
                    && !server.is_gone
                    && server.registered_ms.is_some()
                    && (0..3).all(|resource| server.free[resource] >= request[resource])
            });
            match server.min() {
                Some(server) => self.bind(pod, server, at),
                None => self.waiting[pool].push_back(pod),
            }
        }
        // As many machines as those that wait would fill, beside those that boot already.
        let mut wanted = [0_i64; 3];
        for pod in &self.waiting[pool] {
            if let Some(instance) = &self.pods[*pod] {
                for (resource, wanted) in wanted.iter_mut().enumerate() {
                    *wanted += instance.request[resource];
                }
            }
        }
        let machine = &POOLS[pool];
        let needed = (0..3)
            .filter_map(|resource| {
                let room = machine.capacity[resource] - machine.reserved[resource] - DAEMON[resource];
                (room > 0).then(|| (wanted[resource] + room - 1) / room)
            })
            .max()
            .unwrap_or(0);
        let booting = self
            .servers
            .iter()
            .rev()
            .take(400)
            .filter(|server| server.pool == pool && !server.is_gone && server.registered_ms.is_none())
            .count();
        for _ in booting..usize::try_from(needed.min(20)).unwrap_or(0) {
            self.launch(pool, at);
        }
    }

    pub(super) fn bind(&mut self, pod: usize, server: usize, at: i64) {
        let delay = self
            .draw
            .quantile(&[(0, 1), (500, 2), (900, 9), (990, 40), (1000, 90)])
            * SECOND
            + self.jitter();
        let image_missing = self
            .draw
            .permille(IMAGE_MISSING_PERMILLE)
            .then(|| self.draw.between(20, 600) * SECOND);
        let is_end_missing = self.scenario.has_noise && self.draw.permille(10);
        let patched =
            (self.scenario.has_noise && self.draw.permille(50)).then(|| self.draw.between(1, 60_000));
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        let machine = &mut self.servers[server];
        for resource in 0..3 {
            machine.free[resource] -= instance.request[resource];
        }
        let is_system = instance.role == Role::Daemon;
        if !is_system {
            machine.workloads += 1;
        }
        instance.bound_ms = Some(at);
        instance.node = Some(machine.node.clone());
        instance.server = Some(server);
        instance.skew_ms = machine.skew_ms;
        instance.is_end_missing = is_end_missing;
        instance.hold = machine.holds.len();
        machine.holds.push(Hold {
            pod,
            is_system,
            bound_ms: at,
            running_ms: i64::MAX,
            finished_ms: i64::MAX,
            released_ms: i64::MAX,
            stuck_ms: (0, 0),
            request: instance.request,
        });
        machine.on_it.push(pod);
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Modified, object);
        let mut runs_at = at + delay;
        if let Some(missing) = image_missing.filter(|_| !is_system) {
            self.push(runs_at, Event::ImageMissing(pod));
            runs_at += missing;
        }
        self.push(runs_at, Event::Running(pod));
        if let Some(later) = patched {
            self.push(at + later, Event::Patched(pod));
        }
    }

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
        if let Some(server) = server {
            self.servers[server].holds[hold].stuck_ms = (at, i64::MAX);
        }
        self.change(at, ChangeKind::Modified, object);
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

    /// What a pod was stuck on is over: it runs, or it goes.
    pub(super) fn unstick(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        instance.waiting = None;
        let (server, hold) = (instance.server, instance.hold);
        if let Some(hold) = server.and_then(|server| self.servers[server].holds.get_mut(hold)) {
            hold.stuck_ms.1 = hold.stuck_ms.1.min(at);
        }
    }

    pub(super) fn run_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.deletion_ms.is_some() {
            return;
        }
        self.unstick(pod, at);
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        instance.running_ms = Some(at);
        let (role, length, object) = (instance.role, instance.length_ms, objects::pod(instance));
        let (server, hold) = (instance.server, instance.hold);
        if let Some(server) = server {
            self.servers[server].holds[hold].running_ms = at;
        }
        self.change(at, ChangeKind::Modified, object);
        self.push(at.saturating_add(length), Event::Finished(pod));
        if role == Role::SparkDriver {
            self.push(at + 3 * SECOND, Event::StartExecutors(pod));
        }
    }

    pub(super) fn start_executors(&mut self, driver: usize, at: i64) {
        let Some(instance) = self.pods[driver].as_deref() else {
            return;
        };
        let Some(run) = instance.run else { return };
        if instance.finished_ms.is_some() || instance.is_released {
            return;
        }
        let owner = ("Pod".to_owned(), instance.name.clone(), instance.uid.clone());
        let pipeline = self.pipelines[self.runs[run].pipeline].clone();
        let job = pipeline.jobs[self.runs[run].job].clone();
        let executors: Vec<usize> = (1..=job.pods)
            .map(|number| {
                self.create(
                    run,
                    &pipeline,
                    &job,
                    Role::SparkExecutor(number),
                    i64::MAX / 4,
                    Some(owner.clone()),
                    at,
                )
            })
            .collect();
        let earlier = std::mem::replace(&mut self.runs[run].executors, executors.clone());
        // Only the operator numbers its tries: that executors come again says that the try of the earlier ones had failed.
        if pipeline.system == System::SparkOperator {
            self.failed_executors.extend(earlier);
        }
        if let Some(instance) = self.pods[driver].as_deref_mut() {
            instance.executors = executors;
        }
    }

    pub(super) fn finish_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released || instance.finished_ms.is_some() {
            return;
        }
        instance.finished_ms = Some(at);
        let (server, hold, executors) = (
            instance.server,
            instance.hold,
            std::mem::take(&mut instance.executors),
        );
        if let Some(server) = server {
            self.servers[server].holds[hold].finished_ms = at;
        }
        let lag = self.status_lag();
        // Somebody deletes it by force: no last status is ever seen.
        let is_forced = self.scenario.has_noise && self.draw.permille(10);
        if is_forced && let Some(instance) = self.pods[pod].as_deref_mut() {
            instance.is_forced = true;
        }
        self.push(at + lag, Event::Released(pod));
        for executor in executors {
            self.ask_to_delete(executor, at);
        }
    }

    /// A pod is deleted while it runs or waits: its container gets SIGTERM and goes.
    pub(super) fn ask_to_delete(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        instance.deletion_ms = Some(at);
        instance.exit_code = 143;
        let (bound, object) = (instance.bound_ms, objects::pod(instance));
        self.change(at, ChangeKind::Modified, object);
        if bound.is_none() {
            self.push(at, Event::Deleted(pod));
            return;
        }
        self.push(at + SECOND, Event::Finished(pod));
    }

    pub(super) fn release_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.is_released {
            return;
        }
        // What is seen last of a pod that was deleted by force is that it ran.
        let last_seen = instance.is_forced.then(|| {
            let finished = instance.finished_ms.take();
            let object = objects::pod(instance);
            instance.finished_ms = finished;
            object
        });
        instance.is_released = true;
        instance.outcome = match (instance.is_interrupted, instance.deletion_ms, instance.exit_code) {
            (true, _, _) => "lost",
            (_, Some(_), _) => "retired",
            (_, _, 0) => "succeeded",
            _ => "failed",
        };
        let object = objects::pod(instance);
        let (server, hold, request, role, pool) = (
            instance.server,
            instance.hold,
            instance.request,
            instance.role,
            instance.pool,
        );
        let (run, is_good, is_deleted) = (
            instance.run,
            instance.outcome == "succeeded",
            instance.deletion_ms.is_some(),
        );
        let is_forced = last_seen.is_some();
        match last_seen {
            Some(object) => self.change(at, ChangeKind::Deleted, object),
            None => self.change(at, ChangeKind::Modified, object),
        }
        if let Some(server) = server {
            let machine = &mut self.servers[server];
            machine.holds[hold].released_ms = at;
            machine.on_it.retain(|other| *other != pod);
            for (free, held) in machine.free.iter_mut().zip(request) {
                *free += held;
            }
            if role != Role::Daemon {
                machine.workloads -= 1;
                if machine.workloads == 0 {
                    self.empty(server, at);
                }
            }
        }
        self.unstick(pod, at);
        self.push(at, Event::Schedule(pool));
        // Some controllers clean up at once.
        let is_cleaned_up = self.scenario.has_noise && self.draw.permille(300);
        let stays = if is_deleted || is_cleaned_up {
            SECOND
        } else {
            5 * MINUTE
        };
        if is_forced {
            self.tell(pod);
            self.pods[pod] = None;
        } else {
            self.push(at + stays, Event::Deleted(pod));
        }
        if let Some(run) = run
            && !matches!(role, Role::SparkExecutor(_))
        {
            self.try_advanced(run, is_good, at);
        }
    }

    pub(super) fn delete_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref() else {
            return;
        };
        let object = objects::pod(instance);
        self.change(at, ChangeKind::Deleted, object);
        self.tell(pod);
        self.pods[pod] = None;
    }

    /// One pod of a try is over.
    pub(super) fn try_advanced(&mut self, run: usize, is_good: bool, at: i64) {
        let known = &mut self.runs[run];
        known.left = known.left.saturating_sub(1);
        known.failed |= !is_good;
        if known.left > 0 {
            return;
        }
        let pipeline = &self.pipelines[known.pipeline];
        let job = &pipeline.jobs[known.job];
        let is_over = if known.failed && known.attempt < job.retries {
            known.attempt += 1;
            false
        } else if known.failed || known.job + 1 == pipeline.jobs.len() {
            true
        } else {
            known.job += 1;
            known.attempt = 0;
            false
        };
        if is_over {
            let succeeded = !known.failed;
            let number = known.pipeline;
            let space = namespace(self.pipelines[number].team);
            if let Some(object) = objects::run(
                &self.runs[run],
                &self.pipelines[number],
                &space,
                Some(succeeded),
                at,
            ) {
                self.change(at, ChangeKind::Modified, object);
            }
        } else {
            self.push(at + 5 * SECOND, Event::StartTry(run));
        }
    }
}
