//! Files: what a watch would have recorded, what pods used, the prices, and the truth.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::objects;
use crate::truth::{CONTROL_PLANE_NANO, Sums, UsageHour, VOLUME_NANO, Waste, WasteKey};
use crate::world::{Change, ChangeKind, Object, Scenario, Told, World};

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

/// A change as a recording has it, of whatever kind.
#[derive(Deserialize)]
struct ReadLine {
    at: Timestamp,
    #[serde(rename = "type")]
    kind: ChangeKind,
    object: Value,
}

const USAGE_COLUMNS: &str =
    "cluster,pod_uid,hour_start_at,source,cpu_usage_millicore_ms,memory_usage_byte_ms,memory_peak_bytes";

/// What `truth.json` holds.
#[derive(Serialize)]
struct Summary<'a> {
    seed: u64,
    pods: u64,
    total_nano: i128,
    categories_nano: &'a std::collections::BTreeMap<&'static str, i128>,
    wastes: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    key: &'a WasteKey,
    #[serde(flatten)]
    waste: &'a Waste,
}

/// Simulates `scenario` into the folder `out`, as it goes on; returns the number of changes and the sums. Everything told is
/// shown to `look` too.
///
/// * `recording-*.jsonl`: what a watch shows; `prices.csv`, `services.csv`: what machines, and what else costs; `usage.csv`: what pods used by the hour
/// * `truth.json`: sums and planted wastes; `truth/{pods,machines,volumes,runs}.jsonl`: one line for each,
///   once nothing can change it
///
/// # Errors
/// Those of writing files.
pub fn record(scenario: Scenario, out: &Path, mut look: impl FnMut(&Told)) -> io::Result<(u64, Sums)> {
    let seed = scenario.seed;
    let mut world = World::new(scenario);
    write_prices(&out.join("prices.csv"), &world)?;
    fs::write(out.join("services.csv"), services())?;
    fs::create_dir_all(out.join("truth"))?;
    let truth = |name: &str| create(out.join("truth").join(name));
    let mut pods = truth("pods.jsonl")?;
    let mut machines = truth("machines.jsonl")?;
    let mut volumes = truth("volumes.jsonl")?;
    let mut runs = truth("runs.jsonl")?;
    let mut usage = create(out.join("usage.csv"))?;
    writeln!(usage, "{USAGE_COLUMNS}")?;
    let mut changes = Changes {
        out,
        count: 0,
        file: None,
    };
    for told in &mut world {
        look(&told);
        match &told {
            Told::Change(change) => changes.write(change)?,
            Told::Usage(hour) => write_usage(&mut usage, hour)?,
            Told::Pod(pod) => write_line(&mut pods, pod)?,
            Told::Machine(machine) => write_line(&mut machines, machine)?,
            Told::Volume(volume) => write_line(&mut volumes, volume)?,
            Told::Run(run) => write_line(&mut runs, run)?,
        }
    }
    for writer in [&mut pods, &mut machines, &mut volumes, &mut runs, &mut usage]
        .into_iter()
        .chain(&mut changes.file)
    {
        writer.flush()?;
    }
    let sums = world.sums().clone();
    let mut file = create(out.join("truth.json"))?;
    let summary = Summary {
        seed,
        pods: sums.pods,
        total_nano: sums.total,
        categories_nano: &sums.categories,
        wastes: sums
            .wastes
            .iter()
            .map(|(key, waste)| Found { key, waste })
            .collect(),
    };
    serde_json::to_writer_pretty(&mut file, &summary)?;
    file.flush()?;
    Ok((changes.count, sums))
}

