//! Attempts per second over the last two minutes, stacked: first attempts at the bottom, retries by cause above.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::state::{RetryCause, Slot};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::super::{row, units};

/// Seconds shown.
const HISTORY: u64 = 120;
/// First attempts and each cause of retries.
const PARTS: usize = RetryCause::ALL.len() + 1;
/// Columns of the numbers of the axis; a longer number is dropped.
const NUMBER: usize = 3;
/// The same with the line beside them.
const AXIS: u16 = NUMBER as u16 + 1;
/// Columns of the short legend: blank, fill, blank, label, number. With it and the axis, two minutes fit the 76
/// columns of an 80-column terminal at two seconds per column.
const LEGEND: u16 = 12;
/// Columns of the legend with words.
const WORDY_LEGEND: u16 = 36;
/// Seconds per column.
const STEPS: [u64; 8] = [1, 2, 3, 4, 5, 10, 20, 30];

/// The attempts of one column, the lowest part first.
type Stack = [u32; PARTS];

/// Draws the chart with its axes and its legend.
pub(super) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    if area.height < 2 || area.width <= AXIS {
        return;
    }
    let room = area.width - AXIS;
    let step = step(room.saturating_sub(LEGEND));
    let columns = HISTORY.div_ceil(step) as u16;
    let (columns, legend) = if columns + LEGEND <= room {
        (columns, room - columns)
    } else {
        (columns.min(room), 0)
    };
    let stacks = stacks(view, step, usize::from(columns));
    let rows = usize::from(area.height - 1);
    let scale = scale(&stacks, step);
    let cells: Vec<Vec<usize>> = stacks
        .iter()
        .map(|stack| stack_cells(stack, scale * step as f64, rows))
        .collect();
    for at in 0..rows {
        let height = rows - 1 - at;
        let mut line = label(view.theme, scale, height, rows);
        line.spans.extend(chart_row(view.theme, &cells, height));
        row::draw(&line, at, area, buf);
    }
    row::draw(&time_axis(view.theme, usize::from(columns)), rows, area, buf);
    if legend > 0 {
        let place = Rect {
            x: area.right() - legend,
            width: legend,
            ..area
        };
        draw_legend(view, place, buf);
    }
}

/// The fewest seconds per column at which the whole history fits.
fn step(columns: u16) -> u64 {
    let fits = |step: &u64| HISTORY.div_ceil(*step) <= u64::from(columns);
    STEPS.into_iter().find(fits).unwrap_or(60)
}

/// The attempts of each column, oldest first. A column begins at a multiple of its length, so that past columns
/// shift but do not change.
fn stacks(view: &View<'_>, step: u64, columns: usize) -> Vec<Stack> {
    let bins = view
        .state
        .timeline
        .bins(view.now, Duration::from_secs(step), columns);
    bins.iter()
        .map(|slot| slot.as_ref().map(stack).unwrap_or_default())
        .collect()
}

fn stack(one: &Slot) -> Stack {
    let mut stack = [one.first; PARTS];
    for (part, retries) in stack.iter_mut().skip(1).zip(one.retries) {
        *part = retries;
    }
    stack
}

fn total(stack: &Stack) -> u64 {
    stack.iter().map(|part| u64::from(*part)).sum()
}

/// Attempts per second at the top of the chart: 2, 5, 10, 20, 50, ...
fn scale(stacks: &[Stack], step: u64) -> f64 {
    let most = stacks.iter().map(total).max().unwrap_or(0) as f64 / step as f64;
    units::nice(most.max(2.0))
}

/// The part shown in each cell of a column, from the bottom up. A column with an attempt has at least one cell;
/// retries have at least one cell in a column of two or more.
fn stack_cells(stack: &Stack, full: f64, rows: usize) -> Vec<usize> {
    let all = total(stack);
    let height = if all == 0 {
        0
    } else {
        ((all as f64 / full * rows as f64).round() as usize).clamp(1, rows)
    };
    let mut cells = Vec::with_capacity(height);
    let mut sum = 0;
    for (part, count) in stack.iter().enumerate() {
        sum += u64::from(*count);
        let end = (sum as f64 / all.max(1) as f64 * height as f64).round() as usize;
        cells.resize(end.max(cells.len()), part);
    }
    let retries = stack
        .iter()
        .enumerate()
        .skip(1)
        .max_by_key(|(part, count)| (**count, PARTS - part));
    if let (Some((part, count)), true) = (retries, height > 1)
        && *count > 0
        && cells.iter().all(|part| *part == 0)
        && let Some(top) = cells.last_mut()
    {
        *top = part;
    }
    cells
}

/// The axis label of a row: the scale at the top, half of it in the middle, zero at the bottom.
fn label(theme: &Theme, scale: f64, height: usize, rows: usize) -> Line<'static> {
    let number = |value: f64| {
        if value < 10.0 && value.fract() > 0.0 {
            format!("{value:.1}")
        } else {
            units::amount(value.round() as u64)
        }
    };
    let text = if height == 0 && rows > 1 {
        "0/s".to_owned()
    } else if height + 1 == rows {
        number(scale)
    } else if rows.is_multiple_of(2) && height + 1 == rows / 2 && rows >= 4 {
        number(scale / 2.0)
    } else {
        String::new()
    };
    let text = if text.len() > NUMBER { String::new() } else { text };
    let text = format!("{}{}", row::right(&text, NUMBER), theme.glyphs.border[1]);
    Line::from(row::piece(theme, Role::Muted, text))
}

