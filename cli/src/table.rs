//! Tables for people: no borders, columns two spaces apart, the same on a terminal and in a file.

use comfy_table::{ContentArrangement, Table, presets};

/// Rows below a header, without trailing spaces.
pub(crate) fn render(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(filled).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// An empty cell shows that nothing is there, and keeps columns countable for `awk`.
fn filled(cell: String) -> String {
    // A line break in a message must not break the table.
    let cell = cell.replace(['\n', '\r'], " ");
    if cell.is_empty() { "-".to_owned() } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_nothing_trails() {
        let rows = vec![vec!["web".into(), "20.20.20.1".into()], vec!["d".into(), String::new()]];
        assert_eq!(render(&["NAME", "ADDRESS"], rows), "NAME  ADDRESS\nweb   20.20.20.1\nd     -\n");
    }
}
