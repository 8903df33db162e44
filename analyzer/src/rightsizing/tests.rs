//! Properties of advice, and what each strategy makes of small histories.

use podledger_sql::units::NanoUsd;
use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;

const DAY_MS: i64 = 86_400_000;
const GIB: u64 = 1 << 30;

pub(crate) fn observation(run: u32, started_ms: i64, held_ms: i64) -> Observation {
    Observation {
        run,
        image: 0,
        started_ms,
        ended_ms: started_ms + held_ms,
        cpu_request_millicores: 2000,
        cpu_measured_ms: 0,
        cpu_usage_millicore_ms: 0,
        cpu_percentiles_millicores: None,
        memory_request_bytes: 4096 * MIB,
        memory_limit_bytes: 0,
        memory_peak_bytes: 0,
        heap_peak_bytes: 0,
        heap_limit_bytes: 0,
        is_oom_killed: false,
        is_throttled: false,
    }
}

pub(crate) fn history(job: &str, observations: Vec<Observation>) -> History {
    History {
        template: Template {
            cluster: "c".to_owned(),
            system: None,
            namespace: None,
            pipeline: "p".to_owned(),
            job: job.to_owned(),
            container: "main".to_owned(),
            kind: ContainerKind::Container,
        },
        team: "t".to_owned(),
        image: Some("alpine:3".to_owned()),
        source: Some("kubelet".to_owned()),
        pod_containers: 1,
        is_retried: false,
        observations,
    }
}

/// Histories of one pipeline: for each template the peaks of its runs in MiB, one attempt a day of ten minutes.
fn observed(templates: &[Vec<u64>]) -> Observed {
    let runs = templates.iter().map(Vec::len).max().unwrap_or(0);
    let number = |of: usize| u32::try_from(of).unwrap();
    Observed {
        runs: (0..runs)
            .map(|run| Run {
                pipeline: 0,
                started_ms: i64::from(number(run)) * DAY_MS,
            })
            .collect(),
        histories: templates
            .iter()
            .enumerate()
            .map(|(job, peaks)| {
                let seen = peaks.iter().enumerate().map(|(run, peak)| {
                    let mut seen = observation(number(run), i64::from(number(run)) * DAY_MS, 600_000);
                    seen.memory_peak_bytes = peak * MIB;
                    seen.cpu_measured_ms = 600_000;
                    seen.cpu_usage_millicore_ms = 600_000 * (100 + peak);
                    seen
                });
                history(&format!("job-{job}"), seen.collect())
            })
            .collect(),
    }
}

fn memory_mib(observed: &Observed, strategy: Strategy, template: usize) -> Result<u64, Withheld> {
    strategy.decide(observed, &Settings::default())[template]
        .memory
        .map(|bytes| bytes / MIB)
}

#[test]
fn krr_is_the_largest_peak_and_fifteen_percent_from_a_hundred_points_on() {
    // Twelve runs of ten minutes are 96 points of 75 s, thirteen are 104.
    let short = observed(&[vec![1000; 12]]);
    assert_eq!(memory_mib(&short, Strategy::Krr, 0), Err(Withheld::TooFewPoints));
    let mut peaks = vec![400; 13];
    peaks[3] = 1000;
    let enough = observed(&[peaks]);
    let decided = Strategy::Krr.decide(&enough, &Settings::default())[0];
    assert_eq!(decided.memory, Ok(1150 * MIB));
    // The highest of the pods' percentiles.
    assert_eq!(decided.cpu, Ok(1100));
    // Fourteen days are remembered: the day before the first of them is not.
    let mut old = vec![400; 20];
    old[2] = 2000;
    assert_eq!(memory_mib(&observed(&[old]), Strategy::Krr, 0), Ok(460));
    // Floors, and whole mebibytes.
    let mut tiny = observed(&[vec![1; 13]]);
    assert_eq!(memory_mib(&tiny, Strategy::Krr, 0), Ok(100));
    for seen in &mut tiny.histories[0].observations {
        seen.cpu_usage_millicore_ms = 1;
        seen.memory_peak_bytes = 200 * MIB + 1;
    }
    let decided = Strategy::Krr.decide(&tiny, &Settings::default())[0];
    assert_eq!((decided.memory, decided.cpu), (Ok(231 * MIB), Ok(10)));
    assert_eq!(krr::with_buffer(200 * MIB, 250), 250 * MIB);
}

