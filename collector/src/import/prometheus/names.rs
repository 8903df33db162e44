//! Names of labels, which kube-state-metrics writes as Prometheus allows them: `app.kubernetes.io/name` as
//! `label_app_kubernetes_io_name`.

use std::collections::HashMap;

use super::server::Series;
use crate::facts::Texts;

/// The true names of those that are asked for.
#[derive(Debug, Default)]
pub struct Names {
    written: HashMap<String, String>,
}

impl Names {
    /// Knows these names; all others stay as they are written.
    #[must_use]
    pub fn new(known: impl IntoIterator<Item = String>) -> Self {
        Self {
            written: known.into_iter().map(|name| (written(&name), name)).collect(),
        }
    }

    /// The labels of an object, from those of its series that begin with `prefix`.
    #[must_use]
    pub fn texts(&self, series: &Series, prefix: &str) -> Texts {
        let told = series
            .labels
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
        told.map(|(name, value)| {
            let name = self.written.get(name).map_or(name, String::as_str);
            (name.to_owned(), value.clone())
        })
        .collect()
    }
}

/// The true name of a resource.
#[must_use]
pub fn resource_name(names: &Names, told: &str) -> String {
    const MIG: &str = "nvidia_com_mig_";
    match (told, told.strip_prefix(MIG)) {
        // Its profiles are many: `2g_10gb` is `2g.10gb`.
        (_, Some(profile)) => format!("nvidia.com/mig-{}", profile.replace('_', ".")),
        ("ephemeral_storage", _) => "ephemeral-storage".to_owned(),
        (pages, _) if pages.starts_with("hugepages_") => pages.replacen('_', "-", 1),
        _ => names.written.get(told).map_or(told, String::as_str).to_owned(),
    }
}

/// How kube-state-metrics writes a name: in snake case, with an underscore for whatever Prometheus does not allow.
///
/// Source: `lintLabelName` and `toSnakeCase` of kube-state-metrics v2, internal/store/utils.go.
fn written(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut last: Option<char> = None;
    for character in name.chars() {
        let is_hump = character.is_ascii_uppercase()
            && last.is_some_and(|last| last.is_ascii_lowercase() || last.is_ascii_digit());
        if is_hump {
            text.push('_');
        }
        text.push(if character.is_ascii_alphanumeric() {
            character.to_ascii_lowercase()
        } else {
            '_'
        });
        last = Some(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_where_they_are_known() {
        let known = [
            "app.kubernetes.io/name",
            "spark-app-selector",
            "eks.amazonaws.com/capacityType",
        ];
        let names = Names::new(known.map(str::to_owned));
        let labels = [
            ("label_app_kubernetes_io_name", "x"),
            ("label_spark_app_selector", "y"),
            ("label_eks_amazonaws_com_capacity_type", "SPOT"),
            ("label_some_thing", "z"),
            ("pod", "p"),
        ];
        let series = Series {
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            samples: Vec::new(),
        };
        let texts: Vec<(String, String)> = names.texts(&series, "label_").into_iter().collect();
        let expected = [
            ("app.kubernetes.io/name", "x"),
            ("eks.amazonaws.com/capacityType", "SPOT"),
            ("some_thing", "z"),
            ("spark-app-selector", "y"),
        ];
        assert_eq!(
            texts,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
