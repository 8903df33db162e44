//! Machines come when pods wait, and go when nobody needs them, or when they are taken away.

use super::*;

impl World {
    pub(super) fn launch(&mut self, pool: usize, at: i64) {
        let number = self.servers.len();
        let kind = &POOLS[pool];
        let server = Server {
            pool,
            node: format!("{}-{number}", kind.name),
            provider_id: format!("aws:///{}a/i-{:017x}", objects::REGION, number + 1),
            uid: self.draw.uid(),
            boot_id: self.draw.uid(),
            skew_ms: if self.scenario.has_noise {
                self.draw.between(-2000, 2000)
            } else {
                0
            },
            claim_uid: self.draw.uid(),
            launched_ms: at + if kind.has_claims { 2 * SECOND } else { 0 },
            registered_ms: None,
            is_gone: false,
            free: [0; 3],
            workloads: 0,
            idle_since_ms: at,
            holds: Vec::new(),
            daemons: Vec::new(),
            on_it: Vec::new(),
        };
        let registers = server.launched_ms + kind.boot_ms;
        if kind.has_claims {
            let object = objects::node_claim(&server, kind, at);
            self.change(at, ChangeKind::Added, object);
        }
        self.servers.push(server);
        self.push(registers, Event::Registered(number));
    }

    pub(super) fn register(&mut self, number: usize, at: i64) {
        let kind = &POOLS[self.servers[number].pool];
        self.servers[number].registered_ms = Some(at);
        for resource in 0..3 {
            self.servers[number].free[resource] = kind.capacity[resource] - kind.reserved[resource];
        }
        if kind.has_claims {
            let object = objects::node_claim(&self.servers[number], kind, at);
            self.change(at, ChangeKind::Modified, object);
        }
        let object = objects::node(&self.servers[number], kind, at);
        self.change(at, ChangeKind::Added, object);
        self.add_daemon(number, at);
        if self.draw.permille(kind.interrupted_permille) {
            let lives = self.draw.between(60, 5400) * SECOND;
            self.push(at + lives, Event::Interrupted(number));
        }
        self.empty(number, at);
        let pool = self.servers[number].pool;
        self.push(at, Event::Schedule(pool));
    }

    /// Every machine has a pod of a DaemonSet from its first moment to its last.
    pub(super) fn add_daemon(&mut self, server: usize, at: i64) {
        let (uid, suffix) = (self.draw.uid(), self.draw.suffix(5));
        let daemon_set = (
            "DaemonSet".to_owned(),
            "log-shipper".to_owned(),
            "daemonset-log-shipper".to_owned(),
        );
        let instance = Instance {
            uid,
            name: format!("log-shipper-{suffix}"),
            namespace: "kube-system".to_owned(),
            role: Role::Daemon,
            owner: Some(daemon_set),
            labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "log-shipper".to_owned())]),
            container: "shipper",
            request: DAEMON,
            pool: self.servers[server].pool,
            names: [
                // Where nothing tells a team, it is the namespace.
                "kube-system".to_owned(),
                "log-shipper".to_owned(),
                "unattributed".to_owned(),
                "unattributed".to_owned(),
            ],
            ..Instance::unbound(at)
        };
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.servers[server].daemons.push(pod);
        self.bind(pod, server, at);
    }

    /// A machine has nothing to do: it is looked at again when it may go.
    pub(super) fn empty(&mut self, server: usize, at: i64) {
        let kind = &POOLS[self.servers[server].pool];
        self.servers[server].idle_since_ms = at;
        if server >= POOLS[0].least || self.servers[server].pool != 0 {
            self.push(at + kind.idle_ms, Event::IdleCheck(server, at));
        }
    }

    pub(super) fn interrupt(&mut self, server: usize, at: i64) {
        if self.servers[server].is_gone {
            return;
        }
        for pod in self.servers[server].on_it.clone() {
            let Some(instance) = self.pods[pod].as_deref_mut() else {
                continue;
            };
            if instance.role == Role::Daemon || instance.is_released {
                continue;
            }
            instance.is_interrupted = true;
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

    pub(super) fn remove(&mut self, number: usize, at: i64) {
        self.servers[number].is_gone = true;
        for pod in std::mem::take(&mut self.servers[number].daemons) {
            if let Some(instance) = self.pods[pod].as_deref_mut() {
                instance.is_released = true;
                instance.outcome = "unknown";
                let (hold, object) = (instance.hold, objects::pod(instance));
                self.servers[number].holds[hold].released_ms = at;
                self.change(at, ChangeKind::Deleted, object);
            }
        }
        let kind = &POOLS[self.servers[number].pool];
        let object = objects::node(&self.servers[number], kind, at);
        self.change(at, ChangeKind::Deleted, object);
        if kind.has_claims {
            let object = objects::node_claim(&self.servers[number], kind, at);
            self.change(at, ChangeKind::Deleted, object);
        }
        self.settle(number, at, true);
    }
}
