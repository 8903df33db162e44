//! Allocations: what pods, machines and services cost, by step and group, with idle capacity and load balancers shared where that is asked for.
//!
//! ```text
//! rows of marts -> steps (intervals) -> containers (requests) -> cells: step, group, node -> sharing -> sets -> accumulated sets
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use duckdb::Connection;

use super::field::Needs;
use super::item::{IDLE, Item, UNMOUNTED};
use super::question::{MOST_CELLS, Question};
use super::read::{Container, Holder, Key, MachineRow, Pod, Reader, ServiceRow, Things};
use super::sets::{Allocation, Costs, Place, Set, Volumes, accumulated};
use super::sums::{Amounts, Money, Time};
use super::window::{HOUR, Window};
use crate::http::problem::Problem;
use crate::http::work::Over;

/// What a group cost in a step on a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub amounts: Amounts,
    /// What pods paid for the machine themselves: by it, what is shared is shared.
    pub own: Costs,
    pub start_ms: i64,
    pub end_ms: i64,
    pub volumes: Volumes,
}

impl Cell {
    pub fn cover(&mut self, window: Window) {
        if self.end_ms == 0 {
            (self.start_ms, self.end_ms) = (window.start_ms, window.end_ms);
        } else {
            self.start_ms = self.start_ms.min(window.start_ms);
            self.end_ms = self.end_ms.max(window.end_ms);
        }
    }
}

/// A group, or none: what the filter does not let through takes its part of what is shared, and is not told.
pub(super) type Group = Option<usize>;

/// Which cell: its step, group and place.
pub(super) type CellKey = (i64, Group, Place);

/// Gathers cells.
pub(super) struct Gathering<'a> {
    pub(super) question: &'a Question,
    things: &'a Things,
    /// Name and what all members have in common.
    pub(super) groups: Vec<(String, Item)>,
    numbers: HashMap<String, usize>,
    /// The groups of a pod's containers.
    of_pods: HashMap<Key, Vec<Group>>,
    pub(super) cells: HashMap<CellKey, Cell>,
    /// The allocations that there are so far: steps with their groups.
    told: HashSet<(i64, Group)>,
    pub(super) idle: BTreeMap<(i64, Place), Cell>,
    idle_item: Option<Item>,
    /// What nodes cost in each step.
    nodes: HashMap<(i64, Place), Costs>,
}

/// Answers a question for allocations.
///
/// # Errors
/// A [`Problem`]: too many allocations, or a query that failed.
pub(super) fn sets(question: &Question, connection: &Connection, over: &Over) -> Result<Vec<Set>, Problem> {
    let reader = Reader {
        connection,
        over,
        steps: question.steps,
    };
    let needs: Needs = question.needs();
    let things = reader.things(needs)?;
    let mut gathering = Gathering {
        question,
        things: &things,
        groups: Vec::new(),
        numbers: HashMap::new(),
        of_pods: HashMap::new(),
        cells: HashMap::new(),
        told: HashSet::new(),
        idle: BTreeMap::new(),
        idle_item: None,
        nodes: HashMap::new(),
    };
    reader.machine_rows(&things.pods, |row| gathering.machine(&row))?;
    reader.service_rows(|row| gathering.service(&row))?;
    let mut sets = gathering.sets()?;
    if let Some(unit) = question.accumulate {
        sets = accumulated(sets, |one, other| unit.has_both(one, other));
    }
    if question.offset > 0 || question.limit.is_some() {
        for set in &mut sets {
            let allocations = std::mem::take(&mut set.allocations).into_iter();
            let limit = question.limit.unwrap_or(usize::MAX);
            set.allocations = allocations.skip(question.offset).take(limit).collect();
        }
    }
    Ok(sets)
}

