//! What a kubelet answers on `/metrics/resource`: what containers use, by the names of their pods, as text for Prometheus.
//!
//! Of the text format (0.0.4) this reads the lines of three metrics, whose names and labels are stable since Kubernetes 1.29
//! (`pkg/kubelet/metrics/collectors/resource_metrics.go`), and passes over all others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::fold::Sample;

const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";
const STARTED: &str = "container_start_time_seconds";

/// Kubelets say under one of these names whether they could measure: without them, the text is another's.
const SIGNS: [&str; 2] = ["resource_scrape_error", "scrape_error"];

/// What a kubelet measured of a container that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub namespace: String,
    pub pod_name: String,
    pub container_name: String,
    pub sample: Sample,
}

/// A line that cannot be read, or an answer that is another's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The text is none of a kubelet.
    #[error("it tells neither of containers nor of a scrape")]
    Stranger,
    /// A line of a container is none.
    #[error("line {line} is none of a metric: {reason}")]
    Line { line: usize, reason: &'static str },
}

#[derive(Default)]
struct Found {
    at_ms: Option<i64>,
    cpu_core_nanoseconds: Option<u64>,
    memory_working_set_bytes: Option<u64>,
    started_at: Option<Timestamp>,
}

/// The samples in an answer, by name. A container without the time of a measurement has none.
///
/// # Errors
/// Where the answer is not what kubelets say.
pub fn samples(text: &[u8]) -> Result<Vec<Named>, Unreadable> {
    let text = String::from_utf8_lossy(text);
    let mut found: BTreeMap<[Cow<'_, str>; 3], Found> = BTreeMap::new();
    let mut is_a_kubelet_s = false;
    for (number, line) in text.lines().enumerate() {
        let name_ends = line.find(['{', ' ', '\t']).unwrap_or(line.len());
        let (name, rest) = line.split_at(name_ends);
        is_a_kubelet_s |= SIGNS.contains(&name);
        if ![CPU, MEMORY, STARTED].contains(&name) {
            continue;
        }
        is_a_kubelet_s = true;
        let wrong = |reason| Unreadable::Line {
            line: number + 1,
            reason,
        };
        let Line { labels, value, at_ms } = read(rest).map_err(wrong)?;
        let [namespace, pod, container] = &labels;
        if namespace.is_empty() || pod.is_empty() || container.is_empty() {
            continue;
        }
        // The counter in nanoseconds is read back as it was, up to fifty days of a core: so far a double tells them apart.
        let of = found.entry(labels).or_default();
        match name {
            CPU => of.cpu_core_nanoseconds = whole(value * 1e9),
            MEMORY => of.memory_working_set_bytes = whole(value),
            // In whole seconds, as `/stats/summary` tells it: else a container would seem to start anew where one is asked after the
            // other.
            _ => {
                let seconds = whole(value.floor()).and_then(|seconds| i64::try_from(seconds).ok());
                of.started_at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
                continue;
            }
        }
        of.at_ms = of.at_ms.max(at_ms);
    }
    if !is_a_kubelet_s {
        return Err(Unreadable::Stranger);
    }
    let named = found
        .into_iter()
        .filter_map(|([namespace, pod, container], found)| {
            let at = Timestamp::from_millisecond(found.at_ms?).ok()?;
            let is_measured = found.cpu_core_nanoseconds.or(found.memory_working_set_bytes);
            is_measured?;
            Some(Named {
                namespace: namespace.into_owned(),
                pod_name: pod.into_owned(),
                container_name: container.into_owned(),
                sample: Sample {
                    at,
                    started_at: found.started_at.filter(|at| *at > Timestamp::UNIX_EPOCH),
                    cpu_core_nanoseconds: found.cpu_core_nanoseconds,
                    memory_working_set_bytes: found.memory_working_set_bytes,
                },
            })
        });
    Ok(named.collect())
}

/// A whole number of what cannot be negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within bounds"
)]
fn whole(value: f64) -> Option<u64> {
    (0.0..1e19).contains(&value).then(|| value.round() as u64)
}

/// What follows the name of a metric.
struct Line<'a> {
    /// `namespace`, `pod` and `container`.
    labels: [Cow<'a, str>; 3],
    value: f64,
    at_ms: Option<i64>,
}

