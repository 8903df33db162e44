//! Pods wait for room, run, end and go.

use super::*;

impl World {
    /// The scheduler looks at what waits for a pool, now or when it does so anyway.
    pub(super) fn call_scheduler(&mut self, pool: usize, at: i64) {
        if self.due_ms[pool].is_none_or(|due| due > at) {
            self.due_ms[pool] = Some(at);
            self.push(at, Event::Schedule(pool));
        }
    }

    pub(super) fn schedule(&mut self, pool: usize, at: i64) {
        if self.due_ms[pool] == Some(at) {
            self.due_ms[pool] = None;
        }
        let waiting: Vec<usize> = self.waiting[pool].drain(..).collect();
        // What there was no room for: there is none for what asks for as much.
        let mut refused: Vec<[i64; 3]> = Vec::new();
        let mut wanted = [0_i64; 3];
        for pod in waiting {
            let Some(instance) = &self.pods[pod] else { continue };
            if instance.deletion_ms.is_some() {
                continue;
            }
            let request = instance.request;
            let is_hopeless = refused
                .iter()
                .any(|refused| (0..3).all(|resource| request[resource] >= refused[resource]));
            let server = self.live[pool].iter().copied().find(|number| {
                let server = &self.servers[*number];
                !is_hopeless
                    && server.registered_ms.is_some()
                    && !server.is_cordoned
                    && (0..3).all(|resource| server.free[resource] >= request[resource])
            });
            match server {
                Some(server) => self.bind(pod, server, at),
                None => {
                    if !is_hopeless {
                        refused.push(request);
                    }
                    for (wanted, request) in wanted.iter_mut().zip(request) {
                        *wanted += request;
                    }
                    self.waiting[pool].push_back(pod);
                    self.refuse(pod, at);
                }
            }
        }
        // As many machines as those that wait would fill, beside those that boot already.
        let needed = room(&POOLS[pool])
            .into_iter()
            .zip(wanted)
            .filter(|(room, _)| *room > 0)
            .map(|(room, wanted)| (wanted + room - 1) / room)
            .max()
            .unwrap_or(0);
        let booting = self.live[pool]
            .iter()
            .filter(|number| self.servers[**number].registered_ms.is_none())
            .count();
        for _ in booting..usize::try_from(needed.min(20)).unwrap_or(0) {
            let claim = self.launch(pool, at);
            self.note_launch(pool, &claim, at);
        }
    }

    /// The scheduler finds no room for a pod; it says so at once, and is heard where Events of pods are wanted.
    fn refuse(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        if instance.refused_ms.is_some() {
            return;
        }
        instance.refused_ms = Some(at);
        if self.scenario.has_pod_events {
            let involved = notes::Involved::pod(instance);
            let message = "0/4 nodes are available: 4 Insufficient cpu.";
            self.note_aside(
                at,
                &notes::Note::warning("FailedScheduling", "default-scheduler", &involved, message),
            );
        }
    }