impl Gathering<'_> {
    /// The group of an item, which becomes a member.
    fn group_of(&mut self, item: &Item) -> Result<Group, Problem> {
        if !self.question.filter.lets_through(item) {
            return Ok(None);
        }
        let name = self.question.aggregate.name(item);
        if let Some(number) = self.numbers.get(&name) {
            self.groups[*number].1.keep_common(item);
            return Ok(Some(*number));
        }
        let number = self.groups.len();
        self.numbers.insert(name.clone(), number);
        self.groups.push((name, item.clone()));
        Ok(Some(number))
    }

    fn place(&self, cluster: &str, node: &str) -> Place {
        let by_node = self.question.is_idle_by_node || self.question.has_proportions;
        (
            cluster.to_owned(),
            if by_node { node.to_owned() } else { String::new() },
        )
    }

    fn add(
        &mut self,
        (step, group, place): CellKey,
        amounts: &Amounts,
        holder: Window,
        is_pod: bool,
    ) -> Result<&mut Cell, Problem> {
        let window = self.question.steps.at(step);
        if group.is_some() && self.told.insert((step, group)) && self.told.len() > MOST_CELLS {
            return Err(Problem::bad(format!(
                "the answer has more than {MOST_CELLS} allocations in {} sets: take another `aggregate`, a longer `step`, or a `filter`",
                self.question.steps.count()
            )));
        }
        let cell = self.cells.entry((step, group, place)).or_default();
        cell.amounts.add(amounts);
        cell.cover(holder.overlap(window).unwrap_or(window));
        if is_pod {
            for (own, kind) in cell.own.iter_mut().zip([Money::Cpu, Money::Memory, Money::Gpu]) {
                *own += amounts.money(kind);
            }
        }
        Ok(cell)
    }

    fn machine(&mut self, row: &MachineRow) -> Result<(), Problem> {
        let things = self.things;
        let key = (row.cluster.clone(), row.machine.clone());
        let machine = things.machines.get(&key);
        let life = machine.map_or(self.question.steps.window, |machine| Window {
            start_ms: machine.start_ms,
            end_ms: machine.end_ms,
        });
        let node = machine.map_or_else(|| row.machine.clone(), |machine| machine.node.clone());
        let place = self.place(&row.cluster, &node);
        let pod_key = row.pod_uid.as_ref().map(|uid| (row.cluster.clone(), uid.clone()));
        let pod = pod_key.as_ref().and_then(|key| things.pods.get(key));
        let holder = pod.map_or(life, |pod| {
            let held = Window {
                start_ms: pod.start_ms,
                end_ms: pod.end_ms,
            };
            held.overlap(life).unwrap_or(life)
        });
        let item = Item {
            cluster: row.cluster.clone(),
            node,
            provider_id: machine.map_or_else(String::new, |machine| machine.provider_id.clone()),
            ..Item::default()
        };
        for (step, amounts) in row.time.divide(row.amounts, holder, self.question.steps)? {
            if self.question.has_proportions {
                let costs = self.nodes.entry((step, place.clone())).or_default();
                for (cost, kind) in costs.iter_mut().zip([Money::Cpu, Money::Memory, Money::Gpu]) {
                    *cost += amounts.money(kind);
                }
            }
            match (row.holder, &pod_key) {
                (Holder::Pod, Some(key)) => {
                    let groups = self.groups_of(key, pod, &item)?;
                    let parts = by_container(&amounts, pod, groups.len())?;
                    for (group, part) in groups.iter().zip(&parts) {
                        self.add((step, *group, place.clone()), part, holder, true)?;
                    }
                }
                (Holder::Idle, _) => self.idle(step, &place, &item, &amounts, holder),
                _ => {
                    let group = self.group_of(&item)?;
                    self.add((step, group, place.clone()), &amounts, holder, false)?;
                }
            }
        }
        Ok(())
    }

    fn idle(&mut self, step: i64, place: &Place, item: &Item, amounts: &Amounts, holder: Window) {
        let is_let_through = self.question.filter.lets_through(item);
        let is_shared = self.question.is_idle_shared;
        if !(is_shared || self.question.has_idle && is_let_through) {
            return;
        }
        match &mut self.idle_item {
            Some(common) => common.keep_common(item),
            None => self.idle_item = Some(item.clone()),
        }
        let window = self.question.steps.at(step);
        let cell = self.idle.entry((step, place.clone())).or_default();
        cell.amounts.add(amounts);
        cell.cover(holder.overlap(window).unwrap_or(window));
    }

    /// The groups of a pod's containers; of the pod as a whole where nobody asked for containers.
    fn groups_of(&mut self, key: &Key, pod: Option<&Pod>, machine: &Item) -> Result<Vec<Group>, Problem> {
        if let Some(groups) = self.of_pods.get(key) {
            return Ok(groups.clone());
        }
        let mut item = match pod {
            Some(pod) => pod.item.clone(),
            None => Item {
                cluster: key.0.clone(),
                pod: key.1.clone(),
                ..Item::default()
            },
        };
        item.node.clone_from(&machine.node);
        item.provider_id.clone_from(&machine.provider_id);
        let containers = pod.map_or(&[][..], |pod| &pod.containers);
        let mut groups = Vec::with_capacity(containers.len() + 1);
        for container in containers {
            item.container.clone_from(&container.name);
            groups.push(self.group_of(&item)?);
        }
        if containers.is_empty() || surplus(pod, containers) != [0; 3] {
            // What init containers asked for beyond the others stays with the pod.
            let name = if containers.is_empty() { "" } else { "(pod)" };
            name.clone_into(&mut item.container);
            groups.push(self.group_of(&item)?);
        }
        self.of_pods.insert(key.clone(), groups.clone());
        Ok(groups)
    }

    fn service(&mut self, row: &ServiceRow) -> Result<(), Problem> {
        let things = self.things;
        let service = things.services.get(&(row.cluster.clone(), row.id.clone()));
        let life = service.map_or(self.question.steps.window, |service| Window {
            start_ms: service.start_ms,
            end_ms: service.end_ms,
        });
        let pod_key = row.pod_uid.as_ref().map(|uid| (row.cluster.clone(), uid.clone()));
        let pod = pod_key.as_ref().and_then(|key| things.pods.get(key));
        let holder = pod.map_or(life, |pod| {
            let held = Window {
                start_ms: pod.start_ms,
                end_ms: pod.end_ms,
            };
            held.overlap(life).unwrap_or(life)
        });
        let named = service.map_or_else(|| row.id.clone(), |service| service.name.clone());
        let is_volume = row.kind == "volume";
        let (kind, byte_ms) = match row.kind.as_str() {
            "volume" => (
                Money::Volume,
                service.map_or(0, |service| byte_ms(service.bytes, service.hourly_nano, row.nano)),
            ),
            "load_balancer" => (Money::LoadBalancer, 0),
            _ => (Money::External, 0),
        };
        let amounts = Amounts::with(&[(kind, row.nano)], &[(Time::Volume, byte_ms)]);
        let volume = (row.cluster.clone(), named.clone());
        for (step, amounts) in row.time.divide(amounts, holder, self.question.steps)? {
            let (groups, place) = match &pod_key {
                Some(key) => {
                    let machine = self.machine_of(pod);
                    (
                        self.groups_of(key, pod, &machine)?,
                        self.place(&row.cluster, &machine.node),
                    )
                }
                None => {
                    let item = of_nobody(row, &named);
                    (vec![self.group_of(&item)?], self.place(&row.cluster, ""))
                }
            };
            for (group, part) in groups.iter().zip(by_container(&amounts, pod, groups.len())?) {
                let cell = self.add((step, *group, place.clone()), &part, holder, false)?;
                if is_volume {
                    let sums = cell.volumes.entry(volume.clone()).or_default();
                    sums.0 += part.time(Time::Volume);
                    sums.1 += part.money(Money::Volume);
                }
            }
        }
        Ok(())
    }

    /// The machine of a pod, as far as an item tells of it.
    fn machine_of(&self, pod: Option<&Pod>) -> Item {
        let key = pod.map(|pod| (pod.item.cluster.clone(), pod.machine.clone()));
        let machine = key.and_then(|key| self.things.machines.get(&key));
        machine.map_or_else(Item::default, |machine| Item {
            node: machine.node.clone(),
            provider_id: machine.provider_id.clone(),
            ..Item::default()
        })
    }

    /// Shares what is to be shared, and puts the cells of a group together.
    fn sets(mut self) -> Result<Vec<Set>, Problem> {
        if self.question.is_idle_shared {
            self.share_idle()?;
        }
        if self.question.are_load_balancers_shared {
            self.share_load_balancers()?;
        }
        let steps = self.question.steps;
        let mut sets: Vec<Set> = (0..steps.count())
            .map(|number| Set {
                window: steps.at(number),
                allocations: BTreeMap::new(),
            })
            .collect();
        let has_labels = self.question.has_labels();
        for ((step, group, place), cell) in self.cells {
            let Some((name, item)) = group.and_then(|group| self.groups.get(group)) else {
                continue;
            };
            let Some(set) = usize::try_from(step).ok().and_then(|step| sets.get_mut(step)) else {
                continue;
            };
            let allocation = set.allocations.entry(name.clone()).or_default();
            if allocation.end_ms == 0 {
                allocation.item = item.clone();
                if !has_labels {
                    allocation.item.labels.clear();
                    allocation.item.annotations.clear();
                    allocation.item.namespace_labels.clear();
                }
            }
            let whole = self.nodes.get(&(step, place.clone())).copied();
            let part = Allocation {
                item: Item::default(),
                amounts: cell.amounts,
                start_ms: cell.start_ms,
                end_ms: cell.end_ms,
                volumes: cell.volumes,
                nodes: whole
                    .map(|whole| (place, (cell.own, whole)))
                    .into_iter()
                    .collect(),
            };
            allocation.merge(part);
        }
        for ((step, _), cell) in self.idle {
            if cell.amounts == Amounts::default() {
                continue;
            }
            let Some(set) = usize::try_from(step).ok().and_then(|step| sets.get_mut(step)) else {
                continue;
            };
            let allocation = set.allocations.entry(IDLE.to_owned()).or_default();
            if let Some(item) = &self.idle_item {
                allocation.item = item.clone();
            }
            let part = Allocation {
                amounts: cell.amounts,
                start_ms: cell.start_ms,
                end_ms: cell.end_ms,
                ..Allocation::default()
            };
            allocation.merge(part);
        }
        Ok(sets)
    }
}

