//! What containers should ask for, for the dashboard: as `podledger recommend` says it.

use std::collections::BTreeMap;

use duckdb::Connection;
use podledger_analyzer::replay::{PoolReplay, Realisable, Replay, Schedule};
use podledger_analyzer::rightsizing::{
    Decision, FailureCost, Filter, Observed, Outcome, Recommendation, Resource, Settings, Split, Strategy,
    airflow, backtest, patch, read, recommendations, spark,
};
use podledger_reports::http::{Advice, Advise, AdviseWeek, Amount, NoAdvice, Replayed, Saving, Template};
use podledger_reports::weekly::Judged;

use super::report_advice::{learned, of_week};

/// Percent of each pipeline's runs that a back-test learns from, one window after another.
pub const WINDOWS: [u8; 4] = [10, 25, 50, 75];

/// Attempts that a server learns from at most: about a hundred bytes of memory each.
pub(super) const MOST_ATTEMPTS: u64 = 5_000_000;

/// Pods of which a server replays the machines at most: each takes some hundred bytes, and is replayed for every row of advice.
const MOST_REPLAYED: u64 = 1_000_000;

/// Attempts that a server learns from for the report of a week: people wait for that page.
const MOST_OF_REPORT: u64 = 1_000_000;

/// Advises on all that a ledger has seen.
pub fn advise() -> Box<Advise> {
    Box::new(|connection| {
        let filter = Filter::default();
        let attempts = attempts(connection, &filter)?;
        if attempts > MOST_ATTEMPTS {
            return Err(NoAdvice::TooMuch(format!(
                "the ledger has {attempts} tries of containers, and a server learns from {MOST_ATTEMPTS} at most: run `podledger recommend`, with --since if need be"
            )));
        }
        let observed = read(connection, &filter).map_err(failed)?;
        let pods: u64 = connection
            .query_row("select count(*) from marts.pods", [], |row| row.get(0))
            .map_err(failed)?;
        let replay = if pods > MOST_REPLAYED {
            Err(format!(
                "the ledger has {pods} pods, and a server replays {MOST_REPLAYED} at most: run `podledger recommend`"
            ))
        } else {
            Ok(Replay::new(Schedule::read(connection, &filter).map_err(failed)?))
        };
        advice(&observed, replay.as_ref()).map_err(NoAdvice::Failed)
    })
}

/// Advises on what was asked for in a week, as `podledger report weekly` does.
pub fn advise_week() -> Box<AdviseWeek> {
    Box::new(|connection, request| {
        let attempts = attempts(connection, &learned(request))?;
        if attempts > MOST_OF_REPORT {
            return Err(NoAdvice::TooMuch(format!(
                "it would be learned from {attempts} tries of containers, and a server takes {MOST_OF_REPORT} at most; `podledger report weekly` has them"
            )));
        }
        of_week(connection, request).map_err(failed)
    })
}

fn failed(error: impl Into<anyhow::Error>) -> NoAdvice {
    NoAdvice::Failed(format!("{:#}", error.into()))
}

fn attempts(connection: &Connection, filter: &Filter) -> Result<u64, NoAdvice> {
    connection
        .query_row(
            "select count(*) from marts.container_attempts \
             where ($1 is null or started_at >= make_timestamp($1::bigint * 1000)) \
                 and ($2 is null or started_at < make_timestamp($2::bigint * 1000))",
            duckdb::params![filter.since_ms, filter.until_ms],
            |row| row.get(0),
        )
        .map_err(failed)
}

fn advice(observed: &Observed, replay: Result<&Replay, &String>) -> Result<Advice, String> {
    let settings = Settings::default();
    let decided = |strategy: Strategy| -> BTreeMap<_, Decision> {
        let templates = observed.histories.iter().map(|history| &history.template);
        templates.zip(strategy.decide(observed, &settings)).collect()
    };
    let (krr, vpa) = (decided(Strategy::Krr), decided(Strategy::Vpa));
    let rows = recommendations(observed, Strategy::Podledger, &settings);
    let (each, together, pools) = match replay {
        Ok(replay) => (
            replay.each(&rows).iter().map(saving).collect(),
            saving(&replay.together(&rows).realisable),
            replay.pools().map(replayed).collect(),
        ),
        Err(why) => (
            vec![Saving::withheld(why); rows.len()],
            Saving::withheld(why),
            Vec::new(),
        ),
    };
    let mut templates = Vec::new();
    for (row, realisable) in rows.into_iter().zip::<Vec<Saving>>(each) {
        let peers = [krr.get(&row.template), vpa.get(&row.template)].map(Option::<&Decision>::copied);
        templates.push(template(row, realisable, peers)?);
    }
    let windows = WINDOWS.map(Split::Runs);
    let proof = backtest(observed, &windows, &settings, FailureCost::default(), |_| true);
    let in_sum = proof.total.iter().map(|outcome| judged(None, outcome));
    let by_window = proof.windows.iter().flat_map(|window| {
        window
            .outcomes
            .iter()
            .map(|outcome| judged(Some(&window.learned), outcome))
    });
    Ok(Advice {
        templates,
        together,
        pools,
        judged: in_sum.chain(by_window).collect(),
    })
}

