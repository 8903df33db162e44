//! Sharing: idle capacity and load balancers, given to the pods that were beside them.

use std::collections::{BTreeMap, HashMap};

use super::groups::{Cell, CellKey, Gathering, Group};
use super::item::Item;
use super::sets::{Costs, Place};
use super::sums::{Money, spread};
use super::window::Window;
use crate::http::problem::Problem;

impl Gathering<'_> {
    /// Cells in an order that depends on nothing but names.
    fn ordered(&self) -> Vec<CellKey> {
        let mut keys: Vec<CellKey> = self.cells.keys().cloned().collect();
        let name = |group: &Group| group.map(|group| self.groups[group].0.as_str());
        keys.sort_by(|one, other| (one.0, &one.2, name(&one.1)).cmp(&(other.0, &other.2, name(&other.1))));
        keys
    }

    /// Gives idle capacity to the pods beside it, of each resource by what they paid of it, or of all resources where none paid of that one. What nobody
    /// is beside stays idle.
    pub(super) fn share_idle(&mut self) -> Result<(), Problem> {
        let mut sharers: HashMap<(i64, Place), Vec<CellKey>> = HashMap::new();
        let by_node = self.question.is_idle_by_node;
        // Cells may be told apart by node for another reason.
        let scope = |step: i64, place: &Place| {
            let node = if by_node { place.1.clone() } else { String::new() };
            (step, (place.0.clone(), node))
        };
        for key in self.ordered() {
            sharers.entry(scope(key.0, &key.2)).or_default().push(key);
        }
        let mut idle: BTreeMap<(i64, Place), Cell> = BTreeMap::new();
        for ((step, place), cell) in std::mem::take(&mut self.idle) {
            let whole = idle.entry(scope(step, &place)).or_default();
            whole.amounts.add(&cell.amounts);
            whole.cover(Window {
                start_ms: cell.start_ms,
                end_ms: cell.end_ms,
            });
        }
        for (scope, mut cell) in idle {
            let keys = sharers.get(&scope).map_or(&[][..], Vec::as_slice);
            let own: Vec<Costs> = keys
                .iter()
                .map(|key| self.cells[key].own.map(|own| own.max(0)))
                .collect();
            let sums: Vec<i128> = own.iter().map(|own| own.iter().sum()).collect();
            if sums.iter().sum::<i128>() > 0 {
                let kinds = [
                    (Money::Cpu, Money::CpuIdle),
                    (Money::Memory, Money::MemoryIdle),
                    (Money::Gpu, Money::GpuIdle),
                ];
                for (resource, (from, to)) in kinds.into_iter().enumerate() {
                    let weights: Vec<i128> = own.iter().map(|own| own[resource]).collect();
                    let weights = if weights.iter().sum::<i128>() > 0 {
                        &weights
                    } else {
                        &sums
                    };
                    let parts = spread(cell.amounts.take(from), weights)?;
                    for (key, part) in keys.iter().zip(parts) {
                        if let Some(cell) = self.cells.get_mut(key) {
                            cell.amounts.give(to, part);
                        }
                    }
                }
                continue;
            }
            let place = Item {
                cluster: scope.1.0.clone(),
                node: scope.1.1.clone(),
                ..Item::default()
            };
            if self.question.filter.lets_through(&place) {
                self.idle.insert(scope, cell);
            }
        }
        Ok(())
    }

    /// Gives what load balancers cost to all pods of the cluster, by what they paid; where there are none it stays.
    pub(super) fn share_load_balancers(&mut self) -> Result<(), Problem> {
        let mut sharers: BTreeMap<(i64, String), Vec<CellKey>> = BTreeMap::new();
        for key in self.ordered() {
            sharers.entry((key.0, key.2.0.clone())).or_default().push(key);
        }
        for keys in sharers.values() {
            let weights: Vec<i128> = keys
                .iter()
                .map(|key| self.cells[key].own.iter().map(|own| (*own).max(0)).sum())
                .collect();
            if weights.iter().sum::<i128>() == 0 {
                continue;
            }
            let mut sum = 0;
            for key in keys {
                if let Some(cell) = self.cells.get_mut(key) {
                    sum += cell.amounts.take(Money::LoadBalancer);
                }
            }
            for (key, part) in keys.iter().zip(spread(sum, &weights)?) {
                if let Some(cell) = self.cells.get_mut(key) {
                    cell.amounts.give(Money::Shared, part);
                }
            }
        }
        Ok(())
    }
}
