//! Lakes that share a bucket: what others put there is seen whole or not at all, whatever fails between two objects.

mod collectors;
pub mod crashes;
mod failing;
mod processes;
mod pulling;
mod pushing;
mod refused;
mod snapshots;

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use podledger_sql::bucket::Bucket;
use podledger_sql::facts::Fact;
use podledger_sql::recall::relation;

use crate::harness::moto::Moto;
use crate::harness::{World, rows};

/// The store that moto plays; nothing is tried again, so that what fails is seen.
fn s3(moto: &Moto) -> Arc<dyn ObjectStore> {
    moto.make_bucket("metering");
    // As `Bucket::open` does; one that is there already is as good.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", moto.address))
        .with_allow_http(true)
        .with_bucket_name("metering")
        .with_region("us-east-1")
        .with_access_key_id("AKIATEST")
        .with_secret_access_key("of the test")
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        });
    Arc::new(store.build().unwrap())
}

/// A bucket in a folder of a store.
fn bucket(objects: &Arc<dyn ObjectStore>, folder: &str) -> Bucket {
    let url = format!("s3://metering/{folder}");
    Bucket::over(&url, Arc::clone(objects), Path::from(folder))
}

/// Facts of a world's lake, with how often each is there.
fn told(world: &World) -> Vec<String> {
    let lake = world.lake();
    let connection = podledger_sql::ledger::scratch().unwrap();
    let mut all = Vec::new();
    for table in ["pod_states", "machines", "collection_watermarks"] {
        let from = relation(&lake, Fact::named(table).unwrap()).unwrap();
        let query = format!(
            "select '{table}', cast(found as varchar), count(*) from {from} as found group by all order by all"
        );
        all.extend(rows(&connection, &query));
    }
    all
}

/// A machine with some pods, each a commit of its own.
fn begun() -> World {
    let world = World::new();
    world.given_machine(16, 64, 0, "1");
    for pod in 0..3 {
        world.given_pod(&format!("p{pod}"), 700, 512, 0);
    }
    world
}

/// More of two tables: a reader has both or none.
fn goes_on(world: &World) {
    world.given_pod("p3", 700, 512, 0);
    world.given(
        "machines",
        "select 'c' as cluster, 'm2' as machine, timestamp '2026-11-16 10:00:00' as observed_at, 'n2' as node_name, \
         'instance' as billing_model, timestamp '2026-11-16 10:00:00' as launched_at, 'declared' as launch_source",
    );
}
