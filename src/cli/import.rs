//! `podledger import`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use podledger_collector::import::bills::Format;
use podledger_collector::import::nextflow_cws::{self, Totals};
use podledger_collector::import::{
    Imported, catalogue, engines, kubernetes, openb, opencost_prices, prices, query, recording, usage,
};
use podledger_sql::units::NanoUsd;

use super::import_aws_prices::AwsPrices;
use super::import_bills::Bill;
use super::import_cost_explorer::CostExplorer;
use super::import_prometheus::Prometheus;
use super::import_spot_prices::SpotPrices;
use super::{Cli, bucket};

#[derive(Debug, Subcommand)]
pub enum Import {
    /// A Nextflow trace of the Common Workflow Scheduler experiments.
    #[command(
        after_help = "Example: podledger import nextflow-cws traces/k8s-nextflow-cws --price-as aws/us-east-1/m5.8xlarge"
    )]
    NextflowCws {
        /// Folder with pods.parquet, nodes.csv, runs.csv and scheduler_events.parquet.
        folder: PathBuf,
        /// List price that every machine is paid with: provider/region/instance type.
        #[arg(long, value_name = "KEY")]
        price_as: String,
        /// Name of the cluster, which the trace does not tell.
        #[arg(long, default_value = "nextflow-cws")]
        cluster: String,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// What `kubectl get ... -o json` printed: lists, objects, or a recorded watch.
    #[command(
        after_help = "Example: kubectl get pods,nodes,namespaces,jobs -A -o json | podledger import kubernetes -"
    )]
    Kubernetes {
        /// File with JSON or YAML documents, gzip or not; `-` for standard input; or a recording of a watch: a file of changes
        /// with times, one per line, or a folder of such files.
        path: PathBuf,
        /// Identifier of the cluster [default: the UID of the kube-system namespace if it is shown, else `kubernetes`].
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// When the objects were as they are shown [default: the newest time that they tell].
        #[arg(long, value_name = "INSTANT")]
        observed_at: Option<jiff::Timestamp>,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// The GPU cluster trace "openb" of Alibaba's cluster data, v2023.
    #[command(
        after_help = "Example: podledger import openb traces/alibaba-gpu-v2023-openb --gpu-price G2=1.20 --gpu-price G3=2.50"
    )]
    Openb {
        /// Folder with openb_node_list_all_node.csv and openb_pod_list_default.csv.
        folder: PathBuf,
        /// Another list of pods than the default one, gzip or not.
        #[arg(long, value_name = "FILE")]
        pods: Option<PathBuf>,
        /// Price of an hour of a GPU model that has no built-in one; may be repeated.
        #[arg(long = "gpu-price", value_name = "MODEL=USD", value_parser = gpu_price)]
        gpu_prices: Vec<(String, NanoUsd)>,
        /// The instant that the trace counts its seconds from, which it does not tell.
        #[arg(long, value_name = "INSTANT", default_value = "2023-01-01T00:00:00Z")]
        starts_at: jiff::Timestamp,
        /// Name of the cluster, which the trace does not tell.
        #[arg(long, default_value = "openb")]
        cluster: String,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// The built-in list prices of machines and services, and allocation weights fitted to them.
    #[command(after_help = "Example: podledger import catalogue --provider aws --region us-east-1")]
    Catalogue {
        /// Only this provider: aws, gcp or azure.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// Only this region.
        #[arg(long, value_name = "NAME")]
        region: Option<String>,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// Prices of nodes, GPUs and volumes in the CSV that OpenCost reads.
    #[command(after_help = "Example: podledger import opencost-prices pricing_schema.csv")]
    OpencostPrices {
        /// The CSV.
        file: PathBuf,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// List prices of machines: a CSV with provider, region, instance_type, capacity_type, valid_from, hourly_usd, source.
    #[command(after_help = "Example: podledger import prices our-prices.csv")]
    Prices {
        /// The CSV; an empty hourly_usd means that the price is not known any more from valid_from on.
        file: PathBuf,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// Samples of what containers used, by a query over any file that DuckDB reads.
    #[command(
        after_help = "Example: podledger import usage --cluster prod --every 60 --from \"select uid as pod_uid, \
                      time as sampled_at, cpu * 1000 as cpu_millicores, rss as memory_bytes from 'samples.parquet'\""
    )]
    Usage {
        /// Query that yields pod_uid, sampled_at, cpu_millicores and memory_bytes, and maybe container_name.
        #[arg(long, value_name = "SQL")]
        from: String,
        /// Identifier of the cluster.
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// Who measured: kubelet, prometheus, metrics_api, engine or declared.
        #[arg(long, value_name = "SOURCE", default_value = "prometheus")]
        source: String,
        /// How often samples were taken, in seconds: each is the average of so long before its instant.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=3600))]
        every: i64,
        /// Samples before this instant are left out and counted.
        #[arg(long, value_name = "INSTANT")]
        since: Option<jiff::Timestamp>,
        /// Samples from this instant on are left out and counted [default: now].
        #[arg(long, value_name = "INSTANT")]
        until: Option<jiff::Timestamp>,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
    /// How Airflow's tasks ended and how long they ran, as its REST API tells.
    #[command(
        after_help = "Example: curl \"$AIRFLOW/api/v2/dags/~/dagRuns/~/taskInstances?limit=100&offset=0\" | podledger import airflow -\n\
                      The API tells of the last try of a task; earlier ones come from .../taskInstances/TASK/tries."
    )]
    Airflow {
        /// File with pages, lists or single task instances as JSON, gzip or not; `-` for standard input.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// What Spark's executors used, by the event logs that it writes for its history server.
    #[command(after_help = "Example: podledger import spark-events /spark-events")]
    SparkEvents {
        /// An event log, plain or compressed by zstd or gzip; a rolled one (a folder `eventlog_v2_...`); or a folder of them.
        path: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// What a Prometheus remembers: pods and nodes by kube-state-metrics, usage by cAdvisor and DCGM.
    #[command(
        after_help = "Example: podledger import prometheus http://prometheus:9090 --cluster 5f4d0b1c-8a2e-4c55-9b0e-1c7d6f3a9e21"
    )]
    Prometheus(Prometheus),
    /// A bill in the words of FOCUS 1.0 to 1.4: CSV, gzip or not, or Parquet.
    #[command(after_help = "Example: podledger import focus exports/focus/2026-11")]
    Focus(Bill),
    /// A bill of AWS: the Cost and Usage Report, legacy or CUR 2.0, with resource identifiers and hours.
    #[command(after_help = "Example: podledger import cur exports/cur/BILLING_PERIOD=2026-11")]
    Cur(Bill),
    /// A bill of Google: the usage cost export to BigQuery, standard or detailed, as CSV or Parquet.
    #[command(after_help = "Example: podledger import gcp-billing billing-2026-11.parquet")]
    GcpBilling(Bill),
    /// A bill of Azure: cost details, actual or amortised.
    #[command(after_help = "Example: podledger import azure-costs part_0_0001.csv")]
    AzureCosts(Bill),
    /// What AWS's Cost Explorer answered: totals, where there is no better bill.
    #[command(
        after_help = "Example: aws ce get-cost-and-usage --time-period Start=2026-11-01,End=2026-12-01 --granularity DAILY \\\n           \
                      --metrics UnblendedCost AmortizedCost --group-by Type=DIMENSION,Key=SERVICE > november.json\n         \
                      podledger import cost-explorer november.json --billing-account 123456789012\n         \
                      podledger import cost-explorer --live --since 2026-11-01"
    )]
    CostExplorer(CostExplorer),
    /// What AWS lists now: on-demand prices of machines, and prices of volumes, load balancers and control planes.
    #[command(
        after_help = "Example: podledger import aws-prices\n         podledger import aws-prices --region eu-central-1 --all-types"
    )]
    AwsPrices(AwsPrices),
    /// Spot prices by zone, as EC2 tells their history.
    #[command(
        after_help = "Example: aws ec2 describe-spot-price-history --product-descriptions Linux/UNIX --start-time 2026-11-01 \\\n           \
                      --instance-types m5.large m5.xlarge > spot.json\n         \
                      podledger import spot-prices spot.json"
    )]
    SpotPrices(SpotPrices),
    /// The rows of a query over any file that DuckDB reads.
    #[command(
        after_help = "Example: podledger import query --into prices --from \"select * from 'prices.parquet'\""
    )]
    Query {
        /// Table of facts.
        #[arg(long, value_name = "TABLE")]
        into: String,
        /// Query that yields the table's columns.
        #[arg(long, value_name = "SQL")]
        from: String,
        /// UTC date under which the facts are filed [default: today].
        #[arg(long, value_name = "YYYY-MM-DD")]
        recorded_date: Option<Date>,
    },
}