/// What machines would have cost less.
fn saving(found: &Realisable) -> Saving {
    Saving {
        saving: found.saving,
        least: found.least,
        most: found.most,
        withheld: found.withheld.map(|withheld| withheld.reason().to_owned()),
    }
}

fn replayed(pool: &PoolReplay) -> Replayed {
    let rules = &pool.rules;
    let goes = rules.idle_ms.map_or_else(
        || "never goes".to_owned(),
        |idle_ms| format!("goes after {} s", idle_ms / 1000),
    );
    Replayed {
        cluster: pool.name.cluster.clone(),
        pool: pool.name.pool.clone(),
        instance_type: pool.name.instance_type.clone(),
        capacity_type: pool.name.capacity_type.clone(),
        machines: pool.machines,
        pods: pool.pods,
        cost: pool.cost,
        replayed_cost: pool.replayed_cost,
        deviation_ppm: pool.deviation_ppm,
        rules: format!(
            "boots in {} s, {goes}, at least {}, {} {}",
            rules.boot_ms / 1000,
            rules.least_machines,
            rules.score.words(),
            rules.ordering.words()
        ),
        withheld: pool.withheld.map(|withheld| withheld.reason().to_owned()),
    }
}

fn amount(resource: &Resource, [krr, vpa]: [Option<u64>; 2]) -> Amount {
    Amount {
        request: resource.current,
        advised: resource.recommended,
        withheld: resource.withheld.map(|withheld| withheld.reason().to_owned()),
        severity: resource.severity.name().to_owned(),
        krr,
        vpa,
    }
}

/// Nothing instead of nothing written.
fn written(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn template(
    row: Recommendation,
    realisable: Saving,
    peers: [Option<Decision>; 2],
) -> Result<Template, String> {
    let one = std::slice::from_ref(&row);
    let (patch_text, inverse) = (patch(one, false)?, patch(one, true)?);
    let (airflow, spark) = (airflow(one), spark(one));
    let risks: Vec<&str> = row.risks.iter().map(|risk| risk.words()).collect();
    Ok(Template {
        cpu_millicores: amount(
            &row.cpu_millicores,
            peers.map(|peer| peer.and_then(|peer| peer.cpu.ok())),
        ),
        memory_bytes: amount(
            &row.memory_bytes,
            peers.map(|peer| peer.and_then(|peer| peer.memory.ok())),
        ),
        risks: risks.join("; "),
        patch: written(patch_text),
        inverse_patch: written(inverse),
        airflow: written(airflow),
        spark: written(spark),
        cluster: row.template.cluster,
        system: row.template.system,
        namespace: row.template.namespace,
        team: row.team,
        pipeline: row.template.pipeline,
        job: row.template.job,
        container: row.template.container,
        container_kind: row.template.kind.name().to_owned(),
        image: row.image,
        source: row.source,
        memory_seen_bytes: row.memory_seen_bytes,
        bound_ppm: row.bound_ppm,
        confidence: row.confidence.name().to_owned(),
        runs: row.runs,
        attempts: row.attempts,
        attempts_measured: row.attempts_measured,
        oom_kills: row.oom_kills,
        from_ms: row.from_ms,
        until_ms: row.until_ms,
        nominal_saving: row.nominal_saving,
        realisable,
    })
}

/// What a strategy's advice came to, as reports tell it.
pub(super) fn judged(learned_from: Option<&str>, outcome: &Outcome) -> Judged {
    Judged {
        learned_from: learned_from.map(str::to_owned),
        strategy: outcome.strategy.name().to_owned(),
        templates: outcome.templates,
        templates_advised: outcome.templates_advised,
        attempts: outcome.attempts,
        runs: outcome.runs,
        failed_attempts: outcome.failed_attempts,
        failed_runs: outcome.failed_runs,
        requested_byte_ms: outcome.requested_byte_ms,
        wasted_byte_ms: outcome.wasted_byte_ms,
        requested_millicore_ms: outcome.requested_millicore_ms,
        wasted_millicore_ms: outcome.wasted_millicore_ms,
        short_millicore_ms: outcome.short_millicore_ms,
        retry_cost: outcome.retry_cost,
        total_cost: outcome.total_cost,
    }
}
