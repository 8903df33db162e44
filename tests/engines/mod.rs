//! What engines report of the pods that they ran.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use jiff::civil::date;
use podledger_collector::import::Imported;
use podledger_collector::import::engines::{Within, airflow, spark};
use serde::Deserialize;
use serde_json::json;

use crate::harness::{World, tool};

/// Labels, as SQL.
fn map(labels: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("'{key}': '{value}'"))
        .collect();
    format!("map {{{}}}", pairs.join(", "))
}

/// A pod from ten to eleven with these labels.
fn given(world: &World, uid: &str, labels: &[(&str, &str)]) {
    world.given_pod(uid, 1000, 1024, 0);
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, '{uid}' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, {} as labels",
            map(labels)
        ),
    );
}

fn spark_options() -> spark::Options {
    spark::Options {
        within: Within::default(),
        recorded_date: date(2026, 11, 16),
    }
}

/// What Spark itself said.
#[derive(Deserialize)]
struct Application {
    id: String,
    tasks: u64,
    cpu_nanoseconds: BTreeMap<String, i64>,
}

#[test]
fn executors_used_what_spark_s_api_says_by_its_event_log() {
    let Some(python) = tool("python") else { return };
    let logs = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg("tests/engines/application.py")
        .arg(logs.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.lines().find(|line| line.starts_with('{'));
    assert!(said.is_some(), "{}", String::from_utf8_lossy(&output.stderr));
    let application: Application = serde_json::from_str(said.unwrap()).unwrap();

    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    for executor in application.cpu_nanoseconds.keys() {
        let labels = [
            ("spark-app-selector", application.id.as_str()),
            ("spark-app-name", "churn"),
            ("spark-role", "executor"),
            ("spark-exec-id", executor),
        ];
        given(&world, &format!("exec-{executor}"), &labels);
    }
    // The log is rolled and compressed, as Spark does by default.
    let rolled = fs::read_dir(logs.path()).unwrap().next().unwrap().unwrap().path();
    assert!(rolled.is_dir());
    let (imported, totals) = spark::import(&world.lake(), logs.path(), &spark_options()).unwrap();
    assert!(matches!(imported, Imported::Written(_)));
    assert_eq!(
        (totals.applications, totals.tasks, totals.implausible),
        (1, application.tasks, 0)
    );
    // Executors that ran no task are reported too, as idle; none of them was given as a pod.
    let with_tasks = application.cpu_nanoseconds.len() as u64;
    assert_eq!(totals.executors - totals.without_pod, with_tasks);
    let (again, _) = spark::import(&world.lake(), &rolled, &spark_options()).unwrap();
    assert_eq!(again, Imported::Already);

    world.build(true);
    let used = world.rows(
        "select pod_uid, sum(cpu_usage_millicore_ms), min(source), max(memory_peak_bytes) > 50000000 \
         from raw.usage_hours group by 1 order by 1",
    );
    // Of the heap the log says what was used of it and how large it may get.
    assert_eq!(
        world.rows(
            "select bool_and(heap_peak_bytes between 10000000 and heap_limit_bytes), min(heap_limit_bytes) >> 20, max(heap_limit_bytes) >> 20 \
             from raw.usage_hours where heap_peak_bytes is not null"
        ),
        ["true|512|512"]
    );
    let expected: Vec<String> = application
        .cpu_nanoseconds
        .iter()
        .map(|(executor, nanoseconds)| format!("exec-{executor}|{}|engine|true", nanoseconds / 1000))
        .collect();
    assert_eq!(used, expected);
    let sum: i64 = application
        .cpu_nanoseconds
        .values()
        .map(|nanoseconds| nanoseconds / 1000)
        .sum();
    assert_eq!(
        world.rows(
            "select pipeline, source, sum(cpu_usage_millicore_ms) from marts.attempt_usage group by all"
        ),
        [format!("churn|engine|{sum}")]
    );
}

/// An event log of one executor that is there from 10:10 to 12:10, with two tasks at a time between 10:30 and 11:30, one of which
/// has a thread of its own and the other half of one.
fn log(extra: &[serde_json::Value]) -> String {
    let at = |clock: &str| -> i64 {
        let at: jiff::Timestamp = format!("2026-11-16T{clock}Z").parse().unwrap();
        at.as_millisecond()
    };
    let task = |nanoseconds: i64, heap: i64| {
        json!({"Event": "SparkListenerTaskEnd", "Stage ID": 0, "Stage Attempt ID": 0,
            "Task Info": {"Executor ID": "1", "Launch Time": at("10:30:00"), "Finish Time": at("11:30:00"), "Failed": false},
            "Task Executor Metrics": {"JVMHeapMemory": heap, "JVMOffHeapMemory": 7},
            "Task Metrics": {"Executor CPU Time": nanoseconds, "Executor Deserialize CPU Time": 0}})
    };
    let mut events = vec![
        json!({"Event": "SparkListenerLogStart", "Spark Version": "4.3.0"}),
        json!({"Event": "SparkListenerApplicationStart", "App Name": "churn", "App ID": "spark-1", "Timestamp": at("10:00:00")}),
        json!({"Event": "SparkListenerExecutorAdded", "Timestamp": at("10:10:00"), "Executor ID": "1", "Executor Info": {}}),
    ];
    events.extend_from_slice(extra);
    events.push(task(3_600_000_000_000, 100));
    events.push(task(1_800_000_000_001, 200));
    events.push(
        json!({"Event": "SparkListenerExecutorRemoved", "Timestamp": at("12:10:00"), "Executor ID": "1"}),
    );
    let lines: Vec<String> = events.iter().map(serde_json::Value::to_string).collect();
    lines.join("\n") + "\n"
}

/// A world with the executor's pod, and a file with a log.
fn with_log(text: &str) -> (World, std::path::PathBuf) {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    let labels = [
        ("spark-app-selector", "spark-1"),
        ("spark-role", "executor"),
        ("spark-exec-id", "1"),
    ];
    given(&world, "e", &labels);
    let path = world.folder.path().join("spark-1.inprogress");
    fs::write(&path, text).unwrap();
    (world, path)
}

fn hours(world: &World) -> Vec<String> {
    world.build(true);
    world.rows(
        "select strftime(measured_from_at, '%H:%M'), strftime(measured_to_at, '%H:%M'), cpu_usage_millicore_ms, \
         cpu_measured_ms, coalesce(cpu_max_millicores, -1), coalesce(memory_peak_bytes, -1), memory_measured_ms \
         from raw.usage_hours order by 1",
    )
}

#[test]
fn tasks_that_run_at_once_add_up_and_are_divided_by_the_hour() {
    let (world, path) = with_log(&log(&[]));
    let (_, totals) = spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!(
        (totals.tasks, totals.executors, totals.cpu_core_ms),
        (2, 1, 5_400_000)
    );
    assert_eq!(
        hours(&world),
        [
            "10:10|11:00|2700000000|3000000|1500|-1|0",
            "11:00|12:00|2700000000|3600000|1500|200|0",
            "12:00|12:10|0|600000|0|-1|0",
        ]
    );
}

#[test]
fn what_is_used_of_a_heap_is_told_beside_what_it_may_take() {
    let settings = json!({"Event": "SparkListenerEnvironmentUpdate", "JVM Information": {"Java Version": "17"},
        "Spark Properties": {"spark.executor.memory": "512m", "spark.app.name": "churn"}});
    let (world, path) = with_log(&log(&[settings]));
    world.given(
        "container_requests",
        "select 'c' as cluster, 'e' as pod_uid, 'spark-kubernetes-executor' as container_name, timestamp '2026-11-16 10:00:00' as observed_at, \
         'container' as container_kind, 1000 as cpu_request_millicores, 1::bigint << 30 as memory_request_bytes",
    );
    spark::import(&world.lake(), &path, &spark_options()).unwrap();
    // A kubelet's word counts for all else.
    world.given(
        "usage_hours",
        "select 'c' as cluster, 'e' as pod_uid, 'spark-kubernetes-executor' as container_name, timestamp '2026-11-16 10:00:00' as hour_start_at, \
         'kubelet' as source, 3600000::bigint as cpu_usage_millicore_ms, 3600000::bigint as cpu_measured_ms, 5000::bigint as memory_peak_bytes",
    );
    world.build(true);
    assert_eq!(
        world.rows(
            "select container_name, source, memory_peak_bytes, heap_peak_bytes, heap_limit_bytes >> 20 from marts.container_attempts"
        ),
        ["spark-kubernetes-executor|kubelet|5000|200|512"]
    );

    // Where nothing else is said, a heap is a GiB.
    let (world, path) = with_log(&log(&[
        json!({"Event": "SparkListenerEnvironmentUpdate", "Spark Properties": {}}),
    ]));
    spark::import(&world.lake(), &path, &spark_options()).unwrap();
    world.build(true);
    assert_eq!(
        world.rows("select heap_peak_bytes, heap_limit_bytes >> 20 from raw.usage_hours where heap_limit_bytes is not null"),
        ["200|1024"]
    );
}

#[test]
fn the_processor_time_of_hours_in_which_python_ran_is_not_known() {
    let stage = json!({"Event": "SparkListenerStageSubmitted", "Stage Info": {"Stage ID": 0,
        "RDD Info": [{"Name": "PythonRDD", "RDD ID": 1}]}});
    let (world, path) = with_log(&log(&[stage]));
    spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!(
        hours(&world),
        ["11:00|12:00|0|0|-1|200|0", "12:00|12:10|0|600000|0|-1|0"]
    );
}

#[test]
fn what_a_lost_task_took_is_not_known() {
    // Begun when the executor came, and never ended; and one whose executor was lost.
    let begun = json!({"Event": "SparkListenerTaskStart", "Stage ID": 0, "Task Info": {"Task ID": 7, "Executor ID": "1",
        "Launch Time": 1_794_823_800_000_i64, "Finish Time": 0}});
    let (world, path) = with_log(&log(&[begun]));
    spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!(hours(&world), ["11:00|12:00|0|0|-1|200|0"]);

    let whole = log(&[]);
    let (world, path) = with_log(&whole.replacen("\"Task Metrics\"", "\"No Metrics\"", 2));
    spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!(
        hours(&world),
        ["11:00|12:00|0|0|-1|200|0", "12:00|12:10|0|600000|0|-1|0"]
    );
}

#[test]
fn times_that_cannot_be_are_left_out_and_counted() {
    let task = |from: i64, to: i64| {
        json!({"Event": "SparkListenerTaskEnd", "Stage ID": 0, "Task Info": {"Executor ID": "1", "Launch Time": from, "Finish Time": to},
            "Task Metrics": {"Executor CPU Time": 1}})
    };
    let events = [
        task(0, i64::MAX),
        task(i64::MIN, 5),
        task(1_794_823_800_000, 1_794_823_700_000),
        json!({"Event": "SparkListenerExecutorRemoved", "Timestamp": i64::MAX, "Executor ID": "1"}),
    ];
    let (world, path) = with_log(&log(&events));
    let (_, totals) = spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!((totals.tasks, totals.implausible), (5, 3));
    assert_eq!(hours(&world).len(), 3);
}

#[test]
fn a_compressed_log_of_what_still_runs_is_read_as_far_as_it_goes() {
    let (world, path) = with_log("");
    fs::remove_file(&path).unwrap();
    // What a driver has flushed when it is killed.
    let mut packed = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packed.write_all(log(&[]).as_bytes()).unwrap();
    packed.flush().unwrap();
    let path = world.folder.path().join("spark-1.zstd.inprogress");
    fs::write(&path, packed.get_ref()).unwrap();
    let (imported, totals) = spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert!(matches!(imported, Imported::Written(_)));
    assert_eq!((totals.tasks, totals.executors, totals.without_pod), (2, 1, 0));
}

#[test]
fn a_log_that_cannot_be_read_is_told_by_file_and_line_and_half_a_last_line_is_none() {
    let whole = log(&[]);
    let (world, path) = with_log(&whole[..whole.len() - 10]);
    let (_, totals) = spark::import(&world.lake(), &path, &spark_options()).unwrap();
    assert_eq!(totals.tasks, 2);

    let error = |path: &Path| {
        spark::import(&world.lake(), path, &spark_options())
            .unwrap_err()
            .to_string()
    };
    let broken = world.folder.path().join("broken");
    fs::write(&broken, whole.replacen("{\"App ID\"", "{App ID", 1)).unwrap();
    assert!(
        error(&broken).contains("broken: line 2: is no event of Spark"),
        "{}",
        error(&broken)
    );
    fs::write(&broken, "{\"Event\": \"SparkListenerLogStart\"}\n").unwrap();
    assert!(error(&broken).contains("no SparkListenerApplicationStart"));
    let packed = world.folder.path().join("log.lz4");
    fs::write(&packed, "").unwrap();
    assert!(error(&packed).contains("compressed by lz4"));
}

/// A run whose name Airflow cannot write into a label as it is.
const RUN: &str = "scheduled__2026-11-16T00:00:00+00:00";

fn airflow_labels(task: &'static str, tried: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("kubernetes_pod_operator", "True"),
        ("dag_id", "daily"),
        ("task_id", task),
        ("run_id", ""),
        ("try_number", tried),
    ]
}