/// One row of all columns; adjacent equal cells are one span.
fn chart_row(theme: &Theme, cells: &[Vec<usize>], height: usize) -> Vec<Span<'static>> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut last = None;
    for column in cells {
        let part = column.get(height).copied();
        let text = part.map_or(" ", |part| fill(theme, part));
        if last == Some(part)
            && let Some(span) = spans.last_mut()
        {
            span.content.to_mut().push_str(text);
        } else {
            spans.push(Span::styled(
                text.to_owned(),
                part.map_or(Style::new(), |part| style(theme, part)),
            ));
            last = Some(part);
        }
    }
    spans
}

fn fill(theme: &Theme, part: usize) -> &'static str {
    theme.glyphs.fills.get(part).copied().unwrap_or(" ")
}

/// The colour of a part, without modifiers: bold or reversed cells would differ from the legend.
fn style(theme: &Theme, part: usize) -> Style {
    let role = match part {
        0 => Role::Work,
        1 => Role::Held,
        2 => Role::Broken,
        3 => Role::Yours,
        4 => Role::Saved,
        _ => Role::Text,
    };
    theme
        .style(role)
        .fg
        .map_or(Style::new(), |colour| Style::new().fg(colour))
}

/// `└-2m───────-1m──────now`.
fn time_axis(theme: &Theme, columns: usize) -> Line<'static> {
    let [horizontal, _, _, _, corner, _] = theme.glyphs.border;
    let mut line: Vec<String> = vec![horizontal.to_owned(); columns];
    let mut put = |at: usize, text: &str| {
        for (place, letter) in line.iter_mut().skip(at).zip(text.chars()) {
            *place = letter.to_string();
        }
    };
    put(0, "-2m");
    if columns >= 20 {
        put(columns / 2, "-1m");
    }
    if columns >= 50 {
        put(columns / 4, "-90s");
        put(columns * 3 / 4, "-30s");
    }
    if columns >= 8 {
        put(columns - 3, "now");
    }
    let text = format!("{}{corner}{}", " ".repeat(usize::from(AXIS) - 1), line.concat());
    Line::from(row::piece(theme, Role::Muted, text))
}

/// Fill, name and count of each part in the last two minutes, in the order of the stack.
fn draw_legend(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let theme = view.theme;
    let all_seconds = view.state.timeline.last(view.now, Duration::from_secs(HISTORY));
    let counts = stack(&all_seconds).map(u64::from);
    let all: u64 = counts.iter().sum();
    let wordy = area.width >= WORDY_LEGEND;
    // without room for all parts, those without an attempt are dropped
    let tight = usize::from(area.height) < PARTS;
    let parts: Vec<usize> = (0..PARTS)
        .rev()
        .filter(|part| !tight || *part == 0 || counts.get(*part).is_some_and(|count| *count > 0))
        .collect();
    let skip = usize::from(area.height).saturating_sub(parts.len()).min(1);
    for (index, part) in parts.into_iter().enumerate() {
        let count = counts.get(part).copied().unwrap_or(0);
        let (label, words) = name(part);
        let role = if count == 0 { Role::Muted } else { Role::Text };
        let mut text = row::left(label, 5);
        if wordy {
            text.push(' ');
            text.push_str(&row::left(words, 16));
        }
        text.push_str(&row::right(&units::amount(count), units::AMOUNT_WIDTH));
        if wordy && all > 0 {
            text.push_str("  ");
            text.push_str(&units::percent(count as f64 / all as f64));
        }
        let line = Line::from(vec![
            row::plain(" "),
            Span::styled(fill(theme, part), style(theme, part)),
            row::plain(" "),
            row::piece(theme, role, text),
        ]);
        row::draw(&line, index + skip, area, buf);
    }
}

fn name(part: usize) -> (&'static str, &'static str) {
    let Some(cause) = part.checked_sub(1).and_then(|at| RetryCause::ALL.get(at)) else {
        return ("first", "attempts");
    };
    let words = match cause {
        RetryCause::RateLimited => "rate limited",
        RetryCause::Server => "server error",
        RetryCause::Timeout => "timed out",
        RetryCause::Connection => "no connection",
        RetryCause::Stream => "stream cut",
        RetryCause::Other => "",
    };
    (cause.label(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_and_no_retry_is_drawn_as_nothing() {
        let full = 10.0;
        assert_eq!(stack_cells(&[0; PARTS], full, 5), [] as [usize; 0]);
        assert_eq!(stack_cells(&[1, 0, 0, 0, 0, 0, 0], full, 5), [0]);
        assert_eq!(stack_cells(&[5, 5, 0, 0, 0, 0, 0], full, 4), [0, 0, 1, 1]);
        // one retry among many first attempts
        assert_eq!(stack_cells(&[9, 0, 0, 1, 0, 0, 0], full, 3), [0, 0, 3]);
        assert_eq!(stack_cells(&[0, 0, 0, 0, 0, 0, 9], full, 3), [6, 6, 6]);
        assert_eq!(stack_cells(&[u32::MAX; PARTS], full, 3).len(), 3);
    }

    #[test]
    fn columns_have_room_for_two_minutes() {
        assert_eq!(
            [120, 119, 60, 59, 30, 29, 4, 1, 0].map(step),
            [1, 2, 2, 3, 4, 5, 30, 60, 60]
        );
    }

    #[test]
    fn the_time_axis_drops_labels_without_room() {
        let theme = Theme::default();
        assert_eq!(time_axis(&theme, 24).to_string(), "   └-2m─────────-1m──────now");
        assert_eq!(time_axis(&theme, 4).to_string(), "   └-2m─");
        assert_eq!(time_axis(&theme, 0).to_string(), "   └");
    }
}