/// The changes of a recording, line by line: those of a file, or of a folder's `*.jsonl` in the order of their names. All objects
/// are [`Object::Other`].
///
/// An error names file and line. Files that cannot be read, folders without any, and gzip are errors too.
pub fn changes(path: &Path) -> impl Iterator<Item = io::Result<Change>> + use<> {
    let (files, error) = match files(path) {
        Ok(files) => (files, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let read = files.into_iter().flat_map(|file| {
        let (lines, error) = match File::open(&file) {
            Ok(open) => (Some(BufReader::with_capacity(1 << 20, open).lines()), None),
            Err(error) => (None, Some(in_file(&file, &error))),
        };
        let changes = lines.into_iter().flatten().enumerate();
        let changes = changes.map(move |(number, line)| change(&file, number + 1, &line?));
        error.map(Err).into_iter().chain(changes)
    });
    error.map(Err).into_iter().chain(read)
}

fn in_file(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", file.display()))
}

fn change(file: &Path, number: usize, line: &str) -> io::Result<Change> {
    let line: ReadLine = serde_json::from_str(line).map_err(|error| {
        let message = format!("line {number} of {} is no change: {error}", file.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    Ok(Change {
        at_ms: line.at.as_millisecond(),
        kind: line.kind,
        object: Object::Other(Box::new(line.object)),
    })
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let invalid = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = fs::read_dir(path)
            .map_err(|error| in_file(path, &error))?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        files.retain(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")
        });
        files.sort_unstable();
    }
    if files.is_empty() {
        return invalid(format!(
            "{} has no file whose name ends in .jsonl",
            path.display()
        ));
    }
    match files
        .iter()
        .find(|file| file.extension().is_some_and(|ending| ending == "gz"))
    {
        Some(file) => invalid(format!("{} is gzip: unpack it first", file.display())),
        None => Ok(files),
    }
}

/// The changes of a scenario as they happen. What machines cost (`prices.csv`) and what pods use (`usage.csv`) is written into a
/// folder meanwhile.
#[derive(Debug)]
pub struct Observed {
    world: World,
    usage: BufWriter<File>,
    failure: Option<io::Error>,
}

/// Begins to observe `scenario`.
///
/// # Errors
/// Those of writing files into `out`.
pub fn observe(scenario: Scenario, out: &Path) -> io::Result<Observed> {
    let world = World::new(scenario);
    write_prices(&out.join("prices.csv"), &world)?;
    fs::write(out.join("services.csv"), services())?;
    let mut usage = create(out.join("usage.csv"))?;
    writeln!(usage, "{USAGE_COLUMNS}")?;
    Ok(Observed {
        world,
        usage,
        failure: None,
    })
}

impl Observed {
    /// What it all came to, once there are no more changes.
    ///
    /// # Errors
    /// Those of writing files.
    pub fn finish(mut self) -> io::Result<Sums> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.usage.flush()?;
        Ok(self.world.sums().clone())
    }
}

impl Iterator for Observed {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        while self.failure.is_none() {
            match self.world.next()? {
                Told::Change(change) => return Some(change),
                Told::Usage(hour) => self.failure = write_usage(&mut self.usage, &hour).err(),
                Told::Pod(_) | Told::Machine(_) | Told::Volume(_) | Told::Run(_) => {}
            }
        }
        None
    }
}

struct Changes<'a> {
    out: &'a Path,
    count: u64,
    file: Option<BufWriter<File>>,
}

impl Changes<'_> {
    fn write(&mut self, change: &Change) -> io::Result<()> {
        let writer = match &mut self.file {
            Some(writer) if !self.count.is_multiple_of(PER_FILE) => writer,
            file => {
                if let Some(mut last) = file.take() {
                    last.flush()?;
                }
                let name = format!("recording-{:04}.jsonl", self.count / PER_FILE);
                file.insert(create(self.out.join(name))?)
            }
        };
        self.count += 1;
        let line = Line {
            at: instant(change.at_ms),
            kind: change.kind,
            object: &change.object,
        };
        write_line(writer, &line)
    }
}

fn create(path: PathBuf) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(1 << 20, File::create(path)?))
}

fn write_line(writer: &mut BufWriter<File>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}

fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn write_usage(writer: &mut BufWriter<File>, hour: &UsageHour) -> io::Result<()> {
    writeln!(
        writer,
        "{},{},{},kubelet,{},{},{}",
        objects::CLUSTER,
        hour.pod_uid,
        instant(hour.hour_start_ms).strftime("%Y-%m-%d %H:%M:%S"),
        hour.cpu_millicore_ms,
        hour.memory_byte_ms,
        hour.memory_peak_bytes
    )
}

/// What storage and the control plane cost: facts, as `import query` takes them.
fn services() -> String {
    let mut text = "provider,region,service,item,unit,valid_from_at,price_usd,source\n".to_owned();
    for (service, item, unit, nano) in [
        ("EBS", "gp3 storage", "GB-month", VOLUME_NANO),
        (
            "EKS",
            "\"control plane, standard support\"",
            "cluster-hour",
            CONTROL_PLANE_NANO,
        ),
    ] {
        text += &format!(
            "aws,{},{service},{item},{unit},2020-01-01 00:00:00,0.{nano:09},simulated\n",
            objects::REGION
        );
    }
    text
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
