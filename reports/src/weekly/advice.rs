//! What to do next: what the week's figures point at, by what it cost.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use podledger_sql::units::NanoUsd;

use super::figures::{Figures, job_name, pool_name};
use super::{Action, PoolRow, Saving, Weekly};
use crate::display;

/// Nothing below this is worth a line, in nano-dollars of the week: a cent.
const LEAST: i64 = 10_000_000;

/// How many are named.
const MOST: usize = 12;

#[derive(Default)]
struct Job {
    used: i64,
    unused: i64,
    failed: i64,
    lost: i64,
    stuck: i64,
}

/// What a job should ask for, and what that would have saved in the week.
#[derive(Debug, Clone)]
pub struct Sizing {
    pub team: String,
    pub pipeline: String,
    pub job: String,
    /// Quantities as Kubernetes writes them, CPU and memory.
    pub current: String,
    pub recommended: String,
    /// What machines would have cost less, by replay; `None` where that is not known.
    pub realisable: Option<NanoUsd>,
    /// What was reserved less in the week, at reference prices.
    pub nominal: NanoUsd,
}

impl Weekly {
    /// Puts advice on requests among what to do next, by what machines would have cost less, and after it where that is not known. That a job's
    /// requests are not used is not told again where the advice for its containers is about half of that or more.
    pub fn advise(&mut self, sizings: &[Sizing]) {
        let mut covered: BTreeMap<(Option<&str>, String), i64> = BTreeMap::new();
        let mut advised = Vec::new();
        for sizing in sizings {
            let saving = sizing.realisable.unwrap_or(sizing.nominal);
            if saving.get() < LEAST {
                continue;
            }
            let subject = job_name(&sizing.pipeline, &sizing.job);
            let of_job = covered.entry((Some(&sizing.team), subject.clone())).or_default();
            *of_job = of_job.saturating_add(sizing.nominal.get());
            advised.push(Action {
                kind: "right_sizing",
                team: Some(sizing.team.clone()),
                subject,
                finding: format!("asks for {}, and {} would do", sizing.current, sizing.recommended),
                remedy: "change its requests",
                cost: saving,
                saving: match sizing.realisable {
                    Some(_) => Saving::Realisable,
                    None => Saving::Nominal,
                },
            });
        }
        self.actions.retain(|action| {
            let of_job = covered.get(&(action.team.as_deref(), action.subject.clone()));
            action.kind != "unused_request"
                || of_job.is_none_or(|nominal| nominal.saturating_mul(2) < action.cost.get())
        });
        self.actions.append(&mut advised);
        largest_first(&mut self.actions);
    }
}

pub(super) fn actions(figures: &Figures, pools: &[PoolRow]) -> Vec<Action> {
    let mut actions: Vec<Action> = pools.iter().flat_map(of_pool).collect();
    actions.extend(of_jobs(figures));
    actions.retain(|action| action.cost.get() >= LEAST);
    largest_first(&mut actions);
    actions
}

/// The largest first, and nominal savings after all others, as many of them.
fn largest_first(actions: &mut Vec<Action>) {
    let place = |action: &Action| (action.saving == Saving::Nominal, Reverse(action.cost));
    actions.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.subject.cmp(&b.subject)));
    let mut nominal = actions.split_off(actions.partition_point(|action| action.saving != Saving::Nominal));
    actions.truncate(MOST);
    nominal.truncate(MOST);
    actions.append(&mut nominal);
}

