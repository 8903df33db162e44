//! Runs start when they are due, try after try; their pods are made.

use super::*;

/// How long work takes that is always the same.
const STEADY_MS: i64 = 10 * MINUTE;

impl World {
    pub(super) fn start_run(&mut self, number: usize, at: i64) {
        let pipeline = &self.pipelines[number];
        let (next, system) = (at + pipeline.every_ms, pipeline.system);
        let id = match system {
            System::AirflowOperator => format!("scheduled__{}+00:00", objects::iso(at)),
            System::AirflowExecutor => format!("manual__{}+00:00", objects::iso(at)),
            System::Spark => format!("spark-{}", self.draw.uid().replace('-', "")),
            System::SparkOperator => format!("{}-{}", pipeline.name, at / SECOND),
            System::Argo => format!("{}-{}", pipeline.name, self.draw.suffix(5)),
            System::CronJob => format!("{}-{}", pipeline.name, at / MINUTE),
            System::Dask => format!("{}-{}", pipeline.name, self.draw.suffix(6)),
            System::Nextflow => format!("{}_{}", self.draw.suffix(7), self.draw.suffix(5)),
            System::GitLab | System::Service => String::new(),
        };
        let run = Run {
            pipeline: number,
            id,
            uid: self.draw.uid(),
            started_ms: at,
            tries: BTreeMap::from([(0, Try::default())]),
            open_jobs: 1,
            lengths: 0,
            failed: false,
            executors: Vec::new(),
            doubtful: Vec::new(),
            volume: None,
            truth: RunTruth::default(),
        };
        let number_of_run = self.run_count;
        self.run_count += 1;
        if let Some(object) = objects::run(
            &run,
            &self.pipelines[number],
            &namespace(self.pipelines[number].team),
            None,
            at,
        ) {
            self.change(at, ChangeKind::Added, object);
        }
        self.runs.insert(number_of_run, run);
        if system == System::Argo && self.draw.permille(300) {
            self.make_volume(number_of_run, at);
        }
        let run = number_of_run;
        self.push(next, Event::StartRun(number));
        let jitter = self.jitter();
        self.push(at + SECOND + jitter, Event::StartTry(run, 0));
    }

    pub(super) fn start_try(&mut self, run: usize, number: usize, at: i64) {
        let Some(known) = self.runs.get(&run) else { return };
        let pipeline = self.pipelines[known.pipeline].clone();
        let job = pipeline.jobs[number].clone();
        let roles: Vec<Role> = match pipeline.system {
            System::Spark | System::SparkOperator => vec![Role::SparkDriver],
            System::Dask => std::iter::once(Role::DaskScheduler)
                .chain((1..job.pods).map(|_| Role::DaskWorker))
                .collect(),
            _ => (0..job.pods).map(|_| Role::Main).collect(),
        };
        if let Some(this) = self.runs.get_mut(&run).and_then(|run| run.tries.get_mut(&number)) {
            let ended = std::mem::take(&mut this.ended);
            if this.attempt > 0 && pipeline.system.numbers_tries() {
                self.retried.extend(ended);
            }
            this.left = roles.len();
            this.failed = false;
        }
        // All pods of a Dask cluster live as long as it does.
        let more = if self.is_changed(self.scenario.slower_from_ms, run, number, at) {
            15 * MINUTE
        } else {
            0
        };
        let is_steady = self.scenario.heavier_from_ms.is_some() && self.is_of_changed(run);
        let length = self.length(run, &job) + more;
        for role in roles {
            let length = match pipeline.system {
                System::Dask => length,
                _ => self.length(run, &job) + more,
            };
            let length = if is_steady { STEADY_MS } else { length };
            self.create(run, &pipeline, number, role, length, None, at);
        }
    }

    fn is_of_changed(&self, run: usize) -> bool {
        let run = self.runs.get(&run);
        run.is_some_and(|run| Some(run.pipeline) == self.changed)
    }

    /// Whether a try is of the job that changed, after it did.
    fn is_changed(&self, from_ms: Option<i64>, run: usize, job: usize, at: i64) -> bool {
        from_ms.is_some_and(|from| at >= from) && job == 0 && self.is_of_changed(run)
    }

    /// Whole seconds.
    pub(super) fn length(&mut self, run: usize, job: &Job) -> i64 {
        let drawn = self.runs.get_mut(&run).map_or(0, |run| {
            run.lengths += 1;
            run.lengths
        });
        let length = self.drawn_of(TASK_MS, run, drawn) * job.length_percent / 100;
        (length / SECOND).max(1) * SECOND + self.jitter()
    }

