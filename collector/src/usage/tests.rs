use jiff::{SignedDuration, Timestamp};

use super::fold::{Counts, Fold, Hour, Key, Mark, Sample};
use super::summary::samples;

const GIB: u64 = 1 << 30;

fn at(clock: &str) -> Timestamp {
    format!("2026-11-16T{clock}Z").parse().unwrap()
}

fn key() -> Key {
    Key {
        pod_uid: "u".to_owned(),
        container_name: "main".to_owned(),
    }
}

fn fold() -> Fold {
    Fold::new(SignedDuration::from_secs(30))
}

/// A container that uses half a core and one GiB, from 10:59:10 on, sampled every 30 s.
fn steady(fold: &mut Fold, from: &str, samples: i64) {
    let (started_at, first) = (at("10:59:10"), at(from));
    for number in 0..samples {
        let at = first + SignedDuration::from_secs(30 * number);
        let nanoseconds = at.duration_since(started_at).as_nanos() / 2;
        let sample = Sample {
            at,
            started_at: Some(started_at),
            cpu_core_nanoseconds: Some(u64::try_from(nanoseconds).unwrap()),
            memory_working_set_bytes: Some(GIB),
        };
        fold.sample(&key(), sample);
    }
}

fn hours(fold: &mut Fold) -> Vec<Hour> {
    silent(fold, Timestamp::MAX)
}

fn silent(fold: &mut Fold, since: Timestamp) -> Vec<Hour> {
    fold.forget_silent(since);
    fold.take()
}

#[test]
fn a_counter_is_exact_from_the_start_of_its_container_and_split_by_hours() {
    let mut fold = fold();
    steady(&mut fold, "10:59:31", 4);
    let hours = hours(&mut fold);
    let cpu: Vec<i64> = hours.iter().map(|hour| hour.cpu_usage_millicore_ms).collect();
    // 50 s before eleven, and 61 s after: until 11:01:01.
    assert_eq!(cpu, [50 * 500 * 1000, 61 * 500 * 1000]);
    let memory: Vec<i128> = hours.iter().map(|hour| hour.memory_usage_byte_ms).collect();
    assert_eq!(memory, [50_000 * i128::from(GIB), 61_000 * i128::from(GIB)]);
    assert_eq!(hours[1].samples, 3);
    assert_eq!(hours[0].rates.quantile(500), Some(498));
    assert_eq!((fold.counts().samples, fold.counts().implausible), (4, 0));
    assert!(fold.is_empty());
}

#[test]
fn a_container_that_is_old_when_it_is_first_seen_is_measured_from_then_on() {
    let mut fold = fold();
    steady(&mut fold, "11:30:00", 3);
    let hours = hours(&mut fold);
    assert_eq!(hours.len(), 1);
    assert_eq!(
        (hours[0].cpu_usage_millicore_ms, hours[0].cpu_measured_ms),
        (60 * 500 * 1000, 60_000)
    );
}

#[test]
fn a_container_that_starts_anew_counts_from_zero_and_what_was_between_is_not_known() {
    let mut fold = fold();
    steady(&mut fold, "11:00:00", 3);
    let again = Sample {
        at: at("11:01:30"),
        started_at: Some(at("11:01:20")),
        cpu_core_nanoseconds: Some(4_000_000_000),
        memory_working_set_bytes: Some(2 * GIB),
    };
    fold.sample(&key(), again);
    assert_eq!(fold.counts().resets, 1);
    let hours = hours(&mut fold);
    let last = &hours[1];
    // From 11:00:00 to 11:01:00, and from 11:01:20 to 11:01:30.
    assert_eq!(last.cpu_measured_ms, 70_000);
    assert_eq!(last.cpu_usage_millicore_ms, 60 * 500 * 1000 + 4_000_000);
    assert_eq!(last.memory_peak_bytes, Some(2 * i64::try_from(GIB).unwrap()));
}

#[test]
fn after_a_pause_the_counter_is_known_and_the_gauge_is_not() {
    let mut fold = fold();
    steady(&mut fold, "11:00:00", 2);
    steady(&mut fold, "11:10:00", 2);
    let hours = hours(&mut fold);
    assert_eq!(hours[1].cpu_measured_ms, 630_000);
    assert_eq!(hours[1].cpu_usage_millicore_ms, 630 * 500 * 1000);
    assert_eq!(hours[1].memory_measured_ms, 60_000);
    // How fast it was between is not known, only how far it came.
    assert_eq!(hours[1].rates.times().values().sum::<u64>(), 60_000);
    assert_eq!((hours[1].samples, hours[1].samples_expected), (4, 21));
}

