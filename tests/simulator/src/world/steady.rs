//! What runs all the time: services, members of StatefulSets, and the pods that belong to a machine.

use super::*;

impl World {
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
        self.start_member("queue-0", &namespace(team), at);
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
        self.place(instance, server, at);
    }

    /// A static pod of the machine's own configuration, of which the API has a mirror.
    pub(super) fn add_static(&mut self, server: usize, at: i64) {
        let node = self.servers[server].node.clone();
        let (hash, uid) = (self.draw.uid().replace('-', ""), self.draw.uid());
        let instance = Instance {
            annotations: BTreeMap::from([
                ("kubernetes.io/config.hash".to_owned(), hash.clone()),
                ("kubernetes.io/config.mirror".to_owned(), hash.clone()),
                ("kubernetes.io/config.source".to_owned(), "file".to_owned()),
            ]),
            uid: hash,
            mirror: Some((uid, at)),
            name: format!("kube-proxy-{node}"),
            namespace: "kube-system".to_owned(),
            role: Role::Static,
            owner: Some(("Node".to_owned(), node, self.servers[server].uid.clone())),
            labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "kube-proxy".to_owned())]),
            container: "kube-proxy",
            request: STATIC,
            pool: self.servers[server].pool,
            names: [
                "kube-system".to_owned(),
                "kube-proxy".to_owned(),
                "unattributed".to_owned(),
                "unattributed".to_owned(),
            ],
            ..Instance::unbound(at)
        };
        let pod = self.place(instance, server, at);
        let later = self.draw.between(3 * 3_600, 40 * 3_600) * SECOND;
        self.push(at + later, Event::Unmirrored(pod));
    }

    fn place(&mut self, instance: Instance, server: usize, at: i64) -> usize {
        self.pods.push(Some(Box::new(instance)));
        let pod = self.pods.len() - 1;
        self.servers[server].daemons.push(pod);
        self.bind(pod, server, at);
        pod
    }

    /// Somebody deletes the object that mirrors a static pod; the pod runs on.
    pub(super) fn unmirror(&mut self, pod: usize, at: i64) {
        if let Some(instance) = self.pods[pod].as_deref() {
            let object = objects::pod(instance);
            self.change(at, ChangeKind::Deleted, object);
            self.push(at + SECOND, Event::Mirrored(pod));
        }
    }

    /// The kubelet makes another.
    pub(super) fn mirror_again(&mut self, pod: usize, at: i64) {
        let uid = self.draw.uid();
        if let Some(instance) = self.pods[pod].as_deref_mut() {
            instance.mirror = Some((uid, at));
            let object = objects::pod(instance);
            self.change(at, ChangeKind::Added, object);
        }
    }

    /// A member of a StatefulSet, whose name is always the same.
    pub(super) fn start_member(&mut self, name: &str, space: &str, at: i64) {
        let uid = self.draw.uid();
        let owner = (
            "StatefulSet".to_owned(),
            "queue".to_owned(),
            format!("statefulset-{space}"),
        );
        let team = space.replace("data", "team");
        self.add(
            Instance {
                uid,
                name: name.to_owned(),
                namespace: space.to_owned(),
                role: Role::Member,
                owner: Some(owner),
                labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), "queue".to_owned())]),
                container: "broker",
                request: [300, 512 * MIB, 0],
                pool: usize::try_from(SERVICES).unwrap_or(0),
                names: [
                    team,
                    "queue".to_owned(),
                    "unattributed".to_owned(),
                    "unattributed".to_owned(),
                ],
                ..Instance::unbound(at)
            },
            at,
        );
    }

    pub(super) fn restart(&mut self, pod: usize, at: i64) {
        self.ask_to_delete(pod, at);
    }
}
