//! The schema in Markdown: what `docs/lake.md` holds.

use super::{FACTS, Rule};

/// The description of every table in Markdown.
#[must_use]
pub fn describe() -> String {
    let mut text = "# The lake\n\n\
        Facts in Parquet, one folder per table, partitioned by the UTC date on which they were recorded. Every file has the\n\
        columns below and `segment_seq`, the number of the segment that first held the row. Instants are UTC without zone, in\n\
        microseconds; the last word of a name is its unit. A key repeated is the same fact again.\n"
        .to_owned();
    for fact in FACTS {
        let key: Vec<String> = fact.key.iter().map(|column| format!("`{column}`")).collect();
        text += &format!(
            "\n## {}\n\nKey: {}.\n\n| column | type | rule |\n|---|---|---|\n",
            fact.table,
            key.join(", ")
        );
        for column in fact.columns {
            let rule = match column.rule {
                Rule::Any => String::new(),
                Rule::Required => "required".to_owned(),
                Rule::NotNegative => "not negative".to_owned(),
                Rule::RequiredNotNegative => "required, not negative".to_owned(),
                Rule::RequiredOneOf(values) => format!("required, one of {}", values.join(", ")),
                Rule::OneOf(values) => format!("one of {}", values.join(", ")),
                Rule::NotBefore(other) => format!("not before `{other}`"),
                Rule::RequiredNotBefore(other) => format!("required, not before `{other}`"),
            };
            text += &format!("| `{}` | {} | {rule} |\n", column.name, column.kind.duckdb());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PODLEDGER_UPDATE_DOCS=1 cargo test` writes the file anew.
    #[test]
    fn the_tables_are_described_in_the_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lake.md");
        if std::env::var_os("PODLEDGER_UPDATE_DOCS").is_some() {
            std::fs::write(path, describe()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), describe());
    }
}