fn read(rest: &str) -> Result<Line<'_>, &'static str> {
    let mut labels = [const { Cow::Borrowed("") }; 3];
    let mut rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut left = inner.trim_start();
        loop {
            if let Some(after) = left.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, after) = left.split_once('=').ok_or("its labels do not end")?;
            let after = after
                .trim_start()
                .strip_prefix('"')
                .ok_or("the value of a label is not quoted")?;
            let (value, after) = quoted(after).ok_or("the value of a label does not end")?;
            let place = ["namespace", "pod", "container"]
                .iter()
                .position(|known| *known == name.trim());
            if let Some(place) = place {
                labels[place] = value;
            }
            left = after.trim_start();
            left = left.strip_prefix(',').unwrap_or(left).trim_start();
        }
    }
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().and_then(|word| word.parse().ok());
    let at_ms = words.next().map(str::parse).transpose();
    Ok(Line {
        labels,
        value: value.ok_or("its value is no number")?,
        at_ms: at_ms.map_err(|_| "its time is no number of milliseconds")?,
    })
}

/// A text up to its closing quote, and what is behind that.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes().get(end) == Some(&b'"') {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), &text[place + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_read_and_everything_else_is_passed_over() {
        let text = "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed\n\
            # TYPE container_cpu_usage_seconds_total counter\n\
            container_cpu_usage_seconds_total{container=\"main\",namespace=\"d\",pod=\"p\"} 4.710000077e+06 1763287260123\n\
            container_cpu_usage_seconds_total{ namespace = \"d\", pod=\"p\", container=\"a \\\"b\\\" \\\\ {c}\", } 0 1763287260000\n\
            container_memory_working_set_bytes{container=\"main\",namespace=\"d\",pod=\"p\"} 1.5e+07 1763287260456\n\
            container_start_time_seconds{container=\"main\",namespace=\"d\",pod=\"p\"} 1.763287200987e+09\n\
            container_start_time_seconds{container=\"starting\",namespace=\"d\",pod=\"p\"} 1.763287259e+09\n\
            container_swap_usage_bytes{container=\"main\" what is this\n\
            node_cpu_usage_seconds_total 99.5 1763287260123\n\
            scrape_error 0\n";
        let found = samples(text.as_bytes()).unwrap();
        let names: Vec<&str> = found.iter().map(|named| named.container_name.as_str()).collect();
        assert_eq!(names, ["a \"b\" \\ {c}", "main"]);
        let expected = Sample {
            at: Timestamp::from_millisecond(1_763_287_260_456).unwrap(),
            started_at: Timestamp::from_second(1_763_287_200).ok(),
            cpu_core_nanoseconds: Some(4_710_000_077_000_000),
            memory_working_set_bytes: Some(15_000_000),
        };
        assert_eq!(found[1].sample, expected);
        assert_eq!(
            (found[1].namespace.as_str(), found[1].pod_name.as_str()),
            ("d", "p")
        );
        assert_eq!(samples(b"resource_scrape_error 0\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_a_kubelet_s_is_refused_with_its_line() {
        assert_eq!(
            samples(b"<html><body>404</body></html>"),
            Err(Unreadable::Stranger)
        );
        assert_eq!(samples(b""), Err(Unreadable::Stranger));
        for (rest, words) in [
            ("{container=\"a\",pod=\"p\" 5", "labels do not end"),
            ("{container=a} 5", "not quoted"),
            ("{container=\"a} 5", "does not end"),
            ("{container=\"a\\", "does not end"),
            ("{container=\"a\"} much", "no number"),
            ("{container=\"a\"}", "no number"),
            ("{container=\"a\"} 5 soon", "milliseconds"),
        ] {
            let said = samples(format!("# x\n{CPU}{rest}").as_bytes())
                .unwrap_err()
                .to_string();
            assert!(said.starts_with("line 2 ") && said.contains(words), "{said}");
        }
        // What no container has.
        let odd = format!("{MEMORY}{{namespace=\"d\",pod=\"p\",container=\"c\"}} -1 5\n");
        assert_eq!(samples(odd.as_bytes()), Ok(Vec::new()));
    }
}
