//! Tables for lists.
//!
//! Duty: a table that fits the screen. Invariants: what is copied (names, ids, times) is never wrapped; text wraps between
//! words, the widest column first, and no column gets narrower than its longest word. Where that does not fit, every row is a
//! block of labelled lines instead.

use unicode_width::UnicodeWidthStr as _;

use anstyle::Style;

use super::layout::{BOLD, DIM, Page, longest, paint, wrap};
use crate::text::safe;

/// A column of text does not give way below this, unless nothing in it is as wide.
const NARROWEST: usize = 8;
/// Columns between two columns.
const GAP: usize = 2;

/// A column's heading, and whether its cells may wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column<'a> {
    /// What is copied or compared: it stays in one piece.
    Id(&'a str),
    /// Sentences and lists of words.
    Text(&'a str),
}

impl<'a> Column<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::Id(name) | Self::Text(name) => name,
        }
    }

    /// The least width for these cells.
    fn least(self, cells: &[&str], widest: usize) -> usize {
        match self {
            Self::Id(_) => widest,
            Self::Text(_) => {
                let words = cells.iter().map(|cell| longest(cell)).max().unwrap_or(0);
                words.max(NARROWEST).min(widest)
            }
        }
    }
}

/// A table with a heading.
#[must_use]
pub fn table(columns: &[Column<'_>], rows: &[Vec<String>], width: usize) -> String {
    let (heading, blocks) = laid_out(columns, rows, width);
    let lines = heading.into_iter().map(|line| paint(BOLD, &line)).chain(blocks.into_iter().flatten());
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of the heading, and of each row: for a list that says more under a row. The heading is empty where every row
/// is a block of its own.
#[must_use]
pub fn laid_out(columns: &[Column<'_>], rows: &[Vec<String>], width: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let heading: Vec<String> = columns.iter().map(|column| column.name().to_uppercase()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| safe(cell)).collect()).collect();
    match widths(columns, &heading, &rows, width) {
        Some(widths) => {
            let blocks = rows.iter().map(|row| lines(row, &widths)).collect();
            (lines(&heading, &widths), blocks)
        }
        None => (Vec::new(), rows.iter().enumerate().map(|(index, row)| block(columns, row, index, width)).collect()),
    }
}

/// The width of each column; `None` when they do not fit side by side.
fn widths(columns: &[Column<'_>], heading: &[String], rows: &[Vec<String>], width: usize) -> Option<Vec<usize>> {
    let cells = |index: usize| -> Vec<&str> {
        heading.get(index).into_iter().chain(rows.iter().filter_map(|row| row.get(index))).map(String::as_str).collect()
    };
    let mut widths = Vec::new();
    let mut least = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let cells = cells(index);
        let widest = cells.iter().map(|cell| cell.width()).max().unwrap_or(0);
        least.push(column.least(&cells, widest));
        widths.push(widest);
    }
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let gives = widths.iter_mut().zip(&least).filter(|(now, least)| **now > **least);
        let (widest, _) = gives.max_by_key(|(now, _)| **now)?;
        *widest -= 1;
    }
    Some(widths)
}

/// A row in columns: as many lines as its highest cell has.
fn lines(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<Vec<String>> = row
        .iter()
        .zip(widths)
        .map(
            |(cell, width)| {
                if cell.width() <= *width { vec![cell.clone()] } else { wrap(&[(Style::new(), cell)], *width) }
            },
        )
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let text = cell.get(at).map_or("", String::as_str);
            line.push_str(text);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(text.width()) + GAP));
        }
        line.truncate(line.trim_end().len());
        line
    };
    (0..height).map(line).collect()
}

/// A row as labelled lines; an empty line keeps it apart from the one before.
fn block(columns: &[Column<'_>], row: &[String], index: usize, width: usize) -> Vec<String> {
    let label = columns.iter().map(|column| column.name().width()).max().unwrap_or(0) + GAP;
    let mut page = Page::new(width);
    if index > 0 {
        page.line("");
    }
    for (column, cell) in columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        let name = column.name();
        let mark = format!("{}{}", paint(DIM, name), " ".repeat(label.saturating_sub(name.width())));
        page.marked(&mark, label, Style::new(), cell);
    }
    page.finish().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<'_>; 3] = [Column::Id("vm"), Column::Text("problem"), Column::Text("note")];

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![
            row(["web-01", "the disk is full and nobody noticed it", "call us"]),
            row(["a-long-name-of-a-vm", "", "x"]),
        ]
    }

    #[test]
    fn the_widest_text_gives_way_and_ids_stay_whole() {
        assert_eq!(
            plain(&table(&COLUMNS, &rows(), 44)),
            "VM                   PROBLEM         NOTE\nweb-01               the disk is     call us\n                     full and\n                     \
             nobody noticed\n                     it\na-long-name-of-a-vm                  x"
        );
    }

    #[test]
    fn what_does_not_fit_side_by_side_is_a_block_for_each_row() {
        assert_eq!(
            plain(&table(&COLUMNS, &rows(), 30)),
            "vm       web-01\nproblem  the disk is full and\n         nobody noticed it\nnote     call us\n\n\
             vm       a-long-name-of-a-vm\nnote     x"
        );
    }

    #[test]
    fn no_width_breaks_a_word_or_goes_beyond_it_without_need() {
        let words = |text: &str| -> std::collections::BTreeSet<String> {
            text.split_whitespace().map(str::to_lowercase).collect()
        };
        let all = words(&plain(&table(&COLUMNS, &rows(), 200)));
        for width in 20..120 {
            let text = plain(&table(&COLUMNS, &rows(), width));
            assert_eq!(words(&text), all, "{width}\n{text}");
            assert!(text.lines().all(|line| line.width() <= width.max(29)), "{width}\n{text}");
        }
    }

    #[test]
    fn escapes_do_not_pass() {
        assert!(!plain(&table(&[Column::Id("vm")], &[vec!["\u{1b}[2J".to_owned()]], 80)).contains('\u{1b}'));
    }
}