    /// A value of a distribution, which follows from the run and a number alone where worlds are to be compared.
    pub(super) fn drawn_of(&mut self, quantiles: &[(i64, i64)], run: usize, number: u64) -> i64 {
        if self.scenario.request_percent.is_none() {
            return self.draw.quantile(quantiles);
        }
        let of_run = (run as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Draw::new(self.scenario.seed ^ of_run.wrapping_add(number)).quantile(quantiles)
    }

    #[expect(clippy::too_many_arguments, reason = "what a pod is made of")]
    pub(super) fn create(
        &mut self,
        run: usize,
        pipeline: &Pipeline,
        job_number: usize,
        role: Role,
        length_ms: i64,
        owner: Option<(String, String, String)>,
        at: i64,
    ) -> usize {
        let job = &pipeline.jobs[job_number];
        let uid = self.draw.uid();
        let suffix = self.draw.suffix(5);
        let fails = self.draw.flaw(job.failing_permille)
            && !matches!(
                role,
                Role::SparkExecutor(_) | Role::DaskScheduler | Role::DaskWorker
            );
        let is_out_of_memory = fails && self.draw.permille(job.out_of_memory_permille);
        // Nobody set a deadline, and it never ends.
        let is_runaway = role == Role::Main
            && matches!(pipeline.system, System::Argo | System::CronJob)
            && self.draw.flaw(RUNAWAY_PERMILLE);
        let number = self.pods.len();
        let Some(known) = self.runs.get(&run) else {
            return number;
        };
        let attempt = known.tries.get(&job_number).map_or(0, |this| this.attempt);
        let identity = crate::identity::identity(pipeline, job, known, role, attempt, &suffix, number);
        let volume = known.volume.as_ref();
        let claim = volume.map(|volume| volume.claim.clone());
        let volume = volume.map(|volume| volume.uid.clone());
        let team = team_name(pipeline.team);
        let is_slower = self.is_changed(self.scenario.slower_from_ms, run, job_number, at);
        // The work is the same, so less of what is asked for is used.
        let is_heavier = self.is_changed(self.scenario.heavier_from_ms, run, job_number, at);
        let times = if is_heavier { 2 } else { 1 };
        if is_slower || is_heavier {
            self.sums.changed = Some(truth::ChangedJob {
                team: team.clone(),
                pipeline: identity.pipeline.clone(),
                job: identity.job.clone(),
            });
        }
        let instance = Instance {
            uid,
            name: identity.pod_name,
            namespace: namespace(pipeline.team),
            role,
            run: Some(run),
            job: job_number,
            owner: owner.or(identity.owner),
            labels: identity.labels,
            annotations: identity.annotations,
            container: identity.container,
            request: [job.millicores * times, job.mib * MIB * times, job.gpus * 1000],
            exit_code: if is_out_of_memory { 137 } else { i32::from(fails) },
            is_out_of_memory,
            claim,
            volume,
            planted: if is_runaway {
                Some("runaway")
            } else if is_out_of_memory {
                Some("out_of_memory")
            } else {
                fails.then_some("failure")
            },
            usage_percent: [
                job.cpu_percent / times,
                if is_out_of_memory {
                    97
                } else {
                    job.memory_percent / times
                },
            ],
            pool: job.pool,
            length_ms: if is_runaway { i64::MAX / 4 } else { length_ms },
            system: pipeline.system,
            names: [team, identity.pipeline, identity.run, identity.job],
            ..Instance::unbound(at)
        };
        self.add(instance, at)
    }

    pub(super) fn add(&mut self, instance: Instance, at: i64) -> usize {
        let (pool, request, object) = (instance.pool, instance.request, objects::pod(&instance));
        let involved = notes::Involved::pod(&instance);
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.change(at, ChangeKind::Added, object);
        // No machine of the pool could ever take it: it waits for nothing, and nothing is launched for it.
        let fits = room(&POOLS[pool])
            .into_iter()
            .zip(request)
            .all(|(room, request)| request <= room);
        if fits {
            self.waiting[pool].push_back(pod);
            self.call_scheduler(pool, at + SECOND);
        } else {
            if let Some(instance) = self.pods[pod].as_deref_mut() {
                instance.planted = Some("impossible_request");
                instance.refused_ms = Some(at);
            }
            let message = "0/4 nodes are available: 4 Insufficient cpu.";
            self.note(
                at,
                &notes::Note::warning("FailedScheduling", "default-scheduler", &involved, message),
            );
        }
        pod
    }

    /// A pod of a run is over: notes what its time went to, and what made the engine start it.
    pub(super) fn note_step(&mut self, number: usize, pod: usize, at: i64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        let Some(instance) = self.pods[pod].as_deref() else {
            return;
        };
        let Some(this) = run.tries.get_mut(&instance.job) else {
            return;
        };
        this.ended.push(pod);
        let steps = &run.truth.steps;
        this.last.retain(|step| steps[*step].released_ms == at);
        this.last.push(steps.len());
        let [_, pipeline, name, job] = &instance.names;
        run.truth.namespace.clone_from(&instance.namespace);
        run.truth.pipeline.clone_from(pipeline);
        run.truth.run.clone_from(name);
        let started_by_ms = this.after.first().map(|step| run.truth.steps[*step].released_ms);
        let bound_ms = instance.bound_ms.unwrap_or(at);
        let running_ms = instance.running_ms.unwrap_or(at);
        // What never ran has nothing to finish.
        let finished_ms = instance.finished_ms.filter(|_| instance.running_ms.is_some());
        let finished_ms = finished_ms.unwrap_or(at);
        run.truth.steps.push(StepTruth {
            pod_uid: instance.uid.clone(),
            job: job.clone(),
            after: this.after.clone(),
            created_ms: instance.created_ms,
            released_ms: at,
            gap_ms: instance.created_ms - started_by_ms.unwrap_or(instance.created_ms),
            queue_wait_ms: bound_ms - instance.created_ms,
            startup_ms: running_ms - bound_ms,
            work_ms: finished_ms - running_ms,
            release_ms: at - finished_ms,
        });
    }

    /// The last try is over.
    pub(super) fn end_run(&mut self, number: usize, at: i64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        run.truth.is_over = true;
        run.truth.succeeded = !run.failed;
        run.truth.last = run.truth.ended(at).collect();
        self.told.push_back(Told::Run(run.truth.clone()));
        let run = run.clone();
        let (pipeline, space) = (
            &self.pipelines[run.pipeline],
            namespace(self.pipelines[run.pipeline].team),
        );
        let object = objects::run(&run, pipeline, &space, Some(run.truth.succeeded), at);
        let is_kept = pipeline.system == System::CronJob;
        if let Some(object) = object {
            self.change(at, ChangeKind::Modified, object);
        }
        self.finish_volume(number, at);
        if is_kept {
            // `ttlSecondsAfterFinished`.
            self.push(at + 5 * MINUTE, Event::RunDeleted(number));
        } else {
            self.runs.remove(&number);
        }
        self.let_go(&run.doubtful);
    }

    /// Tells of a run that is not over, if all its pods are.
    pub(super) fn tell_waiting_run(&mut self, number: usize) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        let is_waiting = run.tries.values().all(|this| this.left == 0);
        let Some(last) = run
            .truth
            .steps
            .last()
            .filter(|_| is_waiting && !run.truth.is_over)
        else {
            return;
        };
        run.truth.last = run.truth.ended(last.released_ms).collect();
        run.truth.succeeded = run.tries.values().all(|this| !this.failed);
        self.told.push_back(Told::Run(run.truth.clone()));
    }