#[test]
fn a_monthly_heavy_run_is_forgotten_by_vpa_and_not_by_us() {
    let mut peaks = vec![500; 40];
    peaks[10] = 3000;
    // Others of the pipeline, whose runs tell how rarely a run needs more than any before.
    let mut templates = vec![vec![500; 40]; 5];
    templates[0] = peaks;
    let observed = observed(&templates);
    assert!(memory_mib(&observed, Strategy::Vpa, 0).unwrap() < 700);
    assert_eq!(memory_mib(&observed, Strategy::Krr, 0), Ok(575));
    assert_eq!(memory_mib(&observed, Strategy::Podledger, 0), Ok(3450));
}

#[test]
fn advice_is_withheld_with_its_reason() {
    let calm = vec![vec![500; 40]; 5];
    let with = |first: Vec<u64>| {
        let mut templates = calm.clone();
        templates[0] = first;
        observed(&templates)
    };
    let of = |observed: &Observed| memory_mib(observed, Strategy::Podledger, 0);
    assert_eq!(of(&with(vec![500; 40])), Ok(575));
    assert_eq!(of(&with(vec![500; 6])), Err(Withheld::TooFewRuns));
    assert_eq!(of(&with(vec![0; 40])), Err(Withheld::Unmetered));
    assert_eq!(
        of(&with((1..41).map(|run| run * 100).collect())),
        Err(Withheld::Growing)
    );
    // Ten runs alone in the world: nobody knows how often the eleventh needs more.
    assert_eq!(of(&observed(&[vec![500; 10]])), Err(Withheld::UnknownTail));
    assert_eq!(of(&observed(&[vec![500; 99]])), Ok(575));
    let mut java = with(vec![500; 40]);
    java.histories[0].image = Some("registry.example.com/library/openjdk:21@sha256:00".to_owned());
    assert_eq!(of(&java), Err(Withheld::HeapCensored));
    java.histories[0].image = Some("alpine:java".to_owned());
    assert_eq!(of(&java), Ok(575));
    let mut throttled = with(vec![500; 40]);
    for seen in &mut throttled.histories[0].observations {
        seen.is_throttled = true;
    }
    let decided = Strategy::Podledger.decide(&throttled, &Settings::default())[0];
    assert_eq!(decided.cpu, Err(Withheld::Throttled));
}

