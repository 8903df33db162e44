//! What became of advice: what was advised, held against what was asked for since.

use std::collections::{BTreeMap, HashSet};

use podledger_sql::units::NanoUsd;
use serde::{Deserialize, Serialize};

use super::Recommendation;
use super::backtest::{memory_cost, processor_cost};
use super::history::{History, Observation, Observed, Template};

/// Advice as it was given, kept until somebody asks what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    #[serde(flatten)]
    pub template: Template,
    /// When what it rests on began and ended, ms since 1970.
    pub from_ms: i64,
    pub until_ms: i64,
    /// When the newest attempt that it rests on began: what began later came after it.
    pub last_started_ms: i64,
    pub cpu_current_millicores: u64,
    pub cpu_recommended_millicores: Option<u64>,
    pub memory_current_bytes: u64,
    pub memory_recommended_bytes: Option<u64>,
    /// Nano-dollars that it would have saved while it was seen, at reference prices.
    pub nominal_saving_nano: i64,
    /// Nano-dollars that machines would have cost less; `None` where that was not told.
    pub realisable_saving_nano: Option<i64>,
}

impl Saved {
    /// What is kept of a recommendation; `None` where nothing is advised.
    #[must_use]
    pub fn of(row: &Recommendation, realisable: Option<NanoUsd>) -> Option<Self> {
        let (cpu, memory) = (row.cpu_millicores.recommended, row.memory_bytes.recommended);
        (cpu.is_some() || memory.is_some()).then(|| Self {
            template: row.template.clone(),
            from_ms: row.from_ms,
            until_ms: row.until_ms,
            last_started_ms: row.last_started_ms,
            cpu_current_millicores: row.cpu_millicores.current,
            cpu_recommended_millicores: cpu,
            memory_current_bytes: row.memory_bytes.current,
            memory_recommended_bytes: memory,
            nominal_saving_nano: row.nominal_saving.get(),
            realisable_saving_nano: realisable.map(NanoUsd::get),
        })
    }

    /// Whether it says the same of the same request.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        let said = |saved: &Self| {
            (
                saved.cpu_current_millicores,
                saved.cpu_recommended_millicores,
                saved.memory_current_bytes,
                saved.memory_recommended_bytes,
            )
        };
        self.template == other.template && said(self) == said(other)
    }
}

/// What became of advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Followed {
    /// Requests changed, to what was advised or to within a tenth of it.
    Followed,
    /// Requests changed to something else.
    Changed,
    /// It ran since, with what it asked for before.
    NotYet,
    /// It has not run since.
    NotSeen,
}

impl Followed {
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Followed => "followed",
            Self::Changed => "changed to something else",
            Self::NotYet => "not followed yet",
            Self::NotSeen => "has not run since",
        }
    }
}

/// Advice beside what was asked for since. Savings are nominal, at reference prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tracked {
    #[serde(flatten)]
    pub saved: Saved,
    pub followed: Followed,
    /// When an attempt with other requests began first, ms since 1970.
    pub changed_ms: Option<i64>,
    /// When requests changed after later advice: attempts from then on are that one's.
    pub replaced_ms: Option<i64>,
    /// What the newest of the attempts asks for.
    pub cpu_now_millicores: u64,
    pub memory_now_bytes: u64,
    /// Of the attempts since the change, and until the next: what the advice would have saved of them, and what was saved.
    pub predicted_saving: NanoUsd,
    pub realised_saving: NanoUsd,
    pub attempts_before: u64,
    pub attempts_after: u64,
    pub oom_kills_before: u64,
    pub oom_kills_after: u64,
}

/// What became of each piece of advice, by realised saving, the largest first. Of pieces that no change lies between the last counts. A change is
/// a pair of requests that no attempt had between the last change and the advice; a piece is judged until requests change after the next one.
#[must_use]
pub fn track(saved: &[Saved], observed: &Observed) -> Vec<Tracked> {
    let mut by_template: BTreeMap<&Template, Vec<&Saved>> = BTreeMap::new();
    for advice in saved {
        by_template.entry(&advice.template).or_default().push(advice);
    }
    let histories: BTreeMap<&Template, &History> = observed
        .histories
        .iter()
        .map(|history| (&history.template, history))
        .collect();
    let mut rows = Vec::new();
    for (template, mut advice) in by_template {
        advice.sort_by_key(|advice| advice.last_started_ms);
        let observations = histories
            .get(template)
            .map_or(&[][..], |history| history.observations.as_slice());
        // Each with when requests changed before it, and after it.
        let mut pieces: Vec<(&Saved, Option<i64>, Option<i64>)> = Vec::new();
        for piece in advice {
            let changes = pieces.iter().filter_map(|(_, _, changed)| *changed);
            let before = changes.filter(|changed| *changed <= piece.last_started_ms).max();
            let changed = change(observations, before, piece.last_started_ms);
            if pieces.last().is_some_and(|(_, _, last)| *last == changed) {
                pieces.pop();
            }
            pieces.push((piece, before, changed));
        }
        for (number, (piece, before, changed)) in pieces.iter().enumerate() {
            let replaced = pieces.get(number + 1).and_then(|(_, _, changed)| *changed);
            rows.push(tracked(piece, observations, *before, *changed, replaced));
        }
    }
    rows.sort_by(|a, b| (b.realised_saving, &a.saved.template).cmp(&(a.realised_saving, &b.saved.template)));
    rows
}

