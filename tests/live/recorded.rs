//! What `record` writes of a cluster's watches is, imported, what collecting it makes.

use std::path::PathBuf;
use std::time::Duration;

use podledger_collector::import::kubernetes::Options;
use podledger_collector::import::recording;
use podledger_collector::live::{Clock, record};
use podledger_simulator::{ApiServer, recording as recorded};
use tokio::sync::watch;

use super::equal::assert_equal;
use super::{changes, client, collect, in_simulated_time, scenario, settings, start};
use crate::harness::World;

/// Records a server while it tells `changes`; returns the text.
fn record_of(changes: impl Iterator<Item = podledger_simulator::Change> + 'static) -> Vec<u8> {
    let world = World::new();
    let (mut text, settings) = (Vec::new(), settings(&world));
    in_simulated_time(async {
        let server = ApiServer::new(podledger_simulator::Settings::new(start()));
        let (stop, stopped) = watch::channel(false);
        let told = server.clone();
        let recording = async {
            // What is there at first has to be there before it is asked for.
            tokio::task::yield_now().await;
            let clock = Clock::new(move || told.now());
            record(client(&server, None), settings, clock, &mut text, stopped)
                .await
                .unwrap()
        };
        let platform = async {
            server.run(changes).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.send(true).unwrap();
        };
        tokio::join!(platform, recording)
    });
    text
}

#[test]
fn a_recording_is_trimmed_and_imported_as_it_would_have_been_collected() {
    let scenario = || scenario(21, 1, 4, false);
    let text = record_of(changes(scenario()));
    let (collected, imported) = (World::new(), World::new());
    let server = podledger_simulator::Settings::new(start());
    let settings = settings(&collected);
    collect(&collected, scenario(), server, settings);
    let path = import(&imported, &text);
    assert_equal(21, &collected, &imported);
    // Played back, it is told again.
    let played = recorded::changes(&path).map(Result::unwrap).collect::<Vec<_>>();
    let again = World::new();
    import(&again, &record_of(played.into_iter()));
    assert_equal(21, &collected, &again);
}

/// Imports a recording; returns where it is.
fn import(world: &World, text: &[u8]) -> PathBuf {
    let path = world.folder.path().join("recording.jsonl");
    std::fs::write(&path, text).unwrap();
    let options = Options {
        cluster: None,
        observed_at: None,
        annotations: world.config.annotations().unwrap(),
        recorded_date: jiff::civil::date(2026, 11, 16),
    };
    let (_, contents) = recording::import(&world.lake(), &path, &options).unwrap();
    assert_eq!(contents.rejected, Vec::<String>::new());
    path
}