/// Executors with a heap of 6 GiB and 2 GiB beside it; one run used more of the heap than the others.
#[test]
fn a_heap_is_sized_by_what_was_used_of_it_and_what_is_beside_stays() {
    let mut templates = vec![vec![500; 40]; 5];
    templates[0] = vec![7500; 40];
    let mut observed = observed(&templates);
    observed.histories[0].template.container = "spark-kubernetes-executor".to_owned();
    observed.histories[0].image = Some("registry.example.com/spark:4".to_owned());
    for seen in &mut observed.histories[0].observations {
        seen.memory_request_bytes = 8192 * MIB;
        seen.heap_limit_bytes = 6144 * MIB;
        seen.heap_peak_bytes = 3000 * MIB;
    }
    observed.histories[0].observations[7].heap_peak_bytes = 4000 * MIB;
    let of = |observed: &Observed| memory_mib(observed, Strategy::Podledger, 0);
    // 4000 MiB of heap and 2048 beside it, and 15%, though 7500 MiB were resident.
    assert_eq!(of(&observed), Ok(6956));
    let row = recommendations(&observed, Strategy::Podledger, &Settings::default())
        .into_iter()
        .find(|row| row.template.job == "job-0")
        .unwrap();
    assert!(row.risks.contains(&Risk::HeapIsSampled), "{:?}", row.risks);
    let text = spark(std::slice::from_ref(&row));
    assert!(
        text.contains("spark.executor.memory=4908m\nspark.executor.memoryOverhead=2048m"),
        "{text}"
    );
    // A pod's memory is not changed without its heap.
    let text = patch(std::slice::from_ref(&row), false).unwrap();
    assert!(text.contains("cpu:") && !text.contains("memory"), "{text}");
    // Judged by the same: what is resident of a heap that could be smaller does not fail.
    let half = [Split::Runs(50)];
    let judged = backtest(
        &observed,
        &half,
        &Settings::default(),
        FailureCost::default(),
        |_| true,
    );
    assert_eq!(judged.total[0].failed_attempts, 0);

    let with = |change: fn(&mut Observation)| {
        let mut observed = observed.clone();
        change(&mut observed.histories[0].observations[20]);
        of(&observed)
    };
    let withheld = Err(Withheld::HeapCensored);
    assert_eq!(with(|seen| seen.heap_peak_bytes = 5600 * MIB), withheld);
    assert_eq!(with(|seen| seen.heap_peak_bytes = 0), withheld);
    assert_eq!(with(|seen| seen.heap_limit_bytes = 9000 * MIB), withheld);
    assert_eq!(with(|seen| seen.is_oom_killed = true), withheld);
    // A run of which nothing is known tells nothing.
    let unmeasured = |seen: &mut Observation| {
        seen.memory_peak_bytes = 0;
        seen.heap_peak_bytes = 0;
    };
    assert_eq!(with(unmeasured), Ok(6956));
}

#[test]
fn the_factor_is_the_excess_of_a_rank_among_those_of_others() {
    // Two templates of three runs: the first needs 1 GiB where it had needed none, and both are calm otherwise.
    let needs = vec![vec![0, GIB, GIB], vec![100 * MIB, 100 * MIB, 100 * MIB]];
    let margins = margins::Margins::of(&needs);
    // The other has a trial after one run and one after two: with the latter alone the largest is exceeded in 1 of 2 cases.
    let of = |number, part, whole| {
        let factor = margins.factor(number, 3, 7, part, whole);
        (factor.factor_ppm, factor.bound_ppm, factor.is_calibrated)
    };
    assert_eq!(of(1, 1, 2), (1_000_000, 500_000, true));
    assert_eq!(of(1, 1, 3), (2_000_000, 333_334, true));
    assert_eq!(of(1, 2, 3), (1_000_000, 500_000, true));
    assert_eq!(of(1, 1, 1000), (2_000_000, 333_334, false));
    // One's own excesses do not count.
    assert_eq!(of(0, 1, 3), (1_000_000, 333_334, true));
    assert_eq!(margins::times(GIB, 1_500_000), 2 * GIB);
    // Where headroom is held three times as long, it is three times as dear: more of the risk is taken there.
    let mut uneven = observed(&[vec![500; 4], vec![500; 4]]);
    for seen in &mut uneven.histories[0].observations {
        seen.ended_ms = seen.started_ms + 3 * 600_000;
    }
    let needs: Vec<_> = uneven.histories.iter().map(History::run_needs_bytes).collect();
    assert_eq!(margins::shares_ppm(&uneven, &needs, 7), [725_000, 275_000]);
}

/// Twenty templates that are calm from the eighth run on, of which one had needed four times as much before.
fn calm_after_a_surge(first: Vec<u64>, surging: Vec<u64>) -> Observed {
    let mut templates = vec![vec![500; 40]; 20];
    templates[0] = first;
    templates[1] = surging;
    observed(&templates)
}

