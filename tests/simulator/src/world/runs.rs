//! Runs start when they are due, try after try; their pods are made.

use super::*;

impl World {
    pub(super) fn start_run(&mut self, number: usize, at: i64) {
        let pipeline = &self.pipelines[number];
        let (next, system) = (at + pipeline.every_ms, pipeline.system);
        let stamp = objects::stamp(at);
        let id = match system {
            System::AirflowOperator | System::AirflowExecutor => format!("manual__{stamp}"),
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
            failed: false,
            executors: Vec::new(),
        };
        if let Some(object) = objects::run(
            &run,
            &self.pipelines[number],
            &namespace(self.pipelines[number].team),
            None,
            at,
        ) {
            self.change(at, ChangeKind::Added, object);
        }
        self.runs.push(run);
        let run = self.runs.len() - 1;
        self.push(next, Event::StartRun(number));
        let jitter = self.jitter();
        self.push(at + SECOND + jitter, Event::StartTry(run));
    }

    pub(super) fn start_try(&mut self, run: usize, at: i64) {
        let pipeline = self.pipelines[self.runs[run].pipeline].clone();
        let job = pipeline.jobs[self.runs[run].job].clone();
        let roles: Vec<Role> = match pipeline.system {
            System::Spark | System::SparkOperator => vec![Role::SparkDriver],
            System::Dask => std::iter::once(Role::DaskScheduler)
                .chain((1..job.pods).map(|_| Role::DaskWorker))
                .collect(),
            _ => (0..job.pods).map(|_| Role::Main).collect(),
        };
        self.runs[run].left = roles.len();
        self.runs[run].failed = false;
        // All pods of a Dask cluster live as long as it does.
        let length = self.length(&job);
        for role in roles {
            let length = if pipeline.system == System::Dask {
                length
            } else {
                self.length(&job)
            };
            self.create(run, &pipeline, &job, role, length, None, at);
        }
    }

    /// Whole seconds.
    pub(super) fn length(&mut self, job: &Job) -> i64 {
        let length = self.draw.quantile(TASK_MS) * job.length_percent / 100;
        (length / SECOND).max(1) * SECOND + self.jitter()
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
        let fails = self.draw.permille(job.failing_permille)
            && !matches!(
                role,
                Role::SparkExecutor(_) | Role::DaskScheduler | Role::DaskWorker
            );
        let is_out_of_memory = fails && self.draw.permille(job.out_of_memory_permille);
        let known = &self.runs[run];
        let identity = objects::identity(
            pipeline,
            job,
            known,
            role,
            known.attempt,
            &suffix,
            self.pods.len(),
        );
        let team = team_name(pipeline.team);
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
            pool: job.pool,
            length_ms,
            system: pipeline.system,
            names: [team, identity.pipeline, identity.run, identity.job],
            ..Instance::unbound(at)
        };
        self.add(instance, at)
    }

    pub(super) fn add(&mut self, instance: Instance, at: i64) -> usize {
        let (pool, request, object) = (instance.pool, instance.request, objects::pod(&instance));
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.change(at, ChangeKind::Added, object);
        // No machine of the pool could ever take it: it waits for nothing, and nothing is launched for it.
        let kind = &POOLS[pool];
        let fits = (0..3).all(|resource| {
            request[resource] <= kind.capacity[resource] - kind.reserved[resource] - DAEMON[resource]
        });
        if fits {
            self.waiting[pool].push_back(pod);
            self.push(at + SECOND, Event::Schedule(pool));
        }
        pod
    }

    pub(super) fn start_service(&mut self, team: usize, at: i64) {
        let (uid, suffix) = (self.draw.uid(), self.draw.suffix(5));
        let replica_set = (
            "ReplicaSet".to_owned(),
            format!("api-{team}-7d9f8b6c5"),
            format!("replicaset-{team}"),
        );
        let name = format!("api-{team}");
        self.add(
            Instance {
                uid,
                name: format!("api-{team}-7d9f8b6c5-{suffix}"),
                namespace: namespace(team),
                role: Role::Service,
                owner: Some(replica_set),
                labels: BTreeMap::from([
                    ("app.kubernetes.io/name".to_owned(), name.clone()),
                    ("app.kubernetes.io/component".to_owned(), "server".to_owned()),
                ]),
                container: "server",
                request: [500, 768 * MIB, 0],
                pool: usize::try_from(SERVICES).unwrap_or(0),
                names: [
                    team_name(team),
                    name,
                    "unattributed".to_owned(),
                    "server".to_owned(),
                ],
                ..Instance::unbound(at)
            },
            at,
        );
    }
}
