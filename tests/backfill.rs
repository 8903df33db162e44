//! `import prometheus` against a real Prometheus, whose blocks are made of what scrapes of a simulated platform would have told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use jiff::civil::date;
use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::recording;
use podledger_simulator::scrapes::{Scrapes, scrape};
use podledger_simulator::usage::{Pod, Profile};
use podledger_simulator::{ChangeKind, Object, record, recording as recorded};
use tempfile::TempDir;

use crate::crashes::podledger;
use crate::harness::{World, contents, system_tool};
use crate::simulated::{START_MS, scenario};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const CLUSTER: &str = "backfilled";

/// From the afternoon of the first day to the morning of the second, once a minute; for forty minutes nobody scrapes.
const SCRAPES: Scrapes = Scrapes {
    from_ms: START_MS + 16 * HOUR_MS,
    to_ms: START_MS + 28 * HOUR_MS,
    every_ms: MINUTE_MS,
    outage: Some((
        START_MS + 20 * HOUR_MS + 10 * MINUTE_MS,
        START_MS + 20 * HOUR_MS + 50 * MINUTE_MS,
    )),
};

/// A platform, what a watch would have recorded of it, and a Prometheus that scraped it.
struct Scraped {
    folder: TempDir,
    prometheus: Child,
    url: String,
}

impl Drop for Scraped {
    fn drop(&mut self) {
        let _ = self.prometheus.kill();
        let _ = self.prometheus.wait();
    }
}

impl Scraped {
    fn new() -> Option<Self> {
        let (prometheus, promtool) = (system_tool("prometheus")?, system_tool("promtool")?);
        let folder = tempfile::tempdir().unwrap();
        record(scenario(30, 2, 5), folder.path(), |_| {}).unwrap();
        let text = folder.path().join("scrapes.om");
        let mut out = BufWriter::new(File::create(&text).unwrap());
        scrape(recorded::changes(folder.path()), SCRAPES, &mut out).unwrap();
        out.flush().unwrap();
        drop(out);
        let blocks = folder.path().join("blocks");
        let made = Command::new(promtool)
            .args([
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                "--max-block-duration=24h",
            ])
            .args([&text, &blocks])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::remove_file(&text).unwrap();
        let (prometheus, url) = serve(&prometheus, &blocks);
        Some(Self {
            folder,
            prometheus,
            url,
        })
    }

    /// What the command imports into a world.
    fn import(&self, world: &World, more: &[&str], crash_at: Option<&str>) -> std::process::Output {
        let mut arguments = vec![
            "import",
            "prometheus",
            &self.url,
            "--cluster",
            CLUSTER,
            "--load-percent",
            "100",
            "--recorded-date",
            "2026-11-16",
        ];
        arguments.extend(more);
        podledger(world, &arguments, crash_at)
    }

    /// The recording, from an instant on: what is there then is seen for the first time.
    fn recorded_from(&self, from_ms: i64) -> PathBuf {
        // Not beside the recording itself, of which it would be a part.
        let path = self.folder.path().join(format!("truth/from-{from_ms}.jsonl"));
        let mut out = BufWriter::new(File::create(&path).unwrap());
        let mut there: BTreeMap<String, (usize, serde_json::Value)> = BTreeMap::new();
        let mut line = |at_ms: i64, kind: &str, object: &serde_json::Value| {
            let at = Timestamp::from_millisecond(at_ms).unwrap();
            let line = serde_json::json!({"at": at, "type": kind, "object": object});
            writeln!(out, "{line}").unwrap();
        };
        let mut is_over = false;
        for (number, change) in recorded::changes(self.folder.path()).enumerate() {
            let change = change.unwrap();
            let Object::Other(object) = change.object else {
                continue;
            };
            if change.at_ms > from_ms && !is_over {
                is_over = true;
                let mut first: Vec<_> = there.values().collect();
                first.sort_by_key(|(number, _)| *number);
                for (_, object) in first {
                    line(from_ms, "ADDED", object);
                }
            }
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            match (is_over, change.kind) {
                (true, ChangeKind::Added) => line(change.at_ms, "ADDED", &object),
                (true, ChangeKind::Modified) => line(change.at_ms, "MODIFIED", &object),
                (true, ChangeKind::Deleted) => line(change.at_ms, "DELETED", &object),
                (true, ChangeKind::Bookmark) => line(change.at_ms, "BOOKMARK", &object),
                (false, ChangeKind::Deleted) => drop(there.remove(&uid)),
                (false, ChangeKind::Bookmark) => {}
                (false, _) => drop(there.insert(uid, (number, *object))),
            }
        }
        path
    }
}