#[test]
fn a_run_that_needs_more_does_not_lower_advice_by_being_one_more() {
    // One of five runs may need more, so the largest of the 160 excesses after eight runs is enough, and of those after fewer the largest of all is.
    let settings = Settings {
        run_risk_ppm: 200_000,
        attempt_risk_ppm: 200_000,
        ..Settings::default()
    };
    let advised = |first: Vec<u64>| {
        let mut surging = vec![500; 40];
        surging[5..].fill(2001);
        let decided = Strategy::Podledger.decide(&calm_after_a_surge(first, surging), &settings);
        decided[0].memory.unwrap() / MIB
    };
    let then = |more: &[u64]| advised([&[500; 7][..], more].concat());
    assert_eq!(then(&[]), 2002);
    // 600 MiB are more by 6.6% of 500 MiB and a GiB, and the factor falls by a twentieth: 1624 x 3025 / 1524 / 1.05 - 1024 = 2046.0.
    assert_eq!(then(&[600]), 2046);
    // What confirms what was known lowers it, step by step.
    assert_eq!(
        [then(&[500]), then(&[500; 2]), then(&[500; 20])],
        [1857, 1720, 575]
    );
    // A higher peak among as many runs never does.
    assert!(advised(vec![500, 500, 700, 500, 500, 500, 500, 600]) > then(&[600]));
}

/// What others needed may do either: a surge in another's early run, rather than later, says that later runs are calm.
#[test]
fn what_others_needed_may_lower_advice() {
    let advised = |surging: Vec<u64>| {
        let settings = Settings {
            run_risk_ppm: 200_000,
            attempt_risk_ppm: 200_000,
            ..Settings::default()
        };
        let decided = Strategy::Podledger.decide(&calm_after_a_surge(vec![500; 7], surging), &settings);
        decided[0].memory.unwrap() / MIB
    };
    let mut late = vec![500; 40];
    late[5..].fill(2001);
    let mut early = late.clone();
    early[0] = 2001;
    assert_eq!((advised(late), advised(early)), (2002, 575));
}

#[test]
fn failures_are_lost_and_run_again_with_what_they_had() {
    let mut templates = vec![vec![500; 40]; 11];
    templates[0][39] = 2000;
    let mut observed = observed(&templates);
    let cents = FailureCost {
        alone: NanoUsd::from_nano(50_000_000),
        retried: NanoUsd::from_nano(10_000_000),
    };
    let all = |_: &History| true;
    let judged = backtest(
        &observed,
        &[Split::Runs(50), Split::Runs(90)],
        &Settings::default(),
        cents,
        all,
    );
    assert_eq!(judged.windows.len(), 2);
    let [ours, _, _, current] = judged.total[..] else {
        panic!("four strategies")
    };
    // Twenty later runs of eleven templates, each judged once.
    assert_eq!((ours.attempts, ours.runs, current.attempts), (220, 20, 220));
    assert_eq!(
        (ours.failed_attempts, ours.failed_runs, current.failed_attempts),
        (1, 1, 0)
    );
    let tries = 600_000 * u128::from(MIB);
    assert_eq!(ours.requested_byte_ms, (220 * 575 + 4096) * tries);
    // All of the failed try, what its second one left, and 75 MiB of each other.
    assert_eq!(ours.wasted_byte_ms, (575 + 4096 - 2000 + 219 * 75) * tries);
    assert_eq!(current.wasted_byte_ms, (219 * (4096 - 500) + 4096 - 2000) * tries);
    // 4 GiB and 2 cores for a sixth of an hour, and five cents, or one where it is tried again by itself.
    let again = 4 * 4_237_000 / 6 + 2 * 31_611_000 / 6;
    assert_eq!(ours.retry_cost.get(), again + 50_000_000);
    observed.histories[0].is_retried = true;
    // As of an instant: what ended before it is known, what begins after it is judged.
    let half = [Split::At(20 * DAY_MS)];
    let at = backtest(&observed, &half, &Settings::default(), cents, all).total[0];
    assert_eq!((at.attempts, at.retry_cost.get()), (220, again + 10_000_000));
    // One of them is judged by what all tell: its own runs alone would not tell the tail.
    let one = backtest(&observed, &half, &Settings::default(), cents, |history| {
        history.template.job == "job-0"
    });
    assert_eq!((one.total[0].attempts, one.total[0].templates_advised), (20, 1));
    // With four times the headroom nothing fails that failed by less.
    let points = frontier(&observed, &[Split::Runs(50)], &Settings::default(), all);
    let failed: Vec<u64> = points
        .iter()
        .filter(|point| point.strategy == Strategy::Podledger)
        .map(|point| point.failed_attempts)
        .collect();
    assert!(failed.is_sorted_by(|a, b| a >= b), "{failed:?}");
    // Of peers those points are told that ours are not at or below.
    let at = |strategy, wasted_byte_ms, failed_attempts| FrontierPoint {
        strategy,
        headroom_permille: 1000,
        wasted_byte_ms,
        failed_attempts,
    };
    let drawn = [
        at(Strategy::Podledger, 10, 5),
        at(Strategy::Podledger, 20, 1),
        at(Strategy::Vpa, 10, 5),
        at(Strategy::Vpa, 9, 50),
        at(Strategy::Krr, 19, 4),
        at(Strategy::Krr, 40, 1),
    ];
    assert_eq!(undominated(&drawn), [drawn[3], drawn[4]]);
}