/// Where the pods of an engine are.
#[derive(Debug, Args)]
pub struct Place {
    /// Identifier of the cluster [default: all in the lake].
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Namespace of the pods [default: all].
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// UTC date under which the facts are filed [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    recorded_date: Option<Date>,
}

impl Place {
    fn within(&self) -> engines::Within {
        engines::Within {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

impl Import {
    pub fn run(&self, cli: &Cli) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let lake = cli.lake()?;
        let bucket = cli.bucket(&cli.configuration()?)?;
        if let Some(bucket) = &bucket {
            // What is imported may be about pods that another lake knows.
            bucket::pull(bucket, &lake)?;
        }
        let bar = ProgressBar::new_spinner();
        let imported = match self {
            Self::NextflowCws {
                folder,
                price_as,
                cluster,
                recorded_date,
            } => {
                let options = nextflow_cws::Options {
                    folder: folder.clone(),
                    cluster: cluster.clone(),
                    price_as: price_as.clone(),
                    recorded_date: recorded_date.unwrap_or_else(today),
                };
                let progress = |step: &str| {
                    bar.set_message(format!("importing {}: {step}", folder.display()));
                    bar.tick();
                };
                let (imported, totals) = nextflow_cws::import(&lake, &options, &progress)
                    .with_context(|| format!("cannot import {}; nothing was written", folder.display()))?;
                bar.finish_and_clear();
                print_totals(&totals);
                imported
            }
            Self::Kubernetes {
                path,
                cluster,
                observed_at,
                recorded_date,
            } => {
                let title = kubernetes::title(path);
                let options = kubernetes::Options {
                    cluster: cluster.clone(),
                    observed_at: *observed_at,
                    annotations: cli.configuration()?.annotations()?,
                    recorded_date: recorded_date.unwrap_or_else(today),
                };
                let refused = || format!("cannot import {}; nothing was written", title.display());
                let (imported, contents) = if recording::is_recording(path) {
                    recording::import(&lake, path, &options).with_context(refused)?
                } else {
                    let bytes = kubernetes::bytes_of(path)?;
                    kubernetes::import(&lake, &title, &bytes, &options).with_context(refused)?
                };
                print_contents(&contents);
                imported
            }
            Self::Openb {
                folder,
                pods,
                gpu_prices,
                starts_at,
                cluster,
                recorded_date,
            } => {
                let options = openb::Options {
                    folder: folder.clone(),
                    pods: pods.clone(),
                    starts_at: *starts_at,
                    gpu_prices: gpu_prices.iter().cloned().collect(),
                    cluster: cluster.clone(),
                    recorded_date: recorded_date.unwrap_or_else(today),
                };
                let (imported, totals) = openb::import(&lake, &options)
                    .with_context(|| format!("cannot import {}; nothing was written", folder.display()))?;
                print_openb(&totals);
                imported
            }
            Self::Catalogue {
                provider,
                region,
                recorded_date,
            } => catalogue::import(
                &lake,
                &catalogue::Options {
                    provider: provider.clone(),
                    region: region.clone(),
                    recorded_date: recorded_date.unwrap_or_else(today),
                },
            )
            .context("cannot import the catalogue; nothing was written")?,
            Self::OpencostPrices { file, recorded_date } => {
                opencost_prices::import(&lake, file, recorded_date.unwrap_or_else(today))
                    .with_context(|| format!("cannot import {}; nothing was written", file.display()))?
            }
            Self::Prices { file, recorded_date } => {
                prices::import(&lake, file, recorded_date.unwrap_or_else(today))
                    .with_context(|| format!("cannot import {}; nothing was written", file.display()))?
            }
            Self::Usage {
                from,
                cluster,
                source,
                every,
                since,
                until,
                recorded_date,
            } => {
                let options = usage::Options {
                    query: from.clone(),
                    cluster: cluster.clone(),
                    source: source.clone(),
                    every: SignedDuration::from_secs(*every),
                    within: (
                        since.unwrap_or(Timestamp::MIN),
                        until.unwrap_or_else(Timestamp::now),
                    ),
                    recorded_date: recorded_date.unwrap_or_else(today),
                };
                let (imported, totals) =
                    usage::import(&lake, &options).context("cannot import samples; nothing was written")?;
                print_usage(&totals);
                imported
            }
            Self::Airflow { file, place } => {
                let options = engines::airflow::Options {
                    within: place.within(),
                    recorded_date: place.recorded_date.unwrap_or_else(today),
                };
                let (imported, totals) =
                    engines::airflow::import(&lake, file, &options).with_context(|| {
                        format!(
                            "cannot import {}; nothing was written",
                            kubernetes::title(file).display()
                        )
                    })?;
                print_airflow(&totals);
                imported
            }
            Self::SparkEvents { path, place } => {
                let options = engines::spark::Options {
                    within: place.within(),
                    recorded_date: place.recorded_date.unwrap_or_else(today),
                };
                let (imported, totals) = engines::spark::import(&lake, path, &options)
                    .with_context(|| format!("cannot import {}; nothing was written", path.display()))?;
                print_spark(&totals);
                imported
            }
            Self::Prometheus(prometheus) => prometheus.run(cli, &bar, today())?,
            Self::Focus(bill) => bill.run(cli, Format::Focus, &bar, today())?,
            Self::Cur(bill) => bill.run(cli, Format::Cur, &bar, today())?,
            Self::GcpBilling(bill) => bill.run(cli, Format::Gcp, &bar, today())?,
            Self::AzureCosts(bill) => bill.run(cli, Format::Azure, &bar, today())?,
            Self::CostExplorer(answers) => answers.run(cli, &bar, today())?,
            Self::AwsPrices(prices) => prices.run(cli, &bar, today())?,
            Self::SpotPrices(history) => history.run(cli, today())?,
            Self::Query {
                into,
                from,
                recorded_date,
            } => query::import_query(&lake, into, from, recorded_date.unwrap_or_else(today))
                .with_context(|| format!("cannot import into {into}; nothing was written"))?,
        };
        match imported {
            Imported::Already => println!("imported before: nothing to do"),
            Imported::Nothing => {
                println!("nothing of it is about pods that the lake knows: nothing was written")
            }
            Imported::Written(tables) => {
                for (table, rows) in &tables {
                    println!("  {table:<22} {rows:>9} facts");
                }
                println!(
                    "imported in {:.1} s; `podledger build` computes what it cost",
                    started.elapsed().as_secs_f64()
                );
            }
        }
        if let Some(bucket) = &bucket {
            bucket::push(bucket, &lake)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The one place where an import asks for the date.
fn today() -> Date {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// `MODEL=USD`.
fn gpu_price(text: &str) -> Result<(String, NanoUsd), String> {
    let (model, price) = text
        .split_once('=')
        .ok_or_else(|| "write MODEL=USD, such as G2=1.20".to_owned())?;
    let price = NanoUsd::from_decimal_str(price).map_err(|error| error.to_string())?;
    if price.get() < 0 {
        return Err("a price must not be negative".to_owned());
    }
    Ok((model.to_owned(), price))
}

fn print_usage(totals: &usage::Totals) {
    println!(
        "{} rows, of which {} told something new",
        totals.rows, totals.samples
    );
    for (rows, what) in [
        (
            totals.repeated,
            "tell of an instant of which their container told before",
        ),
        (totals.incomplete, "lack a pod, a time or any amount"),
        (
            totals.out_of_time,
            "are of a time at which they cannot have been taken",
        ),
        (totals.implausible, "are below zero, or more than any node has"),
    ] {
        if rows > 0 {
            println!("  {rows:>9} {what}: left out");
        }
    }
}

fn print_airflow(totals: &engines::airflow::Totals) {
    println!("{} tries of tasks, of {} pods", totals.tries, totals.pods);
    if totals.tries < totals.announced {
        println!(
            "  {:>9} more are in Airflow: its API gives a page at a time; import the next with offset={}",
            totals.announced - totals.tries,
            totals.tries
        );
    }
    for (tries, what) in [
        (totals.without_end, "have not ended, or never ran: left out"),
        (
            totals.without_pod,
            "are of no pod that the lake knows: left out; import again when it does",
        ),
        (
            totals.ambiguous,
            "fit pods of several clusters or namespaces: left out; say which by --cluster or --namespace",
        ),
    ] {
        if tries > 0 {
            println!("  {tries:>9} {what}");
        }
    }
}

fn print_spark(totals: &engines::spark::Totals) {
    println!(
        "{} applications, {} executors and drivers, {} tasks that took {} core-seconds",
        totals.applications,
        totals.executors,
        totals.tasks,
        totals.cpu_core_ms / 1000
    );
    if totals.without_pod > 0 {
        println!(
            "  {:>9} executors and drivers are no pod that the lake knows: left out; import again when it does",
            totals.without_pod
        );
    }
    if totals.ambiguous > 0 {
        println!(
            "  {:>9} executors and drivers fit pods of several clusters: left out; say which by --cluster",
            totals.ambiguous
        );
    }
    if totals.implausible > 0 {
        println!(
            "  {:>9} tasks end before they begin, or took more than any node has: left out",
            totals.implausible
        );
    }
}

fn print_openb(totals: &openb::Totals) {
    println!("{} pods on {} nodes", totals.pods, totals.nodes);
    println!("  {:>9} were never scheduled", totals.pending);
    println!(
        "  {:>9} found no node with room when they were scheduled: counted as unplaced, they cost nothing",
        totals.unplaced
    );
    println!(
        "  the others are placed where they leave least room, as the trace does not tell where they were"
    );
    if totals.unpriced_nodes > 0 {
        println!(
            "  {:>9} nodes have GPUs without a known price ({}): their cost stays unknown; declare it by --gpu-price MODEL=USD",
            totals.unpriced_nodes,
            totals.unpriced_models.join(", ")
        );
    }
}

fn print_totals(totals: &Totals) {
    let hours = |core_ms: i64| {
        let hundredths = (core_ms + 18_000) / 36_000;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    };
    println!("{} pods in the trace, all imported, none rejected", totals.pods);
    println!(
        "  {:>9} with the occupancy that the scheduler's log tells, the others marked `container`",
        totals.by_log
    );
    println!(
        "  {:>9} without a node: counted as unplaced, they cost nothing",
        totals.without_node
    );
    println!(
        "  {:>9} core-hours requested while containers ran (start to complete)",
        hours(totals.container_core_ms)
    );
    println!(
        "  {:>9} core-hours requested while pods held their machines (assigned to released where known)",
        hours(totals.occupied_core_ms)
    );
}

/// How many rejected objects are named; the others are counted.
const NAMED: usize = 20;

fn print_contents(contents: &kubernetes::Contents) {
    let objects: Vec<String> = contents
        .objects
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    println!("cluster {}: {}", contents.cluster, objects.join(", "));
    if let Some(at) = contents.observed_at {
        println!("  as of {at}");
    }
    for key in &contents.unpriced {
        println!("  no built-in list price for {key}: its cost stays unknown until a price is imported");
    }
    for reason in contents.rejected.iter().take(NAMED) {
        eprintln!("  left out: {reason}");
    }
    if contents.rejected.len() > NAMED {
        eprintln!("  left out: {} more", contents.rejected.len() - NAMED);
    }
}
