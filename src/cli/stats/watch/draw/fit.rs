//! What fits a width: pieces of text on lines, columns of a table.

use ratatui::layout::Constraint;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};

/// Space between two pieces of a line.
const BETWEEN_PIECES: &str = "   ";
/// Space between two columns.
const BETWEEN_COLUMNS: u16 = 2;

/// Pieces on as few lines as they need, in their order. One that is longer than a line is cut.
pub(crate) fn lines(pieces: impl IntoIterator<Item = Span<'static>>, width: u16) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.width() + BETWEEN_PIECES.len() + piece.width() <= usize::from(width) => {
                line.push_span(BETWEEN_PIECES);
                line.push_span(piece);
            }
            _ => lines.push(Line::from(piece)),
        }
    }
    lines
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Shown above it.
    pub(crate) title: &'static str,
    /// In cells of the terminal.
    pub(crate) width: u16,
    /// If the width does not suffice, the columns with the highest rank are left out first.
    pub(crate) rank: u8,
}

/// The places of the columns that fit.
pub(crate) fn fitting(columns: &[Column], width: u16) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| {
        kept.iter().map(|&place| columns[place].width + BETWEEN_COLUMNS).sum::<u16>() - BETWEEN_COLUMNS
    };
    while kept.len() > 1 && needed(&kept) > width {
        let worst = kept.iter().max_by_key(|&&place| columns[place].rank).copied();
        kept.retain(|&place| Some(place) != worst);
    }
    kept
}

/// A table of the columns that fit; the first is of names, all others are of figures.
pub(crate) fn table(
    columns: &[Column],
    rows: Vec<Vec<Span<'static>>>,
    title: Style,
    width: u16,
) -> Table<'static> {
    let kept = fitting(columns, width);
    let row = |cells: Vec<Span<'static>>| {
        let kept_cells = cells.into_iter().enumerate().filter(|(place, _)| kept.contains(place));
        Row::new(kept_cells.map(|(place, cell)| {
            let line = Line::from(cell);
            Cell::from(if place == 0 { line } else { line.right_aligned() })
        }))
    };
    let titles = row(columns.iter().map(|column| Span::raw(column.title)).collect());
    let widths: Vec<_> = kept.iter().map(|&place| Constraint::Length(columns[place].width)).collect();
    Table::new(rows.into_iter().map(&row).collect::<Vec<_>>(), widths)
        .header(titles.style(title))
        .column_spacing(BETWEEN_COLUMNS)
}

/// Heights of the sections, the most important first: 0 or at least the first figure, at most the second.
pub(crate) fn heights<const N: usize>(wanted: [(u16, u16); N], available: u16) -> [u16; N] {
    let mut left = available;
    let mut heights = wanted.map(|(least, _)| {
        let height = if least <= left { least } else { 0 };
        left -= height;
        height
    });
    while left > 0 {
        let before = left;
        for (height, (_, most)) in heights.iter_mut().zip(wanted) {
            if left > 0 && *height > 0 && *height < most {
                *height += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_sections_give_way_in_their_order() {
        let columns = [(10, 0), (5, 2), (5, 1)].map(|(width, rank)| Column { title: "", width, rank });
        assert_eq!(fitting(&columns, 24), [0, 1, 2]);
        assert_eq!(fitting(&columns, 23), [0, 2]);
        assert_eq!(fitting(&columns, 1), [0]);
        assert_eq!(heights([(2, 2), (3, 9), (4, 4)], 12), [2, 6, 4]);
        assert_eq!(heights([(2, 2), (3, 9), (4, 4)], 8), [2, 6, 0]);
        assert_eq!(heights([(2, 2), (3, 3)], 100), [2, 3]);
        assert_eq!(heights([(2, 2), (3, 3)], 0), [0, 0]);
    }

    #[test]
    fn pieces_are_packed() {
        let shown: Vec<_> =
            lines(["aaa", "bbb", "cccccccccccc"].map(Span::raw), 9).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["aaa   bbb", "cccccccccccc"]);
    }
}
