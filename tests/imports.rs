//! Bad input is refused by name, and nothing of it is kept.

use jiff::civil::date;
use podledger_collector::import::openb;
use podledger_collector::import::query::import_query;

use crate::harness::{World, shared_data};

fn refused(table: &str, query: &str) -> String {
    let world = World::new();
    let lake = world.lake();
    let error = import_query(&lake, table, query, date(2026, 11, 16))
        .unwrap_err()
        .to_string();
    assert!(lake.segments().unwrap().is_empty(), "something was written");
    error
}

#[test]
fn rows_that_are_no_facts_are_named() {
    let error = refused(
        "collection_watermarks",
        "select 'c' as cluster, null::timestamp as observed_through_at",
    );
    assert_eq!(
        error,
        "collection_watermarks, row 1, column `observed_through_at`: it must not be NULL"
    );
    let error = refused("prices", "select 1 as x");
    assert!(error.contains("unknown column `x`"), "{error}");
    let error = refused("no_such_table", "select 1");
    assert!(error.contains("`no_such_table` is no table of facts"), "{error}");
}

#[test]
fn an_end_before_its_start_is_refused_in_its_row() {
    let error = refused(
        "machines",
        "select 'c' as cluster, 'm' || i as machine, timestamp '2026-11-16 10:00:00' as observed_at, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'x' as launch_source, \
         timestamp '2026-11-16 12:00:00' - to_hours(i::integer) as ended_at from range(5) as r(i)",
    );
    assert!(
        error.contains("machines, row 4, column `ended_at`: it must not be before `launched_at`"),
        "{error}"
    );
}

/// A trace of one run in which `pods` is the query of its pods.
fn trace(folder: &std::path::Path, pods: &str) {
    let copy = |query: &str, file: &str| {
        let target = folder.join(file);
        let statement = format!("copy ({query}) to '{}'", target.display());
        duckdb::Connection::open_in_memory()
            .unwrap()
            .execute_batch(&statement)
            .unwrap();
    };
    copy(pods, "pods.parquet");
    copy(
        "select 'n1' as node, 31.9 as allocatable_cpu_cores, 134471618560 as allocatable_memory_bytes, \
         '2022-11-07T09:00:00Z' as first_seen_utc, '2022-11-07T10:00:00Z' as last_seen_utc, 2 as n_observations",
        "nodes.csv",
    );
    copy(
        "select 'w/s/1' as run_id, '2022-11-07T09:00:00Z' as launcher_start_utc, '2022-11-07T11:00:00Z' as launcher_end_utc",
        "runs.csv",
    );
    copy(
        "select '2022-11-07T09:00:00.000Z' as ts_utc, 'w/s/1' as run_id, 'PodAssigned' as event, 'nf-1' as pod_name, 'n1' as node",
        "scheduler_events.parquet",
    );
}

const POD: &str = "select 'w/s/1' as run_id, 'w' as workflow, 's' as strategy, i as task_id, 'nf-' || i as pod_name, 'n1' as node, \
    'P' as process, 'COMPLETED' as status, 0::bigint as exit_code, 'image' as container_image, 1::bigint as cpu_request_cores, \
    1073741824::bigint as memory_request_bytes, 1667811600000 as submit_ms, 1667811601000 as start_ms, \
    1667811600000 + i * 1000 as complete_ms, 900::bigint as realtime_ms, 50.0::double as cpu_pct, 1000000::bigint as peak_rss_bytes \
    from range(1, 5) as r(i)";

fn import_trace(pods: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    trace(folder.path(), pods);
    let world = World::new();
    let options = podledger_collector::import::nextflow_cws::Options {
        folder: folder.path().to_path_buf(),
        cluster: "c".to_owned(),
        price_as: "aws/us-east-1/m5.8xlarge".to_owned(),
        recorded_date: date(2026, 11, 16),
    };
    let lake = world.lake();
    let result = podledger_collector::import::nextflow_cws::import(&lake, &options, &|_| {});
    if let Err(error) = result {
        assert!(lake.segments().unwrap().is_empty(), "something was written");
        return Err(error.to_string());
    }
    world.build(false);
    Ok(world
        .rows("select count(*), sum(released_ms - bound_ms) from marts.pods")
        .join("\n"))
}

#[test]
fn a_small_trace_is_imported() {
    // 1000 ms more for the first pod, which the scheduler assigned before its container started.
    assert_eq!(import_trace(POD).unwrap(), "4|7000");
}

#[test]
fn a_broken_trace_is_refused_with_file_row_and_column() {
    let broken = |from: &str, to: &str| {
        let pods = POD.replace(from, to);
        assert_ne!(pods, POD);
        import_trace(&pods).unwrap_err()
    };
    let error = broken("1667811600000 + i * 1000", "1667811604000 - i * 1000");
    assert!(
        error.contains("pods.parquet: row 4, column `complete_ms`: is empty or before start_ms"),
        "{error}"
    );
    let error = broken("'n1' as node", "'n' || (i % 2 + 1) as node");
    assert!(
        error.contains("pods.parquet: row 1, column `node`: is a machine that nodes.csv does not list"),
        "{error}"
    );
    let error = broken("i as task_id", "i // 2 as task_id");
    assert!(
        error.contains("row 3, column `task_id`: comes again in the same run"),
        "{error}"
    );
    let error = broken("'P' as process, ", "");
    assert!(error.contains("column `process` (VARCHAR) is missing"), "{error}");
    let error = broken("1::bigint as cpu_request_cores", "1.5 as cpu_request_cores");
    assert!(
        error.contains("column `cpu_request_cores` must be BIGINT"),
        "{error}"
    );
}

