//! `podledger bench recommend`.

use std::time::Instant;

use clap::Args;
use podledger_analyzer::rightsizing::{
    ContainerKind, History, MIB, Observation, Observed, Run, Settings, Strategy, Template,
};
use serde::Serialize;

/// Measure what sizing takes, of generated attempts that are in memory: how long a ledger takes to tell them is not in it.
#[derive(Debug, Args)]
#[command(after_help = "Example: podledger bench recommend --attempts 10000000 --templates 5000")]
pub struct BenchRecommend {
    /// Attempts of all templates together.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// Templates, of twenty to a pipeline.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    templates: u32,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Measured {
    strategy: Strategy,
    seconds: f64,
    /// Templates for which memory was advised.
    advised: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    attempts: u32,
    templates: u32,
    measures: Vec<Measured>,
}

const TEMPLATES_PER_PIPELINE: u32 = 20;
const ATTEMPTS_PER_RUN: u32 = 20;
const DAY_MS: i64 = 86_400_000;

impl BenchRecommend {
    pub fn run(&self) -> anyhow::Result<()> {
        let observed = generate(self.attempts, self.templates);
        let measures = Strategy::ALL.map(|strategy| {
            let started = Instant::now();
            let decisions = strategy.decide(&observed, &Settings::default());
            Measured {
                strategy,
                seconds: started.elapsed().as_secs_f64(),
                advised: decisions
                    .iter()
                    .filter(|decision| decision.memory.is_ok())
                    .count(),
            }
        });
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            attempts: self.attempts,
            templates: self.templates,
            measures: measures.into(),
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        println!("{} attempts of {} templates\n", report.attempts, report.templates);
        for measured in &report.measures {
            println!(
                "{:<10} {:>8.3} s, memory of {} templates advised",
                measured.strategy.name(),
                measured.seconds,
                measured.advised
            );
        }
        Ok(())
    }
}

/// A number that looks as if drawn: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn drawn(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A small part of a drawn number.
fn below(number: u64, most: u32) -> u32 {
    u32::try_from(drawn(number) % u64::from(most.max(1))).unwrap_or(0)
}

/// Runs of pipelines, a day apart; of each template twenty attempts a run, with peaks that differ by a tenth and now and then by more.
fn generate(attempts: u32, templates: u32) -> Observed {
    let per_template = attempts.div_ceil(templates);
    let runs_per_pipeline = per_template.div_ceil(ATTEMPTS_PER_RUN);
    let pipelines = templates.div_ceil(TEMPLATES_PER_PIPELINE);
    let runs = (0..runs_per_pipeline).flat_map(|run| {
        (0..pipelines).map(move |pipeline| Run {
            pipeline,
            started_ms: i64::from(run) * DAY_MS,
        })
    });
    let histories = (0..templates).map(|template| {
        let base = MIB * u64::from(64 + below(u64::from(template) + 1, 8000));
        let observations = (0..per_template).map(|attempt| {
            let key = (u64::from(template) << 32) + u64::from(attempt) + 1;
            let run = attempt / ATTEMPTS_PER_RUN;
            let started_ms = i64::from(run) * DAY_MS + i64::from(attempt % ATTEMPTS_PER_RUN) * 60_000;
            let measured = 30_000 + below(key ^ 0xa5, 600_000);
            let surge = if below(key ^ 0x5a, 1000) == 0 { 1300 } else { 1000 };
            Observation {
                run: run * pipelines + template / TEMPLATES_PER_PIPELINE,
                image: 0,
                started_ms,
                ended_ms: started_ms + i64::from(measured),
                cpu_request_millicores: 2000,
                cpu_measured_ms: measured,
                cpu_usage_millicore_ms: u64::from(measured) * u64::from(100 + below(key ^ 0xff, 1900)),
                cpu_percentiles_millicores: None,
                memory_request_bytes: 16_384 * MIB,
                memory_limit_bytes: 0,
                memory_peak_bytes: base * u64::from(900 + below(key, 100)) * surge / 1_000_000,
                heap_peak_bytes: 0,
                heap_limit_bytes: 0,
                is_oom_killed: false,
                is_throttled: false,
            }
        });
        History {
            template: Template {
                cluster: "bench".to_owned(),
                system: None,
                namespace: None,
                pipeline: format!("pipeline-{}", template / TEMPLATES_PER_PIPELINE),
                job: format!("job-{template}"),
                container: "main".to_owned(),
                kind: ContainerKind::Container,
            },
            team: "bench".to_owned(),
            image: None,
            source: Some("kubelet".to_owned()),
            pod_containers: 1,
            is_retried: false,
            observations: observations.collect(),
        }
    });
    Observed {
        runs: runs.collect(),
        histories: histories.collect(),
    }
}
