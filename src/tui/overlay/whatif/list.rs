//! The settings by layer: running value, edited value, and the description of the selected one.

use std::sync::LazyLock;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::draft::{AT_START, Draft};
use super::value;
use crate::settings::{Policy, SETTINGS, Setting};
use crate::tui::pane::row;
use crate::tui::theme::{Role, Theme};
use crate::tui::wrap;

/// The default policy.
static DEFAULTS: LazyLock<Policy> = LazyLock::new(Policy::default);

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListRow {
    /// The heading of a layer.
    Layer(&'static str),
    /// A setting, as index in [`SETTINGS`].
    Setting(usize),
}

/// All lines: a heading before each layer.
static ROWS: LazyLock<Vec<ListRow>> = LazyLock::new(|| {
    let mut lines = Vec::new();
    let mut layer = "";
    for (index, setting) in SETTINGS.iter().enumerate() {
        if setting.layer() != layer {
            layer = setting.layer();
            lines.push(ListRow::Layer(layer));
        }
        lines.push(ListRow::Setting(index));
    }
    lines
});

/// The first visible line of the list, such that the selected setting is among `height` lines; with its heading if
/// it is the first of its layer.
pub(super) fn top(draft: &Draft, height: usize) -> usize {
    let at = ROWS
        .iter()
        .position(|entry| *entry == ListRow::Setting(draft.row));
    let at = at.unwrap_or_default();
    let headed = at.checked_sub(1).and_then(|before| ROWS.get(before));
    let from = match headed {
        Some(ListRow::Layer(_)) if height > 1 => at - 1,
        _ => at,
    };
    let last = ROWS.len().saturating_sub(height);
    draft.top.min(from).max((at + 1).saturating_sub(height)).min(last)
}

/// The setting on a line of the list, counted from the first visible one.
pub(super) fn setting_at(draft: &Draft, line: usize, height: usize) -> Option<usize> {
    match ROWS.get(top(draft, height) + line) {
        Some(ListRow::Setting(index)) => Some(*index),
        Some(ListRow::Layer(_)) | None => None,
    }
}

/// Column widths of the list; `unit` is 0 where there is no room.
struct Columns {
    name: usize,
    value: usize,
    unit: usize,
}

/// Columns of the mark of a changed setting.
const MARK: usize = 2;

impl Columns {
    fn for_width(width: usize) -> Self {
        let (name, value, unit) = match width {
            ..64 => (22, 11, 0),
            64..74 => (22, 11, 8),
            74..88 => (24, 13, 9),
            _ => (26, 18, 9),
        };
        Self { name, value, unit }
    }

    fn unit_cell(&self, text: &str) -> String {
        if self.unit == 0 {
            String::new()
        } else {
            format!(" {}", row::left(text, self.unit))
        }
    }
}

/// Draws the column headings and the list; returns the cursor position if a value is typed.
pub(super) fn render(
    theme: &Theme,
    draft: &Draft,
    running: &[String],
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let columns = Columns::for_width(usize::from(area.width));
    let head = format!(
        "{:width$}{}{}{}",
        "",
        row::right("running", columns.value),
        row::right("edited", columns.value),
        columns.unit_cell("unit"),
        width = MARK + columns.name
    );
    row::draw(&Line::from(row::piece(theme, Role::Muted, head)), 0, area, buf);
    let list = Rect {
        y: area.y.saturating_add(1),
        height: area.height.saturating_sub(1),
        ..area
    };
    let height = usize::from(list.height);
    let seen = ROWS.iter().skip(top(draft, height)).take(height);
    let mut cursor = None;
    for (line, entry) in seen.enumerate() {
        match entry {
            ListRow::Layer(layer) => {
                let heading = row::piece(theme, Role::Strong, layer_name(layer));
                row::draw(&Line::from(heading), line, list, buf);
            }
            ListRow::Setting(index) => {
                setting_row(theme, draft, running, *index, &columns, line, list, buf);
                if *index == draft.row {
                    cursor = write_row(theme, draft, &columns, line, list, buf);
                }
            }
        }
    }
    cursor
}

#[expect(clippy::too_many_arguments, reason = "one row with its position")]
fn setting_row(
    theme: &Theme,
    draft: &Draft,
    running: &[String],
    index: usize,
    columns: &Columns,
    line: usize,
    list: Rect,
    buf: &mut Buffer,
) {
    let Some(setting) = SETTINGS.get(index) else {
        return;
    };
    let runs = running.get(index).map_or("", String::as_str);
    let edited = draft.changed(setting, runs);
    let selected = index == draft.row;
    let role = match (edited, setting.startup_only) {
        // reversed as one piece, not as patches of colours
        _ if selected => Role::Text,
        (Some(_), _) => Role::Held,
        (None, true) => Role::Muted,
        (None, false) => Role::Text,
    };
    let mark = if edited.is_some() { "* " } else { "  " };
    let word = match (edited, setting.startup_only) {
        (Some(_), _) => " changed",
        (None, true) => " at start",
        (None, false) => "",
    };
    let name = wrap::fit(setting.name(), columns.name - 1, theme.glyphs.ellipsis);
    let (plain, unit) = match (selected, setting.startup_only) {
        (true, _) => (Role::Text, Role::Text),
        (false, true) => (Role::Muted, Role::Muted),
        (false, false) => (Role::Text, Role::Muted),
    };
    let text = Line::from(vec![
        row::piece(theme, role, format!("{mark}{}", row::left(&name, columns.name))),
        row::piece(theme, plain, cell(theme, setting, runs, columns)),
        row::piece(theme, role, cell(theme, setting, edited.unwrap_or(runs), columns)),
        row::piece(theme, unit, columns.unit_cell(value::unit(setting))),
        row::piece(theme, role, word),
    ]);
    row::draw(&text, line, list, buf);
    if selected {
        row::select(theme, line, list, buf);
    }
}

fn cell(theme: &Theme, setting: &Setting, value: &str, columns: &Columns) -> String {
    let text = value::shown(setting, value, columns.value - 1, theme.glyphs.ellipsis);
    row::right(&text, columns.value)
}

/// The value being typed, in its cell; its end if it is longer.
fn write_row(
    theme: &Theme,
    draft: &Draft,
    columns: &Columns,
    line: usize,
    list: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    let editor = &draft.line.as_ref()?.editor;
    let before = u16::try_from(MARK + columns.name + columns.value + 1).ok()?;
    let room = columns.value - 1;
    let (x, y) = (list.x.checked_add(before)?, list.y + u16::try_from(line).ok()?);
    if x >= list.right() {
        return None;
    }
    // wider than any value, so that the cursor is in row 0
    let column = editor.cursor_at(usize::from(u16::MAX)).1;
    let skipped = (column + 1).saturating_sub(room);
    let seen: String = editor.text().chars().skip(skipped).collect();
    let text = row::left(&wrap::fit(&seen, room, theme.glyphs.ellipsis), room);
    buf.set_stringn(
        x,
        y,
        text,
        usize::from(list.right() - x),
        theme.style(Role::Input),
    );
    let right = u16::try_from(column - skipped).unwrap_or_default();
    Some(Position::new(x.saturating_add(right), y))
}

/// The display name of a layer.
fn layer_name(layer: &str) -> &str {
    match layer {
        "semantic" => "semantic cache",
        "flight" => "single flight",
        "limit" => "limiter",
        other => other,
    }
}

/// The selected setting: default, range and description, or the error of the typed value.
pub(super) fn about(theme: &Theme, draft: &Draft, area: Rect, buf: &mut Buffer) {
    let Some(setting) = draft.setting() else { return };
    let width = usize::from(area.width);
    let first = vec![
        Line::from(row::piece(theme, Role::Strong, setting.path)),
        Line::from(row::piece(
            theme,
            Role::Muted,
            format!("   {}", value::range(setting, &DEFAULTS)),
        )),
    ];
    let mut lines = vec![row::join(theme, first, width)];
    let error = draft.line.as_ref().and_then(|line| line.error.as_ref());
    let (role, text) = match error {
        Some(error) => (Role::Broken, error.replace(char::is_control, " ")),
        None if setting.startup_only => (Role::Text, format!("{} It {AT_START}.", setting.about)),
        None => (Role::Text, setting.about.to_owned()),
    };
    let rows = usize::from(area.height).saturating_sub(1);
    let wrapped = row::wrap(theme, &text, width, rows).into_iter();
    lines.extend(wrapped.map(|text| Line::from(Span::styled(text, theme.style(role)))));
    row::draw_all(&lines, area, buf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_always_visible() {
        for height in [1, 2, 3, 9, 40, 200] {
            let mut draft = Draft::default();
            let down = 0..SETTINGS.len();
            for index in down.clone().chain(down.rev()) {
                draft.row = index;
                draft.top = top(&draft, height);
                let visible: Vec<_> = (0..height)
                    .filter_map(|line| setting_at(&draft, line, height))
                    .collect();
                assert!(visible.contains(&index), "{index} of {height}");
            }
            assert_eq!(
                draft.top,
                usize::from(height == 1),
                "the first heading comes back"
            );
        }
    }

    #[test]
    fn every_name_and_value_fits_its_column() {
        for width in [56, 64, 76, 90] {
            let columns = Columns::for_width(width);
            assert!(
                MARK + columns.name + 2 * columns.value + columns.unit_cell("").len() + " at start".len()
                    <= width
            );
            for setting in SETTINGS {
                let value = setting.value(&DEFAULTS);
                let room = columns.value - 1;
                let text = value::shown(setting, &value, room, "…");
                assert!(setting.name().len() < columns.name, "{}", setting.path);
                assert!(value::unit(setting).len() <= columns.unit || columns.unit == 0);
                assert!(!text.contains('…'), "{} {text}", setting.path);
            }
        }
    }
}