#[test]
fn prices_come_from_a_csv_and_a_broken_line_is_named() {
    let world = World::new();
    let file = world.folder.path().join("prices.csv");
    let header = "provider,region,instance_type,capacity_type,valid_from,hourly_usd,source";
    let import = |lines: &str| {
        std::fs::write(&file, format!("{header}\n{lines}\n")).unwrap();
        podledger_collector::import::prices::import(&world.lake(), &file, date(2026, 11, 16))
    };
    world.given_machine(4, 16, 0, "1");
    import("aws,us-east-1,t,on-demand,2026-11-16T10:30,3,ours").unwrap();
    world.build(true);
    // Half an hour at 1, half an hour at 3 USD.
    assert_eq!(
        world.rows("select sum(cost) from marts.costs_daily"),
        ["2.000000000"]
    );
    for (line, expected) in [
        (
            "aws,us-east-1,t,on-demand,soon,1,ours",
            "line 2, valid_from: `soon`",
        ),
        (
            "aws,us-east-1,t,on-demand,2026-11-16,cheap,ours",
            "line 2, hourly_usd: `cheap`",
        ),
        (
            "aws,us-east-1,t,on-demand,2026-11-16,0.0000000001,ours",
            "at most nine decimals",
        ),
        ("aws,us-east-1,t,on-demand,2026-11-16,-1,ours", "hourly_usd"),
        ("aws,us-east-1,t,free,2026-11-16,1,ours", "capacity_type"),
        (",us-east-1,t,spot,2026-11-16,1,ours", "provider"),
    ] {
        let error = import(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

/// A trace of two nodes, one with GPUs of a known price and one without.
#[test]
fn openb_pods_pay_for_gpus_by_model_and_fraction() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write(
        "openb_node_list_all_node.csv",
        "sn,cpu_milli,memory_mib,gpu,model\na,8000,32768,2,T4\nb,8000,32768,1,G2\n",
    );
    write(
        "openb_pod_list_default.csv",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
         whole,1000,1024,1,1000,T4,LS,Running,0,3600,0\n\
         half,1000,1024,1,500,T4,LS,Succeeded,0,3600,0\n\
         other,1000,1024,1,1000,G2,LS,Failed,0,3600,0\n\
         never,1000,1024,1,1000,G2,LS,Pending,0,3600,\n\
         crowded,1000,1024,1,1000,G2,LS,Running,0,3600,1800\n",
    );
    let options = openb::Options {
        folder: folder.path().to_path_buf(),
        pods: None,
        starts_at: "2023-01-01T00:00:00Z".parse().unwrap(),
        gpu_prices: std::collections::BTreeMap::new(),
        cluster: "openb".to_owned(),
        recorded_date: date(2026, 11, 16),
    };
    let (_, totals) = openb::import(&world.lake(), &options).unwrap();
    assert_eq!((totals.pods, totals.pending, totals.unplaced), (5, 1, 1));
    assert_eq!(
        (totals.unpriced_nodes, totals.unpriced_models),
        (1, vec!["G2".to_owned()])
    );
    world.build(true);
    // 8 x 0.031611 + 32 x 0.004237 + 2 x 0.35 = 1.088472 in the hour. The weights give GPUs 1,900 of 2,288.472 parts:
    // 0.903702..., of which `whole` holds a half and `half` a quarter.
    assert_eq!(
        world.rows(
            "select costs.gpu_model, pods.gpu_request_milligpus, pods.pod_name, sum(costs.gpu_cost) \
             from marts.allocations_hourly as costs inner join marts.pods as pods using (cluster, pod_uid) \
             group by all order by 3"
        ),
        [
            "T4|500|half|0.225925508",
            "G2|1000|other",
            "T4|1000|whole|0.451851016"
        ]
    );
    let again = openb::import(&world.lake(), &options).unwrap().0;
    assert_eq!(again, podledger_collector::import::Imported::Already);
    write(
        "openb_pod_list_default.csv",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
         p,1000,1024,2,500,,LS,Running,0,3600,0\n",
    );
    let error = openb::import(&world.lake(), &options).unwrap_err().to_string();
    assert!(
        error.contains("line 2: pod `p`: a share is of one GPU"),
        "{error}"
    );
}

#[test]
fn the_real_gpu_trace_is_placed_without_leaving_anybody_out() {
    let Some(folder) = shared_data("traces/alibaba-gpu-v2023-openb") else {
        return;
    };
    let world = World::new();
    let options = openb::Options {
        folder,
        pods: None,
        starts_at: "2023-01-01T00:00:00Z".parse().unwrap(),
        gpu_prices: std::collections::BTreeMap::new(),
        cluster: "openb".to_owned(),
        recorded_date: date(2026, 11, 16),
    };
    let (_, totals) = openb::import(&world.lake(), &options).unwrap();
    assert_eq!(
        (totals.pods, totals.nodes, totals.pending, totals.unplaced),
        (8152, 1523, 897, 0)
    );
    assert_eq!(totals.unpriced_models, ["A10", "G2", "G3", "V100M32"]);
}