    /// A Job whose time to live is over.
    pub(super) fn delete_run(&mut self, number: usize, at: i64) {
        let Some(run) = self.runs.remove(&number) else {
            return;
        };
        let pipeline = &self.pipelines[run.pipeline];
        let object = objects::run(
            &run,
            pipeline,
            &namespace(pipeline.team),
            Some(run.truth.succeeded),
            at,
        );
        if let Some(object) = object {
            self.change(at, ChangeKind::Deleted, object);
        }
    }

    /// A workflow's claim, and the volume that is made for it.
    fn make_volume(&mut self, number: usize, at: i64) {
        let (claim_uid, uid, gib) = (self.draw.uid(), self.draw.uid(), self.draw.between(5, 60));
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        let volume = Volume {
            claim: format!("{}-work", run.id),
            claim_uid,
            uid,
            gib,
            created_ms: at,
        };
        run.volume = Some(volume.clone());
        let space = namespace(self.pipelines[run.pipeline].team);
        for object in objects::volume(&volume, &space, "Bound") {
            self.change(at, ChangeKind::Added, object);
        }
    }

    /// Claims go with workflows that succeed. Of those that fail they stay, so that somebody can look: nobody does.
    pub(super) fn finish_volume(&mut self, number: usize, at: i64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        let Some(volume) = run.volume.take() else { return };
        let pipeline = &self.pipelines[run.pipeline];
        let (is_over, succeeded) = (at < self.end_ms, run.truth.succeeded);
        let (team, name) = (pipeline.team, pipeline.name.clone());
        let orphaned_ms = (is_over && !succeeded).then_some(at);
        let deleted_ms = (is_over && succeeded).then_some(at);
        if deleted_ms.is_some() {
            for object in objects::volume(&volume, &namespace(team), "Bound") {
                self.change(at, ChangeKind::Deleted, object);
            }
        }
        let bytes = volume.gib * GIB;
        let until = deleted_ms.unwrap_or(self.end_ms);
        let orphaned_cost = orphaned_ms.map_or(0, |since| truth::volume_cost(bytes, since, until));
        if orphaned_ms.is_some() {
            let key = truth::WasteKey {
                kind: "orphaned_volume",
                team: team_name(team),
                pipeline: name.clone(),
                job: String::new(),
                pool: "",
            };
            self.sums.waste(key, orphaned_cost);
        }
        self.told.push_back(Told::Volume(VolumeTruth {
            uid: volume.uid,
            team: team_name(team),
            pipeline: name,
            bytes,
            created_ms: volume.created_ms,
            orphaned_ms,
            deleted_ms,
            cost: truth::volume_cost(bytes, volume.created_ms, until),
            orphaned_cost,
        }));
    }
}