#[test]
fn airflow_s_word_reaches_the_pods_of_a_try_and_no_others() {
    let world = World::new();
    world.given_machine(4, 16, 0, "1");
    // What Airflow makes of the run's name.
    let label = world.rows(&format!("select md5('{RUN}')"))[0][..9].to_owned();
    let run: &'static str = format!("scheduled__2026-11-16T0000000000-{label}").leak();
    let labels = |task, tried| {
        let mut labels = airflow_labels(task, tried);
        labels[3].1 = run;
        labels
    };
    given(&world, "first", &labels("load", "1"));
    given(&world, "second", &labels("load", "2"));
    given(&world, "other", &labels("check", "1"));
    let task = |id: &str, tried: i64, state: &str, from: &str, to: Option<&str>| {
        let clock = |clock: &str| format!("2026-11-16T{clock}+00:00");
        json!({"dag_id": "daily", "dag_run_id": RUN, "task_id": id, "try_number": tried, "map_index": -1,
            "state": state, "start_date": clock(from), "end_date": to.map(clock), "hostname": "x", "pool": "default_pool"})
    };
    let pages = [
        json!({"task_instances": [
            task("load", 1, "up_for_retry", "10:01:00", Some("10:11:30")),
            task("load", 2, "success", "10:20:00", Some("10:50:00")),
        ], "total_entries": 4}),
        json!([
            task("check", 1, "running", "10:20:00", None),
            task("report", 1, "success", "10:20:00", Some("10:21:00")),
        ]),
    ];
    let file = world.folder.path().join("tasks.json");
    fs::write(&file, format!("{}\n{}", pages[0], pages[1])).unwrap();
    let options = |cluster: Option<&str>| airflow::Options {
        within: Within {
            cluster: cluster.map(str::to_owned),
            namespace: None,
        },
        recorded_date: date(2026, 11, 16),
    };
    let (imported, totals) = airflow::import(&world.lake(), &file, &options(None)).unwrap();
    assert!(matches!(imported, Imported::Written(_)));
    let expected = airflow::Totals {
        tries: 4,
        announced: 4,
        without_end: 1,
        without_pod: 1,
        ambiguous: 0,
        pods: 2,
    };
    assert_eq!(totals, expected);
    let (again, _) = airflow::import(&world.lake(), &file, &options(None)).unwrap();
    assert_eq!(again, Imported::Already);
    let (_, elsewhere) = airflow::import(&world.lake(), &file, &options(Some("d"))).unwrap();
    assert_eq!((elsewhere.pods, elsewhere.without_pod), (0, 3));

    world.build(true);
    assert_eq!(
        world.rows(
            "select job, attempt, outcome, coalesce(engine_duration_ms, -1), duration_ms, end_reason \
             from marts.job_attempts order by 1, 2"
        ),
        // Two of the pods succeeded as Kubernetes sees them.
        [
            "check|1|succeeded|-1|3600000",
            "load|1|failed|630000|3600000|up_for_retry",
            "load|2|succeeded|1800000|3600000",
        ]
    );

    // The same names in another namespace at the same time: nobody can tell which.
    world.given(
        "pod_states",
        "select 'c' as cluster, 'twin' as pod_uid, timestamp '2026-11-16 11:00:00' as observed_at, 'twin' as pod_name, \
         'another' as namespace, timestamp '2026-11-16 10:00:00' as created_at, 0 as cpu_request_millicores, \
         0 as memory_request_bytes",
    );
    world.given(
        "pod_identities",
        &format!(
            "select 'c' as cluster, 'twin' as pod_uid, timestamp '2026-11-16 10:00:00' as valid_from_at, {} as labels",
            map(&labels("load", "2"))
        ),
    );
    let (_, totals) = airflow::import(&world.lake(), &file, &options(None)).unwrap();
    assert_eq!((totals.ambiguous, totals.pods), (1, 1));

    fs::write(&file, "{\"detail\": \"Not authenticated\"}").unwrap();
    let error = airflow::import(&world.lake(), &file, &options(None)).unwrap_err();
    assert!(
        error.to_string().contains("is not what Airflow's API prints"),
        "{error}"
    );
}
