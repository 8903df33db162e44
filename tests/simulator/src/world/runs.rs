//! Runs start when they are due, try after try; their pods are made.

use super::*;

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
            job: 0,
            attempt: 0,
            left: 0,
            lengths: 0,
            failed: false,
            executors: Vec::new(),
            ended: Vec::new(),
            doubtful: Vec::new(),
            volume: None,
            succeeded: false,
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
        self.push(at + SECOND + jitter, Event::StartTry(run));
    }

    pub(super) fn start_try(&mut self, run: usize, at: i64) {
        let Some(known) = self.runs.get(&run) else { return };
        let pipeline = self.pipelines[known.pipeline].clone();
        let job = pipeline.jobs[known.job].clone();
        let roles: Vec<Role> = match pipeline.system {
            System::Spark | System::SparkOperator => vec![Role::SparkDriver],
            System::Dask => std::iter::once(Role::DaskScheduler)
                .chain((1..job.pods).map(|_| Role::DaskWorker))
                .collect(),
            _ => (0..job.pods).map(|_| Role::Main).collect(),
        };
        if let Some(known) = self.runs.get_mut(&run) {
            let ended = std::mem::take(&mut known.ended);
            if known.attempt > 0 && pipeline.system.numbers_tries() {
                self.retried.extend(ended);
            }
            known.left = roles.len();
            known.failed = false;
        }
        // All pods of a Dask cluster live as long as it does.
        let more = self.slower_by(run, at);
        let length = self.length(run, &job) + more;
        for role in roles {
            let length = if pipeline.system == System::Dask {
                length
            } else {
                self.length(run, &job) + more
            };
            self.create(run, &pipeline, &job, role, length, None, at);
        }
    }

    /// How much longer a try takes than it would have before its job became slower.
    fn slower_by(&self, run: usize, at: i64) -> i64 {
        let is_slower = self.scenario.slower_from_ms.is_some_and(|from| at >= from)
            && self
                .runs
                .get(&run)
                .is_some_and(|run| run.job == 0 && Some(run.pipeline) == self.slower);
        if is_slower { 15 * MINUTE } else { 0 }
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
        job: &Job,
        role: Role,
        length_ms: i64,
        owner: Option<(String, String, String)>,
        at: i64,
    ) -> usize {
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
        let identity = crate::identity::identity(pipeline, job, known, role, known.attempt, &suffix, number);
        let volume = known.volume.as_ref();
        let claim = volume.map(|volume| volume.claim.clone());
        let volume = volume.map(|volume| volume.uid.clone());
        let team = team_name(pipeline.team);
        if self.slower_by(run, at) > 0 {
            self.sums.slower = Some(truth::SlowerJob {
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
            owner: owner.or(identity.owner),
            labels: identity.labels,
            annotations: identity.annotations,
            container: identity.container,
            request: [job.millicores, job.mib * MIB, job.gpus * 1000],
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
                job.cpu_percent,
                if is_out_of_memory { 97 } else { job.memory_percent },
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
            }
            let message = "0/4 nodes are available: 4 Insufficient cpu.";
            self.note(
                at,
                &notes::Note::warning("FailedScheduling", "default-scheduler", &involved, message),
            );
        }
        pod
    }

    /// The last try is over.
    pub(super) fn end_run(&mut self, number: usize, at: i64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        run.succeeded = !run.failed;
        let run = run.clone();
        let (pipeline, space) = (
            &self.pipelines[run.pipeline],
            namespace(self.pipelines[run.pipeline].team),
        );
        let object = objects::run(&run, pipeline, &space, Some(run.succeeded), at);
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

    /// A Job whose time to live is over.
    pub(super) fn delete_run(&mut self, number: usize, at: i64) {
        let Some(run) = self.runs.remove(&number) else {
            return;
        };
        let pipeline = &self.pipelines[run.pipeline];
        let object = objects::run(&run, pipeline, &namespace(pipeline.team), Some(run.succeeded), at);
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
        let (is_over, succeeded) = (at < self.end_ms, run.succeeded);
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