#[test]
fn what_is_told_twice_or_cannot_be_is_counted_and_left_out() {
    let mut fold = fold();
    steady(&mut fold, "11:00:00", 3);
    steady(&mut fold, "11:01:00", 1);
    steady(&mut fold, "11:00:30", 1);
    let absurd = Sample {
        at: at("11:01:30"),
        started_at: Some(at("10:59:10")),
        cpu_core_nanoseconds: Some(u64::MAX),
        memory_working_set_bytes: Some(GIB),
    };
    fold.sample(&key(), absurd);
    assert_eq!(
        fold.counts(),
        Counts {
            samples: 3,
            repeated: 1,
            implausible: 2,
            resets: 0
        }
    );
    assert_eq!(hours(&mut fold)[1].cpu_usage_millicore_ms, 60 * 500 * 1000);
}

#[test]
fn memory_between_samples_lies_on_a_straight_line_and_is_lost_at_no_hour() {
    let mut fold = fold();
    for (clock, bytes) in [("10:59:40", 1000), ("11:00:40", 4000)] {
        let sample = Sample {
            at: at(clock),
            started_at: None,
            cpu_core_nanoseconds: None,
            memory_working_set_bytes: Some(bytes),
        };
        fold.sample(&key(), sample);
    }
    let hours = hours(&mut fold);
    let parts: Vec<i128> = hours.iter().map(|hour| hour.memory_usage_byte_ms).collect();
    // 20 s from 1000 to 2000 bytes, and 40 s from 2000 to 4000.
    assert_eq!(parts, [20_000 * 1500, 40_000 * 3000]);
}

#[test]
fn memory_before_the_first_sample_grew_as_it_did_after_it_at_most_from_nothing() {
    let memory = |started_at: &str, sampled: &[(&str, u64)]| -> Vec<i128> {
        let mut fold = fold();
        for (clock, bytes) in sampled {
            let sample = Sample {
                at: at(clock),
                started_at: Some(at(started_at)),
                cpu_core_nanoseconds: None,
                memory_working_set_bytes: Some(*bytes),
            };
            fold.sample(&key(), sample);
        }
        let hours = hours(&mut fold);
        assert!(hours.iter().all(|hour| hour.memory_usage_byte_ms >= 0));
        hours.iter().map(|hour| hour.memory_usage_byte_ms).collect()
    };
    // Ten bytes a second, from 100 on: the hour in which it started is corrected too.
    let grows = [("11:00:10", 400), ("11:00:40", 700), ("11:01:10", 1000)];
    assert_eq!(
        memory("10:59:40", &grows),
        [20_000 * 200, 10_000 * 350 + 60_000 * 700]
    );
    assert_eq!(
        memory("11:00:00", &grows),
        [10_000 * 350 + 60_000 * 700],
        "in one hour"
    );
    // From nothing on, and no further down.
    assert_eq!(
        memory("11:00:00", &[("11:00:20", 200), ("11:00:40", 1200)]),
        [20_000 * 100 + 20_000 * 700]
    );
    // What falls is not known to have been higher, and of one sample nothing more is known.
    assert_eq!(
        memory("11:00:00", &[("11:00:20", 200), ("11:00:40", 100)]),
        [20_000 * 200 + 20_000 * 150]
    );
    assert_eq!(memory("10:59:50", &[("11:00:10", 200)]), [10_000 * 200; 2]);
    // Another container of the pod begins.
    let mut fold = fold();
    for (clock, started_at, bytes) in [
        ("11:00:00", "10:00:00", 1000),
        ("11:00:30", "11:00:10", 300),
        ("11:01:00", "11:00:10", 600),
    ] {
        let sample = Sample {
            at: at(clock),
            started_at: Some(at(started_at)),
            cpu_core_nanoseconds: None,
            memory_working_set_bytes: Some(bytes),
        };
        fold.sample(&key(), sample);
    }
    let hours = hours(&mut fold);
    assert_eq!(hours[0].memory_usage_byte_ms, 20_000 * 200 + 30_000 * 450);
    assert_eq!(hours[0].memory_measured_ms, 50_000);
}