/// What a service costs that is no pod's.
pub(super) fn of_nobody(row: &ServiceRow, named: &str) -> Item {
    let mut item = Item {
        cluster: row.cluster.clone(),
        namespace: row.namespace.clone(),
        team: row.team.clone(),
        pipeline: row.pipeline.clone(),
        ..Item::default()
    };
    match row.kind.as_str() {
        "volume" => {
            if item.namespace.is_empty() {
                UNMOUNTED.clone_into(&mut item.namespace);
            }
            UNMOUNTED.clone_into(&mut item.pod);
            UNMOUNTED.clone_into(&mut item.container);
        }
        "load_balancer" => named.clone_into(&mut item.service),
        _ => {}
    }
    item
}

/// How much storage a sum has paid for, bytes times milliseconds.
fn byte_ms(bytes: i128, hourly_nano: i128, nano: i128) -> i128 {
    if hourly_nano <= 0 {
        return 0;
    }
    bytes * nano * i128::from(HOUR) / hourly_nano
}

/// What a pod asks for beyond its containers.
fn surplus(pod: Option<&Pod>, containers: &[Container]) -> [i128; 3] {
    let mut rest = pod.map_or([0; 3], |pod| pod.requests);
    for container in containers {
        for (left, request) in rest.iter_mut().zip(container.requests) {
            *left -= request;
        }
    }
    rest.map(|left| left.max(0))
}

/// Divides a pod's amounts among its groups: one for each container, and one for the surplus where there is one.
fn by_container(amounts: &Amounts, pod: Option<&Pod>, groups: usize) -> Result<Vec<Amounts>, Problem> {
    if groups == 1 {
        return Ok(vec![*amounts]);
    }
    let containers = pod.map_or(&[][..], |pod| &pod.containers);
    let mut requests: Vec<[i128; 3]> = containers.iter().map(|container| container.requests).collect();
    if requests.len() < groups {
        requests.push(surplus(pod, containers));
    }
    amounts.by_container(&requests)
}