    pub(super) fn bind(&mut self, pod: usize, server: usize, at: i64) {
        let (run, length) = self.pods[pod].as_deref().map_or((0, 0), |pod| {
            (pod.run.unwrap_or(0), pod.length_ms.cast_unsigned())
        });
        let starts = [(0, 1), (500, 2), (900, 9), (990, 40), (1000, 90)];
        let delay = self.drawn_of(&starts, run, length) * SECOND + self.jitter();
        let image_missing = self
            .draw
            .flaw(IMAGE_MISSING_PERMILLE)
            .then(|| self.draw.between(20, 600) * SECOND);
        let is_image_gone = self.draw.flaw(IMAGE_GONE_PERMILLE);
        let given_up = self.draw.between(1, 7) * 3_000 * SECOND;
        let is_evicted = self.draw.flaw(EVICTED_PERMILLE);
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
        let is_system = instance.role.is_of_machine();
        if !is_system {
            machine.workloads += 1;
        }
        instance.bound_ms = Some(at);
        let registered_ms = machine.registered_ms.unwrap_or(at);
        instance.waits = causes::waits(
            (instance.created_ms, at),
            instance.refused_ms,
            Some((machine.launched_ms, registered_ms)),
        );
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
            usage: BTreeMap::new(),
        });
        machine.on_it.push(pod);
        let object = objects::pod(instance);
        let message = format!(
            "Successfully assigned {}/{} to {}",
            instance.namespace, instance.name, machine.node
        );
        let (involved, length) = (notes::Involved::pod(instance), instance.length_ms);
        let is_steady = instance.role.is_steady();
        self.change(at, ChangeKind::Modified, object);
        if !is_system {
            self.note(
                at,
                &notes::Note::normal("Scheduled", "default-scheduler", &involved, &message),
            );
        }
        let runs_at = at + delay;
        if is_image_gone && !is_steady {
            // Nobody repairs it: at last somebody deletes the pod.
            self.push(runs_at, Event::ImageMissing(pod));
            self.push(runs_at + given_up, Event::GivenUp(pod));
        } else if let Some(missing) = image_missing.filter(|_| !is_steady) {
            self.push(runs_at, Event::ImageMissing(pod));
            self.push(runs_at + missing, Event::Running(pod));
        } else {
            self.push(runs_at, Event::Running(pod));
        }
        if is_evicted && !is_steady && length > 30 * SECOND {
            let later = (length / 2).min(40 * MINUTE) / SECOND * SECOND;
            self.push(runs_at + later, Event::Evicted(pod));
        }
        if let Some(later) = patched {
            self.push(at + later, Event::Patched(pod));
        }
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
        let involved = notes::Involved::container(instance);
        let message = format!("Started container {}", instance.container);
        let host = instance.node.clone();
        if let Some(server) = server {
            self.servers[server].holds[hold].running_ms = at;
        }
        self.change(at, ChangeKind::Modified, object);
        if self.scenario.has_pod_events && !role.is_of_machine() {
            let note = notes::Note::normal("Started", "kubelet", &involved, &message);
            self.note_aside(at, &note.at_host(host.as_deref()));
        }
        if role == Role::Member {
            // Somebody restarts it now and then.
            let later = self.draw.between(5 * 3_600, 30 * 3_600) * SECOND;
            self.push(at + later, Event::Restarted(pod));
        }
        // What has no end is not waited for.
        if length < i64::MAX / 8 {
            self.push(at + length, Event::Finished(pod));
        }
        if role == Role::SparkDriver {
            self.push(at + 3 * SECOND, Event::StartExecutors(pod));
        }
    }

    pub(super) fn start_executors(&mut self, driver: usize, at: i64) {
        let Some(instance) = self.pods[driver].as_deref() else {
            return;
        };
        let Some(run) = instance.run else { return };
        let number = instance.job;
        if instance.finished_ms.is_some() || instance.is_released {
            return;
        }
        let owner = ("Pod".to_owned(), instance.name.clone(), instance.uid.clone());
        let Some(known) = self.runs.get(&run) else { return };
        let pipeline = self.pipelines[known.pipeline].clone();
        let executors: Vec<usize> = (1..=pipeline.jobs[number].pods)
            .map(|executor| {
                self.create(
                    run,
                    &pipeline,
                    number,
                    Role::SparkExecutor(executor),
                    i64::MAX / 4,
                    Some(owner.clone()),
                    at,
                )
            })
            .collect();
        let Some(known) = self.runs.get_mut(&run) else {
            return;
        };
        let earlier = std::mem::replace(&mut known.executors, executors.clone());
        known.doubtful.extend(&executors);
        // Only the operator numbers its tries: that executors come again says that the try of the earlier ones had failed.
        if pipeline.system == System::SparkOperator {
            self.retried.extend(earlier);
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
        if instance.deletion_ms.is_some() {
            return;
        }
        instance.deletion_ms = Some(at);
        instance.exit_code = 143;
        let (bound, object) = (instance.bound_ms, objects::pod(instance));
        let is_running = instance.running_ms.is_some();
        let (involved, message, host) = if self.scenario.has_pod_events {
            (
                notes::Involved::container(instance),
                format!("Stopping container {}", instance.container),
                instance.node.clone(),
            )
        } else {
            (
                notes::Involved::pod(instance),
                "Stopping container".to_owned(),
                None,
            )
        };
        self.change(at, ChangeKind::Modified, object);
        if is_running {
            let note = notes::Note::normal("Killing", "kubelet", &involved, &message);
            self.note(at, &note.at_host(host.as_deref()));
        }
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
        instance.released_ms = Some(at);
        instance.outcome = match (instance.disruption, instance.deletion_ms, instance.exit_code) {
            (Some(_), _, _) => "lost",
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
        let (run, job, is_good, is_deleted) = (
            instance.run,
            instance.job,
            instance.outcome == "succeeded",
            instance.deletion_ms.is_some(),
        );
        let (outcome, planted) = (instance.outcome, instance.planted);
        let is_doubtful = instance.outcome == "retired" && instance.system.numbers_tries();
        let is_unmade = instance.role == Role::Member;
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
            if !role.is_of_machine() {
                machine.workloads -= 1;
                if machine.workloads == 0 {
                    self.empty(server, at);
                }
            }
        }
        self.unstick(pod, at);
        self.call_scheduler(pool, at);
        if let Some(run) = run.filter(|_| !matches!(role, Role::SparkExecutor(_))) {
            self.note_step(run, pod, at);
        }
        // Some controllers clean up at once.
        let is_cleaned_up = self.scenario.has_noise && self.draw.permille(300);
        let stays = if is_deleted || is_cleaned_up || is_unmade {
            SECOND
        } else {
            5 * MINUTE
        };
        if is_forced {
            self.forget(pod);
        } else {
            self.push(at + stays, Event::Deleted(pod));
        }
        if let Some(known) = run.and_then(|run| self.runs.get_mut(&run)) {
            // A driver that succeeded tells it with its last status.
            let is_told = outcome != "succeeded" || !is_forced;
            if role == Role::SparkDriver && is_told {
                for executor in &known.executors {
                    self.drivers.entry(*executor).or_insert((outcome, planted));
                }
            }
            if is_doubtful {
                known.doubtful.push(pod);
            }
        }
        if let Some(run) = run
            && !matches!(role, Role::SparkExecutor(_))
        {
            self.try_advanced(run, job, is_good, at);
        }
    }

    pub(super) fn delete_pod(&mut self, pod: usize, at: i64) {
        let Some(instance) = self.pods[pod].as_deref_mut() else {
            return;
        };
        let is_unbound = instance.bound_ms.is_none();
        if is_unbound {
            instance.outcome = "retired";
        }
        let object = objects::pod(instance);
        let again =
            (instance.role == Role::Member).then(|| (instance.name.clone(), instance.namespace.clone()));
        let run = instance
            .run
            .filter(|_| !matches!(instance.role, Role::SparkExecutor(_)));
        let job = instance.job;
        self.change(at, ChangeKind::Deleted, object);
        self.forget(pod);
        if let Some((name, namespace)) = again {
            self.start_member(&name, &namespace, at);
        }
        // A pod that was deleted before it had a machine is over without a last status.
        if let Some(run) = run.filter(|_| is_unbound) {
            self.try_advanced(run, job, false, at);
        }
    }

    /// One pod of a try is over.
    pub(super) fn try_advanced(&mut self, number: usize, job: usize, is_good: bool, at: i64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        let pipeline = &self.pipelines[run.pipeline];
        let Some(this) = run.tries.get_mut(&job) else {
            return;
        };
        this.left = this.left.saturating_sub(1);
        this.failed |= !is_good;
        if this.left > 0 {
            return;
        }
        if this.failed && this.attempt < pipeline.jobs[job].retries {
            this.attempt += 1;
            this.after = std::mem::take(&mut this.last);
            self.push(at + 5 * SECOND, Event::StartTry(number, job));
            return;
        }
        run.failed |= this.failed;
        run.open_jobs -= 1;
        if run.open_jobs > 0 {
            return;
        }
        let next = if run.failed {
            Vec::new()
        } else {
            pipeline.jobs_after(job, self.scenario.has_branches)
        };
        run.open_jobs = next.len();
        for job in &next {
            let after = run.truth.ended(at).collect();
            let this = Try {
                after,
                ..Try::default()
            };
            run.tries.insert(*job, this);
        }
        if next.is_empty() {
            self.end_run(number, at);
        }
        for job in next {
            self.push(at + 5 * SECOND, Event::StartTry(number, job));
        }
    }
}
