//! What an allocation is of: names and labels, by which it is filtered and grouped. A name that is not known is empty.

use std::collections::BTreeMap;

/// Names and values of labels.
pub(super) type Labels = BTreeMap<String, String>;

/// What OpenCost calls a group's name where a member has none.
pub(super) const UNALLOCATED: &str = "__unallocated__";

/// Storage that no pod mounts.
pub(super) const UNMOUNTED: &str = "__unmounted__";

/// Capacity that nobody held.
pub(super) const IDLE: &str = "__idle__";

/// A container, a pod, or what belongs to none; also what all members of a group have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Item {
    pub cluster: String,
    pub node: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// In lower case, as OpenCost has it.
    pub controller_kind: String,
    pub controller: String,
    pub service: String,
    pub provider_id: String,
    pub team: String,
    pub pipeline: String,
    pub run: String,
    /// Keys are sanitised, as Prometheus has them.
    pub labels: Labels,
    pub annotations: Labels,
    pub namespace_labels: Labels,
}

impl Item {
    /// Keeps what another has too.
    pub fn keep_common(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.cluster, &other.cluster),
            (&mut self.node, &other.node),
            (&mut self.namespace, &other.namespace),
            (&mut self.pod, &other.pod),
            (&mut self.container, &other.container),
            (&mut self.controller_kind, &other.controller_kind),
            (&mut self.controller, &other.controller),
            (&mut self.service, &other.service),
            (&mut self.provider_id, &other.provider_id),
            (&mut self.team, &other.team),
            (&mut self.pipeline, &other.pipeline),
            (&mut self.run, &other.run),
        ] {
            if mine != theirs {
                mine.clear();
            }
        }
        for (mine, theirs) in [
            (&mut self.labels, &other.labels),
            (&mut self.annotations, &other.annotations),
            (&mut self.namespace_labels, &other.namespace_labels),
        ] {
            mine.retain(|key, value| theirs.get(key) == Some(value));
        }
    }
}

/// A label's name as Prometheus may have it: whatever is no letter, digit or underscore becomes an underscore.
pub(super) fn sanitised(key: &str) -> String {
    let mut name: String = key
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Labels of a JSON object of texts. Of names that are the same when they are sanitised, the last in order stands.
pub(super) fn labels(json: Option<&str>) -> Labels {
    let told: BTreeMap<String, Option<String>> = json
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    told.into_iter()
        .map(|(key, value)| (sanitised(&key), value.unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_named_as_prometheus_names_them() {
        for (key, wanted) in [
            ("app", "app"),
            ("app.kubernetes.io/name", "app_kubernetes_io_name"),
            ("1st", "_1st"),
            ("\u{e4}-b", "__b"),
        ] {
            assert_eq!(sanitised(key), wanted);
        }
        let found = labels(Some(r#"{"a.b": "1", "c": null}"#));
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [
                ("a_b".to_owned(), "1".to_owned()),
                ("c".to_owned(), String::new())
            ]
        );
        assert!(labels(None).is_empty());
        assert!(labels(Some("no json")).is_empty());
    }

    #[test]
    fn a_group_is_what_its_members_have_in_common() {
        let one = Item {
            cluster: "c".to_owned(),
            node: "n".to_owned(),
            labels: labels(Some(r#"{"a": "1", "b": "2"}"#)),
            ..Item::default()
        };
        let mut common = one.clone();
        common.keep_common(&Item {
            cluster: "c".to_owned(),
            node: "m".to_owned(),
            labels: labels(Some(r#"{"a": "1", "b": "3"}"#)),
            ..Item::default()
        });
        assert_eq!(
            common,
            Item {
                cluster: "c".to_owned(),
                labels: labels(Some(r#"{"a": "1"}"#)),
                ..Item::default()
            }
        );
    }
}