#[test]
fn rows_tell_the_gap_the_evidence_and_the_saving() {
    let observed = observed(&vec![vec![500; 40]; 5]);
    let rows = recommendations(&observed, Strategy::Podledger, &Settings::default());
    let row = &rows[0];
    assert_eq!(
        (row.runs, row.attempts, row.attempts_measured, row.oom_kills),
        (40, 40, 40, 0)
    );
    assert_eq!(row.memory_bytes.recommended, Some(575 * MIB));
    assert_eq!(row.memory_bytes.severity, Severity::Critical);
    assert_eq!(row.cpu_millicores.recommended, Some(600));
    assert_eq!(row.confidence, Confidence::Medium);
    assert!(row.risks.is_empty(), "{:?}", row.risks);
    // 40 x 10 min x (1.4 cores and 3521 MiB).
    let saved = 1400 * 40 * 31_611_000 / 6 / 1000 + 3521 * 40 * 4_237_000 / 6 / 1024;
    assert!(
        (row.nominal_saving.get() - saved).abs() <= 4,
        "{}",
        row.nominal_saving
    );
    let text = patch(&rows[..1], false).unwrap();
    assert!(
        text.contains("cpu: 600m") && text.contains("memory: 575Mi"),
        "{text}"
    );
    assert!(!text.contains("limits"), "{text}");
    let back = patch(&rows[..1], true).unwrap();
    assert!(
        back.contains("memory: 4096Mi") && (back.contains("cpu: '2'") || back.contains("cpu: \"2\"")),
        "{back}"
    );
    // What asked for nothing asks for nothing again.
    let mut unasked = row.clone();
    unasked.memory_bytes.current = 0;
    let back = patch(&[unasked], true).unwrap();
    assert!(back.contains("memory: null") && back.contains("cpu: "), "{back}");
    for (gap, severity) in [
        (99, Severity::Good),
        (100, Severity::Ok),
        (250, Severity::Warning),
        (500, Severity::Critical),
    ] {
        assert_eq!(Severity::of_millicores(gap), severity);
        assert_eq!(Severity::of_bytes(gap * MIB), severity);
    }
}

