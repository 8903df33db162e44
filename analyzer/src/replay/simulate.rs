//! One replay of a pool: pods come in their order, machines come and go by the rules.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::price::Prices;
use super::{Amounts, Ordering, Rules, Score};

/// A pool as it is replayed.
pub(super) struct Setting<'a> {
    pub from_ms: i64,
    pub to_ms: i64,
    /// Until when machines are paid for.
    pub billed_to_ms: i64,
    pub room: Amounts,
    pub rules: Rules,
    pub prices: &'a Prices,
}

/// A pod as it is replayed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub at_ms: i64,
    pub holds_ms: i64,
    pub request: Amounts,
}

/// A machine of a replay.
struct Server {
    free: Amounts,
    /// What is free of one that boots, beside what it was ordered for.
    unpromised: Amounts,
    pods: u32,
    is_registered: bool,
    launched_ms: i64,
    idle_since_ms: i64,
}

struct Waiting {
    arrival: usize,
    /// The machine that was ordered for it.
    promised: Option<usize>,
}

/// What happens to a machine, in the order in which it does within an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A pod lets go of it.
    Released {
        server: usize,
        arrival: usize,
    },
    Registered {
        server: usize,
    },
    /// It may have been empty for long enough.
    Idle {
        server: usize,
    },
}

struct Run<'a> {
    setting: &'a Setting<'a>,
    arrivals: &'a [Arrival],
    servers: Vec<Server>,
    /// Numbers of machines that are there, in the order in which they were ordered.
    live: Vec<usize>,
    waiting: Vec<Waiting>,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    outcome: Outcome,
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// What machines cost.
    pub cost_nano: i128,
    /// For how long pods waited beyond a boot, those that never ran until the end of the window: there was no room for them.
    pub late_ms: i128,
}

/// What happens if these pods arrive, in the order of their arrival.
pub(super) fn outcome(setting: &Setting, arrivals: &[Arrival]) -> Outcome {
    let mut run = Run {
        setting,
        arrivals,
        servers: Vec::new(),
        live: Vec::new(),
        waiting: Vec::new(),
        events: BinaryHeap::new(),
        outcome: Outcome::default(),
    };
    run.all();
    run.outcome
}

fn fits(free: &Amounts, request: &Amounts) -> bool {
    free.iter().zip(request).all(|(free, request)| free >= request)
}

fn take(free: &mut Amounts, request: &Amounts) {
    for (free, request) in free.iter_mut().zip(request) {
        *free -= request;
    }
}