/// A Prometheus that serves blocks, and that gives out few samples at a time.
fn serve(prometheus: &Path, blocks: &Path) -> (Child, String) {
    let config = blocks.join("../prometheus.yml");
    std::fs::write(&config, "").unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", blocks.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--storage.tsdb.retention.time=100y", "--query.max-samples=2000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let is_ready = lines.by_ref().map_while(Result::ok).any(|line| {
        let is_ready = line.contains("ready to receive web requests");
        said.push(line);
        is_ready
    });
    assert!(is_ready, "{}", said.join("\n"));
    // What it says later must be read too.
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://127.0.0.1:{port}"))
}

fn world(scraped: &Scraped) -> World {
    let world = World::new();
    let prices = scraped.folder.path().join("prices.csv");
    podledger_collector::import::prices::import(&world.lake(), &prices, date(2026, 11, 16)).unwrap();
    world
}

fn given_recording(world: &World, path: &Path) {
    let options = Options {
        cluster: Some(CLUSTER.to_owned()),
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: date(2026, 11, 16),
    };
    recording::import(&world.lake(), path, &options).unwrap();
}

fn succeeded(output: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The instants at which somebody scraped.
fn ticks() -> impl Iterator<Item = i64> {
    let outage = SCRAPES.outage.unwrap();
    (SCRAPES.from_ms..SCRAPES.to_ms)
        .step_by(usize::try_from(SCRAPES.every_ms).unwrap())
        .filter(move |at_ms| !(outage.0..outage.1).contains(at_ms))
}

/// What scrapes saw of each container: when it started, and the first and last scrape in which it ran.
struct Ran {
    profile: Profile,
    started_ms: i64,
    first_ms: i64,
    last_ms: i64,
}

/// What scrapes saw.
#[derive(Default)]
struct Shown {
    /// UIDs, with what a watch knows the pod by: static pods are known by their configuration, which nobody exports.
    pods: BTreeMap<String, String>,
    /// Names of nodes, which are used again, and the instances that bore them.
    machines: BTreeSet<[String; 2]>,
    /// By UID and when they started.
    containers: BTreeMap<(String, i64), Ran>,
}

fn shown(scraped: &Scraped) -> Shown {
    let mut shown = Shown::default();
    let mut there: HashMap<String, (String, serde_json::Value)> = HashMap::new();
    let mut changes = recorded::changes(scraped.folder.path())
        .map(Result::unwrap)
        .peekable();
    for at_ms in ticks() {
        while let Some(change) = changes.next_if(|change| change.at_ms <= at_ms) {
            let Object::Other(object) = change.object else {
                continue;
            };
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            match change.kind {
                ChangeKind::Bookmark => {}
                ChangeKind::Deleted => drop(there.remove(&uid)),
                _ => drop(there.insert(uid, (kind, *object))),
            }
        }
        for (uid, (kind, object)) in &there {
            match kind.as_str() {
                "Node" => {
                    let machine = ["/metadata/name", "/spec/providerID"]
                        .map(|pointer| object.pointer(pointer).unwrap().as_str().unwrap().to_owned());
                    shown.machines.insert(machine);
                }
                "Pod" => {
                    let mirrored = object["metadata"]["annotations"]["kubernetes.io/config.mirror"].as_str();
                    let known_by = mirrored.unwrap_or(uid).to_owned();
                    shown.pods.insert(uid.clone(), known_by);
                    let pod: Pod = serde_json::from_value(object.clone()).unwrap();
                    for status in &pod.status.container_statuses {
                        let Some(running) = &status.state.running else {
                            continue;
                        };
                        let started_ms = running.started_at.as_millisecond();
                        if started_ms > at_ms {
                            continue;
                        }
                        let known = shown
                            .containers
                            .entry((uid.clone(), started_ms))
                            .or_insert_with(|| Ran {
                                profile: Profile::of(&pod),
                                started_ms,
                                first_ms: at_ms,
                                last_ms: at_ms,
                            });
                        known.last_ms = at_ms;
                    }
                }
                _ => {}
            }
        }
    }
    shown
}

#[test]
fn a_prometheus_tells_what_it_remembers_once_and_exactly_as_far_as_it_knows() {
    let Some(scraped) = Scraped::new() else { return };
    let exact = world(&scraped);
    given_recording(&exact, &scraped.recorded_from(START_MS));
    exact.build(true);

    let whole = world(&scraped);
    let span = [
        "--since",
        "2026-11-02T12:00:00Z",
        "--until",
        "2026-11-03T04:00:00Z",
    ];
    let said = succeeded(&scraped.import(&whole, &span, None));
    whole.build(true);
    let Shown {
        pods,
        machines,
        containers,
    } = shown(&scraped);
    limits_are_those_of_the_watch(&exact, &whole, &pods);
    let nodes: BTreeSet<&String> = machines.iter().map(|[name, _]| name).collect();
    assert!(
        pods.len() > 100 && nodes.len() > 5,
        "{} pods, {} nodes",
        pods.len(),
        nodes.len()
    );
    assert!(
        said.contains(&format!("{} pods on {} nodes", pods.len(), nodes.len())),
        "{said}"
    );
    assert!(said.contains("1 gaps"), "{said}");

    pods_are_those_that_scrapes_saw(&exact, &whole, &pods);
    machines_are_known(&exact, &whole, &machines);
    usage_is_exact_between_samples(&whole, &containers);
    time_without_scrapes_is_unobserved(&whole);

    // Ended while the second day was about to become visible, and begun again.
    let interrupted = world(&scraped);
    let ended = scraped.import(&interrupted, &span, Some("commit_written:2"));
    assert!(!ended.status.success());
    let said = succeeded(&scraped.import(&interrupted, &span, None));
    assert!(said.contains("2 days, 1 of which were imported before"), "{said}");
    interrupted.build(true);
    assert_eq!(contents(&interrupted), contents(&whole));
    let said = succeeded(&scraped.import(&interrupted, &span, None));
    assert!(said.contains("imported before: nothing to do"), "{said}");

    // The second day first: the first meets it.
    let backwards = world(&scraped);
    let second = [
        "--since",
        "2026-11-03T00:00:00Z",
        "--until",
        "2026-11-03T04:00:00Z",
    ];
    succeeded(&scraped.import(&backwards, &second, None));
    succeeded(&scraped.import(&backwards, &span, None));
    backwards.build(true);
    let lives = "select pod_uid, bound_ms, released_ms from marts.pods order by 1";
    assert_eq!(backwards.rows(lives), whole.rows(lives));

    a_collector_goes_on_where_it_ends(&scraped, &exact, &pods);
    what_cannot_be_is_said(&scraped);
}

/// Pods, when they held their machines, what they asked for, and whose they are.
fn pods_are_those_that_scrapes_saw(exact: &World, found: &World, pods: &BTreeMap<String, String>) {
    let query = "select pod_uid, concat_ws('|', bound_ms, cpu_request_millicores, memory_request_bytes, team, pipeline, job), \
        coalesce(released_ms, 0), coalesce(end_earliest_ms, 0), coalesce(end_latest_ms, 0), end_source, outcome from marts.pods order by 1";
    let read = |world: &World| -> BTreeMap<String, Vec<String>> {
        let rows = world.rows(&query.replace("concat_ws('|'", "concat_ws(';'"));
        rows.into_iter()
            .map(|row| {
                let mut cells = row.split('|').map(str::to_owned);
                (cells.next().unwrap(), cells.collect())
            })
            .collect()
    };
    let (exact, found) = (read(exact), read(found));
    assert!(found.keys().eq(pods.keys()));
    let (mut sampled, mut told) = (0, 0);
    let mut others = Vec::new();
    for (uid, cells) in &found {
        let truth = &exact[&pods[uid]];
        assert_eq!(cells[0], truth[0], "{uid}");
        let ms = |cells: &[String], number: usize| cells[number].parse::<i64>().unwrap();
        let (released, earliest, latest) = (ms(cells, 1), ms(cells, 2), ms(cells, 3));
        if released == 0 {
            let was_there = ms(truth, 1) == 0 || ms(truth, 1) > SCRAPES.to_ms - MINUTE_MS;
            assert!(was_there, "{uid} has no end, and ended at {}", truth[1]);
            continue;
        }
        assert!(earliest <= released && released <= latest, "{uid}: {cells:?}");
        // Kubernetes writes whole seconds.
        assert!(
            earliest - 1000 <= ms(truth, 1) && ms(truth, 1) <= latest + 1000,
            "{uid}: {cells:?}, truly {truth:?}"
        );
        if cells[5] != truth[5] {
            others.push(format!("{uid}: {cells:?}, truly {truth:?}"));
        }
        match cells[4].as_str() {
            "sampled" => sampled += 1,
            _ => told += 1,
        }
    }
    assert!(
        sampled > 0 && told > 0,
        "{sampled} ends are sampled, {told} are told"
    );
}

/// What containers ask for and may take at most.
fn limits_are_those_of_the_watch(exact: &World, found: &World, pods: &BTreeMap<String, String>) {
    let known = |world: &World| -> BTreeMap<String, String> {
        let rows = world.rows(
            "select pod_uid, container_name || ';' || memory_request_bytes || ';' || coalesce(memory_limit_bytes, -1) || ';' \
             || coalesce(cpu_limit_millicores, -1) from staging.stg_containers where container_kind <> 'init'",
        );
        let pairs = rows.iter().map(|row| row.split_once('|').unwrap());
        pairs
            .map(|(uid, told)| (uid.to_owned(), told.to_owned()))
            .collect()
    };
    let (exact, found) = (known(exact), known(found));
    for (uid, told) in &found {
        assert_eq!(told, &exact[&pods[uid]], "{uid}");
    }
    let is_bound = |told: &&String| !told.ends_with(";-1;-1");
    let bound = found.values().filter(is_bound).count();
    assert!(bound > 50 && bound < found.len(), "{bound} of {}", found.len());
}

fn machines_are_known(exact: &World, found: &World, machines: &BTreeSet<[String; 2]>) {
    // A pod that had ended may be shown for longer than its node.
    let nowhere = found
        .rows("select distinct node_name from marts.pods where machine is null and node_name is not null");
    assert!(
        nowhere
            .iter()
            .all(|node| machines.iter().all(|[name, _]| name != node)),
        "{nowhere:?}"
    );
    let query = "select node_name, instance_type, capacity_type, region, zone, provider_id, pool from staging.stg_machines order by 1";
    let exact: BTreeSet<String> = exact.rows(query).into_iter().collect();
    let found = found.rows(query);
    assert_eq!(found.len(), machines.len());
    for row in found {
        assert!(exact.contains(&row), "{row}");
    }
}

/// Counters are exact: from the first sample of a container (or its start, if that was just before) to the last.
fn usage_is_exact_between_samples(found: &World, ran: &BTreeMap<(String, i64), Ran>) {
    let mut expected: BTreeMap<String, (i128, i64)> = BTreeMap::new();
    for ((uid, _), ran) in ran {
        let from_ms = if ran.first_ms - ran.started_ms <= 10 * MINUTE_MS {
            ran.started_ms
        } else {
            ran.first_ms
        };
        let used = ran.profile.cpu_nanoseconds(from_ms, ran.last_ms);
        let sum = expected.entry(uid.clone()).or_default();
        sum.0 += i128::from(used / 1000);
        sum.1 += ran.last_ms - from_ms;
    }
    expected.retain(|_, (_, ms)| *ms > 0);
    let rows = found.rows(
        "select pod_uid, sum(cpu_usage_millicore_ms), sum(cpu_measured_ms), \
         sum(cpu_throttled_periods)::bigint, sum(cpu_periods)::bigint \
         from staging.stg_usage_stretches where cpu_measured_ms > 0 group by 1 order by 1",
    );
    assert_eq!(rows.len(), expected.len());
    for row in &rows {
        let cells: Vec<&str> = row.split('|').collect();
        let (used, ms) = expected[cells[0]];
        let found: i128 = cells[1].parse().unwrap();
        // Each of a day's hours is cut to a whole number.
        assert!((found - used).abs() <= 24, "{row}: truly {used}");
        assert_eq!(cells[2], ms.to_string(), "{row}");
    }
    let shares = found.rows(
        "select sum(cpu_throttled_periods) / sum(cpu_periods), sum(gpu_usage_milligpu_ms) / sum(gpu_measured_ms), \
         max(gpu_memory_peak_bytes) % 1048576000 from marts.attempt_usage",
    );
    let shares: Vec<f64> = shares[0].split('|').map(|share| share.parse().unwrap()).collect();
    assert!(
        (shares[0] - 0.1).abs() < 0.005,
        "{shares:?}: a tenth of all periods was throttled"
    );
    assert_eq!(shares[1..], [400.0, 0.0]);
    // What a GPU did between two samples was measured; of each hour the last sample stands for the time until the next.
    let gpus = found.rows(
        "select usage.pod_uid, sum(gpu_measured_ms) <= sum(cpu_measured_ms) * any_value(gpu_request_milligpus) / 1000 + 60000 * count(*) \
         from staging.stg_usage_stretches as usage inner join marts.pods as pods on usage.pod_uid = pods.pod_uid \
         where gpu_measured_ms > 0 group by all",
    );
    assert!(
        !gpus.is_empty() && gpus.iter().all(|row| row.ends_with("|true")),
        "{gpus:#?}"
    );
}

/// Machines were there before the first scrape, and nobody looked; and while nobody scraped.
fn time_without_scrapes_is_unobserved(found: &World) {
    let unobserved = found.rows(
        "select distinct hour(hour_start_at), day(hour_start_at) from marts.allocations_hourly \
         where cost_category = 'unobserved' order by 1",
    );
    let hours: Vec<String> = (0..16).chain([20]).map(|hour| format!("{hour}|2")).collect();
    assert_eq!(unobserved, hours);
}

/// Somebody watches from midnight on; what was before is imported later, or was imported before.
fn a_collector_goes_on_where_it_ends(scraped: &Scraped, exact: &World, shown: &BTreeMap<String, String>) {
    let watched = scraped.recorded_from(START_MS + 24 * HOUR_MS);
    let since = ["--since", "2026-11-02T12:00:00Z"];
    let world = world(scraped);
    given_recording(&world, &watched);
    let said = succeeded(&scraped.import(
        &world,
        &[&since[..], &["--until", "2026-11-04T00:00:00Z"]].concat(),
        None,
    ));
    assert!(said.contains("until 2026-11-03T00:00:00Z"), "{said}");
    world.build(true);
    let twice = "select provider_id from staging.stg_machines group by 1 having count(distinct machine) > 1";
    assert_eq!(world.rows(twice), Vec::<String>::new());
    // Nobody is left open who had gone, and who was watched to the end is known as if all had been watched.
    let open = "select pod_uid from marts.pods where released_ms is null and bound_ms is not null order by 1";
    assert_eq!(world.rows(open), exact.rows(open));
    let after = "select pod_uid, bound_ms, released_ms, end_source from marts.pods where released_ms > 1793664000000 order by 1";
    assert_eq!(world.rows(after), exact.rows(after));
    let before = world.rows("select pod_uid from marts.pods where released_ms <= 1793664000000");
    assert!(before.len() > 50, "{}", before.len());
    assert!(before.iter().all(|uid| shown.contains_key(uid)));
}

fn what_cannot_be_is_said(scraped: &Scraped) {
    let world = world(scraped);
    let early = [
        "--since",
        "2026-10-01T00:00:00Z",
        "--until",
        "2026-10-03T00:00:00Z",
    ];
    for (more, words) in [
        (&early[..], "has no `kube_pod_info` in that time"),
        (
            &["--since", "2026-11-02T12:00:00Z", "--match", "cluster="][..],
            "parse error",
        ),
        (
            &[
                "--since",
                "2026-11-03T00:00:00Z",
                "--until",
                "2026-11-02T00:00:00Z",
            ][..],
            "is not before",
        ),
    ] {
        let ended = scraped.import(&world, more, None);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(words), "{said}");
    }
    // Nobody is there.
    let nowhere = ["import", "prometheus", "http://127.0.0.1:9", "--cluster", CLUSTER];
    let ended = podledger(&world, &nowhere, None);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        !ended.status.success()
            && said.contains("cannot import from http://127.0.0.1:9")
            && said.contains("onnect"),
        "{said}"
    );
}