fn peaks() -> impl Generator<Value = Vec<Vec<u64>>> {
    prop::collection::vec(prop::collection::vec(1..20_000_u64, 1..30), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn evidence_of_higher_need_never_lowers_advice(
        peaks in peaks(), run in 0..30_usize, more in 0..40_000_u64, risk_ppm in 1_000..500_000_u64, attempts in 1..9_i64, held_ms in 1..9_000_000_i64
    ) {
        let settings = Settings { run_risk_ppm: risk_ppm, attempt_risk_ppm: risk_ppm, least_runs: 1, ..Settings::default() };
        let decide = |peaks: &[Vec<u64>]| Strategy::Podledger.decide(&observed(peaks), &settings)[0];
        let before = decide(&peaks);
        let mut higher = peaks.clone();
        let run = run % higher[0].len();
        higher[0][run] += more;
        let after = decide(&higher);
        if let (Ok(before), Ok(after)) = (before.memory, after.memory) {
            prop_assert!(after >= before);
        }
        prop_assert!(after.cpu.unwrap() >= before.cpu.unwrap());
        // One more run, which needs a twentieth more than all before, of amounts with a GiB added, however long and often it was tried.
        let most = peaks[0].iter().max().unwrap();
        let mut longer = observed(&peaks);
        let number = u32::try_from(peaks[0].len()).unwrap();
        longer.runs.push(Run { pipeline: 0, started_ms: i64::from(number) * DAY_MS });
        for attempt in 0..attempts {
            let mut seen = observation(number, i64::from(number) * DAY_MS + attempt, held_ms);
            seen.memory_peak_bytes = (most + (most + 1024).div_ceil(20) + more) * MIB;
            longer.histories[0].observations.push(seen);
        }
        if let (Ok(before), Ok(after)) = (before.memory, Strategy::Podledger.decide(&longer, &settings)[0].memory) {
            prop_assert!(after >= before);
        }
        // One more run, which would have failed.
        if let Ok(advised) = before.memory {
            let mut longer = peaks.clone();
            longer[0].push(advised / MIB + 1);
            if let Ok(after) = decide(&longer).memory {
                prop_assert!(after > advised);
            }
        }
    }

    #[test]
    fn advice_is_above_every_limit_that_was_exceeded(peaks in peaks(), killed in 0..30_usize, limit in 1..40_000_u64) {
        let settings = Settings { run_risk_ppm: 1_000_000, attempt_risk_ppm: 1_000_000, least_runs: 1, ..Settings::default() };
        let mut observed = observed(&peaks);
        let seen = &mut observed.histories[0].observations;
        let killed = killed % seen.len();
        seen[killed].is_oom_killed = true;
        seen[killed].memory_limit_bytes = limit * MIB;
        let advised = Strategy::Podledger.decide(&observed, &settings)[0].memory;
        if let Ok(advised) = advised {
            prop_assert!(advised > limit * MIB);
            // It expires with the image.
            observed.histories[0].observations.last_mut().unwrap().image = 1;
            if let (Ok(later), true) = (Strategy::Podledger.decide(&observed, &settings)[0].memory, killed + 1 < peaks[0].len()) {
                prop_assert!(later <= advised);
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_advice(peaks in peaks()) {
        for strategy in Strategy::ALL {
            let settings = Settings::default();
            prop_assert_eq!(strategy.decide(&observed(&peaks), &settings), strategy.decide(&observed(&peaks), &settings));
        }
    }
}

#[test]
fn advice_is_held_against_what_was_asked_for_since() {
    let seen = |run: u32, cores: u32, is_oom_killed| {
        let mut seen = observation(run, i64::from(run) * DAY_MS, 3_600_000);
        seen.cpu_request_millicores = cores * 1000;
        seen.is_oom_killed = is_oom_killed;
        seen
    };
    let advice = Saved {
        template: history("load", Vec::new()).template,
        from_ms: 0,
        until_ms: 10 * DAY_MS,
        last_started_ms: 9 * DAY_MS,
        cpu_current_millicores: 2000,
        cpu_recommended_millicores: Some(1000),
        memory_current_bytes: 4096 * MIB,
        memory_recommended_bytes: None,
        nominal_saving_nano: 1,
        realisable_saving_nano: None,
    };
    let all_of = |observations: Vec<Observation>, saved: &[Saved]| {
        let observed = Observed {
            runs: Vec::new(),
            histories: vec![history("load", observations)],
        };
        track(saved, &observed)
    };
    let become_of = |observations, saved: &[Saved]| all_of(observations, saved).remove(0);
    let one = std::slice::from_ref(&advice);
    let before = vec![seen(8, 2, true), seen(9, 2, false)];
    assert_eq!(become_of(before.clone(), one).followed, Followed::NotSeen);
    let unchanged = [before.clone(), vec![seen(11, 2, false)]].concat();
    assert_eq!(become_of(unchanged.clone(), one).followed, Followed::NotYet);

    // What the advice rests on ran already, however long it went on, and is no answer to it.
    let running = [before.clone(), vec![seen(10, 3, false)]].concat();
    let of_running = Saved {
        last_started_ms: 10 * DAY_MS,
        ..advice.clone()
    };
    assert_eq!(become_of(running, &[of_running]).followed, Followed::NotSeen);

    // Two hours with a core less, at 0.031611 USD a core-hour.
    let followed = [unchanged.clone(), vec![seen(12, 1, false), seen(13, 1, true)]].concat();
    let told = become_of(followed, one);
    assert_eq!(
        (told.followed, told.changed_ms),
        (Followed::Followed, Some(12 * DAY_MS))
    );
    assert_eq!(
        (told.predicted_saving, told.realised_saving.get()),
        (told.realised_saving, 63_222_000)
    );
    assert_eq!((told.attempts_before, told.attempts_after), (3, 2));
    assert_eq!((told.oom_kills_before, told.oom_kills_after), (1, 1));

    // Followed, and followed again: each is judged until the next.
    let again = Saved {
        last_started_ms: 13 * DAY_MS,
        cpu_current_millicores: 1000,
        cpu_recommended_millicores: Some(500),
        ..advice.clone()
    };
    let repeated = Saved {
        last_started_ms: 10 * DAY_MS,
        ..advice.clone()
    };
    let mut half = seen(16, 1, false);
    half.cpu_request_millicores = 500;
    let twice = [
        unchanged.clone(),
        vec![seen(12, 1, true), seen(13, 1, false), seen(15, 1, false), half],
    ]
    .concat();
    let told: Vec<_> = all_of(twice.clone(), &[again.clone(), advice.clone(), repeated])
        .iter()
        .map(|row| {
            (
                row.saved.last_started_ms / DAY_MS,
                row.followed,
                row.changed_ms.map(|changed| changed / DAY_MS),
                row.realised_saving.get(),
                [row.attempts_before, row.attempts_after],
                row.cpu_now_millicores,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (10, Followed::Followed, Some(12), 94_833_000, [3, 3], 1000),
            (13, Followed::Followed, Some(16), 15_805_500, [3, 1], 500),
        ]
    );
    // Back to what it asked for at first is a change too.
    let back = [twice, vec![seen(18, 2, false)]].concat();
    let regretted = Saved {
        last_started_ms: 17 * DAY_MS,
        cpu_current_millicores: 500,
        cpu_recommended_millicores: Some(2000),
        ..advice.clone()
    };
    let told = all_of(back, &[advice.clone(), again, regretted]);
    assert!(
        told.iter().all(|row| row.followed == Followed::Followed),
        "{told:?}"
    );
    assert_eq!(
        told.iter()
            .map(|row| row.changed_ms.unwrap() / DAY_MS)
            .collect::<Vec<_>>(),
        [12, 16, 18]
    );

    // More than before costs more than before; what came after the change has not been followed.
    let later = Saved {
        last_started_ms: 19 * DAY_MS,
        ..advice.clone()
    };
    let told = all_of(
        [unchanged, vec![seen(12, 3, false)]].concat(),
        &[later, advice.clone()],
    );
    let became: Vec<_> = told
        .iter()
        .map(|row| (row.followed, row.saved.last_started_ms / DAY_MS))
        .collect();
    assert_eq!(became, [(Followed::NotSeen, 19), (Followed::Changed, 9)]);
    let told = &told[1];
    assert_eq!(
        (told.predicted_saving.get(), told.realised_saving.get()),
        (31_611_000, -31_611_000)
    );
    assert!(advice.repeats(&Saved {
        until_ms: 0,
        ..advice.clone()
    }));
}