fn of_pool(pool: &PoolRow) -> Vec<Action> {
    let action = |kind, finding: String, remedy, cost: i64| Action {
        kind,
        team: None,
        subject: pool_name(&pool.pool),
        finding,
        remedy,
        cost: NanoUsd::from_nano(cost),
        saving: Saving::AtMost,
    };
    let held = pool
        .cpu_request_permille
        .max(pool.memory_request_permille)
        .max(pool.gpu_request_permille.unwrap_or(0));
    vec![
        action(
            "idle_tail",
            match pool.tail_ms {
                Some(tail) => format!("idles {} after its last pod", display::duration(tail)),
                None => "idles after its last pod".to_owned(),
            },
            "let it scale down sooner",
            pool.idle_tail.get(),
        ),
        action(
            "idle_gap",
            "stands empty between workloads".to_owned(),
            "let it scale down sooner, or run jobs at the same time",
            pool.idle_gap.get(),
        ),
        action(
            "idle_unpacked",
            format!(
                "holds pods on {} of its capacity on average",
                display::percent(held)
            ),
            "use machines whose shape fits the pods, or smaller ones",
            pool.idle_unpacked.get(),
        ),
        action(
            "idle_boot",
            "is paid for while its machines boot".to_owned(),
            "use images that start faster, and keep machines for more than one pod",
            pool.idle_boot.get(),
        ),
        action(
            "idle_startup",
            "has machines that wait for their first pod".to_owned(),
            "start fewer machines, or keep fewer",
            pool.idle_startup.get(),
        ),
    ]
}

fn of_jobs(figures: &Figures) -> Vec<Action> {
    let mut jobs: BTreeMap<(&str, &str, &str), Job> = BTreeMap::new();
    for cost in figures.costs.iter().filter(|cost| cost.is_this_week) {
        let job = jobs.entry((&cost.team, &cost.pipeline, &cost.job)).or_default();
        match cost.category.as_str() {
            "used" => job.used += cost.nano,
            "unused_request" => job.unused += cost.nano,
            "failed" => job.failed += cost.nano,
            "lost" => job.lost += cost.nano,
            "stuck" => job.stuck += cost.nano,
            _ => {}
        }
    }
    let mut actions = Vec::new();
    for ((team, pipeline, name), job) in &jobs {
        let failure = figures.failures.iter().find(|row| {
            (row.team.as_str(), row.pipeline.as_str(), row.job.as_str()) == (*team, *pipeline, *name)
        });
        let mut add = |kind, finding: String, remedy, cost: i64| {
            actions.push(Action {
                kind,
                team: Some((*team).to_owned()),
                subject: job_name(pipeline, name),
                finding,
                remedy,
                cost: NanoUsd::from_nano(cost),
                saving: Saving::AtMost,
            });
        };
        let used = display::permille(job.used, job.used + job.unused);
        add(
            "unused_request",
            format!("uses {} of what it asks for, by cost", display::percent(used)),
            "ask for less CPU and memory",
            job.unused,
        );
        // Tries that end in another week, or that are counted for a team that several share, are not among these.
        let (attempts, failed, lost) = failure.map_or((0, 0, 0), |row| (row.attempts, row.failed, row.lost));
        // Kubernetes' reasons are single words; what is none was written by somebody else.
        let reason = failure
            .and_then(|row| row.reason.as_deref())
            .filter(|reason| reason.chars().all(|letter| letter.is_ascii_alphanumeric()));
        add(
            "failed",
            match reason {
                _ if failed == 0 => "has tries that failed".to_owned(),
                Some("OOMKilled") => format!("is OOM-killed: {failed} of {attempts} tries failed"),
                Some(reason) => format!("failed {failed} of {attempts} tries, mostly by {reason}"),
                None => format!("failed {failed} of {attempts} tries"),
            },
            if reason == Some("OOMKilled") {
                "ask for more memory, or use less"
            } else {
                "mend what makes it fail"
            },
            job.failed,
        );
        add(
            "lost",
            if lost == 0 {
                "lost tries to interruptions and evictions".to_owned()
            } else {
                format!("lost {lost} of {attempts} tries to interruptions and evictions")
            },
            "keep checkpoints, or run it where nothing is taken away",
            job.lost,
        );
        add(
            "stuck",
            "holds machines while its image or container cannot start".to_owned(),
            "mend the image's name or registry, and set a deadline",
            job.stuck,
        );
    }
    actions
}
