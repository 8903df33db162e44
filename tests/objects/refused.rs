//! Buckets that are not there, and what goes on without them.

use std::process::{Command, Output};

use crate::harness::World;
use crate::harness::moto::Moto;
use crate::live::kubectl::simulate_with;

/// The command with the credentials of a test, for a store at an address.
fn podledger(world: &World, address: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podledger"))
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "of the test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ])
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .current_dir(world.folder.path())
        .arg("--data")
        .arg(world.folder.path())
        .args(arguments)
        .output()
        .unwrap()
}

/// Why it failed; no secret is told.
fn error(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("of the test"), "a secret is told: {said}");
    said
}

const IMPORT: &[&str] = &[
    "import",
    "query",
    "--into",
    "collection_watermarks",
    "--from",
    "select 'c' as cluster, timestamp '2026-11-16 11:00:00' as observed_through_at",
];

#[test]
fn a_store_that_cannot_be_reached_is_named_and_nothing_is_done_by_half() {
    let world = super::begun();
    let before = super::told(&world);
    // Nobody listens on this port.
    let nowhere = "127.0.0.1:1";
    let with = |arguments: &[&str]| {
        let arguments = [&["--bucket", "s3://metering/prod"], arguments].concat();
        podledger(&world, nowhere, &arguments)
    };
    for arguments in [IMPORT, &["build"]] {
        let said = error(&with(arguments));
        assert!(
            said.contains("cannot list s3://metering/prod/lake; it can be tried again"),
            "{said}"
        );
    }
    assert_eq!(super::told(&world), before);
    let built = with(&["build", "--no-bucket"]);
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    assert_eq!(world.rows("select count(*) from marts.pods"), ["3"]);
    assert!(
        world
            .folder
            .path()
            .join("published/current/snapshot.json")
            .exists()
    );
}

#[test]
fn a_bucket_that_is_not_there_and_an_address_that_is_none_are_told_with_the_mend() {
    let Some(moto) = Moto::start() else { return };
    let world = World::new();
    let said = error(&podledger(
        &world,
        &moto.address,
        &["--bucket", "s3://nowhere/prod", "build"],
    ));
    assert!(
        said.contains("s3://nowhere/prod/lake") && said.contains("is the name of the bucket right?"),
        "{said}"
    );
    let said = error(&podledger(
        &world,
        &moto.address,
        &["--bucket", "s3:/metering", "build"],
    ));
    assert!(
        said.contains("is no bucket") && said.contains("write s3://BUCKET/PREFIX"),
        "{said}"
    );
}

#[test]
fn the_configuration_names_a_bucket_and_an_empty_option_none() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("metering");
    let writer = super::begun();
    let reader = World::new();
    for world in [&writer, &reader] {
        let config = world.folder.path().join("podledger.toml");
        std::fs::write(config, "bucket = 's3://metering/prod'").unwrap();
    }
    let well = |world: &World, arguments: &[&str]| -> String {
        let output = podledger(world, &moto.address, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = well(&writer, &[&["--bucket", ""], IMPORT].concat());
    assert!(!said.contains("s3://"), "{said}");
    let said = well(&writer, IMPORT);
    assert!(said.contains("put into s3://metering/prod: 7 segments"), "{said}");
    let said = well(&reader, &["build"]);
    assert!(
        said.contains("taken from s3://metering/prod: 7 segments of 1 origins")
            && said.contains("published into s3://metering/prod"),
        "{said}"
    );
    assert_eq!(reader.rows("select count(*) from marts.pods"), ["3"]);
    let said = well(&reader, &["build"]);
    assert!(!said.contains("s3://"), "nothing is new: {said}");
}

#[test]
fn a_collector_that_begins_with_an_empty_disk_ends_by_name_where_the_bucket_cannot_be_reached() {
    let world = World::new();
    let kubeconfig = world.folder.path().join("kubeconfig");
    let kubeconfig = kubeconfig.to_str().unwrap();
    let (_server, _) = simulate_with(&["--seed", "1", "--kubeconfig-out", kubeconfig]);
    let collect = |bucket: &str| {
        let collect = ["--bucket", bucket, "collect", "--no-lease", "--usage", "off"];
        let more = ["--listen", "127.0.0.1:0", "--kubeconfig", kubeconfig];
        podledger(&world, "127.0.0.1:1", &[&collect[..], &more].concat())
    };
    let said = error(&collect("s3://metering/prod"));
    assert!(
        said.contains("cannot list s3://metering/prod/lake; it can be tried again"),
        "{said}"
    );
    assert!(world.lake().segments().unwrap().is_empty());
}