impl Run<'_> {
    fn all(&mut self) {
        for _ in 0..self.setting.rules.least_machines {
            self.order(self.setting.from_ms);
        }
        let mut next = 0;
        loop {
            let arrives = self.arrivals.get(next).map(|arrival| arrival.at_ms);
            let happens = self.events.peek().map(|Reverse((at, _))| *at);
            let Some(now) = arrives.into_iter().chain(happens).min() else {
                break;
            };
            if now >= self.setting.to_ms {
                break;
            }
            let mut is_room_new = false;
            let mut idle = Vec::new();
            while let Some(Reverse((at, event))) = self.events.peek().copied() {
                if at > now {
                    break;
                }
                self.events.pop();
                match event {
                    Event::Released { server, arrival } => {
                        self.release(server, arrival, now);
                        is_room_new = true;
                    }
                    Event::Registered { server } => {
                        self.servers[server].is_registered = true;
                        self.empty(server, now);
                        is_room_new = true;
                    }
                    Event::Idle { server } => idle.push(server),
                }
            }
            let first_new = self.waiting.len();
            while let Some(arrival) = self.arrivals.get(next) {
                if arrival.at_ms > now {
                    break;
                }
                self.waiting.push(Waiting {
                    arrival: next,
                    promised: None,
                });
                next += 1;
            }
            if !self.waiting.is_empty() {
                self.bind_waiting(if is_room_new { 0 } else { first_new }, now);
                self.order_for_waiting(now);
            }
            for server in idle {
                self.scale_down(server, now);
            }
        }
        for server in std::mem::take(&mut self.live) {
            self.pay(server, self.setting.to_ms - self.servers[server].launched_ms);
        }
        for entry in std::mem::take(&mut self.waiting) {
            self.note_wait(entry.arrival, self.setting.to_ms);
        }
    }

    /// A pod that arrived has waited until now.
    fn note_wait(&mut self, arrival: usize, now: i64) {
        let beyond = now - self.arrivals[arrival].at_ms - self.setting.rules.boot_ms;
        self.outcome.late_ms += i128::from(beyond.max(0));
    }

    /// Orders a machine; `None` if the pool has as many as it may.
    fn order(&mut self, now: i64) -> Option<usize> {
        let most = usize::try_from(self.setting.rules.most_machines).unwrap_or(usize::MAX);
        if self.live.len() >= most {
            return None;
        }
        let number = self.servers.len();
        // What ran when the window began had its machine.
        let is_there = now <= self.setting.from_ms;
        self.servers.push(Server {
            free: self.setting.room,
            unpromised: self.setting.room,
            pods: 0,
            is_registered: is_there,
            launched_ms: now,
            idle_since_ms: now,
        });
        self.live.push(number);
        if is_there {
            self.empty(number, now);
        } else {
            let registers = now + self.setting.rules.boot_ms;
            self.events
                .push(Reverse((registers, Event::Registered { server: number })));
        }
        Some(number)
    }

    /// From now on a machine is empty.
    fn empty(&mut self, server: usize, now: i64) {
        self.servers[server].idle_since_ms = now;
        if let Some(idle) = self.setting.rules.idle_ms {
            self.events
                .push(Reverse((now + idle.max(1), Event::Idle { server })));
        }
    }

    fn release(&mut self, server: usize, arrival: usize, now: i64) {
        let request = self.arrivals[arrival].request;
        let machine = &mut self.servers[server];
        for (free, request) in machine.free.iter_mut().zip(request) {
            *free += request;
        }
        machine.pods -= 1;
        if machine.pods == 0 {
            self.empty(server, now);
        }
    }

    fn scale_down(&mut self, server: usize, now: i64) {
        let machine = &self.servers[server];
        let idle = self.setting.rules.idle_ms.unwrap_or(i64::MAX).max(1);
        let is_due = machine.pods == 0 && machine.idle_since_ms.saturating_add(idle) <= now;
        let least = usize::try_from(self.setting.rules.least_machines).unwrap_or(usize::MAX);
        if !is_due || self.live.len() <= least {
            return;
        }
        self.live.retain(|live| *live != server);
        self.settle(server, now);
    }

    /// Pays for a machine that ended, as its provider bills it.
    fn settle(&mut self, server: usize, end_ms: i64) {
        let rules = &self.setting.rules;
        let step = rules.rounding_ms.max(1);
        let up_ms = end_ms - self.servers[server].launched_ms;
        let billed_ms = ((up_ms + step - 1) / step * step).max(rules.minimum_ms);
        self.pay(server, billed_ms);
    }

    fn pay(&mut self, server: usize, billed_ms: i64) {
        let from = self.servers[server].launched_ms;
        let to = (from + billed_ms).min(self.setting.billed_to_ms);
        self.outcome.cost_nano += self.setting.prices.cost(from, to);
    }

    /// Binds what waits, from a place in the queue on, as far as there is room.
    fn bind_waiting(&mut self, from: usize, now: i64) {
        // Where there was no room for one, there is none for what asks for as much.
        let mut refused: Vec<Amounts> = Vec::new();
        let waiting = self.waiting.split_off(from);
        for entry in waiting {
            let request = self.arrivals[entry.arrival].request;
            if refused.iter().any(|refused| fits(&request, refused)) {
                self.waiting.push(entry);
                continue;
            }
            match self.best(&request) {
                Some(server) => self.bind(entry.arrival, server, now),
                None => {
                    refused.push(request);
                    self.waiting.push(entry);
                }
            }
        }
    }

    fn best(&self, request: &Amounts) -> Option<usize> {
        let mut candidates = self.live.iter().copied().filter(|number| {
            self.servers[*number].is_registered && fits(&self.servers[*number].free, request)
        });
        match self.setting.rules.score {
            Score::Oldest => candidates.next(),
            Score::MostAllocated => candidates.min_by_key(|number| self.free_permille(*number)),
            Score::LeastAllocated => candidates.min_by_key(|number| -self.free_permille(*number)),
        }
    }

    /// Thousandths of CPU and of memory that are free, added up, as both scores of Kubernetes weigh them alike.
    fn free_permille(&self, server: usize) -> i64 {
        let free = &self.servers[server].free;
        (0..2)
            .filter(|resource| self.setting.room[*resource] > 0)
            .map(|resource| {
                let part = i128::from(free[resource]) * 1000 / i128::from(self.setting.room[resource]);
                i64::try_from(part).unwrap_or(0)
            })
            .sum()
    }

    fn bind(&mut self, arrival: usize, server: usize, now: i64) {
        self.note_wait(arrival, now);
        let pod = self.arrivals[arrival];
        let machine = &mut self.servers[server];
        take(&mut machine.free, &pod.request);
        machine.pods += 1;
        self.events.push(Reverse((
            now + pod.holds_ms.max(1),
            Event::Released { server, arrival },
        )));
    }

    /// Orders machines for what waits, beside those that boot.
    fn order_for_waiting(&mut self, now: i64) {
        if now <= self.setting.from_ms {
            self.place_what_ran(now);
            return;
        }
        match self.setting.rules.ordering {
            Ordering::BySum => self.order_by_sum(now),
            Ordering::ByPod => self.order_by_pod(now),
        }
    }

    /// What is ordered for the beginning of the window is there already: pods fill it one by one.
    fn place_what_ran(&mut self, now: i64) {
        if self.setting.rules.ordering == Ordering::BySum {
            self.order_by_sum(now);
            self.bind_waiting(0, now);
        }
        // A sum may fall short of what fits.
        for entry in std::mem::take(&mut self.waiting) {
            let request = self.arrivals[entry.arrival].request;
            match self.best(&request).or_else(|| self.order(now)) {
                Some(server) => self.bind(entry.arrival, server, now),
                None => self.waiting.push(entry),
            }
        }
    }

    fn order_by_sum(&mut self, now: i64) {
        let mut wanted = [0_i128; 3];
        for entry in &self.waiting {
            for (wanted, request) in wanted.iter_mut().zip(self.arrivals[entry.arrival].request) {
                *wanted += i128::from(request);
            }
        }
        let machines = wanted.into_iter().zip(self.setting.room).map(|(wanted, room)| {
            let room = i128::from(room);
            if room > 0 { (wanted + room - 1) / room } else { 0 }
        });
        // What asks for nothing needs a machine all the same.
        let needed = usize::try_from(machines.max().unwrap_or(0).max(1)).unwrap_or(0);
        let needed = if self.waiting.is_empty() { 0 } else { needed };
        let booting = self
            .live
            .iter()
            .filter(|number| !self.servers[**number].is_registered)
            .count();
        for _ in booting..needed {
            if self.order(now).is_none() {
                break;
            }
        }
    }

    fn order_by_pod(&mut self, now: i64) {
        for place in 0..self.waiting.len() {
            let promised = self.waiting[place].promised;
            if promised.is_some_and(|server| !self.servers[server].is_registered) {
                continue;
            }
            let request = self.arrivals[self.waiting[place].arrival].request;
            let found = self.live.iter().copied().find(|number| {
                let server = &self.servers[*number];
                !server.is_registered && fits(&server.unpromised, &request)
            });
            let Some(server) = found.or_else(|| self.order(now)) else {
                break;
            };
            take(&mut self.servers[server].unpromised, &request);
            self.waiting[place].promised = Some(server);
        }
    }
}