#[test]
fn hours_are_told_when_they_are_over_and_containers_when_they_are_silent() {
    let mut fold = fold();
    steady(&mut fold, "10:59:30", 3);
    let told = silent(&mut fold, at("10:00:00"));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].hour_start_at, fold.len()), (at("10:00:00"), 1));
    assert_eq!(silent(&mut fold, at("10:00:00")), []);
    assert_eq!(silent(&mut fold, at("12:00:00")).len(), 1);
    assert!(fold.is_empty());
}

#[test]
fn a_summary_of_a_kubelet_is_read() {
    let text = br#"{"node": {"nodeName": "n"}, "pods": [
        {"podRef": {"name": "p", "namespace": "d", "uid": "u"}, "startTime": "2026-11-16T10:00:00Z", "containers": [
            {"name": "main", "startTime": "2026-11-16T10:00:01Z",
             "cpu": {"time": "2026-11-16T10:01:00Z", "usageNanoCores": 5, "usageCoreNanoSeconds": 77},
             "memory": {"time": "2026-11-16T10:01:00Z", "usageBytes": 9, "workingSetBytes": 8}},
            {"name": "starting", "startTime": "2026-11-16T10:00:59Z"}]},
        {"podRef": {"name": "q", "namespace": "d", "uid": "v"}}]}"#;
    let found = samples(text).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, key());
    assert_eq!(found[0].1.cpu_core_nanoseconds, Some(77));
    assert_eq!(found[0].1.memory_working_set_bytes, Some(8));
    assert_eq!(found[0].1.at, at("10:01:00"));
    assert!(samples(b"{\"pods\": [{\"containers\": []}]}").is_err());
}

#[test]
fn whoever_begins_anew_goes_on_from_the_last_mark_and_nothing_is_counted_twice() {
    let mut before = fold();
    steady(&mut before, "10:59:30", 10);
    let mut told = silent(&mut before, at("10:00:00"));
    let marks = before.take_marks();
    let mark = Mark {
        at: at("11:00:00"),
        started_at: Some(at("10:59:10")),
        cpu_core_nanoseconds: 25_000_000_000,
    };
    assert_eq!(marks.get(&key()), Some(&Some(mark)));
    // What was sampled since was not told, and is lost with who knew it: the counter knows.
    drop(before);
    let mut after = fold();
    after.restore(key(), mark, at("11:20:00"));
    assert_eq!(silent(&mut after, at("11:15:00")), []);
    steady(&mut after, "11:20:00", 3);
    told.extend(after.finish(1));
    assert_eq!(after.finish(1), []);
    let after_marks = after.take_marks().get(&key()).copied().flatten();
    assert_eq!(after_marks.unwrap().at, at("11:21:00"));
    let sum = |of: fn(&Hour) -> i64| told.iter().map(of).sum::<i64>();
    assert_eq!(sum(|hour| hour.cpu_measured_ms), (21 * 60 + 50) * 1000);
    assert_eq!(
        sum(|hour| hour.cpu_usage_millicore_ms),
        (21 * 60 + 50) * 1000 * 500
    );
    assert_eq!(told[1].measured_from_at, told[0].measured_to_at);
    // It goes on after the partial hour too, and a container that is gone has no mark.
    let mark = after_marks.unwrap();
    let mut last = fold();
    last.restore(key(), mark, at("11:21:10"));
    steady(&mut last, "11:21:30", 1);
    assert_eq!(silent(&mut last, at("12:00:00"))[0].cpu_measured_ms, 30_000);
    assert_eq!(last.take_marks().get(&key()), Some(&None));
}

#[test]
fn averages_hold_back_to_the_one_before_and_no_further_than_their_window_after_a_pause() {
    let mut fold = fold();
    let window = SignedDuration::from_secs(20);
    for (clock, nanocores) in [("11:00:30", 100_000_000), ("11:01:30", 200_000_000)] {
        fold.average(&key(), at(clock), window, Some(nanocores), Some(GIB));
    }
    fold.average(&key(), at("11:30:00"), window, Some(400_000_000), Some(GIB));
    let hours = hours(&mut fold);
    assert_eq!(
        hours[0].cpu_usage_millicore_ms,
        (20 * 100 + 60 * 200 + 20 * 400) * 1000
    );
    assert_eq!(
        (hours[0].cpu_measured_ms, hours[0].memory_measured_ms),
        (100_000, 100_000)
    );
    assert_eq!(hours[0].cpu_max_millicores, Some(400));
    assert_eq!((fold.counts().samples, fold.counts().repeated), (3, 0));
}
