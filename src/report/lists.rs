//! Tables for lists.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle};

use crate::text::safe;

/// A table with a heading: columns are as wide as they need, the last one wraps.
#[must_use]
pub fn table(heading: &[&str], rows: Vec<Vec<String>>, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.set_header(heading.iter().map(|text| text.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| safe(&cell)));
    }
    let last = heading.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        if index < last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_plain_and_fits() {
        let rows = vec![vec!["web-01".to_owned(), "a b c d e f g h i j k l m n o p".to_owned()]];
        let text = table(&["vm", "problem"], rows, 24);
        assert!(text.starts_with("VM"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 24), "{text}");
        assert!(!table(&["vm"], vec![vec!["\u{1b}[2J".to_owned()]], 80).contains('\u{1b}'));
    }
}
