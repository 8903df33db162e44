//! Files: what a watch would have recorded, the prices, and the truth.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::truth::Truth;
use crate::world::{ChangeKind, Object, Scenario, World};

/// Changes per file.
const PER_FILE: u64 = 500_000;

/// A change as a recording has it.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(rename = "type")]
    kind: ChangeKind,
    object: &'a Object,
}

/// Simulates `scenario` and writes `recording-*.jsonl`, `prices.csv` and `truth.json` into the folder `out`; returns the number of
/// changes and the truth.
///
/// # Errors
/// Those of writing files.
pub fn record(scenario: Scenario, out: &Path) -> io::Result<(u64, Truth)> {
    let mut world = World::new(scenario);
    write_prices(&out.join("prices.csv"), &world)?;
    let mut changes = 0;
    let mut file = None;
    for change in &mut world {
        let writer = match &mut file {
            Some(writer) if changes % PER_FILE != 0 => writer,
            _ => {
                let path = out.join(format!("recording-{:04}.jsonl", changes / PER_FILE));
                file.insert(BufWriter::with_capacity(1 << 20, File::create(path)?))
            }
        };
        let line = Line {
            at: instant(change.at_ms),
            kind: change.kind,
            object: &change.object,
        };
        serde_json::to_writer(&mut *writer, &line)?;
        writer.write_all(b"\n")?;
        changes += 1;
    }
    if let Some(mut writer) = file {
        writer.flush()?;
    }
    let truth = world.truth();
    let mut file = BufWriter::new(File::create(out.join("truth.json"))?);
    serde_json::to_writer(&mut file, &truth)?;
    file.flush()?;
    Ok((changes, truth))
}

fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn write_prices(path: &Path, world: &World) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(
        file,
        "provider,region,instance_type,capacity_type,valid_from,hourly_usd,source"
    )?;
    for price in world.prices() {
        writeln!(
            file,
            "{},{},{},{},{},{}.{:09},simulated",
            price.provider,
            price.region,
            price.instance_type,
            price.capacity_type,
            instant(price.since_ms).strftime("%Y-%m-%d %H:%M:%S"),
            price.nano / 1_000_000_000,
            price.nano % 1_000_000_000
        )?;
    }
    file.flush()
}
