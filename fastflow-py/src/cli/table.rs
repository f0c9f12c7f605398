//! Tables that fit the terminal.

use anstyle::AnsiColor;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, LineStyle, Table, TableStyle};

use super::{output::Output, text};

const LINE: LineStyle = LineStyle::none().fill('─').junction('─');
const STYLE: TableStyle = TableStyle::new().header_separator(LINE);
/// A table in a file is no wider than this.
const FILE_COLUMNS: u16 = 160;

/// A table with these columns, as wide as the terminal at most.
pub(crate) fn table<const N: usize>(out: &Output, columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if out.has_colours() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if !out.is_terminal() {
        table.set_width(FILE_COLUMNS);
    }
    table.set_header(columns.map(|column| Cell::new(column).add_attribute(Attribute::Dim)));
    table
}

/// A cell with text of others.
pub(crate) fn cell(content: impl std::fmt::Display) -> Cell {
    Cell::new(text::plain(&content.to_string()))
}

/// A cell with a name.
pub(crate) fn name(content: impl std::fmt::Display) -> Cell {
    cell(content).add_attribute(Attribute::Bold)
}

/// A cell with text of one's own.
pub(crate) fn coloured(content: impl std::fmt::Display, colour: AnsiColor) -> Cell {
    cell(content).fg(match colour {
        AnsiColor::Green => Color::DarkGreen,
        AnsiColor::Red => Color::DarkRed,
        AnsiColor::Yellow => Color::DarkYellow,
        AnsiColor::Cyan => Color::DarkCyan,
        AnsiColor::Blue => Color::DarkBlue,
        _ => Color::Reset,
    })
}