fn requests(seen: &Observation) -> (u32, u64) {
    (seen.cpu_request_millicores, seen.memory_request_bytes)
}

/// When an attempt began, after advice, that asks for what none did before it since the last change.
fn change(observations: &[Observation], since_ms: Option<i64>, last_started_ms: i64) -> Option<i64> {
    let before: HashSet<(u32, u64)> = observations
        .iter()
        .filter(|seen| seen.started_ms <= last_started_ms)
        .filter(|seen| since_ms.is_none_or(|since| seen.started_ms >= since))
        .map(requests)
        .collect();
    observations
        .iter()
        .filter(|seen| seen.started_ms > last_started_ms && !before.contains(&requests(seen)))
        .map(|seen| seen.started_ms)
        .min()
}

/// What became of advice: between two changes it had its own, if there is one.
fn tracked(
    advice: &Saved,
    observations: &[Observation],
    since_ms: Option<i64>,
    changed_ms: Option<i64>,
    replaced_ms: Option<i64>,
) -> Tracked {
    let observations: Vec<&Observation> = observations
        .iter()
        .filter(|seen| since_ms.is_none_or(|since| seen.started_ms >= since))
        .filter(|seen| replaced_ms.is_none_or(|replaced| seen.started_ms < replaced))
        .collect();
    let is_after = |seen: &Observation| changed_ms.is_some_and(|changed| seen.started_ms >= changed);
    let newest = observations.iter().max_by_key(|seen| (seen.started_ms, seen.run));
    let (cpu_now, memory_now) = newest.map_or(
        (advice.cpu_current_millicores, advice.memory_current_bytes),
        |seen| (u64::from(seen.cpu_request_millicores), seen.memory_request_bytes),
    );
    let is_near = |now: u64, advised: Option<u64>, current: u64| {
        let wanted = advised.unwrap_or(current);
        now.abs_diff(wanted).saturating_mul(10) <= wanted
    };
    let followed = if changed_ms.is_some() {
        let is_followed = is_near(
            cpu_now,
            advice.cpu_recommended_millicores,
            advice.cpu_current_millicores,
        ) && is_near(
            memory_now,
            advice.memory_recommended_bytes,
            advice.memory_current_bytes,
        );
        if is_followed {
            Followed::Followed
        } else {
            Followed::Changed
        }
    } else if observations
        .iter()
        .any(|seen| seen.started_ms > advice.last_started_ms)
    {
        Followed::NotYet
    } else {
        Followed::NotSeen
    };
    // Millicore-milliseconds and byte-milliseconds: as before, as advised, as asked for.
    let mut held = [(0_u128, 0_u128); 3];
    let (mut attempts, mut kills) = ([0_u64; 2], [0_u64; 2]);
    for seen in &observations {
        let place = usize::from(is_after(seen));
        attempts[place] += 1;
        kills[place] += u64::from(seen.is_oom_killed);
        if place == 0 {
            continue;
        }
        let (cpu, memory) = (advice.cpu_current_millicores, advice.memory_current_bytes);
        let asked = [
            (cpu, memory),
            (
                advice.cpu_recommended_millicores.unwrap_or(cpu),
                advice.memory_recommended_bytes.unwrap_or(memory),
            ),
            (u64::from(seen.cpu_request_millicores), seen.memory_request_bytes),
        ];
        for (held, (cpu, memory)) in held.iter_mut().zip(asked) {
            held.0 += u128::from(cpu) * u128::from(seen.held_ms());
            held.1 += u128::from(memory) * u128::from(seen.held_ms());
        }
    }
    let [before, as_advised, as_asked] = held.map(|(processor, memory)| {
        processor_cost(processor)
            .get()
            .saturating_add(memory_cost(memory).get())
    });
    Tracked {
        saved: advice.clone(),
        followed,
        changed_ms,
        replaced_ms,
        cpu_now_millicores: cpu_now,
        memory_now_bytes: memory_now,
        predicted_saving: NanoUsd::from_nano(before.saturating_sub(as_advised)),
        realised_saving: NanoUsd::from_nano(before.saturating_sub(as_asked)),
        attempts_before: attempts[0],
        attempts_after: attempts[1],
        oom_kills_before: kills[0],
        oom_kills_after: kills[1],
    }
}
