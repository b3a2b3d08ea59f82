//! Tables for lists.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle};

use unicode_width::UnicodeWidthStr as _;

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

/// Lines in columns under a heading (the first line), as wide as they need; no cell is cut or wrapped, so that names can
/// be copied. Without trailing spaces.
#[must_use]
pub fn columns<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let all: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|c| safe(c))))
        .collect();
    let mut widths = [0; N];
    for row in &all {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.width());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, widest)| {
            let missing = widest.saturating_sub(cell.width());
            format!("{cell}{}", " ".repeat(missing))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
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
