//! Marts as files: what was published, of a period, and no cell of a CSV is a formula.

use std::collections::BTreeSet;

use super::{done, files, of_file, platform, refused};
use crate::sql_door::{publish, world as two_pods};
use crate::web::names::{hostile_names, hostile_world};

#[test]
fn every_mart_becomes_a_file_with_all_its_rows() {
    let world = platform(14);
    publish(&world);
    let marts = world.rows(
        "select table_name from information_schema.tables where table_schema = 'marts' and table_catalog = current_database() order by 1",
    );
    for ending in ["parquet", "csv"] {
        let told = done(&world, &["export", ending, ending]);
        assert_eq!(told.lines().count(), marts.len(), "{told}");
        let mut expected: Vec<String> = marts.iter().map(|mart| format!("{mart}.{ending}")).collect();
        expected.insert(0, ".podledger-export".to_owned());
        assert_eq!(files(&world.folder.path().join(ending)), expected);
        for mart in &marts {
            let rows = world
                .rows(&format!("select count(*) as n from marts.{mart}"))
                .remove(0);
            assert!(
                told.contains(&format!("/{mart}.{ending}: {rows} rows")),
                "{mart}: {rows}\n{told}"
            );
        }
    }
    // Types and values are those of the mart.
    for mart in ["costs_daily", "pods", "runs", "allocations_hourly"] {
        let query =
            |from: &str| format!("select cast(found as varchar) as row from {from} as found order by 1");
        assert_eq!(
            of_file(&world, &format!("parquet/{mart}.parquet"), &query("charges")),
            world.rows(&query(&format!("marts.{mart}"))),
            "{mart}"
        );
    }
    assert_eq!(
        of_file(
            &world,
            "csv/costs_daily.csv",
            "select sum(cast(cost as decimal(18,9))) as cost from charges"
        ),
        world.rows("select sum(cost) as cost from marts.costs_daily")
    );
    // Again, into the same folder.
    done(&world, &["export", "csv", "csv"]);
}

#[test]
fn a_period_cuts_what_tells_time() {
    let world = platform(15);
    publish(&world);
    let second = ["--from", "2026-11-03", "--to", "2026-11-04"];
    for (mart, time) in [
        ("costs_daily", "charge_date"),
        ("costs_hourly", "hour_start_at"),
        ("teams_weekly", "first_local_date"),
        ("runs", "created_at"),
        ("pods", "make_timestamp(created_ms * 1000)"),
    ] {
        let file = format!("{mart}.parquet");
        let told = done(
            &world,
            &[&["export", "parquet", &file, "--mart", mart], &second[..]].concat(),
        );
        let of_mart = |filter: &str| {
            world
                .rows(&format!("select count(*) as n from marts.{mart} where {filter}"))
                .remove(0)
        };
        let rows = of_mart(&format!(
            "{time} >= timestamp '2026-11-03' and {time} < timestamp '2026-11-04'"
        ));
        assert_eq!(told, format!("{file}: {rows} rows\n"));
        if mart != "teams_weekly" {
            assert_ne!(rows, "0");
            assert_ne!(rows, of_mart("true"));
        }
    }
    let said = refused(
        &world,
        &[
            &["export", "csv", "c.csv", "--mart", "cost_categories"],
            &second[..],
        ]
        .concat(),
    );
    assert!(said.contains("cost_categories does not tell time"), "{said}");
    let told = done(&world, &[&["export", "csv", "all"], &second[..]].concat());
    let rows = world
        .rows("select count(*) as n from marts.cost_categories")
        .remove(0);
    assert!(
        told.contains(&format!(
            "cost_categories.csv: {rows} rows, all of them: it tells no time"
        )),
        "{told}"
    );
}

#[test]
fn a_cell_of_a_csv_is_no_formula_and_a_parquet_has_names_as_they_are() {
    let world = hostile_world();
    publish(&world);
    done(&world, &["export", "csv", "pods.csv", "--mart", "pods"]);
    done(&world, &["export", "focus", "focus.csv", "--allocation-columns"]);
    done(&world, &["export", "parquet", "pods.parquet", "--mart", "pods"]);
    for (file, columns) in [
        (
            "pods.csv",
            vec!["cluster", "pod_uid", "pod_name", "namespace", "team", "pipeline"],
        ),
        (
            "focus.csv",
            vec![
                "SubAccountId",
                "AllocatedResourceId",
                "AllocatedResourceName",
                "RegionId",
                "x_Team",
                "x_PodName",
            ],
        ),
    ] {
        let mut reader = csv::Reader::from_path(world.folder.path().join(file)).unwrap();
        let headers = reader.headers().unwrap().clone();
        let mut rows = 0;
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for row in reader.records() {
            let row = row.unwrap();
            rows += 1;
            for (header, cell) in headers.iter().zip(row.iter()) {
                let is_number = cell.parse::<f64>().is_ok();
                assert!(
                    is_number || !cell.trim_start().starts_with(['=', '+', '-', '@']),
                    "{file} {header}: {cell:?}"
                );
                assert!(!cell.chars().any(char::is_control), "{file} {header}: {cell:?}");
                if columns.contains(&header) {
                    seen.insert(header.to_owned());
                }
            }
        }
        assert!(rows >= hostile_names().len(), "{file}: {rows}");
        assert_eq!(seen.len(), columns.len(), "{file}: {seen:?}");
    }
    let names: BTreeSet<String> = of_file(
        &world,
        "pods.parquet",
        "select to_json(pod_name) as name from charges",
    )
    .iter()
    .map(|name| serde_json::from_str(name).unwrap())
    .collect();
    assert_eq!(names, hostile_names().into_iter().collect());
    // Tags are JSON whatever names they carry.
    done(
        &world,
        &["export", "focus", "focus.parquet", "--allocation-columns"],
    );
    let tags = of_file(
        &world,
        "focus.parquet",
        "select distinct AllocatedTags from charges",
    );
    let teams: BTreeSet<String> = tags
        .iter()
        .filter_map(|tags| {
            let tags: serde_json::Value = serde_json::from_str(tags).unwrap();
            Some(tags.get("podledger/team")?.as_str()?.to_owned())
        })
        .collect();
    assert_eq!(
        teams,
        world
            .rows("select distinct to_json(team) as team from marts.pods where team <> 'unattributed'")
            .iter()
            .map(|name| serde_json::from_str(name).unwrap())
            .collect()
    );
}

#[test]
fn what_is_there_is_left_alone() {
    let world = two_pods();
    let folder = world.folder.path();
    std::fs::create_dir(folder.join("mine")).unwrap();
    let said = refused(&world, &["export", "csv", "mine"]);
    assert!(said.contains("was not written by this command"), "{said}");
    std::fs::write(folder.join("pods.csv"), "mine").unwrap();
    let said = refused(&world, &["export", "csv", "pods.csv", "--mart", "pods"]);
    assert!(said.contains("pods.csv is there"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.join("pods.csv")).unwrap(), "mine");
    let said = refused(&world, &["export", "parquet", "x.parquet", "--mart", "pots"]);
    assert!(
        said.contains("there is no mart `pots`") && said.contains("pods"),
        "{said}"
    );
    done(
        &world,
        &["export", "csv", "pods.csv", "--mart", "pods", "--force"],
    );
    assert_eq!(
        of_file(&world, "pods.csv", "select count(*) as n from charges"),
        ["2"]
    );
}
