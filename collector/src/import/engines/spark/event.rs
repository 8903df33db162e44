//! The events of a log that are read, by the names that Spark's JSON gives them.

use serde::Deserialize;

/// What is read of an event; all others are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "Event")]
pub(super) enum Event {
    #[serde(rename = "SparkListenerApplicationStart")]
    ApplicationStart {
        #[serde(rename = "App ID")]
        app: Option<String>,
        #[serde(rename = "Timestamp")]
        at: i64,
    },
    #[serde(rename = "SparkListenerEnvironmentUpdate")]
    EnvironmentUpdate {
        #[serde(rename = "Spark Properties", default)]
        properties: Properties,
    },
    #[serde(rename = "SparkListenerApplicationEnd")]
    ApplicationEnd {
        #[serde(rename = "Timestamp")]
        at: i64,
    },
    #[serde(rename = "SparkListenerExecutorAdded")]
    ExecutorAdded {
        #[serde(rename = "Executor ID")]
        executor: String,
        #[serde(rename = "Timestamp")]
        at: i64,
    },
    #[serde(rename = "SparkListenerExecutorRemoved")]
    ExecutorRemoved {
        #[serde(rename = "Executor ID")]
        executor: String,
        #[serde(rename = "Timestamp")]
        at: i64,
    },
    #[serde(rename = "SparkListenerStageSubmitted")]
    StageSubmitted {
        #[serde(rename = "Stage Info")]
        stage: Stage,
    },
    #[serde(rename = "SparkListenerTaskStart")]
    TaskStart {
        #[serde(rename = "Task Info")]
        info: TaskInfo,
    },
    #[serde(rename = "SparkListenerTaskEnd")]
    TaskEnd {
        #[serde(rename = "Stage ID")]
        stage: i64,
        #[serde(rename = "Task Info")]
        info: TaskInfo,
        #[serde(rename = "Task Metrics")]
        metrics: Option<TaskMetrics>,
        #[serde(rename = "Task Executor Metrics", default)]
        peaks: Peaks,
    },
    #[serde(rename = "SparkListenerStageExecutorMetrics")]
    StagePeaks {
        #[serde(rename = "Executor ID")]
        executor: String,
        #[serde(rename = "Executor Metrics", default)]
        peaks: Peaks,
    },
    #[serde(other)]
    Other,
}

/// What an application was told, as far as it says how large heaps may get; Spark's own default is a GiB.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Properties {
    #[serde(rename = "spark.executor.memory")]
    pub(super) executor_memory: String,
    #[serde(rename = "spark.driver.memory")]
    pub(super) driver_memory: String,
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            executor_memory: "1g".to_owned(),
            driver_memory: "1g".to_owned(),
        }
    }
}

/// Bytes of an amount as Spark's settings tell memory: `4g`, `512MB`; without a unit in MiB (`JavaUtils.byteStringAsMb`).
pub(super) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let shift = match &text[digits.len()..] {
        "b" => 0,
        "k" | "kb" => 10,
        "" | "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        _ => return None,
    };
    let number: i64 = digits.parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(1 << shift)
}

#[derive(Debug, Deserialize)]
pub(super) struct Stage {
    #[serde(rename = "Stage ID")]
    pub(super) id: i64,
    #[serde(rename = "RDD Info", default)]
    pub(super) steps: Vec<Step>,
}

/// What a stage does, in Spark's words: `PythonRDD`, `MapInPandas`, `ArrowEvalPython`, ...
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    #[serde(rename = "Name", default)]
    pub(super) name: String,
    #[serde(rename = "Scope", default)]
    pub(super) scope: String,
}

impl Stage {
    pub(super) fn runs_python(&self) -> bool {
        let is_python = |text: &str| text.contains("Python") || text.contains("Pandas");
        self.steps
            .iter()
            .any(|step| is_python(&step.name) || is_python(&step.scope))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct TaskInfo {
    #[serde(rename = "Task ID", default)]
    pub(super) id: i64,
    #[serde(rename = "Executor ID")]
    pub(super) executor: String,
    #[serde(rename = "Launch Time")]
    pub(super) launched: i64,
    #[serde(rename = "Finish Time")]
    pub(super) finished: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct TaskMetrics {
    #[serde(rename = "Executor CPU Time", default)]
    pub(super) cpu_nanoseconds: i64,
    #[serde(rename = "Executor Deserialize CPU Time", default)]
    pub(super) deserialize_cpu_nanoseconds: i64,
}

/// The largest values since the last report, in bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Peaks {
    #[serde(rename = "ProcessTreeJVMRSSMemory")]
    pub(super) jvm_resident: i64,
    #[serde(rename = "ProcessTreePythonRSSMemory")]
    pub(super) python_resident: i64,
    #[serde(rename = "ProcessTreeOtherRSSMemory")]
    pub(super) other_resident: i64,
    #[serde(rename = "JVMHeapMemory")]
    pub(super) heap: i64,
    #[serde(rename = "JVMOffHeapMemory")]
    pub(super) off_heap: i64,
    #[serde(rename = "DirectPoolMemory")]
    pub(super) direct: i64,
}

impl Peaks {
    /// A lower bound of the most that the process held: the largest of what is resident, where Spark is told to measure it
    /// (`spark.executor.processTreeMetrics.enabled`), else of what the JVM uses. Peaks of different kinds need not have come
    /// together, so they are not added up.
    pub(super) fn bytes(&self) -> Option<i64> {
        let largest = |all: &[i64]| all.iter().copied().max().filter(|bytes| *bytes > 0);
        largest(&[self.jvm_resident, self.python_resident, self.other_resident])
            .or_else(|| largest(&[self.heap, self.off_heap, self.direct]))
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn memory_is_told_as_spark_reads_it() {
        for (text, expected) in [
            ("4g", Some(4 << 30)),
            ("512MB", Some(512 << 20)),
            (" 900 ", Some(900 << 20)),
            ("1048576k", Some(1 << 30)),
            ("7b", Some(7)),
            ("", None),
            ("0g", None),
            ("-1g", None),
            ("1.5g", None),
            ("4 g", None),
            ("9000000p", None),
            ("4q", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
