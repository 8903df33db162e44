//! Machines come when pods wait, and go when nobody needs them, or when they are taken away.

use super::*;

impl World {
    /// Orders a machine; returns the name of what orders it.
    pub(super) fn launch(&mut self, pool: usize, at: i64) -> String {
        let number = self.servers.len();
        let kind = &POOLS[pool];
        // Machines that are ordered one by one have names of their own; those of a group take the first that is free.
        let name = if kind.has_claims {
            number
        } else {
            (0..)
                .find(|slot| {
                    let name = format!("{}-{slot}", kind.name);
                    self.live[pool]
                        .iter()
                        .all(|live| self.servers[*live].node != name)
                })
                .unwrap_or(number)
        };
        let server = Server {
            pool,
            node: format!("{}-{name}", kind.name),
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
            is_cordoned: false,
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
        let claim = format!("{}-claim", server.node);
        self.servers.push(server);
        self.live[pool].push(number);
        self.push(registers, Event::Registered(number));
        claim
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
        let object = objects::node(&self.servers[number], kind);
        self.change(at, ChangeKind::Added, object);
        self.add_daemon(number, at);
        if !kind.has_claims {
            self.add_static(number, at);
        }
        if self.draw.flaw(kind.interrupted_permille) {
            let lives = self.draw.between(60, 5400) * SECOND;
            self.push(at + lives, Event::Interrupted(number));
        }
        self.empty(number, at);
        let pool = self.servers[number].pool;
        self.call_scheduler(pool, at);
    }

    /// A machine has nothing to do: it is looked at again when it may go.
    pub(super) fn empty(&mut self, server: usize, at: i64) {
        let kind = &POOLS[self.servers[server].pool];
        self.servers[server].idle_since_ms = at;
        let wait = if self.servers[server].is_cordoned {
            2 * SECOND
        } else {
            kind.idle_ms
        };
        if server >= POOLS[0].least || self.servers[server].pool != 0 {
            self.push(at + wait, Event::IdleCheck(server, at));
        }
    }

    pub(super) fn remove(&mut self, number: usize, at: i64) {
        self.servers[number].is_gone = true;
        let pool = self.servers[number].pool;
        self.live[pool].retain(|live| *live != number);
        for pod in std::mem::take(&mut self.servers[number].daemons) {
            if let Some(instance) = self.pods[pod].as_deref_mut() {
                instance.is_released = true;
                instance.outcome = "unknown";
                let (hold, object) = (instance.hold, objects::pod(instance));
                self.servers[number].holds[hold].released_ms = at;
                self.change(at, ChangeKind::Deleted, object);
            }
            self.forget(pod);
        }
        self.servers[number].on_it = Vec::new();
        let kind = &POOLS[self.servers[number].pool];
        let object = objects::node(&self.servers[number], kind);
        self.change(at, ChangeKind::Deleted, object);
        if kind.has_claims {
            let object = objects::node_claim(&self.servers[number], kind, at);
            self.change(at, ChangeKind::Deleted, object);
        }
        self.settle(number, at, true);
    }
}
